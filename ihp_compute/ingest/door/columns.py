"""Columns of a batch by what they are made of: a value a row, values and places, one for all rows.

How a column is made decides how little of it need be written (`by_shard`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.ingest.door.texts import Text
from kernels import row_pick


@dataclass(frozen=True)
class Coded:
    """A column of numbers as distinct values, and which of them each row has."""

    values: NDArray[Any]
    index: NDArray[np.int32]

    def rows(self) -> NDArray[Any]:
        """One value a row."""
        rows: NDArray[Any] = row_pick(self.values, None, self.index)
        return rows

    def where(self, of_value: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Rows whose value is one of those marked."""
        if not of_value.any():
            return np.empty(0, np.intp)
        return np.flatnonzero(row_pick(of_value, None, self.index))


@dataclass(frozen=True)
class Stated:
    """A text column in which a blank is null."""

    text: Text


@dataclass(frozen=True)
class Following:
    """A column of one text a row, none null, often that of the row before.

    words : uint64 a row, `population.text_hashes`; rows of one hash have one text
    """

    texts: pa.Array
    words: NDArray[np.uint64]


Column: TypeAlias = (
    NDArray[Any] | Coded | range | Text | Stated | Following | list[Coded] | int | None
)
"""One column: numbers a row, coded or counted up; texts, coded or a text a row; lists of the codes
above 0; one number for all rows; None for null in all rows."""
