"""Decimals of 128 bits as integers of 64: how many of their last place each one is."""

from __future__ import annotations

from functools import cache
from typing import Any, Final, NamedTuple

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require

GPU_THREADS: Final = 256


class DecimalUnits(NamedTuple):
    """What `decimal_units` returns for n decimals."""

    units: Any  # int64[n]: the low 64 bits of each, 0 where blank
    blank: Any  # bool[n]
    n_beyond: int  # stated ones of which |units| exceed the limit, or that need more than 64 bits


def decimal_units(words: Any, valid: Any, first: int, limit: int) -> DecimalUnits:
    """Narrow a column of decimals, and count those that are larger than a limit.

    Parameters
    ----------
    words : int64[2 n]
        The decimals as Arrow and two's complement have them: low word, then high word.
    valid : uint8[m] or None
        Bit `first + i`, counted from the lowest of each byte, says whether decimal i is stated.
        None: all are.
    first : int, 0 or more, at most 8 m - n
    limit : int, 0 to 2^63 - 1
        In units of the last place.

    Returns
    -------
    DecimalUnits
        On the device of the inputs. Exact where `n_beyond` is 0.

    Raises
    ------
    KernelInputError
        If an array has another dtype, rank or length, a number is out of range, or the arrays live
        on different devices.

    Exact on every device: integers only. Source: Arrow columnar format, Decimal128 and validity
    bitmaps.
    """
    device = device_of(words=words, **({} if valid is None else {"valid": valid}))
    require("words", words, np.int64, (None,))
    n = len(words) // 2
    if len(words) % 2:
        raise KernelInputError(f"words: expected two a decimal, got {len(words)}")
    if not 0 <= limit < 2**63:
        raise KernelInputError(f"limit: expected 0 to 2^63 - 1, got {limit}")
    if valid is not None:
        require("valid", valid, np.uint8, (None,))
        if not 0 <= first <= 8 * len(valid) - n:
            raise KernelInputError(f"first: expected {n} bits from it on, got {first}")
    form: Any = _cpu if device == "cpu" else _gpu
    found: DecimalUnits = form(words, valid, first, limit)
    return found


def reference(words: Any, valid: Any, first: int, limit: int) -> DecimalUnits:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    n = len(words) // 2
    bits = (
        [1] * n
        if valid is None
        else [int(valid[k // 8]) >> k % 8 & 1 for k in range(first, first + n)]
    )
    values = [
        stated * ((high << 64) + low % 2**64)
        for low, high, stated in zip(words[::2].tolist(), words[1::2].tolist(), bits, strict=True)
    ]
    units = np.array([value % 2**64 for value in values], np.uint64).view(np.int64)
    blank = np.array([not stated for stated in bits], bool)
    return DecimalUnits(units, blank, sum(abs(value) > limit for value in values))


def _cpu(words: Any, valid: Any, first: int, limit: int) -> DecimalUnits:
    n = len(words) // 2
    units, blank = np.empty(n, np.int64), np.zeros(n, bool)
    bits = None if valid is None else read_only(valid)
    return DecimalUnits(units, blank, _narrow(read_only(words), bits, first, limit, units, blank))


@numba.njit(cache=True, nogil=True)
def _narrow(words: Any, valid: Any, first: Any, limit: Any, units: Any, blank: Any) -> Any:
    beyond = np.int64(0)
    for i in range(len(units)):
        low, high = words[2 * i], words[2 * i + 1]
        if valid is not None:
            at = np.uint64(first + i)
            stated = np.int64(valid[at >> np.uint64(3)] >> (at & np.uint64(7))) & 1
            low, high = low & -stated, high & -stated
            blank[i] = stated == 0
        units[i] = low
        beyond += (high != low >> 63) | (low > limit) | (low < -limit)
    return beyond


@cache
def _entry() -> Any:
    return cuda_module("rows/decimal_units").get_function("decimal_units")


def _gpu(words: Any, valid: Any, first: int, limit: int) -> DecimalUnits:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    n = len(words) // 2
    units, blank = cupy.empty(n, dtype=np.int64), cupy.zeros(n, dtype=bool)
    beyond = cupy.zeros(n, dtype=bool)
    if n:
        bits = words if valid is None else valid
        arguments = (
            words, bits, np.int32(valid is not None), np.int64(first), np.int64(limit),
            np.int64(n), units, blank, beyond,
        )  # fmt: skip
        _entry()(((n + GPU_THREADS - 1) // GPU_THREADS,), (GPU_THREADS,), arguments)
    return DecimalUnits(units, blank, int(beyond.sum()))
