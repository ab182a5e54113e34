"""The condition group of a member in a year: by the user's table of diagnoses, or as supplied.

    diagnoses of the year x condition_group -> the group of the lowest rank
    else: the cell that came with the member's risk score of the year

Diagnoses are those of claims paid by the cutoff. Whoever has none that a row of the table begins is
of `NONE`; so is who has no cell. The table is the user's: no grouper is shipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.measure.plan import Plan
from ihp_compute.population import Population, ShardColumns, kept
from ihp_compute.units import year_bounds

NONE: Final = "none"
TABLE: Final = "condition_group"
_PIECE: Final = 1 << 16
"""Diagnoses taken together: what is made of them stays in the cache."""


@dataclass(frozen=True)
class Conditions:
    """Whose condition is which.

    Attributes
    ----------
    names : tuple of str
        Condition groups; the last is `NONE`.
    group_of : integers[n_codes]
        Of each diagnosis its place in the order of ranks, in the least room that holds it; of each
        cell its place in `names`.
    by_rank : int32[n_ranks + 1]
        Place in `names` of each place in the order of ranks; empty where cells are supplied.
    model : int
        Code of the model whose cells these are; -1 where diagnoses say.
    """

    names: tuple[str, ...]
    group_of: NDArray[np.integer[Any]]
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
        group_of = np.array(found, np.min_scalar_type(nothing))
        return cls((*names, NONE), group_of, np.array(by_rank, np.int32))

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

    def in_years(
        self, shard: ShardColumns, years: Sequence[int], cutoff_days: Sequence[int]
    ) -> NDArray[np.int32]:
        """Place in `names` of each member of a shard by year: int32[n_years, n_members].

        Parameters
        ----------
        shard : Shard
        years, cutoff_days : sequence of int
            Diagnoses paid after the cutoff of their year are not seen.
        """
        key = "conditions", self.model, tuple(years), tuple(cutoff_days)
        least = np.min_scalar_type(len(self.names) - 1)

        def find() -> NDArray[np.integer[Any]]:
            return self._found(shard, years, cutoff_days).astype(least)

        return kept(shard, key, find).astype(np.int32)

    def _found(
        self, shard: ShardColumns, years: Sequence[int], cutoff_days: Sequence[int]
    ) -> NDArray[np.int32]:
        if self.model >= 0:
            return np.stack([self._supplied(shard, year) for year in years])
        nothing = self.group_of.dtype.type(len(self.by_rank) - 1)
        columns = [shard.column("diagnoses", name) for name in ("dx", "day", "paid_day")]
        offsets = shard.offsets("diagnoses")
        some = np.flatnonzero(np.diff(offsets))
        starts = np.append(offsets[some], columns[0].size)
        least = np.full((len(years), shard.n_members), nothing)
        for a, b in pairwise(_pieces(starts)):
            here, at = slice(starts[a], starts[b]), starts[a:b] - starts[a]
            dx, day, paid_day = (column[here] for column in columns)
            place = np.take(self.group_of, dx)  # faster than brackets
            for found, year, cutoff_day in zip(least, years, cutoff_days, strict=True):
                first, end = year_bounds(year)
                unseen = (day < first) | (day >= end) | (paid_day > cutoff_day)
                found[some[a:b]] = np.minimum.reduceat(np.maximum(place, unseen * nothing), at)
        return self.by_rank[least]

    def _supplied(self, shard: ShardColumns, year: int) -> NDArray[np.int32]:
        """Place of the cell that came with the score of a year."""
        rows = np.flatnonzero(
            (shard.column("scores", "year") == year)
            & (shard.column("scores", "model") == self.model)
            & (shard.column("scores", "cell") != 0)
        )
        member = np.repeat(
            np.arange(shard.n_members), np.diff(np.searchsorted(rows, shard.offsets("scores")))
        )
        found = np.full(shard.n_members, len(self.names) - 1, np.int32)
        found[member] = self.group_of[shard.column("scores", "cell")[rows]]
        return found


def _pieces(starts: NDArray[np.int64]) -> NDArray[np.intp]:
    """Where rows of members, who begin at `starts`, are cut; the last of these is their end."""
    wanted = np.searchsorted(starts, np.arange(0, starts[-1], _PIECE))
    return np.unique(np.append(wanted, starts.size - 1))
