"""Bootstrap totals: the sums of every group in every replicate, without storing a weight.

    copy members in order of group -> tile -> for each 64 replicates: words -> weights -> sums

Members are grouped once. A tile of members stays in the first-level cache while all replicates
pass over it, so memory beyond the inputs is a copy of the members and a few tiles. A column is
cut per tile into signed 16-bit digits, as many as its largest value there needs, because a product
of a weight and a digit sums exactly in 32 bits over a tile; digits of zero cost nothing.
Sums are integers throughout, so splitting members or replicates between calls and adding or
stacking what they return gives the same result, whatever the split. A caller with threads splits
the replicates, in 64s where it can: a block of them costs what it would whole. Few large calls beat
many small ones, because a group costs something in every block.

Not here: the weights (`philox`); who belongs to which group, and what is summed (the caller).
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import (
    KernelInputError,
    cuda_module,
    device_of,
    free_bytes,
    read_only,
    require,
)
from kernels.draws._lanes import (
    LANES,
    OCTETS,
    QUAD,
    REPLICATES,
    add_sums_1,
    add_sums_2,
    block_weights,
)
from kernels.draws.philox import MULTIPLIERS, key_schedule, require_replicates, weights_reference

MAX_WEIGHT: Final = 7
SUM_LIMIT: Final = ((1 << 63) - 1) // MAX_WEIGHT
DOUBLE_LIMIT: Final = 1 << 53
_SAFE: Final = 1 << 62
TILE: Final = 256
GPU_CHUNK: Final = 2048
GPU_THREADS: Final = 128
_M0: Final = np.uint64(MULTIPLIERS[0])
_M1: Final = np.uint64(MULTIPLIERS[1])
_LOW: Final = np.uint64(0xFFFFFFFF)
_HALF: Final = np.uint64(32)


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
        return _gpu(columns, group, member_key, n_groups, n_replicates, first_replicate, seed)
    columns = read_only(columns)
    _refuse(_column_fault(columns))
    n_octets = ((first_replicate + n_replicates + 7) >> 3) - (first_replicate >> 3)
    sums = np.zeros((n_groups, len(columns), -(-n_octets // OCTETS), LANES, OCTETS), np.int64)
    group = read_only(group)
    starts = _starts(group, n_groups)
    rows, keys = np.empty((starts[-1], len(columns)), np.int64), np.empty(starts[-1], np.uint64)
    _put_by_group(columns, group, read_only(member_key), starts, rows, keys)
    return _cpu(rows, keys, starts, first_replicate, n_replicates, schedule, sums)


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
def _is_small(column: Any) -> Any:
    """Whether a column surely holds integers whose sizes sum to what is allowed: vector code."""
    limit = SUM_LIMIT // max(column.shape[0], 1)
    wrong = 0
    for i in range(column.shape[0]):
        x = column[i]
        wrong += 0 if (x == np.floor(x)) & (x <= limit) & (x >= -limit) else 1
    return wrong == 0


@numba.njit(cache=True, nogil=True)
def _column_fault(columns: Any) -> Any:
    """First column that cannot be summed exactly, and why: 1 not integers, 2 too large."""
    for c in range(columns.shape[0]):
        if _is_small(columns[c]):
            continue
        total = np.int64(0)
        for i in range(columns.shape[1]):
            x = columns[c, i]
            if x != np.floor(x):
                return c, 1
            if not -_SAFE < x < _SAFE:
                return c, 2
            total += abs(np.int64(x))
            if total > SUM_LIMIT:
                return c, 2
    return 0, 0


@numba.njit(cache=True, nogil=True)
def _starts(group: Any, n_groups: Any) -> Any:
    """Where each group starts in order of group, filled up to whole quads, and where all end."""
    starts = np.zeros(n_groups + 1, dtype=np.int64)
    for i in range(group.shape[0]):
        if group[i] >= 0:
            starts[group[i] + 1] += 1
    for g in range(n_groups):
        starts[g + 1] = starts[g] + (starts[g + 1] + QUAD - 1) // QUAD * QUAD
    return starts


@numba.njit(cache=True, nogil=True)
def _put_by_group(
    columns: Any, group: Any, member_key: Any, starts: Any, rows: Any, keys: Any
) -> None:
    """Copy the members into order of group; what fills a group up is a member of zeros.

    A member becomes one row: read by columns in another order, each value would be a cache miss.
    """
    at = starts[:-1].copy()
    for i in range(group.shape[0]):
        g = group[i]
        if g >= 0:
            place = at[g]
            at[g] = place + 1
            keys[place] = member_key[i]
            for c in range(columns.shape[0]):
                rows[place, c] = np.int64(columns[c, i])
    for g in range(at.shape[0]):
        keys[at[g] : starts[g + 1]] = 0
        rows[at[g] : starts[g + 1]] = 0


@numba.njit(cache=True, nogil=True)
def _digits(rows: Any, digits: Any, column: Any, shifts: Any) -> Any:
    """Cut a tile's values into signed 16-bit digits; returns how many rows of digits it takes."""
    size = rows.shape[0]
    values = np.empty(size, dtype=np.int64)
    row = 0
    for c in range(rows.shape[1]):
        left = np.int64(0)
        for i in range(size):
            values[i] = rows[i, c]
            left |= values[i]
        shift = 0
        while left != 0:
            left = np.int64(0)
            for i in range(size):
                digit = np.int16(values[i])
                digits[row, i] = digit
                values[i] = (values[i] - digit) >> 16
                left |= values[i]
            column[row] = c
            shifts[row] = shift
            shift += 16
            row += 1
    return row


