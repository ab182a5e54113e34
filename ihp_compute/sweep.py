"""A sweep: what every partnership would be paid under every combination of other terms.

    run -> its totals and terms -> grid of terms -> programs and constants -> settle_summary -> rows

A sweep starts from the totals that a run has kept: no claim is read again. Its payments are those
that `settle` gives under the same terms, replicate by replicate, so a sweep of one point is the
run's own settlement to the cent. Draws are `target_resampled`: the target moves with the members
drawn. Rows hold the observed payment and, over the replicates, mean, quantiles and the chances of a
gain and of a loss; payments themselves are never kept.

Not here: axes and their values (`grid`), how terms become constants (`scenarios`).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

import ihp_compute
import kernels
from ihp_compute import run_terms
from ihp_compute.aggregates import write_table
from ihp_compute.contract import Agreement
from ihp_compute.errors import DataError, RunError
from ihp_compute.grid import ROW_LIMIT, Axis, Grid, value_text
from ihp_compute.program import Compiled, Program
from ihp_compute.provenance import TOTALS, digest_of_table, read_manifest, read_totals
from ihp_compute.run_terms import RunTerms
from ihp_compute.runner import LocalRunner, Runner
from ihp_compute.scenarios import Build, ScenarioClass, check_values, classes
from ihp_compute.settlement import SharedPrograms
from ihp_compute.steps import QUALITY_SCORE, gated_by_size, write_settlement
from ihp_compute.target import StateSums, sources, state_sums, write_target
from ihp_compute.terms import SIDES, SIZE_TABLE
from ihp_compute.uncertainty import Totals

CONDITIONING: Final = "target_resampled"
QUANTILES_MICRO: Final = {"p05": 50_000, "p50": 500_000, "p95": 950_000}
JOB_ROWS: Final = 50_000
"""Scenarios of one task."""
SUFFIXES: Final = (".parquet", ".arrow", ".csv")
METADATA: Final = b"ihp_sweep"
FILE: Final = "sweep.parquet"
"""Name of a sweep beside other results."""
_SETTLEMENT: Final = "settlement."

Sources = dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Swept:
    """A finished sweep.

    Attributes
    ----------
    table : pa.Table
        A row per scenario and partnership, in the grid's order and by partnership id: scenario_id
        (from 1), a column per moved term, partnership_id, payment_cents (observed), mean, p05, p50,
        p95 (cents over the replicates; the mean half to even), probability_gain, probability_loss
        (of the replicates), difference_cents (observed, less the run's own).
    digest : str
        SHA-256 of the table in canonical form and of what was asked for.
    about : mapping
        run_digest, axes, conditioning, replicates, scenarios, partnerships, draft_terms.
    """

    table: pa.Table
    digest: str
    about: Mapping[str, Any]
    seconds: float

    def document(self) -> dict[str, Any]:
        """The JSON document of `ihp sweep`."""
        return {
            "digest": self.digest,
            **self.about,
            "rows": self.table.num_rows,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class Job:
    """One partnership under scenarios that share a program; picklable, a second at most."""

    partnership: int
    scenarios: NDArray[np.int64]
    sources: NDArray[np.float64]
    constants: NDArray[np.float64]
    table: NDArray[np.int32]
    output: int


def check_output(out: Path) -> None:
    """Refuse a file whose extension says no form, before anything is computed.

    Raises
    ------
    DataError
    """
    if out.suffix not in SUFFIXES:
        raise DataError(f"{out.name}: expected a name ending in {', '.join(SUFFIXES)}")


def sweep(
    run_dir: Path,
    grid: Grid,
    runner: Runner | None = None,
    progress: Callable[[int, int], None] | None = None,
    *,
    limit: int = ROW_LIMIT,
) -> Swept:
    """Settle every partnership of a run under every scenario of a grid.

    Parameters
    ----------
    run_dir : Path
        A finished run.
    grid : Grid
    runner : Runner, optional
        `LocalRunner` unless given.
    progress : callable, optional
        Called with (rows done, rows in all).
    limit : int
        Most rows, scenarios × partnerships.

    Returns
    -------
    Swept

    Raises
    ------
    RunError
        If the folder is no finished run of this version, or has no replicates.
    GridError
        If there would be more rows than `limit`, or a value does not fit its term.
    """
    started = time.perf_counter()
    terms = check(run_dir, grid, limit=limit)
    partnerships = tuple(terms.contracts.contracts)
    manifest = read_manifest(run_dir)
    run = _Run.open(run_dir, manifest, terms)
    baseline = _baseline(run)
    rows = grid.n_scenarios * len(partnerships)
    found = np.empty((grid.n_scenarios, len(partnerships), 4 + len(QUANTILES_MICRO)), np.int64)
    done = 0
    for job, values in (runner or LocalRunner()).map(summarise, _jobs(run, grid, baseline)):
        found[job[0], job[1]] = values
        done += len(values)
        if progress is not None:
            progress(done, rows)
    n = run.totals.n_replicates
    payments = np.array([baseline[p].payment_cents for p in partnerships])
    table = _table(grid, partnerships, payments, found, n)
    about = {
        "run_digest": manifest["digest"],
        "method_version": ihp_compute.METHOD_VERSION,
        "axes": grid.document(),
        "conditioning": CONDITIONING,
        "replicates": n,
        "scenarios": grid.n_scenarios,
        "partnerships": len(partnerships),
        "draft_terms": terms.contracts.draft_lines(run.performance_year),
    }
    digest = digest_of_table(table, about)
    return Swept(table, digest, about, time.perf_counter() - started)


def check(run_dir: Path, grid: Grid, *, limit: int = ROW_LIMIT) -> RunTerms:
    """Refuse what a run's terms or a limit rule out, in a moment; returns the run's terms.

    Raises
    ------
    RunError
        If the folder is no finished run.
    GridError
        If there would be more rows than `limit`, a path does not exist in a contract, or a value
        does not fit its term. Values that fit or not only together are left to `sweep`.
    """
    terms = run_terms.read(run_dir)
    grid.check_size(len(terms.contracts.contracts), limit)
    distinct = {contract.sha256: contract for contract in terms.contracts.contracts.values()}
    for contract in distinct.values():
        check_values(contract, grid)
    return terms


def write(swept: Swept, out: Path) -> None:
    """Write a sweep by its file's extension; Arrow and Parquet say what it is in their metadata.

    Raises
    ------
    DataError
        If the extension is not .parquet, .arrow or .csv.
    """
    check_output(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    about = {"digest": swept.digest, **swept.about}
    draft = out.with_name(f".{out.name}-{os.getpid()}{out.suffix}")
    try:
        write_table(swept.table.replace_schema_metadata({METADATA: json.dumps(about)}), draft)
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)


def summarise(job: Job) -> tuple[tuple[NDArray[np.int64], int], NDArray[np.int64]]:
    """One task: where its rows belong, and int64[n, 7] as `kernels.settle_summary` gives them."""
    values = kernels.settle_summary(
        job.sources, job.constants, job.table, job.output, list(QUANTILES_MICRO.values())
    )
    return (job.scenarios, job.partnership), values


# --- the run --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Run:
    """A run as a sweep needs it."""

    folder: Path
    totals: Totals
    terms: RunTerms
    base_year: int
    performance_year: int

    @classmethod
    def open(cls, folder: Path, manifest: Mapping[str, Any], terms: RunTerms) -> _Run:
        """Map a run's totals.

        Raises
        ------
        RunError
            If another method version made it, its totals are damaged, or it has no replicates.
        """
        if manifest["method_version"] != ihp_compute.METHOD_VERSION:
            raise RunError(
                f"{folder}: made by method version {manifest['method_version']}, this program has "
                f"{ihp_compute.METHOD_VERSION}; run it again"
            )
        try:
            totals = read_totals(folder / TOTALS)
        except (OSError, KeyError, ValueError) as error:
            raise RunError(f"{folder}: its totals cannot be read back; run it again") from error
        if totals.n_replicates < 1:
            raise RunError(
                f"{folder}: has no replicates, and a sweep gives quantiles over them; make the run "
                "with --replicates 2000"
            )
        years = manifest["base_year"], manifest["performance_year"]
        return cls(folder, totals, terms, *years)

    def n_members(self, partnership: str) -> int:
        """Observed members of a partnership."""
        return int(self.totals.n_members[self.totals.groups.index(partnership)])


@dataclass(frozen=True)
class _Baseline:
    """A partnership under the run's own terms: cents per replicate, the observed one first."""

    sources: Sources
    target: NDArray[np.int64]
    observed: NDArray[np.int64]
    payment_cents: int


def _baseline(run: _Run) -> dict[str, _Baseline]:
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
    given = _Sources(run)
    programs = SharedPrograms(partial(_program, run, whole=True))
    found = {}
    for partnership, agreement in run.terms.contracts.at(run.performance_year).items():
        own = given.of(partnership, agreement)
        levels = programs.of(
            agreement,
            n_members=run.n_members(partnership),
            quality=run.terms.quality.get(partnership),
        ).run(own)
        payment = int(levels["payment"][0])
        if payment != paid.get(partnership):
            raise RunError(
                f"{run.folder}: {partnership} settles to {payment} cents, the run wrote "
                f"{paid.get(partnership)}; its files were changed, run it again"
            )
        found[partnership] = _Baseline(own, levels["target"], levels["observed"], payment)
    return found


class _Sources:
    """Each partnership's sources, with the sums over the state made once."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._rule_sets = run.terms.contracts.rule_sets(run.performance_year)
        self._sums: dict[tuple[int, tuple[str, ...]], StateSums] = {}

    def of(self, partnership: str, agreement: Agreement) -> Sources:
        """Sources by name, under the rate cells of an agreement."""
        rule_set = self._rule_sets.index(agreement.cost)
        key = rule_set, agreement["target.rate_cells"]
        if key not in self._sums:
            self._sums[key] = state_sums(self._run.totals, agreement, rule_set)
        return sources(self._sums[key], partnership)


def _program(
    run: _Run, agreement: Agreement, *, n_members: int, quality: Decimal | None, whole: bool
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
        program, agreement, target, observed, n_members=n_members, quality=quality
    )
    return program.compile({**outputs, "payment": settled["payment"]})


def _by_size(agreement: Agreement, axes: Sequence[Axis]) -> bool:
    """Whether a gate goes by the number of members, now or in some scenario."""
    gates = [f"settlement.gate.{side}_rate" for side in SIDES]
    return gated_by_size(agreement) or any(
        SIZE_TABLE in axis.values for axis in axes if axis.path in gates
    )


# --- scenarios into jobs, jobs into rows ----------------------------------------------------------


def _jobs(run: _Run, grid: Grid, baseline: Mapping[str, _Baseline]) -> list[Job]:
    """Tasks of every partnership; those of one contract share programs and constants."""
    whole = not all(axis.path.startswith(_SETTLEMENT) for axis in grid.axes)
    known: dict[tuple[Any, ...], list[ScenarioClass]] = {}
    given = _Sources(run)
    jobs = []
    agreements = run.terms.contracts.at(run.performance_year)
    for p, (partnership, contract) in enumerate(run.terms.contracts.contracts.items()):
        score, n_members = run.terms.quality.get(partnership), run.n_members(partnership)
        size = n_members if _by_size(agreements[partnership], grid.axes) else None
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
            jobs += _jobs_of(p, found, own, score)
    return jobs


def _builder(run: _Run, n_members: int, score: Decimal | None, *, whole: bool) -> Build:
    def build(agreement: Agreement) -> Compiled:
        compiled = _program(run, agreement, n_members=n_members, quality=score, whole=whole)
        return replace(
            compiled,
            outputs=compiled.outputs[-1:],
            registers=compiled.registers[-1:],
            rounded=compiled.rounded[-1:],
        )

    return build


def _jobs_of(
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


def _table(
    grid: Grid,
    partnerships: Sequence[str],
    baseline_cents: NDArray[np.int64],
    found: NDArray[np.int64],
    n_replicates: int,
) -> pa.Table:
    n_scenarios, n_partnerships = found.shape[:2]
    columns: dict[str, Any] = {
        "scenario_id": pa.array(np.repeat(np.arange(1, n_scenarios + 1), n_partnerships))
    }
    places = np.unravel_index(np.arange(n_scenarios), grid.shape)
    for axis, place in zip(grid.axes, places, strict=True):
        at = np.repeat(place, n_partnerships)
        columns[axis.path] = _axis_array(axis).take(pa.array(at))
    names = pa.array(partnerships, pa.string())
    columns["partnership_id"] = names.take(
        pa.array(np.tile(np.arange(n_partnerships), n_scenarios))
    )
    flat = found.reshape(-1, found.shape[2])
    columns["payment_cents"] = pa.array(flat[:, 0])
    columns["mean"] = pa.array(mean_half_even(flat[:, 1], n_replicates))
    for k, name in enumerate(QUANTILES_MICRO):
        columns[name] = pa.array(np.ascontiguousarray(flat[:, 4 + k]))
    columns["probability_gain"] = pa.array(flat[:, 2] / n_replicates)
    columns["probability_loss"] = pa.array(flat[:, 3] / n_replicates)
    columns["difference_cents"] = pa.array(flat[:, 0] - np.tile(baseline_cents, n_scenarios))
    schema = pa.schema(
        [pa.field(name, array.type, nullable=False) for name, array in columns.items()]
    )
    return pa.table(list(columns.values()), schema=schema)


def _axis_array(axis: Axis) -> pa.Array:
    """An axis' values as its column has them: numbers as float64, else all as text."""
    if all(isinstance(value, Decimal) for value in axis.values):
        return pa.array([float(value) for value in axis.values], pa.float64())
    return pa.array([value_text(value) for value in axis.values], pa.string())


def mean_half_even(total: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Whole part of total / n, half to even, in integers.

    >>> mean_half_even(np.array([5, 15, -5, 7]), 10).tolist()
    [0, 2, 0, 1]
    """
    whole, rest = np.divmod(total, n)
    up = (2 * rest > n) | ((2 * rest == n) & (whole % 2 == 1))
    return np.asarray(whole + up, dtype=np.int64)
