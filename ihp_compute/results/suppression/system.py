"""Which cells are hidden, so that no small one follows from what is shown.

    small -> in each equation two hidden, eleven people -> all equations together -> ends of counts

A cell is a count of people, or of people behind an event; an equation says which counts add up to
nothing when the total is taken away. The choice rests on counts and names: of the shown cells of an
equation the smallest is hidden, by people, then by name, until at least two are hidden and stand
for eleven people or more. Then the equations are solved together, the hidden counts being unknown,
and where a small one is determined the smallest shown cell that takes part in what determines it is
hidden. Last, each count is held between the ends that whole numbers leave it: a small one that is
known more closely than 1 to 10 is no better than one shown.

Of most small cells both are known without solving anything (`moves`); what is left is solved.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ihp_compute.results.small_cells import SMALL_CELL
from ihp_compute.results.suppression.elimination import PRIME, Eliminated
from ihp_compute.results.suppression.ends import close_cells
from ihp_compute.results.suppression.moves import WIDE, Moves

Name = tuple[str, ...]
N_COUNTS: Final = 2
"""Counts of a cell that must not be small: people, and what else its measure counts."""
_MOST_ROUNDS: Final = 400


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
    alone : bool
        Whether two of its cells must be hidden if one is.
    together : bool
        Whether it says anything that others do not.
    """

    cells: NDArray[np.int64]
    signs: NDArray[np.int64]
    adds_up: bool = True
    alone: bool = True
    together: bool = True


