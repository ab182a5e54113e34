"""Values at the door: text, dates, flags and dollars, read from CSV or Parquet without guessing.

    file -> batches of raw columns -> text trimmed, dates as day numbers, dollars as exact cents

CSV fields are text until a rule here reads them; nothing is inferred, so leading zeros live.
Decided here: which spellings of a date, a flag and an amount are readable, and how a fraction of a
cent is rounded (half to even, counted). An unreadable value does not stop the ingest: it is marked,
and the row is put aside with its reason. A file that breaks off does stop it.
Not here: which columns a table has (`ingest_layout`) and what becomes of a row (`ingest`).
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ihp_compute.errors import DataError
from ihp_compute.ingest_layout import InputFile, TableLayout, check_columns
from ihp_compute.units import NO_DAY, day_of

BATCH_ROWS: Final = 1 << 18
BAD_DAY: Final = NO_DAY + 1
"""Stands for a date that is stated and cannot be read."""
MAX_CENTS: Final = 10**12
"""Ten billion dollars: no line is larger, and a sum of nine million such lines fits int64."""

_BLANKS: Final = pa.array(["null", "none", "nan", "<na>", r"\n"])
"""Spellings of nothing, in lower case; `\\N` is how databases unload a null into CSV."""
_CODED_BYTES: Final = 3
_BLANK_LENGTH: Final = 4
_TRUE: Final = frozenset({"1", "true", "t", "yes", "y"})
_FALSE: Final = frozenset({"0", "false", "f", "no", "n"})
_CSV_BLOCK_BYTES: Final = 32 << 20
_PLAIN_AMOUNT: Final = r"^-?[0-9]{1,%d}(\.[0-9]{0,%d})?$"
_WRITTEN_AMOUNT: Final = re.compile(
    r"([-+]?)\s*\$?\s*([-+]?)((?:\d+|\d{1,3}(?:,\d{3})+)?(?:\.\d*)?(?:[eE][-+]?\d{1,3})?)", re.ASCII
)
_ISO: Final = re.compile(r"^(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ].*)?$")
_PACKED: Final = re.compile(r"^(\d{4})(\d{2})(\d{2})$")
_PACKED_TIME: Final = re.compile(r"^(\d{4})(\d{2})(\d{2})(?:\d{6}|\.0+)$")


# --- files -> batches -----------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """What one worker reads of an input file: row groups [first, last) of Parquet, all of a CSV."""

    file: InputFile
    file_index: int
    first_row_group: int = 0
    last_row_group: int = -1
    first_row: int = 0


def parts_of(file: InputFile, index: int, rows_a_part: int = 4_000_000) -> list[Part]:
    """Cut a Parquet file at row groups into pieces of about `rows_a_part`; a CSV is one piece.

    Raises
    ------
    DataError
        If a Parquet file's footer cannot be read.
    """
    if not _is_parquet(file):
        return [Part(file, index)]
    try:
        with pq.ParquetFile(file.path) as source:
            sizes = [source.metadata.row_group(k).num_rows for k in range(source.num_row_groups)]
    except (pa.ArrowInvalid, OSError) as error:
        raise _broken_parquet(file, error) from error
    parts, start, rows, before = [], 0, 0, 0
    for k, size in enumerate(sizes):
        rows += size
        if rows >= rows_a_part or k == len(sizes) - 1:
            parts.append(Part(file, index, start, k + 1, before))
            before, start, rows = before + rows, k + 1, 0
    return parts or [Part(file, index, 0, 0)]


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


def batches(part: Part, layout: TableLayout) -> Iterator[tuple[int, dict[str, pa.Array]]]:
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
    known, _ = check_columns(layout, column_names(part.file), part.file.name)
    if _is_parquet(part.file):
        source = _parquet_batches(part, known)
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


def _parquet_batches(part: Part, known: list[str]) -> Iterator[pa.RecordBatch]:
    groups = list(range(part.first_row_group, part.last_row_group))
    if not groups:
        return
    try:
        with pq.ParquetFile(part.file.path, memory_map=True) as source:
            dictionaries = [
                name
                for name in known
                if pa.types.is_string(source.schema_arrow.field(name).type)
                or pa.types.is_large_string(source.schema_arrow.field(name).type)
            ]
            stored = _stored_coded(source.metadata, groups)
        high = {"claim_id", "person_id", "member_id"}
        dictionaries = [
            name for name in dictionaries if name in stored or name.strip().lower() not in high
        ]
        with pq.ParquetFile(
            part.file.path, memory_map=True, read_dictionary=dictionaries
        ) as source:
            yield from source.iter_batches(BATCH_ROWS, groups, columns=known, use_threads=False)
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


# --- text -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Text:
    """A text column as distinct values and an index into them; value 0 is "", not stated."""

    values: list[str]
    index: NDArray[np.int32]

    @classmethod
    def blank(cls, n_rows: int) -> Text:
        """A column in which nothing is stated."""
        return cls([""], np.zeros(n_rows, np.int32))

    @property
    def is_blank(self) -> bool:
        """Whether nothing is stated in any row."""
        return len(self.values) == 1

    def take(self, of_value: NDArray[Any]) -> NDArray[Any]:
        """Per row, what an array says of its value."""
        return of_value.take(self.index)

    def array(self, blank: str | None = "") -> pa.Array:
        """Per row, its value as an Arrow string; `blank` where nothing is stated."""
        if self.is_blank and blank is None:
            return pa.nulls(len(self.index), pa.string())
        return pa.array([blank, *self.values[1:]], pa.string()).take(pa.array(self.index))


def as_text(array: pa.Array) -> pa.Array:
    """Any column as trimmed text without nulls; numbers as they print, dates as ISO."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if pa.types.is_null(array.type):
        return pa.array([""] * len(array), pa.string())
    if pa.types.is_floating(array.type):
        # a code read as a float by somebody's tool: 110.0 is the code 110
        values = array.to_pylist()
        texts = ["" if v is None or v != v else repr(v).removesuffix(".0") for v in values]
        return pa.array(texts, pa.string())
    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        array = array.cast(pa.string())
    if array.null_count:
        array = array.fill_null("")
    return _trimmed(array)


