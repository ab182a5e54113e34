"""Where tasks run, and what runs beside others."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from ihp_compute.errors import MemoryExhaustedError
from ihp_compute.runner import Batch, LocalRunner, batches, beside


def test_a_task_runs_beside_the_block_that_asks_for_its_result() -> None:
    met = threading.Barrier(2)  # each side waits for the other: one after another never ends
    with beside(lambda: met.wait(timeout=60) + 10) as told:
        assert {met.wait(timeout=60), told() - 10} == {0, 1}


def test_what_a_task_raises_is_raised_where_its_result_is_asked_for() -> None:
    with beside(lambda: 1 // 0) as told, pytest.raises(ZeroDivisionError):
        told()


class Fitting:
    """Sums of shards, of so many at a time at most as fit; which were tried together."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.tried: list[tuple[int, ...]] = []

    def __call__(self, batch: Batch[int]) -> int:
        self.tried.append(tuple(batch))
        if len(batch) > self.most:
            raise MemoryError
        return sum(10**shard for shard in batch)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("most", [1, 2, 5, 9])
def test_shards_that_do_not_fit_together_are_done_in_halves(threads: int, most: int) -> None:
    task = Fitting(most)
    assert sum(LocalRunner(threads).map(task, batches(range(9), 1))) == 111_111_111
    done = sorted(shard for batch in task.tried if len(batch) <= most for shard in batch)
    assert done == [*range(9)]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_shard_that_does_not_fit_alone_ends_the_work_with_advice(threads: int) -> None:
    task = Fitting(0)
    with pytest.raises(MemoryExhaustedError, match="more --shards"):
        list(LocalRunner(threads).map(task, batches(range(4), 1)))
    assert (0,) in task.tried
    assert (3,) not in task.tried


def test_a_shard_beside_which_others_filled_the_memory_is_done_again_by_itself() -> None:
    full = threading.Event()

    def once(batch: Batch[int]) -> int:
        if batch[0] == 0 and not full.is_set():
            full.set()
            raise MemoryError
        assert full.wait(timeout=60)
        return batch[0]

    found = LocalRunner(2).map(once, [Batch([0]), Batch([1])])
    assert sorted(found) == [0, 1]


def test_what_failed_for_want_of_memory_holds_none_while_it_is_done_again() -> None:
    class Table:
        pass

    left: list[weakref.ref[Table]] = []

    def task(batch: Batch[int]) -> int:
        if left and batch[0] == 0:
            gc.collect()
            return int(left[0]() is not None)
        table = Table()
        if batch[0] == 0:
            left.append(weakref.ref(table))
            raise MemoryError
        return 0

    assert sum(LocalRunner(2).map(task, [Batch([0]), Batch([1])])) == 0
