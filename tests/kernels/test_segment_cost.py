"""Cost sums, caps and their allocation: hand-worked cases, and all forms against the definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import KernelInputError, segment_cost, to_device, to_host
from kernels.members._segments import MICRO
from kernels.members.segment_cost import SegmentCost, reference

FIRST_DAY = 100  # two periods of 12 months of two days, with a gap of three days between
SLOTS = np.array(
    [*np.repeat(np.arange(12), 2), 255, 255, 255, *np.repeat(np.arange(12, 24), 2)], np.uint8
)
LINE = {
    "amount_cents": np.int64,
    "paid_cents": np.int64,
    "incurred_day": np.int32,
    "paid_day": np.int32,
    "category": np.uint8,
    "kind": np.uint8,
}
SCALARS = {
    "first_day": FIRST_DAY,
    "kind_bits": 0b0101,
    "paid_kind_bits": 0b1101,
    "n_cells": 3,
    "n_categories": 4,
}
RULE = {
    "include_bits": np.uint32,
    "cap_cents": np.int64,
    "keep_micro": np.int64,
    "floor_at_zero": np.bool_,
    "prorate_cap": np.bool_,
}
CUTOFFS = np.array([500, 499, 501, 500, 500], np.int32)
Line = tuple[int, ...]


def case_of(members: list[list[Line]], cells: Any, rules: list[tuple[int, ...]]) -> dict[str, Any]:
    """Kernel inputs of members' lines, cells [periods, members, 12] and rule sets."""
    lines = [line for member in members for line in member]
    case: dict[str, Any] = {
        name: np.array([line[i] for line in lines], kind)
        for i, (name, kind) in enumerate(LINE.items())
    }
    case["offsets"] = np.cumsum([0, *map(len, members)], dtype=np.int64)
    case["month_cell"] = np.array(cells, np.uint8).reshape(-1, len(members), 12)
    case["slot_of_day"] = SLOTS
    for i, (name, kind) in enumerate(RULE.items()):
        case[name] = np.array([rule[i] for rule in rules], kind)
    # the second rule set takes from cells in another order than the first
    orders = [[0, 1, 2], [2, 0, 1], [1, 2, 0]]
    case["cell_order"] = np.array(orders[: len(rules)], np.uint8)
    case["cutoff_days"] = CUTOFFS[: len(case["month_cell"])]
    return case


def line(cents: int, day: int = 0, **other: int) -> Line:
    values = {
        "amount_cents": cents,
        "paid_cents": cents,
        "incurred_day": FIRST_DAY + day,
        "paid_day": 0,
        "category": 0,
        "kind": 0,
        **other,
    }
    return tuple(values.values())


NO_RULE = (0b1111, -1, 0, 0, 0)


def measured(*lines: Line, cells: Any = (0,) * 12, rule: tuple[int, ...] = NO_RULE) -> SegmentCost:
    both = [[*cells], [2, *[0] * 11]]
    case = case_of([list(lines)], both, [rule])
    found = segment_cost(**case, **SCALARS)
    alone = segment_cost(**case, **{**SCALARS, "n_categories": 0})
    assert found.cell_cents.tolist() == alone.cell_cents.tolist()
    return found


def settled(found: SegmentCost) -> tuple[int, list[int]]:
    return int(found.capped_cents[0, 0, 0]), found.cell_cents[0, 0, :, 0].tolist()


def test_a_reversed_claim_lowers_cost() -> None:
    assert settled(measured(line(5_000), line(-5_000), line(700)))[0] == 700


def test_a_cap_keeps_its_share_of_what_lies_above() -> None:
    """50,000.00 capped at 10,000.00 with 20 % kept: 10,000 + 0.2 × 40,000."""
    found = measured(line(5_000_000), rule=(1, 1_000_000, 200_000, 0, 0))
    assert settled(found)[0] == 1_800_000
    assert found.above_cap_cents[0, 0, 0] == 3_200_000
    assert found.uncapped_cents[0, 0, 0] == 5_000_000


def test_a_kept_cent_is_rounded_half_to_even() -> None:
    assert settled(measured(line(1_005), rule=(1, 1_000, 100_000, 0, 0)))[0] == 1_000
    assert settled(measured(line(1_015), rule=(1, 1_000, 100_000, 0, 0)))[0] == 1_002


def test_a_cap_takes_from_cells_to_the_cent_in_order() -> None:
    """50 cents taken from cells of 50 each: running totals of 16.67, 33.33 and 50, half to even."""
    cells = (0, 1, 2, *(0,) * 9)
    lines = [line(50), line(50, 2), line(50, 4)]
    found = measured(*lines, cells=cells, rule=(1, 100, 0, 0, 0))
    assert settled(found) == (100, [33, 34, 33])
    assert found.cell_taken_cents[0, 0, :, 0].tolist() == [17, 16, 17]
    case = case_of([lines], [[*cells], [0] * 12], [(1, 100, 0, 0, 0)])
    case["cell_order"] = np.array([[1, 2, 0]], np.uint8)
    assert segment_cost(**case, **SCALARS).cell_taken_cents[0, 0, :, 0].tolist() == [17, 17, 16]


