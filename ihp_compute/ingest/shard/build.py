"""One shard's rows from every file, made into population tables.

    enrolment rows -> members, one span per member-month    `members`
    claim rows     -> what their histories leave standing   `histories`
                   -> fates                                 `fates`
                   -> retained lines                        `lines`
                   -> diagnoses                             `diagnoses`
                   -> visits, stays, emergency, drugs       `derived`

All rows of a member are here. Where rows compete, content decides (dates, then hashes of all that
a row says), never file or position, so that the result does not depend on how the input was ordered
or split. Left to this file: the shard's share of the ledger, and the rows put aside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.errors import DataError
from ihp_compute.ingest.findings import Findings, OffRoster
from ihp_compute.ingest.handover import Rules, ShardContent
from ihp_compute.ingest.shard.derived import (
    drugs,
    emergency,
    off_roster,
    possible_visits,
    scores,
    stays,
    visits,
)
from ihp_compute.ingest.shard.diagnoses import diagnoses
from ihp_compute.ingest.shard.fates import claim_row_fates
from ihp_compute.ingest.shard.histories import read_histories
from ihp_compute.ingest.shard.lines import MAX_MEMBERS, Sorted, lines_of, sort_out
from ihp_compute.ingest.shard.members import members_of
from ihp_compute.ingest.shard.plausible import tell_retained, tell_undiagnosed
from ihp_compute.ingest.shard.record import recorded, recorded_scores
from ihp_compute.ingest.shard.rows import Lines, Members, ShardRows
from ihp_compute.ingest.spill_layout import Scratch
from ihp_compute.ledger import LEDGER_TABLES, IngestFate
from ihp_compute.population import payment_days, tables
from ihp_compute.units import NO_DAY


@dataclass
class Claims:
    """What a shard's claim rows come to, for members by their place.

    counts : int64[n_members] by table, the rows of each member
    rows : by table the rows that were spilled, and their fates
    line : int32 a spilled row, its place among the lines, or -1
    """

    tables: dict[str, pa.RecordBatch]
    counts: dict[str, NDArray[np.int64]]
    rows: list[tuple[str, ShardRows, NDArray[np.uint8]]]
    lines: Lines
    line: NDArray[np.int32]
    ledger: NDArray[np.int64]
    quarantine: dict[str, pa.Table]
    findings: dict[str, Findings]
    off_roster: OffRoster

    def hashes(self) -> dict[tuple[str, str], NDArray[np.uint64]]:
        """`population.text_hashes` of the texts of lines, by table and name."""
        return {
            ("line_detail", field.name): self.lines.hashes(field.name)
            for field in tables.LINE_DETAIL
            if pa.types.is_string(field.type)
        }

    def service_days(self) -> tuple[int, int] | None:
        """First and last day of enrolled members' services."""
        days = self.lines.column("service_day")[self.lines.column("served")]
        return (int(days.min()), int(days.max())) if len(days) else None


def build(
    eligibility: ShardRows,
    claims: ShardRows,
    n_medical: int,
    supplied: ShardRows,
    rules: Rules,
    n_files: int,
    scratch: Scratch,
) -> ShardContent:
    """All tables of a shard. The first `n_medical` claim rows are medical, the rest pharmacy.

    The tables stand in `scratch` until the next shard is built there.
    """
    notes: dict[str, int] = {}
    members = members_of(eligibility, rules, notes)
    built = claims_of(claims, n_medical, members, rules, n_files, scratch)
    return content_of(built, members, eligibility, supplied, rules, notes)


def claims_of(
    claims: ShardRows,
    n_medical: int,
    members: Members,
    rules: Rules,
    n_files: int,
    scratch: Scratch,
) -> Claims:
    """The tables that claim rows come to; the first `n_medical` are medical, the rest pharmacy."""
    if len(members.key) >= MAX_MEMBERS:
        raise DataError(
            f"a shard would hold {len(members.key):,} members, more than {MAX_MEMBERS:,}: "
            "ingest with more --shards"
        )
    ledger = np.zeros((len(LEDGER_TABLES), n_files, len(IngestFate), 2), np.int64)
    quarantine: dict[str, pa.Table] = {}
    parts: list[Sorted] = []
    findings: dict[str, Findings] = {}
    rows: list[tuple[str, ShardRows, NDArray[np.uint8]]] = []
    for table, raw in (
        ("medical_claim", claims.rows(0, n_medical)),
        ("pharmacy_claim", claims.rows(n_medical, claims.n)),
    ):
        fate = raw.numbers["fate"].copy()
        histories = read_histories(raw, fate, rules.choices)
        fates = claim_row_fates(raw, fate, histories.claim, members.key, members.enrolled)
        findings[table] = histories.findings
        _enter(ledger, table, raw, fates.fate)
        quarantine[table] = _aside(raw, fates.fate, table)
        rows.append((table, raw, fates.fate))
        parts.append(sort_out(raw, fates, table, rules))
        tell_retained(raw, fates, members, rules, findings[table])
    lines = lines_of(claims, parts, rules, scratch)
    line = np.full(claims.n, -1, np.int32)
    line[lines.rows] = np.arange(len(lines.rows), dtype=np.int32)
    contents: dict[str, pa.RecordBatch] = {}
    counts: dict[str, NDArray[np.int64]] = {}
    n = len(members.key)
    contents["stays"], counts["stays"], stay = stays(lines, rules, n)
    contents["lines"], contents["line_detail"], counts["lines"] = lines.tables(n, stay)
    possible = possible_visits(lines, rules)
    for name, made in (
        ("diagnoses", diagnoses(lines, rules, n)),
        ("visits", visits(lines, possible, rules, n)),
        ("emergency", emergency(lines, n)),
        ("drugs", drugs(lines, rules, n)),
    ):
        contents[name], counts[name] = made
    tell_undiagnosed(
        lines, contents["stays"], stay, contents["emergency"], findings["medical_claim"]
    )
    return Claims(
        contents, counts, rows, lines, line, ledger, quarantine, findings,
        off_roster(lines, possible, rules),
    )  # fmt: skip


