"""What is noticed of data and moves no dollar by itself, and the gates that ask before going on.

Decides: the name, meaning and gate of every finding, the threshold of every gate and the size from
which it judges, how a threshold is set and a gate accepted, and the table in which findings are
kept. Not here: what is counted (`ingest`).

A share says little of few rows: gates by share judge from 1,000 rows on. Below, the same finding is
told and kept, and the work goes on.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from ihp_compute.errors import AcceptanceError, GateError
from ihp_compute.table_schema import Column, TableSchema
from ihp_compute.units import dollars

_MANY: Final = 1_000
_SHOWN: Final = 10


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
    """

    name: str
    judges: str
    threshold: float
    least: int = _MANY
    trips: Callable[[float, float], bool] = operator.gt
    whole_from: int = 0


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
            "denied_dollars",
            "share of positive dollars of a source and table that the denial flag denies",
            0.1,
        ),
        Gate("control_totals", "difference to a control total, over it", 0.0, least=0),
    )
}
"""Every gate, by name."""


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
    """

    name: str
    meaning: str
    gate: str = ""


FINDINGS: Final[Mapping[str, Finding]] = {
    finding.name: finding
    for finding in (
        Finding("control_total", "differs from its control total", "control_totals"),
        Finding("missing_claim_table", "claim table missing or empty", "missing_claim_table"),
        Finding("missing_roster", "no roster: no partnership has providers"),
        Finding("unreadable_rows", "rows that cannot be read", "unreadable_rows"),
        Finding("unreadable_reason", "rows that cannot be read, by reason"),
        Finding("duplicate_rows", "rows that repeat another", "duplicate_rows"),
        Finding("superseded_lines", "lines that a later one replaces", "superseded_lines"),
        Finding("denied_dollars", "denied by the denial flag", "denied_dollars"),
        Finding(
            "roster_without_claims", "roster's providers without a claim", "roster_without_claims"
        ),
        Finding("roster_npi_without_claims", "roster's NPI that no claim names"),
        Finding("thin_month", "month of few lines beside its neighbours", "thin_month"),
        Finding("months_without_claims", "months without claims"),
        Finding("file_left_out", "file left out"),
        Finding("column_left_out", "column left out"),
        Finding("blank_amount", "blank amounts, read as 0"),
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
        Finding("end_before_start", "ends before it starts"),
        Finding("before_admission", "discharged before admitted"),
        Finding("before_birth", "before birth"),
        Finding("total_line", "money on a total line that its claim's other lines come to"),
        Finding("money_on_total_line", "other money on a total line"),
        Finding("months_named_differently", "member months of which rows say two things"),
        Finding("numbers_that_start_anew", "claim numbers that start anew: claims of their own"),
    )
}
"""Every finding, by name, in the order in which they are shown."""

DATA_QUALITY: Final = TableSchema(
    "data_quality",
    "what was noticed of the input, and what of it was accepted",
    (
        Column("source_table", pa.string(), "input table; empty: the whole input"),
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
        Column("subject", pa.string(), "reason, plan and month, reading or NPI that it is of"),
        Column("accepted", pa.string(), "why it was accepted although it tripped, or empty"),
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


@dataclass(frozen=True)
class GateTerms:
    """Thresholds that differ from the declared ones, and gates accepted with a reason, by name.

    Raises
    ------
    AcceptanceError
        If a name is no gate's, a reason is empty, or a threshold is negative or no number.
    """

    thresholds: Mapping[str, float] = field(default_factory=dict)
    accept: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what is no gate, no reason or no threshold."""
        for name in (*self.thresholds, *self.accept):
            if name not in GATES:
                raise AcceptanceError(f"no gate {name!r}; the gates are {', '.join(GATES)}")
        for name, reason in self.accept.items():
            if not reason.strip():
                raise AcceptanceError(f"gate {name}: a reason is needed to accept it, got none")
        for name, value in self.thresholds.items():
            if not 0 <= value < float("inf"):
                raise AcceptanceError(f"gate {name}: expected a threshold from 0, got {value}")

    def threshold(self, name: str) -> float:
        """The threshold of a gate."""
        return self.thresholds.get(name, GATES[name].threshold)

    def judge(self, noticed: Iterable[Noticed]) -> list[dict[str, Any]]:
        """What was noticed as rows of `DATA_QUALITY`, in its order, judged by the gates."""
        rows = [self._row(one) for one in noticed]
        return sorted(rows, key=lambda row: [row[key] for key in DATA_QUALITY.keys])

    def _row(self, one: Noticed) -> dict[str, Any]:
        name = FINDINGS[one.finding].gate
        tripped = bool(name) and self._trips(GATES[name], one)
        row = {column: getattr(one, column, "") for column in DATA_QUALITY.names}
        accepted = self.accept.get(name, "") if tripped else ""
        return {**row, "gate": name, "tripped": tripped, "accepted": accepted}

    def _trips(self, gate: Gate, one: Noticed) -> bool:
        least = gate.whole_from if gate.whole_from and one.share == 1 else gate.least
        return one.size >= least and gate.trips(one.share, self.threshold(gate.name))

    def refuse(self, rows: Iterable[Mapping[str, Any]], document: Mapping[str, Any]) -> None:
        """Refuse rows that tripped a gate which was not accepted.

        Raises
        ------
        GateError
            Naming every such gate, with its numbers; bears the `document`.
        AcceptanceError
            If a gate was accepted and did not trip.
        """
        by_gate: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            if row["tripped"]:
                by_gate.setdefault(row["gate"], []).append(row)
        idle = [name for name in self.accept if name not in by_gate]
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
            shown = "; ".join(_where_and_how_much(row) for row in rows[:_SHOWN])
            more = f"; and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else ""
            lines.append(
                f"  {name} ({FINDINGS[rows[0]['finding']].meaning}; threshold "
                f"{self.threshold(name):.4g}): {shown}{more}"
            )
        accept = " ".join(f"--accept {name}=REASON" for name in open_gates)
        word = "gate" if len(lines) == 1 else "gates"
        return "\n".join(
            (
                f"{len(lines)} {word} tripped, so nothing was written:",
                *lines,
                f"Mend the input, or accept what is right as it is: {accept}",
            )
        )


def where_of(row: Mapping[str, Any]) -> str:
    """Table, file and column that a row of `DATA_QUALITY` is of."""
    # a reason of a column begins with its name
    column = "" if row["subject"].startswith(row["column_name"]) else row["column_name"]
    return " ".join(filter(None, (row["source_table"], row["file"], column)))


def _where_and_how_much(row: Mapping[str, Any]) -> str:
    numbers = [f"{row['lines']:,} lines"] if row["lines"] else []
    if row["paid_cents"]:
        numbers.append(dollars(row["paid_cents"]))
    if row["lines"] and row["share"]:
        numbers.append(f"{row['share']:.1%}")
    how_much = f": {', '.join(numbers)}" if numbers else ""
    subject = f" ({row['subject']})" if row["subject"] else ""
    return f"{where_of(row)}{how_much}{subject}"


def table_of(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table of schema `DATA_QUALITY.arrow`."""
    return pa.Table.from_pylist(list(rows), schema=DATA_QUALITY.arrow)
