"""The middle of a target, rate cell by rate cell, of the data as observed.

The same expressions as the settlement's own (`target`), read at replicate 0: what each cell stands
at and brings, from which the target can be recomputed by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ihp_compute.contracts import Agreement
from ihp_compute.settlement.norms import Risk
from ihp_compute.settlement.program import Node, Program
from ihp_compute.settlement.risk_ratio import CORRIDOR, CREDIBILITY, RATIO_RULES
from ihp_compute.settlement.target import Walked
from ihp_compute.units import CENTS_PER_USD, MICRO


@dataclass(frozen=True)
class SettledCell:
    """A rate cell of one partnership's target, as observed.

    Attributes
    ----------
    rate_cell : str
    base_pmpm_usd : float
        The cell's base at the risk on which it rests, before trend.
    credibility, level, scale : float
        z of the cell; L and k of the partnership (`credibility`).
    base_norm, perf_norm : float
        What mean risk is divided by in each year.
    risk_ratio, trend_factor : float
    target_pmpm_usd : float
    corridor_cents, risk_credibility_cents : int
        What corridor of growth and credibility of the risk ratio moved; 0 without such a rule.
        Cells add up to their lines of the walk.
    target_cents : int
        Cells add up to the target.
    """

    rate_cell: str
    base_pmpm_usd: float
    credibility: float
    level: float
    scale: float
    base_norm: float
    perf_norm: float
    risk_ratio: float
    trend_factor: float
    target_pmpm_usd: float
    corridor_cents: int
    risk_credibility_cents: int
    target_cents: int


def write_cells(program: Program, agreement: Agreement, walked: Walked) -> dict[str, Node]:
    """The cells of a target that is written, as outputs beside its own: `settled_cells` reads them.

    Their names end in the place of the rate cell.
    """
    risk = Risk(program, agreement)
    outputs = {"level": walked.base.level, "scale": walked.base.scale}
    for i, (base, target) in enumerate(zip(walked.base.cells, walked.cells, strict=True)):
        outputs |= {
            f"base_pmpm {i}": target.base_pmpm,
            f"credibility {i}": base.credibility,
            f"base_norm {i}": risk.norm("base", i),
            f"perf_norm {i}": risk.norm("perf", i),
            f"ratio {i}": target.ratio,
            f"trend {i}": target.trend,
            f"pmpm {i}": target.after / program.source(f"perf_months_{i}"),
            **{f"{level} {i}": running for level, running in target.running_at.items()},
        }
    return outputs


def settled_cells(agreement: Agreement, found: Mapping[str, Any]) -> tuple[SettledCell, ...]:
    """The rate cells of a partnership, in the order of the contract.

    Parameters
    ----------
    agreement : Agreement
    found : mapping of name to number
        Outputs of `write_cells` of the data as observed.
    """
    levels = [name for name in ("risk", *RATIO_RULES) if f"{name} 0" in found]
    cells, before = [], dict.fromkeys(levels, 0)
    for i, cell in enumerate(agreement["target.rate_cells"]):
        running = {name: found[f"{name} {i}"] for name in levels}
        own = {name: running[name] - before[name] for name in levels}
        moved = {name: own[name] - own[last] for last, name in pairwise(levels)}
        cells.append(
            SettledCell(
                rate_cell=cell,
                base_pmpm_usd=found[f"base_pmpm {i}"] / CENTS_PER_USD,
                credibility=found[f"credibility {i}"],
                level=found["level"],
                scale=found["scale"],
                base_norm=found[f"base_norm {i}"] / MICRO,
                perf_norm=found[f"perf_norm {i}"] / MICRO,
                risk_ratio=found[f"ratio {i}"],
                trend_factor=found[f"trend {i}"],
                target_pmpm_usd=found[f"pmpm {i}"] / CENTS_PER_USD,
                corridor_cents=moved.get(CORRIDOR, 0),
                risk_credibility_cents=moved.get(CREDIBILITY, 0),
                target_cents=own[levels[-1]],
            )
        )
        before = running
    return tuple(cells)
