"""Every dollar has one fate.

A claim line meets exactly one fate, the first that applies in the order below: at ingest, where
everything but `RETAINED` is put aside with its reason; and at a run, where only `COUNTED` is cost.
The cap works on a member-year, not on a line: `ABOVE_CAP` and `FLOORED` carry dollars and no lines,
so that counted - above_cap + floored is the cost that settles.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final

CLAIM_TABLES: Final = ("medical_claim", "pharmacy_claim")

LEDGER_TABLES: Final = (*CLAIM_TABLES, "eligibility")


def file_of(entry: Mapping[str, Any]) -> str:
    """The file that an entry of inputs or of an ingest's ledger names, for people.

    >>> file_of({"file": "a.csv", "delivery": 1}), file_of({"file": "a.csv", "delivery": 2})
    ('a.csv', 'a.csv (delivery 2)')
    """
    delivery = entry.get("delivery", 1)
    return f"{entry['file']}" + (f" (delivery {delivery})" if delivery > 1 else "")


class IngestFate(IntEnum):
    """Fates of a row at ingest, in order of precedence."""

    UNREADABLE = 0
    DUPLICATE = 1
    VOIDED = 2
    SUPERSEDED = 3
    ORPHAN_VOID = 4
    DENIED = 5
    UNKNOWN_MEMBER = 6
    OUTSIDE_ELIGIBILITY = 7
    RETAINED = 8

    @property
    def label(self) -> str:
        """The name as it stands in tables and JSON."""
        return self.name.lower()


class RunFate(IntEnum):
    """Fates of a retained line at a run, in order; the last two carry dollars only.

    `OUTSIDE_ELIGIBILITY` asks what it asks at ingest, of the one day by which the contract incurs
    the line. It stands behind the two fates of lines that are not of the run's time, because
    enrolment is asked for the run's years alone; and before what the line or its member is, because
    ingest asks for enrolment whatever they are.
    """

    PAID_AFTER_CUTOFF = 0
    OUTSIDE_PERIOD = 1
    OUTSIDE_ELIGIBILITY = 2
    CAPITATION = 3
    EXCLUDED_MEMBER = 4
    NOT_ATTRIBUTED = 5
    EXCLUDED_SERVICE = 6
    COUNTED = 7
    ABOVE_CAP = 8
    FLOORED = 9

    @property
    def label(self) -> str:
        """The name as it stands in tables and JSON."""
        return self.name.lower()


LINE_FATES: Final = tuple(fate for fate in RunFate if fate <= RunFate.COUNTED)
"""The run fates that a line can meet."""
