"""What a synthetic state is expected to cost: the facts from which true savings are made.

By group, year and rate cell: member months, risk and expected cost after each claim cap that a
shipped contract has. Expectations are over members' own luck and over clinic-years; months and
scores are those that the tables hold. A rate cell has the share of a member-year's cost that it has
of its enrolled days, because claims fall evenly on them.

Not here: what a contract makes of it, its norm, credibility and trend (docs/method/truth.py).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ihp_compute.codes import COMPARISON, RATE_CELLS, UNATTRIBUTED
from ihp_compute.synth.member_years import MemberYears
from ihp_compute.synth.network import partnership_ids
from ihp_compute.synth.people import (
    KINDS,
    MONTHS_BEFORE,
    NO_GROUP,
    People,
    clinicians,
)

CAPS_USD: Final[tuple[int | None, ...]] = (None, 50_000, 200_000)
"""Claim caps for which expected cost is told; None is no cap."""
STATE: Final = "STATE"
INDEX_CAP_USD: Final = 125_000
INDEX_MONTHS: Final = 9
"""Cap and least months of the cost index as shipped."""
_MEMBERS_AT_A_TIME: Final = 65_536
_NO_CAP: Final = 1e15


def cap_name(cap_usd: int | None) -> str:
    """What a cap is called in `truth.json`.

    >>> cap_name(50_000), cap_name(None)
    ('50000', 'none')
    """
    return "none" if cap_usd is None else str(cap_usd)


def expected_cells(people: People) -> list[dict[str, Any]]:
    """One row for each group of eligible people, year and rate cell that has months.

    Returns
    -------
    list of dict
        `group_id`, `year`, `rate_cell`, `member_months`, `risk` (scores times months),
        `expected_usd` by cap.
    """
    groups = [*partnership_ids(), COMPARISON, UNATTRIBUTED]
    years = (people.calendar.base_year, people.calendar.performance_year)
    shape = len(years), len(groups), len(RATE_CELLS)
    months, risk = np.zeros(shape), np.zeros(shape)
    cost = np.zeros((len(CAPS_USD), *shape))
    expected = [people.expected_cents(_NO_CAP if cap is None else cap * 100.0) for cap in CAPS_USD]
    for first in range(0, people.n_members, _MEMBERS_AT_A_TIME):
        of = MemberYears.of(people, first, min(first + _MEMBERS_AT_A_TIME, people.n_members))
        share = of.days / np.maximum(of.total_days, 1)[:, None]
        columns = (MONTHS_BEFORE + 12 * of.year)[:, None] + np.arange(12)
        aid, kind = (array[of.member[:, None], columns] for array in (people.aid, people.kind))
        group = people.group[of.member, of.year].astype(np.int64)
        group = np.where(group == NO_GROUP, len(groups) - 1, group)
        place = (of.year * len(groups) + group)[:, None] * len(RATE_CELLS) + 2 * aid + kind
        here = (of.days > 0) & people.eligible[of.member, of.year][:, None]
        row, _ = np.nonzero(here)
        place, share = place[here], share[here]
        member, year = of.member[row], of.year[row]
        size = months.size
        months += np.bincount(place, minlength=size).reshape(shape)
        score = people.score_micro[member, year] / 1e6
        risk += np.bincount(place, score, size).reshape(shape)
        for k, cents in enumerate(expected):
            cost[k] += np.bincount(place, share * cents[member, year], size).reshape(shape)
    return [
        {
            "group_id": groups[g],
            "year": years[y],
            "rate_cell": RATE_CELLS[c],
            "member_months": int(months[y, g, c]),
            "risk": round(float(risk[y, g, c]), 6),
            "expected_usd": {
                cap_name(cap): round(float(by_cap[y, g, c]) / 100, 2)
                for cap, by_cap in zip(CAPS_USD, cost, strict=True)
            },
        }
        for y, g, c in np.argwhere(months)
    ]


def expected_index(people: People) -> list[dict[str, Any]]:
    """What a cost index is made of: one row a group of eligible people, the state last, and year.

    Of those with `INDEX_MONTHS` months, after `INDEX_CAP_USD`: members, months, risk (scores times
    months), expected cost, and cost over risk divided by that of the state.
    """
    names = [*partnership_ids(), COMPARISON, UNATTRIBUTED, STATE]
    years = (people.calendar.base_year, people.calendar.performance_year)
    cents = people.expected_cents(INDEX_CAP_USD * 100.0)
    found = []
    for y, year in enumerate(years):
        mine = people.eligible[:, y] & (people.months[:, y] >= INDEX_MONTHS)
        group = people.group[mine, y].astype(np.int64)
        group = np.where(group == NO_GROUP, len(names) - 2, group)
        risk = people.score_micro[mine, y] * people.months[mine, y] / 1e6
        sums = np.stack(
            [
                np.bincount(group, values, len(names))
                for values in (np.ones(len(group)), people.months[mine, y], risk, cents[mine, y])
            ]
        )
        sums[:, -1] = sums.sum(axis=1)
        of_state = sums[3, -1] / max(sums[2, -1], 1e-9)
        found += [
            {
                "group_id": name,
                "year": year,
                "n_members": int(n),
                "member_months": int(months),
                "risk": round(float(points), 6),
                "expected_usd": round(float(cost) / 100, 2),
                "tci": round(float(cost / points / of_state), 9),
            }
            for name, (n, months, points, cost) in zip(names, sums.T, strict=True)
            if points
        ]
    return found


def clinic_effects(people: People, npis: list[str]) -> list[dict[str, Any]]:
    """What each clinic's cost was multiplied by, where clinic-years are planted.

    npis : by group, kind and place, as the network has them.
    """
    if not people.clinic_spread:
        return []
    groups = [*partnership_ids(), COMPARISON]
    there = {*partnership_ids(people.n_partnerships), COMPARISON}
    calendar = people.calendar
    count = clinicians(people.n_members, people.n_partnerships)
    places = [
        (g, k, i)
        for g in range(len(groups))
        for k in range(len(KINDS))
        for i in range(int(count[g, k]))
    ]
    return [
        {
            "npi": npi,
            "partnership_id": groups[g],
            str(calendar.base_year): round(float(people.clinic_years[g, k, i, 0]), 6),
            str(calendar.performance_year): round(float(people.clinic_years[g, k, i, 1]), 6),
        }
        for npi, (g, k, i) in zip(npis, places, strict=True)
        if groups[g] in there
    ]
