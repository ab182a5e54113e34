"""Text columns as distinct words and places: trimmed, spellings of nothing made one.

What is done with a text is done once for each word, however many rows have it. Which texts state
nothing is declared in `input_columns`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.input_columns import NOTHING
from ihp_compute.population import text_hashes
from kernels import row_pick

_BLANK: Final = pa.array([""], pa.string())

_BLANKS: Final = pa.array(NOTHING[1:])

_BLANK_LENGTH: Final = max(map(len, NOTHING))

_BLANK_WORDS: Final = frozenset(NOTHING)

_FEW: Final = 32

_WHOLE: Final = r"^(-?[0-9]+)\.0+$"
"""A whole number as a program writes it that holds it as a float."""
_ROUNDED: Final = re.compile(
    r"[0-9]+(?:[.,][0-9]+)?[eE]\+[0-9]+|[0-9]+[.,][0-9]+[eE][0-9]+|([0-9]{16,})\.0+"
)
_EXACT: Final = {16: 2**11, 32: 2**24, 64: 2**53}
"""Up to which whole numbers a float of so many bits tells each from the next."""


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
        self._spelled: dict[Callable[[str], str], Words] = {}

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
        """The hash of each text; 0 for "" (`population.text_hashes`)."""
        return text_hashes(self.texts)

    def spelled(self, spelling: Callable[[str], str]) -> Words:
        """The texts as a column spells them; several may become alike."""
        found = self._spelled.get(spelling)
        if found is None:
            values = self.values
            texts = list(map(spelling, values))
            found = Words(self.texts if texts == values else pa.array(texts, pa.string()))
            self._spelled[spelling] = found
        return found

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


def as_text(array: pa.Array, *, whole: bool = True) -> pa.Array:
    """Any column as trimmed text without nulls; numbers as they print, dates as ISO.

    With `whole`, a whole number written with `.0` is the number without, as it is of an Arrow
    float.
    """
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
    array = _trimmed(array)
    if whole and _has_byte(array, b".") and pc.any(pc.match_substring(array, ".0")).as_py():
        array = pc.replace_substring_regex(array, _WHOLE, r"\1")
    return array


def is_rounded(array: pa.Array) -> bool:
    """Whether a number in a column of ids was rounded: as `1.23457E+11`, or held as a float.

    A float with a fraction, or too large to tell each whole number from the next, names nobody.
    """
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary
    if pa.types.is_floating(array.type):
        values = array.drop_null().to_numpy(zero_copy_only=False)
        values = values[~np.isnan(values)]
        return bool(
            ((values != np.rint(values)) | (abs(values) > _EXACT[array.type.bit_width])).any()
        )
    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        return False
    if not _has_byte(array, b"+,."):
        return False
    for text in pc.unique(array.filter(pc.match_substring_regex(array, "[+.,]"))).to_pylist():
        found = _ROUNDED.fullmatch(text.strip())
        if found and (found[1] is None or int(found[1]) > _EXACT[64]):
            return True
    return False


def _has_byte(array: pa.Array, marks: bytes) -> bool:
    """Whether some byte of the texts is one of a few; in most columns none is as low as these."""
    data = array.buffers()[2]
    if data is None or not len(array):
        return False
    width = np.int64 if pa.types.is_large_string(array.type) else np.int32
    at = np.frombuffer(array.buffers()[1], width, len(array) + 1, array.offset * width().itemsize)
    bytes_ = np.frombuffer(data, np.uint8)[at[0] : at[-1]]
    if not len(bytes_) or bytes_.min() > max(marks):
        return False
    return any(bool((bytes_ == mark).any()) for mark in marks)


def _trimmed(array: pa.Array) -> pa.Array:
    if _is_plain(array):
        return array
    trimmed = pc.ascii_trim_whitespace(array)
    short = pc.and_(
        pc.greater_equal(pc.binary_length(trimmed), 2),
        pc.less_equal(pc.binary_length(trimmed), _BLANK_LENGTH),
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


def read_text(array: pa.Array, known: Words | None = None, *, whole: bool = True) -> Text:
    """A text column as distinct trimmed values; `known` is used again for the same dictionary.

    `whole` as `as_text` has it.
    """
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    n_rows = len(array)
    if array.null_count == n_rows:
        return Text.blank(n_rows)
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    if known is None or known.source is None or not array.dictionary.equals(known.source):
        known = _words(array.dictionary, whole)
    indices = array.indices
    if indices.type != pa.int32():
        indices = indices.cast(pa.int32())
    index = np.frombuffer(indices.buffers()[1], np.int32, n_rows, indices.offset * 4)
    if indices.null_count:
        blank = np.int32(known.blank if known.remap is None else len(known.remap) - 1)
        index = index - blank  # whatever stands where nothing does
        index *= validity(indices)
        index += blank
    return Text(known, index if known.remap is None else row_pick(known.remap, None, index))


def _is_clean(text: str) -> bool:
    """Whether a text is stated and surely needs no change."""
    return (
        bool(text)
        and text == text.strip()
        and text.lower() not in _BLANK_WORDS
        and ".0" not in text
    )


def _words(dictionary: pa.Array, whole: bool) -> Words:
    if len(dictionary) <= _FEW and dictionary.type == pa.string() and not dictionary.null_count:
        values = dictionary.to_numpy(zero_copy_only=False).tolist()
        ends_blank = bool(values) and not values[-1]
        if all(map(_is_clean, values[:-1] if ends_blank else values)):
            return Words(dictionary if ends_blank else pa.array([*values, ""]), dictionary)
    words = _stated_words(_without_last_blank(dictionary), whole)
    words.source = dictionary
    return words


def _without_last_blank(dictionary: pa.Array) -> pa.Array:
    """The words but for a last one of "", which stands where a null would."""
    n = len(dictionary)
    is_text = dictionary.type == pa.string()
    return dictionary[: n - 1] if is_text and n and dictionary[n - 1].as_py() == "" else dictionary


def _stated_words(dictionary: pa.Array, whole: bool) -> Words:
    """Words of a dictionary; where one is null, its place is that behind the last."""
    texts = as_text(dictionary, whole=whole)
    blank = pc.equal(texts, "")
    n_blank = pc.sum(blank).as_py() or 0
    clean = texts.equals(dictionary)
    if not clean and n_blank and texts.type == dictionary.type and not dictionary.null_count:
        clean = pc.all(pc.or_(blank, pc.equal(texts, dictionary))).as_py()
    if texts.type != pa.string():
        texts = texts.cast(pa.string())
    if clean:
        # the usual case: distinct as they are, or nothing; null becomes the one more
        if not n_blank:
            return Words(pa.concat_arrays([texts, _BLANK]), dictionary)
        stated = np.append(~blank.to_numpy(zero_copy_only=False), False)
        words = Words(pa.concat_arrays([texts.filter(pc.invert(blank)), _BLANK]), dictionary)
        places = np.cumsum(stated, dtype=np.int32) - np.int32(1)
        words.remap = np.where(stated, places, np.int32(words.blank))
        return words
    place: dict[str, int] = {}
    raw = texts.to_pylist()
    for text in raw:
        if text:
            place.setdefault(text, len(place))
    place[""] = len(place)
    words = Words(pa.array(list(place), pa.string()), dictionary)
    words.remap = np.array([place[text] for text in (*raw, "")], np.int32)
    return words


def validity(array: pa.Array) -> NDArray[np.uint8]:
    """1 where a row is not null, else 0: the validity bits unpacked."""
    bits = np.frombuffer(array.buffers()[0], np.uint8)
    first = array.offset // 8
    skip = array.offset % 8
    unpacked = np.unpackbits(bits[first:], count=skip + len(array), bitorder="little")
    return unpacked[skip:]
