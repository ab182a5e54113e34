from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.placement import BYTES_PER_LINE, REPORTED, SETTLED, Workload, place

STATE = Workload(
    n_lines=100_000_000,
    n_members=1_200_000,
    n_tasks=64,
    n_replicates=2001,
    n_groups=27,
    n_strata=12,
    n_columns=6,
)


def test_a_line_costs_the_bytes_of_its_columns() -> None:
    assert BYTES_PER_LINE == 4 * 4 + 3 * 8 + 4 * 1 + 2


def test_a_tasks_result_is_its_cells() -> None:
    assert STATE.task_result_bytes == 27 * 12 * 6 * 2001 * 8


def test_a_state_takes_seconds_on_a_laptop_and_cores_divide_its_tasks() -> None:
    """Not what follows the tasks: it is done once, by one core."""
    alone, shared = STATE.alone_seconds, STATE.shared_seconds
    assert alone > 1
    assert STATE.cpu_seconds == shared + alone
    seconds = {n: place(STATE, cpus=n, result_budget_bytes=1 << 30).seconds for n in (2, 32, 640)}
    assert 5 < seconds[2] < 60
    assert seconds == {2: shared / 2 + alone, 32: shared / 32 + alone, 640: shared / 64 + alone}


def test_two_tasks_a_core_while_results_fit() -> None:
    assert place(STATE, cpus=2, result_budget_bytes=1 << 30).in_flight == 4
    assert place(STATE, cpus=40, result_budget_bytes=1 << 40).in_flight == 64


def test_fewer_tasks_when_results_would_not_fit() -> None:
    budget = 3 * STATE.task_result_bytes
    assert place(STATE, cpus=40, result_budget_bytes=budget).in_flight == 3


@given(
    lines=st.integers(0, 10**10),
    tasks=st.integers(0, 10_000),
    replicates=st.integers(1, 10**6),
    cpus=st.integers(1, 1000),
    budget=st.integers(0, 2**40),
)
def test_a_placement_always_moves(
    lines: int, tasks: int, replicates: int, cpus: int, budget: int
) -> None:
    work = Workload(lines, 1, tasks, replicates, 27, 12, 6)
    placed = place(work, cpus=cpus, result_budget_bytes=budget)
    assert 1 <= placed.in_flight <= 2 * cpus
    assert placed.task_memory_bytes >= 2 * work.task_result_bytes


def test_what_a_programme_adds_costs_more_and_more_threads_need_more_memory() -> None:
    settled = replace(STATE, costs=SETTLED)
    assert STATE.costs is REPORTED
    assert settled.cpu_seconds < STATE.cpu_seconds
    assert settled.anonymous_bytes(2) < STATE.anonymous_bytes(2)
    one, two = (STATE.anonymous_bytes(threads) for threads in (1, 2))
    assert two - one == pytest.approx(STATE.costs.result.value * STATE.task_result_bytes, abs=1)
    assert STATE.anonymous_bytes(1000) == STATE.anonymous_bytes(64)  # tasks
