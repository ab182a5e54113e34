"""Programs of `settle_grid` as vector code: the operations of a scenario in registers, not in rows.

    lists of operations -> LLVM vector code, one function a list -> machine code, kept by structure

An interpreter reads and writes every operand; here a list of operations is one loop over a tile of
replicates, whose results stay in registers unless another list reads them. The meaning is that of
`settle_grid`: one IEEE operation each, in the written order, none contracted, none reassociated.
What stands here is LLVM's portable vector code: it becomes AVX-512, AVX2 or NEON. Programs are few
(one a structure of contract terms), small, and compiled in milliseconds.

A function takes four addresses: the live rows at its tile, the rows kept between lists, the terms
of its scenario, and the payments to write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.settle_grid import Op, n_operands

LANES: Final = 8
TILE: Final = 256
"""Replicates of a call: a row of them is 2 KiB, so that a program's rows stay near the core."""

Operation: TypeAlias = tuple[int, int, tuple[int, ...]]
"""(operation, row it writes, rows it reads)."""

_I64, _DOUBLE = ir.IntType(64), ir.DoubleType()
_VECTOR: Final = ir.VectorType(_DOUBLE, LANES)
_FUNCTION: Final = ir.FunctionType(ir.VoidType(), [_I64] * 4)


@dataclass(frozen=True)
class Shape:
    """What the code of a program depends on: its structure, not its numbers.

    Attributes
    ----------
    n_live, n_terms : int
        Rows [0, n_live) are arrays, the next n_terms are one number a scenario, the rest results.
    live_stride : int
        Words from a live row to the next.
    operations : tuple of Operation
    lists : tuple of tuple of int
        For each list the operations it does, in order.
    output : int
        Row of the payment.
    """

    n_live: int
    n_terms: int
    live_stride: int
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
    entries : tuple of int
        Address of each list's function; 0 where a list leaves the payments as they were.
    n_kept : int
        Rows that lists keep for one another, of `TILE` words.
    """

    engine: Any
    entries: tuple[int, ...]
    n_kept: int


@lru_cache(maxsize=128)
def compiled(shape: Shape) -> Code:
    """Machine code of a program's lists."""
    module = ir.Module(name="settlement")
    module.triple = llvm.get_process_triple()
    kept = shape.kept()
    names = [
        _write(module, f"list_{k}", shape, chosen, kept) for k, chosen in enumerate(shape.lists)
    ]
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), _machine())
    engine.finalize_object()
    entries = tuple(engine.get_function_address(name) if name else 0 for name in names)
    return Code(engine, entries, len(kept))


def _machine() -> Any:
    """The processor that Numba compiles for."""
    target = llvm.Target.from_triple(llvm.get_process_triple())
    name = numba.config.CPU_NAME or llvm.get_host_cpu_name()
    features = numba.config.CPU_FEATURES
    if features is None:
        features = llvm.get_host_cpu_features().flatten()
    return target.create_target_machine(cpu=name, features=features, opt=2, jit=True)


