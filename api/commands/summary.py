"""`ihp summary`: a programme in a few figures, over one or several finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.commands.places import READ, opened
from api.commands.tables import Shown, check_shown
from api.console import app, emit_json, say, show_table
from ihp_compute.folders import check_file_place
from ihp_compute.report import write_summary
from ihp_compute.results import Figure, summarise
from ihp_compute.units import dollars


@app.command("summary")
def summary_command(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Made by `ihp run`, each of another year.", **READ),
    ],
    out: Annotated[Path | None, typer.Option(help="Write the page here (.html).")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace what is in --out.")] = False,
    suppress: Annotated[
        bool,
        typer.Option(
            "--suppress",
            help="Only what everybody may see: figures that a run's open form hides are held back.",
        ),
    ] = False,
    shown: Shown = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show people, partnerships, savings, payments and what is kept, by year and over all years.

    Every run is verified first. Savings are against each contract's target, not a control group.
    """
    check_shown(shown, suppress=suppress)
    if out is not None:
        check_file_place(out, replace=replace)
    forms = {run: opened(run, shown) for run in runs} if suppress else {}
    found = summarise(runs, forms)
    if out is not None:
        write_summary(found, out)
    if as_json:
        emit_json(found.document() | ({} if out is None else {"out": str(out)}))
        return
    show_table(
        "Programme summary, against each contract's target",
        {"year": "left", "figure": "left", "value": "right", "95 % interval": "right"},
        [
            [
                "all" if figure.year is None else str(figure.year),
                figure.figure.removesuffix("_cents").replace("_", " "),
                _value(figure),
                ""
                if figure.low is None or figure.high is None
                else f"{dollars(figure.low)} to {dollars(figure.high)}",
            ]
            for figure in found.figures
        ],
    )
    for note in found.notes:
        say(f"note: {note}")
    if out is not None:
        say(f"{out}: written")


def _value(figure: Figure) -> str:
    if figure.value is None:
        return "held back: few people stand behind it, or would follow from it"
    return dollars(figure.value) if figure.unit == "cents" else f"{figure.value:,}"
