"""Attribution by hand: which months and visits count, steps and ties."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from ihp_compute.codes import (
    RATE_CELLS,
    SPAN_DUAL,
    SPAN_LIMITED_BENEFITS,
    SPAN_LONG_TERM_INSTITUTION,
    SPAN_SPEND_DOWN,
    VISIT_ED,
    VISIT_INPATIENT,
    VISIT_PAYMENT,
)
from ihp_compute.errors import ContractError
from ihp_compute.measure.providers import NO_PROVIDER, providers_of
from ihp_compute.units import day_of
from tests.ihp_compute.measure.attribution_cases import (
    ALPHA,
    BETA,
    CLINIC,
    CUTOFF,
    EVALUATION,
    FLAGGED,
    GAMMA,
    HCH,
    HOME,
    HOSPITAL_CARE,
    NOBODY,
    NPI,
    OTHER,
    ROWS,
    TERMS,
    THERAPIST,
    THERAPY,
    attributed,
    reasons,
    roster_of,
    row,
    visit,
)

Maker = Callable[..., Any]


def test_the_most_primary_care_visits_win(tiny_shard: Maker, span: Maker) -> None:
    visits = [visit(ALPHA, 1, 5), visit(BETA, 2, 5), visit(BETA, 3, 5)]
    found, groups = attributed(tiny_shard({"spans": [span()], "visits": visits}))
    assert groups == ["P2"]
    assert (found.step[0], found.n_visits[0], found.tied[0]) == (2, 2, False)


def test_care_coordination_goes_before_more_primary_care(tiny_shard: Maker, span: Maker) -> None:
    """One care-coordination service outweighs other visits, at any entry and in any place."""
    many = [visit(ALPHA, 1, day) for day in (5, 6, 7)]
    found, groups = attributed(
        tiny_shard(
            {"spans": [span()], "visits": [*many, visit(BETA, 2, 1, HCH)]},
            {"spans": [span()], "visits": [*many, visit(GAMMA, 2, 1, HCH, place=21, marks=3)]},
        )
    )
    assert groups == ["P2", "P2"]
    assert found.step.tolist() == [1, 1]


def test_one_visit_at_a_flagged_home_does_not_beat_ten(tiny_shard: Maker, span: Maker) -> None:
    """A flagged entry makes the first step only where the contract says so."""
    ten = [visit(ALPHA, month, 10) for month in (1, 2, 3, 4, 5, 7, 8, 9, 10, 11)]
    shard = tiny_shard({"spans": [span()], "visits": [*ten[:5], visit(HOME, 6, 10), *ten[5:]]})
    found, groups = attributed(shard)
    assert (groups, found.step.tolist(), found.n_visits.tolist()) == (["P1"], [2], [10])
    found, groups = attributed(shard, terms=FLAGGED)
    assert (groups, found.step.tolist(), found.n_visits.tolist()) == (["P3"], [1], [1])


def test_among_homes_the_one_with_the_most_encounters_wins(tiny_shard: Maker, span: Maker) -> None:
    """Care coordination and visits at flagged entries are counted together."""
    rows = (*ROWS, row(THERAPIST, "P3", "specialist", health_care_home="true", tin="41-2"))
    homes = (row(ALPHA, "P1", health_care_home="true"), *rows[1:])
    visits = [visit(HOME, 1, 5), visit(ALPHA, 2, 5), visit(ALPHA, 3, 5), visit(BETA, 4, 5, HCH)]
    many = [visit(BETA, 5, day) for day in range(1, 9)]
    shard = tiny_shard(
        {"spans": [span()], "visits": [*visits, *many]},
        {"spans": [span()], "visits": [*visits, visit(HOME, 5, 1), visit(HOME, 5, 2, HCH)]},
        {"spans": [span()], "visits": [visit(ALPHA, 1, 5), visit(THERAPIST, 2, 5, tin=2)]},
    )
    found, groups = attributed(shard, *homes, terms=FLAGGED)
    assert groups == ["P1", "P3", "P1"]
    assert found.n_visits.tolist() == [2, 3, 1]
    every = replace(FLAGGED, health_care_home_specialties=("primary_care", "specialist"))
    found, groups = attributed(shard, *homes, terms=every)
    assert (groups[2], found.tied[2]) == ("P3", True), "a specialist at a home counts if it says so"


def test_specialties_count_at_the_steps_that_name_them(tiny_shard: Maker, span: Maker) -> None:
    shard = tiny_shard(
        {"spans": [span()], "visits": [visit(THERAPIST, 1, 5), visit(BETA, 2, 5)]},
        {"spans": [span()], "visits": [visit(THERAPIST, 1, 5)]},
    )
    first = replace(TERMS, primary_care_specialties=("behavioral_health",))
    found, groups = attributed(shard, terms=first)
    assert (groups, found.step.tolist()) == (["P1", "P1"], [2, 2])
    nowhere = replace(TERMS, specialist_specialties=("specialist",))
    assert attributed(shard, terms=nowhere)[1] == ["P2", "UNATTRIBUTED"]


def test_what_is_a_visit_is_a_term(tiny_shard: Maker, span: Maker) -> None:
    def seen(*codes: int, **other: int) -> dict[str, Any]:
        return {"spans": [span()], "visits": [visit(ALPHA, 1, 5, code, **other) for code in codes]}

    shard = tiny_shard(
        seen(EVALUATION), seen(CLINIC), seen(THERAPY), seen(HOSPITAL_CARE), seen(0),
        seen(EVALUATION, place=21), seen(EVALUATION, place=11), seen(HCH, place=81),
    )  # fmt: skip

    def attributes(**change: Any) -> list[bool]:
        return [g == "P1" for g in attributed(shard, terms=replace(TERMS, **change))[1]]

    assert attributes() == [True, True, False, False, False, False, True, True]
    other = ("90785-90899", "99221-99223")
    assert attributes(visit_codes=other) == [False, False, True, True, False, False, False, True]
    assert attributes(excluded_places=())[5]
    assert not attributes(excluded_places=("11",))[6]
    assert attributes(care_coordination_codes=(), visit_codes=("S0280",)) == [False] * 8
    assert attributes(care_coordination_codes=("90834",), visit_codes=()) == [False] * 2 + [
        True
    ] + ([False] * 5)


def test_a_payment_is_no_visit_unless_the_contract_says_so(tiny_shard: Maker, span: Maker) -> None:
    """Two capitation lines at P2 lose to one visit at P1; care coordination that is paid so too."""
    shard = tiny_shard(
        {
            "spans": [span()],
            "visits": [
                visit(BETA, 2, 1, marks=VISIT_PAYMENT), visit(BETA, 2, 2, marks=VISIT_PAYMENT),
                visit(ALPHA, 5, 10),
            ],
        },
        {"spans": [span()], "visits": [visit(BETA, 2, 1, HCH, marks=VISIT_PAYMENT)]},
    )  # fmt: skip
    assert attributed(shard)[1] == ["P1", "UNATTRIBUTED"]
    kept = replace(TERMS, no_visit=("excluded_month", "inpatient", "emergency"))
    assert attributed(shard, terms=kept)[1] == ["P2", "P2"]


@pytest.mark.parametrize(
    ("name", "mark"), [("inpatient", VISIT_INPATIENT), ("emergency", VISIT_ED)]
)
def test_stays_and_emergencies_are_no_visits_unless_the_contract_says_so(
    tiny_shard: Maker, span: Maker, name: str, mark: int
) -> None:
    shard = tiny_shard({"spans": [span()], "visits": [visit(ALPHA, 1, 5, marks=mark)]})
    assert attributed(shard)[1] == ["UNATTRIBUTED"]
    kept = tuple(other for other in TERMS.no_visit if other != name)
    assert attributed(shard, terms=replace(TERMS, no_visit=kept))[1] == ["P1"]


def test_visits_of_months_that_do_not_count_are_none(tiny_shard: Maker, span: Maker) -> None:
    """Dual from January to March with three visits at P2, then one at P1 in nine clean months."""
    member = {
        "spans": [span(last=3, flags=SPAN_DUAL), span(first=4)],
        "visits": [*(visit(BETA, 2, day) for day in (1, 2, 3)), visit(ALPHA, 5, 10)],
    }
    shard = tiny_shard(member, {**member, "death_day": day_of(date(2024, 4, 30))})
    found, groups = attributed(shard)
    assert groups == ["P1", ""]
    any_month = replace(TERMS, no_visit=("payment_line",), min_months_any=1)
    assert attributed(shard, terms=any_month)[1] == ["P2", "P2"], "May is after the death"
    assert found.n_visits.tolist() == [1, 0]
    keep_none = replace(TERMS, keep_pre_visit=False)
    cut, _ = attributed(shard, terms=keep_none)
    assert cut.months[0].tolist() == [8, 1]


def test_limited_benefits_do_not_count_for_a_reason_of_their_own(
    tiny_shard: Maker, span: Maker
) -> None:
    shard = tiny_shard(
        {"spans": [span(flags=SPAN_LIMITED_BENEFITS)], "visits": [visit(ALPHA, 1, 5)]},
        {"spans": [span(flags=SPAN_LIMITED_BENEFITS | SPAN_DUAL)]},
    )
    found, groups = attributed(shard)
    assert reasons(found) == ["limited_benefits", "dual"]
    kept = replace(TERMS, exclude=("dual",))
    assert attributed(shard, terms=kept)[1] == ["P1", ""]
    assert groups == ["", ""]


def test_specialists_decide_only_without_primary_care(tiny_shard: Maker, span: Maker) -> None:
    seen = [visit(GAMMA, 1, 5), visit(GAMMA, 2, 5)]
    found, groups = attributed(
        tiny_shard(
            {"spans": [span()], "visits": seen},
            {"spans": [span()], "visits": [*seen, visit(ALPHA, 3, 1)]},
            {"spans": [span()], "visits": [visit(THERAPIST, 3, 1)]},
        )
    )
    assert groups == ["P2", "P1", "P1"]
    assert found.step.tolist() == [3, 2, 3]


def test_steps_left_out_of_the_contract_decide_nothing(tiny_shard: Maker, span: Maker) -> None:
    shard = tiny_shard(
        {"spans": [span()], "visits": [visit(HOME, 1, 5), visit(BETA, 2, 1, HCH)]},
        {"spans": [span()], "visits": [visit(GAMMA, 1, 5)]},
    )
    for terms in (TERMS, FLAGGED):
        found, groups = attributed(shard, terms=replace(terms, steps=("primary_care",)))
        assert groups == ["P3", "UNATTRIBUTED"]
    assert found.step.tolist() == [2, 0]


def test_the_latest_visit_breaks_a_tie(tiny_shard: Maker, span: Maker) -> None:
    even = [visit(BETA, 1, 5), visit(ALPHA, 2, 5)]
    same_day = [visit(BETA, 1, 5), visit(ALPHA, 1, 5)]
    shard = tiny_shard(
        {"spans": [span()], "visits": even},
        {"spans": [span()], "visits": list(reversed(same_day))},
    )
    found, groups = attributed(shard)
    assert groups == ["P1", "P1"]
    assert found.tied.tolist() == [True, True]
    late_beta = tiny_shard(
        {"spans": [span()], "visits": [visit(ALPHA, 1, 5), visit(BETA, 2, 5)]},
    )
    assert attributed(late_beta)[1] == ["P2"]
    assert attributed(late_beta, terms=replace(TERMS, tie_break=("lowest_id",)))[1] == ["P1"]


def test_the_comparison_population_competes_like_a_partnership(
    tiny_shard: Maker, span: Maker
) -> None:
    visits = [visit(OTHER, 1, 5), visit(OTHER, 1, 6), visit(ALPHA, 2, 5)]
    assert attributed(tiny_shard({"spans": [span()], "visits": visits}))[1] == ["COMPARISON"]


def test_without_a_visit_a_member_is_unattributed(tiny_shard: Maker, span: Maker) -> None:
    found, groups = attributed(
        tiny_shard({"spans": [span()], "visits": [visit(NOBODY, 1, 5)]}, {"spans": [span()]})
    )
    assert groups == ["UNATTRIBUTED", "UNATTRIBUTED"]
    assert found.reason.tolist() == [0, 0]


def test_the_billing_provider_stands_in(tiny_shard: Maker, span: Maker) -> None:
    """A blank rendering provider, or one without an entry, leaves it to the billing one."""
    shard = tiny_shard(
        {"spans": [span()], "visits": [visit(0, 1, 5, billing_npi=BETA)]},
        {"spans": [span()], "visits": [visit(NOBODY, 1, 5, billing_npi=BETA)]},
        {"spans": [span()], "visits": [visit(ALPHA, 1, 5, billing_npi=BETA)]},
    )
    assert attributed(shard)[1] == ["P2", "P2", "P1"]


def test_the_provider_of_the_latest_encounter_that_counted_is_told(
    tiny_shard: Maker, span: Maker
) -> None:
    """Not one of another step or partnership, nor of a month that does not count."""
    months = [span(last=10), span(first=11, flags=SPAN_DUAL)]
    visits = [
        visit(BETA, 2, 1),
        visit(BETA, 3, 1),
        visit(NOBODY, 4, 1),
        visit(ALPHA, 5, 1),
        visit(GAMMA, 6, 1),
        visit(BETA, 11, 3),
    ]
    shard = tiny_shard(
        {"spans": months, "visits": visits},
        {"spans": [span()], "visits": [visit(0, 1, 5, billing_npi=BETA)]},
        {"spans": [span()], "visits": []},
    )
    rows = (*ROWS, row(NOBODY, "P2"))
    found, groups = attributed(shard, *rows)
    assert groups == ["P2", "P2", "UNATTRIBUTED"]
    roster = roster_of(*rows)
    providers = providers_of(shard, roster.entries[found.year], found)
    assert providers.tolist() == [NOBODY, BETA, NO_PROVIDER]
    assert roster.providers[NOBODY] == str(NPI[NOBODY])


def test_late_payments_and_other_years_do_not_attribute(tiny_shard: Maker, span: Maker) -> None:
    shard = tiny_shard(
        {"spans": [span()], "visits": [visit(ALPHA, 1, 5, paid_day=CUTOFF + 1)]},
        {"spans": [span()], "visits": [visit(ALPHA, 1, 5, paid_day=CUTOFF)]},
        {"spans": [span()], "visits": [visit(ALPHA, 12, 31, year=2023)]},
    )
    assert attributed(shard)[1] == ["UNATTRIBUTED", "P1", "UNATTRIBUTED"]


def test_six_months_in_a_row_or_nine_in_all(tiny_shard: Maker, span: Maker) -> None:
    found, _ = attributed(
        tiny_shard(
            {"spans": [span(first=4, last=9)]},
            {"spans": [span(first=1, last=5), span(first=7, last=9)]},
            {"spans": [span(first=1, last=5), span(first=7, last=10)]},
            {"spans": [span(first=1, last=3), span(first=4, last=6, cell=4)]},
        )
    )
    assert reasons(found) == ["", "too_few_months", "", ""]
    assert found.months.sum(axis=0).tolist() == [6, 8, 9, 6]
    assert found.months[RATE_CELLS.index("expansion_ffs")].tolist() == [0, 0, 0, 3]


def test_a_span_counts_within_the_year_only(tiny_shard: Maker, span: Maker) -> None:
    long = {**span(2023, 7), "n_months": 24}
    found, _ = attributed(tiny_shard({"spans": [long]}, {"spans": [span(2023)]}))
    assert found.months.sum(axis=0).tolist() == [12, 0]
    assert reasons(found) == ["", "not_enrolled"]


def test_dual_months_do_not_count(tiny_shard: Maker, span: Maker) -> None:
    found, groups = attributed(
        tiny_shard(
            {"spans": [span(flags=SPAN_DUAL)], "visits": [visit(ALPHA, 1, 5)]},
            {"spans": [span(last=8), span(first=9, flags=SPAN_DUAL)]},
            {"spans": [span(last=5), span(first=6, flags=SPAN_SPEND_DOWN)]},
            {"spans": [span(last=3, flags=SPAN_DUAL)]},
            {"spans": [span(flags=SPAN_LONG_TERM_INSTITUTION)]},
        )
    )
    assert reasons(found) == ["dual", "", "spend_down", "too_few_months", ""]
    assert found.months.sum(axis=0).tolist() == [0, 8, 5, 0, 12]
    assert found.enrolled_months.tolist() == [12, 12, 12, 3, 12]
    assert groups[0] == ""
    assert (found.step[0], found.n_visits[0]) == (0, 0)


def test_a_contract_may_keep_duals(tiny_shard: Maker, span: Maker) -> None:
    shard = tiny_shard({"spans": [span(flags=SPAN_DUAL)]})
    found, _ = attributed(shard, terms=replace(TERMS, exclude=("spend_down",)))
    assert reasons(found) == [""]


def test_months_after_death_do_not_count(tiny_shard: Maker, span: Maker) -> None:
    found, _ = attributed(
        tiny_shard(
            {"spans": [span()], "death_day": day_of(date(2024, 7, 2))},
            {"spans": [span()], "death_day": day_of(date(2023, 7, 2))},
        )
    )
    assert found.months.sum(axis=0).tolist() == [7, 0]
    assert found.month_cell[0].tolist() == [0] * 7 + [255] * 5
    assert reasons(found) == ["", "not_enrolled"]


def test_a_newborn_counts_from_the_month_of_birth(tiny_shard: Maker, span: Maker) -> None:
    found, _ = attributed(
        tiny_shard({"spans": [span(cell=8)], "birth_day": day_of(date(2024, 5, 31))})
    )
    assert found.months[8].tolist() == [8]


def test_months_before_the_first_visit_may_be_left_out(tiny_shard: Maker, span: Maker) -> None:
    visits = [visit(BETA, 2, 1), visit(ALPHA, 4, 10), visit(ALPHA, 6, 1)]
    shard = tiny_shard({"spans": [span()], "visits": visits}, {"spans": [span()]})
    kept, _ = attributed(shard)
    cut, groups = attributed(shard, terms=replace(TERMS, keep_pre_visit=False))
    assert kept.months.sum(axis=0).tolist() == [12, 12]
    assert groups == ["P1", "UNATTRIBUTED"]
    assert cut.months.sum(axis=0).tolist() == [9, 12]


def test_an_empty_shard_is_no_trouble(tiny_shard: Maker) -> None:
    found, groups = attributed(tiny_shard())
    assert groups == []
    assert found.months.shape == (len(RATE_CELLS), 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_months_any": 13}, "min_months_any: found 13, expected a whole number at least 1"),
        ({"min_months_continuous": 6.5}, "min_months_continuous: found 6.5, expected a whole"),
        ({"exclude": ("dead",)}, "exclude: found .* expected a list of names among dual"),
        ({"steps": ()}, "steps: found .* 1 or more names among"),
        ({"steps": ("specialist", "specialist")}, "steps: found a name twice"),
        ({"visit_codes": ("99213", "80053")}, "visit_codes: found 80053, expected a list of proc"),
        ({"visit_codes": ("99215-99213",)}, "visit_codes: found 99215-99213, expected a list"),
        ({"care_coordination_codes": ("S0280-T1015",)}, "care_coordination_codes: found S0280-T"),
        ({"visit_codes": ("99213", "99213")}, "visit_codes: found a name twice"),
        ({"excluded_places": ("7",)}, "excluded_places: found .* expected a list of places of"),
        ({"no_visit": ("denied",)}, "no_visit: found .* among payment_line, excluded_month"),
        ({"roster_rule": "never"}, "roster_rule: found never, expected on_date or any_day or"),
        ({"roster_date": "31-12"}, "roster_date: found 31-12, expected a month and a day, MM-DD"),
        ({"roster_date": "2024-12-31"}, "roster_date: found 2024-12-31, expected a month"),
        ({"tie_break": ("coin",)}, "tie_break: found .* expected a list: latest_visit then"),
    ],
)
def test_terms_that_cannot_be_meant_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        replace(TERMS, **change)