def _write(
    module: ir.Module, name: str, shape: Shape, chosen: Sequence[int], kept: dict[int, int]
) -> str:
    """One list as a function of the module; its name, empty where there is nothing to do."""
    n_given = shape.n_live + shape.n_terms
    if not chosen and shape.output >= n_given:
        return ""
    function = ir.Function(module, _FUNCTION, name)
    before = function.append_basic_block("before")
    body = function.append_basic_block("body")
    after = function.append_basic_block("after")
    at_live, at_kept, at_terms, at_payments = function.args
    builder = ir.IRBuilder(before)
    loop = ir.IRBuilder(body)
    j = loop.phi(_I64)
    offset = loop.mul(j, ir.Constant(_I64, 8 * LANES))
    values: dict[int, Any] = {}

    def address(base: Any, words: int) -> Any:
        place = loop.add(loop.add(base, ir.Constant(_I64, 8 * words)), offset)
        return loop.inttoptr(place, _VECTOR.as_pointer())

    def value(row: int) -> Any:
        if row not in values:
            if row < shape.n_live:
                loaded = loop.load(address(at_live, row * shape.live_stride), align=8)
            elif row < n_given:
                loaded = _spread(builder, at_terms, row - shape.n_live)
            else:
                loaded = loop.load(address(at_kept, kept[row] * TILE), align=8)
            values[row] = loaded
        return values[row]

    for i in chosen:
        op, out, operands = shape.operations[i]
        values[out] = _operation(module, loop, Op(op), [value(row) for row in operands])
        if out in kept:
            loop.store(values[out], address(at_kept, kept[out] * TILE), align=8)
    loop.store(value(shape.output), address(at_payments, 0), align=8)
    following = loop.add(j, ir.Constant(_I64, 1))
    again = loop.icmp_signed("<", following, ir.Constant(_I64, TILE // LANES))
    loop.cbranch(again, body, after)
    builder.branch(body)
    j.add_incoming(ir.Constant(_I64, 0), before)
    j.add_incoming(following, body)
    ir.IRBuilder(after).ret_void()
    return name


def _spread(builder: Any, base: Any, word: int) -> Any:
    """A term in every lane."""
    place = builder.add(base, ir.Constant(_I64, 8 * word))
    scalar = builder.load(builder.inttoptr(place, _DOUBLE.as_pointer()), align=8)
    empty = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(empty, scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, empty, zeros)


def _operation(module: ir.Module, builder: Any, op: Op, operands: Sequence[Any]) -> Any:
    """What `Op` says of an operation, on vectors."""
    a, b, c = (*operands[: n_operands(op)], None, None)[:3]
    zero, one = (ir.Constant(_VECTOR, [number] * LANES) for number in (0.0, 1.0))
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
        nearest = ir.Function(module, ir.FunctionType(_VECTOR, [_VECTOR]), name)
    return builder.call(nearest, [a])


def _call(_typing: Any, entry: Any, live: Any, kept: Any, terms: Any, payments: Any) -> Any:
    signature = types.void(types.int64, types.int64, types.int64, types.int64, types.int64)
    del entry, live, kept, terms, payments

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Sequence[Any]) -> Any:
        pointer = builder.inttoptr(arguments[0], _FUNCTION.as_pointer())
        builder.call(pointer, arguments[1:])
        return _context.get_dummy_value()

    return signature, generate


BOUNDED: Final = 64
"""Values of a row whose least and greatest are known."""


def _pairwise(builder: Any, vectors: Sequence[Any], how: Any) -> Any:
    while len(vectors) > 1:
        vectors = [how(builder, a, b) for a, b in zip(vectors[::2], vectors[1::2], strict=True)]
    return vectors[0]


def _lesser(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


def _greater(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _lane(builder: Any, vector: Any, how: Any) -> Any:
    """The lanes of a vector brought to one."""
    width = LANES
    empty = ir.Constant(_VECTOR, ir.Undefined)
    while width > 1:
        width //= 2
        picks = [width + k if k < width else k for k in range(LANES)]
        mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), picks)
        vector = how(builder, vector, builder.shuffle_vector(vector, empty, mask))
    return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))


def _bounds(_typing: Any, row: Any, n_blocks: Any, lows: Any, highs: Any) -> Any:
    signature = types.float64(types.int64, types.int64, types.int64, types.int64)
    del row, n_blocks, lows, highs

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Sequence[Any]) -> Any:
        row, n_blocks, lows, highs = arguments
        before = builder.block
        body = builder.append_basic_block("blocks")
        after = builder.append_basic_block("done")
        builder.branch(body)
        builder.position_at_end(body)
        i, total = builder.phi(_I64), builder.phi(_VECTOR)
        first = builder.add(row, builder.mul(i, ir.Constant(_I64, 8 * BOUNDED)))
        vectors = []
        for k in range(BOUNDED // LANES):
            place = builder.add(first, ir.Constant(_I64, 8 * LANES * k))
            vectors.append(builder.load(builder.inttoptr(place, _VECTOR.as_pointer()), align=8))
        here = builder.mul(i, ir.Constant(_I64, 8))
        for base, how in ((lows, _lesser), (highs, _greater)):
            end = _lane(builder, _pairwise(builder, vectors, how), how)
            place = builder.inttoptr(builder.add(base, here), _DOUBLE.as_pointer())
            builder.store(end, place, align=8)
        added = builder.fadd(total, _pairwise(builder, vectors, lambda b, x, y: b.fadd(x, y)))
        following = builder.add(i, ir.Constant(_I64, 1))
        i.add_incoming(ir.Constant(_I64, 0), before)
        i.add_incoming(following, body)
        total.add_incoming(ir.Constant(_VECTOR, [0.0] * LANES), before)
        total.add_incoming(added, body)
        builder.cbranch(builder.icmp_signed("<", following, n_blocks), body, after)
        builder.position_at_end(after)
        return _lane(builder, added, lambda b, x, y: b.fadd(x, y))

    return signature, generate


# bounds(row, n_blocks, lows, highs) writes least and greatest of each of n_blocks >= 1 blocks of
# `BOUNDED` values at address `row`, and returns the sum of them all: exact for integers whose
# sizes add up to less than 2**53, and not finite if one is not.
bounds: Any = intrinsic(_bounds)

# call(entry, live, kept, terms, payments) runs one function of a `Code` at these addresses.
call: Any = intrinsic(_call)
