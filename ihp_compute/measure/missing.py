"""What is missing of a shard's members and lines and counts all the same: scores, and payments.

    months whose score was filled    by year, group and rate cell, with the risk they took
    encounters without a payment     counted lines of partnerships, by year and plan, as allowed

Sums are of integers and add over shards. Not here: what a fill is (`risk`), how such an encounter
is priced (`cost`), what is told of both (`results.missing`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import LINE_KINDS
from ihp_compute.ledger import RunFate
from ihp_compute.measure.attribution import Attribution
from ihp_compute.population import ShardColumns
from ihp_compute.risk import Scores
from ihp_compute.units import months_of_days, sums_by, year_bounds

_ENCOUNTER = LINE_KINDS.index("encounter")
_MONTHS = 1 << 16
"""More calendar months than there are."""


def unscored(attribution: Attribution, scores: Scores, n_groups: int) -> NDArray[np.int64]:
    """Members of groups whose score was filled, by group.

    Returns
    -------
    int64[n_groups, 1 + 2 * n_rate_cells]
        Members; by rate cell their countable months; and months times the score they took, micro.
    """
    here = np.flatnonzero(scores.missing & (attribution.group >= 0))
    group, months = attribution.group[here].astype(np.int64), attribution.months[:, here]
    risk = months * scores.score_micro[here]
    columns = (np.ones(here.size, np.int64), *months, *risk)
    return np.stack([sums_by(group, column, n_groups) for column in columns], axis=1)


def unpaid_encounters(
    shard: ShardColumns,
    fate: NDArray[np.uint8],
    incurred_day: NDArray[np.int32],
    attribution: Attribution,
    *,
    n_groups: int,
    n_plans: int,
) -> NDArray[np.int64]:
    """Counted encounter lines of a year, and those of them that nothing was paid for.

    Parameters
    ----------
    shard : Shard
    fate : uint8[n_lines]
        `RunFate` of each line.
    incurred_day : int32[n_lines]
        The day that puts a line into its year and month.
    attribution : Attribution
        Of the year.
    n_groups, n_plans : int

    Returns
    -------
    int64[n_groups, n_plans, 4]
        By the plan that the span of the line's month names: counted encounter lines (all at plan
        0), lines without a payment, their allowed cents, members who have some.
    """
    first, end = year_bounds(attribution.year)
    counted = (fate == RunFate.COUNTED) & (shard.column("lines", "kind") == _ENCOUNTER)
    counted &= (incurred_day >= first) & (incurred_day < end)
    found = np.zeros((n_groups, n_plans, 4), np.int64)
    if not counted.any():
        return found
    offsets = shard.offsets("lines")
    so_far = np.concatenate([np.zeros(1, np.int64), np.cumsum(counted)])
    by_member = np.diff(so_far[offsets])
    some = np.flatnonzero(by_member)
    found[:, 0, 0] = sums_by(attribution.group[some].astype(np.int64), by_member[some], n_groups)
    rows = np.flatnonzero(counted & (shard.column("lines", "paid_cents") == 0))
    member = np.searchsorted(offsets, rows, side="right") - 1
    group = attribution.group[member].astype(np.int64)
    plan = _plan_of(shard, member, months_of_days(incurred_day[rows]))
    place = group * n_plans + plan
    _, one_each = np.unique(place * shard.n_members + member, return_index=True)
    fresh = np.zeros(rows.size, np.int64)
    fresh[one_each] = 1
    allowed = shard.column("lines", "allowed_cents")[rows]
    for k, column in enumerate((np.ones_like(fresh), allowed, fresh), start=1):
        found[..., k] = sums_by(place, column, n_groups * n_plans).reshape(n_groups, n_plans)
    return found


def _plan_of(
    shard: ShardColumns, member: NDArray[np.int64], month: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Code of the plan that a member's span of a month names."""
    offsets = shard.offsets("spans")
    of = np.repeat(np.arange(shard.n_members), np.diff(offsets))
    starts = of * _MONTHS + shard.column("spans", "first_month")
    span = np.searchsorted(starts, member * _MONTHS + month, side="right") - 1
    found: NDArray[np.int64] = shard.column("spans", "plan")[span].astype(np.int64)
    return found
