"""Radix sort of words, with the rows they came from or without.

Source: Knuth, The Art of Computer Programming, volume 3, 5.2.5.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

_TOP_BITS: Final = 8
_DIGIT_BITS: Final = 9
_FEW: Final = 32


def digits(bits: int) -> tuple[int, int, int, int]:
    """Bits of the first pass, of all others, and the number and width of those."""
    top = min(bits, _TOP_BITS)
    low = bits - top
    passes = -(-low // _DIGIT_BITS)
    return top, low, passes, -(-low // passes) if passes else 0


@numba.njit(cache=True, nogil=True)
def sort(given: Any, plan: tuple[int, int, int, int], order: Any, words: Any, rows: Any) -> None:
    """Write words in order, and the rows where they stood; or words alone, rows being None.

    One pass by the top bits, which leaves pieces that fit a cache, then each from its lowest.

    given : uint64[n]
    plan : of `digits`
    words, order, rows : uint64[n], int64[n], int32[n], written; `rows` is scratch
    """
    top, low, passes, width = plan
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
        if rows is not None:
            rows[place] = i
    other_words = np.empty(longest, np.uint64)
    if rows is not None:
        other_rows = np.empty(longest, np.int32)
    counts = np.empty((passes, 1 << width), np.int32)
    start = np.int64(0)
    for d in range(len(ends)):
        stop = ends[d]
        piece = words[start:stop]
        if rows is None:
            if len(piece) > _FEW:
                _sort_piece(piece, None, other_words, None, counts, width)
            else:
                _insert(piece, None)
        else:
            own = rows[start:stop]
            if len(piece) > _FEW:
                _sort_piece(piece, own, other_words, other_rows, counts, width)
            else:
                _insert(piece, own)
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
    here_words, there_words = words, other_words[:n]
    if rows is not None:
        here_rows, there_rows = rows, other_rows[:n]
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
            if rows is not None:
                there_rows[place] = here_rows[i]
        here_words, there_words = there_words, here_words
        if rows is not None:
            here_rows, there_rows = there_rows, here_rows
    for i in range(n):  # onto itself after an even number of passes
        words[i] = here_words[i]
        if rows is not None:
            rows[i] = here_rows[i]


@numba.njit(cache=True, nogil=True)
def _insert(words: Any, rows: Any) -> None:
    for i in range(1, len(words)):
        word = words[i]
        if rows is not None:
            row = rows[i]
        j = i
        while j > 0 and words[j - 1] > word:
            words[j] = words[j - 1]
            if rows is not None:
                rows[j] = rows[j - 1]
            j -= 1
        words[j] = word
        if rows is not None:
            rows[j] = row
