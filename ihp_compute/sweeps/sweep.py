"""A sweep: what every partnership would be paid under every combination of other terms.

    run -> its totals and terms -> grid of terms -> programs and constants -> settle_summary -> rows

A sweep starts from the totals that a run has kept: no claim is read again. Its payments are those
that `settle` gives under the same terms, replicate by replicate, so a sweep of one point is the
run's own settlement to the cent. Draws are `target_resampled`: the target moves with the members
drawn. Rows hold the observed payment and, over the replicates, mean, quantiles and the chances of a
gain and of a loss; payments themselves are never kept. The last row of a scenario is the state: its
payments in a replicate are those of all partnerships in it.

Not here: axes and their values (`grid`), how terms become constants (`scenarios`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import ihp_compute
from ihp_compute.contracts import COMPLETION_FACTORS, kind_of, split_band_path
from ihp_compute.errors import DataError, GridError
from ihp_compute.folders import check_file_place, whole
from ihp_compute.results import RunTerms, digest_over, kept_terms, read_manifest, table_digest
from ihp_compute.runner import LocalRunner, Runner
from ihp_compute.settlement import PARTNERSHIP, SETTLED, STATE
from ihp_compute.sweeps.baseline import Run, baseline_of
from ihp_compute.sweeps.grid import ROW_LIMIT, Axis, Grid, value_text
from ihp_compute.sweeps.jobs import QUANTILES_MICRO, jobs_of, summarise
from ihp_compute.sweeps.scenarios import check_values
from ihp_compute.sweeps.statewide import state_jobs, summarise_state
from ihp_compute.table_files import read_table, write_table
from ihp_compute.table_schema import Behind, Column, TableSchema
from ihp_compute.units import MICRO, half_even

CONDITIONING: Final = "target_resampled"
SUFFIXES: Final = (".parquet", ".arrow", ".csv")
METADATA: Final = b"ihp_sweep"
AXIS: Final = "axis"
SWEEP: Final = TableSchema(
    "sweep",
    "what each partnership, and all together, would be paid in each scenario, in the grid's order",
    (
        Column("scenario_id", pa.int64(), "the scenario, from 1", "identifier"),
        Column("{axis}", pa.null(), "the value of the term that the axis moves", each=AXIS),
        Column("scope", pa.string(), "partnership, or state: all of them, drawn together"),
        Column("partnership_id", pa.string(), "the partnership; state of the state"),
        Column("payment_cents", pa.int64(), "payment as observed", "cents"),
        Column("mean", pa.int64(), "mean payment over replicates, half to even", "cents"),
        *(
            Column(name, pa.int64(), f"quantile {micro / MICRO} over replicates", "cents")
            for name, micro in QUANTILES_MICRO.items()
        ),
        Column("probability_gain", pa.float64(), "part of the replicates with a gain", "ratio"),
        Column("probability_loss", pa.float64(), "part of the replicates with a loss", "ratio"),
        Column("difference_cents", pa.int64(), "payment less the run's own", "cents"),
        Column("n_paid", pa.int64(), "partnerships paid, as observed", "partnerships"),
        Column("n_owing", pa.int64(), "partnerships that owe, as observed", "partnerships"),
    ),
    keys=("scenario_id", "scope", "partnership_id"),
    in_digest=False,
    behind=(
        Behind("scope", "partnership_id", ("=performance",), rests_on=("=settled",),
               renamed={STATE: SETTLED}),
    ),
)  # fmt: skip
FILE: Final = f"{SWEEP.name}.parquet"
"""Name of a sweep beside other results."""


@dataclass(frozen=True)
class Swept:
    """A finished sweep.

    Attributes
    ----------
    table : pa.Table
        The columns of `SWEEP`, one in the place of `AXIS` for each moved term; by scenario, then
        partnership id, the state last.
    digest : str
        SHA-256 over the digest of the table and what was asked for.
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


def check_output(out: Path, *, replace: bool = False) -> None:
    """Refuse a place where a sweep does not belong, before anything is computed.

    Raises
    ------
    DataError
        If the extension says no form, or something is there that `replace` does not say to replace.
    """
    if out.suffix not in SUFFIXES:
        raise DataError(f"{out.name}: expected a name ending in {', '.join(SUFFIXES)}")
    check_file_place(out, replace=replace)


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
        Most rows of partnerships, scenarios × partnerships.

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
    run = Run.open(run_dir, manifest, terms)
    baseline = baseline_of(run)
    n_rows = len(partnerships) + 1
    found = np.empty((grid.n_scenarios, n_rows, 4 + len(QUANTILES_MICRO)), np.int64)
    runner = runner or LocalRunner()
    jobs = jobs_of(run, grid, baseline)
    statewide = state_jobs(jobs, grid.n_scenarios, len(partnerships))
    done = 0
    for job, values in chain(runner.map(summarise, jobs), runner.map(summarise_state, statewide)):
        found[job[0], job[1]] = values
        done += len(values)
        if progress is not None:
            progress(done, grid.n_scenarios * n_rows)
    n = run.totals.n_replicates
    payments = [baseline[p].payment_cents for p in partnerships]
    table = _table(grid, partnerships, np.array([*payments, sum(payments)]), found, n)
    about = {
        "run_digest": manifest["digest"],
        "method_version": ihp_compute.METHOD_VERSION,
        "axes": grid.document(),
        "conditioning": CONDITIONING,
        "replicates": n,
        "scenarios": grid.n_scenarios,
        "partnerships": len(partnerships),
        "draft_terms": terms.contracts.draft_lines(run.performance_year, next(grid.scenarios())),
    }
    digest = digest_over({SWEEP.name: table_digest(table)}, about)
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
    terms = kept_terms.read(run_dir)
    manifest = read_manifest(run_dir)
    year = manifest["performance_year"]
    _check_completion(grid, manifest["completion"])
    grid.check_size(len(terms.contracts.contracts), limit)
    distinct = {contract.sha256: contract for contract in terms.contracts.contracts.values()}
    for contract in distinct.values():
        check_values(contract, year, grid)
    return terms


