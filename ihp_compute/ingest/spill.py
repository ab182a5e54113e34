"""What the first pass hands to the second: batches in files, a file for each range of shards.

    a batch in order of shard -> its rows of each range, at the end of that range's file:
        numbers column by column, each filled up to 8 bytes, then texts and lists as an Arrow stream
    a range's file, mapped -> where each column of each batch stands -> pieces of one shard

Files are few, and a range's file goes as soon as its shards are made: what files give back need not
be found anew. A column is not read batch by batch: `Stored` says where its numbers are and how they
are written, and `kernels.row_join` writes them down for a shard in one go.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.ingest.door import Column, by_shard
from ihp_compute.ingest.spill_layout import SPILLED, Kept, Space
from ihp_compute.population import text_hashes
from kernels import row_join
from kernels.rows.row_join import CONSTANT, STORED

_RANGES: Final = 8
_FILL: Final = bytes(7)
_WRITTEN_BYTES: Final = 1 << 18
"""Written at a time. Some 2 MiB at a time took the system 8.7 s of an ingest, this 7.4 s."""


class Stored(NamedTuple):
    """Where the numbers of a column stand, batch by batch; arguments of `kernels.row_join`."""

    at: NDArray[np.int64]
    kind: NDArray[np.int8]
    base: NDArray[np.int64]
    values: NDArray[Any]


class StoredTexts(NamedTuple):
    """A column of texts of which places are written: all texts, their hashes, and the places."""

    values: pa.Array
    words: NDArray[np.uint64]
    places: Stored


class StoredLists(NamedTuple):
    """Lists of codes.

    ends : where each row's list ends among the codes of its batch
    starts : int64[n_batches, n_shards + 1], where each shard's codes start in each batch
    """

    codes: Stored
    ends: Stored
    starts: NDArray[np.int64]


@dataclass(frozen=True)
class Spilled:
    """A spilled batch.

    at : where it stands in the file of each range of shards
    starts : int64[n_shards + 1], where each shard's rows start in the batch
    kind : int8, of each column of the table how its numbers are written (`kernels.row_join`)
    has_texts : whether a stream follows the numbers
    """

    at: Sequence[int]
    starts: NDArray[np.int64]
    kind: NDArray[np.int8]
    has_texts: bool
    kept: Kept


class Range:
    """Batches of one table, as they were written for a range of shards.

    words : uint64, the range's file
    starts : int64[n_batches, n_shards + 1], where each shard's rows start in each batch
    """

    def __init__(
        self, table: str, source: pa.Buffer, spilled: Sequence[Spilled], of: int, shards: range
    ) -> None:
        self._column = {name: k for k, name in enumerate(SPILLED[table].names)}
        self._address = source.address
        self._kept = [batch.kept for batch in spilled]
        self.words = np.frombuffer(source, np.uint64) if source.size else np.empty(0, np.uint64)
        edges = [batch.starts[shards.start : shards.stop + 1] for batch in spilled]
        starts = np.array(edges, np.int64).reshape(len(spilled), len(shards) + 1)
        self.starts = starts - starts[:, :1]
        kinds = np.array([batch.kind for batch in spilled], np.int8)
        self._kind = kinds.reshape(len(spilled), len(self._column)).T.copy()
        size = _filled(np.abs(self._kind, dtype=np.int64) * self.starts[:, -1])
        at = np.array([batch.at[of] for batch in spilled], np.int64)
        self._at = np.cumsum(size, axis=0) - size + at
        self._rows: list[Any] = [
            pa.ipc.open_stream(source.slice(end)).read_next_batch() if batch.has_texts else None
            for end, batch in zip((at + size.sum(axis=0)).tolist(), spilled, strict=True)
        ]
        self._numbers: dict[str, Stored] = {}
        self._texts: dict[str, StoredTexts | None] = {}
        self._lists: dict[str, StoredLists] = {}

    # two workers may make a column at the same time: both make the same

    def numbers(self, name: str, kind: np.dtype[Any]) -> Stored:
        """A column of numbers."""
        if name not in self._numbers:
            values: list[Any] = []
            for kept in self._kept:
                same = kept.constant.get(name)
                values.append(kept.values.get(name) if same is None else np.array([same], kind))
            self._numbers[name] = self._stored(name, values, kind)
        return self._numbers[name]

    def texts(self, name: str) -> StoredTexts | None:
        """A column of texts, if no batch has the texts themselves."""
        if name not in self._texts:
            self._texts[name] = self._coded(name)
        return self._texts[name]

    def lists(self, name: str) -> StoredLists:
        """A column of lists of codes."""
        if name not in self._lists:
            self._lists[name] = self._stored_lists(name)
        return self._lists[name]

    def written(self, name: str) -> Iterator[pa.Array]:
        """A column of texts, batch by batch."""
        for k, (rows, kept) in enumerate(zip(self._rows, self._kept, strict=True)):
            if name in kept.constant:
                same = pa.scalar(kept.constant[name], pa.string())
                yield pa.repeat(same, int(self.starts[k, -1]))
            elif name in kept.values:
                yield kept.values[name].take(pa.array(self._places(name, k)))
            else:
                yield rows.column(name)

    def _places(self, name: str, k: int) -> NDArray[Any]:
        """What a batch has written of a column whose texts are in memory."""
        column, n = self._column[name], int(self.starts[k, -1])
        kind = _KINDS[int(self._kind[column, k])]
        return np.frombuffer(self.words, kind, n, int(self._at[column, k]))

    def _coded(self, name: str) -> StoredTexts | None:
        texts, words = [pa.array([], pa.string())], [np.empty(0, np.uint64)]
        for kept in self._kept:
            if name in kept.constant:
                texts.append(pa.array([kept.constant[name]], pa.string()))
                words.append(text_hashes(texts[-1]))
            elif name in kept.values:
                texts.append(kept.values[name])
                words.append(kept.hashes[name])
            else:
                return None
        stops = np.cumsum([len(part) for part in texts])
        every = np.arange(stops[-1], dtype=np.int32)
        places = self._stored(name, np.split(every, stops[:-1])[1:], every.dtype)
        return StoredTexts(pa.concat_arrays(texts), np.concatenate(words), places)

    def _stored(
        self, name: str, values: Sequence[NDArray[Any] | None], kind: np.dtype[Any]
    ) -> Stored:
        """Batches that wrote the numbers themselves have no values."""
        k = self._column[name]
        sizes = np.array([0 if own is None else len(own) for own in values], np.int64)
        base = np.cumsum(sizes) - sizes
        base[[own is None for own in values]] = -1
        every = [np.empty(0, kind), *(own for own in values if own is not None)]
        return Stored(self._at[k], self._kind[k], base, np.concatenate(every))

    def _stored_lists(self, name: str) -> StoredLists:
        """A batch that wrote no lists has no codes."""
        n = len(self._kept)
        at, kind = np.zeros((2, n), np.int64), np.full((2, n), CONSTANT, np.int8)
        starts = np.zeros_like(self.starts)
        for k, (rows, kept) in enumerate(zip(self._rows, self._kept, strict=True)):
            if name in kept.constant or not rows.num_rows:
                continue
            column = rows.column(name)
            offsets, codes = column.buffers()[1], column.values
            if len(codes):
                at[0, k] = codes.buffers()[1].address - self._address
                kind[0, k] = _kind_of(np.dtype(codes.type.to_pandas_dtype()))
            at[1, k] = offsets.address - self._address + 4
            kind[1, k] = STORED["i4"]
            starts[k] = np.frombuffer(offsets, np.int32)[self.starts[k]]
        base, none = np.full(n, -1), np.empty(0, np.int32)
        codes, ends = (Stored(at[k], kind[k], base, none) for k in (0, 1))
        return StoredLists(codes, ends, starts)


_KINDS: Final = {code: name for name, code in STORED.items()}


def _kind_of(kind: np.dtype[Any]) -> int:
    """How numbers are written."""
    return STORED[f"{kind.kind}{kind.itemsize}"]


def _filled(size: Any) -> Any:
    """A number of bytes, or an array of them, up to the next 8."""
    return (size + 7) & ~7


@dataclass(frozen=True)
class Pieces:
    """The rows of one shard in the batches of a table."""

    range: Range
    shard: int
    """Place in the range."""

    @property
    def starts(self) -> NDArray[np.int64]:
        """First row in each batch."""
        return self.range.starts[:, self.shard]

    @property
    def ends(self) -> NDArray[np.int64]:
        """Where each batch's rows end among those of the shard."""
        return np.cumsum(self.range.starts[:, self.shard + 1] - self.starts)

    @cached_property
    def n(self) -> int:
        """How many rows."""
        return int(self.ends[-1]) if len(self.starts) else 0

    def join(self, stored: Stored, out: NDArray[Any]) -> None:
        """Write down a column of numbers."""
        _join(self.range, stored, self.starts, self.ends, out)

    def texts(self, name: str) -> Iterator[pa.Array]:
        """A column of texts, as many as stand in each batch."""
        stops = self.range.starts[:, self.shard + 1].tolist()
        rows = zip(self.starts.tolist(), stops, self.range.written(name), strict=True)
        for start, stop, texts in rows:
            if stop > start:
                yield texts.slice(start, stop - start)

    def lists(self, name: str) -> ShardLists:
        """A column of lists of codes."""
        return ShardLists(self, self.range.lists(name))


