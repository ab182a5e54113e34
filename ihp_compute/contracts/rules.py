"""Typed rules of attribution, cost and risk, as an agreement states them.

Arrays-free: what a rule does to members and lines stands in `measure` and `risk`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ihp_compute.codes import SERVICE_CATEGORIES, SPAN_DUAL, SPAN_PARTIAL_BENEFIT, SPAN_SPEND_DOWN
from ihp_compute.errors import ContractError
from ihp_compute.units import MICRO


@dataclass(frozen=True)
class RiskTerms:
    """How sickness enters the target."""

    model: str
    normalise: str | None
    missing: str


EXCLUDABLE: Final = {
    "dual": SPAN_DUAL,
    "spend_down": SPAN_SPEND_DOWN,
    "partial_benefit": SPAN_PARTIAL_BENEFIT,
}

STEPS: Final = ("health_care_home", "primary_care", "specialist")

TIE_BREAKS: Final = (("latest_visit", "lowest_id"), ("lowest_id",))


@dataclass(frozen=True)
class AttributionTerms:
    """The contract's attribution rule.

    Attributes
    ----------
    min_months_continuous, min_months_any : int
        Eligible with this many countable months in a row, or this many in all.
    exclude : tuple of str
        Flags whose months do not count: among `EXCLUDABLE`.
    steps : tuple of str
        Ordered subset of `STEPS`.
    keep_pre_visit : bool
        Whether months before the first encounter with the attributed group stay countable.
    tie_break : tuple of str
        One of `TIE_BREAKS`.

    Raises
    ------
    ContractError
        If a name is unknown or given twice, or a minimum lies outside 1 to 12.
    """

    min_months_continuous: int
    min_months_any: int
    exclude: tuple[str, ...]
    steps: tuple[str, ...]
    keep_pre_visit: bool = True
    tie_break: tuple[str, ...] = ("latest_visit", "lowest_id")

    def __post_init__(self) -> None:
        """Refuse what the rule cannot mean."""
        for name in ("min_months_continuous", "min_months_any"):
            if not 1 <= getattr(self, name) <= 12:
                raise ContractError(
                    f"attribution.{name}: expected 1 to 12, got {getattr(self, name)}"
                )
        for term, values, known in (
            ("exclude", self.exclude, tuple(EXCLUDABLE)),
            ("steps", self.steps, STEPS),
        ):
            if len(set(values)) != len(values) or not set(values) <= set(known):
                raise ContractError(
                    f"attribution.{term}: expected a subset of {', '.join(known)}, "
                    f"got {', '.join(values)}"
                )
        if not self.steps:
            raise ContractError("attribution.steps: expected at least one step, got none")
        if self.tie_break not in TIE_BREAKS:
            raise ContractError(
                f"attribution.tie_break: expected latest_visit then lowest_id, or lowest_id, "
                f"got {', '.join(self.tie_break)}"
            )


AMOUNTS: Final = ("paid", "allowed", "paid_less_third_party")

INCURRED_BY: Final = {
    "claim_end": "claim_end_day",
    "claim_start": "claim_start_day",
    "line": "service_day",
}

ZERO_PAID_ENCOUNTER: Final = ("as_paid", "allowed")


@dataclass(frozen=True)
class CostTerms:
    """The contract's definition of cost.

    Attributes
    ----------
    amount : str
        One of `AMOUNTS`.
    incurred_by : str
        One of `INCURRED_BY`: the day that decides a line's year.
    zero_paid_encounter : str
        One of `ZERO_PAID_ENCOUNTER`.
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

    Raises
    ------
    ContractError
        If a name is unknown or a number out of range.
    """

    amount: str
    incurred_by: str
    zero_paid_encounter: str
    floor_at_zero: bool
    claim_cap_cents: int | None
    keep_above_cap_micro: int
    prorate_cap: bool
    services: frozenset[str]

    def __post_init__(self) -> None:
        """Refuse what no cost can mean."""
        for term, value, known in (
            ("amount", self.amount, AMOUNTS),
            ("incurred_by", self.incurred_by, tuple(INCURRED_BY)),
            ("zero_paid_encounter", self.zero_paid_encounter, ZERO_PAID_ENCOUNTER),
        ):
            if value not in known:
                raise ContractError(f"cost.{term}: expected {', '.join(known)}, got {value}")
        unknown = sorted(self.services - set(SERVICE_CATEGORIES))
        if unknown:
            raise ContractError(
                f"cost.services: unknown category {', '.join(unknown)}; "
                f"known are {', '.join(SERVICE_CATEGORIES)}"
            )
        if self.claim_cap_cents is not None and not 0 <= self.claim_cap_cents < 2**50:
            raise ContractError(
                f"cost.claim_cap: expected 0 to 2^50 cents or none, got {self.claim_cap_cents}"
            )
        if not 0 <= self.keep_above_cap_micro <= MICRO:
            raise ContractError(
                f"cost.keep_above_cap: expected 0 to 1, got {self.keep_above_cap_micro} millionths"
            )

    @property
    def service_bits(self) -> int:
        """Bit c is set when category c of `SERVICE_CATEGORIES` is included."""
        return sum(1 << c for c, name in enumerate(SERVICE_CATEGORIES) if name in self.services)
