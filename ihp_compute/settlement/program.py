"""Arithmetic written down before it is done: expressions that become a program for `settle_grid`.

    p = Program()
    savings = p.source("target") - p.source("observed")
    payment = p.round(savings * p.term("settlement.gain.share", Decimal("0.5")))
    p.compile({"payment": payment}).run({"target": ..., "observed": ...})

An expression is kept once, however often it is written. What no output needs is left out.
Sources are arrays over replicates (or over rows of a table); terms are constants, each rounded once
from Decimal, under the name by which a sweep addresses them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import compress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.errors import DataError
from ihp_compute.units import EXACT_FLOAT_LIMIT
from kernels.settle.settle_grid import WHOLE, Op, n_operands, settle_grid

_SOURCE: Final = "source"
_TERM: Final = "term"


class Node:
    """A register of a program that is being written."""

    __slots__ = ("index", "program")

    def __init__(self, program: Program, index: int) -> None:
        self.program, self.index = program, index

    def __add__(self, other: Node) -> Node:
        """The sum."""
        return self.program.apply(Op.ADD, self, other)

    def __sub__(self, other: Node) -> Node:
        """The difference."""
        return self.program.apply(Op.SUBTRACT, self, other)

    def __mul__(self, other: Node) -> Node:
        """The product."""
        return self.program.apply(Op.MULTIPLY, self, other)

    def __truediv__(self, other: Node) -> Node:
        """The quotient; 0 where the divisor is 0."""
        return self.program.apply(Op.DIVIDE, self, other)

    def __lt__(self, other: Node) -> Node:
        """1 where less, else 0."""
        return self.program.apply(Op.LESS, self, other)

    def __le__(self, other: Node) -> Node:
        """1 where at most, else 0."""
        return self.program.apply(Op.AT_MOST, self, other)


class Program:
    """Expressions over sources and terms."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []
        self._known: dict[tuple[Any, ...], int] = {}
        self._values: dict[str, Decimal] = {}

    def _node(self, row: tuple[Any, ...]) -> Node:
        index = self._known.setdefault(row, len(self._rows))
        if index == len(self._rows):
            self._rows.append(row)
        return Node(self, index)

    def source(self, name: str) -> Node:
        """An array over replicates, given when the program runs."""
        return self._node((_SOURCE, name))

    def term(self, name: str, value: Decimal | int) -> Node:
        """A constant under a name; a sweep gives it another value for each scenario."""
        known = self._values.setdefault(name, Decimal(value))
        if known != Decimal(value):
            raise ValueError(f"term {name} was given {known} and now {value}")
        return self._node((_TERM, name))

    def number(self, value: int) -> Node:
        """A literal."""
        return self.term(f"literal {value}", value)

    def apply(self, op: Op, a: Node, b: Node | None = None, c: Node | None = None) -> Node:
        """The result of an operation."""
        row = (
            int(op), a.index, 0 if b is None else b.index, 0 if c is None else c.index
        )  # fmt: skip
        return self._node(row)

    def operation(self, node: Node) -> tuple[Op, tuple[Node, ...]] | None:
        """An expression's operation and operands; None of a source or a term."""
        op, *operands = self._rows[node.index]
        if op in (_SOURCE, _TERM):
            return None
        return Op(op), tuple(Node(self, index) for index in operands[: n_operands(op)])

    def given(self, node: Node) -> Decimal | str:
        """The value of a term, or the name of a source."""
        kind, name = self._rows[node.index]
        return self._values[name] if kind == _TERM else str(name)

    def minimum(self, a: Node, b: Node) -> Node:
        """The lesser."""
        return self.apply(Op.MINIMUM, a, b)

    def maximum(self, a: Node, b: Node) -> Node:
        """The greater."""
        return self.apply(Op.MAXIMUM, a, b)

    def equal(self, a: Node, b: Node) -> Node:
        """1 where equal, else 0."""
        return self.apply(Op.EQUAL, a, b)

    def select(self, where: Node, then: Node, otherwise: Node) -> Node:
        """`then` where `where` is not 0, else `otherwise`."""
        return self.apply(Op.SELECT, where, then, otherwise)

    def round(self, a: Node) -> Node:
        """The nearest integer, half to even."""
        return self.apply(Op.ROUND, a)

    def clip(self, a: Node, low: Node | None, high: Node | None) -> Node:
        """`a` no lower than `low` and no higher than `high`, where given."""
        if low is not None:
            a = self.maximum(a, low)
        return a if high is None else self.minimum(a, high)

    def compile(self, outputs: Mapping[str, Node]) -> Compiled:
        """The program that gives the outputs, and nothing else."""
        rows = self._rows
        needed: set[int] = set()
        waiting = [node.index for node in outputs.values()]
        while waiting:
            index = waiting.pop()
            if index not in needed:
                needed.add(index)
                op, *operands = rows[index]
                if op not in (_SOURCE, _TERM):
                    waiting.extend(operands[: n_operands(op)])
        order = sorted(needed)
        sources = [i for i in order if rows[i][0] == _SOURCE]
        terms = [i for i in order if rows[i][0] == _TERM]
        steps = [i for i in order if rows[i][0] not in (_SOURCE, _TERM)]
        place = {index: n for n, index in enumerate((*sources, *terms, *steps))}
        table = []
        for op, *operands in (rows[i] for i in steps):
            taken = n_operands(op)
            table.append(
                [op, *(place[k] for k in operands[:taken]), *([0] * (len(operands) - taken))]
            )
        names = [rows[i][1] for i in terms]
        return Compiled(
            sources=tuple(rows[i][1] for i in sources),
            terms=tuple(names),
            values=tuple(self._values[name] for name in names),
            table=np.array(table, dtype=np.int32).reshape(len(table), 4),
            outputs=tuple(outputs),
            registers=np.array([place[n.index] for n in outputs.values()], dtype=np.int32),
            rounded=tuple(rows[node.index][0] in WHOLE for node in outputs.values()),
        )


