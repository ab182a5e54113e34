"""Spilled rows of one shard as columns, and what all shards share once every file is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.errors import DataError
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


def take_texts(texts: pa.Array, rows: NDArray[np.int64]) -> pa.Array:
    """`texts[rows]`; rows are in range."""
    return pc.take(texts, pa.array(rows), boundscheck=False, memory_pool=POOL)


class Space:
    """Memory that a worker uses again for every shard, by name.

    Fresh memory costs as much as what is done in it. An array stands until its name is asked for
    again, so nothing of a shard may outlive it.
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

    def take(self, name: str, values: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
        """`values[rows]` under this name; rows are in range."""
        return values.take(rows, out=self.array(name, len(rows), values.dtype), mode="clip")


class Raw:
    """Spilled rows of one kind of table, in order of file and position.

    A column is joined from its batches when it is first asked for: `numbers` and `texts` keep it,
    `passing` keeps it until another one passes. Lists of diagnoses are `lists["dx"]`.
    """

    def __init__(
        self, label: str, table: pa.Table, space: Space, whole: Raw | None = None, first: int = 0
    ) -> None:
        # nothing made here may refer to this object: a cycle would hold its columns for a while
        self.n: int = table.num_rows
        self._label, self._table, self._space = label, table, space
        if whole is None:
            self.numbers: Columns = _Made(
                lambda name: _numbers(table, name, space, f"{label}.{name}")
            )
            self.texts: Strings = _Made(lambda name: _joined(table, name))
        else:
            numbers, texts, rows = whole.numbers, whole.texts, slice(first, first + self.n)
            self.numbers = _Made(lambda name: numbers[name][rows])
            self.texts = _Made(lambda name: texts[name][rows])
        self.lists: Strings = _Made(lambda name: _joined(table, name))

    def rows(self, first: int, stop: int) -> Raw:
        """Neighbouring rows, which share their columns with these."""
        return Raw(self._label, self._table.slice(first, stop - first), self._space, self, first)

    def passing(self, name: str) -> NDArray[Any]:
        """A numeric column that is not needed again."""
        kept: NDArray[Any] | None = self.numbers.get(name)
        return _numbers(self._table, name, self._space, "passing") if kept is None else kept


def _numbers(table: pa.Table, name: str, space: Space, place: str) -> NDArray[Any]:
    kind = np.dtype(table.schema.field(name).type.to_pandas_dtype())
    found = space.array(place, table.num_rows, kind)
    pieces = [piece.to_numpy(zero_copy_only=False) for piece in table[name].chunks]
    if pieces:
        np.concatenate(pieces, out=found)
    return found


def _joined(table: pa.Table, name: str) -> pa.Array:
    column = table.select([name]).combine_chunks(memory_pool=POOL).column(0)
    if column.num_chunks > 1:  # text beyond 2 GiB
        raise DataError("a shard holds too much text for one column: ingest with more --shards")
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def raw_of(label: str, batches: list[pa.RecordBatch], schema: pa.Schema, space: Space) -> Raw:
    """Spilled batches of a shard as one set of rows."""
    return Raw(label, pa.Table.from_batches(batches, schema=schema), space)


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
