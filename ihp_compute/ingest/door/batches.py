"""From files to batches: which rows a worker reads, and what stops at a damaged file.

    file -> parts for workers -> batches of raw columns

A Parquet column of text is read as codes of its dictionary where its pages hold such. CSV fields
are text; nothing is inferred, so leading zeros live. A file that breaks off stops the ingest, named
with the line where that is known. Not here: what a value says (`values`).
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from ihp_compute.errors import DataError
from ihp_compute.ingest.door.layout import check_columns
from ihp_compute.ingest.input_files import InputFile
from ihp_compute.input_columns import InputTable

BATCH_ROWS: Final = 1 << 18
"""Rows of a batch, about."""
PART_ROWS: Final = 4_000_000
"""Rows of what one worker reads, about."""
_CODED_BYTES: Final = 3
_CSV_BLOCK_BYTES: Final = 32 << 20


@dataclass(frozen=True)
class Part:
    """What one worker reads of an input file: row groups [first, last) of Parquet, all of a CSV."""

    file: InputFile
    file_index: int
    first_row_group: int = 0
    last_row_group: int = -1
    first_row: int = 0
    metadata: pq.FileMetaData | None = None


def parts_of(file: InputFile, index: int) -> list[Part]:
    """Cut a Parquet file at row groups into pieces of about `PART_ROWS`; a CSV is one piece.

    Raises
    ------
    DataError
        If a Parquet file's footer cannot be read.
    """
    if not _is_parquet(file):
        return [Part(file, index)]
    try:
        with pq.ParquetFile(file.path) as source:
            metadata = source.metadata
        sizes = [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]
    except (pa.ArrowInvalid, OSError) as error:
        raise _broken_parquet(file, error) from error
    parts, start, rows, before = [], 0, 0, 0
    for k, size in enumerate(sizes):
        rows += size
        if rows >= PART_ROWS or k == len(sizes) - 1:
            parts.append(Part(file, index, start, k + 1, before, metadata))
            before, start, rows = before + rows, k + 1, 0
    return parts or [Part(file, index, 0, 0, 0, metadata)]


def column_names(file: InputFile) -> list[str]:
    """Column names as they stand in the file.

    Raises
    ------
    DataError
        If the file is empty or cannot be read.
    """
    try:
        if not _is_parquet(file):
            with _open_bytes(file.path) as raw, _as_lines(raw, "utf-8-sig") as stream:
                header = next(csv.reader(stream), None)
            if not header:
                raise DataError(f"{file.name} is an empty file: not even a header line")
            return header
        with pq.ParquetFile(file.path) as source:
            return list(source.schema_arrow.names)
    except pa.ArrowInvalid as error:
        raise _broken(file, error) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file.name} is not UTF-8 text: convert it") from error
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise _unreadable(file, error) from error


def batches(part: Part, table: InputTable) -> Iterator[tuple[int, dict[str, pa.Array]]]:
    """Known columns of a part, a batch at a time.

    Yields
    ------
    (row, columns)
        Number of the batch's first data row in its file (from 1), and arrays by lower-case name.
        CSV columns are text; Parquet columns keep their type, dictionaries undone.

    Raises
    ------
    DataError
        If the file is cut off or damaged, naming it and, for CSV, the line.
    """
    if part.metadata is None:
        names = column_names(part.file)
    else:
        names = part.metadata.schema.to_arrow_schema().names
    known, _ = check_columns(table, names, part.file.name)
    if part.metadata is not None:
        source = _parquet_batches(part, part.metadata, known)
    else:
        source = _csv_batches(part.file, known)
    row = part.first_row + 1
    for batch in source:
        columns = {
            name.strip().lower(): _readable(part.file, name, batch.column(name)) for name in known
        }
        yield row, columns
        row += batch.num_rows


def _readable(file: InputFile, name: str, array: pa.Array) -> pa.Array:
    """A column of one value a row; bytes become text."""
    kind = array.type
    if pa.types.is_nested(kind):
        raise DataError(
            f"{file.name}: column {name} holds {kind} in each row, where one text, number or date "
            "is expected. Write it as a plain column."
        )
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        try:
            return array.cast(pa.string())
        except pa.ArrowInvalid as error:
            raise DataError(f"{file.name}: column {name} is not UTF-8 text: convert it") from error
    return array


def _is_parquet(file: InputFile) -> bool:
    return file.path.suffix.lower() == ".parquet"


def _open_bytes(path: Path) -> BinaryIO:
    """A CSV file's bytes, unpacked where the name ends in .gz."""
    if path.suffix.lower() == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    return path.open("rb")


def _as_lines(raw: BinaryIO, encoding: str, errors: str = "strict") -> io.TextIOWrapper:
    return io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline="")


