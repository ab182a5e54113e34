"""The kinds of work a dispatcher knows, by the `kind` of a queued run.

A row of kind `run` holds the document of a `RunRequest`; one of kind `sweep` the folder of a run
and how many rows to expect. What the caller sent stands beside them under `asked`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

import structlog

from cluster.placement import Workload, place
from cluster.runner import RESULT_STORE_BYTES, RayRunner
from cluster.runs import Run
from ihp_compute import pipeline
from ihp_compute.codes import RATE_CELLS
from ihp_compute.population import Population, open_population
from ihp_compute.runner import Runner, batches
from ihp_compute.sweeps import FILE, grid_of, sweep, write

Progress: TypeAlias = Callable[[int, int], None]
Work: TypeAlias = Callable[[Run, Path, RayRunner, Progress], str]
"""Does a run: (run, folder to make, runner, progress) -> digest of the results."""

log = structlog.get_logger(__name__)


def recalculate(run: Run, out: Path, runner: RayRunner, progress: Progress) -> str:
    """Do one recalculation; returns its digest."""
    request = pipeline.RunRequest.of(
        {name: value for name, value in run.request.items() if name != "asked"}
    )
    population = open_population(request.population)
    placement = place(
        workload(
            population,
            n_tasks=len(batches(population.shards, runner.parallelism)),
            n_replicates=request.replicates + 1,
            n_contracts=len(request.contracts),
        ),
        cpus=runner.parallelism,
        result_budget_bytes=RESULT_STORE_BYTES // 2,
    )
    log.info(
        "placed",
        run_id=run.id,
        in_flight=placement.in_flight,
        task_mib=placement.task_memory_bytes >> 20,
        expected_s=round(placement.seconds, 3),
    )
    return pipeline.run(request, out, runner.placed(placement), progress).digest


def resettle(run: Run, out: Path, runner: Runner, progress: Progress) -> str:
    """Do one sweep over a finished run's totals; returns its digest."""
    asked = run.request
    swept = sweep(
        Path(asked["run_dir"]),
        grid_of(asked["asked"]["axes"]),
        runner,
        progress,
        limit=asked["rows"],
    )
    out.mkdir()
    write(swept, out / FILE)
    return swept.digest


def warm(_core: int) -> None:
    """Load what a worker needs before the first run asks for it."""
    importlib.import_module("ihp_compute.pipeline")


def workload(
    population: Population, *, n_tasks: int, n_replicates: int, n_contracts: int
) -> Workload:
    """The size of a run over a population, an upper bound where only the plan knows."""
    roster = population.reference("provider_roster")
    partnerships = 0 if roster is None else len(set(roster.column("partnership_id").to_pylist()))
    retained = sum(
        entry["lines"] for entry in population.manifest["ledger"] if entry["fate"] == "retained"
    )
    return Workload(
        n_lines=retained,
        n_members=population.manifest["members"],
        n_tasks=n_tasks,
        n_replicates=n_replicates,
        n_groups=partnerships + 2,
        n_strata=len(RATE_CELLS),
        n_columns=4 + 2 * n_contracts,
    )


WORK: Final[Mapping[str, Work]] = {"run": recalculate, "sweep": resettle}
