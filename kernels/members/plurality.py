"""Which group a member is seen by most, over ordered steps."""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require

NO_GROUP = -1
NO_DAY = -(2**31)
NO_VISIT = -1


def plurality(
    group: Any,
    step: Any,
    day: Any,
    offsets: Any,
    months: Any,
    month_of: Any,
    *,
    first_day: int,
    n_groups: int,
    n_steps: int,
    latest: bool,
) -> tuple[Any, Any, Any, Any, Any, Any]:
    """Group with the most encounters of each member, at the first step where any has one.

    A visit counts in the months that have their bit. An encounter is a distinct (day, group) within
    a step, whatever the number of visits behind it. Steps 1 to n_steps are tried in order and the
    first with an encounter decides. Among groups with the most encounters the one with the latest
    encounter wins (if `latest`), then the lowest.

    Parameters
    ----------
    group : int32[n_visits]
        Group visited, below n_groups; a negative group does not count.
    step : uint8[n_visits]
        1 to n_steps; 0 does not count.
    day : int32[n_visits]
        Day number, non-decreasing within a member's run; that of a visit with a group and a step
        lies from first_day to first_day + n_days - 1.
    offsets : int64[n_members + 1]
        Start of each member's run: offsets[0] == 0, offsets[-1] == n_visits, non-decreasing.
    months : uint16[n_members]
        Bit i is set where visits of month i count.
    month_of : uint8[n_days], below 12
        Month of each day from first_day on.
    first_day : int, day number
    n_groups, n_steps : int, >= 1
        n_steps at most 255.
    latest : bool
        Whether the latest encounter breaks ties before the lowest group does.

    Returns
    -------
    group : int32[n_members]
        The group; -1 without any encounter.
    step : uint8[n_members]
        The step that decided; 0 without any.
    n_encounters : int32[n_members]
        Encounters with that group at that step.
    tied : bool[n_members]
        Whether another group had as many, so that a tie-break decided.
    first_day : int32[n_members]
        Day of the first of those encounters; -2**31 without any.
    last_visit : int64[n_members]
        Place of the last visit behind them; -1 without any. All on the device of the inputs.

    Raises
    ------
    KernelInputError
        If an array has another dtype, rank or length, the arrays live on different devices, or
        n_groups or n_steps is out of range. Values inside the arrays are trusted.

    Exact on every device: integers only. Source: "from which they receive the most services", one
    partnership per person; steps and ties are terms of the contract.
    """
    device = device_of(
        group=group, step=step, day=day, offsets=offsets, months=months, month_of=month_of
    )
    require("group", group, np.int32, (None,))
    require("step", step, np.uint8, (len(group),))
    require("day", day, np.int32, (len(group),))
    require("offsets", offsets, np.int64, (None,))
    if len(offsets) == 0:
        raise KernelInputError("offsets: expected n_members + 1 starts, got an empty array")
    require("months", months, np.uint16, (len(offsets) - 1,))
    require("month_of", month_of, np.uint8, (None,))
    if n_groups < 1:
        raise KernelInputError(f"n_groups: expected at least 1, got {n_groups}")
    if not 1 <= n_steps <= 255:
        raise KernelInputError(f"n_steps: expected 1 to 255, got {n_steps}")
    arrays: tuple[Any, ...] = (group, step, day, offsets, months, month_of)
    if device == "cpu":
        arrays = tuple(read_only(a) for a in arrays)
    form: Any = _cpu if device == "cpu" else _gpu
    found: tuple[Any, Any, Any, Any, Any, Any] = form(*arrays, first_day, n_groups, latest)
    return found


def _empty(n_members: int, xp: Any) -> tuple[Any, Any, Any, Any, Any, Any]:
    return (
        xp.full(n_members, NO_GROUP, dtype=xp.int32),
        xp.zeros(n_members, dtype=xp.uint8),
        xp.zeros(n_members, dtype=xp.int32),
        xp.zeros(n_members, dtype=bool),
        xp.full(n_members, NO_DAY, dtype=xp.int32),
        xp.full(n_members, NO_VISIT, dtype=xp.int64),
    )


