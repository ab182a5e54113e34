"""Spilled rows of one shard as columns, and what all shards share once every file is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.errors import DataError
from ihp_compute.service_categories import CodeFacts

Columns = dict[str, NDArray[Any]]
Strings = dict[str, pa.Array]


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


@dataclass(frozen=True)
class Raw:
    """Spilled rows of one table: numeric columns as arrays, texts as Arrow arrays."""

    numbers: Columns
    texts: Strings
    dx: pa.Array | None = None

    @property
    def n(self) -> int:
        """How many rows."""
        return len(self.numbers["member_key"])

    def rows(self, part: slice) -> Raw:
        """Neighbouring rows, without a copy."""
        return Raw(
            {name: values[part] for name, values in self.numbers.items()},
            {name: array[part] for name, array in self.texts.items()},
            None if self.dx is None else self.dx[part],
        )


def raw_of(batches: list[pa.RecordBatch], schema: pa.Schema) -> Raw:
    """Spilled batches of a shard as one set of columns, rows in order of file and position."""
    table = pa.Table.from_batches(batches, schema=schema).combine_chunks()
    numbers: Columns = {}
    texts: Strings = {}
    dx = None
    for field in schema:
        chunked = table.column(field.name)
        if chunked.num_chunks > 1:  # text beyond 2 GiB
            raise DataError("a shard holds too much text for one column: ingest with more --shards")
        array = chunked.chunk(0) if chunked.num_chunks else pa.array([], field.type)
        if pa.types.is_string(field.type):
            texts[field.name] = array
        elif pa.types.is_list(field.type):
            dx = array
        else:
            numbers[field.name] = array.to_numpy(zero_copy_only=False)
    return Raw(numbers, texts, dx)


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