@numba.njit(cache=True, nogil=True)
def _member_part(keys: Any, schedule: Any, part: Any) -> Any:
    """What rounds 1 and 2 of Philox owe to each member alone.

    The counter's last two words are the octet and 0. So round 1 multiplies the member's word by one
    constant and the octet by the other, and of round 2's two products one is the member's own.
    """
    for slot in range(keys.shape[0]):
        key = keys[slot]
        p0 = _M0 * (key & _LOW)
        p1 = _M1 * (((p0 >> _HALF) ^ schedule[0, 1]) & _LOW)
        part[slot, 0] = ((key >> _HALF) ^ schedule[0, 0]) | (
            ((p1 >> _HALF) ^ schedule[1, 0]) << _HALF
        )
        part[slot, 1] = (p1 & _LOW) | ((p0 ^ schedule[1, 1]) << _HALF)


@numba.njit(cache=True, nogil=True)
def _octet_part(first_octet: Any, octets: Any) -> Any:
    """What round 1 owes to each of eight octets: both halves of its product."""
    for k in range(OCTETS):
        product = _M1 * np.uint64(first_octet + k)
        octets[0, k] = product >> _HALF
        octets[1, k] = product & _LOW


@numba.njit(cache=True, nogil=True)
def _add_digits(
    weights: Any, digits: Any, n_digits: Any, shifts: Any, quads: Any, at: Any, out: Any
) -> Any:
    """Add one run of quads' sums of 64 replicates to `out`, each digit row from its `at` on."""
    row = 0
    while row + 1 < n_digits:
        pair = (shifts[row], shifts[row + 1])
        add_sums_2(weights, digits, row, quads, pair, (at[row], at[row + 1]), out)
        row += 2
    if row < n_digits:
        add_sums_1(weights, digits, row, quads, (shifts[row], 0), (at[row], 0), out)


