"""One measurement of a run: its plan, what was measured, and who was settled by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ihp_compute.measure import Measured, Plan
from ihp_compute.settlement import Settled


class Part(NamedTuple):
    """One measurement of a run: its plan, what was measured, and who was settled by it.

    Sums of `measured` that settle are by who settles (`measure.settling`).
    """

    plan: Plan
    measured: Measured
    settled: Sequence[Settled]