def content_of(
    built: Claims,
    members: Members,
    eligibility: ShardRows,
    supplied: ShardRows,
    rules: Rules,
    notes: dict[str, int],
) -> ShardContent:
    """A shard's content: what its claims came to, with its members and supplied scores."""
    contents, counts = {**members.tables, **built.tables}, dict(built.counts)
    counts["spans"] = members.span_counts
    contents["scores"], counts["scores"] = scores(supplied, members, rules, notes)
    contents["offsets"] = offsets_of(counts)
    _enter(built.ledger, "eligibility", eligibility, members.fate)
    lines = built.lines
    return ShardContent(
        tables=contents,
        hashes=built.hashes(),
        records={
            "claims": recorded("claims", built.rows, rules, built.line),
            "eligibility": recorded(
                "eligibility", [("eligibility", eligibility, members.fate)], rules
            ),
            "scores": recorded_scores(supplied, rules),
        },
        ledger=built.ledger,
        quarantine={
            **built.quarantine, "eligibility": _aside(eligibility, members.fate, "eligibility"),
        },
        member_months=members.member_months,
        open_end_months=members.open_end_months,
        covered_months=members.covered_months,
        service_days=built.service_days(),
        payment_days=payment_days(lines.column),
        newest_file_day=int(lines.raw.numbers["file_day"].max(initial=NO_DAY)),
        notes=notes,
        findings={"eligibility": members.findings, **built.findings},
        off_roster=built.off_roster,
    )  # fmt: skip


def offsets_of(counts: Mapping[str, NDArray[np.int64]]) -> pa.RecordBatch:
    """Where each member's rows start in each table, from how many there are."""
    return pa.RecordBatch.from_arrays(
        [
            pa.array(np.concatenate([[0], np.cumsum(counts[field.name])]).astype(np.int64))
            for field in tables.OFFSETS
        ],
        schema=tables.OFFSETS,
    )


def _enter(ledger: NDArray[np.int64], table: str, raw: ShardRows, fate: NDArray[np.uint8]) -> None:
    """Add the rows of one table to the ledger by file and fate."""
    entry = ledger[LEDGER_TABLES.index(table)]
    if not raw.n:
        return
    file = raw.numbers["file"]
    # every row as retained, file by file, then the few others moved to what they met
    starts = np.flatnonzero(np.r_[True, file[1:] != file[:-1]])
    np.add.at(entry[:, IngestFate.RETAINED, 0], file[starts], np.diff(np.r_[starts, raw.n]))
    others = np.flatnonzero(fate != IngestFate.RETAINED)
    met = file[others], fate[others]
    np.add.at(entry[..., 0], met, 1)
    np.subtract.at(entry[:, IngestFate.RETAINED, 0], met[0], 1)
    if table != "eligibility":
        cents = raw.numbers["paid_cents"]
        np.add.at(entry[:, IngestFate.RETAINED, 1], file[starts], np.add.reduceat(cents, starts))
        np.add.at(entry[..., 1], met, cents[others])
        np.subtract.at(entry[:, IngestFate.RETAINED, 1], met[0], cents[others])


def _aside(raw: ShardRows, fate: NDArray[np.uint8], table: str) -> pa.Table:
    """Rows that are not retained, with what is needed to find and judge them."""
    rows = np.flatnonzero(fate != IngestFate.RETAINED)
    labels = pa.array([fate_.label for fate_ in IngestFate], pa.string())
    columns: dict[str, Any] = {
        "fate": labels.take(pa.array(fate[rows])),
        "reason": raw.some_texts(rows, "reason"),
        "file": pa.array(raw.numbers["file"][rows]),
        "row": pa.array(raw.passing("row")[rows]),
        "member_key": pa.array(raw.numbers["member_key"][rows]),
    }
    if table == "eligibility":
        dates = ("start_day", "end_day")
    else:
        columns["claim_id"] = raw.some_texts(rows, "claim_id")
        columns["claim_line_number"] = raw.some_texts(rows, "claim_line_number")
        columns["paid_cents"] = pa.array(raw.numbers["paid_cents"][rows])
        dates = ("service_day", "paid_day")
    for name in dates:
        days = raw.numbers[name][rows]
        columns[name.replace("_day", "_date")] = pa.array(
            days, pa.int32(), mask=days == NO_DAY
        ).cast(pa.date32())
    return pa.table(columns)
