"""The value at a rank of a row that is nearly in order, without sorting it.

    values from around the rank -> a bracket -> counting proves it -> the few values inside it

Blocks of the row are looked into only where their least and greatest do not tell. Where the proof
fails the bracket is widened, in the end to all values.
"""

from __future__ import annotations

from typing import Final

import numba
import numpy as np

from kernels._fused import BLOCK

_FEW: Final = 20
_LEAST_WIDTH: Final = 8


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


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"nnan"})
def _ends(row, first, last):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Least and greatest of row[first:last]."""
    low, high = row[first], row[first]
    for j in range(first, last):
        low = min(low, row[j])
        high = max(high, row[j])
    return low, high


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _smallest(few, n, rank):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """The value at a rank counted from 0 among the first n, which are moved about."""
    first, last = np.int64(0), n - 1
    while last - first > 24:
        a, b, c = few[first], few[(first + last) // 2], few[last]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = first, last
        while i <= j:
            while few[i] < pivot:
                i += 1
            while few[j] > pivot:
                j -= 1
            if i <= j:
                few[i], few[j] = few[j], few[i]
                i += 1
                j -= 1
        if rank <= j:
            last = j
        elif rank >= i:
            first = i
        else:
            return few[rank]
    for k in range(first + 1, last + 1):
        value = few[k]
        j = k - 1
        while j >= first and few[j] > value:
            few[j + 1] = few[j]
            j -= 1
        few[j + 1] = value
    return few[rank]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _sorted_part(row, first, last, few):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """row[first:last] in order, at the start of `few`."""
    few[0] = row[first]
    for i in range(1, last - first):
        value = row[first + i]
        j = i - 1
        while j >= 0 and few[j] > value:
            few[j + 1] = few[j]
            j -= 1
        few[j + 1] = value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _take(row, first, last, low, high, few, m):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Put those of row[first:last] from `low` to `high` behind the first m; how many there are."""
    for j in range(first, last):
        x = row[j]
        few[m] = x
        m += np.int64((x >= low) & (x <= high))
    return m


@numba.njit(cache=True, nogil=True, error_model="numpy")
def quantile(row, n, lows, highs, rank, holder, width, few):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """The value at a rank counted from 1 among the first n, a place that holds it, and a width.

    Parameters
    ----------
    row : float64[>= n]
        Whole numbers.
    lows, highs : float64[>= n // BLOCK]
        Least and greatest of each whole block.
    holder : int
        A place to try first.
    width : int
        Places on either side of the rank that bracketed the value the last time.
    few : float64[n + 1]
        Scratch.
    """
    value = row[holder]
    below, reached = _counts(row, n, lows, highs, value, value, rank)
    if below < rank <= reached:
        return value, holder, width
    value, found = _selected(row, n, lows, highs, rank, width, few)
    width = min(found, 256) if found > width else max(_LEAST_WIDTH, width - width // 8)
    return value, _holder(row, n, lows, highs, value), width


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _holder(row, n, lows, highs, value):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """A place that holds a value which is there."""
    n_blocks = n // BLOCK
    for j in range(n_blocks * BLOCK, n):
        if row[j] == value:
            return j
    for b in range(n_blocks):
        if lows[b] <= value <= highs[b]:
            for j in range(b * BLOCK, (b + 1) * BLOCK):
                if row[j] == value:
                    return j
    return 0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _selected(row, n, lows, highs, rank, width, few):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """The value at a rank counted from 1 among the first n, and the width that bracketed it."""
    while True:
        first, last = max(0, rank - 1 - width), min(n, rank + width)
        low, high = _ends(row, first, last)
        below, reached = _counts(row, n, lows, highs, low, high, rank)
        if below < rank <= reached:
            break
        width *= 4
    if low == high:
        return low, width
    if reached - below > _FEW:  # halve by the values that stand there; all are whole numbers
        _sorted_part(row, first, last, few)
        bottom, top = 0, last - first - 1
        while top - bottom > 1 and reached - below > _FEW:
            middle = (bottom + top) // 2
            tried = few[middle]
            under, upto = _counts(row, n, lows, highs, tried, tried, rank)
            if under < rank <= upto:
                return tried, width
            if rank <= under:
                high, reached, top = tried - 1.0, under, middle
            else:
                low, below, bottom = tried + 1.0, upto, middle
        if low == high:
            return low, width
    wanted = reached - below
    first, last = max(0, rank - 1 - 2 * width), min(n, rank + 2 * width)
    m = _take(row, first, last, low, high, few, 0)
    if m < wanted:
        n_blocks = n // BLOCK
        m = _take(row, n_blocks * BLOCK, n, low, high, few, 0)
        for i in range(n_blocks):
            if highs[i] >= low and lows[i] <= high:
                under, upto = _between(row, i * BLOCK, (i + 1) * BLOCK, low, high)
                if upto > under:
                    m = _take(row, i * BLOCK, (i + 1) * BLOCK, low, high, few, m)
    return _smallest(few, m, rank - 1 - below), width
