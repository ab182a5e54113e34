"""What was delivered: lines and dollars by month of service and by plan, and whether all of it is.

rows of `data_review` -> by month, those outside the run's years as one -> by plan -> beside the
    ledger's lines and dollars read
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ihp_compute.ledger import CLAIM_TABLES
from ihp_compute.report import numbers
from ihp_compute.report.rows import Row

EARLIER: Final = "earlier"
LATER: Final = "later"
NO_DATE: Final = "no date"
_SUMMED: Final = ("lines", "paid_cents")
_PLANS: Final = 25
"""Plans that a page names; the table has all."""


def data_review_section(
    rows: Sequence[Row], ledger: Sequence[Row], years: tuple[int, int]
) -> Row | None:
    """Lines and dollars by month and by plan; None where the population kept none.

    Parameters
    ----------
    rows, ledger : sequence of dict
        Rows of `DATA_REVIEW` and `LEDGER`; None in them is held back, and every sum of it.
    years : (int, int)
        Base and performance; months before and after them stand as one.

    Returns
    -------
    dict
        `tables`, `months` and `plans` of name and words, `all`, and `tied`: whether these are the
        lines and dollars that the ledger has as read.
    """
    if not rows:
        return None
    tables = [table for table in CLAIM_TABLES if any(row["source_table"] == table for row in rows)]
    first, last = f"{years[0]:04d}-01", f"{years[1]:04d}-12"

    def at(row: Row) -> str:
        month = str(row["month"])
        if not month:
            return NO_DATE
        return EARLIER if month < first else LATER if month > last else month

    months = sorted(
        {at(row) for row in rows},
        key=lambda month: (month != EARLIER, month in (LATER, NO_DATE), month == NO_DATE, month),
    )
    by_plan = {
        plan: [row for row in rows if row["plan"] == plan] for plan in {r["plan"] for r in rows}
    }
    plans = sorted(by_plan, key=lambda plan: (-sum(r["lines"] or 0 for r in by_plan[plan]), plan))
    read = [row for row in ledger if row["stage"] == "ingest" and row["source_table"] in tables]
    off = [
        numbers.summed([_sum(rows, name), None if (of := _sum(read, name)) is None else -of])
        for name in _SUMMED
    ]
    return {
        "tables": tables,
        "months": [(m, _words([row for row in rows if at(row) == m], tables)) for m in months],
        "plans": [
            (plan or "not stated", _words(by_plan[plan], tables), _span(by_plan[plan]))
            for plan in plans[:_PLANS]
        ],
        "more": len(plans[_PLANS:]),
        "all": _words(rows, tables),
        "unreadable": numbers.held_back(_sum(rows, "unreadable_lines")),
        "tied": None if None in off else not any(off),
        "off": [numbers.HELD if value is None else value for value in off],
    }


def _sum(rows: Iterable[Row], name: str) -> int | None:
    return numbers.summed(row[name] for row in rows)


def _words(rows: Sequence[Row], tables: Sequence[str]) -> list[str]:
    """Lines and dollars of each table, then dollars of all."""
    found = []
    for table in tables:
        of = [row for row in rows if row["source_table"] == table]
        found += [numbers.held_back(_sum(of, "lines")), _usd(_sum(of, "paid_cents"))]
    return [*found, *([_usd(_sum(rows, "paid_cents"))] if len(tables) > 1 else [])]


def _usd(cents: int | None) -> str:
    return numbers.HELD if cents is None else numbers.usd(cents)


def _span(rows: Sequence[Row]) -> str:
    """First and last month with lines, and how many there are."""
    months = sorted({row["month"] for row in rows if row["month"]})
    return f"{months[0]} to {months[-1]}, {len(months)}" if months else numbers.DASH
