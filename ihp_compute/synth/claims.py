"""Which claims a synthetic member has: visits, stays, services, drugs, on days and with providers.

    visits at home and elsewhere -> stays -> services and drugs -> what contracts leave out

How often a member visits whom depends on the expected cost, never on the realised one, so that
attribution selects nobody by luck; how many services there are follows the realised dollars. The
home group has a strict plurality of visits at the first step of attribution that has any, or a tie
which its later visit wins. Every claim begins and ends in one enrolled calendar month, and days are
uniform over those of the year's months that count, so that a rate cell's share of a member's cost
is its share of the months.

Not here: claims that look like visits (`decoys`); dollars, adjustments and errors (`lines`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.synth.codes import (
    ASSESSMENT,
    CONDITIONS,
    DRUGS,
    EMERGENCY_VISIT,
    PLACES_ELSEWHERE,
    STAY_VISIT,
    TEMPLATES,
    visit_in,
)
from ihp_compute.synth.columns import Array, Ints
from ihp_compute.synth.network import Network
from ihp_compute.synth.people import (
    MANAGED,
    MATERNITY,
    MONTHS_BEFORE,
    N_PARTNERSHIPS,
    NO_GROUP,
    People,
    clinic_of,
)

_ROUTE_HOME, _ROUTE_PRIMARY, ROUTE_SPECIALIST = 0, 1, 2
_KIND_HOME, KIND_PRIMARY, _KIND_SPECIALIST, _KIND_BEHAVIORAL = range(4)
_STAY_ROLES: Final = ("stay", "birth", "newborn", STAY_VISIT)
_SEEN_ROLES: Final = (
    "office", "clinic", *_STAY_ROLES, "other", EMERGENCY_VISIT, *map(visit_in, PLACES_ELSEWHERE),
)  # fmt: skip
_INCLUDED_ROLES: Final = (*_SEEN_ROLES, ASSESSMENT, "drug")
N_DX_SLOTS: Final = 4
"""Diagnoses that a claim can state."""
_MANY_ELSEWHERE: Final = 0.12
_FLAGGED_ELSEWHERE: Final = 0.4


class _Shapes:
    """Templates and drugs as arrays; a drug is a template of one line."""

    def __init__(self) -> None:
        roles = [template.role for template in TEMPLATES] + ["drug"] * len(DRUGS)
        self.n_templates = len(TEMPLATES)
        self.role = np.array(roles)
        self.is_drug = self.role == "drug"
        self.is_stay = np.isin(self.role, _STAY_ROLES)
        self.included = np.isin(self.role, _INCLUDED_ROLES)
        self.carries_dx = np.isin(self.role, [*_SEEN_ROLES, "extra", "coordination"])
        self.forms = ["professional", "institutional", "dental"]
        self.form = _index([t.form for t in TEMPLATES], self.forms, len(DRUGS))
        self.bills = sorted({t.bill_type for t in TEMPLATES} - {""})
        self.bill = _index([t.bill_type for t in TEMPLATES], self.bills, len(DRUGS))
        self.places = sorted({t.place for t in TEMPLATES} - {""})
        self.place = _index([t.place for t in TEMPLATES], self.places, len(DRUGS))
        self.drgs = sorted({t.drg for t in TEMPLATES} - {""})
        self.drg = _index([t.drg for t in TEMPLATES], self.drgs, len(DRUGS))
        lines = [line for t in TEMPLATES for line in t.lines]
        self.revenues = sorted({line[0] for line in lines} - {""})
        self.hcpcs = sorted({line[1] for line in lines} - {""})
        self.line_revenue = _index([line[0] for line in lines], self.revenues, len(DRUGS))
        self.line_hcpcs = _index([line[1] for line in lines], self.hcpcs, len(DRUGS))
        self.line_price = np.array([line[2] for line in lines] + [d.price for d in DRUGS])
        self.n_lines = np.array([len(t.lines) for t in TEMPLATES] + [1] * len(DRUGS))
        self.first_line = np.concatenate([[0], np.cumsum(self.n_lines)[:-1]])
        mixes = np.array([t.mix for t in TEMPLATES] + [d.mix for d in DRUGS])
        self.cumulative = {}
        self.choices = {}
        for role in sorted(set(roles)):
            chosen = np.flatnonzero(self.role == role)
            weights = mixes[chosen]
            self.choices[role] = chosen
            self.cumulative[role] = np.cumsum(weights / weights.sum(0), axis=0).T  # [3, k]
        self.days_supply = np.array([0] * len(TEMPLATES) + [d.days_supply for d in DRUGS])

    def draw(self, rng: np.random.Generator, role: str, mix: Array) -> Ints:
        """One template of a role for each entry of `mix` (0 child, 1 adult, 2 disabled)."""
        edges = self.cumulative[role][mix]
        k = (rng.random(len(mix))[:, None] >= edges[:, :-1]).sum(1)
        return self.choices[role][k]


def _index(values: list[str], known: list[str], padding: int) -> NDArray[np.int32]:
    places = {value: position for position, value in enumerate(known)}
    return np.array([places.get(value, -1) for value in values] + [-1] * padding, np.int32)


SHAPES: Final = _Shapes()


@dataclass
class MemberYears:
    """Member-years of a block: row 2 * member + year."""

    people: People
    member: Ints  # global index
    year: Ints
    mix: Array
    days: NDArray[np.int32]  # [n, 12] enrolled days of each month that counts
    skip: NDArray[np.int32]  # [n, 12] days of the month before the first enrolled one
    total_days: Ints

    @classmethod
    def of(cls, people: People, first: int, stop: int) -> MemberYears:
        """Both years of members `first` to `stop`."""
        member = np.repeat(np.arange(first, stop), 2)
        year = np.tile(np.array([0, 1]), stop - first)
        calendar = people.calendar
        lengths, starts = calendar.lengths, calendar.first_days[:-1]
        columns = (MONTHS_BEFORE + 12 * year)[:, None] + np.arange(12)
        rows = member[:, None]
        enrolled = people.countable[rows, columns]
        begin = starts[columns]
        birth, death = people.birth_day[member][:, None], people.death_day[member][:, None]
        skip = np.clip(birth - begin, 0, lengths[columns] - 1) * enrolled
        end = lengths[columns]
        dies = death > birth
        end = np.where(dies, np.clip(death - begin + 1, 1, end), end)
        days = np.maximum(end - skip, 1) * enrolled
        aid = people.aid[member, MONTHS_BEFORE + 12 * year + 6]
        mix = np.array([0, 1, 1, 2, 0, 1])[aid]
        return cls(
            people, member, year, mix, days.astype(np.int32), skip.astype(np.int32),
            days.sum(1, dtype=np.int64),
        )  # fmt: skip

    def place(self, row: Ints, day_index: Ints) -> tuple[Ints, Ints, Ints]:
        """Window column, day of the month (from 0) and days left in it, of an enrolled day."""
        left = day_index.copy()
        month = np.zeros(len(row), np.int64)
        open_ = np.ones(len(row), bool)
        for k in range(11):
            days = self.days[row, k]
            open_ &= left >= days
            left -= np.where(open_, days, 0)
            month += open_
        column = MONTHS_BEFORE + 12 * self.year[row] + month
        return column, self.skip[row, month] + left, self.days[row, month] - 1 - left


@dataclass
class Claims:
    """Claims as parallel arrays."""

    row: Ints  # member-year
    template: Ints
    column: Ints  # window month
    day: Ints  # of the month, from 0
    length: Ints  # days after the first
    rendering: Ints  # position in Network.npis, or -1
    billing: Ints

    def __len__(self) -> int:
        """Claims."""
        return len(self.row)

    @classmethod
    def join(cls, parts: list[Claims]) -> Claims:
        """All claims of the parts."""
        return cls(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in cls.__dataclass_fields__
            )
        )

    def sorted(self) -> Claims:
        """By member-year and day."""
        day = (self.row * 64 + self.column) * 32 + self.day
        return self.take(np.argsort(day, kind="stable"))

    def take(self, order: Array) -> Claims:
        """The claims at these positions."""
        return Claims(*(getattr(self, name)[order] for name in self.__dataclass_fields__))


def draw_claims(rng: np.random.Generator, years: MemberYears, net: Network) -> Claims:
    """All claims of a block's member-years, in no order."""
    people = years.people
    member, year = years.member, years.year
    cost_usd = people.cost_cents[member, year] / 100
    group = people.group[member, year].astype(np.int64)
    months = people.months[member, year]
    expected = people.relative[member, year] * months / 12
    present, paid = months > 0, cost_usd > 0
    parts: list[Claims] = []

    def spread(rows: Ints, template: Ints, rendering: Ints, billing: Ints) -> None:
        """Claims on uniformly drawn enrolled days of the year."""
        index = (rng.random(len(rows)) * years.total_days[rows]).astype(np.int64)
        column, day, _ = years.place(rows, index)
        parts.append(Claims(rows, template, column, day, rows * 0, rendering, billing))

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
        _own_clinician(years, net, rows),
        net.clinic[group[rows]],
    )

    parts += _stays(rng, years, net, cost_usd)

    mean = np.where(paid, np.minimum(0.3 + cost_usd / 480, 80), 0)
    n = rng.poisson(mean)
    n = np.where(paid & (group == NO_GROUP), np.maximum(n, 1), n)
    rows = np.repeat(np.arange(len(member)), n)
    template = SHAPES.draw(rng, "other", years.mix[rows])
    seen = outside(len(rows))
    behavioral = (SHAPES.place[template] == SHAPES.places.index("53")) & (group[rows] != NO_GROUP)
    seen[behavioral] = clinician(rng, net, group[rows[behavioral]], _KIND_BEHAVIORAL)
    spread(rows, template, seen, np.where(behavioral, seen, outside(len(rows))))

    n = rng.poisson(np.where(paid, np.minimum(0.4 + cost_usd / 720, 60), 0))
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
    return Claims.join(parts)


