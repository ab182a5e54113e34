"""The stable order of 64-bit words, digit by digit."""

from __future__ import annotations

from functools import cache
from typing import Any, Final, NamedTuple

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require

GPU_THREADS: Final = 128
_GPU_DIGIT_BITS: Final = 8
_GPU_CHUNK: Final = 1024
_TOP_BITS: Final = 8
_DIGIT_BITS: Final = 9
_FEW: Final = 32


class WordOrder(NamedTuple):
    """What `word_order` returns for n words."""

    order: Any  # int64[n]: rows by word, rows with equal words in their order
    words: Any  # uint64[n]: the words in that order


def word_order(words: Any, bits: int) -> WordOrder:
    """Rows in order of their words, rows with equal words in the order they stand in.

    Parameters
    ----------
    words : uint64[n], below 2^bits, n below 2^31
    bits : int, 0 to 64
        How many low bits of the words can be set. The work grows with it.

    Returns
    -------
    WordOrder
        On the device of the inputs.

    Raises
    ------
    KernelInputError
        If the array has another dtype or rank, is too long, or bits is out of range. The words'
        high bits are trusted to be zero.

    Exact on every device: integers only. Source: radix sort (Knuth, The Art of Computer
    Programming, volume 3, 5.2.5).
    """
    device = device_of(words=words)
    require("words", words, np.uint64, (None,))
    if not 0 <= bits <= 64:
        raise KernelInputError(f"bits: expected 0 to 64, got {bits}")
    if len(words) >= 2**31:
        raise KernelInputError(f"words: expected fewer than 2^31, got {len(words):,}")
    form: Any = _cpu if device == "cpu" else _gpu
    found: WordOrder = form(words, bits)
    return found


def reference(words: Any, bits: int) -> WordOrder:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    order = sorted(range(len(words)), key=lambda i: int(words[i]) % 2**bits)
    return WordOrder(np.array(order, np.int64), words[order] if order else words.copy())


def _cpu(words: Any, bits: int) -> WordOrder:
    top = min(bits, _TOP_BITS)
    passes = -(-(bits - top) // _DIGIT_BITS)
    width = -(-(bits - top) // passes) if passes else 0
    n = len(words)
    order, ordered, rows = np.empty(n, np.int64), np.empty(n, np.uint64), np.empty(n, np.int32)
    form: Any = _sort
    form(read_only(words), top, bits - top, passes, width, order, ordered, rows)
    return WordOrder(order, ordered)


@numba.njit(cache=True, nogil=True)
def _sort(
    given: Any, top: Any, low: Any, passes: Any, width: Any, order: Any, words: Any, rows: Any
) -> None:
    """One pass by the top bits, which leaves pieces that fit a cache, then each from its lowest."""
    n = len(given)
    shift = np.uint64(low)
    ends = np.zeros(1 << top, np.int64)
    for i in range(n):
        ends[given[i] >> shift] += 1
    longest = np.int64(0)
    start = np.int64(0)
    for d in range(len(ends)):
        count = ends[d]
        longest = max(longest, count)
        ends[d] = start
        start += count
    for i in range(n):
        digit = given[i] >> shift
        place = ends[digit]
        ends[digit] += 1
        words[place] = given[i]
        rows[place] = i
    other_words = np.empty(longest, np.uint64)
    other_rows = np.empty(longest, np.int32)
    counts = np.empty((passes, 1 << width), np.int32)
    start = np.int64(0)
    for d in range(len(ends)):
        stop = ends[d]
        if stop - start > _FEW:
            _sort_piece(words[start:stop], rows[start:stop], other_words, other_rows, counts, width)
        else:
            _insert(words[start:stop], rows[start:stop])
        for i in range(start, stop):
            order[i] = rows[i]
        start = stop


@numba.njit(cache=True, nogil=True)
def _sort_piece(
    words: Any, rows: Any, other_words: Any, other_rows: Any, counts: Any, width: Any
) -> None:
    n, passes = len(words), len(counts)
    mask = np.uint64((1 << width) - 1)
    counts[:] = 0
    for i in range(n):
        for p in range(passes):
            counts[p, (words[i] >> np.uint64(p * width)) & mask] += 1
    here_words, here_rows = words, rows
    there_words, there_rows = other_words[:n], other_rows[:n]
    for p in range(passes):
        shift = np.uint64(p * width)
        places = counts[p]
        if places[(here_words[0] >> shift) & mask] == n:  # one digit throughout
            continue
        start = 0
        for digit in range(len(places)):
            count = places[digit]
            places[digit] = start
            start += count
        for i in range(n):
            digit = (here_words[i] >> shift) & mask
            place = np.uint32(places[digit])
            places[digit] += 1
            there_words[place] = here_words[i]
            there_rows[place] = here_rows[i]
        here_words, there_words = there_words, here_words
        here_rows, there_rows = there_rows, here_rows
    for i in range(n):  # onto itself after an even number of passes
        words[i] = here_words[i]
        rows[i] = here_rows[i]


@numba.njit(cache=True, nogil=True)
def _insert(words: Any, rows: Any) -> None:
    for i in range(1, len(words)):
        word, row = words[i], rows[i]
        j = i
        while j > 0 and words[j - 1] > word:
            words[j], rows[j] = words[j - 1], rows[j - 1]
            j -= 1
        words[j], rows[j] = word, row


@cache
def _entry() -> Any:
    return cuda_module("word_order").get_function("word_order")


def _gpu(words: Any, bits: int) -> WordOrder:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    n = len(words)
    words = words.copy()
    order = cupy.arange(n, dtype=np.int64)
    chunks = -(-n // _GPU_CHUNK)
    grid = (-(-chunks // GPU_THREADS),)
    for shift in range(0, bits if n else 0, _GPU_DIGIT_BITS):
        sorted_words, sorted_order = cupy.empty(n, np.uint64), cupy.empty(n, np.int64)
        places = cupy.zeros((1 << _GPU_DIGIT_BITS) * chunks, np.int64)
        for scatter in (0, 1):
            _entry()(grid, (GPU_THREADS,), (
                words, order, np.int32(shift), np.int32(_GPU_CHUNK), np.int64(n), places,
                np.int32(scatter), sorted_words, sorted_order,
            ))  # fmt: skip
            if not scatter:
                places = cupy.cumsum(places) - places
        words, order = sorted_words, sorted_order
    return WordOrder(order, words)
