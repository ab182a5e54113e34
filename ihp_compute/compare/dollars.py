"""From what one run pays to what another does, step by step, in cents that add up.

    walk of a + walk of b -> base, its changes, observed -> savings
                          -> share, its changes -> payment

The walk of a run is levels and changes that lead from base to payment. Held against another run's,
each step moves savings or payment by the difference of its amounts: a step that one run does not
have stands there as 0. So the moves of a part are its result in b less that in a, to the cent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import pyarrow as pa

from ihp_compute.errors import RunError
from ihp_compute.settlement import Step, steps

STATE: Final = ""
"""Stands for a partnership where everybody is meant."""
RESULTS: Final[Mapping[str, str]] = {"savings": "target", "payment": "payment"}
"""Results that are walked to, and the line of a walk that a level and its changes lead to."""
START: Final[Mapping[str, str]] = {"savings": "base", "payment": "share"}
"""What the level is called from which the changes start, whichever line states it."""


@dataclass(frozen=True)
class Moved:
    """What one step moves; cents, None where it is held back."""

    step: str
    a_cents: int | None
    b_cents: int | None

    @property
    def change_cents(self) -> int | None:
        """What it moves of the result."""
        if self.a_cents is None or self.b_cents is None:
            return None
        return self.b_cents - self.a_cents


@dataclass(frozen=True)
class DollarWalk:
    """From a result of one run to that of the other.

    Attributes
    ----------
    partnership_id : str
        Or `STATE`, everybody together.
    result : str
        One of `RESULTS`.
    a_cents, b_cents : int or None
        The result in each run; 0 in one that does not settle the partnership; None where it is held
        back.
    moves : tuple of Moved
        In the order of the walk; their changes add up to that of the result.
    """

    partnership_id: str
    result: str
    a_cents: int | None
    b_cents: int | None
    moves: tuple[Moved, ...]

    @property
    def change_cents(self) -> int | None:
        """What the result is in b, less what it is in a."""
        return Moved(self.result, self.a_cents, self.b_cents).change_cents


_Part: TypeAlias = Mapping[str, int] | None
"""What each step gives to a result; None: held back."""


def dollar_walks(a: pa.Table, b: pa.Table) -> list[DollarWalk]:
    """The walks from one run to another, of the state and of each partnership of either.

    Parameters
    ----------
    a, b : Table
        `results.WALK` of both runs, whole or as everybody may see it.

    Raises
    ------
    RunError
        If the lines of a run's walk do not add up, so that it was changed.
    """
    one, other = _by_partnership(a), _by_partnership(b)
    found = []
    for result in RESULTS:
        walks = [
            _walk(
                name,
                result,
                _part(one.get(name, ()), result),
                _part(other.get(name, ()), result),
            )
            for name in sorted({*one, *other})
        ]
        found += [_together(walks, result), *walks]
    return sorted(found, key=lambda walk: (walk.partnership_id != STATE, walk.partnership_id))


def _by_partnership(walk: pa.Table) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in walk.to_pylist():
        found.setdefault(row["partnership_id"], []).append(row)
    return found


def _part(rows: Sequence[Mapping[str, Any]], result: str) -> _Part:
    """What each step of a partnership's walk gives to a result; nothing where it has no walk."""
    if any(row["amount_cents"] is None for row in rows):
        return None
    if not rows:
        return {}
    walked = {step.step: step for step in steps(rows)}
    before: list[Step] = []
    for step in walked.values():
        if step.step == RESULTS[result]:
            break
        before = [step] if step.before_cents is None else [*before, step]
    level, *changes = before
    part = {START[result]: level.amount_cents} | {step.step: step.amount_cents for step in changes}
    if result == "savings":
        part["observed"] = -walked["observed"].amount_cents
    if sum(part.values()) != walked[result].amount_cents:
        raise RunError(
            f"{rows[0]['partnership_id']}: the lines of its walk come to another {result} than it "
            "says; verify the run with ihp verify"
        )
    return part


def _walk(name: str, result: str, a: _Part, b: _Part) -> DollarWalk:
    moves = tuple(
        Moved(step, None if a is None else a.get(step, 0), None if b is None else b.get(step, 0))
        for step in _order(a or {}, b or {})
    )
    before, after = (None if part is None else sum(part.values()) for part in (a, b))
    return DollarWalk(name, result, before, after, moves)


def _order(a: Iterable[str], b: Iterable[str]) -> list[str]:
    """Steps of both walks: those of a, others of b each after the one that it follows there."""
    found = list(a)
    place = 0
    for step in b:
        if step in found:
            place = found.index(step) + 1
        else:
            found.insert(place, step)
            place += 1
    return found


def _together(walks: Sequence[DollarWalk], result: str) -> DollarWalk:
    """The state's walk; held back where a partnership's is, which would follow from it."""
    order: list[str] = []
    for walk in walks:
        order = _order(order, [move.step for move in walk.moves])
    one, other = (_sums(walks, side, order) for side in ("a_cents", "b_cents"))
    return _walk(STATE, result, one, other)


def _sums(walks: Sequence[DollarWalk], side: str, order: Iterable[str]) -> _Part:
    """What each step gives to the state's result in one run; None where it is held back of one."""
    if any(getattr(walk, side) is None for walk in walks):
        return None
    sums = dict.fromkeys(order, 0)
    for walk in walks:
        for move in walk.moves:
            sums[move.step] += getattr(move, side)
    return sums
