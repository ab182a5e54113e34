"""Row and text hashes: all forms against the definition, and what a hash must tell apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import KernelInputError, row_hash, text_hash, to_device, to_host, word_mix
from kernels.rows.row_hash import reference
from kernels.rows.text_hash import reference as text_reference
from kernels.rows.word_mix import reference as mix_reference

SEEDS = np.array([0x9E3779B97F4A7C15, 0xD1B54A32D192ED03], np.uint64)
word = st.integers(0, 2**64 - 1)


@st.composite
def columns(draw: Any) -> dict[str, Any]:
    words = draw(st.lists(word, min_size=1, max_size=9))
    kind = draw(st.sampled_from([None, np.uint8, np.uint16, np.int32, np.int64]))
    index, n = None, len(words)
    if kind is not None:
        places = draw(st.lists(st.integers(0, len(words) - 1), max_size=20))
        index, n = np.array(places, kind), len(places)
    lanes = draw(st.lists(word, min_size=2 * n, max_size=2 * n))
    return {
        "lanes": np.array(lanes, np.uint64).reshape(2, n),
        "words": np.array(words, np.uint64).astype(
            draw(st.sampled_from([np.uint64, np.uint32, np.int64, np.int32]))
        ),
        "index": index,
        "seeds": SEEDS,
    }


def slow(case: dict[str, Any]) -> list[Any]:
    found: list[Any] = reference(**{**case, "lanes": case["lanes"].copy()}).tolist()
    return found


@settings(max_examples=200, deadline=None)
@given(case=columns())
def test_the_fast_form_is_the_definition(case: dict[str, Any]) -> None:
    expected = slow(case)
    assert row_hash(**case) is case["lanes"]
    assert case["lanes"].tolist() == expected


@settings(max_examples=60, deadline=None)
@given(case=columns())
def test_the_cuda_text_is_the_definition(
    host_twin: Callable[..., list[Any]], case: dict[str, Any]
) -> None:
    n, index = case["lanes"].shape[1], case["index"]
    width = np.int32(0 if index is None else index.itemsize)
    words = case["words"].astype(np.int64).view(np.uint64)
    places = words if index is None else index
    arguments = [case["lanes"], words, places, SEEDS, width, np.int64(n)]
    assert host_twin("row_hash", arguments, grid=n // 4 + 1, block=4)[0].tolist() == slow(case)


def test_a_blank_adds_nothing_and_columns_commute() -> None:
    words = np.array([0, 5, 7], np.uint64)
    lanes = row_hash(np.zeros((2, 3), np.uint64), words, None, SEEDS)
    assert lanes[:, 0].tolist() == [0, 0]
    assert lanes[:, 1:].all()
    twice = row_hash(lanes.copy(), words[::-1].copy(), None, SEEDS[::-1].copy())
    other = row_hash(np.zeros((2, 3), np.uint64), words[::-1].copy(), None, SEEDS[::-1].copy())
    assert row_hash(other, words, None, SEEDS).tolist() == twice.tolist()


@pytest.mark.gpu
@settings(max_examples=60, deadline=None)
@given(case=columns())
def test_the_gpu_is_the_definition(case: dict[str, Any]) -> None:
    there = {name: None if a is None else to_device(a) for name, a in case.items()}
    assert to_host(row_hash(**there)).tolist() == slow(case)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"words": np.zeros(2, np.uint64)}, r"words: expected shape \(3\)"),
        ({"index": np.zeros(3, np.float64)}, "index: expected dtype int32"),
        ({"lanes": np.zeros((1, 3), np.uint64)}, "lanes: expected shape"),
        ({"seeds": np.zeros(3, np.uint64)}, "seeds: expected shape"),
    ],
)
def test_wrong_input_is_refused(change: dict[str, Any], message: str) -> None:
    case = {
        "lanes": np.zeros((2, 3), np.uint64),
        "words": np.zeros(3, np.uint64),
        "index": None,
        "seeds": SEEDS,
    }
    with pytest.raises(KernelInputError, match=message):
        row_hash(**{**case, **change})


texts = st.one_of(
    st.lists(st.binary(max_size=30), max_size=12),
    st.integers(0, 20).flatmap(  # of one length, but for the last
        lambda n: st.lists(st.binary(min_size=n, max_size=n), max_size=12).flatmap(
            lambda alike: st.binary(max_size=30).map(lambda last: [*alike, last])
        )
    ),
)


def packed(found: list[bytes], kind: Any = np.int32, before: bytes = b"") -> tuple[Any, Any]:
    data = np.frombuffer(before + b"".join(found), np.uint8)
    return data, np.cumsum([len(before), *(len(text) for text in found)]).astype(kind)


@settings(max_examples=200, deadline=None)
@given(found=texts, before=st.binary(max_size=9), wide=st.booleans())
def test_fast_text_hashes_are_the_definition(
    found: list[bytes], before: bytes, *, wide: bool
) -> None:
    case = packed(found, np.int64 if wide else np.int32, before)
    assert text_hash(*case).tolist() == text_reference(*case).tolist()


@settings(max_examples=60, deadline=None)
@given(found=texts)
def test_the_cuda_text_of_text_hashes_is_the_definition(
    host_twin: Callable[..., list[Any]], found: list[bytes]
) -> None:
    data, offsets = packed(found, np.int64)
    out = np.zeros(len(found), np.uint64)
    arguments = [data, offsets, np.int64(len(found)), out]
    made = host_twin("text_hash", arguments, grid=len(found) // 4 + 1, block=4)[-1]
    assert made.tolist() == text_reference(data, offsets).tolist()


def test_texts_that_differ_in_zeros_or_cuts_have_other_hashes() -> None:
    found = [b"", b"\0", b"\0\0", b"a", b"a\0", b"ab", b"abcdefgh", b"abcdefgh\0", b"abcdefghi"]
    hashes = text_hash(*packed(found)).tolist()
    assert hashes[0] == 0
    assert len(set(hashes)) == len(found)


@pytest.mark.gpu
@settings(max_examples=60, deadline=None)
@given(found=texts)
def test_the_gpu_hashes_texts_alike(found: list[bytes]) -> None:
    data, offsets = packed(found)
    made = to_host(text_hash(to_device(data), to_device(offsets)))
    assert made.tolist() == text_reference(data, offsets).tolist()


def test_wrong_texts_are_refused() -> None:
    with pytest.raises(KernelInputError, match="offsets: expected n"):
        text_hash(np.zeros(3, np.uint8), np.zeros(0, np.int32))
    with pytest.raises(KernelInputError, match="data: expected dtype uint8"):
        text_hash(np.zeros(3, np.int8), np.zeros(1, np.int32))


mixed_words = st.lists(word, max_size=40).map(lambda found: np.array(found, np.uint64))


@settings(max_examples=200, deadline=None)
@given(words=mixed_words)
def test_the_fast_mix_is_the_definition(words: Any) -> None:
    wanted = mix_reference(words.copy()).tolist()
    assert word_mix(words) is words
    assert words.tolist() == wanted


@settings(max_examples=60, deadline=None)
@given(words=mixed_words)
def test_the_cuda_text_of_the_mix_is_the_definition(
    host_twin: Callable[..., list[Any]], words: Any
) -> None:
    arguments = [words, np.int64(len(words))]
    made = host_twin("word_mix", arguments, grid=len(words) // 4 + 1, block=4)[0]
    assert made.tolist() == mix_reference(words.copy()).tolist()


def test_the_mix_is_splitmix64() -> None:
    """The first outputs of the published generator from state 0: mixed multiples of its step."""
    step = np.uint64(0x9E3779B97F4A7C15)
    made = word_mix(np.arange(1, 4, dtype=np.uint64) * step).tolist()
    assert made == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@pytest.mark.gpu
@settings(max_examples=60, deadline=None)
@given(words=mixed_words)
def test_the_gpu_mixes_alike(words: Any) -> None:
    assert to_host(word_mix(to_device(words))).tolist() == mix_reference(words.copy()).tolist()


def test_words_that_cannot_be_mixed_are_refused() -> None:
    with pytest.raises(KernelInputError, match="words: expected dtype uint64"):
        word_mix(np.zeros(3, np.int64))
    with pytest.raises(KernelInputError, match="words: expected a writable array"):
        word_mix(np.frombuffer(bytes(8), np.uint64))
