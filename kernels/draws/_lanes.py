"""Vector code, written out, for the two inner loops that the compiler does not find by itself.

    block_weights   members x 8 octets of replicates -> Philox words -> 16-bit weights
    add_sums        weights x 1 or 2 rows of digits -> sums of 64 replicates, added to 64-bit totals

The compiler's own vectoriser gives up on the many streams of the first loop, and in the second
multiplies 32-bit lanes where pairs of 16-bit ones would do. What stands here is LLVM's portable
vector code, in two forms of the same results. The wide one is for AVX-512, whose 32 registers hold
four members' words or sixteen sums at once, and looks up most thresholds. The portable one is for
AVX2 and NEON, whose registers hold a quarter of that: a member after the other, eight sums a pass,
thresholds compared with sign, because AVX2 has no comparison without. In the wide form's order half
of AVX2's time went to words put aside and fetched again.

A vector holds eight octets of replicates, one in each 64-bit lane, so that a member's own words are
the same in all of them and sums stay where they are, a replicate in each lane. Four members share
a vector of weights, because four lanes of 16 bits are one of 64:

- `part`    uint64[4 n_quads, 2]: what each member brings to the counter (`replicate_totals`);
- `octets`  uint64[2, 8]: halves of what each octet brings;
- `weights` int16[n_quads, 8, 8, 4]: `[quad, lane, octet, member]`, replicate 8 octet + lane;
- `digits`  int16[n_rows, 4 n_quads];
- sums      int64[..., 8, 8]: `[lane, octet]`.

A word in a 64-bit lane has meaning in its low half only; the upper half is whatever a product left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from itertools import product
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels._core import HAS_AVX512BW
from kernels.draws.philox import MULTIPLIERS, ROUNDS, THRESHOLDS

QUAD: Final = 4
OCTETS: Final = 8
LANES: Final = 8
REPLICATES: Final = OCTETS * LANES
_COMMON: Final = range(1, 6)
_RARE: Final = range(6, len(THRESHOLDS) + 1)
"""Weights that nearly every vector holds some of, and those that one of seven quads holds."""
_BUCKET_BITS: Final = 10
_BUCKETS: Final = [range(k << _BUCKET_BITS, (k + 1) << _BUCKET_BITS) for k in range(64)]
_OFTEN: Final = [THRESHOLDS[count - 1] for count in _COMMON]


def _bucket_word(bucket: range) -> int:
    """What less a lane of the bucket, over the size of a bucket, is the lane's common weight.

    It holds how many thresholds exceed the whole bucket and, below that, where in the bucket the
    one lies that exceeds a part of it, if any.
    """
    sure = sum(t > bucket[-1] for t in _OFTEN)
    edge = max((t - bucket[0] for t in _OFTEN if t in bucket), default=0)
    return (sure * len(bucket) + edge + bucket[-1]) & 0xFFFF


_BUCKET_WORDS: Final = [_bucket_word(bucket) for bucket in _BUCKETS]

_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_WORDS: Final = ir.VectorType(_I64, OCTETS)
_HALVES: Final = ir.VectorType(_I32, 2 * OCTETS)
_PARTS: Final = ir.VectorType(_I16, QUAD * OCTETS)


def _fill(kind: ir.VectorType, value: int) -> ir.Constant:
    return ir.Constant(kind, [value] * kind.count)


def _shuffle(builder: Any, a: Any, b: Any, picks: Sequence[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_I32, len(picks)), list(picks)))


def _spread(builder: Any, scalar: Any) -> Any:
    """The scalar in every 64-bit lane."""
    empty = ir.Constant(_WORDS, ir.Undefined)
    first = builder.insert_element(empty, scalar, ir.Constant(_I32, 0))
    return _shuffle(builder, first, empty, [0] * _WORDS.count)


def _data(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Address of an array's first element, as an integer."""
    return builder.ptrtoint(context.make_array(kind)(context, builder, value).data, _I64)


def _word_at(builder: Any, place: Any, align: int = 8) -> Any:
    return builder.load(builder.inttoptr(place, _I64.as_pointer()), align=align)


def _vector_at(builder: Any, kind: ir.VectorType, base: Any, offset: Any) -> Any:
    return builder.inttoptr(builder.add(base, offset), kind.as_pointer())


def _bytes(count: int) -> ir.Constant:
    return ir.Constant(_I64, count)


