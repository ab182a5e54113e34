"""Rows of a shard as the cold record keeps them: as they were read, with their fates.

A stretch of rows at a time, so that columns that nobody else asks for need little room, and each
column in the narrowest kind that holds it: what is not written costs nothing. So columns that the
lines have of a retained row are written of the other rows alone, which are few. What the record is
and how it lies in its file, `population.record` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.ingest.handover import Rules
from ihp_compute.ingest.shard.rows import Few, ShardRows
from ihp_compute.input_columns import CODED
from ihp_compute.ledger import LEDGER_TABLES, IngestFate
from ihp_compute.population import FEW, OF_LINES, RECORDS
from kernels import row_pick

_STRETCH: Final = 1 << 19
_TABLES: Final = pa.array(LEDGER_TABLES)
_FATES: Final = pa.array([fate.label for fate in IngestFate])


def recorded(
    name: str,
    parts: Sequence[tuple[str, ShardRows, NDArray[np.uint8]]],
    rules: Rules,
    line: NDArray[np.int32] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Readable rows of all tables of the record of this name, in their order.

    Parameters
    ----------
    name : str
    parts : sequence of (table, rows, fate)
        Rows of the tables, which are parts of the same rows, and uint8 the fate of each.
    rules : Rules
    line : ndarray of int32, optional
        Of claims, the place of each row of all parts among the retained lines, or -1.

    Yields
    ------
    RecordBatch
        All of one schema. What it has stands until the next one is asked for.
    """
    kinds, before = _Kinds(name, parts[0][1], rules), 0
    for table, raw, fate in parts:
        of = LEDGER_TABLES.index(table)
        lines = None if line is None else line[before : before + raw.n]
        before += raw.n
        for first in range(0, raw.n, _STRETCH):
            near = slice(first, min(first + _STRETCH, raw.n))
            rows = np.flatnonzero(fate[near] != IngestFate.UNREADABLE).astype(np.int32)
            if len(rows):
                of_lines = None if lines is None else lines[near]
                yield _Stretch(kinds, raw, near, rows, of_lines).batch(of, fate[near])


def recorded_scores(raw: ShardRows, rules: Rules) -> Iterator[pa.RecordBatch]:
    """Supplied risk scores, those of people who are not enrolled too."""
    if not raw.n:
        return
    columns = []
    for field in RECORDS["scores"]:
        values = raw.numbers[field.name]
        if field.name in CODED:
            values = rules.record_code[CODED[field.name]][values]
        columns.append(pa.array(values, field.type))
    yield pa.RecordBatch.from_arrays(columns, schema=RECORDS["scores"])


class _Kinds:
    """What each column of a shard's record is written as.

    schema : as `RECORDS` has it, in narrower types
    few : texts of which few distinct ones stand here
    codes : number in the record of each provisional code
    """

    def __init__(self, name: str, raw: ShardRows, rules: Rules) -> None:
        self.few: dict[str, Few] = {}
        self.codes: dict[str, NDArray[Any]] = {}
        self._raw, self._rules = raw, rules
        self.schema = pa.schema(
            [
                field.with_type(self._type_of(field)).with_nullable(
                    field.nullable or (name == "claims" and field.name in OF_LINES)
                )
                for field in RECORDS[name]
            ]
        )

    def _type_of(self, field: pa.Field) -> pa.DataType:
        name = field.name
        if name in ("source_table", "fate"):
            return pa.dictionary(pa.uint8(), pa.string())
        if name == "line":
            return field.type
        if field.type == FEW:
            return self._few(name)
        if name in CODED:
            number = self._rules.record_code[CODED[name]]
            self.codes[name] = number.astype(_code_kind(len(number)))
            kind = pa.from_numpy_dtype(self.codes[name].dtype)
            if pa.types.is_list(field.type):
                return pa.list_(field.type.value_field.with_type(kind))
            return kind
        if pa.types.is_string(field.type):
            return field.type
        return pa.from_numpy_dtype(self._raw.narrowest(name))

    def _few(self, name: str) -> pa.DataType:
        few = self._raw.few(name)
        if few is None:
            return pa.string()
        self.few[name] = few
        return pa.dictionary(pa.from_numpy_dtype(few.kind), pa.string())


def _code_kind(n: int) -> type[np.generic]:
    return next((kind for kind in (np.uint8, np.uint16) if n <= np.iinfo(kind).max + 1), np.int32)


