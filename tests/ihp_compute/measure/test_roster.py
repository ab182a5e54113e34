"""The roster by hand: which entries hold on a day, and which rosters cannot be meant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from ihp_compute.errors import DataError
from ihp_compute.measure.roster import compile_roster
from tests.ihp_compute.measure.attribution_cases import (
    ALPHA,
    BETA,
    FLAGGED,
    GAMMA,
    HOME,
    NPI,
    OTHER,
    ROWS,
    TERMS,
    TIN,
    attributed,
    roster_of,
    row,
    visit,
)

Maker = Callable[..., Any]


def test_groups_are_partnerships_then_comparison_then_unattributed() -> None:
    roster = roster_of(*ROWS)
    assert roster.groups == ("P1", "P2", "P3", "COMPARISON", "UNATTRIBUTED")
    assert roster.n_partnerships == 3


def test_an_entry_that_names_the_tin_goes_first(tiny_shard: Maker, span: Maker) -> None:
    rows = (row(ALPHA, "P1"), row(ALPHA, "P2", tin="41-2"), row(BETA, "P3", tin="99-9"))
    shard = tiny_shard(
        {"spans": [span()], "visits": [visit(ALPHA, 1, 5, tin=1)]},
        {"spans": [span()], "visits": [visit(ALPHA, 1, 5, tin=2)]},
        {"spans": [span()], "visits": [visit(BETA, 1, 5, tin=2)]},
    )
    assert attributed(shard, *rows)[1] == ["P1", "P2", "UNATTRIBUTED"]
    assert roster_of(*rows).n_unseen == 1


def test_practitioners_are_providers_of_partnerships_on_the_last_day_of_the_year() -> None:
    """Each once, whoever sees them; those of the comparison population do not count."""
    rows = (
        row(ALPHA, "P1"),
        row(ALPHA, "P1", tin="41-2"),
        row(BETA, "P2", end_date="2024-12-31"),
        row(GAMMA, "P3", end_date="2024-12-30"),
        row(HOME, "P3", start_date="2024-12-31"),
        {**row(ALPHA, "P2", start_date="2020-01-01"), "npi": "1999999999"},
        {**row(ALPHA, "P2", start_date="2025-01-01"), "npi": "1888888888"},
        row(OTHER, "COMPARISON"),
    )
    assert roster_of(*rows).n_practitioners == 4
    assert roster_of(row(OTHER, "COMPARISON"), row(GAMMA, "P3")).n_practitioners == 1


def test_places_are_those_of_entries_of_partnerships_on_the_last_day_of_the_year() -> None:
    """Each once, whoever works there; an entry without one is counted."""
    rows = (
        row(ALPHA, "P1", location_id="main street"),
        row(ALPHA, "P1", location_id="lake road"),
        row(BETA, "P2", location_id="main street"),
        row(GAMMA, "P2", location_id=""),
        row(HOME, "P3", location_id="closed", end_date="2024-12-30"),
        row(OTHER, "COMPARISON", location_id="elsewhere"),
    )
    found = roster_of(*rows)
    assert (found.n_locations, found.n_unplaced) == (2, 1)
    gone = roster_of(
        row(ALPHA, "P1", location_id=""), row(HOME, "P3", location_id="a", end_date="2024-12-30")
    )
    assert (gone.n_locations, gone.n_unplaced) == (0, 1)
    for entries in ((row(ALPHA, "P1", location_id=""),), (row(ALPHA, "P1"),)):
        assert roster_of(*entries).n_locations is None


CHANGING = (
    row(OTHER, "COMPARISON"),
    row(ALPHA, "P1", start_date="2024-07-01"),
    row(BETA, "P2", end_date="2024-06-30"),
    row(GAMMA, "P3", start_date="2022-07-01", end_date="2024-06-30"),
    row(GAMMA, "P4", start_date="2024-07-01"),
    row(HOME, "P5", end_date="2023-12-31"),
)
"""P1's clinic joins in July, P2's leaves after June, P3's goes to P4, P5's has left before."""


@pytest.mark.parametrize(
    ("rule", "march", "september", "base_march", "base_september"),
    [
        ("on_date", "1 - 4 -", "1 - 4 -", "1 - 4 -", "1 - 4 -"),
        ("any_day", "1 2 4 -", "1 2 4 -", "1 2 4 -", "1 2 4 -"),
        ("same_days", "- 2 3 -", "1 - 4 -", "- 2 3 -", "1 - 4 -"),
    ],
)
def test_the_same_entries_hold_in_both_years(
    tiny_shard: Maker, span: Maker, rule: str, march: str, september: str, base_march: str,
    base_september: str,
) -> None:  # fmt: skip
    """Clinics that join, leave or change in July, as the contract's rule has it, in both years."""
    terms = replace(TERMS, roster_rule=rule)
    for year, wanted in (
        (2024, {3: march, 9: september}),
        (2022, {3: base_march, 9: base_september}),
    ):
        for month, groups in wanted.items():
            shard = tiny_shard(
                *(
                    {"spans": [span(year)], "visits": [visit(npi, month, 10, year=year)]}
                    for npi in (ALPHA, BETA, GAMMA, HOME)
                )
            )
            found = attributed(shard, *CHANGING, terms=terms, year=year)[1]
            assert " ".join(g[1] if g[0] == "P" else "-" for g in found) == groups