class _Loop:
    """`for i in range(n)`, n >= 1, around vector code; `carry` lists what is kept between turns."""

    def __init__(self, builder: Any, n: Any, initial: Sequence[Any]) -> None:
        self.builder, self.n = builder, n
        before = builder.block
        self.body = builder.append_basic_block("blocks")
        self.after = builder.append_basic_block("done")
        builder.branch(self.body)
        builder.position_at_end(self.body)
        self.i = builder.phi(_I64)
        self.i.add_incoming(ir.Constant(_I64, 0), before)
        self.carry = [builder.phi(value.type) for value in initial]
        for kept, value in zip(self.carry, initial, strict=True):
            kept.add_incoming(value, before)

    def end(self, carried: Sequence[Any]) -> None:
        following = self.builder.add(self.i, ir.Constant(_I64, 1))
        self.i.add_incoming(following, self.builder.block)
        for kept, value in zip(self.carry, carried, strict=True):
            kept.add_incoming(value, self.builder.block)
        again = self.builder.icmp_signed("<", following, self.n)
        self.builder.cbranch(again, self.body, self.after)
        self.builder.position_at_end(self.after)


def _high(builder: Any, lanes: Any) -> Any:
    return builder.lshr(lanes, _fill(_WORDS, 32))


def _product(builder: Any, multiplier: int, lanes: Any) -> Any:
    """32 x 32 -> 64 bits: the mask tells the compiler that the upper halves take no part."""
    low = builder.and_(lanes, _fill(_WORDS, 0xFFFFFFFF))
    return builder.mul(_fill(_WORDS, multiplier), low)


def _round(builder: Any, words: Sequence[Any], keys: Sequence[Any]) -> list[Any]:
    c0, c1, c2, c3 = words
    p0 = _product(builder, MULTIPLIERS[0], c0)
    p1 = _product(builder, MULTIPLIERS[1], c2)
    return [
        builder.xor(builder.xor(_high(builder, p1), c1), keys[0]),
        p1,
        builder.xor(builder.xor(_high(builder, p0), c3), keys[1]),
        p0,
    ]


def _second_round(builder: Any, first: Any, second: Any, high: Any, low: Any) -> list[Any]:
    """Words after round 2, from what the member and its octets already gave."""
    p0 = _product(builder, MULTIPLIERS[0], builder.xor(first, high))
    return [
        builder.xor(_high(builder, first), low),
        second,
        builder.xor(_high(builder, p0), _high(builder, second)),
        p0,
    ]


def _lanes_of(builder: Any, chains: Sequence[Any]) -> tuple[Any, Any]:
    """One word of four members as two rows of 16-bit lanes: the low halves, the high halves."""
    count = _HALVES.count
    low_words = [k if k % 2 == 0 else count + k - 1 for k in range(count)]
    halves = [builder.bitcast(chain, _HALVES) for chain in chains]
    even = builder.bitcast(_shuffle(builder, halves[0], halves[2], low_words), _WORDS)
    odd = builder.bitcast(_shuffle(builder, halves[1], halves[3], low_words), _WORDS)
    low_mask = _fill(_WORDS, 0x0000FFFF0000FFFF)
    high_mask = _fill(_WORDS, 0xFFFF0000FFFF0000)
    by_lane = _fill(_WORDS, 16)
    low = builder.or_(
        builder.and_(even, low_mask), builder.shl(builder.and_(odd, low_mask), by_lane)
    )
    high = builder.or_(
        builder.and_(builder.lshr(even, by_lane), low_mask), builder.and_(odd, high_mask)
    )
    return builder.bitcast(low, _PARTS), builder.bitcast(high, _PARTS)


def _counted(builder: Any, lanes: Any) -> Any:
    """How many of the common thresholds exceed each lane; both turned about the sign's bit."""
    turned = builder.xor(lanes, _fill(_PARTS, 0x8000))
    weight = _fill(_PARTS, 0)
    for count in _COMMON:
        met = builder.icmp_signed(">", _fill(_PARTS, THRESHOLDS[count - 1] - 0x8000), turned)
        weight = builder.sub(weight, builder.sext(met, _PARTS))
    return weight


def _rare_weight(builder: Any, lanes: Any, weight: Any) -> Any:
    """`weight`, or which of the rare thresholds exceeds the lane last: they descend."""
    for count in _RARE:
        met = builder.icmp_unsigned("<", lanes, _fill(_PARTS, THRESHOLDS[count - 1]))
        weight = builder.select(met, _fill(_PARTS, count), weight)
    return weight


