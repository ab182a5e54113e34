"""Two 64-bit hashes of each row, one column at a time."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import cuda_module, device_of, read_only, require

FACTOR: Final = np.uint64(0x94D049BB133111EB)
SHIFT: Final = np.uint64(32)
WORDS: Final = (np.uint64, np.uint32, np.int64, np.int32)


def row_hash(lanes: Any, words: Any, index: Any, seeds: Any) -> Any:
    """Add one column to the hashes of its rows, in place.

    With x = word x seed modulo 2^64, each lane grows by (x xor (x >> 32)) x 0x94D049BB133111EB. A
    zero word adds nothing, so a column left out counts as one of zeros; columns commute.

    Parameters
    ----------
    lanes : uint64[2, n], writable
    words : uint64, uint32, int64 or int32 [k]
        One word a row, or, with `index`, one a distinct value; negative ones in two's complement.
    index : int32, uint8, uint16 or int64 [n], values from 0 to k - 1; or None
        Which word each row has. None: row i has word i, and k == n.
    seeds : uint64[2]
        Odd constants, one a lane, that name the column.

    Returns
    -------
    uint64[2, n]
        `lanes`.

    Raises
    ------
    KernelInputError
        If an array has another dtype, rank or length, or the arrays live on different devices.
        Values inside `index` are trusted.

    Exact on every device: integers modulo 2^64. Source: the last steps of the finaliser of
    SplitMix64 (Steele, Lea, Flood 2014), keyed by multiplication.
    """
    arrays = {"lanes": lanes, "words": words, "seeds": seeds}
    if index is not None:
        arrays["index"] = index
    device = device_of(**arrays)
    require("lanes", lanes, np.uint64, (2, None), writable=True)
    n = lanes.shape[1]
    require("seeds", seeds, np.uint64, (2,))
    if index is None:
        require("words", words, WORDS, (n,))
    else:
        require("words", words, WORDS, (None,))
        require("index", index, (np.int32, np.uint8, np.uint16, np.int64), (n,))
    form = _cpu if device == "cpu" else _gpu
    form(lanes, words, index, seeds)
    return lanes


def reference(lanes: Any, words: Any, index: Any, seeds: Any) -> Any:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    for lane, seed in zip(lanes, seeds.tolist(), strict=True):
        for i in range(len(lane)):
            x = int(words[i if index is None else index[i]]) * seed % 2**64
            lane[i] = (int(lane[i]) + (x ^ (x >> 32)) * int(FACTOR)) % 2**64
    return lanes


def _cpu(lanes: Any, words: Any, index: Any, seeds: Any) -> None:
    one, other = np.uint64(seeds[0]), np.uint64(seeds[1])
    words = read_only(words)
    if index is None:
        _each(lanes[0], lanes[1], words, one, other)
    elif len(words) <= len(index):  # mix each distinct word once
        _looked_up(lanes[0], lanes[1], _mixed(words, one, other), read_only(index))
    else:
        _coded(lanes[0], lanes[1], words, read_only(index), one, other)


@numba.njit(cache=True, nogil=True)
def _each(first: Any, second: Any, words: Any, one: Any, other: Any) -> None:
    for i in range(len(first)):
        x = np.uint64(words[i]) * one
        y = np.uint64(words[i]) * other
        first[i] += (x ^ (x >> SHIFT)) * FACTOR
        second[i] += (y ^ (y >> SHIFT)) * FACTOR


@numba.njit(cache=True, nogil=True)
def _mixed(words: Any, one: Any, other: Any) -> Any:
    mixed = np.empty((len(words), 2), np.uint64)
    for k in range(len(words)):
        x = np.uint64(words[k]) * one
        y = np.uint64(words[k]) * other
        mixed[k, 0] = (x ^ (x >> SHIFT)) * FACTOR
        mixed[k, 1] = (y ^ (y >> SHIFT)) * FACTOR
    return mixed


@numba.njit(cache=True, nogil=True)
def _looked_up(first: Any, second: Any, mixed: Any, index: Any) -> None:
    for i in range(len(first)):
        at = np.uint64(index[i])
        first[i] += mixed[at, 0]
        second[i] += mixed[at, 1]


@numba.njit(cache=True, nogil=True)
def _coded(first: Any, second: Any, words: Any, index: Any, one: Any, other: Any) -> None:
    for i in range(len(first)):
        word = np.uint64(words[np.uint64(index[i])])
        x = word * one
        y = word * other
        first[i] += (x ^ (x >> SHIFT)) * FACTOR
        second[i] += (y ^ (y >> SHIFT)) * FACTOR


@cache
def _entry() -> Any:
    return cuda_module("rows/row_hash").get_function("row_hash")


def _gpu(lanes: Any, words: Any, index: Any, seeds: Any) -> None:
    n = lanes.shape[1]
    width = 0 if index is None else index.dtype.itemsize
    if n:
        block = 256
        grid = ((n + block - 1) // block,)
        wide = words.astype(np.int64 if words.dtype.kind == "i" else np.uint64, copy=False)
        arguments = (
            lanes,
            wide,
            wide if index is None else index,
            seeds,
            np.int32(width),
            np.int64(n),
        )
        _entry()(grid, (block,), arguments)
