"""`ihp tables`: the tables of a finished run as files, whole or as everybody may see them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from api.console import app, emit_json, say
from ihp_compute.folders import check_new_folder
from ihp_compute.results import TABLES, open_form, result, verify_run
from ihp_compute.table_files import write_table

SHOWN_HELP = (
    "Run folder whose open form was shown before: what the two together would tell is hidden; "
    "repeatable."
)


class Form(StrEnum):
    """Files that a table can be written as."""

    PARQUET = "parquet"
    CSV = "csv"
    ARROW = "arrow"


@app.command("tables")
def tables_command(
    run: Annotated[Path, typer.Argument(help="Folder made by `ihp run`.")],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    suppressed: Annotated[
        bool,
        typer.Option(
            "--suppressed",
            help="Only what everybody may see: cells of 1 to 10 people, and what would tell them, "
            "are null. What is hidden is fixed when a run is first shown.",
        ),
    ] = False,
    shown: Annotated[
        list[Path] | None, typer.Option("--shown", metavar="RUN", help=SHOWN_HELP)
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="Form of the files.")] = Form.PARQUET,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Write a run's tables as files, a file each, from its verified results.

    Without --suppressed they are whole, with a row for each member in one of them: for the eyes of
    those who may see members' rows.
    """
    if shown and not suppressed:
        raise typer.BadParameter("goes with --suppressed", param_hint="--shown")
    check_new_folder(out)
    digest = verify_run(run)
    if suppressed:
        opened = open_form(run, shown or ())
        tables = {name: opened.table(name) for name in opened.tables}
    else:
        tables = {name: result(run, declared) for name, declared in TABLES.items()}
    out.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        write_table(table, out / f"{name}.{form.value}")
    hidden = {
        name: max((table.column(c).null_count for c in table.column_names), default=0)
        for name, table in tables.items()
    }
    if as_json:
        rows = {name: table.num_rows for name, table in tables.items()}
        emit_json({"run_dir": str(run), "digest": digest, "out": str(out), "suppressed": suppressed,
                   "rows": rows, "hidden": hidden})  # fmt: skip
        return
    say(f"{run}: digest {digest}")
    if suppressed:
        say(
            f"{out}: {len(tables)} tables as everybody may see them; "
            f"{sum(hidden.values()):,} rows hidden wholly or in part"
        )
        say("What this run has shown no other can take back: give it to later ones with --shown")
    else:
        say(f"{out}: {len(tables)} whole tables, member rows among them: restricted")
