"""What an alliance's contract pays, split among its members to the cent.

    payment + weights in the order of members -> rounded running parts -> differences

A part is the difference of two roundings (half to even) of payment × running weight ÷ sum of the
weights, so that the parts add up to the payment whatever the weights are. Where all weights are 0
member months weigh; where they too are 0, members weigh alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate, pairwise

from ihp_compute.contracts import BY_QUALITY, BY_RESULTS, WEIGHTS, Alliance
from ihp_compute.units import half_even


@dataclass(frozen=True)
class PoolShare:
    """A member's part of an alliance's payment.

    Attributes
    ----------
    alliance_id, partnership_id : str
    position : int
        Place among the members.
    weight : Fraction
        As given; member months; months times score; or cents.
    amount_cents : int
        Positive: to the member; negative: owed by it.
    """

    alliance_id: str
    partnership_id: str
    position: int
    weight: Fraction
    amount_cents: int


def pool(
    alliance: Alliance,
    payment_cents: int,
    *,
    member_months: Mapping[str, int],
    quality: Mapping[str, Decimal],
    difference_cents: Mapping[str, int],
) -> list[PoolShare]:
    """An alliance's payment by member.

    Parameters
    ----------
    alliance : Alliance
    payment_cents : int
        Of the alliance; positive: to it.
    member_months : mapping of member to int
        Of the performance year.
    quality : mapping of member to Decimal
        Scores; of each member where the split is by quality.
    difference_cents : mapping of member to int
        What lies below the comparison's trend; of each member where the split is by own results.

    Returns
    -------
    list of PoolShare
        In the order of the members; amounts add up to the payment.

    Raises
    ------
    KeyError
        If what the split weighs by is missing of a member.
    """
    months = [Fraction(member_months[name]) for name in alliance.members]
    weights = months
    if alliance.split == WEIGHTS:
        weights = [Fraction(weight) for weight in alliance.weights]
    elif alliance.split == BY_QUALITY:
        scores = [Fraction(quality[name]) for name in alliance.members]
        weights = [own * score for own, score in zip(months, scores, strict=True)]
    elif alliance.split == BY_RESULTS:
        sign = -1 if payment_cents < 0 else 1
        weights = [Fraction(max(0, sign * difference_cents[n])) for n in alliance.members]
    if not any(weights):
        weights = months if any(months) else [Fraction(1)] * len(months)
    amounts = by_weights(payment_cents, weights)
    shares = zip(alliance.members, weights, amounts, strict=True)
    return [
        PoolShare(alliance.alliance_id, name, position, weight, cents)
        for position, (name, weight, cents) in enumerate(shares)
    ]


def by_weights(cents: int, weights: Sequence[Fraction]) -> list[int]:
    """Cents by weights that are none negative and not all 0, in their order; they add up.

    >>> by_weights(100, [Fraction(1)] * 3), by_weights(-100, [Fraction(1)] * 3)
    ([33, 34, 33], [-33, -34, -33])
    """
    total = sum(weights, Fraction(0))
    parts = [Fraction(cents) * running / total for running in accumulate(weights)]
    rounded = [0, *(half_even(part.numerator, part.denominator) for part in parts)]
    return [after - before for before, after in pairwise(rounded)]
