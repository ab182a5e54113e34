from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute.codes import RATE_CELLS
from ihp_compute.errors import DataError
from ihp_compute.measure.attribution import Attribution
from ihp_compute.measure.payer_months import payer_labels, payer_months, payer_weights
from ihp_compute.settlement.payers import split
from ihp_compute.units import month_of

WEIGHTS = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=4), st.integers(0, 10**9), min_size=1, max_size=9
).filter(lambda weights: sum(weights.values()) > 0)


@given(st.integers(-(10**14), 10**14), WEIGHTS)
def test_the_parts_add_up_to_the_cent(payment: int, weights: dict[str, int]) -> None:
    parts = split(payment, weights)
    assert sum(parts.values()) == payment
    assert set(parts) == set(weights)


@given(st.integers(-(10**14), 10**14), WEIGHTS)
def test_no_part_is_a_cent_from_its_exact_share(payment: int, weights: dict[str, int]) -> None:
    total = sum(weights.values())
    for name, part in split(payment, weights).items():
        assert abs(part * total - payment * weights[name]) < total


@given(st.integers(0, 10**14), WEIGHTS)
def test_a_loss_is_split_like_a_gain(payment: int, weights: dict[str, int]) -> None:
    gain = split(payment, weights)
    assert split(-payment, weights) == {name: -part for name, part in gain.items()}


def test_a_plan_without_members_pays_nothing() -> None:
    assert split(101, {"ffs": 2, "plan": 0, "other": 1}) == {"ffs": 67, "other": 34, "plan": 0}


@pytest.mark.parametrize("weights", [{}, {"ffs": 0}, {"ffs": -1, "plan": 2}])
def test_impossible_weights_are_refused(weights: dict[str, int]) -> None:
    with pytest.raises(DataError, match="payers: found"):
        split(100, weights)


class _Spans:
    """Three members: fee for service then a plan; all year in a plan; not attributed."""

    index = 0
    n_members = 3

    def column(self, table: str, name: str) -> np.ndarray:
        assert table == "spans"
        january = month_of(2023, 1)
        return {
            "first_month": np.array([january - 3, january + 6, january, january], np.int32),
            "n_months": np.array([9, 12, 12, 12], np.int32),
            "plan": np.array([0, 1, 2, 1], np.int32),
        }[name]

    def offsets(self, table: str) -> np.ndarray:
        assert table == "spans"
        return np.array([0, 2, 3, 4])


class _Nobody:
    """A shard that no member fell into."""

    index = 0
    n_members = 0

    def column(self, table: str, name: str) -> np.ndarray:
        assert (table, name) in {("spans", n) for n in ("first_month", "n_months", "plan")}
        return np.zeros(0, np.int32)

    def offsets(self, table: str) -> np.ndarray:
        assert table == "spans"
        return np.zeros(1, np.int64)


def test_a_shard_of_nobody_has_no_months_by_payer() -> None:
    none = np.zeros(0, np.uint8)
    attribution = Attribution(
        year=2023, group=none.astype(np.int32), month_cell=np.zeros((0, 12), np.uint8),
        step=none, n_visits=none.astype(np.int32), last_visit=none.astype(np.int64),
        tied=none.astype(bool), reason=none, months=np.zeros((len(RATE_CELLS), 0), np.int64),
        enrolled_months=none.astype(np.int64), spanned=none.astype(np.uint16),
    )  # fmt: skip
    found = payer_months(_Nobody(), attribution, n_plans=3)
    assert found.shape == (0, 4)
    assert payer_labels(found, ["", "Plan A", "Plan B"])[1] == []


@pytest.mark.parametrize("n_plans", [1, 16, 17, 40])
def test_months_by_payer_are_told_apart_for_any_number_of_plans(n_plans: int) -> None:
    rng = np.random.default_rng(n_plans)
    months = np.where(
        rng.random((300, 1 + n_plans)) < 0.9, 0, rng.integers(1, 13, (300, 1 + n_plans))
    )
    plans = [f"Plan {p}" for p in range(n_plans)]
    place, texts = payer_labels(months.astype(np.uint8), plans)
    for row, at in zip(months.tolist(), place.tolist(), strict=True):
        expected = [f"{name} {n}" for name, n in zip(["ffs", *plans], row, strict=True) if n]
        assert texts[at] == "; ".join(expected)


def test_every_countable_month_has_one_payer() -> None:
    ffs, managed = RATE_CELLS.index("adult_ffs"), RATE_CELLS.index("adult_managed")
    month_cell = np.full((3, 12), managed, np.uint8)
    month_cell[0, :6] = ffs
    month_cell[1, 3] = 255
    none = np.zeros(3, np.uint8)
    attribution = Attribution(
        year=2023, group=np.array([1, 1, -1], np.int32), month_cell=month_cell,
        step=none, n_visits=none.astype(np.int32), last_visit=none.astype(np.int64),
        tied=none.astype(bool), reason=none,
        months=np.zeros((len(RATE_CELLS), 3), np.int64), enrolled_months=none.astype(np.int64),
        spanned=none.astype(np.uint16),
    )  # fmt: skip
    found = payer_months(_Spans(), attribution, n_plans=3)
    assert found.tolist() == [[6, 0, 6, 0], [0, 0, 0, 11], [0, 0, 0, 0]]
    plans = ["", "Plan A", "Plan B"]
    assert payer_labels(found, plans)[1] == ["", "ffs 6; Plan A 6", "Plan B 11"]
    assert payer_weights(found.sum(axis=0, dtype=np.int64), plans) == {
        "ffs": 6,
        "Plan A": 6,
        "Plan B": 11,
    }
