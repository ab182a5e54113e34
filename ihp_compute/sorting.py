"""Orders of rows, by words that hold several columns.

A word holds columns from high bits to low, each as its distance from its least value, so that words
order as the columns do and are as short as the rows allow: the work of `kernels.word_order` grows
with their length. Columns that do not fit one word are ordered the slow way, to the same end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kernels import word_order, word_pack

WORD_BITS: Final = 64


@dataclass(frozen=True)
class Field:
    """Where a column stands in a word: its low bit, its width and what zero means."""

    shift: int
    bits: int
    least: int

    def values(self, words: NDArray[np.uint64]) -> NDArray[np.int32]:
        """A column of 32 bits read back."""
        found = (words >> np.uint64(self.shift)).astype(np.uint32)
        found &= np.uint32((1 << self.bits) - 1)
        found += np.array(self.least, np.int32).view(np.uint32)
        return found.view(np.int32)


def fields(*ranges: tuple[int, int]) -> tuple[Field, ...]:
    """Fields for columns of these least and greatest values, first column highest."""
    placed: list[Field] = []
    shift = 0
    for least, most in reversed(ranges):
        bits = max(int(most) - int(least), 0).bit_length()
        placed.append(Field(shift, bits, int(least)))
        shift += bits
    return tuple(reversed(placed))


def width(layout: tuple[Field, ...]) -> int:
    """How many low bits words of these fields have."""
    return layout[0].shift + layout[0].bits


def packed(layout: Sequence[Field], columns: Sequence[NDArray[Any]]) -> NDArray[np.uint64]:
    """Words that hold these columns, each in its field."""
    words = np.zeros(len(columns[0]), np.uint64)
    for field, values in zip(layout, columns, strict=True):
        word_pack(words, values, field.least, field.shift)
    return words


def order_by(
    *columns: NDArray[Any], kind: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Rows in order of the columns, alike ones as they stand; and which of them start a kind.

    A kind is one set of values of the first `kind` columns, by default of all.
    """
    kind = len(columns) if kind is None else kind
    n = len(columns[0])
    fresh = np.ones(n, bool)
    if not n:
        return np.empty(0, np.int64), fresh
    layout = fields(*((values.min(), values.max()) for values in columns))
    if width(layout) <= WORD_BITS:
        order, words = word_order(packed(layout, columns), width(layout))
        words >>= np.uint64(layout[kind - 1].shift)
        np.not_equal(words[1:], words[:-1], out=fresh[1:])
        return order, fresh
    order = np.lexsort(columns[::-1])
    fresh[1:] = False
    for values in columns[:kind]:
        ordered = values.take(order)
        fresh[1:] |= ordered[1:] != ordered[:-1]
    return order, fresh
