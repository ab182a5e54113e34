"""How sure a number is: replicate totals over members, and intervals over replicates.

    member-years -> rows (member, group, rate cell) -> replicate totals -> [settlement] -> intervals

Members are drawn, not claims: a member has one weight in base and performance year and in whatever
group it stands (design of the weights: `kernels.philox`). Totals are integers, so they may be added
over shards in any order. A quantile is a selection: the k-th smallest of replicates 1 to B with
k = max(1, ceil(p B)). Means and variances come from exact integer sums.

Not here: what a replicate's totals settle to (`settlement`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
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
    """An interval for one measure at one level; `std_error` in the measure's unit."""

    method: str
    level: float
    point: float
    low: float
    high: float
    std_error: float


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
        ends = _in_order(kernels.quantiles(_in_order(draws.view(np.int64))[None], _TAILS_MICRO)[0])
        ends = ends.view(np.float64)
    else:
        std_error = _exact_std_error(draws)
        ends = kernels.quantiles(draws[None], _TAILS_MICRO)[0]
    found = []
    for level, low, high in zip(_LEVELS, ends[::2], ends[1::2], strict=True):
        for method, pair in (("percentile", (low, high)), ("basic", _reflect(point, low, high))):
            found.append(
                Interval(method, level, float(point), float(pair[0]), float(pair[1]), std_error)
            )
    return found


def _in_order(bits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bits of floats as integers in the floats' order; its own inverse."""
    return bits ^ ((bits >> (_WORD_BITS - 1)) & np.iinfo(np.int64).max)


def _reflect(point: float, low: float, high: float) -> tuple[float, float]:
    return 2 * point - high, 2 * point - low
