"""The risk ratio's own rules: dollars after the risk step, as the contract lets them move a target.

    own ratio -> corridor of the state's growth -> credibility -> cap

The corridor (`risk.growth_corridor`) holds what the norm leaves of the growth of the state's mean
risk, from base to performance year at one mix of rate cells: beyond it every partnership's ratio
is multiplied by the growth held over the growth found. Every norm takes that growth out wholly, so
the corridor has an effect only where there is none. Credibility (`risk.credibility`) is limited
fluctuation: Z x own ratio + (1 - Z) x the state's ratio under the same norm and corridor, which is
1 where there is a norm; Z = min(1, √(months of the performance year / full months)), of the months
as observed, in every draw alike. The caps (`target.risk_ratio_cap_*`) come last and so hold
whatever the first two leave.

All of it is done to the dollars of each rate cell, so that cells add up to the partnership's ratio.
A rule that does not bind leaves them as they are, to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ihp_compute.contracts import Agreement
from ihp_compute.settlement.norms import Risk, total
from ihp_compute.settlement.program import Node, Program
from ihp_compute.settlement.state import root

CORRIDOR: Final = "risk_corridor"
CREDIBILITY: Final = "risk_credibility"
CAP: Final = "risk_cap"
RATIO_RULES: Final = (CORRIDOR, CREDIBILITY, CAP)
"""Levels after `risk`, in the order in which they are taken: lines of a walk that has them."""

Cells = list[Node]


@dataclass(frozen=True)
class RatioRules:
    """Dollars after the risk step, rule by rule.

    Attributes
    ----------
    levels : dict of name to list of Node
        `risk`, by own risk, and after each rule that the contract has, by rate cell: the last one
        is what counts. A cap alone has no level of its own; `risk` is then after it.
    growth, held : Node
        What the norm leaves of the state's growth, and what the corridor makes of it.
    cells_left_out : Node
        Rate cells in which the state lacks risk in one of the years, left out of the growth.
    credibility : Node
        Z; 1 where the own ratio counts wholly.
    """

    levels: dict[str, Cells]
    growth: Node
    held: Node
    cells_left_out: Node
    credibility: Node

    @property
    def after(self) -> Cells:
        """Dollars of each rate cell, with every rule."""
        return list(self.levels.values())[-1]


def write_ratio(
    p: Program, agreement: Agreement, risk: Risk, before: Cells, after: Cells
) -> RatioRules:
    """Write the rules of the risk ratio over dollars of each rate cell before and after risk."""
    one = p.number(1)
    growth, left_out = risk.growth_left
    held, credibility = growth, one
    levels = {"risk": after}
    if has_corridor(agreement):
        corridor = p.term("risk.growth_corridor", agreement["risk.growth_corridor"])
        held = p.clip(growth, one - corridor, one + corridor)
        kept = p.equal(held, growth)
        levels[CORRIDOR] = [p.select(kept, cell, cell * (held / growth)) for cell in after]
    if has_credibility(agreement):
        full = p.term("root of risk.credibility", root(agreement["risk.credibility"]))
        credibility = p.minimum(p.source("root_perf_months") / full, one)
        levels[CREDIBILITY] = [
            credibility * own + (one - credibility) * (held * at_base)
            for at_base, own in zip(before, list(levels.values())[-1], strict=True)
        ]
    last = list(levels)[-1]
    capped = _capped(p, agreement, before, levels[last])
    if capped is not levels[last]:
        levels["risk" if last == "risk" else CAP] = capped
    return RatioRules(levels, growth, held, left_out, credibility)


def has_corridor(agreement: Agreement) -> bool:
    """Whether the contract has a corridor that its norm leaves anything to."""
    return (
        agreement["risk.growth_corridor"] is not None
        and agreement["risk.model"] is not None
        and agreement["risk.normalise"] is None
    )


def has_credibility(agreement: Agreement) -> bool:
    """Whether a partnership's own ratio counts only as far as its months carry."""
    return agreement["risk.credibility"] is not None and agreement["risk.model"] is not None


def _capped(p: Program, agreement: Agreement, before: Cells, after: Cells) -> Cells:
    """Dollars of each rate cell after risk, where a cap of the ratio binds by that much less."""
    one = p.number(1)
    up, down = (agreement[f"target.risk_ratio_cap_{way}"] for way in ("up", "down"))
    high = None if up is None else one + p.term("target.risk_ratio_cap_up", up)
    low = None if down is None else one - p.term("target.risk_ratio_cap_down", down)
    if high is None and low is None:
        return after

    def held(before: Node, after: Node, part: Node) -> Node:
        """A part of `after`, as it is while the ratio lies between its caps."""
        ratio = p.select(before, after / before, one)
        kept = p.clip(ratio, low, high)
        return p.select(p.equal(kept, ratio), part, part * (kept / ratio))

    if agreement["target.risk_ratio_cap_by"] == "rate_cell":
        return [held(b, a, a) for b, a in zip(before, after, strict=True)]
    all_before, all_after = total(before), total(after)
    return [held(all_before, all_after, part) for part in after]