def _looked_up(builder: Any, lanes: Any) -> Any:
    """As `_counted`, by one look-up, AVX-512BW alone.

    A second look-up and a comparison instead of the difference took a tenth longer.
    """
    by_bucket = _fill(_PARTS, _BUCKET_BITS)
    word = _picked(builder, _BUCKET_WORDS, builder.lshr(lanes, by_bucket))
    return builder.lshr(builder.sub(word, lanes), by_bucket)


def _picked(builder: Any, table: Sequence[int], index: Any) -> Any:
    """`table[index]` of 64 entries, lane by lane."""
    name = "llvm.x86.avx512.vpermi2var.hi.512"
    kind = ir.FunctionType(_PARTS, [_PARTS] * 3)
    pick = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    words = np.array(table, np.uint16).view(np.int16).reshape(2, -1).tolist()
    low, high = (ir.Constant(_PARTS, half) for half in words)
    return builder.call(pick, [low, index, high])


def _any_below(builder: Any, rows: Sequence[Any], threshold: int) -> Any:
    """Whether a lane of any row lies below the threshold."""
    least = rows[0]
    for lanes in rows[1:]:
        least = builder.select(builder.icmp_unsigned("<", lanes, least), lanes, least)
    met = builder.icmp_unsigned("<", least, _fill(_PARTS, threshold))
    bits = builder.bitcast(met, ir.IntType(_PARTS.count))
    return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))


def _side_by_side(steps: Sequence[Callable[[Any], Any]], chains: Sequence[Any]) -> Sequence[Any]:
    for step in steps:
        chains = [step(chain) for chain in chains]
    return chains


def _one_by_one(steps: Sequence[Callable[[Any], Any]], chains: Sequence[Any]) -> Sequence[Any]:
    return [reduce(lambda chain, step: step(chain), steps, chain) for chain in chains]


def _block_weights(wide: bool) -> Any:
    """The intrinsic, in one of its forms."""
    common = _looked_up if wide else _counted
    emitted = _side_by_side if wide else _one_by_one

    def draw(_typing: Any, part: Any, octets: Any, schedule: Any, weights: Any) -> Any:
        return types.void(part, octets, schedule, weights), generate

    def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        kinds = signature.args
        members = context.make_array(kinds[0])(context, builder, arguments[0])
        n_quads = builder.udiv(builder.extract_value(members.shape, 0), _bytes(QUAD))
        source, octets_at, keys_at, target = (
            _data(context, builder, kind, value)
            for kind, value in zip(kinds, arguments, strict=True)
        )
        keys = []
        for turn in range(2, ROUNDS):
            at = [builder.add(keys_at, _bytes(16 * turn + 8 * word)) for word in range(2)]
            keys.append([_spread(builder, _word_at(builder, place)) for place in at])
        high, low = (
            builder.load(_vector_at(builder, _WORDS, octets_at, _bytes(64 * half)), align=8)
            for half in range(2)
        )
        loop = _Loop(builder, n_quads, [])
        source = builder.add(source, builder.mul(loop.i, _bytes(16 * QUAD)))
        target = builder.add(target, builder.mul(loop.i, _bytes(64 * LANES)))

        def begun(member: int) -> list[Any]:
            at = [builder.add(source, _bytes(16 * member + 8 * word)) for word in range(2)]
            first, second = (_spread(builder, _word_at(builder, place)) for place in at)
            return _second_round(builder, first, second, high, low)

        rounds = [partial(_round, builder, keys=pair) for pair in keys]
        chains = emitted([begun, *rounds], range(QUAD))
        rows = [
            lanes
            for word in range(4)
            for lanes in _lanes_of(builder, [words[word] for words in chains])
        ]
        places = [_vector_at(builder, _PARTS, target, _bytes(64 * k)) for k in range(LANES)]
        weights = [common(builder, lanes) for lanes in rows]
        for weight, place in zip(weights, places, strict=True):
            builder.store(weight, place, align=2)
        rare = _any_below(builder, rows, THRESHOLDS[_RARE[0] - 1])
        with builder.if_then(rare, likely=False):
            for lanes, weight, place in zip(rows, weights, places, strict=True):
                builder.store(_rare_weight(builder, lanes, weight), place, align=2)
        loop.end([])
        return context.get_dummy_value()

    return intrinsic(draw)


# block_weights(part, octets, schedule, weights) writes the weights of n_quads >= 1 quads of members
# in eight octets; `schedule` is uint64[10, 2]. The portable form writes the same on any processor.
block_weights: Any = _block_weights(wide=HAS_AVX512BW)
portable_block_weights: Any = _block_weights(wide=False)


