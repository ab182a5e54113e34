"""Values at the door: text, dates, flags and dollars, read from CSV or Parquet without guessing.

    a raw column -> text trimmed, dates as day numbers, dollars as exact cents

CSV fields are text until a rule here reads them; nothing is inferred, so leading zeros live.
Decided here: which spellings of a date, a flag and an amount are readable, and how a fraction of a
cent is rounded (half to even, counted). One value has one reading, whatever the format and type of
its column. An unreadable value does not stop the ingest: it is marked, and what becomes of its row
is for others to say.
Not here: which columns a table has (`input_columns`), how a file is read (`batches`) and
what becomes of a row (`rows`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.ingest.door.texts import as_text, read_text, validity
from ihp_compute.input_columns import NO, NO_DATE, YES
from ihp_compute.units import NO_DAY, day_of, half_even
from kernels import decimal_units, row_pick

BAD_DAY: Final = NO_DAY + 1
"""Stands for a date that is stated and cannot be read."""
MAX_CENTS: Final = 10**12
"""Ten billion dollars: no line is larger, and a sum of nine million such lines fits int64."""
_PLAIN_AMOUNT: Final = r"^-?[0-9]{1,%d}(\.[0-9]{0,%d})?$"
_WRITTEN_AMOUNT: Final = re.compile(
    r"([-+]?)\s*\$?\s*([-+]?)"
    r"((?:\d+|\d{1,3}(?:,\d{3})+)?(?:\.\d*)?(?:[eE][-+]?\d{1,3})?)\s*(-?)",
    re.ASCII,
)
_NO_DOLLARS: Final = re.compile(r"\$?\s*-")
"""A dash alone, as spreadsheets show zero."""
_WIDE: Final = Context(prec=100)
"""No decimal that a column can hold is rounded on the way."""
_ISO: Final = re.compile(r"^(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?:[T ].*)?$", re.ASCII)
_PACKED: Final = re.compile(r"^(\d{4})()(\d{2})(\d{2})(?:\d{6}|\.0+)?$", re.ASCII)
_WORDED: Final = re.compile(
    r"^(\d{1,2})([-/ ]?)([a-z]{3})[a-z]*\2(\d{4})(?:[:T ].*)?$", re.ASCII | re.IGNORECASE
)
_MONTHS: Final = (
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"
)  # fmt: skip
_ORDERED: Final = re.compile(r"^(\d{1,2})([-/.])(\d{1,2})\2(\d{4})(?:[T ].*)?$", re.ASCII)
_TICKS: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""In a second."""
_LAST_DAY: Final = 2**31 - 1
_BETWEEN: Final = re.compile(r"[-/.: T]")

DateOrder = Literal["", "month", "day"]
"""Which of two numbers before a year comes first; "" where nothing settles it."""


# --- dates ----------------------------------------------------------------------------


def day_of_text(text: str, order: DateOrder = "") -> int:
    """Day number of a written date, `NO_DAY` for none, `BAD_DAY` for what is not a date.

    Reads YYYY-MM-DD, YYYYMMDD, DDMONYYYY and each followed by a time of day, which is dropped; with
    an `order`, two numbers before a year too. Zeros, eights or nines alone say that there is none.

    >>> day_of_text("1970-01-02"), day_of_text("19700102"), day_of_text("1970-01-02 23:59:59+00")
    (1, 1, 1)
    >>> day_of_text("02JAN1970:00:00:00"), day_of_text("01/02/1970", "month")
    (1, 1)
    >>> [day_of_text(text) == NO_DAY for text in ("", "00000000", "9999-99-99", "2023-02-30")]
    [True, True, True, False]
    >>> [day_of_text(text) == BAD_DAY for text in ("2023-02-30", "01/02/1970")]
    [True, True]
    """
    if text == "":
        return NO_DAY
    found = _PACKED.match(text) or _ISO.match(text)
    try:
        if found is not None:
            return day_of(date(int(found[1]), int(found[3]), int(found[4])))
        if (found := _WORDED.match(text)) is not None:
            month = _MONTHS.index(found[3].lower()) + 1
            return day_of(date(int(found[4]), month, int(found[1])))
        if order and (found := _ORDERED.match(text)) is not None:
            month, day = int(found[1]), int(found[3])
            if order == "day":
                month, day = day, month
            return day_of(date(int(found[4]), month, day))
    except ValueError:
        pass
    return NO_DAY if NO_DATE.fullmatch(_BETWEEN.sub("", text)) else BAD_DAY


