"""The life of a run: which state may follow which.

    queued -> running -> succeeded | failed | cancelled
       ^         |
       +---------+   the dispatcher stopped or died: somebody else starts again

A state without a successor is final. Who moves a run, and when, is decided in `queue` and `leases`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

State: TypeAlias = Literal["queued", "running", "succeeded", "failed", "cancelled"]

STATES: Final[tuple[State, ...]] = ("queued", "running", "succeeded", "failed", "cancelled")
SUCCESSORS: Final[Mapping[State, frozenset[State]]] = {
    "queued": frozenset({"running", "cancelled", "failed"}),
    "running": frozenset({"succeeded", "failed", "cancelled", "queued"}),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}
FINAL: Final = frozenset(state for state, following in SUCCESSORS.items() if not following)


class TransitionError(Exception):
    """A move that the life of a run does not know: a defect of ours, never of the user."""


def check(before: State, after: State) -> None:
    """Refuse a move that `SUCCESSORS` does not list.

    Raises
    ------
    TransitionError
    """
    if after not in SUCCESSORS[before]:
        allowed = ", ".join(sorted(SUCCESSORS[before])) or "nothing"
        raise TransitionError(f"a run cannot go from {before} to {after}: {allowed} may follow")
