from __future__ import annotations

from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute.errors import DataError
from ihp_compute.measure.completion import (
    chain_ladder,
    final_less_interim,
    overall,
    triangle,
    year_completion,
)
from ihp_compute.population import Shard
from ihp_compute.units import NO_DAY, day_of


def test_a_textbook_triangle_develops_by_volume() -> None:
    """Lag 0 to 1: (150 + 180) / (100 + 120); lag 1 to 2: 165 / 150."""
    paid = np.array([[100, 50, 15], [120, 60, 0], [110, 0, 0]])
    first = Decimal(330) / 220
    second = Decimal(165) / 150
    assert chain_ladder(paid) == [
        Decimal("1.000000"),
        (1 / second).quantize(Decimal("0.000001")),
        (1 / (first * second)).quantize(Decimal("0.000001")),
    ]


def test_lines_fall_into_their_month_and_lag() -> None:
    """A payment before the month of service counts in it; one after the cutoff is not seen."""
    found = triangle(
        np.array([10, 10, 11, 11, 9], np.int32),
        np.array([10, 12, 10, 13, 9], np.int32),
        np.array([100, 20, 7, 500, 900]),
        first_month=10,
        n_months=2,
        cutoff_month=12,
    )
    assert found.tolist() == [[100, 0, 20], [7, 0, 0]]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(1, 10**7)), min_size=1))
def test_the_order_of_claims_does_not_matter(lines: list[tuple[int, int, int]]) -> None:
    def of(rows: list[tuple[int, int, int]]) -> np.ndarray:
        month, lag, cents = (np.array(column) for column in zip(*rows, strict=True))
        return triangle(
            month.astype(np.int32), (month + lag).astype(np.int32), cents,
            first_month=0, n_months=4, cutoff_month=5,
        )  # fmt: skip

    assert np.array_equal(of(lines), of(lines[::-1]))


def test_a_completed_year_is_complete() -> None:
    assert overall([100] * 12, [Decimal(1)] * 12) == 1
    assert overall([0] * 12, [Decimal("0.5")] * 12) == 1


@given(
    st.lists(st.integers(1, 10**9), min_size=12, max_size=12),
    st.lists(st.decimals("0.3", "1", places=3), min_size=12, max_size=12),
)
def test_a_year_s_ratio_lies_among_its_months(cents: list[int], factors: list[Decimal]) -> None:
    assert min(factors) - Decimal("1e-6") <= overall(cents, factors) <= max(factors)


def test_what_cannot_be_developed_is_refused() -> None:
    with pytest.raises(DataError, match="nothing was paid within 0 months"):
        chain_ladder(np.array([[0, 50], [0, 0]]))
    with pytest.raises(DataError, match="found 2 factors for 3 months"):
        overall([1, 2, 3], [Decimal(1)] * 2)
    with pytest.raises(DataError, match="factor of 0 or less"):
        overall([1], [Decimal(0)])


def test_final_less_interim_is_paid_or_recouped() -> None:
    assert final_less_interim({"A": 500, "B": 10}, {"A": 600, "C": 5}) == {
        "A": -100,
        "B": 10,
        "C": -5,
    }


class _Lines(Shard):
    """One shard's lines: (service day, paid day, cents, kind)."""

    def __init__(self, *lines: tuple[int, int, int, int]) -> None:
        day, paid, cents, kind = zip(*lines, strict=True)
        self.lines = lines
        self.columns: dict[str, np.ndarray] = {
            "service_day": np.array(day, np.int32), "paid_day": np.array(paid, np.int32),
            "paid_cents": np.array(cents, np.int64), "kind": np.array(kind, np.uint8),
        }  # fmt: skip

    def column(self, table: str, name: str) -> np.ndarray:
        assert table == "lines"
        return self.columns[name]


def _year_of_lines(late_cents: int) -> _Lines:
    """Each month of 2023 pays 80 in its month and `late_cents` a month later."""
    lines = []
    for month in range(1, 13):
        here = day_of(date(2023, month, 15))
        after = day_of(date(2023 + month // 12, month % 12 + 1, 15))
        lines += [(here, here, 80, 0), (here, after, late_cents, 2), (here, here, 999, 1)]
    return _Lines(*lines)


def test_a_year_is_developed_from_a_population_s_lines() -> None:
    """Paid through December: only December lacks its second month, a fifth of its cost."""
    lines = _year_of_lines(20)
    cutoff = day_of(date(2023, 12, 31))
    found = year_completion([lines], year=2023, first_year=2023, cutoff_day=cutoff)
    assert found.month_cents == (100,) * 11 + (80,)
    assert found.factors == (Decimal(1),) * 11 + (Decimal("0.8"),)
    assert found.ratio == Decimal("0.983333")


def test_shards_add_up_to_the_whole() -> None:
    cutoff = day_of(date(2024, 3, 31))
    one, other = _year_of_lines(20), _year_of_lines(35)
    together = _Lines(*other.lines, *one.lines)
    found = [
        year_completion(shards, year=2023, first_year=2023, cutoff_day=cutoff)
        for shards in ([one, other], [other, one], [together])
    ]
    assert found[0] == found[1] == found[2]
    assert found[0].ratio == 1


def test_lines_without_a_payment_date_are_counted_and_left_out() -> None:
    cutoff = day_of(date(2024, 3, 31))
    undated = _Lines((day_of(date(2023, 5, 1)), NO_DAY, 700, 0))
    found = year_completion(
        [_year_of_lines(20), undated], year=2023, first_year=2023, cutoff_day=cutoff
    )
    assert found.undated_cents == 700
    assert sum(found.month_cents) == 1200


def test_a_year_that_is_not_over_cannot_be_completed() -> None:
    with pytest.raises(DataError, match="expected at least December 2023"):
        year_completion([], year=2023, first_year=2023, cutoff_day=day_of(date(2023, 11, 30)))
