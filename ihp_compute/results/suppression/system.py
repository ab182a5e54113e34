"""Which cells are hidden, so that no small one follows from what is shown.

    small -> in each equation two hidden, eleven people -> all equations together -> ends of counts

A cell is a count of people, or of people behind an event; an equation says which counts add up to
nothing when the total is taken away. The choice rests on counts and names: of the shown cells of an
equation the smallest is hidden, by people, then by name, until at least two are hidden and stand
for eleven people or more. Then the equations are solved together, the hidden counts being unknown,
and where a small one is determined the smallest shown cell of the equations that determine it is
hidden. Last, each count is held between the ends that whole numbers leave it: a small one that is
known more closely than 1 to 10 is no better than one shown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from ihp_compute.results.small_cells import SMALL_CELL
from ihp_compute.results.suppression.elimination import Eliminated

Name = tuple[str, ...]
N_COUNTS: Final = 2
"""Counts of a cell that must not be small: people, and what else its measure counts."""
_PART: Final = 1e-7
_MOST_ROUNDS: Final = 200
_MOST_TOGETHER: Final = 300
"""Unknowns whose ends are sought by all equations together."""
_WIDE: Final = SMALL_CELL - 1
"""Least that must lie between the ends of a small count."""
_NO_END: Final = 3
"""What the solver says where a count has no upper end."""
_UNBOUNDED: Final = np.iinfo(np.int64).max // 4


@dataclass(frozen=True)
class Equation:
    """Signed counts of cells add up to nothing.

    Attributes
    ----------
    cells : int64[n]
    signs : int64[n]
        1 or -1.
    adds_up : bool
        Whether people add up; where one may stand in several cells, only their months and dollars
        do, and behind several cells there are for certain as many people as behind the largest.
    """

    cells: NDArray[np.int64]
    signs: NDArray[np.int64]
    adds_up: bool = True


@dataclass(frozen=True)
class System:
    """Cells and equations of one measure, or of several that are told together.

    Attributes
    ----------
    names : sequence of tuple of str
        Orders cells of equal counts.
    counts : int64[n, 2]
        People, and what else must not be small; 0 where there is no second count.
    hidden : bool[n]
        Cells that are not shown, whatever their counts.
    is_row : bool[n]
        Cells that stand in a table. Another follows from those or does not.
    may_hide : bool[n]
        Rows that are not known otherwise.
    equations : sequence of Equation
    """

    names: Sequence[Name]
    counts: NDArray[np.int64]
    hidden: NDArray[np.bool_]
    is_row: NDArray[np.bool_]
    may_hide: NDArray[np.bool_]
    equations: Sequence[Equation]

    @property
    def small(self) -> NDArray[np.bool_]:
        """Cells with a small count."""
        small: NDArray[np.bool_] = (self.counts >= 1) & (self.counts <= SMALL_CELL)
        return np.logical_or.reduce(small, axis=1)


@dataclass(frozen=True)
class Choice:
    """What is hidden, and which small cells nothing can protect.

    Attributes
    ----------
    hidden : bool[n]
    exposed : int64[k]
        Small cells that nothing can protect: what was shown before, or what is no row, gives them
        away.
    """

    hidden: NDArray[np.bool_]
    exposed: NDArray[np.int64]


def choose(system: System) -> Choice:
    """Hide small cells, and others until no small one is determined."""
    return _Hiding(system).choice()


class _Hiding:
    """The cells hidden so far."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.small = system.small
        self.hidden = system.hidden | (self.small & system.is_row & system.may_hide)
        self.order = _order(system)
        self.equations = [e for e in system.equations if len(e.cells)]
        self.of_cell: list[list[int]] = [[] for _ in system.names]
        for k, equation in enumerate(self.equations):
            for cell in equation.cells.tolist():
                self.of_cell[cell].append(k)
        self.waiting: deque[int] = deque(range(len(self.equations)))
        self.moved = False

    def choice(self) -> Choice:
        told: set[int] = set()
        for _ in range(_MOST_ROUNDS):
            self._each_equation()
            told = self._together() or self._closely() or self._closely_together()
            if not told or not self.moved:
                break
        shown = np.flatnonzero(self.small & self.system.is_row & ~self.hidden).tolist()
        return Choice(self.hidden, np.array(sorted({*shown, *told}), np.int64))

    def _hide(self, cell: int) -> None:
        self.hidden[cell] = True
        self.waiting.extend(self.of_cell[cell])

    def _smallest_shown(self, cells: NDArray[np.int64], count: int = 0) -> int | None:
        """The shown row to hide next; None where no row is left that somebody stands behind."""
        free = cells[self.system.may_hide[cells] & ~self.hidden[cells]]
        free = free[self.system.counts[free, count] > 0]
        return int(free[np.argmin(self.order[free])]) if len(free) else None

    def _each_equation(self) -> None:
        while self.waiting:
            equation = self.equations[self.waiting.popleft()]
            while (count := self._lacks(equation)) is not None:
                cell = self._smallest_shown(equation.cells, count)
                if cell is None:
                    break
                self._hide(cell)

    def _lacks(self, equation: Equation) -> int | None:
        """A count of which too little is hidden in an equation; None where enough is."""
        cells = equation.cells[self.hidden[equation.cells]]
        if not (self.small[cells] | self.system.is_row[cells]).any():
            return None
        if len(cells) < 2:
            return 0
        counts = self.system.counts[cells]
        behind = counts.sum(axis=0) if equation.adds_up else counts.max(axis=0)
        lacking = np.flatnonzero((behind >= 1) & (behind <= SMALL_CELL))
        return int(lacking[0]) if len(lacking) else None

    def _parts(self) -> Iterable[tuple[NDArray[np.int64], NDArray[np.int64], csr_array]]:
        """Equations and hidden cells that hang together, with their matrix, where any is small."""
        rows, columns, signs = [], [], []
        for k, equation in enumerate(self.equations):
            inside = self.hidden[equation.cells]
            if inside.any():
                rows.append(np.full(int(inside.sum()), k))
                columns.append(equation.cells[inside])
                signs.append(equation.signs[inside])
        if not rows:
            return
        row, column, sign = (np.concatenate(found) for found in (rows, columns, signs))
        n, m = len(self.equations), len(self.hidden)
        joined = coo_array((np.ones(len(row)), (row, n + column)), shape=(n + m, n + m))
        _, label = connected_components(joined, directed=False)
        matrix = csr_array((sign.astype(float), (row, column)), shape=(n, m))
        used = np.unique(row)
        unknown = np.unique(column)
        by_label: dict[int, tuple[list[int], list[int]]] = {}
        for k in used.tolist():
            by_label.setdefault(int(label[k]), ([], []))[0].append(k)
        for j in unknown.tolist():
            by_label[int(label[n + j])][1].append(j)
        for equations, cells in by_label.values():
            if self.small[cells].any():
                at = np.array(equations), np.array(cells)
                yield (*at, matrix[at[0]][:, at[1]])

    def _together(self) -> set[int]:
        """Small cells that the equations determine together; more is hidden for each."""
        rows, of_row = [], []
        for k, equation in enumerate(self.equations):
            inside = self.hidden[equation.cells]
            if inside.any():
                cells, signs = equation.cells[inside], equation.signs[inside]
                rows.append(dict(zip(cells.tolist(), signs.tolist(), strict=True)))
                of_row.append(k)
        solved = Eliminated(rows)
        told = {
            cell: [of_row[i] for i in solved.told_by(cell)]
            for cell in sorted(solved.determined())
            if self.small[cell]
        }
        self._protect(told)
        return set(told)

    def _closely(self) -> set[int]:
        """Small cells whose ends lie closer than 1 and 10; more is hidden for each."""
        told: dict[int, list[int]] = {}
        for count in range(N_COUNTS):
            least, most, by = ends(self.system, self.hidden, self.equations, count)
            own = self.system.counts[:, count]
            close = self.hidden & (own >= 1) & (own <= SMALL_CELL) & (most - least < _WIDE)
            for cell in np.flatnonzero(close).tolist():
                told[cell] = [int(k) for k in by[:, cell] if k >= 0]
        self._protect(told)
        return set(told)

    def _closely_together(self) -> set[int]:
        """The same by all equations together, where they are not too many."""
        told: dict[int, list[int]] = {}
        for count in range(N_COUNTS):
            for equations, cells, matrix in list(self._parts()):
                own = self.system.counts[cells, count]
                few = len(cells) <= _MOST_TOGETHER
                if not few or not ((own >= 1) & (own <= SMALL_CELL)).any():
                    continue
                adds_up = [i for i, k in enumerate(equations) if self.equations[k].adds_up]
                for j, weights in _close(matrix[adds_up], own):
                    by = equations[np.array(adds_up)][weights > _PART]
                    told[int(cells[j])] = by.tolist()
        self._protect(told)
        return set(told)

    def _protect(self, told: Mapping[int, Sequence[int]]) -> None:
        """For each cell hide the smallest shown row of the equations that tell of it.

        Where none is left, of those that share a hidden cell with them. Cells that the same
        equations tell of have the same row hidden for them.
        """
        more = set()
        for by in told.values():
            near, row = set(by), None
            while near and row is None:
                cells = np.unique(np.concatenate([self.equations[k].cells for k in near]))
                row = self._smallest_shown(cells)
                hidden = cells[self.hidden[cells]].tolist()
                wider = {k for c in hidden for k in self.of_cell[c]} | near
                if wider == near:
                    break
                near = wider
            if row is not None:
                more.add(row)
        for row in sorted(more):
            self._hide(row)
        self.moved = bool(more)


