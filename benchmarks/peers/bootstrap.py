"""Bootstrap totals of paired columns, as the usual packages and the best plain NumPy make them.

Each returns float64[n_replicates, n_columns]: totals of resampled members. Some draw n members out
of n with replacement, so totals have the same mean as Poisson weights give, and ratios of totals
the same spread; `by_words` and `by_numba` draw Poisson weights, as ours does, which is faster.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numba
import numpy as np
from arch.bootstrap import IIDBootstrap
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
SCIPY_BATCH = 1
"""Resamples at a time: the fastest of 1, 4, 16 and 64 (597, 629, 950, 846 ms, AMD EPYC)."""
TILE, WORDS_BATCH = 2_048, 64
"""Members and replicates at a time by words: weights and rows stay in the second-level cache."""
THRESHOLDS: Final = tuple(
    round(65_536 * (1 - sum(math.exp(-1) / math.factorial(k) for k in range(w))))
    for w in range(1, 8)
)
"""A 16-bit word is a Poisson weight of mean 1: as many as there are thresholds above it."""


def by_scipy(columns: Floats, n_replicates: int, seed: int) -> Floats:
    """`scipy.stats.bootstrap`, paired and vectorised, all totals from one resampling."""

    def totals(*resampled: Floats, axis: int = -1) -> Floats:
        return np.stack([column.sum(axis=axis) for column in resampled])

    found = stats.bootstrap(
        tuple(columns),
        totals,
        n_resamples=n_replicates,
        batch=SCIPY_BATCH,
        paired=True,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return np.ascontiguousarray(found.bootstrap_distribution.T)


def by_arch(columns: Floats, n_replicates: int, seed: int) -> Floats:
    """`arch.bootstrap.IIDBootstrap.apply` over rows of members."""
    rows = np.ascontiguousarray(columns.T)
    bootstrap = IIDBootstrap(rows, seed=np.random.default_rng(seed))
    found: Any = bootstrap.apply(lambda resampled: resampled.sum(axis=0), reps=n_replicates)
    return np.asarray(found)


def by_numpy(columns: Floats, n_replicates: int, seed: int) -> Floats:
    """How often each member was drawn, times the members' rows: one matrix product a replicate."""
    rng = np.random.default_rng(seed)
    rows = np.ascontiguousarray(columns.T)
    n = rows.shape[0]
    found = np.empty((n_replicates, rows.shape[1]))
    for r in range(n_replicates):
        drawn = np.bincount(rng.integers(0, n, n), minlength=n)
        found[r] = drawn @ rows
    return found


def poisson(words: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Poisson weights of mean 1 from 16-bit words, by comparisons alone."""
    weights = np.zeros(words.shape, np.uint8)
    for threshold in THRESHOLDS:
        weights += words < threshold
    return weights


def by_words(columns: Floats, n_replicates: int, seed: int) -> Floats:
    """Poisson weights of a tile of members and replicates, times the members: BLAS."""
    source = np.random.SFC64(seed)
    n = columns.shape[1]
    found = np.zeros((n_replicates, columns.shape[0]))
    for start in range(0, n, TILE):
        rows = np.ascontiguousarray(columns[:, start : start + TILE].T)
        for first in range(0, n_replicates, WORDS_BATCH):
            into = found[first : first + WORDS_BATCH]
            shape = len(into), len(rows)
            words = source.random_raw(-(-shape[0] * shape[1] // 4)).view(np.uint16)
            into += poisson(words[: shape[0] * shape[1]].reshape(shape)).astype(np.float64) @ rows
    return found


def by_numba(columns: Floats, n_replicates: int, seed: int) -> Floats:
    """Loops of an afternoon over a tile of members: words, weights, sums of four columns."""
    assert columns.shape[0] == 4, "the loop names its four columns, so that they stay in registers"
    found = np.zeros((-(-n_replicates // 4) * 4, 4))
    _loops(columns, np.uint64(seed), found)
    return found[:n_replicates]


@numba.njit(fastmath=True)
def _loops(columns: Any, seed: Any, found: Any) -> None:
    words = np.empty(TILE, np.uint64)
    lanes = words.view(np.uint16)
    weights = np.empty(4 * TILE, np.uint8)
    for start in range(0, columns.shape[1], TILE):
        tile = np.zeros((4, TILE))
        stop = min(columns.shape[1], start + TILE)
        tile[:, : stop - start] = columns[:, start:stop]
        for quad in range(found.shape[0] // 4):
            first = seed + np.uint64(quad * columns.shape[1] + start)
            for i in range(TILE):  # SplitMix64
                word = (first + np.uint64(i)) * np.uint64(0x9E3779B97F4A7C15)
                word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
                word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
                words[i] = word ^ (word >> np.uint64(31))
            for i in range(4 * TILE):
                weight = np.uint8(0)
                for threshold in THRESHOLDS:
                    weight += np.uint8(lanes[i] < np.uint16(threshold))
                weights[i] = weight
            for k in range(4):
                s0 = s1 = s2 = s3 = 0.0
                for i in range(TILE):
                    times = np.float64(weights[k * TILE + i])
                    s0 += times * tile[0, i]
                    s1 += times * tile[1, i]
                    s2 += times * tile[2, i]
                    s3 += times * tile[3, i]
                row = found[4 * quad + k]
                row[0], row[1], row[2], row[3] = row[0] + s0, row[1] + s1, row[2] + s2, row[3] + s3


def same_law_of_weights(weighted: NDArray[np.int64], drawn: Floats, columns: Floats) -> None:
    """As `same_law`, of a peer that draws weights too: its ratios to column 0 are compared."""
    same_law(weighted, drawn / drawn[:, :1] * columns.shape[1], columns)


def same_law(weighted: NDArray[np.int64], drawn: Floats, columns: Floats) -> None:
    """Check that both bootstraps estimate one distribution.

    Column 0 is all ones. Totals of Poisson weights have the mean of the drawn totals; ratios to
    column 0 have the same spread. Bounds are five standard errors of what is compared.
    """
    n, n_replicates = columns.shape[1], drawn.shape[0]
    assert (columns[0] == 1).all()
    weighted = weighted[1:].astype(np.float64)  # replicate 0 is the data as observed
    sizes = {"weighted": weighted.shape[0], "drawn": n_replicates}
    means = {"weighted": weighted[:, 1:] / weighted[:, :1], "drawn": drawn[:, 1:] / n}
    for c in range(columns.shape[0] - 1):
        spread = columns[c + 1].std() / np.sqrt(n)
        for name, ratio in means.items():
            centre = abs(ratio[:, c].mean() - columns[c + 1].mean())
            assert centre < 5 * spread / np.sqrt(sizes[name]), (name, c)
            off = abs(ratio[:, c].std() / spread - 1)
            assert off < 5 / np.sqrt(2 * sizes[name]) + 5 / np.sqrt(n), (name, c, off)
