"""The state in one row: who comes nearest to a gate."""

from __future__ import annotations

from pathlib import Path

import pytest

from ihp_compute.pipeline import RunRequest, run
from ihp_compute.report.page import render
from ihp_compute.report.partnerships import Partnership
from ihp_compute.report.state import state_row
from ihp_compute.results import SETTLEMENT, result
from ihp_compute.runner import LocalRunner

ROW = {
    "n_members": 100, "member_months": 1200, "target_cents": 1000, "observed_cents": 990,
    "savings_cents": 10, "payment_cents": 0, "gate_passed": False,
}  # fmt: skip


def missing(name: str, cents: int) -> Partnership:
    return Partnership({**ROW, "partnership_id": name, "missed_by_cents": cents}, [], {})


def test_nearest_to_a_gate_is_one_of_the_contract_s_minimum_size() -> None:
    found = state_row([missing("small", 1), missing("large", 7)], too_small={"small"})
    assert (found["n_missed"], found["nearest"]["partnership_id"]) == (2, "large")
    nobody = state_row([missing("small", 1)], too_small={"small"})
    assert (nobody["n_missed"], nobody["nearest"]) == (1, None)


@pytest.mark.parametrize("replicates", [0, 20])
def test_where_all_are_too_small_none_is_named(
    small_population: Path, tmp_path: Path, replicates: int
) -> None:
    """The small state has 25 partnerships of some hundred members; the contract wants 2,000."""
    request = RunRequest(
        small_population, ("mn-ihp-2.0-track-2",), replicates=replicates, programme="none"
    )
    folder = run(request, tmp_path / "run", LocalRunner(1)).run_dir
    rows = result(folder, SETTLEMENT).to_pylist()
    assert max(row["n_members"] for row in rows) < 2000
    n = sum(not row["gate_passed"] and row["missed_by_cents"] > 0 for row in rows)
    words = " ".join(render(folder).split())
    assert f"{n} miss the gate, none of the contract's minimum size." in words
