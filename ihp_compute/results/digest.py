"""Digests: the same inputs and terms give the same SHA-256 wherever and however they were run.

    table -> its digest \
    totals -> its digest + what was asked for -> the run's digest

A table's digest covers a canonical form of its content alone: columns by schema, rows by key,
numbers little-endian, text as UTF-8 with its lengths. So a table that another run leaves as it was
keeps its digest. The run's digest is taken over those of its parts, by name, and what was asked
for. Nothing of files, paths, shards, threads, timings or runner enters it. What needs libm or
LAPACK stands in tables outside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.errors import RunError
from ihp_compute.results.tables import LEDGER
from ihp_compute.table_schema import TableSchema
from ihp_compute.uncertainty import Totals, totals_names
from kernels import word_order


def pooled(n: int, kind: Any) -> NDArray[Any]:
    """An array of this dtype in Arrow's memory pool, with whatever was left in it.

    The pool keeps what is freed; fresh pages for a large array cost more than writing it.
    """
    dtype = np.dtype(kind)
    return np.frombuffer(pa.allocate_buffer(n * dtype.itemsize), dtype)


_WORD_BITS: Final = 64
_MANY: Final = 1 << 13
"""Rows of which the keys are ranked before they are ordered."""
_MOST_PLACES: Final = 2**62


def sort_by(table: pa.Table, keys: Sequence[str]) -> pa.Table:
    """The table in the order of its key columns, as one chunk a column."""
    keys = [*keys[:2], *(key for key in keys[2:] if _varies(table.column(key)))]
    if len(keys) == 2 and all(pa.types.is_integer(table.schema.field(key).type) for key in keys):
        order = _order(*(table.column(key).to_numpy() for key in keys))
        if order is None:
            return table.combine_chunks()
        columns = [_taken(column, order) for column in table.itercolumns()]
        return pa.Table.from_arrays(columns, schema=table.schema)
    place = _places([table.column(key) for key in keys]) if table.num_rows > _MANY else None
    if place is None:
        return table.sort_by([(key, "ascending") for key in keys]).combine_chunks()
    return table.take(pa.array(np.argsort(place, kind="stable"))).combine_chunks()


def _places(columns: Sequence[pa.ChunkedArray]) -> NDArray[np.int64] | None:
    """A number of each row that orders as its keys do; None where there are too many.

    Keys have few values: to rank those is less than to compare the texts of rows.
    """
    place, n_places = np.zeros(len(columns[0]), np.int64), 1
    for column in columns:
        coded = column.dictionary_encode().combine_chunks()
        n = len(coded.dictionary)
        n_places *= n + 1
        if n_places > _MOST_PLACES:
            return None
        rank = np.full(n + 1, n, np.int64)  # nothing comes last
        rank[pc.array_sort_indices(coded.dictionary).to_numpy()] = np.arange(n)
        code = coded.indices.fill_null(n).to_numpy()
        place = place * (n + 1) + np.take(rank, code)
    return place


def _varies(column: pa.ChunkedArray) -> bool:
    """Whether a key orders anything; the measurement mostly is the same in every row."""
    if not pa.types.is_integer(column.type):
        return True
    ends = pc.min_max(column).as_py()
    return bool(ends["min"] != ends["max"])


def _order(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.int64] | None:
    """Rows in order of both columns; None if they stand in it.

    Member-years stand a member at a time, years in order: there, members are all that is ordered.
    """
    fresh = first[1:] != first[:-1]
    if (fresh | (second[1:] > second[:-1])).all():
        if (~fresh | (first[1:] > first[:-1])).all():
            return None
        starts = np.flatnonzero(np.r_[True, fresh])
        width = len(first) // len(starts)
        if first.dtype == np.uint64 and np.array_equal(starts, np.arange(0, len(first), width)):
            order, ordered = word_order(first[starts], _WORD_BITS)
            if (ordered[1:] > ordered[:-1]).all():
                return (starts[order][:, None] + np.arange(width)).reshape(-1)
    return np.lexsort((second, first))


def _taken(column: pa.ChunkedArray, order: NDArray[np.int64]) -> pa.Array:
    """A column in that order, in memory that Arrow's pool keeps: fresh memory costs more."""
    if pa.types.is_dictionary(column.type):
        whole = column.unify_dictionaries().combine_chunks()
        return pa.DictionaryArray.from_arrays(_picked(whole.indices, order), whole.dictionary)
    if pa.types.is_integer(column.type):
        return _picked(column.combine_chunks(), order)
    return column.combine_chunks().take(pa.array(order))


