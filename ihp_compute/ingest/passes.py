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
    write_file_counts,
)
from ihp_compute.ingest.door import (
    find_inputs,
    number_reference,
)
from ihp_compute.ingest.earlier import Earlier
from ihp_compute.ingest.final_action import Choices
from ihp_compute.ingest.findings import Delivered, Tally
from ihp_compute.ingest.fresh import Fresh, Site
from ihp_compute.ingest.input_files import MAX_SHARDS, InputFile, InputFolder
from ihp_compute.ingest.onto import Onto
from ihp_compute.ingest.quarantine import Quarantine
from ihp_compute.ingest.reading import Own, Reading
from ihp_compute.ingest.review import review_of
from ihp_compute.ingest.spill import Spill
from ihp_compute.ingest.spill_layout import Spilled
from ihp_compute.ingest.workers import Progress, Workers, memory_kept, short_turns
from ihp_compute.input_columns import REFERENCE_TABLES, SPILLED
from ihp_compute.ledger import LEDGER_TABLES
from ihp_compute.population import (
    PAYMENT_DAYS_FILE,
    POPULATION,
    RECORDS,
)
from ihp_compute.population import digest as population_digest
from ihp_compute.publishing import beside, publish

_LARGE_BYTES: Final = 1 << 29
"""Input of a size at which memory is worth the time that it takes to give it back."""


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
        self.workers = workers
        self.own = Own()
        self.reading = Reading(folder, staging, self.spill, n_shards, self.own, earlier)
        self.stamps: dict[int, dict[str, Any]] = {}

    def run(self) -> dict[str, Any]:
        """Check every header, read, shard, foot the ledger, write the manifest."""
        for name in ("spill", "codes", "shards", "reference", "quarantine"):
            (self.staging / name).mkdir()
        added = () if self.earlier is None else ("places", "codes")
        for name in (*RECORDS, "counts", *added):
            (self.staging / "record" / name).mkdir(parents=True)
        files = [(index, self.folder.files[index]) for index in self.folder.delivered]
        here = {file.table for _, file in files}
        opened = self.workers.map(self.reading.opened, [index for index, _ in files], counted=False)
        parts = [part for found in opened for part in found]
        stated = [name for name in REFERENCE_TABLES if name in here]
        self.workers.steps = (
            len(parts) + len(files) + 2 * len(stated) + self.n_shards + 2 * len(LEDGER_TABLES) + 3
        )
        large_first = sorted(files, key=lambda of: -of[1].path.stat().st_size)
        first = [
            *(partial(self.reading.reference, name) for name in stated),
            *(partial(self.reading.read_part, part) for part in parts),
            *(partial(_stamp, file) for _, file in large_first),
        ]
        if self.earlier is not None:
            self.reading.take_over(self.earlier)
            self.stamps |= {
                index: self.earlier.stamp(place)
                for index, place in self.earlier.places(self.folder)
            }
        read = iter(self.workers.map(call, first))
        tables_, written, stamped = ([next(read) for _ in kind] for kind in (stated, parts, files))
        self.stamps |= dict(zip((index for index, _ in large_first), stamped, strict=True))
        spilled: dict[str, list[Spilled]] = {table: [] for table in SPILLED}
        for part, batches_ in zip(parts, written, strict=True):
            spilled[part.file.table] += batches_
        self.spill.finish(spilled)
        if sum(stamp["bytes"] for stamp in stamped) > _LARGE_BYTES:
            # what the first pass has freed would stand beside what the second one needs
            pa.system_memory_pool().release_unused()
        if self.earlier is not None:
            self.earlier.refuse_known(
                (file, self.stamps[index], self.reading.tallies.get(index, Tally()).rows)
                for index, file in files
            )
            for name in REFERENCE_TABLES:
                if name not in here and self.folder.of(name):
                    stated.append(name)
                    tables_.append(self.reading.kept_reference(self.earlier, name))
        fresh = {
            name: number_reference(name, table, self.reading.codes)
            for name, table in zip(stated, tables_, strict=True)
        }
        roster = dict(zip(stated, tables_, strict=True)).get("provider_roster")
        rostered = [] if roster is None else roster["npi"].to_pylist()
        sorted_codes, rules = self.reading.rules(rostered, self.asked.choices)
        npis = sorted_codes["npi"]
        code_words = {system: population_digest.code_words(c) for system, c in sorted_codes.items()}
        site = Site(
            self.staging, self.spill, self.quarantine, len(self.folder.files), rules, code_words,
            npis, lambda: self.own.scratch,
        )  # fmt: skip
        onto = None
        if self.earlier is not None:
            onto = Onto(site, self.earlier, rostered, self.reading.count_claims)
        shards = onto or Fresh(site)
        second = [
            self.reading.members.check,
            *(partial(population_digest.lines_of, table) for table in tables_),
            *(partial(shards.made, index) for index in range(self.n_shards)),
        ]
        _, *made = self.workers.map(call, second)
        references = {name: made[k] for k, name in enumerate(stated) if tables_[k].num_rows}
        contents, sums, shard_files = zip(*made[len(stated) :], strict=True)
        account = Account(
            self.folder, self.reading.tallies, self.reading.unknown_columns, rules, contents
        )
        totals = np.stack(sums).sum(axis=0, dtype=np.uint64)
        last = [
            partial(getattr, account, "payment_days"),  # which it keeps
            *(
                partial(
                    self.quarantine.write,
                    table,
                    self.folder.files,
                    self.reading.members.ids_of,
                    [] if onto is None else onto.aside(table),
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
        if onto is not None:
            onto.write_codes(sorted_codes)
        document = account.document(
            digest=digest,
            members=int(totals[0, 0]),
            claims=dict(zip(LEDGER_TABLES, claims, strict=True)),
        )
        write_arrow(self.staging / PAYMENT_DAYS_FILE, account.payment_days)
        document |= self.asked.judge(
            account,
            self.reading.delivered,
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
            review_of(self.folder, self.reading.delivered),
            self.staging / f"{DATA_REVIEW.name}.parquet",
            compression="zstd",
        )
        every = range(len(self.folder.files))
        write_file_counts(
            self.staging,
            FileCounts(
                [self.reading.tallies.get(index, Tally()) for index in every],
                [self.reading.delivered.get(index, Delivered()) for index in every],
                self.reading.unknown_columns,
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

    def _stamps(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Stamps of what is not of a shard."""
        folders = ("codes", "reference", "quarantine")
        for folder in folders if self.earlier is None else (*folders, "record/codes"):
            for path in sorted((self.staging / folder).iterdir()):
                yield f"{folder}/{path.name}", stamp_of(path)
        tables = (f"{table.name}.parquet" for table in (DATA_QUALITY, DATA_REVIEW))
        for name in (*tables, PAYMENT_DAYS_FILE, FILE_COUNTS):
            yield name, stamp_of(self.staging / name)


def _stamp(file: InputFile) -> dict[str, Any]:
    return {"sha256": file_sha256(file.path), "bytes": file.path.stat().st_size}