def _trimmed(array: pa.Array) -> pa.Array:
    if _is_plain(array):
        return array
    trimmed = pc.ascii_trim_whitespace(array)
    short = pc.and_(
        pc.greater_equal(pc.binary_length(trimmed), 2), pc.less_equal(pc.binary_length(trimmed), 4)
    )
    if pc.any(short).as_py():
        blank = pc.is_in(pc.ascii_lower(trimmed), value_set=_BLANKS)
        if pc.any(blank).as_py():
            trimmed = pc.if_else(blank, "", trimmed)
    return trimmed


def _is_plain(array: pa.Array) -> bool:
    """Whether no text can need a change: none has white space at an end or a blank's length."""
    n_rows = len(array)
    if not n_rows or pa.types.is_large_string(array.type):
        return False
    offsets = np.frombuffer(array.buffers()[1], np.int32, n_rows + 1, array.offset * 4)
    length = np.diff(offsets)
    if not (length > _BLANK_LENGTH).all():
        return False
    data = np.frombuffer(array.buffers()[2], np.uint8)
    ends = data.take(offsets[:-1]), data.take(offsets[1:] - 1)
    return all(bool((end > ord(" ")).all()) for end in ends)


def read_text(array: pa.Array) -> Text:
    """A text column as distinct trimmed values, `Text`."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    n_rows = len(array)
    if array.null_count == n_rows:
        return Text.blank(n_rows)
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    indices = array.indices
    words = as_text(array.dictionary)
    if words.equals(array.dictionary) and not pc.any(pc.equal(words, "")).as_py():
        # the usual case: clean and distinct as they are; null becomes value 0
        stored = np.frombuffer(indices.buffers()[1], indices.type.to_pandas_dtype())
        index = stored[indices.offset : indices.offset + n_rows].astype(np.int32)
        index += 1
        if indices.null_count:
            index *= _valid(indices)
        return Text(["", *words.to_pylist()], index)
    if indices.null_count:
        indices = indices.fill_null(len(array.dictionary))
    raw = words.to_pylist()
    raw.append("")
    place = {"": 0}
    remap = np.fromiter(
        (place.setdefault(text, len(place)) for text in raw), np.int32, count=len(raw)
    )
    return Text(list(place), remap[indices.to_numpy(zero_copy_only=False).astype(np.intp)])


def _valid(array: pa.Array) -> NDArray[np.uint8]:
    """1 where a row is not null: the validity bits unpacked."""
    bits = np.frombuffer(array.buffers()[0], np.uint8)
    first = array.offset // 8
    skip = array.offset % 8
    unpacked = np.unpackbits(bits[first:], count=skip + len(array), bitorder="little")
    return unpacked[skip:]


# --- dates ----------------------------------------------------------------------------


def day_of_text(text: str) -> int:
    """Day number of a written date, `NO_DAY` for a blank, `BAD_DAY` for what is not a date.

    Reads YYYY-MM-DD, YYYYMMDD and either followed by a time of day, which is dropped.

    >>> day_of_text("1970-01-02"), day_of_text("19700102"), day_of_text("1970-01-02 23:59:59+00")
    (1, 1, 1)
    >>> day_of_text("") == NO_DAY, day_of_text("2023-02-30") == BAD_DAY
    (True, True)
    """
    if text == "":
        return NO_DAY
    found = _PACKED.match(text) or _ISO.match(text) or _PACKED_TIME.match(text)
    if found is None:
        return BAD_DAY
    try:
        return day_of(date(int(found[1]), int(found[2]), int(found[3])))
    except ValueError:
        return BAD_DAY


def read_days(array: pa.Array) -> NDArray[np.int32]:
    """A date column as int32 day numbers: `NO_DAY` blank, `BAD_DAY` unreadable."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if array.null_count == len(array):
        return np.full(len(array), NO_DAY, np.int32)
    if pa.types.is_timestamp(array.type):
        array = pc.floor_temporal(array, unit="day").cast(pa.date32(), safe=False)
    elif pa.types.is_date64(array.type):
        array = array.cast(pa.date32())
    if pa.types.is_date32(array.type):
        days = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array)]
        return days if not array.null_count else np.where(_valid(array) > 0, days, NO_DAY)
    text = read_text(array)
    return text.take(np.array([day_of_text(value) for value in text.values], np.int32))


