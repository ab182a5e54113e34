"""How sure a number is: replicate totals over members, and intervals over replicates.

    member-years -> rows (member, group, rate cell) -> replicate totals -> [settlement] -> intervals

Members are drawn, not claims: a member has one weight in base and performance year and in whatever
group it stands (design of the weights: `kernels.philox`). Totals are integers, so they may be added
over shards in any order. A quantile is a selection: the k-th smallest of replicates 1 to B with
k = max(1, ceil(p B)), and its Monte Carlo error is read off its neighbours. Means and variances
come from exact integer sums.

Not here: what a replicate's totals settle to (`settlement`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import kernels
from ihp_compute.units import MICRO

LEVELS: Final = (Fraction(80, 100), Fraction(90, 100), Fraction(95, 100))
_LEVELS: Final = tuple(map(float, LEVELS))
_TAILS_MICRO: Final = [
    int(MICRO * p) for level in LEVELS for p in ((1 - level) / 2, (1 + level) / 2)
]
_WORD_BITS: Final = 64
RATE_NANO: Final = 10**9
"""Savings rates are averaged as integers of this many parts."""


@dataclass(frozen=True)
class Interval:
    """An interval for one measure at one level; amounts in the measure's unit.

    Attributes
    ----------
    std_error : float
        Of the measure: what drawing other members would change.
    low_monte_carlo_error, high_monte_carlo_error : float
        Standard error of the end: what other replicates of the same members would change.
    """

    method: str
    level: float
    point: float
    low: float
    high: float
    std_error: float
    low_monte_carlo_error: float
    high_monte_carlo_error: float


def _exact_std_error(values: NDArray[np.int64]) -> float:
    """Standard deviation over replicates (n - 1), from exact integer sums."""
    n = values.size
    if n < 2:
        return 0.0
    total, squares = _sums(values - values[0])
    return math.sqrt(Fraction(n * squares - total * total, n * (n - 1)))


def _sums(values: NDArray[np.int64]) -> tuple[int, int]:
    """Sum and sum of squares, exact: each value in two halves, whose products fit int64."""
    size = max(int(values.max()), -int(values.min()))
    half = (size.bit_length() + 1) // 2
    if 2 * half + values.size.bit_length() >= _WORD_BITS:
        wide = values.astype(object)
        return int(wide.sum()), int((wide * wide).sum())
    high, low = values >> half, values & ((1 << half) - 1)
    squares = (int(high @ high) << 2 * half) + (int(high @ low) << half + 1) + int(low @ low)
    return int(values.sum()), squares


def intervals(values: NDArray[Any]) -> list[Interval]:
    """Percentile and basic intervals of a measure at every level.

    Parameters
    ----------
    values : int64[1 + B] (cents) or float64[1 + B] (rates)
        Value per replicate; index 0 is the observed value.

    Returns
    -------
    list of Interval
        Empty when B is 0. The basic interval reflects the percentile one about the point.
    """
    point, draws = values[0], values[1:]
    if draws.size == 0:
        return []
    if values.dtype.kind == "f":
        std_error = _exact_std_error(np.rint(draws * RATE_NANO).astype(np.int64)) / RATE_NANO
        bits = _selected(_in_order(draws.view(np.int64)))
        selected: NDArray[Any] = _in_order(bits).view(np.float64)
    else:
        std_error = _exact_std_error(draws)
        selected = _selected(draws)
    ends = selected[: len(_TAILS_MICRO)].tolist()
    errors = _monte_carlo_errors(selected[len(_TAILS_MICRO) :].reshape(2, -1), draws.size).tolist()
    found = []
    for i, level in enumerate(_LEVELS):
        (low, high), (low_error, high_error) = ends[2 * i : 2 * i + 2], errors[2 * i : 2 * i + 2]
        own = (low, high, std_error, low_error, high_error)
        reflected = (*_reflect(point, low, high), std_error, high_error, low_error)
        found.append(Interval("percentile", level, float(point), *own))
        found.append(Interval("basic", level, float(point), *reflected))
    return found


def _selected(draws: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every tail, then what stands about a standard error of its rank below it and above it."""
    below, above = _ranks_about(draws.size)
    # for fewer than a million replicates the quantile of r ÷ B, rounded down, is the r-th
    about = [rank * MICRO // draws.size for rank in (*below, *above)]
    return kernels.quantiles(draws[None], [*_TAILS_MICRO, *about])[0]


@cache
def _ranks_about(n: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ranks of 1 to n around each tail, a standard error of the rank away, rounded outwards."""
    below, above = [], []
    for p in _TAILS_MICRO:
        rank = max(1, -(-p * n // MICRO))
        away = max(1, math.ceil(_rank_error(p, n)))
        below.append(max(1, rank - away))
        above.append(min(n, rank + away))
    return tuple(below), tuple(above)


def _rank_error(p_micro: int, n: int) -> float:
    """Standard deviation of how many of n replicates fall below a quantile: binomial."""
    p = p_micro / MICRO
    return math.sqrt(n * p * (1 - p))


def _monte_carlo_errors(about: NDArray[Any], n: int) -> NDArray[np.float64]:
    """Standard error of each tail from the replicates around it.

        error = √(n p (1 - p)) × (x[above] - x[below]) ÷ (above - below)

    The slope of the quantile in its rank, times the rank's standard error (Siddiqui, Journal of
    Research of the NBS 64B, 1960; Bloch and Gastwirth, Annals of Mathematical Statistics 39, 1968).

    Parameters
    ----------
    about : [2, n_tails]
        Values of the ranks below and above each tail.
    n : int
        Replicates; 0 of one alone.
    """
    below, above = (np.array(ranks, np.float64) for ranks in _ranks_about(n))
    errors = np.array([_rank_error(p, n) for p in _TAILS_MICRO])
    apart = about[1].astype(np.float64) - about[0].astype(np.float64)
    return errors * apart / np.maximum(above - below, 1)


def _in_order(bits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bits of floats as integers in the floats' order; its own inverse."""
    return bits ^ ((bits >> (_WORD_BITS - 1)) & np.iinfo(np.int64).max)


def _reflect(point: float, low: float, high: float) -> tuple[float, float]:
    return 2 * point - high, 2 * point - low
