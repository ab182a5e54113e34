"""A column packed into words in place."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require

KINDS: Final = (
    np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64,
)  # fmt: skip
GPU_THREADS: Final = 256


def word_pack(words: Any, values: Any, least: int, shift: int) -> Any:
    """Set a column's distance from its least value into words, from a bit on, in place.

        words[i] |= (values[i] - least) << shift, modulo 2^64

    Parameters
    ----------
    words : uint64[n], writable
        Bits that the column takes are zero, or it is or-ed over what they hold.
    values : an integer of 8, 16, 32 or 64 bits, signed or not [n]
    least : int, -2^63 to 2^64 - 1
        What zero stands for: the least of the values, if no distance is to wrap.
    shift : int, 0 to 63
        The column's lowest bit.

    Returns
    -------
    uint64[n]
        `words`.

    Raises
    ------
    KernelInputError
        If an array has another dtype, rank or length or cannot be written, a number is out of
        range, or the arrays live on different devices.

    Exact on every device: integers modulo 2^64. Source: definition.
    """
    device = device_of(words=words, values=values)
    require("words", words, np.uint64, (None,), writable=True)
    require("values", values, KINDS, (len(words),))
    if not -(2**63) <= least < 2**64:
        raise KernelInputError(f"least: expected -2^63 to 2^64 - 1, got {least}")
    if not 0 <= shift < 64:
        raise KernelInputError(f"shift: expected 0 to 63, got {shift}")
    form = _cpu if device == "cpu" else _gpu
    form(words, values, np.uint64(least % 2**64), shift)
    return words


def reference(words: Any, values: Any, least: int, shift: int) -> Any:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    for i, (word, value) in enumerate(zip(words.tolist(), values.tolist(), strict=True)):
        words[i] = word | ((value - least << shift) % 2**64)
    return words


def _cpu(words: Any, values: Any, least: Any, shift: int) -> None:
    _pack(words, read_only(values), least, np.uint64(shift))


@numba.njit(cache=True, nogil=True)
def _pack(words: Any, values: Any, least: Any, shift: Any) -> None:
    for i in range(len(words)):
        words[i] |= (np.uint64(values[i]) - least) << shift


@cache
def _entry() -> Any:
    return cuda_module("rows/word_pack").get_function("word_pack")


def _gpu(words: Any, values: Any, least: Any, shift: int) -> None:
    n = len(words)
    if n:
        grid = ((n + GPU_THREADS - 1) // GPU_THREADS,)
        kind = np.dtype(values.dtype)
        width = kind.itemsize if kind.kind == "u" else -kind.itemsize
        arguments = (words, values, np.int32(width), least, np.int32(shift), np.int64(n))
        _entry()(grid, (GPU_THREADS,), arguments)
