"""The fate of every line under the rules of a run, and the ledger that counts them."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any, Final

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require
from kernels.members._lines import MONTHS, OUTSIDE, block_end, line_slots, scratch_size, slot_table

MAX_PERIODS: Final = OUTSIDE // MONTHS
"""Periods whose slots, and the one of no period, a byte tells apart."""
N_FATES: Final = 8
PAID_AFTER_CUTOFF: Final = 0
OUTSIDE_PERIOD: Final = 1
NOT_ENROLLED: Final = 2
NEVER_COST: Final = 3
EXCLUDED: Final = 4
ELSEWHERE: Final = 5
NOT_INCLUDED: Final = 6
COUNTED: Final = 7


def line_fate(
    cents: Any,
    incurred_day: Any,
    paid_day: Any,
    category: Any,
    kind: Any,
    table: Any,
    file: Any,
    offsets: Any,
    enrolled: Any,
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
    2. the bit of its month is not set in the member's enrolled months of the period
    3. the bit of its kind is set in never_bits
    4. the member's standing in the period is 0, or the cell of its month is 255
    5. the standing is 1
    6. the bit of its kind is not set in kind_bits, or the bit of its category is not set in
       include_bits of the member's rule set
    7. otherwise: counted

    Period and month of a line are those of its incurred day, as in `kernels.segment_cost`.

    Parameters
    ----------
    cents : int64[n_lines], US cents
    incurred_day, paid_day : int32[n_lines], day numbers
    category, kind : uint8[n_lines], below 32
    table : uint8[n_lines], below n_tables
    file : uint16[n_lines], below n_files
    offsets : int64[n_members + 1]
    enrolled : uint16[n_periods, n_members]
        Bit i: the member is enrolled in month i of the period.
    month_cell : uint8[n_periods, n_members, 12], at most 21 periods
    standing : uint8[n_periods, n_members]
        0 excluded, 1 belongs to nobody who settles, 2 belongs to one who does.
    rule : int32[n_periods, n_members], below n_rules
    slot_of_day : uint8[n_days]
    include_bits : uint32[n_rules]
    first_day, cutoff_day : int, day numbers
    kind_bits, never_bits : int
    n_tables, n_files : int, >= 1

    Returns
    -------
    fate : uint8[n_lines]
    ledger : int64[n_tables, n_files, 8, 2]
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
        "incurred_day": incurred_day,
        "paid_day": paid_day,
        "category": category,
        "kind": kind,
        "table": table,
        "file": file,
        "offsets": offsets,
        "enrolled": enrolled,
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
    if n_periods > MAX_PERIODS:
        raise KernelInputError(f"n_periods: expected at most {MAX_PERIODS}, got {n_periods}")
    for name, dtype, shape in (
        ("incurred_day", np.int32, (n_lines,)),
        ("paid_day", np.int32, (n_lines,)),
        ("category", np.uint8, (n_lines,)),
        ("kind", np.uint8, (n_lines,)),
        ("table", np.uint8, (n_lines,)),
        ("file", np.uint16, (n_lines,)),
        ("enrolled", np.uint16, (n_periods, n_members)),
        ("standing", np.uint8, (n_periods, n_members)),
        ("rule", np.int32, (n_periods, n_members)),
        ("slot_of_day", np.uint8, (None,)),
        ("include_bits", np.uint32, (None,)),
    ):
        require(name, arrays[name], dtype, shape)
    for name, value in (("n_tables", n_tables), ("n_files", n_files)):
        if value < 1:
            raise KernelInputError(f"{name}: expected at least 1, got {value}")
    inputs = tuple(arrays.values())
    if device == "cpu":
        inputs = tuple(read_only(array) for array in inputs)
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


def reference(
    cents: Any,
    incurred_day: Any,
    paid_day: Any,
    category: Any,
    kind: Any,
    table: Any,
    file: Any,
    offsets: Any,
    enrolled: Any,
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
        p, month = divmod(slot(incurred_day[v]), MONTHS)
        if not int(enrolled[p, m]) >> month & 1:
            return NOT_ENROLLED
        if int(never_bits) >> int(kind[v]) & 1:
            return NEVER_COST
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


# A line's fate is read from a table: what holds in its month (a row), and what its own kind,
# category and paid day are (a place in the row).
_COUNTS: Final = 1
_NEVER: Final = 2
_LATE: Final = 4
_INCLUDED: Final = 8
_ROW: Final = 16
_OUT: Final = (OUTSIDE_PERIOD, NOT_ENROLLED)
"""What a line meets by its month, whatever it is."""
_STANDING: Final = (EXCLUDED, ELSEWHERE, COUNTED)
"""What a line meets by its member's standing, where nothing comes before."""


def _fate_table() -> Any:
    """uint8[8 × 16]: the fate by row (what the month gives) and place (what the line is)."""
    table = np.zeros((8, _ROW), np.uint8)
    for row, line in product((*_OUT, *_STANDING), range(_ROW)):
        found = row
        if row == COUNTED and not (line & _COUNTS and line & _INCLUDED):
            found = NOT_INCLUDED
        if row not in _OUT and line & _NEVER:
            found = NEVER_COST
        table[row, line] = PAID_AFTER_CUTOFF if line & _LATE else found
    return read_only(table.reshape(-1))


