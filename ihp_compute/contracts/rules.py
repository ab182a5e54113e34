"""The rules of attribution, cost and risk: what each term may be, and the terms typed.

`KINDS` says once what a value may be. A contract's file, an override, a column of a table and the
typed rules below are all read against it, so that none of them refuses what another passes.

Arrays-free: what a rule does to members and lines stands in `measure` and `risk`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any, Final

from ihp_compute.codes import (
    AID_GROUPS,
    RATE_CELLS,
    SERVICE_CATEGORIES,
    SPAN_DUAL,
    SPAN_LIMITED_BENEFITS,
    SPAN_PARTIAL_BENEFIT,
    SPAN_SPEND_DOWN,
    VISIT_CODES,
)
from ihp_compute.contracts.kinds import NONE, Kind, choice, ratio, usd
from ihp_compute.contracts.values import TermError, parse
from ihp_compute.errors import ContractError

EXCLUDABLE: Final = {
    "dual": SPAN_DUAL,
    "spend_down": SPAN_SPEND_DOWN,
    "partial_benefit": SPAN_PARTIAL_BENEFIT,
    "limited_benefits": SPAN_LIMITED_BENEFITS,
}
"""Months that a contract may leave out, and the flag of a span by which they are known."""

ATTRIBUTION_STEPS: Final = ("health_care_home", "primary_care", "specialist")
"""Visits that may attribute a member."""

SPECIALTIES: Final = ("primary_care", "specialist", "behavioral_health")
"""What a provider of a roster may be."""

NO_VISIT: Final = ("payment_line", "excluded_month", "inpatient", "emergency")
"""Lines that a contract may take for no visit, whatever their code."""

ROSTER_RULES: Final = ("on_date", "any_day", "same_days", "own_year")
"""Which entries of a roster a visit may fall under."""

INCURRED_BY: Final = {
    "claim_end": "claim_end_day",
    "claim_start": "claim_start_day",
    "line": "service_day",
}
"""Days that may put a line into a year, and the column of lines that holds each."""

MISSING_SCORE: Final = ("error", "group_average", "demographic_cell")
"""What may be done with a member who has months but no score."""

AS_MODEL: Final = "model"
"""Stands for the timing that a risk model states itself."""
TIMINGS: Final = ("concurrent", "prospective")
"""Whether codes of a year score that year, or the year after."""
EVERY_CLAIM: Final = "all"
RISK_ADJUSTABLE: Final = "risk_adjustable"
"""Diagnoses of every claim; or of those by which CMS-HCC and HHS-HCC score."""
COUNT: Final = "count"
LEAVE_OUT: Final = "leave_out"
"""What may be done with diagnoses of an institution's claim without a bill type."""
NEWBORNS: Final = ("as_published", "missing")
"""What a newborn without a birth code may be: as the model has it, or without a score."""


def _months(meaning: str) -> Kind:
    return Kind(meaning, "months", low=Decimal(1), high=Decimal(12), places=0)


def _specialties(meaning: str) -> Kind:
    return Kind(meaning, "names", "names", choices=SPECIALTIES)


