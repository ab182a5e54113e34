"""What is planted among the clean claims: histories of claims, damage, and what becomes of each.

    a clean claim -> rows that tell its history -> the fate of each row

One table, `PLANTED`, says of each kind how often it befalls the claims that it may befall, what is
written, and which fate every row must meet. A history either takes the clean claim for what stands
at its end (`clean`), so that dollars of a member-year stay what they were, or happens to a copy of
it under a number of its own, of which nothing stands. Money that is taken back has been paid on top
before. Kinds exclude each other on a claim.

A state can be cut at a day of payment. A row then meets the fate that it has while what changes it
is not there yet (`Version.until`).

Imports nothing that it tests: the fates are those that the programme's rules give by hand. Not
here: which claims are drawn (`planting`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from ihp_compute.ledger import IngestFate
from ihp_compute.synth.columns import Ints

LETTERS: Final = "CVWYLNZDUOX"
"""First letter of a claim's number: the clean claim, a copy that is voided, later numbers of it
(W, Y), an earlier one (L), never billed (N), never here (Z), denied, of a stranger, outside
eligibility, unreadable."""
ADJUSTMENT_LETTER: Final = "A"
"""Of the number that a stated adjustment bears as such; no claim has it."""
MARKS: Final = ("0", "1", "2", "3", "4", "5", "6")
"""Adjustment indicators: original, void, resubmittal, credit, replacement, gross credit, debit."""
FREQUENCIES: Final = ("1", "7", "8")
"""Last digits of a bill type: original, replacement, void."""
SPELLINGS: Final = ("{}", "0{}", "{}.0")
"""Of a line's number."""
FILLERS: Final = (
    "~", "0000000000000", "8888888888888", "9999999999999", "NA", "N/A", "NULL", "NONE",
)  # fmt: skip
"""What submitters write into a number that links where there is none."""
LEAST_CENTS: Final = 100
"""Lines of claims that a history befalls are paid at least so much, so that none of its amounts is
another by chance."""
_MOVED: Final = 1_999
_MORE: Final = 50

Scope = Literal[
    "any",
    "paid",
    "several",
    "institutional",
    "apart",
    "no stay",
    "stay",
    "line",
    "member",
    "away",
    "drawn",
]
"""What a kind may befall: any claim; one whose lines are all paid; of these one of several lines,
an institutional one, one whose visits count for nobody, no stay; a stay; a line; a member with all
claims; a claim of a member with a month without enrolment; claims that are drawn for it, visits
elsewhere (`decoys`)."""
What = Literal["lines", "first", "rest", "next", "header"]
"""Rows of a version: all lines; the first; all but it; one more, after the last; one of line 0 or
none, with the sum."""
Dates = Literal["", "start", "end"]


def same(cents: Ints) -> Ints:
    """What was paid."""
    return cents


def dearer(cents: Ints) -> Ints:
    """More of every line than is ever taken back, so that no other sum of the claim is its sum."""
    return cents + _MOVED + 1


def cheaper(cents: Ints) -> Ints:
    """Three quarters."""
    return cents - cents // 4


def third(cents: Ints) -> Ints:
    """A third."""
    return cents // 3


def two_thirds(cents: Ints) -> Ints:
    """What a third leaves."""
    return cents - cents // 3


def nothing(cents: Ints) -> Ints:
    """No amount."""
    return cents * 0


def reversed_(amount: Callable[[Ints], Ints]) -> Callable[[Ints], Ints]:
    """An amount taken back."""
    return lambda cents: -amount(cents)


def flat(cents: int) -> Callable[[Ints], Ints]:
    """The same amount whatever was paid."""
    return lambda paid: paid * 0 + cents


@dataclass(frozen=True)
class Version:
    """Rows of one step of a history, each the clean line behind it with other marks.

    fate : what becomes of them
    until : what they are before rows that change it are paid: (fate, days of payment of those),
        the earlier first
    days : of payment, after that of the clean claim
    amount : paid cents, of those of the clean lines
    first_cents : more on the first line
    mark : adjustment indicator; "" not stated
    bears, names : first letter of the number that they bear, and that they name; an indicator of
        void or replacement names its own where nothing else is said
    frequency : last digit of the bill type; "1" as it is
    spelling : position in `SPELLINGS`
    is_renumbered : lines are numbered on from the last of the clean claim
    other_plan : of another plan than the clean claim
    later_file : delivered again, in a later file
    dates : which date of a stay is stated; "" both
    """

    fate: IngestFate
    until: tuple[tuple[IngestFate, int], ...] = ()
    what: What = "lines"
    days: int = 0
    amount: Callable[[Ints], Ints] = same
    first_cents: int = 0
    mark: str = "0"
    bears: str = "C"
    names: str = ""
    frequency: str = "1"
    spelling: int = 0
    is_renumbered: bool = False
    other_plan: bool = False
    later_file: bool = False
    is_denied: bool = False
    is_stranger: bool = False
    dates: Dates = ""

    @property
    def is_adjustment(self) -> bool:
        """Whether its indicator says that it voids or replaces."""
        return self.mark in ("1", "2", "4")


