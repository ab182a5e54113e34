"""Columns and codes in words: all forms against the definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels import KernelInputError, list_words, to_device, to_host, word_pack
from kernels.rows.list_words import _gpu as list_words_gpu
from kernels.rows.list_words import reference as slow_list_words
from kernels.rows.word_pack import KINDS
from kernels.rows.word_pack import _gpu as word_pack_gpu
from kernels.rows.word_pack import reference as slow_word_pack

word = st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1))


@st.composite
def columns(draw: Any) -> dict[str, Any]:
    """A column of any kind; what it is measured from may lie above some of its values."""
    info = np.iinfo(draw(st.sampled_from(KINDS)))
    value = st.one_of(
        st.integers(0, 3), st.integers(info.min, info.max), st.integers(info.max - 3, info.max)
    )
    values = np.array(draw(st.lists(value, max_size=20)), info.dtype)
    n = len(values)
    words = np.array(draw(st.lists(word, min_size=n, max_size=n)), np.uint64)
    least = draw(st.one_of(value, st.just(int(values.min(initial=info.max)))))
    return {"words": words, "values": values, "least": least, "shift": draw(st.integers(0, 63))}


@st.composite
def listed(draw: Any) -> dict[str, Any]:
    """Rows of few words and lists of few codes, so that neighbours often repeat one another."""
    n, k = draw(st.integers(0, 12)), draw(st.integers(1, 4))
    lists = draw(st.lists(st.lists(st.integers(0, k - 1), max_size=4), min_size=n, max_size=n))
    before = draw(st.integers(0, 2))  # codes of rows that are not among these
    codes = [*[0] * before, *(code for stated in lists for code in stated)]
    starts = before + np.cumsum([0, *map(len, lists)])
    few = st.one_of(st.integers(0, 1), word)
    return {
        "words": np.array(draw(st.lists(few, min_size=n, max_size=n)), np.uint64),
        "starts": starts.astype(np.int32),
        "codes": np.array(codes, np.int32),
        "parts": np.array(draw(st.lists(word, min_size=k, max_size=k)), np.uint64),
    }


def copied(case: dict[str, Any]) -> dict[str, Any]:
    return {**case, "words": case["words"].copy()}


def there(case: dict[str, Any]) -> dict[str, Any]:
    return {
        name: to_device(part) if isinstance(part, np.ndarray) else part
        for name, part in case.items()
    }


@settings(max_examples=300, deadline=None)
@given(case=columns())
def test_the_fast_packing_is_the_definition(case: dict[str, Any]) -> None:
    wanted = slow_word_pack(**copied(case))
    assert word_pack(**case) is case["words"]
    assert case["words"].tolist() == wanted.tolist()


@settings(max_examples=300, deadline=None)
@given(case=listed())
def test_fast_words_of_lists_are_the_definition(case: dict[str, Any]) -> None:
    made = list_words(**case)
    assert made.dtype == np.uint64
    assert made.tolist() == slow_list_words(**case).tolist()


@settings(max_examples=200, deadline=None)
@given(case=listed())
def test_no_distinct_word_is_left_out(case: dict[str, Any]) -> None:
    words, starts, codes, parts = case.values()
    every = words.repeat(np.diff(starts)) | parts[codes[starts[0] :]]
    assert set(list_words(**case).tolist()) == set(every.tolist())


def test_columns_stand_side_by_side() -> None:
    words = np.zeros(3, np.uint64)
    word_pack(words, np.array([-5, -5, 10], np.int8), -5, 4)
    word_pack(words, np.array([7, 9, 7]), 7, 0)
    assert words.tolist() == [0x00, 0x02, 0xF0]
    top = word_pack(np.zeros(2, np.uint64), np.array([-(2**63), 2**63 - 1]), -(2**63), 0)
    assert top.tolist() == [0, 2**64 - 1]


def test_a_row_leaves_out_what_the_row_before_states_at_the_same_place() -> None:
    words = np.array([16, 16, 32, 32, 32], np.uint64)
    starts = np.array([0, 2, 4, 6, 7, 9], np.int32)
    codes = np.array([1, 2, 1, 0, 1, 0, 1, 0, 0], np.int32)
    made = list_words(words, starts, codes, np.array([1, 2, 4], np.uint64))
    assert made.tolist() == [18, 20, 17, 34, 33, 33, 33]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(column=columns(), lists=listed())
def test_the_cuda_texts_are_the_definitions(
    numpy_as_cupy: Callable[[str], None], column: dict[str, Any], lists: dict[str, Any]
) -> None:
    for stem in ("word_pack", "list_words"):
        numpy_as_cupy(stem)
    wanted = slow_word_pack(**copied(column)).tolist()
    least = np.uint64(column["least"] % 2**64)
    word_pack_gpu(column["words"], column["values"], least, column["shift"])
    assert column["words"].tolist() == wanted
    assert list_words_gpu(**lists).tolist() == slow_list_words(**lists).tolist()


@pytest.mark.gpu
@settings(max_examples=60, deadline=None)
@given(column=columns(), lists=listed())
def test_the_gpu_is_the_definition(column: dict[str, Any], lists: dict[str, Any]) -> None:
    wanted = slow_word_pack(**copied(column)).tolist()
    assert to_host(word_pack(**there(column))).tolist() == wanted
    assert to_host(list_words(**there(lists))).tolist() == slow_list_words(**lists).tolist()


WORDS = np.zeros(2, np.uint64)
CODES = np.zeros(2, np.int32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: word_pack(WORDS.astype(np.int64), CODES, 0, 0), "words: expected dtype uint64"),
        (
            lambda: word_pack(np.frombuffer(bytes(16), np.uint64), CODES, 0, 0),
            "words: expected a writable array",
        ),
        (lambda: word_pack(WORDS, np.zeros(2), 0, 0), "values: expected dtype uint8"),
        (lambda: word_pack(WORDS, CODES[:1], 0, 0), r"values: expected shape \(2\)"),
        (lambda: word_pack(WORDS, CODES, 2**64, 0), r"least: expected -2\^63 to 2\^64 - 1"),
        (lambda: word_pack(WORDS, CODES, 0, 64), "shift: expected 0 to 63, got 64"),
        (lambda: list_words(WORDS, CODES, CODES, WORDS), r"starts: expected shape \(3\)"),
        (
            lambda: list_words(WORDS, np.zeros(3, np.int32), WORDS, WORDS),
            "codes: expected dtype int32",
        ),
        (
            lambda: list_words(WORDS, np.zeros(3, np.int32), CODES, CODES),
            "parts: expected dtype uint64",
        ),
    ],
)
def test_wrong_input_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(KernelInputError, match=message):
        call()
