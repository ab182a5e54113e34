"""Where tasks run, seen from the domain: one method.

A task is a picklable callable of one shard. Results come back in any order; every merge in this
package is a sum of integers, so the order cannot matter. `LocalRunner` uses threads in this
process: the kernels release the GIL and are serial, so threads live here and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Runner(Protocol):
    """Runs one task over many shards."""

    name: str

    def map(self, task: Callable[[Any], T], shards: Sequence[Any]) -> Iterator[T]:
        """Yield `task(shard)` for every shard, in any order."""
        ...


class LocalRunner:
    """Threads in this process; the command line's default, because starting Ray costs seconds."""

    name = "local"

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or os.cpu_count() or 1

    def map(self, task: Callable[[Any], T], shards: Sequence[Any]) -> Iterator[T]:
        """Yield results as they finish. The first failure stops the rest and is raised."""
        if self.threads == 1 or len(shards) == 1:
            yield from map(task, shards)
            return
        with ThreadPoolExecutor(max_workers=self.threads, thread_name_prefix="shard") as pool:
            futures = [pool.submit(task, shard) for shard in shards]
            try:
                for future in as_completed(futures):
                    yield future.result()
            finally:
                for future in futures:
                    future.cancel()