def order_in(text: str) -> DateOrder:
    """Which order of day and month a date settles, having a number above 12 before its year.

    >>> order_in("12/31/2024"), order_in("31.12.2024"), order_in("03/10/2023")
    ('month', 'day', '')
    """
    found = _ORDERED.match(text)
    if found is None:
        return ""
    first, second = int(found[1]), int(found[3])
    if first <= 12 < second <= 31:
        return "month"
    return "day" if second <= 12 < first <= 31 else ""


def order_note(file: str, order: DateOrder) -> str:
    """What is noted of dates of a file, after their number."""
    shape = "MM/DD/YYYY" if order == "month" else "DD/MM/YYYY"
    return f"dates of {file} are read {order} first ({shape}), which others of the file settle"


def is_ordered(text: str) -> bool:
    """Whether a date has two numbers before its year, of which either may be the month."""
    return _ORDERED.match(text) is not None


def read_days(array: pa.Array, order: DateOrder = "") -> NDArray[np.int32]:
    """A date column as int32 day numbers: `NO_DAY` none, `BAD_DAY` unreadable.

    A timestamp with a zone is the day there.
    """
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if array.null_count == len(array):
        return np.full(len(array), NO_DAY, np.int32)
    if pa.types.is_dictionary(array.type) and pa.types.is_temporal(array.type.value_type):
        days = np.append(read_days(array.dictionary), np.int32(NO_DAY))
        places = array.indices.fill_null(len(days) - 1).to_numpy(zero_copy_only=False)
        found: NDArray[np.int32] = row_pick(days, None, places.astype(np.int32, copy=False))
        return found
    if pa.types.is_timestamp(array.type) or pa.types.is_date64(array.type):
        return _days_of_times(array)
    if pa.types.is_date32(array.type):
        days = array.view(pa.int32())
        if days.null_count:
            days = days.fill_null(NO_DAY)
        return np.frombuffer(days.buffers()[1], np.int32, len(days), days.offset * 4)
    text = read_text(array)
    return text.take(np.array([day_of_text(value, order) for value in text.values], np.int32))


