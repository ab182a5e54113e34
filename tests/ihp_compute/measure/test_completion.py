from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute.errors import DataError
from ihp_compute.measure.claims_to_come import ClaimsToCome, interim_line, is_interim
from ihp_compute.measure.completion import (
    PaymentDays,
    chain_ladder,
    final_less_interim,
    overall,
    period_ends,
    run_out_months,
    triangle,
    year_completion,
    years_earlier,
)
from ihp_compute.units import NO_DAY, date_of, day_of, month_of


def day(text: str) -> int:
    return day_of(date.fromisoformat(text))


def test_a_textbook_triangle_develops_by_volume() -> None:
    """Lag 0 to 1: (150 + 180) / (100 + 120); lag 1 to 2: 165 / 150."""
    paid = np.array([[100, 50, 15], [120, 60, 0], [110, 0, 0]])
    first, second = Fraction(330, 220), Fraction(165, 150)
    assert chain_ladder(paid) == [1, 1 / second, 1 / (first * second)]


def test_months_without_paid_dollars_take_no_part() -> None:
    """Of the middle month nothing is paid yet: the others develop as if it were not there."""
    paid = np.array([[60, 40, 0, 0], [0, 0, 0, 0], [30, 20, 0, 0], [90, 0, 0, 0]])
    assert chain_ladder(paid) == [1, 1, 1, Fraction(3, 5)]


def test_a_lag_that_earlier_months_had_paid_nothing_at_says_nothing() -> None:
    """The older month was first paid a month late; of what comes after 50 at once nobody knows."""
    assert chain_ladder(np.array([[0, 50], [50, 0]])) == [1, None]
    assert overall([50, 50], [Fraction(1), None]) is None
    assert overall([50, 0], [Fraction(1), None]) == 1


def test_lines_fall_into_their_month_and_lag() -> None:
    """A payment before the month of service counts in it; one after the cutoff is not seen."""
    march, april = month_of(2024, 3), month_of(2024, 4)
    found = triangle(
        np.array([march, march, april, april, march - 1], np.int32),
        np.array(
            [day(text) for text in
             ("2024-03-31", "2024-05-01", "2024-03-02", "2024-06-01", "2024-02-20")], np.int32
        ),
        np.array([100, 20, 7, 500, 900]),
        first_month=march,
        n_months=2,
        cutoff_day=day("2024-05-31"),
    )  # fmt: skip
    assert found.tolist() == [[100, 0, 20], [7, 0, 0]]


def test_lags_are_counted_back_from_the_cutoff() -> None:
    """Paid through the 15th, the first lag of each month ends on its 15th."""
    assert [str(date_of(end)) for end in period_ends(day("2024-03-15"), 3)] == [
        "2024-01-15", "2024-02-15", "2024-03-15",
    ]  # fmt: skip
    assert [str(date_of(end)) for end in period_ends(day("2024-02-29"), 3)] == [
        "2023-12-31", "2024-01-31", "2024-02-29",
    ]  # fmt: skip
    january = month_of(2024, 1)
    found = triangle(
        np.array([january, january], np.int32),
        np.array([day("2024-01-15"), day("2024-01-16")], np.int32),
        np.array([3, 5]),
        first_month=january, n_months=1, cutoff_day=day("2024-02-15"),
    )  # fmt: skip
    assert found.tolist() == [[3, 5]]


LINES = st.tuples(st.integers(0, 3), st.integers(0, 150), st.integers(1, 10**7))


@given(st.lists(LINES, min_size=1))
def test_the_order_of_claims_does_not_matter(lines: list[tuple[int, int, int]]) -> None:
    first = month_of(2023, 1)

    def of(rows: list[tuple[int, int, int]]) -> np.ndarray:
        month, days, cents = (np.array(column) for column in zip(*rows, strict=True))
        return triangle(
            (first + month).astype(np.int32), (day("2023-01-10") + days).astype(np.int32), cents,
            first_month=first, n_months=4, cutoff_day=day("2023-06-30"),
        )  # fmt: skip

    assert np.array_equal(of(lines), of(lines[::-1]))


def test_a_completed_year_is_complete() -> None:
    assert overall([100] * 12, [Fraction(1)] * 12) == 1
    assert overall([0] * 12, [Fraction(1, 2)] * 12) == 1


@given(
    st.lists(st.integers(1, 10**9), min_size=12, max_size=12),
    st.lists(st.fractions("3/10", 1, max_denominator=1000), min_size=12, max_size=12),
)
def test_a_year_s_ratio_lies_among_its_months(cents: list[int], factors: list[Fraction]) -> None:
    found = overall(cents, factors)
    assert found is not None
    assert min(factors) <= found <= max(factors)


def test_factors_for_other_months_are_refused() -> None:
    with pytest.raises(DataError, match="found 2 factors for 3 months"):
        overall([1, 2, 3], [Fraction(1)] * 2)


def test_final_less_interim_is_paid_or_recouped() -> None:
    assert final_less_interim({"A": 500, "B": 10}, {"A": 600, "C": 5}) == {
        "A": -100,
        "B": 10,
        "C": -5,
    }


