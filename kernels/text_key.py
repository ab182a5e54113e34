"""A 64-bit BLAKE2b key of each text of a column."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require

GPU_THREADS: Final = 128
ROUNDS: Final = 12
INITIAL: Final = np.array(
    [
        0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
        0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
    ],
    np.uint64,
)  # fmt: skip
ORDER: Final = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
    ],
    np.uint8,
)
_PARAMETERS: Final = np.uint64(0x01010008)  # a digest of 8 bytes, no key, one leaf
_BLOCK: Final = 128


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
    return _keys(read_only(data), read_only(offsets), read_only(person), INITIAL, ORDER)


@numba.njit(cache=True, nogil=True, inline="always")
def _turned(word: Any, bits: Any) -> Any:
    return (word >> np.uint64(bits)) | (word << np.uint64(64 - bits))


@numba.njit(cache=True, nogil=True)
def _mix(v: Any, a: Any, b: Any, c: Any, d: Any, x: Any, y: Any) -> None:
    v[a] = v[a] + v[b] + x
    v[d] = _turned(v[d] ^ v[a], 32)
    v[c] += v[d]
    v[b] = _turned(v[b] ^ v[c], 24)
    v[a] = v[a] + v[b] + y
    v[d] = _turned(v[d] ^ v[a], 16)
    v[c] += v[d]
    v[b] = _turned(v[b] ^ v[c], 63)


@numba.njit(cache=True, nogil=True)
def _keys(data: Any, offsets: Any, person: Any, initial: Any, order: Any) -> Any:
    n = len(offsets) - 1
    out = np.empty(n, np.uint64)
    h = np.empty(8, np.uint64)
    v = np.empty(16, np.uint64)
    m = np.empty(16, np.uint64)
    for i in range(n):
        start, stop = np.int64(offsets[i]), np.int64(offsets[i + 1])
        h[:] = initial
        h[0] ^= _PARAMETERS
        h[6] ^= person[0]
        h[7] ^= person[1]
        at = start
        while True:
            end = min(at + _BLOCK, stop)
            m[:] = 0
            for k in range(at, end):
                byte = np.uint64(k - at)
                m[byte >> np.uint64(3)] |= np.uint64(data[k]) << (
                    (byte & np.uint64(7)) * np.uint64(8)
                )
            v[:8] = h
            v[8:] = initial
            v[12] ^= np.uint64(end - start)
            if end == stop:
                v[14] = ~v[14]
            for r in range(ROUNDS):
                s = order[r % 10]
                _mix(v, 0, 4, 8, 12, m[s[0]], m[s[1]])
                _mix(v, 1, 5, 9, 13, m[s[2]], m[s[3]])
                _mix(v, 2, 6, 10, 14, m[s[4]], m[s[5]])
                _mix(v, 3, 7, 11, 15, m[s[6]], m[s[7]])
                _mix(v, 0, 5, 10, 15, m[s[8]], m[s[9]])
                _mix(v, 1, 6, 11, 12, m[s[10]], m[s[11]])
                _mix(v, 2, 7, 8, 13, m[s[12]], m[s[13]])
                _mix(v, 3, 4, 9, 14, m[s[14]], m[s[15]])
            for k in range(8):
                h[k] ^= v[k] ^ v[k + 8]
            at = end
            if at == stop:
                break
        out[i] = h[0]
    return out


@cache
def _entry() -> Any:
    return cuda_module("text_key").get_function("text_key")


def _gpu(data: Any, offsets: Any, person: Any) -> Any:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    n = len(offsets) - 1
    out = cupy.empty(n, dtype=np.uint64)
    if n:
        grid = ((n + GPU_THREADS - 1) // GPU_THREADS,)
        wide = offsets.astype(np.int64)
        _entry()(grid, (GPU_THREADS,), (data, wide, person, np.int64(n), out))
    return out
