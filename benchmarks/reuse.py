"""How long a run of other settlement terms takes in a process that has measured its population.

    python -m benchmarks.reuse 500000
    python -m benchmarks.reuse 500000 --programme none --turns 9 --profile

The first run measures; each further one has another share of gains, takes measured parts from
before by content and writes its folder whole: settlement, tables, digest and report. The median of
wall and of processor time is told. `--profile` tells where the time of one more goes.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Final

from benchmarks.data import State
from ihp_compute.measure import make_plan
from ihp_compute.measured_before import MeasuredBefore
from ihp_compute.pipeline import Outcome, RunRequest, run
from ihp_compute.runner import LocalRunner

CONTRACT: Final = "mn-ihp-2.0-track-2"
THREADS: Final = 2


def runs(population: Path, folder: Path, programme: str) -> Callable[[int], Outcome]:
    """Does the n-th run, each of its own share of gains."""
    request = RunRequest(population, (CONTRACT,), programme=programme)
    shipped = make_plan(request).contracts
    before, runner = MeasuredBefore(), LocalRunner(THREADS)

    def of_share(turn: int) -> Outcome:
        terms = {"settlement.gain.share": Decimal(10 + turn) / 100}
        # one object for all who have one contract, as a contract set is read
        other = {id(one): one.override(terms) for one in shipped.contracts.values()}
        contracts = replace(
            shipped, contracts={name: other[id(one)] for name, one in shipped.contracts.items()}
        )
        return run(request, folder / f"run-{turn}", runner, contracts=contracts, before=before)

    return of_share


def main() -> None:
    """Measure once, then settle otherwise, turn after turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("members", type=int)
    parser.add_argument("--programme", default="standard")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    made = State(asked.members).make_population()
    with tempfile.TemporaryDirectory(prefix="ihp-bench-") as work:
        of_share = runs(made.population_dir, Path(work), asked.programme)
        first = of_share(0)
        gc.collect()
        gc.freeze()  # as a dispatcher does
        print(f"measured: {first.seconds:.2f} s", flush=True)
        took = []
        for turn in range(1, asked.turns + 1):
            wall, processor = time.perf_counter(), time.process_time()
            of_share(turn)
            took.append((time.perf_counter() - wall, time.process_time() - processor))
        for name, seconds in zip(("wall", "processor"), zip(*took, strict=True), strict=True):
            told = ", ".join(f"{one:.3f}" for one in seconds)
            print(f"other terms, {name}: {statistics.median(seconds):.3f} s of {told}")
        if asked.profile:
            with cProfile.Profile(time.thread_time) as profile:
                of_share(asked.turns + 1)
            pstats.Stats(profile).sort_stats("cumulative").print_stats(70)


if __name__ == "__main__":
    main()
