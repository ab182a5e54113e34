"""How rows lie between the passes: a batch as the door hands it on, and a shard's pieces of many.

    a batch in order of shard (`Ordered`) -> written, a file for each range of shards (`spill`)
    a range's file, mapped -> where each column of each batch stands (`Range`) -> pieces of a shard

A column is not read batch by batch: `Stored` says where its numbers are and how they are written,
and `kernels.row_join` writes them down for a shard in one go. Which columns there are is declared
in `input_columns`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.input_columns import SPILLED
from ihp_compute.population import text_hashes
from kernels import row_join
from kernels.rows.row_join import CONSTANT, STORED


class Scratch:
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
class Kept:
    """What stays in memory of a batch.

    constant : the value of each column that is the same in all rows, and is not written
    values : distinct values of each column of which places among them are written
    hashes : of those that are texts, `population.text_hashes`
    """

    constant: dict[str, int | str | None] = field(default_factory=dict)
    values: dict[str, NDArray[Any] | pa.Array] = field(default_factory=dict)
    hashes: dict[str, NDArray[np.uint64]] = field(default_factory=dict)


@dataclass(frozen=True)
class Ordered:
    """Rows of a batch in order of shard, those of a shard in their order.

    numbers : a value a row, perhaps in a narrower type than the schema's, or a place (`Kept`)
    texts : texts and lists, a value a row
    starts : int64[n_shards + 1], where each shard's rows start
    """

    numbers: dict[str, NDArray[Any]]
    texts: dict[str, pa.Array]
    kept: Kept
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


_KINDS: Final = {code: name for name, code in STORED.items()}


def kind_of(kind: np.dtype[Any]) -> int:
    """How numbers are written."""
    return STORED[f"{kind.kind}{kind.itemsize}"]


def filled(size: Any) -> Any:
    """A number of bytes, or an array of them, up to the next 8."""
    return (size + 7) & ~7


_NARROW: Final = (np.uint8, np.int16, np.uint16, np.int32)


def narrowed(values: NDArray[Any], kind: Any) -> NDArray[Any]:
    """Values of this kind, in fewer bytes where they fit; truth in whole bytes.

    The least number of int16 or int32 is left free: it may stand for none (`Range.narrow`).
    """
    if kind == np.bool_:
        truth = values if values.dtype == np.bool_ else values != 0
        return truth.view(np.uint8)
    if kind in (np.int32, np.int64) and len(values):
        low, high = values.min(), values.max()
        for small in _NARROW:
            limits = np.iinfo(small)
            if max(limits.min, -limits.max) <= low and high <= limits.max:
                return values.astype(small, copy=False)
    return values.astype(kind, copy=False)


def place_kind(n: int) -> Any:
    """The kind of fewest bytes that holds places among n values, whichever of them rows have."""
    return next(kind for kind in _NARROW if n - 1 <= np.iinfo(kind).max)


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
        size = filled(np.abs(self._kind, dtype=np.int64) * self.starts[:, -1])
        at = np.array([batch.at[of] for batch in spilled], np.int64)
        self._at = np.cumsum(size, axis=0) - size + at
        self._rows: list[Any] = [
            pa.ipc.open_stream(source.slice(end)).read_next_batch() if batch.has_texts else None
            for end, batch in zip((at + size.sum(axis=0)).tolist(), spilled, strict=True)
        ]
        self._numbers: dict[str, Stored] = {}
        self._narrow: dict[tuple[str, np.dtype[Any]], Stored] = {}
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

    def reach(self, name: str, kind: np.dtype[Any], none: int | None) -> tuple[int, int]:
        """Between which numbers a column of this kind lies, leaving out the one that says none.

        Of numbers that were written themselves, all that as many bytes hold, but the least.
        """
        stored = self.numbers(name, kind)
        values = stored.values if none is None else stored.values[stored.values != none]
        ends = [0, *((values.min(), values.max()) if len(values) else ())]
        itself = stored.kind[(stored.base < 0) & (stored.kind != CONSTANT)]
        for code in np.unique(itself).tolist():
            limits = np.iinfo(kind if abs(code) == kind.itemsize else _KINDS[code])
            ends += [max(limits.min, -limits.max), limits.max]
        return int(min(ends)), int(max(ends))

    def narrow(self, name: str, kind: np.dtype[Any], to: np.dtype[Any], none: int | None) -> Stored:
        """A column of this kind in one that holds its reach; what says none is then the least."""
        if to == kind:
            return self.numbers(name, kind)
        found = self._narrow.get((name, to))
        if found is None:
            stored = self.numbers(name, kind)
            values = stored.values.astype(to)
            if none is not None:
                values[stored.values == none] = np.iinfo(to).min
            found = self._narrow[name, to] = stored._replace(values=values)
        return found

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
                kind[0, k] = kind_of(np.dtype(codes.type.to_pandas_dtype()))
            at[1, k] = offsets.address - self._address + 4
            kind[1, k] = STORED["i4"]
            starts[k] = np.frombuffer(offsets, np.int32)[self.starts[k]]
        base, none = np.full(n, -1), np.empty(0, np.int32)
        codes, ends = (Stored(at[k], kind[k], base, none) for k in (0, 1))
        return StoredLists(codes, ends, starts)


@dataclass(frozen=True)
class Pieces:
    """The rows of one shard in the batches of a table."""

    range: Range
    shard: int
    """Place in the range."""

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """First row in each batch."""
        return np.ascontiguousarray(self.range.starts[:, self.shard])

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """Where each batch's rows end among those of the shard."""
        return np.cumsum(self.range.starts[:, self.shard + 1] - self.starts)

    @cached_property
    def n(self) -> int:
        """How many rows."""
        return int(self.ends[-1]) if len(self.starts) else 0

    def join(self, stored: Stored, out: NDArray[Any], first: int = 0) -> None:
        """Write down a column of numbers, from the first of some neighbouring rows on."""
        starts, ends = self.starts, self.ends
        if first or len(out) < self.n:
            begins = np.concatenate([[0], ends[:-1]])
            starts = starts + np.clip(first - begins, 0, ends - begins)
            ends = np.clip(ends - first, 0, len(out))
        _join(self.range, stored, starts, ends, out)

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
