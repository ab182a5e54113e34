"""Claims that look like visits elsewhere and are none under the contracts shipped.

Each is declared in `DECOYS`: at a clinician of another group it would attribute its member, were
not the place, the kind of line, the month or its fate as it is. They befall members whom one more
visit to primary care would move: those without a home, and those whose home is a specialist's. What
costs stays what it was: decoys that are cost share the member-year's dollars like any other claim,
the others are payments, unpaid, voided, or of months that do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from ihp_compute.synth.claims import KIND_PRIMARY, ROUTE_SPECIALIST
from ihp_compute.synth.codes import (
    CAPITATION_VISIT,
    DENIED_VISIT,
    EMERGENCY_VISIT,
    LIMITED_VISIT,
    PLACES_ELSEWHERE,
    STAY_VISIT,
    SUPPLEMENT_VISIT,
    VOIDED_VISIT,
    visit_in,
)
from ihp_compute.synth.columns import Array, Ints
from ihp_compute.synth.hospital import LEAST_NEED_USD
from ihp_compute.synth.limits import NO_LIMIT
from ihp_compute.synth.lognormal import Floats
from ihp_compute.synth.member_years import HOME, Claims, MemberYears
from ihp_compute.synth.member_years import clinician as clinician_of
from ihp_compute.synth.network import Network
from ihp_compute.synth.people import MONTHS_BEFORE, N_PARTNERSHIPS, NO_GROUP
from ihp_compute.synth.shapes import SHAPES


@dataclass(frozen=True)
class Decoy:
    """A kind of claim that is no visit.

    role : of the templates that it is made of
    share : of the member-years, or of limited months, that it may befall
    scope : any whom one visit would move; of these those who need much, and not so much that they
        have stays; months of limited cover
    """

    role: str
    share: float
    scope: Literal["any", "needy", "limited"] = "any"


DECOYS: Final = (
    *(Decoy(visit_in(place), 0.03) for place in PLACES_ELSEWHERE),
    Decoy(STAY_VISIT, 0.6, "needy"),
    Decoy(EMERGENCY_VISIT, 0.05),
    Decoy(CAPITATION_VISIT, 0.04),
    Decoy(SUPPLEMENT_VISIT, 0.04),
    Decoy(DENIED_VISIT, 0.05),
    Decoy(VOIDED_VISIT, 0.05),
    Decoy(LIMITED_VISIT, 0.6, "limited"),
)
_NEEDY_USD: Final = (2_000, LEAST_NEED_USD)
_EMERGENCY_ROLES: Final = (visit_in("23"), EMERGENCY_VISIT)
_AGAIN: Final = 0.3
_MORE_IN_A_MONTH: Final = 1.0


def with_decoys(
    rng: np.random.Generator, years: MemberYears, net: Network, claims: Claims
) -> Claims:
    """The claims of a block's member-years, and decoys among them, in no order."""
    people, member, year = years.people, years.member, years.year
    group = people.group[member, year].astype(np.int64)
    movable = (group == NO_GROUP) | (people.route[member] >= ROUTE_SPECIALIST)
    movable &= years.total_days > 0
    need, (least, most) = years.need_usd, _NEEDY_USD
    needy = movable & (need > least) & (need <= most)
    parts = [claims]
    for decoy in DECOYS:
        if decoy.scope == "limited":
            row, column, day = _limited_days(rng, years, decoy.share)
        else:
            within = needy if decoy.scope == "needy" else movable
            share = decoy.share * _planted(years, decoy.role)
            row = np.flatnonzero(within & (rng.random(len(member)) < share))
            if decoy.role != STAY_VISIT:  # nor is one stay soon after another
                row = np.repeat(row, 1 + (rng.random(len(row)) < _AGAIN))
            index = (rng.random(len(row)) * years.total_days[row]).astype(np.int64)
            column, day, _ = years.place(row, index)
        other = _elsewhere(group[row], member[row])
        template = SHAPES.draw(rng, decoy.role, years.mix[row])
        seen = clinician_of(rng, net, other, KIND_PRIMARY)
        made = Claims.of_a_day(row, template, column, day, seen, net.clinic[other])
        made.disposition[SHAPES.is_stay[template]] = HOME
        parts.append(made)
    return Claims.join(parts)


def _planted(years: MemberYears, role: str) -> Floats:
    """Factor of what is planted on claims of a role, of each member-year."""
    if role in _EMERGENCY_ROLES:
        return years.changes.emergency
    if role == STAY_VISIT:
        return years.changes.stays
    return np.ones(len(years.member))


def _elsewhere(group: Ints, member: Ints) -> Ints:
    """A group that is not the member's own, the same for all of a member's."""
    step = 1 + member % N_PARTNERSHIPS
    return np.where(group == NO_GROUP, step, (group + step) % (N_PARTNERSHIPS + 1))


def _limited_days(
    rng: np.random.Generator, years: MemberYears, share: float
) -> tuple[Ints, Ints, Array]:
    """Member-years, window columns and days of visits in months of limited cover."""
    first, stop = int(years.member[0]), int(years.member[-1]) + 1
    people = years.people
    limited = people.enrolled[first:stop] & (people.limit[first:stop] != NO_LIMIT)
    limited[:, :MONTHS_BEFORE] = limited[:, MONTHS_BEFORE + 24 :] = False
    member, column = np.nonzero(limited)
    some = np.flatnonzero(rng.random(len(member)) < share)
    again = np.repeat(some, 1 + rng.poisson(_MORE_IN_A_MONTH, len(some)))
    member, column = member[again], column[again]
    row = 2 * member + (column >= MONTHS_BEFORE + 12)
    return row, column, rng.integers(0, 28, len(row))
