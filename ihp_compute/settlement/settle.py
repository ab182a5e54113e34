"""Settle every partnership of a run: target, steps and payment, with the walk and the draws.

    totals + agreement -> program -> kernels.settle_grid -> levels, payment, one row a replicate

Two questions, two sets of draws; in both, replicate 0 is the data as observed. `target_resampled`:
is it real? Everything moves with the members drawn. `target_fixed`: what would another draw of
performance members settle to under this base? What a contract holds stands as observed (base, base
risk and norm, credibility, level, the market's growth; trend, policy and completion are terms); the
performance year's cost, months by rate cell, risk and norm move, and the target with them. The
payment under the signed target itself is no draw: it is known.

Not here: the operations themselves (`target`, `steps`), the exhibit (`walk`), intervals
(`uncertainty`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import COMPARISON, PAYER_KINDS
from ihp_compute.contracts import Agreement, ContractSet, Own, QualityFill, QualityScores
from ihp_compute.errors import ContractError
from ihp_compute.settlement.cells import SettledCell, settled_cells, write_cells
from ihp_compute.settlement.federal import federal_share, net_of_federal
from ihp_compute.settlement.payers import split
from ihp_compute.settlement.program import Compiled, Program
from ihp_compute.settlement.state import Sources, StateSums, held, sources, state_sums
from ihp_compute.settlement.steps import QUALITY_SCORE, gates_by_size, write_settlement
from ihp_compute.settlement.target import write_target
from ihp_compute.settlement.walk import Movers, WalkRow, walk
from ihp_compute.uncertainty import Totals
from ihp_compute.units import CENTS_PER_USD

CONDITIONINGS: Final = ("target_resampled", "target_fixed")
_DRAWN: Final = (
    "target", "observed", "savings", "savings_rate", "payment", "passed", "empty_cells",
)  # fmt: skip
"""Outputs of `run_program` that are wanted in every replicate; of the others the observed is."""


@dataclass(frozen=True)
class Draws:
    """A settlement over replicates; index 0 is the data as observed.

    Arrays of length 1 + B: int64 cents, and the savings rate as float64; `passed` is 1 where a gain
    or a loss reached its gate.
    """

    target_cents: NDArray[np.int64]
    observed_cents: NDArray[np.int64]
    savings_cents: NDArray[np.int64]
    savings_rate: NDArray[np.float64]
    payment_cents: NDArray[np.int64]
    state_net_cents: NDArray[np.int64]
    passed: NDArray[np.int64]


@dataclass(frozen=True)
class Settled:
    """One partnership's settlement.

    Attributes
    ----------
    contract, programme : str
        Names of its contract and of the programme that the contract is of.
    n_members, member_months : int
        Of the performance year, as observed.
    base_pmpm_usd, risk_ratio : float
        The base used (agreed, else as far as the own one carries) and what the risk step came to.
    base_carried : float
        Part of the base that moves with the own cost of the base year: Z; 0 where it is agreed.
    missed_by_cents : int
        Dollars short of the gate; 0 where it was met or nothing settles on that side.
    federal_share : float
        Part of the payment that the federal government bears.
    state_net_cents : int
        The payment less that part.
    below_minimum_size : bool
        Fewer members than the contract asks for: flagged, never dropped.
    empty_cell_replicates : int
        Replicates (of 1 + B) in which a rate cell borrowed its base.
    thin_cells : mapping of rate cell to int
        Own base months of rate cells of the performance year that have fewer than the contract's
        least, and some.
    quality_fill : str
        What stood in for a missing quality score; empty where none was needed.
    quality_moved_cents : int
        What that moves: the payment less the one that `contracts.QualityFill` compares it with.
    walk : tuple of WalkRow
    cells : tuple of SettledCell
        The target by rate cell, in the order of the contract.
    draws : dict of conditioning to Draws
    draft : str
        The contract's draft line; empty when no term is recalled or assumed.
    payer_cents : dict of payer kind to int
        Parts of the payment by `codes.PAYER_KINDS`, adding up to it; empty where the contract
        splits nothing. By plan: `measure.payer_weights` and `payers.split`.
    """

    partnership_id: str
    contract: str
    programme: str
    performance_year: int
    n_members: int
    member_months: int
    base_pmpm_usd: float
    base_carried: float
    risk_ratio: float
    target_cents: int
    observed_cents: int
    savings_cents: int
    savings_rate: float
    gate_passed: bool
    missed_by_cents: int
    payment_cents: int
    federal_share: float
    state_net_cents: int
    below_minimum_size: bool
    empty_cell_replicates: int
    thin_cells: Mapping[str, int]
    quality_fill: str
    quality_moved_cents: int
    walk: tuple[WalkRow, ...]
    cells: tuple[SettledCell, ...]
    draws: dict[str, Draws]
    draft: str
    payer_cents: dict[str, int]


def settle(
    totals: Totals,
    contract_set: ContractSet,
    *,
    base_year: int,
    performance_year: int,
    quality: Mapping[str, Own] | None = None,
    movers: NDArray[np.int64] | None = None,
) -> list[Settled]:
    """Settle every partnership of a contract set.

    Parameters
    ----------
    totals : Totals
        Replicate totals; every partnership of the set is one of its groups.
    contract_set : ContractSet
    base_year, performance_year : int
    quality : mapping of partnership id to Decimal, str or None
        Scores from 0 to 1; of a partnership without one `settlement.quality.missing` decides.

    movers : int64[n_groups, n_strata, n_columns], optional
        The columns of the totals as observed, of member-years that stand in several rate cells; the
        walk then tells what the target is without them.

    Returns
    -------
    list of Settled
        By partnership id.

    Raises
    ------
    ContractError
        If a contract has no value for a year it needs, or does not list a rate cell that occurs.
    MissingQualityError
        If a contract rests on a quality score that is missing, and lets nothing stand in.
    """
    agreements = contract_set.at(performance_year)
    rule_sets = contract_set.rule_sets(performance_year)
    scores = QualityScores.of(quality or {}, agreements, totals.without_members)
    scores.refuse_missing(agreements)
    years: dict[str, Any] = {"base_year": base_year, "performance_year": performance_year}
    whole = SharedPrograms(partial(run_program, **years))
    drawn = SharedPrograms(lambda agreement, **of: whole.of(agreement, **of).only(_DRAWN))
    sums: dict[tuple[int, tuple[str, ...]], StateSums] = {}
    stayers: dict[tuple[int, tuple[str, ...]], StateSums] = {}
    drafts: dict[str, str] = {}
    settled = []
    for partnership, agreement in agreements.items():
        rule_set = rule_sets.index(agreement.cost)
        key = rule_set, agreement["target.rate_cells"]
        if key not in sums:
            sums[key] = state_sums(totals, agreement, rule_set)
            if movers is not None:
                observed = totals.values[:, :, :1] - movers[:, :, None]
                stayers[key] = state_sums(replace(totals, values=observed), agreement, rule_set)
        terms = agreement.contract.sha256
        if terms not in drafts:
            drafts[terms] = agreement.draft_line()
        fill = scores.fill(partnership, agreement)
        used = scores.used(partnership, agreement)
        case = _Case(sums[key], stayers.get(key), partnership, agreement, used, fill, **years)
        settled.append(_settle_one(case, whole, drawn, drafts[terms]))
    return settled


class SharedPrograms:
    """Programs of partnerships, compiled once for all whose terms make the same one.

    Those are partnerships of one contract; of one size too, where a gate goes by size. A quality
    score is a number of the program: it must only be there for both, or for neither.

    Parameters
    ----------
    build : callable
        Compiles an agreement, given `n_members` and `quality` by name.
    """

    def __init__(self, build: Callable[..., Compiled]) -> None:
        self._build = build
        self._known: dict[tuple[str, int | None, int | None, bool], Compiled] = {}

    def of(self, agreement: Agreement, *, n_members: int, quality: Decimal | None) -> Compiled:
        """The program of a partnership."""
        found = self.shared(agreement, n_members=n_members, quality=quality)
        return found if quality is None else found.at({QUALITY_SCORE: quality})

    def shared(self, agreement: Agreement, *, n_members: int, quality: Decimal | None) -> Compiled:
        """The same object for all who share it, at the score of one of them."""
        size = n_members if gates_by_size(agreement) else None
        key = agreement.contract.sha256, agreement.year, size, quality is None
        if key not in self._known:
            self._known[key] = self._build(agreement, n_members=n_members, quality=quality)
        return self._known[key]


def run_program(
    agreement: Agreement,
    *,
    base_year: int,
    performance_year: int,
    n_members: int,
    quality: Decimal | None,
) -> Compiled:
    """The whole settlement of a partnership as one program over `state.sources`.

    Outputs: the levels of the target walk, target, observed, base_pmpm, risk_ratio, what the rules
    of that ratio rest on (`risk_ratio.RatioRules`), base_credibility, empty_cells, cells_left_out,
    and those of `steps.write_settlement` and `cells.write_cells`.
    """
    program = Program()
    walked = write_target(
        program, agreement, base_year=base_year, performance_year=performance_year
    )
    settled = write_settlement(
        program,
        agreement,
        walked.target,
        walked.observed,
        core=program.source("core_cost"),
        n_members=n_members,
        quality=quality,
    )
    levels = {name: program.round(node) for name, node in walked.levels.items()}
    return program.compile(
        {
            **levels,
            "target": walked.target,
            "observed": walked.observed,
            "base_pmpm": walked.base.used_pmpm,
            "risk_ratio": walked.risk_ratio,
            "own_ratio": walked.own_ratio,
            "state_growth": walked.ratio.growth,
            "state_growth_held": walked.ratio.held,
            "state_growth_left_out": program.round(walked.ratio.cells_left_out),
            "ratio_credibility": walked.ratio.credibility,
            "base_credibility": walked.base.credibility,
            "empty_cells": program.round(walked.empty_cells),
            "cells_left_out": program.round(walked.cells_left_out),
            **settled,
            **write_cells(program, agreement, walked),
        }
    )


@dataclass(frozen=True)
class _Case:
    """One partnership with what its settlement rests on."""

    sums: StateSums
    stayers: StateSums | None
    partnership: str
    agreement: Agreement
    quality: Decimal | None
    fill: QualityFill | None
    base_year: int
    performance_year: int

    @property
    def n_members(self) -> int:
        totals = self.sums.totals
        return int(totals.n_members[totals.groups.index(self.partnership)])


def _settle_one(case: _Case, whole: SharedPrograms, drawn: SharedPrograms, draft: str) -> Settled:
    agreement, n_members = case.agreement, case.n_members
    given = sources(case.sums, case.partnership)
    _check_market(agreement, given)
    of: dict[str, Any] = {"n_members": n_members, "quality": case.quality}
    observed = {name: array[:1] for name, array in given.items()}
    as_observed = whole.of(agreement, **of)
    first = {name: array.item() for name, array in as_observed.run(observed).items()}
    first["core_cost"] = int(given["core_cost"][0])
    cells = settled_cells(agreement, first)
    share = federal_share(agreement, cells, case.performance_year)
    program = drawn.of(agreement, **of)
    found = {
        name: program.run(moving)
        for name, moving in zip(CONDITIONINGS, (given, held(case.sums, given)), strict=True)
    }
    draws = {
        name: Draws(
            one["target"],
            one["observed"],
            one["savings"],
            one["savings_rate"],
            one["payment"],
            net_of_federal(one["payment"], share),
            one["passed"],
        )
        for name, one in found.items()
    }
    minimum = agreement["agreement.minimum_members"]
    return Settled(
        partnership_id=case.partnership,
        contract=agreement.name,
        programme=agreement.contract.programme,
        performance_year=case.performance_year,
        n_members=n_members,
        member_months=int(given["perf_months"][0]),
        base_pmpm_usd=first["base_pmpm"] / CENTS_PER_USD,
        base_carried=(
            first["base_credibility"] if agreement["target.base_pmpm_fixed"] is None else 0.0
        ),
        risk_ratio=first["risk_ratio"],
        target_cents=first["target"],
        observed_cents=first["observed"],
        savings_cents=first["savings"],
        savings_rate=first["savings_rate"],
        gate_passed=bool(first["passed"]),
        missed_by_cents=first["missed_by"],
        payment_cents=first["payment"],
        federal_share=share,
        state_net_cents=int(draws["target_resampled"].state_net_cents[0]),
        below_minimum_size=minimum is not None and n_members < minimum,
        empty_cell_replicates=int(np.count_nonzero(found["target_resampled"]["empty_cells"])),
        thin_cells=_thin_cells(agreement, given),
        cells=cells,
        quality_fill="" if case.fill is None else case.fill.policy,
        quality_moved_cents=0
        if case.fill is None
        else first["payment"] - _payment_beside(case, case.fill, whole, observed),
        walk=walk(
            agreement,
            first,
            given,
            cells,
            _movers(case, as_observed, given),
            base_year=case.base_year,
            performance_year=case.performance_year,
            score=case.quality,
            fill="" if case.fill is None else case.fill.policy,
        ),
        draws=draws,
        draft=draft,
        payer_cents=_by_payer(case, first["payment"]),
    )


def _payment_beside(
    case: _Case, fill: QualityFill, programs: SharedPrograms, observed: Sources
) -> int:
    """The payment as observed at the score that a fill is compared with."""
    size: dict[str, Any] = {"n_members": case.n_members}
    program = programs.of(case.agreement, quality=fill.compared_with, **size)
    return int(program.run(observed)["payment"][0])


def _movers(case: _Case, program: Compiled, given: Sources) -> Movers | None:
    """Months of members in several rate cells, and the target without them."""
    if case.stayers is None:
        return None
    months = int(given["perf_months"][0])
    try:
        without = sources(case.stayers, case.partnership)
    except ContractError:  # the rest of the state has no base of some rate cell
        g = case.stayers.totals.groups.index(case.partnership)
        stayed = case.stayers.by_cell[g, :, 0, case.stayers.columns["perf_months"]]
        return Movers(months - int(stayed.sum()), None)
    left = int(without["perf_months"][0])
    target = int(program.run({name: array[:1] for name, array in without.items()})["target"][0])
    return Movers(months - left, target / CENTS_PER_USD / left if left else None)


def _thin_cells(agreement: Agreement, given: Sources) -> dict[str, int]:
    """Own base months of rate cells that have some, but fewer than carry anything."""
    least = agreement["target.cell_least_months"]
    months = {
        cell: int(given[f"base_months_{i}"][0])
        for i, cell in enumerate(agreement["target.rate_cells"])
        if given[f"perf_months_{i}"][0]
    }
    return {cell: n for cell, n in months.items() if 0 < n < least}


def _check_market(agreement: Agreement, given: Sources) -> None:
    """A market trend needs a market: comparison members with months and cost in both years."""
    if agreement["target.market"] is None or agreement["target.trend"] is not None:
        return
    for name in ("months", "cost"):
        for year in ("base", "perf"):
            by_cell = range(len(agreement["target.rate_cells"]))
            if sum(int(given[f"market_{year}_{name}_{i}"][0]) for i in by_cell) <= 0:
                raise ContractError(
                    f"{agreement.name}: target.market: found no {name} of {COMPARISON} in the "
                    f"{'base' if year == 'base' else 'performance'} year, expected a comparison "
                    "population; give its providers on the roster, or a prescribed target.trend"
                )


def _by_payer(case: _Case, payment_cents: int) -> dict[str, int]:
    """The payment by payer kind, by member months or by cost of the performance year."""
    sums, rule = case.sums, case.agreement["payers.split"]
    if rule is None:
        return {}
    column = sums.columns["perf_months" if rule == "member_months" else "perf_cost"]
    group = sums.totals.groups.index(case.partnership)
    observed = sums.totals.values[group, :, 0, column]
    weights = dict.fromkeys(PAYER_KINDS, 0)
    for place, cell in enumerate(sums.totals.strata):
        weights[cell.rsplit("_", 1)[1]] += max(int(observed[place]), 0)
    return split(payment_cents, weights) if any(weights.values()) else {}
