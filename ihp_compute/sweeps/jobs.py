"""Work of a sweep cut into jobs: scenarios of one program, a few partnerships at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import kernels
from ihp_compute.contracts import Agreement, QualityScores
from ihp_compute.errors import ContractError, GridError, MissingQualityError
from ihp_compute.settlement import QUALITY_SCORE, Compiled, Sources, stacked
from ihp_compute.sweeps.baseline import (
    Baseline,
    Run,
    SourcesOf,
    by_size,
    compiled_settlement,
)
from ihp_compute.sweeps.grid import Grid
from ihp_compute.sweeps.scenarios import Build, ScenarioClass, classes
from ihp_compute.units import half_even

QUANTILES_MICRO: Final = {"p05": 50_000, "p50": 500_000, "p95": 950_000}

JOB_ROWS: Final = 50_000
"""Scenarios of one task."""

_SETTLEMENT: Final = "settlement."


@dataclass(frozen=True)
class Job:
    """One partnership under scenarios that share a program; picklable, a second at most.

    `row` is its place among the rows of a scenario, of which the state's is the first.
    """

    row: int
    scenarios: NDArray[np.int64]
    sources: NDArray[np.float64]
    constants: NDArray[np.float64]
    table: NDArray[np.int32]
    output: int

    def between(self, first: int, last: int) -> Job | None:
        """The part with scenarios of [first, last); None if there are none."""
        start, end = np.searchsorted(self.scenarios, (first, last))
        if start == end:
            return None
        return replace(
            self, scenarios=self.scenarios[start:end], constants=self.constants[start:end]
        )


def summarise(job: Job) -> tuple[tuple[NDArray[np.int64], int], NDArray[np.int64]]:
    """One task: where its rows belong, and int64[n, 7] as `kernels.settle_summary` gives them."""
    values = kernels.settle_summary(
        job.sources, job.constants, job.table, job.output, list(QUANTILES_MICRO.values())
    )
    return (job.scenarios, job.row), values


def paid_without_effect(job: Job) -> tuple[tuple[NDArray[np.int64], int], NDArray[np.int64]]:
    """One task of `jobs_without_effect`: where its rows belong, and in how many replicates paid."""
    values = kernels.settle_summary(job.sources, job.constants, job.table, job.output, [])
    return (job.scenarios, job.row), values[:, 2]


Programs = dict[tuple[Any, ...], list[ScenarioClass]]
"""Scenarios of contracts by the program that they share, as they were compiled."""


def jobs_of(
    run: Run, grid: Grid, baseline: Mapping[str, Baseline], programs: Programs
) -> list[Job]:
    """Tasks of every partnership; those of one contract share programs and constants.

    What is compiled is kept in `programs`, and taken from there.
    """
    given = SourcesOf(run)
    if not all(axis.path.startswith(_SETTLEMENT) for axis in grid.axes):
        return list(_jobs(run, grid, given.of, programs, whole=True))

    def own(partnership: str, _agreement: Agreement) -> Sources:
        return _settled(baseline[partnership], 0)

    return list(_jobs(run, grid, own, programs, whole=False))


def jobs_without_effect(
    run: Run, grid: Grid, baseline: Mapping[str, Baseline], programs: Programs
) -> list[Job]:
    """As `jobs_of`, of partnerships whose savings are zero in the mean and vary as they were drawn.

    Those are the run's own savings less their mean, whatever target the grid gives: who saves
    nothing under a target saves nothing, and chance moves it about as much.
    """

    def own(partnership: str, _agreement: Agreement) -> Sources:
        drawn = baseline[partnership]
        savings = (drawn.target - drawn.observed)[1:]
        return _settled(drawn, half_even(int(savings.sum()), savings.size))

    return list(_jobs(run, grid, own, programs, whole=False))


def _settled(drawn: Baseline, more_cents: int) -> Sources:
    """What a settlement starts from, at a cost that is higher by so much in every replicate."""
    return {
        "target": drawn.target,
        "observed": drawn.observed + more_cents,
        "core_cost": drawn.sources["core_cost"],
    }


def _jobs(
    run: Run,
    grid: Grid,
    sources_of: Callable[[str, Agreement], Sources],
    known: Programs,
    *,
    whole: bool,
) -> Iterator[Job]:
    agreements = run.terms.contracts.at(run.performance_year)
    scores = run.scores
    for row, (partnership, contract) in enumerate(run.terms.contracts.contracts.items(), 1):
        n_members = run.n_members(partnership)
        used = partial(_used, scores, partnership)
        size = n_members if by_size(agreements[partnership], grid.axes) else None
        key = whole, contract.sha256, scores.own.get(partnership) is None, size
        if key not in known:
            known[key] = classes(
                contract, run.performance_year, grid, _builder(run, n_members, used, whole=whole)
            )
        for found in known[key]:
            own = sources_of(partnership, found.agreement)
            yield from _class_jobs(row, found, own, used(found.agreement))


def _used(scores: QualityScores, partnership: str, agreement: Agreement) -> Decimal | None:
    """The quality score of a partnership in a scenario."""
    try:
        return scores.used(partnership, agreement)
    except (ContractError, MissingQualityError) as error:
        raise GridError(f"a scenario cannot be settled: {error}") from None


def _builder(
    run: Run, n_members: int, used: Callable[[Agreement], Decimal | None], *, whole: bool
) -> Build:
    def build(agreement: Agreement) -> Compiled:
        compiled = compiled_settlement(
            run, agreement, n_members=n_members, quality=used(agreement), whole=whole
        )
        return replace(
            compiled,
            outputs=compiled.outputs[-1:],
            registers=compiled.registers[-1:],
            rounded=compiled.rounded[-1:],
        )

    return build


def _class_jobs(row: int, found: ScenarioClass, own: Sources, score: Decimal | None) -> list[Job]:
    compiled = found.compiled
    constants = found.constants
    if QUALITY_SCORE in compiled.terms and score is not None:
        constants = constants.copy()
        constants[:, compiled.terms.index(QUALITY_SCORE)] = float(score)
    n = max(map(len, own.values()))
    sources = stacked([own[name] for name in compiled.sources], n)
    return [
        Job(
            row,
            found.scenarios[start : start + JOB_ROWS],
            sources,
            constants[start : start + JOB_ROWS],
            compiled.table,
            int(compiled.registers[-1]),
        )
        for start in range(0, len(constants), JOB_ROWS)
    ]
