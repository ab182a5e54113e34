"""Rows in order of their group, where a group is a key modulo the number of groups."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require

MAX_GROUPS: Final = 65_535
GPU_THREADS: Final = 64


def row_order(keys: Any, n_groups: int) -> Any:
    """Positions of the rows, group by group; rows of one group keep their order.

        group of row i = keys[i] modulo n_groups

    Parameters
    ----------
    keys : uint64[n], n < 2^31
    n_groups : int, 1 to 65,535

    Returns
    -------
    (int32[n], int64[n_groups + 1]), on the device of the keys
        The order, and where each group starts in it, with n at the end.

    Raises
    ------
    KernelInputError
        If `keys` has another dtype, rank or length, or `n_groups` is out of range.

    Exact on every device: integers only. Source: counting sort (Seward 1954).
    """
    device = device_of(keys=keys)
    require("keys", keys, np.uint64, (None,))
    if len(keys) >= 2**31:
        raise KernelInputError(f"keys: expected fewer than 2^31 rows, got {len(keys)}")
    if not 1 <= n_groups <= MAX_GROUPS:
        raise KernelInputError(f"n_groups: expected 1 to {MAX_GROUPS}, got {n_groups}")
    form: Any = _cpu if device == "cpu" else _gpu
    return form(keys, n_groups)


def reference(keys: Any, n_groups: int) -> Any:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    group = [int(key) % n_groups for key in keys]
    order = sorted(range(len(keys)), key=group.__getitem__)
    starts = [sum(g < k for g in group) for k in range(n_groups + 1)]
    return np.array(order, np.int32), np.array(starts, np.int64)


def _cpu(keys: Any, n_groups: int) -> Any:
    return _order(read_only(keys), np.uint64(n_groups))


@numba.njit(cache=True, nogil=True)
def _order(keys: Any, n_groups: Any) -> Any:
    n = len(keys)
    group = np.empty(n, np.uint16)
    starts = np.zeros(np.int64(n_groups) + 1, np.int64)
    for i in range(n):
        at = keys[i] % n_groups
        group[i] = np.uint16(at)
        starts[at + np.uint64(1)] += 1
    for k in range(1, len(starts)):
        starts[k] += starts[k - 1]
    free = starts[:-1].copy()
    order = np.empty(n, np.int32)
    for i in range(n):
        at = np.uint64(group[i])
        order[np.uint64(free[at])] = i
        free[at] += 1
    return order, starts


@cache
def _entry() -> Any:
    return cuda_module("rows/row_order").get_function("row_order")


def _gpu(keys: Any, n_groups: int) -> Any:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    n = len(keys)
    order = cupy.empty(n, dtype=np.int32)
    starts = cupy.zeros(n_groups + 1, dtype=np.int64)
    grid = ((n_groups + GPU_THREADS - 1) // GPU_THREADS,)
    for fill in (0, 1):
        arguments = (keys, np.int64(n), np.int32(n_groups), np.int32(fill), starts, order)
        _entry()(grid, (GPU_THREADS,), arguments)
        if not fill:
            starts[...] = starts.cumsum()
    return order, starts
