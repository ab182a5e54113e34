"""Other terms over a run's kept totals: a grid, its scenarios, settlements by the thousand.

Decides: what must be compiled and computed anew for a scenario.
Leaves to others: what a settlement is (`settlement`).
"""

from __future__ import annotations

from ihp_compute.sweeps.file import (
    FILE,
    check_output,
    check_undamaged,
    verify_sweep,
    write,
)
from ihp_compute.sweeps.grid import ROW_LIMIT, Axis, Grid, grid_of, read_grid, value_text
from ihp_compute.sweeps.sweep import (
    SWEEP,
    Swept,
    check,
    joined,
    measured_as,
    shown_to_all,
    sweep,
)

__all__ = [
    "FILE",
    "ROW_LIMIT",
    "SWEEP",
    "Axis",
    "Grid",
    "Swept",
    "check",
    "check_output",
    "check_undamaged",
    "grid_of",
    "joined",
    "measured_as",
    "read_grid",
    "shown_to_all",
    "sweep",
    "value_text",
    "verify_sweep",
    "write",
]
