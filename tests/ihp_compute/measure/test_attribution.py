"""Attribution by hand: eligibility, the roster, steps and ties."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from ihp_compute.codes import RATE_CELLS, SPAN_DUAL, SPAN_LONG_TERM_INSTITUTION, SPAN_SPEND_DOWN
from ihp_compute.contracts.rules import AttributionTerms
from ihp_compute.errors import ContractError, DataError
from ihp_compute.measure.attribution import EXCLUSION_REASONS, Attribution, attribute
from ihp_compute.measure.roster import Roster, compile_roster
from ihp_compute.units import day_of

TERMS = AttributionTerms(
    min_months_continuous=6,
    min_months_any=9,
    exclude=("dual", "spend_down", "partial_benefit"),
    steps=("health_care_home", "primary_care", "specialist"),
    keep_pre_visit=True,
    tie_break=("latest_visit", "lowest_id"),
)
CUTOFF = day_of(date(2025, 6, 30))
NPI = pa.array(["", *(f"100000000{i}" for i in range(1, 8))])
TIN = pa.array(["", "41-1", "41-2"])
ALPHA, BETA, GAMMA, HOME, OTHER, THERAPIST, NOBODY = range(1, 8)
HCH, EVALUATION = 1, 2


def row(
    npi: int, partnership: str, specialty: str = "primary care", **other: Any
) -> dict[str, Any]:
    return {
        "npi": str(NPI[npi]),
        "tin": "",
        "partnership_id": partnership,
        "specialty": specialty,
        "health_care_home": "false",
        "start_date": "2020-01-01",
        "end_date": "",
        **other,
    }


ROWS = (
    row(ALPHA, "P1"),
    row(BETA, "P2"),
    row(GAMMA, "P2", "207RC0000X"),
    row(HOME, "P3", health_care_home="true"),
    row(OTHER, "COMPARISON"),
    row(THERAPIST, "P1", "behavioral health"),
)


def roster_of(*rows: dict[str, Any]) -> Roster:
    return compile_roster(
        pa.Table.from_pylist(list(rows)), npi_codes=NPI, tin_codes=TIN, performance_year=2024
    )


def visit(
    npi: int, month: int, day: int, kind: int = EVALUATION, year: int = 2024, **other: int
) -> dict[str, int]:
    return {
        "rendering_npi": npi,
        "day": day_of(date(year, month, day)),
        "class": kind,
        **other,
    }


def attributed(
    shard: Any, *rows: dict[str, Any], terms: AttributionTerms = TERMS, year: int = 2024
) -> tuple[Attribution, list[str]]:
    roster = roster_of(*(rows or ROWS))
    found = attribute(shard, roster, terms, year=year, cutoff_day=CUTOFF)
    return found, [roster.groups[g] if g >= 0 else "" for g in found.group]


def reasons(found: Attribution) -> list[str]:
    return [EXCLUSION_REASONS[code] for code in found.reason]


Maker = Callable[..., Any]


def test_groups_are_partnerships_then_comparison_then_unattributed() -> None:
    roster = roster_of(*ROWS)
    assert roster.groups == ("P1", "P2", "P3", "COMPARISON", "UNATTRIBUTED")
    assert roster.n_partnerships == 3


def test_the_most_primary_care_visits_win(tiny_shard: Maker, span: Maker) -> None:
    visits = [visit(ALPHA, 1, 5), visit(BETA, 2, 5), visit(BETA, 3, 5)]
    found, groups = attributed(tiny_shard({"spans": [span()], "visits": visits}))
    assert groups == ["P2"]
    assert (found.step[0], found.n_visits[0], found.tied[0]) == (2, 2, False)


def test_a_health_care_home_goes_before_more_primary_care(tiny_shard: Maker, span: Maker) -> None:
    """One care-coordination service, or one visit at a certified home, outweighs other visits."""
    many = [visit(ALPHA, 1, day) for day in (5, 6, 7)]
    found, groups = attributed(
        tiny_shard(
            {"spans": [span()], "visits": [*many, visit(HOME, 2, 1)]},
            {"spans": [span()], "visits": [*many, visit(BETA, 2, 1, HCH)]},
        )
    )
    assert groups == ["P3", "P2"]
    assert found.step.tolist() == [1, 1]


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
    found, groups = attributed(shard, terms=replace(TERMS, steps=("primary_care",)))
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


def test_an_entry_that_names_the_tin_goes_first(tiny_shard: Maker, span: Maker) -> None:
    rows = (row(ALPHA, "P1"), row(ALPHA, "P2", tin="41-2"), row(BETA, "P3", tin="99-9"))
    shard = tiny_shard(
        {"spans": [span()], "visits": [visit(ALPHA, 1, 5, tin=1)]},
        {"spans": [span()], "visits": [visit(ALPHA, 1, 5, tin=2)]},
        {"spans": [span()], "visits": [visit(BETA, 1, 5, tin=2)]},
    )
    assert attributed(shard, *rows)[1] == ["P1", "P2", "UNATTRIBUTED"]
    assert roster_of(*rows).n_unseen == 1


def test_a_visit_is_held_against_the_entrys_dates(tiny_shard: Maker, span: Maker) -> None:
    rows = (
        row(ALPHA, "P1", end_date="2024-06-30"),
        row(ALPHA, "P2", start_date="2024-07-01"),
    )
    shard = tiny_shard(
        {"spans": [span()], "visits": [visit(ALPHA, 6, 30)]},
        {"spans": [span()], "visits": [visit(ALPHA, 7, 1)]},
    )
    assert attributed(shard, *rows)[1] == ["P1", "P2"]


def test_the_performance_years_roster_serves_the_base_year(tiny_shard: Maker, span: Maker) -> None:
    """A base-year visit falls under the entries of the performance year, the latest first."""
    rows = (
        row(ALPHA, "P1", start_date="2024-02-01", end_date="2024-06-30"),
        row(ALPHA, "P2", start_date="2024-07-01"),
        row(BETA, "P3", start_date="2020-01-01", end_date="2022-12-31"),
        row(GAMMA, "P3", start_date="2024-12-31"),
    )
    shard = tiny_shard(
        {"spans": [span(2022)], "visits": [visit(ALPHA, 1, 5, year=2022)]},
        {"spans": [span(2022)], "visits": [visit(BETA, 1, 5, year=2022)]},
        {"spans": [span(2022)], "visits": [visit(GAMMA, 1, 5, year=2022)]},
    )
    assert attributed(shard, *rows, year=2022)[1] == ["P2", "UNATTRIBUTED", "P3"]


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
    ("text", "step"),
    [
        ("Primary Care", 2),
        ("specialist", 3),
        ("behavioral health", 3),
        ("207Q00000X", 2),
        ("207R00000X", 2),
        ("207RC0000X", 3),
        ("208000000X", 2),
        ("2080P0202X", 3),
        ("208D00000X", 2),
        ("363LF0000X", 2),
        ("363LP0808X", 3),
        ("363A00000X", 2),
        ("261QF0400X", 2),
        ("1041C0700X", 3),
    ],
)
def test_taxonomy_codes_are_read(tiny_shard: Maker, span: Maker, text: str, step: int) -> None:
    shard = tiny_shard({"spans": [span()], "visits": [visit(ALPHA, 1, 5)]})
    found, _ = attributed(shard, row(ALPHA, "P1", text))
    assert found.step[0] == step


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(ALPHA, "P1"), row(ALPHA, "P2")], "1 npi stand under two partnerships"),
        (
            [row(ALPHA, "P1", end_date="2024-07-01"), row(ALPHA, "P2", start_date="2024-07-01")],
            "end one entry before the other starts",
        ),
        ([row(ALPHA, "P1", "dentist")], "specialty 'dentist' is neither"),
        ([{**row(ALPHA, "P1"), "npi": ""}], "1 rows have no npi"),
        ([row(ALPHA, "")], "1 rows have no partnership_id"),
        ([row(ALPHA, "UNATTRIBUTED")], "UNATTRIBUTED is reserved"),
        ([row(ALPHA, "P1", start_date="01/02/2024")], "start_date holds '01/02/2024'"),
        ([row(ALPHA, "P1", health_care_home="perhaps")], "health_care_home holds 'perhaps'"),
        ([row(ALPHA, "P1", end_date="2023-12-31")], "no entry is valid in 2024"),
    ],
)
def test_a_roster_that_cannot_be_meant_is_refused(rows: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        roster_of(*rows)


def test_a_roster_without_a_needed_column_is_refused() -> None:
    with pytest.raises(DataError, match="missing column specialty"):
        compile_roster(
            pa.Table.from_pylist([row(ALPHA, "P1")]).drop_columns(["specialty"]),
            npi_codes=NPI,
            tin_codes=TIN,
            performance_year=2024,
        )


def test_one_partnership_may_list_a_provider_twice(tiny_shard: Maker, span: Maker) -> None:
    """The stronger entry counts: a health care home before primary care before a specialty."""
    rows = (row(ALPHA, "P1", "specialist"), row(ALPHA, "P1"))
    shard = tiny_shard({"spans": [span()], "visits": [visit(ALPHA, 1, 5)]})
    assert attributed(shard, *rows)[0].step.tolist() == [2]


def test_a_roster_may_hold_dates_and_booleans(tiny_shard: Maker, span: Maker) -> None:
    typed = row(
        ALPHA, "P1", start_date=date(2024, 3, 1), end_date=None, health_care_home=True, tin=None
    )
    shard = tiny_shard({"spans": [span()], "visits": [visit(ALPHA, 4, 5)]})
    found, groups = attributed(shard, typed)
    assert (groups, found.step.tolist()) == (["P1"], [1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_months_any": 13}, "min_months_any: found 13, expected a whole number at least 1"),
        ({"min_months_continuous": 6.5}, "min_months_continuous: found 6.5, expected a whole"),
        ({"exclude": ("dead",)}, "exclude: found .* expected a list of names among dual"),
        ({"steps": ()}, "steps: found .* 1 or more names among"),
        ({"steps": ("specialist", "specialist")}, "steps: found a name twice"),
        ({"tie_break": ("coin",)}, "tie_break: found .* expected a list: latest_visit then"),
    ],
)
def test_terms_that_cannot_be_meant_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        replace(TERMS, **change)
