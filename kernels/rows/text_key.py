"""A 64-bit BLAKE2b key of each text of a column."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require
from kernels.rows._blake2b import COUNT, INITIAL, LAST, TEXTS, WORDS, compress

GPU_THREADS: Final = 128
_PARAMETERS: Final = 0x01010008  # a digest of 8 bytes, no key, one leaf
_BEGIN: Final = np.array([INITIAL[0] ^ _PARAMETERS, *INITIAL[1:]], np.uint64)
_BLOCK: Final = 128
_FIRST_WORD: Final = WORDS.start
_ALL_BITS: Final = np.uint64(2**64 - 1)


def text_key(data: Any, offsets: Any, person: Any) -> Any:
    """BLAKE2b of the bytes of each text: a digest of 8 bytes, read little-endian.

    Parameters
    ----------
    data : uint8[m]
    offsets : int32 or int64 [n + 1], non-decreasing, from 0 to m
        Text i is data[offsets[i]:offsets[i + 1]].
    person : uint64[2]
        The 16 bytes of personalisation, little-endian.

    Returns
    -------
    uint64[n]
        On the device of the inputs.

    Raises
    ------
    KernelInputError
        If an array has another dtype, rank or length, or the arrays live on different devices.
        Values inside `offsets` are trusted.

    Exact on every device: integers modulo 2^64. Source: RFC 7693 (BLAKE2b), with the parameter
    block of the BLAKE2 specification, 2.8.
    """
    device = device_of(data=data, offsets=offsets, person=person)
    require("data", data, np.uint8, (None,))
    require("offsets", offsets, (np.int32, np.int64), (None,))
    require("person", person, np.uint64, (2,))
    if len(offsets) == 0:
        raise KernelInputError("offsets: expected n + 1 starts, got an empty array")
    form: Any = _cpu if device == "cpu" else _gpu
    return form(data, offsets, person)


def reference(data: Any, offsets: Any, person: Any) -> Any:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    name = person.astype("<u8").tobytes()
    keys = [
        hashlib.blake2b(data[start:stop].tobytes(), digest_size=8, person=name).digest()
        for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    ]
    return np.array([int.from_bytes(key, "little") for key in keys], np.uint64)


def _cpu(data: Any, offsets: Any, person: Any) -> Any:
    block = np.empty((LAST + 1, TEXTS), np.uint64)
    out = np.empty(len(offsets) - 1, np.uint64)
    _keys(read_only(data), read_only(offsets), read_only(person), block, out)
    return out


@numba.njit(cache=True, nogil=True)
def _keys(data: Any, offsets: Any, person: Any, block: Any, out: Any) -> None:
    for first in range(0, len(out), TEXTS):
        n = min(TEXTS, len(out) - first)
        longest = np.int64(1)  # an empty text is a block too
        for k in range(n):
            longest = max(longest, np.int64(offsets[first + k + 1]) - np.int64(offsets[first + k]))
        for row in range(_FIRST_WORD):
            block[row] = _BEGIN[row]
        block[6] ^= person[0]
        block[7] ^= person[1]
        for before in range(0, longest, _BLOCK):
            block[_FIRST_WORD:] = 0
            for k in range(n):
                start, stop = np.int64(offsets[first + k]), np.int64(offsets[first + k + 1])
                end = min(start + before + _BLOCK, stop)
                for byte in range(end - start - before):
                    word = np.uint64(data[start + before + byte])
                    block[_FIRST_WORD + byte // 8, k] |= word << np.uint64(byte % 8 * 8)
                block[COUNT, k] = end - start
                block[LAST, k] = _ALL_BITS if end == stop else np.uint64(0)
            compress(block)
            for k in range(n):
                size = np.int64(offsets[first + k + 1]) - np.int64(offsets[first + k])
                if size <= before + _BLOCK and (before < size or before == 0):  # its last block
                    out[first + k] = block[0, k]


@cache
def _entry() -> Any:
    return cuda_module("rows/text_key").get_function("text_key")


def _gpu(data: Any, offsets: Any, person: Any) -> Any:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    n = len(offsets) - 1
    out = cupy.empty(n, dtype=np.uint64)
    if n:
        grid = ((n + GPU_THREADS - 1) // GPU_THREADS,)
        wide = offsets.astype(np.int64)
        _entry()(grid, (GPU_THREADS,), (data, wide, person, np.int64(n), out))
    return out
