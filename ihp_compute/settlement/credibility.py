"""The base of a target: how far a partnership's own carries, and what each rate cell stands at.

A unit is cost per member month of risk 1, against the norm. For each rate cell: own base months m,
own normed base risk r, own base cost C, own unit O = C / (m r), the state's unit U; everybody
eligible is the state, the partnership among them, at its contract's cost rules.

1. The whole is B = Z ΣC + (1 - Z) E, where E = Σ m r U is what the state's units would make of the
   own months, and Z = min(1, √(Σm / full)). The level is L = B / E.
2. A rate cell's unit is k (z O + (1 - z) L U), z = min(1, √(m / full)) 0 below the least months;
   k = B / Σ m r (z O + (1 - z) L U), so that the cells add up to the whole.

So the whole is a partnership's own from a thousand people, a rate cell its own only as far as its
months carry, and one expensive member of a thin cell sets no target. A cell without own base months
stands at k L U. z and Z are of the observed months, in every draw alike.

`target.cell_credibility = "none"` is z = Z = 1; a cell without own base months then takes k U, or
k times the mean unit of the own cells, as `target.empty_cell` says. An agreed base takes the place
of B, unblended. Without any own base months L and k are 1, and an agreed base is spread over cells
as the state's units are.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ihp_compute.contracts import Agreement
from ihp_compute.settlement.norms import OBSERVED, STATE, Risk, total
from ihp_compute.settlement.program import Node, Program
from ihp_compute.settlement.state import root
from ihp_compute.units import CENTS_PER_USD


@dataclass(frozen=True)
class CellBase:
    """A rate cell's base.

    Attributes
    ----------
    weight : Node
        Own base months times their normed risk, m r; 0: nothing of its own.
    risk : Node
        Normed risk on which the base rests: the own, the state's where there is none.
    credibility : Node
        z.
    unit : Node
        Cents per member month of risk 1.
    borrowed : Node
        1 where the cell has months of the performance year and no base of its own.
    """

    weight: Node
    risk: Node
    credibility: Node
    unit: Node
    borrowed: Node


@dataclass(frozen=True)
class Base:
    """The base of a partnership.

    Attributes
    ----------
    cells : tuple of CellBase
    own : Node
        Not 0 where the partnership has a base of its own.
    at_base_mix : tuple of Node
        Cents of each rate cell at the base year's months, which add up to the base; without a base
        of its own, at the performance year's.
    months : Node
        Member months of `at_base_mix`.
    pmpm : Node
        Cents per member month of the base, before an agreed one takes its place.
    used_pmpm : Node
        The same, or the agreed base.
    credibility, level, scale : Node
        Z, L, k.
    """

    cells: tuple[CellBase, ...]
    own: Node
    at_base_mix: tuple[Node, ...]
    months: Node
    pmpm: Node
    used_pmpm: Node
    credibility: Node
    level: Node
    scale: Node


def write_base(p: Program, agreement: Agreement, risk: Risk) -> Base:
    """Write the base into a program over the sources of `state.sources`."""
    zero, one = p.number(0), p.number(1)
    cells = range(risk.n_cells)
    perf = [p.source(f"perf_months_{c}") for c in cells]
    own_risk = [risk.normed("", "base", c) for c in cells]
    weight = [p.source(f"base_months_{c}") * own_risk[c] for c in cells]
    own_unit = [p.source(f"base_cost_{c}") / weight[c] for c in cells]
    observed_risk = [risk.normed(OBSERVED, "base", c, OBSERVED) for c in cells]
    drawn_risk = [risk.normed(STATE, "base", c) for c in cells]
    # where a draw has nobody of a cell, the state's unit and risk stay as observed
    state_risk = [p.select(drawn_risk[c], drawn_risk[c], observed_risk[c]) for c in cells]
    state_unit = [
        p.select(
            drawn_risk[c],
            risk.unit(STATE, "base", c),
            risk.unit(OBSERVED, "base", c, OBSERVED),
        )
        for c in cells
    ]
    base_months, base_cost = p.source("base_months"), p.source("base_cost")
    expected = total([weight[c] * state_unit[c] for c in cells])
    weights = total(weight)

    agreed = agreement["target.base_pmpm_fixed"]
    credible = agreement["target.cell_credibility"] is not None
    z, whole = _credibilities(p, agreement, weight)
    blended = base_cost if not credible else whole * base_cost + (one - whole) * expected
    used, agreed_pmpm = blended, None
    if agreed is not None:
        agreed_pmpm = p.term("target.base_pmpm_fixed", Decimal(agreed) * CENTS_PER_USD)
        used = agreed_pmpm * base_months
    level = p.select(expected, used / expected, one)
    if credible:
        unscaled = [
            z[c] * own_unit[c] + (one - z[c]) * (level * state_unit[c]) for c in cells
        ]  # fmt: skip
    else:
        others = state_unit
        if agreement["target.empty_cell"] == "partnership":
            mean = base_cost / weights
            others = [p.select(weights, mean, state_unit[c]) for c in cells]
        unscaled = [p.select(weight[c], own_unit[c], others[c]) for c in cells]
    own = expected if credible else weights
    scale, unit = one, unscaled
    if credible or agreed_pmpm is not None:
        found = total([weight[c] * unscaled[c] for c in cells])
        if agreed_pmpm is not None:
            own = p.select(own, found, zero)
        scale = p.select(own, used / found, one)
        unit = [scale * unscaled[c] for c in cells]
    # without a base of its own, a partnership's months stand at the state's
    spread = [perf[c] * state_unit[c] for c in cells]
    at_state = [spread[c] * state_risk[c] for c in cells]
    if agreed_pmpm is not None:
        mean = total(spread) / total(perf)
        as_state = [agreed_pmpm * (state_unit[c] / mean) for c in cells]
        unit = [p.select(own, unit[c], as_state[c]) for c in cells]
        at_state = [perf[c] * as_state[c] for c in cells]
    perf_months = p.source("perf_months")
    pmpm = p.select(own, blended / base_months, total(at_state) / perf_months)
    if agreed_pmpm is not None:
        pmpm = base_cost / base_months
    return Base(
        cells=tuple(
            CellBase(
                weight=weight[c],
                risk=p.select(weight[c], own_risk[c], state_risk[c]),
                credibility=z[c],
                unit=unit[c],
                borrowed=p.select(perf[c], p.equal(weight[c], zero), zero),
            )
            for c in cells
        ),
        own=own,
        at_base_mix=tuple(p.select(own, weight[c] * unit[c], at_state[c]) for c in cells),
        months=p.select(own, base_months, perf_months),
        pmpm=pmpm,
        used_pmpm=pmpm if agreed_pmpm is None else agreed_pmpm,
        credibility=whole,
        level=level,
        scale=scale,
    )


def _credibilities(p: Program, agreement: Agreement, weight: list[Node]) -> tuple[list[Node], Node]:
    """How far each rate cell's own base carries, 0 where a draw has none of it; the whole's."""
    zero, one = p.number(0), p.number(1)
    if agreement["target.cell_credibility"] is None:
        return [p.select(own, one, zero) for own in weight], one
    least = p.term("target.cell_least_months", agreement["target.cell_least_months"])

    def carried(months: str, path: str) -> Node:
        """Root of the months over root of those that carry fully."""
        full = p.term(f"root of {path}", root(agreement[path]))
        return p.minimum(p.source(f"root_{months}") / full, one)

    found = []
    for c, own in enumerate(weight):
        z = carried(f"base_months_{c}", "target.cell_full_months")
        thin = p.source(f"observed_base_months_{c}") < least
        found.append(p.select(own, p.select(thin, zero, z), zero))
    return found, carried("base_months", "target.base_full_months")