# --- dollars --------------------------------------------------------------------------


@dataclass(frozen=True)
class Cents:
    """An amount column: int64 cents, and which rows were blank, unreadable or had sub-cents.

    Scores use the same readers with six places: their `cents` are millionths.
    """

    cents: NDArray[np.int64]
    blank: NDArray[np.bool_]
    bad: NDArray[np.bool_]
    sub_cent: NDArray[np.bool_]


def no_amounts(n_rows: int) -> Cents:
    """An amount column that is not there: all blank."""
    nothing = np.zeros(n_rows, bool)
    return Cents(np.zeros(n_rows, np.int64), np.ones(n_rows, bool), nothing, nothing)


def read_cents(array: pa.Array, places: int = 2) -> Cents:
    """A dollar column as exact integer cents; a float never takes part in the arithmetic.

    Text and Parquet decimals are read as decimals. A Parquet float is taken for the shortest
    decimal that prints it, which is what its writer meant. A fraction of a cent rounds half to
    even.
    """
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    n_rows = len(array)
    if array.null_count == n_rows:
        return no_amounts(n_rows)
    if pa.types.is_decimal(array.type):
        return _decimal_cents(array, places)
    if pa.types.is_integer(array.type):
        blank = _nulls(array)
        dollars = array.fill_null(0).cast(pa.int64(), safe=False).to_numpy(zero_copy_only=False)
        bad = np.abs(dollars) > MAX_CENTS // 10**places
        units = np.where(bad, 0, dollars) * 10**places
        return Cents(units, blank, bad, np.zeros(n_rows, bool))
    if pa.types.is_float64(array.type):
        return _float_cents(array, places)
    if pa.types.is_floating(array.type):
        values = array.to_numpy(zero_copy_only=False)
        texts = ["" if np.isnan(v) else str(v) for v in values]
        return _text_cents(pa.array(texts, pa.string()), places)
    return _text_cents(as_text(array), places)


def _nulls(array: pa.Array) -> NDArray[np.bool_]:
    if not array.null_count:
        return np.zeros(len(array), bool)
    return _valid(array) == 0


