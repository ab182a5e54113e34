"""From raw tables to a prepared population, in two passes with bounded memory.

    find -> read (one spill file per piece of an input file, rows in order of shard)
         -> shard (gather, fates, tables, digest) -> ledger -> manifest -> rename

Read this file for the order; values are read in `ingest_read`, typed and hashed in `ingest_rows`,
compared and classified in `ingest_shard` and what it names.

Every row of a claim or enrolment file meets one fate (`ledger.IngestFate`), and the ledger must
foot per file: rows and dollars read in the first pass equal the sum over fates in the second, or
the ingest fails. Everything is written to a folder beside the target and renamed when it is whole,
so a killed ingest leaves no population, and an existing one stands until the new one is complete.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ihp_compute import METHOD_VERSION, __version__, fingerprint, tables
from ihp_compute.errors import DataError, UnbalancedLedgerError
from ihp_compute.ingest_batches import Part, batches, column_names, parts_of
from ihp_compute.ingest_books import CLAIM_RANGES, CodeBook, MemberBook, Tally
from ihp_compute.ingest_columns import Rules, Space, raw_of
from ihp_compute.ingest_layout import (
    CLAIM_TABLES,
    LAYOUTS,
    LEDGER_TABLES,
    InputFile,
    InputFolder,
    check_columns,
    find_inputs,
)
from ihp_compute.ingest_read import BAD_DAY, Words, as_text, day_of_text
from ihp_compute.ingest_rows import DENIAL_MARKS, Rows, read_eligibility, read_lines, read_scores
from ihp_compute.ingest_shard import ShardContent, build
from ihp_compute.ingest_spill import (
    SPILLED_ELIGIBILITY,
    SPILLED_LINES,
    SPILLED_SCORES,
    Column,
    by_shard,
)
from ihp_compute.ledger import IngestFate
from ihp_compute.population import LAYOUT_VERSION, MANIFEST, REFERENCE_TABLES, file_sha256
from ihp_compute.service_categories import facts_of
from ihp_compute.units import NO_DAY, date_of, months_of_days

Progress = Callable[[int, int], None]

MAX_SHARDS: Final = 65_535
_STALE_SECONDS: Final = 60
_WRITE_BYTES: Final = 1 << 18
_SHARDED: Final = {
    "medical_claim": SPILLED_LINES,
    "pharmacy_claim": SPILLED_LINES,
    "eligibility": SPILLED_ELIGIBILITY,
    "risk_score": SPILLED_SCORES,
}


def ingest(
    input_dir: Path,
    out: Path,
    *,
    shards: int = 64,
    threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Prepare the population in `out` from the tables in `input_dir`.

    Parameters
    ----------
    input_dir : Path
        Folder of Tuva input-layer tables (`ingest_layout.find_inputs`), CSV or Parquet.
    out : Path
        Folder to make. An existing population there is replaced; anything else is refused.
    shards : int
        Number of shards, 1 to 65,535. Never changes the content's digest.
    threads : int, optional
        Workers; by default one a core. Never changes the content's digest.
    progress : callable, optional
        Called with (pieces done, pieces in all).

    Returns
    -------
    dict
        The JSON document: `tables` with `rows_read, claims, paid_cents`, `members`,
        `member_months`, `ledger` (table, file, fate, lines, paid_cents), `balanced`,
        `population_digest`, and what was noticed: `left_out` files and columns, blank and
        sub-cent amounts, `notes`.

    Raises
    ------
    DataError
        If the folder, a file or a required column cannot be used; nothing is left behind.
    UnbalancedLedgerError
        If rows or dollars were lost or counted twice.
    """
    input_dir, out = Path(input_dir), Path(out)
    if not 1 <= shards <= MAX_SHARDS:
        raise DataError(f"shards: expected 1 to {MAX_SHARDS:,}, got {shards}")
    _check_target(out)
    folder = find_inputs(input_dir)
    out.parent.mkdir(parents=True, exist_ok=True)
    workers = max(1, threads or os.cpu_count() or 1)
    with _beside(out) as staging:
        work = _Ingest(folder, staging, shards, workers, progress)
        document = work.run()
        _publish(staging, out)
    return document


