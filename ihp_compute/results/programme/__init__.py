"""Tables of what a run measures beside settlements; empty where its programme has none of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from ihp_compute.results.part import Part
from ihp_compute.results.programme.comparison import comparison_rows
from ihp_compute.results.programme.cost_index import cost_index_rows
from ihp_compute.results.programme.outcomes import outcome_tables
from ihp_compute.results.programme.pools import pool_rows
from ihp_compute.results.programme_tables import PROGRAMME_TABLES
from ihp_compute.results.tables import INTERVALS

__all__ = ["PROGRAMME_TABLES", "Rows", "pool_rows", "programme_rows"]

Rows = Mapping[str, Sequence[dict[str, Any]] | pa.Table]
"""Rows by name of table, or the table where there are many; those of `intervals` too."""


def programme_rows(parts: Sequence[Part]) -> Rows:
    """Rows of the programme's tables but `pool`, and those that it adds to `intervals`.

    They rest on what was measured and on no settlement, so that they may be made beside it; not
    beside each other, since each more thread of Python makes the others wait.

    Parameters
    ----------
    parts : sequence of Part
        The measurements of a run; the programme is measured in the first.
    """
    indices, trends = cost_index_rows(parts), comparison_rows(parts)
    both = (*indices.get(INTERVALS.name, ()), *trends.get(INTERVALS.name, ()))
    return {**indices, **trends, INTERVALS.name: both, **outcome_tables(parts)}