_FATES: Final = _fate_table()


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _own_traits(
    a: Any, b: Any, kind: Any, paid_day: Any, cutoff_day: Any, kind_bits: Any, never_bits: Any,
    traits: Any,
) -> None:  # fmt: skip
    """What lines a to b are by kind and paid day, from the start of `traits`."""
    one = np.uint32(1)
    for i in range(np.uint64(b - a)):
        v = np.uint64(a) + i
        bit = np.uint32(kind[v])
        found = ((kind_bits >> bit) & one) * np.uint32(_COUNTS)
        found |= ((never_bits >> bit) & one) * np.uint32(_NEVER)
        found |= np.uint32(paid_day[v] > cutoff_day) * np.uint32(_LATE)
        traits[i] = np.uint8(found)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _own_places(a: Any, b: Any, table: Any, file: Any, n_files: Any, places: Any) -> None:
    """Where the ledger of the lines' table and file starts, from the start of `places`."""
    for i in range(np.uint64(b - a)):
        v = np.uint64(a) + i
        places[i] = (np.uint32(table[v]) * n_files + np.uint32(file[v])) * np.uint32(N_FATES)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _member(
    base: Any, a: Any, b: Any, cents: Any, category: Any, traits: Any, at: Any, places: Any,
    rows: Any, services: Any, fates: Any, fate: Any, ledger: Any,
) -> None:  # fmt: skip
    """Fates of lines a to b of one member, whose scratch starts at line `base`."""
    one = np.uint32(1)
    for i in range(np.uint64(b - a)):
        v, j = np.uint64(a) + i, np.uint64(a - base) + i
        slot = at[j]
        included = ((services[slot] >> np.uint32(category[v])) & one) * np.uint32(_INCLUDED)
        found = fates[np.uint32(rows[slot]) | np.uint32(traits[j]) | included]
        fate[v] = found
        place = np.uint64(places[j]) + np.uint64(found)
        ledger[place, 0] += 1
        ledger[place, 1] += cents[v]


@numba.njit(cache=True, nogil=True)
def _lines(
    cents: Any, incurred_day: Any, paid_day: Any, category: Any, kind: Any, table: Any, file: Any,
    offsets: Any, enrolled: Any, month_cell: Any, standing: Any, rule: Any, slots: Any, fates: Any,
    include_bits: Any, first: Any, cutoff: Any, kind_bits: Any, never_bits: Any, n_files: Any,
    fate: Any, ledger: Any,
) -> None:  # fmt: skip
    n_periods, n_members = standing.shape
    size = scratch_size(offsets)
    traits, at = np.empty(size, np.uint8), np.empty(size, np.uint8)
    places = np.empty(size, np.uint32)
    n_slots = MONTHS * n_periods
    rows = np.full(n_slots + 1, OUTSIDE_PERIOD * _ROW, np.uint8)
    services = np.zeros(n_slots + 1, np.uint32)
    first_day, cutoff_day = np.int32(first), np.int32(cutoff)
    start = 0
    while start < n_members:
        end = block_end(offsets, start, size)
        base, stop = offsets[start], offsets[end]
        line_slots(base, stop, incurred_day, slots, first_day, at)
        _own_traits(base, stop, kind, paid_day, cutoff_day, kind_bits, never_bits, traits)
        _own_places(base, stop, table, file, np.uint32(n_files), places)
        for m in range(start, end):
            if offsets[m] == offsets[m + 1]:
                continue
            for p in range(n_periods):
                here = np.uint8(_STANDING[standing[p, m]] * _ROW)
                own, months = include_bits[rule[p, m]], np.uint32(enrolled[p, m])
                for month in range(MONTHS):
                    counts = month_cell[p, m, month] != OUTSIDE
                    row = here if counts else np.uint8(EXCLUDED * _ROW)
                    covered = months >> np.uint32(month) & np.uint32(1) != 0
                    rows[p * MONTHS + month] = row if covered else np.uint8(NOT_ENROLLED * _ROW)
                    services[p * MONTHS + month] = own
            _member(
                base, offsets[m], offsets[m + 1], cents, category, traits, at, places, rows,
                services, fates, fate, ledger,
            )  # fmt: skip
        start = end


def _cpu(*inputs: Any) -> Any:
    *arrays, first_day, cutoff_day, kind_bits, never_bits, n_tables, n_files = inputs
    before, slot_of_day, include_bits = arrays[:12], arrays[12], arrays[13]
    slots = read_only(slot_table(slot_of_day, len(arrays[9])))
    fate = np.empty(len(arrays[0]), np.uint8)
    ledger = np.zeros((n_tables * n_files * N_FATES, 2), np.int64)
    form: Any = _lines
    form(
        *before, slots, _FATES, include_bits, first_day, cutoff_day, kind_bits, never_bits,
        n_files, fate, ledger,
    )  # fmt: skip
    return fate, ledger.reshape(n_tables, n_files, N_FATES, 2)


@cache
def _entry() -> Any:
    return cuda_module("members/line_fate").get_function("line_fate")


def _gpu(*inputs: Any) -> Any:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    *arrays, first_day, cutoff_day, kind_bits, never_bits, n_tables, n_files = inputs
    cents, offsets, slot_of_day = arrays[0], arrays[7], arrays[12]
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
