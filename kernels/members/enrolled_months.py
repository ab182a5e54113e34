"""Which months of a year each member is enrolled in, under which flags and in which cell."""

from __future__ import annotations

from functools import cache
from typing import Any, Final, NamedTuple

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require

MONTHS: Final = 12
NO_CELL: Final = 255
MAX_CELLS: Final = 32


class EnrolledMonths(NamedTuple):
    """What `enrolled_months` returns; n members, k flags; bit i of a mask is month i."""

    month_cell: Any  # uint8[n, 12]: cell of each month; 255: not countable, or before from_month
    spanned: Any  # uint16[n]: months that a span covers
    covered: Any  # uint16[n]: of those, months in which the member lives
    countable: Any  # uint16[n]: of those, months of spans without an excluded flag
    flagged: Any  # uint16[k, n]: of the covered, months of spans with each flag
    months: Any  # int64[n_cells, n]: months of month_cell by cell


def enrolled_months(
    first_month: Any,
    n_months: Any,
    rate_cell: Any,
    flags: Any,
    offsets: Any,
    alive_from: Any,
    alive_to: Any,
    from_month: Any,
    flag_bits: Any,
    *,
    january: int,
    exclude: int,
    n_cells: int,
) -> EnrolledMonths:
    """Months january to january + 11 of every member, from enrolment spans.

    Month i is covered when a span covers it and alive_from <= i < alive_to; it is countable when
    that span's flags have no bit of `exclude`; it has a cell when, further, i >= from_month.

    Parameters
    ----------
    first_month, n_months : int32[n_spans], calendar months
        A month stands in one span of a member at most.
    rate_cell : uint8[n_spans], below n_cells
    flags : uint8[n_spans]
    offsets : int64[n_members + 1]
        Start of each member's spans: offsets[0] == 0, offsets[-1] == n_spans, non-decreasing.
    alive_from, alive_to : uint8[n_members], 0 to 12
    from_month : uint8[n_members], 0 to 12
    flag_bits : uint8[k]
        Flags to report one by one, each a single bit.
    january : int, calendar month
    exclude : int, 0 to 255
    n_cells : int, 1 to 32

    Returns
    -------
    EnrolledMonths
        On the device of the inputs.

    Raises
    ------
    KernelInputError
        If an array has another dtype, rank or length, a scalar is out of range, or the arrays live
        on different devices. Values inside the arrays are trusted.

    Exact on every device: integers only. Source: member months as in the programme's eligibility
    rule, see `ihp_compute.attribution`.
    """
    arrays = {
        "first_month": first_month,
        "n_months": n_months,
        "rate_cell": rate_cell,
        "flags": flags,
        "offsets": offsets,
        "alive_from": alive_from,
        "alive_to": alive_to,
        "from_month": from_month,
        "flag_bits": flag_bits,
    }
    device = device_of(**arrays)
    require("first_month", first_month, np.int32, (None,))
    require("offsets", offsets, np.int64, (None,))
    if len(offsets) == 0:
        raise KernelInputError("offsets: expected n_members + 1 starts, got an empty array")
    n_spans, n_members = len(first_month), len(offsets) - 1
    for name, dtype, length in (
        ("n_months", np.int32, n_spans),
        ("rate_cell", np.uint8, n_spans),
        ("flags", np.uint8, n_spans),
        ("alive_from", np.uint8, n_members),
        ("alive_to", np.uint8, n_members),
        ("from_month", np.uint8, n_members),
        ("flag_bits", np.uint8, None),
    ):
        require(name, arrays[name], dtype, (length,))
    for name, value, low, high in (
        ("exclude", exclude, 0, 255),
        ("n_cells", n_cells, 1, MAX_CELLS),
    ):
        if not low <= value <= high:
            raise KernelInputError(f"{name}: expected {low} to {high}, got {value}")
    inputs = tuple(arrays.values())
    if device == "cpu":
        inputs = tuple(read_only(array) for array in inputs)
    form: Any = _cpu if device == "cpu" else _gpu
    return EnrolledMonths(*form(*inputs, january, exclude, n_cells))


