"""The prepared store: open it, map its columns, trust it only while its digests hold.

    POPULATION/manifest.json                     inputs, ledger, counts, digests
    POPULATION/codes/<system>.arrow              one column `code`, sorted by bytes, entry 0 = ""
    POPULATION/shards/00000/<table>.arrow        tables.SHARD_TABLES, memory-mapped
    POPULATION/reference/<table>.arrow           small tables that belong to nobody's shard
    POPULATION/record/<name>/00000.arrow         `record.RECORDS`: every readable row with its fate
    POPULATION/quarantine/<table>.parquet        rows put aside at the door, with their fate
    POPULATION/data_quality.parquet              what was noticed, and what of it was accepted
    POPULATION/data_review.parquet               lines and dollars delivered, by month and plan
    POPULATION/payment_days.arrow                when lines were paid, by month (`payment_days`)

Decided here: when a file is read again to be believed: always when its size differs from the
manifest's, or the time that it was written or last changed in any way, which nobody sets; and on
request (`verify`). A process keeps the maps of the populations that it
read last, so that the next run finds them mapped, but for large tables that it lets go of
(`Shard.release`); they are keyed by the manifest's digest, so that what was prepared anew is mapped
anew. Not here: which member stands in which shard
(`population.keys`), how the content is made (`ingest`) and hashed (`population.digest`).
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ihp_compute import METHOD_VERSION, folders
from ihp_compute.data_quality import DATA_QUALITY, DATA_REVIEW
from ihp_compute.errors import PopulationError
from ihp_compute.folders import MANIFEST, Kind, file_sha256, sha256_known, times_of
from ihp_compute.input_columns import CODE_SYSTEMS, REFERENCE_TABLES
from ihp_compute.population import tables
from ihp_compute.population.manifest import faults
from ihp_compute.population.payment_days import FILE as PAYMENT_DAYS_FILE
from ihp_compute.population.record import (
    RECORDS,
    RecordFiles,
    codes_path,
    places_path,
    read_record,
    record_path,
    record_stretches,
)
from ihp_compute.storage import Files, Folder, Holder, Objects, manifest_text, objects_of, place_of
from ihp_compute.table_schema import TableSchema


class ShardColumns(Protocol):
    """What scoring and measuring need of members: a `Shard`, or one member of it."""

    @property
    def index(self) -> int:
        """Number of the shard, for messages."""
        ...

    @property
    def n_members(self) -> int:
        """How many members stand here."""
        ...

    def column(self, table: str, name: str) -> NDArray[Any]:
        """One column, read-only."""
        ...

    def offsets(self, table: str) -> NDArray[np.int64]:
        """Start of each member's rows, int64[n_members + 1]."""
        ...


T = TypeVar("T")


def kept(shard: ShardColumns, key: Hashable, make: Callable[[], T]) -> T:
    """What `make()` gives of a shard's members, made once in a process where the shard is whole.

    Small results alone. `key` names all they depend on beside the content, cutoffs too: a shard
    that is cut at a day shares what is kept with the whole one.
    """
    keep = getattr(shard, "keep", None)
    return make() if keep is None else cast(T, keep(key, make))


LAYOUT_VERSION: Final = 9

