"""`ihp run`: every partnership of a population settled, or what that would take."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from api.commands.places import READ
from api.console import Json, Threads, app, emit_json, named, progress, say, show_table
from ihp_compute.contracts import programmes
from ihp_compute.data_quality import RUN, gates_of
from ihp_compute.errors import InfrastructureError
from ihp_compute.measure import STATEMENT_FIELDS, foresee, read_statement
from ihp_compute.pipeline import Outcome, RunRequest, run
from ihp_compute.runner import LocalRunner, Runner, batches
from ihp_compute.settlement import gate_words
from ihp_compute.storage import publishing
from ihp_compute.units import dollars

OPTIONS = RunRequest.options()


@app.command("run")
def run_command(
    population: Annotated[
        Path, typer.Argument(help="Made by `ihp ingest`.", metavar="POPULATION", **READ)
    ],
    contracts: Annotated[
        list[str],
        typer.Option(
            help="One contract for all partnerships, by name or file, or one statewide set, which "
            "says who has which."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Run folder to make; not with --plan.", show_default=False)
    ] = None,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Say what time and memory it would take, and do nothing."),
    ] = False,
    replace_run: Annotated[
        bool, typer.Option("--replace", help="Replace a finished run of other terms in --out.")
    ] = False,
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
    workbook: Annotated[
        bool, typer.Option("--workbook", help="Write workbook.xlsx beside the report too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Recalculate every partnership of a population, with an interval on every dollar.

    What looks wrong in what it would do stops it at a gate, with exit code 3, unless accepted.
    """
    request = RunRequest(
        population=population,
        contracts=tuple(contracts),
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
    if (out is None) != plan:
        raise typer.BadParameter("give one of --out, to run, and --plan, to say what that takes")
    if out is None:
        if runner != "local":
            raise typer.BadParameter("a plan is one of this machine", param_hint="--runner")
        _plan(request, threads, as_json=as_json)
        return
    with (
        publishing(out, replace=replace_run) as (folder, place),
        _runner(runner, ray_address, threads) as chosen,
        progress("run") as tell,
    ):
        outcome = run(request, folder, chosen, tell, replace=replace_run, workbook=workbook)
    outcome = replace(outcome, run_dir=place)
    if as_json:
        emit_json(outcome.document())
        return
    show_outcome(outcome)


def _plan(request: RunRequest, threads: int | None, *, as_json: bool) -> None:
    """Say what a run would take, by the measured costs of others."""
    from cluster.placement import workload  # noqa: PLC0415 - nothing else here needs it

    found = foresee(request)
    population = found.population
    cores = LocalRunner(threads).parallelism
    work = workload(
        population,
        n_tasks=len(batches(population.shards, cores)),
        n_replicates=request.replicates + 1,
        n_contracts=len(found.contracts.rule_sets(found.performance_year)),
        programme=request.programme,
    )
    mapped = sum(stamp["bytes"] for stamp in population.manifest["files"].values())
    warm_s = work.seconds(cores)
    document = {
        "members": work.n_members,
        "lines": work.n_lines,
        "threads": cores,
        "seconds": round(warm_s + work.costs.fresh.value, 3),
        "warm_seconds": round(warm_s, 3),
        "anonymous_bytes": work.anonymous_bytes(cores),
        "mapped_bytes": mapped,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "costs": asdict(work.costs),
    }
    if as_json:
        emit_json(document)
        return
    say(
        f"{work.n_members:,} members, {work.n_lines:,} claim lines, {request.replicates:,} "
        f"replicates, {cores} threads:"
    )
    say(f"about {document['seconds']:.1f} s, {warm_s:.1f} s in a process that has run before")
    say(
        f"about {document['anonymous_bytes'] / 2**30:.2f} GiB of its own and {mapped / 2**30:.2f} "
        f"GiB of files mapped; this machine has {document['memory_bytes'] / 2**30:.1f} GiB"
    )
    say(f"by costs measured elsewhere ({work.costs.run.source})")


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

    # what Ray says of nodes goes where people read: stdout belongs to the one document
    with ray_runner(ray_address, threads) as runner, redirect_stdout(sys.stderr):
        yield runner


def show_outcome(outcome: Outcome) -> None:
    """Print what a run came to: headlines, settlement, what is thin, where it is."""
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
