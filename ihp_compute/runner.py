"""Where tasks run, seen from the domain: one method.

A task is a picklable callable of one shard. Results come back in any order; every merge in this
package is a sum of integers, so the order cannot matter. `LocalRunner` uses threads in this
process: the kernels release the GIL and are serial, so threads live here and nowhere else.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from typing import Final, Protocol, TypeVar

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
        keep_freed_memory()

    def map(self, task: Callable[[S], T], shards: Sequence[S]) -> Iterator[T]:
        """Yield results as they finish. The first failure stops the rest and is raised."""
        if self.parallelism == 1 or len(shards) == 1:
            yield from map(task, shards)
            return
        with ThreadPoolExecutor(max_workers=self.parallelism, thread_name_prefix="shard") as pool:
            futures = [pool.submit(task, shard) for shard in shards]
            try:
                for future in as_completed(futures):
                    yield future.result()
            finally:
                for future in futures:
                    future.cancel()


_TRIM_THRESHOLD: Final = -1, 256 << 20
_MMAP_THRESHOLD: Final = -3, 32 << 20
_ARENA_MAX: Final = -8, 1
"""Options of glibc's `mallopt` and their values: bytes, of the second the most that it takes, and
how many heaps there are; that of a thread alone is given back when it empties, whatever is set."""


@cache
def keep_freed_memory() -> bool:
    """Let a shard's arrays take the place of the last one's, in memory that the process still has.

    By default the C library gives much of what is freed back at once, and each page of the next
    array is a fault: up to a tenth of a recalculation's processor time. What a process keeps by it
    is some 100 MiB more.

    Returns
    -------
    bool
        Whether the C library has these options: glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(
        mallopt(*_MMAP_THRESHOLD) and mallopt(*_TRIM_THRESHOLD) and mallopt(*_ARENA_MAX)
    )


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
