"""Orders of a shard's rows, by words that hold several columns.

A word holds columns from high bits to low, each as its distance from the least value of the shard,
so that words order as the columns do and are as short as the shard allows: the work of
`kernels.word_order` grows with their length. Columns that do not fit one word are ordered the slow
way, to the same end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kernels import word_order

_WORD_BITS: Final = 64


@dataclass(frozen=True)
class Field:
    """Where a column stands in a word: its low bit, its width and what zero means."""

    shift: int
    bits: int
    least: int

    def of(self, values: NDArray[Any]) -> NDArray[np.uint64]:
        """The column's part of each word."""
        part = np.subtract(values, self.least, dtype=np.int64).view(np.uint64)
        part <<= np.uint64(self.shift)
        return part

    def values(self, words: NDArray[np.uint64], kind: Any) -> NDArray[Any]:
        """The column read back."""
        found = (words >> np.uint64(self.shift)) & np.uint64((1 << self.bits) - 1)
        return (found.view(np.int64) + self.least).astype(kind)


def fields(*ranges: tuple[int, int]) -> tuple[Field, ...]:
    """Fields for columns of these least and greatest values, first column highest."""
    made: list[Field] = []
    shift = 0
    for least, most in reversed(ranges):
        bits = max(int(most) - int(least), 0).bit_length()
        made.append(Field(shift, bits, int(least)))
        shift += bits
    return tuple(reversed(made))


def width(made: tuple[Field, ...]) -> int:
    """How many low bits words of these fields have."""
    return made[0].shift + made[0].bits


def order_by(*columns: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Rows in order of the columns, alike ones as they stand; and which start another value."""
    if not len(columns[0]):
        return np.empty(0, np.int64), np.empty(0, bool)
    made = fields(*((values.min(), values.max()) for values in columns))
    fresh = np.ones(len(columns[0]), bool)
    if width(made) <= _WORD_BITS:
        words = np.zeros(len(fresh), np.uint64)
        for field, values in zip(made, columns, strict=True):
            words |= field.of(values)
        order, words = word_order(words, width(made))
        np.not_equal(words[1:], words[:-1], out=fresh[1:])
        return order, fresh
    order = np.lexsort(columns[::-1])
    fresh[1:] = False
    for values in columns:
        ordered = values.take(order)
        fresh[1:] |= ordered[1:] != ordered[:-1]
    return order, fresh
