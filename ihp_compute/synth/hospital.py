"""Emergency visits and hospital stays of synthetic members, and the visits that follow a stay.

    need -> emergency visits on days of their own
    need -> stays, each in a slot of the year -> some followed by another -> where the patient went

How many there are is expected from what a member-year needs and what is planted (`changes`),
independently of each other, so that the ratio of two groups' expectations is the planted one:

* two emergency visits of a year are never on one day;
* stays stand in slots of the year so far apart that of one year only a planted readmission is
  admitted within 30 days of a discharge: where the part that is followed changes, there are fewer
  stays to begin with, and as many in all;
* who delivers has no other stay in that year, but one before the delivery where stays are more;
  who dies may do so in hospital, if no slot could hold a stay.

A stay of the first days of a year may follow one of the year before by chance.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.synth.changes import READMITTED_SHARE
from ihp_compute.synth.codes import (
    ANTEPARTUM,
    CONDITIONS,
    EMERGENCY,
    PHYSICIAN,
    STAYS_FOR,
    stay_for,
)
from ihp_compute.synth.columns import Array, Ints
from ihp_compute.synth.lognormal import Floats
from ihp_compute.synth.member_years import (
    DIED,
    DISPOSITIONS,
    TRANSFERRED,
    Claims,
    MemberYears,
    conditions_of,
    distinct_days,
    own_clinician,
)
from ihp_compute.synth.network import Network
from ihp_compute.synth.people import MATERNITY, MONTHS_BEFORE, NO_GROUP
from ihp_compute.synth.shapes import SHAPES

_HOSPITALS: Final = 60
"""The first of those outside the roster."""
_VISITS_PER_USD: Final = 1 / 8_300
_LEAST_VISITS, _MOST_VISITS = 0.02, 4.6
_SEEN_BY_PHYSICIAN: Final = 0.55
_STAYS_PER_USD: Final = 1 / 52_000
_LEAST_STAYS: Final = 0.02
LEAST_NEED_USD: Final = 5_000
"""Who needs less has no stay but of a birth, a delivery or a death."""
_SLOT_DAYS: Final = 70
_MOST_IN_SLOT: Final = 0.5
"""Chance of a stay in a slot, before what is planted."""
_MOST_DAYS: Final = 8
_GAP: Final = (3, 21)
"""Days from a discharge to a readmission, the last excluded."""
_CONDITION_SHARE: Final = 0.6
_TRANSFER_SHARE: Final = 0.04
_DIES_IN_HOSPITAL: Final = 0.3
_DISPOSITION_SHARES: Final = (0.78, 0.008, 0.08, 0.10, 0.02, 0.0, 0.012)
_SAME_DAY_SHARE: Final = 0.03
_FOLLOW_UP_SHARE: Final = 0.4
_FOLLOW_UP_DAYS: Final = (2, 13)


def hospital_claims(rng: np.random.Generator, years: MemberYears, net: Network) -> list[Claims]:
    """All of it, in no order."""
    stays = _stays(rng, years, net)
    return [*_emergency(rng, years, net), stays, _follow_ups(rng, years, net, stays)]


def _hospital(rng: np.random.Generator, net: Network, n: int) -> Ints:
    return rng.integers(net.outside[0], net.outside[0] + _HOSPITALS, n)


def _emergency(rng: np.random.Generator, years: MemberYears, net: Network) -> list[Claims]:
    """Emergency visits, about half of them with a claim of who treated there."""
    mean = np.minimum(_LEAST_VISITS + years.need_usd * _VISITS_PER_USD, _MOST_VISITS)
    mean *= (years.need_usd > 0) * years.changes.emergency
    n = np.minimum(rng.poisson(mean), years.total_days)
    row, index = distinct_days(rng, n, years.total_days)
    column, day, _ = years.place(row, index)
    facility = _hospital(rng, net, len(row))
    template = SHAPES.draw(rng, EMERGENCY, years.mix[row])
    visits = Claims.of_a_day(row, template, column, day, facility, facility)
    treated = visits.take(np.flatnonzero(rng.random(len(row)) < _SEEN_BY_PHYSICIAN))
    treated.template = SHAPES.draw(rng, PHYSICIAN, years.mix[treated.row])
    treated.rendering = rng.integers(net.outside[0], net.outside[1], len(treated))
    return [visits, treated]


def _stays(rng: np.random.Generator, years: MemberYears, net: Network) -> Claims:
    """Stays with their transfers, deliveries and births."""
    need, days = years.need_usd, years.total_days
    aid = years.people.aid[years.member, MONTHS_BEFORE + 12 * years.year + 6]
    delivers = (aid == MATERNITY) & (need > 2_500) & (days > 0)
    row, index, again = _episodes(rng, years, delivers)
    template = _reason(rng, years, row)
    column, day, left = years.place(row, index)
    length = _lengths(rng, left)
    # who is there once more: some days after the discharge, if still covered then
    later = index + length + rng.integers(*_GAP, len(row))
    again &= later < days[row]
    column_2, day_2, left_2 = years.place(row[again], later[again])
    length_2 = _lengths(rng, left_2)
    template_2 = _reason(rng, years, row[again])

    parts = [
        (row, template, column, day, length),
        (row[again], template_2, column_2, day_2, length_2),
        _deliveries(rng, years, np.flatnonzero(delivers)),
        _births(rng, years),
    ]
    row, template, column, day, length = (
        np.concatenate(values) for values in zip(*parts, strict=True)
    )
    facility = _hospital(rng, net, len(row))
    disposition = np.searchsorted(np.cumsum(_DISPOSITION_SHARES)[:-1], rng.random(len(row)))
    found = Claims(row, template, column, day, length, facility, facility, disposition)
    at_end = _ends_in_death(years, found)
    found.disposition[at_end] = DIED
    return Claims.join([_moved(rng, net, found), _last_stays(rng, years, net, delivers)])


def _episodes(
    rng: np.random.Generator, years: MemberYears, delivers: NDArray[np.bool_]
) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Stays to begin with, at most one in each slot of a year, and which are to be followed.

    A slot begins anywhere, so that days are uniform, and holds a stay and the one that follows it.
    """
    followed = READMITTED_SHARE / (1 - READMITTED_SHARE)
    share = READMITTED_SHARE * years.changes.readmitted
    odds = share / (1 - share)
    in_slot, slots = _in_slot(years, delivers)
    chance = in_slot * years.changes.stays * (1 + followed) / (1 + odds)
    most = int(slots.max(initial=1))
    held = rng.random((len(slots), most)) < chance[:, None]
    held &= np.arange(most) < slots[:, None]
    row, slot = np.nonzero(held)
    days = years.total_days
    phase = rng.random(len(slots)) * days
    width = days / np.maximum(slots, 1)
    # the same place in every slot of a year: the distance between stays is that of slots
    index = (phase[row] + slot * width[row]) % np.maximum(days[row], 1)
    jitter = rng.random(len(row)) * np.maximum(width[row] - _SLOT_DAYS, 0)
    index = (index + jitter) % np.maximum(days[row], 1)
    again = rng.random(len(row)) < odds[row]
    return row, np.minimum(index.astype(np.int64), days[row] - 1), again


