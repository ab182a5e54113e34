"""Fates of lines: the order of precedence by hand, and all forms against the definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import KernelInputError, line_fate, to_device, to_host
from kernels.members._lines import slot_table
from kernels.members.line_fate import reference

FIRST_DAY = 100
SLOTS = np.array([*np.repeat(np.arange(12), 2), 255, *np.repeat(np.arange(12, 24), 2)], np.uint8)
LINE = {
    "cents": np.int64,
    "incurred_day": np.int32,
    "paid_day": np.int32,
    "category": np.uint8,
    "kind": np.uint8,
    "table": np.uint8,
    "file": np.uint16,
}
SCALARS = {
    "first_day": FIRST_DAY,
    "cutoff_day": 500,
    "kind_bits": 0b0101,
    "never_bits": 0b0010,
    "n_tables": 2,
    "n_files": 3,
}


def case_of(
    members: list[list[Any]], cells: Any, standing: Any, rule: Any, enrolled: Any = 0b111111111111
) -> dict[str, Any]:
    lines = [line for member in members for line in member]
    case: dict[str, Any] = {
        name: np.array([line[i] for line in lines], kind)
        for i, (name, kind) in enumerate(LINE.items())
    }
    n = len(members)
    case["offsets"] = np.cumsum([0, *map(len, members)], dtype=np.int64)
    case["enrolled"] = np.broadcast_to(np.array(enrolled, np.uint16), 2 * n).reshape(2, n).copy()
    case["month_cell"] = np.array(cells, np.uint8).reshape(2, n, 12)
    case["standing"] = np.array(standing, np.uint8).reshape(2, n)
    case["rule"] = np.array(rule, np.int32).reshape(2, n)
    case["slot_of_day"] = SLOTS
    case["include_bits"] = np.array([0b0011, 0b1100], np.uint32)
    return case


def fate(standing: int = 2, rule: int = 0, cell: int = 0, enrolled: int = 1, **changes: int) -> int:
    line = {
        "cents": 1,
        "incurred_day": FIRST_DAY,
        "paid_day": 0,
        "category": 0,
        "kind": 0,
        "table": 0,
        "file": 0,
        **changes,
    }
    case = case_of([[tuple(line.values())]], [cell] * 24, [standing] * 2, [rule] * 2, enrolled)
    return int(line_fate(**case, **SCALARS)[0][0])


def test_a_line_meets_the_first_fate_that_applies() -> None:
    """Each case adds the next fate's reason to the ones after it."""
    every: dict[str, int] = {"category": 3}
    assert fate() == 7
    assert fate(**every) == 6
    assert fate(standing=1, **every) == 5
    assert fate(standing=0, **every) == 4
    every["kind"] = 1
    assert fate(standing=0, **every) == 3
    assert fate(standing=0, enrolled=0, **every) == 2
    every["incurred_day"] = FIRST_DAY - 1
    assert fate(standing=0, enrolled=0, **every) == 1
    every["paid_day"] = 501
    assert fate(standing=0, enrolled=0, **every) == 0


def test_a_month_that_does_not_count_excludes_its_lines() -> None:
    assert fate(cell=255) == 4
    assert fate(cell=255, enrolled=0) == 2
    assert fate(incurred_day=FIRST_DAY + 2) == 2
    assert fate(incurred_day=FIRST_DAY + 2, enrolled=0b10) == 7


def test_a_supplemental_line_is_an_excluded_service() -> None:
    assert fate(kind=3) == 6


def test_a_member_is_held_to_the_rule_set_of_the_group() -> None:
    assert fate(rule=1) == 6
    assert fate(rule=1, category=2) == 7


def test_rule_sets_are_not_numbered_by_a_byte() -> None:
    case = case_of([[(1, FIRST_DAY, 0, 0, 0, 0, 0)]], [0] * 24, [2, 2], [299, 0])
    case["include_bits"] = np.array([*[0] * 299, 1], np.uint32)
    assert line_fate(**case, **SCALARS)[0].tolist() == [7]


