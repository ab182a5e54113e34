"""Which hidden counts are held too closely between their ends, all equations together.

    feasible counts far from the true ones, several cells at once -> one cell at a time

Counts are whole and none is below nothing; whoever looks knows which rows nobody stands behind, so
that a hidden one counts at least 1. Whatever solves the equations shows how far apart each unknown
can be at least, so that few unknowns need ends of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from ihp_compute.results.suppression.moves import WIDE

_PART: Final = 1e-7
_MOST_ROUNDS: Final = 50
_MOST_TOGETHER: Final = 300
"""Unknowns whose ends are sought by all equations together."""
_UNBOUNDED: Final = np.iinfo(np.int64).max // 4
_NO_END: Final = 3
"""What the solver says where a count has no upper end."""


def close_cells(
    matrix: csr_array, hidden: NDArray[np.bool_], own: NDArray[np.int64], asked: NDArray[np.bool_]
) -> Iterator[tuple[int, list[int]]]:
    """Cells among those asked for whose ends lie too close, and the cells of equations that say so.

    Parameters
    ----------
    matrix : csr_array[n_equations, n]
        Equations whose counts add up.
    hidden : bool[n]
    own : int64[n]
        The true counts.
    asked : bool[n]
        Hidden cells with a small count.
    """
    least, most, told_by = ends(matrix, hidden, own)
    alone = np.flatnonzero(asked & (most - least < WIDE)).tolist()
    for cell in alone:
        by = matrix[np.unique(told_by[:, cell][told_by[:, cell] >= 0])]
        yield cell, np.unique(by.indices).tolist()
    if not alone:
        yield from _close_together(matrix, hidden, own, asked)


def _close_together(
    matrix: csr_array, hidden: NDArray[np.bool_], own: NDArray[np.int64], asked: NDArray[np.bool_]
) -> Iterator[tuple[int, list[int]]]:
    """The same by all equations that hang together."""
    unknown = np.flatnonzero(hidden)
    inside = matrix[:, unknown]
    joined = coo_array(inside)
    n, m = inside.shape
    both = coo_array((np.ones(joined.nnz), (joined.row, n + joined.col)), shape=(n + m, n + m))
    _, label = connected_components(both, directed=False)
    for part in np.unique(label[n:][asked[unknown]]).tolist():
        equations = np.flatnonzero(label[:n] == part)
        at = np.flatnonzero(label[n:] == part)
        if len(at) > _MOST_TOGETHER:
            continue
        cells = unknown[at]
        held = inside[equations][:, at].astype(float)
        for j, weights in _close(held, own[cells].astype(float), asked[cells]):
            by = matrix[equations[weights > _PART]]
            yield int(cells[j]), np.unique(by.indices).tolist()


def ends(
    matrix: csr_array, hidden: NDArray[np.bool_], own: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Least and most that each hidden count can be, an equation at a time, and which say so.

    Parameters
    ----------
    matrix : csr_array[n_equations, n]
        Equations whose counts add up.
    hidden : bool[n]
    own : int64[n]
        The true counts.

    Returns
    -------
    int64[n], int64[n], int64[2, n]
        Least, most, and the equation of each; -1 where none says anything.
    """
    least = np.where(hidden, np.minimum(own, 1), own)
    most = np.where(hidden, _UNBOUNDED, own)
    by = np.full((2, len(own)), -1)
    entries = coo_array(matrix)
    open_rows = np.zeros(matrix.shape[0], bool)
    open_rows[entries.row[hidden[entries.col]]] = True
    useful = open_rows[entries.row]
    place, cell, sign = entries.row[useful], entries.col[useful], entries.data[useful]
    n = matrix.shape[0]
    plus, mine = sign > 0, hidden[cell]
    for _ in range(_MOST_ROUNDS):
        low = np.where(plus, least[cell], -most[cell])
        high = np.where(plus, most[cell], -least[cell])
        open_low, open_high = low <= -_UNBOUNDED, high >= _UNBOUNDED
        low, high = np.where(open_low, 0, low), np.where(open_high, 0, high)
        others_low = np.bincount(place, low, n)[place] - low
        others_high = np.bincount(place, high, n)[place] - high
        top = np.where(
            np.bincount(place, open_low, n)[place] - open_low > 0, _UNBOUNDED, -others_low
        )
        bottom = np.where(
            np.bincount(place, open_high, n)[place] - open_high > 0, -_UNBOUNDED, -others_high
        )
        new_most, new_least = np.where(plus, top, -bottom), np.where(plus, bottom, -top)
        changed = False
        for values, found, side, tighten in (
            (most, new_most, 1, np.minimum),
            (least, new_least, 0, np.maximum),
        ):
            best = values.copy()
            whole = np.clip(found, -_UNBOUNDED, _UNBOUNDED).astype(np.int64)
            tighten.at(best, cell[mine], whole[mine])
            better = mine & (best[cell] != values[cell]) & (whole == best[cell])
            by[side, cell[better]] = place[better]
            changed |= bool(better.any())
            values[hidden] = best[hidden]
        if not changed:
            break
    return least, most, by


def _close(
    matrix: csr_array, own: NDArray[np.float64], asked: NDArray[np.bool_]
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Unknowns whose ends lie too close, and how much each equation says of that."""
    least = np.minimum(own, 1)
    right = matrix @ own
    low, high = own.copy(), own.copy()
    no_end = np.full(len(own), np.inf)

    def solve(
        aim: NDArray[np.float64], most: NDArray[np.float64]
    ) -> tuple[int, NDArray[np.float64]]:
        found = linprog(
            aim, A_eq=matrix, b_eq=right, bounds=np.column_stack([least, most]), method="highs"
        )
        if found.status == _NO_END:
            return _NO_END, right
        np.minimum(low, found.x, out=low)
        np.maximum(high, found.x, out=high)
        return found.status, np.abs(found.eqlin.marginals)

    left = asked & (high - low < WIDE)
    for side in (1.0, -1.0) * 4:
        # as many of them as can be at once, none further than it must
        n_left = int(left.sum())
        if n_left <= 1:
            break
        solve(np.where(left, -side, 0.0), np.where(left, own + WIDE, no_end))
        left &= high - low < WIDE - _PART
    for j in np.flatnonzero(left).tolist():
        weights = np.zeros(matrix.shape[0])
        for side in (-1.0, 1.0):
            if high[j] - low[j] >= WIDE - _PART:
                break
            aim = np.zeros(len(own))
            aim[j] = side
            status, by = solve(aim, no_end)
            if status == _NO_END:
                high[j] = np.inf
                break
            weights += by
        if high[j] - low[j] < WIDE - _PART:
            yield j, weights