def conditions_of(years: MemberYears) -> NDArray[np.bool_]:
    """Conditions of each member-year: bool[n, len(CONDITIONS)]."""
    bits = years.people.conditions[years.member, years.year]
    places = np.arange(len(CONDITIONS), dtype=np.uint64)
    return ((bits[:, None] >> places) & np.uint64(1)).astype(bool)


def clinician(rng: np.random.Generator, net: Network, group: Ints, kind: int | Ints) -> Ints:
    """Clinicians of a kind, one for each group given: positions in `Network.npis`."""
    return net.first[group, kind] + (rng.random(len(group)) * net.count[group, kind]).astype(
        np.int64
    )


def _own_clinician(years: MemberYears, net: Network, rows: Ints) -> Ints:
    """The clinician whom the members of these member-years see for a year."""
    group, kind, place = clinic_of(years.people, years.member[rows], years.year[rows])
    return net.first[group, kind] + place


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

    # one visit in each of n equal parts of the enrolled days: distinct days
    visit = np.repeat(np.arange(len(rows)), n_home)
    part = np.arange(len(visit)) - np.repeat(np.cumsum(n_home) - n_home, n_home)
    low = part * days[visit] // n_home[visit]
    high = (part + 1) * days[visit] // n_home[visit]
    index = low + (rng.random(len(visit)) * (high - low)).astype(np.int64)
    last = index[np.cumsum(n_home) - 1]

    row = rows[visit]
    column, day, _ = years.place(row, index)
    at_clinic = group[row] % 5 == 4
    template = SHAPES.draw(rng, "office", years.mix[row])
    template = np.where(at_clinic, SHAPES.choices["clinic"][0], template)
    rendering = _own_clinician(years, net, row)
    by_clinic = (route[visit] == _ROUTE_PRIMARY) & (rng.random(len(row)) < 0.04)
    rendering = np.where(by_clinic, -1, rendering)  # the billing provider stands for it
    out = [Claims(row, template, column, day, row * 0, rendering, net.clinic[group[row]])]

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
    out.append(Claims(row, template, column, day, row * 0, seen, net.clinic[other]))

    # specialists elsewhere: a later step than the home's
    referred = np.flatnonzero((route < ROUTE_SPECIALIST) & (rng.random(len(rows)) < 0.2))
    row = np.repeat(rows[referred], 1 + rng.poisson(1.0, len(referred)))
    other = rng.integers(0, N_PARTNERSHIPS + 1, len(row))
    column, day, _ = years.place(
        row, (rng.random(len(row)) * years.total_days[row]).astype(np.int64)
    )
    seen = clinician(rng, net, other, _KIND_SPECIALIST)
    template = SHAPES.draw(rng, "office", years.mix[row])
    out.append(Claims(row, template, column, day, row * 0, seen, seen))
    return out


