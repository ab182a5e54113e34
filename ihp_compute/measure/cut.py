"""A shard as of two days: the base year's claims as old as those of the performance year.

A line, stay, visit or emergency day of the base year that was paid after the base year's cutoff
looks as if it had been paid after the run's. So one cutoff serves what measures both years in one
pass.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.population import ShardColumns
from ihp_compute.units import year_bounds

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
