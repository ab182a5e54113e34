"""Money, scores and time as integers, and the only places where a rate meets them.

    cents     int64, US cents
    micro     int64, millionths: risk scores, ratios, rates
    months    int64, member months; a calendar month is year * 12 + (month - 1)
    days      int32, days since 1970-01-01; `NO_DAY` where there is none

Rounding is half to even everywhere, except where a published rule says otherwise and is named.
"""

from __future__ import annotations

from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any, Final, overload

import numpy as np
from numpy.typing import NDArray

CENTS_PER_USD: Final = 100
MICRO: Final = 1_000_000
NO_DAY: Final = -(2**31)
"""Stands for a missing day in int32 columns, which hold no nulls."""
EXACT_FLOAT_LIMIT: Final = 2**53
"""Integers below this are exact in float64."""
Z: Final = 1.959963984540054
"""Standard errors on either side that hold 95 % of a normal distribution."""

_EPOCH: Final = date(1970, 1, 1).toordinal()


def cents_of(usd: Decimal | int | str) -> int:
    """US dollars as cents, half to even below a cent.

    >>> cents_of("1234.565"), cents_of(Decimal("-0.015"))
    (123456, -2)
    """
    return int((Decimal(usd) * CENTS_PER_USD).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def usd_of(cents: int) -> Decimal:
    """Cents as exact US dollars with two places.

    >>> str(usd_of(-123456))
    '-1234.56'
    """
    return Decimal(int(cents)).scaleb(-2)


def dollars(cents: float, *, places: int = 2, minus: str = "-", plus: str = "") -> str:
    """Cents as US dollars to read, with thousands separators, half to even below the last place.

    Parameters
    ----------
    cents : int or float
    places : int
        0 or 2.
    minus, plus : str
        What stands before a negative and before a positive amount; zero has no sign.

    >>> dollars(-123456), dollars(123456, places=0, plus="+"), dollars(-3, places=0)
    ('-$1,234.56', '+$1,235', '$0')
    """
    amount = Decimal(str(cents)) / CENTS_PER_USD
    shown = amount.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)
    sign = minus if shown < 0 else plus if shown > 0 else ""
    return f"{sign}${abs(shown):,f}"


@overload
def half_even(numerator: int, denominator: int) -> int: ...


@overload
def half_even(numerator: NDArray[np.int64], denominator: int) -> NDArray[np.int64]: ...


def half_even(numerator: int | NDArray[np.int64], denominator: int) -> int | NDArray[np.int64]:
    """Numerators by a positive denominator, to the nearest integer, half to even, in integers.

    >>> half_even(25, 10), half_even(np.array([5, 15, -5, 7]), 10).tolist()
    (2, [0, 2, 0, 1])
    """
    whole, rest = divmod(numerator, denominator)
    up = (2 * rest > denominator) | ((2 * rest == denominator) & (whole % 2 == 1))
    return whole + up


def six_places(value: Fraction) -> Decimal:
    """A ratio to six places, half to even.

    >>> six_places(Fraction(2, 3)), six_places(Fraction(-1, 2))
    (Decimal('0.666667'), Decimal('-0.500000'))
    """
    return Decimal(half_even(value.numerator * MICRO, value.denominator)).scaleb(-6)


def micro_of(value: Decimal | int | str) -> int:
    """A score or ratio in millionths, half to even.

    >>> micro_of("1.0312")
    1031200
    """
    return int((Decimal(value) * MICRO).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def month_of(year: int, month: int) -> int:
    """Calendar month number: January of year y is 12 y.

    >>> month_of(2024, 1) - month_of(2023, 12)
    1
    """
    return year * 12 + month - 1


def month_text(month: int) -> str:
    """A month's number as text.

    >>> month_text(month_of(2024, 1))
    '2024-01'
    """
    return f"{month // 12:04d}-{month % 12 + 1:02d}"


def day_of(day: date) -> int:
    """Days since 1970-01-01.

    >>> day_of(date(1970, 1, 2))
    1
    """
    return day.toordinal() - _EPOCH


def date_of(day: int) -> date:
    """The date of a day number."""
    return date.fromordinal(int(day) + _EPOCH)


def date_text(day: int) -> str:
    """The date of a day number as YYYY-MM-DD; empty where there is none.

    >>> date_text(0), date_text(NO_DAY)
    ('1970-01-01', '')
    """
    return "" if day == NO_DAY else date_of(day).isoformat()


def year_bounds(year: int) -> tuple[int, int]:
    """First day of the year and first day of the next: a half-open span of day numbers.

    >>> [b - a for a, b in (year_bounds(2023), year_bounds(2024))]
    [365, 366]
    """
    return day_of(date(year, 1, 1)), day_of(date(year + 1, 1, 1))


def months_of_days(days: NDArray[np.int32]) -> NDArray[np.int32]:
    """Calendar month numbers of an array of day numbers (`NO_DAY` is not allowed)."""
    months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return (months + 1970 * 12).astype(np.int32)


def sums_by(place: NDArray[np.integer[Any]], values: NDArray[Any], n: int) -> NDArray[np.int64]:
    """Sum of the integer (or true) values at each place: int64[n].

    >>> sums_by(np.array([2, 0, 2]), np.array([5, 1, -2]), 3).tolist()
    [1, 0, 3]
    """
    most = max(-int(values.min(initial=0)), int(values.max(initial=0)))
    is_small = most * len(values) < EXACT_FLOAT_LIMIT  # of most values this says it sooner
    if is_small or np.abs(values.astype(np.float64)).sum() < EXACT_FLOAT_LIMIT:
        return np.bincount(place, weights=values, minlength=n).astype(np.int64)
    sums = np.zeros(n, np.int64)
    np.add.at(sums, place, values)
    return sums
