"""Work of a sweep cut into jobs: scenarios of one program, a few partnerships at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import kernels
from ihp_compute.contracts import Agreement
from ihp_compute.settlement import QUALITY_SCORE, Compiled, Sources
from ihp_compute.sweeps.baseline import (
    Baseline,
    Run,
    SourcesOf,
    by_size,
    compiled_settlement,
)
from ihp_compute.sweeps.grid import Grid
from ihp_compute.sweeps.scenarios import Build, ScenarioClass, classes

QUANTILES_MICRO: Final = {"p05": 50_000, "p50": 500_000, "p95": 950_000}

JOB_ROWS: Final = 50_000
"""Scenarios of one task."""

_SETTLEMENT: Final = "settlement."


@dataclass(frozen=True)
class Job:
    """One partnership under scenarios that share a program; picklable, a second at most."""

    partnership: int
    scenarios: NDArray[np.int64]
    sources: NDArray[np.float64]
    constants: NDArray[np.float64]
    table: NDArray[np.int32]
    output: int


def summarise(job: Job) -> tuple[tuple[NDArray[np.int64], int], NDArray[np.int64]]:
    """One task: where its rows belong, and int64[n, 7] as `kernels.settle_summary` gives them."""
    values = kernels.settle_summary(
        job.sources, job.constants, job.table, job.output, list(QUANTILES_MICRO.values())
    )
    return (job.scenarios, job.partnership), values


def jobs_of(run: Run, grid: Grid, baseline: Mapping[str, Baseline]) -> list[Job]:
    """Tasks of every partnership; those of one contract share programs and constants."""
    whole = not all(axis.path.startswith(_SETTLEMENT) for axis in grid.axes)
    known: dict[tuple[Any, ...], list[ScenarioClass]] = {}
    given = SourcesOf(run)
    jobs = []
    agreements = run.terms.contracts.at(run.performance_year)
    for p, (partnership, contract) in enumerate(run.terms.contracts.contracts.items()):
        score, n_members = run.terms.quality.get(partnership), run.n_members(partnership)
        size = n_members if by_size(agreements[partnership], grid.axes) else None
        key = contract.sha256, score is None, size
        if key not in known:
            known[key] = classes(
                contract, run.performance_year, grid, _builder(run, n_members, score, whole=whole)
            )
        for found in known[key]:
            own: Sources = {
                "target": baseline[partnership].target,
                "observed": baseline[partnership].observed,
            }
            if whole:
                own = given.of(partnership, found.agreement)
            jobs += _class_jobs(p, found, own, score)
    return jobs


def _builder(run: Run, n_members: int, score: Decimal | None, *, whole: bool) -> Build:
    def build(agreement: Agreement) -> Compiled:
        compiled = compiled_settlement(
            run, agreement, n_members=n_members, quality=score, whole=whole
        )
        return replace(
            compiled,
            outputs=compiled.outputs[-1:],
            registers=compiled.registers[-1:],
            rounded=compiled.rounded[-1:],
        )

    return build


def _class_jobs(
    partnership: int, found: ScenarioClass, own: Sources, score: Decimal | None
) -> list[Job]:
    compiled = found.compiled
    constants = found.constants
    if QUALITY_SCORE in compiled.terms and score is not None:
        constants = constants.copy()
        constants[:, compiled.terms.index(QUALITY_SCORE)] = float(score)
    n = len(next(iter(own.values())))
    stacked = np.array([own[name] for name in compiled.sources], dtype=np.float64).reshape(-1, n)
    return [
        Job(
            partnership,
            found.scenarios[start : start + JOB_ROWS],
            stacked,
            constants[start : start + JOB_ROWS],
            compiled.table,
            int(compiled.registers[-1]),
        )
        for start in range(0, len(constants), JOB_ROWS)
    ]
