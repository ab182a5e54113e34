"""Sums of the groups that settle: an alliance's are those of its members, added up.

A person is of one group a year, so that sums of people, months and dollars of several groups are
sums of their people. Without an alliance the groups that settle are those of the roster. Where a
contract says that population-based payments are cost, they are added here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.measure.cell_sums import CellSums
from ihp_compute.measure.measured import Measured
from ihp_compute.measure.paid_ahead import PaidYear
from ihp_compute.measure.plan import Plan
from ihp_compute.uncertainty import Totals

_YEARS: Final = ("base", "perf")


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


def with_payments(plan: Plan, measured: Measured, paid: Sequence[PaidYear]) -> Measured:
    """A measurement by who settles, with population-based payments in cost where they count.

    They are cost of every partnership that is paid, under each rule set that counts them, and stand
    where `counted_in` says.
    """
    rule_sets = [r for r, terms in enumerate(plan.rule_sets) if terms.counts_payments]
    if not rule_sets:
        return replace(measured, paid_ahead=tuple(paid))
    totals = measured.totals
    values = totals.values.copy()
    for one in paid:
        into = counted_in(plan, totals, one.year)
        of_year = _YEARS[plan.years.index(one.year)]
        columns = [totals.columns.index(f"{of_year}_cost_r{r}") for r in rule_sets]
        for own, group in zip(one.drawn_cents, plan.roster.groups, strict=True):
            g = totals.groups.index(plan.contracts.settles(group))
            for c in np.flatnonzero(own.any(axis=1)).tolist():
                at = into[g][c]
                for column in columns:
                    if at is not None:
                        values[g, at, :, column] += own[c]
    return replace(measured, totals=replace(totals, values=values), paid_ahead=tuple(paid))


def counted_in(plan: Plan, totals: Totals, year: int) -> list[list[int | None]]:
    """In which rate cell the payments of each rate cell are cost, by who settles; None: in none.

    In their own. Where the contract does not list it, or who settles has no months of the year
    there, it is the rate cell in which it has most months; nobody's cost where it has none.
    """
    months = totals.column(f"{_YEARS[plan.years.index(year)]}_months")[:, :, 0]
    agreements = plan.contracts.at(plan.performance_year)
    found: list[list[int | None]] = []
    for group, own in zip(totals.groups, months, strict=True):
        listed = agreements[group]["target.rate_cells"] if group in agreements else totals.strata
        merged = [[totals.strata.index(part) for part in cell.split("+")] for cell in listed]
        most = max((c for cell in merged for c in cell), key=lambda c: int(own[c]))
        into: list[int | None] = [most if own[most] else None] * len(totals.strata)
        for cell in merged:
            for c in cell:
                if own[cell].any():
                    into[c] = c
        found.append(into)
    return found


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
