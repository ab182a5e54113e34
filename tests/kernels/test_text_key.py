"""Keys of texts: all forms against BLAKE2b as Python has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import KernelInputError, text_key, to_device, to_host
from kernels.rows.text_key import reference

long = st.integers(120, 270).flatmap(lambda n: st.binary(min_size=n, max_size=n))
texts = st.lists(st.one_of(st.binary(max_size=20), long), max_size=20)  # eight at a time
persons = st.binary(min_size=16, max_size=16).map(lambda raw: np.frombuffer(raw, "<u8"))


def packed(found: list[bytes], kind: Any = np.int32, before: bytes = b"") -> tuple[Any, Any]:
    data = np.frombuffer(before + b"".join(found), np.uint8)
    return data, np.cumsum([len(before), *(len(text) for text in found)]).astype(kind)


@settings(max_examples=200, deadline=None)
@given(found=texts, before=st.binary(max_size=9), person=persons, wide=st.booleans())
def test_the_fast_form_is_the_definition(
    found: list[bytes], before: bytes, person: Any, *, wide: bool
) -> None:
    case = (*packed(found, np.int64 if wide else np.int32, before), person)
    made = text_key(*case)
    assert made.dtype == np.uint64
    assert made.tolist() == reference(*case).tolist()


@settings(max_examples=60, deadline=None)
@given(found=texts, person=persons)
def test_the_cuda_text_is_the_definition(
    host_twin: Callable[..., list[Any]], found: list[bytes], person: Any
) -> None:
    data, offsets = packed(found, np.int64)
    arguments = [data, offsets, person, np.int64(len(found)), np.zeros(len(found), np.uint64)]
    made = host_twin("text_key", arguments, grid=len(found) // 4 + 1, block=4)[-1]
    assert made.tolist() == reference(data, offsets, person).tolist()


@pytest.mark.parametrize("size", [0, 1, 127, 128, 129, 256, 257])
def test_a_text_of_whole_blocks_has_no_empty_last_block(size: int) -> None:
    case = (*packed([b"a" * size]), np.zeros(2, np.uint64))
    assert text_key(*case).tolist() == reference(*case).tolist()


@pytest.mark.gpu
@settings(max_examples=60, deadline=None)
@given(found=texts, person=persons)
def test_the_gpu_is_the_definition(found: list[bytes], person: Any) -> None:
    case = (*packed(found), person)
    made = to_host(text_key(*(to_device(array) for array in case)))
    assert made.tolist() == reference(*case).tolist()


def test_wrong_input_is_refused() -> None:
    person = np.zeros(2, np.uint64)
    with pytest.raises(KernelInputError, match="offsets: expected n"):
        text_key(np.zeros(3, np.uint8), np.zeros(0, np.int32), person)
    with pytest.raises(KernelInputError, match="data: expected dtype uint8"):
        text_key(np.zeros(3, np.int8), np.zeros(1, np.int32), person)
    with pytest.raises(KernelInputError, match=r"person: expected shape \(2\)"):
        text_key(np.zeros(3, np.uint8), np.zeros(1, np.int32), np.zeros(1, np.uint64))
