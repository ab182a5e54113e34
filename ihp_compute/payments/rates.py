"""What a person's month is worth: the rate, moved by medical and social risk, in whole cents.

    round(100 x rate x max(0, 1 + medical weight x (score / state mean - 1) + social weights))

Exact: the mean is a ratio of integers, the weights are decimals as written, and only the whole is
rounded, half to even.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from math import lcm

import numpy as np
from numpy.typing import NDArray

from ihp_compute.contracts import PopulationBasedTerms
from ihp_compute.units import CENTS_PER_USD, half_even


def rates_cents(
    terms: PopulationBasedTerms,
    score_micro: NDArray[np.int64],
    factors: NDArray[np.uint8],
    *,
    mean_micro: Fraction,
) -> NDArray[np.int64]:
    """Cents for a month of each person.

    Parameters
    ----------
    terms : PopulationBasedTerms
        With a rate.
    score_micro : int64[n], millionths
    factors : uint8[n]
        Bit i: `SOCIAL_FACTORS[i]` holds.
    mean_micro : Fraction
        The state's month-weighted mean score, in millionths, above 0.

    Returns
    -------
    int64[n]

    >>> terms = PopulationBasedTerms(Decimal("4.5"), Decimal("0.5"), (Decimal("0.2"),), "", ())
    >>> scores, factors = np.array([1_000_000, 3_000_000]), np.array([0, 1], np.uint8)
    >>> rates_cents(terms, scores, factors, mean_micro=Fraction(2_000_000)).tolist()
    [338, 652]
    """
    found = np.zeros(len(score_micro), np.int64)
    rate = Fraction(terms.rate_usd or 0) * CENTS_PER_USD
    slope = rate * Fraction(terms.medical_weight) / mean_micro
    for bits in np.unique(factors).tolist():
        level = rate * (1 - Fraction(terms.medical_weight) + _held(terms.social_weights, bits))
        parts = lcm(level.denominator, slope.denominator)
        at, up = int(level * parts), int(slope * parts)
        rows = np.flatnonzero(factors == bits)
        scores, place = np.unique(score_micro[rows], return_inverse=True)
        cents = [half_even(max(0, at + up * score), parts) for score in scores.tolist()]
        found[rows] = np.array(cents, np.int64)[place]
    return found


def _held(weights: Sequence[Decimal], bits: int) -> Fraction:
    """Sum of the weights of the factors that hold."""
    return sum((Fraction(w) for i, w in enumerate(weights) if bits >> i & 1), Fraction(0))
