"""Which unknowns a system of linear equations determines, exactly, and by which equations.

Rows are eliminated sparsely, over the integers modulo a prime of 61 bits, an unknown of fewest
equations first: most stand in one equation only, and take it out of the system at no cost. Every
unknown that is left over may be anything; with values for those drawn once, the others follow, and
an unknown is determined where it comes to 0 whatever was drawn. That a draw hides one that is not
determined has a chance of one in 10^18.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

PRIME: Final = 2**61 - 1
_MIX: Final = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], np.uint64)
_SHIFTS: Final = np.array([30, 27, 31], np.uint64)

_Row = dict[int, int]


class Eliminated:
    """A system in the order of its elimination.

    Parameters
    ----------
    rows : sequence of mapping of unknown to int
        Coefficients of an equation each.
    """

    def __init__(self, rows: Sequence[Mapping[int, int]]) -> None:
        self._rows: list[_Row] = [{k: v % PRIME for k, v in row.items() if v} for row in rows]
        self._made_of: list[_Row] = [{i: 1} for i in range(len(rows))]
        self._columns: dict[int, set[int]] = {}
        for i, row in enumerate(self._rows):
            for k in row:
                self._columns.setdefault(k, set()).add(i)
        self._pivots: list[tuple[int, int]] = []
        self._eliminate()
        self._place = {column: at for at, (_, column) in enumerate(self._pivots)}

    def determined(self) -> set[int]:
        """Unknowns of which the equations leave one value."""
        values: dict[int, int] = {}
        drawn = numbers(max(self._columns, default=0) + 1).tolist()
        for row, column in reversed(self._pivots):
            left = 0
            for k, v in self._rows[row].items():
                if k != column:
                    if k not in values:
                        values[k] = drawn[k]
                    left += v * values[k]
            values[column] = -left * pow(self._rows[row][column], -1, PRIME) % PRIME
        return {column for column in self._place if values[column] == 0}

    def told_by(self, unknown: int) -> dict[int, int]:
        """How often each equation is taken to tell an unknown that is determined.

        Modulo `PRIME`; equations that are not taken are left out.
        """
        form: _Row = {unknown: 1}
        by: _Row = {}
        waiting = [self._place[unknown]]
        while waiting:
            row, column = self._pivots[heapq.heappop(waiting)]
            factor = form.get(column, 0) * pow(self._rows[row][column], -1, PRIME) % PRIME
            if not factor:
                continue
            _take(by, self._made_of[row], -factor)
            for k in _take(form, self._rows[row], factor):
                if k in self._place:
                    heapq.heappush(waiting, self._place[k])
        return by

    def _eliminate(self) -> None:
        waiting = [(len(rows), column) for column, rows in self._columns.items()]
        heapq.heapify(waiting)
        while waiting:
            degree, column = heapq.heappop(waiting)
            rows = self._columns[column]
            if not rows:
                continue
            if len(rows) != degree:
                heapq.heappush(waiting, (len(rows), column))
                continue
            pivot = min(rows, key=lambda i: (len(self._rows[i]), i))
            own = self._rows[pivot]
            inverse = pow(own[column], -1, PRIME)
            touched: set[int] = set()
            for other in sorted(rows - {pivot}):
                factor = self._rows[other][column] * inverse % PRIME
                before = set(self._rows[other])
                _take(self._rows[other], own, factor)
                _take(self._made_of[other], self._made_of[pivot], factor)
                after = set(self._rows[other])
                for k in before - after:
                    self._columns[k].discard(other)
                for k in after - before:
                    self._columns[k].add(other)
                touched |= before ^ after
            for k in own:
                self._columns[k].discard(pivot)
            touched.update(own)
            self._pivots.append((pivot, column))
            for k in touched:
                if self._columns[k]:
                    heapq.heappush(waiting, (len(self._columns[k]), k))


def _take(row: _Row, other: Mapping[int, int], factor: int) -> Iterable[int]:
    """Take a multiple of another row from a row; the unknowns that came to it."""
    came = []
    for k, v in other.items():
        held = row.get(k)
        left = ((held or 0) - factor * v) % PRIME
        if left:
            row[k] = left
            if held is None:
                came.append(k)
        else:
            row.pop(k, None)
    return came


def numbers(n: int) -> NDArray[np.uint64]:
    """Values for unknowns that may be anything: always the same, and like no other's.

    uint64[n], none of them 0 modulo `PRIME`; splitmix64 of the places.
    """
    mixed = np.arange(1, n + 1, dtype=np.uint64) * _MIX[0]
    mixed = (mixed ^ (mixed >> _SHIFTS[0])) * _MIX[1]
    mixed = (mixed ^ (mixed >> _SHIFTS[1])) * _MIX[2]
    mixed ^= mixed >> _SHIFTS[2]
    return mixed % np.uint64(PRIME - 1) + np.uint64(1)
