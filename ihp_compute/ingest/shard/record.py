"""Rows of a shard as the cold record keeps them: as they were read, codes final, with their fates.

A stretch of rows at a time, so that columns that nobody else asks for need little room, and each
column in the narrowest kind that holds it: what is not written costs nothing. What the record is
and how it lies in its file, `population.record` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.ingest.handover import Rules
from ihp_compute.ingest.shard.rows import Few, ShardRows
from ihp_compute.input_columns import CODED
from ihp_compute.ledger import LEDGER_TABLES, IngestFate
from ihp_compute.population import FEW, RECORDS
from kernels import row_pick

_STRETCH: Final = 1 << 17
_TABLES: Final = pa.array(LEDGER_TABLES)
_FATES: Final = pa.array([fate.label for fate in IngestFate])


def recorded(
    name: str, parts: Sequence[tuple[str, ShardRows, NDArray[np.uint8]]], rules: Rules
) -> Iterator[pa.RecordBatch]:
    """Readable rows of all tables of the record of this name, in their order.

    Parameters
    ----------
    name : str
    parts : sequence of (table, rows, fate)
        Rows of the tables, which are parts of the same rows, and uint8 the fate of each.
    rules : Rules

    Yields
    ------
    RecordBatch
        All of one schema. What it has stands until the next one is asked for.
    """
    kinds = _Kinds(name, parts[0][1], rules)
    for table, raw, fate in parts:
        of = LEDGER_TABLES.index(table)
        for first in range(0, raw.n, _STRETCH):
            near = slice(first, min(first + _STRETCH, raw.n))
            rows = np.flatnonzero(fate[near] != IngestFate.UNREADABLE).astype(np.int32)
            if len(rows):
                yield _Stretch(kinds, raw, near, rows).batch(of, fate[near])


class _Kinds:
    """What each column of a shard's record is written as.

    schema : as `RECORDS` has it, in narrower types
    few : texts of which few distinct ones stand here
    codes : final number of each provisional code
    """

    def __init__(self, name: str, raw: ShardRows, rules: Rules) -> None:
        self.few: dict[str, Few] = {}
        self.codes: dict[str, NDArray[Any]] = {}
        self._raw, self._rules = raw, rules
        self.schema = pa.schema([field.with_type(self._type_of(field)) for field in RECORDS[name]])

    def _type_of(self, field: pa.Field) -> pa.DataType:
        name = field.name
        if name in ("source_table", "fate"):
            return pa.dictionary(pa.uint8(), pa.string())
        if field.type == FEW:
            return self._few(name)
        if name in CODED:
            final = self._rules.final_code[CODED[name]]
            self.codes[name] = final.astype(_code_kind(len(final)))
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
    """Some of neighbouring rows, by place among these."""

    def __init__(self, kinds: _Kinds, raw: ShardRows, near: slice, rows: NDArray[np.int32]) -> None:
        self._kinds, self._raw, self._near, self._rows = kinds, raw, near, rows
        self._is_whole = len(rows) == near.stop - near.start

    def batch(self, table: int, fate: NDArray[np.uint8]) -> pa.RecordBatch:
        """The rows, which are of this table and have these fates."""
        own = {
            "source_table": _places(np.full(len(self._rows), table, np.uint8), _TABLES),
            "fate": _places(self._some(fate), _FATES),
        }
        schema = self._kinds.schema
        return pa.RecordBatch.from_arrays(
            [own[field.name] if field.name in own else self._column(field) for field in schema],
            schema=schema,
        )

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
            if self._is_whole and self._raw.coded[name] is None:
                return self._raw.texts[name][self._near]
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