@dataclass(frozen=True)
class Kind:
    """A kind of history or damage.

    share : of the claims, lines or members that it may befall
    scope : which these are
    meaning : what is written and what stands
    clean : marks of the clean claim, where it is what stands; None where it has no part in it
    planted : rows beside it
    other_reading : the option under which the superseded or duplicate rows stand too, or ""
    """

    name: str
    share: float
    scope: Scope
    meaning: str
    clean: Version | None = None
    planted: tuple[Version, ...] = ()
    other_reading: str = ""


_stands: Final = partial(Version, IngestFate.RETAINED)
_voided: Final = partial(Version, IngestFate.VOIDED)
_superseded: Final = partial(Version, IngestFate.SUPERSEDED, until=((IngestFate.RETAINED, 0),))


def _stood(days: int) -> tuple[tuple[IngestFate, int], ...]:
    """It stands until rows of so many days after the clean claim come."""
    return ((IngestFate.RETAINED, days),)


_takes_back: Final = partial(_stands, what="first", amount=flat(-_MOVED))
_UNDEARER: Final = reversed_(dearer)
_UNPAID: Final = reversed_(same)

PLANTED: Final = (
    # replacements
    Kind(
        "replaced", 0.002, "paid",
        "the same lines replaced (4): the later version stands",
        clean=_stands(mark="4"),
        planted=(_superseded(days=-10, amount=cheaper),),
    ),
    Kind(
        "replaced_with_fewer_lines", 0.0005, "paid",
        "replaced (4) by fewer lines: nothing of the earlier version stands",
        clean=_stands(mark="4"),
        planted=(
            _superseded(days=-10, amount=dearer),
            _superseded(what="next", days=-10, amount=dearer),
        ),
    ),
    Kind(
        "replaced_renumbered", 0.003, "paid",
        "replaced (4) by lines of other numbers: nothing of the earlier version stands",
        clean=_stands(mark="4"),
        planted=(_superseded(days=-10, amount=dearer, is_renumbered=True),),
    ),
    Kind(
        "replaced_by_another_number", 0.0005, "paid",
        "replaced (4) under another number, which names it",
        clean=_stands(mark="4", names="L"),
        planted=(_superseded(days=-12, bears="L"),),
    ),
    Kind(
        "replaced_across_plans", 0.0002, "paid",
        "replaced (4) under another number and plan, which names it: a stated link crosses plans",
        clean=_stands(mark="4", names="L"),
        planted=(_superseded(days=-12, bears="L", other_plan=True),),
    ),
    Kind(
        "absent_replaced_twice", 0.0002, "paid",
        "two replacements (4) that name one claim which is not here: the later one stands",
        clean=_stands(mark="4", names="Z"),
        planted=(_superseded(days=-10, amount=cheaper, mark="4", bears="W", names="Z"),),
    ),
    Kind(
        "replaced_by_bill_type", 0.002, "institutional",
        "replaced by bill type (frequency 7), lines renumbered, no indicator",
        clean=_stands(mark="", frequency="7"),
        planted=(_superseded(days=-10, amount=dearer, mark="", is_renumbered=True),),
    ),
    Kind(
        "restated", 0.0005, "paid",
        "a later amount of the same lines, nothing else said: the later one stands",
        clean=_stands(),
        planted=(_superseded(days=-10, amount=cheaper),),
        other_reading="later_amounts=additional",
    ),
    Kind(
        "restated_in_another_spelling", 0.0005, "paid",
        "likewise, lines numbered 1 and then 01",
        clean=_stands(spelling=1),
        planted=(_superseded(days=-10, amount=cheaper),),
        other_reading="later_amounts=additional",
    ),
    Kind(
        "restated_in_a_decimal_spelling", 0.0005, "paid",
        "likewise, lines numbered 1 and then 1.0",
        clean=_stands(spelling=2),
        planted=(_superseded(days=-10, amount=cheaper),),
        other_reading="later_amounts=additional",
    ),
    # voids
    Kind(
        "voided", 0.0005, "paid",
        "voided (1) line by line: nothing stands",
        planted=(
            _voided(until=_stood(20), bears="V"),
            _voided(bears="V", days=20, amount=_UNPAID, mark="1"),
        ),
    ),
    Kind(
        "reversed", 0.0005, "paid",
        "reversed by its amounts alone, no indicator: nothing stands",
        planted=(
            _voided(until=_stood(20), bears="V"),
            _voided(bears="V", days=20, amount=_UNPAID, mark=""),
        ),
    ),
    Kind(
        "voided_by_header", 0.0005, "paid",
        "voided (1) by one row of no line, with the sum: nothing stands",
        planted=(
            _voided(until=_stood(20), bears="V"),
            _voided(what="header", bears="V", days=20, amount=_UNPAID, mark="1"),
        ),
    ),
    Kind(
        "voided_by_bill_type", 0.001, "institutional",
        "voided by one row of bill type (frequency 8), no indicator: nothing stands",
        planted=(
            _voided(until=_stood(20), bears="V", mark=""),
            _voided(what="header", bears="V", days=20, amount=_UNPAID, mark="", frequency="8"),
        ),
    ),
    Kind(
        "voided_with_unmarked_negatives", 0.0005, "several",
        "one line voided (1), other negatives of the same paid day unmarked: they belong to it",
        planted=(
            _voided(until=_stood(20), bears="V"),
            _voided(what="first", bears="V", days=20, amount=_UNPAID, mark="1"),
            _voided(what="rest", bears="V", days=20, amount=reversed_(third), mark=""),
        ),
    ),
    Kind(
        "voided_then_replaced", 0.0005, "paid",
        "voided (1), a week later replaced (4): the replacement stands",
        clean=_stands(mark="4"),
        planted=(
            _voided(until=_stood(-7), days=-13, amount=dearer),
            _voided(days=-7, amount=_UNDEARER, mark="1"),
        ),
    ),
    Kind(
        "voided_and_billed_on_one_day", 0.0003, "paid",
        "voided (1) and billed anew (0) on one paid day: the new bill stands",
        clean=_stands(),
        planted=(
            _voided(until=_stood(0), days=-10, amount=dearer),
            _voided(amount=_UNDEARER, mark="1"),
        ),
    ),
    Kind(
        "voided_and_replaced_on_one_day", 0.0003, "paid",
        "voided (1) and replaced (4) on one paid day: the replacement stands",
        clean=_stands(mark="4"),
        planted=(
            _voided(until=_stood(0), days=-10, amount=dearer),
            _voided(amount=_UNDEARER, mark="1"),
        ),
    ),
    Kind(
        "voided_without_amount_on_one_day", 0.0002, "paid",
        "voided (1) by a row without an amount and replaced (4) on one day: the latter stands",
        clean=_stands(mark="4"),
        planted=(
            _voided(until=_stood(0), days=-10, amount=dearer),
            _voided(what="header", amount=nothing, mark="1"),
        ),
    ),
    Kind(
        "all_on_one_day", 0.0002, "paid",
        "billed, voided (1) and billed anew on one paid day: the new bill stands",
        clean=_stands(),
        planted=(
            _voided(amount=dearer),
            _voided(amount=_UNDEARER, mark="1"),
        ),
    ),
    Kind(
        "void_of_what_was_replaced", 0.0002, "paid",
        "replaced (4), then a void (1) with the amount of the earlier version: no money moves",
        clean=_stands(mark="4"),
        planted=(
            _voided(
                until=(*_stood(0), (IngestFate.SUPERSEDED, 20)), days=-12, amount=dearer
            ),
            _voided(days=20, amount=_UNDEARER, mark="1"),
        ),
    ),
    Kind(
        "void_that_names_the_first", 0.0002, "paid",
        "replaced (4) under another number, then a void (1) of the replacement's amount that names"
        " the first claim: nothing stands",
        planted=(
            _superseded(until=_stood(10), bears="V"),
            _voided(until=_stood(20), bears="W", names="V", days=10, amount=dearer, mark="4"),
            _voided(bears="Y", names="V", days=20, amount=_UNDEARER, mark="1"),
        ),
    ),
    Kind(
        "orphan_void", 0.0003, "paid",
        "a void (1) of a claim that is not here: no cost",
        planted=(
            Version(IngestFate.ORPHAN_VOID, bears="N", amount=_UNPAID, mark="1"),
        ),
    ),
    Kind(
        "orphan_void_by_bill_type", 0.001, "institutional",
        "a void by bill type (frequency 8) of a claim that is not here, its amount positive: no"
        " cost",
        planted=(
            Version(IngestFate.ORPHAN_VOID, bears="N", mark="", frequency="8"),
        ),
    ),
    # money moved
    Kind(
        "taken_back", 0.002, "no stay",
        "part of a line taken back, no indicator (0): both rows stand",
        clean=_stands(first_cents=_MOVED),
        planted=(_takes_back(days=30),),
    ),
    Kind(
        "taken_back_before_replacement", 0.0003, "no stay",
        "part taken back, then replaced (4): the replacement stands, and so does what was taken",
        clean=_stands(mark="4", first_cents=_MOVED),
        planted=(
            _superseded(days=-20, amount=dearer),
            _takes_back(days=-10),
        ),
    ),
    Kind(
        "credit", 0.0003, "no stay",
        "a credit (3) under the claim's number: money moved, and the claim stands",
        clean=_stands(first_cents=_MOVED),
        planted=(_takes_back(days=30, mark="3"),),
    ),
    Kind(
        "gross_credit", 0.0003, "no stay",
        "a gross credit (5) under the claim's number: money moved, and the claim stands",
        clean=_stands(first_cents=_MOVED),
        planted=(_takes_back(days=30, mark="5"),),
    ),
    Kind(
        "gross_debit", 0.0003, "no stay",
        "a gross debit (6) under the claim's number: money moved, and the claim stands",
        clean=_stands(first_cents=-_MORE),
        planted=(_stands(what="first", amount=flat(_MORE), days=30, mark="6"),),
    ),
    # what a claim is
    Kind(
        "one_number_of_two_plans", 0.0005, "apart",
        "two plans that use one number for claims of one member: both stand",
        clean=_stands(amount=two_thirds),
        planted=(_stands(days=9, amount=third, other_plan=True),),
    ),
    Kind(
        "number_of_two_years", 0.001, "paid",
        "a number that starts anew in the next year: both claims stand",
        clean=_stands(),
    ),
    Kind(
        "number_of_two_years_replaced", 0.0005, "paid",
        "likewise, the claim of the second year replaced (4): that of the first stands",
        clean=_stands(mark="4"),
        planted=(_superseded(days=-10, amount=dearer),),
    ),
    Kind(
        "fillers", 0.01, "member",
        "all claims of a member without another history name a filler: they have no link",
    ),
    # how rows came
    Kind(
        "duplicate", 0.0015, "line",
        "a line of a claim without another history twice, equal in every column: one stands",
        planted=(Version(IngestFate.DUPLICATE),),
        other_reading="equal_rows=billed",
    ),
    Kind(
        "delivered_twice", 0.0005, "paid",
        "rows that differ in the file's day alone: one of each stands",
        clean=_stands(),
        planted=(Version(IngestFate.DUPLICATE, later_file=True),),
    ),
    Kind(
        "stay_without_end", 0.02, "stay",
        "a stay of which only the start is stated",
        clean=_stands(dates="start"),
    ),
    Kind(
        "stay_without_start", 0.02, "stay",
        "a stay of which only the end is stated",
        clean=_stands(dates="end"),
    ),
    # visits that are none
    Kind(
        "visit_voided", 1.0, "drawn",
        "a visit at another partnership's, voided (1): nothing stands, and it attributes nobody",
        clean=_voided(until=_stood(20), bears="V"),
        planted=(_voided(bears="V", days=20, amount=_UNPAID, mark="1"),),
    ),
    Kind(
        "visit_denied", 1.0, "drawn",
        "a visit at another partnership's, denied: it attributes nobody",
        clean=Version(IngestFate.DENIED, amount=nothing, bears="D", is_denied=True),
    ),
    # other fates
    Kind(
        "denied", 0.008, "any",
        "a claim paid nothing, flagged as denied",
        planted=(Version(IngestFate.DENIED, amount=nothing, bears="D", is_denied=True),),
    ),
    Kind(
        "unknown_member", 0.0005, "any",
        "a claim of somebody without eligibility",
        planted=(Version(IngestFate.UNKNOWN_MEMBER, bears="U", is_stranger=True),),
    ),
    Kind(
        "outside_eligibility", 0.004, "away",
        "a claim in a month without enrolment; the share is of all claims",
        planted=(Version(IngestFate.OUTSIDE_ELIGIBILITY, bears="O"),),
    ),
    Kind(
        "unreadable", 0.0001, "any",
        "a first line whose date or amount is no date or amount (text; a file of its own)",
        planted=(Version(IngestFate.UNREADABLE, what="first", bears="X"),),
    ),
)  # fmt: skip
PLACE: Final = {kind.name: place for place, kind in enumerate(PLANTED)}