def paid_days(*lines: tuple[str, str | None, int]) -> PaymentDays:
    """Of lines (day of service, day of payment, cents)."""
    months = [date.fromisoformat(service) for service, _, _ in lines]
    return PaymentDays(
        np.array([month_of(d.year, d.month) for d in months], np.int32),
        np.array([NO_DAY if paid is None else day(paid) for _, paid, _ in lines], np.int32),
        np.ones(len(lines), np.int64),
        np.array([cents for _, _, cents in lines], np.int64),
    )


def year_of_lines(year: int, late_cents: int, months: int = 1) -> list[tuple[str, str, int]]:
    """Each month pays 80 in its month and `late_cents` some months later."""
    lines = []
    for month in range(12):
        service, late = f"{year}-{month + 1:02d}-10", month + months
        lines += [
            (service, f"{year}-{month + 1:02d}-15", 80),
            (service, f"{year + late // 12}-{late % 12 + 1:02d}-15", late_cents),
        ]
    return lines


def test_a_year_is_developed_from_earlier_claims() -> None:
    """Paid through December: only December lacks its second month, a fifth of its cost."""
    found = year_completion(
        paid_days(*year_of_lines(2023, 20)), year=2023, first_year=2023,
        cutoff_day=day("2023-12-31"),
    )  # fmt: skip
    assert found.month_cents == (100,) * 11 + (80,)
    assert found.factors == (Fraction(1),) * 11 + (Fraction(4, 5),)
    assert found.ratio == Fraction(1180, 1200)
    assert (found.run_out_months, found.is_developed) == (0, False)


def test_a_year_is_complete_once_its_last_payments_are_in() -> None:
    """Two thirds paid at once and a third three months later: 0.9 at the year's end, then whole."""
    lines = [
        (service, paid, 60 if cents == 80 else 40)
        for year in (2023, 2024)
        for service, paid, cents in year_of_lines(year, 20, months=3)
    ]
    at = {
        months: year_completion(
            paid_days(*lines), year=2024, first_year=2023, cutoff_day=day(through)
        )
        for months, through in ((0, "2024-12-31"), (1, "2025-01-31"), (3, "2025-03-31"))
    }
    assert at[0].ratio == Fraction(1080, 1200)
    assert at[1].ratio == Fraction(1120, 1200)
    assert at[3].ratio == 1
    assert at[3].is_developed
    assert [found.run_out_months for found in at.values()] == [0, 1, 3]


def test_lines_without_a_payment_date_are_taken_as_complete() -> None:
    """980 dated of 1,000, and 1,000 that say no day: (980 + 1,000) / (1,000 + 1,000)."""
    lines = [("2023-05-01", None, 100_000), *year_of_lines(2023, 20)]
    found = year_completion(
        paid_days(*lines), year=2023, first_year=2023, cutoff_day=day("2023-12-31")
    )
    assert found.undated_cents == 100_000
    assert found.ratio == Fraction(1180 + 100_000, 1200 + 100_000)


def test_the_base_year_is_cut_as_many_years_earlier() -> None:
    assert str(date_of(years_earlier(day("2025-06-30"), 2))) == "2023-06-30"
    assert str(date_of(years_earlier(day("2024-02-29"), 1))) == "2023-02-28"
    assert str(date_of(years_earlier(day("2024-02-29"), 4))) == "2020-02-29"


def test_run_out_is_counted_in_whole_months() -> None:
    ends = ("2024-12-31", "2025-01-30", "2025-01-31", "2025-06-30", "2024-11-30")
    assert [run_out_months(2024, day(end)) for end in ends] == [0, 0, 1, 6, -1]


@pytest.mark.parametrize(
    ("ratio", "final", "stated", "expected"),
    [
        (Fraction(98, 100), "0.98", None, False),
        (Fraction(9799, 10000), "0.98", None, True),
        (Fraction(9, 10), "0.9", None, False),
        (Fraction(9, 10), None, None, False),
        (None, "0.98", None, True),
        (Fraction(1), "0.98", "0.95", True),
    ],
)
def test_a_year_below_the_final_ratio_is_interim(
    ratio: Fraction | None, final: str | None, stated: str | None, expected: bool
) -> None:
    terms = [None if text is None else Decimal(text) for text in (final, stated)]
    assert is_interim(ratio, *terms) == expected


def test_an_interim_settlement_says_its_run_out() -> None:
    year = year_completion(
        paid_days(*year_of_lines(2023, 20)), year=2023, first_year=2023,
        cutoff_day=day("2023-12-31"),
    )  # fmt: skip
    found = ClaimsToCome({"P1": "equal_runout"}, year, 0, 0, completes=False, interim=("P1",))
    assert interim_line([found], date(2023, 12, 31)) == (
        "INTERIM: 2023 is complete to 98.33 %, claims paid through 2023-12-31, 0 months of "
        "run-out; a later run trues it up"
    )
    final = ClaimsToCome({"P2": "given"}, year, 0, 0, completes=False, interim=())
    assert interim_line([final], date(2023, 12, 31)) == ""
    said = interim_line([final, found], date(2023, 12, 31))
    assert said.startswith("INTERIM for 1 of 2 partnerships: 2023 is complete to 98.33 %")
