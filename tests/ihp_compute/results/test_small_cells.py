"""Rows behind which few people stand are shown as one, and nothing of them follows from a sum."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ihp_compute.results.small_cells import SMALL_CELL, is_small, without_small

COUNTS = ("base", "now")
PEOPLE = st.integers(0, 30) | st.integers(0, 12)


def rows_of(*people: tuple[int, int]) -> list[dict[str, int]]:
    return [{"at": k, "base": base, "now": now} for k, (base, now) in enumerate(people)]


def test_a_small_row_is_pooled_with_the_next_by_size() -> None:
    """Three people alone would follow from the sum of all less the rows that are shown."""
    rows = rows_of((50, 60), (2, 3), (12, 14), (400, 380))
    alone, pooled = without_small(rows, COUNTS)
    assert [row["at"] for row in alone] == [0, 3]
    assert [row["at"] for row in pooled] == [1, 2]


def test_rows_of_nobody_and_of_eleven_stand_alone() -> None:
    rows = rows_of((0, 11), (11, 0), (0, 0))
    assert without_small(rows, COUNTS) == (rows, [])


def test_people_who_stand_in_several_rows_are_not_taken_for_more() -> None:
    """Six people in each of two rows may be the same six: a third row goes with them."""
    alone, pooled = without_small(rows_of((0, 6), (0, 6), (0, 40)), COUNTS)
    assert (alone, len(pooled)) == ([], 3)


@given(st.lists(st.tuples(PEOPLE, PEOPLE), max_size=8))
def test_no_row_and_no_pool_is_small_unless_all_are_pooled(people: list[tuple[int, int]]) -> None:
    rows = rows_of(*people)
    alone, pooled = without_small(rows, COUNTS)
    assert sorted([*alone, *pooled], key=lambda row: row["at"]) == rows
    for parts in (alone, pooled):
        assert [row["at"] for row in parts] == sorted(row["at"] for row in parts)
    assert not any(is_small(row[name]) for row in alone for name in COUNTS)
    if alone and pooled:
        for name in COUNTS:
            assert max(row[name] for row in pooled) not in range(1, SMALL_CELL + 1)
