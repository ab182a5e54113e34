"""What is noticed of data and moves no dollar by itself, and the gates that ask before going on.

    Noticed -> judge -> rows of `DATA_QUALITY` -> refuse, unless accepted with a reason

Decides: the name, meaning and gate of every finding, where a gate judges, from which threshold and
size, how a threshold is set and a gate accepted, and the table in which findings are kept. A gate
more is one of `GATES`, with a finding that names it, noticed where its `Stage` says. Not here: what
is counted (`ingest`, `measure`).

A share says little of few rows: gates by share judge from 1,000 rows on. Below, the same finding is
told and kept, and the work goes on.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeVar

import pyarrow as pa

from ihp_compute.errors import AcceptanceError, GateError
from ihp_compute.table_schema import Column, TableSchema
from ihp_compute.units import dollars

INGEST: Final = "ingest"
RUN: Final = "run"
_A: Final = {INGEST: "an ingest", RUN: "a run"}
_Row = TypeVar("_Row", bound=Mapping[str, Any])
_MANY: Final = 1_000
_SHOWN: Final = 10
_IN_A_LINE: Final = 3


class Stage(Enum):
    """Where a gate judges, and of which work that is."""

    READ = INGEST, "once every row is read"
    PLAN = RUN, "before a claim is read"
    SETTLED = RUN, "once partnerships are settled, before anything is written"

    @property
    def work(self) -> str:
        """`INGEST` or `RUN`."""
        return self.value[0]


@dataclass(frozen=True)
class Gate:
    """A threshold beyond which a finding must be accepted, with a reason, before work goes on.

    Attributes
    ----------
    name : str
    judges : str
        The share that it compares, in a line.
    threshold : float
        Unless another is set.
    least : int
        Rows, or what else `judges` names, from which it judges.
    trips : callable
        Whether a share, given first, trips a threshold.
    whole_from : int
        Rows from which it judges where the share is 1; 0 as for others.
    stage : Stage
        Where it judges.
    """

    name: str
    judges: str
    threshold: float
    least: int = _MANY
    trips: Callable[[float, float], bool] = operator.gt
    whole_from: int = 0
    stage: Stage = Stage.READ


GATES: Final[Mapping[str, Gate]] = {
    gate.name: gate
    for gate in (
        Gate(
            "unreadable_rows",
            "share of a table's rows that cannot be read; from 2 rows where none can",
            0.5,
            whole_from=2,
        ),
        Gate("duplicate_rows", "share of a table's rows that repeat another", 0.5),
        Gate("superseded_lines", "share of a claim table's lines that a later one replaces", 0.5),
        Gate(
            "missing_claim_table",
            "1 where a claim table is missing or empty; from 1,000 claim lines in all",
            0.0,
        ),
        Gate(
            "roster_without_claims",
            "share of the roster's providers that no claim names; from 1,000 claim lines",
            1.0,
            trips=operator.ge,
        ),
        Gate(
            "thin_month",
            "lines of a month over those of the lesser of its neighbours; from 1,000 a month",
            1 / 3,
            trips=operator.lt,
        ),
        Gate(
            "score_unmatched",
            "share of risk scores whose member is not enrolled; from 1,000 scores",
            0.2,
        ),
        Gate(
            "denied_dollars",
            "share of positive dollars of a source and table that the denial flag denies",
            0.1,
        ),
        Gate("control_totals", "difference to a control total, over it", 0.0, least=0),
        Gate(
            "inconsistent",
            "1 where a contract's terms of base and performance year differ",
            0.0,
            least=0,
            stage=Stage.PLAN,
        ),
        Gate(
            "quality_id_unmatched",
            "share of ids with a quality score that match no partnership; from 10 ids",
            0.2,
            least=10,
            stage=Stage.PLAN,
        ),
        Gate(
            "immature",
            "1 where a performance year that is not complete settles as if it were",
            0.0,
            least=0,
            stage=Stage.PLAN,
        ),
        Gate(
            "unscored_months",
            "share of a partnership's member months of a year whose risk score is filled; from "
            "1,000 months; its threshold is the term risk.most_missing",
            0.5,
            stage=Stage.SETTLED,
        ),
    )
}
"""Every gate, by name."""


def gates_of(work: str) -> Mapping[str, Gate]:
    """The gates that judge an `INGEST` or a `RUN`, by name."""
    return {name: gate for name, gate in GATES.items() if gate.stage.work == work}


@dataclass(frozen=True)
class Finding:
    """A kind of thing that is noticed.

    Attributes
    ----------
    name : str
    meaning : str
        In a line; stands on the screen before what it was noticed of.
    gate : str
        The gate that judges its share, or "".
    is_absence : bool
        Whether something is missing: a report says so on its first page.
    counts : str
        What its number of lines is a number of.
    """

    name: str
    meaning: str
    gate: str = ""
    is_absence: bool = False
    counts: str = "lines"


FINDINGS: Final[Mapping[str, Finding]] = {
    finding.name: finding
    for finding in (
        Finding("control_total", "differs from its control total", "control_totals"),
        Finding(
            "missing_claim_table",
            "claim table missing or empty",
            "missing_claim_table",
            is_absence=True,
        ),
        Finding("missing_roster", "no roster: no partnership has providers", is_absence=True),
        Finding(
            "unreadable_rows",
            "rows that cannot be read, put aside",
            "unreadable_rows",
            is_absence=True,
        ),
        Finding("unreadable_reason", "rows that cannot be read, by reason"),
        Finding("duplicate_rows", "rows that repeat another", "duplicate_rows"),
        Finding("superseded_lines", "lines that a later one replaces", "superseded_lines"),
        Finding("denied_dollars", "denied by the denial flag", "denied_dollars"),
        Finding(
            "roster_without_claims", "roster's providers without a claim", "roster_without_claims"
        ),
        Finding("roster_npi_without_claims", "roster's NPI that no claim names"),
        Finding(
            "visits_off_roster",
            "lines that could be visits, of providers whom no roster names",
        ),
        Finding("npi_off_roster", "their NPIs, those with most dollars"),
        Finding("plan_without_eligibility", "plans of claims that no eligibility names"),
        Finding("thin_month", "month of few lines beside its neighbours", "thin_month"),
        Finding("months_without_claims", "months without claims", is_absence=True),
        Finding("file_left_out", "file left out"),
        Finding("column_left_out", "column left out"),
        Finding("blank_amount", "blank amounts, read as 0", is_absence=True),
        Finding("sub_cent_amount", "amounts finer than a cent, rounded"),
        Finding("equal_rows", "rows equal in all that has meaning"),
        Finding("later_amounts", "later amounts of a line, nothing else said"),
        Finding("unpaired_negatives", "negatives that reverse nothing: money moved"),
        Finding("links_across_payers", "links to a claim of another source, payer or plan"),
        Finding("links_to_nothing", "links to a claim that is not here"),
        Finding("not_understood", "codes not understood, by kind of value"),
        Finding("not_a_date", "dates that cannot be read"),
        Finding("day_or_month_first", "dates of which nothing settles the order of day and month"),
        Finding("date_out_of_range", "dates before 1850 or after 2099, read as none"),
        Finding("not_an_amount", "amounts that cannot be read: their dollars are not known"),
        Finding("status_and_denial_differ", "status of denied and denial flag differ"),
        Finding(
            "score_unmatched",
            "risk scores of members without enrolment, left out",
            "score_unmatched",
            is_absence=True,
        ),
        Finding("end_before_start", "ends before it starts"),
        Finding("before_admission", "discharged before admitted"),
        Finding("before_birth", "before birth"),
        Finding(
            "served_outside_eligibility", "served outside eligibility, kept by its claim's dates"
        ),
        Finding("paid_after_last_day", "paid after the last day that counts"),
        Finding("total_line", "money on a total line that its claim's other lines come to"),
        Finding("money_on_total_line", "other money on a total line"),
        Finding("months_named_differently", "member months of which rows say two things"),
        Finding("numbers_that_start_anew", "claim numbers that start anew: claims of their own"),
        Finding(
            "inconsistent_terms",
            "terms of base and performance year differ, both years measured by the latter's",
            "inconsistent",
        ),
        Finding(
            "quality_id_unmatched",
            "ids with a quality score that match no partnership of the roster",
            "quality_id_unmatched",
            is_absence=True,
            counts="ids",
        ),
        Finding(
            "quality_filled",
            "quality score missing and filled as the contract says; dollars: what that moves",
            is_absence=True,
            counts="partnership",
        ),
        Finding(
            "unscored_months",
            "member months without a risk score, filled; dollars: what that moves in the target",
            "unscored_months",
            is_absence=True,
            counts="member months",
        ),
        Finding(
            "unpaid_encounters",
            "encounters without a payment; dollars: allowed",
            is_absence=True,
            counts="lines",
        ),
        Finding(
            "plan_not_stated",
            "member months in managed care that name no plan; dollars: their part of the payment",
            is_absence=True,
            counts="member months",
        ),
        Finding(
            "partnership_without_members",
            "partnerships without a member in a year; dollars: the target",
            is_absence=True,
            counts="partnership",
        ),
        Finding(
            "cells_without_members",
            "rate cells of a contract in which nobody has a month",
            counts="rate cells",
        ),
        Finding(
            "cells_not_listed",
            "member months in rate cells that a contract does not list; dollars: their cost",
            counts="member months",
        ),
        Finding(
            "unattributed",
            "eligible people whom no visit on the roster attributes; dollars: their cost",
            counts="people",
        ),
        Finding(
            "immature_year",
            "claims of the performance year still to come, and nothing done about them",
            "immature",
        ),
    )
}
"""Every finding, by name, in the order in which they are shown."""

DATA_QUALITY: Final = TableSchema(
    "data_quality",
    "what was noticed of the input and of a run, and what of it was accepted",
    (
        Column("source_table", pa.string(), "input table; empty: the whole input, or a run"),
        Column("file", pa.string(), "file in the input folder; empty: all of the table"),
        Column("column_name", pa.string(), "column; empty: the row as a whole"),
        Column("finding", pa.string(), "what was noticed"),
        Column("lines", pa.int64(), "rows of which it holds; of control totals read less stated",
               "lines"),
        Column("paid_cents", pa.int64(), "their paid dollars; of control totals read less stated",
               "cents"),
        Column("share", pa.float64(), "what its gate judges, else its part of the table's rows",
               "ratio"),
        Column("gate", pa.string(), "gate that judges it, or empty"),
        Column("tripped", pa.bool_(), "whether it tripped the gate"),
        Column("subject", pa.string(), "reason, plan and month, reading, NPI or terms"),
        Column("accepted", pa.string(), "why it was accepted although it tripped, or empty"),
        Column("members", pa.int64(), "people of whom it holds; 0: of nobody in particular",
               "members"),
        Column("detail", pa.string(), "more of it in words, or empty"),
    ),
    keys=("source_table", "file", "column_name", "finding", "subject"),
    in_digest=False,
)  # fmt: skip


@dataclass(frozen=True)
class Noticed:
    """One thing that was noticed; the columns of `DATA_QUALITY` that no gate decides.

    size : rows, or what else the gate's share is taken of
    """

    finding: str
    source_table: str = ""
    file: str = ""
    column_name: str = ""
    subject: str = ""
    lines: int = 0
    paid_cents: int = 0
    share: float = 0.0
    size: int = 0
    members: int = 0
    detail: str = ""


@dataclass(frozen=True)
class GateTerms:
    """Thresholds that differ from the declared ones, and gates accepted with a reason, by name.

    `work` says whose gates they are: of an `INGEST` or of a `RUN`.

    Raises
    ------
    AcceptanceError
        If a gate is unknown or of other work, a reason blank or more than a line of text, or a
        threshold no number from 0.
    """

    thresholds: Mapping[str, float] = field(default_factory=dict)
    accept: Mapping[str, str] = field(default_factory=dict)
    work: str = INGEST

    def __post_init__(self) -> None:
        """Refuse what is no gate, no reason or no threshold."""
        here = gates_of(self.work)
        for name in (*self.thresholds, *self.accept):
            if name not in here:
                raise AcceptanceError(
                    f"{_no_gate(name, self.work)}; the gates of {_A[self.work]} are "
                    f"{', '.join(here)}"
                )
        for name, reason in self.accept.items():
            if not reason.strip():
                raise AcceptanceError(f"gate {name}: a reason is needed to accept it, got none")
            if not reason.isprintable():
                raise AcceptanceError(
                    f"gate {name}: a reason is one line of text, and this one holds control "
                    "characters"
                )
        for name, value in self.thresholds.items():
            if not 0 <= value < float("inf"):
                raise AcceptanceError(f"gate {name}: expected a threshold from 0, got {value}")

    def threshold(self, name: str) -> float:
        """The threshold of a gate."""
        return self.thresholds.get(name, GATES[name].threshold)

    def judge(self, noticed: Iterable[Noticed]) -> list[dict[str, Any]]:
        """What was noticed as rows of `DATA_QUALITY`, in its order, judged by the gates."""
        return _in_order(self._row(one) for one in noticed)

    def _row(self, one: Noticed) -> dict[str, Any]:
        name = FINDINGS[one.finding].gate
        tripped = bool(name) and self._trips(GATES[name], one)
        row = {column: getattr(one, column, "") for column in DATA_QUALITY.names}
        accepted = self.accept.get(name, "") if tripped else ""
        return {**row, "gate": name, "tripped": tripped, "accepted": accepted}

    def _trips(self, gate: Gate, one: Noticed) -> bool:
        least = gate.whole_from if gate.whole_from and one.share == 1 else gate.least
        return one.size >= least and gate.trips(one.share, self.threshold(gate.name))

    def refuse(
        self, rows: Iterable[Mapping[str, Any]], document: Mapping[str, Any], stage: Stage
    ) -> None:
        """Refuse rows that tripped a gate which was not accepted.

        `rows` are all that was noticed where gates of this stage judge.

        Raises
        ------
        GateError
            Naming every such gate, with its numbers; bears the `document`.
        AcceptanceError
            If a gate of this stage was accepted and did not trip.
        """
        by_gate = tripped_by_gate(rows)
        here = [name for name in self.accept if GATES[name].stage is stage]
        idle = [name for name in here if name not in by_gate]
        if idle:
            tripped = f"tripped: {', '.join(by_gate)}" if by_gate else "none tripped"
            raise AcceptanceError(
                f"accepted, and did not trip: {', '.join(idle)} ({tripped}). "
                "Accept only what trips."
            )
        open_gates = {name: found for name, found in by_gate.items() if name not in self.accept}
        if open_gates:
            raise GateError(self._refusal(open_gates), document)

    def _refusal(self, open_gates: Mapping[str, list[Mapping[str, Any]]]) -> str:
        lines = []
        for name, rows in open_gates.items():
            lines.append(
                f"  {name} ({FINDINGS[rows[0]['finding']].meaning}; threshold "
                f"{self.threshold(name):.4g}): {_first(rows)}"
            )
        accept = " ".join(f"--accept {name}=REASON" for name in open_gates)
        word = "gate" if len(lines) == 1 else "gates"
        return "\n".join(
            (
                f"{len(lines)} {word} tripped, so nothing was written:",
                *lines,
                f"Mend it, or accept what is right as it is: {accept}",
            )
        )


def _no_gate(name: str, work: str) -> str:
    if name in GATES:
        return f"gate {name!r} judges {_A[GATES[name].stage.work]}, not {_A[work]}"
    return f"no gate {name!r}"


def tripped_by_gate(rows: Iterable[_Row]) -> dict[str, list[_Row]]:
    """Rows of `DATA_QUALITY` that tripped, by the name of their gate, gates in their order."""
    by_gate: dict[str, list[_Row]] = {name: [] for name in GATES}
    for row in rows:
        if row["tripped"]:
            by_gate.setdefault(row["gate"], []).append(row)
    return {name: found for name, found in by_gate.items() if found}


def finding_of(name: str) -> Finding:
    """A finding by its name, also one that another version of this program noticed."""
    return FINDINGS.get(name) or Finding(name, name.replace("_", " "))


def accepted_lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """What tripped and was accepted, a line for each gate: where, how much, and why."""
    return [
        f"gate {name} accepted: {finding_of(found[0]['finding']).meaning}: {_first(found)}; "
        f"reason: {found[0]['accepted']}"
        for name, found in tripped_by_gate(rows).items()
    ]


def _first(rows: Sequence[Mapping[str, Any]], most: int = _SHOWN) -> str:
    shown = "; ".join(_where_and_how_much(row) for row in rows[:most])
    return f"{shown}; and {len(rows) - most:,} more" if len(rows) > most else shown


def over_files(
    rows: Iterable[Mapping[str, Any]], rows_read: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Rows of `DATA_QUALITY`, those that differ in the file alone as one, which says how many.

    `rows_read` are those of each table, which its share is then taken of.
    """
    summed: dict[tuple[Any, ...], dict[str, Any]] = {}
    files: Counter[tuple[Any, ...]] = Counter()
    for row in rows:
        key = tuple(row[name] for name in DATA_QUALITY.keys if name != "file" or not row["lines"])
        whole = summed.setdefault(key, {**row, "lines": 0, "paid_cents": 0})
        whole["lines"] += row["lines"]
        whole["paid_cents"] += row["paid_cents"]
        files[key] += 1
        if files[key] > 1:
            whole["file"] = f"({files[key]:,} files)"
            read = rows_read.get(row["source_table"], 0)
            whole["share"] = whole["lines"] / read if read else 0.0
    return list(summed.values())


