"""Parquet files: what a footer promises, and columns as they are stored.

A footer is judged before any page is read: its rows, columns and sizes have limits that no table of
claims meets, so that a small file cannot ask for much memory. A column of text is read as codes of
its dictionary where its pages hold such. Pages are held against their checksums where a file has
them. Text is UTF-8, a UUID its usual text; a column that is nested or of raw bytes is refused where
it is read. No message shows a value. Not here: what a value says (`values`).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ihp_compute.errors import DataError
from ihp_compute.ingest.door.coded_pages import CodedPages
from ihp_compute.ingest.input_files import FREE_ROWS, MAX_COLUMNS, MOST_UNPACKED, InputFile, reading
from ihp_compute.input_columns import INPUT_TABLES, Kind

_CODED_BYTES: Final = 3
_FREE_BYTES: Final = 256 << 20
"""Bytes that the columns of a row group may come to in any file."""
_MOST_OF_COLUMN: Final = 2 << 30
"""Most bytes of one column of a row group: ten million rows of 200 bytes."""
_MOST_OF_TEXT: Final = 1 << 16
"""Most bytes of a text that stays coded."""
_MOST_OF_VALUE: Final = 1 << 10
"""Most bytes of an id, code, date, flag or number as text: each row's own copy may be made."""
_UUID_BYTES: Final = 16
_OWN_ROWS: Final = range(1 << 15, 1 << 19)
"""Rows of a group whose coded columns are read as a whole: so many fit into memory."""
_REASONS: Final = {
    "CRC": "a page does not agree with its checksum",
    "magic bytes": "it does not end as Parquet files do",
    "file size": "it does not end as Parquet files do",
    "encrypt": "it is encrypted",
    "nd of stream": "a page ends too early",
    "EOF": "it ends too early",
    "": "its footer or a page is damaged, or of a kind that is not known",
}


def read_footer(file: InputFile) -> pq.FileMetaData:
    """A file's footer.

    Raises
    ------
    DataError
        If it cannot be read, or promises what no table of claims has.
    """
    with _reading(file):
        size = file.path.stat().st_size
        with pq.ParquetFile(file.path) as source:
            footer = source.metadata
    if footer.num_columns > MAX_COLUMNS:
        raise DataError(
            f"{file.name} has {footer.num_columns:,} columns, more than {MAX_COLUMNS:,}. Write "
            f"those that {file.table} has."
        )
    if footer.num_rows > max(FREE_ROWS, size):
        raise DataError(
            f"{file.name} promises {footer.num_rows:,} rows in {size:,} bytes, which no table of "
            "claims does. Check where it comes from; if it is right, write it without repeating "
            "rows."
        )
    return footer


def schema_of(file: InputFile, footer: pq.FileMetaData) -> pa.Schema:
    """Arrow types of a file's columns."""
    with _reading(file):
        return footer.schema.to_arrow_schema()


