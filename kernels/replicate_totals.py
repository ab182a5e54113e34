"""Bootstrap totals: the sums of every group in every replicate, without storing a weight.

    order members by group -> tile -> for each eight replicates: words -> weights -> sums

Members are grouped once. A tile of members stays in the first-level cache while all replicates
pass over it, so memory beyond the inputs is an index of the members and a few tiles. A column is
cut per tile into signed 16-bit digits, as many as its largest value there needs, because a product
of a weight and a digit sums exactly in 32 bits over a tile; digits of zero cost nothing.
Sums are integers throughout, so splitting members or replicates between calls and adding or
stacking what they return gives the same result, whatever the split.

Not here: the weights (`philox`); who belongs to which group, and what is summed (the caller).
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import KernelInputError, device_of, read_only, require
from kernels.philox import (
    count_thresholds,
    key_schedule,
    member_part,
    octet_words,
    require_replicates,
    weights_reference,
)

MAX_WEIGHT: Final = 7
SUM_LIMIT: Final = ((1 << 63) - 1) // MAX_WEIGHT
TILE: Final = 1024
BLOCK: Final = 32


def replicate_totals(
    columns: Any,
    group: Any,
    member_key: Any,
    *,
    n_groups: int,
    n_replicates: int,
    seed: int,
    first_replicate: int = 0,
) -> Any:
    """Sum the columns of every group under each replicate's weights.

        out[g, r, c] = sum over m in group g of weight(member_key[m], first + r) * columns[c, m]

    Parameters
    ----------
    columns : int64 or float64 [n_columns, n_members]
        Integers, in whatever unit a column has; totals keep it. float64 must hold integers.
    group : int32[n_members]
        Group of each row, 0 <= group < n_groups; -1 stands in no group.
    member_key : uint64[n_members]
        Whose weight a row takes. Rows with one key have one weight in every replicate.
    n_groups : int, >= 0
    n_replicates : int, >= 0
        Replicates wanted, counted from `first_replicate`; replicate 0 is the data as observed.
    seed : int, 0 <= seed < 2**64
    first_replicate : int, >= 0
        Any start: blocks of replicates computed apart are those computed together.

    Returns
    -------
    int64[n_groups, n_replicates, n_columns], on the device of the inputs
        Units of the columns. A group without rows is 0.

    Raises
    ------
    KernelInputError
        If an array has another dtype, rank, shape or layout, or lives on another device than the
        rest; if a group is below -1 or not below n_groups; if a float64 column holds a fraction,
        an infinity or NaN; if 7 * sum(|column|) does not fit int64; or if a scalar is out of range.

    Exact on every device: integers only. Source: the layout of `philox`.
    """
    where = device_of(columns=columns, group=group, member_key=member_key)
    require("columns", columns, (np.int64, np.float64), (None, None))
    n_members = columns.shape[1]
    require("group", group, np.int32, (n_members,))
    require("member_key", member_key, np.uint64, (n_members,))
    require_replicates(n_replicates, first_replicate)
    if n_groups < 0:
        raise KernelInputError(f"n_groups: expected 0 or more, got {n_groups}")
    schedule = key_schedule(seed)
    if n_members:
        lowest, highest = int(group.min()), int(group.max())
        if lowest < -1 or highest >= n_groups:
            raise KernelInputError(
                f"group: expected -1 to {n_groups - 1}, found {lowest} to {highest}"
            )
    if where == "gpu":
        return _gpu(columns, group, member_key, n_groups, n_replicates, seed, first_replicate)
    columns = read_only(columns)
    _refuse(_column_fault(columns))
    return _cpu(
        columns,
        read_only(group),
        read_only(member_key),
        n_groups,
        n_replicates,
        first_replicate,
        schedule,
    )


def reference(
    columns: Any,
    group: Any,
    member_key: Any,
    *,
    n_groups: int,
    n_replicates: int,
    seed: int,
    first_replicate: int = 0,
) -> Any:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    drawn = weights_reference(
        member_key, n_replicates=n_replicates, seed=seed, first_replicate=first_replicate
    ).tolist()
    out = np.zeros((n_groups, n_replicates, len(columns)), dtype=np.int64)
    for c, column in enumerate(columns):
        values = [int(value) for value in column]
        for r, weight in enumerate(drawn):
            for g in range(n_groups):
                out[g, r, c] = sum(
                    w * x for w, x, at in zip(weight, values, group, strict=True) if at == g
                )
    return out


def _refuse(fault: tuple[int, int]) -> None:
    column, kind = fault
    if kind == 1:
        raise KernelInputError(f"columns[{column}]: expected integers, found a fraction or NaN")
    if kind == 2:
        raise KernelInputError(
            f"columns[{column}]: 7 * sum(|x|) does not fit int64; take a coarser unit"
        )


@numba.njit(cache=True, nogil=True)
def _column_fault(columns):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """First column that cannot be summed exactly, and why: 1 not integers, 2 too large."""
    for c in range(columns.shape[0]):
        total = np.int64(0)
        for i in range(columns.shape[1]):
            x = columns[c, i]
            if x != np.floor(x):
                return c, 1
            if not -SUM_LIMIT < x < SUM_LIMIT:
                return c, 2
            total += abs(np.int64(x))
            if total > SUM_LIMIT:
                return c, 2
    return 0, 0


@numba.njit(cache=True, nogil=True)
def _slots(group, n_groups):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Members in order of group, each group's run filled up with -1 to whole blocks."""
    starts = np.zeros(n_groups + 1, dtype=np.int64)
    for i in range(group.shape[0]):
        if group[i] >= 0:
            starts[group[i] + 1] += 1
    for g in range(n_groups):
        starts[g + 1] = starts[g] + (starts[g + 1] + BLOCK - 1) // BLOCK * BLOCK
    slots = np.full(starts[n_groups], -1, dtype=np.int32)
    at = starts[:-1].copy()
    for i in range(group.shape[0]):
        g = group[i]
        if g >= 0:
            slots[at[g]] = i
            at[g] += 1
    return slots, starts


