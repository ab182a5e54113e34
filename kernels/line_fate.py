"""The fate of every line under the rules of a run, and the ledger that counts them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import FOLDER, KernelInputError, device_of, require

MONTHS: Final = 12
OUTSIDE: Final = 255
N_FATES: Final = 7
PAID_AFTER_CUTOFF: Final = 0
OUTSIDE_PERIOD: Final = 1
NEVER_COST: Final = 2
EXCLUDED: Final = 3
ELSEWHERE: Final = 4
NOT_INCLUDED: Final = 5
COUNTED: Final = 6


def line_fate(
    cents: Any,
    service_day: Any,
    incurred_day: Any,
    paid_day: Any,
    category: Any,
    kind: Any,
    table: Any,
    file: Any,
    offsets: Any,
    month_cell: Any,
    standing: Any,
    rule: Any,
    slot_of_day: Any,
    include_bits: Any,
    *,
    first_day: int,
    cutoff_day: int,
    kind_bits: int,
    never_bits: int,
    n_tables: int,
    n_files: int,
) -> tuple[Any, Any]:
    """Give every line the first of these fates that applies, and sum lines and cents by fate.

    0. paid_day > cutoff_day
    1. slot_of_day[incurred_day - first_day] is 255: no period
    2. the bit of its kind is set in never_bits
    3. the member's standing in the period is 0, or the cell of the line's month is 255
    4. the standing is 1
    5. the bit of its kind is not set in kind_bits, or the bit of its category is not set in
       include_bits of the member's rule set
    6. otherwise: counted

    Period and month of a line are those of `kernels.segment_cost`.

    Parameters
    ----------
    cents : int64[n_lines], US cents
    service_day, incurred_day, paid_day : int32[n_lines], day numbers
    category, kind : uint8[n_lines], below 32
    table : uint8[n_lines], below n_tables
    file : uint16[n_lines], below n_files
    offsets : int64[n_members + 1]
    month_cell : uint8[n_periods, n_members, 12]
    standing : uint8[n_periods, n_members]
        0 excluded, 1 belongs to nobody who settles, 2 belongs to one who does.
    rule : uint8[n_periods, n_members], below n_rules
    slot_of_day : uint8[n_days]
    include_bits : uint32[n_rules]
    first_day, cutoff_day : int, day numbers
    kind_bits, never_bits : int
    n_tables, n_files : int, >= 1

    Returns
    -------
    fate : uint8[n_lines]
    ledger : int64[n_tables, n_files, 7, 2]
        Lines and cents. Both on the device of the inputs.

    Raises
    ------
    KernelInputError
        If an array has another dtype, rank or length, a count is below 1, or the arrays live on
        different devices. Values inside the arrays are trusted.

    Exact on every device: integers only. Source: fates of a run in their order of precedence, see
    `ihp_compute.ledger`.
    """
    arrays = {
        "cents": cents,
        "service_day": service_day,
        "incurred_day": incurred_day,
        "paid_day": paid_day,
        "category": category,
        "kind": kind,
        "table": table,
        "file": file,
        "offsets": offsets,
        "month_cell": month_cell,
        "standing": standing,
        "rule": rule,
        "slot_of_day": slot_of_day,
        "include_bits": include_bits,
    }
    device = device_of(**arrays)
    require("cents", cents, np.int64, (None,))
    require("offsets", offsets, np.int64, (None,))
    if len(offsets) == 0:
        raise KernelInputError("offsets: expected n_members + 1 starts, got an empty array")
    n_lines, n_members = len(cents), len(offsets) - 1
    require("month_cell", month_cell, np.uint8, (None, n_members, MONTHS))
    n_periods = month_cell.shape[0]
    for name, dtype, shape in (
        ("service_day", np.int32, (n_lines,)),
        ("incurred_day", np.int32, (n_lines,)),
        ("paid_day", np.int32, (n_lines,)),
        ("category", np.uint8, (n_lines,)),
        ("kind", np.uint8, (n_lines,)),
        ("table", np.uint8, (n_lines,)),
        ("file", np.uint16, (n_lines,)),
        ("standing", np.uint8, (n_periods, n_members)),
        ("rule", np.uint8, (n_periods, n_members)),
        ("slot_of_day", np.uint8, (None,)),
        ("include_bits", np.uint32, (None,)),
    ):
        require(name, arrays[name], dtype, shape)
    for name, value in (("n_tables", n_tables), ("n_files", n_files)):
        if value < 1:
            raise KernelInputError(f"{name}: expected at least 1, got {value}")
    inputs = tuple(arrays.values())
    if device == "cpu":
        inputs = tuple(_read_only(array) for array in inputs)
    form: Any = _cpu if device == "cpu" else _gpu
    found: tuple[Any, Any] = form(
        *inputs,
        first_day,
        cutoff_day,
        np.uint32(kind_bits),
        np.uint32(never_bits),
        n_tables,
        n_files,
    )
    return found


def _read_only(array: Any) -> Any:
    """A read-only view, so that maps and fresh arrays share one compiled form."""
    view = array.view()
    view.flags.writeable = False
    return view


def reference(
    cents: Any,
    service_day: Any,
    incurred_day: Any,
    paid_day: Any,
    category: Any,
    kind: Any,
    table: Any,
    file: Any,
    offsets: Any,
    month_cell: Any,
    standing: Any,
    rule: Any,
    slot_of_day: Any,
    include_bits: Any,
    first_day: Any,
    cutoff_day: Any,
    kind_bits: Any,
    never_bits: Any,
    n_tables: Any,
    n_files: Any,
) -> tuple[Any, Any]:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    fate = np.zeros(len(cents), np.uint8)
    ledger = np.zeros((n_tables, n_files, N_FATES, 2), np.int64)

    def slot(day: Any) -> int:
        i = int(day) - first_day
        return int(slot_of_day[i]) if 0 <= i < len(slot_of_day) else OUTSIDE

    def fate_of(m: int, v: int) -> int:
        if paid_day[v] > cutoff_day:
            return PAID_AFTER_CUTOFF
        if slot(incurred_day[v]) == OUTSIDE:
            return OUTSIDE_PERIOD
        if int(never_bits) >> int(kind[v]) & 1:
            return NEVER_COST
        p = slot(incurred_day[v]) // MONTHS
        month = slot(service_day[v]) - MONTHS * p
        if not 0 <= month < MONTHS or slot(service_day[v]) == OUTSIDE:
            month = 0 if service_day[v] < incurred_day[v] else MONTHS - 1
        if standing[p, m] == 0 or month_cell[p, m, month] == OUTSIDE:
            return EXCLUDED
        if standing[p, m] == 1:
            return ELSEWHERE
        included = int(include_bits[rule[p, m]]) >> int(category[v])
        return COUNTED if int(kind_bits) >> int(kind[v]) & included & 1 else NOT_INCLUDED

    for m in range(len(offsets) - 1):
        for v in range(offsets[m], offsets[m + 1]):
            fate[v] = fate_of(m, v)
            ledger[table[v], file[v], fate[v]] += (1, cents[v])
    return fate, ledger


@numba.njit(cache=True, nogil=True)
def _cpu(
    cents: Any,
    service_day: Any,
    incurred_day: Any,
    paid_day: Any,
    category: Any,
    kind: Any,
    table: Any,
    file: Any,
    offsets: Any,
    month_cell: Any,
    standing: Any,
    rule: Any,
    slot_of_day: Any,
    include_bits: Any,
    first: Any,
    cutoff: Any,
    kind_bits: Any,
    never_bits: Any,
    n_tables: Any,
    n_files: Any,
) -> Any:
    fate = np.empty(len(cents), np.uint8)
    lines = np.zeros(n_tables * n_files * (N_FATES + 1), np.int64)
    sums = np.zeros(n_tables * n_files * (N_FATES + 1), np.int64)
    n_periods, n_members = standing.shape
    n_slots = np.uint8(MONTHS * n_periods)
    n_days = np.uint32(len(slot_of_day))
    slots = np.full(len(slot_of_day) + 1, n_slots, np.uint8)  # n_slots: no period
    slots[:-1] = np.where(slot_of_day == OUTSIDE, n_slots, slot_of_day)
    settles = np.full(MONTHS * n_periods + 1, OUTSIDE_PERIOD, np.uint8)  # fate but for the service
    include = np.zeros(MONTHS * n_periods + 1, np.uint32)
    first_day, cutoff_day = np.int32(first), np.int32(cutoff)
    months_a_year, one = np.uint8(MONTHS), np.uint32(1)
    for m in range(n_members):
        if offsets[m] == offsets[m + 1]:
            continue
        for p in range(n_periods):
            stands = (EXCLUDED, ELSEWHERE, COUNTED)[standing[p, m]]
            services = include_bits[rule[p, m]]
            for month in range(MONTHS):
                here = EXCLUDED if month_cell[p, m, month] == OUTSIDE else stands
                settles[p * MONTHS + month] = here
                include[p * MONTHS + month] = services
        for v in range(np.uint64(offsets[m]), np.uint64(offsets[m + 1])):
            at = slots[min(np.uint32(incurred_day[v] - first_day), n_days)]
            if service_day[v] != incurred_day[v] and at < n_slots:
                low = at // months_a_year * months_a_year
                at = slots[min(np.uint32(service_day[v] - first_day), n_days)]
                if at < low or at >= low + months_a_year:
                    early = service_day[v] < incurred_day[v]
                    at = low if early else low + months_a_year - np.uint8(1)
            bit = np.uint32(kind[v])
            found = settles[at]
            costs = (kind_bits >> bit) & (include[at] >> np.uint32(category[v])) & one
            if (found == COUNTED) & (costs == 0):
                found = np.uint8(NOT_INCLUDED)
            if (found != OUTSIDE_PERIOD) & ((never_bits >> bit) & one != 0):
                found = np.uint8(NEVER_COST)
            if paid_day[v] > cutoff_day:
                found = np.uint8(PAID_AFTER_CUTOFF)
            fate[v] = found
            place = (np.uint64(table[v]) * np.uint64(n_files) + np.uint64(file[v])) * np.uint64(
                N_FATES + 1
            ) + np.uint64(found)
            lines[place] += 1
            sums[place] += cents[v]
    ledger = np.empty((n_tables, n_files, N_FATES, 2), np.int64)
    ledger[..., 0] = lines.reshape((n_tables, n_files, N_FATES + 1))[..., :N_FATES]
    ledger[..., 1] = sums.reshape((n_tables, n_files, N_FATES + 1))[..., :N_FATES]
    return fate, ledger


@lru_cache(maxsize=1)
def _entry() -> Any:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    source = (FOLDER / "line_fate.cu").read_text(encoding="utf-8")
    return cupy.RawModule(code=source, options=("--fmad=false",)).get_function("line_fate")


def _gpu(*inputs: Any) -> Any:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    *arrays, first_day, cutoff_day, kind_bits, never_bits, n_tables, n_files = inputs
    cents, offsets, slot_of_day = arrays[0], arrays[8], arrays[12]
    n_members = len(offsets) - 1
    fate = cupy.zeros(len(cents), cupy.uint8)
    ledger = cupy.zeros((n_tables, n_files, N_FATES, 2), cupy.int64)
    if n_members:
        block = 128
        scalars = (
            np.int32(first_day),
            np.int32(cutoff_day),
            kind_bits,
            never_bits,
            np.int32(n_files),
            np.int32(len(slot_of_day)),
            np.int64(n_members),
        )
        _entry()(((n_members + block - 1) // block,), (block,), (*arrays, *scalars, fate, ledger))
    return fate, ledger