def _stays(
    rng: np.random.Generator, years: MemberYears, net: Network, cost_usd: Array
) -> list[Claims]:
    """Acute stays, some within 30 days of another, deliveries and births."""
    people = years.people
    mean = np.where(cost_usd > 5_000, np.minimum(0.02 + cost_usd / 52_000, 5), 0)
    n = rng.poisson(mean)
    rows = np.repeat(np.arange(len(n)), n)
    start = np.cumsum(n) - n
    index = (rng.random(len(rows)) * years.total_days[rows]).astype(np.int64)
    after = np.arange(len(rows)) > start[rows]
    again = after & (rng.random(len(rows)) < 0.45)
    for k in np.flatnonzero(again):  # few: soon after the one before
        index[k] = min(index[k - 1] + rng.integers(5, 28), years.total_days[rows[k]] - 1)
    template = SHAPES.draw(rng, "stay", years.mix[rows])

    middle = MONTHS_BEFORE + 12 * years.year + 6
    aid = people.aid[years.member, middle]
    delivers = np.flatnonzero((aid == MATERNITY) & (cost_usd > 2_500) & (years.total_days > 0))
    birth_column = np.searchsorted(
        people.calendar.first_days, people.birth_day[years.member], side="right"
    ) - 1  # fmt: skip
    in_year = (birth_column >= MONTHS_BEFORE + 12 * years.year) & (
        birth_column < MONTHS_BEFORE + 12 * years.year + 12
    )
    newborn = np.flatnonzero(in_year & (cost_usd > 300) & (years.total_days > 0))
    newborn = newborn[people.enrolled[years.member[newborn], birth_column[newborn]]]
    all_rows = np.concatenate([rows, delivers, newborn])
    index = np.concatenate(
        [
            index,
            (rng.random(len(delivers)) * years.total_days[delivers]).astype(np.int64),
            np.zeros(len(newborn), np.int64),
        ]
    )
    template = np.concatenate(
        [
            template,
            SHAPES.draw(rng, "birth", years.mix[delivers]),
            SHAPES.draw(rng, "newborn", years.mix[newborn]),
        ]
    )
    column, day, left = years.place(all_rows, index)
    length = np.minimum(1 + rng.poisson(3.2, len(all_rows)), left)
    facility = rng.integers(net.outside[0], net.outside[0] + 60, len(all_rows))
    return [Claims(all_rows, template, column, day, length, facility, facility)]


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
    out = [Claims(rows, template, column, day, rows * 0, payee, payee)]

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
    out.append(Claims(rows, template, column[again], day, rows * 0, seen, seen))
    return out
