"""Member months by payer: fee for service, or the managed-care plan that a month's span names.

They are the weights by which a payment is split among those who pay it (`settlement.payers`).
"""

from __future__ import annotations

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
FEE_FOR_SERVICE = "ffs"
"""Payer of the months in fee-for-service rate cells; the others are named by their plan's code."""


def payer_months(
    shard: ShardColumns, attribution: Attribution, *, n_groups: int, n_plans: int
) -> NDArray[np.int64]:
    """Countable member months of each group by payer, for one shard and the attribution's year.

    Shards add. A month stands in one span, so each countable month has one payer: fee for service
    where its rate cell is, else the span's plan.

    Parameters
    ----------
    shard : Shard
    attribution : Attribution
    n_groups : int
    n_plans : int
        Length of the population's codes "plan".

    Returns
    -------
    int64[n_groups, 1 + n_plans]
        Column 0 is fee for service, column 1 + p the plan of code p.
    """
    january = month_of(attribution.year, 1)
    member = np.repeat(np.arange(shard.n_members), np.diff(shard.offsets("spans")))
    group = attribution.group[member].astype(np.int64)
    spans = np.flatnonzero(group >= 0)
    member, group = member[spans], group[spans]
    first = shard.column("spans", "first_month")[spans] - january
    low = np.clip(first, 0, 12)
    high = np.clip(first + shard.column("spans", "n_months")[spans], low, 12)
    spanned = ((1 << high) - (1 << low)).astype(np.uint16)
    plan = shard.column("spans", "plan")[spans].astype(np.int64)
    cells = np.full((shard.n_members, 16), NOT_COUNTABLE, np.uint8)  # a bit a month, in two bytes
    cells[:, :12] = attribution.month_cell
    counts = cells != NOT_COUNTABLE
    managed = counts & IS_MANAGED[cells]
    found = np.zeros(n_groups * (1 + n_plans), dtype=np.int64)
    for months, payer in ((counts & ~managed, np.zeros_like(plan)), (managed, 1 + plan)):
        by_member = np.packbits(months, bitorder="little").view("<u2")
        met = np.bitwise_count(by_member[member] & spanned)
        found += sums_by(group * (1 + n_plans) + payer, met, found.size)
    return found.reshape(n_groups, -1)


def payer_weights(months: NDArray[np.int64], plans: list[str]) -> dict[str, int]:
    """Weights of one group for `split`, from a row of `payer_months`; no payer without months.

    >>> payer_weights(np.array([7, 0, 5, 0]), ["", "Plan A", "Plan B"])
    {'ffs': 7, 'Plan A': 5}
    """
    return {name: int(n) for name, n in zip(payer_names(plans), months.tolist(), strict=True) if n}


def payer_names(plans: list[str]) -> list[str]:
    """Names of the payers in their order: fee for service, then each plan."""
    return [FEE_FOR_SERVICE, *(plan or PLAN_NOT_STATED for plan in plans)]