_AGAIN: Final = "Make one with `ihp ingest INPUT_DIR --out POPULATION`."
POPULATION: Final = Kind(
    "population",
    entries=(
        "population_digest", "n_shards", "files", "inputs", "ledger", "members", "member_months",
        "full_years", "last_paid_day", "method_version",
    ),
    error=PopulationError,
    no_folder=f"{{folder}} is not a folder, so not a prepared population. {_AGAIN}",
    no_manifest=f"{{folder}} is not a prepared population: it has no {MANIFEST}. {_AGAIN}",
    unreadable=f"{{manifest}} cannot be read ({{reason}}). {_AGAIN}",
    another=f"{{manifest}} does not describe a population. {_AGAIN}",
    incomplete=(
        "{manifest} lacks {missing}, so it is cut off or was edited. "
        "Prepare the population again with `ihp ingest`."
    ),
    is_file="{folder} is a file: give the folder that the population shall be",
    occupied=(
        "{folder} exists and is not a population: it will not be overwritten. "
        "Give another folder, or remove it."
    ),
    layout_version=LAYOUT_VERSION,
    other_layout=(
        "{folder} has population layout {found}, this version reads {expected}. "
        "Prepare it again with `ihp ingest`."
    ),
    method_version=METHOD_VERSION,
    other_method=(
        "{folder} was prepared by method version {found}, this program has {expected}. "
        "Prepare it again with `ihp ingest`."
    ),
)  # fmt: skip
HELD: Final = 2
"""Populations whose maps a process keeps: disk that their files take is freed when they go."""