@dataclass(frozen=True)
class System:
    """Cells and equations of one measure, or of several that are told together.

    Attributes
    ----------
    names : sequence of tuple of str
        Orders cells of equal counts; no two are the same.
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

    def by_name(self) -> tuple[System, NDArray[np.int64]]:
        """The same with cells and equations in the order of names, and the place of each cell."""
        order = np.array(sorted(range(len(self.names)), key=self.names.__getitem__), np.int64)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        equations = {}
        for e in self.equations:
            if len(e.cells):
                cells = place[e.cells]
                at = np.argsort(cells)
                cells, signs = cells[at], e.signs[at]
                key = (cells.tobytes(), (signs * signs[0]).tobytes(), e.alone, e.together)
                equations[key] = Equation(cells, signs, e.adds_up, e.alone, e.together)
        moved = System(
            [self.names[k] for k in order.tolist()], self.counts[order], self.hidden[order],
            self.is_row[order], self.may_hide[order], [equations[k] for k in sorted(equations)],
        )  # fmt: skip
        return moved, place


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
    moved, place = system.by_name()
    found = _Hiding(moved).choice()
    exposed = np.isin(place, found.exposed)
    return Choice(found.hidden[place], np.flatnonzero(exposed))


class _Entries:
    """Equations as one matrix, equation by cell, in the order of its entries."""

    def __init__(self, equations: Sequence[Equation], n_cells: int) -> None:
        self.n = len(equations)
        sizes = [len(e.cells) for e in equations]
        nothing = [np.empty(0, np.int64)]
        self.row = np.repeat(np.arange(self.n), sizes)
        self.cell = np.concatenate([*nothing, *(e.cells for e in equations)])
        self.sign = np.concatenate([*nothing, *(e.signs for e in equations)])
        self.adds_up = np.array([e.adds_up for e in equations], bool)
        self.matrix = csr_array((self.sign, (self.row, self.cell)), shape=(self.n, n_cells))
        self.by_cell = self.matrix.T.tocsr()


class _Hiding:
    """The cells hidden so far."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.small = system.small
        self.hidden = system.hidden | (self.small & system.is_row & system.may_hide)
        self.order = _order(system)
        n = len(system.names)
        self.alone = [e for e in system.equations if e.alone]
        self.each = _Entries(self.alone, n)
        self.all = _Entries([e for e in system.equations if e.together], n)
        self.waiting: deque[int] = deque(self._lacking().tolist())
        self.pattern = abs(self.all.matrix)
        self.times = np.zeros(n, np.int64)
        self.moved = False

    def choice(self) -> Choice:
        told: set[int] = set()
        for _ in range(_MOST_ROUNDS):
            self._each_equation()
            told = self._told()
            if not told or not self.moved:
                break
        shown = np.flatnonzero(self.small & self.system.is_row & ~self.hidden).tolist()
        return Choice(self.hidden, np.array(sorted({*shown, *told}), np.int64))

    def _hide(self, cell: int) -> None:
        self.hidden[cell] = True
        at = self.each.by_cell.indptr
        self.waiting.extend(self.each.by_cell.indices[at[cell] : at[cell + 1]].tolist())

    def _smallest_shown(self, cells: NDArray[np.int64], count: int = 0) -> int | None:
        """The shown row to hide next; None where no row is left that somebody stands behind."""
        free = self._free(cells, count)
        return int(free[np.argmin(self.order[free])]) if len(free) else None

    def _free(self, cells: NDArray[np.int64], count: int = 0) -> NDArray[np.int64]:
        """Shown rows among cells that may be hidden and have somebody behind them."""
        free = cells[self.system.may_hide[cells] & ~self.hidden[cells]]
        return free[self.system.counts[free, count] > 0]

    def _each_equation(self) -> None:
        while self.waiting:
            equation = self.alone[self.waiting.popleft()]
            while (count := self._lacks(equation)) is not None:
                cell = self._smallest_shown(equation.cells, count)
                if cell is None:
                    break
                self._hide(cell)

    def _lacking(self) -> NDArray[np.int64]:
        """Equations in which too little may be hidden."""
        each, inside = self.each, self.hidden[self.each.cell]
        row, cell = each.row[inside], each.cell[inside]
        few = np.bincount(row, minlength=each.n) < 2
        plus = np.bincount(row, each.sign[inside] > 0, each.n)
        one_side = (plus == 0) | (plus == np.bincount(row, minlength=each.n))
        for count in self.system.counts.T:
            behind = np.bincount(row, count[cell], each.n)
            room = np.bincount(row, np.maximum(count[cell] - 1, 0), each.n)
            few |= one_side & each.adds_up & (room < WIDE)
            most = np.zeros(each.n, np.int64)
            np.maximum.at(most, row, count[cell])
            behind = np.where(each.adds_up, behind, most)
            few |= (behind >= 1) & (behind <= SMALL_CELL)
        asked = np.zeros(each.n, bool)
        asked[row[self.small[cell] | self.system.is_row[cell]]] = True
        return np.flatnonzero(few & asked)

    def _lacks(self, equation: Equation) -> int | None:
        """A count of which too little is hidden in an equation; None where enough is."""
        cells = equation.cells[self.hidden[equation.cells]]
        if not (self.small[cells] | self.system.is_row[cells]).any():
            return None
        if len(cells) < 2:
            return 0
        counts = self.system.counts[cells]
        behind = counts.sum(axis=0) if equation.adds_up else counts.max(axis=0)
        lacking = (behind >= 1) & (behind <= SMALL_CELL)
        signs = equation.signs[self.hidden[equation.cells]]
        if equation.adds_up and (signs == signs[0]).all():
            small = ((counts >= 1) & (counts <= SMALL_CELL)).any(axis=0)
            lacking |= small & (np.maximum(counts - 1, 0).sum(axis=0) < WIDE)
        return int(np.argmax(lacking)) if lacking.any() else None

    def _told(self) -> set[int]:
        """Small cells that the equations determine, else hold too closely; more is hidden."""
        moves = Moves(self.all.by_cell, self.hidden)
        told = self._determined(moves)
        if told:
            self._protect(told)
            return set(told)
        close = self._close(moves)
        self._protect(close)
        return set(close)

    def _determined(self, moves: Moves) -> dict[int, dict[int, int]]:
        """Small cells that follow from what is shown, each with the shown cells that tell it."""
        left = self.hidden & ~moves.in_ring & ~moves.of_nothing
        if not (left & self.small).any():
            return {}
        sums = moves.sums(np.ones(len(left), bool))
        rows, of_row = [], []
        for k in np.flatnonzero(np.diff(sums.indptr)).tolist():
            at = slice(sums.indptr[k], sums.indptr[k + 1])
            cells, signs = sums.indices[at], sums.data[at]
            inside = left[cells]
            if inside.any():
                of_row.append((cells.tolist(), signs.tolist()))
                rows.append(dict(zip(cells[inside].tolist(), signs[inside].tolist(), strict=True)))
        solved = Eliminated(rows)
        told = {}
        for cell in sorted(solved.determined()):
            if self.small[cell]:
                told[cell] = _combined(of_row, solved.told_by(cell))
        return told

    def _close(self, moves: Moves) -> dict[int, set[int]]:
        """Small cells whose ends lie closer than 1 and 10, each with cells that say so."""
        told: dict[int, set[int]] = {}
        for count in range(N_COUNTS):
            own = self.system.counts[:, count]
            asked = self.hidden & (own >= 1) & (own <= SMALL_CELL) & ~moves.of_nothing
            asked &= ~moves.wide(own)
            if asked.any():
                adds_up = self.all.matrix[np.flatnonzero(self.all.adds_up)]
                for cell, by in close_cells(adds_up, self.hidden, own, asked):
                    told.setdefault(cell, set()).update(by)
        return told

    def _protect(self, told: Mapping[int, Collection[int]]) -> None:
        """For each cell hide the smallest shown row of those that tell of it; more each time.

        Where none is left, of those that share an equation with a hidden one of them. Cells of
        which the same rows tell have the same row hidden for them.
        """
        near: dict[tuple[bytes, int], list[int]] = {}
        for cell, by in told.items():
            cells = np.array(sorted(by), np.int64)
            self.times[cell] += 1
            key = cells.tobytes(), int(self.times[cell])
            if key not in near:
                near[key] = self._smallest_near(cells, key[1])
        more = sorted({row for rows in near.values() for row in rows})
        for row in more:
            self._hide(row)
        self.moved = bool(more)

    def _smallest_near(self, cells: NDArray[np.int64], n: int) -> list[int]:
        while True:
            free = self._free(cells)
            if len(free):
                return free[np.argsort(self.order[free])][:n].tolist()
            inside = np.zeros(len(self.hidden), bool)
            inside[cells] = True
            inside &= self.hidden
            equations = (self.pattern @ inside) > 0
            wider = np.flatnonzero(self.pattern.T @ equations)
            if len(wider) <= len(cells):
                return []
            cells = wider


def _combined(rows: Sequence[tuple[list[int], list[int]]], by: Mapping[int, int]) -> dict[int, int]:
    """Cells of equations taken so often each, modulo `PRIME`; those that do not cancel."""
    found: dict[int, int] = {}
    for k, factor in by.items():
        for cell, sign in zip(*rows[k], strict=True):
            found[cell] = found.get(cell, 0) + factor * sign
    return {cell: value for cell, value in found.items() if value % PRIME}


def _order(system: System) -> NDArray[np.int64]:
    """Places of cells by people, then by name."""
    n = len(system.names)
    order = np.empty(n, np.int64)
    order[np.lexsort((np.arange(n), system.counts[:, 1], system.counts[:, 0]))] = np.arange(n)
    return order
