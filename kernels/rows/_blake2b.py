"""One block of BLAKE2b of eight texts at a time, a text a lane of a vector.

`compress(block)` works on uint64[26, 8], a column a text, in place: rows 0 to 7 hold its state,
8 to 23 the words of its block, 24 the bytes of the text so far, 25 all ones where the block is the
text's last, else zero. Vectors of eight words are one register with AVX-512 and several without.

Source: RFC 7693, 3.2, function F.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

TEXTS: Final = 8
STATE: Final = range(8)
WORDS: Final = range(8, 24)
COUNT: Final = 24
LAST: Final = 25
ROUNDS: Final = 12
INITIAL: Final = (
    0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
    0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
)  # fmt: skip
ORDER: Final = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)
_MIXED: Final = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)  # fmt: skip
_WORD: Final = ir.IntType(64)
_LANES: Final = ir.VectorType(_WORD, TEXTS)


def _all(value: int) -> ir.Constant:
    return ir.Constant(_LANES, [value] * TEXTS)


def _turned(builder: Any, lanes: Any, bits: int) -> Any:
    right = builder.lshr(lanes, _all(bits))
    return builder.or_(right, builder.shl(lanes, _all(64 - bits)))


def _mix(builder: Any, v: list[Any], at: Sequence[int], x: Any, y: Any) -> None:
    """The function G."""
    a, b, c, d = at
    for word, first, second in ((x, 32, 24), (y, 16, 63)):
        v[a] = builder.add(builder.add(v[a], v[b]), word)
        v[d] = _turned(builder, builder.xor(v[d], v[a]), first)
        v[c] = builder.add(v[c], v[d])
        v[b] = _turned(builder, builder.xor(v[b], v[c]), second)


def _compress(_typing: Any, block: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        rows = builder.bitcast(array.data, _LANES.as_pointer())

        def place(row: int) -> Any:
            return builder.gep(rows, [ir.Constant(_WORD, row)])

        def row_of(row: int) -> Any:
            return builder.load(place(row), align=8)

        h, m = [row_of(row) for row in STATE], [row_of(row) for row in WORDS]
        v = [*h, *map(_all, INITIAL)]
        v[12] = builder.xor(v[12], row_of(COUNT))
        v[14] = builder.xor(v[14], row_of(LAST))
        for turn in range(ROUNDS):
            order = ORDER[turn % len(ORDER)]
            for k, at in enumerate(_MIXED):
                _mix(builder, v, at, m[order[2 * k]], m[order[2 * k + 1]])
        for row in STATE:
            mixed = builder.xor(builder.xor(h[row], v[row]), v[row + 8])
            builder.store(mixed, place(row), align=8)
        return context.get_dummy_value()

    return types.void(block), generate


compress: Any = intrinsic(_compress)
