"""From one member's claim lines to cost: the two compiled forms of `segment_cost`, which agree.

cost_by_period   one or two periods, no categories: sums by vector code
cost_by_month    anything: month by month
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

from kernels.members._lines import MONTHS, OUTSIDE

MICRO: Final = 1_000_000


@numba.njit(cache=True, nogil=True, inline="always")
def _micro_of(cents: Any, micro: Any) -> Any:
    """Cents × micro / 10^6, half to even, without leaving int64."""
    whole = cents // MICRO
    part = (cents - whole * MICRO) * micro
    quotient = part // MICRO
    remainder = part - quotient * MICRO
    result = whole * micro + quotient
    if 2 * remainder > MICRO or (2 * remainder == MICRO and result & 1):
        result += 1
    return result


@numba.njit(cache=True, nogil=True, inline="always")
def share_of(taken: Any, through: Any, total: Any) -> Any:
    """Taken × through / total, half to even: an estimate, corrected by integers that wrap."""
    estimate = np.int64(np.floor(np.float64(taken) * np.float64(through) / np.float64(total)))
    remainder = taken * through - estimate * total
    while remainder < 0:
        estimate -= 1
        remainder += total
    while remainder >= total:
        estimate += 1
        remainder -= total
    if 2 * remainder > total or (2 * remainder == total and estimate & 1):
        estimate += 1
    return estimate


@numba.njit(cache=True, nogil=True, inline="always")
def _settles(total: Any, months: Any, cap: Any, keep: Any, floor: Any, prorate: Any) -> Any:
    """What a member's total of one period becomes under floor and cap."""
    if floor and total < 0:
        return np.int64(0)
    if cap >= 0 and prorate:
        share = cap * months
        cap = share // MONTHS
        left = share - cap * MONTHS
        if 2 * left > MONTHS or (2 * left == MONTHS and cap & 1):
            cap += 1
    if cap >= 0 and total > cap:
        return cap + _micro_of(total - cap, keep)
    return total


@numba.njit(cache=True, nogil=True, inline="always")
def _record(out: Any, r: Any, p: Any, m: Any, total: Any, settles: Any) -> None:
    out.uncapped_cents[r, p, m] = total
    out.capped_cents[r, p, m] = settles
    if settles > total:
        out.floored_cents[r, p, m] = settles - total
    elif settles < total:
        out.above_cap_cents[r, p, m] = total - settles


@numba.njit(cache=True, nogil=True)
def _allocate(
    out: Any, r: Any, p: Any, m: Any, cells: Any, order: Any, total: Any, settles: Any
) -> None:
    """Take what does not settle from a member's cells by their sums, in order; zeroes `cells`."""
    through = np.int64(0)
    before = np.int64(0)
    for j in range(len(order)):
        k = order[j]
        if cells[k] != 0:
            if settles != total:
                through += cells[k]
                here = through
                if settles != 0:
                    here = share_of(total - settles, through, total)
                out.cell_taken_cents[r, p, k, m] = here - before
                cells[k] -= here - before
                before = here
            out.cell_cents[r, p, k, m] = cells[k]
            cells[k] = 0


@numba.njit(cache=True, nogil=True)
def _two_sums(
    a: Any, b: Any, cents: Any, paid_cents: Any, incurred_day: Any, paid_day: Any, category: Any,
    kind: Any, bounds: Any, cutoffs: Any, include: Any, kinds: Any, paid_kinds: Any,
) -> Any:  # fmt: skip
    """Included and paid cents of lines a to b in each of two periods; compiles to vector code."""
    one = np.uint32(1)
    low, length = bounds[0, 0], np.uint32(bounds[0, MONTHS] - bounds[0, 0])
    low_b, length_b = bounds[1, 0], np.uint32(bounds[1, MONTHS] - bounds[1, 0])
    cutoff, cutoff_b = cutoffs[0], cutoffs[1]
    total, total_b = np.int64(0), np.int64(0)
    paid, paid_b = np.int64(0), np.int64(0)
    for v in range(np.uint64(a), np.uint64(b)):
        bit = np.uint32(kind[v])
        counts = (kinds >> bit) & (include >> np.uint32(category[v])) & one != 0
        sums = (paid_kinds >> bit) & one != 0
        here = (paid_day[v] <= cutoff) & (np.uint32(incurred_day[v] - low) < length)
        here_b = (paid_day[v] <= cutoff_b) & (np.uint32(incurred_day[v] - low_b) < length_b)
        total += cents[v] if here & counts else 0
        total_b += cents[v] if here_b & counts else 0
        paid += paid_cents[v] if here & sums else 0
        paid_b += paid_cents[v] if here_b & sums else 0
    return (total, total_b), (paid, paid_b)


