"""Rows of a run's tables, as sections of the report ask for them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.results import TABLES, OpenForm, result

Row = dict[str, Any]
_LEFT_OUT: Final = (
    "chances", "comparison", "corridor", "distribution", "intervals", "netted", "payments",
    "quality", "quality_measures", "score_changes", "sensitivities", "settlement",
    "settlement_state", "walk",
)  # fmt: skip
"""Tables whose hidden rows are left out: a page says at most how many there are."""


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

    Of an open form the rows that say something; what is hidden in them is None.

    Raises
    ------
    RunError
        When a table is asked for that is missing or damaged.
    KeyError
        When none of this name is declared, or it is restricted: of `cells` the report shows what
        `rate_cells` makes of it.
    """

    def __init__(self, run_dir: Path, form: OpenForm | None = None) -> None:
        self.run_dir = run_dir
        self.form = form
        self._read: dict[str, list[Row]] = {}
        self._whole: dict[str, pa.Table] = {}

    def __getitem__(self, name: str) -> list[Row]:
        """Rows of a table."""
        if TABLES[name].restricted:
            raise KeyError(name)
        if name not in self._read:
            if self.form is None:
                self._read[name] = result(self.run_dir, TABLES[name]).to_pylist()
            else:
                self._read[name] = _saying(name, self.form.table(name).to_pylist())
        return self._read[name]

    def where(self, name: str, **among: Collection[Any]) -> list[Row]:
        """Rows of a table of many whose columns have one of these values each, hidden ones too.

        >>> RowsOf(run_dir).where("outcomes", scope=["state"])  # doctest: +SKIP
        """
        if name not in self._whole:
            self._whole[name] = (
                result(self.run_dir, TABLES[name]) if self.form is None else self.form.table(name)
            )
        table = self._whole[name]
        chosen = None
        for column, values in among.items():
            field = table.schema.field(column)
            own = pc.is_in(table.column(column), pa.array(list(values), field.type))
            chosen = own if chosen is None else pc.and_(chosen, own)
        found: list[Row] = (table if chosen is None else table.filter(chosen)).to_pylist()
        return found

    def n_hidden(self, name: str) -> int:
        """Rows of a table that are hidden wholly."""
        return 0 if self.form is None else self.form.table(name).num_rows - len(self[name])


def _saying(name: str, rows: Sequence[Row]) -> list[Row]:
    """Rows of a table; of some the ones that are not hidden wholly."""
    keys = TABLES[name].keys
    if not rows or name not in _LEFT_OUT:
        return list(rows)
    values = [column for column in rows[0] if column not in keys]
    return [row for row in rows if not values or any(row[c] is not None for c in values)]
