"""Where `ihp` starts: nothing is imported before an interrupt can be answered quietly."""

from __future__ import annotations

import sys
from typing import Final

INTERRUPTED: Final = 130
"""128 + SIGINT, as shells have it."""


def main() -> None:
    """Import the command line and run it."""
    try:
        if sys.argv[1:2] == ["ingest"]:  # threads that libraries start have heaps of their own
            from ihp_compute import freed_memory  # noqa: PLC0415 - see above

            freed_memory.keep()
        from api.cli import main as run  # noqa: PLC0415 - imports take a second; see above

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
