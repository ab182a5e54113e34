"""Attribution recomputed member by member, in the words of the rules, and nothing else.

Written from the definitions of the terms: what a visit is, which months count, which entries of the
roster hold on a day, which step a visit serves, who has the most encounters. Every choice of every
term is drawn.
"""

from __future__ import annotations

import calendar
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ihp_compute.codes import (
    SPAN_DUAL,
    SPAN_LIMITED_BENEFITS,
    SPAN_PARTIAL_BENEFIT,
    SPAN_SPEND_DOWN,
    VISIT_ED,
    VISIT_INPATIENT,
    VISIT_PAYMENT,
)
from ihp_compute.contracts import AttributionTerms
from ihp_compute.errors import DataError
from ihp_compute.measure.attribution import EXCLUSION_REASONS, attribute
from ihp_compute.measure.member_years import VISIT_STEPS
from ihp_compute.measure.roster import compile_roster
from ihp_compute.measure.visits import compile_visits
from ihp_compute.units import NO_DAY, day_of, month_of
from tests.ihp_compute.measure.attribution_cases import TERMS

YEARS = ((2023, 2024), (2024, 2025))
CUTOFF = date(2026, 3, 31)
NPI = ["", "A", "B", "C"]
TIN = ["", "t", "u"]
CODES = ["", "99213", "99223", "90834", "S0280", "T1015"]
MARKS = {"payment_line": VISIT_PAYMENT, "inpatient": VISIT_INPATIENT, "emergency": VISIT_ED}
FLAGS = {
    "dual": SPAN_DUAL, "spend_down": SPAN_SPEND_DOWN, "partial_benefit": SPAN_PARTIAL_BENEFIT,
    "limited_benefits": SPAN_LIMITED_BENEFITS,
}  # fmt: skip
STEPS = ["health_care_home", "primary_care", "specialist"]
SPECIALTIES = ["primary_care", "specialist", "behavioral_health"]

Row = dict[str, Any]


# --- the rules, slowly ---------------------------------------------------------------------------


def in_ranges(code: str, ranges: tuple[str, ...]) -> bool:
    """Codes of one length sort as they count."""
    return code != "" and any(
        first <= code <= (last or first) for first, _, last in (r.partition("-") for r in ranges)
    )


def covered(member: Row, year: int) -> dict[int, int]:
    """Flags of each month of the year that a span covers while the member lives."""
    born, died = member["birth"], member["death"]
    found = {}
    for month in range(1, 13):
        if born and (year, month) < (born.year, born.month):
            continue
        if died and (year, month) > (died.year, died.month):
            continue
        for first, n, flags in member["spans"]:
            if first <= month_of(year, month) < first + n:
                found[month] = flags
    return found


def holds(entry: Row, day: date, terms: AttributionTerms, performance_year: int) -> bool:
    """Whether an entry holds on the day of a visit, by the contract's rule of the roster."""
    year = performance_year
    start, end = entry["start_date"] or date.min, entry["end_date"] or date.max
    if terms.roster_rule == "own_year":
        return bool(start <= day <= end)
    if terms.roster_rule == "same_days":
        last = calendar.monthrange(year, day.month)[1]
        return bool(start <= date(year, day.month, min(day.day, last)) <= end)
    if terms.roster_rule == "any_day":
        return bool(start <= date(year, 12, 31) and end >= date(year, 1, 1))
    month, last = map(int, terms.roster_date.split("-"))
    on = date(year, month, min(last, calendar.monthrange(year, month)[1]))
    return bool(start <= on <= end)


def entry_of(visit: Row, roster: list[Row], terms: AttributionTerms, year: int) -> Row | None:
    """The rendering provider's entry, else the billing one's; one that names the tin goes first."""
    for npi in (visit["rendering"], visit["billing"]):
        fitting = [
            entry
            for entry in roster
            if npi
            and entry["npi"] == npi
            and entry["tin"] in ("", visit["tin"])
            and holds(entry, visit["day"], terms, year)
        ]
        if fitting:
            return min(
                fitting,
                key=lambda entry: (
                    entry["tin"] == "",
                    -(entry["start_date"] or date.min).toordinal(),
                    not entry["home"],
                    SPECIALTIES.index(entry["specialty"]),
                    entry["partnership"] == "COMPARISON",
                    entry["partnership"],
                ),
            )
    return None