def _pair_products(builder: Any, a: Any, b: Any) -> Any:
    """Sums of neighbouring products of 16-bit lanes, in 32 bits."""
    wide = ir.VectorType(_I32, _PARTS.count)
    products = builder.mul(builder.sext(a, wide), builder.sext(b, wide))
    empty = ir.Constant(wide, ir.Undefined)
    return builder.add(
        _shuffle(builder, products, empty, range(0, wide.count, 2)),
        _shuffle(builder, products, empty, range(1, wide.count, 2)),
    )


def _pair_sums(builder: Any, halves: Any) -> Any:
    """Sums of neighbouring 32-bit lanes, in 64 bits."""
    words = builder.bitcast(halves, _WORDS)
    by_half = _fill(_WORDS, 32)
    low = builder.ashr(builder.shl(words, by_half), by_half)
    return builder.add(low, builder.ashr(words, by_half))


def _block_sums(n_rows: int, wide: bool) -> Any:
    """The intrinsic, in one of its forms: which rows and lanes a pass over the quads sums."""
    half = LANES // 2
    narrow = [
        (range(row, row + 1), range(at, at + half)) for at in (0, half) for row in range(n_rows)
    ]
    passes = [(range(n_rows), range(LANES))] if wide else narrow

    def add(
        _typing: Any,
        weights: Any,
        digits: Any,
        _row: Any,
        _quads: Any,
        _shifts: Any,
        _at: Any,
        out: Any,
    ) -> Any:
        pair = types.UniTuple(types.int64, 2)
        signature = types.void(weights, digits, types.int64, pair, pair, pair, out)

        def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
            kinds = signature.args
            weights_at = _data(context, builder, kinds[0], arguments[0])
            digits_at = _data(context, builder, kinds[1], arguments[1])
            out_at = _data(context, builder, kinds[6], arguments[6])
            row = arguments[2]
            quad, n_quads = (builder.extract_value(arguments[3], k) for k in range(2))
            array = context.make_array(kinds[1])(context, builder, arguments[1])
            row_bytes = builder.mul(builder.extract_value(array.shape, 1), _bytes(2))
            for rows, lanes in passes:
                loop = _Loop(builder, n_quads, [_fill(_HALVES, 0)] * (len(rows) * len(lanes)))
                at_quad = builder.add(quad, loop.i)
                weight_base = builder.add(weights_at, builder.mul(at_quad, _bytes(64 * LANES)))
                factors = []
                for k in rows:
                    at_row = builder.mul(builder.add(row, _bytes(k)), row_bytes)
                    offset = builder.add(at_row, builder.mul(at_quad, _bytes(2 * QUAD)))
                    four = _word_at(builder, builder.add(digits_at, offset), align=2)
                    factors.append(builder.bitcast(_spread(builder, four), _PARTS))
                drawn = []
                for lane in lanes:
                    place = _vector_at(builder, _PARTS, weight_base, _bytes(64 * lane))
                    drawn.append(builder.load(place, align=2))
                products = [_pair_products(builder, one, four) for four in factors for one in drawn]
                totals = [builder.add(a, b) for a, b in zip(loop.carry, products, strict=True)]
                loop.end(totals)
                for total, (k, lane) in zip(totals, product(rows, lanes), strict=True):
                    shift = _spread(builder, builder.extract_value(arguments[4], k))
                    first = builder.mul(builder.extract_value(arguments[5], k), _bytes(8))
                    base = builder.add(out_at, first)
                    place = _vector_at(builder, _WORDS, base, _bytes(64 * lane))
                    before = builder.load(place, align=8)
                    shifted = builder.shl(_pair_sums(builder, total), shift)
                    builder.store(builder.add(before, shifted), place, align=8)
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(add)


# add_sums_N(weights, digits, row, (quad, n_quads), shifts, at, out) sums N rows of `digits` from
# `row` on over n_quads >= 1 quads from `quad` on, shifts each row's 64 sums left by its own shift
# and adds them to int64 `out` (flat) from its own `at` on. One row uses a pair's first only.
add_sums_1: Any = _block_sums(1, wide=HAS_AVX512BW)
add_sums_2: Any = _block_sums(2, wide=HAS_AVX512BW)
portable_add_sums_1: Any = _block_sums(1, wide=False)
portable_add_sums_2: Any = _block_sums(2, wide=False)
