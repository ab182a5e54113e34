"""`ihp tables`: the tables of a finished run as files, whole or as everybody may see them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from api.commands.places import READ, opened
from api.console import app, emit_json, say
from ihp_compute.folders import check_new_folder
from ihp_compute.publishing import beside, publish
from ihp_compute.results import TABLES, result, verify_run
from ihp_compute.table_files import write_table

Shown = Annotated[
    list[Path] | None,
    typer.Option(
        "--shown",
        metavar="RUN",
        help="Run folder whose open form was shown before: what the two together would tell is "
        "hidden; repeatable.",
        **READ,
    ),
]
"""Runs that an open form is held against, of every command that writes one."""


def check_shown(shown: list[Path] | None, *, suppress: bool) -> None:
    """Refuse `--shown` of a command that is to write whole tables.

    Raises
    ------
    BadParameter
    """
    if shown and not suppress:
        raise typer.BadParameter("goes with --suppress", param_hint="--shown")


class Form(StrEnum):
    """Files that a table can be written as."""

    PARQUET = "parquet"
    CSV = "csv"
    ARROW = "arrow"


@app.command("tables")
def tables_command(
    run: Annotated[Path, typer.Argument(help="Made by `ihp run`.", metavar="RUN", **READ)],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    suppress: Annotated[
        bool,
        typer.Option(
            "--suppress",
            "--suppressed",
            help="Only what everybody may see: cells of 1 to 10 people, and what would tell them, "
            "are null. What is hidden is fixed when a run is first shown.",
        ),
    ] = False,
    shown: Shown = None,
    form: Annotated[Form, typer.Option("--format", help="Form of the files.")] = Form.PARQUET,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Write a run's tables as files, a file each, from its verified results.

    Without --suppress they are whole, with a row for each member in one of them: for the eyes of
    those who may see members' rows.
    """
    check_shown(shown, suppress=suppress)
    check_new_folder(out)
    digest = verify_run(run)
    if suppress:
        shown_form = opened(run, shown)
        tables = {name: shown_form.table(name) for name in shown_form.tables}
    else:
        tables = {name: result(run, declared) for name, declared in TABLES.items()}
    with beside(out) as draft:
        for name, table in tables.items():
            write_table(table, draft / f"{name}.{form.value}")
        publish(draft, out)
    hidden = {
        name: max((table.column(c).null_count for c in table.column_names), default=0)
        for name, table in tables.items()
    }
    if as_json:
        rows = {name: table.num_rows for name, table in tables.items()}
        emit_json({"run_dir": str(run), "digest": digest, "out": str(out), "suppressed": suppress,
                   "rows": rows, "hidden": hidden})  # fmt: skip
        return
    say(f"{run}: digest {digest}")
    if suppress:
        say(
            f"{out}: {len(tables)} tables as everybody may see them; "
            f"{sum(hidden.values()):,} rows hidden wholly or in part"
        )
        say("What this run has shown no other can take back: give it to later ones with --shown")
    else:
        say(f"{out}: {len(tables)} whole tables, member rows among them: restricted")
