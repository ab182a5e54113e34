"""Places in a dictionary, read from pages: what Arrow reads, or nothing; never beyond an array."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import KernelInputError, page_places

PACKED = {"snappy": True, "none": False}


class Chunk:
    """The first column of a file that pyarrow has written."""

    def __init__(self, column: pa.Array, *, nullable: bool = True, **options: Any) -> None:
        field = pa.field("x", column.type, nullable=nullable)
        sink = io.BytesIO()
        options = {"compression": "snappy", "use_dictionary": True} | options
        pq.write_table(pa.table([column], schema=pa.schema([field])), sink, **options)
        self.footer = pq.read_metadata(sink)
        found = self.footer.row_group(0).column(0)
        first = found.dictionary_page_offset or found.data_page_offset
        content = np.frombuffer(sink.getvalue(), np.uint8)
        self.pages = content[first : first + found.total_compressed_size]
        self.terms = {
            "width": 0 if pa.types.is_string(column.type) else 4,
            "most": found.total_uncompressed_size,
            "is_packed": PACKED[str(options["compression"])],
            "is_optional": nullable,
        }
        self.n = len(column)

    def read(self, pages: Any = None) -> tuple[Any, list[int], list[bytes]] | None:
        """What the kernel makes of these pages: places, and words as bytes."""
        out = np.full(self.n + 8, -7, np.int32)
        made = page_places(self.pages if pages is None else pages, out[: self.n], **self.terms)
        assert (out[self.n :] == -7).all()
        if made is None:
            return None
        data, ends = made
        words = [bytes(data[a:b]) for a, b in pairwise(ends)]
        return made, out[: self.n].tolist(), words


def texts(words: list[str | None], n: int, seed: int, run: int) -> pa.Array:
    """Rows of these words, each some times in a row."""
    picked = np.random.default_rng(seed).integers(0, len(words), -(-n // run)).repeat(run)[:n]
    return pa.array([words[k] for k in picked], pa.string())


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 3_000),
    n_words=st.integers(1, 700),
    run=st.sampled_from([1, 3, 40, 5_000]),
    is_sparse=st.booleans(),
    nullable=st.booleans(),
    compression=st.sampled_from(sorted(PACKED)),
    page=st.sampled_from([64, 4_096, 1 << 20]),
    seed=st.integers(0, 99),
)
def test_places_are_what_arrow_reads(
    n: int, n_words: int, run: int, is_sparse: bool, nullable: bool, compression: str,
    page: int, seed: int,
) -> None:  # fmt: skip
    """Long runs and none, few words and many, one page and hundreds, nulls and none."""
    words: list[str | None] = [f"w{k % 97:0{1 + k % 9}}é{k}" for k in range(n_words)]
    words += [None] * n_words if is_sparse and nullable else []
    column = texts(words, n, seed, run)
    chunk = Chunk(column, nullable=nullable, compression=compression, data_page_size=page,
                  dictionary_pagesize_limit=1 << 22)  # fmt: skip
    made = chunk.read()
    assert made is not None
    _, places, known = made
    assert [None if k == len(known) else known[k].decode() for k in places] == column.to_pylist()


def test_days_are_places_among_days() -> None:
    column = pa.array([19_000, None, 19_001, 19_000] * 50, pa.int32()).cast(pa.date32())
    made = Chunk(column).read()
    assert made is not None
    (data, _), places, _ = made
    assert data.view(np.int32).tolist() == [19_000, 19_001]
    assert places == [0, 2, 1, 0] * 50


def test_a_column_of_nulls_has_no_word() -> None:
    made = Chunk(pa.nulls(9, pa.string())).read()
    assert made is None or made[1:] == ([0] * 9, [])


@pytest.mark.parametrize(
    "options",
    [
        {"use_dictionary": False},
        {"data_page_version": "2.0"},
        {"write_page_checksum": True},
        {"dictionary_pagesize_limit": 64, "data_page_size": 64},
    ],
    ids=["plain", "version 2", "checksums", "a dictionary that was given up"],
)
def test_what_is_not_of_the_usual_kind_is_left_alone(options: dict[str, Any]) -> None:
    column = texts([f"word {k}" for k in range(400)], 2_000, 1, 1)
    assert Chunk(column, **options).read() is None


@settings(max_examples=400, deadline=None)
@given(data=st.data(), compression=st.sampled_from(sorted(PACKED)), run=st.sampled_from([1, 30]))
def test_damaged_pages_are_read_or_left_and_nothing_else(
    data: st.DataObject, compression: str, run: int
) -> None:
    """Any bytes: None, or places of words that are there. Nothing behind the rows is written."""
    words: list[str | None] = [*(f"{k:05}" for k in range(90)), None]
    chunk = Chunk(texts(words, 700, 3, run), compression=compression, data_page_size=256)
    pages = chunk.pages.copy()
    head = st.integers(0, min(120, len(pages) - 1))
    anywhere = st.integers(0, len(pages) - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        pages[data.draw(st.one_of(head, anywhere))] = data.draw(st.integers(0, 255))
    pages = pages[: data.draw(st.one_of(st.just(len(pages)), anywhere))]
    made = chunk.read(np.ascontiguousarray(pages))
    if made is not None:
        _, places, known = made
        assert 0 <= min(places) <= max(places) <= len(known)


def test_a_page_larger_than_it_may_be_is_left_alone() -> None:
    chunk = Chunk(texts(["a" * 200, "b" * 200], 500, 5, 1))
    chunk.terms["most"] = 100
    assert chunk.read() is None


def test_other_arrays_are_refused() -> None:
    chunk = Chunk(texts(["a", "b"], 10, 1, 1))
    with pytest.raises(KernelInputError, match="out"):
        page_places(chunk.pages, np.empty(10, np.int64), **chunk.terms)
    with pytest.raises(KernelInputError, match="pages"):
        page_places(chunk.pages.view(np.int8), np.empty(10, np.int32), **chunk.terms)
