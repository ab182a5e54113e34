"""Other terms over a run's kept totals: a grid, its scenarios, settlements by the thousand.

Decides: what must be compiled and computed anew for a scenario.
Leaves to others: what a settlement is (`settlement`).
"""

from __future__ import annotations

from ihp_compute.sweeps.grid import ROW_LIMIT, grid_of, read_grid
from ihp_compute.sweeps.sweep import (
    FILE,
    SWEEP,
    Swept,
    check,
    check_output,
    sweep,
    verify_sweep,
    write,
)

__all__ = [
    "FILE",
    "ROW_LIMIT",
    "SWEEP",
    "Swept",
    "check",
    "check_output",
    "grid_of",
    "read_grid",
    "sweep",
    "verify_sweep",
    "write",
]
