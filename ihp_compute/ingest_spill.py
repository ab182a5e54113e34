"""What the first pass hands to the second: typed columns, rows of a batch in order of shard.

    columns of a batch -> rows by shard, each column as narrow as it goes -> a worker's files

A column is described by what it is made of - one value a row, distinct values and an index, or one
value for all rows - and written down once, in the order in which it is spilled. What is the same in
all rows is not written at all, and of few distinct values only their places are: the values stay in
memory (`Kept`). Less written is less for the machine to find room for; and a range's files go as
soon as its shards are made. They are few, one a worker and range: a file that comes and goes costs
more than what is in it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.ingest_read import Text
from kernels import code_lists, row_order, row_pick

SPILLED_LINES: Final = pa.schema(
    [
        ("member_key", pa.uint64()), ("fate", pa.uint8()), ("reason", pa.string()),
        ("file", pa.uint16()), ("row", pa.int64()), ("hash_1", pa.uint64()),
        ("hash_2", pa.uint64()), ("claim_id", pa.string()), ("claim_line_number", pa.string()),
        ("original_claim", pa.string()), ("adjustment_claim", pa.string()),
        ("service_day", pa.int32()), ("claim_start_day", pa.int32()), ("claim_end_day", pa.int32()),
        ("paid_day", pa.int32()), ("file_day", pa.int32()), ("admission_day", pa.int32()),
        ("discharge_day", pa.int32()), ("paid_cents", pa.int64()), ("allowed_cents", pa.int64()),
        ("third_party_cents", pa.int64()), ("blank_amount", pa.bool_()),
        ("indicator", pa.uint8()), ("denial", pa.uint8()), ("kind", pa.uint8()),
        ("claim_type", pa.uint8()), ("disposition", pa.uint8()), ("has_drg", pa.bool_()),
        ("hcpcs", pa.int32()), ("revenue", pa.int32()), ("bill_type", pa.int32()),
        ("place_of_service", pa.int32()), ("ndc", pa.int32()), ("rendering_npi", pa.int32()),
        ("billing_npi", pa.int32()), ("facility_npi", pa.int32()), ("tin", pa.int32()),
        ("dx", pa.list_(pa.int32())),
    ]
)  # fmt: skip
SPILLED_ELIGIBILITY: Final = pa.schema(
    [
        ("member_key", pa.uint64()), ("fate", pa.uint8()), ("reason", pa.string()),
        ("file", pa.uint16()), ("row", pa.int64()), ("hash_1", pa.uint64()),
        ("hash_2", pa.uint64()), ("member_id", pa.string()), ("start_day", pa.int32()),
        ("end_day", pa.int32()), ("file_day", pa.int32()), ("birth_day", pa.int32()),
        ("death_day", pa.int32()), ("sex", pa.uint8()), ("aid", pa.uint8()),
        ("managed", pa.uint8()), ("flags", pa.uint8()), ("dual_status", pa.uint8()),
        ("original_reason", pa.uint8()), ("plan", pa.int32()),
    ]
)  # fmt: skip
SPILLED_SCORES: Final = pa.schema(
    [
        ("member_key", pa.uint64()), ("year", pa.int16()), ("model", pa.int32()),
        ("score_micro", pa.int64()), ("cell", pa.int32()),
    ]
)  # fmt: skip


SPILLED: Final[Mapping[str, pa.Schema]] = {
    "medical_claim": SPILLED_LINES,
    "pharmacy_claim": SPILLED_LINES,
    "eligibility": SPILLED_ELIGIBILITY,
    "risk_score": SPILLED_SCORES,
}
"""Columns of the tables that are sharded, and their types once they are read back."""

_RANGES: Final = 8
_BUFFER_BYTES: Final = 1 << 18
_NARROW: Final = (np.uint8, np.int16, np.uint16, np.int32)
_MANY: Final = 64
"""Of a coded column only places are written where it has this many rows for each value."""


class Space:
    """Memory that a worker uses again for every batch and every shard, by name.

    Fresh memory costs as much as what is done in it. An array stands until its name is asked for
    again, so nothing of a batch or shard may outlive it.
    """

    def __init__(self) -> None:
        self._kept: dict[str, NDArray[np.uint8]] = {}

    def array(self, name: str, n: int, kind: np.dtype[Any]) -> NDArray[Any]:
        """An array of n elements, whatever stands in it."""
        size = n * kind.itemsize
        kept = self._kept.get(name)
        if kept is None or len(kept) < size:
            kept = self._kept[name] = np.empty(size + size // 8, np.uint8)
        return kept[:size].view(kind)


@dataclass(frozen=True)
class Coded:
    """A column of numbers as distinct values, and which of them each row has."""

    values: NDArray[Any]
    index: NDArray[np.int32]

    def rows(self) -> NDArray[Any]:
        """One value a row."""
        rows: NDArray[Any] = row_pick(self.values, None, self.index)
        return rows

    def where(self, of_value: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Rows whose value is one of those marked."""
        if not of_value.any():
            return np.empty(0, np.intp)
        return np.flatnonzero(of_value.take(self.index))


