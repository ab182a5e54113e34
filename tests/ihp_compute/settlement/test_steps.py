"""Steps of a settlement: what the terms imply, whatever the amounts."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ihp_compute import contracts
from ihp_compute.contracts import SETTLEMENT_STEPS, Agreement, Contract
from ihp_compute.errors import ContractError
from ihp_compute.settlement.given import settle_table
from ihp_compute.settlement.program import Program
from ihp_compute.settlement.steps import OPERATIONS, Outcome, gate_by_size, write_settlement

TARGET_USD = 1_000_000
GAIN_ONLY = "mn-ihp-1.0-virtual-gains-only"
RECIPROCAL = "mn-ihp-2.0-track-2"
COSTS = st.lists(st.integers(0, 2_000_000), min_size=2, max_size=12)
compiled_once = settings(deadline=None, max_examples=60)
"""The first example may compile the kernel, which takes seconds."""
EVERY = st.sampled_from(contracts.names())


def settled(found: Contract | str, *costs: Any, **columns: Any) -> list[dict[str, Any]]:
    """Rows of a target of a million dollars and the costs given."""
    n = len(costs)
    table = pa.table(
        {
            "partnership_id": [str(i) for i in range(n)],
            "n_members": [8_000] * n,
            "target_usd": [TARGET_USD] * n,
            "observed_usd": [str(cost) for cost in costs],
            "quality_score": ["1"] * n,
            **{path.replace("__", "."): value for path, value in columns.items()},
        }
    )
    return settle_table(table, found).table.to_pylist()


def outcome_of(agreement: Agreement, observed_usd: int) -> Outcome:
    """The settlement of a target of a million dollars, as the walk's lines see it."""
    cents = {"target": TARGET_USD * 100, "observed": observed_usd * 100}
    given_cents = {name: np.array([value]) for name, value in cents.items()}
    program = Program()
    target, observed = (program.source(name) for name in cents)
    outputs = write_settlement(program, agreement, target, observed, n_members=8_000)
    run = program.compile(outputs).run(given_cents)
    found = {name: array[0].item() for name, array in run.items()}
    return Outcome(agreement, {**cents, **found}, None)


def payments(found: Contract | str, *costs: Any) -> list[float]:
    return [row["payment_usd"] for row in settled(found, *costs)]


@compiled_once
@given(EVERY, COSTS)
def test_a_payment_is_the_sum_of_its_parts(name: str, costs: list[int]) -> None:
    for row in settled(name, *costs):
        parts = {step.moves[0] for step in SETTLEMENT_STEPS.values() if step.moves}
        cents = [round(row[f"{part}_usd"] * 100) for part in parts]
        assert sum(cents) == round(row["payment_usd"] * 100)


def test_every_declared_step_has_its_operations() -> None:
    assert list(OPERATIONS) == list(SETTLEMENT_STEPS)


@pytest.mark.parametrize("name", [n for n, step in SETTLEMENT_STEPS.items() if step.line])
def test_a_declared_line_has_its_words(name: str) -> None:
    """Whatever the contract, of a gain and of a loss; adjustments are told by a shadow's line."""
    for contract in contracts.names():
        agreement = contracts.load(contract).at(None)
        for observed in (900_000, 1_100_000):
            outcome = outcome_of(agreement, observed)
            line = OPERATIONS[name].line(outcome)
            if name == "adjustments" and "shadow" in agreement.steps:
                assert line is None
            else:
                assert line is not None
                assert line.detail
                assert set(line.paths) <= set(contracts.KINDS)


@compiled_once
@given(EVERY, COSTS)
def test_more_cost_never_pays_the_partnership_more(name: str, costs: list[int]) -> None:
    """Under every shipped contract; a corridor pays the plan more, the higher its cost.

    A cap of core cost moves with cost where the observed cost stands in for it, so it is given.
    """
    found = contracts.load(name).override({"settlement.core_cost_usd": str(TARGET_USD)})
    paid = payments(found, *sorted(costs))
    if contracts.load(name).at(None)["settlement.direction"] == "corridor":
        paid = paid[::-1]
    assert all(a >= b for a, b in pairwise(paid))


