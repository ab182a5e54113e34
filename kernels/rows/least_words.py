"""The least word of each kind, where words of a kind have their high bits in common."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require
from kernels.rows._radix import digits, sort

GPU_THREADS: Final = 256


def least_words(words: Any, bits: int, shift: int) -> Any:
    """The least of the words that share `word >> shift`, for each of these, ascending.

    Parameters
    ----------
    words : uint64[n], below 2^bits
        In any order.
    bits : int, 0 to 64
        How many low bits of the words can be set. The work grows with it.
    shift : int, 0 to 63
        The lowest bit that tells kinds apart.

    Returns
    -------
    uint64[kinds], on the device of the input

    Raises
    ------
    KernelInputError
        If the array has another dtype or rank, or a number is out of range. The words' high bits
        are trusted to be zero.

    Exact on every device: integers only. Source: definition; the sort is `word_order`'s.
    """
    device = device_of(words=words)
    require("words", words, np.uint64, (None,))
    if not 0 <= bits <= 64:
        raise KernelInputError(f"bits: expected 0 to 64, got {bits}")
    if not 0 <= shift < 64:
        raise KernelInputError(f"shift: expected 0 to 63, got {shift}")
    form: Any = _cpu if device == "cpu" else _gpu
    return form(words, bits, shift)


def reference(words: Any, bits: int, shift: int) -> Any:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    least: dict[int, int] = {}
    for word in words.tolist():
        kind = word % 2**bits >> shift
        least[kind] = min(word, least.get(kind, word))
    return np.array(sorted(least.values()), np.uint64)


def _cpu(words: Any, bits: int, shift: int) -> Any:
    ordered = np.empty(len(words), np.uint64)
    sort(read_only(words), digits(bits), None, ordered, None)
    return ordered[: _keep_first(ordered, np.uint64(shift))]


@numba.njit(cache=True, nogil=True)
def _keep_first(words: Any, shift: Any) -> Any:
    """Move the first word of each kind to the front, in place; how many there are."""
    kept = np.int64(0)
    before = np.uint64(0)
    for i in range(len(words)):
        word = words[i]
        kind = word >> shift
        if i == 0 or kind != before:
            words[kept] = word
            kept += 1
            before = kind
    return kept


@cache
def _entry() -> Any:
    return cuda_module("rows/least_words").get_function("least_words")


def _gpu(words: Any, bits: int, shift: int) -> Any:  # noqa: ARG001 - a sort of whole words
    import cupy  # noqa: PLC0415 - only where a GPU is used

    n = len(words)
    ordered, first = cupy.sort(words), cupy.zeros(n, dtype=bool)
    if n:
        grid = ((n + GPU_THREADS - 1) // GPU_THREADS,)
        _entry()(grid, (GPU_THREADS,), (ordered, np.int32(shift), np.int64(n), first))
    return ordered[first]
