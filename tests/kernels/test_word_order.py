"""Orders, places and first rows: all forms against the definition, on words that often meet."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels import (
    KernelInputError,
    first_row,
    key_place,
    least_words,
    to_device,
    to_host,
    word_order,
)
from kernels.rows.first_row import _gpu as first_row_gpu
from kernels.rows.first_row import reference as slow_first_row
from kernels.rows.key_place import _gpu as key_place_gpu
from kernels.rows.key_place import reference as slow_key_place
from kernels.rows.least_words import _gpu as least_words_gpu
from kernels.rows.least_words import reference as slow_least_words
from kernels.rows.word_order import _gpu as word_order_gpu
from kernels.rows.word_order import reference as slow_word_order

few = st.integers(0, 3)
word = st.one_of(few, st.integers(0, 2**64 - 1), st.integers(2**64 - 3, 2**64 - 1))


@st.composite
def ordered(draw: Any) -> tuple[Any, int]:
    """Words of some width; long ones come from a seed, so that whole pieces are sorted."""
    bits = draw(st.integers(0, 64))
    if draw(st.booleans()):
        size = draw(st.integers(0, 3000))
        made = np.random.default_rng(draw(st.integers(0, 99))).integers(
            0, 2**64, size, np.uint64, endpoint=False
        )
        made >>= np.uint64(draw(st.integers(0, 63)))  # fewer distinct words
    else:
        made = np.array(draw(st.lists(word, max_size=40)), np.uint64)
    return made & np.uint64(2**bits - 1), bits


@st.composite
def paired(draw: Any) -> tuple[Any, Any]:
    pairs = draw(st.lists(st.tuples(word, word), max_size=40))
    both = np.array(pairs, np.uint64).reshape(-1, 2)
    return both[:, 0].copy(), both[:, 1].copy()


@st.composite
def asked(draw: Any) -> tuple[Any, Any]:
    table = sorted(draw(st.sets(word, max_size=20)))
    keys = draw(st.lists(st.sampled_from(table) if table else word, max_size=20))
    keys += draw(st.lists(word, max_size=10))
    return np.array(keys, np.uint64), np.array(table, np.uint64)


def lists(found: Any) -> list[Any]:
    return [found.order.tolist(), found.words.tolist()]


@settings(max_examples=200, deadline=None)
@given(case=ordered())
def test_the_fast_order_is_the_definition(case: tuple[Any, int]) -> None:
    before = case[0].copy()
    found = word_order(*case)
    assert (found.order.dtype, found.words.dtype) == (np.int64, np.uint64)
    assert lists(found) == lists(slow_word_order(*case))
    assert (case[0] == before).all()


@settings(max_examples=200, deadline=None)
@given(case=ordered(), shift=st.integers(0, 63))
def test_fast_least_words_are_the_definition(case: tuple[Any, int], shift: int) -> None:
    before = case[0].copy()
    found = least_words(*case, shift)
    assert found.dtype == np.uint64
    assert found.tolist() == slow_least_words(*case, shift).tolist()
    assert (case[0] == before).all()


@settings(max_examples=200, deadline=None)
@given(case=paired())
def test_fast_first_rows_are_the_definition(case: tuple[Any, Any]) -> None:
    found = first_row(*case)
    assert found.dtype == np.int64
    assert found.tolist() == slow_first_row(*case).tolist()


@settings(max_examples=200, deadline=None)
@given(case=asked())
def test_fast_places_are_the_definition(case: tuple[Any, Any]) -> None:
    found = key_place(*case)
    assert found.dtype == np.int32
    assert found.tolist() == slow_key_place(*case).tolist()


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(case=ordered(), other=paired(), third=asked())
def test_the_cuda_texts_are_the_definitions(
    numpy_as_cupy: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    case: tuple[Any, int],
    other: tuple[Any, Any],
    third: tuple[Any, Any],
) -> None:
    for stem in ("word_order", "least_words", "first_row", "key_place"):
        numpy_as_cupy(stem)
    monkeypatch.setattr(sys.modules["kernels.rows.word_order"], "_GPU_CHUNK", 5)
    words = case[0][:200]
    assert lists(word_order_gpu(words, case[1])) == lists(slow_word_order(words, case[1]))
    found = least_words_gpu(words, case[1], case[1] // 2)
    assert found.tolist() == slow_least_words(words, case[1], case[1] // 2).tolist()
    assert first_row_gpu(*other).tolist() == slow_first_row(*other).tolist()
    assert key_place_gpu(*third).tolist() == slow_key_place(*third).tolist()


@pytest.mark.gpu
@settings(max_examples=60, deadline=None)
@given(case=ordered(), other=paired(), third=asked())
def test_the_gpu_is_the_definition(
    case: tuple[Any, int], other: tuple[Any, Any], third: tuple[Any, Any]
) -> None:
    found = word_order(to_device(case[0]), case[1])
    host = [to_host(found.order).tolist(), to_host(found.words).tolist()]
    assert host == lists(slow_word_order(*case))
    least = to_host(least_words(to_device(case[0]), case[1], 3))
    assert least.tolist() == slow_least_words(*case, 3).tolist()
    made = to_host(first_row(*(to_device(array) for array in other)))
    assert made.tolist() == slow_first_row(*other).tolist()
    placed = to_host(key_place(*(to_device(array) for array in third)))
    assert placed.tolist() == slow_key_place(*third).tolist()


def test_wrong_input_is_refused() -> None:
    words = np.zeros(3, np.uint64)
    with pytest.raises(KernelInputError, match="words: expected dtype uint64"):
        word_order(words.astype(np.int64), 3)
    with pytest.raises(KernelInputError, match="bits: expected 0 to 64, got 65"):
        word_order(words, 65)
    with pytest.raises(KernelInputError, match="bits: expected 0 to 64, got -1"):
        least_words(words, -1, 3)
    with pytest.raises(KernelInputError, match="shift: expected 0 to 63, got 64"):
        least_words(words, 3, 64)
    with pytest.raises(KernelInputError, match="within: expected shape"):
        first_row(words, np.zeros(2, np.uint64))
    with pytest.raises(KernelInputError, match="table: expected dtype uint64"):
        key_place(words, np.zeros(2, np.int64))
