"""The cold record: every readable row of claims and enrolment, with the fate that it met.

    POPULATION/record/claims/00000.arrow          rows of the claim tables of a shard's members
    POPULATION/record/eligibility/00000.arrow     their rows of enrolment
    POPULATION/record/scores/00000.arrow          their supplied risk scores, which have no fate
    POPULATION/record/claims/00000-2.arrow        rows that the second delivery brought, or moved
    POPULATION/record/places/00000.arrow          where the lines of earlier pieces' rows are now
    POPULATION/record/codes/SYSTEM.arrow          the codes by their numbers here, once added to

A row is kept as ingest read it: whose it is, the numbers that it goes by and names, what it says,
the hash that tells it apart, where it stood, and its fate. So a later delivery can decide a history
again whole, and a fate can be explained. Rows that cannot be read say nothing certain; they stand
in the quarantine. What `lines` and `line_detail` say of a retained row (`OF_LINES`) is not written
twice: the row has the place of its line, and is read back whole.

A delivery leaves the claims of earlier ones as they lie, and writes its own rows beside them, with
all rows of the people whose histories it reaches, which are gone from where they stood (`GONE`).
Where the lines stand changes with every delivery, so that of all pieces but the last it is written
apart. Codes keep the numbers that they had when they were first met.

No run maps or reads it, and no result depends on it: it stands under the SHA-256 of its files and
not under the population's digest. Of rows equal in all that has meaning, which one is the duplicate
is no content, and neither are files and their rows.

Decided here: which columns it has (all that ingest spills), which of them its file leaves to the
lines, and how it lies in its file: an Arrow IPC file whose buffers are compressed with LZ4, each
column in a type as narrow as the shard's rows let it be. Nothing is encoded: this takes half the
time of Parquet. Read back, all columns have the types of `RECORDS`. Left to `ingest`: the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.errors import PopulationError
from ihp_compute.folders import hashed_file, write_arrow
from ihp_compute.input_columns import CODED, DAYS, SPILL_COLUMNS, SpillColumn
from ihp_compute.population import tables
from ihp_compute.storage import Files
from ihp_compute.units import NO_DAY

FEW: Final = pa.dictionary(pa.int32(), pa.string())
"""Type of texts of which few stand in many rows."""


_LEFT_OUT: Final = ("fate", "reason", "issuer", "hash_2")
"""A fate of the first pass is none yet, only what cannot be read has a reason, whose numbers they
are is said by source, payer and plan, and of rows of one claim one hash tells enough."""

OF_LINES: Final = ("member_key", *sorted(
    (set(tables.LINES.names) | set(tables.LINE_DETAIL.names))
    & {column.name for column in SPILL_COLUMNS["medical_claim"]} - {"file"}
))  # fmt: skip
"""Columns of claims that a retained row has from its line. They are null in its file."""
GONE: Final = -2
"""In place of a line: the row stands in a later piece."""
PLACES: Final = pa.schema([pa.field("line", pa.int32(), nullable=False)])
_NO_PLACES: Final = pa.array([], pa.int32())


def _field(column: SpillColumn) -> pa.Field:
    """A column with null only where a text that may be blank is."""
    kind = FEW if column.few else column.type
    if pa.types.is_list(kind):
        kind = pa.list_(pa.field("element", kind.value_type, nullable=False))
    may_be_null = pa.types.is_string(kind) and column.blank is None
    return pa.field(column.name, kind, nullable=may_be_null)


def _schema(table: str) -> pa.Schema:
    first = [pa.field(name, FEW, nullable=False) for name in ("source_table", "fate")]
    if table != "eligibility":
        first.append(pa.field("line", pa.int32(), nullable=False))
    kept = (column for column in SPILL_COLUMNS[table] if column.name not in _LEFT_OUT)
    return pa.schema([*first, *map(_field, kept)])


RECORDS: Final[Mapping[str, pa.Schema]] = {
    "claims": _schema("medical_claim"),
    "eligibility": _schema("eligibility"),
    "scores": pa.schema([_field(column) for column in SPILL_COLUMNS["risk_score"]]),
}
"""The records and their columns: `source_table` and `fate` by name, then all that is spilled; of
scores what is spilled.

`line` is the place of a retained row among the shard's `lines`, and -1 of others. Days are int32
(`NO_DAY`), money int64 cents; codes index `Population.codes`, as in `tables`. `file` is a place in
the manifest's `inputs`, and `row` the row there.
"""


def record_path(name: str, shard: int, delivery: int = 1) -> Path:
    """Where a shard's record lies in the population's folder, or what a delivery added to it."""
    return Path("record", name, f"{shard:05d}{f'-{delivery}' if delivery > 1 else ''}.arrow")


def places_path(shard: int) -> str:
    """Where it lies of a shard's record where the lines of its earlier pieces are."""
    return f"record/places/{shard:05d}.arrow"


def codes_path(system: str) -> str:
    """Where the codes of a system lie by their numbers in the record."""
    return f"record/codes/{system}.arrow"


