"""Replicate totals, the intervals made of them, and what members of a clinic share.

Decides: what is summed by group, rate cell and draw, how an interval is read from draws, how much a
clinic-year varies.
Leaves to others: the draws themselves (`kernels.replicate_totals`), what is settled (`settlement`).
"""

from __future__ import annotations

from ihp_compute.uncertainty.clinics import (
    LEAST_CLINICS,
    Clinics,
    Component,
    chance_above_zero,
)
from ihp_compute.uncertainty.intervals import intervals
from ihp_compute.uncertainty.totals import (
    Rows,
    Totals,
    YearRows,
    column_names,
    drawn_sums,
    read_totals,
    replicate_totals,
    totals_file,
    totals_names,
    write_totals,
)

__all__ = [
    "LEAST_CLINICS",
    "Clinics",
    "Component",
    "Rows",
    "Totals",
    "YearRows",
    "chance_above_zero",
    "column_names",
    "drawn_sums",
    "intervals",
    "read_totals",
    "replicate_totals",
    "totals_file",
    "totals_names",
    "write_totals",
]
