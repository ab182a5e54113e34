"""Files between the passes: a batch is appended to the file of each range of shards.

    a batch in order of shard -> its rows of each range, at the end of that range's file:
        numbers column by column, each filled up to 8 bytes, then texts and lists as an Arrow stream

Files are few, and a range's file goes as soon as its shards are made: what files give back need not
be found anew. Not here: what is written and how it is read back (`spill_layout`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.ingest.spill_layout import Ordered, Pieces, Range, Spilled, filled, kind_of
from ihp_compute.input_columns import SPILLED
from ihp_compute.publishing import let_go
from kernels.rows.row_join import CONSTANT

_RANGES: Final = 8
_FILL: Final = bytes(7)
_WRITTEN_BYTES: Final = 1 << 18
"""Written at a time. Some 2 MiB at a time took the system 8.7 s of an ingest, this 7.4 s."""

_LEFT_IN_MEMORY: Final = 1 << 13
"""So few numbers set aside are not worth a file: a system maps only so many."""


class Spill:
    """Batches on disk between the passes.

    `write` and `pieces` may be called by several threads, the one before `finish`, the other after.
    """

    def __init__(self, folder: Path, n_shards: int) -> None:
        self._folder = folder
        self._ranges = ranges(n_shards)
        self._unmade = [len(shards) for shards in self._ranges]
        self._files: list[int | None] = [None] * len(self._ranges)
        self._sizes = [0] * len(self._ranges)
        self._spilled: Mapping[str, Sequence[Spilled]] = {}
        self._read: list[dict[str, Range]] = [{} for _ in self._ranges]
        self._aside = count()
        self._removing = ThreadPoolExecutor(1, thread_name_prefix="spill")
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="written")
        self._let_go: list[Future[None]] = []
        self._locks = [threading.Lock() for _ in self._ranges]

    def write(self, table: str, batch: Ordered) -> Spilled:
        """Append a batch to the files."""
        texts = pa.RecordBatch.from_pydict(batch.texts) if batch.texts else None
        starts, at = batch.starts.tolist(), []
        for k, shards in enumerate(self._ranges):
            first, stop = starts[shards.start], starts[shards.stop]
            parts: list[tuple[Any, int]] = []
            for column in batch.numbers.values():
                size = (stop - first) * column.itemsize
                parts.append((column[first:stop], size))
                if fill := filled(size) - size:
                    parts.append((_FILL[:fill], fill))
            if texts is not None:
                stream = _as_stream(texts.slice(first, stop - first))
                parts.append((stream, stream.size))
            at.append(self._append(k, parts))
        kind = [
            kind_of(batch.numbers[name].dtype) if name in batch.numbers else CONSTANT
            for name in SPILLED[table].names
        ]
        return Spilled(at, batch.starts, np.array(kind, np.int8), texts is not None, batch.kept)

    def set_aside(
        self, pieces: Sequence[tuple[NDArray[np.uint64], NDArray[np.int64]]]
    ) -> list[tuple[NDArray[np.uint64], NDArray[np.int64]]]:
        """Numbers that nobody asks for before the end, moved to a file, which is mapped.

        Their starts are passed on. A few numbers stay where they are.
        """
        sizes = [len(words) for words, _ in pieces]
        if sum(sizes) <= _LEFT_IN_MEMORY:
            return list(pieces)
        path = self._folder / f"aside-{next(self._aside)}.spill"
        with path.open("xb") as file:
            for words, _ in pieces:
                file.write(words.data)
        with pa.memory_map(str(path)) as source:
            mapped = np.frombuffer(source.read_buffer(), np.uint64)
        parts = np.split(mapped, np.cumsum(sizes)[:-1])
        return [(part, starts) for part, (_, starts) in zip(parts, pieces, strict=True)]

    def _append(self, k: int, parts: Sequence[tuple[Any, int]]) -> int:
        """Where in the file of a range the parts stand now."""
        with self._locks[k]:
            file = self._files[k]
            if file is None:
                file = os.open(self._path(k), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                self._files[k] = file
            at = self._sizes[k]
            for some, size in _in_pieces(parts):
                _write(file, some, size)
                self._sizes[k] += size
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

    def let_go(self, paths: Iterable[Path]) -> None:
        """Keep no memory for finished files that nobody reads soon, once they are written.

        What is written next then takes it: on a virtual machine a GiB of memory that was not in use
        just before costs four times as much to write to, 1.6 s of a processor where 0.4 s do.
        """
        self._let_go.extend([self._writing.submit(let_go, path) for path in paths])

    def finish_letting_go(self) -> None:
        """Wait until all of them are written.

        Raises
        ------
        OSError
            If one could not be written.
        """
        for done in self._let_go:
            done.result()

    def close(self) -> None:
        """Wait until the files are gone."""
        self._close_files()
        self._writing.shutdown(cancel_futures=True)
        self._removing.shutdown()


def _as_stream(rows: pa.RecordBatch) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    return sink.getvalue()


def _in_pieces(parts: Iterable[tuple[Any, int]]) -> Iterator[tuple[list[Any], int]]:
    """Groups of what is written at a time, and the bytes of each; of parts with theirs."""
    found: list[Any] = []
    size = 0
    for part, n in parts:
        if size + n > _WRITTEN_BYTES and found:
            yield found, size
            found, size = [], 0
        if n > _WRITTEN_BYTES:
            whole = memoryview(part).cast("B")
            for first in range(0, n, _WRITTEN_BYTES):
                piece = whole[first : first + _WRITTEN_BYTES]
                yield [piece], len(piece)
        elif n:
            found.append(part)
            size += n
    if found:
        yield found, size


def _write(file: int, parts: list[Any], size: int) -> None:
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
