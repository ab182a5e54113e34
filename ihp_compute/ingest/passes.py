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
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from operator import call
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ihp_compute.data_quality import DATA_QUALITY, DATA_REVIEW, GateTerms, table_of
from ihp_compute.errors import DataError
from ihp_compute.folders import check_target, file_sha256, stamp_of, write_arrow, write_manifest
from ihp_compute.ingest.account import Account
from ihp_compute.ingest.asked import Asked, roster_met
from ihp_compute.ingest.control import read_control
from ihp_compute.ingest.counted import FILES as FILE_COUNTS
from ihp_compute.ingest.counted import (
    FileCounts,
    lone_codes,
    rules_of,
    write_counts,
    write_file_counts,
)
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
from ihp_compute.ingest.earlier import Earlier
from ihp_compute.ingest.final_action import Choices
from ihp_compute.ingest.findings import NO_DAYS, Delivered, Tally
from ihp_compute.ingest.handover import Rules, ShardContent
from ihp_compute.ingest.input_files import MAX_SHARDS, InputFile, InputFolder
from ihp_compute.ingest.quarantine import Quarantine
from ihp_compute.ingest.recalled import SECOND_HASH
from ihp_compute.ingest.review import review_of
from ihp_compute.ingest.service_categories import facts_of
from ihp_compute.ingest.shard import ShardRows, build
from ihp_compute.ingest.spill import Spill
from ihp_compute.ingest.spill_layout import Scratch, Spilled
from ihp_compute.ingest.workers import Progress, Workers, memory_kept, short_turns
from ihp_compute.input_columns import INPUT_TABLES, REFERENCE_TABLES, SPILLED
from ihp_compute.ledger import CLAIM_TABLES, LEDGER_TABLES
from ihp_compute.population import (
    PAYMENT_DAYS_FILE,
    POPULATION,
    RECORDS,
    text_hashes,
    write_record,
)
from ihp_compute.population import digest as population_digest
from ihp_compute.publishing import beside, publish
from ihp_compute.units import months_of_days

_LARGE_BYTES: Final = 1 << 29
"""Input of a size at which memory is worth the time that it takes to give it back."""
_SELDOM_READ: Final = "line_detail"
"""The table of a shard that few runs read, half of its bytes; none reads its cold record."""
_GIVEN_BACK_EVERY: Final = 8
"""Shards made between two times that memory is given back."""


