"""Rows of the cold record as pieces between the passes: as if they had just been read and spilled.

    a stretch of a shard's record, and its lines -> one batch in memory, as a spilled one lies

What the record leaves out is put back: a row that could be read has no fate yet, what a retained
row says stands in its line, and whose numbers a claim's is follows from source, payer and plan.
Codes have the numbers of the record. Columns stay as narrow as they were written, so that little is
moved. No row has its second hash: all rows of a shard have their member's key for it
(`SECOND_HASH`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.ingest.final_action import OPEN, issuer_words
from ihp_compute.ingest.spill_layout import Kept, Pieces, Range, Spilled, filled, kind_of, narrowed
from ihp_compute.input_columns import CODED, DAYS, SPILL_COLUMNS, SPILLED, SpillColumn
from ihp_compute.population import OF_LINES, Shard, tables, text_hashes
from ihp_compute.units import NO_DAY
from kernels import row_pick
from kernels.rows.row_join import CONSTANT

SECOND_HASH: Final = "member_key"
"""What stands for `hash_2` where a delivery is added: of rows of one member one hash tells
enough, and the record keeps no more."""
_MANY: Final = 1 << 17
"""Rows from which days are left as two bytes and a table of what these stand for."""
_ISSUERS: Final = ("data_source", "payer", "payer_plan")


def pieces_of(
    table: str,
    stretch: pa.RecordBatch,
    shard: Shard,
    recorded: Callable[[str], NDArray[np.int32] | None],
) -> Pieces:
    """Rows of a record, all of one table, as pieces of one shard.

    Parameters
    ----------
    table : str
        One of `SPILLED`.
    stretch : RecordBatch
        As it was written (`Shard.stretches`), or some of its rows; none is gone.
    shard : Shard
        Of the record.
    recorded : callable
        Number in the record of each number of a code in the shard's tables, int32, by the system;
        None where all are the same.
    """
    return _Stretch(table, stretch, shard, recorded).pieces()


class _Stretch:
    """Columns of a stretch on their way; rows with a line have what it says."""

    def __init__(
        self,
        table: str,
        stretch: pa.RecordBatch,
        shard: Shard,
        recorded: Callable[[str], NDArray[np.int32] | None],
    ) -> None:
        self._table, self._rows, self._shard, self._recorded = table, stretch, shard, recorded
        self._n = stretch.num_rows
        self._numbers: dict[str, NDArray[Any]] = {}
        self._texts: dict[str, pa.Array] = {}
        self._kept = Kept()
        self._has_lines = "line" in stretch.schema.names
        if self._has_lines:
            self._line = stretch.column("line").to_numpy()
            self._others = np.flatnonzero(self._line < 0)
            self._at = np.maximum(self._line, 0) if len(self._others) else self._line

    def pieces(self) -> Pieces:
        """All columns, laid out."""
        for column in SPILL_COLUMNS[self._table]:
            self._put(column)
        return _laid_out(self._table, self._numbers, self._texts, self._kept, self._n)

    def _put(self, column: SpillColumn) -> None:
        name = column.name
        if name == "fate":
            self._kept.constant[name] = OPEN
        elif name == "reason":
            self._kept.constant[name] = None
        elif name == "issuer":
            self._numbers[name] = self._issuers()
        elif name == "hash_2":
            self._numbers[name] = self._whole(SECOND_HASH)
        elif pa.types.is_list(column.type):
            self._texts[name] = self._rows.column(name)
        elif pa.types.is_string(column.type):
            self._put_text(column)
        elif self._has_lines and name in OF_LINES:
            kind = np.dtype(column.type.to_pandas_dtype())
            self._numbers[name] = narrowed(self._whole(name), kind)
        else:
            self._put_number(name)

    def _put_number(self, name: str) -> None:
        found = self._rows.column(name)
        values = _plain(found)
        if name in DAYS and values.dtype == np.int16:
            if self._n > _MANY:
                self._numbers[name] = values.view(np.uint16)
                self._kept.values[name] = _days()
            else:
                self._numbers[name] = _days()[values.view(np.uint16)]
        else:
            self._numbers[name] = values

    def _put_text(self, column: SpillColumn) -> None:
        name, found = column.name, self._rows.column(column.name)
        if self._has_lines and name in OF_LINES:
            found = self._text_of_lines(name, found)
        if column.few and not pa.types.is_dictionary(found.type):
            found = found.dictionary_encode()
        if pa.types.is_dictionary(found.type):
            self._kept.values[name] = found.dictionary
            self._kept.hashes[name] = text_hashes(found.dictionary)
            self._numbers[name] = narrowed(found.indices.to_numpy(), np.int32)
        elif found.null_count == self._n:
            self._kept.constant[name] = column.blank if isinstance(column.blank, str) else None
        else:
            self._texts[name] = found

    def _whole(self, name: str) -> NDArray[Any]:
        """Numbers of all rows in their own type, from their lines where they have one."""
        found = self._rows.column(name)
        if not self._has_lines or name not in OF_LINES:
            return _plain(found)
        shard = self._shard
        if len(self._others) == self._n:
            return _widened(name, _plain(found), SPILLED[self._table].field(name).type)
        if name == "member_key":
            of_line = np.repeat(shard.column("members", name), np.diff(shard.offsets("lines")))
        else:
            table = "lines" if name in tables.LINES.names else "line_detail"
            of_line = shard.column(table, name)
        number = self._recorded(CODED[name]) if name in CODED else None
        picked: NDArray[Any] = (
            row_pick(of_line, None, self._at)
            if number is None
            else row_pick(number, of_line, self._at)
        )
        if len(self._others):
            picked[self._others] = _widened(name, _plain(found)[self._others], of_line.dtype)
        return picked

    def _text_of_lines(self, name: str, found: pa.Array) -> pa.Array:
        """Texts of all rows, from their lines where they have one."""
        of_line = self._shard.strings("line_detail", name)
        if not len(self._others):
            return pc.take(of_line, pa.array(self._at), boundscheck=False)
        own = found.cast(pa.string())
        if len(self._others) == self._n:
            return own
        return pc.coalesce(own, of_line.take(pa.array(self._line, mask=self._line < 0)))

    def _issuers(self) -> NDArray[np.uint64]:
        found = np.zeros(self._n, np.uint64)
        for k, name in enumerate(_ISSUERS):
            own = self._rows.column(name)
            coded = own if pa.types.is_dictionary(own.type) else own.dictionary_encode()
            words = issuer_words(k, text_hashes(coded.dictionary))
            if words.any():
                found ^= words[coded.indices.to_numpy()]
        return found


def _plain(column: pa.Array) -> NDArray[Any]:
    """The numbers of a column, whatever stands where one is null; truth in whole bytes."""
    if pa.types.is_boolean(column.type):
        truth: NDArray[np.bool_] = column.to_numpy(zero_copy_only=False)
        return truth.view(np.uint8)
    kind = column.type.to_pandas_dtype()
    return np.frombuffer(column.buffers()[1], kind, len(column), column.offset * kind().itemsize)


def _widened(name: str, values: NDArray[Any], kind: Any) -> NDArray[Any]:
    """Numbers in their own kind; the least of a narrower one says no day."""
    wide = values.astype(kind.to_pandas_dtype() if isinstance(kind, pa.DataType) else kind)
    if name in DAYS and values.dtype != wide.dtype:
        wide[values == np.iinfo(values.dtype).min] = NO_DAY
    return wide


@cache
def _days() -> NDArray[np.int32]:
    """Of each two bytes the day that they stand for; the least number is none."""
    days = np.arange(1 << 16, dtype=np.uint16).view(np.int16).astype(np.int32)
    days[1 << 15] = NO_DAY
    return days


def _laid_out(
    table: str, numbers: dict[str, NDArray[Any]], texts: dict[str, pa.Array], kept: Kept, n: int
) -> Pieces:
    """One batch, as `spill` writes it, of one shard and one range."""
    schema = SPILLED[table]
    ordered = {name: numbers[name] for name in schema.names if name in numbers}
    size = sum(filled(column.nbytes) for column in ordered.values())
    stream = pa.BufferOutputStream()
    if texts:
        batch = pa.RecordBatch.from_pydict(texts)
        with pa.ipc.new_stream(stream, batch.schema) as writer:
            writer.write_batch(batch)
    tail = stream.getvalue()
    memory = np.empty(filled(size + tail.size), np.uint8)
    at = 0
    for column in ordered.values():
        memory[at : at + column.nbytes] = np.ascontiguousarray(column).view(np.uint8)
        at += filled(column.nbytes)
    memory[at : at + tail.size] = np.frombuffer(tail, np.uint8)
    kind = [kind_of(ordered[name].dtype) if name in ordered else CONSTANT for name in schema.names]
    spilled = Spilled([0], np.array([0, n], np.int64), np.array(kind, np.int8), bool(texts), kept)
    return Pieces(Range(table, pa.py_buffer(memory), [spilled], 0, range(1)), 0)
