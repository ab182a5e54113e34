"""A shard as of two days: the base year's claims as old as those of the performance year.

A line, stay, visit or emergency day of the base year that was paid after the base year's cutoff
looks as if it had been paid after the run's. So one cutoff serves what measures both years in one
pass. What can take a cutoff for each year asks `known_by`, and no day of payment is written anew.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from ihp_compute.population import ShardColumns, kept
from ihp_compute.units import year_bounds

T = TypeVar("T")

NEVER: Final = 2**31 - 1
"""A day of payment after every cutoff."""


class CutShard:
    """A shard whose base year is cut at a day of its own.

    Parameters
    ----------
    shard : Shard
    base_year : int
    incurred_day : str
        Column of `lines` that puts a line into a year; a stay is of the year of its discharge, a
        visit or emergency day of that of its day.
    cutoff_day : int
        Rows of the base year paid after it are not there yet.
    """

    def __init__(
        self, shard: ShardColumns, *, base_year: int, incurred_day: str, cutoff_day: int
    ) -> None:
        self.index = shard.index
        self.n_members = shard.n_members
        self._shard = shard
        self._years = year_bounds(base_year)
        self._cutoff_day = cutoff_day
        self._of_year = {
            "lines": incurred_day, "stays": "discharge_day", "visits": "day", "emergency": "day",
        }  # fmt: skip
        self._cut: dict[str, NDArray[np.int32]] = {}

    def known_by(
        self, years: Sequence[int], *, incurred_day: str, cutoff_day: int
    ) -> tuple[ShardColumns, NDArray[np.int32]] | None:
        """As the function, None where lines are cut by another day."""
        if self._of_year["lines"] != incurred_day:
            return None
        cutoffs = np.full(len(years), cutoff_day, np.int32)
        for k, year in enumerate(years):
            if year_bounds(year) == self._years:
                cutoffs[k] = min(cutoff_day, self._cutoff_day)
        return self._shard, cutoffs

    def keep(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `kept` says, of the shard that is cut."""
        return kept(self._shard, key, make)

    def offsets(self, table: str) -> NDArray[np.int64]:
        """Start of each member's rows."""
        return self._shard.offsets(table)

    def column(self, table: str, name: str) -> NDArray[Any]:
        """One column; of days of payment, with those of the base year cut."""
        column = self._shard.column(table, name)
        if name != "paid_day" or table not in self._of_year:
            return column
        if table not in self._cut:
            day = self._shard.column(table, self._of_year[table])
            first, end = self._years
            late = (column > self._cutoff_day) & (day >= first) & (day < end)
            self._cut[table] = np.where(late, np.int32(NEVER), column)
        return self._cut[table]


def known_by(
    shard: ShardColumns, years: Sequence[int], *, incurred_day: str, cutoff_day: int
) -> tuple[ShardColumns, NDArray[np.int32]]:
    """A shard to read lines from, and by when those of each year must have been paid.

    Parameters
    ----------
    shard : ShardColumns
        Cut or not.
    years : sequence of int
    incurred_day : str
        Column of `lines` that puts a line into a year.
    cutoff_day : int
        Of lines that the shard does not cut.
    """
    found = None
    if isinstance(shard, CutShard):
        found = shard.known_by(years, incurred_day=incurred_day, cutoff_day=cutoff_day)
    return found or (shard, np.full(len(years), cutoff_day, np.int32))
