"""Which roster entry a visit falls under: its group, and the step of attribution it serves."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require

NO_GROUP = -1
N_PLACES: Final = 256
BLOCK: Final = 4096
"""Visits whose places are gathered at a time."""


def roster_match(
    rendering_npi: Any,
    billing_npi: Any,
    tin: Any,
    day: Any,
    paid_day: Any,
    procedure: Any,
    place: Any,
    marks: Any,
    npi_first: Any,
    entry_tin: Any,
    entry_start: Any,
    entry_end: Any,
    entry_group: Any,
    entry_kind: Any,
    class_of: Any,
    place_marks: Any,
    barred: Any,
    step_of: Any,
    *,
    first_day: int,
    end_day: int,
    cutoff_day: int,
) -> tuple[Any, Any]:
    """Group and step of every visit.

    A visit counts when first_day <= day < end_day, paid_day <= cutoff_day, and its marks and those
    of its place have no bit of barred[c], where c = class_of[procedure]. It falls under the first
    entry of its rendering provider that matches, else the first of its billing provider. An entry
    matches when its tin is -1 or the visit's, and entry_start <= day < entry_end. The step is
    step_of[c, entry_kind]; 0 there means that the visit does not count.

    Parameters
    ----------
    rendering_npi, billing_npi : int32[n_visits], codes below n_npi
    tin : int32[n_visits], codes
    day, paid_day : int32[n_visits], day numbers
    procedure : int32[n_visits], codes below n_procedures
    place : uint8[n_visits]
    marks : uint8[n_visits], bits
    npi_first : int32[n_npi + 1]
        Entries of provider p are npi_first[p] to npi_first[p + 1], in order of precedence.
    entry_tin : int32[n_entries], a code, or -1 for any
    entry_start, entry_end : int32[n_entries], day numbers, half open
    entry_group : int32[n_entries], >= 0
    entry_kind : uint8[n_entries], below n_kinds
    class_of : uint8[n_procedures], below n_classes
    place_marks : uint8[256], bits
        What a place adds to the marks of its visits.
    barred : uint8[n_classes], bits
        Marks with which a visit of the class does not count.
    step_of : uint8[n_classes, n_kinds]
    first_day, end_day, cutoff_day : int, day numbers

    Returns
    -------
    group : int32[n_visits]
        -1 where the visit does not count.
    step : uint8[n_visits]
        0 where the visit does not count. Both on the device of the inputs.

    Raises
    ------
    KernelInputError
        If an array has another dtype, rank or length, or the arrays live on different devices.
        Codes are trusted.

    Exact on every device: comparisons of integers only. Source: reading of the roster as in the
    programme's attribution rule, see `ihp_compute.attribution`.
    """
    visits = {
        "rendering_npi": rendering_npi,
        "billing_npi": billing_npi,
        "tin": tin,
        "day": day,
        "paid_day": paid_day,
    }
    entries = {
        "entry_tin": entry_tin,
        "entry_start": entry_start,
        "entry_end": entry_end,
        "entry_group": entry_group,
    }
    device = device_of(
        **visits,
        procedure=procedure,
        place=place,
        marks=marks,
        npi_first=npi_first,
        **entries,
        entry_kind=entry_kind,
        class_of=class_of,
        place_marks=place_marks,
        barred=barred,
        step_of=step_of,
    )
    require("rendering_npi", rendering_npi, np.int32, (None,))
    n_visits = len(rendering_npi)
    for name, array in visits.items():
        require(name, array, np.int32, (n_visits,))
    require("procedure", procedure, np.int32, (n_visits,))
    require("place", place, np.uint8, (n_visits,))
    require("marks", marks, np.uint8, (n_visits,))
    require("npi_first", npi_first, np.int32, (None,))
    if len(npi_first) == 0:
        raise KernelInputError("npi_first: expected n_npi + 1 starts, got an empty array")
    require("entry_tin", entry_tin, np.int32, (None,))
    for name, array in entries.items():
        require(name, array, np.int32, (len(entry_tin),))
    require("entry_kind", entry_kind, np.uint8, (len(entry_tin),))
    require("class_of", class_of, np.uint8, (None,))
    require("place_marks", place_marks, np.uint8, (N_PLACES,))
    require("step_of", step_of, np.uint8, (None, None))
    require("barred", barred, np.uint8, (step_of.shape[0],))
    form = _cpu if device == "cpu" else _gpu
    arrays = (
        rendering_npi,
        billing_npi,
        tin,
        day,
        paid_day,
        procedure,
        place,
        marks,
        npi_first,
        entry_tin,
        entry_start,
        entry_end,
        entry_group,
        entry_kind,
        class_of,
        place_marks,
        barred,
        step_of,
    )
    if device == "cpu":
        arrays = tuple(read_only(array) for array in arrays)
    found: tuple[Any, Any] = form(*arrays, first_day, end_day, cutoff_day)
    return found


def reference(
    rendering_npi: Any,
    billing_npi: Any,
    tin: Any,
    day: Any,
    paid_day: Any,
    procedure: Any,
    place: Any,
    marks: Any,
    npi_first: Any,
    entry_tin: Any,
    entry_start: Any,
    entry_end: Any,
    entry_group: Any,
    entry_kind: Any,
    class_of: Any,
    place_marks: Any,
    barred: Any,
    step_of: Any,
    first_day: Any,
    end_day: Any,
    cutoff_day: Any,
) -> Any:
    """The definition, in the fewest words. Slow on purpose; never optimised."""

    def entry_of(v: Any) -> Any:
        for npi in (rendering_npi[v], billing_npi[v]):
            for e in range(npi_first[npi], npi_first[npi + 1]):
                if entry_tin[e] in (-1, tin[v]) and entry_start[e] <= day[v] < entry_end[e]:
                    return e
        return None

    group = np.full(len(day), NO_GROUP, np.int32)
    step = np.zeros(len(day), np.uint8)
    for v in range(len(day)):
        c = class_of[procedure[v]]
        marked = (marks[v] | place_marks[place[v]]) & barred[c]
        if first_day <= day[v] < end_day and paid_day[v] <= cutoff_day and not marked:
            e = entry_of(v)
            if e is not None and step_of[c, entry_kind[e]] > 0:
                group[v], step[v] = entry_group[e], step_of[c, entry_kind[e]]
    return group, step


@numba.njit(cache=True, nogil=True)
def _cpu(
    rendering_npi: Any,
    billing_npi: Any,
    tin: Any,
    day: Any,
    paid_day: Any,
    procedure: Any,
    place: Any,
    marks: Any,
    npi_first: Any,
    entry_tin: Any,
    entry_start: Any,
    entry_end: Any,
    entry_group: Any,
    entry_kind: Any,
    class_of: Any,
    place_marks: Any,
    barred: Any,
    step_of: Any,
    first_day: Any,
    end_day: Any,
    cutoff_day: Any,
) -> Any:
    """Block by block: visits that may count are gathered without a branch, then looked up.

    Most visits are of another year, or of a class that serves no step: a branch for each of the
    tests is guessed wrong so often that it took twice as long.
    """
    n_visits = len(day)
    group = np.full(n_visits, NO_GROUP, np.int32)
    step = np.zeros(n_visits, np.uint8)
    serves = np.zeros(step_of.shape[0], np.bool_)
    for c in range(step_of.shape[0]):
        serves[c] = step_of[c].any()
    picked = np.empty(BLOCK, np.int64)
    for start in range(0, n_visits, BLOCK):
        n = 0
        for v in range(np.uint64(start), np.uint64(min(start + BLOCK, n_visits))):
            c = class_of[np.uint32(procedure[v])]
            marked = (marks[v] | place_marks[place[v]]) & barred[c]
            timely = (day[v] >= first_day) & (day[v] < end_day) & (paid_day[v] <= cutoff_day)
            picked[n] = v
            n += timely & serves[c] & (marked == 0)
        for v in picked[:n]:
            d = day[v]
            found = -1
            npi = rendering_npi[v]
            for e in range(npi_first[npi], npi_first[npi + 1]):
                any_tin = entry_tin[e] == -1 or entry_tin[e] == tin[v]
                if any_tin and entry_start[e] <= d and d < entry_end[e]:
                    found = e
                    break
            if found < 0:
                npi = billing_npi[v]
                for e in range(npi_first[npi], npi_first[npi + 1]):
                    any_tin = entry_tin[e] == -1 or entry_tin[e] == tin[v]
                    if any_tin and entry_start[e] <= d and d < entry_end[e]:
                        found = e
                        break
            if found >= 0:
                s = step_of[class_of[procedure[v]], entry_kind[found]]
                if s > 0:
                    group[v] = entry_group[found]
                    step[v] = s
    return group, step


@cache
def _entry() -> Any:
    return cuda_module("members/roster_match").get_function("roster_match")


def _gpu(
    rendering_npi: Any,
    billing_npi: Any,
    tin: Any,
    day: Any,
    paid_day: Any,
    procedure: Any,
    place: Any,
    marks: Any,
    npi_first: Any,
    entry_tin: Any,
    entry_start: Any,
    entry_end: Any,
    entry_group: Any,
    entry_kind: Any,
    class_of: Any,
    place_marks: Any,
    barred: Any,
    step_of: Any,
    first_day: Any,
    end_day: Any,
    cutoff_day: Any,
) -> Any:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    n_visits = len(day)
    group = cupy.empty(n_visits, cupy.int32)
    step = cupy.empty(n_visits, cupy.uint8)
    if n_visits:
        block = 256
        _entry()(
            ((n_visits + block - 1) // block,),
            (block,),
            (
                rendering_npi,
                billing_npi,
                tin,
                day,
                paid_day,
                procedure,
                place,
                marks,
                npi_first,
                entry_tin,
                entry_start,
                entry_end,
                entry_group,
                entry_kind,
                class_of,
                place_marks,
                barred,
                step_of,
                np.int32(step_of.shape[1]),
                np.int32(first_day),
                np.int32(end_day),
                np.int32(cutoff_day),
                np.int64(n_visits),
                group,
                step,
            ),
        )
    return group, step