def reference(
    group: Any,
    step: Any,
    day: Any,
    offsets: Any,
    months: Any,
    month_of: Any,
    first_day: Any,
    n_groups: Any,
    n_steps: Any,
    latest: Any,
) -> Any:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    out = _empty(len(offsets) - 1, np)
    for m in range(len(offsets) - 1):
        run = [v for v in range(offsets[m], offsets[m + 1]) if step[v] > 0 and group[v] >= 0]
        run = [v for v in run if int(months[m]) >> int(month_of[day[v] - first_day]) & 1]
        for s in range(1, n_steps + 1):
            met = {(int(day[v]), int(group[v])) for v in run if step[v] == s}
            if not met:
                continue
            days = {g: [d for d, h in met if h == g] for g in range(n_groups)}
            most = max(len(found) for found in days.values())
            best = [g for g, found in days.items() if len(found) == most]
            winner = min(best, key=lambda g: (-max(days[g]) if latest else 0, g))
            last = max(v for v in run if step[v] == s and group[v] == winner)
            values = (winner, s, most, len(best) > 1, min(days[winner]), last)
            for column, value in zip(out, values, strict=True):
                column[m] = value
            break
    return out


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _cpu(
    group: Any,
    step: Any,
    day: Any,
    offsets: Any,
    months: Any,
    month_of: Any,
    first_day: Any,
    n_groups: Any,
    latest: Any,
) -> Any:
    """Visits that count are listed first, without a branch: which they are is hard to guess.

    Of those only visits of the deciding step are counted, and only groups met are looked at.
    """
    n_members = len(offsets) - 1
    out_group = np.full(n_members, np.int32(NO_GROUP), np.int32)
    out_step = np.zeros(n_members, np.uint8)
    out_count = np.zeros(n_members, np.int32)
    out_tied = np.zeros(n_members, np.bool_)
    out_first = np.full(n_members, np.int32(NO_DAY), np.int32)
    out_visit = np.full(n_members, np.int64(NO_VISIT), np.int64)
    count = np.zeros(n_groups, np.int32)
    first, last = np.zeros(n_groups, np.int32), np.zeros(n_groups, np.int32)
    met, visit = np.zeros(n_groups, np.int32), np.zeros(n_groups, np.int64)
    listed = np.zeros(64, np.uint64)
    every = np.uint16(4095)
    for m in range(n_members):
        a, b = np.uint64(offsets[m]), np.uint64(offsets[m + 1])
        if b - a > listed.size:
            listed = np.zeros(2 * (b - a), np.uint64)
        n_listed = np.uint64(0)
        for v in range(a, b):
            listed[n_listed] = v
            n_listed += np.uint64((group[v] >= 0) & (step[v] > 0))
        if n_listed == 0:
            continue
        if months[m] & every != every:
            n_seen, n_listed = n_listed, np.uint64(0)
            for k in range(n_seen):
                v = listed[k]
                listed[n_listed] = v
                n_listed += np.uint64((months[m] >> month_of[day[v] - first_day]) & 1)
            if n_listed == 0:
                continue
        deciding = step[listed[0]]
        for k in range(n_listed):
            deciding = min(deciding, step[listed[k]])
        n_met = 0
        for k in range(n_listed):
            v = listed[k]
            if step[v] != deciding:
                continue
            g = group[v]
            visit[g] = v
            if count[g] == 0:
                met[n_met] = g
                n_met += 1
                first[g] = day[v]
            elif last[g] == day[v]:
                continue
            count[g] += 1
            last[g] = day[v]
        best = met[0]
        tied = False
        for k in range(1, n_met):
            g = met[k]
            if count[g] == count[best]:
                tied = True
                later = latest and last[g] != last[best]
                if (last[g] > last[best]) if later else (g < best):
                    best = g
            elif count[g] > count[best]:
                best, tied = g, False
        out_group[m] = best
        out_step[m] = deciding
        out_count[m] = count[best]
        out_tied[m] = tied
        out_first[m] = first[best]
        out_visit[m] = visit[best]
        for k in range(n_met):
            count[met[k]] = 0
    return out_group, out_step, out_count, out_tied, out_first, out_visit


@cache
def _entry() -> Any:
    return cuda_module("members/plurality").get_function("plurality")


def _gpu(*inputs: Any) -> Any:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    *arrays, first_day, _, latest = inputs
    n_members = len(arrays[3]) - 1
    out = _empty(n_members, cupy)
    if n_members:
        block = 128
        _entry()(
            ((n_members + block - 1) // block,),
            (block,),
            (*arrays, np.int32(first_day), np.int32(latest), np.int64(n_members), *out),
        )
    return out
