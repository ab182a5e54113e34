"""`ihp report`: the report of a finished run made again, under a statement that came later."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from api.commands.tables import SHOWN_HELP
from api.console import app, emit_json, say
from ihp_compute.folders import check_file_place
from ihp_compute.measure import STATEMENT_FIELDS, read_statement
from ihp_compute.report import write_report
from ihp_compute.results import open_form, restate, verify_run


@app.command("report")
def report_command(
    run: Annotated[Path, typer.Argument(help="Folder made by `ihp run`.")],
    statement: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Who answers for the run, TOML or JSON, instead of what was stated. "
            f"Fields: {', '.join(STATEMENT_FIELDS)}.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the page here, and leave the run as it is.")
    ] = None,
    suppressed: Annotated[
        bool,
        typer.Option(
            "--suppressed",
            help="Only what everybody may see; with --out. What is hidden is fixed when a run is "
            "first shown.",
        ),
    ] = False,
    shown: Annotated[
        list[Path] | None, typer.Option("--shown", metavar="RUN", help=SHOWN_HELP)
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace what is in --out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Make the report of a finished run again, from its verified results; no number changes.

    Without --out the page in the run's folder is replaced, and with it what its manifest says of
    statement and page: the run's digest stays, the manifest's own becomes another.
    """
    if suppressed and out is None:
        raise typer.BadParameter(
            "goes with --out: the page in the run's folder is whole", param_hint="--suppressed"
        )
    if shown and not suppressed:
        raise typer.BadParameter("goes with --suppressed", param_hint="--shown")
    stated = None if statement is None else read_statement(statement)
    if out is None:
        made = restate(run, write_report, stated)
        if as_json:
            emit_json({"run_dir": str(run), **asdict(made)})
            return
        say(f"{run}: digest {made.digest}, as it was")
        changed = ", ".join(made.changed) or "nothing, the page is the one that was there"
        say(f"changed in its manifest: {changed}")
        if made.seal != made.seal_before:
            say(f"manifest_digest {made.seal_before[:16]}… is {made.seal[:16]}… now")
        return
    check_file_place(out, replace=replace)
    digest = verify_run(run)
    form = open_form(run, shown or ()) if suppressed else None
    write_report(run, out, stated, form=form)
    if as_json:
        emit_json({"run_dir": str(run), "digest": digest, "out": str(out)})
        return
    say(f"{run}: digest {digest}, nothing in it changed")
    kept = "" if stated is None else "; the statement stands on this page and not in the run"
    say(f"{out}: written{kept}")
