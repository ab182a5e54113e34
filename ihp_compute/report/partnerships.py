"""What the report shows of a partnership: its settlement, walk and intervals, read once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from ihp_compute.report import numbers
from ihp_compute.report.rows import Row, RowsOf
from ihp_compute.settlement import PARTNERSHIP, Step, steps

INNER, OUTER = 0.80, 0.95
"""Levels of the two whiskers."""


@dataclass(frozen=True)
class Partnership:
    """A partnership's settlement row with its walk and its percentile intervals.

    Attributes
    ----------
    row : dict
        Of the table `settlement`.
    walk : list of Step
    intervals : dict
        (measure, conditioning, level) to a row of the table `intervals`.
    """

    row: Row
    walk: list[Step]
    intervals: dict[tuple[str, str, float], Row]

    @property
    def flags(self) -> list[str]:
        """Why to be careful, each once."""
        return sorted({flag for r in self.intervals.values() for flag in r["flag"].split()})

    def interval(self, measure: str, conditioning: str, level: float) -> tuple[float, float] | None:
        """Low and high end, or None without replicates."""
        found = self.intervals.get((measure, conditioning, level))
        return (found["low"], found["high"]) if found else None

    def std_error(self, measure: str, conditioning: str) -> float | None:
        """Standard error over the replicates, or None without them."""
        found = self.intervals.get((measure, conditioning, OUTER))
        return found["std_error"] if found else None

    def end_error(self, measure: str, conditioning: str) -> float | None:
        """The larger Monte Carlo error of the outer interval's ends, or None without replicates."""
        found = self.intervals.get((measure, conditioning, OUTER))
        if found is None:
            return None
        return max(found["low_monte_carlo_error"], found["high_monte_carlo_error"])

    @property
    def gate_rate(self) -> float | None:
        """The gate on the side where the savings fell, as a positive fraction of the target."""
        row = self.row
        if not row["target_cents"]:
            return None
        if row["missed_by_cents"]:
            return (abs(row["savings_cents"]) + row["missed_by_cents"]) / abs(row["target_cents"])
        gate = next((step for step in self.walk if step.step == "gate"), None)
        if gate is None or not gate.amount_cents:
            return None
        return abs(gate.amount_cents) / abs(row["target_cents"])

    @property
    def sure_at(self) -> str:
        """The highest level whose interval leaves zero out."""
        for level in (0.95, 0.90, 0.80):
            ends = self.interval("savings_rate", "target_resampled", level)
            if ends and (ends[0] > 0 or ends[1] < 0):
                return numbers.percent(level, places=0)
        return "no" if self.intervals else numbers.DASH


def partnerships_of(rows: RowsOf) -> list[Partnership]:
    """All partnerships, largest first."""
    walks: dict[str, list[Row]] = defaultdict(list)
    for row in rows["walk"]:
        walks[row["partnership_id"]].append(row)
    found: dict[str, dict[tuple[str, str, float], Row]] = defaultdict(dict)
    for row in rows["intervals"]:
        if row["method"] == "percentile" and row["scope"] == PARTNERSHIP:
            key = (row["measure"], row["conditioning"], round(row["level"], 4))
            found[row["partnership_id"]][key] = row
    settlement = sorted(
        rows["settlement"], key=lambda row: (-row["n_members"], row["partnership_id"])
    )
    return [
        Partnership(row, steps(walks[row["partnership_id"]]), found[row["partnership_id"]])
        for row in settlement
    ]
