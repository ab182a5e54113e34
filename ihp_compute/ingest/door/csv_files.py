"""CSV files: how one is packed and separated, its header, its rows as text.

    bytes -> unpacked as their first bytes say -> separator as the header says -> text columns

Fields are text; nothing is inferred, so leading zeros live. A file is measured before any row is
read: what unpacks to far more than claims do, or breaks off inside quotes, is refused. A message
says file, line and reason, never a value. Not here: what a value says (`values`).
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.csv as pa_csv

from ihp_compute.errors import DataError
from ihp_compute.ingest.input_files import FREE_ROWS, MOST_UNPACKED, InputFile, reading
from ihp_compute.input_columns import INPUT_TABLES

_BLOCK_BYTES: Final = 32 << 20
"""What is parsed at a time, and so the longest line or quoted field."""
_HEADER_BYTES: Final = 1 << 20
_FREE_UNPACKED: Final = 64 << 20
"""Bytes that any file may unpack to."""
_SEPARATORS: Final = (",", "\t", "|", ";")
_CODECS: Final = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_OTHERS: Final = {
    b"PAR1": "a Parquet file: give it the ending .parquet",
    b"PK\x03\x04": "a zip archive or workbook: unpack it to CSV",
    b"BZh": "packed with bzip2: pack it with gzip or zstd, or not at all",
    b"\xfd7zXZ": "packed with xz: pack it with gzip or zstd, or not at all",
    b"\xff\xfe": "UTF-16 text: convert it to UTF-8",
    b"\xfe\xff": "UTF-16 text: convert it to UTF-8",
}
"""What is not CSV in spite of its name, by its first bytes."""
_REASONS: Final = {
    "too much memory": "it was packed with a window of more than 128 MiB",
    "window": "it was packed with a window of more than 128 MiB",
    "runcated": "the packed data end too early",
    "inflate": "the packed data are damaged",
    "ZSTD": "the packed data are damaged",
    "ermission": "permission denied",
    "": "its data are damaged",
}
_BACKSLASHED: Final = re.compile(rb'\\"[^",\t|;\r\n]')
"""A quote after a backslash that closes no field."""


@dataclass(frozen=True)
class Header:
    """What the first line of a file says.

    lines_before : number of lines before it
    """

    names: list[str]
    separator: str
    lines_before: int = 0


def read_header(file: InputFile) -> Header:
    """Names as they stand in a file, and the sign that separates its fields.

    The separator is the one of comma, tab, pipe and semicolon that parts the most names of the
    file's table, or what a first line `sep=` states.

    Raises
    ------
    DataError
        If the file is empty or cannot be read, its first line is blank, too long or no text, or its
        names are separated by another sign.
    """
    with _reading(file), _opened(file) as stream:
        start = stream.read(_HEADER_BYTES)
    for first, what in _OTHERS.items():
        if start.startswith(first):
            raise DataError(f"{file.name} is {what}.")
    if not start.strip(b"\xef\xbb\xbf \t\r\n"):
        raise DataError(f"{file.name} is an empty file: not even a header line")
    text = start.decode("utf-8-sig", "surrogateescape")
    stated = re.match(r'"?sep=([^\r\n])"?[ ,;\t]*(\r\n|\r|\n)', text, re.IGNORECASE)
    if stated:
        text = text[stated.end() :]
    line = re.match(r"[^\r\n]*", text)
    first_line = line[0] if line else ""
    if len(first_line) >= len(text) == _HEADER_BYTES:
        raise DataError(f"{file.name}: line 1 is longer than {_HEADER_BYTES:,} bytes: no header")
    if "\0" in first_line:
        raise DataError(
            f"{file.name}: line 1 holds zero bytes, as UTF-16 does. Convert it to UTF-8."
        )
    if not first_line.strip():
        raise DataError(f"{file.name}: line {1 + bool(stated)} is blank, where the header stands.")
    known = INPUT_TABLES[file.table].by_name
    found = {
        separator: _first_row(text, separator)
        for separator in ((stated[1],) if stated else _SEPARATORS)
    }
    n_known = {
        separator: sum(name.strip().lower() in known for name in names)
        for separator, names in found.items()
    }
    separator = max(n_known, key=n_known.__getitem__)
    if not n_known[separator] and (other := _other_separator(first_line, known)):
        raise DataError(
            f"{file.name}: its names are separated by {other!r}. Write commas, tabs, pipes or "
            "semicolons."
        )
    names = found[separator]
    if any("\udc80" <= sign <= "\udcff" for name in names for sign in name):
        raise DataError(f"{file.name}: line 1 is not UTF-8 text. Convert it.")
    return Header(names, separator, int(stated is not None))


def _first_row(text: str, separator: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
    except csv.Error:
        return []


def _other_separator(line: str, known: Collection[str]) -> str | None:
    """What stands between names of the table, if two stand side by side."""
    words = re.split(r"([A-Za-z0-9_]+)", line)
    between = Counter(
        words[k + 1]
        for k in range(1, len(words) - 2, 2)
        if words[k].lower() in known and words[k + 2].lower() in known
    )
    return between.most_common(1)[0][0] if between else None


def csv_batches(file: InputFile, known: list[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Columns of a CSV file as text, at most `batch_rows` at a time.

    Raises
    ------
    DataError
        If the file is cut off, damaged or malformed, naming the line where that is known.
    """
    header = read_header(file)
    _measure(file, header.separator)
    rows = 0
    with _reading(file), _opened(file) as stream:
        try:
            with pa_csv.open_csv(
                stream,
                read_options=pa_csv.ReadOptions(
                    block_size=_BLOCK_BYTES, use_threads=False, skip_rows=header.lines_before
                ),
                parse_options=pa_csv.ParseOptions(
                    delimiter=header.separator, newlines_in_values=True
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(known, pa.string()),
                    include_columns=known,
                    strings_can_be_null=False,
                    quoted_strings_can_be_null=False,
                    check_utf8=True,
                ),
            ) as reader:
                for block in reader:
                    for start in range(0, block.num_rows, batch_rows):
                        batch = block.slice(start, batch_rows)
                        rows += batch.num_rows
                        yield batch
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise _malformed(file, header, str(error), rows) from error


