"""Terms that are checked with each other: what no single one of them can say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ihp_compute.contracts import completion, quality_measures
from ihp_compute.contracts.steps import SIDES, SIZE_TABLE
from ihp_compute.contracts.values import text_of

_GATES: Final = (
    "settlement.gate.size_table", *(f"settlement.gate.{side}_rate" for side in SIDES),
)  # fmt: skip
"""The table of sizes, and the gates that may go by it."""
_MIX_TWICE: Final = {
    "risk.normalise": (
        "statewide",
        "statewide_rate_cell, mix_neutral or none",
        "a norm over all of them",
    ),
    "target.risk_ratio_by": ("partnership", "rate_cell", "one risk ratio over all of them"),
}
"""Values that no contract of several rate cells may have: what instead, and why."""
_CARRIED_TWICE: Final = ("risk.credibility", "target.cell_credibility")
"""Two ways to let a small partnership's own figures count less, of which a contract has one."""
TOGETHER: Final = (
    *_GATES, "target.rate_cells", *_MIX_TWICE, *_CARRIED_TWICE, completion.METHOD,
    *completion.FACTORS, *quality_measures.PERCENTILES,
)  # fmt: skip
"""Terms that are checked with each other."""


def fault_together(held: Mapping[str, Any]) -> str:
    """What terms say that no single one can say, in words; empty where they agree.

    Parameters
    ----------
    held : mapping of path to value
        Of `TOGETHER`; a path without a value in the year is left out.
    """
    for path in _GATES[1:]:
        if held.get(path) == SIZE_TABLE and held.get(_GATES[0], SIZE_TABLE) is None:
            return f"{path}: found {SIZE_TABLE}, expected rows in {_GATES[0]}"
    fault = completion.fault_of(held) or quality_measures.fault_of(held)
    if fault:
        return fault
    carried, blended = (held.get(path) for path in _CARRIED_TWICE)
    if carried is not None and blended is not None:
        own, base = _CARRIED_TWICE
        return (
            f"{own}: found {text_of(carried)} beside {base} {text_of(blended)}, "
            f"expected none, or {base} none: a base that is its own only as far as its months "
            "carry tempers a small partnership's target already, and credibility of its risk "
            "ratio would temper it a second time"
        )
    cells = held.get("target.rate_cells", ())
    for path, (value, instead, why) in _MIX_TWICE.items():
        if len(cells) > 1 and held.get(path) == value:
            return (
                f"{path}: found {value} beside {len(cells)} rate cells in "
                f"target.rate_cells, expected {instead}: the target follows the mix of rate "
                f"cells already, and {why} would count it a second time"
            )
    return ""