@numba.njit(cache=True, nogil=True)
def _run_sum(
    a: Any, b: Any, cents: Any, incurred_day: Any, paid_day: Any, category: Any, kind: Any,
    from_day: Any, to_day: Any, cutoff_day: Any, include: Any, kinds: Any,
) -> Any:  # fmt: skip
    """Included cents incurred from from_day until to_day, which is not one of them."""
    one = np.uint32(1)
    length = np.uint32(to_day - from_day)
    total = np.int64(0)
    for v in range(np.uint64(a), np.uint64(b)):
        bits = (kinds >> np.uint32(kind[v])) & (include >> np.uint32(category[v])) & one
        counts = (paid_day[v] <= cutoff_day) & (bits != 0)
        total += cents[v] if counts & (np.uint32(incurred_day[v] - from_day) < length) else 0
    return total


@numba.njit(cache=True, nogil=True)
def cost_by_period(
    amount_cents: Any,
    paid_cents: Any,
    incurred_day: Any,
    paid_day: Any,
    category: Any,
    kind: Any,
    offsets: Any,
    month_cell: Any,
    bounds: Any,
    include_bits: Any,
    cap_cents: Any,
    keep_micro: Any,
    floor_at_zero: Any,
    prorate_cap: Any,
    cell_order: Any,
    cutoff_days: Any,
    kind_bits: Any,
    paid_kind_bits: Any,
    out: Any,
) -> None:
    """One or two periods: a member whose month cells do not change needs no months.

    Elsewhere each run of months with one cell is summed by itself; there are few.
    """
    n_periods, n_members = month_cell.shape[:2]
    n_rules, n_cells = len(include_bits), out.cell_cents.shape[2]
    cells = np.zeros(n_cells, np.int64)
    cutoffs = cutoff_days[0], cutoff_days[n_periods - 1]
    for m in range(n_members):
        a = offsets[m]
        b = offsets[m + 1]
        if a == b:
            continue
        for r in range(n_rules):
            include = include_bits[r]
            sums, paid_sums = _two_sums(
                a, b, amount_cents, paid_cents, incurred_day, paid_day, category, kind, bounds,
                cutoffs, include, kind_bits, paid_kind_bits,
            )  # fmt: skip
            if r == 0:
                for p in range(n_periods):
                    out.paid_cents[p, m] = paid_sums[p]
            for p in range(n_periods):
                first = month_cell[p, m, 0]
                alike = True
                for month in range(1, MONTHS):
                    alike &= month_cell[p, m, month] == first
                if alike:
                    if first != OUTSIDE:
                        settles = _settles(
                            sums[p], MONTHS, cap_cents[r], keep_micro[r], floor_at_zero[r],
                            prorate_cap[r],
                        )  # fmt: skip
                        _record(out, r, p, m, sums[p], settles)
                        out.cell_cents[r, p, first, m] = settles
                        if settles != sums[p]:
                            out.cell_taken_cents[r, p, first, m] = sums[p] - settles
                    continue
                months = 0
                total = np.int64(0)
                month = 0
                while month < MONTHS:
                    cell = month_cell[p, m, month]
                    end = month + 1
                    while end < MONTHS and month_cell[p, m, end] == cell:
                        end += 1
                    if cell != OUTSIDE:
                        months += end - month
                        run = _run_sum(
                            a, b, amount_cents, incurred_day, paid_day, category, kind,
                            bounds[p, month], bounds[p, end], cutoffs[p], include, kind_bits,
                        )  # fmt: skip
                        cells[cell] += run
                        total += run
                    month = end
                settles = _settles(
                    total, months, cap_cents[r], keep_micro[r], floor_at_zero[r], prorate_cap[r]
                )
                _record(out, r, p, m, total, settles)
                _allocate(out, r, p, m, cells, cell_order[r], total, settles)