def _unreadable(file: InputFile, error: Exception) -> DataError:
    return DataError(
        f"{file.name} cannot be read, or is cut off ({' '.join(str(error).split())[:200]}). "
        "Get a complete copy of the file."
    )


def _parquet_batches(
    part: Part, metadata: pq.FileMetaData, known: list[str]
) -> Iterator[pa.RecordBatch]:
    groups = list(range(part.first_row_group, part.last_row_group))
    if not groups:
        return
    try:
        schema = metadata.schema.to_arrow_schema()
        stored = _stored_coded(metadata, groups)
        dictionaries = [
            name
            for name in known
            if pa.types.is_string(schema.field(name).type)
            or pa.types.is_large_string(schema.field(name).type)
        ]
        high = {"claim_id", "person_id", "member_id"}
        dictionaries = [
            name for name in dictionaries if name in stored or name.strip().lower() not in high
        ]
        with pq.ParquetFile(
            part.file.path, metadata=metadata, memory_map=True, read_dictionary=dictionaries
        ) as source:
            rows = sum(metadata.row_group(group).num_rows for group in groups)
            size = -(-max(1, rows) // max(1, round(rows / BATCH_ROWS)))  # no small one at the end
            yield from source.iter_batches(size, groups, columns=known, use_threads=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise _broken_parquet(part.file, error) from error


def _stored_coded(metadata: pq.FileMetaData, groups: list[int]) -> set[str]:
    """Columns whose pages hold codes of a dictionary: few bytes a value, in every row group."""
    found: set[str] | None = None
    for group in map(metadata.row_group, groups):
        chunks = [group.column(k) for k in range(group.num_columns)]
        small = {
            chunk.path_in_schema
            for chunk in chunks
            if chunk.has_dictionary_page
            and chunk.total_uncompressed_size < _CODED_BYTES * chunk.num_values
        }
        found = small if found is None else found & small
    return found or set()


def _open_csv(file: InputFile, known: list[str]) -> pa_csv.CSVStreamingReader:
    return pa_csv.open_csv(
        file.path,
        read_options=pa_csv.ReadOptions(block_size=_CSV_BLOCK_BYTES, use_threads=False),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(known, pa.string()),
            include_columns=known,
            strings_can_be_null=False,
            quoted_strings_can_be_null=False,
            check_utf8=True,
        ),
    )


def _csv_batches(file: InputFile, known: list[str]) -> Iterator[pa.RecordBatch]:
    _check_end_of_csv(file)
    rows = 0
    try:
        with _open_csv(file, known) as reader:
            for batch in reader:
                rows += batch.num_rows
                yield batch
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise _broken(file, error, rows) from error
    except OSError as error:
        raise _unreadable(file, error) from error


def _check_end_of_csv(file: InputFile) -> None:
    """Refuse a file whose quotes do not pair: it was cut off inside a quoted field."""
    quotes = 0
    try:
        with _open_bytes(file.path) as stream:
            while block := stream.read(_CSV_BLOCK_BYTES):
                quotes += block.count(b'"')
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(file, error) from error
    if quotes % 2:
        with _open_bytes(file.path) as stream:
            lines = sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b""))
        raise DataError(
            f"{file.name} breaks off: a quote is opened and never closed (the file has {lines:,} "
            "line ends). Get a complete copy of the file."
        )


def _broken(file: InputFile, error: Exception, rows: int = 0) -> DataError:
    if _is_parquet(file):
        return _broken_parquet(file, error)
    text = str(error)
    found = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", text)
    if found:
        line, expected, got = found.groups()
        return DataError(
            f"{file.name} breaks off or is malformed at line {line}: {expected} fields expected, "
            f"{got} found. Get a complete copy of the file."
        )
    found = re.search(r"Expected (\d+) columns, got (\d+)", text)
    if found:
        expected, got = found.groups()
        line = _ragged_line(file.path, int(expected))
        where = f"at line {line:,}" if line else f"after data row {rows:,}"
        return DataError(
            f"{file.name} breaks off or is malformed {where}: {expected} fields expected, {got} "
            "found. Get a complete copy of the file."
        )
    if "UTF8" in text or "UTF-8" in text:
        return DataError(f"{file.name} is not UTF-8 text (after data row {rows:,}). Convert it.")
    reason = text.splitlines()[0].split(": ", 1)[0]
    return DataError(f"{file.name} cannot be read as CSV after data row {rows:,}: {reason}")


def _ragged_line(path: Path, expected: int) -> int | None:
    with _open_bytes(path) as raw, _as_lines(raw, "utf-8", "replace") as stream:
        reader = csv.reader(stream)
        for fields in reader:
            if fields and len(fields) != expected:
                return reader.line_num
    return None


def _broken_parquet(file: InputFile, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
    return DataError(
        f"{file.name} is not a readable Parquet file, or is cut off ({reason}). "
        "Get a complete copy of the file."
    )
