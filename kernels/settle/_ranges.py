"""Which blocks of replicates a scenario changes, told from the ranges of their values.

    ranges of live rows and of terms -> operation by operation -> range of each result, and whether
    any value of the block can differ from the scenario before

Between two scenarios most payments stay as they were: a cap moves nothing that does not reach it, a
gate nothing that stays on its side. Replicates stand in an order in which payments rise, so that
values of a block lie close together, and the range of a block often decides a choice for all of it.
Where the choice was and is decided alike, and the operand chosen has not changed, the result has
not changed. Blocks are lanes here: a list's function goes over all blocks of a partnership at once.

Ranges hold because rounding keeps order: the least and greatest results of an operation are
results of its operands' ends. A range that is not finite says nothing: it stands for any value, not
a number included. Payments themselves never come from a range.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from llvmlite import ir

from kernels.settle._fused import (
    FUNCTION,
    I64,
    LANES,
    VECTOR,
    Code,
    Shape,
    compile_module,
    greater,
    lesser,
    operation,
    spread,
    write_values,
)
from kernels.settle.settle_grid import Op

_BYTE: Final = ir.IntType(8)
_COMPARISONS: Final = (Op.LESS, Op.AT_MOST, Op.EQUAL)


@dataclass(frozen=True)
class _Range:
    """Ends of a register's values over each block, now and before; None: certainly unchanged."""

    low: Any
    high: Any
    low_before: Any
    high_before: Any
    changed: Any | None
    is_term: bool = False


@lru_cache(maxsize=128)
def compiled(shape: Shape) -> Code:
    """Machine code of a program's lists: payments of a block, and the blocks that change."""
    kept = shape.kept()
    is_given = shape.output < shape.n_live + shape.n_terms
    written = [k for k, chosen in enumerate(shape.lists) if chosen or is_given]

    def write(module: ir.Module) -> None:
        for k in written:
            write_values(module, f"values_{k}", shape, shape.lists[k], kept)
            _write_changes(module, f"changes_{k}", shape, shape.lists[k])

    engine = compile_module(write)
    entries = [(0, 0)] * len(shape.lists)
    for k in written:
        entries[k] = (
            engine.get_function_address(f"values_{k}"),
            engine.get_function_address(f"changes_{k}"),
        )
    return Code(engine, tuple(entries), len(kept))


