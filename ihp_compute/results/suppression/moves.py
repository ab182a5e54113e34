"""Equations as a graph whose arcs are hidden cells: what moves people round, and how many.

A cell that stands in two equations, in one with a plus and in the other with a minus, moves people
from one to the other when it grows; one that stands in a single equation moves them in or out. So
hidden cells are arcs between equations, with the outside as one more place. Moves round a ring of
arcs leave all equations as they are: no arc of a ring is determined. What remains are arcs of no
ring, and cells of more equations than two; for these the equations that rings hold together are
one, the sum of all, and whatever the sums determine is determined, and nothing else is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from ihp_compute.results.small_cells import SMALL_CELL
from ihp_compute.results.suppression.elimination import numbers

WIDE: Final = SMALL_CELL - 1
"""Least that must lie between the ends of a small count."""


@dataclass(frozen=True)
class Moves:
    """Hidden cells as arcs.

    Parameters
    ----------
    matrix : csr_array[n, n_equations]
        Signs of each cell in the equations.
    hidden : bool[n]
    """

    matrix: csr_array
    hidden: NDArray[np.bool_]

    @property
    def n_equations(self) -> int:
        """Places that are equations; the outside is one more."""
        return int(self.matrix.shape[1])

    @cached_property
    def _degree(self) -> NDArray[np.int64]:
        return np.diff(self.matrix.indptr)

    @cached_property
    def arcs(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Cells that are arcs; from where and to where people move as one grows: int64[m]."""
        start, row, sign = self.matrix.indptr, self.matrix.indices, self.matrix.data
        one = np.flatnonzero(self.hidden & (self._degree == 1))
        two = np.flatnonzero(self.hidden & (self._degree == 2))
        two = two[sign[start[two]] != sign[start[two] + 1]]
        cell = np.concatenate([one, two])
        here = row[start[cell]].astype(np.int64)
        there = np.concatenate([np.full(len(one), self.n_equations), row[start[two] + 1]])
        grows = sign[start[cell]] > 0
        return cell, np.where(grows, there, here), np.where(grows, here, there)

    @property
    def of_nothing(self) -> NDArray[np.bool_]:
        """Hidden cells that stand in no equation: bool[n]."""
        return self.hidden & (self._degree == 0)

    @cached_property
    def in_ring(self) -> NDArray[np.bool_]:
        """Cells that are arcs of a ring: bool[n].

        Arcs that close a ring in a spanning forest have a number each; an arc of the forest the
        exclusive or of those whose rings it is in.
        """
        cell, source, sink = self.arcs
        found = np.zeros(len(self.hidden), bool)
        at: dict[int, list[tuple[int, int]]] = {}
        for k, (u, v) in enumerate(zip(source.tolist(), sink.tolist(), strict=True)):
            at.setdefault(u, []).append((v, k))
            at.setdefault(v, []).append((u, k))
        number = dict.fromkeys(at, 0)
        tags = numbers(len(cell)).tolist()
        up: dict[int, tuple[int, int]] = {}
        rings = []
        seen: set[int] = set()
        for root in at:
            if root in seen:
                continue
            seen.add(root)
            order, used = [root], {-1}
            for u in order:
                for v, k in at[u]:
                    if v not in seen:
                        seen.add(v)
                        used.add(k)
                        up[v] = u, k
                        order.append(v)
                    elif k not in used:
                        used.add(k)
                        rings.append(k)
                        tag = tags[k]
                        number[u] ^= tag
                        number[v] ^= tag
            for v in reversed(order):
                if v in up:
                    u, k = up[v]
                    number[u] ^= number[v]
                    if number[v]:
                        rings.append(k)
        found[cell[rings]] = True
        return found

    @cached_property
    def place(self) -> NDArray[np.int64]:
        """The sum that each equation is part of; that of the outside is -1: int64[n]."""
        cell, source, sink = self.arcs
        ring = self.in_ring[cell]
        n = self.n_equations + 1
        joined = coo_array((np.ones(int(ring.sum())), (source[ring], sink[ring])), shape=(n, n))
        _, label = connected_components(joined, directed=False)
        return np.where(label[:-1] == label[-1], -1, label[:-1])

    def sums(self, cells: NDArray[np.bool_]) -> csr_array:
        """Sums of equations, of these cells: int64[n_sums, n]."""
        held = coo_array(self.matrix[np.flatnonzero(cells)])
        row = self.place[held.col]
        inside = row >= 0
        found = csr_array(
            (held.data[inside], (row[inside], np.flatnonzero(cells)[held.row[inside]])),
            shape=(self.n_equations + 1, len(cells)),
        )
        found.sum_duplicates()
        found.eliminate_zeros()
        return found

    def wide(self, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Arcs whose count may be anything from 1 to 10: bool[n].

        Between places of a class nine people can be moved either way. What can be moved from a
        first to a second and from there to a third can be moved from the first to the third; so
        places of a class are as one, and what leads into them adds up.
        """
        cell, source, sink = self.arcs
        own = np.maximum(counts[cell] - 1, 0)
        n = self.n_equations + 1
        lower = self._less(own, n)
        label = np.arange(n)
        n_classes = n
        while True:
            u, v = label[source], label[sink]
            apart = u != v
            back = _matrix(own[apart], v[apart], u[apart], n_classes)
            forth = _matrix(np.ones(int(apart.sum()), np.int64), u[apart], v[apart], n_classes)
            moved = (back + forth * WIDE + (back @ forth).maximum(forth @ back)).tocoo()
            enough = moved.data >= WIDE
            graph = coo_array(
                (moved.data[enough], (moved.row[enough], moved.col[enough])), shape=moved.shape
            )
            fewer, of = connected_components(graph, connection="strong")
            label = of[label]
            if fewer == n_classes:
                break
            n_classes = fewer
        found = np.zeros(len(counts), bool)
        found[cell[(label[source] == label[sink]) & (lower >= np.minimum(own, WIDE))]] = True
        return found

    def _less(self, own: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        """How much less each arc may be, if two others grow and one shrinks: int64[m]."""
        _, source, sink = self.arcs
        grow = _matrix(np.ones(len(own), np.int64), source, sink, n)
        grow.data[:] = 1
        shrink = _matrix(own, sink, source, n)
        there, here = shrink @ grow, grow @ shrink
        through = _at(grow @ there, source, sink)
        by_itself = there.diagonal()[sink] + here.diagonal()[source] - _at(shrink, sink, source)
        return through - by_itself


def _matrix(
    data: NDArray[np.int64], row: NDArray[np.int64], column: NDArray[np.int64], n: int
) -> csr_array:
    return csr_array((data, (row, column)), shape=(n, n))


def _at(matrix: csr_array, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.int64]:
    """Entries of a sparse matrix, 0 where there is none."""
    ordered = matrix.tocsr()
    ordered.sort_indices()
    n = ordered.shape[1]
    of_row = np.repeat(np.arange(ordered.shape[0]), np.diff(ordered.indptr))
    keys, wanted = of_row * n + ordered.indices, row * n + column
    if not len(keys):
        return np.zeros(len(wanted), np.int64)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, ordered.data[place], 0)
