"""A column of coded values, its rows in another order."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import cuda_module, device_of, read_only, require

KINDS: Final = (
    np.bool_, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64,
)  # fmt: skip
GPU_THREADS: Final = 256


def row_pick(values: Any, index: Any, order: Any, out: Any = None) -> Any:
    """Write down the value of each row, rows in the order given.

        out[j] = values[index[order[j]]], or values[order[j]] without an index

    Parameters
    ----------
    values : bool, uint8, int16, uint16, int32, uint32, int64 or uint64 [k]
        One value a row, or, with `index`, one a distinct value.
    index : int32[n], values from 0 to k - 1; or None
        Which value each row has. None: row i has value i, and k == n.
    order : int32[m], values from 0 to n - 1
    out : the dtype of `values` [m], writable; or None
        Where to write, instead of a new array.

    Returns
    -------
    the dtype of `values` [m], on the device of the inputs

    Raises
    ------
    KernelInputError
        If an array has another dtype or rank, or the arrays live on different devices. Values
        inside `index` and `order` are trusted.

    Exact on every device: values are only copied. Source: definition.
    """
    arrays = {"values": values, "order": order}
    arrays |= {} if index is None else {"index": index}
    arrays |= {} if out is None else {"out": out}
    device = device_of(**arrays)
    require("values", values, KINDS, (None,))
    require("order", order, np.int32, (None,))
    if index is not None:
        require("index", index, np.int32, (None,))
    if out is not None:
        require("out", out, values.dtype, (len(order),), writable=True)
    form: Any = _cpu if device == "cpu" else _gpu
    return form(values, index, order, out)


def reference(values: Any, index: Any, order: Any, out: Any = None) -> Any:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    out = np.empty(len(order), values.dtype) if out is None else out
    for j, row in enumerate(order.tolist()):
        out[j] = values[row if index is None else index[row]]
    return out


def _cpu(values: Any, index: Any, order: Any, out: Any) -> Any:
    out = np.empty(len(order), values.dtype) if out is None else out
    kind = f"u{values.itemsize}"
    plain = read_only(values.view(kind))
    if index is None:
        _each(plain, read_only(order), out.view(kind))
    else:
        _coded(plain, read_only(index), read_only(order), out.view(kind))
    return out


@numba.njit(cache=True, nogil=True)
def _each(values: Any, order: Any, out: Any) -> None:
    for j in range(len(out)):
        out[j] = values[np.uint64(order[j])]


@numba.njit(cache=True, nogil=True)
def _coded(values: Any, index: Any, order: Any, out: Any) -> None:
    for j in range(len(out)):
        out[j] = values[np.uint64(index[np.uint64(order[j])])]


@cache
def _entry() -> Any:
    return cuda_module("rows/row_pick").get_function("row_pick")


def _gpu(values: Any, index: Any, order: Any, out: Any) -> Any:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    m = len(order)
    out = cupy.empty(m, dtype=values.dtype) if out is None else out
    if m:
        grid = ((m + GPU_THREADS - 1) // GPU_THREADS,)
        places = order if index is None else index
        arguments = (
            values, places, np.int32(index is not None), order, np.int32(values.dtype.itemsize),
            np.int64(m), out,
        )  # fmt: skip
        _entry()(grid, (GPU_THREADS,), arguments)
    return out