@compiled_once
@given(EVERY, st.integers(0, 2_000_000))
def test_a_gain_is_never_owed_and_a_loss_never_paid(name: str, cost: int) -> None:
    (row,) = settled(name, cost)
    sign = -1 if contracts.load(name).at(None)["settlement.direction"] == "corridor" else 1
    assert sign * row["payment_usd"] * row["savings_usd"] >= 0


@compiled_once
@given(st.integers(1, 60), st.sampled_from(["cms-reach-global", "cms-reach-professional"]))
def test_bands_are_continuous(percent: int, name: str) -> None:
    """A dollar more of savings moves the share by a dollar at most, at the edges too."""
    edge = TARGET_USD * (100 - percent) // 100
    rows = settled(name, edge + 1, edge, max(edge - 1, 0))
    steps = [b["share_usd"] - a["share_usd"] for a, b in pairwise(rows)]
    assert all(-0.011 <= step <= 1.011 for step in steps)


@compiled_once
@given(st.integers(0, 2_000_000), st.sampled_from(["gain", "loss"]))
def test_a_corridor_of_no_width_is_no_corridor(cost: int, side: str) -> None:
    plain = contracts.load(RECIPROCAL)
    banded = plain.override({f"settlement.{side}.bands": "0:0:0.3;0:none:1"})
    assert payments(banded, cost) == payments(plain, cost)


@compiled_once
@given(st.integers(0, 2_000_000), st.decimals("0.01", "0.2", places=3))
def test_one_band_from_zero_is_a_flat_share(cost: int, share: Decimal) -> None:
    flat = contracts.load(RECIPROCAL).override({"settlement.gain.share": str(share)})
    banded = contracts.load(RECIPROCAL).override(
        {"settlement.gain.share": "1", "settlement.gain.bands": f"0:none:{share}"}
    )
    assert payments(flat, cost) == payments(banded, cost)


@compiled_once
@given(st.integers(0, 1_000_000), st.decimals("0", "0.3", places=3))
def test_a_cap_binds_once_and_holds(cost: int, cap: Decimal) -> None:
    found = contracts.load(RECIPROCAL).override({"settlement.gain.cap_of_target": str(cap)})
    (row,) = settled(found, cost)
    (free,) = settled(RECIPROCAL, cost)
    limit = float(cap) * TARGET_USD
    assert row["payment_usd"] == pytest.approx(min(free["payment_usd"], limit), abs=0.01)
    assert row["cap_usd"] <= 0


def test_the_order_of_steps_changes_results() -> None:
    """Sequestration, then cap, pays the cap; cap, then sequestration, pays less."""
    first = contracts.load("cms-mssp-track-1")
    other = first.override(
        {"settlement.steps": "gate;counting;share;quality;cap;withhold;adjustments"}
    )
    assert payments(first, 500_000) == [100_000.0]
    assert payments(other, 500_000) == [98_000.0]


def test_a_cap_before_the_share_limits_what_is_shared() -> None:
    """Next Generation: 15 % of benchmark counts, then 85 % of it, less sequestration."""
    (row,) = settled("cms-next-generation-a", 700_000)
    assert row["shareable_usd"] == 150_000
    assert row["share_usd"] == 127_500
    assert row["cap_usd"] == 0
    assert row["payment_usd"] == 124_950


@pytest.mark.parametrize(("cost", "passed"), [(980_000, True), (980_000.01, False)])
def test_the_gate_is_met_exactly_at_its_rate(cost: float, passed: bool) -> None:
    (row,) = settled(RECIPROCAL, cost)
    assert row["gate_passed"] == passed


def test_a_gate_of_none_settles_nothing_and_a_gate_of_zero_everything() -> None:
    (one_sided,) = settled(GAIN_ONLY, 1_500_000)
    assert (one_sided["payment_usd"], one_sided["gate_rate"]) == (0, None)
    open_gate = contracts.load(RECIPROCAL).override({"settlement.gate.loss_rate": "0"})
    (row,) = settled(open_gate, 1_000_001)
    assert row["payment_usd"] == -0.5


