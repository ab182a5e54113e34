"""Where keys stand in a sorted table of distinct keys."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require

MIX: Final = np.uint64(0x9E3779B97F4A7C15)
GPU_THREADS: Final = 256
_SMALL: Final = 4096


def key_place(keys: Any, table: Any) -> Any:
    """The place of each key in the table, -1 for a key that is not in it.

    Parameters
    ----------
    keys : uint64[n]
    table : uint64[k], strictly ascending, k below 2^30

    Returns
    -------
    int32[n]
        On the device of the inputs: table[place] == key, or -1.

    Raises
    ------
    KernelInputError
        If an array has another dtype or rank, the table is too long, or the arrays live on
        different devices. The order of the table is trusted.

    Exact on every device: integers only. Source: a hash table with open addressing (Knuth, The Art
    of Computer Programming, volume 3, 6.4), slots by multiplication.
    """
    device = device_of(keys=keys, table=table)
    require("keys", keys, np.uint64, (None,))
    require("table", table, np.uint64, (None,))
    if len(table) >= 2**30:
        raise KernelInputError(f"table: expected fewer than 2^30 keys, got {len(table):,}")
    form: Any = _cpu if device == "cpu" else _gpu
    return form(keys, table)


def reference(keys: Any, table: Any) -> Any:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    place = {key: k for k, key in enumerate(table.tolist())}
    return np.array([place.get(key, -1) for key in keys.tolist()], np.int32)


def _cpu(keys: Any, table: Any) -> Any:
    if not len(table):
        return np.full(len(keys), -1, np.int32)
    # a small table is kept sparse, so that a key that is not in it is seldom compared
    room = (8 if len(table) <= _SMALL else 2) * len(table)
    log2 = max(3, (room - 1).bit_length())
    slots, out = np.full(1 << log2, -1, np.int32), np.empty(len(keys), np.int32)
    form: Any = _find
    form(read_only(keys), read_only(table), slots, np.uint64(64 - log2), out)
    return out


@numba.njit(cache=True, nogil=True)
def _find(keys: Any, table: Any, slots: Any, shift: Any, out: Any) -> None:
    last = np.uint64(len(slots) - 1)
    for k in range(len(table)):
        slot = (table[k] * MIX) >> shift
        while slots[slot] >= 0:
            slot = (slot + np.uint64(1)) & last
        slots[slot] = k
    before, found = np.uint64(0), np.int32(-2)
    for i in range(len(keys)):
        key = keys[i]
        if key != before or found == -2:
            before = key
            slot = (key * MIX) >> shift
            found = slots[slot]
            while found >= 0 and table[np.uint32(found)] != key:
                slot = (slot + np.uint64(1)) & last
                found = slots[slot]
        out[i] = found


@cache
def _entry() -> Any:
    return cuda_module("rows/key_place").get_function("key_place")


def _gpu(keys: Any, table: Any) -> Any:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    n = len(keys)
    out = cupy.empty(n, dtype=np.int32)
    if n:
        arguments = (keys, table, np.int64(n), np.int64(len(table)), out)
        _entry()((-(-n // GPU_THREADS),), (GPU_THREADS,), arguments)
    return out