KINDS: Final[Mapping[str, Kind]] = {
    "attribution.min_months_continuous": _months("months in a row that make a person eligible"),
    "attribution.min_months_any": _months("months in all that make a person eligible"),
    "attribution.exclude": Kind(
        "months that do not count", "names", "names", choices=tuple(EXCLUDABLE)
    ),
    "attribution.steps": Kind(
        "which visits attribute, in order", "names", "names", choices=ATTRIBUTION_STEPS, least=1
    ),
    "attribution.visit_codes": Kind(
        "procedures that are a visit", "codes", "codes", choices=VISIT_CODES
    ),
    "attribution.excluded_places": Kind(
        "places of service where no visit attributes", "codes", "places of service"
    ),
    "attribution.care_coordination_codes": Kind(
        "procedures that make the step health_care_home, at any entry, in any place",
        "codes",
        "codes",
        choices=VISIT_CODES,
    ),
    "attribution.no_visit": Kind(
        "lines that are no visit, whatever their code; inpatient and emergency leave "
        "care coordination alone",
        "names",
        "names",
        choices=NO_VISIT,
    ),
    "attribution.health_care_home": choice(
        "what makes the step health_care_home: care coordination, or visits at entries flagged as "
        "homes too; then the home with the most of both",
        "care_coordination",
        "or_flagged_entry",
    ),
    "attribution.health_care_home_specialties": _specialties(
        "specialties whose visits at flagged entries make the step health_care_home"
    ),
    "attribution.primary_care_specialties": _specialties(
        "specialties whose visits make the step primary_care"
    ),
    "attribution.specialist_specialties": _specialties(
        "specialties whose visits make the step specialist"
    ),
    "attribution.roster_rule": choice(
        "entries that a visit may fall under, in both years: valid on the roster date; on any day "
        "of the performance year; on the visit's day of that year; on the visit's own day",
        *ROSTER_RULES,
    ),
    "attribution.roster_date": Kind(
        "day of the performance year on which entries must be valid, where the rule is on_date",
        "day",
        "day of a year",
    ),
    "attribution.keep_pre_visit": Kind("months before the first visit count", "flag", "flag"),
    "attribution.tie_break": Kind(
        "who wins a tie, in order",
        "names",
        "names",
        choices=("latest_visit", "lowest_id"),
        orders=(("latest_visit", "lowest_id"), ("lowest_id",)),
    ),
    "cost.amount": choice(
        "the amount of a line that is cost", "paid", "allowed", "paid_less_third_party"
    ),
    "cost.incurred_by": choice("the day that puts a line into a year and a month", *INCURRED_BY),
    "cost.zero_paid_encounter": choice(
        "what an encounter line with zero paid costs", "as_paid", "allowed"
    ),
    "cost.floor_at_zero": Kind("a member's negative year counts as zero", "flag", "flag"),
    "cost.claim_cap": usd("cost of a member above it is cut", "USD per member per year", places=2),
    "cost.keep_above_cap": ratio("part of the cost above the cap that is kept", places=6),
    "cost.prorate_cap": Kind("the cap is scaled by months over 12", "flag", "flag"),
    "cost.services": Kind("services that count", "names", "names", choices=SERVICE_CATEGORIES),
    "risk.model": Kind(
        "risk score: supplied, a model's name, or none (everybody 1.000)",
        "name",
        "text",
        optional=True,
    ),
    "risk.second_model": Kind(
        "risk score of members of some aid groups in place of risk.model: supplied, or a model's "
        "name; none: there is no second",
        "name",
        "text",
        optional=True,
    ),
    "risk.second_model_for": Kind(
        "aid groups whose members the second model scores; a member is of that of most months",
        "names",
        "names",
        choices=AID_GROUPS,
        least=1,
    ),
    "risk.normalise": choice(
        "the norm: what mean risk is divided by, each year; everybody eligible is the state",
        "statewide_rate_cell",
        "mix_neutral",
        "statewide",
        optional=True,
    ),
    "risk.growth_corridor": ratio(
        "most that the state's growth of mean risk, at one mix of rate cells, may move targets up "
        "or down"
    ),
    "risk.credibility": Kind(
        "months of the performance year from which a partnership's own risk ratio counts wholly; "
        "fewer: by the square root, the rest the state's ratio",
        "member months",
        low=Decimal(1),
        optional=True,
        places=0,
    ),
    "risk.missing": choice("a member without a score", *MISSING_SCORE),
    "risk.most_missing": ratio(
        "part of a partnership's months of a year whose score may be filled; more is refused "
        "unless accepted"
    ),
    "risk.timing": choice(
        "whose codes score a year: its own (concurrent), those of the year before (prospective), "
        "or what the model was made for",
        AS_MODEL,
        *TIMINGS,
    ),
    "risk.payment_year": Kind(
        "payment year whose model, map and factor score both years of a published CMS-HCC model; "
        "none: each year its own",
        "year",
        "year",
        optional=True,
    ),
    "risk.minimum_months": Kind(
        "enrolled months of the year of the codes below which a model gives no score; none: what "
        "the model states",
        "months",
        low=Decimal(0),
        high=Decimal(12),
        optional=True,
        places=0,
    ),
    "risk.newborn": choice(
        "a newborn without a birth code: as the model's tables have it, or without a score; none: "
        "what the model states",
        *NEWBORNS,
        optional=True,
    ),
    "risk.code_edits": Kind("whether a model's ages of the code editor are tested", "flag", "flag"),
    "risk.diagnoses_from": Kind(
        "claims whose diagnoses score: what the model states; every claim; stays, outpatient and "
        "professional claims that are not for laboratory, imaging, transport or equipment alone; "
        "or a list of procedures",
        "choice",
        "table",
        choices=(AS_MODEL, EVERY_CLAIM, RISK_ADJUSTABLE),
    ),
    "risk.without_bill_type": choice(
        "diagnoses of an institution's claim without a bill type, where bill types decide",
        COUNT,
        LEAVE_OUT,
    ),
    "risk.runout_months": Kind(
        "months after the end of a year of codes by which its diagnoses must be paid, the same in "
        "base and performance year; none: what each year's cost goes by",
        "months",
        low=Decimal(0),
        high=Decimal(60),
        optional=True,
        places=0,
    ),
}
"""What each term of attribution, cost and risk may be."""

