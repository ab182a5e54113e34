"""Who stands where and who came and went, by hand and as sums that must foot."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute.measure.attribution import Attribution
from ihp_compute.measure.movement import MOVEMENT, movement

P1, P2, COMPARISON, UNATTRIBUTED, NOBODY = 0, 1, 2, 3, -1
HOME, PRIMARY, SPECIALIST = 1, 2, 3


def year_of(*members: tuple[int, int, int, bool]) -> Attribution:
    """Members as (group, step, months, tied)."""
    group, step, months, tied = (np.array(column) for column in zip(*members, strict=True))
    n = len(members)
    cells = np.zeros((12, n), np.int64)
    cells[3] = months
    return Attribution(
        year=2024,
        group=group.astype(np.int32),
        step=step.astype(np.uint8),
        n_visits=np.zeros(n, np.int32),
        last_visit=np.full(n, -1),
        tied=tied.astype(bool),
        reason=np.zeros(n, np.uint8),
        months=cells,
        month_cell=np.zeros((n, 12), np.uint8),
        enrolled_months=months.astype(np.int64),
        spanned=np.zeros(n, np.uint16),
    )


def counted(base: Attribution, performance: Attribution) -> Any:
    return movement([base, performance], n_groups=4, n_partnerships=2)


def test_who_came_and_who_went_by_step() -> None:
    """One stays, one moves, one comes from nobody, one leaves for nobody, one from COMPARISON."""
    base = year_of(
        (P1, HOME, 12, False), (P1, PRIMARY, 9, True), (NOBODY, 0, 0, False),
        (P1, SPECIALIST, 6, False), (COMPARISON, PRIMARY, 7, False), (P2, PRIMARY, 8, False),
    )  # fmt: skip
    performance = year_of(
        (P1, PRIMARY, 12, True), (P2, PRIMARY, 10, False), (P2, HOME, 6, False),
        (UNATTRIBUTED, 0, 5, False), (P1, PRIMARY, 11, False), (COMPARISON, PRIMARY, 12, False),
    )  # fmt: skip
    found = counted(base, performance)

    def row(year: int, group: int, step: int) -> dict[str, int]:
        return {k: int(v) for k, v in zip(MOVEMENT, found[year, group, step], strict=True) if v}

    assert row(0, P1, PRIMARY) == {"members": 1, "member_months": 9, "ties": 1}
    assert row(0, P2, PRIMARY) == {"members": 1, "member_months": 8}
    assert row(1, P1, HOME) == {}
    assert row(1, P1, PRIMARY) == {
        "members": 2, "member_months": 23, "ties": 1, "moved_in": 1, "moved_out": 1,
    }  # fmt: skip
    assert row(1, P1, SPECIALIST) == {"lost": 1}
    assert row(1, P2, HOME) == {"members": 1, "member_months": 6, "gained": 1}
    assert row(1, P2, PRIMARY) == {"members": 1, "member_months": 10, "moved_in": 1, "moved_out": 1}
    assert row(1, COMPARISON, PRIMARY) == {
        "members": 1, "member_months": 12, "moved_in": 1, "moved_out": 1,
    }  # fmt: skip
    assert row(1, UNATTRIBUTED, 0) == {"members": 1, "member_months": 5, "moved_in": 1}


standing = st.one_of(
    st.just((NOBODY, 0, 0, False)),
    st.tuples(st.just(UNATTRIBUTED), st.just(0), st.integers(1, 12), st.just(False)),
    st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(1, 12), st.booleans()),
)


@given(st.lists(st.tuples(standing, standing), min_size=1, max_size=30))
def test_the_years_foot_and_every_move_has_two_ends(
    members: list[tuple[tuple[int, int, int, bool], tuple[int, int, int, bool]]],
) -> None:
    base, performance = (year_of(*(member[k] for member in members)) for k in (0, 1))
    found = counted(base, performance)
    sums = dict(zip(MOVEMENT, np.moveaxis(found.sum(axis=2), -1, 0), strict=True))
    change = sums["members"][1] - sums["members"][0]
    came, went = (
        sums[a][1] + sums[b][1] for a, b in (("gained", "moved_in"), ("lost", "moved_out"))
    )
    assert change.tolist() == (came - went).tolist()
    both = [(b[0], p[0]) for b, p in members]
    rostered = {P1, P2, COMPARISON}
    between = sum(b != p and {b, p} <= rostered for b, p in both)
    assert sums["moved_in"][1][:3].sum() == sums["moved_out"][1][:3].sum() == between
    assert not any(sums[name][0].any() for name in MOVEMENT[3:])
