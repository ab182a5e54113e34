"""What the first pass hands to the second: typed columns, rows of a batch in order of shard.

    columns of a batch -> rows by shard, each column as narrow as it goes -> one file a shard range

A column is described by what it is made of - one value a row, distinct values and an index, or one
value for all rows - and written down once, in the order in which it is spilled. What is the same in
all rows is not written at all: it is kept in memory beside the place of the batch. Less written is
less for the machine to find room for; and a range's files go as soon as its shards are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.ingest_read import Text
from ihp_compute.tables import pooled
from kernels import code_lists, row_order, row_pick

SPILLED_LINES: Final = pa.schema(
    [
        ("member_key", pa.uint64()), ("fate", pa.uint8()), ("reason", pa.string()),
        ("file", pa.uint16()), ("row", pa.int64()), ("hash_1", pa.uint64()),
        ("hash_2", pa.uint64()), ("claim_hash", pa.uint64()), ("line_hash", pa.uint64()),
        ("claim_id", pa.string()), ("claim_line_number", pa.string()),
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
_NARROW: Final = (np.int16, np.int32)


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


Column: TypeAlias = NDArray[Any] | Coded | Text | Stated | pa.Array | Sequence[Coded] | int | None
"""One column: numbers a row or coded; texts coded, or an Arrow array of one text a row; lists of
the codes above 0; one number for all rows; None for null in all rows."""


@dataclass(frozen=True)
class Piece:
    """Some rows: the columns that differ between rows, and the value of each of the others."""

    rows: pa.RecordBatch
    constant: Mapping[str, int | str | None]


def by_shard(
    columns: Mapping[str, Column], schema: pa.Schema, n_shards: int
) -> tuple[Piece, NDArray[np.int64]]:
    """The batch in order of shard, rows of a shard in their order, and where each shard starts.

    Integers may stand in a narrower type than the schema's.
    """
    key = columns["member_key"]
    order, starts = row_order(key.rows() if isinstance(key, Coded) else key, n_shards)
    constant: dict[str, int | str | None] = {}
    arrays: dict[str, pa.Array] = {}
    for field in schema:
        column = columns[field.name]
        if field.name != "member_key" and _is_constant(column):
            constant[field.name] = _constant(column)
        else:
            arrays[field.name] = _ordered(column, order, field.type)
    return Piece(pa.RecordBatch.from_pydict(arrays), constant), starts


@dataclass(frozen=True)
class _Batch:
    """A spilled batch: what is written of it, what is not, and where each shard's rows start."""

    schema: pa.Schema
    constant: Mapping[str, int | str | None]
    at: list[int]


class Spill:
    """Rows of one piece of an input file. Each of its files has the shards of one range."""

    def __init__(self, folder: Path, name: str, table: str, n_shards: int) -> None:
        self.table = table
        self._n_shards = n_shards
        self._ranges = ranges(n_shards)
        self._paths = [folder / f"{name}-{k}.arrow" for k in range(len(self._ranges))]
        self._batches: list[_Batch] = []

    def write(self, batches: Iterable[Mapping[str, Column]]) -> None:
        """Write batches: in each file a stream a batch, and in that a record batch a shard."""
        with ExitStack() as stack:
            sinks = [
                stack.enter_context(pa.output_stream(str(path), buffer_size=_BUFFER_BYTES))
                for path in self._paths
            ]
            for columns in batches:
                piece, starts = by_shard(columns, SPILLED[self.table], self._n_shards)
                edges = starts.tolist()
                at: list[int] = []
                for sink, shards in zip(sinks, self._ranges, strict=True):
                    with pa.ipc.new_stream(sink, piece.rows.schema) as writer:
                        for k in shards:
                            at.append(sink.tell())
                            writer.write_batch(piece.rows.slice(edges[k], edges[k + 1] - edges[k]))
                self._batches.append(_Batch(piece.rows.schema, piece.constant, at))

    def pieces(self, shard: int) -> list[Piece]:
        """The rows of one shard, batch by batch; they stand in a map of the file."""
        if not self._batches:
            return []
        source = pa.memory_map(str(self._paths[range_of(shard, self._ranges)]), "r")
        found = []
        for batch in self._batches:
            source.seek(batch.at[shard])
            message = pa.ipc.read_message(source)
            if message.type == "schema":  # before the first of a stream
                message = pa.ipc.read_message(source)
            rows = pa.ipc.read_record_batch(message, batch.schema)
            found.append(Piece(rows, batch.constant))
        return found

    def drop(self, at: int) -> None:
        """Remove the file of a range whose shards are made."""
        self._paths[at].unlink()


def ranges(n_shards: int) -> list[range]:
    """Shards cut into a few ranges of neighbours.

    >>> ranges(3)
    [range(0, 1), range(1, 2), range(2, 3)]
    >>> ranges(20)[:2], len(ranges(20))
    ([range(0, 3), range(3, 6)], 7)
    """
    size = -(-n_shards // _RANGES)
    return [range(k, min(k + size, n_shards)) for k in range(0, n_shards, size)]


def range_of(shard: int, among: Sequence[range]) -> int:
    """Which of the ranges a shard stands in."""
    return shard // len(among[0])


def _is_constant(column: Column) -> bool:
    """Whether all rows have one value, as far as that is quickly seen."""
    if column is None or isinstance(column, int):
        return True
    if isinstance(column, Stated):
        return column.text.is_blank
    if isinstance(column, Text):
        return column.is_blank
    if isinstance(column, Coded):
        return len(column.values) == 1
    if isinstance(column, np.ndarray):
        ends = len(column) > 0 and column[0] == column[len(column) // 2] == column[-1]
        return bool(ends) and bool((column == column[0]).all())
    return isinstance(column, Sequence) and not column


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


def _ordered(column: Column, order: NDArray[np.int32], kind: pa.DataType) -> pa.Array:
    if isinstance(column, Stated):
        return _texts(column.text.words.texts, column.text.index, order, column.text.words.blank)
    if isinstance(column, Text):
        return _texts(column.words.texts, column.index, order)
    if isinstance(column, pa.Array):
        if column.null_count:
            return column.take(pa.array(order))
        return _texts(column, None, order)
    if isinstance(column, Coded):
        values = _narrow(column.values, kind.to_pandas_dtype())
        return pa.array(row_pick(values, column.index, order, pooled(len(order), values.dtype)))
    if isinstance(column, np.ndarray):
        values = _narrow(column, kind.to_pandas_dtype())
        return pa.array(row_pick(values, None, order, pooled(len(order), values.dtype)))
    if isinstance(column, Sequence):
        return _lists(column, order)
    raise TypeError(f"a column of {type(column).__name__} has no rows")


def _texts(
    texts: pa.Array,
    index: NDArray[np.int32] | None,
    order: NDArray[np.int32],
    null: int | None = None,
) -> pa.Array:
    rows = order if index is None else row_pick(index, None, order)
    if null is not None:
        is_null = pa.array(np.arange(len(texts)) == null)
        texts = pc.if_else(is_null, pa.scalar(None, texts.type), texts)
    return pc.take(texts, pa.array(rows), boundscheck=False)


def _lists(columns: Sequence[Coded], order: NDArray[np.int32]) -> pa.Array:
    """The codes above 0 that each row has, column by column."""
    codes = pooled(len(columns) * len(order), np.int32).reshape(len(columns), len(order))
    for column, out in zip(columns, codes, strict=True):
        row_pick(column.values, column.index, order, out)
    stated, starts = code_lists(codes, pooled(codes.size, np.int32))
    return pa.ListArray.from_arrays(pa.array(starts), pa.array(stated))
