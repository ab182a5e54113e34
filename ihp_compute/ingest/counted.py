"""What an ingest keeps of what it counted, so that a later delivery can be added.

    tallies, delivered counts -> record/files.json            of all files
    a shard's content         -> record/counts/00000.json     beside its tables

A later ingest holds the rows of a delivery against the cold record, and these counts against what
it cannot see again: what each file was found to hold, and what stands of shards that it leaves as
they are. Nothing of a run reads them. What is written here is read back as it was.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.errors import PopulationError
from ihp_compute.folders import stamp_of
from ihp_compute.ingest.findings import Delivered, Denials, Doubt, Findings, OffRoster, Tally
from ihp_compute.ingest.handover import Rules, ShardContent
from ihp_compute.input_columns import INPUT_TABLES
from ihp_compute.ledger import CLAIM_TABLES, LEDGER_TABLES, IngestFate
from ihp_compute.population import Shard, payment_days
from ihp_compute.storage import Files

FILES: Final = "record/files.json"


def counts_file(shard: int) -> str:
    """Where what was counted of a shard lies in the population's folder."""
    return f"record/counts/{shard:05d}.json"


@dataclass(frozen=True)
class FileCounts:
    """What was counted of every file, in the order of the manifest's `inputs`.

    Attributes
    ----------
    tallies : sequence of Tally
        Without claims.
    delivered : sequence of Delivered
    unknown_columns : sequence of list of str
    notes : sequence of str
        What was said of the folders.
    lone_codes : mapping of system to list of str
        Codes that a reference table alone names.
    rules : dict
        What of `Rules` all shards rest on (`rules_of`).
    """

    tallies: Sequence[Tally]
    delivered: Sequence[Delivered]
    unknown_columns: Sequence[list[str]]
    notes: Sequence[str]
    lone_codes: Mapping[str, list[str]]
    rules: Mapping[str, Any]


def rules_of(rules: Rules, rostered: Iterable[str]) -> dict[str, Any]:
    """What the tables and counts of a shard rest on beside its rows and the codes."""
    return {
        "first_month": rules.first_month,
        "horizon_month": rules.horizon_month,
        "equal_rows": rules.choices.equal_rows,
        "later_amounts": rules.choices.later_amounts,
        "snapshots": dict(rules.snapshots),
        "rostered": sorted(set(rostered)),
    }


def lone_codes(unmet: Mapping[str, Mapping[str, list[str]]]) -> dict[str, list[str]]:
    """By system, codes that no row of a sharded table names: those unmet of each reference table.

    `unmet` are by table and column.
    """
    found: dict[str, list[str]] = {}
    for table, columns in unmet.items():
        for column, codes in columns.items():
            found.setdefault(INPUT_TABLES[table].by_name[column].code_system, []).extend(codes)
    return found


def write_file_counts(folder: Path, counts: FileCounts) -> dict[str, Any]:
    """Write what was counted of the files; the stamp of the file."""
    return _write(
        folder / FILES,
        {
            "files": [
                {
                    "tally": _of_tally(tally),
                    "delivered": _of_delivered(delivered),
                    "unknown_columns": unknown,
                }
                for tally, delivered, unknown in zip(
                    counts.tallies, counts.delivered, counts.unknown_columns, strict=True
                )
            ],
            "notes": list(counts.notes),
            "lone_codes": dict(counts.lone_codes),
            "rules": dict(counts.rules),
        },
    )


def read_file_counts(files: Files) -> FileCounts:
    """What was counted of the files of a population.

    Raises
    ------
    PopulationError
        If the file is gone or damaged.
    """
    found = _read(files, FILES)
    of = found["files"]
    return FileCounts(
        [_tally(entry["tally"]) for entry in of],
        [_delivered(entry["delivered"]) for entry in of],
        [entry["unknown_columns"] for entry in of],
        found["notes"],
        found["lone_codes"],
        found["rules"],
    )