@dataclass(frozen=True)
class Stated:
    """A text column in which a blank is null."""

    text: Text


Column: TypeAlias = (
    NDArray[Any] | Coded | range | Text | Stated | pa.Array | list[Coded] | int | None
)
"""One column: numbers a row, coded or counted up; texts coded, or an Arrow array of one text a row;
lists of the codes above 0; one number for all rows; None for null in all rows."""


@dataclass(frozen=True)
class Kept:
    """What stays in memory of a batch.

    constant : the value of each column that is the same in all rows, and is not written
    values : distinct values of each column of which places among them are written
    hashes : of those that are texts, `fingerprint.text_hashes`
    """

    constant: dict[str, int | str | None] = field(default_factory=dict)
    values: dict[str, NDArray[Any] | pa.Array] = field(default_factory=dict)
    hashes: dict[str, NDArray[np.uint64]] = field(default_factory=dict)


class Batch:
    """Rows in order of shard, of all shards or of a range, and what is kept of them."""

    def __init__(self, rows: pa.RecordBatch, kept: Kept) -> None:
        self.rows = rows
        self.kept = kept
        self._numbers: dict[str, NDArray[Any]] = {}

    def numbers(self, name: str) -> NDArray[Any]:
        """A column of numbers as it was written."""
        found = self._numbers.get(name)
        if found is None:
            found = self._numbers[name] = self.rows.column(name).to_numpy()
        return found


@dataclass(frozen=True)
class Piece:
    """Neighbouring rows of a batch."""

    of: Batch
    start: int
    stop: int

    @property
    def kept(self) -> Kept:
        """What was kept of the batch."""
        return self.of.kept

    @property
    def n(self) -> int:
        """How many rows."""
        return self.stop - self.start

    def numbers(self, name: str) -> NDArray[Any]:
        """A column of numbers as it was written: a value a row, or places among those kept."""
        return self.of.numbers(name)[self.start : self.stop]

    def texts(self, name: str) -> pa.Array:
        """A column of texts or lists, a value a row."""
        return self.of.rows.column(name).slice(self.start, self.n)


def by_shard(
    columns: Mapping[str, Column], schema: pa.Schema, n_shards: int, space: Space
) -> tuple[Batch, NDArray[np.int64]]:
    """The batch in order of shard, rows of a shard in their order, and where each shard starts.

    Integers may stand in a narrower type than the schema's. The rows stand in `space` until another
    batch does.
    """
    key = columns["member_key"]
    order, starts = row_order(key.rows() if isinstance(key, Coded) else key, n_shards)
    kept = Kept()
    arrays: dict[str, pa.Array] = {}
    for entry in schema:
        name, column = entry.name, columns[entry.name]
        if name != "member_key" and _is_constant(column):
            kept.constant[name] = _constant(column)
        elif (coded := _few(column, entry.type)) is not None:
            kept.values[name], index = coded
            if isinstance(column, Stated | Text):
                kept.hashes[name] = _text_of(column).words.hashes
            arrays[name] = _picked(_narrow(index, np.int32), None, order, space, name)
        else:
            arrays[name] = _ordered(column, order, entry, space)
    return Batch(pa.RecordBatch.from_pydict(arrays), kept), starts


@dataclass(frozen=True)
class Spilled:
    """A spilled batch.

    paths, at : the file of each range of shards, and where in it the batch stands
    starts : where each shard's rows start in the batch, and where the last one's end
    """

    paths: Sequence[Path]
    at: Sequence[int]
    starts: Sequence[int]
    kept: Kept


