"""The threads of an ingest, how far they have come, and where their memory comes from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any, Final

import pyarrow as pa

from ihp_compute import freed_memory

_TURN_SECONDS: Final = 0.0002
"""How long a worker may hold the interpreter while another waits for it. Most of what workers do is
outside it, in steps of less than the usual 5 ms, after each of which one would wait so long."""

Progress = Callable[[int, int], None]
"""Called with (pieces done, pieces in all)."""


class Workers:
    """Some threads that share the pieces of each part of the work; `steps` is all their number."""

    def __init__(self, threads: int, progress: Progress | None) -> None:
        self.steps = 1
        self._threads = threads
        self._progress = progress
        self._done = 0

    def map(self, task: Callable[[Any], Any], items: list[Any], *, counted: bool = True) -> Any:
        """Results in order of the items. The first failure stops what has not begun."""
        with ThreadPoolExecutor(self._threads, thread_name_prefix="ingest") as pool:
            futures = [pool.submit(task, item) for item in items]
            try:
                for future in as_completed(futures):
                    future.result()
                    if counted:
                        self._done += 1
                        if self._progress is not None:
                            self._progress(self._done, self.steps)
            finally:
                for future in futures:
                    future.cancel()
            return [future.result() for future in futures]


@contextmanager
def memory_kept() -> Iterator[None]:
    """Keep what is freed, and let Arrow, in the whole process, allocate from the C library.

    Its own pool returns memory to the system between batches, and fresh memory costs as much as
    what is done in it.
    """
    freed_memory.keep()
    usual, plain = pa.default_memory_pool(), pa.system_memory_pool()
    if usual.backend_name == plain.backend_name:  # so chosen, or another ingest is on its way
        yield
        return
    pa.set_memory_pool(plain)
    try:
        yield
    finally:
        pa.set_memory_pool(usual)


@contextmanager
def short_turns() -> Iterator[None]:
    """Let the threads of the whole process hand over the interpreter sooner meanwhile."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(min(usual, _TURN_SECONDS))
    try:
        yield
    finally:
        sys.setswitchinterval(usual)
