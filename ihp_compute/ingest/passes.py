"""From raw tables to a prepared population, in two passes with bounded memory.

    find -> read (spilled by piece of an input file, rows in order of shard)
         -> shard (gather, fates, tables, digest) -> ledger -> manifest -> rename

Read this file for the order; files are read and their values typed in `door`, rows compared and
classified in `shard`, and all of it accounted for in `account`.

Every row of a claim or enrolment file meets one fate (`ledger.IngestFate`), and the ledger must
foot per file: rows and dollars read in the first pass equal the sum over fates in the second, or
the ingest fails. Everything is written to a folder beside the target and renamed when it is whole,
so a killed ingest leaves no population, and an existing one stands until the new one is complete.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from operator import call
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ihp_compute.data_quality import DATA_QUALITY, GATES, GateTerms, Stage, table_of
from ihp_compute.errors import DataError
from ihp_compute.folders import (
    beside,
    check_target,
    file_sha256,
    publish,
    stamp_of,
    write_arrow,
    write_manifest,
)
from ihp_compute.ingest.account import Account
from ihp_compute.ingest.control import ControlTotal, differences, read_control
from ihp_compute.ingest.door import (
    CodeBook,
    Column,
    DateOrders,
    MemberBook,
    Part,
    Rows,
    Words,
    batches,
    by_shard,
    check_columns,
    column_names,
    converting,
    count_delivered,
    find_inputs,
    number_reference,
    parts_of,
    read_eligibility,
    read_lines,
    read_reference,
    read_scores,
)
from ihp_compute.ingest.final_action import Choices
from ihp_compute.ingest.findings import NO_DAYS, Delivered, OffRoster, Tally
from ihp_compute.ingest.handover import Rules, ShardContent
from ihp_compute.ingest.input_files import MAX_SHARDS, InputFile, InputFolder
from ihp_compute.ingest.noticed import RosterMet, noticed
from ihp_compute.ingest.quarantine import Quarantine
from ihp_compute.ingest.service_categories import facts_of
from ihp_compute.ingest.shard import ShardRows, build
from ihp_compute.ingest.spill import Spill
from ihp_compute.ingest.spill_layout import Scratch, Spilled
from ihp_compute.ingest.workers import Progress, Workers, memory_kept
from ihp_compute.input_columns import INPUT_TABLES, REFERENCE_TABLES, SPILLED
from ihp_compute.ledger import CLAIM_TABLES, LEDGER_TABLES
from ihp_compute.population import PAYMENT_DAYS_FILE, POPULATION, RECORDS, write_record
from ihp_compute.population import digest as population_digest
from ihp_compute.units import months_of_days

_LARGE_BYTES: Final = 1 << 29
"""Input of a size at which memory is worth the time that it takes to give it back."""
_GIVEN_BACK_EVERY: Final = 8
"""Shards made between two times that memory is given back."""


def ingest(
    input_dir: Path,
    out: Path,
    *,
    shards: int | None = None,
    threads: int | None = None,
    choices: Choices | None = None,
    gates: GateTerms | None = None,
    control: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Prepare the population in `out` from the tables in `input_dir`.

    Parameters
    ----------
    input_dir : Path
        Folder of Tuva input-layer tables (`door.layout.find_inputs`), CSV or Parquet.
    out : Path
        Folder to make. An existing population there is replaced; anything else is refused.
    shards : int, optional
        Number of shards, 1 to 65,535; by default 64, or more so that large input fits into memory.
        Never changes the content's digest.
    threads : int, optional
        Workers; by default one a core. Never changes the content's digest.
    choices : Choices, optional
        What histories of claims leave open; by default equal rows are duplicates and a later
        amount of a line is its new version.
    gates : GateTerms, optional
        Thresholds of gates and those that may trip; by default the declared ones, and none.
    control : Path, optional
        Control totals (`control.read_control`) that what is read must meet.
    progress : callable, optional
        Called with (pieces done, pieces in all).

    Returns
    -------
    dict
        The JSON document: `tables` with `rows_read, claims, paid_cents`, `members`,
        `member_months`, `ledger` (source_table, file, fate, lines, paid_cents), `balanced`,
        `population_digest`, and what was noticed: `data_quality` (rows of
        `data_quality.DATA_QUALITY`), `left_out` files and columns, blank and sub-cent amounts,
        `notes`, with the `choices` made and the gates `accepted`.

    Raises
    ------
    DataError
        If the folder, a file or a required column cannot be used; nothing is left behind.
    GateError
        If what was noticed trips a gate that is not accepted; nothing is left behind.
    AcceptanceError
        If a gate was accepted that did not trip; nothing is left behind.
    UnbalancedLedgerError
        If rows or dollars were lost or counted twice.
    """
    input_dir, out = Path(input_dir), Path(out)
    if shards is not None and not 1 <= shards <= MAX_SHARDS:
        raise DataError(f"shards: expected 1 to {MAX_SHARDS:,}, got {shards}")
    check_target(out, POPULATION)
    folder = find_inputs(input_dir)
    shards = shards or folder.shards
    totals = [] if control is None else read_control(Path(control))
    workers = Workers(max(1, threads or os.cpu_count() or 1), progress)
    with memory_kept(), beside(out) as staging:
        asked = _Asked(choices or Choices(), gates or GateTerms(), totals)
        work = _Ingest(folder, staging, shards, workers, asked)
        try:
            document = work.run()
        finally:
            work.spill.close()
        publish(staging, out)
    return document