def test_half_a_cent_taken_is_rounded_to_even() -> None:
    """Of 3 + 3 cents 1 is taken: half a cent of the first is none; of 9 + 9 with 3, 1.5 is 2."""
    cells = (0, 1, *(0,) * 10)
    few = measured(line(3), line(3, 2), cells=cells, rule=(1, 5, 0, 0, 0))
    assert few.cell_taken_cents[0, 0, :, 0].tolist() == [0, 1, 0]
    more = measured(line(9), line(9, 2), cells=cells, rule=(1, 15, 0, 0, 0))
    assert more.cell_taken_cents[0, 0, :, 0].tolist() == [2, 1, 0]


def test_a_negative_year_is_raised_to_zero_and_reported() -> None:
    found = measured(line(-300), line(100, 2), cells=(0, 1, *(0,) * 10), rule=(1, -1, 0, 1, 0))
    assert settled(found) == (0, [0, 0, 0])
    assert found.floored_cents[0, 0, 0] == 200
    assert found.cell_taken_cents[0, 0, :, 0].tolist() == [-300, 100, 0]
    assert settled(measured(line(-300)))[0] == -300


def test_a_prorated_cap_follows_countable_months() -> None:
    half = (0,) * 6 + (255,) * 6
    rule = (1, 1_200, 0, 0, 1)
    assert settled(measured(line(5_000), cells=half, rule=rule))[0] == 600
    assert settled(measured(line(5_000), rule=rule))[0] == 1_200


def test_a_line_in_a_month_that_does_not_count_is_not_cost() -> None:
    found = measured(line(900, 2), line(100), cells=(0, 255, *(0,) * 10))
    assert settled(found)[0] == 100
    assert found.paid_cents[0, 0] == 1_000


def test_a_line_belongs_to_period_and_month_of_its_incurred_day() -> None:
    """Day 27 is the first month of period 2, day 3 the second of period 1, day 25 in neither."""
    found = measured(line(100, 27))
    assert found.uncapped_cents[0, :, 0].tolist() == [0, 100]
    assert found.cell_cents[0, 1, :, 0].tolist() == [0, 0, 100]
    assert settled(measured(line(100, 3), cells=[0, 1] + [0] * 10)) == (100, [0, 100, 0])
    assert measured(line(100, 25)).uncapped_cents.sum() == 0


def test_late_payments_other_kinds_and_other_services_are_not_cost() -> None:
    lines = (
        line(1, paid_day=501),
        line(128, day=27, paid_day=500),
        line(2, kind=1),
        line(4, kind=3),
        line(8, category=3),
        line(16, kind=2),
        line(32, day=-1),
        line(64, day=51),
    )
    found = measured(*lines, rule=(0b0111, -1, 0, 0, 0))
    assert found.uncapped_cents[0, :, 0].tolist() == [16, 0], "the second period ends a day before"
    assert found.paid_cents[0, 0] == 4 + 8 + 16
    assert found.category_cents[0, 0, :, 0].tolist() == [16, 0, 0, 0]


days = st.integers(-3, 54).map(lambda day: FIRST_DAY + day)
cents = st.integers(-900, 900) | st.integers(-(2**44), 2**44)
lines = st.tuples(cents, cents, days, st.integers(498, 502), st.integers(0, 3), st.integers(0, 3))
cells = st.sampled_from([0, 1, 2, 255])
rules = st.tuples(
    st.integers(0, 15),
    st.integers(-1, 60) | st.integers(-1, 2**45),
    st.sampled_from([0, 1, 100_000, 333_333, MICRO]),
    st.booleans(),
    st.booleans(),
)


@st.composite
def cases(draw: Any) -> dict[str, Any]:
    members = draw(st.lists(st.lists(lines, max_size=7), min_size=1, max_size=4))
    size = 24 * len(members)
    chosen = draw(st.lists(rules, min_size=1, max_size=3))
    return case_of(members, draw(st.lists(cells, min_size=size, max_size=size)), chosen)


def same(found: Any, slow: SegmentCost) -> None:
    for name, one, other in zip(SegmentCost._fields, found, slow, strict=True):
        assert one.dtype == other.dtype == np.int64
        assert one.tolist() == other.tolist(), name


@settings(max_examples=300, deadline=None)
@given(case=cases(), n_categories=st.sampled_from([0, 4]))
def test_the_fast_forms_are_the_definition(case: dict[str, Any], n_categories: int) -> None:
    """Without categories months are left out where they can be; with them they are not."""
    scalars = {**SCALARS, "n_categories": n_categories}
    same(segment_cost(**case, **scalars), reference(**case, **scalars))