@numba.njit(cache=True, nogil=True)
def cost_by_month(
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
    first: Any,
    kind_bits: Any,
    paid_kind_bits: Any,
    out: Any,
) -> None:
    """Any number of periods, and categories: month by month."""
    n_periods, n_members = month_cell.shape[:2]
    n_rules, n_cells, n_categories = (
        len(include_bits),
        out.cell_cents.shape[2],
        out.category_cents.shape[2],
    )
    n_slots = np.uint8(MONTHS * n_periods)
    n_days = np.uint32(len(slot_of_day))
    slots = np.full(len(slot_of_day) + 1, n_slots, np.uint8)  # n_slots: no period
    slots[:-1] = np.where(slot_of_day == OUTSIDE, n_slots, slot_of_day)
    month_sum = np.zeros(MONTHS * n_periods + 1, np.int64)
    paid_sum = np.zeros(MONTHS * n_periods + 1, np.int64)
    category_sum = np.zeros((n_periods + 1) * n_categories, np.int64)
    cells = np.zeros(n_cells, np.int64)
    first_day = np.int32(first)
    known_by = np.empty(len(month_sum), np.int32)
    for slot in range(len(known_by)):
        known_by[slot] = cutoff_days[min(slot // MONTHS, n_periods - 1)]
    months_a_year, one = np.uint8(MONTHS), np.uint32(1)
    for m in range(n_members):
        if offsets[m] == offsets[m + 1]:
            continue
        for r in range(n_rules):
            include = include_bits[r]
            month_sum[:] = 0
            category_sum[:] = 0
            for v in range(np.uint64(offsets[m]), np.uint64(offsets[m + 1])):
                at = slots[min(np.uint32(incurred_day[v] - first_day), n_days)]
                counts = np.uint32(paid_day[v] <= known_by[at]) & one
                if r == 0:
                    take = counts & (paid_kind_bits >> np.uint32(kind[v]))
                    paid_sum[at] += paid_cents[v] & -np.int64(take)
                counts &= (kind_bits >> np.uint32(kind[v])) & (include >> np.uint32(category[v]))
                cents = amount_cents[v] & -np.int64(counts)
                month_sum[at] += cents
                if n_categories > 0 and counts:
                    period = at // months_a_year
                    if period == n_periods or (
                        month_cell[period, m, at - period * months_a_year] != OUTSIDE
                    ):
                        category_sum[np.int64(period) * n_categories + category[v]] += cents
            for p in range(n_periods):
                months = 0
                total = np.int64(0)
                for month in range(MONTHS):
                    cell = month_cell[p, m, month]
                    if cell != OUTSIDE:
                        months += 1
                        cells[cell] += month_sum[p * MONTHS + month]
                        total += month_sum[p * MONTHS + month]
                settles = _settles(
                    total, months, cap_cents[r], keep_micro[r], floor_at_zero[r], prorate_cap[r]
                )
                _record(out, r, p, m, total, settles)
                _allocate(out, r, p, m, cells, cell_order[r], total, settles)
                for c in range(n_categories):
                    out.category_cents[r, p, c, m] = category_sum[p * n_categories + c]
        for p in range(n_periods):
            for month in range(MONTHS):
                out.paid_cents[p, m] += paid_sum[p * MONTHS + month]
        paid_sum[:] = 0
