"""The claims of a block of synthetic members, with planted errors, as Arrow tables.

    visits, stays, services, drugs, extras -> dates -> dollars -> lines -> planted errors -> columns

A member-year's included dollars are given (`People.cost_cents`); its claims are drawn around them
and the dollars are split over the included lines by relative price, to the cent. Services that
contracts leave out, capitation and supplemental payments carry dollars of their own. How often a
member visits whom depends on the expected cost, never on the realised one, so that attribution
selects nobody by luck. The home group has a strict plurality of visits at the first step that has
any, or a tie which its later visit wins. Every claim begins and ends in one enrolled calendar
month.

Planted rows are added to a clean set, so each has exactly one reason and is counted where it is
made:

    duplicate            a line copied whole
    voided               an original and its reversal; or such a pair before a replacement that stays
    superseded           an earlier version of a claim, paid earlier, another amount
    denied               a claim paid nothing, flagged
    unknown_member       a claim of somebody without eligibility
    outside_eligibility  a claim in a month without enrolment
    unreadable           a line whose date or amount is no date or amount (text; a file of its own)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.ledger import IngestFate
from ihp_compute.synth_codes import (
    CONDITIONS,
    DELIVERY_CODES,
    DRUGS,
    NEWBORN_CODES,
    PREMATURE_CODES,
    TEMPLATES,
    WELL_CODES,
)
from ihp_compute.synth_network import Network
from ihp_compute.synth_people import (
    MANAGED,
    MATERNITY,
    MONTHS_BEFORE,
    N_PARTNERSHIPS,
    NO_GROUP,
    PLANS,
    People,
    generator,
)

Array = NDArray[Any]
Ints = NDArray[np.int64]

DENIED_INDICATOR: Final = "1"
ID_WIDTH: Final = 12
_ROUTE_HOME, _ROUTE_PRIMARY, _ROUTE_SPECIALIST = 0, 1, 2
_KIND_HOME, _KIND_PRIMARY, _KIND_SPECIALIST, _KIND_BEHAVIORAL = 0, 1, 2, 3
_VERSIONS: Final = "CVDUOX"
"""First letter of claim ids: clean and its versions, voided, denied, unknown member, outside
eligibility, unreadable."""
_INCLUDED_ROLES: Final = ("office", "clinic", "stay", "birth", "newborn", "other", "drug")

SHARES: Final = {
    "duplicate": 0.0015,
    "superseded": 0.003,
    "voided": 0.001,
    "replaced": 0.001,
    "denied": 0.008,
    "unknown": 0.0005,
    "outside": 0.004,
    "unreadable": 0.0001,
}
"""Planted errors per clean claim; `replaced` is a voided pair before a replacement."""


class _Shapes:
    """Templates and drugs as arrays; a drug is a template of one line."""

    def __init__(self) -> None:
        roles = [template.role for template in TEMPLATES] + ["drug"] * len(DRUGS)
        self.n_templates = len(TEMPLATES)
        self.role = np.array(roles)
        self.included = np.isin(self.role, _INCLUDED_ROLES)
        self.carries_dx = np.isin(self.role, [*_INCLUDED_ROLES[:-1], "extra", "coordination"])
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

_DX: Final = [code for condition in CONDITIONS for code in condition.codes]
_DX_FIRST: Final = np.cumsum([0] + [len(condition.codes) for condition in CONDITIONS])
_DX_COUNT: Final = np.array([len(condition.codes) for condition in CONDITIONS])
_EXTRA_DX: Final = [*WELL_CODES, *DELIVERY_CODES, *NEWBORN_CODES, *PREMATURE_CODES]
_WELL, _DELIVERY = len(_DX), len(_DX) + len(WELL_CODES)
_NEWBORN_DX = _DELIVERY + len(DELIVERY_CODES)
_PREMATURE = _NEWBORN_DX + len(NEWBORN_CODES)
_ALL_DX: Final = pa.array([*_DX, *_EXTRA_DX])
N_DX_SLOTS: Final = 4


@dataclass
class _Years:
    """Member-years of a block: row 2 * member + year."""

    people: People
    member: Ints  # global index
    year: Ints
    mix: Array
    days: NDArray[np.int32]  # [n, 12] enrolled days of each month
    skip: NDArray[np.int32]  # [n, 12] days of the month before the first enrolled one
    total_days: Ints

    @classmethod
    def of(cls, people: People, first: int, stop: int) -> _Years:
        member = np.repeat(np.arange(first, stop), 2)
        year = np.tile(np.array([0, 1]), stop - first)
        calendar = people.calendar
        lengths, starts = calendar.lengths, calendar.first_days[:-1]
        columns = (MONTHS_BEFORE + 12 * year)[:, None] + np.arange(12)
        rows = member[:, None]
        enrolled = people.enrolled[rows, columns]
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
class _Claims:
    """Claims under construction: parallel arrays."""

    row: Ints  # member-year
    template: Ints
    column: Ints  # window month
    day: Ints  # of the month, from 0
    length: Ints  # days after the first
    rendering: Ints  # position in Network.npis, or -1
    billing: Ints

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def join(cls, parts: list[_Claims]) -> _Claims:
        return cls(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in cls.__dataclass_fields__
            )
        )

    def take(self, order: Array) -> _Claims:
        return _Claims(*(getattr(self, name)[order] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Block:
    """What one block of members gives."""

    medical: pa.Table
    pharmacy: pa.Table
    unreadable_medical: pa.Table  # all text
    unreadable_pharmacy: pa.Table
    errors: Mapping[str, int]  # lines by ingest fate, both tables
    retained_lines: int


def claims_block(
    people: People, net: Network, seed: int, block: int, first: int, stop: int
) -> Block:
    """Claims of members `first` to `stop`: a function of its arguments alone."""
    rng = generator(seed, 4, block)
    years = _Years.of(people, first, stop)
    claims = _draw_claims(rng, years, net)
    order = np.argsort(
        (claims.row * 64 + claims.column) * 32 + np.minimum(claims.day, 31), kind="stable"
    )
    claims = claims.take(order)
    return _Lines(rng, years, net, claims, block).tables()


# --- which claims ---------------------------------------------------------------------------------


def _draw_claims(rng: np.random.Generator, years: _Years, net: Network) -> _Claims:
    people = years.people
    member, year = years.member, years.year
    cost_usd = people.cost_cents[member, year] / 100
    group = people.group[member, year].astype(np.int64)
    months = people.months[member, year]
    expected = people.relative[member, year] * months / 12
    present, paid = months > 0, cost_usd > 0
    parts: list[_Claims] = []

    def spread(rows: Ints, template: Ints, rendering: Ints, billing: Ints) -> None:
        """Claims on uniformly drawn enrolled days of the year."""
        index = (rng.random(len(rows)) * years.total_days[rows]).astype(np.int64)
        column, day, _ = years.place(rows, index)
        parts.append(_Claims(rows, template, column, day, rows * 0, rendering, billing))

    def outside(n: int) -> Ints:
        return rng.integers(net.outside[0], net.outside[1], n)

    parts += _visits(rng, years, net, group, expected)

    strangers = np.flatnonzero((group == NO_GROUP) & paid)
    rows = np.repeat(strangers, 1 + rng.poisson(0.5, len(strangers)))
    base_only = rng.random(len(rows)) < 0.15
    seen = np.where(base_only, rng.integers(*net.base_only, len(rows)), outside(len(rows)))
    spread(rows, SHAPES.draw(rng, "office", years.mix[rows]), seen, seen)

    # health care homes bill for coordination
    homes = (people.route[member] == _ROUTE_HOME) & (group != NO_GROUP) & present
    rows = np.flatnonzero(homes)
    rows = np.repeat(rows, 1 + np.minimum(rng.poisson(2.0, len(rows)), 11))
    spread(
        rows,
        SHAPES.draw(rng, "coordination", years.mix[rows]),
        _clinician(rng, net, group[rows], _KIND_HOME),
        net.clinic[group[rows]],
    )

    parts += _stays(rng, years, net, cost_usd)

    mean = np.where(paid, np.minimum(0.3 + cost_usd / 420, 90), 0)
    n = rng.poisson(mean)
    n = np.where(paid & (group == NO_GROUP), np.maximum(n, 1), n)
    rows = np.repeat(np.arange(len(member)), n)
    template = SHAPES.draw(rng, "other", years.mix[rows])
    seen = outside(len(rows))
    behavioral = (SHAPES.place[template] == SHAPES.places.index("53")) & (group[rows] != NO_GROUP)
    seen[behavioral] = _clinician(rng, net, group[rows[behavioral]], _KIND_BEHAVIORAL)
    spread(rows, template, seen, np.where(behavioral, seen, outside(len(rows))))

    n = rng.poisson(np.where(paid, np.minimum(0.5 + cost_usd / 650, 70), 0))
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
    return _Claims.join(parts)


def _clinician(rng: np.random.Generator, net: Network, group: Ints, kind: int | Ints) -> Ints:
    return net.first[group, kind] + (rng.random(len(group)) * net.count[group, kind]).astype(
        np.int64
    )


def _visits(
    rng: np.random.Generator, years: _Years, net: Network, group: Ints, expected: Array
) -> list[_Claims]:
    """Visits at home, and fewer or earlier ones elsewhere."""
    people = years.people
    rows = np.flatnonzero((group != NO_GROUP) & (years.total_days > 0))
    days = years.total_days[rows]
    n_home = 1 + rng.poisson(0.5 + 0.7 * np.sqrt(np.maximum(expected[rows], 0)))
    n_home = np.minimum(np.minimum(n_home, 14), days)
    route = people.route[years.member[rows]].astype(np.int64)
    kind = route  # routes and kinds of clinicians stand in one order

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
    rendering = _clinician(rng, net, group[row], kind[visit])
    by_clinic = (route[visit] == _ROUTE_PRIMARY) & (rng.random(len(row)) < 0.04)
    rendering = np.where(by_clinic, -1, rendering)  # the billing provider stands for it
    out = [_Claims(row, template, column, day, row * 0, rendering, net.clinic[group[row]])]

    # elsewhere, same step or later: fewer visits, or as many and all before the last at home
    u = rng.random(len(rows))
    tie = (u < 0.04) & (route != _ROUTE_HOME)
    fewer = (u >= 0.04) & (u < 0.25)
    n_other = np.where(tie, n_home, np.where(fewer, rng.integers(0, n_home), 0))
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
    place = np.where(route[visit] == _ROUTE_SPECIALIST, _KIND_SPECIALIST, _KIND_PRIMARY)
    seen = _clinician(rng, net, other, place)
    template = SHAPES.draw(rng, "office", years.mix[row])
    out.append(_Claims(row, template, column, day, row * 0, seen, net.clinic[other]))

    # specialists elsewhere: a later step than the home's
    referred = np.flatnonzero((route != _ROUTE_SPECIALIST) & (rng.random(len(rows)) < 0.2))
    row = np.repeat(rows[referred], 1 + rng.poisson(1.0, len(referred)))
    other = rng.integers(0, N_PARTNERSHIPS + 1, len(row))
    column, day, _ = years.place(
        row, (rng.random(len(row)) * years.total_days[row]).astype(np.int64)
    )
    seen = _clinician(rng, net, other, _KIND_SPECIALIST)
    template = SHAPES.draw(rng, "office", years.mix[row])
    out.append(_Claims(row, template, column, day, row * 0, seen, seen))
    return out


def _stays(rng: np.random.Generator, years: _Years, net: Network, cost_usd: Array) -> list[_Claims]:
    """Acute stays, some within 30 days of another, deliveries and births."""
    people = years.people
    mean = np.where(cost_usd > 5_000, np.minimum(0.02 + cost_usd / 38_000, 5), 0)
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
    return [_Claims(all_rows, template, column, day, length, facility, facility)]


def _monthly(rng: np.random.Generator, years: _Years, net: Network) -> list[_Claims]:
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
    out = [_Claims(rows, template, column, day, rows * 0, payee, payee)]

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
    out.append(_Claims(rows, template, column[again], day, rows * 0, seen, seen))
    return out


# --- dollars, lines, columns ----------------------------------------------------------------------


class _Lines:
    """Lines of a block's claims, then the planted ones, then Arrow columns.

    `pick` lists the clean line behind every output line; the arrays named `out_*` hold what differs
    from it.
    """

    def __init__(
        self, rng: np.random.Generator, years: _Years, net: Network, claims: _Claims, block: int
    ) -> None:
        self.rng, self.years, self.net, self.claims = rng, years, net, claims
        self.people = years.people
        self.number = block * 10**7 + np.arange(len(claims))
        n_lines = SHAPES.n_lines[claims.template]
        self.claim = np.repeat(np.arange(len(claims)), n_lines)
        self.line = np.arange(len(self.claim)) - np.repeat(np.cumsum(n_lines) - n_lines, n_lines)
        self.shape_line = SHAPES.first_line[claims.template[self.claim]] + self.line
        self.member = years.member[claims.row]
        self.managed = self.people.kind[self.member, claims.column] == MANAGED
        self.start_day = self.people.calendar.first_days[claims.column] + claims.day.astype(
            np.int32
        )
        lag = 15 + np.minimum(rng.exponential(22.0, len(claims)), 150).astype(np.int32)
        self.paid_day = self.start_day + claims.length.astype(np.int32) + lag
        self._price()
        self._plant()

    def _price(self) -> None:
        """Included lines share the member-year's dollars exactly; others carry their own price."""
        claims, rng = self.claims, self.rng
        row, column = claims.row[self.claim], claims.column[self.claim]
        price = SHAPES.line_price[self.shape_line] * np.exp(
            0.35 * rng.standard_normal(len(self.claim)) - 0.06
        )
        template = claims.template[self.claim]
        calendar = self.people.calendar
        in_year = (column >= MONTHS_BEFORE) & (column < MONTHS_BEFORE + 24)
        included = SHAPES.included[template] & in_year
        # encounters paid nothing, at a price: a plan's own arrangement with the provider
        role = SHAPES.role[template]
        quiet = self.managed[self.claim] & np.isin(role, ["other", "extra"])
        quiet &= rng.random(len(price)) < ZERO_PAID_SHARE
        included &= ~quiet
        weight = np.where(included, price, 0.0)
        running = np.concatenate([[0.0], np.cumsum(weight)])
        edges = np.searchsorted(row, np.arange(len(self.years.member) + 1))
        begin, end = running[edges[:-1]], running[edges[1:]]
        width = np.where(end > begin, end - begin, 1.0)
        total = self.people.cost_cents[self.years.member, self.years.year].astype(np.float64)
        upto = np.rint((running[1:] - begin[row]) / width[row] * total[row]).astype(np.int64)
        before = np.rint((running[:-1] - begin[row]) / width[row] * total[row]).astype(np.int64)
        growth = np.where(column >= MONTHS_BEFORE + 12, calendar.trend, 1.0)
        own = np.rint(price * growth * 100).astype(np.int64)
        self.paid_cents = np.where(included, upto - before, own)
        self.included = included
        allowed = np.maximum(self.paid_cents, 0) + np.where(rng.random(len(price)) < 0.06, 300, 0)
        self.paid_cents = np.where(quiet, 0, self.paid_cents)
        self.blank = quiet & (rng.random(len(price)) < 0.3)
        self.allowed_cents = allowed
        self.charge_cents = np.rint(allowed * (1.4 + rng.random(len(price)))).astype(np.int64)
        third = (rng.random(len(price)) < 0.004) & (self.paid_cents > 0)
        self.third_party_cents = np.where(third, self.paid_cents // 10, 0)

    def _plant(self) -> None:
        rng, claims = self.rng, self.claims
        n_claims, n_lines = len(claims), len(self.claim)
        first = np.searchsorted(self.claim, np.arange(n_claims + 1))
        draw = rng.random(n_claims)
        edges = np.cumsum(
            [SHARES[k] for k in ("superseded", "voided", "replaced", "denied", "unknown")]
        )
        what = np.searchsorted(edges, draw, side="right")  # 5: none of them
        self.picks: list[Array] = [np.arange(n_lines)]
        self.marks: list[dict[str, Any]] = [{}]
        self.errors = {fate.label: 0 for fate in IngestFate if fate is not IngestFate.RETAINED}
        # a clean version that replaces another says so
        self.replaces = np.isin(what, [0, 2])

        def lines_of(chosen: Array) -> Ints:
            counts = first[chosen + 1] - first[chosen]
            begin = np.repeat(first[chosen], counts)
            return begin + np.arange(len(begin)) - np.repeat(np.cumsum(counts) - counts, counts)

        def plant(fate: IngestFate, pick: Ints, **marks: Any) -> None:
            self.picks.append(pick)
            self.marks.append(marks)
            self.errors[fate.label] += len(pick)

        plant(
            IngestFate.DUPLICATE,
            np.flatnonzero(rng.random(n_lines) < SHARES["duplicate"]),
            copy=True,
        )
        pick = lines_of(np.flatnonzero(what == 0))
        factor = 0.6 + 0.3 * rng.random(len(pick))
        plant(
            IngestFate.SUPERSEDED,
            pick,
            paid=np.rint(self.paid_cents[pick] * factor).astype(np.int64),
            later=-10,
        )
        pick = lines_of(np.flatnonzero(what == 1))
        plant(IngestFate.VOIDED, pick, letter="V")
        plant(IngestFate.VOIDED, pick, letter="V", reverse=True, later=20)
        pick = lines_of(np.flatnonzero(what == 2))
        paid = self.paid_cents[pick] + 1_250
        plant(IngestFate.VOIDED, pick, paid=paid, later=-13)
        plant(IngestFate.VOIDED, pick, paid=paid, reverse=True, later=-7)
        plant(IngestFate.DENIED, lines_of(np.flatnonzero(what == 3)), letter="D", denied=True)
        plant(
            IngestFate.UNKNOWN_MEMBER, lines_of(np.flatnonzero(what == 4)), letter="U",
            stranger=True,
        )  # fmt: skip
        self._plant_outside(lines_of, plant)
        chosen = np.flatnonzero(rng.random(n_claims) < SHARES["unreadable"])
        self.unreadable = first[chosen]  # the first line of each
        self.errors[IngestFate.UNREADABLE.label] += len(chosen)

    def _plant_outside(self, lines_of: Any, plant: Any) -> None:
        """Claims moved into a month of the window in which the member is not enrolled."""
        enrolled = self.people.enrolled[self.member]
        draw = self.rng.random(len(self.claims))
        away = ~enrolled.all(1)
        share = SHARES["outside"] / max(float(away.mean()), 1e-9)
        chosen = np.flatnonzero(away & (draw < min(share, 0.5)))
        u = self.rng.random((len(chosen), enrolled.shape[1]))
        column = np.where(enrolled[chosen], -1.0, u).argmax(1)
        shift = self.people.calendar.first_days[column] + 9 - self.start_day[chosen]
        by_claim = np.zeros(len(self.claims), np.int32)
        by_claim[chosen] = shift
        pick = lines_of(chosen)
        plant(IngestFate.OUTSIDE_ELIGIBILITY, pick, letter="O", shift=by_claim[self.claim[pick]])

    # -- columns

    def tables(self) -> Block:
        pick = np.concatenate(self.picks)
        n = len(pick)
        sizes = [len(part) for part in self.picks]
        paid = self.paid_cents[pick]
        allowed = self.allowed_cents[pick]
        paid_day = self.paid_day[self.claim[pick]]
        shift = np.zeros(n, np.int32)
        letter = np.zeros(n, np.int32)
        adjusted = np.where(self.replaces[self.claim[pick]], 2, 0).astype(np.int32)
        denied = np.zeros(n, bool)
        stranger = np.zeros(n, bool)
        blank = self.blank[pick]
        begin = 0
        for size, marks in zip(sizes, self.marks, strict=True):
            part = slice(begin, begin + size)
            begin += size
            if not marks or "copy" in marks:
                continue
            adjusted[part] = 1 if marks.get("reverse") else 0
            letter[part] = _VERSIONS.index(marks.get("letter", "C"))
            paid[part] = marks.get("paid", paid[part])
            if "paid" in marks or marks.get("reverse"):
                blank[part] = False
            if "reverse" in marks:
                paid[part], allowed[part] = -paid[part], -allowed[part]
            if "denied" in marks:
                paid[part], denied[part] = 0, True
            stranger[part] = "stranger" in marks
            shift[part] = marks.get("shift", 0)
            paid_day[part] += marks.get("later", 0)
        out = _Output(
            pick, letter, adjusted, denied, stranger, blank, shift, paid, allowed, paid_day + shift
        )
        drug = SHAPES.role[self.claims.template[self.claim[pick]]] == "drug"
        bad = np.zeros(len(self.claim), bool)
        bad[self.unreadable] = True
        wrong = _Output.clean(self, self.unreadable, _VERSIONS.index("X"))
        wrong_drug = SHAPES.role[self.claims.template[self.claim[self.unreadable]]] == "drug"
        return Block(
            self._medical(out.take(np.flatnonzero(~drug))),
            self._pharmacy(out.take(np.flatnonzero(drug))),
            _spoil(self._medical(wrong.take(np.flatnonzero(~wrong_drug))), "claim_start_date"),
            _spoil(self._pharmacy(wrong.take(np.flatnonzero(wrong_drug))), "dispensing_date"),
            self.errors,
            len(self.claim),
        )

    def _shared(self, out: _Output) -> dict[str, pa.Array]:
        claim = self.claim[out.pick]
        member = self.member[claim]
        plan = np.where(
            self.managed[claim], self.people.plan[member, self.claims.row[claim] % 2], 0
        ).astype(np.int32)
        role = SHAPES.role[self.claims.template]
        kind = np.where(self.managed, 2, 0)
        kind = np.where(role == "capitation", 1, np.where(role == "supplement", 3, kind))
        claim_id = ids(np.frombuffer(_VERSIONS.encode(), np.uint8)[out.letter], self.number[claim])
        adjusting = ids(np.full(len(claim), ord("A"), np.uint8), self.number[claim])
        is_adjusted = out.adjusted > 0
        return {
            "claim_id": claim_id,
            "claim_line_number": dictionary(
                self.line[out.pick], pa.array([str(k) for k in range(1, 11)])
            ),
            "person_id": ids(np.where(out.stranger, ord("X"), ord("P")).astype(np.uint8), member),
            "payer": dictionary(claim * 0, pa.array(["STATE"])),
            "plan": dictionary(plan, pa.array(["FFS", *PLANS[1:]])),
            "paid_date": dates(out.paid_day),
            "paid_amount": decimals(out.paid_cents, ~out.blank),
            "allowed_amount": decimals(out.allowed_cents),
            "charge_amount": decimals(self.charge_cents[out.pick]),
            "data_source": dictionary(claim * 0, pa.array(["synthetic"])),
            "x_mc_plan_id": dictionary(plan - 1, pa.array(PLANS[1:])),
            "x_clm_type_cd": dictionary(kind[claim], pa.array(["1", "2", "3", "4"])),
            "x_adjstmt_ind": dictionary(out.adjusted, pa.array(["0", "1", "4"])),
            "x_orgnl_clm_num": _masked(claim_id, is_adjusted),
            "x_adjstmt_clm_num": _masked(adjusting, is_adjusted),
            "x_clm_dnd_ind": dictionary(np.where(out.denied, 0, -1), pa.array([DENIED_INDICATOR])),
            "x_tpl_amt": decimals(self.third_party_cents[out.pick]),
        }

    def _medical(self, out: _Output) -> pa.Table:
        claims, net = self.claims, self.net
        claim = self.claim[out.pick]
        template = claims.template[claim]
        start = self.start_day[claim] + out.shift
        end = start + claims.length[claim].astype(np.int32)
        inpatient = np.isin(SHAPES.role[template], ["stay", "birth", "newborn"])
        rendering, billing = claims.rendering[claim], claims.billing[claim]
        institutional = SHAPES.form[template] == 1
        shared = self._shared(out)
        diagnoses = self._diagnoses()[claim]
        line_dates = self.number[claim] % 5 != 0  # one claim in five states dates once, for all
        columns = {
            "claim_id": shared.pop("claim_id"),
            "claim_line_number": shared.pop("claim_line_number"),
            "claim_type": dictionary(SHAPES.form[template], pa.array(SHAPES.forms)),
            "person_id": shared.pop("person_id"),
            "claim_start_date": dates(start),
            "claim_end_date": dates(end),
            "claim_line_start_date": dates(start, line_dates),
            "claim_line_end_date": dates(end, line_dates),
            "admission_date": dates(start, inpatient),
            "discharge_date": dates(end, inpatient),
            "discharge_disposition_code": dictionary(
                np.where(inpatient, (self.number[claim] % 11 == 0) * 1, -1),
                pa.array(["01", "06"]),
            ),
            "place_of_service_code": dictionary(SHAPES.place[template], pa.array(SHAPES.places)),
            "bill_type_code": dictionary(SHAPES.bill[template], pa.array(SHAPES.bills)),
            "drg_code_type": dictionary(
                np.where(SHAPES.drg[template] >= 0, 0, -1), pa.array(["ms-drg"])
            ),
            "drg_code": dictionary(SHAPES.drg[template], pa.array(SHAPES.drgs)),
            "revenue_center_code": dictionary(
                SHAPES.line_revenue[self.shape_line[out.pick]], pa.array(SHAPES.revenues)
            ),
            "service_unit_quantity": dictionary(claim * 0, pa.array(["1"])),
            "hcpcs_code": dictionary(
                SHAPES.line_hcpcs[self.shape_line[out.pick]], pa.array(SHAPES.hcpcs)
            ),
            "rendering_npi": dictionary(np.where(institutional, -1, rendering), net.npis),
            "billing_npi": dictionary(billing, net.npis),
            "billing_tin": dictionary(net.tin_of_npi[billing], net.tins),
            "facility_npi": dictionary(np.where(institutional, billing, -1), net.npis),
            "diagnosis_code_type": dictionary(
                np.where(diagnoses[:, 0] >= 0, 0, -1), pa.array(["icd-10-cm"])
            ),
        }
        for slot in range(N_DX_SLOTS):
            columns[f"diagnosis_code_{slot + 1}"] = dictionary(diagnoses[:, slot], _ALL_DX)
        return pa.table({**columns, **shared})

    def _pharmacy(self, out: _Output) -> pa.Table:
        claims, net = self.claims, self.net
        claim = self.claim[out.pick]
        product = (claims.template[claim] - SHAPES.n_templates).astype(np.int32)
        shared = self._shared(out)
        supply = np.array([drug.days_supply for drug in DRUGS])[product]
        supplies = sorted({drug.days_supply for drug in DRUGS})
        known = pa.array([str(days) for days in supplies])
        position = np.searchsorted(supplies, supply)
        return pa.table(
            {
                "claim_id": shared.pop("claim_id"),
                "claim_line_number": shared.pop("claim_line_number"),
                "person_id": shared.pop("person_id"),
                "prescribing_provider_npi": dictionary(claims.rendering[claim], net.npis),
                "dispensing_provider_npi": dictionary(claims.billing[claim], net.npis),
                "dispensing_date": dates(self.start_day[claim] + out.shift),
                "ndc_code": dictionary(product, pa.array([drug.ndc for drug in DRUGS])),
                "quantity": dictionary(position, known),
                "days_supply": dictionary(position, known),
                **shared,
            }
        )

    def _diagnoses(self) -> NDArray[np.int32]:
        """Codes of every claim, [n_claims, N_DX_SLOTS], -1 where none.

        The member-year's conditions go round over its claims, so that each is stated if there are
        claims enough.
        """
        claims, years = self.claims, self.years
        carries = SHAPES.carries_dx[claims.template]
        running = np.cumsum(carries)
        edges = np.searchsorted(claims.row, np.arange(len(years.member)))
        at = np.concatenate([[0], running])[edges]
        rank = running - 1 - at[claims.row]
        bits = self.people.conditions[years.member, years.year]
        have = (bits[:, None] >> np.arange(len(CONDITIONS), dtype=np.uint64)) & np.uint64(1)
        who, which = np.nonzero(have)
        counts = np.bincount(who, minlength=len(years.member))
        first = np.cumsum(counts) - counts
        n = counts[claims.row]
        member = self.member
        out = np.full((len(claims), N_DX_SLOTS), -1, np.int32)
        for slot in range(N_DX_SLOTS):
            some = np.flatnonzero(carries & (slot < n))
            place = first[claims.row[some]] + (N_DX_SLOTS * rank[some] + slot) % n[some]
            condition = which[place]
            variant = (member[some] + condition) % _DX_COUNT[condition]
            out[some, slot] = _DX_FIRST[condition] + variant
        role = SHAPES.role[claims.template]
        well = carries & (n == 0)
        adult = years.mix[claims.row] > 0
        out[well, 0] = np.where(adult, _WELL + 1, _WELL)[well]
        out[role == "birth", 0] = _DELIVERY
        out[role == "newborn", 0] = _NEWBORN_DX
        early = (role == "newborn") & self.people.premature[member]
        out[early, 1] = _PREMATURE
        return out


@dataclass(frozen=True)
class _Output:
    """What distinguishes output lines from the clean lines behind them."""

    pick: Ints
    letter: NDArray[np.int32]
    adjusted: NDArray[np.int32]  # 0 original, 1 void, 2 replacement
    denied: NDArray[np.bool_]
    stranger: NDArray[np.bool_]
    blank: NDArray[np.bool_]
    shift: NDArray[np.int32]  # days
    paid_cents: Ints
    allowed_cents: Ints
    paid_day: NDArray[np.int32]

    @classmethod
    def clean(cls, lines: _Lines, pick: Ints, letter: int) -> _Output:
        n = len(pick)
        off = np.zeros(n, bool)
        zero = np.zeros(n, np.int32)
        return cls(
            pick, np.full(n, letter, np.int32), zero, off, off, off, zero,
            lines.paid_cents[pick], lines.allowed_cents[pick], lines.paid_day[lines.claim[pick]],
        )  # fmt: skip

    def take(self, order: Array) -> _Output:
        return _Output(*(getattr(self, name)[order] for name in self.__dataclass_fields__))


ZERO_PAID_SHARE: Final = 0.03


def dictionary(index: Array, values: pa.Array) -> pa.Array:
    """Text by position; a negative position is null."""
    index = index.astype(np.int32, copy=False)
    missing = index < 0
    return pa.DictionaryArray.from_arrays(
        pa.array(index, mask=missing if missing.any() else None), values, safe=False
    )


def dates(days: Array, valid: Array | None = None) -> pa.Array:
    """Day numbers as date32, null where not `valid`."""
    return pa.array(
        np.ascontiguousarray(days, np.int32), mask=None if valid is None else ~valid
    ).view(pa.date32())


def decimals(cents: Ints, valid: NDArray[np.bool_] | None = None, *, scale: int = 2) -> pa.Array:
    """Integers as decimal128(18, scale): cents as dollars."""
    wide = np.empty((len(cents), 2), np.int64)
    wide[:, 0] = cents
    wide[:, 1] = cents >> 63
    bitmap = None
    if valid is not None and not valid.all():
        bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(pa.decimal128(18, scale), len(cents), [bitmap, pa.py_buffer(wide)])


def ids(letter: NDArray[np.uint8], number: Ints) -> pa.Array:
    """Text: a letter and `ID_WIDTH` digits."""
    n = len(number)
    text = np.empty((n, 1 + ID_WIDTH), np.uint8)
    text[:, 0] = letter
    left = number.astype(np.int64)
    for place in range(ID_WIDTH, 0, -1):
        left, digit = np.divmod(left, 10)
        text[:, place] = digit + ord("0")
    offsets = np.arange(n + 1, dtype=np.int32) * (1 + ID_WIDTH)
    return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(text))


def _masked(array: pa.Array, keep: NDArray[np.bool_]) -> pa.Array:
    """The values where `keep`, null elsewhere."""
    bitmap = pa.py_buffer(np.packbits(keep, bitorder="little"))
    return pa.StringArray.from_buffers(len(array), *array.buffers()[1:], bitmap)


def _spoil(table: pa.Table, date_column: str) -> pa.Table:
    """All columns as text, and in every row a date or an amount that is none."""
    text = table.cast(pa.schema([(name, pa.string()) for name in table.column_names]))
    n = text.num_rows
    for column, wrong, residue in (
        (date_column, "2024-02-31", 0),
        ("paid_amount", "12,34.5.6", 1),
        ("paid_amount", "see note", 2),
    ):
        values = text.column(column).to_pylist()
        values = [wrong if k % 3 == residue else value for k, value in enumerate(values)]
        place = text.column_names.index(column)
        text = text.set_column(place, column, pa.array(values, pa.string()))
    if n and date_column == "claim_start_date":  # the line date would stand in for it
        place = text.column_names.index("claim_line_start_date")
        text = text.set_column(place, "claim_line_start_date", pa.nulls(n, pa.string()))
    return text
