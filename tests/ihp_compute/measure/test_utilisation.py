"""Stays, readmissions and emergency visits by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from ihp_compute.codes import LINE_ED, LINE_INPATIENT
from ihp_compute.measure.utilisation import Utilisation, utilise_years
from ihp_compute.units import NO_DAY, day_of

CUTOFF = day_of(date(2025, 6, 30))
MARCH = day_of(date(2024, 3, 1))
Maker = Callable[..., Any]


def stay(admitted: int, discharged: int, disposition: int = 1, **other: int) -> dict[str, int]:
    """Days counted from 1 March 2024."""
    return {
        "admission_day": MARCH + admitted,
        "discharge_day": MARCH + discharged,
        "disposition": disposition,
        **other,
    }


def emergency(day: int, flags: int = LINE_ED, **other: int) -> dict[str, int]:
    return {"service_day": MARCH + day, "flags": flags, **other}


def of_year(shard: Any, year: int = 2024) -> Utilisation:
    (found,) = utilise_years(shard, years=(year,), cutoff_day=CUTOFF)
    return found


@pytest.fixture
def use(tiny_shard: Maker) -> Callable[..., Utilisation]:
    def make(*stays: Any, lines: Any = (), year: int = 2024, **member: Any) -> Utilisation:
        shard = tiny_shard({"stays": list(stays), "lines": list(lines), **member})
        return of_year(shard, year)

    return make


def test_interim_bills_and_transfers_are_one_stay(use: Maker) -> None:
    found = use(stay(0, 4, 30), stay(4, 9, 2), stay(10, 12), stay(14, 15))
    assert found.stays.tolist() == [2]
    assert found.readmissions.tolist() == [1]


def test_a_bill_inside_another_does_not_end_the_stay(use: Maker) -> None:
    found = use(stay(0, 20), stay(2, 3), stay(21, 25))
    assert (found.stays.tolist(), found.readmissions.tolist()) == ([1], [0])


def test_a_readmission_follows_within_thirty_days(use: Maker) -> None:
    assert use(stay(0, 2), stay(32, 33)).readmissions.tolist() == [1]
    assert use(stay(0, 2), stay(33, 34)).readmissions.tolist() == [0]


def test_a_readmission_counts_in_the_year_of_the_first_discharge(use: Maker) -> None:
    year_end = day_of(date(2024, 12, 31)) - MARCH
    stays = (stay(year_end - 5, year_end), stay(year_end + 10, year_end + 12))
    assert use(*stays).readmissions.tolist() == [1]
    assert use(*stays).stays.tolist() == [1]
    after = use(*stays, year=2025)
    assert (after.stays.tolist(), after.readmissions.tolist()) == ([1], [0])


def test_a_stay_over_new_year_counts_at_discharge(use: Maker) -> None:
    year_end = day_of(date(2024, 12, 31)) - MARCH
    assert use(stay(year_end - 5, year_end + 1)).stays.tolist() == [0]
    assert use(stay(year_end - 5, year_end + 1), year=2025).stays.tolist() == [1]


@pytest.mark.parametrize("disposition", [2, 5, 66, 20, 40, 41, 42, 30])
def test_death_transfer_and_no_discharge_are_no_index(use: Maker, disposition: int) -> None:
    found = use(stay(0, 2, disposition), stay(9, 10))
    assert found.stays.tolist() == [2]
    assert (found.readmissions.tolist(), found.index_stays.tolist()) == ([0], [1])


def test_who_died_in_hospital_is_no_index(use: Maker) -> None:
    found = use(stay(0, 2, 255), death_day=MARCH + 2)
    assert (found.stays.tolist(), found.index_stays.tolist()) == ([1], [0])


def test_a_stay_without_discharge_day_is_of_one_day(use: Maker) -> None:
    found = use({**stay(0, 0), "discharge_day": NO_DAY}, stay(2, 3))
    assert (found.stays.tolist(), found.readmissions.tolist()) == ([2], [1])


def test_emergency_lines_of_one_day_are_one_visit(use: Maker) -> None:
    lines = [emergency(1), emergency(1), emergency(2), emergency(3, flags=0)]
    assert use(lines=lines).ed_visits.tolist() == [2]


def test_a_visit_that_led_into_a_stay_is_part_of_it(use: Maker) -> None:
    lines = [
        emergency(0),
        emergency(1),
        emergency(3),
        emergency(9, flags=LINE_ED | LINE_INPATIENT),
        emergency(40),
    ]
    assert use(stay(1, 5), lines=lines).ed_visits.tolist() == [2]


def test_a_visit_on_the_day_of_discharge_is_a_new_one(use: Maker) -> None:
    lines = [emergency(5), emergency(8)]
    assert use(stay(1, 5), stay(8, 8), lines=lines).ed_visits.tolist() == [1]


def test_late_payments_and_other_years_do_not_count(use: Maker) -> None:
    late = {"paid_day": CUTOFF + 1}
    found = use(stay(0, 2, **late), lines=[emergency(1, **late), emergency(-90), emergency(400)])
    assert (found.stays.tolist(), found.ed_visits.tolist()) == ([0], [0])


def test_members_do_not_share_stays(tiny_shard: Maker) -> None:
    shard = tiny_shard(
        {"stays": [stay(0, 5)], "lines": [emergency(20)]},
        {},
        {"stays": [stay(6, 9)], "lines": [emergency(2), emergency(6)]},
    )
    found = of_year(shard)
    assert found.stays.tolist() == [1, 0, 1]
    assert found.readmissions.tolist() == [0, 0, 0]
    assert found.ed_visits.tolist() == [1, 0, 1]


def test_an_empty_shard_has_no_use(tiny_shard: Maker) -> None:
    assert of_year(tiny_shard()).stays.tolist() == []
