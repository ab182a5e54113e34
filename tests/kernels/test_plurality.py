"""Plurality: hand-worked cases, and all forms against the definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import KernelInputError, plurality, to_device, to_host
from kernels.members.plurality import NO_DAY, NO_VISIT, reference

NAMES = ("group", "step", "n_encounters", "tied", "first_day", "last_visit")
KINDS = (np.int32, np.uint8, np.int32, np.bool_, np.int32, np.int64)


FIRST_DAY = -3
MONTH_OF = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 11, 11, 11], np.uint8)
WHOLE = 0xFFF


def arrays(
    members: list[list[tuple[int, int, int]]], months: list[int] | None = None
) -> dict[str, Any]:
    """Kernel inputs of members' visits (day, group, step), and the months that count."""
    visits = [visit for member in members for visit in sorted(member, key=lambda visit: visit[0])]
    columns = list(zip(*visits, strict=True)) or [(), (), ()]
    return {
        "group": np.array(columns[1], np.int32),
        "step": np.array(columns[2], np.uint8),
        "day": np.array(columns[0], np.int32),
        "offsets": np.cumsum([0, *map(len, members)], dtype=np.int64),
        "months": np.array(months or [WHOLE] * len(members), np.uint16),
        "month_of": MONTH_OF,
        "first_day": FIRST_DAY,
    }


def attributed(
    *visits: tuple[int, int, int], latest: bool = True, months: int = WHOLE
) -> tuple[Any, ...]:
    found = plurality(**arrays([list(visits)], [months]), n_groups=4, n_steps=3, latest=latest)
    return tuple(column[0] for column in found)


def test_the_most_encounters_win() -> None:
    assert attributed((1, 2, 2), (5, 1, 2), (9, 1, 2)) == (1, 2, 2, False, 5, 2)


def test_two_lines_of_one_day_are_one_encounter() -> None:
    """Encounters are distinct days with a partnership, not claim lines."""
    assert attributed((1, 2, 2), (1, 2, 2), (1, 2, 2), (5, 1, 2), (9, 1, 2))[0] == 1


def test_the_last_visit_is_of_the_group_and_step_that_decided() -> None:
    """Also where it is one more of a day that was met, or where others come later."""
    assert attributed((1, 2, 2), (5, 2, 2), (5, 2, 2), (6, 1, 2), (9, 2, 3))[-1] == 2


def test_two_partnerships_on_one_day_are_two_encounters() -> None:
    assert attributed((1, 2, 2), (1, 1, 2), (1, 2, 2), (3, 2, 2)) == (2, 2, 2, False, 1, 3)


def test_an_earlier_step_goes_before_any_number_of_later_encounters() -> None:
    assert attributed((1, 0, 3), (2, 0, 3), (3, 0, 3), (9, 3, 1)) == (3, 1, 1, False, 9, 3)


def test_the_latest_visit_breaks_a_tie() -> None:
    assert attributed((1, 1, 2), (9, 2, 2), (8, 1, 2), (2, 2, 2)) == (2, 2, 2, True, 2, 3)


def test_the_lowest_group_breaks_what_the_day_cannot() -> None:
    assert attributed((1, 3, 2), (1, 2, 2)) == (2, 2, 1, True, 1, 1)
    assert attributed((1, 1, 2), (9, 2, 2), latest=False) == (1, 2, 1, True, 1, 0)


def test_a_tie_below_the_most_is_no_tie() -> None:
    assert attributed((1, 1, 2), (2, 2, 2), (3, 3, 2), (4, 3, 2))[3] == False  # noqa: E712


def test_a_member_without_visits_has_no_group() -> None:
    assert attributed() == (-1, 0, 0, False, NO_DAY, NO_VISIT)
    assert attributed((1, -1, 2), (2, 1, 0)) == (-1, 0, 0, False, NO_DAY, NO_VISIT)