@dataclass(frozen=True)
class ShardLists:
    """Lists of codes of one shard's rows."""

    of: Pieces
    stored: StoredLists

    @property
    def _sizes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        first = self.stored.starts[:, self.of.shard]
        return first, self.stored.starts[:, self.of.shard + 1] - first

    @cached_property
    def n_codes(self) -> int:
        """How many codes."""
        return int(self._sizes[1].sum())

    def join(self, codes: NDArray[np.int32], ends: NDArray[np.int32]) -> None:
        """Write down the codes, and where each row's end among them."""
        first, size = self._sizes
        stops = np.cumsum(size)
        _join(self.of.range, self.stored.codes, first, stops, codes)
        self.of.join(self.stored.ends, ends)
        ends += np.repeat(stops - size - first, np.diff(self.of.ends, prepend=0)).astype(np.int32)


def _join(
    of: Range,
    stored: Stored,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    out: NDArray[Any],
) -> None:
    at = stored.at + starts * np.abs(stored.kind)
    row_join(of.words, at, stored.kind, stored.base, ends, stored.values, out)


class _Own(threading.local):
    """What each worker has for itself."""

    def __init__(self) -> None:
        self.space = Space()


class Spill:
    """Batches on disk between the passes.

    `write` and `pieces` may be called by several threads, the one before `finish`, the other after.
    """

    def __init__(self, folder: Path, n_shards: int) -> None:
        self._folder = folder
        self._n_shards = n_shards
        self._ranges = ranges(n_shards)
        self._unmade = [len(shards) for shards in self._ranges]
        self._own = _Own()
        self._files: list[int | None] = [None] * len(self._ranges)
        self._sizes = [0] * len(self._ranges)
        self._spilled: Mapping[str, Sequence[Spilled]] = {}
        self._read: list[dict[str, Range]] = [{} for _ in self._ranges]
        self._removing = ThreadPoolExecutor(1, thread_name_prefix="spill")
        self._locks = [threading.Lock() for _ in self._ranges]

    def write(self, table: str, columns: Mapping[str, Column]) -> Spilled:
        """Append a batch to the files."""
        batch = by_shard(columns, SPILLED[table], self._n_shards, self._own.space)
        texts = pa.RecordBatch.from_pydict(batch.texts) if batch.texts else None
        starts, at = batch.starts.tolist(), []
        for k, shards in enumerate(self._ranges):
            first, stop = starts[shards.start], starts[shards.stop]
            parts: list[Any] = []
            for column in batch.numbers.values():
                part = column[first:stop]
                parts.append(part)
                if fill := _filled(part.nbytes) - part.nbytes:
                    parts.append(_FILL[:fill])
            if texts is not None:
                parts.append(_as_stream(texts.slice(first, stop - first)))
            at.append(self._append(k, parts))
        kind = [
            _kind_of(batch.numbers[name].dtype) if name in batch.numbers else CONSTANT
            for name in SPILLED[table].names
        ]
        return Spilled(at, batch.starts, np.array(kind, np.int8), texts is not None, batch.kept)

    def _append(self, k: int, parts: Sequence[Any]) -> int:
        """Where in the file of a range the parts stand now."""
        with self._locks[k]:
            file = self._files[k]
            if file is None:
                file = os.open(self._path(k), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                self._files[k] = file
            at, size = self._sizes[k], sum(memoryview(part).nbytes for part in parts)
            for some in _in_pieces(parts):
                _write(file, some)
            self._sizes[k] = at + size
        return at

    def _path(self, k: int) -> Path:
        return self._folder / f"range-{k}.spill"

    def finish(self, spilled: Mapping[str, Sequence[Spilled]]) -> None:
        """Close what is written; of each table, the batches in the order of their rows."""
        self._close_files()
        self._spilled = spilled

    def _close_files(self) -> None:
        for k, file in enumerate(self._files):
            if file is not None:
                os.close(file)
                self._files[k] = None

    def pieces(self, table: str, shard: int) -> Pieces:
        """The rows of one shard; they stand in a map of its range's file."""
        k = shard // len(self._ranges[0])
        shards = self._ranges[k]
        with self._locks[k]:
            found = self._read[k].get(table)
            if found is None:
                batches = self._spilled.get(table, ())
                source = pa.py_buffer(b"")
                if self._sizes[k]:
                    source = pa.memory_map(str(self._path(k))).read_buffer()
                found = self._read[k][table] = Range(table, source, batches, k, shards)
        return Pieces(found, shard - shards.start)

    def made(self, shard: int) -> None:
        """Take note that a shard is made; its range's file goes with the last one."""
        k = shard // len(self._ranges[0])
        with self._locks[k]:
            self._unmade[k] -= 1
            if not self._unmade[k]:
                self._read[k].clear()
                # it waits until the system has written what it began to write
                self._removing.submit(self._path(k).unlink, missing_ok=True)

    def close(self) -> None:
        """Wait until the files are gone."""
        self._close_files()
        self._removing.shutdown()


def _as_stream(rows: pa.RecordBatch) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    return sink.getvalue()


def _in_pieces(parts: Iterable[Any]) -> Iterator[list[memoryview]]:
    """Parts as bytes, in groups of what is written at a time."""
    found: list[memoryview] = []
    size = 0
    for part in parts:
        rest = memoryview(part).cast("B")
        while n := len(rest):
            now = rest
            if n > _WRITTEN_BYTES:
                n, now = _WRITTEN_BYTES, rest[:_WRITTEN_BYTES]
            if size + n > _WRITTEN_BYTES:
                yield found
                found, size = [], 0
            found.append(now)
            size += n
            rest = rest[n:]
    if found:
        yield found


def _write(file: int, parts: list[memoryview]) -> None:
    size = sum(map(len, parts))
    written = os.writev(file, parts)
    rest = memoryview(b"".join(parts))[written:] if written < size else memoryview(b"")
    while len(rest):  # a full disk says so now
        rest = rest[os.write(file, rest) :]


def ranges(n_shards: int) -> list[range]:
    """Shards cut into a few ranges of neighbours.

    >>> ranges(3)
    [range(0, 1), range(1, 2), range(2, 3)]
    >>> ranges(20)[:2], len(ranges(20))
    ([range(0, 3), range(3, 6)], 7)
    """
    size = -(-n_shards // _RANGES)
    return [range(k, min(k + size, n_shards)) for k in range(0, n_shards, size)]
