"""What is expected of people: the base year's state rate of their stratum of rate cell and score.

    main rate cell x score over the state's mean -> strata -> thin ones joined -> a rate each

A stratum whose base year has less than the least denominator stands with the thin ones of its rate
cell; where those are thin together, with the thin ones of all rate cells. Not here: what a rate is
held against (`outcome_rates`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray


def score_bands(
    score_micro: NDArray[np.int64],
    months: NDArray[np.int64],
    is_in: NDArray[np.bool_],
    edges: Sequence[Decimal],
) -> NDArray[np.int64]:
    """How many edges each score reaches, over the month-weighted mean of those who are in.

    Parameters
    ----------
    score_micro, months : int64[n]
    is_in : bool[n]
        The state's eligible people.
    edges : sequence of Decimal
        Rising multiples of the mean.

    >>> one = np.ones(3, np.int64)
    >>> score_bands(np.array([1, 2, 6]), one, one > 0, [Decimal("0.5"), Decimal(1)]).tolist()
    [0, 1, 2]
    """
    total = int((score_micro[is_in] * months[is_in]).sum())
    weight = int(months[is_in].sum()) or 1
    least = [math.ceil(Fraction(edge) * total / weight) for edge in edges]
    return np.searchsorted(np.array(least, np.int64), score_micro, side="right").astype(np.int64)


def pooled(denominator: NDArray[np.int64], n_bands: int, least: int) -> NDArray[np.int64]:
    """With which strata each stands: int64[n_cells * n_bands], equal numbers together.

    Parameters
    ----------
    denominator : int64[n_cells * n_bands]
        Of the base year's state, by rate cell and band.
    n_bands : int
        Of a rate cell.
    least : int
        A stratum with as much stands alone.

    >>> pooled(np.array([9, 1, 1, 5, 4, 2]), 3, 5).tolist()
    [0, 8, 8, 3, 7, 7]
    """
    n = denominator.size
    pool = np.arange(n)
    cell, thin = pool // n_bands, denominator < least
    of_cell = np.zeros(n // n_bands, np.int64)
    np.add.at(of_cell, cell[thin], denominator[thin])
    pool[thin] = n + cell[thin]
    pool[thin & (of_cell[cell] < least)] = n + of_cell.size
    return pool


def stratum_rates(
    numerator: NDArray[np.int64], denominator: NDArray[np.int64], pool: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Rate of each stratum: that of those it stands with; of all where those have nothing.

    Parameters
    ----------
    numerator, denominator, pool : int64[n_strata]
        Of the base year's state; `pool` from `pooled`.
    """
    rates = np.zeros(pool.size)
    whole = int(numerator.sum()), int(denominator.sum())
    for one in np.unique(pool):
        members = pool == one
        n, d = int(numerator[members].sum()), int(denominator[members].sum())
        n, d = (n, d) if d else whole
        rates[members] = n / d if d else 0.0
    return rates
