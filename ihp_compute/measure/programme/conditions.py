"""The condition group of a member in a year: by the user's table of diagnoses, or as supplied.

    diagnoses of the year x condition_group -> the group of the lowest rank
    else: the cell that came with the member's risk score of the year

Diagnoses are those of claims paid by the cutoff. Whoever has none that a row of the table begins is
of `NONE`; so is who has no cell. The table is the user's: no grouper is shipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.measure.plan import Plan
from ihp_compute.population import Population, ShardColumns
from ihp_compute.units import year_bounds

NONE: Final = "none"
TABLE: Final = "condition_group"


@dataclass(frozen=True)
class Conditions:
    """Whose condition is which.

    Attributes
    ----------
    names : tuple of str
        Condition groups; the last is `NONE`.
    group_of : int32[n_codes]
        Of each diagnosis its place in the order of ranks, of each cell its place in `names`.
    by_rank : int32[n_ranks + 1]
        Place in `names` of each place in the order of ranks; empty where cells are supplied.
    model : int
        Code of the model whose cells these are; -1 where diagnoses say.
    """

    names: tuple[str, ...]
    group_of: NDArray[np.int32]
    by_rank: NDArray[np.int32]
    model: int = -1

    @classmethod
    def of(cls, plan: Plan, population: Population) -> Self | None:
        """What a population says of conditions; None where it says nothing."""
        table = population.reference(TABLE)
        if table is not None:
            return cls._of_table(table, population.codes("dx").to_pylist())
        return cls._of_cells(plan, population)

    @classmethod
    def _of_table(cls, table: pa.Table, codes: list[str]) -> Self:
        columns = (table.column(name).to_pylist() for name in ("dx_prefix", TABLE, "rank"))
        rows = [(prefix, group, int(rank)) for prefix, group, rank in zip(*columns, strict=True)]
        order = sorted({(rank, group) for _, group, rank in rows})
        place = {key: at for at, key in enumerate(order)}
        names = tuple(dict.fromkeys(group for _, group in order))
        first: dict[str, int] = {}
        for prefix, group, rank in rows:
            at = place[rank, group]
            first[prefix] = min(at, first.get(prefix, at))
        lengths = sorted({len(prefix) for prefix in first})
        nothing = len(order)
        found = [
            min((first.get(code[:n], nothing) for n in lengths if n <= len(code)), default=nothing)
            for code in codes
        ]
        by_rank = [names.index(group) for _, group in order] + [len(names)]
        return cls((*names, NONE), np.array(found, np.int32), np.array(by_rank, np.int32))

    @classmethod
    def _of_cells(cls, plan: Plan, population: Population) -> Self | None:
        models = population.codes("risk_model").to_pylist()
        named = plan.contracts.risk(plan.performance_year).model.partition(":")[2]
        known = [model for model in models if model]
        model = named if named in known else known[0] if len(known) == 1 else ""
        cells = [str(cell) for cell in population.codes("risk_cell").to_pylist()]
        if not model or not any(cells):
            return None
        names = (*cells[1:], NONE)
        group_of = np.array([len(cells) - 1, *range(len(cells) - 1)], np.int32)
        return cls(names, group_of, np.zeros(0, np.int32), models.index(model))

    def in_year(self, shard: ShardColumns, year: int, cutoff_day: int) -> NDArray[np.int32]:
        """Place in `names` of each member of a shard: int32[n_members]."""
        n = shard.n_members
        if self.model >= 0:
            rows = np.flatnonzero(
                (shard.column("scores", "year") == year)
                & (shard.column("scores", "model") == self.model)
                & (shard.column("scores", "cell") != 0)
            )
            member = np.searchsorted(shard.offsets("scores"), rows, side="right") - 1
            found = np.full(n, len(self.names) - 1, np.int32)
            found[member] = self.group_of[shard.column("scores", "cell")[rows]]
            return found
        first, end = year_bounds(year)
        day = shard.column("diagnoses", "day")
        rows = np.flatnonzero(
            (day >= first) & (day < end) & (shard.column("diagnoses", "paid_day") <= cutoff_day)
        )
        member = np.searchsorted(shard.offsets("diagnoses"), rows, side="right") - 1
        least = np.full(n, len(self.by_rank) - 1, np.int32)
        np.minimum.at(least, member, self.group_of[shard.column("diagnoses", "dx")[rows]])
        return self.by_rank[least]
