"""From a grid to programs and constants: what each scenario is, without compiling each.

    grid -> bundles of axes -> classes of one structure -> a program and its constants a scenario

A number moves a constant of the program; `none`, other bands or another choice move the program
itself. Scenarios of one structure form a class. Within a class each axis is compiled alone, value
by value, and its constants are put together: 10 × 10 × 10 × 10 scenarios cost 40 compilations. Axes
that move the same constant (edges of one band) form a bundle, compiled in all its combinations, so
that bands which do not touch are refused for the very scenarios in which they do not.

Where only settlement terms move, the target is settled once and programs start from it: the same
operations on the same whole cents.

Not here: the payments (`sweep`), what a term does to a program (`target`, `steps`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ihp_compute.contracts import TOGETHER, Agreement, Band, Contract, split_band_path
from ihp_compute.errors import ContractError, GridError
from ihp_compute.settlement import Compiled
from ihp_compute.sweeps.grid import Axis, Grid

_MOST_COMBINED: Final = 2000
_MOST_OTHERS: Final = 8
"""Combinations, and values that are no numbers of an axis, that are looked at before a sweep."""
Build: TypeAlias = Callable[[Agreement], Compiled]
"""Compiles an agreement to a program whose only output is the payment."""


@dataclass(frozen=True)
class ScenarioClass:
    """Scenarios that share a program.

    Attributes
    ----------
    compiled : Compiled
    agreement : Agreement
        Of one of the scenarios: what the structure is, not the numbers.
    scenarios : int64[n]
        Their places in the grid, rising.
    constants : float64[n, n_terms]
        In the order of `compiled.terms`.
    """

    compiled: Compiled
    agreement: Agreement
    scenarios: NDArray[np.int64]
    constants: NDArray[np.float64]


@dataclass(frozen=True)
class _Bundle:
    """Axes that are moved together, and every combination of their values."""

    axes: tuple[Axis, ...]

    @property
    def combinations(self) -> list[dict[str, Any]]:
        paths = [axis.path for axis in self.axes]
        return [
            dict(zip(paths, values, strict=True))
            for values in product(*(axis.values for axis in self.axes))
        ]

    def some(self, most: int) -> list[dict[str, Any]]:
        """Every combination; where there are more than `most`, those of each axis' ends."""
        if len(self.axes) == 1 or math.prod(len(axis.values) for axis in self.axes) <= most:
            return self.combinations
        return _Bundle(tuple(Axis(axis.path, _ends(axis)) for axis in self.axes)).combinations


def _ends(axis: Axis) -> tuple[Decimal | str | bool, ...]:
    numbers = [value for value in axis.values if isinstance(value, Decimal)]
    others = [value for value in axis.values if not isinstance(value, Decimal)]
    ends = (min(numbers), max(numbers)) if numbers else ()
    return (*dict.fromkeys(ends), *others[:_MOST_OTHERS])


class _JointError(Exception):
    """Two bundles move one constant: they have to become one."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__()
        self.pair = first, second


def classes(contract: Contract, year: int, grid: Grid, build: Build) -> list[ScenarioClass]:
    """The scenarios of a grid under one contract.

    Parameters
    ----------
    contract : Contract
    year : int
        Performance year.
    grid : Grid
    build : callable
        Compiles an agreement.

    Raises
    ------
    GridError
        If a path does not exist in the contract, a value does not fit its term, or bands of a
        scenario do not touch.
    """
    bundles = _bundled(grid.axes)
    while True:
        try:
            return _classes(contract, year, grid, bundles, build)
        except _JointError as found:
            first, second = (bundles[k] for k in found.pair)
            joined = _Bundle((*first.axes, *second.axes))
            bundles = [b for b in bundles if b not in (first, second)] + [joined]


def check_values(contract: Contract, year: int, grid: Grid) -> None:
    """Refuse values that do not fit their term in a contract, or those that move with it.

    Edges of the bands of a side, and terms that are checked with each other, are taken in all
    their combinations; of more than `_MOST_COMBINED`, in those of their ends. What they rule out
    beyond that is left to the sweep.

    Raises
    ------
    GridError
    """
    own = contract.at(year)
    bound = tuple(axis for axis in grid.axes if axis.path in TOGETHER)
    joint = [_Bundle(bound)] if len(bound) > 1 else []
    for bundle in (*_bundled(grid.axes), *joint):
        apart = len(bundle.axes) == 1 and bundle.axes[0] in bound and bool(joint)
        for values in bundle.some(_MOST_COMBINED):
            try:
                moved = contract.override(values, where="grid")
                if not apart:
                    moved.at(year, like=own)
            except ContractError as error:
                named = ", ".join(f"{path} = {value}" for path, value in values.items())
                where = f", scenario {named}" if len(values) > 1 else ""
                raise GridError(f"{contract.name}{where}: {error}") from None


def _bundled(axes: Sequence[Axis]) -> list[_Bundle]:
    """Axes on the bands of one side go together; every other axis goes alone."""
    found: dict[str, list[Axis]] = {}
    for axis in axes:
        band = split_band_path(axis.path)
        found.setdefault(axis.path if band is None else band[0], []).append(axis)
    return [_Bundle(tuple(together)) for together in found.values()]


class _Compiler:
    """Compiles combinations of overrides, each once."""

    def __init__(self, contract: Contract, year: int, grid: Grid, build: Build) -> None:
        self._contract, self._year, self._build = contract, year, build
        self._own = contract.at(year)
        self._paths = [axis.path for axis in grid.axes]
        self._known: dict[tuple[Any, ...], tuple[Agreement, Compiled]] = {}

    def agreement(self, values: Mapping[str, Any]) -> Agreement:
        ordered = {path: values[path] for path in self._paths if path in values}
        try:
            moved = self._contract.override(ordered, where="grid")
            return moved.at(self._year, like=self._own)
        except ContractError as error:
            named = ", ".join(f"{path} = {value}" for path, value in ordered.items())
            raise GridError(f"{self._contract.name}, scenario {named}: {error}") from None

    def __call__(self, values: Mapping[str, Any]) -> tuple[Agreement, Compiled]:
        key = tuple(values.get(path) for path in self._paths)
        if key not in self._known:
            agreement = self.agreement(values)
            self._known[key] = agreement, self._build(agreement)
        return self._known[key]


def _classes(
    contract: Contract,
    year: int,
    grid: Grid,
    bundles: Sequence[_Bundle],
    build: Build,
) -> list[ScenarioClass]:
    compile_at = _Compiler(contract, year, grid, build)
    first = {axis.path: axis.values[0] for axis in grid.axes}
    by_shape = []
    for bundle in bundles:
        found: dict[tuple[Any, ...], list[int]] = {}
        for i, values in enumerate(bundle.combinations):
            found.setdefault(_shape(bundle, compile_at.agreement({**first, **values})), []).append(
                i
            )
        by_shape.append(list(found.values()))
    return [_class_of(grid, bundles, chosen, compile_at) for chosen in product(*by_shape)]


def _shape(bundle: _Bundle, agreement: Agreement) -> tuple[Any, ...]:
    """What decides a program's structure: not the size of numbers, but which there are."""
    shape: list[Any] = []
    for axis in bundle.axes:
        band = split_band_path(axis.path)
        value = agreement[axis.path if band is None else band[0]]
        if isinstance(value, Decimal):
            shape.append("number")
        elif isinstance(value, tuple) and value and isinstance(value[0], Band):
            shape.append(tuple((b.name, b.below is None) for b in value))
        else:
            shape.append(str(value))
    return tuple(shape)


