"""Whose settlements are added up: each partnership, all of them, each programme, each track.

A replicate of a scope is the sum of its partnerships' cents in that replicate. Members are drawn
once, whatever partnership they are of, so the sums move as the partnerships move together; ends of
intervals are never added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ihp_compute.settlement.settle import CONDITIONINGS, Draws, Settled

PARTNERSHIP: Final = "partnership"
STATE: Final = "state"
SETTLED: Final = "settled"
"""What a settlement rests on: people of both years; and the sum of all that settle."""
SCOPES: Final[dict[str, Callable[[Settled], str]]] = {
    PARTNERSHIP: lambda one: one.partnership_id,
    "attributed": lambda _: "attributed",
    "programme": lambda one: one.programme,
    "track": lambda one: one.contract,
    STATE: lambda _: STATE,
}
"""What each partnership is of, by scope; a track is the contract's name."""
SUMMED: Final = (
    "target_cents", "observed_cents", "savings_cents", "payment_cents", "state_net_cents",
)  # fmt: skip
"""Cents of a settlement that add up over partnerships."""


@dataclass(frozen=True)
class Scope:
    """One partnership or several, with their joint draws.

    Attributes
    ----------
    scope, scope_id : str
        One of `SCOPES`, and which.
    settled : tuple of Settled
    draws : dict of conditioning to Draws
        Of several partnerships: cents summed by replicate, savings over target of the sums (0
        without a target), `passed` the number that reached their gate.
    """

    scope: str
    scope_id: str
    settled: tuple[Settled, ...]
    draws: dict[str, Draws]

    def total(self, name: str) -> int:
        """Sum over the partnerships of what is settled of each as observed."""
        return sum(getattr(one, name) for one in self.settled)


def scopes_of(settled: Sequence[Settled]) -> list[Scope]:
    """Every scope of the partnerships of a run, by scope and id; none without partnerships."""
    found = []
    for scope, id_of in SCOPES.items():
        grouped: dict[str, list[Settled]] = {}
        for one in settled:
            grouped.setdefault(id_of(one), []).append(one)
        found += [
            Scope(scope, scope_id, tuple(members), _joint(members))
            for scope_id, members in sorted(grouped.items())
        ]
    return found


def _joint(members: Sequence[Settled]) -> dict[str, Draws]:
    """Draws of partnerships drawn together."""
    if len(members) == 1:
        return members[0].draws
    joint = {}
    for conditioning in CONDITIONINGS:
        own = [one.draws[conditioning] for one in members]
        sums: dict[str, Any] = {
            name: np.sum([getattr(draws, name) for draws in own], axis=0)
            for name in (*SUMMED, "passed")
        }
        target = sums["target_cents"]
        rate = np.divide(
            sums["savings_cents"], target, out=np.zeros(target.shape), where=target != 0
        )
        joint[conditioning] = Draws(savings_rate=rate, **sums)
    return joint
