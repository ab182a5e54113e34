"""What the state pays in each scenario: payments of all partnerships added up draw by draw.

A quantile of a sum is no sum of quantiles, so the payments themselves are needed: a block of
scenarios at a time, of every partnership, in the arithmetic of its own rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

import kernels
from ihp_compute.errors import GridError
from ihp_compute.sweeps.jobs import QUANTILES_MICRO, Job

JOB_ROWS: Final = 2_048
"""Scenarios of one task."""
ROW: Final = 0
"""Of the state among the rows of a scenario."""
BLOCK: Final = 64
"""Scenarios whose payments are held at once: some megabytes that stay in cache."""


@dataclass(frozen=True)
class StateJob:
    """Scenarios from `first` on, and each partnership's part of them; picklable."""

    first: int
    n_scenarios: int
    parts: tuple[Job, ...]

    @property
    def scenarios(self) -> NDArray[np.int64]:
        """Their places in the grid."""
        return np.arange(self.first, self.first + self.n_scenarios)


def state_jobs(jobs: Sequence[Job], n_scenarios: int) -> list[StateJob]:
    """Tasks over all scenarios of a grid, from those of every partnership."""
    found = []
    for first in range(0, n_scenarios, JOB_ROWS):
        last = min(first + JOB_ROWS, n_scenarios)
        parts = tuple(part for job in jobs if (part := job.between(first, last)) is not None)
        found.append(StateJob(first, last - first, parts))
    return found


def summarise_state(job: StateJob) -> tuple[tuple[NDArray[np.int64], int], NDArray[np.int64]]:
    """One task: where its rows belong, and int64[n, 9].

    Those are the columns of `jobs.summarise`, then how many partnerships are paid and how many owe,
    as observed.

    Raises
    ------
    GridError
        If the payments of a scenario are too large to be added up exactly.
    """
    n = job.parts[0].sources.shape[1]
    out = np.zeros((job.n_scenarios, 6 + len(QUANTILES_MICRO)), np.int64)
    for first in range(0, job.n_scenarios, BLOCK):
        rows = out[first : first + BLOCK]
        start = job.first + first
        payments = np.zeros((len(rows), n))
        size = 0.0
        for whole in job.parts:
            part = whole.between(start, start + len(rows))
            if part is not None:
                own = kernels.settle_grid(
                    part.sources, part.constants, part.table,
                    np.array([part.output], np.int32), whole=False,
                )[:, 0]  # fmt: skip
                size += max(float(own.max()), -float(own.min()))
                places = _rows(part.scenarios - start)
                payments[places] += own
                rows[places, -2] += own[:, 0] > 0
                rows[places, -1] += own[:, 0] < 0
        if not size < min(2.0**53, 2.0**63 / n):  # sums of doubles, then of int64, are exact below
            raise GridError(
                "a scenario pays the partnerships more than can be added up exactly; look at its "
                "dollar terms"
            )
        draws = np.ascontiguousarray(payments[:, 1:]).astype(np.int64)
        rows[:, 0] = payments[:, 0]
        rows[:, 1] = draws.sum(axis=1)
        rows[:, 2] = np.count_nonzero(draws > 0, axis=1)
        rows[:, 3] = np.count_nonzero(draws < 0, axis=1)
        rows[:, 4:-2] = kernels.quantiles(draws, list(QUANTILES_MICRO.values()))
    return (job.scenarios, ROW), out


def _rows(places: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """Rising places, as a slice where they follow one another: it is added to without a copy."""
    first, last = int(places[0]), int(places[-1])
    return slice(first, last + 1) if last - first + 1 == len(places) else places
