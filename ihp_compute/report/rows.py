"""Rows of a run's tables, as sections of the report ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.results import TABLES, result

Row = dict[str, Any]


def of_the_state(rows: Sequence[Row]) -> list[Row]:
    """Every partnership's rows, and those of the state by the first measurement of the run."""
    groups = (row.get("group_id", row.get("partnership_id", "")) for row in rows)
    return [
        row
        for row, group in zip(rows, groups, strict=True)
        if row["measurement"] == 0 or group not in ("", COMPARISON, UNATTRIBUTED)
    ]


class RowsOf:
    """Rows of a run's result tables by name, each read when first asked for.

    Raises
    ------
    RunError
        When a table is asked for that is missing or damaged.
    KeyError
        When none of this name is declared, or it is restricted: of `cells` the report shows what
        `rate_cells` makes of it.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._read: dict[str, list[Row]] = {}

    def __getitem__(self, name: str) -> list[Row]:
        """Rows of a table."""
        if TABLES[name].restricted:
            raise KeyError(name)
        if name not in self._read:
            self._read[name] = result(self.run_dir, TABLES[name]).to_pylist()
        return self._read[name]