@dataclass(frozen=True)
class RecordFiles:
    """A shard's record where it lies.

    Attributes
    ----------
    files : Files
    shard : int
    claims : sequence of str
        Files of the claims, piece by piece.
    final : callable, optional
        Final number of each number of a system's codes in the record, int32, by the system; None
        where all are final.
    """

    files: Files
    shard: int
    claims: Sequence[str]
    final: Callable[[str], NDArray[np.int32]] | None = None

    def pieces(self, name: str) -> Sequence[str]:
        """The files of a record, in order."""
        return self.claims if name == "claims" else [record_path(name, self.shard).as_posix()]

    def lines(self, name: str) -> pa.Array:
        """Where the lines of the rows of all pieces but the last are; of the rest these say it."""
        if name != "claims" or len(self.claims) == 1:
            return _NO_PLACES
        with _opened(self.files, places_path(self.shard)) as source:
            return pa.ipc.open_file(source).get_batch(0).column("line")


def write_record(
    folder: Path, name: str, shard: int, batches: Iterable[pa.RecordBatch], delivery: int = 1
) -> tuple[str, dict[str, Any]]:
    """Write a shard's record; its name among the files, and its stamp.

    Parameters
    ----------
    folder : Path
        The population's, in which `record/NAME` stands.
    name : str
        One of `RECORDS`.
    shard : int
    batches : iterable of RecordBatch
        All of one schema: that of the record, where a number may be of a narrower type whose least
        number stands for `NO_DAY`, a text of few plain, and a place among few texts narrower. Each
        is asked for when the one before it is written.
    delivery : int
        The one that adds it as a piece; 1 where it is the record's first.
    """
    path = record_path(name, shard, delivery)
    rest = iter(batches)
    first = next(rest, None)
    schema = RECORDS[name] if first is None else first.schema
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with (
        hashed_file(folder / path) as (sink, stamp),
        pa.ipc.new_file(sink, schema, options=options) as writer,
    ):
        if first is not None:
            for batch in chain([first], rest):
                writer.write_batch(batch)
    return path.as_posix(), stamp


def write_places(folder: Path, shard: int, line: NDArray[np.int32]) -> tuple[str, dict[str, Any]]:
    """Write where the lines of the rows of all pieces but the last are; the file and its stamp."""
    name = places_path(shard)
    batch = pa.RecordBatch.from_arrays([pa.array(line)], schema=PLACES)
    return name, write_arrow(folder / name, batch)


LineColumn: TypeAlias = Callable[[str, pa.Array], pa.Array]
"""A column of `OF_LINES` at places among the shard's lines, null where a place is."""


def read_record(
    of: RecordFiles,
    name: str,
    columns: Sequence[str] | None,
    where: tuple[str, str | int] | None,
    of_lines: LineColumn,
) -> pa.Table:
    """A shard's record, or those columns of the rows in which a column has a value.

    Only the columns asked for are read; to find rows, first the one column of all stretches, then
    what is wanted of the stretches that have such a row.
    """
    schema = RECORDS[name]
    wanted = schema.names if columns is None else list(columns)
    found = []
    lines, row = of.lines(name), 0
    for file in of.pieces(name):
        with _opened(of.files, file) as source:
            rows = _reader(source, schema, wanted)
            for k in range(rows.num_record_batches):
                line = lines[row:] if row < len(lines) else None
                read = _Stretch(k, line, schema, of_lines, of.final)
                if where is None:
                    table = read.table(rows)
                    row += table.num_rows
                    found.append(read.standing(table).select(wanted))
                    continue
                column, value = where
                of_key = read.table(_reader(source, schema, [column]))
                row += of_key.num_rows
                key = _plain(of_key.column(column))
                passing = pc.equal(key, pa.scalar(value, key.type))
                if "line" in schema.names:
                    passing = pc.and_(passing, pc.not_equal(of_key.column("line"), GONE))
                if pc.any(passing).as_py():
                    found.append(read.table(rows).select(wanted).filter(passing))
    empty = pa.schema([schema.field(column) for column in wanted]).empty_table()
    return pa.concat_tables([empty, *found]).unify_dictionaries()


