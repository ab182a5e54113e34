"""`ihp report`: a finished run as page, workbook and PDF, or stated anew by who answers for it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from api.commands.places import READ, opened
from api.commands.tables import Shown, check_shown
from api.console import app, emit_json, say
from ihp_compute.folders import check_file_place
from ihp_compute.measure import STATEMENT_FIELDS, read_statement
from ihp_compute.report import require_browser, write_pdf, write_report
from ihp_compute.results import OpenForm, read_manifest, restate, verify_run
from ihp_compute.storage import is_view
from ihp_compute.workbook import WORKBOOK, require_workbook, write_workbook


@app.command("report")
def report_command(
    run: Annotated[Path, typer.Argument(help="Made by `ihp run`.", metavar="RUN", **READ)],
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report here, one page.")
    ] = None,
    xlsx: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the workbook here: a sheet for each exhibit."),
    ] = None,
    pdf: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Print the report here; Chromium must be installed."),
    ] = None,
    suppress: Annotated[
        bool,
        typer.Option(
            "--suppress",
            "--suppressed",
            help="Only what everybody may see. What is hidden is fixed when a run is first shown.",
        ),
    ] = False,
    shown: Shown = None,
    statement: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Who answers for the run, TOML or JSON, instead of what was stated. "
            f"Fields: {', '.join(STATEMENT_FIELDS)}.",
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace files that are there.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Write a finished run as a page, a workbook or a PDF, from its verified results.

    With --statement and no file the pages in the run's folder are made again under it, and with
    them what its manifest says: the run's digest stays, the manifest's own becomes another.

    Example: ihp report out/run --xlsx settlement.xlsx --pdf settlement.pdf
    """
    places = {form: path for form, path in (("html", html), ("xlsx", xlsx), ("pdf", pdf)) if path}
    if not places and statement is None:
        raise typer.BadParameter(
            "found none, expected at least one of --html, --xlsx, --pdf, or a --statement for the "
            "pages in the run's folder",
            param_hint="--html",
        )
    if suppress and not places:
        raise typer.BadParameter(
            "goes with a file: the pages in the run's folder are whole", param_hint="--suppress"
        )
    check_shown(shown, suppress=suppress)
    stated = None if statement is None else read_statement(statement)
    if not places and is_view(run):
        raise typer.BadParameter(
            "a run in a bucket is a record; give a file to write", param_hint="--statement"
        )
    if not places:
        _state_anew(run, stated, as_json=as_json)
        return
    for path in places.values():
        check_file_place(path, replace=replace)
    digest = verify_run(run)
    if xlsx is not None:
        require_workbook()
    if pdf is not None:
        require_browser()
    form = opened(run, shown) if suppress else None
    if html is not None:
        write_report(run, html, stated, form=form)
    if xlsx is not None:
        write_workbook(run, xlsx, stated, form=form)
    if pdf is not None:
        _print(run, pdf, stated, form)
    if as_json:
        files = {name: str(path) for name, path in places.items()}
        emit_json({"run_dir": str(run), "digest": digest, "suppressed": suppress, "files": files})
        return
    say(f"{run}: digest {digest}, nothing in it changed")
    kept = "" if stated is None else "; the statement stands here and not in the run"
    for path in places.values():
        say(f"{path}: written{kept}")


def _print(run: Path, out: Path, stated: Mapping[str, str] | None, form: OpenForm | None) -> None:
    with tempfile.TemporaryDirectory(prefix="ihp-report-") as folder:
        write_pdf(write_report(run, Path(folder) / "report.html", stated, form=form), out)


def _state_anew(run: Path, stated: Mapping[str, str] | None, *, as_json: bool) -> None:
    has_workbook = WORKBOOK in read_manifest(run).get("files", {})
    pages = [write_report, *([write_workbook] if has_workbook else [])]
    made = restate(run, pages, stated)
    if as_json:
        emit_json({"run_dir": str(run), **asdict(made)})
        return
    say(f"{run}: digest {made.digest}, as it was")
    changed = ", ".join(made.changed) or "nothing, the pages are those that were there"
    say(f"changed in its manifest: {changed}")
    if made.seal != made.seal_before:
        say(f"manifest_digest {made.seal_before[:16]}… is {made.seal[:16]}… now")
