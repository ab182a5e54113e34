"""What was delivered, counted: lines and paid cents of claim rows by plan and month of service.

Decides: which plan a row is of: that of column `plan`, else the payer. Not here: what is made of
the counts (`ingest.noticed`, `ingest.control`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.ingest.door.rows import Rows
from ihp_compute.ingest.final_action import OPEN
from ihp_compute.ingest.findings import NO_MONTH, Delivered
from ihp_compute.units import NO_DAY, months_of_days
from kernels import row_pick

_MOST_PLANS: Final = 2_000
"""A column with more values in one batch names no plans."""


def count_delivered(delivered: Delivered, rows: Rows, read: Mapping[str, Any]) -> None:
    """Count a batch of claim rows, given the columns read of it."""
    plan, names = _plans(rows)
    days: NDArray[np.int32] = read["service_day"]
    first, day = _from_first(days)
    months = months_of_days(np.arange(first, first + int(day.max()), dtype=np.int32))
    month = np.append(0, months - months[:1] + 1)  # of no day 0
    n_months = int(month[-1]) + 1
    cell = row_pick(month, None, day)
    if len(names) > 1:
        cell += plan.astype(np.int64) * n_months
    n = len(names) * n_months
    lines = np.bincount(cell, minlength=n)
    cents = np.zeros(n, np.int64)
    np.add.at(cents, cell, read["paid_cents"])
    aside = np.bincount(cell[np.flatnonzero(read["fate"] != OPEN)], minlength=n)
    met = np.flatnonzero(lines)
    counted = zip(*(column[met].tolist() for column in (lines, cents, lines - aside)), strict=True)
    for k, (n_lines, paid, readable) in zip(met.tolist(), counted, strict=True):
        name, at = divmod(k, n_months)
        key = names[name], int(months[0]) + at - 1 if at else NO_MONTH
        delivered.lines[key] += n_lines
        delivered.cents[key] += paid
        delivered.readable[key] += readable


def _from_first(days: NDArray[np.int32]) -> tuple[int, NDArray[np.int32]]:
    """The first day, and each counted from it, which is 1; 0 where none is."""
    first = int(days.min())
    if first != NO_DAY:
        return first, days - np.int32(first - 1)
    stated = days != NO_DAY
    first = int(days.min(where=stated, initial=days.max()))
    if first == NO_DAY:
        return 0, np.zeros(len(days), np.int32)
    return first, np.where(stated, days - np.int32(first - 1), np.int32(0))


def _plans(rows: Rows) -> tuple[NDArray[np.int32], Sequence[str]]:
    """Plan of each row as a place in a list of names."""
    plan, payer = rows.text("plan"), rows.text("payer")
    if plan.is_blank:
        index, names = payer.index, payer.values
    elif payer.is_blank or (stated := plan.stated()).all():
        index, names = plan.index, plan.values
    else:
        index = np.where(stated, plan.index, payer.index + np.int32(len(plan.values)))
        names = [*plan.values, *payer.values]
    if len(names) > _MOST_PLANS:
        return np.zeros(rows.n, np.int32), [""]
    return index, names
