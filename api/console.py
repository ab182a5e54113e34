"""The command line's application object, its two streams and its exit codes.

Results go to stdout, everything said along the way to stderr; with `--json` stdout holds exactly
one JSON document. Command modules import `app` from here and add themselves to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from ihp_compute.errors import (
    ContractError,
    DataError,
    GridError,
    IhpError,
    InfrastructureError,
    RiskModelError,
    UnbalancedLedgerError,
)

EXIT_DATA: Final = 3
EXIT_UNBALANCED: Final = 4
EXIT_INFRASTRUCTURE: Final = 5
EXIT_CODES: Final[Mapping[type[IhpError], int]] = {
    ContractError: EXIT_DATA,
    DataError: EXIT_DATA,
    GridError: EXIT_DATA,
    RiskModelError: EXIT_DATA,
    UnbalancedLedgerError: EXIT_UNBALANCED,
    InfrastructureError: EXIT_INFRASTRUCTURE,
}
"""Exit codes of domain errors; 0 is success, 2 wrong usage, 1 a defect of ours."""

app = typer.Typer(
    name="ihp",
    help="Recalculate Medicaid accountable-care contracts from claims, to the cent.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

stdout = Console(highlight=False, soft_wrap=True)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def exit_code(error: IhpError) -> int:
    """Exit code of a domain error: that of its nearest listed class."""
    for kind in type(error).__mro__:
        if kind in EXIT_CODES:
            return EXIT_CODES[kind]
    return EXIT_DATA


def say(message: str) -> None:
    """Print a line for the person at the terminal, on stderr."""
    stderr.print(message, markup=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Path | date):
        return str(value)
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


def emit_json(document: Any) -> None:
    """Write the one JSON document of a command to stdout."""
    typer.echo(json.dumps(document, default=_plain, allow_nan=False, indent=2))


def show_table(title: str, columns: Mapping[str, str], rows: Iterator[list[str]] | Any) -> None:
    """Print a table on stdout. `columns` maps a heading to "left" or "right"."""
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for heading, side in columns.items():
        table.add_column(heading, justify="right" if side == "right" else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    stdout.print(table)


def dollars(cents: int) -> str:
    """Cents as US dollars to read: `-$1,234.56`."""
    sign = "-" if cents < 0 else ""
    return f"{sign}${abs(int(cents)) // 100:,}.{abs(int(cents)) % 100:02d}"


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal, a line each tenth of the way when piped.

    Yields
    ------
    Callable[[int, int], None]
        To be called with (done, total).
    """
    if not stderr.is_terminal:
        told = -1

        def tell(done: int, total: int) -> None:
            nonlocal told
            tenth = 10 * done // max(total, 1)
            if tenth > told:
                told = tenth
                say(f"{label}: {done} of {total}")

        yield tell
        return
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