class _Own(threading.local):
    """What each worker has for itself."""

    def __init__(self) -> None:
        self.scratch = Scratch()
        self.words: dict[str, dict[str, Words]] = {}


@dataclass(frozen=True)
class _Asked:
    """What decides what is accepted and how histories are read."""

    choices: Choices
    gates: GateTerms
    control: list[ControlTotal]


class _Ingest:
    """One ingest on its way; `run` is the order of its steps."""

    def __init__(
        self,
        folder: InputFolder,
        staging: Path,
        n_shards: int,
        workers: Workers,
        asked: _Asked,
    ) -> None:
        self.folder = folder
        self.asked = asked
        self.staging = staging
        self.spill_dir = staging / "spill"
        self.spill = Spill(self.spill_dir, n_shards)
        self.quarantine = Quarantine(self.spill_dir, staging / "quarantine")
        self.n_shards = n_shards
        self.is_large = False
        self.workers = workers
        self.members = MemberBook()
        self.codes = CodeBook()
        self.date_orders = DateOrders()
        self.tallies: dict[int, Tally] = {}
        self.delivered: dict[int, Delivered] = {}
        self.unknown_columns: list[list[str]] = [[] for _ in folder.files]
        self._lock = threading.Lock()
        self._own = _Own()

    def run(self) -> dict[str, Any]:
        """Check every header, read, shard, foot the ledger, write the manifest."""
        for name in ("spill", "codes", "shards", "reference", "quarantine"):
            (self.staging / name).mkdir()
        for name in RECORDS:
            (self.staging / "record" / name).mkdir(parents=True)
        files = list(self.folder.files)
        opened = self.workers.map(self._opened, list(range(len(files))), counted=False)
        parts = [part for found in opened for part in found]
        stated = [name for name in REFERENCE_TABLES if self.folder.of(name)]
        self.workers.steps = (
            len(parts) + len(files) + 2 * len(stated) + self.n_shards + 2 * len(LEDGER_TABLES) + 2
        )
        large_first = sorted(files, key=lambda file: -file.path.stat().st_size)
        first = [
            *(partial(self._reference, name) for name in stated),
            *(partial(self._read_part, part) for part in parts),
            *(partial(_stamp, file) for file in large_first),
        ]
        read = iter(self.workers.map(call, first))
        tables_, written, stamped = ([next(read) for _ in kind] for kind in (stated, parts, files))
        stamp_of_file = dict(zip((file.path for file in large_first), stamped, strict=True))
        spilled: dict[str, list[Spilled]] = {table: [] for table in SPILLED}
        for part, batches_ in zip(parts, written, strict=True):
            spilled[part.file.table] += batches_
        self.spill.finish(spilled)
        self.is_large = sum(stamp["bytes"] for stamp in stamped) > _LARGE_BYTES
        if self.is_large:
            # what the first pass has freed would stand beside what the second one needs
            pa.system_memory_pool().release_unused()
        fresh = {
            name: number_reference(name, table, self.codes)
            for name, table in zip(stated, tables_, strict=True)
        }
        roster = dict(zip(stated, tables_, strict=True)).get("provider_roster")
        sorted_codes, rules = self._rules([] if roster is None else roster["npi"].to_pylist())
        code_words = {system: population_digest.code_words(c) for system, c in sorted_codes.items()}
        second = [
            self.members.check,
            *(partial(population_digest.lines_of, table) for table in tables_),
            *(
                partial(self._make_shard, index, rules, code_words)
                for index in range(self.n_shards)
            ),
        ]
        _, *made = self.workers.map(call, second)
        references = {name: made[k] for k, name in enumerate(stated) if tables_[k].num_rows}
        contents, sums, shard_files = zip(*made[len(stated) :], strict=True)
        account = Account(self.folder, self.tallies, self.unknown_columns, rules, contents)
        totals = np.stack(sums).sum(axis=0, dtype=np.uint64)
        names = pa.array([file.name for file in files], pa.string())
        last = [
            *(
                partial(self.quarantine.write, table, names, self.members.ids_of)
                for table in LEDGER_TABLES
            ),
            partial(population_digest.digest_of, totals, references),
            *(account.table(table).distinct_claims for table in LEDGER_TABLES),
        ]
        digest, *claims = self.workers.map(call, last)[len(LEDGER_TABLES) :]
        self.spill.close()
        shutil.rmtree(self.spill_dir)
        for system, codes in sorted_codes.items():
            schema = pa.schema([pa.field("code", pa.string(), nullable=False)])
            write_arrow(
                self.staging / "codes" / f"{system}.arrow",
                pa.RecordBatch.from_arrays([codes], schema=schema),
            )
        document = account.document(
            digest=digest,
            members=int(totals[0, 0]),
            claims=dict(zip(LEDGER_TABLES, claims, strict=True)),
        )
        write_arrow(self.staging / PAYMENT_DAYS_FILE, account.payment_days)
        document |= self._judged(
            account,
            None
            if roster is None
            else _roster_met(
                roster, fresh["provider_roster"]["npi"], account.off_roster(), sorted_codes["npi"]
            ),
            frozenset(sorted_codes["plan"].to_pylist()) - {""},
            document,
        )
        manifest = account.manifest(
            document,
            inputs=[stamp_of_file[file.path] for file in files],
            codes={system: len(codes) for system, codes in sorted_codes.items()},
            files=dict(chain(*(made.items() for made in shard_files), self._stamps())),
        )
        write_manifest(self.staging, manifest)
        return document

    def _judged(
        self,
        account: Account,
        roster: RosterMet | None,
        plans: frozenset[str],
        document: dict[str, Any],
    ) -> dict[str, Any]:
        """What was noticed, written down, once the gates have let it pass; and what they took."""
        gates = self.asked.gates
        thin = max(GATES["thin_month"].threshold, gates.threshold("thin_month"))
        denied = min(GATES["denied_dollars"].threshold, gates.threshold("denied_dollars"))
        rows = gates.judge(
            (
                *differences(self.asked.control, self.folder, self.tallies, self.delivered),
                *noticed(account, self.delivered, roster, plans, thin, denied),
            )
        )
        found = {
            "accepted": dict(gates.accept),
            "thresholds": dict(gates.thresholds),
            DATA_QUALITY.name: rows,
        }
        gates.refuse(rows, document | found, Stage.READ)
        pq.write_table(
            table_of(rows), self.staging / f"{DATA_QUALITY.name}.parquet", compression="zstd"
        )
        return found

    # --- first pass

    def _opened(self, index: int) -> list[Part]:
        """Check the header of a file; its parts, if its table is sharded."""
        file = self.folder.files[index]
        _, self.unknown_columns[index] = check_columns(
            INPUT_TABLES[file.table],
            column_names(file),
            file.name,
            [name for name, _ in file.stated],
        )
        return parts_of(file, index) if file.table in SPILLED else []

    def _read_part(self, part: Part) -> list[Spilled]:
        total, delivered = Tally(), Delivered()
        table = part.file.table
        spilled = [
            self.spill.write(
                table, by_shard(columns, SPILLED[table], self.n_shards, self._own.scratch)
            )
            for columns in self._batches(part, total, delivered)
        ]
        # eight bytes a claim, which would stand there throughout the second pass
        total.claim_hashes = self.spill.set_aside(total.claim_hashes)
        with self._lock:
            self.tallies.setdefault(part.file_index, Tally()).add(total)
            self.delivered.setdefault(part.file_index, Delivered()).add(delivered)
        return spilled

    def _batches(
        self, part: Part, total: Tally, delivered: Delivered
    ) -> Iterator[dict[str, Column]]:
        # files have many dictionaries in common, above all those of one value
        known = self._own.words.setdefault(part.file.table, {})
        for first_row, columns in batches(part, INPUT_TABLES[part.file.table]):
            rows = Rows(
                part.file.table, columns, first_row, known, part.file.name,
                partial(self.date_orders.of, part.file),
            )  # fmt: skip
            if rows.n:
                with converting(part.file, first_row):
                    read = self._read_batch(part, rows)
                if part.file.table in CLAIM_TABLES:
                    count_delivered(delivered, rows, read)
                yield read
                total.add(rows.tally)

    def _read_batch(self, part: Part, rows: Rows) -> dict[str, Column]:
        table, index = part.file.table, part.file_index
        if table == "eligibility":
            return read_eligibility(rows, index, self.members, self.codes)
        if table == "risk_score":
            return read_scores(rows, part.file.name, self.members, self.codes)
        return read_lines(rows, table, index, self.members, self.codes)

    def _reference(self, name: str) -> pa.Table:
        """Read a table that is not sharded, and write it down."""
        table, tallies = read_reference(self.folder, name, self.date_orders.of)
        with self._lock:
            self.tallies.update(tallies)
        for batch in table.combine_chunks().to_batches():
            write_arrow(self.staging / "reference" / f"{name}.arrow", batch)
        return table

    def _rules(self, rostered: list[str]) -> tuple[dict[str, pa.Array], Rules]:
        """What needs every file read: sorted codes, and the months between which spans reach."""
        sorted_codes, final = self.codes.sort()
        facts = facts_of(
            *(
                sorted_codes[system].to_pylist()
                for system in ("hcpcs", "revenue", "bill_type", "place_of_service", "dx")
            )
        )
        first, last = self._service_months()
        named = set(rostered) - {""}
        return sorted_codes, Rules(
            first, last, final, facts, facts.renumbered(final), self.asked.choices,
            np.array([npi in named for npi in sorted_codes["npi"].to_pylist()], np.bool_),
        )  # fmt: skip

    def _service_months(self) -> tuple[int, int]:
        """First month of service, last of any claim; of none, 0 and the last stated of enrolment.

        Lines with a day of payment say it, where there are any: no day of a claim is after it.
        """
        whole = Tally()
        for table in CLAIM_TABLES:
            for index, _ in self.folder.of(table):
                whole.add(self.tallies.get(index, Tally()))
        days = next((days for days in (whole.days, whole.unpaid_days) if days != NO_DAYS), NO_DAYS)
        if days != NO_DAYS:
            first, last = months_of_days(np.array(days, np.int32)).tolist()
            return first, last
        enrolled = Tally()
        for index, _ in self.folder.of("eligibility"):
            enrolled.add(self.tallies.get(index, Tally()))
        if enrolled.days == NO_DAYS:
            return 0, 0
        return 0, int(months_of_days(np.array([enrolled.days[1]], np.int32))[0])

    # --- second pass

    def _make_shard(
        self,
        index: int,
        rules: Rules,
        code_words: population_digest.CodeWords,
    ) -> tuple[ShardContent, NDArray[np.uint64], dict[str, dict[str, Any]]]:
        pieces = {table: self.spill.pieces(table, index) for table in SPILLED}
        scratch = self._own.scratch

        def rows(label: str, *of: str) -> ShardRows:
            return ShardRows(label, [pieces[table] for table in of], SPILLED[of[0]], scratch)

        content = build(
            rows("eligibility", "eligibility"),
            rows("claims", "medical_claim", "pharmacy_claim"),
            pieces["medical_claim"].n,
            rows("scores", "risk_score"),
            rules,
            len(self.folder.files),
            scratch,
        )
        folder = self.staging / "shards" / f"{index:05d}"
        folder.mkdir()
        stamps = {
            f"shards/{index:05d}/{name}.arrow": write_arrow(folder / f"{name}.arrow", batch)
            for name, batch in content.tables.items()
        }
        stamps |= dict(
            write_record(self.staging, name, index, rows) for name, rows in content.records.items()
        )
        sums = content.sums(code_words)
        self.quarantine.keep(index, content.quarantine)
        content.tables, content.quarantine, content.hashes, content.records = {}, {}, {}, {}
        self.spill.made(index)
        if self.is_large and index % _GIVEN_BACK_EVERY == _GIVEN_BACK_EVERY - 1:
            pa.system_memory_pool().release_unused()
        return content, sums, stamps

    # --- the end

    def _stamps(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Stamps of what is not of a shard."""
        for folder in ("codes", "reference", "quarantine"):
            for path in sorted((self.staging / folder).iterdir()):
                yield f"{folder}/{path.name}", stamp_of(path)
        for name in (f"{DATA_QUALITY.name}.parquet", PAYMENT_DAYS_FILE):
            yield name, stamp_of(self.staging / name)


def _roster_met(
    rows: pa.Table, fresh: list[str], off: OffRoster, codes: pa.Array
) -> RosterMet:  # fmt: skip
    """The roster's providers, those that nothing read before names, and those that it lacks."""
    lines = Counter(rows.column("npi").to_pylist())
    return RosterMet(
        len(lines.keys() - {""}),
        {npi: lines[npi] for npi in fresh},
        off.visits,
        {codes[code].as_py(): (n, off.cents[code]) for code, n in off.lines.items()},
    )


def _stamp(file: InputFile) -> dict[str, Any]:
    return {"sha256": file_sha256(file.path), "bytes": file.path.stat().st_size}
