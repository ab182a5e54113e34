"""Decimals of 128 bits as integers: all forms against the definition."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels import KernelInputError, decimal_units, to_device, to_host
from kernels.rows.decimal_units import _gpu as decimal_units_gpu
from kernels.rows.decimal_units import reference

value = st.one_of(
    st.integers(-3, 3), st.integers(-(2**63) - 2, 2**63 + 2), st.integers(-(2**127), 2**127 - 1)
)


@st.composite
def columns(draw: Any) -> dict[str, Any]:
    values = draw(st.lists(value, max_size=20))
    raw = b"".join(one.to_bytes(16, "little", signed=True) for one in values)
    first, valid = 0, None
    if draw(st.booleans()):
        first = draw(st.integers(0, 9))
        size = -(-(first + len(values)) // 8)
        valid = np.frombuffer(draw(st.binary(min_size=size, max_size=size + 1)), np.uint8)
    limit = draw(st.sampled_from([0, 2, 10**12, 2**63 - 1]))
    return {"words": np.frombuffer(raw, np.int64), "valid": valid, "first": first, "limit": limit}


def lists(found: Any) -> list[Any]:
    return [to_host(found.units).tolist(), to_host(found.blank).tolist(), found.n_beyond]


@settings(max_examples=300, deadline=None)
@given(case=columns())
def test_the_fast_form_is_the_definition(case: dict[str, Any]) -> None:
    made = decimal_units(**case)
    assert (made.units.dtype, made.blank.dtype) == (np.int64, np.bool_)
    assert lists(made) == lists(reference(**case))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(case=columns())
def test_the_cuda_text_is_the_definition(
    numpy_as_cupy: Callable[[str], None], case: dict[str, Any]
) -> None:
    numpy_as_cupy("decimal_units")
    assert lists(decimal_units_gpu(**case)) == lists(reference(**case))


@given(
    values=st.lists(st.none() | st.integers(-(10**12), 10**12), max_size=20),
    start=st.integers(0, 5),
)
def test_it_reads_what_arrow_writes(values: list[int | None], start: int) -> None:
    stated = [None if v is None else Decimal(v).scaleb(-2) for v in values]
    array = pa.array(stated, pa.decimal128(20, 2))[start:]
    validity, data = array.buffers()
    words = np.frombuffer(data, np.int64, 2 * len(array), 16 * array.offset)
    valid = None if validity is None else np.frombuffer(validity, np.uint8)
    found = decimal_units(words, valid, array.offset, 10**12)
    wanted = values[start:]
    assert found.units.tolist() == [v or 0 for v in wanted]
    assert found.blank.tolist() == [v is None for v in wanted]
    assert found.n_beyond == 0


@pytest.mark.gpu
@settings(max_examples=60, deadline=None)
@given(case=columns())
def test_the_gpu_is_the_definition(case: dict[str, Any]) -> None:
    there = {
        name: to_device(part) if isinstance(part, np.ndarray) else part
        for name, part in case.items()
    }
    assert lists(decimal_units(**there)) == lists(reference(**case))


WORDS = np.zeros(4, np.int64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: decimal_units(WORDS.view(np.uint64), None, 0, 9), "words: expected dtype int64"),
        (lambda: decimal_units(WORDS[:3], None, 0, 9), "words: expected two a decimal, got 3"),
        (lambda: decimal_units(WORDS, None, 0, 2**63), r"limit: expected 0 to 2\^63 - 1"),
        (lambda: decimal_units(WORDS, np.ones(1, bool), 0, 9), "valid: expected dtype uint8"),
        (
            lambda: decimal_units(WORDS, np.ones(1, np.uint8), 7, 9),
            "first: expected 2 bits from it on, got 7",
        ),
    ],
)
def test_wrong_input_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(KernelInputError, match=message):
        call()
