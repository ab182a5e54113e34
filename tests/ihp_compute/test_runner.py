"""Where tasks run, and what runs beside others."""

from __future__ import annotations

import threading

import pytest

from ihp_compute.runner import beside


def test_a_task_runs_beside_the_block_that_asks_for_its_result() -> None:
    met = threading.Barrier(2)  # each side waits for the other: one after another never ends
    with beside(lambda: met.wait(timeout=30) + 10) as told:
        assert {met.wait(timeout=30), told() - 10} == {0, 1}


def test_what_a_task_raises_is_raised_where_its_result_is_asked_for() -> None:
    with beside(lambda: 1 // 0) as told, pytest.raises(ZeroDivisionError):
        told()
