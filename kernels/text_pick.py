"""A column of coded texts, its rows in another order."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require

GPU_THREADS: Final = 256
SLACK: Final = 8
MAX_BYTES: Final = 2**31 - 1


def text_pick(data: Any, offsets: Any, index: Any, order: Any, out: Any = None) -> Any:
    """Write down the text of each row, rows in the order given.

        text j of the result = text index[order[j]], or text order[j] without an index

    Parameters
    ----------
    data : uint8[m]
    offsets : int32 or int64 [k + 1], non-decreasing, from 0 to m
        Text i is data[offsets[i]:offsets[i + 1]].
    index : int32[n], values from 0 to k - 1; or None
        Which text each row has. None: row i has text i, and k == n.
    order : int32[r], values from 0 to n - 1
    out : uint8[any], writable; or None
        Where to write the texts, if it has room for them and eight bytes more.

    Returns
    -------
    (uint8[bytes], int32[r + 1]), on the device of the inputs
        The texts one after another, the beginning of `out` or of a new array; and where each
        starts, from 0.

    Raises
    ------
    KernelInputError
        If an array has another dtype, rank or length, the arrays live on different devices, or the
        result would have 2^31 bytes. Values inside `offsets`, `index` and `order` are trusted.

    Exact on every device: bytes are only copied. Source: definition.
    """
    arrays = {"data": data, "offsets": offsets, "order": order}
    arrays |= {} if index is None else {"index": index}
    arrays |= {} if out is None else {"out": out}
    device = device_of(**arrays)
    require("data", data, np.uint8, (None,))
    require("offsets", offsets, (np.int32, np.int64), (None,))
    require("order", order, np.int32, (None,))
    if index is not None:
        require("index", index, np.int32, (None,))
    if out is not None:
        require("out", out, np.uint8, (None,), writable=True)
    if len(offsets) == 0:
        raise KernelInputError("offsets: expected k + 1 starts, got an empty array")
    form: Any = _cpu if device == "cpu" else _gpu
    return form(data, offsets, index, order, out)


def reference(data: Any, offsets: Any, index: Any, order: Any, out: Any = None) -> Any:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    places = [row if index is None else int(index[row]) for row in order.tolist()]
    texts = [data[offsets[place] : offsets[place + 1]].tobytes() for place in places]
    starts = np.cumsum([0, *map(len, texts)])
    _check_bytes(int(starts[-1]))
    made = np.frombuffer(b"".join(texts), np.uint8)
    if out is not None and len(out) >= len(made) + SLACK:
        out[: len(made)] = made
        made = out[: len(made)]
    return made, starts.astype(np.int32)


def _check_bytes(size: int) -> None:
    if size > MAX_BYTES:
        raise KernelInputError(f"the result would have {size} bytes, expected fewer than 2^31")


def _cpu(data: Any, offsets: Any, index: Any, order: Any, out: Any) -> Any:
    data, offsets, order = read_only(data), read_only(offsets), read_only(order)
    index = order[:0] if index is None else read_only(index)
    coded = len(index) > 0
    size = _size(offsets, index, order, coded)
    _check_bytes(size)
    # eight bytes a step, from and to any byte; the slack lets the last step run over
    if out is None or len(out) < size + SLACK:
        out = np.empty(size + SLACK, np.uint8)
    starts = np.empty(len(order) + 1, np.int32)
    read = np.ndarray((max(len(data) - 7, 0),), "<u8", data, strides=(1,))
    write = np.ndarray((size + 1,), "<u8", out, strides=(1,))
    _copy(data, read_only(read), offsets, index, order, coded, out, write, starts)
    return out[:size], starts


@numba.njit(cache=True, nogil=True)
def _size(offsets: Any, index: Any, order: Any, coded: Any) -> Any:
    size = np.int64(0)
    for j in range(len(order)):
        at = np.uint64(order[j])
        if coded:
            at = np.uint64(index[at])
        size += np.int64(offsets[at + np.uint64(1)]) - np.int64(offsets[at])
    return size


@numba.njit(cache=True, nogil=True)
def _copy(
    data: Any,
    read: Any,
    offsets: Any,
    index: Any,
    order: Any,
    coded: Any,
    out: Any,
    write: Any,
    starts: Any,
) -> None:
    to = np.int64(0)
    whole = np.int64(len(read))
    for j in range(len(order)):
        starts[j] = to
        at = np.uint64(order[j])
        if coded:
            at = np.uint64(index[at])
        start, stop = np.int64(offsets[at]), np.int64(offsets[at + np.uint64(1)])
        length = stop - start
        if stop <= whole:
            for b in range(0, length, 8):
                write[np.uint64(to + b)] = read[np.uint64(start + b)]
        else:
            for b in range(length):
                out[np.uint64(to + b)] = data[np.uint64(start + b)]
        to += length
    starts[len(order)] = to


@lru_cache(maxsize=1)
def _entry() -> Any:
    return cuda_module("text_pick").get_function("text_pick")


def _gpu(data: Any, offsets: Any, index: Any, order: Any, out: Any) -> Any:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    r = len(order)
    wide = offsets.astype(np.int64)
    places = order if index is None else index
    starts = cupy.zeros(r + 1, dtype=np.int64)
    made = cupy.empty(0, dtype=np.uint8)
    grid = ((r + GPU_THREADS - 1) // GPU_THREADS,)
    for copy in (0, 1) if r else ():
        arguments = (
            data, wide, places, np.int32(index is not None), order, np.int64(r), np.int32(copy),
            starts, made,
        )  # fmt: skip
        _entry()(grid, (GPU_THREADS,), arguments)
        if not copy:
            starts = starts.cumsum()
            _check_bytes(int(starts[-1]))
            size = int(starts[-1])
            room = out is not None and len(out) >= size + SLACK
            made = out[:size] if room else cupy.empty(size, dtype=np.uint8)
    return made, starts.astype(np.int32)
