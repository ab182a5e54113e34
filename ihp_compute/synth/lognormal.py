"""Lognormal costs: their spread, what a cap leaves of their mean, and which mean leaves that."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]

_STEPS: Final = 40
_CLOSE: Final = 1e-13


def spread_of(relative: Floats) -> Floats:
    """Log standard deviation of a member-year's cost, by its cost relative to the average."""
    variation = np.clip(1.3 / np.maximum(relative, 1e-3) ** 0.6, 0.15, 2.0)
    return np.sqrt(np.log1p(variation))


def capped_mean(mean: Floats, sigma: Floats, cap: float) -> Floats:
    """Expectation of min(X, cap) for X lognormal with this mean and log standard deviation.

    >>> float(capped_mean(np.array([100.0]), np.array([0.5]), 1e12)[0].round(9))
    100.0
    """
    with np.errstate(divide="ignore"):
        above = (np.log(cap / np.maximum(mean, 1e-9)) + sigma**2 / 2) / sigma
    return mean * ndtr(above - sigma) + cap * ndtr(-above)


def mean_under_cap(capped: Floats, sigma: Floats, cap: float) -> Floats:
    """The mean of X lognormal of which min(X, cap) has this expectation; 0 where that is 0.

    Newton's method on logarithms: there the capped mean is increasing and concave, so that steps
    from below never overshoot.

    capped : float64[n], below the cap

    >>> mean = mean_under_cap(np.array([50.0, 0.0]), np.array([1.0, 1.0]), 100.0)
    >>> capped_mean(mean, np.array([1.0, 1.0]), 100.0).round(9).tolist()
    [50.0, 0.0]
    """
    wanted = np.maximum(capped, 1e-9)
    mean = wanted.copy()
    for _ in range(_STEPS):
        found = capped_mean(mean, sigma, cap)
        short = np.log(wanted / found)
        if np.abs(short).max(initial=0.0) < _CLOSE:
            break
        below = mean * ndtr((np.log(cap / mean) - sigma**2 / 2) / sigma)
        mean *= np.exp(short * found / below)
    return np.where(capped > 0, mean, 0.0)