def step_of(visit: Row, entry: Row, terms: AttributionTerms) -> str | None:
    """The first step in order that the visit serves; none if it is no visit."""
    coordination = in_ranges(visit["code"], terms.care_coordination_codes)
    if not coordination and not in_ranges(visit["code"], terms.visit_codes):
        return None
    if visit["mark"] == "payment_line" and "payment_line" in terms.no_visit:
        return None
    if coordination:
        return "health_care_home" if "health_care_home" in terms.steps else None
    if visit["mark"] in terms.no_visit or f"{visit['place']:02}" in terms.excluded_places:
        return None
    by_step = {
        "primary_care": terms.primary_care_specialties,
        "specialist": terms.specialist_specialties,
        "health_care_home": terms.health_care_home_specialties
        if entry["home"] and terms.health_care_home == "or_flagged_entry"
        else (),
    }
    return next((s for s in terms.steps if entry["specialty"] in by_step[s]), None)


def recomputed(
    member: Row, roster: list[Row], terms: AttributionTerms, year: int, performance_year: int
) -> Row:
    """Group, step, encounters, tie, reason and months of a member's year."""
    months = covered(member, year)
    excluded = sum(FLAGS[name] for name in terms.exclude)
    countable = [month for month, flags in months.items() if not flags & excluded]
    visited: dict[str, dict[str, set[date]]] = {step: defaultdict(set) for step in terms.steps}
    for visit in member["visits"]:
        day = visit["day"]
        open_ = countable if "excluded_month" in terms.no_visit else months
        if day.year != year or day.month not in open_ or (visit["paid"] or day) > CUTOFF:
            continue
        entry = entry_of(visit, roster, terms, performance_year)
        step = None if entry is None else step_of(visit, entry, terms)
        if entry is not None and step is not None:
            visited[step][entry["partnership"]].add(day)
    out: Row = {"group": "UNATTRIBUTED", "step": "none", "n": 0, "tied": False}
    first = None
    for step in terms.steps:
        if visited[step]:
            days = visited[step]
            most = max(map(len, days.values()))
            best = [group for group in days if len(days[group]) == most]
            latest = "latest_visit" in terms.tie_break
            group = min(
                best,
                key=lambda g: (
                    -max(days[g]).toordinal() if latest else 0, g == "COMPARISON", g,
                ),
            )  # fmt: skip
            out = {"group": group, "step": step, "n": most, "tied": len(best) > 1}
            first = min(days[group])
            break

    def long_enough(counted: list[int]) -> bool:
        run = longest = 0
        for month in range(1, 13):
            run = run + 1 if month in counted else 0
            longest = max(longest, run)
        return longest >= terms.min_months_continuous or len(counted) >= terms.min_months_any

    kept = [m for m in countable if terms.keep_pre_visit or first is None or m >= first.month]
    if long_enough(countable):
        return {**out, "reason": "", "months": len(kept)}
    reason = "not_enrolled" if not months else "too_few_months"
    if months and long_enough(list(months)):
        flagged = (name for name in FLAGS if name in terms.exclude and
                   any(flags & FLAGS[name] for flags in months.values()))  # fmt: skip
        reason = next(flagged, reason)
    nobody = {"group": "", "step": "none", "n": 0, "tied": False}
    return {**nobody, "reason": reason, "months": len(kept)}


# --- small states --------------------------------------------------------------------------------


def some(names: list[str], least: int = 0) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(names), unique=True, min_size=least).map(tuple)


