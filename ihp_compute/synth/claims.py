"""Which claims a synthetic member has: visits, services, drugs, on days and with providers.

    visits at home and elsewhere -> services and drugs -> what contracts leave out -> more of all

How often a member visits whom depends on the expected cost, never on the realised one, so that
attribution selects nobody by luck; how many services there are follows what a member-year needs,
which is its realised cost without prices (`People.need_cents`). The home group has a strict
plurality of visits at the first step of attribution that has any, or a tie which its later visit
wins. Days are uniform over those of the year's months that count, so that a rate cell's share of a
member's cost is its share of the months.

Not here: stays and emergency visits (`hospital`); claims that look like visits (`decoys`); dollars,
adjustments and errors (`lines`).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ihp_compute.synth.codes import ASSESSMENT, PREVENTIVE, PREVENTIVE_AGES
from ihp_compute.synth.columns import Array, Ints
from ihp_compute.synth.hospital import hospital_claims
from ihp_compute.synth.member_years import (
    Claims,
    MemberYears,
    clinician,
    conditions_of,
    distinct_days,
    own_clinician,
)
from ihp_compute.synth.network import Network
from ihp_compute.synth.people import MANAGED, MONTHS_BEFORE, N_PARTNERSHIPS, NO_GROUP
from ihp_compute.synth.shapes import N_DX_SLOTS, SHAPES

_ROUTE_HOME, _ROUTE_PRIMARY, ROUTE_SPECIALIST = 0, 1, 2
_KIND_HOME, KIND_PRIMARY, _KIND_SPECIALIST, _KIND_BEHAVIORAL = range(4)
_MANY_ELSEWHERE: Final = 0.12
_FLAGGED_ELSEWHERE: Final = 0.4
_SERVICES_PER_USD: Final = 1 / 510
_LEAST_SERVICES, _MOST_SERVICES = 0.28, 75
"""Expected services of a member-year beside visits and stays, by its need."""
_ONCE: Final = ("capitation", "supplement", ASSESSMENT)
"""Roles of what is no service, of which nobody has more."""


def draw_claims(rng: np.random.Generator, years: MemberYears, net: Network) -> Claims:
    """All claims of a block's member-years, in no order."""
    people = years.people
    member, year = years.member, years.year
    need_usd = years.need_usd
    group = people.group[member, year].astype(np.int64)
    months = people.months[member, year]
    expected = people.relative[member, year] * months / 12
    present, paid = months > 0, need_usd > 0
    parts: list[Claims] = []

    def spread(rows: Ints, template: Ints, rendering: Ints, billing: Ints) -> None:
        """Claims on uniformly drawn enrolled days of the year."""
        index = (rng.random(len(rows)) * years.total_days[rows]).astype(np.int64)
        column, day, _ = years.place(rows, index)
        parts.append(Claims.of_a_day(rows, template, column, day, rendering, billing))

    def outside(n: int) -> Ints:
        return rng.integers(net.outside[0], net.outside[1], n)

    parts += _visits(rng, years, net, group, expected)

    strangers = np.flatnonzero((group == NO_GROUP) & paid)
    rows = np.repeat(strangers, 1 + rng.poisson(0.5, len(strangers)))
    left = rng.random(len(rows)) < 0.25
    seen = np.where(left, rng.integers(*net.left, len(rows)), outside(len(rows)))
    spread(rows, SHAPES.draw(rng, "office", years.mix[rows]), seen, seen)

    # health care homes bill for coordination
    homes = (people.route[member] == _ROUTE_HOME) & (group != NO_GROUP) & present
    rows = np.flatnonzero(homes)
    rows = np.repeat(rows, 1 + np.minimum(rng.poisson(2.0, len(rows)), 11))
    spread(
        rows,
        SHAPES.draw(rng, "coordination", years.mix[rows]),
        own_clinician(years, net, rows),
        net.clinic[group[rows]],
    )

    parts += hospital_claims(rng, years, net)

    mean = np.minimum(_LEAST_SERVICES + need_usd * _SERVICES_PER_USD, _MOST_SERVICES) * paid
    n = rng.poisson(mean)
    n = np.where(paid & (group == NO_GROUP), np.maximum(n, 1), n)
    rows = np.repeat(np.arange(len(member)), n)
    template = SHAPES.draw(rng, "other", years.mix[rows])
    seen = outside(len(rows))
    behavioral = (SHAPES.place[template] == SHAPES.places.index("53")) & (group[rows] != NO_GROUP)
    seen[behavioral] = clinician(rng, net, group[rows[behavioral]], _KIND_BEHAVIORAL)
    spread(rows, template, seen, np.where(behavioral, seen, outside(len(rows))))

    n = rng.poisson(np.where(paid, np.minimum(0.4 + need_usd / 720, 60), 0))
    rows = np.repeat(np.arange(len(member)), n)
    spread(rows, SHAPES.draw(rng, "drug", years.mix[rows]), outside(len(rows)), outside(len(rows)))

    n = rng.poisson(np.array([1.0, 1.4, 5.0])[years.mix] * months / 12)
    rows = np.repeat(np.arange(len(member)), n)
    spread(rows, SHAPES.draw(rng, "extra", years.mix[rows]), outside(len(rows)), outside(len(rows)))
    rows = np.flatnonzero(present & (rng.random(len(member)) < 0.01))
    spread(
        rows, SHAPES.draw(rng, "supplement", years.mix[rows]), outside(len(rows)),
        outside(len(rows)),
    )  # fmt: skip

    parts += _monthly(rng, years, net)

    # where every condition is stated: as many visits to providers outside as that takes
    stated = np.flatnonzero(people.is_stated[member, year] & present)
    if len(stated):
        n = conditions_of(years)[stated].sum(1)
        rows = np.repeat(stated, -(-n // N_DX_SLOTS))
        seen = outside(len(rows))
        spread(rows, SHAPES.draw(rng, ASSESSMENT, years.mix[rows]), seen, seen)
    claims = Claims.join(parts)
    claims.template = _by_age(years, claims)
    return Claims.join([claims, _more(rng, years, net, claims)])


def _by_age(years: MemberYears, claims: Claims) -> Ints:
    """Templates, of preventive visits that of the member's age."""
    people = years.people
    at = np.flatnonzero(np.isin(claims.template, SHAPES.preventive))
    member = years.member[claims.row[at]]
    day = people.calendar.first_days[claims.column[at]] + claims.day[at]
    age = (day - people.birth_day[member]) / 365.25
    least = np.array([years for years, _ in PREVENTIVE_AGES])
    template = claims.template.copy()
    template[at] = SHAPES.preventive[np.searchsorted(least, age, side="right") - 1]
    return template


def _more(rng: np.random.Generator, years: MemberYears, net: Network, claims: Claims) -> Claims:
    """More of every service where it is planted, on other days; visits are at home.

    A birth is had once: the newborn goes to another hospital.
    """
    share = years.changes.use[claims.row]
    role = SHAPES.role[claims.template]
    chosen = np.flatnonzero((rng.random(len(claims)) < share) & ~np.isin(role, _ONCE))
    more = claims.take(chosen)
    row, role = more.row, role[chosen]
    index = (rng.random(len(row)) * years.total_days[row]).astype(np.int64)
    column, day, left = years.place(row, index)
    born = role == "newborn"
    more.column = np.where(born, more.column, column)
    more.day = np.where(born, more.day + more.length, day)
    more.length = np.where(born, 0, np.minimum(more.length, left))
    home = np.isin(role, ["office", PREVENTIVE, "clinic", "coordination"])
    home &= years.people.group[years.member[row], years.year[row]] != NO_GROUP
    more.rendering[home] = own_clinician(years, net, row[home])
    group = years.people.group[years.member[row[home]], years.year[row[home]]]
    more.billing[home] = net.clinic[group.astype(np.int64)]
    return more


def _visits(
    rng: np.random.Generator, years: MemberYears, net: Network, group: Ints, expected: Array
) -> list[Claims]:
    """Visits at home, and fewer or earlier ones elsewhere."""
    people = years.people
    rows = np.flatnonzero((group != NO_GROUP) & (years.total_days > 0))
    days = years.total_days[rows]
    n_home = 1 + rng.poisson(0.5 + 0.7 * np.sqrt(np.maximum(expected[rows], 0)))
    n_home = np.minimum(np.minimum(n_home, 14), days)
    route = people.route[years.member[rows]].astype(np.int64)

    visit, index = distinct_days(rng, n_home, days)
    last = index[np.cumsum(n_home) - 1]

    row = rows[visit]
    column, day, _ = years.place(row, index)
    at_clinic = group[row] % 5 == 4
    template = SHAPES.draw(rng, "office", years.mix[row])
    template = np.where(at_clinic, SHAPES.choices["clinic"][0], template)
    rendering = own_clinician(years, net, row)
    by_clinic = (route[visit] == _ROUTE_PRIMARY) & (rng.random(len(row)) < 0.04)
    rendering = np.where(by_clinic, -1, rendering)  # the billing provider stands for it
    out = [Claims.of_a_day(row, template, column, day, rendering, net.clinic[group[row]])]

    # elsewhere, same step or later: fewer visits, or as many and all before the last at home; more
    # where care is coordinated at home
    u = rng.random(len(rows))
    tie = (u < 0.04) & (route != _ROUTE_HOME)
    fewer = (u >= 0.04) & (u < 0.25)
    n_other = np.where(tie, n_home, np.where(fewer, rng.integers(0, n_home), 0))
    many = (route == _ROUTE_HOME) & (u > 1 - _MANY_ELSEWHERE)
    n_other[many] = n_home[many] + rng.integers(1, 4, int(many.sum()))
    n_other[tie & (last == 0)] = 0
    visit = np.repeat(np.arange(len(rows)), n_other)
    row = rows[visit]
    other = (group[row] + rng.integers(1, N_PARTNERSHIPS + 1, len(row))) % (N_PARTNERSHIPS + 1)
    same = np.flatnonzero(n_other)  # one other group for all visits of a tie
    first_of = np.concatenate([[0], np.cumsum(n_other)])[:-1]
    chosen = np.zeros(len(rows), np.int64)
    chosen[same] = other[first_of[same]]
    other = np.where(tie[visit], chosen[visit], other)
    span = np.where(tie[visit], last[visit], years.total_days[row])
    column, day, _ = years.place(row, (rng.random(len(row)) * span).astype(np.int64))
    flagged = rng.random(len(row)) < _FLAGGED_ELSEWHERE
    place = np.where(flagged, _KIND_HOME, KIND_PRIMARY)
    place = np.where(route[visit] >= ROUTE_SPECIALIST, _KIND_SPECIALIST, place)
    seen = clinician(rng, net, other, place)
    template = SHAPES.draw(rng, "office", years.mix[row])
    out.append(Claims.of_a_day(row, template, column, day, seen, net.clinic[other]))

    # specialists elsewhere: a later step than the home's
    referred = np.flatnonzero((route < ROUTE_SPECIALIST) & (rng.random(len(rows)) < 0.2))
    row = np.repeat(rows[referred], 1 + rng.poisson(1.0, len(referred)))
    other = rng.integers(0, N_PARTNERSHIPS + 1, len(row))
    column, day, _ = years.place(
        row, (rng.random(len(row)) * years.total_days[row]).astype(np.int64)
    )
    seen = clinician(rng, net, other, _KIND_SPECIALIST)
    template = SHAPES.draw(rng, "office", years.mix[row])
    out.append(Claims.of_a_day(row, template, column, day, seen, seen))
    return out


def _monthly(rng: np.random.Generator, years: MemberYears, net: Network) -> list[Claims]:
    """Capitation of every managed month, and some services in the margins of the window."""
    people = years.people
    first, stop = int(years.member[0]), int(years.member[-1]) + 1
    enrolled = people.enrolled[first:stop]
    managed = enrolled & (people.kind[first:stop] == MANAGED)
    member, column = np.nonzero(managed)
    rows = 2 * member + (column >= MONTHS_BEFORE + 12)
    payee = np.full(len(rows), net.outside[1] - 1)
    template = np.full(len(rows), SHAPES.choices["capitation"][0])
    birth = people.birth_day[first:stop][member]
    begin = people.calendar.first_days[column]
    day = np.clip(birth - begin, 0, 27).astype(np.int64)
    out = [Claims.of_a_day(rows, template, column, day, payee, payee)]

    margin = np.ones(people.calendar.n_months, bool)
    margin[people.calendar.columns(0)] = margin[people.calendar.columns(1)] = False
    member, column = np.nonzero(enrolled & margin)
    keep = people.birth_day[first:stop][member] < people.calendar.first_days[column]
    death = people.death_day[first:stop][member]
    keep &= (death < people.birth_day[first:stop][member]) | (
        death >= people.calendar.first_days[column + 1]
    )
    member, column = member[keep], column[keep]
    again = np.repeat(np.arange(len(member)), rng.poisson(0.7, len(member)))
    rows = 2 * member[again] + (column[again] >= MONTHS_BEFORE + 12)
    drug = rng.random(len(rows)) < 0.4
    template = np.where(
        drug,
        SHAPES.draw(rng, "drug", years.mix[rows]),
        SHAPES.draw(rng, "other", years.mix[rows]),
    )
    seen = rng.integers(net.outside[0], net.outside[1], len(rows))
    day = rng.integers(0, 28, len(rows))
    out.append(Claims.of_a_day(rows, template, column[again], day, seen, seen))
    return out
