"""Our form and its peers, timed in turns in one process, so that all meet the same machine.

    equal results -> warm -> round after round: each peer once, then ours -> medians

`pytest-benchmark` times our form; each peer runs just before it, in the round's setup. Wall and
processor time of all are kept, and ratios are of medians: of processor times where one thread
works, because a busy machine stretches wall time, and of wall times where several do.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

WITH_PEERS = os.environ.get("IHP_BENCH_PEERS", "1") == "1"
"""Off when two commits are compared: the peers are the same for both."""
ROUNDS = int(os.environ.get("IHP_BENCH_ROUNDS", "5"))
QUICK = os.environ.get("IHP_BENCH_QUICK", "0") == "1"


@dataclass(frozen=True)
class Work:
    """What a call does, for the roofline table.

    Attributes
    ----------
    unit : str
        What is counted, e.g. "member-replicate".
    n_units : int
    n_bytes : int
        Bytes that must pass to or from memory: each input once, each output once.
    n_operations : int
        Arithmetic of the definition: multiplies, adds and comparisons; 0 where nobody counted.
    limit : str
        Which measured limit applies: "stream" (bytes a second) or "philox" (seconds of the same
        number of random words alone).
    sizes : mapping of name to int
    """

    unit: str
    n_units: int
    n_bytes: int
    n_operations: int = 0
    limit: str = "stream"
    sizes: Mapping[str, int] | None = None
    n_words: int = 0


class Clock:
    """Wall and processor seconds of every call of one form."""

    def __init__(self, form: Callable[[], Any]) -> None:
        self.form = form
        self.wall: list[float] = []
        self.process: list[float] = []

    def __call__(self) -> Any:
        """Run the form once and keep its times."""
        process, wall = time.process_time(), time.perf_counter()
        result = self.form()
        self.wall.append(time.perf_counter() - wall)
        self.process.append(time.process_time() - process)
        return result

    def forget(self) -> None:
        """Drop what was measured so far."""
        self.wall.clear()
        self.process.clear()

    def medians(self) -> dict[str, float]:
        """Median seconds and how often it ran."""
        return {
            "wall_seconds": statistics.median(self.wall),
            "process_seconds": statistics.median(self.process),
            "best_wall_seconds": min(self.wall),
            "rounds": len(self.wall),
        }


def race(
    benchmark: Any,
    ours: Callable[[], Any],
    peers: Mapping[str, Callable[[], Any]],
    work: Work,
    *,
    check: Mapping[str, Callable[[Any, Any], None]] | None = None,
    rounds: int | None = None,
    threads: int = 1,
    note: str = "",
    before: Callable[[], object] = lambda: None,
) -> None:
    """Check results, then time ours and the peers in turns.

    Parameters
    ----------
    benchmark : pytest-benchmark's fixture
    ours : callable
    peers : mapping of name to callable
        Each does the same work on the same arrays.
    work : Work
    check : mapping of peer to callable, optional
        Called with (our result, the peer's), raises where they differ. A peer without one is
        compared by `==` over arrays.
    rounds : int, optional
    threads : int
        Threads that each form may use.
    note : str
        What a reader of the ratio must know.
    before : callable
        Called before each form, outside its time.
    """
    if not WITH_PEERS:
        peers = {}
    own = Clock(ours)
    others = {name: Clock(form) for name, form in peers.items()}
    before()
    result = own()  # compiles, and touches the memory
    for name, clock in others.items():
        before()
        (check or {}).get(name, same)(result, clock())
    for clock in (own, *others.values()):
        clock.forget()

    def peers_first() -> None:
        if benchmark.enabled:
            for clock in others.values():
                before()
                clock()
        before()

    benchmark.pedantic(own, setup=peers_first, rounds=rounds or ROUNDS, iterations=1)
    if not benchmark.enabled:
        return
    benchmark.extra_info.update(
        work={**vars(work), "sizes": dict(work.sizes or {})},
        ours=own.medians(),
        peers={name: clock.medians() for name, clock in others.items()},
        threads=threads,
        note=note,
    )


def same(ours: Any, peer: Any) -> None:
    """Equal arrays, or equal sequences of arrays."""
    if isinstance(ours, tuple | list):
        assert len(ours) == len(peer)
        for one, other in zip(ours, peer, strict=True):
            same(one, other)
        return
    assert ours.shape == peer.shape, (ours.shape, peer.shape)
    assert (ours == peer).all()