@numba.njit(cache=True, nogil=True)
def _turned(sums: Any, n_replicates: Any, skipped: Any) -> Any:
    """[groups, columns, blocks, lanes, octets] as [groups, replicates, columns], in its memory.

    A group's totals end before its sums do, so that a copy of one group is all it takes.
    """
    n_groups, n_columns = sums.shape[:2]
    size = n_groups * n_replicates * n_columns
    out = sums.reshape(-1)[:size].reshape(n_groups, n_replicates, n_columns)
    kept = np.empty(sums.shape[1:], dtype=np.int64)
    for g in range(n_groups):
        kept[:] = sums[g]
        for r in range(n_replicates):
            octet, lane = (r + skipped) // LANES, (r + skipped) % LANES
            for c in range(n_columns):
                out[g, r, c] = kept[c, octet // OCTETS, lane, octet % OCTETS]
    return out


@numba.njit(cache=True, nogil=True)
def _cpu(
    rows: Any,
    keys: Any,
    starts: Any,
    first: Any,
    n_replicates: Any,
    schedule: Any,
    sums: Any,
) -> Any:
    """Adds to `sums`, int64[n_groups, n_columns, n_blocks, 8, 8]; returns totals in their place."""
    n_groups, n_columns, n_blocks = sums.shape[:3]
    flat = sums.reshape(-1)
    part = np.empty((TILE, 2), dtype=np.uint64)
    octets = np.empty((2, OCTETS), dtype=np.uint64)
    weights = np.empty((TILE // QUAD, LANES, OCTETS, QUAD), dtype=np.int16)
    digits = np.empty((4 * n_columns, TILE), dtype=np.int16)
    column = np.empty(4 * n_columns, dtype=np.int64)
    shifts = np.empty(4 * n_columns, dtype=np.int64)
    at = np.empty(4 * n_columns, dtype=np.int64)
    first_octet = first >> 3
    g_first = 0
    for start in range(0, rows.shape[0], TILE):
        end = min(start + TILE, rows.shape[0])
        _member_part(keys[start:end], schedule, part)
        n_digits = _digits(rows[start:end], digits, column, shifts)
        while starts[g_first + 1] <= start:
            g_first += 1
        for block in range(n_blocks):
            _octet_part(first_octet + OCTETS * block, octets)
            block_weights(part[: end - start], octets, schedule, weights)
            if first_octet + block == 0:
                weights[:, 0, 0, :] = 1
            g = g_first
            while g < n_groups and starts[g] < end:
                a = (max(starts[g], start) - start) // QUAD
                b = (min(starts[g + 1], end) - start) // QUAD
                if a < b:
                    for row in range(n_digits):
                        at[row] = ((g * n_columns + column[row]) * n_blocks + block) * REPLICATES
                    _add_digits(weights, digits, n_digits, shifts, (a, b - a), at, flat)
                g += 1
    return _turned(sums, n_replicates, first - LANES * first_octet)


def chunks_of(
    counts: np.ndarray[Any, Any], chunk: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Cut members in order of group into chunks of one group each.

    Parameters
    ----------
    counts : int64[n_groups]
        Members of each group.
    chunk : int
        Members in a chunk, at most.

    Returns
    -------
    int32[n_chunks], int64[n_chunks + 1]
        Each chunk's group; where each starts, and where the last one ends.
    """
    pieces = -(-counts // chunk)
    group = np.repeat(np.arange(len(counts), dtype=np.int32), pieces)
    within = np.arange(len(group)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    starts = np.repeat(np.cumsum(counts) - counts, pieces) + within * chunk
    return group, np.append(starts, counts.sum()).astype(np.int64)


@cache
def _entry() -> Any:
    return cuda_module("draws/replicate_totals").get_function("replicate_totals")


def _gpu(
    columns: Any,
    group: Any,
    member_key: Any,
    n_groups: int,
    n_replicates: int,
    first: int,
    seed: int,
) -> Any:
    """Members in blocks whose copies fit into a quarter of the memory that is free."""
    import cupy  # noqa: PLC0415 - only where a GPU is used

    n_columns, n_members = columns.shape
    out = cupy.zeros((n_groups, n_replicates, n_columns), dtype=np.int64)
    if not n_members:
        return out
    size = max(GPU_CHUNK, free_bytes() // (4 * _gpu_bytes_a_member(n_columns)))
    sums = [0] * n_columns
    for start in range(0, n_members, size):
        stop = start + size
        block = columns[:, start:stop], group[start:stop], member_key[start:stop]
        sizes = _gpu_sizes(block[0])
        sums = [sum(pair) for pair in zip(sums, sizes, strict=True)]
        for c, total in enumerate(sums):
            if total > SUM_LIMIT:
                _refuse((c, 2))
        in_double = MAX_WEIGHT * max(sizes, default=0) < DOUBLE_LIMIT
        _add_on_gpu(*block, first, seed, in_double, out)
    return out


def _gpu_bytes_a_member(n_columns: int) -> int:
    """At most: five copies of the columns, and orders, keys and groups."""
    return 40 * n_columns + 64


def _gpu_sizes(columns: Any) -> list[int]:
    """Sum of sizes of each column, exact; refuses columns that are not safe integers."""
    import cupy  # noqa: PLC0415 - only where a GPU is used

    whole = [True] * len(columns)
    if columns.dtype == np.float64:
        whole = (columns == cupy.floor(columns)).all(axis=1).tolist()
    safe = (cupy.abs(columns.astype(np.float64)) < _SAFE).all(axis=1).tolist()
    for c in range(len(columns)):
        if not whole[c] or not safe[c]:
            _refuse((c, 2 if whole[c] else 1))
    size = cupy.abs(columns.astype(np.int64))
    high, low = (size >> 31).sum(axis=1).tolist(), (size & 0x7FFFFFFF).sum(axis=1).tolist()
    return [(h << 31) + rest for h, rest in zip(high, low, strict=True)]


def _add_on_gpu(
    columns: Any, group: Any, member_key: Any, first: int, seed: int, in_double: bool, out: Any
) -> None:
    """Launch one block of members; `out` receives exact integers, so blocks add in any order."""
    import cupy  # noqa: PLC0415 - only where a GPU is used

    n_groups, n_replicates, n_columns = out.shape
    order = cupy.argsort(group, kind="stable")
    counts = cupy.asnumpy(cupy.bincount(group[order] + 1, minlength=n_groups + 1))
    order = order[int(counts[0]) :]
    if not order.size or not out.size:
        return
    number = np.float64 if in_double else np.int64
    rows = cupy.ascontiguousarray(columns[:, order].T.astype(number))
    chunk_group, chunk_start = chunks_of(counts[1:], GPU_CHUNK)
    octets = ((first + n_replicates + 7) >> 3) - (first >> 3)
    grid = (len(chunk_group), -(-octets // GPU_THREADS), -(-n_columns // 8))
    _entry()(
        grid,
        (GPU_THREADS,),
        (
            rows,
            cupy.ascontiguousarray(member_key[order]),
            cupy.asarray(chunk_group),
            cupy.asarray(chunk_start),
            np.uint64(seed),
            np.int32(in_double),
            np.int32(n_columns),
            np.int64(n_replicates),
            np.int64(first),
            out,
        ),
    )
