"""Programs of `settle_grid` as vector code: the operations of a scenario in registers, not in rows.

    lists of operations -> LLVM vector code, two functions a list -> machine code, kept by structure

An interpreter reads and writes every operand; here a list of operations is one loop over a block of
replicates, whose results stay in registers unless another list reads them. The meaning is that of
`settle_grid`: one IEEE operation each, in the written order, none contracted, none reassociated.
What stands here is LLVM's portable vector code: it becomes AVX-512, AVX2 or NEON. Programs are few
(one a structure of contract terms), small, and compiled in milliseconds.

A list's first function gives the payments of one block, with their least, greatest and sum. It
takes addresses: the live rows at its block, the rows kept between lists at its block, the terms of
the scenario, the payments and the ends to write. Its second says which blocks it would change
(`_ranges`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.settle.settle_grid import Op, n_operands

LANES: Final = 8
BLOCK: Final = 64
"""Replicates of a call: what is known of a scenario's payments, and done again, goes by these."""

Operation: TypeAlias = tuple[int, int, tuple[int, ...]]
"""(operation, row it writes, rows it reads)."""

I64, DOUBLE = ir.IntType(64), ir.DoubleType()
VECTOR: Final = ir.VectorType(DOUBLE, LANES)
FUNCTION: Final = ir.FunctionType(ir.VoidType(), [I64] * 5)


@dataclass(frozen=True)
class Shape:
    """What the code of a program depends on: its structure, not its numbers.

    Attributes
    ----------
    n_live, n_terms : int
        Rows [0, n_live) are arrays, the next n_terms are one number a scenario, the rest results.
    stride : int
        Words from a live, kept or payments row to the next.
    n_lanes : int
        Words of a range over blocks.
    n_ends : int
        Words from the blocks' least payments to their greatest, and to their sums.
    operations : tuple of Operation
    lists : tuple of tuple of int
        For each list the operations it does, in order.
    output : int
        Row of the payment.
    """

    n_live: int
    n_terms: int
    stride: int
    n_lanes: int
    n_ends: int
    operations: tuple[Operation, ...]
    lists: tuple[tuple[int, ...], ...]
    output: int

    def kept(self) -> dict[int, int]:
        """Results that a list reads and does not make: row -> its place between lists."""
        found: dict[int, int] = {}
        for chosen in self.lists:
            made = {self.operations[i][1] for i in chosen}
            for i in chosen:
                for row in self.operations[i][2]:
                    if row >= self.n_live + self.n_terms and row not in made:
                        found.setdefault(row, len(found))
        return found


@dataclass(frozen=True)
class Code:
    """Machine code; lives as long as this object.

    Attributes
    ----------
    entries : tuple of (int, int)
        Addresses of each list's functions; (0, 0) where a list leaves the payments as they were.
    n_kept : int
        Rows that lists keep for one another.
    """

    engine: Any
    entries: tuple[tuple[int, int], ...]
    n_kept: int


def compile_module(write: Callable[[ir.Module], None]) -> Any:
    """The engine of a module's machine code."""
    module = ir.Module(name="settlement")
    module.triple = llvm.get_process_triple()
    write(module)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), _machine())
    engine.finalize_object()
    return engine


def _machine() -> Any:
    """The processor that Numba compiles for."""
    target = llvm.Target.from_triple(llvm.get_process_triple())
    name = numba.config.CPU_NAME or llvm.get_host_cpu_name()
    features = numba.config.CPU_FEATURES
    if features is None:
        features = llvm.get_host_cpu_features().flatten()
    return target.create_target_machine(cpu=name, features=features, opt=2, jit=True)


