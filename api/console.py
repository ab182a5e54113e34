"""The command line's application object, its two streams and its exit codes.

Results go to stdout, everything said along the way to stderr; with `--json` stdout holds exactly
one JSON document. Command modules import `app` from here and add themselves to it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from api.catalogue import Late
from ihp_compute import METHOD_VERSION, __version__
from ihp_compute.errors import (
    AcceptanceError,
    ContractError,
    DataError,
    GridError,
    IhpError,
    InfrastructureError,
    LocationError,
    PlantError,
    RiskModelError,
    SummaryError,
    UnbalancedLedgerError,
)

EXIT_USAGE: Final = 2
EXIT_DATA: Final = 3
EXIT_UNBALANCED: Final = 4
EXIT_INFRASTRUCTURE: Final = 5
EXIT_CODES: Final[Mapping[type[IhpError], int]] = {
    AcceptanceError: EXIT_USAGE,
    ContractError: EXIT_DATA,
    DataError: EXIT_DATA,
    GridError: EXIT_DATA,
    LocationError: EXIT_USAGE,
    PlantError: EXIT_USAGE,
    RiskModelError: EXIT_DATA,
    SummaryError: EXIT_USAGE,
    UnbalancedLedgerError: EXIT_UNBALANCED,
    InfrastructureError: EXIT_INFRASTRUCTURE,
}
"""Exit codes of domain errors; 0 is success, 2 wrong usage, 1 a defect of ours."""

PIPE_WIDTH: Final = 1000
"""A pipe is never too narrow for a table."""

app = typer.Typer(
    name="ihp",
    cls=Late,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Late.application = app

stdout = Console(
    highlight=False, emoji=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_WIDTH
)
stderr = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
"""Of every command that can say what it did to a program."""
Threads = Annotated[int | None, typer.Option(min=1, help="Threads; all cores unless given.")]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"ihp {__version__}, method version {METHOD_VERSION}")
        raise typer.Exit


@app.callback()
def _first(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Say which this is."),
    ] = False,
) -> None:
    """Recalculate Medicaid accountable-care contracts from claims, to the cent."""


def exit_code(error: IhpError) -> int:
    """Exit code of a domain error: that of its nearest listed class."""
    for kind in type(error).__mro__:
        if kind in EXIT_CODES:
            return EXIT_CODES[kind]
    return EXIT_DATA


_spoken: list[Callable[[str], str]] = []


def speak_by(words: Callable[[str], str]) -> None:
    """Have everything that is said pass through `words` from now on."""
    if words not in _spoken:
        _spoken.append(words)


def say(message: str) -> None:
    """Print a line for the person at the terminal, on stderr."""
    for words in _spoken:
        message = words(message)
    stderr.print(message, markup=False)


def named(given: list[str] | None, option: str) -> dict[str, str]:
    """What is given of each name, as NAME=TEXT.

    Raises
    ------
    typer.BadParameter
        If a text is none, or a name is given twice.
    """
    found: dict[str, str] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"expected NAME=VALUE, got {text}", param_hint=option)
        if name in found:
            raise typer.BadParameter(f"{name} is given twice", param_hint=option)
        found[name.strip()] = value.strip()
    return found


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
    text = json.dumps(document, default=_plain, allow_nan=False, indent=2)
    for words in _spoken:
        text = words(text)
    typer.echo(text)


def show_table(
    title: str,
    columns: Mapping[str, str],
    rows: Sequence[Sequence[str]],
    optional: Sequence[str] = (),
) -> None:
    """Print a table on stdout, never cutting a number short.

    Parameters
    ----------
    title : str
    columns : mapping of heading to "left" or "right"
    rows : sequence of rows of text
    optional : sequence of headings
        Left out in this order while the table is wider than the terminal.
    """
    left_out: list[str] = []
    for name in (*optional, ""):
        table = Table(
            title=title, title_justify="left", header_style="bold", box=None, pad_edge=False
        )
        kept = [i for i, heading in enumerate(columns) if heading not in left_out]
        for i, (heading, side) in enumerate(columns.items()):
            if i in kept:
                table.add_column(
                    heading, justify="right" if side == "right" else "left", no_wrap=True
                )
        for row in rows:
            table.add_row(*(row[i] for i in kept))
        wide = stdout.options.update(width=PIPE_WIDTH)
        width = Measurement.get(stdout, wide, table).maximum
        if width <= stdout.width or not name:
            break
        left_out.append(name)
    stdout.print(table)


class _Rate(ProgressColumn):
    """How many steps a second, or seconds a step."""

    def render(self, task: Task) -> Text:
        """The rate so far; nothing before there is one."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each")


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
    columns = (
        TextColumn(label),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
