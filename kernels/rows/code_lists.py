"""The codes that each row states, over several columns, as one list a row."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import cuda_module, device_of, read_only, require

GPU_THREADS: Final = 256


def code_lists(codes: Any, out: Any = None) -> Any:
    """Keep the codes above 0 of each row, in order of the columns.

    Parameters
    ----------
    codes : int32[k, n]
        One code a column and row; 0 is not stated.
    out : int32[k * n], writable; or None
        Where to write the codes, instead of a new array.

    Returns
    -------
    (int32[stated], int32[n + 1]), on the device of the codes
        The stated codes row by row, the beginning of `out` where that is given; and where each
        row's begin.

    Raises
    ------
    KernelInputError
        If an array has another dtype, rank or length, or the arrays live on different devices.

    Exact on every device: values are only copied. Source: definition.
    """
    device = device_of(codes=codes, **({} if out is None else {"out": out}))
    require("codes", codes, np.int32, (None, None))
    if out is not None:
        require("out", out, np.int32, (codes.size,), writable=True)
    form: Any = _cpu if device == "cpu" else _gpu
    return form(codes, out)


def reference(codes: Any, out: Any = None) -> Any:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    lists = [[code for code in row if code > 0] for row in codes.T.tolist()]
    starts = np.cumsum([0, *map(len, lists)]).astype(np.int32)
    out = np.empty(codes.size, np.int32) if out is None else out
    out[: starts[-1]] = [code for stated in lists for code in stated]
    return out[: starts[-1]], starts


def _cpu(codes: Any, out: Any) -> Any:
    out = np.empty(codes.size, np.int32) if out is None else out
    starts = np.empty(codes.shape[1] + 1, np.int32)
    _write(read_only(codes), out, starts)
    return out[: starts[-1]], starts


@numba.njit(cache=True, nogil=True)
def _write(codes: Any, out: Any, starts: Any) -> None:
    to = np.int64(0)
    for i in range(codes.shape[1]):
        starts[i] = to
        for k in range(codes.shape[0]):
            code = codes[k, i]
            if code > 0:
                out[np.uint64(to)] = code
                to += 1
    starts[codes.shape[1]] = to


@cache
def _entry() -> Any:
    return cuda_module("rows/code_lists").get_function("code_lists")


def _gpu(codes: Any, out: Any) -> Any:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    k, n = codes.shape
    out = cupy.empty(codes.size, dtype=np.int32) if out is None else out
    starts = cupy.zeros(n + 1, dtype=np.int32)
    grid = ((n + GPU_THREADS - 1) // GPU_THREADS,)
    for write in (0, 1) if n else ():
        arguments = (codes, np.int64(k), np.int64(n), np.int32(write), starts, out)
        _entry()(grid, (GPU_THREADS,), arguments)
        starts = starts if write else starts.cumsum(dtype=np.int32)
    return out[: int(starts[-1])], starts
