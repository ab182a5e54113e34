"""Columns of the synthetic state's files: dictionaries, dates, amounts, ids, and planted damage.

Which columns a file may have, and of which types, is declared in `input_columns`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.input_columns import INPUT_TABLES

Array = NDArray[Any]
Ints = NDArray[np.int64]


def raw_table(name: str, columns: Mapping[str, pa.Array]) -> pa.Table:
    """A raw table of these columns, each declared and of the type that its declaration gives.

    Raises
    ------
    TypeError
        If a column is not declared, or is of another type; names it.
    """
    declared = INPUT_TABLES[name].by_name
    for column, values in columns.items():
        kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
        if column not in declared or kind != declared[column].arrow_type:
            raise TypeError(f"{name}.{column}: {kind} is not what is declared in input_columns")
    return pa.table(dict(columns))


def dictionary(index: Array, values: pa.Array) -> pa.Array:
    """Text by position; a negative position is null. The values must differ from one another.

    (Arrow reserves room for every value of a dictionary and writes distinct ones: what is left of a
    page is whatever the memory held.)
    """
    index = index.astype(np.int32, copy=False)
    missing = index < 0
    return pa.DictionaryArray.from_arrays(
        pa.array(index, mask=missing if missing.any() else None), values, safe=False
    )


def dates(days: Array, valid: Array | None = None) -> pa.Array:
    """Day numbers as date32, null where not `valid`."""
    return pa.array(
        np.ascontiguousarray(days, np.int32), mask=None if valid is None else ~valid
    ).view(pa.date32())


def decimals(cents: Ints, valid: NDArray[np.bool_] | None = None, *, scale: int = 2) -> pa.Array:
    """Integers as decimal128(18, scale): cents as dollars."""
    wide = np.empty((len(cents), 2), np.int64)
    wide[:, 0] = cents
    wide[:, 1] = cents >> 63
    bitmap = None
    if valid is not None and not valid.all():
        bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(pa.decimal128(18, scale), len(cents), [bitmap, pa.py_buffer(wide)])


_THREE_DIGITS: Final = np.array([list(b"%03d" % k) for k in range(1000)], np.uint8)


def ids(letter: NDArray[np.uint8], number: Ints) -> pa.Array:
    """Text: a letter and twelve digits."""
    n = len(number)
    text = np.empty((n, 13), np.uint8)
    text[:, 0] = letter
    high, low = np.divmod(number.astype(np.int64), 10**6)
    for place, half in ((1, high), (7, low)):
        thousands, ones = np.divmod(half.astype(np.int32), 1000)
        text[:, place : place + 3] = _THREE_DIGITS[thousands]
        text[:, place + 3 : place + 6] = _THREE_DIGITS[ones]
    offsets = np.arange(n + 1, dtype=np.int32) * 13
    return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(text))


def some_ids(where: NDArray[np.bool_], letter: NDArray[np.uint8], number: Ints) -> pa.Array:
    """Ids where asked for, null elsewhere."""
    _, _, text = ids(letter[where], number[where]).buffers()
    offsets = np.concatenate([np.zeros(1, np.int32), 13 * np.cumsum(where, dtype=np.int32)])
    valid = pa.py_buffer(np.packbits(where, bitorder="little"))
    return pa.StringArray.from_buffers(len(where), pa.py_buffer(offsets), text, valid)


def filled(texts: pa.Array, index: Array, values: pa.Array) -> pa.Array:
    """Text, and where it is null the value at a position that is not negative."""
    if not (index >= 0).any():
        return texts
    return pc.coalesce(texts, dictionary(index, values).dictionary_decode())


def keeps_amount(n: int) -> NDArray[np.bool_]:
    """Of `n` rows, those that `spoil` leaves their amount: their date is none."""
    return np.arange(n) % 3 == 0


def spoil(table: pa.Table, date_column: str) -> pa.Table:
    """All columns as text, and in every row a date or an amount that is none."""
    text = table.cast(pa.schema([(name, pa.string()) for name in table.column_names]))
    n = text.num_rows
    for column, wrong, residue in (
        (date_column, "2024-02-31", 0),
        ("paid_amount", "12,34.5.6", 1),
        ("paid_amount", "see note", 2),
    ):
        values = text.column(column).to_pylist()
        values = [wrong if k % 3 == residue else value for k, value in enumerate(values)]
        place = text.column_names.index(column)
        text = text.set_column(place, column, pa.array(values, pa.string()))
    if n and date_column == "claim_start_date":  # the line date would stand in for it
        place = text.column_names.index("claim_line_start_date")
        text = text.set_column(place, "claim_line_start_date", pa.nulls(n, pa.string()))
    return text