def _write_changes(module: ir.Module, name: str, shape: Shape, chosen: Sequence[int]) -> None:
    """Ranges of a list's results, and a bit for each block: (ranges, terms, terms before, bits).

    `ranges` holds two rows over blocks for each live row and each operation: least, greatest.
    """
    function = ir.Function(module, FUNCTION, name)
    before = function.append_basic_block("before")
    body = function.append_basic_block("body")
    after = function.append_basic_block("after")
    at_ranges, at_terms, at_terms_before, at_bits, _ = function.args
    builder = ir.IRBuilder(before)
    loop = ir.IRBuilder(body)
    j = loop.phi(I64)
    offset = loop.mul(j, ir.Constant(I64, 8 * LANES))
    n_given = shape.n_live + shape.n_terms
    known: dict[int, _Range] = {}

    def address(row: int, end: int) -> Any:
        place = row if row < shape.n_live else row - shape.n_terms
        words = ir.Constant(I64, 8 * (2 * place + end) * shape.n_lanes)
        return loop.inttoptr(loop.add(loop.add(at_ranges, words), offset), VECTOR.as_pointer())

    def of(row: int) -> _Range:
        if row not in known:
            if shape.n_live <= row < n_given:
                now = spread(builder, at_terms, row - shape.n_live)
                was = spread(builder, at_terms_before, row - shape.n_live)
                moved = builder.fcmp_unordered("!=", now, was)
                known[row] = _Range(now, now, was, was, moved, is_term=True)
            else:
                low, high = (loop.load(address(row, end), align=8) for end in (0, 1))
                known[row] = _Range(low, high, low, high, None)
        return known[row]

    write = _Writer(module, loop)
    for i in chosen:
        op, out, operands = shape.operations[i]
        was = [loop.load(address(out, end), align=8) for end in (0, 1)]
        known[out] = write.result(Op(op), [of(row) for row in operands], *was)
    # after every load: among loads whose places LLVM cannot tell apart, stores cost it seconds
    for _, out, _ in (shape.operations[i] for i in chosen):
        loop.store(known[out].low, address(out, 0), align=8)
        loop.store(known[out].high, address(out, 1), align=8)
    changed = of(shape.output).changed
    bits = ir.Constant(_BYTE, 0) if changed is None else loop.bitcast(changed, _BYTE)
    loop.store(bits, loop.inttoptr(loop.add(at_bits, j), _BYTE.as_pointer()))
    following = loop.add(j, ir.Constant(I64, 1))
    again = loop.icmp_signed("<", following, ir.Constant(I64, shape.n_lanes // LANES))
    loop.cbranch(again, body, after)
    builder.branch(body)
    j.add_incoming(ir.Constant(I64, 0), before)
    j.add_incoming(following, body)
    ir.IRBuilder(after).ret_void()


class _Writer:
    """Writes the range of a result, lane by lane."""

    def __init__(self, module: ir.Module, builder: Any) -> None:
        self._module, self._builder = module, builder
        self._zero, self._one, self._most, self._least = (
            ir.Constant(VECTOR, [number] * LANES) for number in (0.0, 1.0, math.inf, -math.inf)
        )

    def result(self, op: Op, operands: Sequence[_Range], low_before: Any, high_before: Any) -> Any:
        """Range of an operation's result, given what it was."""
        if op in _COMPARISONS:
            low, high = self._comparison(op, *operands)
        elif op == Op.SELECT:
            low, high = self._selection(*operands)
        else:
            low, high = self._arithmetic(op, operands)
        changed = self._any(operands)
        if changed is not None:
            one_value = self._and(
                self._is("==", low, high),
                self._is("==", low_before, high_before),
                self._is("==", low, low_before),
            )
            same = self._or(one_value, *self._chosen_alike(op, operands))
            changed = self._and(changed, self._not(same))
        return _Range(low, high, low_before, high_before, changed)

    def _arithmetic(self, op: Op, operands: Sequence[_Range]) -> tuple[Any, Any]:
        """Ends of a sum, difference, product, quotient, lesser, greater or rounding."""
        a, b = operands[0], operands[-1]
        do = self._builder
        known = []
        if op == Op.ROUND:
            low, high = (operation(self._module, do, op, [end]) for end in (a.low, a.high))
        elif op == Op.ADD:
            low, high = do.fadd(a.low, b.low), do.fadd(a.high, b.high)
        elif op == Op.SUBTRACT:
            low, high = do.fsub(a.low, b.high), do.fsub(a.high, b.low)
        elif op in (Op.MINIMUM, Op.MAXIMUM):
            how = lesser if op == Op.MINIMUM else greater
            low, high = how(do, a.low, b.low), how(do, a.high, b.high)
            known = self._finite(operands)
        else:
            apply = do.fmul if op == Op.MULTIPLY else do.fdiv
            corners = [apply(x, y) for x in _ends(a) for y in _ends(b)]
            low, high = corners[0], corners[0]
            for corner in corners[1:]:
                low, high = lesser(do, low, corner), greater(do, high, corner)
            known = self._finite(operands)
            if op == Op.DIVIDE:
                signs = self._is(">", b.low, self._zero), self._is("<", b.high, self._zero)
                known.append(self._or(*signs))
        known += [self._is(">", low, self._least), self._is("<", high, self._most)]
        told = self._and(*known)
        return do.select(told, low, self._least), do.select(told, high, self._most)

    def _comparison(self, op: Op, a: _Range, b: _Range) -> tuple[Any, Any]:
        if op == Op.LESS:
            yes, no = self._is("<", a.high, b.low), self._is(">=", a.low, b.high)
        elif op == Op.AT_MOST:
            yes, no = self._is("<=", a.high, b.low), self._is(">", a.low, b.high)
        else:
            yes = self._and(self._is("<=", a.high, b.low), self._is(">=", a.low, b.high))
            no = self._or(self._is("<", a.high, b.low), self._is(">", a.low, b.high))
        do = self._builder
        return do.select(yes, self._one, self._zero), do.select(no, self._zero, self._one)

    def _selection(self, where: _Range, then: _Range, otherwise: _Range) -> tuple[Any, Any]:
        do = self._builder
        yes, no = self._decided(where.low, where.high)
        low = do.select(no, otherwise.low, lesser(do, then.low, otherwise.low))
        high = do.select(no, otherwise.high, greater(do, then.high, otherwise.high))
        return do.select(yes, then.low, low), do.select(yes, then.high, high)

    def _decided(self, low: Any, high: Any) -> tuple[Any, Any]:
        """Where all of a condition's values are other than 0, and where all are 0."""
        yes = self._or(self._is(">", low, self._zero), self._is("<", high, self._zero))
        no = self._and(self._is("==", low, self._zero), self._is("==", high, self._zero))
        return yes, no

    def _chosen_alike(self, op: Op, operands: Sequence[_Range]) -> list[Any]:
        """Where one operand is the result, now as before, and has not changed."""
        if op == Op.SELECT:
            where, *values = operands
            now = self._decided(where.low, where.high)
            was = self._decided(where.low_before, where.high_before)
        elif op in (Op.MINIMUM, Op.MAXIMUM):
            values = list(operands)
            a, b = values
            now = self._first_or_second(op, a.low, a.high, b.low, b.high)
            was = self._first_or_second(
                op, a.low_before, a.high_before, b.low_before, b.high_before
            )
        else:
            return []
        alike = []
        for value, here, there in zip(values, now, was, strict=True):
            same = self._and(here, there)
            unchanged = same if value.changed is None else self._and(same, self._not(value.changed))
            alike.append(unchanged)
        return alike

    def _first_or_second(
        self, op: Op, a_low: Any, a_high: Any, b_low: Any, b_high: Any
    ) -> tuple[Any, Any]:
        """Where the lesser (or the greater) is the first operand throughout, and the second."""
        if op == Op.MINIMUM:
            return self._is("<=", a_high, b_low), self._is("<=", b_high, a_low)
        return self._is(">=", a_low, b_high), self._is(">=", b_low, a_high)

    def _finite(self, operands: Sequence[_Range]) -> list[Any]:
        """Conditions that say that operands are known; both ends are finite or neither is."""
        return [self._is(">", one.low, self._least) for one in operands if not one.is_term]

    def _any(self, operands: Sequence[_Range]) -> Any | None:
        changed = [one.changed for one in operands if one.changed is not None]
        return self._or(*changed) if changed else None

    def _is(self, sign: str, a: Any, b: Any) -> Any:
        return self._builder.fcmp_ordered(sign, a, b)

    def _and(self, first: Any, *others: Any) -> Any:
        for other in others:
            first = self._builder.and_(first, other)
        return first

    def _or(self, first: Any, *others: Any) -> Any:
        for other in others:
            first = self._builder.or_(first, other)
        return first

    def _not(self, mask: Any) -> Any:
        return self._builder.xor(mask, ir.Constant(mask.type, [1] * LANES))


def _ends(one: _Range) -> tuple[Any, ...]:
    return (one.low,) if one.is_term else (one.low, one.high)
