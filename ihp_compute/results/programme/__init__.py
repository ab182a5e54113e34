"""Tables of what a run measures beside settlements; empty where its programme has none of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from ihp_compute.results.part import Part
from ihp_compute.results.programme.comparison import comparison_rows
from ihp_compute.results.programme.cost_index import cost_index_rows
from ihp_compute.results.programme.outcomes import outcome_tables
from ihp_compute.results.programme.pools import pool_rows
from ihp_compute.results.programme_tables import PROGRAMME_TABLES

__all__ = ["PROGRAMME_TABLES", "programme_rows"]

Rows = Mapping[str, Sequence[dict[str, Any]] | pa.Table]
"""Rows by name of table, or the table where there are many; those of `intervals` too."""
WRITERS: Final[tuple[Callable[[Sequence[Part]], Rows], ...]] = (
    cost_index_rows,
    outcome_tables,
    comparison_rows,
    pool_rows,
)
"""Of each part of the programme: what makes its rows from the measurements of a run."""


def programme_rows(parts: Sequence[Part]) -> dict[str, list[dict[str, Any]] | pa.Table]:
    """Rows of every table of the programme, and those that it adds to `intervals`.

    Parameters
    ----------
    parts : sequence of Part
        The measurements of a run; the programme is measured in the first.
    """
    found: dict[str, list[dict[str, Any]] | pa.Table] = {name: [] for name in PROGRAMME_TABLES}
    for name, rows in _written(parts):
        if isinstance(rows, pa.Table):
            found[name] = rows
        else:
            found.setdefault(name, []).extend(rows)
    return found


def _written(
    parts: Sequence[Part],
) -> Iterator[tuple[str, Sequence[dict[str, Any]] | pa.Table]]:
    for write in WRITERS:
        yield from write(parts).items()
