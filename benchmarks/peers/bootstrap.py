"""Bootstrap totals of paired columns, as the usual packages and the best plain NumPy make them.

Each returns float64[n_replicates, n_columns]: totals of resampled members. All draw n members out
of n with replacement, so totals have the same mean as Poisson weights give, and ratios of totals
the same spread.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from arch.bootstrap import IIDBootstrap
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
SCIPY_BATCH = 16
"""Resamples at a time: a batch of indices and of each column stays in the second-level cache."""


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