class _Held(Holder):
    """Tables mapped so far, by shard and name, and what `Population.remember` was given."""

    def __init__(self) -> None:
        self.batches: dict[tuple[int, str], pa.RecordBatch] = {}
        self.remembered: dict[Hashable, Any] = {}

    def remember(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make()` gives, made once."""
        if key not in self.remembered:
            self.remembered[key] = make()
        return cast(T, self.remembered[key])

    def let_go(self) -> None:
        """Keep no table mapped."""
        self.batches.clear()
        for key, made in list(self.remembered.items()):
            if isinstance(made, pa.RecordBatch):
                self.remembered.pop(key, None)


@lru_cache(maxsize=HELD)
def _held(manifest_sha256: str, place: str) -> _Held:
    """What a process keeps of the population that this manifest describes."""
    del manifest_sha256, place
    return _Held()


class Shard:
    """All rows of the members whose key falls here. Opens its files when first asked.

    Pickles as its files' place, manifest and number, so that any process that reaches the place can
    map it. Arrays are zero-copy, read-only views of memory-mapped files: many readers share one
    copy.
    """

    def __init__(
        self, files: Files, manifest_sha256: str, index: int, added: Sequence[str] | None = None
    ) -> None:
        """`added` are pieces of its record beside the first; None if nothing was ever added."""
        self.index = index
        self._files = files
        self._added = added
        self._manifest_sha256 = manifest_sha256
        self._held = _held(manifest_sha256, files.where(""))
        files.hold(self._held)

    def __reduce__(
        self,
    ) -> tuple[type[Shard], tuple[Files, str, int, Sequence[str] | None]]:
        """Where the shard lies; another process maps it anew."""
        names = [*map(self._name, tables.SHARD_TABLES)]
        names += [record_path(name, self.index).as_posix() for name in RECORDS]
        if self._added is not None:
            names += [*self._added, places_path(self.index), *map(codes_path, CODE_SYSTEMS)]
            names += [f"codes/{system}.arrow" for system in CODE_SYSTEMS]
        only = self._files.only(names)
        return (Shard, (only, self._manifest_sha256, self.index, self._added))

    def __repr__(self) -> str:
        """Number and folder."""
        return f"Shard({self.index}, {self._files.where('')!r})"

    @property
    def population_sha256(self) -> str:
        """SHA-256 of what the manifest of its population says: of every file of it."""
        return self._manifest_sha256

    @property
    def n_members(self) -> int:
        """How many members stand in this shard; it may be none."""
        return int(self.batch("members").num_rows)

    def batch(self, table: str) -> pa.RecordBatch:
        """One table as a memory-mapped record batch of schema `tables.SHARD_TABLES[table]`."""
        found = self._held.batches.get((self.index, table))
        if found is None:
            if table not in tables.SHARD_TABLES:
                raise KeyError(f"no shard table {table!r}; there are {sorted(tables.SHARD_TABLES)}")
            found = read_batch(self._files, self._name(table))
            self._held.batches[self.index, table] = found
        return found

    def _name(self, table: str) -> str:
        return f"shards/{self.index:05d}/{table}.arrow"

    def release(self, *names: str) -> None:
        """Let go of tables: their memory is the system's again once no array shows it.

        What asks for them next maps them anew.
        """
        for name in names:
            self._held.batches.pop((self.index, name), None)

    def remember(self, key: Hashable, make: Callable[[], T]) -> T:
        """As `Population.remember`, of the population that the shard is of."""
        return self._held.remember(key, make)

    def keep(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `kept` says, of this shard."""
        return self._held.remember((self.index, key), make)

    def column(self, table: str, name: str) -> NDArray[Any]:
        """One numeric column as a read-only NumPy view, no copy; dtype as in `tables`."""
        return self.batch(table).column(name).to_numpy(zero_copy_only=True)

    def offsets(self, table: str) -> NDArray[np.int64]:
        """int64[n_members + 1]: member m's rows of `table` are offsets[m] to offsets[m + 1].

        `line_detail` has the offsets of `lines`, being more columns of the same rows.
        """
        name = "lines" if table == "line_detail" else table
        return self.column("offsets", name)

    def strings(self, table: str, name: str) -> pa.Array:
        """One text column as an Arrow array."""
        return self.batch(table).column(name)

    def record(
        self,
        name: str = "claims",
        columns: Sequence[str] | None = None,
        where: tuple[str, str | int] | None = None,
    ) -> pa.Table:
        """The cold record of the shard's rows: each that could be read, with its fate at ingest.

        Read from its file whenever it is asked for, and never mapped or kept.

        Parameters
        ----------
        name : str
            One of `record.RECORDS`, which has the columns.
        columns : sequence of str, optional
            Those wanted; by default all.
        where : (str, str or int), optional
            A column, and the value that it must have in a row; by default all rows.

        Raises
        ------
        PopulationError
            If the file is gone or damaged.
        """
        return read_record(self._record, name, columns, where, self._of_lines)

    def stretches(
        self, name: str, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The cold record of the shard's rows as it was written (`record.record_stretches`)."""
        return record_stretches(self._record, name, columns)

    @property
    def record_claims(self) -> Sequence[str]:
        """Files of the claims of the cold record, piece by piece."""
        return [record_path("claims", self.index).as_posix(), *(self._added or ())]

    @property
    def _record(self) -> RecordFiles:
        final = None if self._added is None else self._final_code
        return RecordFiles(self._files, self.index, self.record_claims, final)

    def _final_code(self, system: str) -> NDArray[np.int32]:
        """Final number of each code of a system by its number in the cold record."""

        def made() -> NDArray[np.int32]:
            met, final = (
                read_batch(self._files, name).column("code")
                for name in (codes_path(system), f"codes/{system}.arrow")
            )
            found: NDArray[np.int32] = pc.fill_null(pc.index_in(met, final), 0).to_numpy()
            return found

        return self._held.remember(("recorded codes", system), made)

    def _of_lines(self, name: str, places: pa.Array) -> pa.Array:
        """A column of the lines, or whose they are, at places among them."""
        if name == "member_key":
            of_line = np.repeat(self.column("members", name), np.diff(self.offsets("lines")))
            return pa.array(of_line).take(places)
        table = "lines" if name in tables.LINES.names else "line_detail"
        return self.batch(table).column(name).take(places)


class Population:
    """A prepared population: its manifest, its shards and its code tables."""

    def __init__(
        self, path: Path, manifest: Mapping[str, Any], files: Files, sha256: str = ""
    ) -> None:
        """`sha256` is that of the manifest (`_sha256_of`), where somebody knows it already."""
        self.path = path
        self.manifest = manifest
        self.files = files
        sha256 = sha256 or _sha256_of(manifest)
        added = _added(manifest["files"])
        self.shards: tuple[Shard, ...] = tuple(
            Shard(files, sha256, index, None if added is None else added.get(index, ()))
            for index in range(manifest["n_shards"])
        )
        self._held = _held(sha256, files.where(""))

    def remember(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make()` gives, made once in this process: for small results of the whole content.

        `key` names everything they depend on beside the content.
        """
        return self._held.remember(key, make)

    @property
    def digest(self) -> str:
        """SHA-256 of the content, whatever the shards, threads, row order or file split."""
        return str(self.manifest["population_digest"])

    def codes(self, system: str) -> pa.Array:
        """The texts that integer codes of a system stand for; entry 0 is "", not stated."""
        if system not in CODE_SYSTEMS:
            raise KeyError(f"no code system {system!r}; there are {list(CODE_SYSTEMS)}")
        return self._table("codes", system).column("code")

    def reference(self, name: str) -> pa.Table | None:
        """A table that is not sharded (`REFERENCE_TABLES`), or None when none was given."""
        if name not in REFERENCE_TABLES:
            raise KeyError(f"no reference table {name!r}; there are {list(REFERENCE_TABLES)}")
        if f"reference/{name}.arrow" not in self.manifest["files"]:
            return None
        return pa.Table.from_batches([self._table("reference", name)])

    def _table(self, folder: str, name: str) -> pa.RecordBatch:
        """A table that is not sharded, mapped once as those of shards are."""
        file = f"{folder}/{name}.arrow"
        return self.remember((folder, name), lambda: read_batch(self.files, file))

    def payment_days(self) -> pa.Table:
        """When lines were paid, by the month that incurs them: columns of `PAYMENT_DAYS`."""
        return pa.Table.from_batches([read_batch(self.files, PAYMENT_DAYS_FILE)])

    def put_aside(self, table: str) -> pa.Table | None:
        """Rows of a raw table that did not pass the door; None where all did.

        Raises
        ------
        PopulationError
            If the file cannot be read.
        """
        name = f"quarantine/{table}.parquet"
        return read_parquet(self.files, name) if name in self.manifest["files"] else None

    @property
    def place(self) -> Path:
        """Where it lies, as another process of this machine finds it too."""
        return self.path.resolve() if isinstance(self.files, Folder) else self.path

    def data_quality(self) -> pa.Table:
        """What its ingest noticed, a table of `DATA_QUALITY`; empty where none was kept.

        Raises
        ------
        PopulationError
            If the file cannot be read or holds other columns.
        """
        return self._kept(DATA_QUALITY)

    def data_review(self) -> pa.Table:
        """Lines and dollars delivered by month and plan, a table of `DATA_REVIEW`.

        Empty where none was kept, by a version before it.

        Raises
        ------
        PopulationError
            If the file cannot be read or holds other columns.
        """
        return self._kept(DATA_REVIEW)

    def _kept(self, declared: TableSchema) -> pa.Table:
        """A table that the ingest kept beside the shards; empty where it did not."""
        name = f"{declared.name}.parquet"
        if name not in self.manifest["files"]:
            return declared.arrow.empty_table()
        try:
            return read_parquet(self.files, name).cast(declared.arrow)
        except (pa.ArrowException, ValueError) as error:
            raise _unreadable(self.files, name, error) from error


def _added(files: Collection[str]) -> Mapping[int, Sequence[str]] | None:
    """Pieces that deliveries added to the records of claims, by shard; None if none ever did."""
    if codes_path(next(iter(CODE_SYSTEMS))) not in files:
        return None
    found: dict[int, list[tuple[int, str]]] = {}
    for name in files:
        if name.startswith("record/claims/") and "-" in name:
            shard, delivery = map(int, Path(name).stem.split("-"))
            found.setdefault(shard, []).append((delivery, name))
    return {shard: tuple(name for _, name in sorted(own)) for shard, own in found.items()}


def open_population(path: Path) -> Population:
    """Open a folder that `ihp ingest` made, or what was published from one to `LOCATION:PREFIX`.

    A file whose size differs from the manifest's is refused; one that was written or changed since
    (a copy, a restored backup, a bit turned under the old time stamp) is hashed, once by a process,
    and refused when its content is another.

    Raises
    ------
    PopulationError
        If the folder is not a population, was made by another layout or method version, lacks a
        file, or a file's content no longer matches its digest.
    """
    place = place_of(path)
    if not isinstance(place, Path):
        return Population(*found_at(path))
    manifest, sha256 = _known(place)
    for name, stamp in manifest["files"].items():
        check_file(place, name, stamp, always_hash=False)
    return Population(place, manifest, Folder(place.absolute()), sha256)


def _known(folder: Path) -> tuple[Mapping[str, Any], str]:
    """A folder's manifest and its SHA-256, read and checked once while it is the same file."""
    try:
        found = (folder / MANIFEST).stat()
    except OSError:
        return read_manifest(folder), ""  # which says what is wrong
    return _read_once(folder, found.st_dev, found.st_ino, *times_of(found))


@lru_cache(maxsize=16)
def _read_once(folder: Path, *_identity: int) -> tuple[Mapping[str, Any], str]:
    manifest = read_manifest(folder)
    return manifest, _sha256_of(manifest)


def _sha256_of(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def found_at(path: Path) -> tuple[Path, dict[str, Any], Folder | Objects]:
    """Where a population lies, its manifest, and its files, not looked at where that is a folder.

    Raises
    ------
    PopulationError
        As `open_population`.
    """
    place = place_of(path)
    if isinstance(place, Path):
        return place, read_manifest(place), Folder(place.absolute())
    manifest = _checked(
        folders.manifest_of(partial(manifest_text, place), place.path, POPULATION), place.path
    )
    return place.path, manifest, objects_of(place, manifest)


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a population folder, checked for kind, versions, types and bounds.

    Raises
    ------
    PopulationError
        With the part of the manifest that is wrong.
    """
    return _checked(folders.read_manifest(path, POPULATION), path)


def _checked(manifest: dict[str, Any], path: Path) -> dict[str, Any]:
    for fault in faults(manifest):
        raise PopulationError(
            f"{path / MANIFEST} is not as `ihp ingest` writes it: {fault}. {_AGAIN}"
        )
    return manifest


def read_batch(files: Files, name: str) -> pa.RecordBatch:
    """The single record batch of an Arrow IPC file, memory-mapped."""
    try:
        with files.open(name) as source:
            reader = pa.ipc.open_file(source)
            if reader.num_record_batches == 0:
                return pa.RecordBatch.from_pylist([], schema=reader.schema)
            return reader.get_batch(0)
    except (OSError, pa.ArrowInvalid) as error:
        raise PopulationError(
            f"{files.where(name)} cannot be read as an Arrow file ({error}). "
            "Prepare the population again."
        ) from error


def read_parquet(files: Files, name: str) -> pa.Table:
    """A table of a Parquet file."""
    try:
        with files.open(name) as source:
            return pq.read_table(source)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(files, name, error) from error


def _unreadable(files: Files, name: str, error: Exception) -> PopulationError:
    return PopulationError(
        f"{files.where(name)} cannot be read ({error}). Prepare the population again."
    )


def check_file(root: Path, name: str, stamp: Mapping[str, Any], *, always_hash: bool) -> None:
    """Refuse a file whose size, or whose content where that must be read, is not the manifest's."""
    try:
        status = os.stat(f"{root}/{name}")  # noqa: PTH116 - of hundreds of files each time
    except OSError:
        raise PopulationError(
            f"{root} lacks {name}, which its manifest lists. Prepare it again with `ihp ingest`."
        ) from None
    if stat.S_ISREG(status.st_mode) and status.st_size == stamp["bytes"]:
        found = (status.st_mtime_ns, status.st_ctime_ns)
        if found == (stamp["mtime_ns"], stamp.get("ctime_ns")) and not always_hash:
            return
        sha256 = (file_sha256 if always_hash else sha256_known)(root / name)
        if sha256 == stamp["sha256"]:
            return
    raise PopulationError(
        f"{root / name} no longer has the content that was prepared (its digest or size differs). "
        "Prepare the population again with `ihp ingest`."
    )