def _in_slot(years: MemberYears, delivers: NDArray[np.bool_]) -> tuple[Floats, Ints]:
    """Chance of a stay in each slot where nothing is planted, and slots of each member-year."""
    need = years.need_usd
    mean = np.where(need > LEAST_NEED_USD, _LEAST_STAYS + need * _STAYS_PER_USD, 0.0)
    mean *= (1 - READMITTED_SHARE) * ~delivers
    slots = np.where(years.total_days > 0, np.maximum(years.total_days // _SLOT_DAYS, 1), 0)
    return np.minimum(mean / np.maximum(slots, 1), _MOST_IN_SLOT), slots


def _lengths(rng: np.random.Generator, left: Ints) -> Ints:
    """Nights of stays that begin so many days before the end of a month."""
    nights = 1 + np.minimum(rng.poisson(3.2, len(left)), _MOST_DAYS - 1)
    nights = np.where(rng.random(len(left)) < _SAME_DAY_SHARE, 0, nights)
    return np.minimum(nights, left)


def _reason(rng: np.random.Generator, years: MemberYears, row: Ints) -> Ints:
    """Templates of stays: for a condition that the member has, or of another cause."""
    template = SHAPES.draw(rng, "stay", years.mix[row])
    names = [condition.name for condition in CONDITIONS]
    has = conditions_of(years)[row]
    open_ = rng.random(len(row)) < _CONDITION_SHARE
    for name in STAYS_FOR:
        there = open_ & has[:, names.index(name)]
        template = np.where(there, SHAPES.choices[stay_for(name)][0], template)
        open_ &= ~there
    return template


def _deliveries(
    rng: np.random.Generator, years: MemberYears, rows: Ints
) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """One of each who delivers, and where stays are more a stay half a year from it."""
    days, change = years.total_days[rows], years.changes.stays[rows]
    index = (rng.random(len(rows)) * days).astype(np.int64)
    u = rng.random(len(rows))
    kept, before = u < change, u < change - 1
    row = np.concatenate([rows[kept], rows[before]])
    index = np.concatenate([index[kept], ((index + days // 2) % np.maximum(days, 1))[before]])
    template = np.concatenate(
        [
            SHAPES.draw(rng, role, years.mix[rows[some]])
            for role, some in (("birth", kept), (ANTEPARTUM, before))
        ]
    )
    column, day, left = years.place(row, index)
    return row, template, column, day, _lengths(rng, left)


def _births(rng: np.random.Generator, years: MemberYears) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """A stay of every newborn who is enrolled from birth, at the first day."""
    people = years.people
    column = np.searchsorted(
        people.calendar.first_days, people.birth_day[years.member], side="right"
    ) - 1  # fmt: skip
    first = MONTHS_BEFORE + 12 * years.year
    in_year = (column >= first) & (column < first + 12)
    row = np.flatnonzero(in_year & (years.need_usd > 300) & (years.total_days > 0))
    row = row[people.enrolled[years.member[row], column[row]]]
    template = SHAPES.draw(rng, "newborn", years.mix[row])
    column, day, left = years.place(row, row * 0)
    return row, template, column, day, np.minimum(1 + rng.poisson(1.4, len(row)), left)


def _ends_in_death(years: MemberYears, stays: Claims) -> Array:
    """Whether the last day of each is that of the member's death."""
    people = years.people
    end = people.calendar.first_days[stays.column] + stays.day + stays.length
    return np.flatnonzero(end == people.death_day[years.member[stays.row]])


def _last_stays(
    rng: np.random.Generator, years: MemberYears, net: Network, delivers: NDArray[np.bool_]
) -> Claims:
    """Stays that end in death, of members in whose year no other stay could have been."""
    people = years.people
    in_slot, _ = _in_slot(years, delivers)
    index = np.maximum(years.total_days - 1, 0)
    column, day, _ = years.place(np.arange(len(index)), index)
    dies = people.calendar.first_days[column] + day == people.death_day[years.member]
    chance = _DIES_IN_HOSPITAL * years.changes.stays
    dies &= ~delivers & (in_slot == 0) & (years.need_usd > 0) & (years.total_days > 0)
    row = np.flatnonzero(dies & (rng.random(len(index)) < chance))
    length = np.minimum(1 + rng.poisson(3.2, len(row)), day[row])
    facility = _hospital(rng, net, len(row))
    return Claims(
        row, SHAPES.draw(rng, "stay", years.mix[row]), column[row], day[row] - length, length,
        facility, facility, np.full(len(row), DIED),
    )  # fmt: skip


def _moved(rng: np.random.Generator, net: Network, stays: Claims) -> Claims:
    """Some stays in two hospitals: transferred on a day within."""
    moves = (rng.random(len(stays)) < _TRANSFER_SHARE) & (stays.length >= 2)
    moves &= SHAPES.role[stays.template] != "newborn"
    at = np.flatnonzero(moves)
    second = stays.take(at)
    before = second.length // 2
    second.day = second.day + before
    second.length = second.length - before
    second.billing = second.rendering = _hospital(rng, net, len(at))
    stays.length[at] = before
    stays.disposition[at] = TRANSFERRED
    return Claims.join([stays, second])


def _follow_ups(
    rng: np.random.Generator, years: MemberYears, net: Network, stays: Claims
) -> Claims:
    """Visits some days after a discharge, at home where the member has one."""
    people = years.people
    ended = ~np.isin(stays.disposition, [TRANSFERRED, DIED, DISPOSITIONS.index("30")])
    chosen = stays.take(np.flatnonzero(ended & (rng.random(len(stays)) < _FOLLOW_UP_SHARE)))
    day = people.calendar.first_days[chosen.column] + chosen.day + chosen.length
    column, place, is_covered = years.find(
        chosen.row, day + rng.integers(*_FOLLOW_UP_DAYS, len(chosen))
    )
    row, column, place = chosen.row[is_covered], column[is_covered], place[is_covered]
    group = people.group[years.member[row], years.year[row]].astype(np.int64)
    has_home = group != NO_GROUP
    seen = rng.integers(net.outside[0], net.outside[1], len(row))
    billing = seen.copy()
    seen[has_home] = own_clinician(years, net, row[has_home])
    billing[has_home] = net.clinic[group[has_home]]
    template = SHAPES.draw(rng, "office", years.mix[row])
    template = np.where(has_home & (group % 5 == 4), SHAPES.choices["clinic"][0], template)
    return Claims.of_a_day(row, template, column, place, seen, billing)
