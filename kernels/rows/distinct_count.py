"""How many different values there are."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require

GPU_THREADS: Final = 256


def distinct_count(values: Any) -> int:
    """Count the different values.

    Parameters
    ----------
    values : uint64[n], n < 2^31
        Of hashes, low bits even: any values are right, such are fast.

    Returns
    -------
    int

    Raises
    ------
    KernelInputError
        If `values` has another dtype, rank or length.

    Exact on every device: integers only. Source: definition; on the CPU a table with linear
    probing (Knuth 1973, 6.4).
    """
    device = device_of(values=values)
    require("values", values, np.uint64, (None,))
    if len(values) >= 2**31:
        raise KernelInputError(f"values: expected fewer than 2^31, got {len(values)}")
    return int((_cpu if device == "cpu" else _gpu)(values))


def reference(values: Any) -> int:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    return len(set(values.tolist()))


def _cpu(values: Any) -> Any:
    size = 1 << max(4, (2 * len(values) - 1).bit_length())
    form: Any = _count
    return form(read_only(values), np.zeros(size, np.uint64))


@numba.njit(cache=True, nogil=True)
def _count(values: Any, table: Any) -> Any:
    """How many, by a table in which 0 is a free place; zeros are counted by themselves."""
    mask = np.uint64(len(table) - 1)
    found = 0
    zero = 0
    for i in range(len(values)):
        value = values[i]
        if value == 0:
            zero = 1
            continue
        at = value & mask
        while table[at] != 0 and table[at] != value:
            at = (at + np.uint64(1)) & mask
        if table[at] == 0:
            table[at] = value
            found += 1
    return found + zero


@cache
def _entry() -> Any:
    return cuda_module("rows/distinct_count").get_function("distinct_count")


def _gpu(values: Any) -> Any:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    n = len(values)
    first = cupy.zeros(n, dtype=np.uint8)
    if n:
        grid = ((n + GPU_THREADS - 1) // GPU_THREADS,)
        _entry()(grid, (GPU_THREADS,), (cupy.sort(values), np.int64(n), first))
    return int(first.sum(dtype=np.int64))
