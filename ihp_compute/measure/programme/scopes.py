"""Of whom the programme speaks: each group, all partnerships, each programme, track, the state.

A member is of one group a year, so a scope's sums over members are those of its groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.measure.plan import Plan

PARTNERSHIP, ATTRIBUTED, STATE = "partnership", "attributed", "state"


@dataclass(frozen=True)
class ProgrammeScope:
    """One group or several.

    Attributes
    ----------
    scope : str
        partnership (COMPARISON and UNATTRIBUTED too), attributed, programme, track or state.
    scope_id : str
        The group, the contract's programme or name; else the scope itself.
    groups : tuple of int
        Places of its groups in the roster's.
    """

    scope: str
    scope_id: str
    groups: tuple[int, ...]


def programme_scopes(*plans: Plan) -> tuple[ProgrammeScope, ...]:
    """Every scope of a run: groups in the roster's order, then sums of them by name.

    Parameters
    ----------
    plans : Plan
        Of all measurements of the run, which share its partnerships out among them.
    """
    groups = plans[0].roster.groups
    partnerships = [g for g, name in enumerate(groups) if name not in (COMPARISON, UNATTRIBUTED)]
    of_contract = {
        g: plan.contracts.contracts[settles]
        for g in partnerships
        for plan in plans
        if (settles := plan.contracts.settles(groups[g])) in plan.contracts.contracts
    }
    of_programme = {g: contract.programme for g, contract in of_contract.items()}
    of_track = {g: contract.name for g, contract in of_contract.items()}
    return (
        *(ProgrammeScope(PARTNERSHIP, name, (g,)) for g, name in enumerate(groups)),
        ProgrammeScope(ATTRIBUTED, ATTRIBUTED, tuple(partnerships)),
        *_by("programme", of_programme),
        *_by("track", of_track),
        ProgrammeScope(STATE, STATE, tuple(range(len(groups)))),
    )


def _by(scope: str, of_group: dict[int, str]) -> Sequence[ProgrammeScope]:
    return [
        ProgrammeScope(scope, name, tuple(g for g, of in of_group.items() if of == name))
        for name in sorted(set(of_group.values()))
    ]
