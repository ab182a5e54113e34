"""Each row's word with each of the row's codes, less what the row before states as well."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import cuda_module, device_of, read_only, require

GPU_THREADS: Final = 256


def list_words(words: Any, starts: Any, codes: Any, parts: Any) -> Any:
    """Write down `words[i] | parts[code]` of each row i and each code of its list, in that order.

    Left out is what repeats the row before: the same word with the same code at the same place of
    its list. Lines of one claim stand together and mostly state one list, so that fewer words are
    left to order; the distinct ones are all there.

    Parameters
    ----------
    words : uint64[n]
        One word a row.
    starts : int32[n + 1], ascending
        The codes of row i are `codes[starts[i] : starts[i + 1]]`.
    codes : int32[m], values from 0 to k - 1
    parts : uint64[k]
        What each code is in a word.

    Returns
    -------
    uint64[found], on the device of the inputs

    Raises
    ------
    KernelInputError
        If an array has another dtype, rank or length, or the arrays live on different devices.
        Values inside `starts` and `codes` are trusted.

    Exact on every device: bits are only or-ed. Source: definition.
    """
    device = device_of(words=words, starts=starts, codes=codes, parts=parts)
    require("words", words, np.uint64, (None,))
    require("starts", starts, np.int32, (len(words) + 1,))
    require("codes", codes, np.int32, (None,))
    require("parts", parts, np.uint64, (None,))
    form: Any = _cpu if device == "cpu" else _gpu
    return form(words, starts, codes, parts)


def reference(words: Any, starts: Any, codes: Any, parts: Any) -> Any:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    found, before = [], set()
    for i, word in enumerate(words.tolist()):
        stated = [(word, k, code) for k, code in enumerate(codes[starts[i] : starts[i + 1]])]
        found += [word | int(parts[code]) for _, k, code in stated if (word, k, code) not in before]
        before = set(stated)
    return np.array(found, np.uint64)


def _cpu(words: Any, starts: Any, codes: Any, parts: Any) -> Any:
    out = np.empty(int(starts[-1]) - int(starts[0]), np.uint64)
    found = _write(read_only(words), read_only(starts), read_only(codes), read_only(parts), out)
    return out[:found]


@numba.njit(cache=True, nogil=True)
def _write(words: Any, starts: Any, codes: Any, parts: Any, out: Any) -> Any:
    to = np.uint64(0)
    before, last = np.uint64(0), np.uint64(0)  # the list of the row before
    for i in range(len(words)):
        word = words[i]
        first, stop = np.uint64(starts[i]), np.uint64(starts[i + 1])
        alike = last - before if i and word == words[i - 1] else np.uint64(0)
        for k in range(stop - first):
            code = np.uint64(codes[first + k])
            if k < alike and code == np.uint64(codes[before + k]):
                continue
            out[to] = word | parts[code]
            to += np.uint64(1)
        before, last = first, stop
    return to


@cache
def _entry() -> Any:
    return cuda_module("rows/list_words").get_function("list_words")


def _gpu(words: Any, starts: Any, codes: Any, parts: Any) -> Any:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    n = len(words)
    grid = ((n + GPU_THREADS - 1) // GPU_THREADS,)
    at = cupy.zeros(n + 1, dtype=np.int64)
    out = cupy.empty(0, dtype=np.uint64)
    for write in (0, 1) if n else ():
        arguments = (words, starts, codes, parts, np.int64(n), np.int32(write), at, out)
        _entry()(grid, (GPU_THREADS,), arguments)
        if not write:
            at = at.cumsum()
            out = cupy.empty(int(at[-1]), dtype=np.uint64)
    return out
