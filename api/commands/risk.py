"""`ihp score`, `ihp risk import`, `ihp calibrate`: risk scores and the models behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from api.commands.places import READ
from api.console import Json, app, emit_json, named, progress, say
from ihp_compute.calibration import (
    PREDICTORS,
    UNWEIGHTED,
    CalibrationRequest,
    calibrate_population,
)
from ihp_compute.risk import Request, imports, score_files
from ihp_compute.risk.models import store
from ihp_compute.runner import LocalRunner
from ihp_compute.table_files import READABLE
from ihp_compute.units import cents_of, dollars

risk_app = typer.Typer(help="Risk models.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(risk_app, name="risk")

S = TypeVar("S")
T = TypeVar("T")


class Switch(StrEnum):
    """On or off."""

    ON = "on"
    OFF = "off"


class Timing(StrEnum):
    """Which year's codes explain the cost."""

    CONCURRENT = "concurrent"
    PROSPECTIVE = "prospective"


class Order(StrEnum):
    """How hierarchies act."""

    SEQUENTIAL = "sequential"
    SIMULTANEOUS = "simultaneous"


@app.command("score")
def score_command(
    members: Annotated[Path, typer.Argument(help=f"Members: {READABLE}.")],
    diagnoses: Annotated[Path, typer.Argument(help="member_id, diagnosis_code[, service_date].")],
    model: Annotated[
        str, typer.Option(help="cms-hcc-v24, cms-hcc-v28, cms-hcc-blend, or an imported name.")
    ],
    out: Annotated[Path, typer.Option(help="Scores to write: CSV, Parquet or Arrow.")],
    drugs: Annotated[Path | None, typer.Option(help="member_id, ndc_code or hcpcs_code.")] = None,
    code_edits: Annotated[
        Switch, typer.Option(help="The code editor's age edits; splits always act.")
    ] = Switch.ON,
    hierarchies: Annotated[
        Order | None, typer.Option(help="In place of the order the model declares.")
    ] = None,
    year: Annotated[
        int | None, typer.Option(help="Year of the rows that count; the commonest.")
    ] = None,
    payment_year: Annotated[
        int | None, typer.Option(help="Of CMS-HCC: map, factors and age; the year after the rows'.")
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Write OUT's steps and terms per member as JSON lines."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Score members with a risk model.

    Members: member_id, birth_date or age, sex; where a model asks for them
    original_reason_entitlement_code, dual_status_code, medicaid_indicator,
    long_term_institutional_flag, new_enrollee, special_needs_plan, enrollment_duration_months,
    metal_level, csr_indicator, segment, rate_cell, aid_group. Diagnoses: member_id,
    diagnosis_code, service_date. Ids and codes are text. Of a workbook the first sheet is read,
    with a header in its first row.

    Example: ihp score members.xlsx diagnoses.csv --model cms-hcc-v28 --out scores.csv
    """
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
            year=year,
            payment_year=payment_year,
        )
    )
    if as_json:
        emit_json(report)
        return
    say(f"{report['model']} ({report['version']}), {report['hierarchies']} hierarchies")
    for name, count in report["counts"].items():
        say(f"  {name.replace('_', ' ')}: {count:,}")
    for other in report["without_score"]:
        say(
            f"  without a score, {other['reason']}: {other['members']:,} "
            f"(first in row {other['first_row']:,})"
        )
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


@app.command("calibrate")
def calibrate_command(
    population: Annotated[
        Path, typer.Argument(help="Prepared population.", metavar="POPULATION", **READ)
    ],
    out: Annotated[Path, typer.Option(help="Model file to write; the report stands beside it.")],
    contract: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Whose terms say what a member cost, and how the model scores; unbound.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model whose indicators are weighted; the contract's.")
    ] = None,
    year: Annotated[int | None, typer.Option(help="Year of the cost; the last full one.")] = None,
    timing: Annotated[
        Timing | None,
        typer.Option(
            help="Without --contract: codes of the same year, or of the year before; concurrent."
        ),
    ] = None,
    cap: Annotated[
        float | None,
        typer.Option(min=1, help="Without --contract: cap of a member's cost, US dollars a year."),
    ] = None,
    min_months: Annotated[
        int | None,
        typer.Option(min=1, max=12, help="Without --contract: members with fewer months are out."),
    ] = None,
    paid_through: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Claims paid later are left out."),
    ] = None,
    predictors: Annotated[
        str,
        typer.Option(
            metavar="NAME,…",
            help=f"Facts about members that are weighed too: {', '.join(PREDICTORS)}.",
        ),
    ] = "",
    accept: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GATE=REASON",
            help="Let a gate trip, for this reason: codes, a year of codes that is not whole.",
        ),
    ] = None,
    full_months: Annotated[
        int, typer.Option(min=1, help="Member months at which an estimate stands alone.")
    ] = CalibrationRequest.full_months,
    folds: Annotated[
        int, typer.Option(min=2, help="Folds of the out-of-sample fit.")
    ] = CalibrationRequest.folds,
    replicates: Annotated[int | None, typer.Option(hidden=True)] = None,
    seed: Annotated[int | None, typer.Option(hidden=True)] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; all cores.")] = None,
    as_json: Json = False,
) -> None:
    """Estimate the state's own weights on a model's indicators, on the cost that a contract counts.

    Standard errors are clustered by member; nothing is drawn.
    """
    stated = {"--timing": timing, "--cap": cap, "--min-months": min_months}
    for option, value in stated.items():
        if contract is not None and value is not None:
            raise typer.BadParameter(
                f"the contract {contract} says it; give one of both", param_hint=option
            )
    if contract is None and model is None:
        raise typer.BadParameter(
            "name a model, or a contract that scores by one", param_hint="--model"
        )
    facts = tuple(name.strip() for name in predictors.split(",") if name.strip())
    for name in facts:
        if name not in PREDICTORS:
            raise typer.BadParameter(
                f"found {name}, expected one of {', '.join(PREDICTORS)}", param_hint="--predictors"
            )
    with progress("calibrate") as tell:
        report = calibrate_population(
            population,
            out,
            CalibrationRequest(
                contract=contract,
                model=model,
                timing=None if timing is None else timing.value,
                cap_cents=None if cap is None else cents_of(str(cap)),
                min_months=min_months,
                year=year,
                paid_through=None if paid_through is None else paid_through.date(),
                full_months=full_months,
                folds=folds,
                predictors=facts,
                accept=named(accept, "--accept"),
            ),
            _Told(threads, tell),
        )
    if replicates is not None or seed is not None:
        say("--replicates and --seed do nothing any more: standard errors are not drawn")
    if as_json:
        emit_json(report)
        return
    _show_calibration(out, report)


class _Told(LocalRunner):
    """A runner that tells how far a calibration is, which goes over the shards twice."""

    passes = 2

    def __init__(self, threads: int | None, tell: Callable[[int, int], None]) -> None:
        super().__init__(threads)
        self._tell = tell
        self._done = 0

    def map(self, task: Callable[[S], T], shards: Sequence[S]) -> Iterator[T]:
        """Yield results as they finish."""
        for result in super().map(task, shards):
            self._done += 1
            self._tell(self._done, self.passes * len(shards))
            yield result


def _show_calibration(out: Path, report: dict[str, Any]) -> None:
    for note in report["notes"]:
        say(note)
    fit = report["out_of_sample"]
    squared = fit["r_squared"]
    say(
        f"{out}: {report['members']:,} members, {report['member_months']:,} member months, "
        f"R squared {'not defined' if squared is None else f'{squared:.3f}'} and MAPE "
        f"{fit['mape']:.3f} out of sample, sha256 {report['sha256']}"
    )
    say(
        f"  cost of {report['year']} by {report['contract']['name']}, {report['timing']}: "
        f"{dollars(report['cost_cents'])}, {dollars(100 * report['mean_annual_cost_usd'])} a year "
        "of membership"
    )
    for row in report["cost"]:
        if row["lines"] or row["paid_cents"]:
            say(
                f"  {row['fate'].replace('_', ' ')}: {row['lines']:,} lines, "
                f"{dollars(row['paid_cents'])}"
            )
    for predictor, reference in report["predictors"].items():
        say(f"  {predictor.replace('_', ' ')}: others are weighed beside {reference}")
    dropped = [entry for entry in report["dropped"] if entry["reason"] != UNWEIGHTED]
    for entry in dropped[:10]:
        say(f"  no estimate: {entry['term']} in {entry['segment']}: {entry['reason']}")
    more = len(report["dropped"]) - len(dropped[:10])
    if more:
        say(f"  {more} more terms without an estimate are in the report beside the model")
