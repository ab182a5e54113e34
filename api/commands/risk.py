"""`ihp score`, `ihp risk import`, `ihp calibrate`: risk scores and the models behind them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from api.console import app, emit_json, say
from ihp_compute.risk_models.score_files import Request, score_files

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
