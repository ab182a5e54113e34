"""Money and ratios as integers: one rounding, one way to write dollars."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute.units import dollars, half_even, six_places

NUMERATORS = st.integers(-(2**62), 2**62)
DENOMINATORS = st.integers(1, 2**62)


def test_halves_go_to_the_even_integer() -> None:
    found = half_even(np.array([5, 15, -5, -15, 25, 7, -7]), 10)
    assert found.tolist() == [0, 2, 0, -2, 2, 1, -1]


@given(NUMERATORS, DENOMINATORS)
def test_integers_and_arrays_are_rounded_as_exact_fractions_are(n: int, d: int) -> None:
    expected = round(Fraction(n, d))  # Python rounds fractions half to even
    assert half_even(n, d) == expected
    assert half_even(np.array([n]), d).tolist() == [expected]


@given(st.integers(-(10**18), 10**18), st.integers(1, 10**18))
def test_six_places_are_half_even_of_the_exact_ratio(n: int, d: int) -> None:
    found = six_places(Fraction(n, d))
    assert found == Fraction(round(Fraction(n * 10**6, d)), 10**6)
    assert found.as_tuple().exponent == -6


@given(st.integers(-(2**63), 2**63 - 1))
def test_dollars_to_the_cent_read_back_as_the_cents(cents: int) -> None:
    text = dollars(cents)
    assert Decimal(text.replace("$", "").replace(",", "")) == Decimal(cents).scaleb(-2)
    assert text.startswith("-$" if cents < 0 else "$")


@given(st.integers(-(2**53), 2**53))
def test_whole_dollars_round_half_to_even_and_zero_has_no_sign(cents: int) -> None:
    text = dollars(cents, places=0, minus="−", plus="+")
    whole = (Decimal(cents) / 100).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)
    assert text == f"{'−' if whole < 0 else '+' if whole > 0 else ''}${abs(whole):,}"


@pytest.mark.parametrize("cents", [float("nan"), float("inf")])
def test_what_is_no_amount_is_not_written_as_one(cents: float) -> None:
    with pytest.raises(ArithmeticError):
        dollars(cents)
