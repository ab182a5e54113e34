"""Rows of a shard as the cold record keeps them: as they were read, codes final, with their fates.

A stretch of rows at a time, so that columns that nobody else asks for need little room. What the
record is and how it is written, `population.record` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.ingest.handover import Rules
from ihp_compute.ingest.shard.rows import ShardRows
from ihp_compute.input_columns import CODED
from ihp_compute.ledger import IngestFate
from ihp_compute.population import FEW, RECORDS
from kernels import row_pick

_STRETCH: Final = 1 << 17
_FATES: Final = pa.array([fate.label for fate in IngestFate])


def recorded(
    name: str, source_table: str, raw: ShardRows, fate: NDArray[np.uint8], rules: Rules
) -> Iterator[pa.RecordBatch]:
    """Readable rows of a table, in their order, for the record of this name.

    What a batch has stands until the next one is asked for.
    """
    for first in range(0, raw.n, _STRETCH):
        near = slice(first, min(first + _STRETCH, raw.n))
        rows = np.flatnonzero(fate[near] != IngestFate.UNREADABLE).astype(np.int32)
        if not len(rows):
            continue
        stretch = _Stretch(raw, near, rows, rules)
        own = {
            "source_table": _same(source_table, len(rows)),
            "fate": pa.DictionaryArray.from_arrays(
                pa.array(fate[near][rows].astype(np.int32)), _FATES, safe=False
            ),
        }
        yield pa.RecordBatch.from_arrays(
            [
                own[field.name] if field.name in own else stretch.column(field)
                for field in RECORDS[name]
            ],
            schema=RECORDS[name],
        )


def _same(text: str, n: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([text]))


class _Stretch:
    """Some of neighbouring rows, by place among these."""

    def __init__(self, raw: ShardRows, near: slice, rows: NDArray[np.int32], rules: Rules) -> None:
        self._raw, self._near, self._rows, self._rules = raw, near, rows, rules
        self._at = rows + np.int32(near.start)
        self._is_whole = len(rows) == near.stop - near.start

    def column(self, field: pa.Field) -> pa.Array:
        """A column, of exactly the field's type."""
        name = field.name
        if pa.types.is_list(field.type):
            return self._lists(field)
        if field.type == FEW:
            return self._raw.some_coded(self._at, name)
        if pa.types.is_string(field.type):
            if self._is_whole and self._raw.coded[name] is None:
                return self._raw.texts[name][self._near]
            return self._raw.some_texts(self._at, name)
        values = self._raw.stretch(name, self._near)
        if name in CODED:
            final = self._rules.final_code[CODED[name]]
            return pa.array(row_pick(final, values, self._rows), field.type)
        if not self._is_whole:
            values = row_pick(values, None, self._rows)
        return pa.array(values, field.type)

    def _lists(self, field: pa.Field) -> pa.Array:
        lists = self._raw.lists[field.name].rows(self._near)
        first, stop = lists.starts[0], lists.starts[-1]
        codes: NDArray[Any] = self._rules.final_code[CODED[field.name]].take(
            lists.codes[first:stop]
        )
        made = pa.ListArray.from_arrays(
            pa.array(lists.starts - first), pa.array(codes), type=field.type
        )
        return made if self._is_whole else made.take(pa.array(self._rows))