def write_counts(
    folder: Path, shard: int, content: ShardContent, sums: NDArray[np.uint64], codes: pa.Array
) -> tuple[str, dict[str, Any]]:
    """Write what was counted of a shard, `codes` being NPIs by number; the file and its stamp."""
    at = np.argwhere(content.ledger.any(axis=3))
    off = content.off_roster
    document = {
        "sums": [[f"{int(x):x}" for x in row] for row in sums],
        "ledger": [[*place, *map(int, content.ledger[tuple(place)])] for place in at.tolist()],
        "member_months": content.member_months,
        "open_end_months": content.open_end_months,
        "covered_months": sorted(content.covered_months),
        "service_days": content.service_days,
        "newest_file_day": content.newest_file_day,
        "notes": content.notes,
        "findings": {table: _of_findings(found) for table, found in content.findings.items()},
        "off_roster": {
            "visits": off.visits,
            "npis": [
                [codes[code].as_py(), n, off.cents[code]] for code, n in sorted(off.lines.items())
            ],
        },
    }
    name = counts_file(shard)
    return name, _write(folder / name, document)


@dataclass(frozen=True)
class Undone:
    """What was counted of earlier rows of claims that are decided anew.

    Attributes
    ----------
    sums : uint64[tables, 3]
        Their part of the digest.
    ledger, findings, off_roster, service_days
        As `ShardContent` has them.
    """

    sums: NDArray[np.uint64]
    ledger: NDArray[np.int64]
    findings: Mapping[str, Findings]
    off_roster: OffRoster
    service_days: tuple[int, int] | None


@dataclass(frozen=True)
class ShardCounts:
    """What was counted of a shard of an earlier population.

    Attributes
    ----------
    sums : uint64[tables, 3]
        Its part of the digest.
    ledger : list of (table, file, fate, lines, cents)
        Tables and fates by place; files by place among the inputs.
    rest : mapping
        As it was written.
    """

    sums: NDArray[np.uint64]
    ledger: list[list[int]]
    rest: Mapping[str, Any]

    @property
    def newest_file_day(self) -> int:
        """As `ShardContent.newest_file_day`."""
        return int(self.rest["newest_file_day"])

    def enter(self, ledger: NDArray[np.int64], *, unreadable_only: bool) -> None:
        """Add the rows of the shard to a ledger, or those alone that could not be read."""
        for table, file, fate, lines, cents in self.ledger:
            if not unreadable_only or fate == IngestFate.UNREADABLE:
                ledger[table, file, fate] += (lines, cents)

    @property
    def service_days(self) -> tuple[int, int] | None:
        """As `ShardContent.service_days`."""
        days = self.rest["service_days"]
        return None if days is None else (days[0], days[1])

    def add_claims(
        self, content: ShardContent, undone: Undone, npi_number: Mapping[str, int]
    ) -> None:
        """Add to a content what was counted of claims, and of what could not be read, that stands.

        NPIs have their numbers now.
        """
        for table, file, fate, lines, cents in self.ledger:
            if LEDGER_TABLES[table] in CLAIM_TABLES or fate == IngestFate.UNREADABLE:
                content.ledger[table, file, fate] += (lines, cents)
        content.ledger -= undone.ledger
        for name in CLAIM_TABLES:
            found = content.findings[name]
            found.add(_findings(self.rest["findings"][name]))
            found.take_away(undone.findings[name])
        content.off_roster.add(self.off_roster(npi_number))
        content.off_roster.take_away(undone.off_roster)
        content.newest_file_day = max(content.newest_file_day, self.newest_file_day)

    def off_roster(self, npi_number: Mapping[str, int]) -> OffRoster:
        """As `ShardContent.off_roster`, NPIs by their numbers now."""
        off = OffRoster(self.rest["off_roster"]["visits"])
        for npi, n, cents in self.rest["off_roster"]["npis"]:
            off.lines[npi_number[npi]], off.cents[npi_number[npi]] = n, cents
        return off

    def content(self, shard: Shard, n_files: int, npi_number: Mapping[str, int]) -> ShardContent:
        """The content of that shard, whose tables stand on the disk; NPIs by their numbers now."""
        ledger = np.zeros((len(LEDGER_TABLES), n_files, len(IngestFate), 2), np.int64)
        self.enter(ledger, unreadable_only=False)
        rest = self.rest
        return ShardContent(
            tables={}, hashes={}, records={}, quarantine={},
            ledger=ledger,
            member_months=rest["member_months"],
            open_end_months=rest["open_end_months"],
            covered_months=frozenset(rest["covered_months"]),
            service_days=self.service_days,
            payment_days=payment_days(partial(shard.column, "lines")),
            newest_file_day=rest["newest_file_day"],
            notes=dict(rest["notes"]),
            findings={table: _findings(found) for table, found in rest["findings"].items()},
            off_roster=self.off_roster(npi_number),
        )  # fmt: skip


