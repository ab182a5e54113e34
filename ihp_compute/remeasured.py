"""A sweep whose axes reach below the totals: a measured run for each of their values, swept alike.

    which axes decide what is measured -> a run for each of their combinations, the run's own one
        spared -> its sweep over the other axes -> one table in the grid's order

The claim cap decides how much of each member's cost counts, so its totals are others. All else of
the run stays: population, years, cutoff, draws, who belongs to whom, other terms. Leaves to others:
a run (`pipeline`), a sweep over totals (`sweeps`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Final

from ihp_compute.errors import ContractError, GateError, GridError, RunError
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.population import open_population
from ihp_compute.results import RunTerms, read_manifest, request_of
from ihp_compute.runner import LocalRunner, Runner
from ihp_compute.sweeps import (
    ROW_LIMIT,
    Axis,
    Grid,
    Swept,
    check,
    joined,
    measured_as,
    sweep,
    value_text,
)

MEASUREMENTS: Final = 50
"""Measured runs that one sweep may ask for."""


@dataclass(frozen=True)
class Ways:
    """What a grid wants measured.

    Attributes
    ----------
    terms : RunTerms
        Of the run that is swept.
    own : tuple of mappings
        Values of the measured axes by path that the run itself was measured by.
    anew : tuple of mappings
        Those that want a run of their own.
    """

    terms: RunTerms
    own: tuple[Mapping[str, Any], ...]
    anew: tuple[Mapping[str, Any], ...]


def ways_of(run_dir: Path, grid: Grid, *, limit: int = ROW_LIMIT) -> Ways:
    """What a sweep measures; refuses what cannot be, or is too much, in a moment.

    Raises
    ------
    RunError
        If the folder is no finished run.
    GridError
        As `sweeps.check`; or if more than `MEASUREMENTS` runs would be measured.
    """
    terms = check(run_dir, grid, limit=limit)
    year = read_manifest(run_dir)["performance_year"]
    paths = [axis.path for axis in grid.measured]
    n_ways = Grid(grid.measured).n_scenarios
    if n_ways > MEASUREMENTS + 1:
        raise GridError(
            f"axes: {', '.join(paths)}: found {n_ways:,} combinations, each a measured run of its "
            f"own; expected at most {MEASUREMENTS}"
        )
    if not paths:
        return Ways(terms, ({},), ())
    ways = [
        dict(zip(paths, values, strict=True))
        for values in product(*(axis.values for axis in grid.measured))
    ]
    own = [values for values in ways if measured_as(terms, year, values)]
    return Ways(terms, tuple(own), tuple(values for values in ways if values not in own))


def sweep_anew(
    run_dir: Path,
    grid: Grid,
    runner: Runner | None = None,
    progress: Callable[[int, int], None] | None = None,
    *,
    beside: Path,
    limit: int = ROW_LIMIT,
    keep: Callable[[Swept], object] | None = None,
    placed: Callable[[RunRequest, Runner], Runner] | None = None,
) -> Swept:
    """Settle every partnership of a run under every scenario of a grid, measuring where it must.

    Parameters
    ----------
    run_dir, grid, runner, progress, limit, keep
        As those of `sweeps.sweep`; of a sweep that measures, what is kept is whole measurements.
    beside : Path
        Folder in which runs are measured; nothing of them stays.
    placed : callable, optional
        Gives the runner for a run that is measured.

    Returns
    -------
    Swept
        `about` has under `measured` the values and the digest of each run.

    Raises
    ------
    RunError
        If the folder is no finished run of this version, or its population is another by now.
    GridError
        As `ways_of`; or if a run of other values trips a gate, or cannot be.
    """
    ways = ways_of(run_dir, grid, limit=limit)
    runner = runner or LocalRunner()
    if not grid.measured:
        return sweep(run_dir, grid, runner, progress, limit=limit, keep=keep)
    rows = grid.n_scenarios * (len(ways.terms.contracts.contracts) + 1)
    done = 0
    parts: list[tuple[Mapping[str, Any], Swept]] = []

    def told(more: int = 0) -> None:
        if progress is not None:
            progress(done + more, rows)

    def whole(**more: Any) -> Swept:
        about = [
            {
                "values": {path: value_text(value) for path, value in values.items()},
                "run_digest": part.about["run_digest"],
            }
            for values, part in parts
        ]
        return joined(run_dir, grid, parts, measured=about, **more)

    try:
        with tempfile.TemporaryDirectory(prefix=".measured-", dir=beside) as folder:
            for n, values in enumerate((*ways.own, *ways.anew)):
                measured = run_dir
                if n >= len(ways.own):
                    measured = Path(folder) / str(n)
                    _measure(run_dir, ways.terms, values, measured, runner, placed, told)
                swept = sweep(
                    measured, _at(grid, values), runner, lambda more, _: told(more), limit=limit
                )
                parts.append((values, swept))
                done += swept.table.num_rows
    except Exception:
        if keep is not None and parts:
            keep(whole(partial=True))
        raise
    return whole()


def _at(grid: Grid, values: Mapping[str, Any]) -> Grid:
    """A grid whose measured axes stand still."""
    return Grid(
        tuple(
            Axis(axis.path, (values[axis.path],)) if axis.path in values else axis
            for axis in grid.axes
        )
    )


def _measure(
    run_dir: Path,
    terms: RunTerms,
    values: Mapping[str, Any],
    out: Path,
    runner: Runner,
    placed: Callable[[RunRequest, Runner], Runner] | None,
    told: Callable[[], None],
) -> None:
    manifest = read_manifest(run_dir, go_on=True)
    request = replace(request_of(manifest), earlier=())
    if open_population(request.population).digest != manifest["population"]["digest"]:
        raise RunError(
            f"{run_dir}: its population is another by now, and other values would be measured on "
            "other claims; run it again, and sweep that"
        )
    held = terms.contracts
    moved = {name: one.override(values, where="grid") for name, one in held.contracts.items()}
    on = runner if placed is None else placed(request, runner)
    try:
        run(request, out, on, lambda *_: told(), contracts=replace(held, contracts=moved))
    except (ContractError, GateError) as error:
        named = ", ".join(f"{path} = {value_text(value)}" for path, value in values.items())
        raise GridError(f"measured with {named}: {error}") from error
