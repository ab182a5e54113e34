"""The target: what the performance year was expected to cost.

    base -> trend -> policy -> completion -> rate mix -> risk -> target

By rate cell: base cost per member month, grown by each year's trend (or by the market's), times the
policy adjustments, over the base year's completion, at the performance year's mix of rate cells,
times the risk ratio. All of it per replicate: every per-member-month number is a ratio of that
replicate's totals, and dollars are that result times the member months as observed.

An agreed base scales the recomputed ones of the rate cells to its own level. A rate cell without
base months takes the base of the partnership or of the state, as the contract says; replicates
where that happened are counted. Growth rates are compounded in Decimal, once, on the host.

Not here: what is done with the target (`steps`), what a month or a dollar is (`attribution`,
`cost`).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import COMPARISON
from ihp_compute.contracts import Agreement
from ihp_compute.errors import ContractError
from ihp_compute.settlement.program import Node, Program
from ihp_compute.uncertainty import Totals
from ihp_compute.units import CENTS_PER_USD

_YEARS: Final = ("base", "perf")


@dataclass(frozen=True)
class Walked:
    """A target being written.

    Attributes
    ----------
    levels : dict of name to Node
        recomputed_base, agreed_base, trend, each policy adjustment by its path, completion,
        rate_mix, risk: each the one before, changed by one thing. Unrounded cents.
    target, observed : Node
        Whole cents.
    base_pmpm, risk_ratio : Node
        Cents per member month; the ratio that the risk step came to.
    empty_cells : Node
        Rate cells that took their base from elsewhere.
    """

    levels: dict[str, Node]
    target: Node
    observed: Node
    base_pmpm: Node
    risk_ratio: Node
    empty_cells: Node


@dataclass(frozen=True)
class StateSums:
    """Totals by rate cell of the contract: what all partnerships' sources are cut from.

    Attributes
    ----------
    totals : Totals
    contract : str
        Its name, for messages.
    columns : mapping of name to int
        Place of base_months, perf_cost and the like among the columns; cost is of one rule set.
    by_cell : int64[n_groups, n_cells, 1 + B, n_columns]
        Rate cells of the contract; merged cells are summed.
    by_group : int64[n_groups, 1 + B, n_columns]
        Sums over the rate cells.
    shared : mapping of source name to int64[1 + B]
        Sources that every partnership has alike: the state's and the comparison population's.
    left_out : bool[n_groups, n_columns]
        Whether something stands in rate cells that the contract does not list.
    """

    totals: Totals
    contract: str
    columns: dict[str, int]
    by_cell: NDArray[np.int64]
    by_group: NDArray[np.int64]
    shared: dict[str, NDArray[np.int64]]
    left_out: NDArray[np.bool_]


def state_sums(totals: Totals, agreement: Agreement, rule_set: int) -> StateSums:
    """Sums over merged rate cells and over groups, once for all partnerships. Integers only."""
    cells: tuple[str, ...] = agreement["target.rate_cells"]
    places = [[totals.strata.index(part) for part in cell.split("+")] for cell in cells]
    listed = {place for cell in places for place in cell}
    others = [i for i in range(len(totals.strata)) if i not in listed]
    values = by_cell = totals.values
    if places != [[i] for i in range(len(totals.strata))]:
        by_cell = np.stack([values[:, cell].sum(axis=1) for cell in places], axis=1)
    by_group = by_cell.sum(axis=1)
    state = np.ascontiguousarray(np.moveaxis(by_cell.sum(axis=0), -1, 0))
    nothing = np.zeros(values.shape[2], np.int64)
    columns, shared = {}, {}
    for year in _YEARS:
        for what in ("months", "risk", "cost"):
            of_cost = f"_r{rule_set}" if what == "cost" else ""
            name, k = f"{year}_{what}", totals.columns.index(f"{year}_{what}{of_cost}")
            columns[name] = k
            shared[f"state_{name}"] = state[k].sum(axis=0)
            shared |= {f"state_{name}_{i}": state[k, i] for i in range(len(cells))}
            shared[f"market_{name}"] = (
                by_group[totals.groups.index(COMPARISON), :, k]
                if COMPARISON in totals.groups
                else nothing
            )
    left_out: NDArray[np.bool_] = np.any(values[:, others], axis=(1, 2))
    return StateSums(totals, agreement.name, columns, by_cell, by_group, shared, left_out)


def sources(sums: StateSums, group: str) -> dict[str, NDArray[np.int64]]:
    """Totals that a partnership's target is made of, by source name: int64[1 + B] each.

    Per rate cell of the contract the partnership's own months, risk and cost and the state's; over
    all cells the same sums, and those of the comparison population.

    Raises
    ------
    ContractError
        If the partnership has months or cost in a rate cell that the contract does not list.
    """
    g = sums.totals.groups.index(group)
    found = dict(sums.shared)
    for name, k in sums.columns.items():
        if sums.left_out[g, k]:
            raise ContractError(
                f"{sums.contract}: target.rate_cells: {group} has {name.split('_')[1]} in rate "
                "cells that the contract does not list; expected every rate cell that occurs"
            )
        for i in range(sums.by_cell.shape[1]):
            found[f"{name}_{i}"] = sums.by_cell[g, i, :, k]
        found[name] = sums.by_group[g, :, k]
    months = found["perf_months"]
    found["observed_months"] = np.full_like(months, months[0])
    return found


def write_target(
    program: Program, agreement: Agreement, *, base_year: int, performance_year: int
) -> Walked:
    """Write a partnership's target into a program over the sources of `sources`.

    Raises
    ------
    ContractError
        If the contract has no trend for a year between base and performance.
    """
    p = program
    zero = p.number(0)
    cells = range(len(agreement["target.rate_cells"]))
    perf_months, observed_months = p.source("perf_months"), p.source("observed_months")
    # one replicate's dollars per member month, times the member months as observed
    scale = p.select(perf_months, observed_months / perf_months, zero)
    own_pmpm = p.source("base_cost") / p.source("base_months")
    bases, borrowed = zip(*(_base(p, agreement, cell) for cell in cells), strict=True)
    agreed = agreement["target.base_pmpm_fixed"]
    agreed_pmpm = (
        own_pmpm
        if agreed is None
        else p.term("target.base_pmpm_fixed", Decimal(agreed) * CENTS_PER_USD)
    )
    lift = None if agreed is None else p.select(own_pmpm, agreed_pmpm / own_pmpm, p.number(1))
    trends = _trends(p, agreement, base_year, performance_year)
    policies = [(v.path, p.term(v.path, v.value)) for v in agreement.policies]
    completion = agreement["target.completion"]
    complete = None if completion is None else p.term("target.completion", Decimal(completion))
    ratios = _risk_ratios(p, agreement)

    def total(terms: list[Node]) -> Node:
        result = terms[0]
        for term in terms[1:]:
            result = result + term
        return result

    # at the base year's mix: its cost, grown; lifted to the agreed level where one is agreed
    grown = total([p.source(f"base_cost_{c}") * trends[c] for c in cells])
    at_base_mix = grown / p.source("base_months") * perf_months * scale
    levels = {
        "recomputed_base": own_pmpm * perf_months * scale,
        "agreed_base": agreed_pmpm * perf_months * scale,
        "trend": at_base_mix if lift is None else at_base_mix * lift,
    }
    adjusted = levels["trend"]
    for path, factor in policies:
        adjusted = adjusted * factor
        levels[path] = adjusted
    levels["completion"] = adjusted if complete is None else adjusted / complete

    def expected(base: Node, cell: int) -> Node:
        pmpm = base * trends[cell]
        if lift is not None:
            pmpm = pmpm * lift
        for _, factor in policies:
            pmpm = pmpm * factor
        return pmpm if complete is None else pmpm / complete

    by_cell = [p.source(f"perf_months_{c}") * expected(bases[c], c) for c in cells]
    mixed = total(by_cell)
    risked = total([amount * ratios[c] for c, amount in enumerate(by_cell)])
    if agreement["target.rounding"] == "cents":
        target = p.round(risked / perf_months) * observed_months
    else:
        target = risked * scale
    levels["rate_mix"] = mixed * scale
    levels["risk"] = target
    observed = p.source("perf_cost") * scale
    finished = agreement["observed.completion"]
    if finished is not None:
        observed = observed / p.term("observed.completion", Decimal(finished))
    return Walked(
        levels=levels,
        target=p.round(target),
        observed=p.round(observed),
        base_pmpm=agreed_pmpm,
        risk_ratio=p.select(mixed, risked / mixed, p.number(1)),
        empty_cells=total(list(borrowed)),
    )


def _base(p: Program, agreement: Agreement, cell: int) -> tuple[Node, Node]:
    """Base cost per member month of a rate cell, and 1 where it had to be borrowed."""
    zero = p.number(0)
    months, perf_months = p.source(f"base_months_{cell}"), p.source(f"perf_months_{cell}")
    own = p.source(f"base_cost_{cell}") / months
    all_cells = p.source("base_cost") / p.source("base_months")
    other = all_cells
    if agreement["target.empty_cell"] == "statewide":
        state_months = p.source(f"state_base_months_{cell}")
        statewide = p.source(f"state_base_cost_{cell}") / state_months
        other = p.select(state_months, statewide, all_cells)
    empty = p.equal(months, zero)
    borrowed = p.select(perf_months, empty, zero)
    return p.select(months, own, other), borrowed


def trend_factor(
    agreement: Agreement, cell: str, base_year: int, performance_year: int
) -> Decimal | None:
    """Growth from base to performance year of a rate cell, compounded in Decimal; None if unset.

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
                factor *= 1 + rate
    return factor if found else None


