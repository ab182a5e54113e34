"""Hashes of rows and texts, keyed by table and column: what the population's digest adds up."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kernels import row_hash, text_hash, word_mix


@cache
def seed_of(text: str) -> np.uint64:
    """An odd 64-bit constant named by a text."""
    return np.uint64(
        int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") | 1
    )


def text_hashes(array: pa.Array) -> NDArray[np.uint64]:
    """A 64-bit hash of each text's UTF-8 bytes (`kernels.text_hash`); null hashes as "".

    Parameters
    ----------
    array : pyarrow string, large_string or binary array

    Returns
    -------
    uint64[len(array)]
    """
    if array.null_count:
        array = array.fill_null("")
    hashed: NDArray[np.uint64] = text_hash(*text_buffers(array))
    return hashed


class RowHash:
    """Two 64-bit hashes of each row, built column by column in any order.

    Each column adds scrambled words under a constant of its own name, so a column that was never
    added counts as a column of zeros: a table without an optional column and one with that column
    all blank hash alike.
    """

    def __init__(self, n_rows: int) -> None:
        self.lanes = np.zeros((2, n_rows), np.uint64)

    def add(self, name: str, words: NDArray[np.integer[Any]]) -> None:
        """Add a column of words of 32 or 64 bits; zero means blank."""
        row_hash(self.lanes, words, None, _seeds(name))

    def add_coded(
        self, name: str, index: NDArray[np.integer[Any]], words: NDArray[np.uint64]
    ) -> None:
        """Add the column `words[index]`: each distinct word is mixed once."""
        row_hash(self.lanes, words, index, _seeds(name))

    def finish(self) -> NDArray[np.uint64]:
        """uint64[2, n_rows]: the hashes."""
        word_mix(self.lanes.reshape(-1))
        return self.lanes


@cache
def _seeds(name: str) -> NDArray[np.uint64]:
    return np.array([seed_of("1" + name), seed_of("2" + name)], np.uint64)


def text_buffers(array: pa.Array) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Bytes and offsets of a string or binary array without nulls, as kernels take texts."""
    wide = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    kind: Any = np.int64 if wide else np.int32
    if not len(array):
        return np.empty(0, np.uint8), np.zeros(1, kind)
    _, offset_buffer, data_buffer = array.buffers()
    first = array.offset * np.dtype(kind).itemsize
    offsets = np.frombuffer(offset_buffer, kind, len(array) + 1, first)
    return np.frombuffer(b"" if data_buffer is None else data_buffer, np.uint8), offsets
