"""`ihp synth`, `ihp ingest` and `ihp demo`: raw claims, a population, and a state settled."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from api.commands.run import show_outcome
from api.console import Json, Threads, app, emit_json, named, progress, say, show_table
from ihp_compute.calibration import CalibrationRequest, calibrate_population
from ihp_compute.data_quality import (
    DATA_QUALITY,
    FINDINGS,
    INGEST,
    GateTerms,
    gates_of,
    over_files,
    where_of,
)
from ihp_compute.errors import GateError
from ihp_compute.ingest import Choices, EqualRows, LaterAmounts, ingest
from ihp_compute.pipeline import Outcome, RunRequest, run
from ihp_compute.runner import LocalRunner
from ihp_compute.storage import publishing
from ihp_compute.sweeps import FILE as SWEEP_FILE
from ihp_compute.sweeps import Swept, grid_of, sweep
from ihp_compute.sweeps import write as write_sweep
from ihp_compute.synth import EFFECTS, N_PARTNERSHIPS, synth
from ihp_compute.units import dollars

OPTIONS = RunRequest.options()

SHOWN: Final = 10
"""Rows of a finding, and notes, that are printed."""

DEMO_CONTRACT = "mn-ihp-2.0-track-2"
DEMO_SHARDS = 8
DEMO_PARTNERSHIPS = 8


@app.command("synth")
def synth_command(
    members: Annotated[int, typer.Option(min=100, help="Enrollees of the synthetic state.")],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same state.")] = 1,
    plant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="What holds of people and clinics; repeatable. "
            + "; ".join(f"{e.name} ({e.shipped:g}): {e.meaning}" for e in EFFECTS),
        ),
    ] = None,
    paid_through: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            help="Claims paid later are not there yet; six months of run-out unless given.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a synthetic state in the input layout, with the known answers beside it."""
    effects = {
        name: _number(text, "--plant") for name, text in named(plant, "--plant").items()
    }  # fmt: skip
    through = None if paid_through is None else paid_through.date()
    with progress("synth") as tell:
        truth = synth(members, seed, out, plant=effects, paid_through=through, progress=tell)
    if as_json:
        emit_json(truth)
        return
    say(
        f"{out}: {members:,} members, seed {seed}, claims paid through {truth['paid_through']}; "
        f"the answers are in {out / 'truth.json'}"
    )