def ingest(
    input_dir: Path,
    out: Path,
    *,
    shards: int | None = None,
    threads: int | None = None,
    choices: Choices | Mapping[str, Any] | None = None,
    gates: GateTerms | None = None,
    control: Path | None = None,
    onto: Path | None = None,
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
    choices : Choices or mapping, optional
        What histories of claims leave open, or those choices of it that are made, by name; by
        default equal rows are duplicates and a later amount of a line is its new version.
    gates : GateTerms, optional
        Thresholds of gates and those that may trip; by default the declared ones, and none.
    control : Path, optional
        Control totals (`control.read_control`) that what is read must meet.
    onto : Path, optional
        A population that `input_dir` is a delivery for: its rows join those of the population, and
        the result equals an ingest of one folder that holds the claim and enrolment files of all
        deliveries and each reference table of the last one that has it. The population is not
        changed; its number of shards and, unless others are given, its choices are taken over.
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
        If the folder, a file or a required column cannot be used, or a file of claims or enrolment
        came with an earlier delivery; nothing is left behind.
    PopulationError
        If `onto` is no population, was changed, or has no cold record.
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
    earlier, usual, folder = None, Choices(), find_inputs(input_dir, is_whole=onto is None)
    if onto is not None:
        if shards is not None:
            raise DataError("shards: a delivery takes over those of its population; leave them out")
        if out.exists() and out.resolve() == Path(onto).resolve():
            raise DataError(f"{out} is the population that is added to: choose another folder")
        earlier = Earlier(onto)
        folder, shards = earlier.joined(folder), earlier.n_shards
        usual = earlier.choices
    shards = shards or folder.shards
    totals = [] if control is None else read_control(Path(control))
    workers = Workers(max(1, threads or os.cpu_count() or 1), progress)
    with memory_kept(), short_turns(), beside(out) as staging:
        if not isinstance(choices, Choices):
            choices = replace(usual, **(choices or {}))
        asked = Asked(choices, gates or GateTerms(), totals)
        work = _Ingest(folder, staging, shards, workers, asked, earlier)
        try:
            document = work.run()
        finally:
            work.spill.close()
        publish(staging, out)
    return document


_Made = tuple[ShardContent, NDArray[np.uint64], dict[str, dict[str, Any]]]
"""A shard's content, its sums, and the stamps of its files."""


class _Own(threading.local):
    """What each worker has for itself."""

    def __init__(self) -> None:
        self.scratch = Scratch()
        self.words: dict[str, dict[str, Words]] = {}


class _Ingest:
    """One ingest on its way; `run` is the order of its steps."""

    def __init__(
        self,
        folder: InputFolder,
        staging: Path,
        n_shards: int,
        workers: Workers,
        asked: Asked,
        earlier: Earlier | None,
    ) -> None:
        self.folder = folder
        self.earlier = earlier
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
        self.stamps: dict[int, dict[str, Any]] = {}
        self.reused = frozenset[int]()
        self._lock = threading.Lock()
        self._own = _Own()

    def run(self) -> dict[str, Any]:
        """Check every header, read, shard, foot the ledger, write the manifest."""
        for name in ("spill", "codes", "shards", "reference", "quarantine"):
            (self.staging / name).mkdir()
        for name in RECORDS:
            (self.staging / "record" / name).mkdir(parents=True)
        (self.staging / "record" / "counts").mkdir()
        files = [(index, self.folder.files[index]) for index in self.folder.delivered]
        here = {file.table for _, file in files}
        opened = self.workers.map(self._opened, [index for index, _ in files], counted=False)
        parts = [part for found in opened for part in found]
        stated = [name for name in REFERENCE_TABLES if name in here]
        self.workers.steps = (
            len(parts) + len(files) + 2 * len(stated) + self.n_shards + 2 * len(LEDGER_TABLES) + 3
        )
        large_first = sorted(files, key=lambda of: -of[1].path.stat().st_size)
        first = [
            *(partial(self._reference, name) for name in stated),
            *(partial(self._read_part, part) for part in parts),
            *(partial(_stamp, file) for _, file in large_first),
        ]
        if self.earlier is not None:
            self._take_over(self.earlier)
        read = iter(self.workers.map(call, first))
        tables_, written, stamped = ([next(read) for _ in kind] for kind in (stated, parts, files))
        self.stamps |= dict(zip((index for index, _ in large_first), stamped, strict=True))
        spilled: dict[str, list[Spilled]] = {table: [] for table in SPILLED}
        for part, batches_ in zip(parts, written, strict=True):
            spilled[part.file.table] += batches_
        self.spill.finish(spilled)
        self.is_large = sum(stamp["bytes"] for stamp in stamped) > _LARGE_BYTES
        if self.is_large:
            # what the first pass has freed would stand beside what the second one needs
            pa.system_memory_pool().release_unused()
        if self.earlier is not None:
            self.earlier.refuse_known(
                (file, self.stamps[index], self.tallies.get(index, Tally()).rows)
                for index, file in files
            )
            for name in REFERENCE_TABLES:
                if name not in here and self.folder.of(name):
                    stated.append(name)
                    tables_.append(self._kept_reference(self.earlier, name))
        fresh = {
            name: number_reference(name, table, self.codes)
            for name, table in zip(stated, tables_, strict=True)
        }
        roster = dict(zip(stated, tables_, strict=True)).get("provider_roster")
        rostered = [] if roster is None else roster["npi"].to_pylist()
        sorted_codes, rules = self._rules(rostered)
        npis = sorted_codes["npi"]
        if self.earlier is not None:
            self.reused = self._unchanged(self.earlier, rules, rostered)
        code_words = {system: population_digest.code_words(c) for system, c in sorted_codes.items()}
        second = [
            self.members.check,
            *(partial(population_digest.lines_of, table) for table in tables_),
            *(
                partial(self._made, index, rules, code_words, npis)
                for index in range(self.n_shards)
            ),
        ]
        _, *made = self.workers.map(call, second)
        references = {name: made[k] for k, name in enumerate(stated) if tables_[k].num_rows}
        contents, sums, shard_files = zip(*made[len(stated) :], strict=True)
        account = Account(self.folder, self.tallies, self.unknown_columns, rules, contents)
        totals = np.stack(sums).sum(axis=0, dtype=np.uint64)
        last = [
            partial(getattr, account, "payment_days"),  # which it keeps
            *(
                partial(
                    self.quarantine.write,
                    table,
                    self.folder.files,
                    self.members.ids_of,
                    [] if self.earlier is None else self.earlier.aside(table, self.reused),
                )
                for table in LEDGER_TABLES
            ),
            partial(population_digest.digest_of, totals, references),
            *(account.table(table).distinct_claims for table in LEDGER_TABLES),
        ]
        digest, *claims = self.workers.map(call, last)[1 + len(LEDGER_TABLES) :]
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
        document |= self.asked.judge(
            account,
            self.delivered,
            None
            if roster is None
            else roster_met(roster, fresh["provider_roster"]["npi"], account.off_roster(), npis),
            frozenset(sorted_codes["plan"].to_pylist()) - {""},
            document,
        )
        pq.write_table(
            table_of(document[DATA_QUALITY.name]),
            self.staging / f"{DATA_QUALITY.name}.parquet",
            compression="zstd",
        )
        pq.write_table(
            review_of(self.folder, self.delivered),
            self.staging / f"{DATA_REVIEW.name}.parquet",
            compression="zstd",
        )
        write_file_counts(
            self.staging,
            FileCounts(
                [self.tallies.get(index, Tally()) for index in range(len(self.folder.files))],
                [self.delivered.get(index, Delivered()) for index in range(len(self.folder.files))],
                self.unknown_columns,
                self.folder.notes,
                lone_codes(fresh),
                rules_of(rules, rostered),
            ),
        )
        manifest = account.manifest(
            document,
            inputs=[self.stamps[index] for index in range(len(self.folder.files))],
            codes={system: len(codes) for system, codes in sorted_codes.items()},
            files=dict(chain(*(made.items() for made in shard_files), self._stamps())),
        )
        write_manifest(self.staging, manifest)
        self.spill.finish_letting_go()
        self.spill.close()
        shutil.rmtree(self.spill_dir)
        return document

    # --- of an earlier delivery

    def _take_over(self, earlier: Earlier) -> None:
        """What was counted of the files that stay, the codes, and everybody's id."""
        for index, place in earlier.places(self.folder):
            self.tallies[index] = earlier.counts.tallies[place]
            self.delivered[index] = earlier.counts.delivered[place]
            self.unknown_columns[index] = earlier.counts.unknown_columns[place]
            self.stamps[index] = earlier.stamp(place)
        self.codes = CodeBook(earlier.codes(), earlier.counts.lone_codes)
        for keys, ids in earlier.ids():
            self.members.know(keys, ids)
        for table, rows in earlier.unread.items():
            if table in CLAIM_TABLES:
                self._count_claims(table, text_hashes(rows.column("claim_id").combine_chunks()))

    def _count_claims(self, table: str, words: NDArray[np.uint64]) -> None:
        """Take note of the claims of rows that came before, by the hashes of their numbers."""
        found = Tally()
        found.see_claims(words)
        if found.claim_hashes:
            with self._lock:
                self.tallies[self.folder.of(table)[0][0]].add(found)

    def _kept_reference(self, earlier: Earlier, name: str) -> pa.Table:
        """A table that is not sharded and that the delivery lacks, put where it belongs."""
        file = f"reference/{name}.arrow"
        if file in earlier.manifest["files"]:
            earlier.link(file, self.staging)
        return earlier.reference(name)

    def _unchanged(self, earlier: Earlier, rules: Rules, rostered: list[str]) -> frozenset[int]:
        """Shards of people without a new row, if all that theirs rest on is as it was."""
        if not earlier.rests_on(rules, rostered):
            return frozenset()
        return frozenset(
            shard
            for shard in range(self.n_shards)
            if not any(self.spill.pieces(table, shard).n for table in SPILLED)
        )

    def _reuse_shard(self, earlier: Earlier, index: int, npis: pa.Array) -> _Made:
        """Take a shard as it is."""
        for table, ids in earlier.claim_ids(index):
            self._count_claims(table, text_hashes(ids))
        counts = earlier.shard_counts(index)
        number = {npi: k for k, npi in enumerate(npis.to_pylist())}
        content = counts.content(earlier.population.shards[index], len(self.folder.files), number)
        stamps = {name: earlier.link(name, self.staging) for name in earlier.files_of(index)}
        self.spill.made(index)
        return content, counts.sums, stamps

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
                if self.earlier is not None and "hash_2" in read:
                    read["hash_2"] = read[SECOND_HASH]
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
            self._whole("eligibility").snapshots,
        )  # fmt: skip

    def _service_months(self) -> tuple[int, int]:
        """First month of service, last of any claim; of none, 0 and the last stated of enrolment.

        Lines with a day of payment say it, where there are any: no day of a claim is after it.
        """
        whole = self._whole(*CLAIM_TABLES)
        days = next((days for days in (whole.days, whole.unpaid_days) if days != NO_DAYS), NO_DAYS)
        if days != NO_DAYS:
            first, last = months_of_days(np.array(days, np.int32)).tolist()
            return first, last
        enrolled = self._whole("eligibility")
        if enrolled.days == NO_DAYS:
            return 0, 0
        return 0, int(months_of_days(np.array([enrolled.days[1]], np.int32))[0])

    def _whole(self, *tables: str) -> Tally:
        """What the files of some tables were found to hold, together."""
        whole = Tally()
        for table in tables:
            for index, _ in self.folder.of(table):
                whole.add(self.tallies.get(index, Tally()))
        return whole

    # --- second pass

    def _made(
        self,
        index: int,
        rules: Rules,
        code_words: population_digest.CodeWords,
        npis: pa.Array,
    ) -> _Made:
        if self.earlier is not None and index in self.reused:
            return self._reuse_shard(self.earlier, index, npis)
        content = self._built(index, rules)
        folder = self.staging / "shards" / f"{index:05d}"
        folder.mkdir()
        stamps = {
            f"shards/{index:05d}/{name}.arrow": write_arrow(folder / f"{name}.arrow", batch)
            for name, batch in content.tables.items()
        }
        recorded = dict(
            write_record(self.staging, name, index, rows) for name, rows in content.records.items()
        )
        stamps |= recorded
        if self.earlier is not None:
            stamps = {
                name: self.earlier.reused(name, self.staging, stamp)
                for name, stamp in stamps.items()
            }
        self.spill.let_go([folder / f"{_SELDOM_READ}.arrow", *map(self.staging.joinpath, recorded)])
        sums = content.sums(code_words)
        stamps |= [write_counts(self.staging, index, content, sums, npis)]
        self.quarantine.keep(index, content.quarantine)
        content.tables, content.quarantine, content.hashes, content.records = {}, {}, {}, {}
        self.spill.made(index)
        if self.is_large and index % _GIVEN_BACK_EVERY == _GIVEN_BACK_EVERY - 1:
            pa.system_memory_pool().release_unused()
        return content, sums, stamps

    def _built(self, index: int, rules: Rules) -> ShardContent:
        """A shard's tables, of its new rows and those that came with earlier deliveries."""
        pieces = {table: [self.spill.pieces(table, index)] for table in SPILLED}
        if self.earlier is not None:
            for table, own in self.earlier.pieces(index).items():
                pieces[table] = [*own, *pieces[table]]
        scratch = self._own.scratch

        def rows(label: str, *of: str) -> ShardRows:
            every = [own for table in of for own in pieces[table]]
            return ShardRows(label, every, SPILLED[of[0]], scratch)

        claims = rows("claims", *CLAIM_TABLES)
        n_medical = sum(own.n for own in pieces["medical_claim"])
        content = build(
            rows("eligibility", "eligibility"),
            claims,
            n_medical,
            rows("scores", "risk_score"),
            rules,
            len(self.folder.files),
            scratch,
        )
        if self.earlier is not None:
            words = claims.hashes["claim_id"]
            self._count_claims("medical_claim", words[:n_medical])
            self._count_claims("pharmacy_claim", words[n_medical:])
            # rows that could not be read stand in no record
            before = self.earlier.shard_counts(index)
            before.enter(content.ledger, unreadable_only=True)
            content.newest_file_day = max(content.newest_file_day, before.newest_file_day)
        return content

    # --- the end

    def _stamps(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Stamps of what is not of a shard."""
        for folder in ("codes", "reference", "quarantine"):
            for path in sorted((self.staging / folder).iterdir()):
                yield f"{folder}/{path.name}", stamp_of(path)
        tables = (f"{table.name}.parquet" for table in (DATA_QUALITY, DATA_REVIEW))
        for name in (*tables, PAYMENT_DAYS_FILE, FILE_COUNTS):
            yield name, stamp_of(self.staging / name)


def _stamp(file: InputFile) -> dict[str, Any]:
    return {"sha256": file_sha256(file.path), "bytes": file.path.stat().st_size}
