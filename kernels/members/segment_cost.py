"""What each member's claim lines cost, by rule set, period and cell, with caps."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any, Final, NamedTuple

import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require
from kernels.members._lines import MAX_PERIODS, MONTHS, OUTSIDE
from kernels.members._segments import MICRO, cost_by_month, cost_by_period

__all__ = ["NO_CAP", "OUTSIDE", "SegmentCost", "reference", "segment_cost"]

NO_CAP: Final = -1
MAX_CELLS: Final = 32
MAX_CATEGORIES: Final = 32


class SegmentCost(NamedTuple):
    """What `segment_cost` returns, int64 cents; r rule sets, p periods, n members."""

    cell_cents: Any  # [r, p, n_cells, n]: after floor and cap; sums to capped_cents over cells
    cell_taken_cents: Any  # [r, p, n_cells, n]: what floor and cap took from the cell
    uncapped_cents: Any  # [r, p, n]: before floor and cap
    capped_cents: Any  # [r, p, n]: what settles = uncapped + floored - above_cap
    above_cap_cents: Any  # [r, p, n]: what the cap takes away
    floored_cents: Any  # [r, p, n]: what raising a negative total to zero adds
    paid_cents: Any  # [p, n]: second amount, whatever the category and the month's cell
    category_cents: Any  # [r, p, n_categories, n], uncapped; n_categories = 0 unless asked for


def segment_cost(
    amount_cents: Any,
    paid_cents: Any,
    incurred_day: Any,
    paid_day: Any,
    category: Any,
    kind: Any,
    offsets: Any,
    month_cell: Any,
    slot_of_day: Any,
    include_bits: Any,
    cap_cents: Any,
    keep_micro: Any,
    floor_at_zero: Any,
    prorate_cap: Any,
    cell_order: Any,
    cutoff_days: Any,
    *,
    first_day: int,
    kind_bits: int,
    paid_kind_bits: int,
    n_cells: int,
    n_categories: int = 0,
) -> SegmentCost:
    """Sum each member's lines by period and cell, cap the sum, and take what is above from cells.

    1. A line has a period and a month when slot_of_day[incurred_day - first_day] is not 255: that
       slot // 12 and slot % 12.
    2. It counts when paid_day <= cutoff_days[period], its kind's bit is set in kind_bits, its
       category's bit is set in the rule set's include_bits, and the cell of its month is not 255.
    3. Per member, period and rule set, T is the sum. If T < 0 and floor_at_zero, it becomes 0.
       The cap is cap_cents, or cap_cents × countable months / 12 (half to even) if prorate_cap.
       If T exceeds it, C = cap + keep_micro × (T - cap) / 10^6, half to even; else C = T.
    4. What floor and cap take, A = T - C, is taken from cells in proportion to their sums c, in
       the rule set's order of cells: with S_k the running sum, cell k loses
       A S_k / T - A S_(k-1) / T, each rounded half to even, and keeps the rest. Exact; sums to C.

    Parameters
    ----------
    amount_cents, paid_cents : int64[n_lines], US cents
        What is measured, and the second amount that is only summed. A reversal is negative.
    incurred_day, paid_day : int32[n_lines], day numbers
    category, kind : uint8[n_lines], below 32
    offsets : int64[n_members + 1]
        Start of each member's lines: offsets[0] == 0, offsets[-1] == n_lines, non-decreasing.
    month_cell : uint8[n_periods, n_members, 12]
        Cell of each calendar month, below n_cells; 255: the month does not count. 1 to 4 periods.
    slot_of_day : uint8[n_days]
        12 × period + month of day first_day + i; 255: no period. A day beyond it has none.
    include_bits : uint32[n_rules]
        Bit c: category c costs.
    cap_cents : int64[n_rules]
        Per member and period; -1: none.
    keep_micro : int64[n_rules], 0 to 10^6
    floor_at_zero, prorate_cap : bool[n_rules]
    cell_order : uint8[n_rules, n_cells]
        Every cell once a row: the order in which dollars are taken from them.
    cutoff_days : int32[n_periods], day numbers
        By when a line of each period must have been paid.
    first_day : int, day number
    kind_bits, paid_kind_bits : int, below 2^32
        Bit k: lines of kind k can cost, and enter paid_cents.
    n_cells : int, 1 to 32
    n_categories : int, 0 to 32
        Above 0: category sums too; categories are then below it.

    Returns
    -------
    SegmentCost
        On the device of the inputs. A member's sums stay below 2^53 in absolute value: 90 million
        million dollars; the allocation is exact under this bound.

    Raises
    ------
    KernelInputError
        If an array has another dtype, rank or length, a scalar is out of range, or the arrays live
        on different devices. Values inside the arrays are trusted.

    Exact on every device: integers, and one float64 estimate that integers correct. Source: terms
    `cost.*` of the contract.
    """
    arrays: dict[str, Any] = {
        "amount_cents": amount_cents,
        "paid_cents": paid_cents,
        "incurred_day": incurred_day,
        "paid_day": paid_day,
        "category": category,
        "kind": kind,
        "offsets": offsets,
        "month_cell": month_cell,
        "slot_of_day": slot_of_day,
        "include_bits": include_bits,
        "cap_cents": cap_cents,
        "keep_micro": keep_micro,
        "floor_at_zero": floor_at_zero,
        "prorate_cap": prorate_cap,
        "cell_order": cell_order,
        "cutoff_days": cutoff_days,
    }
    device = device_of(**arrays)
    require("amount_cents", amount_cents, np.int64, (None,))
    require("offsets", offsets, np.int64, (None,))
    require("include_bits", include_bits, np.uint32, (None,))
    if len(offsets) == 0:
        raise KernelInputError("offsets: expected n_members + 1 starts, got an empty array")
    n_lines, n_members, n_rules = len(amount_cents), len(offsets) - 1, len(include_bits)
    require("month_cell", month_cell, np.uint8, (None, n_members, MONTHS))
    n_periods = month_cell.shape[0]
    for name, dtype, length in (
        ("paid_cents", np.int64, n_lines),
        ("incurred_day", np.int32, n_lines),
        ("paid_day", np.int32, n_lines),
        ("category", np.uint8, n_lines),
        ("kind", np.uint8, n_lines),
        ("slot_of_day", np.uint8, None),
        ("cap_cents", np.int64, n_rules),
        ("keep_micro", np.int64, n_rules),
        ("floor_at_zero", np.bool_, n_rules),
        ("prorate_cap", np.bool_, n_rules),
        ("cutoff_days", np.int32, n_periods),
    ):
        require(name, arrays[name], dtype, (length,))
    for name, value, low, high in (
        ("n_periods", n_periods, 1, MAX_PERIODS),
        ("n_cells", n_cells, 1, MAX_CELLS),
        ("kind_bits", kind_bits, 0, 2**32 - 1),
        ("paid_kind_bits", paid_kind_bits, 0, 2**32 - 1),
        ("n_categories", n_categories, 0, MAX_CATEGORIES),
    ):
        if not low <= value <= high:
            raise KernelInputError(f"{name}: expected {low} to {high}, got {value}")
    require("cell_order", cell_order, np.uint8, (n_rules, n_cells))
    inputs = tuple(arrays.values())
    if device == "cpu":
        inputs = tuple(read_only(array) for array in inputs)
    scalars = (
        first_day,
        np.uint32(kind_bits),
        np.uint32(paid_kind_bits),
        n_cells,
        n_categories,
    )
    form: Any = _cpu if device == "cpu" else _gpu
    return SegmentCost(*form(*inputs, *scalars))


def _outputs(
    xp: Any, n_rules: int, n_periods: int, n_cells: int, n_members: int, n_categories: int
) -> SegmentCost:
    def zeros(*shape: int) -> Any:
        return xp.zeros(shape, dtype=xp.int64)

    return SegmentCost(
        cell_cents=zeros(n_rules, n_periods, n_cells, n_members),
        cell_taken_cents=zeros(n_rules, n_periods, n_cells, n_members),
        uncapped_cents=zeros(n_rules, n_periods, n_members),
        capped_cents=zeros(n_rules, n_periods, n_members),
        above_cap_cents=zeros(n_rules, n_periods, n_members),
        floored_cents=zeros(n_rules, n_periods, n_members),
        paid_cents=zeros(n_periods, n_members),
        category_cents=zeros(n_rules, n_periods, n_categories, n_members),
    )


# --- the definition ------------------------------------------------------------------------------


def _half_even(numerator: int, denominator: int) -> int:
    quotient, remainder = divmod(numerator, denominator)
    up = 2 * remainder > denominator or (2 * remainder == denominator and quotient % 2 == 1)
    return quotient + up


def reference(
    amount_cents: Any,
    paid_cents: Any,
    incurred_day: Any,
    paid_day: Any,
    category: Any,
    kind: Any,
    offsets: Any,
    month_cell: Any,
    slot_of_day: Any,
    include_bits: Any,
    cap_cents: Any,
    keep_micro: Any,
    floor_at_zero: Any,
    prorate_cap: Any,
    cell_order: Any,
    cutoff_days: Any,
    first_day: Any,
    kind_bits: Any,
    paid_kind_bits: Any,
    n_cells: Any,
    n_categories: Any = 0,
) -> SegmentCost:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    n_periods, n_members, _ = month_cell.shape
    n_rules = len(include_bits)
    out = _outputs(np, n_rules, n_periods, n_cells, n_members, n_categories)

    def slot(day: Any) -> int:
        i = int(day) - first_day
        return int(slot_of_day[i]) if 0 <= i < len(slot_of_day) else OUTSIDE

    for m, r in product(range(n_members), range(n_rules)):
        cells = np.zeros((n_periods, n_cells), dtype=object)
        for v in range(offsets[m], offsets[m + 1]):
            if slot(incurred_day[v]) == OUTSIDE:
                continue
            p, month = divmod(slot(incurred_day[v]), MONTHS)
            if paid_day[v] > cutoff_days[p]:
                continue
            if r == 0 and int(paid_kind_bits) >> int(kind[v]) & 1:
                out.paid_cents[p, m] += paid_cents[v]
            cell = month_cell[p, m, month]
            counts = int(kind_bits) >> int(kind[v]) & int(include_bits[r]) >> int(category[v]) & 1
            if cell == OUTSIDE or not counts:
                continue
            cells[p, cell] += int(amount_cents[v])
            if n_categories:
                out.category_cents[r, p, category[v], m] += amount_cents[v]
        for p in range(n_periods):
            total = sum(cells[p])
            settles = max(total, 0) if floor_at_zero[r] else total
            out.floored_cents[r, p, m] = settles - total
            cap = int(cap_cents[r])
            if cap >= 0 and prorate_cap[r]:
                cap = _half_even(cap * int((month_cell[p, m] != OUTSIDE).sum()), MONTHS)
            if 0 <= cap < settles:
                settles = cap + _half_even((settles - cap) * int(keep_micro[r]), MICRO)
                out.above_cap_cents[r, p, m] = total - settles
            out.uncapped_cents[r, p, m] = total
            out.capped_cents[r, p, m] = settles
            through = lost = 0
            for k in cell_order[r]:
                through += cells[p, k]
                running = 0 if settles == total else through
                if settles not in (0, total):
                    running = _half_even((total - settles) * through, total)
                out.cell_taken_cents[r, p, k, m] = running - lost
                out.cell_cents[r, p, k, m] = cells[p, k] - (running - lost)
                lost = running
    return out


# --- Numba ----------------------------------------------------------------------------------------


def _cpu(*inputs: Any) -> SegmentCost:
    """The quicker of the two forms that apply; they agree, so the choice cannot be seen."""
    *arrays, first_day, kind_bits, paid_kind_bits, n_cells, n_categories = inputs
    month_cell, slot_of_day, include_bits = arrays[7], arrays[8], arrays[9]
    n_periods, n_members = month_cell.shape[:2]
    out = _outputs(np, len(include_bits), n_periods, n_cells, n_members, n_categories)
    bounds = _bounds(slot_of_day, first_day, n_periods)
    form: Any
    if bounds is None or n_categories:
        form = cost_by_month
        form(*arrays, first_day, kind_bits, paid_kind_bits, out)
    else:
        form = cost_by_period
        before, after = arrays[:8], arrays[9:]
        form(*before, bounds, *after, kind_bits, paid_kind_bits, out)
    return out


def _bounds(slot_of_day: Any, first_day: int, n_periods: int) -> Any:
    """First day of each month of two periods and the day after, int32[2, 13].

    None if there are more periods, or if a period's days are not in one piece and in order.
    """
    bounds = np.zeros((2, MONTHS + 1), np.int32)
    if n_periods > len(bounds):
        return None
    for p in range(n_periods):
        days = np.flatnonzero(slot_of_day // MONTHS == p)
        slots = slot_of_day[days].astype(np.int64)
        if np.any(np.diff(days) != 1) or np.any(np.diff(slots) < 0):
            return None
        if days.size:
            edges = np.searchsorted(slots, MONTHS * p + np.arange(MONTHS + 1))
            bounds[p] = first_day + days[0] + edges
    return bounds


# --- CUDA ----------------------------------------------------------------------------------------


@cache
def _entry() -> Any:
    return cuda_module("members/segment_cost").get_function("segment_cost")


def _gpu(*inputs: Any) -> Any:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    *arrays, first_day, kind_bits, paid_kind_bits, n_cells, n_categories = inputs
    month_cell, slot_of_day, include_bits = arrays[7], arrays[8], arrays[9]
    n_periods, n_members = month_cell.shape[:2]
    out = _outputs(cupy, len(include_bits), n_periods, n_cells, n_members, n_categories)
    if n_members:
        block = 128
        scalars = (
            np.int32(first_day),
            kind_bits,
            paid_kind_bits,
            np.int32(len(include_bits)),
            np.int32(n_periods),
            np.int32(n_cells),
            np.int32(n_categories),
            np.int32(len(slot_of_day)),
            np.int64(n_members),
        )
        _entry()(((n_members + block - 1) // block,), (block,), (*arrays, *scalars, *out))
    return out
