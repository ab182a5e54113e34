"""What is hidden of counts that add up, attacked by exact algebra and by ends of whole numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from ihp_compute.results.suppression.cells import Cell, Key, Told
from ihp_compute.results.suppression.equations import hidden_of
from ihp_compute.results.suppression.system import Equation, System, choose


def of(counts: Sequence[int], equations: Sequence[dict[int, int]], **more: object) -> System:
    """Rows of one count each, and equations of cell to sign."""
    n = len(counts)
    return System(
        names=[(f"{k:04}",) for k in range(n)],
        counts=np.array([[c, 0] for c in counts], np.int64).reshape(n, 2),
        hidden=np.array(more.get("hidden", [False] * n), bool),
        is_row=np.array(more.get("is_row", [True] * n), bool),
        may_hide=np.array(more.get("may_hide", [True] * n), bool),
        equations=[
            Equation(np.array(list(e), np.int64), np.array(list(e.values()), np.int64))
            for e in equations
        ],
    )


def total(cell: int, parts: Sequence[int]) -> dict[int, int]:
    return {cell: 1, **dict.fromkeys(parts, -1)}


def determined(system: System, hidden: np.ndarray) -> list[int]:
    """Hidden cells that the shown ones determine: rows of the echelon form with one unknown."""
    unknown = np.flatnonzero(hidden).tolist()
    place = {cell: j for j, cell in enumerate(unknown)}
    rows = []
    for equation in system.equations:
        row = [Fraction(0)] * len(unknown)
        for cell, sign in zip(equation.cells.tolist(), equation.signs.tolist(), strict=True):
            if cell in place:
                row[place[cell]] += sign
        rows.append(row)
    lead = 0
    for j in range(len(unknown)):
        at = next((i for i in range(lead, len(rows)) if rows[i][j]), None)
        if at is None:
            continue
        rows[lead], rows[at] = rows[at], rows[lead]
        rows[lead] = [x / rows[lead][j] for x in rows[lead]]
        for i, row in enumerate(rows):
            if i != lead and row[j]:
                rows[i] = [x - row[j] * y for x, y in zip(row, rows[lead], strict=True)]
        lead += 1
    alone = [[j for j, x in enumerate(row) if x] for row in rows]
    return [unknown[js[0]] for js in alone if len(js) == 1]


def ends_of(system: System, hidden: np.ndarray, cell: int) -> tuple[float, float]:
    """Least and most that a hidden count can be, counts being whole and none below nothing."""
    unknown = np.flatnonzero(hidden)
    matrix = np.zeros((len(system.equations), len(unknown)))
    right = np.zeros(len(system.equations))
    for i, equation in enumerate(system.equations):
        for k, sign in zip(equation.cells.tolist(), equation.signs.tolist(), strict=True):
            at = np.searchsorted(unknown, k)
            if hidden[k]:
                matrix[i, at] += sign
            else:
                right[i] -= sign * system.counts[k, 0]
    aim = (unknown == cell).astype(float)
    low = linprog(aim, A_eq=matrix, b_eq=right, bounds=(0, None))
    high = linprog(-aim, A_eq=matrix, b_eq=right, bounds=(0, None))
    return float(low.fun), float(-high.fun) if high.status == 0 else np.inf


def test_a_small_row_takes_the_smallest_of_its_siblings_with_it() -> None:
    system = of([60, 4, 30, 26], [total(0, [1, 2, 3])])
    assert choose(system).hidden.tolist() == [False, True, False, True]


def test_two_hidden_rows_stand_for_eleven_people() -> None:
    system = of([60, 1, 2, 27, 30], [total(0, [1, 2, 3, 4])])
    assert choose(system).hidden.tolist() == [False, True, True, True, False]


def test_names_decide_between_equals() -> None:
    system = of([64, 4, 30, 30], [total(0, [1, 2, 3])])
    assert choose(system).hidden.tolist() == [False, True, True, False]


def test_a_row_of_nobody_protects_nothing() -> None:
    system = of([34, 4, 0, 30], [total(0, [1, 2, 3])])
    assert choose(system).hidden.tolist() == [False, True, False, True]


def test_without_small_cells_nothing_is_hidden() -> None:
    system = of([60, 0, 30, 30], [total(0, [1, 2, 3])])
    assert not choose(system).hidden.any()


def test_a_rest_of_few_that_no_table_shows_is_protected() -> None:
    """Members of 50, of nine months 47: the three others would follow."""
    system = of(
        [50, 47, 3], [total(0, [1, 2])],
        is_row=[True, True, False], may_hide=[True, True, False], hidden=[False, False, True],
    )  # fmt: skip
    assert choose(system).hidden.tolist() == [False, True, True]
    enough = of(
        [50, 30, 20], [total(0, [1, 2])],
        is_row=[True, True, False], may_hide=[True, True, False], hidden=[False, False, True],
    )  # fmt: skip
    assert choose(enough).hidden.tolist() == [False, False, True]


def test_what_equations_tell_together_is_hidden_too() -> None:
    """Each equation hides two, and yet their difference is one small cell."""
    # a + b + c = 60, a + b + d = 61: c and d alone in what is left of both
    counts = [20, 36, 4, 5, 60, 61, 9]
    equations = [total(4, [0, 1, 2]), total(5, [0, 1, 3]), {6: 1, 2: -1, 3: -1}]
    hidden = np.array([True, True, True, True, False, False, False])
    system = of(counts, equations, hidden=hidden)
    assert 2 in determined(system, hidden)
    chosen = choose(system)
    assert not set(determined(system, chosen.hidden)) & set(np.flatnonzero(system.small).tolist())


def test_a_small_cell_that_nothing_can_protect_is_said() -> None:
    system = of([12, 4, 8], [total(0, [1, 2])], may_hide=[False, True, False])
    chosen = choose(system)
    assert chosen.exposed.tolist()


def table_of(cells: Sequence[Sequence[int]]) -> System:
    """Groups by strata with sums of both and of all, as partnerships and strata are."""
    n, m = len(cells), len(cells[0])
    grid = np.array(cells, np.int64)
    whole = np.zeros((n + 1, m + 1), np.int64)
    whole[:n, :m] = grid
    whole[n, :m], whole[:n, m], whole[n, m] = grid.sum(0), grid.sum(1), grid.sum()

    def at(i: int, j: int) -> int:
        return i * (m + 1) + j

    def equations() -> Iterator[dict[int, int]]:
        for i in range(n + 1):
            yield total(at(i, m), [at(i, j) for j in range(m)])
        for j in range(m + 1):
            yield total(at(n, j), [at(i, j) for i in range(n)])

    return of(whole.reshape(-1).tolist(), list(equations()))


@settings(max_examples=50, deadline=None)
@given(
    st.integers(2, 5).flatmap(
        lambda m: st.lists(
            st.lists(
                st.one_of(st.integers(0, 12), st.integers(0, 90)), min_size=m, max_size=m
            ),
            min_size=2, max_size=5,
        )
    )
)  # fmt: skip
def test_no_small_cell_of_a_table_with_sums_is_recovered(cells: list[list[int]]) -> None:
    system = table_of(cells)
    chosen = choose(system)
    assert not len(chosen.exposed)
    small = np.flatnonzero(system.small)
    assert chosen.hidden[small].all()
    assert not set(determined(system, chosen.hidden)) & set(small.tolist())
    for cell in small.tolist():
        least, most = ends_of(system, chosen.hidden, cell)
        assert most - least >= 9 - 1e-6


def test_hiding_the_small_rows_alone_would_not_do() -> None:
    """The attack of these tests recovers what a careless rule leaves."""
    system = table_of([[4, 30, 26], [30, 28, 24], [25, 20, 22]])
    assert determined(system, system.small) == [0]


def test_the_choice_is_of_counts_and_names_alone() -> None:
    """Whatever the order of cells and equations, the same rows are hidden."""
    cells = [[4, 30, 26], [7, 28, 3], [25, 2, 22]]
    one = choose(table_of(cells)).hidden.reshape(4, 4)
    for rows, columns in product([(0, 1, 2), (2, 0, 1)], [(0, 1, 2), (1, 2, 0)]):
        system = table_of([[cells[i][j] for j in columns] for i in rows])
        names = [(f"{i:02}{j:02}",) for i in (*rows, 3) for j in (*columns, 3)]
        moved = System(
            names, system.counts, system.hidden, system.is_row, system.may_hide, system.equations
        )
        again = choose(moved).hidden.reshape(4, 4)
        assert (again == one[np.ix_([*rows, 3], [*columns, 3])]).all()


@pytest.mark.parametrize(("n_rest", "is_hidden"), [(5, True), (0, False), (30, False)])
def test_few_index_stays_of_who_is_in_no_arm_are_protected(n_rest: int, is_hidden: bool) -> None:
    """Eleven people stand in no arm of an intervention; their index stays follow by subtraction."""
    told = Told(("2023", "2024"), ("A",), {})
    counts = {("all", "all"): (60, 60 + n_rest), ("intervention", "treated"): (25, 30),
              ("intervention", "comparison"): (24, 30)}  # fmt: skip
    for (dimension, stratum), (people, stays) in counts.items():
        key = Key("partnership", "A", dimension, stratum, "2024", "readmissions")
        told.put(key, Cell(people, stays))
    hidden, exposed = hidden_of(told)
    assert bool(hidden) == is_hidden
    assert not exposed
