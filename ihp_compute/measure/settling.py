"""Sums of the groups that settle: an alliance's are those of its members, added up.

A person is of one group a year, so that sums of people, months and dollars of several groups are
sums of their people. Without an alliance the groups that settle are those of the roster.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.measure.cell_sums import CellSums
from ihp_compute.measure.measured import Measured
from ihp_compute.measure.plan import Plan
from ihp_compute.uncertainty import Totals


def settling(plan: Plan, measured: Measured) -> Measured:
    """A measurement with the sums that settle by who settles.

    Totals, rate cells, months by payer, what is missing and changes of scores are then of
    `totals.groups`; movement and use of care stay those of the roster's groups.
    """
    if not plan.contracts.alliances:
        return measured
    groups, place = _places(plan)

    def pool(sums: NDArray[np.int64], axis: int = 0) -> NDArray[np.int64]:
        return _pooled(sums, place, len(groups), axis)

    totals, cells, change = measured.totals, measured.cells, measured.score_change
    if len(change):
        change = np.concatenate([pool(change[:-1]), change[-1:]])
    return replace(
        measured,
        totals=Totals(
            groups=groups,
            columns=totals.columns,
            values=pool(totals.values),
            n_members=pool(totals.n_members),
            taken_cents=pool(totals.taken_cents),
            strata=totals.strata,
        ),
        cells=CellSums(
            tuple(pool(members, 1) for members in cells.members),
            pool(cells.taken_cents, 2),
            pool(cells.movers),
        ),
        payer_months=pool(measured.payer_months),
        unscored=pool(measured.unscored, 1),
        unpaid=pool(measured.unpaid, 1),
        score_change=change,
        apart=totals,
    )


def _places(plan: Plan) -> tuple[tuple[str, ...], list[int]]:
    """The groups that settle, in the order of groups, and the place of each of the roster's."""
    settles = [plan.contracts.settles(group) for group in plan.roster.groups]
    others = (COMPARISON, UNATTRIBUTED)
    groups = (*sorted({*settles} - {*others}), *others)
    return groups, [groups.index(name) for name in settles]


def _pooled(
    sums: NDArray[np.int64], place: list[int], n_groups: int, axis: int
) -> NDArray[np.int64]:
    shape = list(sums.shape)
    shape[axis] = n_groups
    pooled = np.zeros(shape, np.int64)
    into: NDArray[Any] = np.moveaxis(pooled, axis, 0)
    for g, own in zip(place, np.moveaxis(sums, axis, 0), strict=True):
        into[g] += own
    return pooled