def write_values(
    module: ir.Module, name: str, shape: Shape, chosen: Sequence[int], kept: dict[int, int]
) -> None:
    """One list's payments of a block: (live, kept, terms, payments, ends)."""
    n_given = shape.n_live + shape.n_terms
    function = ir.Function(module, FUNCTION, name)
    before = function.append_basic_block("before")
    body = function.append_basic_block("body")
    after = function.append_basic_block("after")
    at_live, at_kept, at_terms, at_payments, at_ends = function.args
    builder = ir.IRBuilder(before)
    loop = ir.IRBuilder(body)
    j = loop.phi(I64)
    ends = [loop.phi(VECTOR) for _ in range(3)]
    offset = loop.mul(j, ir.Constant(I64, 8 * LANES))
    values: dict[int, Any] = {}

    def address(base: Any, words: int) -> Any:
        place = loop.add(loop.add(base, ir.Constant(I64, 8 * words)), offset)
        return loop.inttoptr(place, VECTOR.as_pointer())

    def value(row: int) -> Any:
        if row not in values:
            if row < shape.n_live:
                loaded = loop.load(address(at_live, row * shape.stride), align=8)
            elif row < n_given:
                loaded = spread(builder, at_terms, row - shape.n_live)
            else:
                loaded = loop.load(address(at_kept, kept[row] * shape.stride), align=8)
            values[row] = loaded
        return values[row]

    for i in chosen:
        op, out, operands = shape.operations[i]
        values[out] = operation(module, loop, Op(op), [value(row) for row in operands])
        if out in kept:
            loop.store(values[out], address(at_kept, kept[out] * shape.stride), align=8)
    payment = value(shape.output)
    loop.store(payment, address(at_payments, 0), align=8)
    firsts = (math.inf, -math.inf, 0.0)
    found = [how(loop, end, payment) for how, end in zip(_HOW, ends, strict=True)]
    for end, first, last in zip(ends, firsts, found, strict=True):
        end.add_incoming(ir.Constant(VECTOR, [first] * LANES), before)
        end.add_incoming(last, body)
    following = loop.add(j, ir.Constant(I64, 1))
    again = loop.icmp_signed("<", following, ir.Constant(I64, BLOCK // LANES))
    loop.cbranch(again, body, after)
    builder.branch(body)
    j.add_incoming(ir.Constant(I64, 0), before)
    j.add_incoming(following, body)
    builder = ir.IRBuilder(after)
    for k, (how, last) in enumerate(zip(_HOW, found, strict=True)):
        place = builder.add(at_ends, ir.Constant(I64, 8 * k * shape.n_ends))
        builder.store(_lane(builder, last, how), builder.inttoptr(place, DOUBLE.as_pointer()))
    builder.ret_void()


def spread(builder: Any, base: Any, word: int) -> Any:
    """A term in every lane."""
    place = builder.add(base, ir.Constant(I64, 8 * word))
    scalar = builder.load(builder.inttoptr(place, DOUBLE.as_pointer()), align=8)
    empty = ir.Constant(VECTOR, ir.Undefined)
    first = builder.insert_element(empty, scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, empty, zeros)


def operation(module: ir.Module, builder: Any, op: Op, operands: Sequence[Any]) -> Any:
    """What `Op` says of an operation, on vectors."""
    a, b, c = (*operands[: n_operands(op)], None, None)[:3]
    zero, one = (ir.Constant(VECTOR, [number] * LANES) for number in (0.0, 1.0))
    if op == Op.ADD:
        return builder.fadd(a, b)
    if op == Op.SUBTRACT:
        return builder.fsub(a, b)
    if op == Op.MULTIPLY:
        return builder.fmul(a, b)
    if op == Op.DIVIDE:
        return builder.select(builder.fcmp_unordered("!=", b, zero), builder.fdiv(a, b), zero)
    if op == Op.MINIMUM:
        return builder.select(builder.fcmp_ordered("<", b, a), b, a)
    if op == Op.MAXIMUM:
        return builder.select(builder.fcmp_ordered(">", b, a), b, a)
    if op in (Op.LESS, Op.AT_MOST, Op.EQUAL):
        sign = {Op.LESS: "<", Op.AT_MOST: "<=", Op.EQUAL: "=="}[op]
        return builder.select(builder.fcmp_ordered(sign, a, b), one, zero)
    if op == Op.SELECT:
        return builder.select(builder.fcmp_unordered("!=", a, zero), b, c)
    name = f"llvm.rint.v{LANES}f64"
    nearest = module.globals.get(name)
    if nearest is None:
        nearest = ir.Function(module, ir.FunctionType(VECTOR, [VECTOR]), name)
    return builder.call(nearest, [a])


def lesser(builder: Any, a: Any, b: Any) -> Any:
    """The lesser of two numbers, lane by lane."""
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


def greater(builder: Any, a: Any, b: Any) -> Any:
    """The greater of two numbers, lane by lane."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _added(builder: Any, a: Any, b: Any) -> Any:
    return builder.fadd(a, b)


_HOW: Final = (lesser, greater, _added)


def _lane(builder: Any, vector: Any, how: Any) -> Any:
    """The lanes of a vector brought to one."""
    width = LANES
    empty = ir.Constant(VECTOR, ir.Undefined)
    while width > 1:
        width //= 2
        picks = [width + k if k < width else k for k in range(LANES)]
        mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), picks)
        vector = how(builder, vector, builder.shuffle_vector(vector, empty, mask))
    return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))


def _call(_typing: Any, entry: Any, a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
    signature = types.void(*[types.int64] * 6)
    del entry, a, b, c, d, e

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Sequence[Any]) -> Any:
        pointer = builder.inttoptr(arguments[0], FUNCTION.as_pointer())
        builder.call(pointer, arguments[1:])
        return _context.get_dummy_value()

    return signature, generate


# call(entry, a, b, c, d, e) runs one function of a `Code` at these addresses.
call: Any = intrinsic(_call)
