"""What the programme costs a run: with everything on beside without, in turns in one warm process.

    python -m benchmarks.programme_cost --members 500000 --pairs 7

A pair is one run without a programme and one with the standard one, of the same population and
contract; which of them is first alternates. A first pair, untimed, warms the process. Processor and
wall seconds are of whole runs, and the ratio is the median of the pairs' own ratios: other work on
the machine meets both of a pair. Peaks of anonymous memory are of a fresh process for each.
Writes `results/programme-cost-<time>.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.capacity import CONTRACT, PROGRAMMES, RESULTS, apart, population_of
from benchmarks.machine import commit, machine
from benchmarks.race import Clock
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.runner import LocalRunner

WITHOUT, WITH = PROGRAMMES


def pairs_of(
    folder: Path, *, pairs: int, threads: int, replicates: int
) -> dict[str, dict[str, list[float]]]:
    """Wall and processor seconds of each pair's runs, by programme."""
    with tempfile.TemporaryDirectory(prefix="ihp-programme-") as scratch:

        def ran(programme: str) -> None:
            request = RunRequest(folder, (CONTRACT,), programme=programme, replicates=replicates)
            run(request, Path(scratch) / programme, LocalRunner(threads), replace=True)

        clocks = {name: Clock(partial(ran, name)) for name in PROGRAMMES}
        for clock in clocks.values():
            clock()
            clock.forget()
        for turn in range(pairs):
            for name in PROGRAMMES if turn % 2 == 0 else reversed(PROGRAMMES):
                clocks[name]()
    return {
        name: {"wall_s": clock.wall, "process_s": clock.process} for name, clock in clocks.items()
    }


def ratio(found: dict[str, dict[str, list[float]]], what: str) -> float:
    """Median of the pairs' ratios of what a run takes with everything on to what it takes without.

    >>> ratio({"none": {"wall_s": [1.0, 2.0]}, "standard": {"wall_s": [1.5, 4.0]}}, "wall_s")
    1.75
    """
    both = zip(found[WITH][what], found[WITHOUT][what], strict=True)
    return statistics.median(on / off for on, off in both)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=500_000)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--replicates", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    folder = population_of(given.members)
    load = os.getloadavg()
    found = pairs_of(folder, pairs=given.pairs, threads=given.threads, replicates=given.replicates)
    peaks = {
        name: apart(folder, name, given.threads, given.replicates)["peak_bytes"]
        for name in PROGRAMMES
    }
    for name in PROGRAMMES:
        print(
            f"{name:>8}: {statistics.median(found[name]['process_s']):.2f} s of processor time, "
            f"{statistics.median(found[name]['wall_s']):.2f} s of wall time, "
            f"peak {peaks[name] / 2**30:.2f} GiB"
        )
    ratios = {what: ratio(found, what) for what in ("process_s", "wall_s")}
    print("ratio: {process_s:.2f} of processor time, {wall_s:.2f} of wall time".format(**ratios))
    document: dict[str, Any] = {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        **commit(), "machine": machine(), "load_before": load, "load_after": os.getloadavg(),
        "members": given.members, "threads": given.threads, "replicates": given.replicates,
        "contract": CONTRACT, "ratios": ratios, "runs": found, "peak_bytes": peaks,
    }  # fmt: skip
    path = given.out / f"programme-cost-{datetime.now(UTC):%Y-%m-%dT%H%M%S}.json"
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
