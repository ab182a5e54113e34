"""Rows of one shard as columns: as they were spilled, what is found of them, and those retained.

    pieces of batches -> `ShardRows` -> `Fates`, `Members` -> `Lines`

A column is joined from its pieces when it is first asked for. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.errors import DataError
from ihp_compute.ingest.findings import Findings
from ihp_compute.ingest.spill_layout import Pieces, Scratch, Stored
from ihp_compute.input_columns import CODED, DAYS, SPILL_COLUMNS
from ihp_compute.population import tables, text_hashes
from ihp_compute.units import NO_DAY
from kernels import row_pick

_FOLLOWING: Final = frozenset(
    column.name for columns in SPILL_COLUMNS.values() for column in columns if column.follows
)
"""Columns in which null stands for the text of the row before."""

_NO_TEXTS: Final = pa.array([], pa.string())
_KINDS: Final = (np.uint8, np.int16, np.uint16, np.int32)
_DAY_KINDS: Final = (np.int16,)

Columns = dict[str, NDArray[Any]]
Strings = dict[str, pa.Array]


class _Made(dict[str, Any]):
    """Columns by name, each made when it is first asked for."""

    def __init__(self, make: Callable[[str], Any]) -> None:
        self._make = make

    def __missing__(self, name: str) -> Any:
        self[name] = made = self._make(name)
        return made


def take_texts(texts: pa.Array, rows: NDArray[np.integer[Any]]) -> pa.Array:
    """`texts[rows]`; rows are in range."""
    return pc.take(texts, pa.array(rows), boundscheck=False)


@dataclass(frozen=True)
class CodedTexts:
    """A column of texts as values, which may be alike, and which of them each row has.

    words : uint64, `population.text_hashes` of the values
    """

    values: pa.Array
    words: NDArray[np.uint64]
    index: NDArray[np.int32]


@dataclass(frozen=True)
class Few:
    """A text column as places of this kind among distinct texts: in each piece, where they are."""

    texts: pa.Array
    kind: np.dtype[Any]
    places: Sequence[Stored]


@dataclass(frozen=True)
class Lists:
    """A column of lists of codes: those of row i are `codes[starts[i] : starts[i + 1]]`."""

    codes: NDArray[np.int32]
    starts: NDArray[np.int32]

    def rows(self, rows: slice) -> Lists:
        """The lists of neighbouring rows."""
        return Lists(self.codes, self.starts[rows.start : rows.stop + 1])


class ShardRows:
    """Spilled rows of one kind of table, in order of file and position.

    A column is joined from its pieces when it is first asked for: `numbers`, `texts`, `lists` and
    `hashes` of texts keep it, `passing` keeps it until another one passes. A few rows of texts are
    had for less by `some_texts`.
    """

    def __init__(
        self,
        label: str,
        pieces: Sequence[Pieces],
        schema: pa.Schema,
        scratch: Scratch,
        part: tuple[ShardRows, slice] | None = None,
    ) -> None:
        # nothing made here may refer to this object: a cycle would hold its columns for a while
        self._label, self._pieces, self._schema, self._scratch = label, pieces, schema, scratch
        self._part = part
        self._rows = slice(0, sum(of.n for of in pieces)) if part is None else part[1]
        self.n: int = self._rows.stop - self._rows.start
        if part is None:
            coded: dict[str, CodedTexts | None] = _Made(
                lambda name: _coded(pieces, name, scratch, label)
            )
            self.numbers: Columns = _Made(
                lambda name: _numbers(pieces, schema.field(name), scratch, f"{label}.{name}")
            )
            texts: Strings = _Made(
                lambda name: (
                    _joined(pieces, name)
                    if (own := coded[name]) is None
                    else take_texts(own.values, own.index)
                )
            )
            self.hashes: Columns = _Made(
                lambda name: _hashes(texts, name, coded[name], scratch, label)
            )
            self.lists: dict[str, Lists] = _Made(lambda name: _lists(pieces, name, scratch, label))
            self.texts, self.coded = texts, coded
        else:
            whole, rows = part
            numbers, every, hashes, lists = whole.numbers, whole.texts, whole.hashes, whole.lists
            self.numbers = _Made(lambda name: numbers[name][rows])
            self.texts = _Made(lambda name: every[name][rows])
            self.hashes = _Made(lambda name: hashes[name][rows])
            self.lists = _Made(
                lambda name: Lists(
                    lists[name].codes, lists[name].starts[rows.start : rows.stop + 1]
                )
            )
            self.coded = whole.coded

    def rows(self, first: int, stop: int) -> ShardRows:
        """Neighbouring rows, which share their columns with these."""
        whole, before = self if self._part is None else self._part[0], self._rows.start
        part = whole, slice(before + first, before + stop)
        return ShardRows(self._label, self._pieces, self._schema, self._scratch, part)

    def some_texts(self, rows: NDArray[np.integer[Any]], name: str) -> pa.Array:
        """A text column of some of the rows."""
        coded = self.coded[name]
        if coded is None:
            return take_texts(self.texts[name], rows)
        index = coded.index[self._rows]
        return take_texts(coded.values, row_pick(index, None, rows.astype(np.int32, copy=False)))

    def few(self, name: str) -> Few | None:
        """A text column as places among few distinct texts, if it was written so everywhere."""
        every = [of.range.texts(name) for of in self._pieces]
        known = [texts for texts in every if texts is not None]
        if len(known) < len(every):
            return None
        # alike values become one
        values = pa.concat_arrays([_NO_TEXTS, *(texts.values for texts in known)])
        coded = values.dictionary_encode()
        kind = np.uint8 if len(coded.dictionary) < 1 << 8 else np.int32
        stops = np.cumsum([len(texts.values) for texts in known])[:-1]
        places = np.split(coded.indices.to_numpy().astype(kind), stops)
        return Few(
            coded.dictionary,
            np.dtype(kind),
            [
                of.places._replace(values=own[of.places.values])
                for of, own in zip(known, places, strict=True)
            ],
        )

    def places(self, name: str, few: Few, rows: slice) -> NDArray[Any]:
        """Which of the texts neighbouring rows have, until other ones are asked for."""
        if self._part is not None:
            whole, before = self._part[0], self._rows.start
            return whole.places(name, few, slice(before + rows.start, before + rows.stop))
        out = self._scratch.array(f"{self._label}.{name} stretch", rows.stop - rows.start, few.kind)
        return _stretch_of(self._pieces, few.places, rows, out)

    def sparse(self, name: str, rows: slice) -> pa.Array:
        """A text column of neighbouring rows of which most have none, which is null."""
        coded = self.coded[name]
        if coded is None:
            texts = self.texts[name][rows]
            return pc.if_else(pc.equal(texts, ""), pa.scalar(None, texts.type), texts)
        index, n = coded.index[self._rows][rows], rows.stop - rows.start
        stated = row_pick(coded.words != 0, None, index)
        at = np.flatnonzero(stated)
        if not len(at):
            return pa.nulls(n, pa.string())
        texts = take_texts(coded.values, index[at])
        _, offsets, data = texts.buffers()
        ends = np.frombuffer(offsets, np.int32, len(texts) + 1)
        starts = ends.take(np.cumsum(np.append(False, stated)))
        bits = np.packbits(stated, bitorder="little")
        return pa.StringArray.from_buffers(
            n, pa.py_buffer(starts), data, pa.py_buffer(bits), n - len(at)
        )

    def stated(self, name: str) -> tuple[NDArray[np.intp], NDArray[np.uint64]]:
        """Rows in which a text stands, ascending, and the hash of each."""
        coded = self.coded[name]
        if coded is None:
            words = self.hashes[name]
            rows = np.flatnonzero(words)
            return rows, words[rows]
        index = coded.index[self._rows]
        rows = np.flatnonzero(row_pick(coded.words != 0, None, index))
        return rows, coded.words.take(index.take(rows))

    def passing(self, name: str) -> NDArray[Any]:
        """A numeric column of all the rows that is not needed again."""
        kept: NDArray[Any] | None = self.numbers.get(name)
        if kept is not None:
            return kept
        if self._part is not None:
            whole, rows = self._part
            return whole.passing(name)[rows]
        return _numbers(self._pieces, self._schema.field(name), self._scratch, "passing")

    def narrowest(self, name: str) -> np.dtype[Any]:
        """The kind of fewest bytes in which a numeric column goes; days with one number to spare.

        Days are int16 or int32, so that what says none is the least number.
        """
        kind, none = np.dtype(self._schema.field(name).type.to_pandas_dtype()), _none(name)
        if kind.kind == "b" or kind == np.uint64:
            return kind
        ends = [end for of in self._pieces for end in of.range.reach(name, kind, none)]
        low, high = min(ends, default=0), max(ends, default=0)
        for small in _DAY_KINDS if none is not None else _KINDS:
            limits = np.iinfo(small)
            if max(limits.min, -limits.max) <= low and high <= limits.max:
                return np.dtype(small)
        return kind

    def stretch(self, name: str, rows: slice, kind: np.dtype[Any] | None = None) -> NDArray[Any]:
        """A numeric column of neighbouring rows, until another stretch of it is asked for.

        `kind` is its own or its `narrowest`; days of none are the least number of it.
        """
        if self._part is not None:
            whole, before = self._part[0], self._rows.start
            return whole.stretch(name, slice(before + rows.start, before + rows.stop), kind)
        field = self._schema.field(name)
        own = np.dtype(field.type.to_pandas_dtype())
        kept: NDArray[Any] | None = self.numbers.get(name)
        if kept is not None and kind in (None, own):
            return kept[rows]
        place = f"{self._label}.{name} stretch"
        return _numbers(self._pieces, field, self._scratch, place, rows, kind)

    def picked(
        self, name: str, rows: slice, at: NDArray[np.int32], kind: np.dtype[Any]
    ) -> NDArray[Any]:
        """A numeric column of a few of neighbouring rows, as `stretch` has it."""
        if self._part is not None:
            whole, before = self._part[0], self._rows.start
            return whole.picked(name, slice(before + rows.start, before + rows.stop), at, kind)
        kept: NDArray[Any] | None = self.numbers.get(name)
        if kept is None:
            return self.stretch(name, rows, kind)[at]
        few = kept[rows][at]
        none = _none(name)
        if none is not None and kind != few.dtype:
            few[few == none] = np.iinfo(kind).min
        return few.astype(kind)


def _none(name: str) -> int | None:
    return NO_DAY if name in DAYS else None


def _numbers(
    pieces: Sequence[Pieces],
    field: pa.Field,
    scratch: Scratch,
    place: str,
    rows: slice | None = None,
    narrow: np.dtype[Any] | None = None,
) -> NDArray[Any]:
    """A column of the rows of all pieces, or of neighbouring ones."""
    own = np.dtype(field.type.to_pandas_dtype())
    kind = own if narrow is None else narrow
    if rows is None:
        rows = slice(0, sum(of.n for of in pieces))
    found = scratch.array(place, rows.stop - rows.start, kind)
    every = [of.range.narrow(field.name, own, kind, _none(field.name)) for of in pieces]
    return _stretch_of(pieces, every, rows, found)


def _stretch_of(
    pieces: Sequence[Pieces], every: Sequence[Stored], rows: slice, out: NDArray[Any]
) -> NDArray[Any]:
    """Write down neighbouring rows of what is stored of all pieces."""
    row = 0
    for of, stored in zip(pieces, every, strict=True):
        first, stop = max(rows.start - row, 0), min(rows.stop - row, of.n)
        if first < stop:
            at = row + first - rows.start
            of.join(stored, out[at : at + stop - first], first)
        row += of.n
    return out


def _coded(pieces: Sequence[Pieces], name: str, scratch: Scratch, label: str) -> CodedTexts | None:
    """A column of texts, if only places or what does not follow were written of it."""
    every = [of.range.texts(name) for of in pieces]
    known = [texts for texts in every if texts is not None]
    if len(known) < len(every):
        return _followed(_joined(pieces, name)) if name in _FOLLOWING else None
    found = scratch.array(f"{label}.{name}", sum(of.n for of in pieces), np.dtype(np.int32))
    row = before = 0
    for of, texts in zip(pieces, known, strict=True):
        part = found[row : row + of.n]
        of.join(texts.places, part)
        part += np.int32(before)
        row, before = row + of.n, before + len(texts.values)
    words = np.concatenate([np.empty(0, np.uint64), *(texts.words for texts in known)])
    values = [pa.array([], pa.string()), *(texts.values for texts in known)]
    return CodedTexts(pa.concat_arrays(values), words, found)


def _followed(texts: pa.Array) -> CodedTexts:
    """Texts in which null, of no bytes, stands for the row before."""
    if not texts.null_count:
        index = np.arange(len(texts), dtype=np.int32)
        return CodedTexts(texts, text_hashes(texts), index)
    stated = pc.is_valid(texts).to_numpy(zero_copy_only=False)
    _, offsets, data = texts.buffers()
    at = np.frombuffer(offsets, np.int32, len(texts) + 1, texts.offset * 4)
    starts = np.append(at[:-1][stated], at[-1])
    values = pa.StringArray.from_buffers(len(starts) - 1, pa.py_buffer(starts), data)
    return CodedTexts(values, text_hashes(values), np.cumsum(stated, dtype=np.int32) - np.int32(1))


def _joined(pieces: Sequence[Pieces], name: str) -> pa.Array:
    parts = [text for of in pieces for text in of.texts(name)]
    whole = pa.table({name: pa.chunked_array(parts, pa.string())})
    column = whole.combine_chunks().column(0)
    if column.num_chunks > 1:  # text beyond 2 GiB
        raise DataError("a shard holds too much text for one column: ingest with more --shards")
    return column.chunk(0) if column.num_chunks else pa.array([], pa.string())


def _hashes(
    texts: Strings, name: str, coded: CodedTexts | None, scratch: Scratch, label: str
) -> NDArray[np.uint64]:
    """uint64 a row: `population.text_hashes` of a column of texts."""
    if coded is None:
        return text_hashes(texts[name])
    words = coded.words
    found: NDArray[np.uint64] = row_pick(
        words,
        None,
        coded.index,
        scratch.array(f"{label}.{name} hashes", len(coded.index), words.dtype),
    )
    return found


def _lists(pieces: Sequence[Pieces], name: str, scratch: Scratch, label: str) -> Lists:
    every = [of.lists(name) for of in pieces]
    kind, n_codes = np.dtype(np.int32), sum(lists.n_codes for lists in every)
    codes = scratch.array(f"{label}.{name}", n_codes, kind)
    starts = scratch.array(f"{label}.{name} starts", sum(of.n for of in pieces) + 1, kind)
    starts[0] = row = code = 0
    for of, lists in zip(pieces, every, strict=True):
        lists.join(codes[code : code + lists.n_codes], starts[row + 1 : row + 1 + of.n])
        starts[row + 1 : row + 1 + of.n] += np.int32(code)
        row, code = row + of.n, code + lists.n_codes
    return Lists(codes, starts)


def count_by_member(member: NDArray[np.integer[Any]], n_members: int) -> NDArray[np.int64]:
    """int64[n_members]: how many rows each member has; rows are in order of member."""
    members = np.arange(n_members + 1, dtype=member.dtype)
    return np.diff(np.searchsorted(member, members)).astype(np.int64)


def record(schema: pa.Schema, columns: Mapping[str, NDArray[Any]]) -> pa.RecordBatch:
    """Numeric columns as a record batch of exactly this schema."""
    return pa.RecordBatch.from_arrays(
        [
            pa.array(np.ascontiguousarray(columns[field.name]).astype(
                field.type.to_pandas_dtype(), copy=False
            ), field.type)
            for field in schema
        ],
        schema=schema,
    )  # fmt: skip


MONTH_BITS: Final = 16
"""A member-month is known by member << MONTH_BITS | month."""


@dataclass(frozen=True)
class Fates:
    """What was found of each claim row of one table.

    fate : uint8, `IngestFate`
    member : int32, the member's place in the shard, -1 unknown
    claim : int64, the first row of the same claim and member
    served : bool, the row is retained and its member enrolled in the month of service
    """

    fate: NDArray[np.uint8]
    member: NDArray[np.int32]
    claim: NDArray[np.int64]
    served: NDArray[np.bool_]


@dataclass(frozen=True)
class Members:
    """Members of a shard by key, their tables, and the months in which they are enrolled."""

    key: NDArray[np.uint64]
    fate: NDArray[np.uint8]  # of the enrolment rows
    enrolled: NDArray[np.int64]  # sorted member << MONTH_BITS | month
    tables: dict[str, pa.RecordBatch]
    span_counts: NDArray[np.int64]
    member_months: int
    open_end_months: int
    covered_months: frozenset[int]
    findings: Findings


@dataclass(frozen=True)
class Lines:
    """Retained lines of all tables, by member, service day, then row hash.

    raw : spilled rows of all tables, medical ones first
    final_code : final number of each provisional code, by system
    n_medical : how many are medical
    rows : int32, the spilled row of each line
    member : int32, the place of each line's member
    of_row : of each spilled row: member, category, flags, admitted, served, claim, retained, and of
        its claim's diagnoses source, through_day and principal_dx
    """

    raw: ShardRows
    final_code: Mapping[str, NDArray[np.int32]]
    n_medical: int
    rows: NDArray[np.int32]
    member: NDArray[np.int32]
    of_row: Columns
    scratch: Scratch
    _taken: Columns = field(default_factory=dict)

    def column(self, name: str) -> NDArray[Any]:
        """A column of the lines, codes final; taken once."""
        found = self._taken.get(name)
        if found is None:
            source = self.of_row.get(name)
            if source is None:
                source = self.raw.passing(name)
            final = self.final_code[CODED[name]] if name in CODED else None
            found = self._taken[name] = self._picked(name, source, final)
        return found

    def _picked(
        self, name: str, source: NDArray[Any], final: NDArray[np.int32] | None = None
    ) -> NDArray[Any]:
        values, index = (source, None) if final is None else (final, source)
        out = self.scratch.array(f"lines.{name}", len(self.rows), values.dtype)
        picked: NDArray[Any] = row_pick(values, index, self.rows, out)
        return picked

    def hashes(self, name: str) -> NDArray[np.uint64]:
        """`population.text_hashes` of a text column of `line_detail`."""
        return self._picked(f"{name} hashes", self.raw.hashes[name])

    def some(self, name: str, at: NDArray[np.intp]) -> NDArray[Any]:
        """A column of a few of the lines, codes final."""
        if name in self._taken:
            return self._taken[name][at]
        source = self.of_row.get(name)
        found = (self.raw.passing(name) if source is None else source)[self.rows[at]]
        return self.final_code[CODED[name]].take(found) if name in CODED else found

    def tables(
        self, n_members: int, stay: NDArray[np.int32]
    ) -> tuple[pa.RecordBatch, pa.RecordBatch, NDArray[np.int64]]:
        """`lines`, `line_detail`, and the number of lines of each member.

        `stay` is the row of `stays` of each line.
        """
        lines = record(
            tables.LINES,
            {
                field.name: (self.rows >= self.n_medical)
                if field.name == "source_table"
                else self.column(field.name)
                for field in tables.LINES
            },
        )
        detail = pa.RecordBatch.from_arrays(
            [
                self.raw.some_texts(self.rows, field.name)
                if pa.types.is_string(field.type)
                else pa.array(stay if field.name == "stay" else self.column(field.name), field.type)
                for field in tables.LINE_DETAIL
            ],
            schema=tables.LINE_DETAIL,
        )
        return lines, detail, count_by_member(self.member, n_members)


def any_of(first: NDArray[np.int64], marked: NDArray[Any]) -> NDArray[np.bool_]:
    """Rows of whose kind, known by its first row, some row is marked, by a mask or by number."""
    found = np.zeros(len(first), bool)
    found[first[marked]] = True
    return found.take(first)


def settle_ties(
    rows: NDArray[Any], fresh: NDArray[np.bool_], columns: tuple[NDArray[Any], ...]
) -> None:
    """Order rows that stand alike so far by further columns, in place."""
    alike = ~fresh
    alike[:-1] |= alike[1:]
    at = np.flatnonzero(alike)
    if not len(at) or not columns:
        return
    # column by column: after a hash few are left
    tied, starts = rows[at], fresh[at]
    values = columns[0][tied]
    order = np.lexsort((values, np.cumsum(starts)))
    tied, values = tied[order], values[order]
    starts[1:] |= values[1:] != values[:-1]
    settle_ties(tied, starts, columns[1:])
    rows[at] = tied
