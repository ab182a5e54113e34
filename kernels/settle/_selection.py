"""The value at a rank of a row that is nearly in order, without sorting it.

    a place tried -> counting tells its rank -> the few values between it and the rank's own

The rank's value lies among the ends of blocks: at most the least of those ends below which enough
whole blocks lie, at least the greatest of those below which too few blocks begin. Blocks of the row
are looked into only where their least and greatest do not tell.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

from kernels.settle._fused import BLOCK
from kernels.settle._marks import below, lowest, ones, reached

_FEW: Final = 16
_ALL: Final = np.uint64(2**64 - 1)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def first_bits(n: Any) -> Any:
    """The lowest n bits of a word, all of them from 64 on."""
    return _ALL if n >= BLOCK else (np.uint64(1) << np.uint64(n)) - np.uint64(1)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _counts(row: Any, n: Any, lows: Any, highs: Any, value: Any) -> Any:
    """How many of the first n are below a value, and how many at most the value."""
    less, most = np.int64(0), np.int64(0)
    n_blocks = (n + BLOCK - 1) // BLOCK
    for group in range(0, n_blocks, BLOCK):
        there = first_bits(n_blocks - group)
        under = below(highs + 8 * group, value) & there
        upto = reached(highs + 8 * group, value) & there
        cut = (below(lows + 8 * group, value) & ~under) | (reached(lows + 8 * group, value) & ~upto)
        cut &= there
        whole = upto & ~cut
        less += BLOCK * ones(under)
        most += BLOCK * ones(whole)
        while cut:
            b = group + lowest(cut)
            cut &= cut - np.uint64(1)
            here, address = first_bits(n - b * BLOCK), row + 8 * BLOCK * b
            less += ones(below(address, value) & here)
            most += ones(reached(address, value) & here)
        last = n_blocks - 1 - group
        if last < BLOCK and n % BLOCK:  # a part of a block was taken for a whole one
            beyond = BLOCK - n % BLOCK
            less -= beyond * np.int64((under >> np.uint64(last)) & np.uint64(1))
            most -= beyond * np.int64((whole >> np.uint64(last)) & np.uint64(1))
    return less, most


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _between(row: Any, first: Any, last: Any, low: Any, high: Any) -> Any:
    """How many of row[first:last] are below `low`, and how many at most `high`."""
    below, reached = np.int64(0), np.int64(0)
    for j in range(first, last):
        x = row[j]
        below += np.int64(x < low)
        reached += np.int64(x <= high)
    return below, reached


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _smallest(few: Any, n: Any, rank: Any) -> Any:
    """The value at a rank counted from 0 among the first n, which are moved about.

    Values beyond a pivot are moved to the front without a branch, so that none is guessed wrongly.
    """
    while n > _FEW:
        a, b, c = few[n // 4], few[n // 2], few[n - 1 - n // 4]
        if 4 * rank < n:
            pivot = min(a, b, c)
        elif 4 * rank >= 3 * n:
            pivot = max(a, b, c)
        else:
            pivot = max(min(a, b), min(max(a, b), c))
        below, reached = _between(few, 0, n, pivot, pivot)
        if below <= rank < reached:
            return pivot
        m = np.int64(0)
        if rank < below:
            for j in range(n):
                x = few[j]
                few[m] = x
                m += np.int64(x < pivot)
        else:
            for j in range(n):
                x = few[j]
                few[m] = x
                m += np.int64(x > pivot)
            rank -= reached
        n = m
    for k in range(1, n):
        value = few[k]
        j = k - 1
        while j >= 0 and few[j] > value:
            few[j + 1] = few[j]
            j -= 1
        few[j + 1] = value
    return few[rank]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def quantile(values: Any, row: Any, n: Any, ends: Any, rank: Any, place: Any, few: Any) -> Any:
    """The value at a rank counted from 1 among the first n, and a place that holds it.

    Parameters
    ----------
    values : float64[>= n, up to a whole block]
        Whole numbers below 2**53 in size.
    row : int
        Address of `values`.
    n : int
    ends : float64[>= 2, >= ceil(n / BLOCK), up to a whole block]
        Least and greatest of each block; what stands beyond n is among the last block's values.
    rank : int
    place : int
        Where to look first.
    few : float64[n + 1]
        Scratch.
    """
    value = values[place]
    lows, highs = ends.ctypes.data, ends.ctypes.data + ends.strides[0]
    less, most = _counts(row, n, lows, highs, value)
    if less < rank <= most:
        return value, place
    if rank > most:
        whole, enough = n // BLOCK, (rank - 1) // BLOCK
        high = np.inf
        if enough < whole:
            few[:whole] = ends[1, :whole]
            high = _smallest(few, whole, enough)
        m = _gather(values, row, n, lows, highs, value + 1.0, high, few)
        value = _smallest(few, m, rank - 1 - most)
    else:
        n_blocks = (n + BLOCK - 1) // BLOCK
        few[:n_blocks] = ends[0, :n_blocks]
        low = _smallest(few, n_blocks, (rank - 1) // BLOCK)
        m = _gather(values, row, n, lows, highs, low, value - 1.0, few)
        value = _smallest(few, m, rank - 1 - (less - m))
    return value, _place(row, n, lows, highs, value)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _meeting(n_blocks: Any, group: Any, lows: Any, highs: Any, low: Any, high: Any) -> Any:
    """Marks of the blocks of a group that may have a value from `low` to `high`."""
    begun = reached(lows + 8 * group, high) & ~below(highs + 8 * group, low)
    return begun & first_bits(n_blocks - group)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _gather(
    values: Any, row: Any, n: Any, lows: Any, highs: Any, low: Any, high: Any, few: Any
) -> Any:
    """Put the values from `low` to `high` into `few`; how many there are."""
    m = np.uint64(0)
    n_blocks = (n + BLOCK - 1) // BLOCK
    for group in range(0, n_blocks, BLOCK):
        blocks = _meeting(n_blocks, group, lows, highs, low, high)
        while blocks:
            b = group + lowest(blocks)
            blocks &= blocks - np.uint64(1)
            address, first = row + 8 * BLOCK * b, np.uint64(b * BLOCK)
            wanted = reached(address, high) & ~below(address, low) & first_bits(n - b * BLOCK)
            while wanted:
                few[m] = values[first + np.uint64(lowest(wanted))]
                wanted &= wanted - np.uint64(1)
                m += np.uint64(1)
    return np.int64(m)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _place(row: Any, n: Any, lows: Any, highs: Any, value: Any) -> Any:
    """A place that holds a value which is there."""
    n_blocks = (n + BLOCK - 1) // BLOCK
    for group in range(0, n_blocks, BLOCK):
        blocks = _meeting(n_blocks, group, lows, highs, value, value)
        while blocks:
            b = group + lowest(blocks)
            blocks &= blocks - np.uint64(1)
            address = row + 8 * BLOCK * b
            equal = reached(address, value) & ~below(address, value) & first_bits(n - b * BLOCK)
            if equal:
                return b * BLOCK + lowest(equal)
    return 0
