"""`ihp synth`, `ihp ingest`, `ihp run` and `ihp demo`: from raw claims to a settled state."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from api.console import app, emit_json, named, progress, say, show_table
from ihp_compute.calibration import CalibrationRequest, calibrate_population
from ihp_compute.contracts import programmes
from ihp_compute.data_quality import (
    DATA_QUALITY,
    FINDINGS,
    INGEST,
    RUN,
    GateTerms,
    gates_of,
    over_files,
    where_of,
)
from ihp_compute.errors import GateError, InfrastructureError
from ihp_compute.ingest import Choices, EqualRows, LaterAmounts, ingest
from ihp_compute.measure import STATEMENT_FIELDS, read_statement
from ihp_compute.pipeline import Outcome, RunRequest, run
from ihp_compute.runner import LocalRunner, Runner
from ihp_compute.settlement import gate_words
from ihp_compute.sweeps import FILE as SWEEP_FILE
from ihp_compute.sweeps import Swept, grid_of, sweep
from ihp_compute.sweeps import write as write_sweep
from ihp_compute.synth import EFFECTS, synth
from ihp_compute.units import dollars

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads; all cores unless given.")]
OPTIONS = RunRequest.options()

SHOWN: Final = 10
"""Rows of a finding, and notes, that are printed."""

DEMO_CONTRACT = "mn-ihp-2.0-track-2"
DEMO_SHARDS = 8


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
    equal_rows: Annotated[
        EqualRows, typer.Option(help="What rows equal in all that has meaning are.")
    ] = Choices.equal_rows,
    later_amounts: Annotated[
        LaterAmounts, typer.Option(help="What a later amount of a line is that says nothing else.")
    ] = Choices.later_amounts,
    as_json: Json = False,
) -> None:
    """Prepare a population from raw tables and print where every dollar went.

    What looks wrong in the data stops it at a gate, with exit code 3, unless accepted.
    """
    choices = Choices(equal_rows=equal_rows, later_amounts=later_amounts)
    gates = GateTerms(
        {name: _number(text, "--gate") for name, text in named(gate, "--gate").items()},
        named(accept, "--accept"),
    )
    try:
        with progress("ingest") as tell:
            report = ingest(
                input_dir,
                out,
                shards=shards,
                threads=threads,
                choices=choices,
                gates=gates,
                control=control,
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


@app.command("run")
def run_command(
    population: Annotated[Path, typer.Argument(help="Folder made by `ihp ingest`.")],
    contracts: Annotated[
        list[str], typer.Option(help="Contract name, term file or statewide contract set.")
    ],
    out: Annotated[Path, typer.Option(help="Run folder to make.")],
    replace_run: Annotated[
        bool, typer.Option("--replace", help="Replace a finished run of other terms in --out.")
    ] = False,
    further: Annotated[
        list[str] | None, typer.Argument(metavar="[CONTRACT]...", help="Further contracts.")
    ] = None,
    performance_year: Annotated[int | None, typer.Option()] = None,
    base_year: Annotated[int | None, typer.Option()] = None,
    paid_through: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Claims paid later are left out."),
    ] = None,
    replicates: Annotated[
        int,
        typer.Option(min=OPTIONS["replicates"].least, help="Draws beside the observed row."),
    ] = RunRequest.replicates,
    seed: Annotated[int, typer.Option(min=OPTIONS["seed"].least)] = RunRequest.seed,
    runner: Annotated[str, typer.Option(help="local or ray.")] = "local",
    ray_address: Annotated[str, typer.Option(help="Cluster to use with --runner ray.")] = "local",
    threads: Threads = None,
    device: Annotated[str, typer.Option(help=f"{OPTIONS['device'].expected}.")] = RunRequest.device,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GATE=REASON",
            help="Let a gate trip, for this reason; repeatable. "
            f"Gates: {', '.join(gates_of(RUN))}.",
        ),
    ] = None,
    statement: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Who answers for the run and what it is for, TOML or JSON; without it the report "
            f"says UNREVIEWED. Fields: {', '.join(STATEMENT_FIELDS)}.",
        ),
    ] = None,
    earlier: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN",
            help="Run folder of an earlier settlement of the year, whose payments this one nets; "
            "repeatable.",
        ),
    ] = None,
    programme: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="What is reported beside settlements: "
            f"{', '.join(programmes())}, or a file of your own.",
        ),
    ] = RunRequest.programme,
    as_json: Json = False,
) -> None:
    """Recalculate every partnership of a population, with an interval on every dollar.

    What looks wrong in what it would do stops it at a gate, with exit code 3, unless accepted.
    """
    request = RunRequest(
        population=population,
        contracts=(*contracts, *(further or ())),
        performance_year=performance_year,
        base_year=base_year,
        paid_through=None if paid_through is None else paid_through.date(),
        replicates=replicates,
        seed=seed,
        device=device,
        accept=named(accept, "--accept"),
        statement={} if statement is None else read_statement(statement),
        earlier=tuple(earlier or ()),
        programme=programme,
    )
    with _runner(runner, ray_address, threads) as chosen, progress("run") as tell:
        outcome = run(request, out, chosen, tell, replace=replace_run)
    if as_json:
        emit_json(outcome.document())
        return
    _show_outcome(outcome)


@app.command("demo")
def demo_command(
    members: Annotated[int, typer.Option(min=1000, help="Enrollees of the state.")] = 50_000,
    out: Annotated[Path, typer.Option(help="Folder to make; a demo there is replaced.")] = Path(
        "out/demo"
    ),
    seed: Annotated[int, typer.Option(min=OPTIONS["seed"].least)] = RunRequest.seed,
    replicates: Annotated[
        int, typer.Option(min=OPTIONS["replicates"].least)
    ] = RunRequest.replicates,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Make a synthetic state, ingest it, recalculate, report, sweep, and weigh risk anew."""
    started = time.perf_counter()
    raw, population, results = (out / name for name in ("raw", "population", "run"))
    own_weights = out / "run-own-weights"
    for folder in (raw, population, results, own_weights):
        if folder.exists() and (out / DEMO_MARK).is_file():
            shutil.rmtree(folder)
    out.mkdir(parents=True, exist_ok=True)
    (out / DEMO_MARK).touch()
    with progress("1 of 5  a synthetic state") as tell:
        synth(members, seed, raw, progress=tell)
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
    _show_outcome(outcome)
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


