"""What the first pass hands to the second: typed columns, rows of a batch in order of shard.

A column is described by what it is made of - one value a row, distinct values and an index, or one
value for all rows - and written down once, in the order in which it is spilled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


def by_shard(
    columns: Mapping[str, Column], schema: pa.Schema, n_shards: int
) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """The batch in order of shard, rows of a shard in their order, and where each shard starts."""
    key = columns["member_key"]
    order, starts = row_order(key.rows() if isinstance(key, Coded) else key, n_shards)
    arrays = [_ordered(columns[field.name], order, field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema), starts


def _ordered(column: Column, order: NDArray[np.int32], kind: pa.DataType) -> pa.Array:
    n = len(order)
    if column is None:
        return pa.nulls(n, kind)
    if isinstance(column, int):
        out = pooled(n, kind.to_pandas_dtype())
        out.fill(column)
        return pa.array(out, kind)
    if isinstance(column, Stated):
        if column.text.is_blank:
            return pa.nulls(n, kind)
        return _texts(column.text.words.texts, column.text.index, order, column.text.words.blank)
    if isinstance(column, Text):
        return _texts(column.words.texts, column.index, order)
    if isinstance(column, pa.Array):
        if column.null_count:
            return column.take(pa.array(order))
        return _texts(column, None, order)
    if isinstance(column, Coded | np.ndarray):
        values, index = (
            (column.values, column.index) if isinstance(column, Coded) else (column, None)
        )
        values = values.astype(kind.to_pandas_dtype(), copy=False)
        return pa.array(row_pick(values, index, order, pooled(n, values.dtype)), kind)
    return _lists(column, order)


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
