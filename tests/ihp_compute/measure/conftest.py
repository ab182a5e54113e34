"""A shard made by hand: a dictionary a member, with rows of each table as dictionaries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ihp_compute.population import tables
from ihp_compute.units import NO_DAY, month_of

Member = dict[str, Any]
BY_MEMBER = ("spans", "lines", "visits", "stays", "emergency")
UNSTATED = {"paid_day": NO_DAY, "birth_day": NO_DAY, "death_day": NO_DAY, "disposition": 255}


class TinyShard:
    """What `population.Shard` offers to measuring, over arrays in memory."""

    index = 0

    def __init__(self, *members: Member) -> None:
        self.n_members = len(members)
        self._columns: dict[tuple[str, str], np.ndarray[Any, Any]] = {}
        self._offsets: dict[str, np.ndarray[Any, Any]] = {}
        self._fill("members", list(members))
        for table in BY_MEMBER:
            rows = [_complete(table, row) for member in members for row in member.get(table, ())]
            self._fill(table, rows)
            counts = [len(member.get(table, ())) for member in members]
            self._offsets[table] = np.cumsum([0, *counts], dtype=np.int64)

    def _fill(self, table: str, rows: list[Member]) -> None:
        for field in tables.SHARD_TABLES[table]:
            blank = UNSTATED.get(field.name, 0)
            values = [row.get(field.name, blank) for row in rows]
            column = np.array(values, field.type.to_pandas_dtype())
            column.flags.writeable = False
            self._columns[table, field.name] = column

    def column(self, table: str, name: str) -> np.ndarray[Any, Any]:
        return self._columns[table, name]

    def offsets(self, table: str) -> np.ndarray[Any, Any]:
        return self._offsets[table]


def _complete(table: str, row: Member) -> Member:
    if table == "lines":
        day = row["service_day"]
        return {"claim_start_day": day, "claim_end_day": day, **row}
    return row


@pytest.fixture(scope="session")
def tiny_shard() -> Callable[..., TinyShard]:
    """Make a shard of members given as dictionaries."""
    return TinyShard


@pytest.fixture(scope="session")
def span() -> Callable[..., Member]:
    """A span of months of one year: first and last month, both within."""

    def make(year: int = 2024, first: int = 1, last: int = 12, cell: int = 0, flags: int = 0):  # noqa: ANN202
        return {
            "first_month": month_of(year, first),
            "n_months": last - first + 1,
            "rate_cell": cell,
            "flags": flags,
        }

    return make