@dataclass(frozen=True)
class Compiled:
    """A program ready to run: the tables of `kernels.settle_grid` and the names of its registers.

    Attributes
    ----------
    sources, terms, outputs : tuple of str
        Names, in register order.
    values : tuple of Decimal
        Value of each term.
    table : int32[n_operations, 4]
    registers : int32[n_outputs]
    rounded : tuple of bool
        Which outputs are whole numbers.
    """

    sources: tuple[str, ...]
    terms: tuple[str, ...]
    values: tuple[Decimal, ...]
    table: NDArray[np.int32]
    outputs: tuple[str, ...]
    registers: NDArray[np.int32]
    rounded: tuple[bool, ...]

    def constants(self, scenarios: Sequence[Mapping[str, Decimal]] = ({},)) -> NDArray[np.float64]:
        """Term values per scenario, float64[n_scenarios, n_terms]; each rounded once."""
        rows = [
            [
                float(moved.get(name, value))
                for name, value in zip(self.terms, self.values, strict=True)
            ]
            for moved in scenarios
        ]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self.terms))

    def at(self, values: Mapping[str, Decimal]) -> Compiled:
        """The same program at other values of some of its terms."""
        known = zip(self.terms, self.values, strict=True)
        return replace(self, values=tuple(values.get(name, value) for name, value in known))

    def run(self, sources: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Every output of the observed terms, by name.

        Parameters
        ----------
        sources : mapping of name to int64 or float64[n] or [1]
            Integers below 2**53; one value stands in every replicate. A term that is among them
            has a value of its own in each.

        Returns
        -------
        dict of name to int64[n] (whole outputs) or float64[n]

        Raises
        ------
        DataError
            If a whole output is too large to be exact.
        """
        n = max(map(len, sources.values()), default=1)
        given = dict(enumerate(map(sources.__getitem__, self.sources)))
        n_sources, n_inputs = len(given), len(given) + len(self.terms)
        given |= {
            n_sources + k: sources[name] for k, name in enumerate(self.terms) if name in sources
        }
        # what stands in every replicate is one more constant, so what follows from it is done once
        moving = [k for k, array in given.items() if len(array) == n]
        steady = [k for k, array in given.items() if len(array) < n]
        terms = [k for k in range(n_sources, n_inputs) if k not in given]
        place = np.arange(n_inputs + len(self.table), dtype=np.int32)
        place[moving + steady + terms] = place[:n_inputs]
        table = self.table.copy()
        table[:, 1:] = place[table[:, 1:]]
        rows = stacked([given[k] for k in moving], n)
        standing = [given[k].item() for k in steady]
        standing += [float(self.values[k - n_sources]) for k in terms]
        constants = np.array([standing], np.float64)
        values = settle_grid(rows, constants, table, place[self.registers], whole=False)[0]
        amounts = iter(_whole(values[np.array(self.rounded, np.bool_)]))
        return {
            name: next(amounts) if rounded else row.copy()
            for name, row, rounded in zip(self.outputs, values, self.rounded, strict=True)
        }

    def only(self, outputs: Sequence[str]) -> Compiled:
        """The program that gives some of the outputs, without what only others need."""
        n_inputs = len(self.sources) + len(self.terms)
        at = [self.outputs.index(name) for name in outputs]
        needed = np.zeros(n_inputs + len(self.table), np.bool_)
        needed[self.registers[at]] = True
        for i in range(len(self.table) - 1, -1, -1):
            if needed[n_inputs + i]:
                op, *operands = self.table[i].tolist()
                needed[operands[: n_operands(op)]] = True
        place = np.cumsum(needed, dtype=np.int32) - np.int32(1)
        table = self.table[needed[n_inputs:]]
        # an operand that is not taken stays 0
        taken = np.arange(3) < np.array([n_operands(op) for op in table[:, 0].tolist()])[:, None]
        table[:, 1:] = np.where(taken, place[table[:, 1:]], 0)
        n = len(self.sources)
        terms = needed[n:n_inputs].tolist()
        return Compiled(
            sources=tuple(compress(self.sources, needed[:n].tolist())),
            terms=tuple(compress(self.terms, terms)),
            values=tuple(compress(self.values, terms)),
            table=table,
            outputs=tuple(outputs),
            registers=place[self.registers[at]],
            rounded=tuple(self.rounded[k] for k in at),
        )


def stacked(sources: Sequence[NDArray[Any]], n: int) -> NDArray[np.float64]:
    """Sources as rows, float64[n_sources, n]; one value stands in every column."""
    rows = np.empty((len(sources), n))
    if sources and all(len(array) == n for array in sources):
        np.concatenate(sources, out=rows.reshape(-1))
        return rows
    for row, array in zip(rows, sources, strict=True):
        row[:] = array
    return rows


def _whole(amounts: NDArray[np.float64]) -> NDArray[np.int64]:
    if amounts.size and not -EXACT_FLOAT_LIMIT < amounts.min() <= amounts.max() < EXACT_FLOAT_LIMIT:
        raise DataError(
            "a settled amount is not below 2^53 cents, so it would not be exact; settle parts"
        )
    return amounts.astype(np.int64)
