"""`ihp score`, `ihp risk import`, `ihp calibrate`: risk scores and the models behind them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from api.console import app, emit_json, say
from ihp_compute.risk_models import imports, store
from ihp_compute.risk_models.score_files import Request, score_files

risk_app = typer.Typer(help="Risk models.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(risk_app, name="risk")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


class Switch(StrEnum):
    """On or off."""

    ON = "on"
    OFF = "off"


class Order(StrEnum):
    """How hierarchies act."""

    SEQUENTIAL = "sequential"
    SIMULTANEOUS = "simultaneous"


@app.command("score")
def score_command(
    members: Annotated[Path, typer.Argument(help="Members: CSV, Parquet or Arrow.")],
    diagnoses: Annotated[Path, typer.Argument(help="member_id, diagnosis_code[, service_date].")],
    model: Annotated[str, typer.Option(help="cms-hcc-v24, cms-hcc-v28, or an imported name.")],
    out: Annotated[Path, typer.Option(help="Scores to write: CSV, Parquet or Arrow.")],
    drugs: Annotated[Path | None, typer.Option(help="member_id, ndc_code or hcpcs_code.")] = None,
    code_edits: Annotated[
        Switch, typer.Option(help="The code editor's age edits; splits always act.")
    ] = Switch.ON,
    hierarchies: Annotated[
        Order | None, typer.Option(help="In place of the order the model declares.")
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Write OUT's steps and terms per member as JSON lines."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Score members with a risk model."""
    report = score_files(
        Request(
            members=members,
            diagnoses=diagnoses,
            model=model,
            out=out,
            drugs=drugs,
            code_edits=code_edits is Switch.ON,
            hierarchies=None if hierarchies is None else hierarchies.value,
            explain=explain,
        )
    )
    if as_json:
        emit_json(report)
        return
    say(f"{report['model']} ({report['version']}), {report['hierarchies']} hierarchies")
    for name, count in report["counts"].items():
        say(f"  {name.replace('_', ' ')}: {count:,}")
    for note in report["notes"]:
        say(f"  {note}")


@risk_app.command("import")
def import_command(
    folder: Annotated[Path, typer.Argument(help="Folder of HHS-HCC tables, or a licensed model.")],
    name: Annotated[str, typer.Option("--as", help="Name to load it by.")],
    diagnosis_map: Annotated[
        Path | None, typer.Option(help="CSV with splits, edits and dates of the codes.")
    ] = None,
    program: Annotated[
        Path | None, typer.Option(help="Program facts in place of those shipped (JSON).")
    ] = None,
    year: Annotated[
        int | None, typer.Option(help="Benefit year; read from the folder's name unless given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Import a risk model into the model store."""
    report = imports.import_model(
        folder, name, diagnosis_map=diagnosis_map, program=program, year=year
    )
    if as_json:
        emit_json(report)
        return
    say(f"{name}: {report['version']}, sha256 {report['sha256']}, in {store.default_store()}")
    for key, count in report["counts"].items():
        say(f"  {key.replace('_', ' ')}: {count:,}")


@risk_app.command("list")
def list_command(as_json: Json = False) -> None:
    """List the models that can be named."""
    names = store.names()
    if as_json:
        emit_json({"models": names, "store": str(store.default_store())})
        return
    for name in names:
        typer.echo(name)
