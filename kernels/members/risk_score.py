"""A risk model's program over condition bits, and the sum of its coefficients.

Twin: risk_score.cu. The steps are data: which model they spell is the caller's business.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require

STEP_COLUMNS: Final = (
    "operation", "segments", "flags", "out", "a", "b", "c", "d", "x", "y", "z",
)  # fmt: skip
PATCH, HIER, EXCLUDE, GROUP, AND, RANK, CROSS, COUNT, DURATION, CELL = range(10)
OPERATIONS: Final = (
    "PATCH", "HIER", "EXCLUDE", "GROUP", "AND", "RANK", "CROSS", "COUNT", "DURATION", "CELL",
)  # fmt: skip
MOST_WORDS: Final = 16
"""Widest bit set that the CUDA twin keeps a copy of."""
AGES: Final = 128
"""Ages 0 to 127 have a place in a CELL table; an unknown age has none."""


def risk_score(
    words: Any,
    age: Any,
    sex: Any,
    months: Any,
    segment: Any,
    row: Any,
    flags: Any,
    steps: Any,
    masks: Any,
    children: Any,
    table: Any,
    coefficients_micro: Any,
) -> tuple[Any, Any]:
    """Run the steps over each member's bits, then sum the coefficients of the bits that are set.

        score_micro[m] = sum of coefficients_micro[row[m], bit] over the bits set at the end

    Parameters
    ----------
    words : uint64[n_members, n_input_words]
        Condition bits (`condition_flags`); bit b is bit b % 64 of word b // 64.
    age : int16[n_members], completed years; outside 0..127: no cell
    sex : uint8[n_members], 0 unknown, 1 female, 2 male
    months : uint8[n_members], months of enrolment
    segment : uint8[n_members], below 31
    row : int32[n_members]
        Row of `coefficients_micro`.
    flags : int32[n_members]
        Facts about the member that are not conditions, one bit each.
    steps : int32[n_steps, 11]
        Columns as in `STEP_COLUMNS`. A step runs for members whose segment is in its bit set
        `segments` and who have all of its `flags`. a, b, c, d are rows of `masks`, -1: absent;
        x, y, z index `table` or are small numbers:

        ==========  ==========================================================================
        PATCH       clear the bits of a, unless any bit of b is set
        HIER        for each bit of a that is set, ascending: clear children[bit]; a bit cleared
                    on the way clears nothing (x = 0), or all act on the bits as they were (x = 1)
        EXCLUDE     clear the bits of a
        GROUP       if any bit of a is set: set out, and clear a (x = 1)
        AND         set out if each of a, b, c, d that is present has a bit set
        RANK        unless gate a is present and empty: of the y pairs (mask, bit) at table[x], set
                    the bit of the first whose mask has a bit set, else z if not negative
        CROSS       at table[x]: n1, n2, n1 bits, n2 bits, n1 * n2 bits; for the first set of
                    either list, set the bit at [i, j]
        COUNT       count the bits of a; unless gate b is present and empty, set
                    table[x + min(count, y - 1)] if not negative
        DURATION    unless gate b is present and empty, set table[x + min(months, y - 1)] likewise
        CELL        set table[x + (v * 3 + sex) * 128 + age] if not negative, where v is the
                    number in the z flags from bit y on
        ==========  ==========================================================================
    masks : uint64[n_masks, n_words], n_words >= n_input_words
    children : uint64[64 * n_input_words, n_input_words]
        Bits that a hierarchy clears below each bit.
    table : int32[n_table]
    coefficients_micro : int64[n_rows, 64 * n_words], millionths

    Returns
    -------
    score_micro : int64[n_members], millionths
    terms : uint64[n_members, n_words]
        Bits set at the end.

    Raises
    ------
    KernelInputError
        If an array has another dtype, rank or layout, or they live on different devices. The
        numbers inside `steps`, `table`, `segment` and `row` are trusted (the caller's compiler
        makes them).

    Exact on every device: integers only. Source: the program of the published model, as compiled
    by the caller.
    """
    device = device_of(
        words=words, age=age, sex=sex, months=months, segment=segment, row=row, flags=flags,
        steps=steps, masks=masks, children=children, table=table,
        coefficients_micro=coefficients_micro,
    )  # fmt: skip
    require("words", words, np.uint64, (None, None))
    n, n_input = words.shape
    for name, array, dtype in (
        ("age", age, np.int16), ("sex", sex, np.uint8), ("months", months, np.uint8),
        ("segment", segment, np.uint8), ("row", row, np.int32), ("flags", flags, np.int32),
    ):  # fmt: skip
        require(name, array, dtype, (n,))
    require("steps", steps, np.int32, (None, len(STEP_COLUMNS)))
    require("masks", masks, np.uint64, (None, None))
    n_words = masks.shape[1]
    if not n_input <= n_words <= MOST_WORDS:
        raise KernelInputError(f"masks: expected {n_input} to {MOST_WORDS} words, got {n_words}")
    require("children", children, np.uint64, (64 * n_input, n_input))
    require("table", table, np.int32, (None,))
    require("coefficients_micro", coefficients_micro, np.int64, (None, 64 * n_words))
    arrays = (
        words, age, sex, months, segment, row, flags, steps, masks, children, table,
        coefficients_micro,
    )  # fmt: skip
    if device == "gpu":
        on_gpu: tuple[Any, Any] = _gpu(*arrays)
        return on_gpu
    found = np.empty(len(words), np.int64), np.empty((len(words), n_words), np.uint64)
    form: Any = _cpu
    form(*(read_only(array) for array in arrays), *found)
    return found


def reference(
    words: Any, age: Any, sex: Any, months: Any, segment: Any, row: Any, flags: Any, steps: Any,
    masks: Any, children: Any, table: Any, coefficients_micro: Any,
) -> tuple[Any, Any]:  # fmt: skip
    """The definition, in the fewest words. Slow on purpose; never optimised."""

    def wide(array: Any) -> int:
        return sum(int(word) << (64 * w) for w, word in enumerate(array))

    mask = [wide(m) for m in masks]
    below = [wide(c) for c in children]
    t = [int(v) for v in table]
    n, n_words = len(words), masks.shape[1]
    score_micro = np.zeros(n, np.int64)
    terms = np.zeros((n, n_words), np.uint64)
    for m in range(n):
        bits = wide(words[m])
        for step in steps.tolist():
            operation, segments, needed, out, a, b, c, d, x, y, z = step
            if not segments >> int(segment[m]) & 1 or needed & int(flags[m]) != needed:
                continue
            put = -1
            if operation == PATCH:
                bits &= ~mask[a] if not bits & mask[b] else -1
            elif operation == HIER:
                before = bits
                for bit in range(len(below)):
                    if (before if x else bits) & mask[a] & 1 << bit:
                        bits &= ~below[bit]
            elif operation == EXCLUDE:
                bits &= ~mask[a]
            elif operation == GROUP:
                if bits & mask[a]:
                    bits = (bits & ~mask[a] if x else bits) | 1 << out
            elif operation == AND:
                put = out if all(bits & mask[k] for k in (a, b, c, d) if k >= 0) else -1
            elif operation == RANK:
                if a < 0 or bits & mask[a]:
                    pairs = [(t[x + 2 * i], t[x + 2 * i + 1]) for i in range(y)]
                    put = next((bit for k, bit in pairs if bits & mask[k]), z)
            elif operation == CROSS:
                n1, n2 = t[x], t[x + 1]
                first, second = t[x + 2 : x + 2 + n1], t[x + 2 + n1 : x + 2 + n1 + n2]
                i = next((i for i, bit in enumerate(first) if bits >> bit & 1), -1)
                j = next((j for j, bit in enumerate(second) if bits >> bit & 1), -1)
                put = t[x + 2 + n1 + n2 + i * n2 + j] if i >= 0 and j >= 0 else -1
            elif operation == COUNT:
                if b < 0 or bits & mask[b]:
                    put = t[x + min((bits & mask[a]).bit_count(), y - 1)]
            elif operation == DURATION:
                if b < 0 or bits & mask[b]:
                    put = t[x + min(int(months[m]), y - 1)]
            elif 0 <= age[m] < AGES:
                variant = int(flags[m]) >> y & ((1 << z) - 1)
                put = t[x + (variant * 3 + int(sex[m])) * AGES + int(age[m])]
            if put >= 0:
                bits |= 1 << put
        for w in range(n_words):
            terms[m, w] = bits >> (64 * w) & (2**64 - 1)
        score_micro[m] = sum(
            int(value) for bit, value in enumerate(coefficients_micro[row[m]]) if bits >> bit & 1
        )
    return score_micro, terms


def _popcount(_context: Any, word: Any) -> Any:
    def emit(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(word), emit


def _trailing_zeros(_context: Any, word: Any) -> Any:
    def emit(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(word), emit


_count_bits: Any = intrinsic(_popcount)
_lowest_bit: Any = intrinsic(_trailing_zeros)


@numba.njit(cache=True, nogil=True, inline="always")
def _any(bits: Any, i: Any, masks: Any, k: Any, spans: Any) -> bool:
    for w in range(spans[k, 0], spans[k, 1]):  # noqa: SIM110 - compiled
        if bits[w, i] & masks[k, w]:
            return True
    return False


@numba.njit(cache=True, nogil=True)
def _first_set(bits: Any, i: Any, table: Any, start: Any, count: Any) -> Any:
    for j in range(count):
        bit = table[start + j]
        if bits[bit >> 6, i] >> np.uint64(bit & 63) & np.uint64(1):
            return j
    return -1


@numba.njit(cache=True, nogil=True)
def _clear(bits: Any, i: Any, masks: Any, k: Any, spans: Any) -> None:
    for w in range(spans[k, 0], spans[k, 1]):
        bits[w, i] &= ~masks[k, w]


@numba.njit(cache=True, nogil=True)
def _hierarchy(
    bits: Any, runs: Any, masks: Any, k: Any, children: Any, simultaneous: Any, gone: Any
) -> None:
    n_input = children.shape[1]
    for i in range(len(runs)):
        if not runs[i]:
            continue
        if simultaneous:
            gone[:] = 0
        for w in range(n_input):
            left = bits[w, i] & masks[k, w]
            while left:
                low = _lowest_bit(left)
                bit = 64 * w + np.int64(low)
                if simultaneous:
                    left &= left - np.uint64(1)
                    for v in range(n_input):
                        gone[v] |= children[bit, v]
                    continue
                for v in range(n_input):
                    bits[v, i] &= ~children[bit, v]
                # parents above this bit that are still set
                left = bits[w, i] & masks[k, w] & ~((np.uint64(2) << low) - np.uint64(1))
        if simultaneous:
            for w in range(n_input):
                bits[w, i] &= ~gone[w]


@numba.njit(cache=True, nogil=True)
def _conjunction(bits: Any, runs: Any, masks: Any, step: Any, spans: Any, hits: Any) -> None:
    """Set the bit `out` of the members that have a bit of each mask of the step."""
    for i in range(len(runs)):
        hits[i] = runs[i]
    for part in range(4, 8):
        k = step[part]
        if k < 0:
            continue
        first = spans[k, 0]
        if spans[k, 1] - first == 1:  # the usual mask: one word, no branch
            mask = masks[k, first]
            for i in range(len(runs)):
                hits[i] &= (bits[first, i] & mask) != 0
            continue
        for i in range(len(runs)):
            if hits[i] and not _any(bits, i, masks, k, spans):
                hits[i] = False
    word = step[3] >> 6
    bit = np.uint64(1) << np.uint64(step[3] & 63)
    for i in range(len(runs)):
        bits[word, i] |= bit if hits[i] else np.uint64(0)


@numba.njit(cache=True, nogil=True)
def _cpu(
    words: Any, age: Any, sex: Any, months: Any, segment: Any, row: Any, flags: Any, steps: Any,
    masks: Any, children: Any, table: Any, coefficients_micro: Any, score_micro: Any, terms: Any,
) -> None:  # fmt: skip
    n, n_input = words.shape
    n_words = masks.shape[1]
    spans = np.zeros((len(masks), 2), np.int64)  # the words between which a mask has bits
    for k in range(len(masks)):
        first = n_words
        last = 0
        for w in range(n_words):
            if masks[k, w]:
                first = min(first, w)
                last = w + 1
        spans[k, 0] = min(first, last)
        spans[k, 1] = last
    # Members are taken in chunks, and in a chunk by segment, in blocks: a step is then looked up
    # once for a block, and the block stays in cache.
    chunk = 4096
    block = 256
    start = np.zeros(33, np.int64)
    put_at = np.zeros(32, np.int64)
    order = np.empty(chunk, np.int64)
    store = np.empty((n_words, block), np.uint64)
    store_runs = np.empty(block, np.bool_)
    store_hits = np.empty(block, np.bool_)
    gone = np.zeros(n_input, np.uint64)
    for base in range(0, n, chunk):
        top = min(base + chunk, n)
        start[:] = 0
        for m in range(base, top):
            start[segment[m] + 1] += 1
        for g in range(32):
            start[g + 1] += start[g]
            put_at[g] = start[g]
        for m in range(base, top):
            order[put_at[segment[m]]] = m
            put_at[segment[m]] += 1
        for part in range(31 * (chunk // block)):
            g = part // (chunk // block)
            begin = start[g] + part % (chunk // block) * block
            if begin >= start[g + 1]:
                continue
            who = order[begin : min(begin + block, start[g + 1])]
            size = len(who)
            bits = store[:, :size]
            runs = store_runs[:size]
            hits = store_hits[:size]
            for i in range(size):
                for w in range(n_input):
                    bits[w, i] = words[who[i], w]
                for w in range(n_input, n_words):
                    bits[w, i] = 0
            all_run = False
            for s in range(len(steps)):
                step = steps[s]
                if not step[1] >> g & 1:
                    continue
                needed = step[2]
                if needed != 0:
                    for i in range(size):
                        runs[i] = needed & flags[who[i]] == needed
                elif not all_run:
                    runs[:] = True
                all_run = needed == 0
                operation = step[0]
                a = step[4]
                b = step[5]
                x = step[8]
                y = step[9]
                if operation == 4:  # AND
                    _conjunction(bits, runs, masks, step, spans, hits)
                    continue
                if operation == 1:  # HIER
                    _hierarchy(bits, runs, masks, a, children, x != 0, gone)
                    continue
                for i in range(size):
                    if not runs[i]:
                        continue
                    put = np.int64(-1)
                    if operation == 9:  # CELL
                        m = who[i]
                        if 0 <= age[m] < 128:
                            variant = flags[m] >> y & ((1 << step[10]) - 1)
                            put = table[x + (variant * 3 + sex[m]) * 128 + age[m]]
                    elif operation == 7:  # COUNT
                        if b < 0 or _any(bits, i, masks, b, spans):
                            count = np.int64(0)
                            for w in range(spans[a, 0], spans[a, 1]):
                                count += np.int64(_count_bits(bits[w, i] & masks[a, w]))
                            put = table[x + min(count, y - 1)]
                    elif operation == 3:  # GROUP
                        if _any(bits, i, masks, a, spans):
                            if x != 0:
                                _clear(bits, i, masks, a, spans)
                            put = step[3]
                    elif operation == 2:  # EXCLUDE
                        _clear(bits, i, masks, a, spans)
                    elif operation == 0:  # PATCH
                        if not _any(bits, i, masks, b, spans):
                            _clear(bits, i, masks, a, spans)
                    elif operation == 5:  # RANK
                        if a < 0 or _any(bits, i, masks, a, spans):
                            put = step[10]
                            for j in range(y):
                                if _any(bits, i, masks, table[x + 2 * j], spans):
                                    put = table[x + 2 * j + 1]
                                    break
                    elif operation == 6:  # CROSS
                        n1 = table[x]
                        n2 = table[x + 1]
                        j = _first_set(bits, i, table, x + 2, n1)
                        k = _first_set(bits, i, table, x + 2 + n1, n2)
                        if j >= 0 and k >= 0:
                            put = table[x + 2 + n1 + n2 + j * n2 + k]
                    elif b < 0 or _any(bits, i, masks, b, spans):  # DURATION
                        put = table[x + min(np.int64(months[who[i]]), y - 1)]
                    if put >= 0:
                        bits[put >> 6, i] |= np.uint64(1) << np.uint64(put & 63)
            for i in range(size):
                total = np.int64(0)
                m = who[i]
                r = row[m]
                for w in range(n_words):
                    left = bits[w, i]
                    terms[m, w] = left
                    while left:
                        total += coefficients_micro[r, 64 * w + np.int64(_lowest_bit(left))]
                        left &= left - np.uint64(1)
                score_micro[m] = total


@cache
def _module() -> Any:
    return cuda_module("members/risk_score")


def _gpu(
    words: Any, age: Any, sex: Any, months: Any, segment: Any, row: Any, flags: Any, steps: Any,
    masks: Any, children: Any, table: Any, coefficients_micro: Any,
) -> tuple[Any, Any]:  # fmt: skip
    import cupy  # noqa: PLC0415

    n, n_input = words.shape
    n_words = masks.shape[1]
    score_micro = cupy.zeros(n, cupy.int64)
    terms = cupy.zeros((n, n_words), cupy.uint64)
    if n:
        _module().get_function("risk_score")(
            ((n + 255) // 256,),
            (256,),
            (
                words, age, sex, months, segment, row, flags, steps, masks, children, table,
                coefficients_micro, np.int64(n), np.int32(n_input), np.int32(n_words),
                np.int32(len(steps)), score_micro, terms,
            ),
        )  # fmt: skip
    return score_micro, terms