@dataclass
class _Spill:
    """Rows of one piece of an input file, in batches ordered by shard."""

    path: Path
    table: str
    n_batches: int


class _Own(threading.local):
    """What each worker has for itself."""

    def __init__(self) -> None:
        self.space = Space()


class _Ingest:
    """One ingest on its way; `run` is the order of its steps."""

    def __init__(
        self,
        folder: InputFolder,
        staging: Path,
        n_shards: int,
        workers: int,
        progress: Progress | None,
    ) -> None:
        self.folder = folder
        self.staging = staging
        self.spill_dir = staging / "spill"
        self.n_shards = n_shards
        self.workers = workers
        self.progress = progress
        self.members = MemberBook()
        self.codes = CodeBook()
        self.tallies: dict[int, Tally] = {}
        self.unknown_columns: dict[str, list[str]] = {}
        self._lock = threading.Lock()
        self._own = _Own()
        self._done = 0
        self._steps = 1

    def run(self) -> dict[str, Any]:
        """Check every header, read, shard, foot the ledger, write the manifest."""
        for name in ("spill", "codes", "shards", "reference", "quarantine"):
            (self.staging / name).mkdir()
        for file in self.folder.files:
            _, unknown = check_columns(LAYOUTS[file.table], column_names(file), file.name)
            if unknown:
                self.unknown_columns[file.name] = unknown
        parts = [
            part
            for index, file in enumerate(self.folder.files)
            if file.table in _SHARDED
            for part in parts_of(file, index)
        ]
        files = list(self.folder.files)
        self._steps = len(parts) + len(files) + self.n_shards
        read = self._map(self._read_or_stamp, [*parts, *files])
        spills, stamps = read[: len(parts)], read[len(parts) :]
        self.members.check()
        references = self._references()
        sorted_codes, rules = self._rules()
        code_words = {system: fingerprint.code_words(c) for system, c in sorted_codes.items()}
        results = list(
            self._map(
                lambda index: self._make_shard(index, spills, rules, code_words),
                list(range(self.n_shards)),
            )
        )
        self._write_quarantine()
        shutil.rmtree(self.spill_dir)
        for system, codes in sorted_codes.items():
            schema = pa.schema([pa.field("code", pa.string(), nullable=False)])
            _write_arrow(
                self.staging / "codes" / f"{system}.arrow",
                pa.RecordBatch.from_arrays([codes], schema=schema),
            )
        return self._finish(stamps, references, sorted_codes, rules, results)

    # --- first pass

    def _read_or_stamp(self, task: Part | InputFile) -> _Spill | dict[str, Any]:
        return self._read_part(task) if isinstance(task, Part) else _stamp(task)

    def _read_part(self, part: Part) -> _Spill:
        table = part.file.table
        schema = _SHARDED[table]
        path = self.spill_dir / f"{table}-{part.file_index:05d}-{part.first_row_group:06d}.arrow"
        total = Tally()
        n_batches = 0
        known: dict[str, Words] = {}
        with (
            pa.output_stream(str(path), buffer_size=_WRITE_BYTES) as sink,
            pa.ipc.new_file(sink, schema) as writer,
        ):
            for first_row, columns in batches(part, LAYOUTS[table]):
                rows = Rows(table, columns, first_row, known)
                if not rows.n:
                    continue
                ordered, starts = by_shard(self._read_batch(part, rows), schema, self.n_shards)
                for shard in range(self.n_shards):
                    first, last = int(starts[shard]), int(starts[shard + 1])
                    writer.write_batch(ordered.slice(first, last - first))
                total.add(rows.tally)
                n_batches += 1
        with self._lock:
            self.tallies.setdefault(part.file_index, Tally()).add(total)
        return _Spill(path, table, n_batches)

    def _read_batch(self, part: Part, rows: Rows) -> dict[str, Column]:
        table, index = part.file.table, part.file_index
        if table == "eligibility":
            return read_eligibility(rows, index, self.members, self.codes)
        if table == "risk_score":
            return read_scores(rows, part.file.name, self.members, self.codes)
        return read_lines(rows, table, index, self.members, self.codes)

    def _references(self) -> dict[str, pa.Table]:
        """Tables that are not sharded: text columns, trimmed, dates in ISO form."""
        found = {}
        for name in REFERENCE_TABLES:
            files = self.folder.of(name)
            if not files:
                continue
            layout = LAYOUTS[name]
            pieces = []
            for index, file in files:
                rows = 0
                for part in parts_of(file, index):
                    for first_row, columns in batches(part, layout):
                        n = len(next(iter(columns.values())))
                        rows += n
                        pieces.append(_reference_piece(file, layout.known, columns, first_row, n))
                self.tallies[index] = Tally(rows=rows)
            table = pa.concat_tables(pieces).combine_chunks() if pieces else None
            if table is None:
                continue
            table = table.sort_by([(column, "ascending") for column in table.column_names])
            if name == "provider_roster":
                for column, system in (("npi", "npi"), ("tin", "tin")):
                    self.codes.numbers(system, table.column(column).unique().to_pylist())
            batch = table.combine_chunks().to_batches()
            if batch:
                _write_arrow(self.staging / "reference" / f"{name}.arrow", batch[0])
                found[name] = table
        return found

    def _rules(self) -> tuple[dict[str, pa.Array], Rules]:
        """What needs every file read: sorted codes, the open spans' horizon, denial's coding."""
        sorted_codes, final = self.codes.sort()
        facts = facts_of(
            *(
                sorted_codes[system].to_pylist()
                for system in ("hcpcs", "revenue", "bill_type", "place_of_service")
            )
        )
        last_day = max((tally.last_day for tally in self.tallies.values()), default=NO_DAY)
        horizon = (
            0 if last_day == NO_DAY else int(months_of_days(np.array([last_day], np.int32))[0])
        )
        rows = sum(sum(tally.denials.values()) for tally in self.tallies.values())
        ones = sum(tally.denials["1"] for tally in self.tallies.values())
        self.denial_is_zero = 2 * ones > rows
        denied = {"yes", "0" if self.denial_is_zero else "1"}
        marks = np.array([mark in denied for mark in DENIAL_MARKS])
        return sorted_codes, Rules(horizon, marks, final, facts)

    # --- second pass

    def _make_shard(
        self,
        index: int,
        spills: list[_Spill],
        rules: Rules,
        code_words: fingerprint.CodeWords,
    ) -> tuple[ShardContent, NDArray[np.uint64], dict[str, dict[str, Any]]]:
        batches = {table: self._gather(index, table, spills) for table in _SHARDED}
        n_medical = sum(batch.num_rows for batch in batches["medical_claim"])
        claims = batches["medical_claim"] + batches["pharmacy_claim"]
        space = self._own.space
        content = build(
            raw_of("eligibility", batches["eligibility"], SPILLED_ELIGIBILITY, space),
            raw_of("claims", claims, SPILLED_LINES, space),
            n_medical,
            raw_of("scores", batches["risk_score"], SPILLED_SCORES, space),
            rules,
            len(self.folder.files),
            space,
        )
        folder = self.staging / "shards" / f"{index:05d}"
        folder.mkdir()
        stamps = {
            f"shards/{index:05d}/{name}.arrow": _write_arrow(folder / f"{name}.arrow", batch)
            for name, batch in content.tables.items()
        }
        sums = _sums(content.tables, code_words)
        for table, aside in content.quarantine.items():
            if aside.num_rows:
                path = self.spill_dir / f"aside-{table}-{index:05d}.arrow"
                with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, aside.schema) as w:
                    w.write_table(aside)
        content.tables, content.quarantine = {}, {}
        return content, sums, stamps

    def _gather(self, shard: int, table: str, spills: list[_Spill]) -> list[pa.RecordBatch]:
        found: list[pa.RecordBatch] = []
        for spill in spills:
            if spill.table != table or not spill.n_batches:
                continue
            reader = pa.ipc.open_file(pa.memory_map(str(spill.path), "r"))
            found += [reader.get_batch(k * self.n_shards + shard) for k in range(spill.n_batches)]
        return found

    def _write_quarantine(self) -> None:
        """Rows put aside, one Parquet file per table, in order of shard."""
        names = pa.array([file.name for file in self.folder.files], pa.string())
        for table in LEDGER_TABLES:
            writer = None
            for path in sorted(self.spill_dir.glob(f"aside-{table}-*.arrow")):
                with pa.memory_map(str(path), "r") as source:
                    rows = pa.ipc.open_file(source).read_all()
                ids = self.members.ids_of(rows.column("member_key").to_numpy())
                rows = rows.set_column(rows.column_names.index("member_key"), "member_id", ids)
                at = rows.column_names.index("file")
                rows = rows.set_column(at, "file", names.take(rows.column("file").combine_chunks()))
                if writer is None:
                    target = self.staging / "quarantine" / f"{table}.parquet"
                    writer = pq.ParquetWriter(target, rows.schema, compression="zstd")
                writer.write_table(rows)
            if writer is not None:
                writer.close()

    # --- the end

    def _finish(
        self,
        stamps: list[dict[str, Any]],
        references: dict[str, pa.Table],
        sorted_codes: dict[str, pa.Array],
        rules: Rules,
        results: list[tuple[ShardContent, NDArray[np.uint64], dict[str, dict[str, Any]]]],
    ) -> dict[str, Any]:
        contents = [content for content, _, _ in results]
        ledger = self._ledger(contents)
        sums = np.zeros((len(fingerprint.HASHED_TABLES), 3), np.uint64)
        for _, shard_sums, _ in results:
            sums += shard_sums
        digest = fingerprint.digest_of(sums, references)
        days = [content.service_days for content in contents if content.service_days]
        first_day = min((first for first, _ in days), default=NO_DAY)
        last_day = max((last for _, last in days), default=NO_DAY)
        covered = frozenset[int]().union(*(content.covered_months for content in contents))
        years, full_years, any_full = _years(first_day, last_day, covered)
        document = {
            "tables": {table: self._table_totals(table) for table in LEDGER_TABLES},
            "members": int(sums[0, 0]),
            "member_months": sum(content.member_months for content in contents),
            "ledger": ledger,
            "balanced": True,
            "population_digest": digest,
            "left_out": {
                "files": list(self.folder.left_out),
                "columns": self.unknown_columns,
            },
            "amounts": {
                table: {
                    "blank": sum(t.blank_amounts for t in self._tallies_of(table)),
                    "sub_cent": sum(t.sub_cents for t in self._tallies_of(table)),
                }
                for table in CLAIM_TABLES
            },
            "notes": self._notes(contents, no_full_year=not any_full),
        }
        manifest = {
            "kind": "population",
            "layout_version": LAYOUT_VERSION,
            "engine_version": __version__,
            "method_version": METHOD_VERSION,
            "service_category_version": tables.SERVICE_CATEGORY_VERSION,
            **document,
            "inputs": [
                {
                    "table": file.table,
                    "file": file.name,
                    **stamp,
                    "rows": self.tallies.get(index, Tally()).rows,
                }
                for index, (file, stamp) in enumerate(zip(self.folder.files, stamps, strict=True))
            ],
            "n_shards": self.n_shards,
            "codes": {system: len(codes) for system, codes in sorted_codes.items()},
            "service_years": years,
            "full_years": full_years,
            "last_paid_day": max(content.last_paid_day for content in contents),
            "horizon_month": rules.horizon_month,
            "files": self._stamps(results),
        }
        path = self.staging / MANIFEST
        with path.open("w", encoding="utf-8") as stream:
            json.dump(manifest, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        return document

    def _tallies_of(self, table: str) -> list[Tally]:
        return [self.tallies[index] for index, _ in self.folder.of(table) if index in self.tallies]

    def _table_totals(self, table: str) -> dict[str, int]:
        whole = Tally()
        for tally in self._tallies_of(table):
            whole.add(tally)
        return {
            "rows_read": whole.rows,
            "claims": sum(
                self._map(whole.distinct_claims, list(range(CLAIM_RANGES)), counted=False)
            ),
            "paid_cents": whole.paid_cents,
        }

    def _ledger(self, contents: list[ShardContent]) -> list[dict[str, Any]]:
        """Rows of the ledger that are not empty, after checking that every file foots."""
        total = np.zeros_like(contents[0].ledger)
        for content in contents:
            total += content.ledger
        rows = []
        for t, table in enumerate(LEDGER_TABLES):
            for index, file in self.folder.of(table):
                read = self.tallies.get(index, Tally())
                lines, cents = (int(x) for x in total[t, index].sum(axis=0))
                if (lines, cents) != (read.rows, read.paid_cents):
                    raise UnbalancedLedgerError(
                        f"{file.name}: {read.rows:,} rows and {read.paid_cents} cents were read, "
                        f"{lines:,} rows and {cents} cents met a fate. This is a defect of the "
                        "program: keep the file and report it."
                    )
                rows += [
                    {
                        "table": table,
                        "file": file.name,
                        "fate": fate.label,
                        "lines": int(total[t, index, fate, 0]),
                        "paid_cents": int(total[t, index, fate, 1]),
                    }
                    for fate in IngestFate
                    if total[t, index, fate, 0] or fate is IngestFate.RETAINED
                ]
        return rows

    def _notes(self, contents: list[ShardContent], *, no_full_year: bool) -> list[str]:
        counted = Tally()
        for index in sorted(self.tallies):
            counted.add(self.tallies[index])
        for content in contents:
            counted.notes.update(content.notes)
        notes = [f"{count:,} {what}" for what, count in sorted(counted.notes.items()) if count]
        open_months = sum(content.open_end_months for content in contents)
        if open_months:
            notes.append(
                f"{open_months:,} member months stand in open-ended spans, which end with the last "
                "month of service or of a stated enrolment date"
            )
        stated = sum(count for mark, count in counted.denials.items() if mark in ("0", "1"))
        if stated:
            zero, one = ("denied", "paid") if self.denial_is_zero else ("paid", "denied")
            notes.append(
                f"x_clm_dnd_ind: {stated:,} rows state 0 or 1, read as 0 {zero}, 1 {one}, because "
                f"{'more' if self.denial_is_zero else 'no more'} than half of all rows state 1 "
                "(TAF codes denied as 0)"
            )
        if no_full_year:
            notes.append("no calendar year is full; the years of service stand for full years")
        return notes

    def _stamps(self, results: list[Any]) -> dict[str, dict[str, Any]]:
        stamps: dict[str, dict[str, Any]] = {}
        for _, _, made in results:
            stamps.update(made)
        for folder in ("codes", "reference", "quarantine"):
            for path in sorted((self.staging / folder).iterdir()):
                status = path.stat()
                stamps[f"{folder}/{path.name}"] = {
                    "sha256": file_sha256(path),
                    "bytes": status.st_size,
                    "mtime_ns": status.st_mtime_ns,
                }
        return stamps

    def _map(self, task: Callable[[Any], Any], items: list[Any], *, counted: bool = True) -> Any:
        """Results in order of the items. The first failure stops what has not begun."""
        with ThreadPoolExecutor(self.workers, thread_name_prefix="ingest") as pool:
            futures = [pool.submit(task, item) for item in items]
            try:
                for future in as_completed(futures):
                    future.result()
                    if counted:
                        self._done += 1
                        if self.progress is not None:
                            self.progress(self._done, self._steps)
            finally:
                for future in futures:
                    future.cancel()
            return [future.result() for future in futures]


def _reference_piece(
    file: InputFile, known: tuple[str, ...], columns: dict[str, pa.Array], first_row: int, n: int
) -> pa.Table:
    piece = {}
    for name in known:
        if name not in columns:
            piece[name] = pa.array([""] * n, pa.string())
            continue
        texts = as_text(columns[name]).cast(pa.string())
        if name.endswith("_date"):
            written = texts.dictionary_encode()
            days = [day_of_text(text) for text in written.dictionary.to_pylist()]
            if BAD_DAY in days:
                row = written.indices.index(days.index(BAD_DAY)).as_py()
                raise DataError(
                    f"{file.name}, data row {first_row + row:,}: {name} is not a date. "
                    "Write it as YYYY-MM-DD."
                )
            dates = ["" if day == NO_DAY else date_of(day).isoformat() for day in days]
            texts = pa.array(dates, pa.string()).take(written.indices)
        piece[name] = texts
    return pa.table(piece)


def _sums(
    batches_: dict[str, pa.RecordBatch], code_words: fingerprint.CodeWords
) -> NDArray[np.uint64]:
    """`fingerprint.shard_sums` of tables still in memory."""
    key = batches_["members"].column("member_key").to_numpy()
    offsets = batches_["offsets"]
    return np.stack(
        [
            fingerprint.table_sums(
                names,
                key
                if names[0] in ("members", "identity")
                else np.repeat(key, np.diff(offsets.column(names[0]).to_numpy())),
                lambda table, name: batches_[table].column(name).to_numpy(zero_copy_only=True),
                lambda table, name: batches_[table].column(name),
                code_words,
            )
            for names in fingerprint.HASHED_TABLES
        ]
    )


def _years(
    first_day: int, last_day: int, covered: frozenset[int]
) -> tuple[list[int], list[int], bool]:
    """Years of service, and the first and last full one.

    A year is full when somebody is enrolled in each of its months and service begins by the end of
    its first quarter and goes on into its last. Without any, the years of service stand for them.
    """
    if first_day == NO_DAY:
        return [0, 0], [0, 0], False
    first, last = (int(months_of_days(np.array([d], np.int32))[0]) for d in (first_day, last_day))
    years = [first // 12, last // 12]
    full = [
        year
        for year in range(years[0], years[1] + 1)
        if all(month in covered for month in range(12 * year, 12 * year + 12))
        and first <= 12 * year + 2
        and last >= 12 * year + 9
    ]
    return years, ([full[0], full[-1]] if full else years), bool(full)


def _stamp(file: InputFile) -> dict[str, Any]:
    return {"sha256": file_sha256(file.path), "bytes": file.path.stat().st_size}


def _write_arrow(path: Path, batch: pa.RecordBatch) -> dict[str, Any]:
    """Write a single-batch, uncompressed Arrow IPC file; its digest, size and time stamp."""
    with (
        _Hashed(path) as sink,
        pa.PythonFile(sink, "w") as target,
        pa.ipc.new_file(target, batch.schema) as writer,
    ):
        writer.write_batch(batch)
    status = path.stat()
    return {
        "sha256": sink.digest.hexdigest(),
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
    }


class _Hashed(io.FileIO):
    """A new file whose bytes are hashed while they are in the cache."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "wb")
        self.digest = hashlib.sha256()

    def write(self, content: Any) -> int:
        """Write all of the content."""
        view = memoryview(content).cast("B")
        for start in range(0, len(view), _WRITE_BYTES):
            piece = view[start : start + _WRITE_BYTES]
            self.digest.update(piece)
            while piece:
                piece = piece[super().write(piece) :]
        return len(view)


# --- where it is written --------------------------------------------------------------


def _check_target(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise DataError(f"{out} is a file: give the folder that the population shall be")
    try:
        kind = json.loads((out / MANIFEST).read_text(encoding="utf-8")).get("kind")
    except (OSError, ValueError, AttributeError):
        kind = None
    if kind != "population" and any(out.iterdir()):
        raise DataError(
            f"{out} exists and is not a population: it will not be overwritten. "
            "Give another folder, or remove it."
        )


@contextlib.contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """An empty folder on the same file system, gone at the end whatever happens."""
    _sweep(out)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.ingest-", dir=out.parent))
    lock = os.open(staging, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield staging
    finally:
        os.close(lock)
        shutil.rmtree(staging, ignore_errors=True)


def _sweep(out: Path) -> None:
    """Remove what a killed ingest into the same folder left: old, and locked by nobody."""
    for stale in out.parent.glob(f".{out.name}.ingest-*"):
        with contextlib.suppress(OSError):
            if time.time() - stale.stat().st_mtime < _STALE_SECONDS:
                continue
            lock = os.open(stale, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(stale, ignore_errors=True)
            finally:
                os.close(lock)


def _publish(staging: Path, out: Path) -> None:
    """Put the finished folder in place of what stood there."""
    staging.chmod(0o755)
    if out.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{out.name}.old-", dir=out.parent))
        out.rename(old / out.name)
        try:
            staging.rename(out)
        except OSError:
            (old / out.name).rename(out)
            raise
        finally:
            shutil.rmtree(old, ignore_errors=True)
    else:
        staging.rename(out)
    handle = os.open(out.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
