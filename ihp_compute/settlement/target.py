"""The target: what the performance year was expected to cost.

    base -> credibility -> trend -> policy -> completion -> rate mix -> risk -> target

By rate cell: the performance year's member months, times the unit of `credibility`, times the own
normed risk of the performance year, grown by each year's trend (or by the market's), times the
policy adjustments, over the base year's completion. Before risk a cell stands at the risk on which
its base rests; the risk ratio is dollars after over dollars before, all cells together. Corridor,
credibility and cap of that ratio stand in `risk_ratio`.

All of it per replicate: every per-member-month number is a ratio of that replicate's totals, and
dollars are that result times the member months as observed. The target is rounded once, on the sum
over rate cells; a cell's own dollars are differences of rounded running totals, in the order in
which the contract lists cells. Growth rates are compounded in Decimal, once, on the host.

Not here: what is done with the target (`steps`), what a month or a dollar is (`attribution`,
`cost`).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext

from ihp_compute.contracts import Agreement
from ihp_compute.settlement.credibility import Base, write_base
from ihp_compute.settlement.norms import Risk, market_growth, total
from ihp_compute.settlement.program import Node, Program
from ihp_compute.settlement.risk_ratio import RatioRules, write_ratio


@dataclass(frozen=True)
class CellTarget:
    """What a rate cell brings to the target.

    Attributes
    ----------
    base_pmpm : Node
        Cents per member month at the risk of the base, before any factor.
    trend, ratio : Node
        Growth, and dollars after risk over dollars before it.
    after : Node
        Cents of the replicate's months, with every factor and every rule of the ratio.
    running : Node
        Whole cents of this cell and those before it, at the months as observed.
    running_at : dict of name to Node
        The same after risk and after each rule of the ratio, by level; the last is `running`.
    """

    base_pmpm: Node
    trend: Node
    ratio: Node
    after: Node
    running: Node
    running_at: dict[str, Node]


@dataclass(frozen=True)
class Walked:
    """A target being written.

    Attributes
    ----------
    levels : dict of name to Node
        recomputed_base, credibility, agreed_base, trend, each policy adjustment by its path,
        completion, rate_mix, risk, each rule of the ratio (`risk_ratio.RULES`) that the contract
        has: each the one before, changed by one thing. Unrounded cents.
    target, observed : Node
        Whole cents.
    risk_ratio, own_ratio : Node
        What the risk step came to, and before the contract's rules of the ratio.
    ratio : RatioRules
    cells_left_out : Node
        Rate cells without risk in one of the years, left out of the market's growth or the norm.
    base : Base
    cells : tuple of CellTarget
    """

    levels: dict[str, Node]
    target: Node
    observed: Node
    risk_ratio: Node
    own_ratio: Node
    ratio: RatioRules
    cells_left_out: Node
    base: Base
    cells: tuple[CellTarget, ...]

    @property
    def empty_cells(self) -> Node:
        """Rate cells with months of the performance year and no base of their own."""
        return total([cell.borrowed for cell in self.base.cells])


def write_target(
    program: Program, agreement: Agreement, *, base_year: int, performance_year: int
) -> Walked:
    """Write a partnership's target into a program over the sources of `state.sources`.

    Raises
    ------
    ContractError
        If the contract has no trend for a year between base and performance.
    """
    p = program
    zero, one = p.number(0), p.number(1)
    cells = range(len(agreement["target.rate_cells"]))
    perf_months, observed_months = p.source("perf_months"), p.source("observed_months")
    # one replicate's dollars per member month, times the member months as observed
    scale = p.select(perf_months, observed_months / perf_months, zero)
    dollars = perf_months * scale
    risk = Risk(p, agreement)
    base = write_base(p, agreement, risk)
    trends, left_out = _trends(p, agreement, risk, base_year, performance_year)
    policies = [(v.path, p.term(v.path, v.value)) for v in agreement.policies]
    completion = agreement["target.completion"]
    complete = None if completion is None else p.term("target.completion", Decimal(completion))

    grown = total([base.at_base_mix[c] * trends[c] for c in cells])
    levels = {
        "recomputed_base": p.source("base_cost") / p.source("base_months") * dollars,
        "credibility": base.pmpm * dollars,
        "agreed_base": base.used_pmpm * dollars,
        "trend": grown / base.months * dollars,
    }
    adjusted = levels["trend"]
    for path, factor in policies:
        adjusted = adjusted * factor
        levels[path] = adjusted
    levels["completion"] = adjusted if complete is None else adjusted / complete

    def expected(cell: int) -> Node:
        """Cents of the replicate's months of a cell, at risk 1."""
        unit = base.cells[cell].unit * trends[cell]
        for _, factor in policies:
            unit = unit * factor
        if complete is not None:
            unit = unit / complete
        return p.source(f"perf_months_{cell}") * unit

    before, after = [], []
    for c in cells:
        at_one = expected(c)
        before.append(at_one * base.cells[c].risk)
        after.append(at_one * risk.normed("", "perf", c))
    ratio = write_ratio(p, agreement, risk, before, after)
    after, mixed = ratio.after, total(before)
    levels["rate_mix"] = mixed * scale
    running_at: dict[str, list[Node]] = {}
    for name, by_cell in ratio.levels.items():
        running = [by_cell[0]]
        for c in cells[1:]:
            running.append(running[-1] + by_cell[c])
        level = running[-1] * scale
        if agreement["target.rounding"] == "cents":
            level = p.round(running[-1] / perf_months) * observed_months
        levels[name] = target = level
        at_months = [cents * scale for cents in running[:-1]]
        running_at[name] = [p.round(cents) for cents in (*at_months, level)]
    last = list(running_at)[-1]
    observed = p.source("perf_cost") * scale
    finished = agreement["observed.completion"]
    if finished is not None:
        observed = observed / p.term("observed.completion", Decimal(finished))
    return Walked(
        levels=levels,
        target=p.round(target),
        observed=p.round(observed),
        risk_ratio=p.select(mixed, total(after) / mixed, one),
        own_ratio=p.select(mixed, total(ratio.levels["risk"]) / mixed, one),
        ratio=ratio,
        cells_left_out=left_out + risk.cells_left_out,
        base=base,
        cells=tuple(
            CellTarget(
                base_pmpm=base.cells[c].unit * base.cells[c].risk,
                trend=trends[c],
                ratio=p.select(before[c], after[c] / before[c], one),
                after=after[c],
                running=running_at[last][c],
                running_at={name: at[c] for name, at in running_at.items()},
            )
            for c in cells
        ),
    )