def _days_of_times(array: pa.Array) -> NDArray[np.int32]:
    """Days of timestamps, local ones where they have a zone; unreadable beyond what a day holds."""
    unit = "ms" if pa.types.is_date64(array.type) else array.type.unit
    if pa.types.is_timestamp(array.type) and array.type.tz is not None:
        array = pc.local_timestamp(array)
    ticks = array.view(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    days = ticks // (86_400 * _TICKS[unit])
    days[(days <= BAD_DAY) | (days > _LAST_DAY)] = BAD_DAY
    if array.null_count:
        days[_nulls(array)] = NO_DAY
    return days.astype(np.int32)


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
        dollars = array.fill_null(0).to_numpy(zero_copy_only=False)
        bad = _beyond(dollars, MAX_CENTS // 10**places)
        units = np.where(bad, 0, dollars).astype(np.int64) * 10**places
        return Cents(units, blank, bad, np.zeros(n_rows, bool))
    if pa.types.is_float64(array.type):
        return _float_cents(array, places)
    if pa.types.is_floating(array.type):
        values = array.to_numpy(zero_copy_only=False)
        texts = ["" if np.isnan(v) else str(v) for v in values]
        return _text_cents(pa.array(texts, pa.string()), places)
    return _text_cents(as_text(array), places)


def _beyond(units: NDArray[Any], limit: int) -> NDArray[np.bool_]:
    """Which of some integers of any width are beyond a limit; the least one has no absolute."""
    beyond: NDArray[np.bool_] = units > limit
    if units.dtype.kind == "i":
        beyond |= units < -limit
    return beyond


def _nulls(array: pa.Array) -> NDArray[np.bool_]:
    if not array.null_count:
        return np.zeros(len(array), bool)
    return validity(array) == 0


def _decimal_cents(array: pa.Array, places: int) -> Cents:
    n_rows = len(array)
    if array.type.byte_width < 16:
        array = array.cast(pa.decimal128(38, array.type.scale))
    scale = array.type.scale
    width = array.type.byte_width
    if width != 16:
        return _text_cents(as_text(array), places)
    validity, data = array.buffers()
    words = np.frombuffer(data, np.int64, 2 * n_rows, array.offset * width)
    valid = np.frombuffer(validity, np.uint8) if array.null_count else None
    low, blank, n_beyond = decimal_units(words, valid, array.offset, MAX_CENTS)
    bad, sub_cent = np.zeros(n_rows, bool), np.zeros(n_rows, bool)
    if scale == places and not n_beyond:
        return Cents(low, blank, bad, sub_cent)
    wide = np.where(blank, 0, words[1::2]) != (low >> 63)  # needs more than 64 bits
    units = np.where(wide, 0, low)
    if scale <= places:
        factor = 10 ** (places - scale)
        bad |= _beyond(units, MAX_CENTS // factor)
        cents = np.where(bad, 0, units) * factor
    else:
        divisor = 10 ** (scale - places)
        if divisor >= 2**62:
            return _text_cents(as_text(array), places)
        cents = half_even(units, divisor)
        sub_cent = cents * divisor != units
        bad |= _beyond(cents, MAX_CENTS)
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
        plain = (nearest / 10.0**places == filled) & (np.abs(nearest) <= MAX_CENTS)
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
    bad = _beyond(cents, MAX_CENTS)
    cents[bad] = 0
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
    """Cents, unreadable, had a fraction of a cent. Commas only where thousands end.

    A credit has one minus, before or after the number, or stands in parentheses, with a dollar sign
    within or before them.
    """
    text = text.strip()
    if _NO_DOLLARS.fullmatch(text):
        return 0, False, False
    unsigned = text.removeprefix("$").lstrip()
    if unsigned.startswith("(") and unsigned.endswith(")"):
        text = "-" + unsigned[1:-1].strip()
    written = _WRITTEN_AMOUNT.fullmatch(text)
    if written is None:
        return 0, True, False
    before, after, digits, behind = written.groups()
    try:
        amount = Decimal(behind + before + after + digits.replace(",", "")).scaleb(places, _WIDE)
        whole = amount.quantize(Decimal(1), ROUND_HALF_EVEN, _WIDE)
    except InvalidOperation:
        return 0, True, False
    if not amount.is_finite() or abs(whole) > MAX_CENTS:
        return 0, True, False
    return int(whole), False, whole != amount


# --- flags ----------------------------------------------------------------------------


NO_FLAG: Final = 255


def flag_of_text(text: str) -> int:
    """1 yes, 0 no, `NO_FLAG` blank or unknown.

    >>> [flag_of_text(text) for text in ("Yes", "0", "")]
    [1, 0, 255]
    """
    lowered = text.lower().removesuffix(".0")
    return 1 if lowered in YES else 0 if lowered in NO else NO_FLAG


# --- codes ----------------------------------------------------------------------------

VALUE_CLASSES: Final = ("digits", "letters", "mixed", "other")
"""Kinds of values; of one that is not understood its kind is told, and not the value."""


def value_class(text: str) -> str:
    """Which of `VALUE_CLASSES` a text is.

    >>> [value_class(text) for text in ("07", "Q", "Q7", "?")]
    ['digits', 'letters', 'mixed', 'other']
    """
    if not (text.isascii() and text.isalnum()):
        return "other"
    return "digits" if text.isdigit() else "letters" if text.isalpha() else "mixed"
