"""From totals and agreements to payment and walk.

    target -> savings -> the contract's steps in its order -> payment

Decides: the operations of target and steps, the walk in dollars, the split over payers.
Leaves to others: which steps and terms there are (`contracts`), intervals (`uncertainty`).
"""

from __future__ import annotations

from ihp_compute.settlement.cells import SettledCell
from ihp_compute.settlement.exhibit import term_rows
from ihp_compute.settlement.given import settle_table
from ihp_compute.settlement.payers import split
from ihp_compute.settlement.pool import pool
from ihp_compute.settlement.program import Compiled, Program, stacked
from ihp_compute.settlement.risk_ratio import RATIO_RULES
from ihp_compute.settlement.scopes import PARTNERSHIP, SETTLED, STATE, SUMMED, Scope, scopes_of
from ihp_compute.settlement.sensitivity import CHANGES, sensitivities
from ihp_compute.settlement.settle import CONDITIONINGS, Settled, SharedPrograms, settle
from ihp_compute.settlement.spreadsheet import (
    Case,
    Formula,
    Payoff,
    cases_of,
    payoffs,
    walk_formulas,
)
from ihp_compute.settlement.state import Sources, StateSums, sources, state_sums
from ihp_compute.settlement.steps import (
    QUALITY_SCORE,
    gate_words,
    gates_by_size,
    write_settlement,
)
from ihp_compute.settlement.target import write_target
from ihp_compute.settlement.trends import CellYears, OwnGrowth, Trend, comparator_growth
from ihp_compute.settlement.walk import Step, steps

__all__ = [
    "CHANGES",
    "CONDITIONINGS",
    "PARTNERSHIP",
    "QUALITY_SCORE",
    "RATIO_RULES",
    "SETTLED",
    "STATE",
    "SUMMED",
    "Case",
    "CellYears",
    "Compiled",
    "Formula",
    "OwnGrowth",
    "Payoff",
    "Program",
    "Scope",
    "Settled",
    "SettledCell",
    "SharedPrograms",
    "Sources",
    "StateSums",
    "Step",
    "Trend",
    "cases_of",
    "comparator_growth",
    "gate_words",
    "gates_by_size",
    "payoffs",
    "pool",
    "scopes_of",
    "sensitivities",
    "settle",
    "settle_table",
    "sources",
    "split",
    "stacked",
    "state_sums",
    "steps",
    "term_rows",
    "walk_formulas",
    "write_settlement",
    "write_target",
]