def trend_factor(
    agreement: Agreement,
    cell: str,
    base_year: int,
    performance_year: int,
    *,
    more: Decimal = Decimal(0),
) -> Decimal | None:
    """Growth from base to performance year of a rate cell, compounded in Decimal; None if unset.

    `more` is added to each year's trend.

    Raises
    ------
    ContractError
        If the contract has no value for one of the years.
    """
    factor = Decimal(1)
    found = False
    with localcontext() as context:
        context.prec = 40
        for year in range(base_year + 1, performance_year + 1):
            rate = agreement.contract.trend(year, cell).value
            if rate is not None:
                found = True
                factor *= 1 + rate + more
    return factor if found else None


def _trends(
    p: Program, agreement: Agreement, risk: Risk, base_year: int, performance_year: int
) -> tuple[list[Node], Node]:
    """Growth of each rate cell: prescribed, else the market's, else none; cells it leaves out."""
    zero, one = p.number(0), p.number(1)
    factors = [
        trend_factor(agreement, cell, base_year, performance_year)
        for cell in agreement["target.rate_cells"]
    ]
    market, left_out = one, zero
    if agreement["target.market"] is not None and None in factors:
        market, left_out = market_growth(p, risk)
    trends = [
        market if factor is None else p.term(f"target.trend {c}", factor)
        for c, factor in enumerate(factors)
    ]
    return trends, left_out
