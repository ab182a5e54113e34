"""What stands in rate cells as observed, beside what is drawn: people, dollars taken, who moved.

Totals over draws have months, risk and cost by group and rate cell. These sums say the rest of
what the middle of a target rests on; they are of the data as observed, and shards add.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import RATE_CELLS
from ihp_compute.measure.attribution import Attribution
from ihp_compute.measure.cost import Cost
from ihp_compute.uncertainty import YearRows, column_names
from ihp_compute.units import sums_by


@dataclass(frozen=True)
class CellSums:
    """Sums over members of groups; years are (base, performance).

    Attributes
    ----------
    members : tuple of int64[2, n_groups, n_cells]
        People with months in a rate cell, for each list of rate cells that a contract has.
    taken_cents : int64[2, n_rule_sets, n_groups, n_strata]
        What floor and cap took, less what completion by the run added: cost before all three, less
        cost after.
    movers : int64[n_groups, n_strata, n_columns]
        The columns of `uncertainty.Totals`, of member-years that stand in several rate cells.
    """

    members: tuple[NDArray[np.int64], ...]
    taken_cents: NDArray[np.int64]
    movers: NDArray[np.int64]

    def __add__(self, other: CellSums) -> CellSums:
        """Sums of two disjoint sets of members."""
        both = zip(self.members, other.members, strict=True)
        return CellSums(
            tuple(one + another for one, another in both),
            self.taken_cents + other.taken_cents,
            self.movers + other.movers,
        )


def cell_sums(
    years: Sequence[tuple[Attribution, Sequence[Cost], YearRows]],
    rate_cells: Sequence[tuple[str, ...]],
    *,
    n_groups: int,
) -> CellSums:
    """Sums of one shard.

    Parameters
    ----------
    years : sequence
        Base year, then performance year.
    rate_cells : sequence of tuple of str
        The lists of rate cells among the contracts; merged cells joined by +.
    n_groups : int
    """
    places = [
        [[RATE_CELLS.index(part) for part in cell.split("+")] for cell in cells]
        for cells in rate_cells
    ]
    members = tuple(
        np.stack([_members(attribution, cells, n_groups) for attribution, _, _ in years])
        for cells in places
    )
    taken = np.stack(
        [
            np.stack([_taken(attribution, under, n_groups) for under in cost])
            for attribution, cost, _ in years
        ]
    )
    return CellSums(members, taken, _movers([rows for _, _, rows in years], n_groups))


def _members(
    attribution: Attribution, cells: Sequence[list[int]], n_groups: int
) -> NDArray[np.int64]:
    there = attribution.months != 0
    if cells != [[i] for i in range(len(RATE_CELLS))]:
        there = np.stack([there[cell].any(axis=0) for cell in cells])
    return _by_group(attribution.group, there, n_groups)


def _taken(attribution: Attribution, cost: Cost, n_groups: int) -> NDArray[np.int64]:
    changed = (cost.above_cap_cents != 0) | (cost.floored_cents != 0)
    here = np.flatnonzero(changed | (cost.uncapped_cents != cost.capped_cents))
    return _by_group(attribution.group[here], cost.cell_taken_cents[:, here], n_groups)


def _movers(years: Sequence[YearRows], n_groups: int) -> NDArray[np.int64]:
    names = column_names(len(years[0].cell_cents))
    found = np.zeros((n_groups, len(RATE_CELLS), len(names)), np.int64)
    for year, rows in zip(("base", "perf"), years, strict=True):
        here = np.flatnonzero(np.count_nonzero(rows.months, axis=0) > 1)
        group, months = rows.group[here], rows.months[:, here]
        columns = {
            f"{year}_months": months,
            f"{year}_risk": months * rows.score_micro[here],
            **{f"{year}_cost_r{r}": cents[:, here] for r, cents in enumerate(rows.cell_cents)},
        }
        for name, values in columns.items():
            found[:, :, names.index(name)] = _by_group(group, values, n_groups)
    return found


def _by_group(group: NDArray[np.int32], values: NDArray[Any], n_groups: int) -> NDArray[np.int64]:
    """Sums of values [n_cells, n_members] by group: int64[n_groups, n_cells]; -1 is nobody's."""
    n_cells = len(values)
    cell, member = np.nonzero(values)
    place = group[member].astype(np.int64) * n_cells + cell
    kept = np.flatnonzero(place >= 0)
    sums = sums_by(place[kept], values[cell[kept], member[kept]], n_groups * n_cells)
    return sums.reshape(n_groups, n_cells)