def record_stretches(
    of: RecordFiles, name: str, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """A shard's record as it lies in its files, a stretch of rows at a time, each of one table.

    Numbers may be of narrower types than those of `RECORDS`, whose least number then stands for
    `NO_DAY`, what the lines say of a retained row is null, and codes have their numbers in the
    record. Rows that are gone stand here too (`GONE`).

    Raises
    ------
    PopulationError
        If a file is gone or damaged.
    """
    lines, row = of.lines(name), 0
    wanted = RECORDS[name].names if columns is None else columns
    for file in of.pieces(name):
        with _opened(of.files, file) as source:
            rows = _reader(source, RECORDS[name], wanted)
            for k in range(rows.num_record_batches):
                batch = rows.get_batch(k)
                if row < len(lines):
                    at = batch.schema.get_field_index("line")
                    now = lines[row : row + batch.num_rows]
                    batch = batch.set_column(at, batch.schema.field(at), now)
                row += batch.num_rows
                yield batch


@contextmanager
def _opened(files: Files, file: str) -> Iterator[pa.NativeFile]:
    """A file of a record, while it is read.

    Raises
    ------
    PopulationError
        If it is gone or damaged.
    """
    try:
        with files.open(file) as source:
            yield source
    except (OSError, pa.ArrowException) as error:
        raise PopulationError(
            f"{files.where(file)} cannot be read as an Arrow file ({error}). "
            "Prepare the population again."
        ) from error


def _reader(source: pa.NativeFile, schema: pa.Schema, columns: Sequence[str]) -> Any:
    """A reader of those columns of a record's file, and of where their rows' lines are."""
    places = [k for k, name in enumerate(schema.names) if name in columns or name == "line"]
    options = pa.ipc.IpcReadOptions(use_threads=False, included_fields=places)
    return pa.ipc.open_file(source, options=options)


@dataclass(frozen=True)
class _Stretch:
    """A batch of a record's file: its number, and where its rows' lines are if it does not say."""

    k: int
    line: pa.Array | None
    schema: pa.Schema
    of_lines: LineColumn
    final: Callable[[str], NDArray[np.int32]] | None

    def table(self, reader: Any) -> pa.Table:
        """The columns of a reader in the types of the record, gone rows among them."""
        batch, names = reader.get_batch(self.k), reader.schema.names
        line = batch.column("line") if "line" in names else None
        if self.line is not None:
            line = self.line[: batch.num_rows]
        return pa.table(
            [
                line
                if name == "line"
                else _whole(self._numbered(batch.column(name), name), name, line, self.of_lines)
                for name in names
            ],
            schema=pa.schema([self.schema.field(name) for name in names]),
        )

    def standing(self, table: pa.Table) -> pa.Table:
        """Rows that are not gone."""
        if self.line is None:
            return table
        return table.filter(pc.not_equal(table.column("line"), GONE))

    def _numbered(self, column: pa.Array, name: str) -> pa.Array:
        """A column in the record's type, codes final."""
        wide = _widened(column, self.schema.field(name))
        if self.final is None or name not in CODED:
            return wide
        final = pa.array(self.final(CODED[name]))
        if not pa.types.is_list(wide.type):
            return final.take(wide)
        codes = final.take(wide.values)
        return pa.ListArray.from_arrays(wide.offsets, codes, type=wide.type, mask=None)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def _whole(column: pa.Array, name: str, line: pa.Array | None, of_lines: LineColumn) -> pa.Array:
    """A column with what the lines say of retained rows."""
    if line is None or name not in OF_LINES or not column.null_count:
        return column
    none = pa.scalar(None, line.type)
    found = of_lines(name, pc.if_else(pc.less(line, 0), none, line))
    if column.type != FEW:
        return pc.coalesce(column, found)
    texts = pc.coalesce(column.cast(pa.string()), found).dictionary_encode()
    return pa.DictionaryArray.from_arrays(texts.indices.cast(pa.int32()), texts.dictionary)


def _widened(column: pa.Array, field: pa.Field) -> pa.Array:
    """A column as it was written, in the type of the record's."""
    if column.type == field.type:
        return column
    if field.type == FEW:
        few = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        return pa.DictionaryArray.from_arrays(few.indices.cast(pa.int32()), few.dictionary)
    wide = column.cast(field.type)
    if field.name not in DAYS:
        return wide
    least = pa.scalar(np.iinfo(column.type.to_pandas_dtype()).min, column.type)
    return pc.if_else(pc.equal(column, least), pa.scalar(NO_DAY, field.type), wide)


SUMMED: Final[Mapping[str, tuple[str, ...]]] = {
    name: tuple(
        column
        for column in ("source_table", "file", "fate", "paid_cents")
        if column in schema.names
    )
    for name, schema in RECORDS.items()
    if "fate" in schema.names
}
"""What sums of a record need of it."""

Sums: TypeAlias = Counter[tuple[str, int, str, str]]
"""Sums by table, place among the inputs, fate, and `lines` or `paid_cents`."""


def record_sums(rows: pa.Table) -> Sums:
    """Lines and cents of a shard's record, of which columns of `SUMMED` are needed."""
    paid = ["paid_cents"] if "paid_cents" in rows.column_names else []
    keys = ["source_table", "file", "fate"]
    counted = rows.group_by(keys, use_threads=False).aggregate(
        [([], "count_all"), *((column, "sum") for column in paid)]
    )
    sums: Sums = Counter()
    for row in counted.to_pylist():
        key = row["source_table"], row["file"], row["fate"]
        sums[*key, "lines"] += row["count_all"]
        sums[*key, "paid_cents"] += row.get("paid_cents_sum", 0)
    return sums
