"""Claims still to come: completion factors by incurred month, and interim against final.

    paid lines -> triangle [incurred month, months of lag] -> development -> completion factors

The factor of an incurred month is paid to date over ultimate. Development from one lag to the next
is volume-weighted over the incurred months that have both, the chain ladder; the last known lag is
taken as ultimate. Ratios are exact fractions until the one rounding to six places, half to even, so
that a factor does not depend on the order of claims. (Reserving libraries compute in floating point
and pull in data-frame stacks; three sums over a 24 × 36 triangle need neither.)

A population's factors are the state's, over all lines that can be cost; the ratio of a year is what
a contract takes as `target.completion` (base year) or `observed.completion` (performance year).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import LINE_KINDS
from ihp_compute.errors import DataError
from ihp_compute.population import ShardColumns
from ihp_compute.units import NO_DAY, date_of, month_of, months_of_days, six_places


def triangle(
    incurred_month: NDArray[np.int32],
    paid_month: NDArray[np.int32],
    paid_cents: NDArray[np.int64],
    *,
    first_month: int,
    n_months: int,
    cutoff_month: int,
) -> NDArray[np.int64]:
    """Dollars paid by incurred month and months of lag; sums over claims add in any order.

    Parameters
    ----------
    incurred_month, paid_month : int32[n_lines]
        Calendar months (`units.month_of`). A line paid before its month counts as paid in it.
    paid_cents : int64[n_lines]
        Lines of unknown payment date are left out by the caller.
    first_month, n_months : int
        Incurred months of the triangle.
    cutoff_month : int
        Last month whose payments are seen.

    Returns
    -------
    int64[n_months, cutoff_month - first_month + 1]
        Cents paid at each lag; later than the cutoff, 0.
    """
    n_lags = cutoff_month - first_month + 1
    row = incurred_month.astype(np.int64) - first_month
    lag = np.maximum(paid_month.astype(np.int64) - incurred_month, 0)
    seen = (row >= 0) & (row < n_months) & (row + lag < n_lags)
    found = np.zeros((n_months, n_lags), dtype=np.int64)
    np.add.at(found, (row[seen], lag[seen]), paid_cents[seen])
    return found


def chain_ladder(paid: NDArray[np.int64]) -> list[Decimal]:
    """Completion factor of each incurred month, from a triangle of one row a month.

    Parameters
    ----------
    paid : int64[n_months, n_lags]
        Cents paid at each lag; row i is known up to lag n_lags - 1 - i.

    Returns
    -------
    list of Decimal
        Paid to date over ultimate, six places, oldest month first.

    Raises
    ------
    DataError
        If a lag has nothing paid to develop from.

    >>> [str(factor) for factor in chain_ladder(np.array([[50, 50], [60, 0]]))]
    ['1.000000', '0.500000']
    """
    n_months, n_lags = paid.shape
    cumulative = np.cumsum(paid.astype(object), axis=1)
    to_ultimate = [Fraction(1)] * n_lags
    for lag in range(n_lags - 2, -1, -1):
        both = [i for i in range(n_months) if i + lag + 1 < n_lags]
        before = sum(cumulative[i, lag] for i in both)
        after = sum(cumulative[i, lag + 1] for i in both)
        if both and before <= 0:
            raise DataError(
                f"completion: nothing was paid within {lag} months of the month of service, so "
                "that lag cannot be developed; give the completion ratios as terms"
            )
        step = Fraction(after, before) if both else Fraction(1)
        to_ultimate[lag] = to_ultimate[lag + 1] * step
    factors = []
    for i in range(n_months):
        known = n_lags - 1 - i
        ultimate = to_ultimate[known] if known >= 0 else Fraction(1)
        factors.append(six_places(1 / ultimate))
    return factors


def overall(month_cents: Sequence[int], factors: Sequence[Decimal]) -> Decimal:
    """Completion ratio of a year: its paid dollars over the ultimate of each month.

    Parameters
    ----------
    month_cents : sequence of int
        Paid to date by incurred month.
    factors : sequence of Decimal
        Paid to date over ultimate, one a month.

    Raises
    ------
    DataError
        If the numbers of months differ or a factor is not above 0.

    >>> str(overall([100, 100], [Decimal("1"), Decimal("0.8")]))
    '0.888889'
    """
    if len(month_cents) != len(factors):
        raise DataError(f"completion: found {len(factors)} factors for {len(month_cents)} months")
    if any(factor <= 0 for factor in factors):
        raise DataError("completion: found a factor of 0 or less, expected a ratio above 0")
    paid = sum(month_cents)
    pairs = zip(month_cents, factors, strict=True)
    ultimate = sum((Fraction(cents) / Fraction(factor) for cents, factor in pairs), Fraction(0))
    return Decimal(1) if ultimate == 0 else six_places(Fraction(paid) / ultimate)


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
    month_cents : tuple of int
        Paid to date by month of service, January first.
    factors : tuple of Decimal
        Paid to date over ultimate, by month.
    ratio : Decimal
        The year's paid dollars over their ultimate.
    undated_cents : int
        Dollars of lines without a payment date; they develop nothing and are left out.
    """

    year: int
    month_cents: tuple[int, ...]
    factors: tuple[Decimal, ...]
    ratio: Decimal
    undated_cents: int


def year_completion(
    shards: Iterable[ShardColumns], *, year: int, first_year: int, cutoff_day: int
) -> YearCompletion:
    """Completion factors of a year from the lines of a population.

    Fee-for-service and encounter lines by month of service, from `first_year` on, paid until the
    cutoff. Shards may come in any order.

    Raises
    ------
    DataError
        If the cutoff lies before the year's end, or a lag cannot be developed.
    """
    cutoff = date_of(cutoff_day)
    cutoff_month = month_of(cutoff.year, cutoff.month)
    first_month, last_month = month_of(first_year, 1), month_of(year, 12)
    if cutoff_month < last_month:
        raise DataError(
            f"completion: claims are paid through {cutoff}, expected at least December {year}"
        )
    paid = np.zeros((last_month - first_month + 1, cutoff_month - first_month + 1), np.int64)
    undated = 0
    kinds = [LINE_KINDS.index("fee_for_service"), LINE_KINDS.index("encounter")]
    for shard in shards:
        day, paid_day = (shard.column("lines", name) for name in ("service_day", "paid_day"))
        cents = shard.column("lines", "paid_cents")
        counts = np.isin(shard.column("lines", "kind"), kinds)
        dated = counts & (paid_day != NO_DAY)
        undated += int(cents[counts & (paid_day == NO_DAY)].sum())
        seen = dated & (paid_day <= cutoff_day)
        paid += triangle(
            months_of_days(day[seen]),
            months_of_days(paid_day[seen]),
            cents[seen],
            first_month=first_month,
            n_months=len(paid),
            cutoff_month=cutoff_month,
        )
    factors = chain_ladder(paid)[-12:]
    month_cents = [int(row.sum()) for row in paid[-12:]]
    return YearCompletion(
        year, tuple(month_cents), tuple(factors), overall(month_cents, factors), undated
    )