def _structure(compiled: Compiled) -> tuple[Any, ...]:
    return (
        compiled.sources, compiled.terms, compiled.table.tobytes(), compiled.registers.tobytes(),
    )  # fmt: skip


def _class_of(
    grid: Grid,
    bundles: Sequence[_Bundle],
    chosen: Sequence[Sequence[int]],
    compile_at: _Compiler,
) -> ScenarioClass:
    combinations = [bundle.combinations for bundle in bundles]
    at_first = {
        path: value
        for combos, members in zip(combinations, chosen, strict=True)
        for path, value in combos[members[0]].items()
    }
    agreement, base = compile_at(at_first)
    owner: dict[int, int] = {}
    moved: list[tuple[list[int], NDArray[np.float64]]] = []
    for k, (combos, members) in enumerate(zip(combinations, chosen, strict=True)):
        rows = []
        for i in members:
            _, compiled = compile_at({**at_first, **combos[i]})
            if _structure(compiled) != _structure(base):
                named = ", ".join(f"{path} = {value}" for path, value in combos[i].items())
                raise GridError(
                    f"{agreement.name}: {named} changes the steps of the settlement in a way that "
                    "cannot stand in one grid with the other values; sweep it apart"
                )
            rows.append(compiled.constants()[0])
        values = np.array(rows)
        columns = np.flatnonzero((values != values[0]).any(axis=0)).tolist()
        for column in columns:
            if owner.setdefault(column, k) != k:
                raise _JointError(owner[column], k)
        moved.append((columns, values))
    places, positions = _places(grid, bundles, chosen)
    constants = np.repeat(base.constants(), len(places), axis=0)
    for (columns, values), position in zip(moved, positions, strict=True):
        constants[:, columns] = values[position][:, columns]
    return ScenarioClass(base, agreement, places, constants)


def _places(
    grid: Grid, bundles: Sequence[_Bundle], chosen: Sequence[Sequence[int]]
) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """Places in the grid of the chosen combinations, rising, and each one's place in its bundle."""
    order = {axis.path: i for i, axis in enumerate(grid.axes)}
    strides = np.ones(len(grid.axes), dtype=np.int64)
    for i in range(len(grid.axes) - 2, -1, -1):
        strides[i] = strides[i + 1] * grid.shape[i + 1]
    total = np.zeros(1, dtype=np.int64)
    shape = tuple(len(members) for members in chosen)
    for bundle, members in zip(bundles, chosen, strict=True):
        digits = np.unravel_index(
            np.array(members), tuple(len(axis.values) for axis in bundle.axes)
        )
        offset = sum(
            digit * strides[order[axis.path]]
            for digit, axis in zip(digits, bundle.axes, strict=True)
        )
        total = (total[:, None] + np.asarray(offset, dtype=np.int64)[None, :]).reshape(-1)
    rising = np.argsort(total, kind="stable")
    within = np.unravel_index(np.arange(len(total)), shape) if shape else ()
    return total[rising], [np.asarray(position)[rising] for position in within]
