"""Replicate totals and the intervals made of them.

Decides: what is summed by group, rate cell and draw, and how an interval is read from draws.
Leaves to others: the draws themselves (`kernels.replicate_totals`), what is settled (`settlement`).
"""

from __future__ import annotations

from ihp_compute.uncertainty.intervals import intervals
from ihp_compute.uncertainty.totals import (
    TOTALS,
    Rows,
    Totals,
    YearRows,
    column_names,
    read_totals,
    replicate_totals,
    write_totals,
)

__all__ = [
    "TOTALS",
    "Rows",
    "Totals",
    "YearRows",
    "column_names",
    "intervals",
    "read_totals",
    "replicate_totals",
    "write_totals",
]