USUAL = replace(TERMS, visit_codes=("99201-99215", "T1015"), excluded_places=("21", "81"))
CHOICES: dict[str, st.SearchStrategy[Any]] = {
    "min_months_continuous": st.sampled_from([1, 12]),
    "min_months_any": st.sampled_from([1, 12]),
    "exclude": some(list(FLAGS)),
    "steps": some(STEPS, 1),
    "visit_codes": some(["99201-99215", "99221-99223", "90834", "T1015", "S0280"]),
    "excluded_places": some(["11", "21", "81"]),
    "care_coordination_codes": some(["S0280-S0281", "T1015", "90834"]),
    "no_visit": some(["payment_line", "excluded_month", "inpatient", "emergency"]),
    "health_care_home": st.just("or_flagged_entry"),
    "health_care_home_specialties": some(SPECIALTIES),
    "primary_care_specialties": some(SPECIALTIES),
    "specialist_specialties": some(SPECIALTIES),
    "roster_rule": st.sampled_from(["any_day", "same_days", "own_year"]),
    "roster_date": st.sampled_from(["01-01", "02-29", "06-30", "07-01"]),
    "keep_pre_visit": st.just(False),
    "tie_break": st.just(("lowest_id",)),
}
few_changes = st.sets(st.sampled_from(sorted(CHOICES)), max_size=3).flatmap(
    lambda names: st.fixed_dictionaries({name: CHOICES[name] for name in names})
)
every_change = st.fixed_dictionaries(
    {name: st.one_of(st.just(getattr(USUAL, name)), choice) for name, choice in CHOICES.items()}
)
terms_of = st.one_of(few_changes, few_changes, every_change).map(lambda c: replace(USUAL, **c))
TURNS = [
    date(y, m, d) for y in (2023, 2024, 2025) for m, d in ((1, 1), (2, 28), (3, 1), (7, 1))
] + [date(2024, 2, 29), date(2024, 12, 31), date(2025, 12, 31)]


@st.composite
def roster_of(draw: st.DrawFn) -> list[Row]:
    """Each provider at one partnership, from or until a day, or at one and then at another."""
    rows = []
    for npi in NPI[1:]:
        for tin in draw(st.sampled_from([("",), ("",), ("t",), ("", "t")])):
            turns = sorted(draw(st.lists(st.sampled_from(TURNS), max_size=2, unique=True)))
            for start, end in pairwise([None, *turns, None]):
                if draw(st.integers(0, 4)):
                    rows.append(
                        {
                            "npi": npi,
                            "tin": tin,
                            "partnership": draw(st.sampled_from(["P1", "P2", "COMPARISON"])),
                            "specialty": draw(st.sampled_from([SPECIALTIES[0], *SPECIALTIES])),
                            "home": draw(st.booleans()),
                            "start_date": start,
                            "end_date": end and end - timedelta(1),
                        }
                    )
    return rows


@st.composite
def visit_of(draw: st.DrawFn, year: int) -> Row:
    days = [
        *(date(year, 2, 28) + timedelta(k) for k in (0, 1, 2)),
        *(date(year, m, d) for m, d in ((1, 1), (3, 5), (6, 30), (7, 1), (9, 9), (12, 31))),
    ]
    return {
        "day": draw(st.sampled_from(days)),
        "paid": draw(st.sampled_from([None, None, CUTOFF, CUTOFF + timedelta(1)])),
        "rendering": draw(st.sampled_from(["A", "B", "C", *NPI])),
        "billing": draw(st.sampled_from(NPI)),
        "tin": draw(st.sampled_from(TIN)),
        "code": draw(st.sampled_from([*["99213"] * 6, *CODES])),
        "place": draw(st.sampled_from([0, 11, 11, 11, 21, 81])),
        "mark": draw(st.sampled_from([*[""] * 6, *MARKS])),
    }


@st.composite
def member_of(draw: st.DrawFn) -> Row:
    """Spans one after another over all years, of any flags."""
    spans, month = [], month_of(2022, 11)
    while month < month_of(2026, 2):
        month += draw(st.sampled_from([0, 0, 0, 1, 4]))
        n = draw(st.sampled_from([1, 3, 7, 14, 27]))
        flags = sum(FLAGS[name] for name in draw(some(list(FLAGS))))
        spans.append((month, n, 0 if draw(st.integers(0, 3)) else flags))
        month += n
    years = st.sampled_from([2023, 2024, 2025])
    return {
        "spans": spans,
        "birth": draw(st.sampled_from([None, None, date(1990, 1, 1), date(2023, 5, 31)])),
        "death": draw(st.sampled_from([None, None, None, date(2024, 7, 2), date(2023, 3, 31)])),
        "visits": draw(st.lists(years.flatmap(visit_of), min_size=3, max_size=16)),
    }


