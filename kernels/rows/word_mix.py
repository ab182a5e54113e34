"""64-bit words mixed in place."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import cuda_module, device_of, require

FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
SECOND: Final = np.uint64(0x94D049BB133111EB)
GPU_THREADS: Final = 256


def word_mix(words: Any) -> Any:
    """Mix each word, in place, so that every bit of it moves about half of its bits.

    With x = word: x ^= x >> 30; x *= 0xBF58476D1CE4E5B9; x ^= x >> 27; x *= 0x94D049BB133111EB;
    x ^= x >> 31, modulo 2^64. Different words stay different, and zero stays zero.

    Parameters
    ----------
    words : uint64[n], writable

    Returns
    -------
    uint64[n]
        `words`.

    Raises
    ------
    KernelInputError
        If the array has another dtype or rank, or cannot be written.

    Exact on every device: integers modulo 2^64. Source: the finaliser of SplitMix64 (Steele, Lea,
    Flood 2014).
    """
    device = device_of(words=words)
    require("words", words, np.uint64, (None,), writable=True)
    form = _cpu if device == "cpu" else _gpu
    form(words)
    return words


def reference(words: Any) -> Any:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    for i, word in enumerate(words.tolist()):
        x = (word ^ (word >> 30)) * int(FIRST) % 2**64
        y = (x ^ (x >> 27)) * int(SECOND) % 2**64
        words[i] = y ^ (y >> 31)
    return words


@numba.njit(cache=True, nogil=True)
def _cpu(words: Any) -> None:
    for i in range(len(words)):
        x = words[i]
        x = (x ^ (x >> np.uint64(30))) * FIRST
        x = (x ^ (x >> np.uint64(27))) * SECOND
        words[i] = x ^ (x >> np.uint64(31))


@cache
def _entry() -> Any:
    return cuda_module("rows/word_mix").get_function("word_mix")


def _gpu(words: Any) -> None:
    n = len(words)
    if n:
        grid = ((n + GPU_THREADS - 1) // GPU_THREADS,)
        _entry()(grid, (GPU_THREADS,), (words, np.int64(n)))