def test_a_gain_below_the_gate_can_earn_part_of_its_share() -> None:
    """The exception of small organisations: half of the share, below the gate only."""
    found = contracts.load("cms-mssp-basic-a").override({"settlement.gate.below_gate_share": "0.5"})
    below, above = settled(found, 990_000, 900_000)
    assert not below["gate_passed"]
    assert below["share_usd"] == 2_000
    assert above["share_usd"] == 40_000


@compiled_once
@given(st.integers(0, 2_000_000), st.integers(-500_000, 500_000))
def test_disaster_relief_ends_at_nothing_and_leaves_gains_alone(cost: int, relief: int) -> None:
    found = contracts.load("cms-mssp-basic-e").override(
        {"settlement.adjustments.disaster_usd": str(relief), "settlement.gate.loss_rate": "0"}
    )
    plain = contracts.load("cms-mssp-basic-e").override({"settlement.gate.loss_rate": "0"})
    (row,), (free,) = settled(found, cost), settled(plain, cost)
    expected = free["payment_usd"]
    if expected < 0:
        expected = min(expected + abs(relief), 0)
    assert row["payment_usd"] == pytest.approx(expected, abs=0.011)


@compiled_once
@given(st.decimals("0", "1", places=2), st.decimals("0", "1", places=2))
def test_quality_earns_its_weight_of_a_gain(weight: Decimal, score: Decimal) -> None:
    found = contracts.load(RECIPROCAL).override({"settlement.quality.weight": str(weight)})
    gain, loss = settled(found, 900_000, 1_100_000, quality_score=[str(score)] * 2)
    expected = Decimal(50_000) * ((1 - weight) + weight * score)
    assert gain["share_usd"] == pytest.approx(float(expected), abs=0.011)
    assert gain["quality_usd"] == pytest.approx(float(expected) - 50_000, abs=0.011)
    assert loss["payment_usd"] == -50_000


def test_a_score_below_the_floor_earns_nothing() -> None:
    found = contracts.load(RECIPROCAL).override({"settlement.quality.floor": "0.3"})
    low, at = settled(found, 900_000, 900_000, quality_score=["0.29", "0.3"])
    assert low["payment_usd"] == 0
    assert at["payment_usd"] == 32_500


def test_a_loss_share_follows_the_gain_share_between_its_bounds() -> None:
    """Track 3: one less the final share, at least 40 %, at most 75 %."""
    shares = ["0.75", "0.5", "0.1"]
    rows = settled(
        "cms-mssp-track-3", *[1_100_000] * 3,
        settlement__gain__share=shares, settlement__gate__loss_rate=["0"] * 3,
    )  # fmt: skip
    assert [row["payment_usd"] for row in rows] == [-40_000, -50_000, -75_000]


def test_a_cap_of_revenue_binds_only_where_revenue_is_given() -> None:
    rows = settled(
        "cms-mssp-basic-e", 1_130_000, 1_130_000,
        settlement__revenue_usd=[None, "400000"], settlement__gate__loss_rate=["0", "0"],
    )  # fmt: skip
    assert [row["payment_usd"] for row in rows] == [-39_000, -32_000]


def test_a_shadow_settlement_shows_everything_and_pays_nothing() -> None:
    (row,) = settled("mn-ihp-2.0-track-1", 900_000)
    assert (row["share_usd"], row["adjustment_usd"], row["payment_usd"]) == (50_000, -50_000, 0)


def test_what_else_was_agreed_is_added() -> None:
    found = contracts.load(RECIPROCAL).override({"settlement.adjustments.other_usd": "-1234.5"})
    assert payments(found, 900_000) == [48_765.5]


def test_a_size_table_is_linear_between_its_rows_and_flat_beyond() -> None:
    table = ((1000, Decimal("0.08")), (3000, Decimal("0.05")))
    found = [gate_by_size(table, n) for n in (1, 1000, 2000, 3000, 99_999)]
    assert [str(rate.normalize()) for rate in found] == ["0.08", "0.08", "0.065", "0.05", "0.05"]


def test_a_gate_by_size_needs_the_members() -> None:
    program = Program()
    agreement = contracts.load("cms-mssp-track-1").at(2018)
    with pytest.raises(ContractError, match="a gate by size needs the members"):
        write_settlement(program, agreement, program.source("t"), program.source("o"))
