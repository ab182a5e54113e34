"""The model of what runs take is found again from runs that follow it."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from benchmarks.capacity import fitted, one

TRUE = {
    "line_ns": 100.0, "draw_ns": 0.25, "line_alone_ns": 20.0, "total_ns": 50.0, "run_s": 0.5,
    "fresh_s": 1.5, "base_bytes": 2e8, "member_bytes": 900.0, "result_copies": 3.0,
}  # fmt: skip


def run_of(members: int, programme: str, threads: int, replicates: int) -> dict[str, Any]:
    lines, columns = 85 * members, 6
    draws = members * replicates * columns
    totals = 27 * 12 * columns * replicates
    warm_s = 0.5 + (lines * 20 + totals * 50 + (lines * 100 + draws * 0.25) / threads) / 1e9
    return {
        "programme": programme, "threads": threads, "n_lines": lines, "n_members": members,
        "n_tasks": 8, "n_replicates": replicates, "n_groups": 27, "n_strata": 12,
        "n_columns": columns, "warm_s": warm_s, "fresh_s": warm_s + 1.5,
        "peak_bytes": 2e8 + 900 * members + 3 * 8 * totals * threads,
    }  # fmt: skip


def test_coefficients_are_found_again() -> None:
    rows = [
        run_of(members, programme, threads, replicates)
        for members, programme, threads, replicates in product(
            (30_000, 300_000), ("none", "standard"), (1, 2), (201, 10_001)
        )
    ]
    for found in fitted(rows).values():
        assert found == pytest.approx(TRUE, rel=1e-4)


def test_a_run_is_measured_twice_with_its_size(small_population: Path) -> None:
    row = one(small_population, "none", threads=1, replicates=10)
    assert row["n_members"] == 2500
    assert row["n_replicates"] == 11
    assert row["fresh_s"] > 0 < row["warm_s"]
    assert row["peak_bytes"] >= row["fresh_peak_bytes"] > 0
