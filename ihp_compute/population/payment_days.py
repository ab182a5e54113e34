"""On which days lines were paid, by the month that incurs them: what is known of claims to come.

    lines of a shard -> lines and paid cents by (incurred day's name, kind, month, paid day) -> sums

A line is incurred by one of three days, as a contract says; each is summed, so that a run reads how
complete a year is from a small table and from no line. Rows of several shards add.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.population.tables import schema_of
from ihp_compute.units import NO_DAY, months_of_days, sums_by

INCURRED_DAYS: Final = ("service_day", "claim_start_day", "claim_end_day")
"""Columns of `lines` that may put a line into a month."""

PAYMENT_DAYS: Final = schema_of(
    ("incurred_by", pa.string()),  # one of INCURRED_DAYS
    ("kind", pa.uint8()),  # LINE_KINDS
    ("month", pa.int32()),  # units.month_of
    ("paid_day", pa.int32()),  # NO_DAY: not stated
    ("lines", pa.int64()),
    ("paid_cents", pa.int64()),
)
KEYS: Final = PAYMENT_DAYS.names[:4]
FILE: Final = "payment_days.arrow"

_WIDE: Final = 1 << 20
"""Places that are summed side by side whatever the number of lines."""


def payment_days(column: Callable[[str], NDArray[Any]]) -> pa.Table:
    """The payment days of a shard's lines, in the columns of `PAYMENT_DAYS`.

    Parameters
    ----------
    column : callable
        Columns of the shard table `lines` by name.
    """
    kind, paid_day = column("kind"), column("paid_day")
    cents = column("paid_cents")
    parts = [_sums(name, column(name), kind, paid_day, cents) for name in INCURRED_DAYS]
    return pa.concat_tables(parts)


def summed(parts: Iterable[pa.Table]) -> pa.RecordBatch:
    """Payment days of several shards together, in the order of their keys."""
    whole = pa.concat_tables([PAYMENT_DAYS.empty_table(), *parts])
    sums = whole.group_by(KEYS).aggregate([("lines", "sum"), ("paid_cents", "sum")])
    named = sums.rename_columns([name.removesuffix("_sum") for name in sums.column_names])
    ordered = named.select(PAYMENT_DAYS.names).sort_by([(key, "ascending") for key in KEYS])
    columns = [column.combine_chunks() for column in ordered.itercolumns()]
    return pa.RecordBatch.from_arrays(columns, schema=PAYMENT_DAYS)


def _sums(
    incurred_by: str,
    day: NDArray[np.int32],
    kind: NDArray[np.uint8],
    paid_day: NDArray[np.int32],
    cents: NDArray[np.int64],
) -> pa.Table:
    stated = day != NO_DAY
    if not stated.all():
        day, kind, paid_day, cents = day[stated], kind[stated], paid_day[stated], cents[stated]
    if not len(day):
        return PAYMENT_DAYS.empty_table()
    first_day, last_day = int(day.min()), int(day.max())
    month_of_day = months_of_days(np.arange(first_day, last_day + 1, dtype=np.int32))
    first_month, n_months = int(month_of_day[0]), int(month_of_day[-1] - month_of_day[0]) + 1
    dated = paid_day != NO_DAY
    first_paid = int(paid_day.min(where=dated, initial=2**31 - 1))
    n_days = max(int(paid_day.max()) - first_paid, 0) + 2  # place 0: not stated
    place = month_of_day[day - first_day].astype(np.int64) - first_month
    place += kind.astype(np.int64) * n_months
    place *= n_days
    place += np.where(dated, paid_day.astype(np.int64) - first_paid + 1, 0)
    n = (int(kind.max()) + 1) * n_months * n_days
    found: NDArray[np.int64]
    if n <= max(_WIDE, 2 * len(place)):
        lines = np.bincount(place, minlength=n)
        found = np.flatnonzero(lines)
        lines, sums = lines[found], sums_by(place, cents, n)[found]
    else:
        found, index, lines = np.unique(place, return_inverse=True, return_counts=True)
        sums = sums_by(index, cents, len(found))
    month, paid = np.divmod(found, n_days)
    of_kind, month = np.divmod(month, n_months)
    columns = (
        pa.array(np.full(len(found), incurred_by, object), pa.string()),
        of_kind.astype(np.uint8),
        (month + first_month).astype(np.int32),
        np.where(paid == 0, NO_DAY, paid + first_paid - 1).astype(np.int32),
        lines.astype(np.int64),
        sums,
    )
    return pa.Table.from_arrays([pa.array(values) for values in columns], schema=PAYMENT_DAYS)
