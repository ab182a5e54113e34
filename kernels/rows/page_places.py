"""Places of a column's values in its dictionary, from the pages of a Parquet file.

On the host alone: the bytes are those of a file that is mapped there, and what they say has to be
looked at byte by byte. There is no twin for a GPU.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

from kernels._core import read_only, require

DATA: Final = 0
DICTIONARY: Final = 2
PLAIN: Final = 0
PLAIN_DICTIONARY: Final = 2
RLE: Final = 3
RLE_DICTIONARY: Final = 8
SPARE: Final = 8
"""Bytes behind a page that may be read, whatever they hold."""
_MOST_WORDS: Final = 1 << 24
_MOST_BYTES: Final = (1 << 31) - 1
_MOST_DEPTH: Final = 4


def page_places(
    pages: Any, out: Any, *, width: int, most: int, is_packed: bool, is_optional: bool
) -> Any:
    """Which word of a column chunk's dictionary each row has.

    Only what writers usually write is read: first a page with the dictionary, plain, then data
    pages of version 1 whose values are places in it. Of anything else, and of whatever is damaged
    or does not add up, the answer is None: somebody else shall read the chunk, or say what is
    wrong with it. Nothing beyond the arrays is read or written, whatever the bytes are.

    Parameters
    ----------
    pages : uint8[k]
        A column chunk as it stands in its file.
    out : int32[n], writable
        Where the places of its n rows go; one beyond the last word where a value is null.
    width : int
        Bytes of a value in the dictionary, 4 or 8; 0 of texts.
    most : int
        Bytes that a page may come to, unpacked.
    is_packed : bool
        Whether pages are compressed by Snappy; else they are as they are.
    is_optional : bool
        Whether values may be null, so that pages begin with definition levels of one bit.

    Returns
    -------
    (data, offsets) or None
        uint8 and int32[w + 1], the dictionary's w words and where each begins and ends.

    Raises
    ------
    KernelInputError
        If an array has another dtype or rank.

    Source: Apache Parquet format 2.10, "Encodings" (RLE / bit-packing hybrid, dictionary) and
    "Data Pages"; Thrift compact protocol; Snappy format description of 2011-10-05.
    """
    require("pages", pages, np.uint8, (None,))
    require("out", out, np.int32, (None,), writable=True)
    pages = read_only(pages)
    form: Any = _sizes
    largest, packed_words, n_words = form(pages)
    if n_words < 0 or largest > min(most, _MOST_BYTES):
        return None
    body = np.empty(largest + SPARE, np.uint8)
    data, offsets = np.empty(packed_words, np.uint8), np.empty(n_words + 1, np.int32)
    held, stated = np.empty(len(out), np.uint8), np.empty(len(out), np.int32)
    form = _read
    size = form(pages, width, is_packed, is_optional, body, data, offsets, held, stated, out)
    return None if size < 0 else (data[:size], offsets)


@numba.njit(cache=True, nogil=True)
def _varint(pages: Any, at: Any) -> Any:
    """An unsigned number of up to 63 bits, and where it ends; -1 where it does not."""
    value, shift = np.int64(0), np.int64(0)
    while at < len(pages) and shift < 63:
        byte = np.int64(pages[at])
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    return np.int64(0), np.int64(-1)


@numba.njit(cache=True, nogil=True)
def _head(pages: Any, at: Any, found: Any) -> Any:
    """Read a page's header; where its body starts, or -1.

    found[0..5]: type, size, packed size, number of values, encoding, encoding of levels; -1 where
    nothing is said. A checksum is none of ours to check: -1.
    """
    found[:] = -1
    depth, of = 0, np.int64(0)
    last = np.zeros(_MOST_DEPTH, np.int64)
    while at < len(pages):
        byte = np.int64(pages[at])
        at += 1
        if byte == 0:
            depth -= 1
            if depth < 0:
                return at
            continue
        kind, step = byte & 15, byte >> 4
        if step == 0:
            zigzag, at = _varint(pages, at)
            if at < 0:
                return np.int64(-1)
            last[depth] = (zigzag >> 1) ^ -(zigzag & 1)
        else:
            last[depth] += step
        name = last[depth]
        if kind in (1, 2):  # a truth, without a byte
            continue
        if kind == 3:
            at += 1
        elif kind in (4, 5, 6):
            zigzag, at = _varint(pages, at)
            if at < 0:
                return np.int64(-1)
            value = (zigzag >> 1) ^ -(zigzag & 1)
            if depth == 0:
                if name == 4:
                    return np.int64(-1)
                if 1 <= name <= 3:
                    found[name - 1] = value
            elif depth == 1 and of in (5, 7) and 1 <= name <= 3:
                found[name + 2] = value
        elif kind == 7:
            at += 8
        elif kind == 8:
            size, at = _varint(pages, at)
            if at < 0 or size > len(pages) - at:
                return np.int64(-1)
            at += size
        elif kind == 12:
            if depth == 0:
                of = name
            depth += 1
            if depth == _MOST_DEPTH:
                return np.int64(-1)
            last[depth] = 0
        else:
            return np.int64(-1)
    return np.int64(-1)


@numba.njit(cache=True, nogil=True)
def _sizes(pages: Any) -> Any:
    """Bytes of the largest page and of the dictionary's, and its words; -1 of other chunks."""
    found = np.empty(6, np.int64)
    at, largest = np.int64(0), np.int64(0)
    n_words = bytes_ = np.int64(-1)
    while at < len(pages):
        at = _head(pages, at, found)
        if at < 0 or found[1] < 0 or found[2] < 0 or found[2] > len(pages) - at or found[3] < 0:
            return np.int64(0), np.int64(0), np.int64(-1)
        if n_words < 0:
            plain = found[4] in (PLAIN, PLAIN_DICTIONARY)
            if found[0] != DICTIONARY or not plain or found[3] > min(found[1] // 4, _MOST_WORDS):
                return np.int64(0), np.int64(0), np.int64(-1)
            bytes_, n_words = found[1], found[3]
        elif found[0] != DATA or found[4] not in (PLAIN_DICTIONARY, RLE_DICTIONARY):
            return np.int64(0), np.int64(0), np.int64(-1)
        largest = max(largest, found[1])
        at += found[2]
    return largest, bytes_, n_words


@numba.njit(cache=True, nogil=True)
def _unpacked(pages: Any, at: Any, stop: Any, size: Any, body: Any) -> Any:
    """Unpack Snappy bytes into the body; whether they are of that size."""
    stated, at = _varint(pages, at)
    if at < 0 or at > stop or stated != size or size > len(body):
        return False
    done = np.int64(0)
    while at < stop:
        tag = np.int64(pages[at])
        at += 1
        kind, more = tag & 3, np.int64(0)
        if kind == 0:
            n = (tag >> 2) + 1
            more = max(n - 60, np.int64(0))
            if more > stop - at:
                return False
            if more:
                n = np.int64(1)
                for k in range(more):
                    n += np.int64(pages[at + k]) << (8 * k)
                at += more
            if n > stop - at or n > size - done:
                return False
            body[done : done + n] = pages[at : at + n]
            at += n
        else:
            more = np.int64(1) if kind == 1 else np.int64(2) if kind == 2 else np.int64(4)
            if more > stop - at:
                return False
            back = np.int64(0)
            for k in range(more):
                back |= np.int64(pages[at + k]) << (8 * k)
            n = (tag >> 2) + 1
            if kind == 1:
                n, back = ((tag >> 2) & 7) + 4, back | ((tag >> 5) << 8)
            at += more
            if back == 0 or back > done or n > size - done:
                return False
            for k in range(n):
                body[done + k] = body[done + k - back]
        done += n
    return done == size


@numba.njit(cache=True, nogil=True)
def _runs(body: Any, at: Any, stop: Any, width: Any, out: Any) -> Any:
    """Values of so many bits, in runs and packed ones in turns; whether there are all of them."""
    n, done = np.int64(len(out)), np.int64(0)
    mask = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    each = (width + 7) >> 3
    while done < n:
        if width == 0:
            out[done:] = 0
            return True
        head, at = _varint(body, at)
        if at < 0 or at > stop:
            return False
        if head & 1:
            groups = head >> 1
            if groups == 0 or groups > (stop - at) // width:
                return False
            some = min(groups * 8, n - done)
            for k in range(some):
                bit = np.uint64(k) * np.uint64(width)
                p = np.uint64(at) + (bit >> np.uint64(3))
                word = (
                    np.uint64(body[p])
                    | np.uint64(body[p + np.uint64(1)]) << np.uint64(8)
                    | np.uint64(body[p + np.uint64(2)]) << np.uint64(16)
                    | np.uint64(body[p + np.uint64(3)]) << np.uint64(24)
                    | np.uint64(body[p + np.uint64(4)]) << np.uint64(32)
                )
                out[done + k] = (word >> (bit & np.uint64(7))) & mask
            at += groups * width
        else:
            some = head >> 1
            if some == 0 or each > stop - at:
                return False
            some = min(some, n - done)
            value = np.int64(0)
            for k in range(each):
                value |= np.int64(body[at + k]) << (8 * k)
            if value > np.int64(mask):
                return False
            at += each
            out[done : done + some] = value
        done += some
    return True


@numba.njit(cache=True, nogil=True)
def _words(body: Any, size: Any, width: Any, data: Any, offsets: Any) -> Any:
    """Words of that width, or texts, each after its length; how many bytes they are, or -1."""
    at, done = np.int64(0), np.int64(0)
    offsets[0] = 0
    if width > 0:
        if size != (len(offsets) - 1) * width:
            return np.int64(-1)
        data[:size] = body[:size]
        for k in range(1, len(offsets)):
            offsets[k] = k * width
        return size
    for k in range(len(offsets) - 1):
        if size - at < 4:
            return np.int64(-1)
        n = np.int64(0)
        for j in range(4):
            n |= np.int64(body[at + j]) << (8 * j)
        at += 4
        if n > size - at:
            return np.int64(-1)
        data[done : done + n] = body[at : at + n]
        at += n
        done += n
        offsets[k + 1] = done
    return done if at == size else np.int64(-1)


@numba.njit(cache=True, nogil=True)
def _read(
    pages: Any, width: Any, is_packed: Any, is_optional: Any, body: Any, data: Any, offsets: Any,
    held: Any, stated: Any, out: Any,
) -> Any:  # fmt: skip
    """Read all pages; bytes of the words, or -1."""
    found = np.empty(6, np.int64)
    n_words, at, row, bytes_ = len(offsets) - 1, np.int64(0), np.int64(0), np.int64(-1)
    bad, none = np.int64(-1), np.int32(n_words)
    while at < len(pages):
        at = _head(pages, at, found)
        stop, size = at + found[2], found[1]
        if is_packed:
            if not _unpacked(pages, at, stop, size, body):
                return bad
        elif size != found[2] or size > len(body) - SPARE:
            return bad
        else:
            body[:size] = pages[at:stop]
        at = stop
        if bytes_ < 0:
            bytes_ = _words(body, size, width, data, offsets)
            if bytes_ < 0:
                return bad
            continue
        n, p = found[3], np.int64(0)
        if n > len(out) - row:
            return bad
        part, count = out[row : row + n], n
        if is_optional:
            if found[5] != RLE or size < 4:
                return bad
            levels = np.int64(0)
            for j in range(4):
                levels |= np.int64(body[j]) << (8 * j)
            p = 4 + levels
            if p > size or not _runs(body, np.int64(4), p, np.int64(1), held[:n]):
                return bad
            count = np.int64(0)
            for k in range(n):
                count += held[k]
        row += n
        if count == 0:
            part[:] = n_words
            continue
        if p >= size or body[p] > 31:
            return bad
        values = part if count == n else stated[:count]
        if not _runs(body, p + 1, size, np.int64(body[p]), values):
            return bad
        most = np.int32(0)
        for k in range(count):
            most = max(most, values[k])
        if most >= n_words:
            return bad
        if count < n:
            word = np.uint64(0)
            for j in range(n):  # without a branch: nulls come as they like
                here = np.int32(held[j])
                part[j] = none + (stated[word] - none) * here
                word += np.uint64(here)
    return bytes_ if row == len(out) else bad