days = st.integers(-3, 54).map(lambda day: FIRST_DAY + day)
lines = st.tuples(
    st.integers(-(2**40), 2**40),
    days,
    st.integers(498, 502),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 1),
    st.integers(0, 2),
)


@st.composite
def cases(draw: Any) -> dict[str, Any]:
    members = draw(st.lists(st.lists(lines, max_size=7), min_size=1, max_size=4))
    n = 2 * len(members)
    cells = draw(st.lists(st.sampled_from([0, 1, 255]), min_size=12 * n, max_size=12 * n))
    standing = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    rule = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    enrolled = draw(st.lists(st.integers(0, 2**12 - 1), min_size=n, max_size=n))
    return case_of(members, cells, standing, rule, enrolled)


def same(found: Any, slow: Any) -> None:
    for one, other, kind in zip(found, slow, (np.uint8, np.int64), strict=True):
        assert one.dtype == other.dtype == kind
        assert one.tolist() == other.tolist()


@settings(max_examples=200, deadline=None)
@given(case=cases())
def test_the_fast_form_is_the_definition(case: dict[str, Any]) -> None:
    same(line_fate(**case, **SCALARS), reference(**case, **SCALARS))


@settings(max_examples=200, deadline=None)
@given(case=cases())
def test_every_line_and_cent_stands_in_the_ledger_once(case: dict[str, Any]) -> None:
    found, ledger = line_fate(**case, **SCALARS)
    assert ledger[..., 0].sum() == found.size
    assert ledger[..., 1].sum() == case["cents"].sum()
    assert ledger[:, :, :, 0].sum(axis=(0, 1)).tolist() == np.bincount(found, minlength=8).tolist()


@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_the_cuda_text_is_the_definition(
    host_twin: Callable[..., list[Any]], case: dict[str, Any]
) -> None:
    slow = reference(**case, **SCALARS)
    n = len(case["offsets"]) - 1
    scalars = [
        np.int32(FIRST_DAY),
        np.int32(500),
        np.uint32(SCALARS["kind_bits"]),
        np.uint32(SCALARS["never_bits"]),
        np.int32(3),
        np.int32(len(SLOTS)),
        np.int64(n),
    ]
    out = [np.zeros_like(array) for array in slow]
    arguments = [*case.values(), *scalars, *out]
    same(host_twin("line_fate", arguments, grid=n // 4 + 1, block=4)[-2:], slow)


@pytest.mark.gpu
@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_the_gpu_is_the_definition(case: dict[str, Any]) -> None:
    found = line_fate(**{name: to_device(array) for name, array in case.items()}, **SCALARS)
    same([to_host(array) for array in found], reference(**case, **SCALARS))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cents": np.zeros(0)}, "cents: expected dtype int64"),
        ({"file": np.zeros(0, np.uint8)}, "file: expected dtype uint16"),
        ({"enrolled": np.zeros((2, 1), np.uint8)}, "enrolled: expected dtype uint16"),
        ({"standing": np.zeros((1, 1), np.uint8)}, "standing: expected shape"),
        ({"n_files": 0}, "n_files: expected at least 1"),
        ({"offsets": np.zeros(0, np.int64)}, "offsets: expected n_members"),
        ({"month_cell": np.zeros((22, 1, 12), np.uint8)}, "n_periods: expected at most 21, got 22"),
    ],
)
def test_wrong_input_is_refused(change: dict[str, Any], message: str) -> None:
    case = {**case_of([[]], [0] * 24, [0] * 2, [0] * 2), **SCALARS}
    with pytest.raises(KernelInputError, match=message):
        line_fate(**{**case, **change})


@pytest.mark.parametrize("n_periods", [1, 2, 21])
def test_days_of_no_period_have_the_slot_after_the_last(n_periods: int) -> None:
    """Up to the most periods that a byte numbers: slot 252 is not 255, the mark of no period."""
    slots = np.array([0, 12 * n_periods - 1, 255], np.uint8)
    table = slot_table(slots, n_periods)
    assert table.dtype == np.uint8
    assert table.tolist() == [0, 12 * n_periods - 1, 12 * n_periods, 12 * n_periods]
