"""What ingest does with columns, as NumPy, PyArrow and the standard library do it."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Words = NDArray[np.uint64]


def row_order(keys: Words, n_groups: int) -> tuple[Any, Any]:
    """A stable sort of 16-bit group numbers, which NumPy makes by radix."""
    group = (keys % np.uint64(n_groups)).astype(np.uint16)
    starts = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=n_groups))])
    return np.argsort(group, kind="stable"), starts


def row_pick(values: Any, index: Any, order: Any) -> Any:
    """Two takes."""
    return values.take(index.take(order))


def row_join(stored: Any, starts: Any, ends: Any, values: Any) -> Any:
    """The pieces put together, then one take."""
    sizes = np.diff(ends, prepend=0)
    pieces = [stored[start : start + size] for start, size in zip(starts, sizes, strict=True)]
    return values.take(np.concatenate(pieces))


def decimal_units(words: Any, valid: Any, limit: int) -> tuple[Any, Any, int]:
    """The low words, and what the high ones and the bits say of them, an array at a time."""
    low, high = words[::2].copy(), words[1::2]
    blank = np.unpackbits(valid, count=len(low), bitorder="little") == 0
    beyond = (high != low >> 63) | (low > limit) | (low < -limit)
    low[blank] = 0
    return low, blank, int(np.count_nonzero(beyond & ~blank))


def text_key(texts: pa.Array, person: bytes) -> Words:
    """hashlib, text by text."""
    blake = hashlib.blake2b
    joined = b"".join(
        blake(text.encode(), digest_size=8, person=person).digest() for text in texts.to_pylist()
    )
    return np.frombuffer(joined, "<u8")


def row_hash(words: Words, index: Any, seeds: Words) -> Words:
    """The same arithmetic, an array at a time."""
    lanes = []
    for seed in seeds:
        mixed = words * seed
        mixed ^= mixed >> np.uint64(32)
        mixed *= np.uint64(0x94D049BB133111EB)
        lanes.append(mixed.take(index))
    return np.stack(lanes)


def word_mix(words: Words) -> Words:
    """The same arithmetic, an array at a time and in place after the first step."""
    mixed = words ^ (words >> np.uint64(30))
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def word_pack(words: Words, values: Any, least: int, shift: int) -> Words:
    """An array at a time, in place after the first step."""
    part = np.subtract(values, least, dtype=np.int64).view(np.uint64)
    part <<= np.uint64(shift)
    part |= words
    return part


def word_order(words: Words) -> tuple[Any, Words]:
    """A stable sort."""
    order = np.argsort(words, kind="stable")
    return order, words.take(order)


def least_words(words: Words, shift: int) -> Words:
    """Sorted, the first of each kind kept."""
    found = np.sort(words)
    kinds = found >> np.uint64(shift)
    return found[np.append(True, kinds[1:] != kinds[:-1])]


def key_place(keys: Words, table: Words) -> Any:
    """Binary search."""
    place = np.minimum(np.searchsorted(table, keys), len(table) - 1)
    return np.where(table[place] == keys, place, -1).astype(np.int32)


def first_row(words: Words, within: Words) -> Any:
    """Rows of equal pairs side by side, the first row of each beside all."""
    order = np.lexsort((words, within))
    same = (words[order][1:] == words[order][:-1]) & (within[order][1:] == within[order][:-1])
    first = np.maximum.accumulate(np.where(np.append(False, same), 0, np.arange(len(order))))
    found = np.empty(len(order), np.int64)
    found[order] = order[first]
    return found


def distinct_count(values: Words) -> int:
    """Sorted and compared."""
    return int(np.unique(values).size)


def code_lists(codes: Any) -> tuple[Any, Any]:
    """A mask over rows of codes."""
    table = np.ascontiguousarray(codes.T)
    stated = table > 0
    offsets = np.zeros(len(table) + 1, np.int32)
    np.cumsum(stated.sum(axis=1), out=offsets[1:])
    return table[stated], offsets


def list_words(words: Words, starts: Any, codes: Any, parts: Words) -> Words:
    """All words, repeated ones too."""
    found = words.repeat(np.diff(starts))
    found |= parts.take(codes)
    return found


def history_fates(phase: Any, offsets: Any) -> Any:
    """Fates where a bill is at most once replaced, or voided by its amount, as a whole."""
    last = np.maximum.reduceat(phase, offsets[:-1]).repeat(np.diff(offsets))
    fate = np.zeros(len(phase), np.uint8)
    fate[(last == 1) & (phase == 0)] = 2  # superseded
    fate[last == 2] = 1  # voided
    return fate
