"""Roster matching: hand-worked cases, and all forms against the definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import KernelInputError, roster_match, to_device, to_host
from kernels.members.roster_match import reference

VISIT = {
    "rendering_npi": np.int32,
    "billing_npi": np.int32,
    "tin": np.int32,
    "day": np.int32,
    "paid_day": np.int32,
    "procedure": np.int32,
    "place": np.uint8,
    "marks": np.uint8,
}
ENTRY = {
    "entry_tin": np.int32,
    "entry_start": np.int32,
    "entry_end": np.int32,
    "entry_group": np.int32,
    "entry_kind": np.uint8,
}
N_NPI = 4


def case_of(visits: list[tuple[int, ...]], entries: list[tuple[int, ...]]) -> dict[str, Any]:
    """Kernel inputs of visits, and of entries (npi, tin, start, end, group, kind)."""
    visits = [(*visit, *(0, 0)[len(visit) - 6 :]) for visit in visits]
    entries = sorted(entries, key=lambda entry: entry[0])
    npi = np.array([entry[0] for entry in entries], np.int64)
    first = np.concatenate([[0], np.cumsum(np.bincount(npi, minlength=N_NPI))])
    case: dict[str, Any] = {}
    for i, (name, kind) in enumerate(VISIT.items()):
        case[name] = np.array([visit[i] for visit in visits], kind)
    case["npi_first"] = first.astype(np.int32)
    for i, (name, kind) in enumerate(ENTRY.items(), start=1):
        case[name] = np.array([entry[i] for entry in entries], kind)
    case["class_of"] = np.array([0, 1, 2, 2], np.uint8)
    case["place_marks"] = np.zeros(256, np.uint8)
    case["place_marks"][[1, 2]] = 1, 4
    case["barred"] = np.array([0, 2, 7], np.uint8)
    case["step_of"] = np.array([[0, 0], [1, 0], [2, 3]], np.uint8)
    return case


WINDOW = {"first_day": 10, "end_day": 20, "cutoff_day": 30}


def match(visit: tuple[int, ...], *entries: tuple[int, ...]) -> tuple[int, int]:
    group, step = roster_match(**case_of([visit], list(entries)), **WINDOW)
    return int(group[0]), int(step[0])


def test_the_rendering_provider_goes_before_the_billing_one() -> None:
    both = ((1, -1, 0, 99, 5, 0), (2, -1, 0, 99, 6, 1))
    assert match((1, 2, 0, 15, 15, 2), *both) == (5, 2)
    assert match((2, 1, 0, 15, 15, 2), *both) == (6, 3)


def test_a_rendering_provider_off_the_roster_leaves_it_to_the_billing_one() -> None:
    assert match((3, 2, 0, 15, 15, 2), (2, -1, 0, 99, 6, 1)) == (6, 3)
    assert match((0, 2, 0, 15, 15, 2), (2, -1, 0, 99, 6, 1)) == (6, 3)


def test_a_tin_of_an_entry_must_be_the_visits() -> None:
    assert match((1, 0, 7, 15, 15, 2), (1, 7, 0, 99, 5, 0)) == (5, 2)
    assert match((1, 0, 8, 15, 15, 2), (1, 7, 0, 99, 5, 0)) == (-1, 0)


def test_an_entry_ends_before_its_end_day() -> None:
    assert match((1, 0, 0, 14, 15, 2), (1, -1, 0, 15, 5, 0)) == (5, 2)
    assert match((1, 0, 0, 15, 15, 2), (1, -1, 0, 15, 5, 0)) == (-1, 0)


def test_days_outside_the_window_and_late_payments_do_not_count() -> None:
    entry = (1, -1, 0, 99, 5, 0)
    for day, paid in ((9, 9), (20, 20), (15, 31)):
        assert match((1, 0, 0, day, paid, 2), entry) == (-1, 0)
    assert match((1, 0, 0, 15, -(2**31), 2), entry) == (5, 2)


def test_a_class_that_serves_no_step_does_not_count() -> None:
    assert match((1, 0, 0, 15, 15, 1), (1, -1, 0, 99, 5, 1)) == (-1, 0)


def test_marks_of_a_visit_or_its_place_bar_the_classes_that_say_so() -> None:
    entry = (1, -1, 0, 99, 5, 0)
    first = (1, 0, 0, 15, 15)
    assert match((*first, 2, 0, 0), entry) == (5, 2)
    assert match((*first, 2, 0, 1), entry) == (-1, 0), "the visit's own mark"
    assert match((*first, 2, 2, 0), entry) == (-1, 0), "its place's"
    assert match((*first, 2, 0, 8), entry) == (5, 2), "a mark that nothing asks for"
    assert match((*first, 1, 2, 1), entry) == (5, 1), "another class asks for another mark"
    assert match((*first, 1, 2, 2), entry) == (-1, 0)


npi = st.integers(0, N_NPI - 1)
day = st.integers(8, 22)
visits = st.tuples(
    npi, npi, st.integers(0, 2), day, st.integers(25, 32), st.integers(0, 3), st.integers(0, 3),
    st.integers(0, 15),
)  # fmt: skip
entries = st.tuples(npi, st.integers(-2, 2), day, day, st.integers(0, 3), st.integers(0, 1))
cases = st.builds(case_of, st.lists(visits, max_size=12), st.lists(entries, max_size=8))


@settings(max_examples=200, deadline=None)
@given(case=cases)
def test_the_fast_form_is_the_definition(case: dict[str, Any]) -> None:
    fast = roster_match(**case, **WINDOW)
    slow = reference(**case, **WINDOW)
    for one, other, kind in zip(fast, slow, (np.int32, np.uint8), strict=True):
        assert one.dtype == other.dtype == kind
        assert one.tolist() == other.tolist()


@settings(max_examples=60, deadline=None)
@given(case=cases)
def test_the_cuda_text_is_the_definition(
    host_twin: Callable[..., list[Any]], case: dict[str, Any]
) -> None:
    n = len(case["day"])
    out = [np.full(n, 9, np.int32), np.full(n, 9, np.uint8)]
    scalars = [np.int32(2), *map(np.int32, WINDOW.values()), np.int64(n)]
    arguments = [*case.values(), *scalars, *out]
    found = host_twin("roster_match", arguments, grid=n // 4 + 1, block=4)[-2:]
    for one, other in zip(found, reference(**case, **WINDOW), strict=True):
        assert one.tolist() == other.tolist()


@pytest.mark.gpu
@settings(max_examples=60, deadline=None)
@given(case=cases)
def test_the_gpu_is_the_definition(case: dict[str, Any]) -> None:
    there = {name: to_device(array) for name, array in case.items()}
    found = roster_match(**there, **WINDOW)
    for one, other in zip(found, reference(**case, **WINDOW), strict=True):
        assert to_host(one).tolist() == other.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tin": np.zeros(1, np.int64)}, "tin: expected dtype int32"),
        ({"procedure": np.zeros(2, np.int32)}, r"procedure: expected shape \(1\)"),
        ({"place": np.zeros(1, np.int32)}, "place: expected dtype uint8"),
        ({"marks": np.zeros(2, np.uint8)}, r"marks: expected shape \(1\)"),
        ({"class_of": np.zeros(4, np.int32)}, "class_of: expected dtype uint8"),
        ({"place_marks": np.zeros(255, np.uint8)}, r"place_marks: expected shape \(256\)"),
        ({"barred": np.zeros(2, np.uint8)}, r"barred: expected shape \(3\)"),
        ({"npi_first": np.zeros(0, np.int32)}, "npi_first: expected n_npi"),
        ({"entry_kind": np.zeros(3, np.uint8)}, "entry_kind: expected shape"),
        ({"step_of": np.zeros(3, np.uint8)}, "step_of: expected shape"),
    ],
)
def test_wrong_input_is_refused(change: dict[str, Any], message: str) -> None:
    case = case_of([(1, 0, 0, 15, 15, 2)], [(1, -1, 0, 99, 5, 0)])
    with pytest.raises(KernelInputError, match=message):
        roster_match(**{**case, **change}, **WINDOW)
