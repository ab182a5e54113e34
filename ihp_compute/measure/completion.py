"""Claims still to come: how complete a year is, by chain ladder, and interim against final.

    paid dollars -> triangle [incurred month, months of lag] -> development -> completion

The completion of an incurred month is paid to date over ultimate. Development from one lag to the
next is volume-weighted over the incurred months that have both, the chain ladder; the last known
lag is taken as ultimate. Lags are counted back from the day through which claims are paid, so that
each month has been seen for whole months. A month of which nothing was paid takes no part.
Completion is an exact fraction and does not depend on the order of claims. (Reserving libraries
compute in floating point and pull in data-frame stacks; three sums over a 24 × 36 triangle need
neither.)

How complete the state's year is comes from the population's days of payment, and from no line
(`year_completion`). What is done about it is a term: the base year is cut as early
(`claims_to_come`), costs are divided by what is complete of each payer's (`completed`), factors are
given (`settlement`), or nothing.
"""

from __future__ import annotations

import calendar
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.codes import LINE_KINDS
from ihp_compute.errors import DataError
from ihp_compute.units import NO_DAY, date_of, day_of, month_of, six_places

COST_KINDS: Final = tuple(LINE_KINDS.index(name) for name in ("fee_for_service", "encounter"))


def years_earlier(day: int, years: int) -> int:
    """The same day so many calendar years earlier; 29 February becomes 28.

    >>> str(date_of(years_earlier(day_of(date(2024, 2, 29)), 1)))
    '2023-02-28'
    """
    then = date_of(day)
    last = calendar.monthrange(then.year - years, then.month)[1]
    return day_of(date(then.year - years, then.month, min(then.day, last)))


def run_out_months(year: int, cutoff_day: int) -> int:
    """Whole months from the end of a year to the day through which claims are paid.

    >>> [run_out_months(2023, day_of(date(2024, 6, day))) for day in (30, 29)]
    [6, 5]
    """
    through = date_of(cutoff_day)
    return month_of(through.year, through.month) - month_of(year, 12) - (not _ends(through))


def _ends(day: date) -> bool:
    """Whether it is the last day of its month."""
    return day.day == calendar.monthrange(day.year, day.month)[1]


def period_ends(cutoff_day: int, n: int) -> NDArray[np.int32]:
    """The last days of `n` months of payment, oldest first: the cutoff's day of each month.

    The end of a month is followed back by ends of months.
    """
    cutoff = date_of(cutoff_day)
    last = month_of(cutoff.year, cutoff.month)
    ends = []
    for month in range(last - n + 1, last + 1):
        year, number = month // 12, month % 12 + 1
        days = calendar.monthrange(year, number)[1]
        ends.append(day_of(date(year, number, days if _ends(cutoff) else min(cutoff.day, days))))
    return np.array(ends, np.int32)


def lags_of(
    incurred_month: NDArray[np.int32],
    paid_day: NDArray[np.int32],
    *,
    first_month: int,
    cutoff_day: int,
) -> NDArray[np.int64]:
    """Months of lag of lines paid by the cutoff, counted back from it; before their month, 0."""
    cutoff = date_of(cutoff_day)
    n = month_of(cutoff.year, cutoff.month) - first_month + 1
    paid_month = first_month + np.searchsorted(period_ends(cutoff_day, n), paid_day)
    return np.maximum(paid_month - incurred_month, 0).astype(np.int64)


def triangle(
    incurred_month: NDArray[np.int32],
    paid_day: NDArray[np.int32],
    paid_cents: NDArray[np.int64],
    *,
    first_month: int,
    n_months: int,
    cutoff_day: int,
) -> NDArray[np.int64]:
    """Dollars paid by incurred month and months of lag; sums over claims add in any order.

    Parameters
    ----------
    incurred_month : int32[n_lines]
        Calendar months (`units.month_of`).
    paid_day : int32[n_lines]
        A line paid before its month counts as paid in it, one paid after the cutoff is not seen.
        Lines of unknown payment date are left out by the caller.
    paid_cents : int64[n_lines]
    first_month, n_months : int
        Incurred months of the triangle.
    cutoff_day : int
        Last day whose payments are seen.

    Returns
    -------
    int64[n_months, n_lags]
        Cents paid at each lag; later than the cutoff, 0. The first month is known at every lag.
    """
    cutoff = date_of(cutoff_day)
    n_lags = max(month_of(cutoff.year, cutoff.month) - first_month + 1, 1)
    row = incurred_month.astype(np.int64) - first_month
    seen = (row >= 0) & (row < n_months) & (paid_day <= cutoff_day)
    lag = lags_of(
        incurred_month[seen], paid_day[seen], first_month=first_month, cutoff_day=cutoff_day
    )
    row, cents = row[seen], paid_cents[seen]
    inside = row + lag < n_lags
    found = np.zeros((n_months, n_lags), dtype=np.int64)
    np.add.at(found, (row[inside], lag[inside]), cents[inside])
    return found