MODELS: Final = ("risk.model", "risk.second_model")
"""Terms that name a model, or the path of its file."""
OF_A_MODEL: Final = (
    "risk.timing", "risk.payment_year", "risk.minimum_months", "risk.newborn", "risk.code_edits",
    "risk.diagnoses_from", "risk.without_bill_type", "risk.runout_months",
)  # fmt: skip
"""Terms that say how a risk model scores, and nothing where there is none."""


def _refuse(given: Mapping[str, Any]) -> None:
    """Refuse values, by path, that their kinds do not allow."""
    for path, value in given.items():
        try:
            parse(KINDS[path], value)
        except TermError as error:
            raise ContractError(f"{path}: {error}") from None


@dataclass(frozen=True)
class AttributionTerms:
    """The contract's attribution rule; each field as `KINDS` has it under `attribution.`.

    Attributes
    ----------
    min_months_continuous, min_months_any : int
        Eligible with this many countable months in a row, or this many in all.
    exclude : tuple of str
        Flags whose months do not count.
    steps : tuple of str
        Visits that attribute, in order.
    visit_codes, care_coordination_codes : tuple of str
        Procedure codes and ranges of them.
    excluded_places : tuple of str
    no_visit : tuple of str
        Of `NO_VISIT`.
    health_care_home : str
    health_care_home_specialties, primary_care_specialties, specialist_specialties : tuple of str
        Of `SPECIALTIES`.
    roster_rule : str
        Of `ROSTER_RULES`.
    roster_date : str
        MM-DD.
    keep_pre_visit : bool
        Whether months before the first encounter with the attributed group stay countable.
    tie_break : tuple of str

    Raises
    ------
    ContractError
        If a value is not what its kind allows.
    """

    min_months_continuous: int
    min_months_any: int
    exclude: tuple[str, ...]
    steps: tuple[str, ...]
    visit_codes: tuple[str, ...]
    excluded_places: tuple[str, ...]
    care_coordination_codes: tuple[str, ...]
    no_visit: tuple[str, ...]
    health_care_home: str
    health_care_home_specialties: tuple[str, ...]
    primary_care_specialties: tuple[str, ...]
    specialist_specialties: tuple[str, ...]
    roster_rule: str
    roster_date: str
    keep_pre_visit: bool
    tie_break: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse what the rule cannot mean."""
        _refuse({f"attribution.{name}": getattr(self, name) for name in self.names()})

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Its terms, each the end of a path."""
        return tuple(f.name for f in fields(cls))


