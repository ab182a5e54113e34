"""Values at the door: text, dates, flags and dollars, read from CSV or Parquet without guessing.

    a raw column -> text trimmed, dates as day numbers, dollars as exact cents

CSV fields are text until a rule here reads them; nothing is inferred, so leading zeros live.
Decided here: which spellings of a date, a flag and an amount are readable, and how a fraction of a
cent is rounded (half to even, counted). An unreadable value does not stop the ingest: it is marked,
and the row is put aside with its reason.
Not here: which columns a table has (`ingest_layout`), how a file is read (`ingest_batches`) and
what becomes of a row (`ingest`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.fingerprint import text_hashes
from ihp_compute.units import NO_DAY, day_of
from kernels import decimal_units, row_pick

BAD_DAY: Final = NO_DAY + 1
"""Stands for a date that is stated and cannot be read."""
MAX_CENTS: Final = 10**12
"""Ten billion dollars: no line is larger, and a sum of nine million such lines fits int64."""

_BLANK: Final = pa.array([""], pa.string())
_BLANKS: Final = pa.array(["null", "none", "nan", "<na>", r"\n"])
"""Spellings of nothing, in lower case; `\\N` is how databases unload a null into CSV."""
_BLANK_LENGTH: Final = 4
_BLANK_WORDS: Final = frozenset(_BLANKS.to_pylist())
_FEW: Final = 32
_TRUE: Final = frozenset({"1", "true", "t", "yes", "y"})
_FALSE: Final = frozenset({"0", "false", "f", "no", "n"})
_PLAIN_AMOUNT: Final = r"^-?[0-9]{1,%d}(\.[0-9]{0,%d})?$"
_WRITTEN_AMOUNT: Final = re.compile(
    r"([-+]?)\s*\$?\s*([-+]?)((?:\d+|\d{1,3}(?:,\d{3})+)?(?:\.\d*)?(?:[eE][-+]?\d{1,3})?)", re.ASCII
)
_ISO: Final = re.compile(r"^(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ].*)?$")
_PACKED: Final = re.compile(r"^(\d{4})(\d{2})(\d{2})$")
_PACKED_TIME: Final = re.compile(r"^(\d{4})(\d{2})(\d{2})(?:\d{6}|\.0+)$")


# --- text -----------------------------------------------------------------------------


class Words:
    """The distinct texts of a column, trimmed; the last is "", not stated.

    What is made of them, hashes and numbers, is made once and kept as long as batches of one file
    share a dictionary.
    """

    def __init__(self, texts: pa.Array, source: pa.Array | None = None) -> None:
        self.texts = texts
        self.source = source
        self.remap: NDArray[np.int32] | None = None
        self._made: dict[str, NDArray[Any]] = {}

    @property
    def blank(self) -> int:
        """Place of "", not stated."""
        return len(self.texts) - 1

    @cached_property
    def values(self) -> list[str]:
        """The texts as Python strings."""
        found: list[str] = self.texts.to_numpy(zero_copy_only=False).tolist()
        return found

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        """The hash of each text; 0 for "" (`fingerprint.text_hashes`)."""
        return text_hashes(self.texts)

    def made(self, what: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """An array over the texts, made when first asked for by this name."""
        found = self._made.get(what)
        if found is None:
            found = self._made[what] = make()
        return found


@dataclass(frozen=True)
class Text:
    """A text column: its distinct values, and which of them each row has."""

    words: Words
    index: NDArray[np.int32]

    @classmethod
    def blank(cls, n_rows: int) -> Text:
        """A column in which nothing is stated."""
        return cls(Words(_BLANK), _all_first(1 << n_rows.bit_length())[:n_rows])

    @property
    def values(self) -> list[str]:
        """The distinct values; the last is "", not stated."""
        return self.words.values

    @property
    def is_blank(self) -> bool:
        """Whether nothing is stated in any row."""
        return len(self.words.texts) == 1

    def stated(self) -> NDArray[np.bool_]:
        """Per row, whether it states something."""
        stated: NDArray[np.bool_] = self.index != self.words.blank
        return stated

    def take(self, of_value: NDArray[Any]) -> NDArray[Any]:
        """Per row, what an array says of its value."""
        found: NDArray[Any] = row_pick(of_value, None, self.index)
        return found


@lru_cache(maxsize=4)
def _all_first(n_rows: int) -> NDArray[np.int32]:
    """An index of rows that all have the first value."""
    index = np.zeros(n_rows, np.int32)
    index.flags.writeable = False
    return index


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
    if (offsets[1:] - offsets[:-1]).min() <= _BLANK_LENGTH:
        return False
    data = np.frombuffer(array.buffers()[2], np.uint8)
    if data[offsets[0] : offsets[-1]].min() > ord(" "):
        return True
    ends = data.take(offsets[:-1]), data.take(offsets[1:] - 1)
    return all(bool((end > ord(" ")).all()) for end in ends)


def read_text(array: pa.Array, known: Words | None = None) -> Text:
    """A text column as distinct trimmed values; `known` is used again for the same dictionary."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    n_rows = len(array)
    if array.null_count == n_rows:
        return Text.blank(n_rows)
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    if known is None or known.source is None or not array.dictionary.equals(known.source):
        known = _words(array.dictionary)
    indices = array.indices
    if indices.type != pa.int32():
        indices = indices.cast(pa.int32())
    index = np.frombuffer(indices.buffers()[1], np.int32, n_rows, indices.offset * 4)
    if indices.null_count:
        blank = np.int32(len(array.dictionary))
        index = index - blank  # whatever stands where nothing does
        index *= _valid(indices)
        index += blank
    return Text(known, index if known.remap is None else row_pick(known.remap, None, index))


def _is_clean(text: str) -> bool:
    """Whether a text is stated and surely needs no change."""
    return bool(text) and text == text.strip() and text.lower() not in _BLANK_WORDS


def _words(dictionary: pa.Array) -> Words:
    if len(dictionary) <= _FEW and dictionary.type == pa.string() and not dictionary.null_count:
        values = dictionary.to_numpy(zero_copy_only=False).tolist()
        ends_blank = bool(values) and not values[-1]
        if all(map(_is_clean, values[:-1] if ends_blank else values)):
            return Words(dictionary if ends_blank else pa.array([*values, ""]), dictionary)
    texts = as_text(dictionary)
    clean = texts.equals(dictionary) and not pc.any(pc.equal(texts, "")).as_py()
    if texts.type != pa.string():
        texts = texts.cast(pa.string())
    if clean:
        # the usual case: clean and distinct as they are; null becomes the one more
        return Words(pa.concat_arrays([texts, _BLANK]), dictionary)
    place: dict[str, int] = {}
    raw = texts.to_pylist()
    for text in raw:
        if text:
            place.setdefault(text, len(place))
    place[""] = len(place)
    words = Words(pa.array(list(place), pa.string()), dictionary)
    words.remap = np.array([place[text] for text in (*raw, "")], np.int32)
    return words


def _valid(array: pa.Array) -> NDArray[np.uint8]:
    """1 where a row is not null, else 0: the validity bits unpacked."""
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
        days = array.view(pa.int32())
        if days.null_count:
            days = days.fill_null(NO_DAY)
        return np.frombuffer(days.buffers()[1], np.int32, len(days), days.offset * 4)
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
