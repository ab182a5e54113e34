"""The risk step of each partnership by rate cell, with cells of few people pooled.

Columns reproduce the ratio shown: own mean over norm in the performance year, over the same in the
base year, where the state's mean stands for an own one that there is not. Dollars after the step
over dollars before it, summed, are the ratio of the walk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ihp_compute.report import numbers
from ihp_compute.report.rows import Row
from ihp_compute.results import risk_by_cell, without_small

_PEOPLE: Final = ("base_members", "performance_members")
_MEANS: Final = ("risk_mean", "state_risk_mean", "norm")


def rate_cells_of(run_dir: Path) -> dict[str, list[Row]]:
    """Rows to show of each partnership, in words, the last one its sum."""
    return {name: _section(cells) for name, cells in risk_by_cell(run_dir).items() if cells}


def _section(cells: Sequence[Mapping[str, Any]]) -> list[Row]:
    alone, pooled = without_small(cells, _PEOPLE)
    rows = [_row(cell["rate_cell"], [cell], _means(cell)) for cell in alone]
    if pooled:
        rows.append(_row(f"{len(pooled)} pooled", pooled, [numbers.DASH] * len(_MEANS)))
    return [*rows, _row("all", cells, [""] * len(_MEANS))]


def _means(cell: Mapping[str, Any]) -> list[str]:
    return [
        f"{_mean(cell[f'base_{what}'])} to {_mean(cell[f'performance_{what}'])}" for what in _MEANS
    ]


def _mean(value: float) -> str:
    return f"{value:.4f}" if value else numbers.DASH


def _row(name: str, cells: Sequence[Mapping[str, Any]], means: list[str]) -> Row:
    before, after = (sum(cell[f"{what}_cents"] for cell in cells) for what in ("before", "target"))
    return {
        "name": numbers.label(name),
        "months": numbers.count(sum(cell["member_months"] for cell in cells)),
        "means": means,
        "ratio": f"{after / before:.4f}" if before else numbers.DASH,
        "before": numbers.usd(before),
        "after": numbers.usd(after),
    }