class _Own(threading.local):
    """What each worker has for itself: files to append to, one a range of shards, and space."""

    def __init__(self) -> None:
        self.files: list[tuple[Path, pa.NativeFile]] = []
        self.space = Space()


class Spill:
    """Batches on disk between the passes. A worker has one file a range of shards.

    `write` and `pieces` may be called by several threads, the one before `finish`, the other after.
    """

    def __init__(self, folder: Path, n_shards: int) -> None:
        self._folder = folder
        self._n_shards = n_shards
        self._ranges = ranges(n_shards)
        self._unmade = [len(shards) for shards in self._ranges]
        self._own = _Own()
        self._every: list[list[tuple[Path, pa.NativeFile]]] = []
        self._maps: dict[Path, pa.Buffer] = {}
        self._read: list[dict[tuple[Path, int], Batch]] = [{} for _ in self._ranges]
        self._removing = ThreadPoolExecutor(1, thread_name_prefix="spill")
        self._lock = threading.Lock()

    def write(self, table: str, columns: Mapping[str, Column]) -> Spilled:
        """Append a batch to this worker's files: in each a stream with one record batch."""
        whole, edges = by_shard(columns, SPILLED[table], self._n_shards, self._own.space)
        starts = edges.tolist()
        files = self._own.files or self._open()
        at = []
        for (_, sink), shards in zip(files, self._ranges, strict=True):
            at.append(sink.tell())
            first, stop = starts[shards.start], starts[shards.stop]
            with pa.ipc.new_stream(sink, whole.rows.schema) as writer:
                writer.write_batch(whole.rows.slice(first, stop - first))
        paths = [path for path, _ in files]
        return Spilled(paths, at, starts, whole.kept)

    def _open(self) -> list[tuple[Path, pa.NativeFile]]:
        with self._lock:
            paths = [
                self._folder / f"{len(self._every):05d}-{k}.arrow" for k in range(len(self._ranges))
            ]
            files = [(path, pa.output_stream(path, buffer_size=_BUFFER_BYTES)) for path in paths]
            self._own.files = files
            self._every.append(files)
        return files

    def finish(self) -> None:
        """Close what is written; nothing can be added."""
        for files in self._every:
            for _, sink in files:
                sink.close()

    def pieces(self, batches: Iterable[Spilled], shard: int) -> list[Piece]:
        """The rows of one shard in these batches; they stand in a map of the files."""
        at = shard // len(self._ranges[0])
        first = self._ranges[at].start
        found = []
        for batch in batches:
            before, start, stop = (batch.starts[k] for k in (first, shard, shard + 1))
            if stop > start:
                found.append(Piece(self._batch(batch, at), start - before, stop - before))
        return found

    def _batch(self, batch: Spilled, at: int) -> Batch:
        """What stands in the file of a range; read once for its shards."""
        key = batch.paths[at], batch.at[at]
        with self._lock:
            found = self._read[at].get(key)
            if found is None:
                source = self._maps.get(key[0])
                if source is None:
                    source = self._maps[key[0]] = pa.memory_map(str(key[0])).read_buffer()
                rows = pa.ipc.open_stream(source.slice(key[1])).read_next_batch()
                found = self._read[at][key] = Batch(rows, batch.kept)
        return found

    def made(self, shard: int) -> None:
        """Take note that a shard is made; the files of its range go with the last one."""
        at = shard // len(self._ranges[0])
        with self._lock:
            self._unmade[at] -= 1
            if self._unmade[at]:
                return
            self._read[at].clear()
            for files in self._every:
                path, _ = files[at]
                self._maps.pop(path, None)
                # it waits until the system has written what it began to write
                self._removing.submit(path.unlink, missing_ok=True)

    def close(self) -> None:
        """Wait until the files are gone."""
        self._removing.shutdown()