def parquet_batches(
    file: InputFile,
    footer: pq.FileMetaData,
    groups: list[int],
    known: list[str],
    ids: frozenset[str],
    batch_rows: int,
) -> Iterator[pa.RecordBatch]:
    """Columns of some row groups, about `batch_rows` at a time; text may be dictionaries.

    `ids` are columns of mostly distinct texts, read as codes only where the file stores codes.

    Raises
    ------
    DataError
        If the file is cut off or damaged, or a column is no plain value or no UTF-8 text.
    """
    if not groups:
        return
    schema = schema_of(file, footer)
    for name in known:
        _check_type(file, name, schema.field(name).type)
    with _reading(file):
        _check_groups(file, footer, groups, set(known))
        stored = _stored_coded(footer, groups)
        coded = [
            name
            for name in known
            if _is_text(schema.field(name).type) and (name in stored or name not in ids)
        ]
        uuids = _uuids(footer, known)
        zones = _lost_zones(footer)
        rows = sum(footer.row_group(group).num_rows for group in groups)
        size = -(-max(1, rows) // max(1, round(rows / batch_rows)))  # no small one at the end
        with pq.ParquetFile(
            file.path,
            metadata=footer,
            memory_map=True,
            read_dictionary=coded,
            page_checksum_verification=True,
            coerce_int96_timestamp_unit="us",  # nanoseconds end in 2262
        ) as source:
            _check_ids(file, footer, groups, [name for name in known if name not in coded])
            for some in _batched(footer, groups):
                own = {}
                if len(some) == 1 and len(known) > 1:
                    own = CodedPages(file, footer, some[0]).columns(
                        [name for name in known[1:] if name in coded or _is_date(schema, name)]
                    )
                own = {name: _plain(file, name, own[name], is_uuid=False) for name in own}
                rest, row = [name for name in known if name not in own], 0
                for batch in source.iter_batches(size, some, columns=rest, use_threads=False):
                    n = batch.num_rows
                    plain = [
                        own[name].slice(row, n)
                        if name in own
                        else _plain(file, name, batch.column(name), is_uuid=name in uuids)
                        for name in known
                    ]
                    row += n
                    for k, name in enumerate(known):
                        if name in zones and pa.types.is_timestamp(plain[k].type):
                            plain[k] = plain[k].cast(pa.timestamp(plain[k].type.unit, zones[name]))
                    yield pa.RecordBatch.from_arrays(plain, names=known)


def _batched(footer: pq.FileMetaData, groups: list[int]) -> list[list[int]]:
    """Row groups that are read together: each by itself, if all are neither small nor large."""
    sizes = [footer.row_group(group).num_rows for group in groups]
    if min(sizes) >= _OWN_ROWS.start and max(sizes) < _OWN_ROWS.stop:
        return [[group] for group in groups]
    return [groups]


def _is_date(schema: pa.Schema, name: str) -> bool:
    return bool(pa.types.is_date32(schema.field(name).type))


def _reading(file: InputFile) -> AbstractContextManager[None]:
    return reading(file, "is not a readable Parquet file, or is cut off", _REASONS)


def _check_type(file: InputFile, name: str, kind: pa.DataType) -> None:
    if isinstance(kind, pa.ExtensionType):
        kind = kind.storage_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_nested(kind):
        raise DataError(
            f"{file.name}: column {name} holds {_nested(kind)} in each row, where one text, number "
            "or date is expected. Write it as a plain column."
        )


def _nested(kind: pa.DataType) -> str:
    return (
        "a map" if pa.types.is_map(kind) else "a struct" if pa.types.is_struct(kind) else "a list"
    )


def _check_groups(
    file: InputFile, footer: pq.FileMetaData, groups: list[int], known: set[str]
) -> None:
    """Refuse row groups whose columns come to more than a table's do."""
    for group in map(footer.row_group, groups):
        chunks = [group.column(k) for k in range(group.num_columns)]
        read = [chunk for chunk in chunks if chunk.path_in_schema in known]
        bytes_ = sum(chunk.total_uncompressed_size for chunk in read)
        packed = sum(chunk.total_compressed_size for chunk in read)
        most = max((chunk.total_uncompressed_size for chunk in read), default=0)
        if bytes_ > max(_FREE_BYTES, MOST_UNPACKED * packed) or most > _MOST_OF_COLUMN:
            raise DataError(
                f"{file.name}: a row group comes to {bytes_:,} bytes, of one column {most:,}, from "
                f"{packed:,} packed ones. At most {MOST_UNPACKED} are read for each, and "
                f"{_MOST_OF_COLUMN:,} of a column. Write it with smaller row groups."
            )


def _check_ids(
    file: InputFile, footer: pq.FileMetaData, groups: list[int], names: list[str]
) -> None:
    """Look at the dictionaries of text that is not read as codes, before it is undone.

    One long text in a dictionary is small in the file and large once each row has it.
    """
    for group in groups:
        of_group = footer.row_group(group)
        chunks = [of_group.column(k) for k in range(of_group.num_columns)]
        held = [
            chunk.path_in_schema
            for chunk in chunks
            if chunk.path_in_schema in names
            and chunk.has_dictionary_page
            and chunk.physical_type == "BYTE_ARRAY"
            and chunk.total_uncompressed_size > _MOST_OF_VALUE
        ]
        if not held:
            continue
        with pq.ParquetFile(
            file.path, metadata=footer, memory_map=True, read_dictionary=held
        ) as source:
            for batch in source.iter_batches(1, [group], columns=held, use_threads=False):
                for name in held:
                    _plain(file, name, batch.column(name), is_uuid=False)
                break


def _stored_coded(footer: pq.FileMetaData, groups: list[int]) -> set[str]:
    """Columns whose pages hold codes of a dictionary: few bytes a value, in every row group."""
    found: set[str] | None = None
    for group in map(footer.row_group, groups):
        chunks = [group.column(k) for k in range(group.num_columns)]
        small = {
            chunk.path_in_schema
            for chunk in chunks
            if chunk.has_dictionary_page
            and chunk.total_uncompressed_size < _CODED_BYTES * chunk.num_values
        }
        found = small if found is None else found & small
    return found or set()


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _lost_zones(footer: pq.FileMetaData) -> dict[str, str]:
    """Zones of timestamps that were written as a dictionary: the reader gives them back as UTC."""
    stored = (footer.metadata or {}).get(b"ARROW:schema")
    if stored is None:
        return {}
    try:
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(stored)))
    except (pa.ArrowException, OSError, ValueError):  # of no schema nothing is lost
        return {}
    coded = [field for field in schema if pa.types.is_dictionary(field.type)]
    return {
        field.name: field.type.value_type.tz
        for field in coded
        if pa.types.is_timestamp(field.type.value_type) and field.type.value_type.tz is not None
    }


