"""The stable order of 64-bit words, digit by digit."""

from __future__ import annotations

from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require
from kernels.rows._radix import digits, sort

GPU_THREADS: Final = 128
_GPU_DIGIT_BITS: Final = 8
_GPU_CHUNK: Final = 1024


class WordOrder(NamedTuple):
    """What `word_order` returns for n words."""

    order: Any  # int64[n]: rows by word, rows with equal words in their order
    words: Any  # uint64[n]: the words in that order


def word_order(words: Any, bits: int) -> WordOrder:
    """Rows in order of their words, rows with equal words in the order they stand in.

    Parameters
    ----------
    words : uint64[n], below 2^bits, n below 2^31
    bits : int, 0 to 64
        How many low bits of the words can be set. The work grows with it.

    Returns
    -------
    WordOrder
        On the device of the inputs.

    Raises
    ------
    KernelInputError
        If the array has another dtype or rank, is too long, or bits is out of range. The words'
        high bits are trusted to be zero.

    Exact on every device: integers only. Source: radix sort (Knuth, The Art of Computer
    Programming, volume 3, 5.2.5).
    """
    device = device_of(words=words)
    require("words", words, np.uint64, (None,))
    if not 0 <= bits <= 64:
        raise KernelInputError(f"bits: expected 0 to 64, got {bits}")
    if len(words) >= 2**31:
        raise KernelInputError(f"words: expected fewer than 2^31, got {len(words):,}")
    form: Any = _cpu if device == "cpu" else _gpu
    found: WordOrder = form(words, bits)
    return found


def reference(words: Any, bits: int) -> WordOrder:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    order = sorted(range(len(words)), key=lambda i: int(words[i]) % 2**bits)
    return WordOrder(np.array(order, np.int64), words[order] if order else words.copy())


def _cpu(words: Any, bits: int) -> WordOrder:
    n = len(words)
    order, ordered, rows = np.empty(n, np.int64), np.empty(n, np.uint64), np.empty(n, np.int32)
    sort(read_only(words), digits(bits), order, ordered, rows)
    return WordOrder(order, ordered)


@cache
def _entry() -> Any:
    return cuda_module("rows/word_order").get_function("word_order")


def _gpu(words: Any, bits: int) -> WordOrder:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    n = len(words)
    words = words.copy()
    order = cupy.arange(n, dtype=np.int64)
    chunks = -(-n // _GPU_CHUNK)
    grid = (-(-chunks // GPU_THREADS),)
    for shift in range(0, bits if n else 0, _GPU_DIGIT_BITS):
        sorted_words, sorted_order = cupy.empty(n, np.uint64), cupy.empty(n, np.int64)
        places = cupy.zeros((1 << _GPU_DIGIT_BITS) * chunks, np.int64)
        for scatter in (0, 1):
            _entry()(grid, (GPU_THREADS,), (
                words, order, np.int32(shift), np.int32(_GPU_CHUNK), np.int64(n), places,
                np.int32(scatter), sorted_words, sorted_order,
            ))  # fmt: skip
            if not scatter:
                places = cupy.cumsum(places) - places
        words, order = sorted_words, sorted_order
    return WordOrder(order, words)
