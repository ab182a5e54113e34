from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute.errors import DataError
from ihp_compute.payers import split

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
