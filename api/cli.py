"""Entry point of `ihp`: gathers the commands and turns domain errors into exit codes."""

from __future__ import annotations

import errno
import importlib
import pkgutil
import sys

from api import commands
from api.console import EXIT_INFRASTRUCTURE, app, exit_code, say
from ihp_compute.errors import IhpError

for _module in sorted(module.name for module in pkgutil.iter_modules(commands.__path__)):
    importlib.import_module(f"api.commands.{_module}")


def main() -> None:
    """Run the command line; a domain error is one line on stderr and its exit code."""
    try:
        app()
    except IhpError as error:
        say(f"ihp: {error}")
        sys.exit(exit_code(error))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS):
            raise
        say(f"ihp: writing failed: {error.strerror}; free space or choose another folder")
        sys.exit(EXIT_INFRASTRUCTURE)


if __name__ == "__main__":
    main()