def read_counts(files: Files, shard: int) -> ShardCounts:
    """What was counted of a shard.

    Raises
    ------
    PopulationError
        If the file is gone or damaged.
    """
    found = _read(files, counts_file(shard))
    sums = np.array([[int(x, 16) for x in row] for row in found["sums"]], np.uint64)
    return ShardCounts(sums, found["ledger"], found)


# --- as JSON --------------------------------------------------------------------------------------


def _write(path: Path, document: Mapping[str, Any]) -> dict[str, Any]:
    path.write_text(json.dumps(document, separators=(",", ":")), encoding="utf-8")
    return stamp_of(path)


def _read(files: Files, name: str) -> dict[str, Any]:
    try:
        with files.open(name) as source:
            return dict(json.loads(source.read()))
    except (OSError, ValueError) as error:
        raise PopulationError(
            f"{files.where(name)} cannot be read ({error}). Prepare the population again."
        ) from error


def _of_findings(found: Findings) -> list[list[Any]]:
    return [[*doubt, n, found.cents[doubt]] for doubt, n in found.lines.items()]


def _findings(of: Iterable[list[Any]]) -> Findings:
    found = Findings()
    for column, finding, subject, n, cents in of:
        found.see(Doubt(column, finding, subject), n, cents)
    return found


def _of_tally(tally: Tally) -> dict[str, Any]:
    return {
        "rows": tally.rows,
        "paid_cents": tally.paid_cents,
        "blank_amounts": tally.blank_amounts,
        "sub_cents": tally.sub_cents,
        "days": tally.days,
        "unpaid_days": tally.unpaid_days,
        "denials": {
            source: [of.lines, of.positive_cents, of.denied, of.turned_round]
            for source, of in tally.denials.items()
        },
        "snapshots": tally.snapshots,
        "notes": tally.notes,
        "findings": _of_findings(tally.findings),
    }


def _tally(of: Mapping[str, Any]) -> Tally:
    return Tally(
        rows=of["rows"],
        paid_cents=of["paid_cents"],
        blank_amounts=of["blank_amounts"],
        sub_cents=of["sub_cents"],
        days=(of["days"][0], of["days"][1]),
        unpaid_days=(of["unpaid_days"][0], of["unpaid_days"][1]),
        denials={
            source: Denials(lines, cents, (denied[0], denied[1]), (turned[0], turned[1]))
            for source, (lines, cents, denied, turned) in of["denials"].items()
        },
        snapshots=dict(of["snapshots"]),
        notes=Counter(of["notes"]),
        findings=_findings(of["findings"]),
    )


def _of_delivered(delivered: Delivered) -> list[list[Any]]:
    return [
        [*cell, n, delivered.cents[cell], delivered.readable[cell]]
        for cell, n in delivered.lines.items()
    ]


def _delivered(of: Iterable[list[Any]]) -> Delivered:
    found = Delivered()
    for plan, month, n, cents, readable in of:
        found.lines[plan, month], found.cents[plan, month] = n, cents
        found.readable[plan, month] = readable
    return found
