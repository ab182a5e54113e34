"""Spilled rows of one shard as columns, and what all shards share once every file is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.errors import DataError
from ihp_compute.fingerprint import text_hashes
from ihp_compute.ingest_spill import Piece, Space
from ihp_compute.service_categories import CodeFacts

Columns = dict[str, NDArray[Any]]
Strings = dict[str, pa.Array]


POOL: Final = pa.system_memory_pool()
"""Where long texts of a shard stand. Arrow's own pool gives memory back sooner, and fresh memory is
slow."""

CODED: Final = {
    "place_of_service": "place_of_service", "bill_type": "bill_type", "revenue": "revenue",
    "hcpcs": "hcpcs", "rendering_npi": "npi", "billing_npi": "npi", "facility_npi": "npi",
    "ndc": "ndc", "tin": "tin",
}  # fmt: skip
"""Spilled columns that are codes, and the system of each."""


@dataclass(frozen=True)
class Rules:
    """What all shards share once every file has been read.

    horizon_month : last month that an open-ended span reaches
    denied_marks : bool per `ingest_rows.DENIAL_MARKS`: which of them say denied
    final_code : final number of each provisional code, by system
    facts : what the codes say, by final number
    """

    horizon_month: int
    denied_marks: NDArray[np.bool_]
    final_code: Mapping[str, NDArray[np.int32]]
    facts: CodeFacts


class _Made(dict[str, Any]):
    """Columns by name, each made when it is first asked for."""

    def __init__(self, make: Callable[[str], Any]) -> None:
        self._make = make

    def __missing__(self, name: str) -> Any:
        self[name] = made = self._make(name)
        return made


def take_texts(texts: pa.Array, rows: NDArray[np.integer[Any]]) -> pa.Array:
    """`texts[rows]`; rows are in range."""
    return pc.take(texts, pa.array(rows), boundscheck=False, memory_pool=POOL)


class Raw:
    """Spilled rows of one kind of table, in order of file and position.

    A column is joined from its pieces when it is first asked for: `numbers`, `texts` and `hashes`
    of texts keep it, `passing` keeps it until another one passes. Lists of diagnoses are
    `texts["dx"]`. `some_texts` and `stated` join only a few rows.
    """

    def __init__(
        self,
        label: str,
        pieces: Sequence[Piece],
        schema: pa.Schema,
        space: Space,
        part: tuple[Raw, slice] | None = None,
    ) -> None:
        # nothing made here may refer to this object: a cycle would hold its columns for a while
        self._label, self._pieces, self._schema, self._space = label, pieces, schema, space
        self._part = part
        self._rows = slice(0, sum(piece.n for piece in pieces)) if part is None else part[1]
        self.n: int = self._rows.stop - self._rows.start
        if part is None:
            self.numbers: Columns = _Made(
                lambda name: _numbers(pieces, schema.field(name), space, f"{label}.{name}")
            )
            self.texts: Strings = _Made(lambda name: _joined(pieces, schema.field(name)))
            self.hashes: Columns = _Made(lambda name: _hashes(pieces, name, space, label))
        else:
            whole, rows = part
            numbers, texts, hashes = whole.numbers, whole.texts, whole.hashes
            self.numbers = _Made(lambda name: numbers[name][rows])
            self.texts = _Made(lambda name: texts[name][rows])
            self.hashes = _Made(lambda name: hashes[name][rows])

    def rows(self, first: int, stop: int) -> Raw:
        """Neighbouring rows, which share their columns with these."""
        whole, before = self if self._part is None else self._part[0], self._rows.start
        part = whole, slice(before + first, before + stop)
        return Raw(self._label, self._pieces, self._schema, self._space, part)

    def some_texts(self, rows: NDArray[np.intp], name: str) -> pa.Array:
        """A text column of a few of the rows, in ascending order."""
        rows = rows + self._rows.start
        kind, found = self._schema.field(name).type, []
        ends = np.cumsum([0, *(piece.n for piece in self._pieces)])
        cuts = np.searchsorted(rows, ends).tolist()
        for piece, start, first, stop in zip(self._pieces, ends, cuts, cuts[1:], strict=False):
            if stop == first:
                continue
            if name in piece.kept.constant:
                found.append(_repeated(piece.kept.constant[name], stop - first, kind))
                continue
            at, values = rows[first:stop] - start, piece.kept.values.get(name)
            if values is None:
                found.append(pc.take(piece.texts(name), pa.array(at)))
            else:
                found.append(pc.take(values, pa.array(piece.numbers(name)[at])))
        return pa.concat_arrays(found) if found else pa.array([], kind)

    def stated(self, name: str) -> tuple[NDArray[np.intp], NDArray[np.uint64]]:
        """Rows in which a text stands, ascending, and the hash of each."""
        own, found, hashed = self._rows, [np.empty(0, np.intp)], [np.empty(0, np.uint64)]
        for piece, rows in _each(self._pieces):
            first, stop = max(rows.start, own.start), min(rows.stop, own.stop)
            if first < stop and piece.kept.constant.get(name, "") is not None:
                words = _words(piece, name)[first - rows.start : stop - rows.start]
                at = np.flatnonzero(words)
                found.append(at + (first - own.start))
                hashed.append(words[at])
        return np.concatenate(found), np.concatenate(hashed)

    def passing(self, name: str) -> NDArray[Any]:
        """A numeric column of all the rows that is not needed again."""
        kept: NDArray[Any] | None = self.numbers.get(name)
        if kept is not None:
            return kept
        if self._part is not None:
            whole, rows = self._part
            return whole.passing(name)[rows]
        return _numbers(self._pieces, self._schema.field(name), self._space, "passing")


def _numbers(pieces: Sequence[Piece], field: pa.Field, space: Space, place: str) -> NDArray[Any]:
    name, n = field.name, sum(piece.n for piece in pieces)
    found = space.array(place, n, np.dtype(field.type.to_pandas_dtype()))
    for piece, rows in _each(pieces):
        if name in piece.kept.constant:
            found[rows] = piece.kept.constant[name]
        elif name in piece.kept.values:
            piece.kept.values[name].take(piece.numbers(name), out=found[rows], mode="clip")
        else:
            found[rows] = piece.numbers(name)
    return found


def _each(pieces: Sequence[Piece]) -> Iterator[tuple[Piece, slice]]:
    """Pieces, and where their rows stand among the rows of all."""
    start = 0
    for piece in pieces:
        end = start + piece.n
        yield piece, slice(start, end)
        start = end


def _joined(pieces: Sequence[Piece], field: pa.Field) -> pa.Array:
    parts = [_text(piece, field) for piece in pieces]
    whole = pa.table({field.name: pa.chunked_array(parts, field.type)})
    column = whole.combine_chunks(memory_pool=POOL).column(0)
    if column.num_chunks > 1:  # text beyond 2 GiB
        raise DataError("a shard holds too much text for one column: ingest with more --shards")
    return column.chunk(0) if column.num_chunks else pa.array([], field.type)


def _text(piece: Piece, field: pa.Field) -> pa.Array:
    """A column of texts or lists, one a row."""
    name = field.name
    if name in piece.kept.constant:
        return _repeated(piece.kept.constant[name], piece.n, field.type)
    if name in piece.kept.values:
        at = pa.array(piece.numbers(name))
        return pc.take(piece.kept.values[name], at, boundscheck=False)
    return piece.texts(name).cast(field.type)


def _hashes(pieces: Sequence[Piece], name: str, space: Space, label: str) -> NDArray[np.uint64]:
    """uint64 a row: `fingerprint.text_hashes` of a column of texts."""
    n = sum(piece.n for piece in pieces)
    found = space.array(f"{label}.{name} hashes", n, np.dtype(np.uint64))
    for piece, rows in _each(pieces):
        found[rows] = _words(piece, name)
    return found


def _words(piece: Piece, name: str) -> NDArray[np.uint64]:
    if name in piece.kept.constant:
        word = text_hashes(pa.array([piece.kept.constant[name]], pa.string()))
        return np.broadcast_to(word, piece.n)
    if name not in piece.kept.values:
        return text_hashes(piece.texts(name))
    return piece.kept.hashes[name].take(piece.numbers(name))


def _repeated(value: int | str | None, n: int, kind: pa.DataType) -> pa.Array:
    """The same in n rows: a text, no text, or no list."""
    if pa.types.is_list(kind):
        return pa.ListArray.from_arrays(np.zeros(n + 1, np.int32), pa.array([], kind.value_type))
    return pa.nulls(n, kind) if value is None else pa.repeat(pa.scalar(value, kind), n)


def count_by_member(member: NDArray[np.integer[Any]], n_members: int) -> NDArray[np.int64]:
    """int64[n_members]: how many rows each member has."""
    return np.bincount(member, minlength=n_members).astype(np.int64)


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
