"""What a process does with memory that it frees: keeps it for the next array, or gives it back.

    a recalculation -> kept          a service -> given back

Decided once for a process, by whoever comes first: a recalculation inside a service gives back.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

Way: TypeAlias = Literal["kept", "given back"]

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
_MALLOPT: Final[Mapping[Way, Mapping[int, int]]] = {
    "kept": {_MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 256 << 20, _ARENA_MAX: 1},
    "given back": {_MMAP_THRESHOLD: 256 << 10, _TRIM_THRESHOLD: 256 << 10, _ARENA_MAX: 2},
}
"""Options of glibc's mallopt(3): bytes, and how many heaps there are. 32 MiB are the most that the
first takes; the heap of a thread alone is given back when it empties, whatever is set."""
_POOL: Final = "ARROW_DEFAULT_MEMORY_POOL"
_decided: list[Way] = []


def keep() -> Way:
    """Let a shard's arrays take the place of the last one's, in memory that the process still has.

    By default the C library gives much of what is freed back at once, and each page of the next
    array is a fault: up to a tenth of a recalculation's processor time. What a process keeps by it
    is some 100 MiB more.

    Returns
    -------
    "kept" or "given back"
        What this process does.
    """
    return _decide("kept")


def give_back() -> Way:
    """Have what is freed given back to the system, whichever thread had it.

    By itself glibc learns from the first large piece that is freed to keep tens of MiB for the
    next, and the pool that Arrow takes keeps for each thread what the thread once needed: a service
    that sent a million rows grew by 184 MiB where this one grows by 30. Arrow chooses when it is
    first used, so this must come before; processes that are started later choose for themselves.

    Returns
    -------
    "kept" or "given back"
        What this process does.
    """
    way = _decide("given back")
    if way == "given back" and _POOL not in os.environ:
        os.environ[_POOL] = "system"
        try:
            import pyarrow as pa  # noqa: PLC0415 (see above)

            pa.default_memory_pool()
        finally:
            del os.environ[_POOL]
    return way


def _decide(way: Way) -> Way:
    if not _decided:
        _decided.append(way)
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:  # glibc
            for option, value in _MALLOPT[way].items():
                mallopt(option, value)
    return _decided[0]
