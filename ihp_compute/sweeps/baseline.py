"""A run as a sweep needs it: kept totals and terms, each partnership settled as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ihp_compute.contracts import SIZE_TABLE, Agreement, ContractSet, QualityScores
from ihp_compute.errors import GridError, RunError
from ihp_compute.results import RunTerms, measured_totals
from ihp_compute.settlement import (
    Compiled,
    Program,
    SharedPrograms,
    Sources,
    StateSums,
    gates_by_size,
    sources,
    state_sums,
    write_settlement,
    write_target,
)
from ihp_compute.sweeps.grid import Axis
from ihp_compute.uncertainty import Totals


@dataclass(frozen=True)
class Run:
    """A run as a sweep needs it; `measured` are its measurements, of some partnerships each."""

    folder: Path
    measured: tuple[tuple[Totals, ContractSet], ...]
    terms: RunTerms
    base_year: int
    performance_year: int

    @property
    def totals(self) -> Totals:
        """Totals of which only what all measurements have alike may be read: people, draws."""
        return self.measured[0][0]

    def measured_of(self, partnership: str) -> tuple[Totals, ContractSet]:
        """The measurement of a partnership's contract."""
        return next(found for found in self.measured if partnership in found[1].contracts)

    @classmethod
    def open(cls, folder: Path, manifest: Mapping[str, Any], terms: RunTerms) -> Run:
        """Map the totals of a run's measurements.

        Raises
        ------
        RunError
            If its totals are damaged, or it has no replicates.
        """
        measured = measured_totals(folder, manifest, terms)
        if measured[0][0].n_replicates < 1:
            raise RunError(
                f"{folder}: has no replicates, and a sweep gives quantiles over them; make the run "
                "with --replicates 2000"
            )
        years = manifest["base_year"], manifest["performance_year"]
        return cls(folder, measured, terms, *years)

    @property
    def scores(self) -> QualityScores:
        """Quality scores of its partnerships, and what stands in for one that is missing."""
        agreements = self.terms.contracts.at(self.performance_year)
        return QualityScores.of(self.terms.quality, agreements, self.totals.without_members)

    def n_members(self, partnership: str) -> int:
        """Observed members of a partnership."""
        return int(self.totals.n_members[self.totals.groups.index(partnership)])


@dataclass(frozen=True)
class Baseline:
    """A partnership under the run's own terms: cents per replicate, the observed one first."""

    sources: Sources
    target: NDArray[np.int64]
    observed: NDArray[np.int64]
    payment_cents: int


def baseline_of(run: Run) -> dict[str, Baseline]:
    """Every partnership settled as the run settled it.

    Raises
    ------
    RunError
        If a payment is not the one that the run wrote.
    """
    written = pq.read_table(run.folder / "settlement.parquet")
    paid = dict(
        zip(
            *(written.column(c).to_pylist() for c in ("partnership_id", "payment_cents")),
            strict=True,
        )
    )
    given = SourcesOf(run)
    scores = run.scores
    programs = SharedPrograms(partial(compiled_settlement, run, whole=True))
    found = {}
    for partnership, agreement in run.terms.contracts.at(run.performance_year).items():
        own = given.of(partnership, agreement)
        levels = programs.of(
            agreement,
            n_members=run.n_members(partnership),
            quality=scores.used(partnership, agreement),
        ).run(own)
        payment = int(levels["payment"][0])
        if payment != paid.get(partnership):
            raise RunError(
                f"{run.folder}: {partnership} settles to {payment} cents, the run wrote "
                f"{paid.get(partnership)}; its files were changed, run it again"
            )
        found[partnership] = Baseline(own, levels["target"], levels["observed"], payment)
    return found


class SourcesOf:
    """Each partnership's sources, with the sums over the state made once."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._sums: dict[tuple[int, int, tuple[str, ...]], StateSums] = {}

    def of(self, partnership: str, agreement: Agreement) -> Sources:
        """Sources by name, under the rate cells of an agreement.

        Raises
        ------
        GridError
            If it lists rate cells in another order than the run's contracts.
        """
        totals, contracts = self._run.measured_of(partnership)
        rule_sets = contracts.rule_sets(self._run.performance_year)
        if agreement.cost not in rule_sets:
            raise GridError(
                f"{agreement.name}: target.rate_cells: found rate cells in another order than the "
                "run's; dollars above a cap were taken from them in that order, so keep it, or "
                "make a new run"
            )
        rule_set = rule_sets.index(agreement.cost)
        key = id(totals), rule_set, agreement["target.rate_cells"]
        if key not in self._sums:
            self._sums[key] = state_sums(totals, agreement, rule_set)
        return sources(self._sums[key], partnership)


def compiled_settlement(
    run: Run, agreement: Agreement, *, n_members: int, quality: Decimal | None, whole: bool
) -> Compiled:
    """The settlement from totals (`whole`; also gives target and observed) or from its target."""
    program = Program()
    outputs = {}
    if whole:
        walked = write_target(
            program,
            agreement,
            base_year=run.base_year,
            performance_year=run.performance_year,
        )
        target, observed = walked.target, walked.observed
        outputs = {"target": target, "observed": observed}
    else:
        target, observed = program.source("target"), program.source("observed")
    settled = write_settlement(
        program,
        agreement,
        target,
        observed,
        core=program.source("core_cost"),
        n_members=n_members,
        quality=quality,
    )
    return program.compile({**outputs, "payment": settled["payment"]})


def by_size(agreement: Agreement, axes: Sequence[Axis]) -> bool:
    """Whether a gate goes by the number of members, now or in some scenario."""
    return bool(gates_by_size(agreement)) or any(SIZE_TABLE in axis.values for axis in axes)
