"""What a run takes by its size: measured, fitted, held against sizes that took no part in it.

    python -m benchmarks.capacity --fit 30000 100000 200000 --check 60000 500000

Each run is a process of its own, which runs twice: the first is fresh, the second warm. Seconds are
wall time and memory is anonymous memory at its highest. Cost is taken as linear in claim lines, in
members x replicates x columns, and in totals; threads divide the first in part, the second whole,
the third not. Least squares of relative errors, without negative terms, finds how much. Nobody else
should use the machine.
Writes `results/capacity-<time>.json`; `cluster.placement` has what came out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.optimize import nnls

from benchmarks.data import State, shards_for
from benchmarks.machine import commit, machine
from benchmarks.memory import ROOT, sampled
from ihp_compute.ingest.passes import ingest

RESULTS: Final = Path(__file__).parent / "results"
CONTRACT: Final = "mn-ihp-2.0-track-2"
VARIANTS: Final = ((2, 2000), (1, 2000), (2, 200), (2, 10_000))
"""Threads and replicates of the runs of each size."""
PROGRAMMES: Final = ("none", "standard")


def population_of(members: int) -> Path:
    """A prepared state of that many members, made where it is missing."""
    made = State(members).make_raw()
    if not (made.population_dir / "manifest.json").is_file():
        ingest(made.raw, made.population_dir, shards=shards_for(members))
    return made.population_dir


def one(folder: Path, programme: str, threads: int, replicates: int) -> dict[str, Any]:
    """A run, twice, in this process: its size, seconds and bytes."""
    from cluster.placement import workload  # noqa: PLC0415 - loading is part of a fresh run
    from ihp_compute.pipeline import RunRequest, run  # noqa: PLC0415
    from ihp_compute.population import open_population  # noqa: PLC0415
    from ihp_compute.runner import LocalRunner, batches  # noqa: PLC0415

    request = RunRequest(folder, (CONTRACT,), programme=programme, replicates=replicates)
    seconds, peaks = [], []
    with tempfile.TemporaryDirectory(prefix="ihp-capacity-") as scratch:
        for turn in ("fresh", "warm"):
            started = time.perf_counter()
            with sampled() as seen:
                run(request, Path(scratch) / turn, LocalRunner(threads))
            seconds.append(time.perf_counter() - started)
            peaks.append(seen.peak_bytes)
    population = open_population(folder)
    work = workload(
        population,
        n_tasks=len(batches(population.shards, threads)),
        n_replicates=replicates + 1,
        n_contracts=1,
        programme=programme,
    )
    return {
        "programme": programme, "threads": threads, "replicates": replicates,
        **{name: value for name, value in asdict(work).items() if name != "costs"},
        "fresh_s": seconds[0], "warm_s": seconds[1],
        "fresh_peak_bytes": peaks[0], "peak_bytes": max(peaks),
    }  # fmt: skip


def apart(folder: Path, programme: str, threads: int, replicates: int) -> dict[str, Any]:
    """`one` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.capacity", "--one", folder, programme,
         str(threads), str(replicates)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(members: Sequence[int], variants: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """Runs of every size, programme and variant, each in a process of its own."""
    found = []
    for size in members:
        folder = population_of(size)
        for programme in PROGRAMMES:
            for threads, replicates in variants:
                found.append(apart(folder, programme, threads, replicates))
                print(
                    f"{size:>9,} members, {programme:>8}, {threads} threads, {replicates:>6,} "
                    f"replicates: {found[-1]['warm_s']:6.2f} s warm, "
                    f"{found[-1]['fresh_s']:6.2f} s fresh, "
                    f"{found[-1]['peak_bytes'] / 2**30:5.2f} GiB",
                    file=sys.stderr, flush=True,
                )  # fmt: skip
    return found


def _draws(row: dict[str, Any]) -> float:
    return float(row["n_members"] * row["n_replicates"] * row["n_columns"])


def _totals(row: dict[str, Any]) -> float:
    return 1.0 * row["n_groups"] * row["n_strata"] * row["n_columns"] * row["n_replicates"]


def _least(features: Sequence[Sequence[float]], values: Sequence[float]) -> list[float]:
    """Coefficients of least squares of relative errors, none below zero."""
    weights = 1 / np.asarray(values, float)
    fitted, _ = nnls(np.asarray(features, float) * weights[:, None], np.ones(len(values)))
    return [float(value) for value in fitted]


def fitted(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Coefficients by programme, under the names that `cluster.placement` has them by."""
    found = {}
    for programme in PROGRAMMES:
        own = [row for row in rows if row["programme"] == programme]
        shared = [min(row["threads"], row["n_tasks"]) for row in own]
        run_s, alone, total, line, draw = _least(
            [
                [1.0, row["n_lines"], _totals(row), row["n_lines"] / cores, _draws(row) / cores]
                for row, cores in zip(own, shared, strict=True)
            ],
            [row["warm_s"] for row in own],
        )
        base, member, result = _least(
            [
                [1.0, row["n_members"], 8 * _totals(row) * cores]
                for row, cores in zip(own, shared, strict=True)
            ],
            [row["peak_bytes"] for row in own],
        )
        found[programme] = {
            "line_ns": line * 1e9, "draw_ns": draw * 1e9, "line_alone_ns": alone * 1e9,
            "total_ns": total * 1e9, "run_s": run_s,
            "fresh_s": float(np.mean([row["fresh_s"] - row["warm_s"] for row in own])),
            "base_bytes": base, "member_bytes": member, "result_copies": result,
        }  # fmt: skip
    return found


def main() -> None:
    """Measure, fit, check, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", type=int, nargs="+", default=[30_000, 100_000, 200_000])
    parser.add_argument("--check", type=int, nargs="*", default=[60_000, 500_000])
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        folder, programme, threads, replicates = given.one
        print(json.dumps(one(Path(folder), programme, int(threads), int(replicates))))
        return
    rows = measured(given.fit, VARIANTS)
    coefficients = fitted(rows)
    checked = measured(given.check, VARIANTS[:1])
    document = {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(), "machine": machine(), "coefficients": coefficients,
        "fitted": rows, "checked": checked,
    }  # fmt: skip
    out = RESULTS / f"capacity-{datetime.now(UTC):%Y-%m-%dT%H%M%S}.json"
    out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(coefficients, indent=1))
    print(out)


if __name__ == "__main__":
    main()