def reference(
    first_month: Any,
    n_months: Any,
    rate_cell: Any,
    flags: Any,
    offsets: Any,
    alive_from: Any,
    alive_to: Any,
    from_month: Any,
    flag_bits: Any,
    january: Any,
    exclude: Any,
    n_cells: Any,
) -> EnrolledMonths:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    n, k = len(offsets) - 1, len(flag_bits)
    out = EnrolledMonths(
        np.full((n, MONTHS), NO_CELL, np.uint8),
        np.zeros(n, np.uint16),
        np.zeros(n, np.uint16),
        np.zeros(n, np.uint16),
        np.zeros((k, n), np.uint16),
        np.zeros((n_cells, n), np.int64),
    )
    for m in range(n):
        for s in range(offsets[m], offsets[m + 1]):
            for i in range(MONTHS):
                spanned = first_month[s] <= january + i < first_month[s] + n_months[s]
                out.spanned[m] |= (1 << i) if spanned else 0
                if not (spanned and alive_from[m] <= i < alive_to[m]):
                    continue
                out.covered[m] |= 1 << i
                for j in range(k):
                    out.flagged[j, m] |= (1 << i) if flags[s] & flag_bits[j] else 0
                if flags[s] & exclude:
                    continue
                out.countable[m] |= 1 << i
                if i >= from_month[m]:
                    out.month_cell[m, i] = rate_cell[s]
                    out.months[rate_cell[s], m] += 1
    return out


@numba.njit(cache=True, nogil=True)
def _cpu(
    first_month: Any,
    n_months: Any,
    rate_cell: Any,
    flags: Any,
    offsets: Any,
    alive_from: Any,
    alive_to: Any,
    from_month: Any,
    flag_bits: Any,
    january: Any,
    exclude: Any,
    n_cells: Any,
) -> Any:
    n = len(offsets) - 1
    n_flags = len(flag_bits)
    month_cell = np.full((n, MONTHS), NO_CELL, np.uint8)
    spanned = np.zeros(n, np.uint16)
    covered = np.zeros(n, np.uint16)
    countable = np.zeros(n, np.uint16)
    flagged = np.zeros((n_flags, n), np.uint16)
    months = np.zeros((n_cells, n), np.int64)
    for m in range(n):
        for s in range(offsets[m], offsets[m + 1]):
            low = max(np.int64(first_month[s]) - january, 0)
            high = min(np.int64(first_month[s]) + n_months[s] - january, MONTHS)
            if high <= low:
                continue
            spanned[m] |= np.uint16((1 << high) - (1 << low))
            low = max(low, np.int64(alive_from[m]))
            high = min(high, np.int64(alive_to[m]))
            if high <= low:
                continue
            mask = np.uint16((1 << high) - (1 << low))
            covered[m] |= mask
            for j in range(n_flags):
                if flags[s] & flag_bits[j]:
                    flagged[j, m] |= mask
            if flags[s] & exclude:
                continue
            countable[m] |= mask
            low = max(low, np.int64(from_month[m]))
            if high > low:
                cell = rate_cell[s]
                months[cell, m] += high - low
                for i in range(low, high):
                    month_cell[m, i] = cell
    return month_cell, spanned, covered, countable, flagged, months


@cache
def _entry() -> Any:
    return cuda_module("members/enrolled_months").get_function("enrolled_months")


def _gpu(*inputs: Any) -> Any:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    *arrays, january, exclude, n_cells = inputs
    n, k = len(arrays[4]) - 1, len(arrays[8])
    out = EnrolledMonths(
        cupy.full((n, MONTHS), NO_CELL, dtype=cupy.uint8),
        cupy.zeros(n, dtype=cupy.uint16),
        cupy.zeros(n, dtype=cupy.uint16),
        cupy.zeros(n, dtype=cupy.uint16),
        cupy.zeros((k, n), dtype=cupy.uint16),
        cupy.zeros((n_cells, n), dtype=cupy.int64),
    )
    if n:
        block = 128
        scalars = (np.int32(k), np.int32(january), np.int32(exclude), np.int64(n))
        _entry()(((n + block - 1) // block,), (block,), (*arrays, *scalars, *out))
    return out
