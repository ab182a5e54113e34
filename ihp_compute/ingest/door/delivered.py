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

_MOST_PLANS: Final = 2_000
"""A column with more values in one batch names no plans."""


def count_delivered(delivered: Delivered, rows: Rows, read: Mapping[str, Any]) -> None:
    """Count a batch of claim rows, given the columns read of it."""
    plan, names = _plans(rows)
    days: NDArray[np.int32] = read["service_day"]
    stated = days != NO_DAY
    first, last = (int(end(days[stated])) for end in (np.min, np.max)) if stated.any() else (0, 0)
    months = months_of_days(np.arange(first, last + 1, dtype=np.int32))
    place = np.where(stated, months[np.clip(days, first, last) - first] - months[0] + 1, 0)
    n_months = int(months[-1] - months[0]) + 2
    cell = plan.astype(np.int64) * n_months + place
    n = len(names) * n_months
    lines = np.bincount(cell, minlength=n)
    cents = np.zeros(n, np.int64)
    np.add.at(cents, cell, read["paid_cents"])
    aside = np.bincount(cell[read["fate"] != OPEN], minlength=n)
    for k in np.flatnonzero(lines).tolist():
        name, at = divmod(k, n_months)
        key = names[name], int(months[0]) + at - 1 if at else NO_MONTH
        delivered.lines[key] += int(lines[k])
        delivered.cents[key] += int(cents[k])
        delivered.readable[key] += int(lines[k] - aside[k])


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