def _reading(file: InputFile) -> AbstractContextManager[None]:
    return reading(file, "cannot be read, or is cut off", _REASONS)


@contextmanager
def _opened(file: InputFile) -> Iterator[pa.NativeFile]:
    """A file's bytes, unpacked where its first bytes say that it is packed."""
    with pa.OSFile(str(file.path), "rb") as raw:
        start = raw.read(4)
        raw.seek(0)
        codec = next((codec for first, codec in _CODECS.items() if start.startswith(first)), None)
        if codec is None:
            yield raw
            return
        with pa.CompressedInputStream(raw, codec) as stream:
            yield stream


def _measure(file: InputFile, separator: str) -> None:
    """Read a file through before its rows are: how much it unpacks to, and whether quotes pair."""
    with _reading(file):
        packed = file.path.stat().st_size
    quotes = unpacked = rows = 0
    is_packed = is_backslashed = False
    last = b""
    with _reading(file), _opened(file) as stream:
        is_packed = isinstance(stream, pa.CompressedInputStream)
        while block := stream.read(_BLOCK_BYTES):
            quotes += block.count(b'"')
            if b"\\" in block or b"\\" in last:
                is_backslashed = is_backslashed or bool(
                    _BACKSLASHED.search(block) or _BACKSLASHED.search(last + block[:2])
                )
            last = block[-2:]
            if is_packed:
                unpacked += len(block)
                rows += block.count(b"\n")
                _check_size(file, packed, unpacked, rows)
    if is_backslashed:
        raise DataError(
            f"{file.name}, line {_line_of(file, _BACKSLASHED):,}: quotes are escaped with a "
            "backslash. Write them doubled."
        )
    if quotes % 2:
        raise _quote_fault(file, separator)


def _check_size(file: InputFile, packed: int, unpacked: int, rows: int) -> None:
    if unpacked > max(_FREE_UNPACKED, MOST_UNPACKED * packed):
        raise DataError(
            f"{file.name} unpacks to more than {MOST_UNPACKED} times its {packed:,} bytes, which "
            "no table of claims does. Check where it comes from; if it is right, unpack it."
        )
    if rows > max(FREE_ROWS, packed):
        raise DataError(
            f"{file.name} unpacks to {rows:,} lines and more from {packed:,} bytes, which no table "
            "of claims does. Check where it comes from; if it is right, unpack it."
        )


