"""The sheet `Walk`: each partnership's steps, computed ones as formulas that store their value."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from ihp_compute.settlement import Formula, Step, steps, walk_formulas
from ihp_compute.units import CENTS_PER_USD
from ihp_compute.workbook.run import Row, RunRead

HEADER: Final = (
    "partnership_id", "step", "amount_usd", "detail", "citation", "basis",
    "whole_cents", "gain_in_cents", "loss_in_cents",
)  # fmt: skip
MEANING: Final = (
    "the steps from base to payment; savings and what follows are formulas, so that another "
    "observed cost flows through; gain and loss stand beside them before rounding"
)
_AT: Final = {"amount": "C", "cents": "G", "gain": "H", "loss": "I"}


@dataclass(frozen=True)
class Line:
    """A line of the sheet.

    Attributes
    ----------
    partnership_id : str
    step : Step
    formulas : dict
        By column, `amount`, `cents`, `gain`, `loss`.
    """

    partnership_id: str
    step: Step
    formulas: dict[str, Formula]

    @property
    def amount_usd(self) -> float:
        """The amount as the run wrote it."""
        return self.step.amount_cents / CENTS_PER_USD


def walk_lines(run: RunRead) -> list[Line]:
    """Lines of all partnerships in the order of the sheet, the first in its second row.

    A partnership that is hidden wholly has none.
    """
    walks: dict[str, list[Row]] = defaultdict(list)
    for row in run.rows("walk"):
        if row["amount_cents"] is not None:
            walks[row["partnership_id"]].append(row)
    lines: list[Line] = []
    for name, rows in walks.items():
        walk = steps(rows)
        first = len(lines) + 2

        def place(i: int, column: str, first: int = first) -> str:
            return f"{_AT[column]}{first + i}"

        formulas: list[dict[str, Formula]] = [{} for _ in walk]
        if name in run.cases:
            formulas = walk_formulas(run.cases[name], walk, place, tells_core=run.form is None)
        lines += [Line(name, *pair) for pair in zip(walk, formulas, strict=True)]
    return lines
