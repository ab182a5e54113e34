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
    paid = _Paid(column("kind"), column("paid_day"), column("paid_cents"))
    return pa.concat_tables([paid.by(name, column(name)) for name in INCURRED_DAYS])


def summed(parts: Iterable[pa.Table]) -> pa.RecordBatch:
    """Payment days of several shards together, in the order of their keys."""
    whole = pa.concat_tables([PAYMENT_DAYS.empty_table(), *parts])
    sums = whole.group_by(KEYS).aggregate([("lines", "sum"), ("paid_cents", "sum")])
    named = sums.rename_columns([name.removesuffix("_sum") for name in sums.column_names])
    ordered = named.select(PAYMENT_DAYS.names).sort_by([(key, "ascending") for key in KEYS])
    columns = [column.combine_chunks() for column in ordered.itercolumns()]
    return pa.RecordBatch.from_arrays(columns, schema=PAYMENT_DAYS)


class _Paid:
    """When lines of each kind were paid: what is the same whatever day incurs them."""

    def __init__(
        self, kind: NDArray[np.uint8], paid_day: NDArray[np.int32], cents: NDArray[np.int64]
    ) -> None:
        dated = paid_day != NO_DAY
        self._first_day = int(paid_day.min(where=dated, initial=2**31 - 1))
        last_day = int(paid_day.max(initial=NO_DAY))
        self._n_days = max(last_day - self._first_day, 0) + 2  # place 0: not stated
        self._n_kinds = int(kind.max(initial=0)) + 1
        self._place = np.where(dated, paid_day.astype(np.int64) - (self._first_day - 1), 0)
        self._place += kind.astype(np.int64) * self._n_days
        self._cents = cents

    def by(self, incurred_by: str, day: NDArray[np.int32]) -> pa.Table:
        """Lines and cents by kind, month of that day, and day of payment."""
        place, cents, stated = self._place, self._cents, day != NO_DAY
        if not stated.all():
            day, place, cents = day[stated], place[stated], cents[stated]
        if not len(day):
            return PAYMENT_DAYS.empty_table()
        first_day, last_day = int(day.min()), int(day.max())
        month_of_day = months_of_days(np.arange(first_day, last_day + 1, dtype=np.int32))
        first_month, of_month = int(month_of_day[0]), self._n_kinds * self._n_days
        n = (int(month_of_day[-1]) - first_month + 1) * of_month
        place = place + ((month_of_day.astype(np.int64) - first_month) * of_month)[day - first_day]
        found: NDArray[np.int64]
        if n <= max(_WIDE, 2 * len(place)):
            lines = np.bincount(place, minlength=n)
            found = np.flatnonzero(lines)
            lines, sums = lines[found], sums_by(place, cents, n)[found]
        else:
            found, index, lines = np.unique(place, return_inverse=True, return_counts=True)
            sums = sums_by(index, cents, len(found))
        month, rest = np.divmod(found, of_month)
        kind, paid = np.divmod(rest, self._n_days)
        columns = (
            pa.array(np.full(len(found), incurred_by, object), pa.string()),
            kind.astype(np.uint8),
            (month + first_month).astype(np.int32),
            np.where(paid == 0, NO_DAY, paid + self._first_day - 1).astype(np.int32),
            lines.astype(np.int64),
            sums,
        )
        return pa.Table.from_arrays([pa.array(values) for values in columns], schema=PAYMENT_DAYS)