def ranges(n_shards: int) -> list[range]:
    """Shards cut into a few ranges of neighbours.

    >>> ranges(3)
    [range(0, 1), range(1, 2), range(2, 3)]
    >>> ranges(20)[:2], len(ranges(20))
    ([range(0, 3), range(3, 6)], 7)
    """
    size = -(-n_shards // _RANGES)
    return [range(k, min(k + size, n_shards)) for k in range(0, n_shards, size)]


def _is_constant(column: Column) -> bool:
    """Whether all rows have one value, as far as that is quickly seen."""
    if column is None or isinstance(column, int):
        return True
    if isinstance(column, Stated | Text):
        return _text_of(column).is_blank
    if isinstance(column, Coded):
        return len(column.values) == 1
    if isinstance(column, np.ndarray):
        ends = len(column) > 0 and column[0] == column[len(column) // 2] == column[-1]
        return bool(ends) and bool((column == column[0]).all())
    return isinstance(column, list) and not column


def _constant(column: Column) -> int | str | None:
    if isinstance(column, Coded):
        return int(column.values[0])
    if isinstance(column, np.ndarray):
        return int(column[0])
    if isinstance(column, Text):
        return ""
    return column if isinstance(column, int) else None


def _narrow(values: NDArray[Any], kind: Any) -> NDArray[Any]:
    """Values of this kind, in fewer bytes where they fit; truth in whole bytes."""
    if kind == np.bool_:
        return values.view(np.uint8) if values.dtype == np.bool_ else values != 0
    if kind in (np.int32, np.int64) and len(values):
        low, high = values.min(), values.max()
        for small in _NARROW:
            limits = np.iinfo(small)
            if limits.min <= low and high <= limits.max:
                return values.astype(small, copy=False)
    return values.astype(kind, copy=False)


def _ordered(column: Column, order: NDArray[np.int32], field: pa.Field, space: Space) -> pa.Array:
    kind = field.type
    if isinstance(column, range):
        return pa.array(_narrow(order + np.int64(column.start), kind.to_pandas_dtype()))
    if isinstance(column, Stated | Text):
        texts, index = _coded_texts(column)
        return pc.take(texts, pa.array(row_pick(index, None, order)), boundscheck=False)
    if isinstance(column, pa.Array):
        return pc.take(column, pa.array(order), boundscheck=False)
    if isinstance(column, Coded):
        values = _narrow(column.values, kind.to_pandas_dtype())
        return _picked(values, column.index, order, space, field.name)
    if isinstance(column, np.ndarray):
        return _picked(_narrow(column, kind.to_pandas_dtype()), None, order, space, field.name)
    if isinstance(column, list):
        return _lists(column, order, space)
    raise TypeError(f"a column of {type(column).__name__} has no rows")


def _few(
    column: Column, kind: pa.DataType
) -> tuple[NDArray[Any] | pa.Array, NDArray[np.int32]] | None:
    """Values and index of a column of few distinct values, if they are wider than an index."""
    if isinstance(column, Stated | Text):
        values, index = _coded_texts(column)
    elif isinstance(column, Coded) and kind in (pa.uint64(), pa.int64()):
        values, index = column.values, column.index
    else:
        return None
    return (values, index) if len(values) * _MANY <= len(index) else None


def _coded_texts(column: Stated | Text) -> tuple[pa.Array, NDArray[np.int32]]:
    """Distinct texts of a column, and which of them each row has; null where a blank is none."""
    text = _text_of(column)
    texts = text.words.texts
    if isinstance(column, Stated):
        texts = pa.concat_arrays([texts.slice(0, text.words.blank), pa.nulls(1, texts.type)])
    return texts, text.index


def _text_of(column: Stated | Text) -> Text:
    return column.text if isinstance(column, Stated) else column


def _picked(
    values: NDArray[Any],
    index: NDArray[np.int32] | None,
    order: NDArray[np.int32],
    space: Space,
    name: str,
) -> pa.Array:
    return pa.array(row_pick(values, index, order, space.array(name, len(order), values.dtype)))


def _lists(columns: Sequence[Coded], order: NDArray[np.int32], space: Space) -> pa.Array:
    """The codes above 0 that each row has, column by column."""
    k, n, kind = len(columns), len(order), np.dtype(np.int32)
    codes = space.array("codes", k * n, kind).reshape(k, n)
    for column, out in zip(columns, codes, strict=True):
        row_pick(column.values, column.index, order, out)
    stated, starts = code_lists(codes, space.array("stated", k * n, kind))
    return pa.ListArray.from_arrays(pa.array(starts), pa.array(_narrow(stated, np.int32)))
