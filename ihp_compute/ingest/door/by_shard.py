"""A batch's rows in order of shard, each column written as narrow as it goes.

A column comes as what it is made of (`columns`): one value a row, distinct values and an index, or
one value for all rows. It is put in order once, as it is then written (`ingest.spill`). What is the
same in all rows is not written at all, and of few distinct values only their places are: the values
stay in memory (`Kept`). Less written is less for the machine to find room for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.ingest.door.columns import Coded, Column, Following, Stated
from ihp_compute.ingest.door.texts import Text
from ihp_compute.ingest.spill_layout import Kept, Ordered, Scratch, narrowed, place_kind
from ihp_compute.input_columns import SPILL_COLUMNS
from ihp_compute.units import NO_DAY
from kernels import code_lists, row_order, row_pick

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
"""Numbers in a row times this are far apart."""
_MANY: Final = 16
"""Of a coded column only places are written where it has this many rows for each value."""
_FEW: Final = frozenset(
    column.name for columns in SPILL_COLUMNS.values() for column in columns if column.few
)
_AT_MOST: Final = 1 << 10
"""Of texts that are few as a rule only places are written up to so many in a batch."""


def by_shard(
    columns: Mapping[str, Column], schema: pa.Schema, n_shards: int, scratch: Scratch
) -> Ordered:
    """The batch in order of shard; it stands in `scratch` until another one does.

    Rows of nobody, whose key is 0, go to any shard, so that no number of them is too much for one.
    """
    order, starts = row_order(_spread(columns), n_shards)
    kept = Kept()
    numbers: dict[str, NDArray[Any]] = {}
    texts: dict[str, pa.Array] = {}
    for entry in schema:
        name, column = entry.name, columns[entry.name]
        if name != "member_key" and _is_constant(column):
            kept.constant[name] = _constant(column)
        elif (coded := _few(column, entry)) is not None:
            kept.values[name], index = coded
            if isinstance(column, Stated | Text):
                kept.hashes[name] = _text_of(column).words.hashes
            places = index.astype(place_kind(len(kept.values[name])), copy=False)
            numbers[name] = _picked(places, None, order, scratch, name)
        elif isinstance(column, Following):
            texts[name] = _followed(column, order, starts)
        elif isinstance(column, Stated | Text):
            values, index = _coded_texts(column)
            places = pa.array(row_pick(index, None, order))
            texts[name] = pc.take(values, places, boundscheck=False)
        elif isinstance(column, list):
            texts[name] = _lists(column, order, scratch)
        else:
            numbers[name] = _ordered(column, order, entry, scratch)
    return Ordered(numbers, texts, kept, starts)


def _spread(columns: Mapping[str, Column]) -> NDArray[np.uint64]:
    """The members' keys; in place of 0 a number that the row's place in its file gives."""
    key, places = columns["member_key"], columns.get("row")
    keys: NDArray[np.uint64] = key.rows() if isinstance(key, Coded) else np.asarray(key)
    if isinstance(key, Coded) and isinstance(places, range):
        nobody = key.where(key.values == 0)
        keys[nobody] = (nobody.astype(np.uint64) + np.uint64(places.start)) * _GOLDEN
    return keys


def _is_constant(column: Column) -> bool:
    """Whether all rows have one value, as far as that is quickly seen."""
    if column is None or isinstance(column, int):
        return True
    if isinstance(column, Stated | Text):
        return _text_of(column).is_blank
    if isinstance(column, Coded):
        return len(column.values) == 1
    if isinstance(column, np.ndarray):
        ends = len(column) > 0 and column[0] == column[len(column) // 2] == column[-1]
        return bool(ends) and bool((column == column[0]).all())
    return isinstance(column, list) and not column


def _constant(column: Column) -> int | str | None:
    if isinstance(column, Coded):
        return int(column.values[0])
    if isinstance(column, np.ndarray):
        return int(column[0])
    if isinstance(column, Text):
        return ""
    return column if isinstance(column, int) else None


def _ordered(
    column: Column, order: NDArray[np.int32], field: pa.Field, scratch: Scratch
) -> NDArray[Any]:
    """Numbers, a value a row."""
    kind = field.type.to_pandas_dtype()
    if isinstance(column, range):
        return narrowed(order + np.int64(column.start), kind)
    if isinstance(column, Coded):
        return _picked(narrowed(column.values, kind), column.index, order, scratch, field.name)
    if isinstance(column, np.ndarray):
        return _picked(narrowed(column, kind), None, order, scratch, field.name)
    raise TypeError(f"a column of {type(column).__name__} has no rows")


def _few(
    column: Column, field: pa.Field
) -> tuple[NDArray[Any] | pa.Array, NDArray[np.int32]] | None:
    """Values and index of a column of few distinct values, if they are wider than an index."""
    kind = field.type
    if isinstance(column, Stated | Text):
        values, index = _coded_texts(column)
        if field.name in _FEW and len(values) <= _AT_MOST:
            return values, index
    elif isinstance(column, Coded) and kind in (pa.uint64(), pa.int64()):
        values, index = column.values, column.index
    elif isinstance(column, np.ndarray) and kind == pa.int32() and column.min() == NO_DAY:
        return _days(column)
    else:
        return None
    return (values, index) if len(values) * _MANY <= len(index) else None


def _days(days: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]] | None:
    """Days of which some are blank, as places among all days of their time."""
    stated = days != NO_DAY
    first = int(days.min(where=stated, initial=days.max()))
    values = np.arange(first - 1, int(days.max()) + 1, dtype=np.int32)
    if len(values) * _MANY > len(days):
        return None
    values[0] = NO_DAY
    return values, np.where(stated, days - np.int32(first - 1), np.int32(0))


def _followed(column: Following, order: NDArray[np.int32], starts: NDArray[np.int64]) -> pa.Array:
    words = row_pick(column.words, None, order)
    stated = np.ones(len(order), bool)
    np.not_equal(words[1:], words[:-1], out=stated[1:])
    stated[starts[starts < len(order)]] = True
    texts = pc.take(column.texts, pa.array(order[stated]), boundscheck=False)
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int32, len(texts) + 1)
    at = row_pick(ends, None, np.cumsum(np.append(False, stated), dtype=np.int32))
    bits = np.packbits(stated, bitorder="little")
    return pa.StringArray.from_buffers(
        len(order), pa.py_buffer(at), data, pa.py_buffer(bits), int(np.count_nonzero(~stated))
    )


def _coded_texts(column: Stated | Text) -> tuple[pa.Array, NDArray[np.int32]]:
    """Distinct texts of a column, and which of them each row has; null where a blank is none."""
    text = _text_of(column)
    texts = text.words.texts
    if isinstance(column, Stated):
        texts = pa.concat_arrays([texts.slice(0, text.words.blank), pa.nulls(1, texts.type)])
    return texts, text.index


def _text_of(column: Stated | Text) -> Text:
    return column.text if isinstance(column, Stated) else column


def _picked(
    values: NDArray[Any],
    index: NDArray[np.int32] | None,
    order: NDArray[np.int32],
    scratch: Scratch,
    name: str,
) -> NDArray[Any]:
    out = scratch.array(name, len(order), values.dtype)
    picked: NDArray[Any] = row_pick(values, index, order, out)
    return picked


def _lists(columns: Sequence[Coded], order: NDArray[np.int32], scratch: Scratch) -> pa.Array:
    """The codes above 0 that each row has, column by column."""
    k, n, kind = len(columns), len(order), np.dtype(np.int32)
    codes = scratch.array("codes", k * n, kind).reshape(k, n)
    for column, out in zip(columns, codes, strict=True):
        row_pick(column.values, column.index, order, out)
    stated, starts = code_lists(codes, scratch.array("stated", k * n, kind))
    return pa.ListArray.from_arrays(pa.array(starts), pa.array(narrowed(stated, np.int32)))
