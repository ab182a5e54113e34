"""The kinds of work a dispatcher knows, by the `kind` of a queued run.

A row of kind `run` holds the document of a `RunRequest`; one of kind `sweep` the folder of a run
and how many rows to expect. What the caller sent stands beside them under `asked`, what the results
follow from under `inputs`.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import structlog

from cluster.home import PARTIAL, Home
from cluster.kept import at_hand
from cluster.opening import make_open
from cluster.placement import RESULT_STORE_BYTES, place, workload
from cluster.queue import Queue
from cluster.runner import RayRunner
from cluster.runs import Run
from cluster.states import Phase
from ihp_compute import pipeline
from ihp_compute.measured_before import MeasuredBefore
from ihp_compute.population import open_population
from ihp_compute.publishing import make_folder
from ihp_compute.remeasured import sweep_anew
from ihp_compute.runner import Runner, batches
from ihp_compute.sweeps import FILE, grid_of, write


class Attempt(Protocol):
    """Whom work tells how far it is; both raise `StoppedError` where it is not wanted any more."""

    def enter(self, phase: Phase) -> None:
        """Claims are measured from now on, or results written."""

    def progress(self, done: int, total: int) -> None:
        """So many shards are done, of so many."""

    @property
    def before(self) -> MeasuredBefore:
        """What this process has measured before."""
        ...

    def keeping(self, runner: Runner, parallelism: int) -> Runner:
        """The runner, which leaves out what an earlier attempt has done, and keeps what it does."""
        ...


PART_S: Final = 60.0
"""About how long the shards of a run that are measured together take at most."""

Work: TypeAlias = Callable[[Run, Path, RayRunner, Attempt], str]
"""Does a run: (run, folder to make, runner, its attempt) -> digest of the results."""

BESIDE: Final = frozenset({"asked", "inputs"})
"""What stands in the row of a run beside its document."""

BeforeSuccess: TypeAlias = Callable[[Run], None]
"""What is made of a run whose results are there, before it is said; nothing of it can fail it."""

log = structlog.get_logger(__name__)


def recalculate(run: Run, out: Path, runner: RayRunner, attempt: Attempt) -> str:
    """Do one recalculation; returns its digest."""
    request = pipeline.RunRequest.of(
        {name: value for name, value in run.request.items() if name not in BESIDE}
    )
    for folder in request.earlier:
        at_hand(folder)
    return pipeline.run(
        request, out, keeping_on(request, runner, run.id, attempt), attempt.progress,
        attempt.enter, before=attempt.before,
    ).digest  # fmt: skip


def keeping_on(
    request: pipeline.RunRequest, runner: RayRunner, run_id: str, attempt: Attempt
) -> Runner:
    """The runner for a run of this size, which keeps what shards come to for the next attempt."""
    placed, expected_s = placed_on(request, runner, run_id)
    # no batch so long that its loss hurts
    apart = max(runner.parallelism, math.ceil(expected_s / PART_S) * runner.parallelism)
    return attempt.keeping(placed, apart)


def placed_on(
    request: pipeline.RunRequest, runner: RayRunner, run_id: str
) -> tuple[RayRunner, float]:
    """The runner for a run of this size, and the seconds that the run is expected to take."""
    population = open_population(request.population)
    placement = place(
        workload(
            population,
            n_tasks=len(batches(population.shards, runner.parallelism)),
            n_replicates=request.replicates + 1,
            n_contracts=len(request.contracts),
            programme=request.programme,
        ),
        cpus=runner.parallelism,
        result_budget_bytes=RESULT_STORE_BYTES // 2,
    )
    log.info(
        "placed",
        run_id=run_id,
        in_flight=placement.in_flight,
        task_mib=placement.task_memory_bytes >> 20,
        expected_s=round(placement.seconds, 3),
    )
    return runner.placed(placement), placement.seconds


def resettle(run: Run, out: Path, runner: Runner, attempt: Attempt) -> str:
    """Do one sweep over a finished run's totals, and those that it wants measured; its digest.

    Stopped before its end, it leaves the rows that are done beside its attempts, and to the next
    attempt what shards came to in the runs that it measured.
    """

    def placed(request: pipeline.RunRequest, on: Runner) -> Runner:
        return keeping_on(request, on, run.id, attempt) if isinstance(on, RayRunner) else on

    asked = run.request
    attempt.enter("running")
    swept = sweep_anew(
        at_hand(Path(asked["run_dir"])),
        grid_of(asked["asked"]["axes"]),
        runner,
        attempt.progress,
        beside=out.parent,
        placed=placed,
        limit=asked["rows"],
        keep=lambda done: write(done, out.parent / PARTIAL, replace=True),
    )
    attempt.enter("committing")
    make_folder(out)
    write(swept, out / FILE)
    return swept.digest


def nothing_before(_run: Run) -> None:
    """Make nothing of a run whose results are there."""


def opening(queue: Queue, home: Home) -> BeforeSuccess:
    """Make what a run of this home shows to everybody, so that no request waits for it."""

    def make(run: Run) -> None:
        if run.kind != "run":
            return
        started_s = time.monotonic()
        try:
            make_open(queue, home, home.attempt(run.id, run.attempt))
        except Exception as error:  # noqa: BLE001 (who asks for it is told, and the run stands)
            log.warning("not_opened", run_id=run.id, error=type(error).__name__)
            return
        log.info("opened", run_id=run.id, seconds=round(time.monotonic() - started_s, 3))

    return make


def warm(_core: int) -> None:
    """Load what a worker needs before the first run asks for it."""
    importlib.import_module("ihp_compute.pipeline")


WORK: Final[Mapping[str, Work]] = {"run": recalculate, "sweep": resettle}
