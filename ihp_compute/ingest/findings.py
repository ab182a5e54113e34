"""What is counted on the way: what each file was found to hold, and rows read with doubt.

The account of an ingest rests on these counts, which add up over parts. A finding moves no dollar
by itself; it names what was doubtful, and how much hangs on it. What each means, and which must be
accepted, is in `data_quality`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ihp_compute.units import NO_DAY
from kernels import distinct_count, row_order, row_pick

_CLAIM_RANGES: Final = 64
"""Claims are counted one range of their hashes at a time."""

_RANGE_SHIFT: Final = np.uint64(58)

NO_MONTH: Final = -1

UNREADABLE_REASON: Final = "unreadable_reason"
"""The finding of rows put aside, by column and reason without the value."""


class Doubt(NamedTuple):
    """A finding, the column that it is of ("" for a row as a whole), and what else it is of."""

    column: str
    finding: str
    subject: str = ""


@dataclass
class Findings:
    """Rows and their paid cents."""

    lines: Counter[Doubt] = field(default_factory=Counter)
    cents: Counter[Doubt] = field(default_factory=Counter)

    def see(self, doubt: Doubt, lines: int, cents: int) -> None:
        """Count some rows."""
        if lines:
            self.lines[doubt] += lines
            self.cents[doubt] += cents

    def see_rows(self, doubt: Doubt, cents: NDArray[np.int64]) -> None:
        """Count rows by their paid cents."""
        self.see(doubt, len(cents), int(cents.sum()))

    def add(self, other: Findings) -> None:
        """Add those of another part."""
        self.lines.update(other.lines)
        self.cents.update(other.cents)

    def take_away(self, other: Findings) -> None:
        """Take away those of a part of this."""
        _take_away(self.lines, self.cents, other.lines, other.cents)


Cell = tuple[str, int]


UNMATCHED_SCORES: Final = "risk scores of members without enrolment, left out"
BLANK_SCORES: Final = "risk scores with neither score nor cell"
"""What a shard counts under these names is told as a finding, not as a note."""


@dataclass
class Delivered:
    """Counts by plan ("": not stated) and month of service (`units.month_of`, or `NO_MONTH`).

    lines, cents : of all rows
    readable : lines of the rows that could be read
    """

    lines: Counter[Cell] = field(default_factory=Counter)
    cents: Counter[Cell] = field(default_factory=Counter)
    readable: Counter[Cell] = field(default_factory=Counter)

    def add(self, other: Delivered) -> None:
        """Add another part."""
        self.lines.update(other.lines)
        self.cents.update(other.cents)
        self.readable.update(other.readable)


@dataclass
class OffRoster:
    """Lines that could be visits, and those of them whose providers no roster names.

    visits : lines that could be visits
    lines, cents : of those off the roster, by the number of the NPI that is asked first
    """

    visits: int = 0
    lines: Counter[int] = field(default_factory=Counter)
    cents: Counter[int] = field(default_factory=Counter)

    def add(self, other: OffRoster) -> None:
        """Add another part."""
        self.visits += other.visits
        self.lines.update(other.lines)
        self.cents.update(other.cents)

    def take_away(self, other: OffRoster) -> None:
        """Take away what is a part of this."""
        self.visits -= other.visits
        _take_away(self.lines, self.cents, other.lines, other.cents)


def _take_away(
    lines: Counter[Any], cents: Counter[Any], of_lines: Counter[Any], of_cents: Counter[Any]
) -> None:
    """Take counts away, and names of which no line is left."""
    lines.subtract(of_lines)
    cents.subtract(of_cents)
    for name in [name for name, n in lines.items() if not n]:
        del lines[name]
        cents.pop(name, None)


@dataclass
class Denials:
    """What the denial flag says of the lines of one data source.

    denied : lines and positive cents that it denies
    turned_round : lines and positive cents that it would deny if each stated mark meant the other
    """

    lines: int = 0
    positive_cents: int = 0
    denied: tuple[int, int] = (0, 0)
    turned_round: tuple[int, int] = (0, 0)

    def add(self, other: Denials) -> None:
        """Add another part of the same source and table."""
        self.lines += other.lines
        self.positive_cents += other.positive_cents
        self.denied = _sum(self.denied, other.denied)
        self.turned_round = _sum(self.turned_round, other.turned_round)


NO_DAYS: Final = (2**31 - 1, NO_DAY)


def first_and_last(days: NDArray[np.int32]) -> tuple[int, int]:
    """The first and the last of some days, none of which is blank."""
    return int(days.min(initial=NO_DAYS[0])), int(days.max(initial=NO_DAYS[1]))


def _both(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return min(one[0], other[0]), max(one[1], other[1])


def _sum(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]


@dataclass
class Tally:
    """What one file was found to hold in the first pass; sums of parts add up.

    days : first day of service, and last of service or the end of a claim, of lines that were paid
        then or later; or of enrolment as it is stated; `NO_DAYS` of none
    unpaid_days : those of lines without a day of payment
    denials : by data source
    snapshots : of enrolment, the latest snapshot of each data source that has any
    """

    rows: int = 0
    paid_cents: int = 0
    blank_amounts: int = 0
    sub_cents: int = 0
    days: tuple[int, int] = NO_DAYS
    unpaid_days: tuple[int, int] = NO_DAYS
    claim_hashes: list[tuple[NDArray[np.uint64], NDArray[np.int64]]] = field(default_factory=list)
    denials: dict[str, Denials] = field(default_factory=dict)
    snapshots: dict[str, int] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)
    findings: Findings = field(default_factory=Findings)

    def add(self, other: Tally) -> None:
        """Add another part of the same file or table."""
        self.rows += other.rows
        self.paid_cents += other.paid_cents
        self.blank_amounts += other.blank_amounts
        self.sub_cents += other.sub_cents
        self.days = _both(self.days, other.days)
        self.unpaid_days = _both(self.unpaid_days, other.unpaid_days)
        self.claim_hashes += other.claim_hashes
        for source, denials in other.denials.items():
            self.denials.setdefault(source, Denials()).add(denials)
        for source, day in other.snapshots.items():
            self.snapshots[source] = max(day, self.snapshots.get(source, day))
        self.notes += other.notes
        self.findings.add(other.findings)

    def see_claims(self, claim_hash: NDArray[np.uint64]) -> None:
        """Keep the claims of rows just read, rows of a claim once where they follow each other."""
        stated = claim_hash[claim_hash != 0] if not claim_hash.all() else claim_hash
        if not len(stated):
            return
        fresh = np.empty(len(stated), bool)
        fresh[0] = True
        np.not_equal(stated[1:], stated[:-1], out=fresh[1:])
        claims = stated[fresh]
        order, starts = row_order(claims >> _RANGE_SHIFT, _CLAIM_RANGES)
        self.claim_hashes.append((row_pick(claims, None, order), starts))

    def distinct_claims(self) -> int:
        """How many different claim ids stand in the rows read."""
        found = 0
        for start in range(_CLAIM_RANGES if self.claim_hashes else 0):
            pieces = [
                claims[starts[start] : starts[start + 1]] for claims, starts in self.claim_hashes
            ]
            found += distinct_count(np.concatenate(pieces))
        return found