def _uuids(footer: pq.FileMetaData, known: list[str]) -> set[str]:
    """Columns whose values are UUIDs, by the file's own word."""
    columns = map(footer.schema.column, range(footer.num_columns))
    return {c.path for c in columns if c.logical_type.type == "UUID"} & set(known)


def _plain(file: InputFile, name: str, array: pa.Array, *, is_uuid: bool) -> pa.Array:
    """A column of one value a row: checked text, a number or a date."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    kind = array.type
    if pa.types.is_dictionary(kind):
        dictionary = array.dictionary
        words = _plain(file, name, dictionary, is_uuid=is_uuid)
        if words is dictionary:
            return array
        return pa.DictionaryArray.from_arrays(array.indices, words, safe=False)
    if is_uuid and kind == pa.binary(_UUID_BYTES):
        return _uuid_texts(array)
    if pa.types.is_fixed_size_binary(kind) or pa.types.is_binary(kind):
        array = array.cast(pa.binary()).cast(pa.string(), safe=False)
    elif pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        array = array.cast(pa.large_binary()).cast(pa.large_string(), safe=False)
    elif pa.types.is_string_view(kind):
        array = array.cast(pa.large_string())
    if _is_text(array.type):
        _check_text(file, name, array)
    return array


def _check_text(file: InputFile, name: str, text: pa.Array) -> None:
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        raise DataError(
            f"{file.name}: column {name} is not UTF-8 text. Convert it, or leave the column out."
        ) from None
    kind = INPUT_TABLES[file.table].by_name[name.strip().lower()].kind
    most = _MOST_OF_TEXT if kind is Kind.TEXT else _MOST_OF_VALUE
    width = np.int64 if pa.types.is_large_string(text.type) else np.int32
    offsets = np.frombuffer(text.buffers()[1], width, len(text) + 1, text.offset * width().itemsize)
    if offsets[-1] - offsets[0] > most and int(np.diff(offsets).max()) > most:
        raise DataError(
            f"{file.name}: column {name} holds a text of more than {most:,} bytes, where a short "
            f"{kind.value} is expected. Write such texts blank."
        )


_HEX: Final = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), "S2")


def _uuid_texts(array: pa.Array) -> pa.Array:
    """UUIDs as text, 8-4-4-4-12."""
    values = np.frombuffer(
        array.buffers()[1], np.uint8, len(array) * _UUID_BYTES, array.offset * _UUID_BYTES
    )
    digits = _HEX[values].reshape(len(array), _UUID_BYTES).view(np.uint8)
    dash = np.full((len(array), 1), ord("-"), np.uint8)
    cuts = np.split(digits, (8, 12, 16, 20), axis=1)
    spelled = np.hstack([piece for cut in cuts for piece in (dash, cut)][1:])
    texts = np.ascontiguousarray(spelled).view("S36").ravel()
    mask = array.is_null().to_numpy(zero_copy_only=False)
    return pa.array(texts, pa.binary(), mask=mask).cast(pa.string())