def _trends(p: Program, agreement: Agreement, base_year: int, performance_year: int) -> list[Node]:
    """Growth of each rate cell: prescribed, else the market's, else none."""
    market: Node | None = None
    if agreement["target.market"] is not None:
        growth = {}
        for year in _YEARS:
            pmpm = p.source(f"market_{year}_cost") / p.source(f"market_{year}_months")
            sickness = p.source(f"market_{year}_risk") / p.source(f"market_{year}_months")
            if agreement["risk.normalise"] is not None:
                sickness = sickness / (
                    p.source(f"state_{year}_risk") / p.source(f"state_{year}_months")
                )
            growth[year] = p.select(sickness, pmpm / sickness, pmpm)
        market = p.select(growth["base"], growth["perf"] / growth["base"], p.number(1))
    nodes = []
    for i, cell in enumerate(agreement["target.rate_cells"]):
        factor = trend_factor(agreement, cell, base_year, performance_year)
        if factor is not None:
            nodes.append(p.term(f"target.trend {i}", factor))
        else:
            nodes.append(p.number(1) if market is None else market)
    return nodes


def _risk_ratios(p: Program, agreement: Agreement) -> list[Node]:
    """Risk of the performance year over that of the base year, per rate cell, capped."""
    one = p.number(1)
    up, down = (agreement[f"target.risk_ratio_cap_{way}"] for way in ("up", "down"))
    high = None if up is None else one + p.term("target.risk_ratio_cap_up", up)
    low = None if down is None else one - p.term("target.risk_ratio_cap_down", down)
    if agreement["risk.model"] is None:
        return [one for _ in agreement["target.rate_cells"]]
    normalise = agreement["risk.normalise"]
    whole = agreement["target.risk_ratio_by"] == "partnership"

    def mean(year: str, suffix: str) -> Node:
        own = p.source(f"{year}_risk{suffix}") / p.source(f"{year}_months{suffix}")
        if normalise is None:
            return own
        at = suffix if normalise == "statewide_rate_cell" else ""
        state = p.source(f"state_{year}_risk{at}") / p.source(f"state_{year}_months{at}")
        return own / state

    def ratio(suffix: str) -> Node:
        base, performance = mean("base", suffix), mean("perf", suffix)
        known = base * performance  # zero where either year has no months or no risk
        return p.clip(p.select(known, performance / base, one), low, high)

    if whole:
        single = ratio("")
        return [single for _ in agreement["target.rate_cells"]]
    return [ratio(f"_{i}") for i in range(len(agreement["target.rate_cells"]))]