def chain_ladder(paid: NDArray[np.int64]) -> list[Fraction | None]:
    """Completion of each incurred month, from a triangle of one row a month.

    Parameters
    ----------
    paid : int64[n_months, n_lags]
        Cents paid at each lag; row i is known up to lag n_lags - 1 - i.

    Returns
    -------
    list of Fraction or None
        Paid to date over ultimate, oldest month first; 1 for a month of which nothing was paid,
        None where earlier months had paid nothing at its lag and so say nothing of what follows.

    >>> [str(found) for found in chain_ladder(np.array([[50, 50], [60, 0]]))]
    ['1', '1/2']
    """
    n_months, n_lags = paid.shape
    known = [n_lags - 1 - i for i in range(n_months)]
    cumulative = np.cumsum(paid.astype(object), axis=1)
    part = [i for i in range(n_months) if known[i] >= 0 and cumulative[i, known[i]] > 0]
    to_ultimate: list[Fraction | None] = [Fraction(1)] * n_lags
    for lag in range(n_lags - 2, -1, -1):
        both = [i for i in part if known[i] > lag]
        before = sum(cumulative[i, lag] for i in both)
        after = sum(cumulative[i, lag + 1] for i in both)
        later = to_ultimate[lag + 1]
        if not both:
            to_ultimate[lag] = later
        elif before <= 0 or after <= 0 or later is None:
            to_ultimate[lag] = None
        else:
            to_ultimate[lag] = later * Fraction(after, before)
    found: list[Fraction | None] = []
    for i in range(n_months):
        ultimate = to_ultimate[known[i]] if i in part else Fraction(1)
        found.append(None if ultimate is None else 1 / ultimate)
    return found


def overall(
    month_cents: Sequence[int], factors: Sequence[Fraction | None], undated_cents: int = 0
) -> Fraction | None:
    """Completion of a year: its paid dollars over the ultimate of each month.

    Parameters
    ----------
    month_cents : sequence of int
        Paid to date by incurred month.
    factors : sequence of Fraction or None
        Paid to date over ultimate, one a month.
    undated_cents : int
        Dollars whose day of payment is not stated; they are taken as complete.

    Returns
    -------
    Fraction or None
        None if a month with dollars has no factor, or the year has no ultimate above 0.

    Raises
    ------
    DataError
        If the numbers of months differ.

    >>> str(overall([100, 100], [Fraction(1), Fraction(4, 5)]))
    '8/9'
    """
    if len(month_cents) != len(factors):
        raise DataError(f"completion: found {len(factors)} factors for {len(month_cents)} months")
    paid, ultimate = Fraction(undated_cents), Fraction(undated_cents)
    for cents, factor in zip(month_cents, factors, strict=True):
        if cents and factor is None:
            return None
        paid += cents
        ultimate += 0 if factor is None else cents / factor
    if paid == ultimate:
        return Fraction(1)
    return paid / ultimate if paid > 0 and ultimate > 0 else None


def final_less_interim(
    final_cents: Mapping[str, int], interim_cents: Mapping[str, int]
) -> dict[str, int]:
    """What the final settlement still moves: positive is paid out, negative recouped.

    A partnership that only one of the two settled stands with the other's payment at zero.

    >>> final_less_interim({"A": 500, "B": -20}, {"A": 600})
    {'A': -100, 'B': -20}
    """
    names = sorted({*final_cents, *interim_cents})
    return {name: final_cents.get(name, 0) - interim_cents.get(name, 0) for name in names}


