"""The value at a rank of a row that is nearly in order, without sorting it.

    a place tried -> counting tells its rank -> the few values between it and the rank's own

The rank's value lies among the ends of blocks: at most the least of those ends below which enough
whole blocks lie, at least the greatest of those below which too few blocks begin. Blocks of the row
are looked into only where their least and greatest do not tell.
"""

from __future__ import annotations

from typing import Final

import numba
import numpy as np

from kernels._fused import BLOCK

_FEW: Final = 16


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _between(row, first, last, low, high):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """How many of row[first:last] are below `low`, and how many at most `high`."""
    below, reached = np.int64(0), np.int64(0)
    for j in range(first, last):
        x = row[j]
        below += np.int64(x < low)
        reached += np.int64(x <= high)
    return below, reached


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _counts(row, n, lows, highs, low, high, rank):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """The same of the first n, looking into blocks only where their ends do not tell.

    Such blocks are sought from the rank outwards.
    """
    n_blocks = n // BLOCK
    below, reached = _between(row, n_blocks * BLOCK, n, low, high)
    under, some, upto, any_ = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    for i in range(n_blocks):
        under += np.int64(highs[i] < low)
        some += np.int64(lows[i] < low)
        upto += np.int64(highs[i] <= high)
        any_ += np.int64(lows[i] <= high)
    below += BLOCK * under
    reached += BLOCK * upto
    cut = some - under + any_ - upto
    right, left = rank // BLOCK, rank // BLOCK - 1
    while cut > 0 and (right < n_blocks or left >= 0):
        for i in (right, left):
            if 0 <= i < n_blocks:
                cuts_low = lows[i] < low <= highs[i]
                cuts_high = lows[i] <= high < highs[i]
                if cuts_low or cuts_high:
                    more, most = _between(row, i * BLOCK, (i + 1) * BLOCK, low, high)
                    if cuts_low:
                        below += more
                        cut -= 1
                    if cuts_high:
                        reached += most
                        cut -= 1
        right += 1
        left -= 1
    return below, reached


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _smallest(few, n, rank):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
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
def quantile(row, n, lows, highs, rank, place, few):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """The value at a rank counted from 1 among the first n, and a place that holds it.

    Parameters
    ----------
    row : float64[>= n]
        Whole numbers below 2**53 in size.
    lows, highs : float64[>= ceil(n / BLOCK)]
        Least and greatest of each block; the last may be a part of one.
    place : int
        Where to look first.
    few : float64[n + 1]
        Scratch.
    """
    value = row[place]
    below, reached = _counts(row, n, lows, highs, value, value, rank)
    if below < rank <= reached:
        return value, place
    n_blocks = n // BLOCK
    if rank > reached:
        enough = (rank - 1) // BLOCK
        high = np.inf
        if enough < n_blocks:
            few[:n_blocks] = highs[:n_blocks]
            high = _smallest(few, n_blocks, enough)
        m = _gather(row, n, lows, highs, value + 1.0, high, few)
        value = _smallest(few, m, rank - 1 - reached)
    else:
        parts = (n + BLOCK - 1) // BLOCK
        few[:parts] = lows[:parts]
        low = _smallest(few, parts, (rank - 1) // BLOCK)
        m = _gather(row, n, lows, highs, low, value - 1.0, few)
        value = _smallest(few, m, rank - 1 - (below - m))
    return value, _place(row, n, lows, highs, value)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _gather(row, n, lows, highs, low, high, few):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Put the values from `low` to `high` into `few`; how many there are."""
    m = np.int64(0)
    for b in range((n + BLOCK - 1) // BLOCK):
        if highs[b] >= low and lows[b] <= high:
            for j in range(b * BLOCK, min(n, (b + 1) * BLOCK)):
                x = row[j]
                few[m] = x
                m += np.int64((x >= low) & (x <= high))
    return m


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _place(row, n, lows, highs, value):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """A place that holds a value which is there."""
    for b in range((n + BLOCK - 1) // BLOCK):
        if lows[b] <= value <= highs[b]:
            for j in range(b * BLOCK, min(n, (b + 1) * BLOCK)):
                if row[j] == value:
                    return j
    return 0