def shard_of(make: Callable[..., Any], members: list[Row]) -> Any:
    return make(
        *(
            {
                "birth_day": day_of(m["birth"]) if m["birth"] else NO_DAY,
                "death_day": day_of(m["death"]) if m["death"] else NO_DAY,
                "spans": [
                    {"first_month": first, "n_months": n, "rate_cell": 2, "flags": flags}
                    for first, n, flags in m["spans"]
                ],
                "visits": [
                    {
                        "day": day_of(v["day"]),
                        "paid_day": day_of(v["paid"]) if v["paid"] else NO_DAY,
                        "rendering_npi": NPI.index(v["rendering"]),
                        "billing_npi": NPI.index(v["billing"]),
                        "tin": TIN.index(v["tin"]),
                        "hcpcs": CODES.index(v["code"]),
                        "place": v["place"],
                        "marks": MARKS.get(v["mark"], 0),
                    }
                    for v in sorted(m["visits"], key=lambda v: v["day"])
                ],
            }
            for m in members
        )
    )


def table_of(roster: list[Row]) -> pa.Table:
    names = ("npi", "tin", "start_date", "end_date")
    return pa.Table.from_pylist(
        [
            {
                **{name: e[name] for name in names},
                "partnership_id": e["partnership"],
                "specialty": e["specialty"].replace("_", " "),
                "health_care_home": e["home"],
            }
            for e in roster
        ],
        schema=pa.schema(
            {
                **dict.fromkeys(("npi", "tin", "partnership_id", "specialty"), pa.string()),
                **dict.fromkeys(("start_date", "end_date"), pa.date32()),
                "health_care_home": pa.bool_(),
            }
        ),
    )


@settings(max_examples=300, deadline=None)
@given(
    terms=terms_of,
    roster=roster_of().filter(bool),
    members=st.lists(member_of(), min_size=1, max_size=4),
    years=st.sampled_from(YEARS),
)
def test_attribution_is_what_its_rules_say(
    tiny_shard: Callable[..., Any],
    terms: AttributionTerms,
    roster: list[Row],
    members: list[Row],
    years: tuple[int, int],
) -> None:
    try:
        compiled = compile_roster(
            table_of(roster),
            npi_codes=pa.array(NPI),
            tin_codes=pa.array(TIN),
            terms=terms,
            base_year=years[0],
            performance_year=years[1],
        )
    except DataError:  # nobody on the roster, or no base roster: refused, and tested apart
        return
    shard, rule = shard_of(tiny_shard, members), compile_visits(terms, CODES)
    for year in years:
        found = attribute(shard, compiled, rule, terms, year=year, cutoff_day=day_of(CUTOFF))
        for m, person in enumerate(members):
            group = int(found.group[m])
            assert {
                "group": compiled.groups[group] if group >= 0 else "",
                "step": VISIT_STEPS[found.step[m]],
                "n": int(found.n_visits[m]),
                "tied": bool(found.tied[m]),
                "reason": EXCLUSION_REASONS[found.reason[m]],
                "months": int(found.months[:, m].sum()),
            } == recomputed(person, roster, terms, year, years[1])


@pytest.mark.parametrize("rule", ["on_date", "any_day", "same_days", "own_year"])
def test_the_recomputation_reaches_every_rule_of_the_roster(rule: str) -> None:
    """The slow rule itself tells the four rules apart: no two agree on these four days."""
    entry = {"start_date": date(2024, 7, 1), "end_date": None}
    days = [date(2023, 3, 1), date(2023, 9, 1), date(2024, 3, 1), date(2024, 9, 1)]
    found = [holds(entry, day, replace(USUAL, roster_rule=rule), 2024) for day in days]
    assert found == {
        "on_date": [True] * 4, "any_day": [True] * 4, "same_days": [False, True] * 2,
        "own_year": [False, False, False, True],
    }[rule]  # fmt: skip