def test_visits_of_months_that_do_not_count_are_none() -> None:
    """Days -3 to -1 lie in month 0, 0 to 3 in month 1, 4 to 6 in month 2."""
    visits = ((-3, 1, 1), (-2, 1, 1), (1, 2, 2), (4, 3, 2), (5, 3, 2))
    assert attributed(*visits) == (1, 1, 2, False, -3, 1)
    assert attributed(*visits, months=0b110) == (3, 2, 2, False, 4, 4)
    assert attributed(*visits, months=0b010) == (2, 2, 1, False, 1, 2)
    assert attributed(*visits, months=0b1000) == (-1, 0, 0, False, NO_DAY, NO_VISIT)


visit = st.tuples(st.integers(-3, 9), st.integers(-1, 3), st.integers(0, 3))
member = st.tuples(
    st.lists(visit, max_size=12), st.one_of(st.just(WHOLE), st.integers(0, 7), st.just(0x806))
)
populations = st.lists(member, max_size=6).map(
    lambda members: arrays([visits for visits, _ in members], [open_ for _, open_ in members])
)


@settings(max_examples=200, deadline=None)
@given(case=populations, latest=st.booleans())
def test_the_fast_form_is_the_definition(case: dict[str, Any], latest: bool) -> None:
    fast = plurality(**case, n_groups=4, n_steps=3, latest=latest)
    slow = reference(**case, n_groups=4, n_steps=3, latest=latest)
    for name, kind, one, other in zip(NAMES, KINDS, fast, slow, strict=True):
        assert one.dtype == other.dtype == kind
        assert one.tolist() == other.tolist(), name


@settings(max_examples=60, deadline=None)
@given(case=populations, latest=st.booleans())
def test_the_cuda_text_is_the_definition(
    host_twin: Callable[..., list[Any]], case: dict[str, Any], latest: bool
) -> None:
    n = len(case["offsets"]) - 1
    out = [np.full(n, 7, kind) for kind in KINDS]
    *inputs, first_day = case.values()
    scalars = [np.int32(first_day), np.int32(latest), np.int64(n)]
    found = host_twin("plurality", [*inputs, *scalars, *out], grid=n // 4 + 1, block=4)
    slow = reference(**case, n_groups=4, n_steps=3, latest=latest)
    for name, one, other in zip(NAMES, found[-len(KINDS) :], slow, strict=True):
        assert one.tolist() == other.tolist(), name


@pytest.mark.gpu
@settings(max_examples=60, deadline=None)
@given(case=populations, latest=st.booleans())
def test_the_gpu_is_the_definition(case: dict[str, Any], latest: bool) -> None:
    there = {
        name: value if name == "first_day" else to_device(value) for name, value in case.items()
    }
    found = plurality(**there, n_groups=4, n_steps=3, latest=latest)
    slow = reference(**case, n_groups=4, n_steps=3, latest=latest)
    for name, one, other in zip(NAMES, found, slow, strict=True):
        assert to_host(one).tolist() == other.tolist(), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group": np.zeros(2, np.int64)}, "group: expected dtype int32"),
        ({"step": np.zeros(3, np.uint8)}, r"step: expected shape \(2\)"),
        ({"offsets": np.zeros(0, np.int64)}, "offsets: expected n_members"),
        ({"day": np.zeros((1, 2), np.int32)}, "day: expected shape"),
        ({"months": np.zeros(2, np.uint16)}, r"months: expected shape \(1\)"),
        ({"months": np.zeros(1, np.int32)}, "months: expected dtype uint16"),
        ({"month_of": np.zeros(2, np.int64)}, "month_of: expected dtype uint8"),
        ({"n_groups": 0}, "n_groups: expected at least 1"),
        ({"n_steps": 256}, "n_steps: expected 1 to 255"),
        ({"day": [1, 2]}, "day: expected a NumPy or CuPy array"),
    ],
)
def test_wrong_input_is_refused(change: dict[str, Any], message: str) -> None:
    case = {**arrays([[(1, 0, 1), (2, 0, 1)]]), "n_groups": 1, "n_steps": 1, "latest": True}
    with pytest.raises(KernelInputError, match=message):
        plurality(**{**case, **change})