def test_each_years_own_entries_hold_where_the_contract_says_so(
    tiny_shard: Maker, span: Maker
) -> None:
    rows = (
        row(BETA, "P2", end_date="2024-06-30"),
        row(GAMMA, "P3", start_date="2022-07-01", end_date="2024-06-30"),
        row(GAMMA, "P2", start_date="2024-07-01"),
    )
    own = replace(TERMS, roster_rule="own_year")

    def groups(year: int, month: int) -> list[str]:
        shard = tiny_shard(
            *(
                {"spans": [span(year)], "visits": [visit(npi, month, 10, year=year)]}
                for npi in (BETA, GAMMA)
            )
        )
        return attributed(shard, *rows, terms=own, year=year)[1]

    assert groups(2022, 3) == ["P2", "UNATTRIBUTED"]
    assert groups(2022, 9) == ["P2", "P3"]
    assert groups(2024, 3) == ["P2", "P3"]
    assert groups(2024, 9) == ["UNATTRIBUTED", "P2"]


def test_own_entries_without_a_base_roster_are_refused() -> None:
    own = replace(TERMS, roster_rule="own_year")
    with pytest.raises(DataError, match=r"P1, P4 have no entry valid in 2022, .* own_year"):
        roster_of(*CHANGING, terms=own)
    with pytest.raises(DataError, match="P1 has no entry valid in 2022"):
        roster_of(row(ALPHA, "P1", start_date="2023-01-01"), terms=own)


def test_a_partnership_without_an_entry_on_the_roster_date_is_a_group_of_nobody(
    tiny_shard: Maker, span: Maker
) -> None:
    shard = tiny_shard({"spans": [span()], "visits": [visit(BETA, 3, 10)]})
    found, groups = attributed(shard, *CHANGING)
    roster = roster_of(*CHANGING)
    assert roster.groups == ("P1", "P2", "P3", "P4", "P5", "COMPARISON", "UNATTRIBUTED")
    assert (groups, roster.n_entries) == (["UNATTRIBUTED"], 3)
    assert found.step.tolist() == [0]


def test_the_roster_date_is_a_term(tiny_shard: Maker, span: Maker) -> None:
    shard = tiny_shard(
        *({"spans": [span()], "visits": [visit(npi, 9, 10)]} for npi in (ALPHA, BETA, GAMMA))
    )
    for day, wanted in (
        ("06-30", ["UNATTRIBUTED", "P2", "P3"]),
        ("07-01", ["P1", "UNATTRIBUTED", "P4"]),
    ):
        assert attributed(shard, *CHANGING, terms=replace(TERMS, roster_date=day))[1] == wanted


def test_the_29th_of_february_is_the_28th_of_other_years(tiny_shard: Maker, span: Maker) -> None:
    rows = (
        row(ALPHA, "P1", end_date="2024-02-28"),
        row(ALPHA, "P2", start_date="2024-02-29", end_date="2024-02-29"),
        row(ALPHA, "P3", start_date="2024-03-01"),
    )
    same = replace(TERMS, roster_rule="same_days")

    def groups(rows: tuple[dict[str, Any], ...], year: int, years: tuple[int, int]) -> list[str]:
        days = [(2, 28), (2, 29), (3, 1)] if year % 4 == 0 else [(2, 28), (3, 1)]
        shard = tiny_shard(
            *({"spans": [span(year)], "visits": [visit(ALPHA, *day, year=year)]} for day in days)
        )
        return attributed(shard, *rows, terms=same, year=year, years=years)[1]

    assert groups(rows, 2024, (2022, 2024)) == ["P1", "P2", "P3"]
    assert groups(rows, 2022, (2022, 2024)) == ["P1", "P3"]
    plain = (row(ALPHA, "P1", end_date="2023-02-28"), row(ALPHA, "P3", start_date="2023-03-01"))
    assert groups(plain, 2020, (2020, 2023)) == ["P1", "P1", "P3"]
    on_the_29th = replace(TERMS, roster_date="02-29")
    roster_of(*rows[1:2], terms=on_the_29th)
    with pytest.raises(DataError, match="no entry is valid on 2023-02-28"):
        roster_of(row(ALPHA, "P1", start_date="2023-03-01"), terms=on_the_29th, years=(2022, 2023))


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
        ([row(ALPHA, "P1", end_date="2023-12-31")], "no entry is valid on 2024-12-31"),
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
            terms=TERMS,
            base_year=2022,
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
    found, groups = attributed(shard, typed, terms=FLAGGED)
    assert (groups, found.step.tolist()) == (["P1"], [1])
