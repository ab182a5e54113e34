"""A sweep: what every partnership would be paid under every combination of other terms.

    run -> its totals and terms -> grid of terms -> programs and constants -> settle_summary -> rows

A sweep starts from the totals that a run has kept: no claim is read again. Its payments are those
that `settle` gives under the same terms, replicate by replicate, so a sweep of one point is the
run's own settlement to the cent. Draws are `target_resampled`: the target moves with the members
drawn. Rows hold the observed payment and, over the replicates, mean, quantiles, the chances of a
gain and of a loss, and how often chance alone would be paid; payments themselves are never kept.
The first row of a scenario is the state: its payments in a replicate are those of all partnerships
in it.

Not here: axes and their values (`grid`), how terms become constants (`scenarios`), its file
(`file`), totals of other terms than the run's (`remeasured`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

import ihp_compute
from ihp_compute.contracts import COMPLETION_FACTORS, kind_of, split_band_path
from ihp_compute.errors import GridError
from ihp_compute.results import (
    OpenForm,
    RunTerms,
    digest_over,
    kept_terms,
    read_manifest,
    table_digest,
)
from ihp_compute.runner import LocalRunner, Runner
from ihp_compute.settlement import PARTNERSHIP, SETTLED, STATE
from ihp_compute.sweeps.baseline import Run, baseline_of
from ihp_compute.sweeps.grid import ROW_LIMIT, Axis, Grid, value_text
from ihp_compute.sweeps.jobs import (
    QUANTILES_MICRO,
    Programs,
    jobs_of,
    jobs_without_effect,
    paid_without_effect,
    summarise,
)
from ihp_compute.sweeps.scenarios import check_values
from ihp_compute.sweeps.statewide import ROW as STATE_ROW
from ihp_compute.sweeps.statewide import state_jobs, summarise_state
from ihp_compute.table_schema import Behind, Column, TableSchema
from ihp_compute.units import MICRO, half_even

CONDITIONING: Final = "target_resampled"
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
        Column("conditioning", pa.string(), f"who is drawn for what follows: {CONDITIONING}"),
        Column("mean_cents", pa.int64(), "mean payment over replicates, half to even", "cents"),
        *(
            Column(f"{name}_cents", pa.int64(), f"quantile {micro / MICRO} of the payment", "cents")
            for name, micro in QUANTILES_MICRO.items()
        ),
        Column("probability_gain", pa.float64(), "part of the replicates with a gain", "ratio"),
        Column("probability_loss", pa.float64(), "part of the replicates with a loss", "ratio"),
        Column("false_payment_rate", pa.float64(), "part of the replicates paid if savings were "
               "zero in the mean; of the state, the mean", "ratio"),
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


@dataclass(frozen=True)
class Swept:
    """A finished sweep.

    Attributes
    ----------
    table : pa.Table
        The columns of `SWEEP`, one in the place of `AXIS` for each moved term; by scenario, the
        state first, then by partnership id.
    digest : str
        SHA-256 over the digest of the whole table and what was asked for.
    about : mapping
        run_digest, axes, conditioning, replicates, scenarios, partnerships, draft_terms.
    """

    table: pa.Table
    digest: str
    about: Mapping[str, Any]
    seconds: float

    @property
    def said(self) -> dict[str, Any]:
        """What a file says of itself.

        An open form does not say the digest, which is over whole rows: by it a guess of what is
        hidden could be tried.
        """
        return {**({} if self.is_open else {"digest": self.digest}), **self.about}

    @property
    def is_open(self) -> bool:
        """Whether it is as everybody may see it."""
        return bool(self.about.get("suppressed"))

    def document(self) -> dict[str, Any]:
        """The JSON document of `ihp sweep`."""
        return {
            **self.said,
            "rows": self.table.num_rows,
            "seconds": round(self.seconds, 3),
        }


def sweep(
    run_dir: Path,
    grid: Grid,
    runner: Runner | None = None,
    progress: Callable[[int, int], None] | None = None,
    *,
    limit: int = ROW_LIMIT,
    keep: Callable[[Swept], object] | None = None,
) -> Swept:
    """Settle every partnership of a run under every scenario of a grid; the state goes first.

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
    keep : callable, optional
        Given the rows that are done where the sweep is stopped before its end, if there are any.

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
    _check_measured(grid, terms, manifest["performance_year"])
    run = Run.open(run_dir, manifest, terms)
    baseline = baseline_of(run)
    n_rows = len(partnerships) + 1
    found = np.zeros((grid.n_scenarios, n_rows, 6 + len(QUANTILES_MICRO)), np.int64)
    done = np.zeros((grid.n_scenarios, n_rows), np.bool_)
    n = run.totals.n_replicates
    payments = [baseline[p].payment_cents for p in partnerships]
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

    def made(**more: Any) -> Swept:
        paid = np.array([sum(payments), *payments])
        table = _table(grid, partnerships, paid, found, falsely / n, n)
        if more:
            table = table.filter(pa.array(done.reshape(-1)))
        said = about | more
        digest = digest_over({SWEEP.name: table_digest(table)}, said)
        return Swept(table, digest, said, time.perf_counter() - started)

    runner = runner or LocalRunner()
    falsely = np.zeros((grid.n_scenarios, n_rows), np.float64)
    programs: Programs = {}
    without_effect = jobs_without_effect(run, grid, baseline, programs)
    for place, counts in runner.map(paid_without_effect, without_effect):
        falsely[place] = counts
    falsely[:, STATE_ROW] = falsely.sum(axis=1) / len(partnerships)
    jobs = jobs_of(run, grid, baseline, programs)
    statewide = state_jobs(jobs, grid.n_scenarios)
    try:
        for job, values in chain(
            runner.map(summarise_state, statewide), runner.map(summarise, jobs)
        ):
            found[job[0], job[1], : values.shape[1]] = values
            done[job[0], job[1]] = True
            if progress is not None:
                progress(int(done.sum()), done.size)
    except Exception:
        if keep is not None and done.any():
            keep(made(partial=True))
        raise
    return made()


