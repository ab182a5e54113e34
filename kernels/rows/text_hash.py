"""A 64-bit hash of each text of a column, eight bytes a step."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require

ODD: Final = np.uint64(0x9E3779B97F4A7C15)
FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
SECOND: Final = np.uint64(0x94D049BB133111EB)


def text_hash(data: Any, offsets: Any) -> Any:
    """Hash of the bytes of each text; the hash of an empty one is 0.

    Starts at length x 0x9E3779B97F4A7C15. Each eight bytes w from byte b on, little-endian, the
    last padded with zeros, make it scramble((hash xor w) x 0x9E3779B97F4A7C15 + b + 1) modulo 2^64.

    Parameters
    ----------
    data : uint8[m]
    offsets : int32 or int64 [n + 1], non-decreasing, from 0 to m
        Text i is data[offsets[i]:offsets[i + 1]].

    Returns
    -------
    uint64[n]
        On the device of the inputs.

    Raises
    ------
    KernelInputError
        If an array has another dtype, rank or length, or the arrays live on different devices.
        Values inside `offsets` are trusted.

    Exact on every device: integers modulo 2^64. Source: scramble is the finaliser of SplitMix64
    (Steele, Lea, Flood 2014); the chaining is this project's.
    """
    device = device_of(data=data, offsets=offsets)
    require("data", data, np.uint8, (None,))
    require("offsets", offsets, (np.int32, np.int64), (None,))
    if len(offsets) == 0:
        raise KernelInputError("offsets: expected n + 1 starts, got an empty array")
    form: Any = _cpu if device == "cpu" else _gpu
    return form(data, offsets)


def reference(data: Any, offsets: Any) -> Any:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    hashes = []
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        text = data[start:stop].tobytes()
        x = len(text) * int(ODD) % 2**64
        for b in range(0, len(text), 8):
            x = ((x ^ int.from_bytes(text[b : b + 8], "little")) * int(ODD) + b + 1) % 2**64
            x = (x ^ (x >> 30)) * int(FIRST) % 2**64
            x = (x ^ (x >> 27)) * int(SECOND) % 2**64
            x ^= x >> 31
        hashes.append(x)
    return np.array(hashes, np.uint64)


def _cpu(data: Any, offsets: Any) -> Any:
    data = read_only(data)
    # eight bytes from any byte on; a text within eight bytes of the end is read byte by byte
    words = np.ndarray((max(len(data) - 7, 0),), "<u8", data, strides=(1,))
    return _hash(read_only(words), data, read_only(offsets))


@numba.njit(cache=True, nogil=True)
def _hash(words: Any, data: Any, offsets: Any) -> Any:
    n = len(offsets) - 1
    out = np.empty(n, np.uint64)
    i = 0
    # four texts of one length side by side, so that the processor mixes them at a time
    while i + 4 <= n:
        a, b, c, d = offsets[i], offsets[i + 1], offsets[i + 2], offsets[i + 3]
        length: Any = np.int64(b) - np.int64(a)
        alike = c - b == length and d - c == length and offsets[i + 4] - d == length
        if alike and np.int64(d) + length <= len(words):
            x = y = z = w = np.uint64(length) * ODD
            for at in range(0, length, 8):
                x = _mixed(x, _word(words, np.int64(a) + at, length - at), at)
                y = _mixed(y, _word(words, np.int64(b) + at, length - at), at)
                z = _mixed(z, _word(words, np.int64(c) + at, length - at), at)
                w = _mixed(w, _word(words, np.int64(d) + at, length - at), at)
            out[i], out[i + 1], out[i + 2], out[i + 3] = x, y, z, w
        else:
            for k in range(i, i + 4):
                out[k] = _one(words, data, np.int64(offsets[k]), np.int64(offsets[k + 1]))
        i += 4
    for k in range(i, n):
        out[k] = _one(words, data, np.int64(offsets[k]), np.int64(offsets[k + 1]))
    return out


@numba.njit(inline="always")
def _one(words: Any, data: Any, start: Any, stop: Any) -> Any:
    x = np.uint64(stop - start) * ODD
    for at in range(start, stop, 8):
        if at < len(words):
            word = _word(words, at, stop - at)
        else:
            word = np.uint64(0)
            for k in range(min(stop - at, 8)):
                word |= np.uint64(data[at + k]) << np.uint64(8 * k)
        x = _mixed(x, word, at - start)
    return x


@numba.njit(inline="always")
def _word(words: Any, at: Any, left: Any) -> Any:
    """The text's next eight bytes, or those that are left of it."""
    word = words[np.uint64(at)]
    if left < 8:
        word &= (np.uint64(1) << np.uint64(8 * left)) - np.uint64(1)
    return word


@numba.njit(inline="always")
def _mixed(x: Any, word: Any, at: Any) -> Any:
    x = (x ^ word) * ODD + np.uint64(at + 1)
    x = (x ^ (x >> np.uint64(30))) * FIRST
    x = (x ^ (x >> np.uint64(27))) * SECOND
    return x ^ (x >> np.uint64(31))


@cache
def _entry() -> Any:
    return cuda_module("rows/text_hash").get_function("text_hash")


def _gpu(data: Any, offsets: Any) -> Any:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    n = len(offsets) - 1
    out = cupy.empty(n, dtype=cupy.uint64)
    if n:
        block = 256
        wide = offsets.astype(cupy.int64)
        _entry()(((n + block - 1) // block,), (block,), (data, wide, np.int64(n), out))
    return out