def _check_completion(grid: Grid, found: Mapping[str, Any]) -> None:
    """Refuse to state factors of completion where the run's totals hold another method's work."""
    stated = [axis.path for axis in grid.axes if axis.path in COMPLETION_FACTORS]
    for one in found["measurements"] if stated else ():
        if not (one["base_lines_cut"] or one["parts"]):
            continue
        done = (
            "completed the cost of each payer"
            if one["parts"]
            else f"left {one['base_lines_cut']:,} lines of the base year out"
        )
        raise GridError(
            f"{stated[0]}: the run {done} by completion.method {' or '.join(one['methods'])}, and "
            "a factor would come on top; make a run with completion.method given, and sweep that"
        )


def write(swept: Swept, out: Path, *, replace: bool = False) -> None:
    """Write a sweep by its file's extension; Arrow and Parquet say what it is in their metadata.

    Raises
    ------
    DataError
        As `check_output`.
    """
    check_output(out, replace=replace)
    about = {"digest": swept.digest, **swept.about}
    with whole(out) as draft:
        write_table(swept.table.replace_schema_metadata({METADATA: json.dumps(about)}), draft)


def verify_sweep(file: Path) -> str:
    """Recompute the digest of a sweep from its rows and what it says of itself.

    Returns
    -------
    str
        The digest.

    Raises
    ------
    DataError
        If the file is no sweep, is a CSV, which says nothing of itself, or was changed.
    """
    if file.suffix == ".csv":
        raise DataError(f"{file}: a CSV holds no digest; sweep into .parquet or .arrow")
    try:
        table = read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: cannot be read back: {error}; sweep again") from None
    try:
        about = json.loads((table.schema.metadata or {})[METADATA])
        held = about.pop("digest")
    except (KeyError, ValueError, AttributeError, TypeError):
        raise DataError(f"{file}: is no sweep; make one with ihp sweep") from None
    found = digest_over({SWEEP.name: table_digest(table)}, about)
    if found != held:
        raise DataError(
            f"{file}: digest {found[:12]}… of what is there, {str(held)[:12]}… in the file: the "
            "sweep was changed; sweep again"
        )
    return found


def _table(
    grid: Grid,
    partnerships: Sequence[str],
    baseline_cents: NDArray[np.int64],
    found: NDArray[np.int64],
    n_replicates: int,
) -> pa.Table:
    n_scenarios, n_rows = found.shape[:2]
    axes = {axis.path: _axis_array(axis) for axis in grid.axes}
    columns: dict[str, Any] = {
        "scenario_id": pa.array(np.repeat(np.arange(1, n_scenarios + 1), n_rows))
    }
    places = np.unravel_index(np.arange(n_scenarios), grid.shape)
    for (path, values), place in zip(axes.items(), places, strict=True):
        columns[path] = values.take(pa.array(np.repeat(place, n_rows)))
    tiled = pa.array(np.tile(np.arange(n_rows), n_scenarios))
    scopes = [PARTNERSHIP] * len(partnerships) + [STATE]
    columns["scope"] = pa.array(scopes, pa.string()).take(tiled)
    columns["partnership_id"] = pa.array([*partnerships, STATE], pa.string()).take(tiled)
    flat = found.reshape(-1, found.shape[2])
    columns["payment_cents"] = pa.array(flat[:, 0])
    columns["mean"] = pa.array(half_even(flat[:, 1], n_replicates))
    for k, name in enumerate(QUANTILES_MICRO):
        columns[name] = pa.array(np.ascontiguousarray(flat[:, 4 + k]))
    columns["probability_gain"] = pa.array(flat[:, 2] / n_replicates)
    columns["probability_loss"] = pa.array(flat[:, 3] / n_replicates)
    columns["difference_cents"] = pa.array(flat[:, 0] - np.tile(baseline_cents, n_scenarios))
    for name, counted in (("n_paid", found[:, :, 0] > 0), ("n_owing", found[:, :, 0] < 0)):
        of_each = counted.astype(np.int64)
        of_each[:, -1] = of_each[:, :-1].sum(axis=1)
        columns[name] = pa.array(of_each.reshape(-1))
    declared = SWEEP.with_each(AXIS, (_axis_column(path, a.type) for path, a in axes.items()))
    return pa.table(columns, schema=declared.arrow)


def _axis_column(path: str, type_: pa.DataType) -> Column:
    """The column of a moved term: a number has the term's unit, a text none."""
    band = split_band_path(path)
    kind = kind_of(path if band is None else band[0])
    if kind is None:
        raise GridError(f"unknown term {path}")
    meaning, unit = kind.meaning, kind.unit
    if band is not None:
        meaning, unit = f"{meaning}: {band[2]} of {band[1]}", "ratio"
    return Column(path, type_, meaning, "" if pa.types.is_string(type_) else unit)


def _axis_array(axis: Axis) -> pa.Array:
    """An axis' values as its column has them: numbers as float64, else all as text."""
    if all(isinstance(value, Decimal) for value in axis.values):
        return pa.array([float(value) for value in axis.values], pa.float64())
    return pa.array([value_text(value) for value in axis.values], pa.string())
