"""Whether a dispatcher that lives still moves: it touches its lock, and whoever watches looks.

A lock is held until its process ends, though the process be stopped, wait for a disk or turn in a
circle. So the holder touches the file every second, and the watcher counts how long it has not been
touched. Neither compares clocks: a touch is told from the one before, and time counts as the
watcher's own looks at it, so a clock that is stepped, or a machine that slept, ends nobody.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

import structlog

from cluster.home import Lock

TOUCH_S: Final = 1.0
START_S: Final = 300.0
"""How long a dispatcher may take until it is ready to work; Ray takes seconds, or many."""
_LOOK_S: Final = 2.0
"""What the time between two looks counts for at most: who watches may have slept himself."""

log = structlog.get_logger(__name__)


class Pulse:
    """Touches a lock as long as its holder moves; see `touched`."""

    def __init__(self, lock: Lock) -> None:
        until_s = time.monotonic() + START_S
        self._lock = lock
        self._moves: Callable[[], bool] = lambda: time.monotonic() < until_s
        self._over = threading.Event()

    def follow(self, moves: Callable[[], bool]) -> None:
        """Touch from now on while this says that work goes on."""
        self._moves = moves

    def run(self) -> None:
        """Touch until told to end."""
        moved = True
        while not self._over.wait(TOUCH_S):
            before, moved = moved, self._moves()
            if not moved:
                if before:
                    log.error("stuck")
                continue
            try:
                self._lock.touch()
            except OSError as error:  # a disk that takes nothing: whoever watches is to see that
                log.warning("not_touched", error=type(error).__name__)

    def end(self) -> None:
        """Touch no more."""
        self._over.set()


@contextlib.contextmanager
def touched(lock: Lock) -> Iterator[Pulse]:
    """Touch a lock that is held every second of the block, as long as its holder moves.

    Parameters
    ----------
    lock : Lock
        One that this process holds.

    Returns
    -------
    Pulse
        To be told what to follow; until then its holder starts, which may take `START_S`.
    """
    pulse = Pulse(lock)
    thread = threading.Thread(target=pulse.run, name="pulse", daemon=True)
    thread.start()
    try:
        yield pulse
    finally:
        pulse.end()
        thread.join()


class Watch:
    """For how long the holder of a lock has not touched it. Safe for threads.

    Parameters
    ----------
    lock : Lock
    """

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._guard = threading.Lock()
        self._seen: int | None = None
        self._looked_s = time.monotonic()
        self._quiet_s = 0.0

    def look(self) -> float:
        """Seconds since the last touch, as far as they were watched."""
        with self._guard:
            now_s, seen = time.monotonic(), self._lock.touched_ns()
            passed_s = min(now_s - self._looked_s, _LOOK_S)
            self._quiet_s = self._quiet_s + passed_s if seen == self._seen else 0.0
            self._seen, self._looked_s = seen, now_s
            return self._quiet_s