@settings(max_examples=60, deadline=None)
@given(case=cases(), shuffled=st.permutations(range(len(SLOTS))), n=st.integers(1, 3))
def test_any_calendar_will_do(case: dict[str, Any], shuffled: list[int], n: int) -> None:
    """Periods in pieces, and more than two of them."""
    cells = np.concatenate([case["month_cell"], case["month_cell"]])[:n]
    slots = np.where(12 * n > SLOTS, SLOTS, 255).astype(np.uint8)[shuffled]
    changes = {"month_cell": cells, "slot_of_day": slots, "cutoff_days": CUTOFFS[:n]}
    same(
        segment_cost(**{**case, **changes}, **SCALARS), reference(**{**case, **changes}, **SCALARS)
    )


@settings(max_examples=200, deadline=None)
@given(case=cases())
def test_every_cent_is_given_to_a_cell(case: dict[str, Any]) -> None:
    found = segment_cost(**case, **SCALARS)
    assert np.array_equal(found.cell_cents.sum(axis=2), found.capped_cents)
    changed = found.uncapped_cents + found.floored_cents - found.above_cap_cents
    assert np.array_equal(changed, found.capped_cents)
    before = found.cell_cents + found.cell_taken_cents
    assert np.array_equal(before.sum(axis=2), found.uncapped_cents)
    assert np.array_equal(found.category_cents.sum(axis=2), found.uncapped_cents)


@settings(max_examples=100, deadline=None)
@given(case=cases())
def test_the_cuda_text_is_the_definition(
    host_twin: Callable[..., list[Any]], case: dict[str, Any]
) -> None:
    slow = reference(**case, **SCALARS)
    n = len(case["offsets"]) - 1
    n_rules = len(case["include_bits"])
    scalars = [
        np.int32(FIRST_DAY),
        np.uint32(SCALARS["kind_bits"]),
        np.uint32(SCALARS["paid_kind_bits"]),
        *map(np.int32, (n_rules, 2, 3, 4, len(SLOTS))),
        np.int64(n),
    ]
    out = [np.zeros_like(array) for array in slow]
    arguments = [*case.values(), *scalars, *out]
    same(host_twin("segment_cost", arguments, grid=n // 4 + 1, block=4)[-len(out) :], slow)


@pytest.mark.gpu
@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_the_gpu_is_the_definition(case: dict[str, Any]) -> None:
    there: dict[str, Any] = {name: to_device(array) for name, array in case.items()}
    found = segment_cost(**there, **SCALARS)
    same([to_host(array) for array in found], reference(**case, **SCALARS))


@settings(max_examples=300, deadline=None)
@given(
    parts=st.lists(st.integers(-(2**50), 2**50), min_size=2, max_size=3),
    cap=st.integers(1, 2**50),
    keep=st.integers(0, MICRO),
)
def test_large_sums_are_shared_without_overflow(parts: list[int], cap: int, keep: int) -> None:
    """Capped cost × cumulative cost passes 2^63 by far; the shares are exact all the same."""
    case = case_of(
        [[line(part, 2 * i) for i, part in enumerate(parts)]],
        [[0, 1, 2, *[0] * 9], [0] * 12],
        [(1, cap, keep, 0, 0)],
    )
    same(segment_cost(**case, **SCALARS), reference(**case, **SCALARS))


def test_a_population_without_lines_costs_nothing() -> None:
    found = segment_cost(**case_of([[], []], [0] * 48, [NO_RULE]), **SCALARS)
    assert found.capped_cents.shape == (1, 2, 2)
    assert not found.capped_cents.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"amount_cents": np.zeros(1)}, "amount_cents: expected dtype int64, got float64"),
        ({"category": np.zeros(2, np.uint8)}, r"category: expected shape \(1\)"),
        ({"month_cell": np.zeros((2, 1, 11), np.uint8)}, "month_cell: expected shape"),
        (
            {"month_cell": np.zeros((5, 1, 12), np.uint8), "cutoff_days": CUTOFFS},
            "n_periods: expected 1 to 4, got 5",
        ),
        ({"cutoff_days": CUTOFFS}, r"cutoff_days: expected shape \(2\)"),
        ({"n_cells": 33}, "n_cells: expected 1 to 32, got 33"),
        ({"n_categories": 33}, "n_categories: expected 0 to 32"),
        ({"kind_bits": 2**32}, "kind_bits: expected 0 to 4294967295"),
        ({"cap_cents": np.zeros(2, np.int64)}, "cap_cents: expected shape"),
        ({"offsets": np.zeros(0, np.int64)}, "offsets: expected n_members"),
        ({"cell_order": np.zeros((1, 2), np.uint8)}, "cell_order: expected shape"),
    ],
)
def test_wrong_input_is_refused(change: dict[str, Any], message: str) -> None:
    case = {**case_of([[line(1)]], [0] * 24, [NO_RULE]), **SCALARS}
    with pytest.raises(KernelInputError, match=message):
        segment_cost(**{**case, **change})
