"""Entry point of `ihp`: runs the command and turns domain errors into exit codes."""

from __future__ import annotations

import errno
import re
import sys
from typing import Final

from api.console import EXIT_DATA, EXIT_INFRASTRUCTURE, app, exit_code, say
from ihp_compute.errors import IhpError, LocationError

__all__ = ["app", "main"]


FULL_OR_FAILING: Final = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EFBIG)
WRONG_PLACE: Final = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.EACCES,
    errno.EPERM,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)
"""A path that somebody gave and the machine refuses."""


_BUCKET: Final = re.compile(r"(?:--[a-z-]+=)?(s3[an]?|gs|gcs|abfss?|az|wasbs?|hdfs|r2|oss)://")


def _refuse_uri(argument: str) -> None:
    """Refuse a bucket that whoever calls names himself, before anything is done."""
    found = _BUCKET.match(argument)
    if found is not None:
        raise LocationError(
            f"{found[1]}: a URI names no place here, as buckets and hosts are the operator's to "
            "name; name a location in IHP_LOCATIONS, then give LOCATION:PREFIX"
        )


def main() -> None:
    """Run the command line; a domain error is one line on stderr and its exit code."""
    try:
        for argument in sys.argv[1:]:
            _refuse_uri(argument)
        app(prog_name="ihp")
    except IhpError as error:
        say(f"ihp: {error}")
        sys.exit(exit_code(error))
    except OSError as error:
        if error.errno in FULL_OR_FAILING:
            say(f"ihp: writing failed: {error.strerror}; free space or choose another folder")
            sys.exit(EXIT_INFRASTRUCTURE)
        if error.errno in WRONG_PLACE and error.filename is not None:
            reason = (error.strerror or "cannot be used").lower()
            say(f"ihp: {error.filename}: {reason}; give a path that can be read or written")
            sys.exit(EXIT_DATA)
        raise


if __name__ == "__main__":
    main()