def check(run_dir: Path, grid: Grid, *, limit: int = ROW_LIMIT) -> RunTerms:
    """Refuse what a run's terms or a limit rule out, in a moment; returns the run's terms.

    Raises
    ------
    RunError
        If the folder is no finished run.
    GridError
        If there would be more rows than `limit`, a path does not exist in a contract, or values do
        not fit their terms or each other; see `check_values`.
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


def measured_as(terms: RunTerms, year: int, values: Mapping[str, Any]) -> bool:
    """Whether a run's contracts have these values of terms already, all of them.

    Raises
    ------
    ContractError
        If a value does not fit.
    """
    distinct = {contract.sha256: contract for contract in terms.contracts.contracts.values()}
    return all(
        contract.override(values, where="grid").at(year)[path] == contract.at(year)[path]
        for contract in distinct.values()
        for path in values
    )


def _check_measured(grid: Grid, terms: RunTerms, year: int) -> None:
    for axis in grid.measured:
        for value in axis.values:
            if not measured_as(terms, year, {axis.path: value}):
                raise GridError(
                    f"axes: {axis.path}: found {value_text(value)}, which the run's totals were "
                    "not measured by; measure a run of it"
                )


def joined(
    run_dir: Path, grid: Grid, parts: Sequence[tuple[Mapping[str, Any], Swept]], **more: Any
) -> Swept:
    """Sweeps of runs that were measured apart as one, in a grid's order.

    Parameters
    ----------
    run_dir : Path
        The run that the payments are compared with.
    grid : Grid
    parts : sequence of (values, Swept)
        The values of the measured axes, and the sweep over the others. What is missing is left out.
    **more
        Further entries of `about`.

    Returns
    -------
    Swept
    """
    paths = [axis.path for axis in grid.measured]
    place_of = {tuple(values[path] for path in paths): n for n, (values, _) in enumerate(parts)}
    within = {tuple(s.items()): n for n, s in enumerate(grid.settled.scenarios())}
    first = parts[0][1]
    n_rows = first.table.num_rows // len(within)
    rows, ids = [], []
    for scenario_id, scenario in enumerate(grid.scenarios(), start=1):
        place = place_of.get(tuple(scenario.pop(path) for path in paths))
        if place is not None:
            at = (place * len(within) + within[tuple(scenario.items())]) * n_rows
            rows.append(np.arange(at, at + n_rows))
            ids.append(scenario_id)
    table = pa.concat_tables([part.table for _, part in parts]).take(pa.array(np.concatenate(rows)))
    own = _paid(run_dir)
    paid = np.array([own[p] for p in table.column("partnership_id").to_pylist()[:n_rows]])
    payment = table.column("payment_cents").to_numpy()
    for name, values in (
        ("scenario_id", np.repeat(np.array(ids, np.int64), n_rows)),
        ("difference_cents", payment - np.tile(paid, len(ids))),
    ):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), pa.array(values))
    about = {
        **first.about,
        "run_digest": read_manifest(run_dir)["digest"],
        "axes": grid.document(),
        "scenarios": grid.n_scenarios,
        **more,
    }
    digest = digest_over({SWEEP.name: table_digest(table)}, about)
    return Swept(table, digest, about, sum(part.seconds for _, part in parts))


def _paid(run_dir: Path) -> dict[str, int]:
    """What a run pays each partnership, and all together."""
    written = pq.read_table(run_dir / "settlement.parquet").select(
        ["partnership_id", "payment_cents"]
    )
    found = dict(zip(*(column.to_pylist() for column in written.columns), strict=True))
    return {**found, STATE: sum(found.values())}


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


def shown_to_all(swept: Swept, form: OpenForm) -> Swept:
    """A sweep as everybody may see it: null where its run hides the partnership."""
    table = form.hide(swept.table, SWEEP)
    return replace(swept, table=table, about={**swept.about, "suppressed": True})


def _table(
    grid: Grid,
    partnerships: Sequence[str],
    baseline_cents: NDArray[np.int64],
    found: NDArray[np.int64],
    false_rates: NDArray[np.float64],
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
    scopes = [STATE] + [PARTNERSHIP] * len(partnerships)
    columns["scope"] = pa.array(scopes, pa.string()).take(tiled)
    columns["partnership_id"] = pa.array([STATE, *partnerships], pa.string()).take(tiled)
    flat = found.reshape(-1, found.shape[2])
    columns["payment_cents"] = pa.array(flat[:, 0])
    columns["conditioning"] = pa.array([CONDITIONING], pa.string()).take(
        pa.array(np.zeros(len(flat), np.int64))
    )
    columns["mean_cents"] = pa.array(half_even(flat[:, 1], n_replicates))
    for k, name in enumerate(QUANTILES_MICRO):
        columns[f"{name}_cents"] = pa.array(np.ascontiguousarray(flat[:, 4 + k]))
    columns["probability_gain"] = pa.array(flat[:, 2] / n_replicates)
    columns["probability_loss"] = pa.array(flat[:, 3] / n_replicates)
    columns["false_payment_rate"] = pa.array(false_rates.reshape(-1))
    columns["difference_cents"] = pa.array(flat[:, 0] - np.tile(baseline_cents, n_scenarios))
    for name, counted, column in (
        ("n_paid", found[:, :, 0] > 0, -2),
        ("n_owing", found[:, :, 0] < 0, -1),
    ):
        of_each = counted.astype(np.int64)
        of_each[:, STATE_ROW] = found[:, STATE_ROW, column]
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