@numba.njit(cache=True, nogil=True)
def _digits(columns, slots, digits, digit_column, digit_shift):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Cut a tile's values into signed 16-bit digits; returns how many rows of digits it takes."""
    size = slots.shape[0]
    values = np.empty(size, dtype=np.int64)
    row = 0
    for c in range(columns.shape[0]):
        left = np.int64(0)
        for i in range(size):
            value = np.int64(columns[c, slots[i]]) if slots[i] >= 0 else np.int64(0)
            values[i] = value
            left |= value
        shift = 0
        while left != 0:
            left = np.int64(0)
            for i in range(size):
                digit = np.int16(values[i])
                digits[row, i] = digit
                values[i] = (values[i] - digit) >> 16
                left |= values[i]
            digit_column[row] = c
            digit_shift[row] = shift
            shift += 16
            row += 1
    return row


@numba.njit(cache=True, nogil=True)
def _dot(weight, digit):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    total = np.int32(0)
    for i in range(weight.shape[0]):
        total += np.int32(np.int32(weight[i]) * np.int32(digit[i]))
    return np.int64(np.int32(total))


@numba.njit(cache=True, nogil=True)
def _cpu(columns, group, member_key, n_groups, n_replicates, first, schedule):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    n_columns = columns.shape[0]
    out = np.zeros((n_groups, n_replicates, n_columns), dtype=np.int64)
    slots, starts = _slots(group, n_groups)
    digits = np.zeros((4 * n_columns, TILE), dtype=np.int16)
    digit_column = np.zeros(4 * n_columns, dtype=np.int64)
    digit_shift = np.zeros(4 * n_columns, dtype=np.int64)
    keys = np.zeros(TILE, dtype=np.uint64)
    part = np.zeros((2, TILE), dtype=np.uint64)
    words = np.zeros((2, TILE), dtype=np.uint64)
    lanes = words.reshape(-1).view(np.uint16)
    rows = np.zeros((8, TILE), dtype=np.int16)
    g_first = 0
    for start in range(0, slots.shape[0], TILE):
        end = min(start + TILE, slots.shape[0])
        size = end - start
        for i in range(size):
            slot = slots[start + i]
            keys[i] = member_key[slot] if slot >= 0 else np.uint64(0)
        member_part(keys, schedule, part)
        n_digits = _digits(columns, slots[start:end], digits, digit_column, digit_shift)
        while starts[g_first + 1] <= start:
            g_first += 1
        for octet in range(first >> 3, (first + n_replicates + 7) >> 3):
            octet_words(part, octet, schedule, words)
            count_thresholds(lanes)
            for lane in range(8):
                at = (lane >> 2) * 4 * TILE + (lane & 3)
                for i in range(TILE):
                    rows[lane, i] = lanes[at + 4 * i]
            if octet == 0:
                rows[0, :] = 1
            g = g_first
            while g < n_groups and starts[g] < end:
                a = max(starts[g], start) - start
                b = min(starts[g + 1], end) - start
                if a < b:
                    for lane in range(8):
                        r = octet * 8 + lane - first
                        if 0 <= r < n_replicates:
                            for row in range(n_digits):
                                total = _dot(rows[lane, a:b], digits[row, a:b])
                                out[g, r, digit_column[row]] += total << digit_shift[row]
                g += 1
    return out


@cache
def _module() -> Any:
    from kernels._core import cuda_module  # noqa: PLC0415 - CuPy only where a GPU is used

    return cuda_module("replicate_totals")


def _gpu(
    columns: Any,
    group: Any,
    member_key: Any,
    n_groups: int,
    n_replicates: int,
    seed: int,
    first: int,
) -> Any:
    raise NotImplementedError
