"""What a population holds, counted: people and their months, lines and dollars, what is missing.

    shards -> months by year and rate cell · lines by month and category · blanks of columns -> sums

One pass over mapped columns, a shard at a time; people are counted once in each cell, whatever the
number of their months or lines. The counts are whole: what of them may be shown to whom is decided
by whoever shows them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import RATE_CELLS, SERVICE_CATEGORIES
from ihp_compute.population.shards import Population, Shard
from ihp_compute.units import NO_DAY, date_text, month_text, months_of_days, sums_by

_INNER: Final = 64
"""Places of a rate cell or category beside a year or month."""
_MOST_MARKS: Final = 1 << 27
"""Bytes in which members are marked by place; beyond, for days far apart, pairs are sorted."""
BLANKS: Final = (
    ("members", "birth_day", NO_DAY),
    ("members", "sex", 0),
    ("spans", "dual_status", 255),
    ("spans", "plan", 0),
    ("lines", "paid_day", NO_DAY),
    ("line_detail", "hcpcs", 0),
    ("line_detail", "revenue", 0),
    ("line_detail", "place_of_service", 0),
    ("line_detail", "rendering_npi", 0),
    ("line_detail", "billing_npi", 0),
)
"""Columns that may hold nothing, and what stands there then."""


@dataclass
class _Sums:
    """Counts by outer and inner code: people, events and what they amount to."""

    people: Counter[int] = field(default_factory=Counter)
    events: Counter[int] = field(default_factory=Counter)
    amounts: Counter[int] = field(default_factory=Counter)
    people_of_outer: Counter[int] = field(default_factory=Counter)

    def add(
        self,
        member: NDArray[np.int64],
        outer: NDArray[Any],
        inner: NDArray[Any],
        amount: NDArray[np.int64] | None = None,
    ) -> None:
        """Add the events of a shard: whose each is, where it belongs, what it amounts to."""
        if not len(member):
            return
        first = int(outer.min())
        n_outer = int(outer.max()) - first + 1
        place = (outer.astype(np.int64) - first) * _INNER + inner
        events = np.bincount(place, minlength=n_outer * _INNER)
        codes = np.flatnonzero(events)
        _put(self.events, codes + first * _INNER, events[codes])
        if amount is not None:
            sums = sums_by(place, amount, len(events))
            _put(self.amounts, codes + first * _INNER, sums[codes])
        people = _people(member, place, len(events))
        _put(self.people, codes + first * _INNER, people[codes])
        people = _people(member, place // _INNER, n_outer)
        _put(self.people_of_outer, np.flatnonzero(people) + first, people[people > 0])


def _people(member: NDArray[np.int64], place: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """How many members have each of n places: int64[n]."""
    n_members = int(member[-1]) + 1  # rows stand by member
    pairs = member * n + place
    if n_members * n <= _MOST_MARKS:
        marks = np.zeros(n_members * n, np.bool_)
        marks[pairs] = True
        return np.count_nonzero(marks.reshape(n_members, n), axis=0)
    return np.bincount(np.unique(pairs) % n, minlength=n)


def _put(into: Counter[int], codes: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
    for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
        into[code] += count


def profile(population: Population) -> dict[str, Any]:
    """What a population holds, in JSON's own values.

    Parameters
    ----------
    population : Population

    Returns
    -------
    dict
        members, member_months; enrolment, rows of year, rate_cell, members, member_months, and
        enrolled, members by year; claims, rows of month (YYYY-MM), category, members, lines,
        paid_cents, and claiming, members by month; missing, rows of table, column, rows, missing;
        first_month, last_month of service, last_paid_day.

    Raises
    ------
    PopulationError
        If a file cannot be read.
    """
    months, lines = _Sums(), _Sums()
    blank: Counter[tuple[str, str]] = Counter()
    of: Counter[str] = Counter()
    for shard in population.shards:
        _enrolment(shard, months)
        _claims(shard, lines)
        for table, column, nothing in BLANKS:
            values = shard.column(table, column)
            blank[table, column] += int(np.count_nonzero(values == nothing))
        for table in {table for table, _, _ in BLANKS}:
            of[table] += shard.batch(table).num_rows
    outer = sorted(lines.people_of_outer)
    return {
        "members": population.manifest["members"],
        "member_months": population.manifest["member_months"],
        "enrolled": [{"year": y, "members": n} for y, n in sorted(months.people_of_outer.items())],
        "enrolment": [
            {
                "year": code // _INNER,
                "rate_cell": RATE_CELLS[code % _INNER],
                "members": months.people[code],
                "member_months": months.events[code],
            }
            for code in sorted(months.events)
        ],
        "claiming": [{"month": month_text(m), "members": lines.people_of_outer[m]} for m in outer],
        "claims": [
            {
                "month": month_text(code // _INNER),
                "category": SERVICE_CATEGORIES[code % _INNER],
                "members": lines.people[code],
                "lines": lines.events[code],
                "paid_cents": lines.amounts[code],
            }
            for code in sorted(lines.events)
        ],
        "first_month": month_text(outer[0]) if outer else None,
        "last_month": month_text(outer[-1]) if outer else None,
        "last_paid_day": date_text(population.manifest["last_paid_day"] or NO_DAY) or None,
        "missing": [
            {"table": table, "column": column, "rows": of[table], "missing": blank[table, column]}
            for table, column, _ in BLANKS
        ],
    }


def _owners(shard: Shard, table: str) -> NDArray[np.int64]:
    """Whose each row of a table is, by place in the shard."""
    return np.repeat(np.arange(shard.n_members), np.diff(shard.offsets(table)))


def _enrolment(shard: Shard, into: _Sums) -> None:
    first, n = shard.column("spans", "first_month"), shard.column("spans", "n_months")
    member = np.repeat(_owners(shard, "spans"), n)
    ends = np.cumsum(n, dtype=np.int64)
    month = np.repeat(first, n) + np.arange(len(member)) - np.repeat(ends - n, n)
    into.add(member, month // 12, np.repeat(shard.column("spans", "rate_cell"), n))


def _claims(shard: Shard, into: _Sums) -> None:
    day = shard.column("lines", "service_day")
    dated = day != NO_DAY
    into.add(
        _owners(shard, "lines")[dated],
        months_of_days(day[dated]),
        shard.column("lines", "category")[dated],
        shard.column("lines", "paid_cents")[dated],
    )
