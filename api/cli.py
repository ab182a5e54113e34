"""Entry point of `ihp`: gathers the commands and turns domain errors into exit codes."""

from __future__ import annotations

import errno
import importlib
import pkgutil
import sys
from typing import Final

from api import commands
from api.console import EXIT_DATA, EXIT_INFRASTRUCTURE, app, exit_code, say
from ihp_compute.errors import IhpError

__all__ = ["app", "main"]

for _module in sorted(module.name for module in pkgutil.iter_modules(commands.__path__)):
    importlib.import_module(f"api.commands.{_module}")


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


def main() -> None:
    """Run the command line; a domain error is one line on stderr and its exit code."""
    try:
        app()
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