@app.command("ingest")
def ingest_command(
    input_dir: Annotated[Path, typer.Argument(help="Folder of raw tables, CSV or Parquet.")],
    out: Annotated[Path, typer.Option(help="Population folder to make.")],
    shards: Annotated[
        int | None,
        typer.Option(min=1, max=65_535, help="Shards to cut into; 64, more for large input."),
    ] = None,
    threads: Threads = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(metavar="GATE=REASON", help="Let a gate trip, for this reason; repeatable."),
    ] = None,
    gate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GATE=VALUE",
            help=f"Threshold of a gate; repeatable. Gates: {', '.join(gates_of(INGEST))}.",
        ),
    ] = None,
    control: Annotated[
        Path | None,
        typer.Option(help="Control totals: table, file, month, plan, lines, dollars."),
    ] = None,
    onto: Annotated[
        Path | None,
        typer.Option(
            metavar="POPULATION",
            help="Population that INPUT_DIR is a delivery for: its rows join those that came "
            "before, and only what changes is made anew. It stays as it is; the new one goes to "
            "--out.",
        ),
    ] = None,
    equal_rows: Annotated[
        EqualRows | None,
        typer.Option(
            help="What rows equal in all that has meaning are.",
            show_default=f"{Choices.equal_rows}; with --onto as before",
        ),
    ] = None,
    later_amounts: Annotated[
        LaterAmounts | None,
        typer.Option(
            help="What a later amount of a line is that says nothing else.",
            show_default=f"{Choices.later_amounts}; with --onto as before",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Prepare a population from raw tables and print where every dollar went.

    What looks wrong in the data stops it at a gate, with exit code 3, unless accepted.
    """
    if onto is not None and shards is not None:
        raise typer.BadParameter(
            "a delivery takes over the shards of its population; leave it out beside --onto",
            param_hint="--shards",
        )
    if onto is not None and os.path.realpath(out) == os.path.realpath(onto):
        raise typer.BadParameter(
            "is the population that is added to, which stays as it is; choose another place",
            param_hint="--out",
        )
    chosen = {"equal_rows": equal_rows, "later_amounts": later_amounts}
    gates = GateTerms(
        {name: _number(text, "--gate") for name, text in named(gate, "--gate").items()},
        named(accept, "--accept"),
    )
    try:
        with publishing(out) as (folder, _), progress("ingest") as tell:
            report = ingest(
                input_dir,
                folder,
                shards=shards,
                threads=threads,
                choices={name: choice for name, choice in chosen.items() if choice is not None},
                gates=gates,
                control=control,
                onto=onto,
                progress=tell,
            )
    except GateError as error:
        if not as_json:
            _show_found(error.document)
        raise
    if as_json:
        emit_json(report)
        return
    _show_ingest(report)


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"expected a number, got {text}", param_hint=option) from None


@app.command("demo")
def demo_command(
    members: Annotated[int, typer.Option(min=1000, help="Enrollees of the state.")] = 50_000,
    out: Annotated[Path, typer.Option(help="Folder to make; a demo there is replaced.")] = Path(
        "out/demo"
    ),
    partnerships: Annotated[
        int,
        typer.Option(
            min=1,
            max=N_PARTNERSHIPS,
            help="Partnerships that share its attributed people; most of 8 reach the contract's "
            "minimum size among 50,000.",
        ),
    ] = DEMO_PARTNERSHIPS,
    seed: Annotated[int, typer.Option(min=OPTIONS["seed"].least)] = RunRequest.seed,
    replicates: Annotated[
        int, typer.Option(min=OPTIONS["replicates"].least)
    ] = RunRequest.replicates,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Make a synthetic state, ingest it, recalculate, report, sweep, and weigh risk anew."""
    started = time.perf_counter()
    fewer = N_PARTNERSHIPS - partnerships
    raw, population, results = (out / name for name in ("raw", "population", "run"))
    own_weights = out / "run-own-weights"
    for folder in (raw, population, results, own_weights):
        if folder.exists() and (out / DEMO_MARK).is_file():
            shutil.rmtree(folder)
    out.mkdir(parents=True, exist_ok=True)
    (out / DEMO_MARK).touch()
    with progress("1 of 5  a synthetic state") as tell:
        synth(members, seed, raw, plant={"fewer_partnerships": fewer}, progress=tell)
    with progress("2 of 5  ingest") as tell:
        report = ingest(raw, population, shards=DEMO_SHARDS, threads=threads, progress=tell)
    request = RunRequest(
        population=population, contracts=(DEMO_CONTRACT,), replicates=replicates, seed=seed
    )
    with progress("3 of 5  recalculate") as tell:
        outcome = run(request, results, LocalRunner(threads), tell)
    swept = None
    if replicates:  # a sweep gives quantiles over them
        with progress("4 of 5  sweep") as tell:
            swept = sweep(results, grid_of(DEMO_AXES), LocalRunner(threads), tell)
        write_sweep(swept, out / SWEEP_FILE, replace=True)
    with progress("5 of 5  the state's own risk weights") as tell:
        own_set = out / "own_weights.toml"
        own_set.write_text(_own_weights_set(DEMO_INDICATORS), encoding="utf-8")
        weights = out / "own_weights.json"
        asked = CalibrationRequest(contract=str(own_set))
        fit = calibrate_population(population, weights, asked, LocalRunner(threads))
        own_set.write_text(_own_weights_set(str(weights.resolve())), encoding="utf-8")
        request = replace(request, contracts=(str(own_set),), replicates=0)
        beside = run(request, own_weights, LocalRunner(threads), tell)
    if as_json:
        emit_json({**outcome.document(), "sweep": None if swept is None else swept.document()})
        return
    _show_ingest(report)
    show_outcome(outcome)
    if swept is not None:
        say(_sweep_line(swept, outcome))
        say(f"{out / SWEEP_FILE}: {swept.table.num_rows:,} rows, swept in {swept.seconds:.1f} s")
    say(_weights_line(fit, outcome, beside))
    say(f"{time.perf_counter() - started:.1f} s in all. Next:")
    say(f"  open {results / 'report.html'}")
    say(f"  ihp explain {results} --partnership {outcome.settlement[0]['partnership_id']}")
    say(
        "  ihp ingest YOUR_FOLDER --out POPULATION, then ihp run POPULATION --contracts … --out RUN"
    )


def _sweep_line(swept: Swept, outcome: Outcome) -> str:
    """The scenarios that pay the whole state's partnerships least and most."""
    by_scenario: dict[int, int] = {}
    columns = ("scenario_id", "payment_cents")
    for scenario, cents in zip(*(swept.table.column(c).to_pylist() for c in columns), strict=True):
        by_scenario[scenario] = by_scenario.get(scenario, 0) + cents
    low, high = (dollars(end(by_scenario.values())) for end in (min, max))
    paid = dollars(sum(row["payment_cents"] for row in outcome.settlement))
    return (
        f"swept {len(by_scenario):,} scenarios of gain share, loss share and gate: payments in all "
        f"from {low} to {high}; {paid} under the contract"
    )


def _own_weights_set(model: str) -> str:
    """A contract set: the demo's contract for everybody, scored by a model and a year's own codes.

    Weights are calibrated on the cost that it counts: first it names the model whose categories are
    weighed, then the weights.
    """
    return (
        "# The demo's contract, with scores by weights calibrated on this state's own claims.\n"
        '[set]\nname = "own-weights"\n\n'
        f'[default]\ncontract = "{DEMO_CONTRACT}"\n\n'
        f'[default.overrides]\n"risk.model" = {json.dumps(model)}\n"risk.timing" = "concurrent"\n'
    )


def _weights_line(fit: dict[str, Any], supplied: Outcome, beside: Outcome) -> str:
    """What the settlement would be under weights calibrated on the state's own claims."""
    own = {row["partnership_id"]: row["payment_cents"] for row in beside.settlement}
    moved = {
        row["partnership_id"]: own[row["partnership_id"]] - row["payment_cents"]
        for row in supplied.settlement
    }
    most = max(moved, key=lambda name: abs(moved[name]))
    squared = fit["out_of_sample"]["r_squared"]
    return (
        f"risk weights calibrated on this state's claims (R squared "
        f"{'not defined' if squared is None else f'{squared:.2f}'} out of sample) beside the "
        f"supplied scores: payments in all {dollars(sum(own.values()))}; the largest change is "
        f"{most}, {dollars(moved[most])}; see {beside.run_dir}"
    )


DEMO_INDICATORS = "cms-hcc-v28"
"""Whose condition categories the demo weighs anew."""
DEMO_AXES = {
    "settlement.gain.share": {"from": Decimal("0.3"), "to": Decimal("0.7"), "count": 9},
    "settlement.loss.share": [Decimal("0.3"), Decimal("0.4"), Decimal("0.5"), Decimal("0.6")],
    "settlement.gate.gain_rate": {"from": 0, "to": Decimal("0.04"), "count": 5},
}
DEMO_MARK = ".ihp-demo"
"""Marks a folder whose parts the demo may replace."""


def _show_ingest(report: Mapping[str, Any]) -> None:
    _show_found(report)
    say(
        f"balanced; {report['members']:,} members, {report['member_months']:,} member months, "
        f"population {report['population_digest'][:16]}"
    )


def _show_found(report: Mapping[str, Any]) -> None:
    """What an ingest found, whether or not it was let through."""
    show_table(
        "Every dollar has one fate",
        {"table": "left", "fate": "left", "lines": "right", "dollars": "right"},
        [
            [table, fate, f"{lines:,}", dollars(cents)]
            for (table, fate), (lines, cents) in _ledger_over_files(report["ledger"]).items()
        ],
    )
    _show_noticed(report)
    notes = [*report["notes"], *(f"gate {k} accepted: {v}" for k, v in report["accepted"].items())]
    for note in notes[:SHOWN]:
        say(f"note: {note}")
    if len(notes) > SHOWN:
        say(f"and {len(notes) - SHOWN:,} more notes; --json has them")


def _show_noticed(report: Mapping[str, Any]) -> None:
    """What was noticed, by finding: the first rows of each, what tripped a gate first."""
    shown: list[list[str]] = []
    rows = over_files(
        report[DATA_QUALITY.name],
        {name: table["rows_read"] for name, table in report["tables"].items()},
    )
    for name, finding in FINDINGS.items():
        found = [row for row in rows if row["finding"] == name]
        found.sort(key=lambda row: not row["tripped"])
        shown += [[finding.meaning, *_noticed_cells(row)] for row in found[:SHOWN]]
        if len(found) > SHOWN:
            more = f"and {len(found) - SHOWN:,} more; --json has them"
            shown.append([finding.meaning, more, "", "", "", ""])
    if shown:
        show_table(
            "What was noticed",
            {
                "finding": "left",
                "where": "left",
                "lines": "right",
                "dollars": "right",
                "share": "right",
                "gate": "left",
            },
            shown,
            optional=("gate", "share"),
        )


def _noticed_cells(row: dict[str, Any]) -> list[str]:
    return [
        " ".join(filter(None, (where_of(row), row["subject"]))),
        f"{row['lines']:,}" if row["lines"] else "",
        dollars(row["paid_cents"]) if row["paid_cents"] else "",
        f"{row['share']:.2%}" if row["share"] and row["lines"] else "",
        "" if not row["tripped"] else "accepted" if row["accepted"] else row["gate"],
    ]


def _ledger_over_files(rows: list[dict[str, Any]]) -> dict[tuple[str, str], tuple[int, int]]:
    summed: dict[tuple[str, str], tuple[int, int]] = {}
    for row in rows:
        key = (row["source_table"], row["fate"])
        lines, cents = summed.get(key, (0, 0))
        summed[key] = (lines + row["lines"], cents + row["paid_cents"])
    return summed