def _picked(values: pa.Array, order: NDArray[np.int64]) -> pa.Array:
    numbers = values.to_numpy()
    out = pooled(len(order), numbers.dtype)
    return pa.array(numbers.take(order, out=out, mode="clip"), values.type)


def ledger_over_files(ledger: pa.Table) -> pa.Table:
    """The ledger summed over input files: how a state's claims were cut into files is no result."""
    summed = ledger.group_by(["source_table", "stage", "fate", "measurement"]).aggregate(
        [("lines", "sum"), ("paid_cents", "sum")]
    )
    kept = summed.filter(
        pc.or_(
            pc.not_equal(summed.column("lines_sum"), 0),
            pc.not_equal(summed.column("paid_cents_sum"), 0),
        )
    )
    return kept.select(
        ["source_table", "stage", "fate", "measurement", "lines_sum", "paid_cents_sum"]
    )


def _update(digest: Any, column: pa.ChunkedArray) -> None:
    if column.null_count:
        raise RunError("a result column holds nulls; results never do, so the run is damaged")
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type):
        _update_text(digest, column)
        return
    values = column.to_numpy()
    if values.dtype == bool:
        values = values.astype(np.uint8)
    digest.update(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).data)


def _update_text(digest: Any, column: pa.ChunkedArray) -> None:
    """Lengths in bytes as int64, then the bytes: what Arrow holds, without its offsets."""
    digest.update(pc.binary_length(column).to_numpy().astype("<i8").data)
    for chunk in column.chunks:
        _, offsets, data = chunk.buffers()
        ends = np.frombuffer(offsets, "<i4", count=len(chunk) + 1, offset=4 * chunk.offset)
        if data is not None:
            digest.update(memoryview(data)[ends[0] : ends[-1]])


def table_digest(table: pa.Table) -> str:
    """SHA-256 of a table in canonical form, its rows in their order.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    RunError
        If a value is null.
    """
    digest = hashlib.sha256(f"{table.num_rows}\n".encode())
    for field in table.schema:
        digest.update(f"{field.name} {field.type}\n".encode())
        _update(digest, table.column(field.name))
    return digest.hexdigest()


def result_digest(declared: TableSchema, table: pa.Table) -> str:
    """SHA-256 of a result table in canonical form, whatever the order of its rows.

    The ledger is summed over input files first. Returns and raises as `table_digest`.
    """
    if declared is LEDGER:
        table = ledger_over_files(table)
    return table_digest(sort_by(table, [k for k in declared.keys if k in table.column_names]))


def totals_digest(totals: Totals) -> str:
    """SHA-256 of replicate totals: shape and names, then sums, members and cents taken as int64."""
    named = [totals.values.shape, totals.groups, totals.strata, totals.columns]
    digest = hashlib.sha256(f"{json.dumps(named)}\n".encode())
    digest.update(np.ascontiguousarray(totals.values, "<i8").data)
    digest.update(np.ascontiguousarray(totals.n_members, "<i8").data)
    digest.update(np.ascontiguousarray(totals.taken_cents, "<i8").data)
    return digest.hexdigest()


def totals_named(totals: Sequence[Totals]) -> dict[str, Totals]:
    """Totals of a run's measurements by name, as parts of its digest; the others are tables."""
    return dict(zip(totals_names(len(totals)), totals, strict=True))


def digest_over(parts: Mapping[str, str], terms: Mapping[str, Any]) -> str:
    """SHA-256 over what was asked for and the digest of each part, by name.

    Parameters
    ----------
    parts : mapping of name to str
        Digests of tables and totals.
    terms : mapping
        What was asked for: method version, years, cutoff, seed, replicates, contract hashes.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    whole = {"terms": terms, "parts": parts}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