class _Stretch:
    """Some of neighbouring rows, by place among these.

    line : the place of each of the neighbours among the lines, or -1; None of rows without lines
    others : int32, which of the rows have no line
    """

    def __init__(
        self,
        kinds: _Kinds,
        raw: ShardRows,
        near: slice,
        rows: NDArray[np.int32],
        line: NDArray[np.int32] | None,
    ) -> None:
        self._kinds, self._raw, self._near, self._rows = kinds, raw, near, rows
        self._is_whole = len(rows) == near.stop - near.start
        self._line = None if line is None else self._some(line)
        self._others = np.empty(0, np.int32)
        if self._line is not None:
            self._others = np.flatnonzero(self._line < 0).astype(np.int32)
            self._stated = _bits(len(rows), self._others)

    def batch(self, table: int, fate: NDArray[np.uint8]) -> pa.RecordBatch:
        """The rows, which are of this table and have these fates."""
        own = {
            "source_table": _places(np.full(len(self._rows), table, np.uint8), _TABLES),
            "fate": _places(self._some(fate), _FATES),
        }
        if self._line is not None:
            own["line"] = pa.array(self._line)
        schema = self._kinds.schema
        return pa.RecordBatch.from_arrays(
            [
                own[field.name]
                if field.name in own
                else self._of_others(field)
                if self._line is not None and field.name in OF_LINES
                else self._column(field)
                for field in schema
            ],
            schema=schema,
        )

    def _of_others(self, field: pa.Field) -> pa.Array:
        """A column of the rows that have no line, and null of the rest; of the field's type."""
        name, n = field.name, len(self._rows)
        at = self._rows[self._others]
        if name in self._kinds.few:
            few = self._kinds.few[name]
            places = self._raw.places(name, few, self._near)[at] if len(at) else at
            kind = pa.from_numpy_dtype(few.kind)
            return pa.DictionaryArray.from_arrays(self._sparse(places, kind), few.texts, safe=False)
        if pa.types.is_string(field.type):
            texts = self._raw.some_texts(at + np.int32(self._near.start), name)
            return _spread(texts, self._others, self._stated, n)
        if not len(at):
            return self._sparse(at, field.type)
        if name in self._kinds.codes:
            codes = self._raw.picked(name, self._near, at, np.dtype(np.int32))
            return self._sparse(self._kinds.codes[name][codes], field.type)
        kind = np.dtype(field.type.to_pandas_dtype())
        return self._sparse(self._raw.picked(name, self._near, at, kind), field.type)

    def _sparse(self, values: NDArray[Any], kind: pa.DataType) -> pa.Array:
        """Numbers of the rows without a line, null elsewhere."""
        n, others = len(self._rows), self._others
        if not len(others):
            return _nothing(kind, n)
        spread = np.zeros(n, kind.to_pandas_dtype())
        spread[others] = values
        buffers = [pa.py_buffer(self._stated), pa.py_buffer(spread)]
        return pa.Array.from_buffers(kind, n, buffers, n - len(others))

    def _column(self, field: pa.Field) -> pa.Array:
        """A column, of exactly the field's type."""
        name = field.name
        if pa.types.is_list(field.type):
            return self._lists(field)
        if name in self._kinds.few:
            few = self._kinds.few[name]
            return _places(self._some(self._raw.places(name, few, self._near)), few.texts)
        if field.nullable:
            texts = self._raw.sparse(name, self._near)
            return texts if self._is_whole else texts.take(pa.array(self._rows))
        if pa.types.is_string(field.type):
            return self._raw.some_texts(self._rows + np.int32(self._near.start), name)
        if name in self._kinds.codes:
            codes = self._raw.stretch(name, self._near)
            return pa.array(self._through(self._kinds.codes[name], codes), field.type)
        kind = np.dtype(field.type.to_pandas_dtype())
        return pa.array(self._some(self._raw.stretch(name, self._near, kind)), field.type)

    def _some(self, values: NDArray[Any]) -> NDArray[Any]:
        return values if self._is_whole else row_pick(values, None, self._rows)

    def _through(self, values: NDArray[Any], index: NDArray[np.int32]) -> NDArray[Any]:
        picked: NDArray[Any] = (
            row_pick(values, None, index) if self._is_whole else row_pick(values, index, self._rows)
        )
        return picked

    def _lists(self, field: pa.Field) -> pa.Array:
        lists = self._raw.lists[field.name].rows(self._near)
        first, stop = lists.starts[0], lists.starts[-1]
        codes = row_pick(self._kinds.codes[field.name], None, lists.codes[first:stop])
        made = pa.ListArray.from_arrays(
            pa.array(lists.starts - first), pa.array(codes), type=field.type
        )
        return made if self._is_whole else made.take(pa.array(self._rows))


def _places(places: NDArray[Any], values: pa.Array) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(places), values, safe=False)


def _bits(n: int, at: NDArray[np.int32]) -> NDArray[np.uint8]:
    """A bit a row, set at these."""
    marked = np.zeros(n, bool)
    marked[at] = True
    return np.packbits(marked, bitorder="little")


@lru_cache(maxsize=64)
def _nulls(kind: pa.DataType) -> pa.Array:
    return pa.nulls(_STRETCH, kind)


def _nothing(kind: pa.DataType, n: int) -> pa.Array:
    return _nulls(kind)[:n] if n <= _STRETCH else pa.nulls(n, kind)


def _spread(texts: pa.Array, at: NDArray[np.int32], stated: NDArray[np.uint8], n: int) -> pa.Array:
    """Texts at their places among n rows, null elsewhere."""
    if not len(at):
        return _nothing(pa.string(), n)
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int32, len(texts) + 1, texts.offset * 4)
    sizes = np.zeros(n + 1, np.int32)
    sizes[at + 1] = np.diff(ends)
    sizes[0] = ends[0]
    starts = np.cumsum(sizes, dtype=np.int32)
    buffers = [pa.py_buffer(stated), pa.py_buffer(starts), data]
    return pa.Array.from_buffers(pa.string(), n, buffers, n - len(at))
