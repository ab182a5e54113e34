"""Member months by payer: fee for service, or the managed-care plan that a month's span names.

They are the weights by which a payment is split among those who pay it (`settlement.payers`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import PAYER_KINDS
from ihp_compute.measure.attribution import NOT_COUNTABLE, Attribution
from ihp_compute.population import ShardColumns
from ihp_compute.units import month_of, sums_by

IS_MANAGED = np.arange(256) % len(PAYER_KINDS) == PAYER_KINDS.index("managed")
"""By rate cell."""
PLAN_NOT_STATED = "plan not stated"
"""Payer of the managed months whose span names no plan."""
_BASE = 13
_DIGITS = 17
"""Months of a year are digits of this base; so many fit in 64 bits."""
NO_PAYER = -1
FEE_FOR_SERVICE = "ffs"
"""Payer of the months in fee-for-service rate cells; the others are named by their plan's code."""


def payer_months(
    shard: ShardColumns, attribution: Attribution, *, n_plans: int
) -> NDArray[np.uint8]:
    """Countable months of each member by payer, for one shard and the attribution's year.

    A month stands in one span, so each countable month has one payer: fee for service where its
    rate cell is, else the span's plan. Who belongs to no group has none.

    Parameters
    ----------
    shard : Shard
    attribution : Attribution
    n_plans : int
        Length of the population's codes "plan".

    Returns
    -------
    uint8[n_members, 1 + n_plans]
        Column 0 is fee for service, column 1 + p the plan of code p.
    """
    january = month_of(attribution.year, 1)
    member = np.repeat(np.arange(shard.n_members), np.diff(shard.offsets("spans")))
    spans = np.flatnonzero(attribution.group[member] >= 0)
    member = member[spans]
    first = shard.column("spans", "first_month")[spans] - january
    low = np.clip(first, 0, 12)
    high = np.clip(first + shard.column("spans", "n_months")[spans], low, 12)
    spanned = ((1 << high) - (1 << low)).astype(np.uint16)
    plan = shard.column("spans", "plan")[spans].astype(np.int64)
    cells = np.full((shard.n_members, 16), NOT_COUNTABLE, np.uint8)  # a bit a month, in two bytes
    cells[:, :12] = attribution.month_cell
    counts = cells != NOT_COUNTABLE
    managed = counts & IS_MANAGED[cells]
    found = np.zeros(shard.n_members * (1 + n_plans), np.int64)
    for months, payer in ((counts & ~managed, np.zeros_like(plan)), (managed, 1 + plan)):
        by_member = np.packbits(months, bitorder="little").view("<u2")
        met = np.bitwise_count(by_member[member] & spanned)
        some = np.flatnonzero(met)
        found += sums_by(member[some] * (1 + n_plans) + payer[some], met[some], found.size)
    return found.astype(np.uint8).reshape(shard.n_members, 1 + n_plans)


def month_payers(
    shard: ShardColumns, month_cell: NDArray[np.uint8], *, year: int
) -> NDArray[np.int32]:
    """The payer of each month of a year that counts.

    Parameters
    ----------
    shard : Shard
    month_cell : uint8[n_members, 12]
        As `Attribution.month_cell`.
    year : int

    Returns
    -------
    int32[n_members, 12]
        Places in `payer_names`; `NO_PAYER` where the month does not count.
    """
    managed = (month_cell != NOT_COUNTABLE) & IS_MANAGED[month_cell]
    payer = np.where(month_cell == NOT_COUNTABLE, NO_PAYER, 0).astype(np.int32)
    member = np.repeat(np.arange(shard.n_members), np.diff(shard.offsets("spans")))
    first = shard.column("spans", "first_month") - month_of(year, 1)
    end = first + shard.column("spans", "n_months")
    plan = 1 + shard.column("spans", "plan")
    for month in range(12):
        here = np.flatnonzero((first <= month) & (month < end))
        here = here[managed[member[here], month]]
        payer[member[here], month] = plan[here]
    return payer


def payer_labels(
    months: NDArray[np.uint8], plans: Sequence[str]
) -> tuple[NDArray[np.int32], list[str]]:
    """Each member's months by payer in words, as places in a list of texts.

    >>> payer_labels(np.array([[7, 5], [0, 0], [7, 5]], np.uint8), ["Plan A"])
    (array([1, 0, 1], dtype=int32), ['', 'ffs 7; Plan A 5'])
    """
    width = months.shape[1]
    if width <= _DIGITS:  # months are digits of one number
        numbers = months @ (np.uint64(_BASE) ** np.arange(width, dtype=np.uint64))
        _, first, place = np.unique(numbers, return_index=True, return_inverse=True)
    else:
        _, first, place = np.unique(months, axis=0, return_index=True, return_inverse=True)
    names = payer_names(plans)
    texts = [
        "; ".join(f"{name} {n}" for name, n in zip(names, row, strict=True) if n)
        for row in months[first].tolist()
    ]
    return place.reshape(-1).astype(np.int32), texts


def payer_names(plans: Sequence[str]) -> list[str]:
    """Names of the payers, in the order of the columns of `payer_months`."""
    return [FEE_FOR_SERVICE, *(plan or PLAN_NOT_STATED for plan in plans)]


def payer_weights(months: NDArray[np.int64], plans: list[str]) -> dict[str, int]:
    """Weights of one group for `split`, from its months by payer; no payer without months.

    >>> payer_weights(np.array([7, 0, 5, 0]), ["", "Plan A", "Plan B"])
    {'ffs': 7, 'Plan A': 5}
    """
    found = zip(payer_names(plans), months.tolist(), strict=True)
    return {name: int(n) for name, n in found if n}
