"""Which terms a contract has, and what each may be: the vocabulary, not the values.

Every path below exists in every contract; `none` is a value where it is allowed and means that the
agreement has no such rule. Bands, policy adjustments, and weights and ends of quality measures are
named by the contract and addressed by name: `settlement.gain.bands.inner.below`,
`target.policy.fee_schedule`, `quality.ceiling.asthma`.

Not here: terms of the steps of a settlement (`steps`), what an agreement says (`shipped/*.toml`),
how a file is read (`files`), what a term does (`settlement`, `measure`, `risk`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final

from ihp_compute.contracts import completion, population_based, quality_measures, rules
from ihp_compute.contracts.kinds import Kind, choice, ratio, usd
from ihp_compute.contracts.steps import STEP_MODIFIERS, STEPS, step_kinds


def _months(meaning: str, low: int = 1) -> Kind:
    return Kind(meaning, "member months", low=Decimal(low), places=0)


TREND: Final = "target.trend"
FEDERAL_SHARE: Final = "state.federal_share"
BY_CELL: Final = (TREND, FEDERAL_SHARE)
"""Terms whose values may differ between rate cells."""

KINDS: Final[Mapping[str, Kind]] = {
    "agreement.first_performance_year": Kind(
        "first performance year, from which contract years count", "year", "year", optional=True
    ),
    "agreement.minimum_members": Kind(
        "fewer members are flagged, never dropped", "members", low=Decimal(0), optional=True
    ),
    **rules.KINDS,
    "target.base_pmpm_fixed": usd("agreed base, not recomputed", "USD per member per month"),
    "target.rate_cells": Kind("strata of the target", "names", "cells"),
    "target.cell_credibility": choice(
        "how far an own base carries: by its months, the rest from the state; none: wholly",
        "months",
        optional=True,
    ),
    "target.cell_least_months": _months("fewer base months of a rate cell carry nothing", low=0),
    "target.cell_full_months": _months("base months from which a rate cell's own base carries"),
    "target.base_full_months": _months("base months from which the own base as a whole carries"),
    "target.empty_cell": choice(
        "base of a rate cell without base months where nothing is blended",
        "partnership",
        "statewide",
    ),
    TREND: Kind(
        "expected growth of cost per member month in a rate cell, the state's change of acuity "
        "with it; none: the market's, or none at all",
        "ratio per year",
        low=Decimal("-0.5"),
        high=Decimal(1),
        optional=True,
    ),
    "target.market": choice(
        "whose risk-adjusted growth is the trend where no trend is set", "comparison", optional=True
    ),
    "target.completion": Kind(
        "paid to date over ultimate, base year", "ratio", low=Decimal("0.01"), high=Decimal(2),
        optional=True,
    ),
    "target.risk_ratio_cap_up": ratio("most that the risk ratio may raise the target"),
    "target.risk_ratio_cap_down": ratio("most that the risk ratio may lower the target"),
    "target.risk_ratio_cap_by": choice(
        "whose risk ratio the caps hold: dollars over all rate cells, or each cell's",
        "partnership",
        "rate_cell",
    ),
    "target.risk_ratio_by": choice(
        "risk ratio within each rate cell; or one of the partnership, where it has one cell",
        "rate_cell",
        "partnership",
    ),
    "target.rounding": choice("rounding of the target's PMPM", "cents", optional=True),
    "observed.completion": Kind(
        "paid to date over ultimate, performance year", "ratio", low=Decimal("0.01"),
        high=Decimal(2), optional=True,
    ),
    **completion.KINDS,
    "settlement.steps": Kind("steps in their order", "names", "names", choices=STEPS),
    "settlement.direction": choice(
        "shared savings: a gain is paid to the partnership; corridor: a gain is owed by it",
        "shared_savings",
        "corridor",
    ),
    **step_kinds(),
    "payers.split": choice(
        "how the payers share the settlement", "member_months", "cost", optional=True
    ),
    FEDERAL_SHARE: ratio("part of a payment that the federal government bears, of a rate cell"),
    **population_based.KINDS,
    **quality_measures.KINDS,
}  # fmt: skip
"""Every fixed path, with its kind."""

_FIRST: Final = {
    "agreement": "first_performance_year minimum_members",
    "attribution": "min_months_continuous min_months_any exclude steps keep_pre_visit tie_break",
    "cost": (
        "amount incurred_by zero_paid_encounter floor_at_zero claim_cap keep_above_cap "
        "prorate_cap services"
    ),
    "risk": "model normalise missing",
    "target": (
        "base_pmpm_fixed rate_cells empty_cell trend market completion risk_ratio_cap_up "
        "risk_ratio_cap_down risk_ratio_by rounding"
    ),
    "observed": "completion",
    "settlement": "steps direction revenue_usd core_cost_usd",
    "settlement.gate": "gain_rate loss_rate size_table below_gate_share",
    "settlement.gain": (
        "counting share bands cap_of_target cap_usd cap_of_revenue cap_of_core_cost"
    ),
    "settlement.loss": (
        "counting share bands cap_of_target cap_usd cap_of_revenue cap_of_core_cost "
        "share_floor share_ceiling"
    ),
    "settlement.quality": "weight floor loss",
    "settlement.withhold": "rate applies_to",
    "settlement.adjustments": "disaster_usd other_usd",
    "payers": "split",
}
FIRST_PATHS: Final = frozenset(
    f"{head}.{name}" for head, names in _FIRST.items() for name in names.split()
)
"""Paths of method version 1. A file of somebody's own, which extends nothing, has them all; of a
later path it may know nothing, and the value of `unbound` holds."""

_CREDIBILITY: Final = "target.cell_credibility"
_OF_A_SCORE: Final = (
    "settlement.quality.weight", "settlement.quality.floor", "settlement.quality.loss",
    population_based.QUALITY,
)  # fmt: skip
"""Terms by which a payment rests on a quality score."""
_MODIFIERS: Final[Mapping[str, tuple[str, ...]]] = {
    **{path: (owner,) for path, owner in STEP_MODIFIERS.items()},
    **dict.fromkeys(rules.OF_A_MODEL, ("risk.model",)),
    **dict.fromkeys(population_based.OF_A_RATE, (population_based.RATE,)),
    **dict.fromkeys(quality_measures.KINDS, _OF_A_SCORE),
    "quality.claims_domain": ("quality.claims_measures",),
    "risk.second_model": ("risk.model",),
    "risk.second_model_for": ("risk.second_model",),
    "target.cell_least_months": (_CREDIBILITY,),
    "target.cell_full_months": (_CREDIBILITY,),
    "target.base_full_months": (_CREDIBILITY,),
    "target.risk_ratio_cap_by": ("target.risk_ratio_cap_up", "target.risk_ratio_cap_down"),
    "risk.growth_corridor": ("risk.model",),
    "risk.credibility": ("risk.model",),
}
"""Terms that say something only where one of others binds."""
IDLE_BESIDE: Final[Mapping[str, str]] = {
    "target.empty_cell": _CREDIBILITY,
    "risk.growth_corridor": "risk.normalise",
}
"""Terms that say nothing where another binds: blended cells need no rule for empty ones, and a norm
leaves nothing of the state's growth to a corridor."""


