"""On which days lines were paid, by the month that incurs them: what is known of claims to come.

    lines of a shard -> lines and paid cents by (incurred day's name, kind, month, paid day) -> sums

A line is incurred by one of three days, as a contract says; each is summed, so that a run reads how
complete a year is from a small table and from no line. Rows of several shards add.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.population.tables import schema_of
from ihp_compute.units import NO_DAY, months_of_days, sums_by
from kernels import row_pick

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
    months, least = _months([column(name) for name in INCURRED_DAYS])
    return pa.concat_tables(
        [
            paid.table(name, least, *sums)
            for name, sums in zip(INCURRED_DAYS, paid.sums(months), strict=True)
        ]
    )


def summed(parts: Iterable[pa.Table]) -> pa.RecordBatch:
    """Payment days of several shards together, in the order of their keys."""
    whole = pa.concat_tables([PAYMENT_DAYS.empty_table(), *parts])
    sums = whole.group_by(KEYS).aggregate([("lines", "sum"), ("paid_cents", "sum")])
    named = sums.rename_columns([name.removesuffix("_sum") for name in sums.column_names])
    ordered = named.select(PAYMENT_DAYS.names).sort_by([(key, "ascending") for key in KEYS])
    columns = [column.combine_chunks() for column in ordered.itercolumns()]
    return pa.RecordBatch.from_arrays(columns, schema=PAYMENT_DAYS)


def _months(days: Sequence[NDArray[np.int32]]) -> tuple[list[NDArray[np.int32]], int]:
    """Months of several days of each line, from 1 on, 0 where none is stated; which month 1 is."""
    stated = [day != NO_DAY for day in days]
    is_whole = [bool(of.all()) for of in stated]
    known = [
        day if whole else day[of] for day, of, whole in zip(days, stated, is_whole, strict=True)
    ]
    known = [day for day in known if len(day)]
    if not known:
        return [np.zeros(len(day), np.int32) for day in days], 0
    first = min(int(day.min()) for day in known)
    months = months_of_days(
        np.arange(first, max(int(day.max()) for day in known) + 1, dtype=np.int32)
    )
    least = int(months[0])
    of_day = np.append(np.int32(0), months - np.int32(least - 1))
    found: list[NDArray[np.int32]] = []
    for day, of, whole in zip(days, stated, is_whole, strict=True):
        place = day - np.int32(first - 1)
        if not whole:
            place *= of
        found.append(row_pick(of_day, None, place))
    return found, least


class _Paid:
    """When lines of each kind were paid: what is the same whatever day incurs them."""

    def __init__(
        self, kind: NDArray[np.uint8], paid_day: NDArray[np.int32], cents: NDArray[np.int64]
    ) -> None:
        dated = paid_day != NO_DAY
        self._first_day = int(paid_day.min(where=dated, initial=2**31 - 1))
        last_day = int(paid_day.max(initial=NO_DAY))
        self._n_days = max(last_day - self._first_day, 0) + 2  # place 0: not stated
        self._of_month = (int(kind.max(initial=0)) + 1) * self._n_days
        self._place = np.where(dated, paid_day.astype(np.int64) - (self._first_day - 1), 0)
        self._place += kind.astype(np.int64) * self._n_days
        self._cents = cents

    def sums(
        self, months: Sequence[NDArray[np.int32]]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
        """For each of several months of a line: places that occur, their lines and their cents."""
        n = (max(int(month.max(initial=0)) for month in months) + 1) * self._of_month
        place = self._place + months[0].astype(np.int64) * self._of_month
        if n > max(_WIDE, 2 * len(place)):
            for month in months:
                own = self._place + month.astype(np.int64) * self._of_month
                found, index, lines = np.unique(own, return_inverse=True, return_counts=True)
                yield found, lines, sums_by(index, self._cents, len(found))
            return
        whole = np.bincount(place, minlength=n), sums_by(place, self._cents, n)
        for month in months:
            # of most lines all three days lie in one month
            moved = np.flatnonzero(month != months[0])
            lines, cents = whole
            if len(moved):
                before, own = place[moved], self._cents[moved]
                after = before + (month[moved] - months[0][moved]) * np.int64(self._of_month)
                lines = lines + np.bincount(after, minlength=n) - np.bincount(before, minlength=n)
                cents = cents + sums_by(after, own, n) - sums_by(before, own, n)
            found = np.flatnonzero(lines)
            yield found, lines[found], cents[found]

    def table(
        self,
        incurred_by: str,
        least: int,
        found: NDArray[np.int64],
        lines: NDArray[np.int64],
        cents: NDArray[np.int64],
    ) -> pa.Table:
        """Sums by place, of stated months, in the columns of `PAYMENT_DAYS`."""
        stated = found >= self._of_month
        month, rest = np.divmod(found[stated], self._of_month)
        kind, paid = np.divmod(rest, self._n_days)
        columns: tuple[Any, ...] = (
            pa.repeat(pa.scalar(incurred_by, pa.string()), len(month)),
            kind.astype(np.uint8),
            (month + (least - 1)).astype(np.int32),
            np.where(paid == 0, NO_DAY, paid + self._first_day - 1).astype(np.int32),
            lines[stated].astype(np.int64),
            cents[stated],
        )
        return pa.Table.from_arrays([pa.array(values) for values in columns], schema=PAYMENT_DAYS)
