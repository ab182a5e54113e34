"""The population-based payment as terms: what is paid a member month, and what moves it.

    rate x max(0, 1 + medical weight x (score / state mean - 1) + weights of social factors)

No rate, no payment; then the other terms say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from ihp_compute.codes import SOCIAL_FACTORS, VISIT_CODES
from ihp_compute.contracts.kinds import Kind, choice, ratio
from ihp_compute.units import half_even

RATE: Final = "pbp.rate"
WEIGHT: Final = "pbp.social_weight."
COST: Final = "pbp.counts_as_cost"
QUALITY: Final = "pbp.quality"
MISSING_FACTORS: Final = ("no_factor", "error")
"""What may be done with a member for whom no row of `member_factors` is in force."""


def _weight(meaning: str) -> Kind:
    return Kind(meaning, "ratio of the rate", low=Decimal(-10), high=Decimal(10), optional=True)


KINDS: Final[Mapping[str, Kind]] = {
    RATE: Kind(
        "population-based payment for a member of mean medical risk without a social factor; "
        "none: there is no such payment, or its amount is not known",
        "USD per member per month",
        low=Decimal(0),
        high=Decimal(100_000),
        optional=True,
    ),
    "pbp.medical_weight": _weight(
        "what is added to 1 for each 1 by which a score over the state's mean exceeds 1"
    ),
    **{
        f"{WEIGHT}{name}": _weight(f"what is added to 1 where {name.replace('_', ' ')} holds")
        for name in SOCIAL_FACTORS
    },
    "pbp.missing_factors": choice(
        "a member for whom no row of member_factors is in force on 1 January: none of the factors "
        "holds, counted; or it is refused",
        *MISSING_FACTORS,
    ),
    "pbp.fee_codes": Kind(
        "procedures whose fees are taken off the payment, month by month",
        "codes",
        "codes",
        choices=VISIT_CODES,
    ),
    COST: Kind("whether the payment is cost of care", "flag", "flag"),
    QUALITY: ratio(
        "part of a year's payment that a quality score of 0 loses, and any other in proportion; "
        "none: it rests on no score",
        "ratio of the payment",
    ),
}
"""What each term may be."""
OF_A_RATE: Final = tuple(path for path in KINDS if path != RATE)


@dataclass(frozen=True)
class PopulationBasedTerms:
    """A contract's population-based payment.

    Attributes
    ----------
    rate_usd : Decimal or None
        None: nothing is paid.
    medical_weight : Decimal
    social_weights : tuple of Decimal
        One for each of `SOCIAL_FACTORS`; 0 where the contract has none.
    missing_factors : str
        Of `MISSING_FACTORS`.
    fee_codes : tuple of str
        Procedure codes and ranges of them.
    at_stake : Decimal
        Part of a year's payment that rests on the quality score; 0 where none does.
    """

    rate_usd: Decimal | None
    medical_weight: Decimal
    social_weights: tuple[Decimal, ...]
    missing_factors: str
    fee_codes: tuple[str, ...]
    at_stake: Decimal = Decimal(0)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> PopulationBasedTerms:
        """The terms, from values by path; None stands for `none`."""
        return cls(
            values[RATE],
            values["pbp.medical_weight"] or Decimal(0),
            tuple(values[f"{WEIGHT}{name}"] or Decimal(0) for name in SOCIAL_FACTORS),
            values["pbp.missing_factors"],
            values["pbp.fee_codes"],
            values[QUALITY] or Decimal(0),
        )

    @property
    def social(self) -> bool:
        """Whether a social factor moves the payment."""
        return any(self.social_weights)

    def moved_by_quality(self, payment_cents: int, score: Decimal | None) -> int:
        """What a score moves of a year's payment, in cents, half to even; None: it stays whole.

        >>> half = PopulationBasedTerms(None, Decimal(0), (), "", (), Decimal("0.5"))
        >>> half.moved_by_quality(100_000, Decimal("0.8")), half.moved_by_quality(100_000, None)
        (-10000, 0)
        """
        if score is None:
            return 0
        lost = payment_cents * Fraction(self.at_stake) * (1 - Fraction(score))
        return -half_even(lost.numerator, lost.denominator)
