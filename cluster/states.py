"""The life of a run: which state may follow which.

    queued -> validating -> running -> committing -> succeeded | failed
       ^          |            |           |
       +----------+------------+-----------+   its dispatcher stopped or died: somebody starts again
       ^          |            |           |
       |          v            v           +-> cancelling -> cancelled
       +---- needs_review <----+               (from validating and running too)

In `validating` a request is held against the population and its contracts, in `running` claims are
measured and settled, in `committing` results are written and put in their place. A run that tripped
a gate waits in `needs_review`, held by nobody, until somebody accepts what tripped or cancels it.

A state without a successor is final. Who moves a run, and when, is decided in `queue` and `leases`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

State: TypeAlias = Literal[
    "queued",
    "validating",
    "running",
    "committing",
    "cancelling",
    "needs_review",
    "succeeded",
    "failed",
    "cancelled",
]
Phase: TypeAlias = Literal["running", "committing"]
"""What an attempt says that it enters, in this order."""

SUCCESSORS: Final[Mapping[State, frozenset[State]]] = {
    "queued": frozenset({"validating", "cancelled", "failed"}),
    "validating": frozenset({"running", "needs_review", "failed", "cancelling", "queued"}),
    "running": frozenset({"committing", "needs_review", "failed", "cancelling", "queued"}),
    "committing": frozenset({"succeeded", "failed", "cancelling", "queued"}),
    "cancelling": frozenset({"cancelled"}),
    "needs_review": frozenset({"queued", "cancelled"}),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}
STATES: Final[tuple[State, ...]] = tuple(SUCCESSORS)
FINAL: Final = frozenset(state for state, following in SUCCESSORS.items() if not following)
HELD: Final[frozenset[State]] = frozenset({"validating", "running", "committing", "cancelling"})
"""States in which an attempt holds the run by a lease."""
AT_REST: Final = FINAL | {"needs_review"}
"""States in which nothing happens until somebody asks for it: there is nothing to wait for."""
ENTERED: Final[Mapping[Phase, str]] = {"running": "validated", "committing": "committing"}
"""The event that says that an attempt came so far, in the order of an attempt."""


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
