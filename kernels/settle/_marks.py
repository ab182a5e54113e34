"""Which of 64 values stand below a value, as the bits of a word; and counts and places of bits.

Comparisons of a block become bits eight at a time, so that counting is one instruction and only
values that are wanted are visited.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.settle._fused import BLOCK, I64, LANES, VECTOR


def _marks(sign: str) -> Callable[..., Any]:
    """An intrinsic: bit i of uint64 says whether value i at an address stands so to another."""

    def marks(_typing: Any, address: Any, value: Any) -> Any:
        del address, value

        def generate(_context: Any, builder: Any, _signature: Any, given: Sequence[Any]) -> Any:
            address, value = given
            lane = ir.Constant(ir.IntType(32), 0)
            empty = ir.Constant(VECTOR, ir.Undefined)
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
            first = builder.insert_element(empty, value, lane)
            other = builder.shuffle_vector(first, empty, zeros)
            word = ir.Constant(I64, 0)
            for k in range(BLOCK // LANES):
                place = builder.add(address, ir.Constant(I64, 8 * LANES * k))
                vector = builder.load(builder.inttoptr(place, VECTOR.as_pointer()), align=8)
                bits = builder.bitcast(builder.fcmp_ordered(sign, vector, other), ir.IntType(8))
                shifted = builder.shl(builder.zext(bits, I64), ir.Constant(I64, LANES * k))
                word = builder.or_(word, shifted)
            return word

        return types.uint64(types.int64, types.float64), generate

    return marks


def _ones(_typing: Any, word: Any) -> Any:
    del word

    def generate(_context: Any, builder: Any, _signature: Any, given: Sequence[Any]) -> Any:
        return builder.ctpop(given[0])

    return types.int64(types.uint64), generate


def _lowest(_typing: Any, word: Any) -> Any:
    del word

    def generate(_context: Any, builder: Any, _signature: Any, given: Sequence[Any]) -> Any:
        return builder.cttz(given[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


# below(address, value) and reached(address, value): marks of those of the 64 float64 at an address
# that are less, or at most, the value.
below: Any = intrinsic(_marks("<"))
reached: Any = intrinsic(_marks("<="))

# ones(word): how many bits are set; lowest(word): which is the first, where one is.
ones: Any = intrinsic(_ones)
lowest: Any = intrinsic(_lowest)
