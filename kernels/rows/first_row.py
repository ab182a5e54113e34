"""Rows that are alike, each known by the first of them."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require

MIX: Final = np.uint64(0x9E3779B97F4A7C15)
WITHIN_MIX: Final = np.uint64(0xD1B54A32D192ED03)
GPU_THREADS: Final = 256


def first_row(words: Any, within: Any) -> Any:
    """The first row that has the same word within the same group.

    Parameters
    ----------
    words : uint64[n], n below 2^30
    within : uint64[n]
        The group of each row, by any number of its own.

    Returns
    -------
    int64[n]
        On the device of the inputs; a row that is the first of its kind has its own number.

    Raises
    ------
    KernelInputError
        If an array has another dtype, rank or length, is too long, or the arrays live on different
        devices.

    Exact on every device: integers only, equality decides. Source: a hash table with open
    addressing (Knuth, The Art of Computer Programming, volume 3, 6.4), slots by multiplication.
    """
    device = device_of(words=words, within=within)
    require("words", words, np.uint64, (None,))
    require("within", within, np.uint64, (len(words),))
    if len(words) >= 2**30:
        raise KernelInputError(f"words: expected fewer than 2^30, got {len(words):,}")
    form: Any = _cpu if device == "cpu" else _gpu
    return form(words, within)


def reference(words: Any, within: Any) -> Any:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    first: dict[Any, int] = {}
    pairs = zip(words.tolist(), within.tolist(), strict=True)
    return np.array([first.setdefault(pair, i) for i, pair in enumerate(pairs)], np.int64)


def _cpu(words: Any, within: Any) -> Any:
    words, within = read_only(words), read_only(within)
    log2 = max(2, (2 * _runs(words, within)).bit_length())
    slots, out = np.full(1 << log2, -1, np.int32), np.empty(len(words), np.int64)
    form: Any = _find
    form(words, within, slots, np.uint64(64 - log2), out)
    return out


@numba.njit(cache=True, nogil=True)
def _runs(words: Any, within: Any) -> Any:
    """Rows that differ from the row before: there are no more pairs than these."""
    found = np.int64(0)
    for i in range(1, len(words)):
        found += (words[i] != words[i - 1]) | (within[i] != within[i - 1])
    return found + 1


@numba.njit(cache=True, nogil=True)
def _find(words: Any, within: Any, slots: Any, shift: Any, out: Any) -> None:
    last = np.uint64(len(slots) - 1)
    for i in range(len(words)):
        word, group = words[i], within[i]
        if i > 0 and words[i - 1] == word and within[i - 1] == group:
            out[i] = out[i - 1]
            continue
        slot = ((word ^ (group * WITHIN_MIX)) * MIX) >> shift
        found = slots[slot]
        while found >= 0 and (words[np.uint32(found)] != word or within[np.uint32(found)] != group):
            slot = (slot + np.uint64(1)) & last
            found = slots[slot]
        if found < 0:
            slots[slot] = found = np.int32(i)
        out[i] = found


@cache
def _entry() -> Any:
    return cuda_module("rows/first_row").get_function("first_row")


def _gpu(words: Any, within: Any) -> Any:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    n = len(words)
    out = cupy.empty(n, dtype=np.int64)
    if n:
        order = cupy.argsort(words, kind="stable")
        order = order[cupy.argsort(within[order], kind="stable")]  # alike rows stand together
        _entry()((-(-n // GPU_THREADS),), (GPU_THREADS,), (words, within, order, np.int64(n), out))
    return out
