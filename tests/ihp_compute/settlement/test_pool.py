"""An alliance's payment is split to the cent, by whatever its members agreed on."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute.contracts import Alliance
from ihp_compute.settlement import pool
from ihp_compute.settlement.pool import by_weights

MEMBERS = ("P-1", "P-2", "P-3")
MONTHS = {"P-1": 100, "P-2": 300, "P-3": 0}
SCORES = {"P-1": Decimal("0.9"), "P-2": Decimal("0.5"), "P-3": Decimal(1)}
RESULTS = {"P-1": -700, "P-2": 300, "P-3": 100}


def amounts(split: str, cents: int, weights: tuple[str, ...] = (), **other: object) -> list[int]:
    alliance = Alliance("A", MEMBERS, split, tuple(map(Decimal, weights)))
    given_: dict[str, object] = {
        "member_months": MONTHS, "quality": SCORES, "difference_cents": RESULTS
    }  # fmt: skip
    # what a case gives instead, of the type that `pool` declares for each name
    found = pool(alliance, cents, **{**given_, **other})  # type: ignore[arg-type]
    assert [one.position for one in found] == [0, 1, 2]
    assert [one.partnership_id for one in found] == list(MEMBERS)
    return [one.amount_cents for one in found]


weights = st.lists(
    st.fractions(min_value=0, max_value=10**9, max_denominator=10**6), min_size=1, max_size=12
).filter(any)


@given(st.integers(-(10**15), 10**15), weights)
def test_parts_add_up_to_the_cent_and_lie_within_a_cent_of_the_exact_ones(
    cents: int, given_: list[Fraction]
) -> None:
    parts = by_weights(cents, given_)
    assert sum(parts) == cents
    for part, weight in zip(parts, given_, strict=True):
        assert abs(part - Fraction(cents) * weight / sum(given_)) <= 1
        assert weight or not part


@given(st.integers(-(10**12), 10**12), weights)
def test_what_is_owed_is_split_as_what_is_paid(cents: int, given_: list[Fraction]) -> None:
    assert by_weights(-cents, given_) == [-part for part in by_weights(cents, given_)]


def test_given_weights() -> None:
    assert amounts("weights", 1001, ("0.5", "0.3", "0.2")) == [500, 301, 200]  # 500.5 is 500


def test_member_months() -> None:
    assert amounts("member_months", -1000) == [-250, -750, 0]


def test_quality_weighs_months() -> None:
    assert amounts("quality", 2400) == [900, 1500, 0]  # 90 and 150


def test_own_results_pay_who_lies_below_the_trend_and_charge_who_lies_above() -> None:
    assert amounts("own_results", 1000) == [0, 750, 250]
    assert amounts("own_results", -1000) == [-1000, 0, 0]


def test_months_weigh_where_nobody_has_results() -> None:
    nobody = dict.fromkeys(MEMBERS, 0)
    assert amounts("own_results", 1000, difference_cents=nobody) == [250, 750, 0]


def test_members_weigh_alike_where_nobody_has_months_either() -> None:
    nobody = dict.fromkeys(MEMBERS, 0)
    assert amounts("quality", 1000, member_months=nobody) == [333, 334, 333]


def test_own_results_of_a_member_are_needed() -> None:
    with pytest.raises(KeyError):
        amounts("own_results", 1, difference_cents={"P-1": 1})