def speaks(path: str, binds: Callable[[str], bool]) -> bool:
    """Whether a term says something itself, or one of those that it modifies binds.

    Parameters
    ----------
    path : str
    binds : callable
        Of another term's path, whether it binds.
    """
    owners = _OF_A_SCORE if prefix_of(path) in quality_measures.NAMED else _MODIFIERS.get(path)
    return owners is None or any(binds(owner) for owner in owners)


def idle(path: str, binds: Callable[[str], bool]) -> bool:
    """Whether a term says nothing because another binds; `binds` as in `speaks`."""
    return path in IDLE_BESIDE and binds(IDLE_BESIDE[path])


POLICY: Final = Kind(
    "policy or fee-schedule adjustment of the target", "factor", low=Decimal(0), high=Decimal(10)
)
POLICY_PREFIX: Final = "target.policy."
NAMED: Final[Mapping[str, Kind]] = {POLICY_PREFIX: POLICY, **quality_measures.NAMED}
"""Terms that a contract names, by what stands before their name; it has as many as it names."""


def prefix_of(path: str) -> str:
    """What stands before the name of a term that a contract names; empty of every other path.

    >>> prefix_of("quality.floor.asthma"), prefix_of("target.policy.a.b"), prefix_of("target.trend")
    ('quality.floor.', '', '')
    """
    for prefix in NAMED:
        name = path.removeprefix(prefix)
        if name not in {path, ""} and (prefix != POLICY_PREFIX or "." not in name):
            return prefix
    return ""


def kind_of(path: str) -> Kind | None:
    """Kind of a term's path; None if no contract can have it."""
    prefix = prefix_of(path)
    return NAMED[prefix] if prefix else KINDS.get(path)
