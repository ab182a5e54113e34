"""What is known of a program and its scenarios before any replicate is touched.

    program + scenarios -> what no scenario moves | what only terms make up | the rest, as lists

Scenarios are taken in an order in which terms that enter last vary fastest, and an operation is
repeated only when a term below it has changed: each set of terms that change from one scenario to
the next has its list of operations. A plan depends on no source, so partnerships share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np

from kernels.settle._fused import Operation
from kernels.settle.settle_grid import _cpu as grid_cpu
from kernels.settle.settle_grid import n_operands

_BITS: Final = 62
_MOST_LISTS: Final = 16
"""Lists worth compiling; where scenarios would need more, each does everything."""


class Plan:
    """A program cut into what never moves, what only terms make up, and the rest, in rows.

    Rows are numbered `live` first (not moved by any scenario), then one for each column of terms
    (moved, the same in all replicates), then one for each of `operations` (moved, by replicate).

    Attributes
    ----------
    n_live, n_terms, output : int
    operations : tuple of Operation
    scenarios : int64[n_scenarios]
        Their order.
    terms : float64[n_scenarios, n_terms]
        In that order.
    lists : tuple of tuple of int
        Operations by place; the last list has all of them.
    which : int64[n_scenarios]
        The list of each scenario, in order, after the one before it.
    join : int64[n_lists, n_lists]
        The shortest list that has all operations of two.
    """

    def __init__(self, constants: Any, program: Any, n_sources: int, output: int) -> None:
        n_constants = constants.shape[1]
        n_inputs = n_sources + n_constants
        rows = program.tolist()
        taken = [row[1 : 1 + n_operands(row[0])] for row in rows]
        moved = [False] * n_sources
        moved += (constants != constants[:1]).any(axis=0).tolist() if len(constants) else []
        moved += [False] * (n_inputs - len(moved))
        spread = [True] * n_sources + [False] * n_constants  # over replicates
        for operands in taken:
            moved.append(any(moved[k] for k in operands))
            spread.append(any(spread[k] for k in operands))
        needed = _needed(taken, n_inputs, output)
        once = [k for k in needed if k >= n_inputs and not moved[k]]
        by_terms = [k for k in needed if k >= n_inputs and not spread[k]]
        by_replicate = [k for k in needed if k >= n_inputs and moved[k] and spread[k]]
        read = {k for i in by_replicate for k in taken[i - n_inputs]} | {output}
        live = sorted(k for k in read if not moved[k])
        terms = sorted(k for k in read if moved[k] and not spread[k])
        self._first = np.ascontiguousarray(constants[:1])
        self._once = _Registers(rows, once, live, n_inputs)
        columns = _Registers(
            _shifted(rows, n_sources), [k - n_sources for k in by_terms],
            [k - n_sources for k in terms], n_constants,
        )(np.ascontiguousarray(constants.T), np.empty((1, 0)))  # fmt: skip
        self.n_live, self.n_terms = len(live), len(terms)
        place = {k: i for i, k in enumerate((*live, *terms, *by_replicate))}
        self.operations: tuple[Operation, ...] = tuple(
            (
                rows[k - n_inputs][0],
                place[k],
                tuple(place[operand] for operand in taken[k - n_inputs]),
            )
            for k in by_replicate
        )
        self.output = place[output]
        below: dict[int, int] = {k: 1 << min(i, _BITS) for i, k in enumerate(terms)}
        for k in by_replicate:
            below[k] = 0
            for operand in taken[k - n_inputs]:
                below[k] |= below.get(operand, 0)
        self._order(columns, [below[k] for k in by_replicate])

    def live(self, sources: Any) -> Any:
        """The rows that no scenario moves: float64[n_live, n_replicates]."""
        return self._once(sources, self._first)

    def _order(self, columns: Any, below: Sequence[int]) -> None:
        """Put scenarios in order, and find what each has to do again after the one before it."""
        n_scenarios = columns.shape[1]
        self.scenarios = np.arange(n_scenarios)
        reached = np.array(below, dtype=np.uint64)
        masks = _masks(columns)
        weight = [
            int(np.count_nonzero(reached & np.uint64(1 << min(i, _BITS))))
            for i in range(len(columns))
        ]
        if len(columns) and n_scenarios > 2:
            done = _work(masks, reached)
            if done > 1.2 * min(weight) + 0.5:
                order = np.lexsort([columns[i] for i in np.argsort(weight, kind="stable")])
                turned = np.ascontiguousarray(columns[:, order])
                found = _masks(turned)
                if _work(found, reached) < done:
                    self.scenarios, columns, masks = order, turned, found
        self.terms = np.ascontiguousarray(columns.T)
        distinct, which = np.unique(masks, return_inverse=True)
        everything = tuple(range(len(below)))
        wanted = [
            tuple(i for i, bits in enumerate(below) if bits & mask) for mask in distinct.tolist()
        ]
        if len(set(wanted)) > _MOST_LISTS:
            wanted = [everything] * len(wanted)
        self.lists = (
            *sorted({*wanted} - {everything}, key=lambda one: (len(one), one)),
            everything,
        )
        self.which = np.array([self.lists.index(one) for one in wanted], dtype=np.int64)[which]
        self.join = np.array(
            [
                [
                    next(k for k, one in enumerate(self.lists) if {*a, *b} <= {*one})
                    for b in self.lists
                ]
                for a in self.lists
            ]
        )


@lru_cache(maxsize=4)
def _kept_plan(
    constants: bytes, n_constants: int, program: bytes, n_sources: int, output: int
) -> Plan:
    return Plan(
        np.frombuffer(constants).reshape(-1, n_constants),
        np.frombuffer(program, dtype=np.int32).reshape(-1, 4), n_sources, output,
    )  # fmt: skip


def plan_of(constants: Any, program: Any, n_sources: int, output: int) -> Plan:
    """The plan of a program and its scenarios, made once for partnerships that share them."""
    if not constants.shape[1]:
        return Plan(constants, program, n_sources, output)
    return _kept_plan(constants.tobytes(), constants.shape[1], program.tobytes(), n_sources, output)


class _Registers:
    """Values of registers that rest on some operations alone."""

    def __init__(
        self,
        rows: Sequence[Sequence[int]],
        operations: Sequence[int],
        wanted: Sequence[int],
        n_inputs: int,
    ) -> None:
        place = {k: k for k in range(n_inputs)}
        place |= {k: n_inputs + i for i, k in enumerate(operations)}
        table = [
            [rows[k - n_inputs][0], *(place.get(r, 0) for r in rows[k - n_inputs][1:])]
            for k in operations
        ]
        self._table = np.array(table, dtype=np.int32).reshape(len(table), 4)
        self._wanted = np.array([place[k] for k in wanted], dtype=np.int32)

    def __call__(self, sources: Any, constants: Any) -> Any:
        """float64[n_wanted, n] of sources float64[n_sources, n] and one row of constants."""
        return grid_cpu(sources, constants, self._table, self._wanted)[0]


def _needed(taken: Sequence[Sequence[int]], n_inputs: int, output: int) -> list[int]:
    """Registers that the output rests on, in order."""
    needed, waiting = set(), [output]
    while waiting:
        k = waiting.pop()
        if k not in needed:
            needed.add(k)
            if k >= n_inputs:
                waiting.extend(taken[k - n_inputs])
    return sorted(needed)


def _shifted(rows: Sequence[Sequence[int]], n: int) -> list[list[int]]:
    """The rows where the constants are the only sources."""
    return [[row[0], *(max(0, k - n) for k in row[1:])] for row in rows]


def _masks(columns: Any) -> Any:
    """Bit i: column i differs from the scenario before; the first scenario has all of them."""
    n = columns.shape[1]
    masks = np.zeros(n, dtype=np.uint64)
    for i, column in enumerate(columns):
        masks[1:] |= (column[1:] != column[:-1]).astype(np.uint64) << np.uint64(min(i, _BITS))
    masks[:1] = (1 << 63) - 1
    return masks


def _work(masks: Any, reached: Any) -> float:
    """Operations done again for a scenario, on average."""
    distinct, counts = np.unique(masks, return_counts=True)
    each = [np.count_nonzero(reached & mask) for mask in distinct]
    return float(np.dot(each, counts)) / max(1, len(masks))
