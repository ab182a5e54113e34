"""The risk step of each partnership by rate cell, hidden ones as one.

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
from ihp_compute.results import OpenForm, risk_by_cell, without_small

_PEOPLE: Final = ("base_members", "performance_members")
_MEANS: Final = ("risk_mean", "state_risk_mean", "norm")


def rate_cells_of(run_dir: Path, form: OpenForm | None = None) -> dict[str, list[Row]]:
    """Rows to show of each partnership, in words, the last one its sum; those of an open form."""
    table = None if form is None else form.table("cells")
    found = risk_by_cell(run_dir, table)
    section = _section if form is None else _open_section
    return {name: section(cells) for name, cells in found.items() if cells}


def _open_section(cells: Sequence[Mapping[str, Any]]) -> list[Row]:
    rows = [_row(cell["rate_cell"], [cell], _means(cell)) for cell in cells]
    return [*rows, _row("all", cells, [""] * len(_MEANS))]


def _section(cells: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Cells of few people as one: the page stays short, and the table `cells` has all."""
    alone, pooled = without_small(cells, _PEOPLE)
    rows = [_row(cell["rate_cell"], [cell], _means(cell)) for cell in alone]
    if pooled:
        rows.append(_row(f"{len(pooled)} pooled", pooled, [numbers.DASH] * len(_MEANS)))
    return [*rows, _row("all", cells, [""] * len(_MEANS))]


def _means(cell: Mapping[str, Any]) -> list[str]:
    return [
        f"{_mean(cell[f'base_{what}'])} to {_mean(cell[f'performance_{what}'])}"
        if cell[f"base_{what}"] is not None
        else numbers.HELD
        for what in _MEANS
    ]


def _mean(value: float) -> str:
    return f"{value:.4f}" if value else numbers.DASH


def _row(name: str, cells: Sequence[Mapping[str, Any]], means: list[str]) -> Row:
    before, after = (
        numbers.summed(cell[f"{what}_cents"] for cell in cells) for what in ("before", "target")
    )
    return {
        "name": numbers.label(name),
        "months": numbers.count(sum(cell["member_months"] for cell in cells)),
        "means": means,
        "ratio": f"{after / before:.4f}" if before and after is not None else numbers.DASH,
        "before": numbers.HELD if before is None else numbers.usd(before),
        "after": numbers.HELD if after is None else numbers.usd(after),
    }