# --- where and why a file is malformed ------------------------------------------------------------


def _lines(file: InputFile) -> Iterator[bytes]:
    """Physical lines; one that is too long comes in pieces."""
    with _reading(file), _opened(file) as stream, io.BufferedReader(stream, 1 << 20) as lines:
        while line := lines.readline(_BLOCK_BYTES):
            yield line


def _line_of(file: InputFile, pattern: re.Pattern[bytes]) -> int:
    """Number of the first line that a pattern is found in."""
    return next((k for k, line in enumerate(_lines(file), 1) if pattern.search(line)), 1)


def _quote_fault(file: InputFile, separator: str) -> DataError:
    """Why the quotes of a file do not pair."""
    sign = re.escape(separator.encode())
    plain = re.compile(rb'[^"' + sign + rb"\r\n]*")
    opened = 0
    for number, line in enumerate(_lines(file), 1):
        at = 0
        if not opened and b'"' not in line:
            continue
        while True:
            if not opened and line[at : at + 1] == b'"':
                opened, at = number, at + 1
            if opened:
                closing = re.compile(rb'(?:[^"]|"")*"(?!")').match(line, at)
                if closing is None:
                    break
                opened, at = 0, closing.end()
            found = plain.match(line, at)
            at = found.end() if found else at
            if line[at : at + 1] == b'"':
                return DataError(
                    f"{file.name}, line {number:,}: a quote inside a field that is not quoted, or "
                    "text behind a closing quote. Quote the whole field, and double its quotes."
                )
            if line[at : at + 1] != separator.encode():
                break
            at += 1
    return DataError(
        f"{file.name} breaks off: a quote is opened in line {opened:,} and never closed. Get a "
        "complete copy of the file, or double the quotes inside its fields."
    )


def _malformed(file: InputFile, header: Header, text: str, rows: int) -> DataError:
    found = re.search(r"Expected (\d+) columns, got (\d+)", text)
    if found:
        expected, got = found.groups()
        line, is_last = _ragged_line(file, header, int(expected))
        where = f"at line {line:,}" if line else f"after data row {rows:,}"
        if is_last:
            return DataError(
                f"{file.name} breaks off {where}: {expected} fields expected, {got} found. Get a "
                "complete copy of the file."
            )
        return DataError(
            f"{file.name} is malformed {where}: {expected} fields expected, {got} found. Quote "
            "fields that hold a separator or a line end."
        )
    if "UTF8" in text or "UTF-8" in text:
        return _not_text(file, rows)
    if "straddling" in text or "block" in text:
        return DataError(
            f"{file.name}: after data row {rows:,} comes a line or a quoted field of more than "
            f"{_BLOCK_BYTES:,} bytes. Check its quotes and line ends."
        )
    return DataError(f"{file.name} cannot be read as CSV after data row {rows:,}. Write it anew.")


def _not_text(file: InputFile, rows: int) -> DataError:
    where = f"after data row {rows:,}"
    for number, line in enumerate(_lines(file), 1):
        try:
            line.decode()
        except UnicodeDecodeError:
            where = f"line {number:,}"
            break
    return DataError(f"{file.name} is not UTF-8 text ({where}). Convert it.")


def _ragged_line(file: InputFile, header: Header, expected: int) -> tuple[int, bool]:
    """The first line of another number of fields, 0 if none; whether the file ends in it, cut."""
    ends = [b""]

    def texts() -> Iterator[str]:
        for line in _lines(file):
            ends[0] = line
            yield line.decode("utf-8", "replace")

    reader = csv.reader(texts(), delimiter=header.separator)
    try:
        for fields in reader:
            if reader.line_num <= header.lines_before:
                continue
            if fields and len(fields) != expected:
                is_cut = not ends[0].endswith((b"\n", b"\r"))
                return reader.line_num, is_cut
    except csv.Error:
        pass
    return 0, False