def where_of(row: Mapping[str, Any]) -> str:
    """Table, file and column that a row of `DATA_QUALITY` is of."""
    # a reason of a column begins with its name
    column = "" if row["subject"].startswith(row["column_name"]) else row["column_name"]
    return " ".join(filter(None, (row["source_table"], row["file"], column)))


def _where_and_how_much(row: Mapping[str, Any]) -> str:
    counts = finding_of(row["finding"]).counts
    numbers = [f"{row['lines']:,} {counts}"] if row["lines"] else []
    if row["paid_cents"]:
        numbers.append(dollars(row["paid_cents"]))
    if row["lines"] and row["share"]:
        numbers.append(f"{row['share']:.1%}")
    where, subject, detail = where_of(row), row["subject"], row.get("detail", "")
    said = ": ".join(filter(None, (where or subject, ", ".join(filter(None, (*numbers, detail))))))
    return f"{said} ({subject})" if where and subject else said


def noticed_lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """What was noticed and tripped nothing, a line for each finding: how much in all, and where."""
    by_finding: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if not row["tripped"]:
            by_finding.setdefault(row["finding"], []).append(row)
    lines = []
    for name in sorted(by_finding, key=list(FINDINGS).index):
        found = sorted(by_finding[name], key=lambda row: -abs(row["paid_cents"]))
        cents = sum(row["paid_cents"] for row in found)
        whole = [f"{sum(row['lines'] for row in found):,} {FINDINGS[name].counts}"]
        if cents:
            whole.append(dollars(cents))
        in_all = f"{', '.join(whole)} in all; " if len(found) > 1 else ""
        lines.append(f"{FINDINGS[name].meaning}: {in_all}{_first(found, _IN_A_LINE)}")
    return lines


def table_of(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table of schema `DATA_QUALITY.arrow`, in the order of its keys."""
    return pa.Table.from_pylist(_in_order(rows), schema=DATA_QUALITY.arrow)


def _in_order(rows: Iterable[_Row]) -> list[_Row]:
    return sorted(rows, key=lambda row: [row[key] for key in DATA_QUALITY.keys])
