"""Quantiles as selections: the k-th smallest value, never a value between two.

    row -> 16-bit keys in the same order -> the key that holds the rank -> the value among its few

The k-th smallest of n has k = max(1, ceil(p n)) in integers, so a quantile of cents is one of the
cents that went in, the same on every device. The fast form does not sort: it narrows each value to
16 bits without changing the order, finds the key of the wanted rank by halving (each step counts
keys, many at a time), and looks only at the values under that key. Values that share a key are
narrowed again, so ties and skewed rows cost another round and not another method.

Not here: which quantiles make an interval (the caller), means and probabilities (exact sums).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require

MICRO: Final = 1_000_000
_FEW: Final = 16
_STRIDE: Final = 64
_COUNTED: Final = 32768
_KEY_BITS: Final = 16
_TOP: Final = (1 << 16) - 1
GPU_THREADS: Final = 128
_LEAST: Final = np.int64(-(1 << 63))
_MOST: Final = np.int64((1 << 63) - 1)


def quantiles(values: Any, p_micro: Sequence[int]) -> Any:
    """Select quantiles of every row.

        out[i, j] = the k-th smallest of values[i], k = max(1, ceil(p_micro[j] / 10**6 * n_values))

    Parameters
    ----------
    values : int64[n_rows, n_values]
        In whatever unit; the result keeps it. n_values >= 1 unless n_rows is 0.
    p_micro : sequence of int, 0 <= p <= 1_000_000
        Probabilities in millionths, in any order; 0.05 is 50_000.

    Returns
    -------
    int64[n_rows, len(p_micro)], on the device of `values`

    Raises
    ------
    KernelInputError
        If `values` has another dtype, rank or layout, a row is empty, or a probability is outside
        0 to 1_000_000.

    Exact on every device: integers only. Source: the definition of a quantile as a selection.
    """
    where = device_of(values=values)
    require("values", values, np.int64, (None, None))
    ranks = ranks_of(p_micro, values.shape[1])
    if values.shape[0] and not values.shape[1]:
        raise KernelInputError("values: expected at least one value in a row, got none")
    return _cpu(read_only(values), ranks) if where == "cpu" else _gpu(values, ranks)


def ranks_of(p_micro: Sequence[int], n_values: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Rank k of each probability among n_values, counted from 1, as int64[n_p].

    Raises
    ------
    KernelInputError
        If a probability is outside 0 to 1_000_000.
    """
    ranks = np.empty(len(p_micro), dtype=np.int64)
    for j, p in enumerate(p_micro):
        if not 0 <= p <= MICRO:
            raise KernelInputError(f"p_micro[{j}]: expected 0 to {MICRO} millionths, got {p}")
        ranks[j] = max(1, -(-int(p) * n_values // MICRO))
    return ranks


def reference(values: Any, p_micro: Sequence[int]) -> Any:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    n = values.shape[1]
    rows = [
        [sorted(row)[max(1, -(-p * n // MICRO)) - 1] for p in p_micro] for row in values.tolist()
    ]
    return np.array(rows, dtype=np.int64).reshape(values.shape[0], len(p_micro))


@numba.njit(cache=True, nogil=True)
def _sorted_few(piece: Any, n: Any) -> Any:
    for i in range(1, n):
        value = piece[i]
        j = i - 1
        while j >= 0 and piece[j] > value:
            piece[j + 1] = piece[j]
            j -= 1
        piece[j + 1] = value


@numba.njit(cache=True, nogil=True)
def _narrow(row: Any, n: Any, keys: Any) -> Any:
    """Fill 16-bit keys in the order of the values; returns how many bits of a key are in use."""
    low, high = row[0], row[0]
    for i in range(n):
        low = min(low, row[i])
        high = max(high, row[i])
    span = np.uint64(high) - np.uint64(low)
    bits = 0
    while bits < 64 and span >> np.uint64(bits) != 0:
        bits += 1
    shift = np.uint64(max(0, bits - _KEY_BITS))
    for i in range(n):
        keys[i] = np.uint16((np.uint64(row[i]) - np.uint64(low)) >> shift)
    return min(bits, _KEY_BITS)


@numba.njit(cache=True, nogil=True)
def _count_below(keys: Any, n: Any, key: Any) -> Any:
    total = np.int64(0)
    for start in range(0, n, _COUNTED):
        part = keys[start : min(start + _COUNTED, n)]
        below = np.uint16(0)
        for i in range(part.shape[0]):
            below = np.uint16(below + np.uint16(part[i] < key))
        total += np.int64(below)
    return total


@numba.njit(cache=True, nogil=True)
def _key_of_rank(keys: Any, n: Any, bits: Any, rank: Any) -> Any:
    """The key at a rank counted from 0, and how many keys are below it."""
    key, below = 0, 0
    for bit in range(bits - 1, -1, -1):
        tried = key | (1 << bit)
        found = _count_below(keys, n, np.uint16(tried))
        if found <= rank:
            key, below = tried, found
    return np.uint16(key), below


@numba.njit(cache=True, nogil=True)
def _one_value(row: Any, keys: Any, n: Any, key: Any) -> Any:
    """Least and greatest value under one key: equal where ties share it."""
    low, high = _MOST, _LEAST
    for i in range(n):
        low = min(low, row[i] if keys[i] == key else _MOST)
        high = max(high, row[i] if keys[i] == key else _LEAST)
    return low, high


@numba.njit(cache=True, nogil=True)
def _take(row: Any, keys: Any, n: Any, key: Any, piece: Any) -> Any:
    """Copy the values under one key, passing over strides without any; returns how many."""
    taken = 0
    whole = n // _STRIDE * _STRIDE
    for start in range(0, whole, _STRIDE):
        part = keys[start : start + _STRIDE]
        found = np.uint16(0)
        for i in range(_STRIDE):
            found = np.uint16(found + np.uint16(part[i] == key))
        if found:
            for i in range(start, start + _STRIDE):
                if keys[i] == key:
                    piece[taken] = row[i]
                    taken += 1
    for i in range(whole, n):
        if keys[i] == key:
            piece[taken] = row[i]
            taken += 1
    return taken


@numba.njit(cache=True, nogil=True)
def _select(row: Any, keys: Any, bits: Any, rank: Any, piece: Any, piece_keys: Any) -> Any:
    """The value at a rank counted from 0; `keys` belong to the row, the rest is scratch."""
    n = row.shape[0]
    key, below = _key_of_rank(keys, n, bits, rank)
    if key < _TOP and _count_below(keys, n, np.uint16(key + 1)) - below > _FEW:
        low, high = _one_value(row, keys, n, key)
        if low == high:
            return low
    n = _take(row, keys, n, key, piece)
    rank -= below
    while n > _FEW:
        bits = _narrow(piece, n, piece_keys)
        if bits == 0:
            return piece[0]
        key, below = _key_of_rank(piece_keys, n, bits, rank)
        n = _take(piece, piece_keys, n, key, piece)
        rank -= below
    _sorted_few(piece, n)
    return piece[rank]


@numba.njit(cache=True, nogil=True)
def _cpu(values: Any, ranks: Any) -> Any:
    n_rows, n_values = values.shape
    out = np.empty((n_rows, ranks.shape[0]), dtype=np.int64)
    keys = np.empty(n_values, dtype=np.uint16)
    piece = np.empty(n_values, dtype=np.int64)
    piece_keys = np.empty(n_values, dtype=np.uint16)
    for i in range(n_rows):
        bits = _narrow(values[i], n_values, keys)
        for j in range(ranks.shape[0]):
            out[i, j] = _select(values[i], keys, bits, ranks[j] - 1, piece, piece_keys)
    return out


@cache
def _entry() -> Any:
    return cuda_module("draws/quantiles").get_function("quantiles")


def _gpu(values: Any, ranks: Any) -> Any:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    n_rows, n_values = values.shape
    out = cupy.empty((n_rows, len(ranks)), dtype=np.int64)
    if out.size:
        scalars = (np.int64(n_values), np.int32(len(ranks)))
        _entry()((n_rows,), (GPU_THREADS,), (values, cupy.asarray(ranks), *scalars, out))
    return out