@dataclass(frozen=True)
class YearCompletion:
    """Completion of one year as of a cutoff.

    Attributes
    ----------
    year : int
    run_out_months : int
        Whole months from the year's end to the cutoff; negative if it is not over.
    month_cents : tuple of int
        Paid to date by the month that incurs, January first.
    factors : tuple of Fraction or None
        Paid to date over ultimate, by month; None where nothing says.
    ratio : Fraction or None
        The year's paid dollars over their ultimate; None where nothing says.
    undated_cents : int
        Dollars of lines without a payment date; they are taken as complete.
    is_developed : bool
        Whether no line of these years was paid later than the year's last month has been seen, so
        that every part of the year's cost is complete.
    """

    year: int
    run_out_months: int
    month_cents: tuple[int, ...]
    factors: tuple[Fraction | None, ...]
    ratio: Fraction | None
    undated_cents: int
    is_developed: bool

    @property
    def run_out(self) -> str:
        """The run-out to read."""
        if self.run_out_months < 0:
            return "before the year's end"
        return f"{self.run_out_months} month{'s' * (self.run_out_months != 1)} of run-out"

    @property
    def unpaid_months(self) -> int:
        """Last months, of which nothing was paid, of a year that is not over."""
        paid = [cents > 0 for cents in self.month_cents]
        return paid[::-1].index(True) if self.run_out_months < 0 and any(paid) else 0

    @property
    def unpaid(self) -> str:
        """Those months to read; empty where there are none."""
        n = self.unpaid_months
        return f"nothing paid of its last {f'{n} months' if n > 1 else 'month'}" if n else ""

    @property
    def shown(self) -> str:
        """The ratio to read."""
        return "not known" if self.ratio is None else str(six_places(self.ratio))


@dataclass(frozen=True)
class PaymentDays:
    """Days on which lines that can be cost were paid, by the month that incurs them.

    Arrays of one entry a month and day: month, paid_day, lines, cents.
    """

    month: NDArray[np.int32]
    paid_day: NDArray[np.int32]
    lines: NDArray[np.int64]
    cents: NDArray[np.int64]

    @classmethod
    def of(cls, table: pa.Table, incurred_by: str) -> PaymentDays:
        """Those of a population (`Population.payment_days`), by the day that incurs a line."""
        here = pc.and_(
            pc.equal(table.column("incurred_by"), incurred_by),
            pc.is_in(table.column("kind"), value_set=pa.array(COST_KINDS, pa.uint8())),
        )
        kept = table.filter(here)
        names = ("month", "paid_day", "lines", "paid_cents")
        return cls(*(kept.column(name).to_numpy() for name in names))

    def paid_between(self, year: int, after_day: int, through_day: int) -> int:
        """Lines of a year that were paid after one day and by another."""
        here = (self.month // 12 == year) & (self.paid_day > after_day)
        return int(self.lines[here & (self.paid_day <= through_day)].sum())


def year_completion(
    paid: PaymentDays, *, year: int, first_year: int, cutoff_day: int
) -> YearCompletion:
    """How complete a year is, from the days on which its lines and earlier ones were paid.

    Parameters
    ----------
    paid : PaymentDays
    year : int
    first_year : int
        Earliest year that it is developed from.
    cutoff_day : int
        Lines paid later are not seen.
    """
    first_month, last_month = month_of(first_year, 1), month_of(year, 12)
    dated = paid.paid_day != NO_DAY
    here: dict[str, Any] = {
        "first_month": first_month, "n_months": last_month - first_month + 1,
        "cutoff_day": cutoff_day,
    }  # fmt: skip
    cents = triangle(paid.month[dated], paid.paid_day[dated], paid.cents[dated], **here)
    lines = triangle(paid.month[dated], paid.paid_day[dated], paid.lines[dated], **here)
    undated = int(paid.cents[~dated & (paid.month // 12 == year)].sum())
    seen_lag = lines.shape[1] - lines.shape[0]  # of the year's last month
    factors = tuple(chain_ladder(cents)[-12:])
    month_cents = tuple(int(row.sum()) for row in cents[-12:])
    return YearCompletion(
        year,
        run_out_months(year, cutoff_day),
        month_cents,
        factors,
        overall(month_cents, factors, undated),
        undated,
        is_developed=seen_lag >= 0 and not lines[:, seen_lag + 1 :].any(),
    )