@dataclass(frozen=True)
class CostTerms:
    """The contract's definition of cost; each field as `KINDS` has it under `cost.`.

    Attributes
    ----------
    amount, zero_paid_encounter : str
    incurred_by : str
        One of `INCURRED_BY`: the day that decides a line's year and month.
    floor_at_zero : bool
        Whether a member-year below zero becomes zero.
    claim_cap_cents : int or None
        Per member and year; None: no cap.
    keep_above_cap_micro : int
        Share of the cost above the cap that stays, millionths.
    prorate_cap : bool
        Whether the cap is multiplied by countable months / 12.
    services : frozenset of str
        Included `SERVICE_CATEGORIES`.
    cell_order : tuple of str
        Every rate cell, in the order in which the contract lists them: in this order a cap takes
        dollars from a member's rate cells.
    counts_payments : bool
        Whether population-based payments are cost too, of whoever is paid (`pbp.counts_as_cost`).

    Raises
    ------
    ContractError
        If a value is not what its kind allows.
    """

    amount: str
    incurred_by: str
    zero_paid_encounter: str
    floor_at_zero: bool
    claim_cap_cents: int | None
    keep_above_cap_micro: int
    prorate_cap: bool
    services: frozenset[str]
    cell_order: tuple[str, ...] = RATE_CELLS
    counts_payments: bool = False

    def __post_init__(self) -> None:
        """Refuse what no cost can mean."""
        cap = self.claim_cap_cents
        given: dict[str, Any] = {
            "amount": self.amount,
            "incurred_by": self.incurred_by,
            "zero_paid_encounter": self.zero_paid_encounter,
            "floor_at_zero": self.floor_at_zero,
            "claim_cap": None if cap is None else Decimal(cap).scaleb(-2),
            "keep_above_cap": Decimal(self.keep_above_cap_micro).scaleb(-6),
            "prorate_cap": self.prorate_cap,
            "services": sorted(self.services),
        }
        _refuse({f"cost.{name}": value for name, value in given.items()})

    @property
    def service_bits(self) -> int:
        """Bit c is set when category c of `SERVICE_CATEGORIES` is included."""
        return sum(1 << c for c, name in enumerate(SERVICE_CATEGORIES) if name in self.services)


@dataclass(frozen=True)
class RiskTerms:
    """How sickness enters the target; each field as `KINDS` has it under `risk.`.

    Raises
    ------
    ContractError
        If a value is not what its kind allows.
    """

    model: str
    normalise: str | None
    missing: str
    most_missing: Decimal | None
    timing: str
    payment_year: int | None
    minimum_months: int | None
    newborn: str | None
    code_edits: bool
    second_model: str | None
    second_model_for: tuple[str, ...]
    diagnoses_from: str
    without_bill_type: str
    runout_months: int | None

    def __post_init__(self) -> None:
        """Refuse what no score can mean."""
        _refuse({f"risk.{name}": getattr(self, name) for name in self.names()})

    @property
    def each(self) -> tuple[RiskTerms, ...]:
        """The terms for each model that scores: the first, and the second in its place."""
        if self.second_model is None or self.model == NONE:
            return (self,)
        return self, replace(self, model=self.second_model)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Its terms, each the end of a path."""
        return tuple(f.name for f in fields(cls))


def names_a_file(model: str) -> bool:
    """Whether a risk model is named by the path of its file.

    >>> [names_a_file(m) for m in ("own/weights.json", "cms-hcc-v28", "supplied:ACG 11/2")]
    [True, False, False]
    """
    if model.startswith(("supplied:", "sha256:")):
        return False
    return "/" in model or "\\" in model or model.endswith(".json")


def incurred_by(rule_sets: Iterable[CostTerms]) -> str:
    """The day that decides a line's year, under all cost terms of a run.

    Raises
    ------
    ContractError
        If they differ: a line has one year.
    """
    found = {terms.incurred_by for terms in rule_sets}
    if len(found) > 1:
        raise ContractError(
            f"cost.incurred_by: the contracts of one run must agree, got "
            f"{', '.join(sorted(found))}; run them apart"
        )
    return found.pop()