def _close(matrix: csr_array, own: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Small unknowns whose ends lie too close, and how much each equation says of that.

    Whatever solves the equations shows how far apart each unknown can be at least, so that few
    unknowns need ends of their own.
    """
    small = (own >= 1) & (own <= SMALL_CELL)
    bounds = np.column_stack([np.minimum(own, 1), np.full(len(own), np.inf)])
    held = matrix @ own
    low, high = own.astype(float), own.astype(float)
    for j in np.flatnonzero(small).tolist():
        if high[j] - low[j] >= _WIDE:
            continue
        weights = np.zeros(matrix.shape[0])
        for side in (-1.0, 1.0):
            aim = np.zeros(len(own))
            aim[j] = side
            found = linprog(aim, A_eq=matrix, b_eq=held, bounds=bounds, method="highs")
            if found.status == _NO_END:
                high[j] = np.inf
                break
            low, high = np.minimum(low, found.x), np.maximum(high, found.x)
            weights += np.abs(found.eqlin.marginals)
            if high[j] - low[j] >= _WIDE:
                break
        if high[j] - low[j] < _WIDE - _PART:
            yield j, weights


def _order(system: System) -> NDArray[np.int64]:
    """Places of cells by people, then by name."""
    by_name = sorted(range(len(system.names)), key=system.names.__getitem__)
    named = np.empty(len(by_name), np.int64)
    named[by_name] = np.arange(len(by_name))
    order = np.empty(len(by_name), np.int64)
    order[np.lexsort((named, system.counts[:, 1], system.counts[:, 0]))] = np.arange(len(by_name))
    return order


def ends(
    system: System, hidden: NDArray[np.bool_], equations: Sequence[Equation], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Least and most that each hidden count can be, and the equations that say so.

    Whoever looks knows which rows nobody stands behind, so that a hidden one counts at least 1.

    Returns
    -------
    int64[n], int64[n], int64[2, n]
        Least, most, and the equation of each; -1 where none says anything.
    """
    own: Any = system.counts[:, count]
    least = np.where(hidden, np.minimum(own, 1), own)
    most = np.where(hidden, _UNBOUNDED, own)
    by = np.full((2, len(own)), -1)
    useful = [(k, e) for k, e in enumerate(equations) if e.adds_up and hidden[e.cells].any()]
    if not useful:
        return least, most, by
    sizes = np.array([len(e.cells) for _, e in useful])
    place = np.repeat(np.arange(len(useful)), sizes)
    number = np.array([k for k, _ in useful])
    cell = np.concatenate([e.cells for _, e in useful])
    sign = np.concatenate([e.signs for _, e in useful])
    for _ in range(_MOST_ROUNDS):
        # the lower end of a term, and whether it is open
        low = np.where(sign > 0, least[cell], -most[cell])
        high = np.where(sign > 0, most[cell], -least[cell])
        open_low, open_high = low <= -_UNBOUNDED, high >= _UNBOUNDED
        sums_low = np.bincount(place, np.where(open_low, 0, low), len(useful))
        sums_high = np.bincount(place, np.where(open_high, 0, high), len(useful))
        n_low = np.bincount(place, open_low, len(useful))
        n_high = np.bincount(place, open_high, len(useful))
        others_low = sums_low[place] - np.where(open_low, 0, low)
        others_high = sums_high[place] - np.where(open_high, 0, high)
        top = np.where(n_low[place] - open_low > 0, _UNBOUNDED, -others_low)
        bottom = np.where(n_high[place] - open_high > 0, -_UNBOUNDED, -others_high)
        new_most = np.where(sign > 0, top, -bottom)
        new_least = np.where(sign > 0, bottom, -top)
        before = least.copy(), most.copy()
        for values, found, side, tighten in (
            (most, new_most, 1, np.minimum),
            (least, new_least, 0, np.maximum),
        ):
            best = values.copy()
            tighten.at(best, cell, np.clip(found, -_UNBOUNDED, _UNBOUNDED).astype(np.int64))
            better = (best[cell] != values[cell]) & (found == best[cell]) & hidden[cell]
            by[side, cell[better]] = number[place[better]]
            values[hidden] = best[hidden]
        if np.array_equal(before[0], least) and np.array_equal(before[1], most):
            break
    return least, most, by
