"""A column of numbers from pieces that stand here and there, each as narrow as it was written."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require

KINDS: Final = (np.bool_, np.uint8, np.int16, np.uint16, np.int32, np.int64, np.uint64)
CONSTANT: Final = 0
STORED: Final = {"u1": 1, "u2": 2, "i2": -2, "i4": -4, "i8": 8, "u8": 8}
"""How a piece is stored, by kind and bytes of its numbers; `CONSTANT` where nothing is stored."""
GPU_THREADS: Final = 128


def row_join(stored: Any, at: Any, kind: Any, base: Any, ends: Any, values: Any, out: Any) -> Any:
    """Write down the rows of all pieces, one piece after another.

        out[j] = number, or values[base[p] + number] where base[p] is not -1

    with p the piece of row j and `number` what is stored of the row, 0 where nothing is.

    Parameters
    ----------
    stored : uint64[w]
        Bytes that were written, in the order of a little-endian machine.
    at : int64[p], bytes
        Where the first row's number of each piece stands, a multiple of its width.
    kind : int8[p]
        How its numbers are stored (`STORED`): 1 uint8, 2 uint16, -2 int16, -4 int32, 8 the 64 bits
        of `out`; 0 where none is, and all are 0.
    base : int64[p]
        -1 where numbers are values themselves; else where the piece's values start in `values`.
    ends : int64[p], never falling
        Row at which each piece ends.
    values : the dtype of `out` [k]
    out : bool, uint8, int16, uint16, int32, int64 or uint64 [ends[-1]], writable

    Returns
    -------
    out

    Raises
    ------
    KernelInputError
        If an array has another dtype or rank, or the arrays live on different devices. What stands
        inside the arrays is trusted; a number too large for `out` loses its high bits.

    Exact on every device: numbers are only copied and widened. Source: definition.
    """
    arrays = {"stored": stored, "at": at, "kind": kind, "base": base, "ends": ends}
    device = device_of(**arrays, values=values, out=out)
    require("stored", stored, np.uint64, (None,))
    require("at", at, np.int64, (None,))
    require("kind", kind, np.int8, (len(at),))
    require("base", base, np.int64, (len(at),))
    require("ends", ends, np.int64, (len(at),))
    require("out", out, KINDS, (None,), writable=True)
    require("values", values, out.dtype, (None,))
    last = int(ends[-1]) if len(ends) else 0
    if last != len(out):
        raise KernelInputError(f"out: expected the {last:,} rows at which pieces end: {len(out):,}")
    form: Any = _cpu if device == "cpu" else _gpu
    form(stored, at, kind, base, ends, values, out)
    return out


def reference(stored: Any, at: Any, kind: Any, base: Any, ends: Any, values: Any, out: Any) -> Any:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    names = {code: name for name, code in STORED.items()}
    row = 0
    for p, end in enumerate(ends.tolist()):
        n, number = end - row, np.zeros(end - row, np.int64)
        if kind[p] != CONSTANT:
            number = np.frombuffer(stored.tobytes(), names[int(kind[p])], n, int(at[p]))
        for j in range(n):
            out[row + j] = (
                number[j].astype(out.dtype) if base[p] < 0 else values[base[p] + int(number[j])]
            )
        row = end
    return out


def _cpu(stored: Any, at: Any, kind: Any, base: Any, ends: Any, values: Any, out: Any) -> None:
    plain = "u1" if out.dtype == np.bool_ else f"{out.dtype.kind}{out.itemsize}"
    plain = "i8" if plain == "u8" else plain
    narrow = (read_only(stored.view(name)) for name in ("u1", "u2", "i2", "i4", "i8"))
    plan = (read_only(array) for array in (at, kind, base, ends))
    form: Any = _join
    form(*narrow, *plan, read_only(values.view(plain)), out.view(plain))


@numba.njit(cache=True, nogil=True)
def _join(
    u1: Any, u2: Any, i2: Any, i4: Any, i8: Any,
    at: Any, kind: Any, base: Any, ends: Any, values: Any, out: Any,
) -> None:  # fmt: skip
    row = 0
    for p in range(len(at)):
        part = out[row : ends[p]]
        row = ends[p]
        if kind[p] == 0:
            part[:] = values[base[p]] if base[p] >= 0 else values.dtype.type(0)
        elif kind[p] == 1:
            _piece(u1[at[p] :], base[p], values, part)
        elif kind[p] == 2:
            _piece(u2[at[p] >> 1 :], base[p], values, part)
        elif kind[p] == -2:
            _piece(i2[at[p] >> 1 :], base[p], values, part)
        elif kind[p] == -4:
            _piece(i4[at[p] >> 2 :], base[p], values, part)
        else:
            _piece(i8[at[p] >> 3 :], base[p], values, part)


@numba.njit(nogil=True)
def _piece(numbers: Any, base: Any, values: Any, out: Any) -> None:
    if base < 0:
        for j in range(len(out)):
            out[j] = numbers[j]
    else:
        for j in range(len(out)):
            out[j] = values[np.uint64(base + np.int64(numbers[j]))]


@cache
def _entry() -> Any:
    return cuda_module("rows/row_join").get_function("row_join")


def _gpu(stored: Any, at: Any, kind: Any, base: Any, ends: Any, values: Any, out: Any) -> None:
    if len(at) and len(out):
        arguments = (
            stored, at, kind, base, ends, values, np.int32(out.dtype.itemsize), out,
        )  # fmt: skip
        _entry()((len(at),), (GPU_THREADS,), arguments)
