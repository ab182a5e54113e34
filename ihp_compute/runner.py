"""Where tasks run, seen from the domain: one method.

A task is a picklable callable of one shard. Results come back in any order; every merge in this
package is a sum of integers, so the order cannot matter. `LocalRunner` uses threads in this
process: the kernels release the GIL and are serial, so threads live here and nowhere else.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Protocol, TypeVar

from ihp_compute import freed_memory
from ihp_compute.errors import MemoryExhaustedError

S = TypeVar("S")
T = TypeVar("T")


class Runner(Protocol):
    """Runs one task over many shards.

    `parallelism` is how many tasks it runs at a time: what is worth cutting the work into.
    """

    name: str
    parallelism: int

    def map(self, task: Callable[[S], T], shards: Sequence[S]) -> Iterator[T]:
        """Yield `task(shard)` for every shard, in any order."""
        ...


class LocalRunner:
    """Threads in this process; the command line's default, because starting Ray costs seconds."""

    name = "local"

    def __init__(self, threads: int | None = None) -> None:
        self.parallelism = threads or os.cpu_count() or 1
        freed_memory.keep()

    def map(self, task: Callable[[S], T], shards: Sequence[S]) -> Iterator[T]:
        """Yield results as they finish. The first failure stops the rest and is raised.

        Where memory runs out a shard is done once more when no other is under way, a `Batch` in
        halves, so that a result may be of fewer shards than were asked for together.

        Raises
        ------
        MemoryExhaustedError
            If one shard alone does not fit.
        """
        if self.parallelism == 1 or len(shards) == 1:
            yield from _one_by_one(task, shards)
            return
        full: list[S] = []
        with ThreadPoolExecutor(max_workers=self.parallelism, thread_name_prefix="shard") as pool:
            futures = {pool.submit(task, shard): shard for shard in shards}
            try:
                for future in as_completed([*futures]):
                    # what failed holds on to what filled the memory, by its frames
                    shard = futures.pop(future)
                    try:
                        yield future.result()
                    except MemoryError:
                        full.append(shard)
            finally:
                for future in futures:
                    future.cancel()
        yield from _one_by_one(task, full)


def _one_by_one(task: Callable[[S], T], shards: Sequence[S]) -> Iterator[T]:
    """Results in order, of a batch in its halves where it does not fit."""
    waiting = deque(shards)
    while waiting:
        shard = waiting.popleft()
        try:
            found = task(shard)
        except MemoryError as error:
            halves: tuple[Any, ...] = shard.halves() if isinstance(shard, Batch) else ()
            if len(halves) < 2:
                raise MemoryExhaustedError(
                    "one shard alone does not fit this machine's memory; ingest with more "
                    "--shards, ask for fewer --replicates, or use a machine with more memory"
                ) from error
            waiting.extendleft(reversed(halves))
            continue
        yield found


BATCHES_PER_WORKER = 2
"""Enough to even out the work; few, because each batch draws its members' weights once."""


class Batch(tuple[S, ...]):
    """Neighbouring shards of one task, which a runner may cut further: results are sums.

    So a batch that does not fit a machine's memory is done in parts, and what an earlier attempt
    has done is left out.
    """

    __slots__ = ()

    def halves(self) -> tuple[Batch[S], ...]:
        """The batch in two, the same where it is one shard.

        >>> Batch("abc").halves()
        (('a',), ('b', 'c'))
        """
        middle = len(self) // 2
        return (Batch(self[:middle]), Batch(self[middle:])) if middle else (self,)


def batches(shards: Sequence[T], parallelism: int) -> list[Batch[T]]:
    """Cut shards into runs of neighbours, a few for each worker.

    >>> ["".join(batch) for batch in batches("abcdefghij", 2)]
    ['ab', 'cde', 'fgh', 'ij']
    """
    n = min(len(shards), BATCHES_PER_WORKER * parallelism)
    edges = [round(i * len(shards) / n) for i in range(n + 1)] if n else []
    return [Batch(shards[start:end]) for start, end in pairwise(edges)]


@contextmanager
def beside(task: Callable[[], T]) -> Iterator[Callable[[], T]]:
    """Run a task in a thread of its own beside the block; gives what waits for its result.

    The block ends when the task has. What the task raises is raised where its result is asked for.

    >>> with beside(lambda: 2 + 3) as five:
    ...     four = 2 + 2
    ...     five() - four
    1
    """
    with ThreadPoolExecutor(1, thread_name_prefix="beside") as pool:
        yield pool.submit(task).result