@contextmanager
def _runner(name: str, ray_address: str, threads: int | None) -> Iterator[Runner]:
    if name == "local":
        yield LocalRunner(threads)
        return
    if name != "ray":
        raise typer.BadParameter(f"expected local or ray, got {name}", param_hint="--runner")
    try:
        from cluster.runner import ray_runner  # noqa: PLC0415 - importing ray costs a second
    except ModuleNotFoundError as error:
        raise InfrastructureError(
            f"{error.name} is not installed; install the cluster extra, or use --runner local"
        ) from error

    with ray_runner(ray_address, threads) as runner:
        yield runner


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


def _show_outcome(outcome: Outcome) -> None:
    for line in outcome.headlines:
        say(line)
    show_table(
        "Settlement",
        {
            "partnership": "left",
            "contract": "left",
            "members": "right",
            "target": "right",
            "observed": "right",
            "savings": "right",
            "rate": "right",
            "95 % interval": "right",
            "gate": "left",
            "payment": "right",
        },
        [
            [
                row["partnership_id"],
                row["contract"],
                f"{row['n_members']:,}",
                dollars(row["target_cents"]),
                dollars(row["observed_cents"]),
                dollars(row["savings_cents"]),
                f"{row['savings_rate']:+.2%}",
                outcome.rate_interval(row["partnership_id"]),
                gate_words(
                    passed=row["gate_passed"],
                    missed_by_cents=row["missed_by_cents"],
                    savings_cents=row["savings_cents"],
                    target_cents=row["target_cents"],
                ),
                dollars(row["payment_cents"]),
            ]
            for row in outcome.settlement
        ],
        optional=("contract", "members", "target", "observed", "savings"),
    )
    for line in outcome.thin_lines:
        say(line)
    say(f"digest {outcome.digest}")
    say(f"{outcome.run_dir}: written in {outcome.seconds:.1f} s")
