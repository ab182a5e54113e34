"""Enrolled months: hand-worked spans, and all forms against the definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import KernelInputError, enrolled_months, to_device, to_host
from kernels.members.enrolled_months import EnrolledMonths, reference

JANUARY = 24_288
SCALARS = {"january": JANUARY, "exclude": 0b0011, "n_cells": 4}
Span = tuple[int, int, int, int]  # first month from January, months, cell, flags


def case_of(members: list[tuple[list[Span], int, int, int]]) -> dict[str, Any]:
    """Kernel inputs of members: spans, alive from, alive to, from month."""
    spans = [span for member in members for span in member[0]]
    return {
        "first_month": np.array([JANUARY + span[0] for span in spans], np.int32),
        "n_months": np.array([span[1] for span in spans], np.int32),
        "rate_cell": np.array([span[2] for span in spans], np.uint8),
        "flags": np.array([span[3] for span in spans], np.uint8),
        "offsets": np.cumsum([0, *(len(member[0]) for member in members)], dtype=np.int64),
        "alive_from": np.array([member[1] for member in members], np.uint8),
        "alive_to": np.array([member[2] for member in members], np.uint8),
        "from_month": np.array([member[3] for member in members], np.uint8),
        "flag_bits": np.array([1, 2, 4], np.uint8),
    }


def months(*spans: Span, alive: tuple[int, int] = (0, 12), after: int = 0) -> list[int]:
    found = enrolled_months(**case_of([(list(spans), *alive, after)]), **SCALARS)
    assert found.months[:, 0].sum() == (found.month_cell[0] != 255).sum()
    return found.month_cell[0].tolist()


def test_a_span_is_cut_to_the_year() -> None:
    assert months((-6, 24, 2, 0)) == [2] * 12
    assert months((-6, 6, 2, 0)) == [255] * 12
    assert months((10, 9, 1, 0)) == [255] * 10 + [1, 1]


def test_a_change_of_cell_splits_the_year() -> None:
    assert months((0, 4, 0, 0), (4, 8, 3, 0)) == [0] * 4 + [3] * 8


def test_months_before_birth_and_after_death_are_none() -> None:
    assert months((0, 12, 0, 0), alive=(3, 10)) == [255] * 3 + [0] * 7 + [255] * 2


def test_a_span_stands_before_birth_and_after_death() -> None:
    found = enrolled_months(**case_of([([(-2, 7, 0, 1), (10, 9, 0, 0)], 3, 11, 0)]), **SCALARS)
    assert found.spanned.tolist() == [0b110000011111]
    assert found.covered.tolist() == [0b010000011000]


def test_flags_and_masks_name_the_months() -> None:
    spans = [(0, 3, 0, 1), (3, 3, 0, 4), (6, 2, 1, 6)]
    found = enrolled_months(**case_of([(spans, 0, 12, 4)]), **SCALARS)
    assert found.spanned.tolist() == found.covered.tolist() == [0b11111111]
    assert found.countable.tolist() == [0b111000]
    assert found.flagged[:, 0].tolist() == [0b111, 0b11000000, 0b11111000]
    assert found.month_cell[0].tolist() == [255] * 4 + [0] * 2 + [255] * 6


@st.composite
def members(draw: Any) -> tuple[list[Span], int, int, int]:
    """Spans that do not overlap, as ingest makes them."""
    at, spans = draw(st.integers(-14, 12)), []
    for _ in range(draw(st.integers(0, 5))):
        length = draw(st.integers(1, 14))
        spans.append((at, length, draw(st.integers(0, 3)), draw(st.integers(0, 15))))
        at += length + draw(st.integers(0, 3))
    month = st.integers(0, 12)
    return spans, draw(month), draw(month), draw(month)


cases = st.lists(members(), max_size=5).map(case_of)


def same(found: Any, slow: EnrolledMonths) -> None:
    for name, one, other in zip(EnrolledMonths._fields, found, slow, strict=True):
        assert one.dtype == other.dtype
        assert one.tolist() == other.tolist(), name


@settings(max_examples=200, deadline=None)
@given(case=cases)
def test_the_fast_form_is_the_definition(case: dict[str, Any]) -> None:
    same(enrolled_months(**case, **SCALARS), reference(**case, **SCALARS))


@settings(max_examples=60, deadline=None)
@given(case=cases)
def test_the_cuda_text_is_the_definition(
    host_twin: Callable[..., list[Any]], case: dict[str, Any]
) -> None:
    slow = reference(**case, **SCALARS)
    n = len(case["offsets"]) - 1
    scalars = [np.int32(3), np.int32(JANUARY), np.int32(0b0011), np.int64(n)]
    out = [np.full_like(slow.month_cell, 255), *(np.zeros_like(array) for array in slow[1:])]
    arguments = [*case.values(), *scalars, *out]
    same(host_twin("enrolled_months", arguments, grid=n // 4 + 1, block=4)[-6:], slow)


@pytest.mark.gpu
@settings(max_examples=60, deadline=None)
@given(case=cases)
def test_the_gpu_is_the_definition(case: dict[str, Any]) -> None:
    there = {name: to_device(array) for name, array in case.items()}
    found = enrolled_months(**there, **SCALARS)
    same([to_host(array) for array in found], reference(**case, **SCALARS))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_months": np.zeros(1, np.int64)}, "n_months: expected dtype int32"),
        ({"alive_to": np.zeros(2, np.uint8)}, r"alive_to: expected shape \(1\)"),
        ({"offsets": np.zeros(0, np.int64)}, "offsets: expected n_members"),
        ({"exclude": 256}, "exclude: expected 0 to 255"),
        ({"n_cells": 0}, "n_cells: expected 1 to 32"),
    ],
)
def test_wrong_input_is_refused(change: dict[str, Any], message: str) -> None:
    case = {**case_of([([(0, 1, 0, 0)], 0, 12, 0)]), **SCALARS}
    with pytest.raises(KernelInputError, match=message):
        enrolled_months(**{**case, **change})