def _decimal_cents(array: pa.Array, places: int) -> Cents:
    n_rows = len(array)
    blank = _nulls(array)
    if array.type.byte_width < 16:
        array = array.cast(pa.decimal128(38, array.type.scale))
    scale = array.type.scale
    width = array.type.byte_width
    if width != 16:
        return _text_cents(as_text(array), places)
    words = np.frombuffer(array.buffers()[1], np.int64, 2 * n_rows, array.offset * width)
    low, high = words[0::2], words[1::2]
    if array.null_count:
        low, high = np.where(blank, 0, low), np.where(blank, 0, high)
    wide = high != (low >> 63)  # needs more than 64 bits
    units = np.where(wide, 0, low)
    bad = np.zeros(n_rows, bool)
    sub_cent = np.zeros(n_rows, bool)
    if scale <= places:
        factor = 10 ** (places - scale)
        bad |= np.abs(units) > MAX_CENTS // factor
        cents = np.where(bad, 0, units) * factor
    else:
        divisor = 10 ** (scale - places)
        if divisor >= 2**62:
            return _text_cents(as_text(array), places)
        quotient, rest = np.divmod(units, divisor)
        twice = 2 * rest
        up = (twice > divisor) | ((twice == divisor) & (quotient % 2 == 1))
        cents = quotient + up
        sub_cent = rest != 0
        bad |= np.abs(cents) > MAX_CENTS
        cents = np.where(bad, 0, cents)
    if wide.any():
        rows = np.flatnonzero(wide)
        exact = _text_cents(as_text(array.take(pa.array(rows))), places)
        cents[rows], bad[rows], sub_cent[rows] = exact.cents, exact.bad, exact.sub_cent
    return Cents(cents, blank, bad, sub_cent & ~bad)


def _float_cents(array: pa.Array, places: int) -> Cents:
    values = array.fill_null(np.nan).to_numpy(zero_copy_only=False)
    blank = np.isnan(values)
    filled = np.where(blank, 0.0, values)
    with np.errstate(invalid="ignore", over="ignore"):
        nearest = np.rint(filled * 10.0**places)
        # correctly rounded division: equal only if the shortest decimal has no more places
        plain = (nearest / 10.0**places == filled) & (np.abs(nearest) <= 1e13)
    cents = np.where(plain, nearest, 0.0).astype(np.int64)
    bad = np.zeros(len(values), bool)
    sub_cent = np.zeros(len(values), bool)
    for row in np.flatnonzero(~plain):
        cents[row], bad[row], sub_cent[row] = _exact(repr(float(filled[row])), places)
    return Cents(cents, blank, bad, sub_cent)


def _text_cents(array: pa.Array, places: int) -> Cents:
    """Plain amounts with no more places in bulk, all others one by one in Decimal."""
    n_rows = len(array)
    plain = pc.match_substring_regex(array, _PLAIN_AMOUNT % (14 - places, places))
    blank = pc.equal(array, "").to_numpy(zero_copy_only=False)
    exact = pc.if_else(plain, array, "0").cast(pa.decimal128(18, places))
    cents = np.frombuffer(exact.buffers()[1], np.int64, 2 * n_rows, exact.offset * 16)[0::2].copy()
    bad = np.zeros(n_rows, bool)
    sub_cent = np.zeros(n_rows, bool)
    rest = np.flatnonzero(~plain.to_numpy(zero_copy_only=False) & ~blank)
    if len(rest):
        encoded = array.take(pa.array(rest)).dictionary_encode()
        read = [_exact(text, places) for text in encoded.dictionary.to_pylist()]
        index = encoded.indices.to_numpy(zero_copy_only=False)
        cents[rest] = np.array([entry[0] for entry in read], np.int64)[index]
        bad[rest] = np.array([entry[1] for entry in read], bool)[index]
        sub_cent[rest] = np.array([entry[2] for entry in read], bool)[index]
    return Cents(cents, blank, bad, sub_cent)


def _exact(text: str, places: int) -> tuple[int, bool, bool]:
    """Cents, unreadable, had a fraction of a cent. Commas only where thousands end."""
    text = text.strip()
    if text.startswith("(") and text.endswith(")"):
        text = "-" + text[1:-1]
    written = _WRITTEN_AMOUNT.fullmatch(text)
    if written is None:
        return 0, True, False
    before, after, digits = written.groups()
    try:
        amount = Decimal(before + after + digits.replace(",", "")).scaleb(places)
        whole = amount.quantize(Decimal(1), rounding=ROUND_HALF_EVEN)
    except InvalidOperation:
        return 0, True, False
    if not amount.is_finite() or abs(whole) > MAX_CENTS:
        return 0, True, False
    return int(whole), False, whole != amount


# --- flags ----------------------------------------------------------------------------


def flag_of_text(text: str) -> int:
    """1 yes, 0 no, 255 blank or unknown.

    >>> [flag_of_text(text) for text in ("Yes", "0", "")]
    [1, 0, 255]
    """
    lowered = text.lower().removesuffix(".0")
    return 1 if lowered in _TRUE else 0 if lowered in _FALSE else 255
