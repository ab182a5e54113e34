"""Columns of a Parquet row group that are stored as places in a dictionary, read as such.

Most columns of a claim file say few things many times. The library undoes how their pages are
packed row by row; `kernels.page_places` does it a run at a time. A chunk that is not plainly of the
usual kind, or is damaged, is left to the library, which reads it or says what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ihp_compute.ingest.input_files import InputFile
from kernels import page_places

_PACKED: Final = {"SNAPPY": True, "UNCOMPRESSED": False}
_ENCODINGS: Final = frozenset({"PLAIN", "PLAIN_DICTIONARY", "RLE", "RLE_DICTIONARY"})
_WIDTH: Final = {"BYTE_ARRAY": 0, "INT32": 4}
_BLANK: Final = pa.array([""], pa.string())
_KIND: Final = {"BYTE_ARRAY": pa.string(), "INT32": pa.date32()}


class CodedPages:
    """Coded columns of one row group.

    Texts have no null, but "" as their last word; days have a null as theirs.
    """

    def __init__(self, file: InputFile, footer: pq.FileMetaData, group: int) -> None:
        self._path = file.path
        self._group = footer.row_group(group)
        schema = footer.schema
        self._arrow = schema.to_arrow_schema()
        paths = [schema.column(k).path for k in range(footer.num_columns)]
        self._columns = {path: schema.column(k) for k, path in enumerate(paths)}
        self._places = {path: k for k, path in enumerate(paths) if paths.count(path) == 1}

    def columns(self, names: Iterable[str]) -> dict[str, pa.DictionaryArray]:
        """Those of the columns that could be read."""
        with pa.memory_map(str(self._path)) as source:
            content = np.frombuffer(source.read_buffer(), np.uint8)
        found = {name: self._column(name, content) for name in names if self._is_usual(name)}
        return {name: array for name, array in found.items() if array is not None}

    def _is_usual(self, name: str) -> bool:
        if name not in self._places:
            return False
        column, chunk = self._columns[name], self._group.column(self._places[name])
        kind = _KIND.get(chunk.physical_type)
        return (
            kind is not None
            and self._arrow.field(name).type == kind
            and column.max_repetition_level == 0
            and column.max_definition_level <= 1
            and chunk.has_dictionary_page
            and chunk.compression in _PACKED
            and _ENCODINGS.issuperset(chunk.encodings)
            and chunk.num_values == self._group.num_rows
        )

    def _column(self, name: str, content: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> pa.Array:
        chunk = self._group.column(self._places[name])
        first = chunk.dictionary_page_offset
        stop = first + chunk.total_compressed_size
        if not 0 < first < stop <= len(content):
            return None
        places = np.empty(self._group.num_rows, np.int32)
        words = page_places(
            content[first:stop],
            places,
            width=_WIDTH[chunk.physical_type],
            most=chunk.total_uncompressed_size,
            is_packed=_PACKED[chunk.compression],
            is_optional=self._columns[name].max_definition_level == 1,
        )
        if words is None:
            return None
        data, ends = words
        n = len(ends) - 1
        has_nulls = len(places) > 0 and int(places.max()) == n
        if chunk.physical_type == "INT32":
            dictionary = pa.array(data.view(np.int32)).cast(pa.date32())
            none = pa.nulls(1, pa.date32())
        else:
            dictionary = pa.StringArray.from_buffers(n, pa.py_buffer(ends), pa.py_buffer(data))
            none = _BLANK
        if len(dictionary.unique()) < n:  # no writer repeats a word
            return None
        if has_nulls:
            dictionary = pa.concat_arrays([dictionary, none])
        return pa.DictionaryArray.from_arrays(pa.array(places), dictionary, safe=False)
