"""Stays, readmissions and emergency visits by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ihp_compute.codes import STAY_BIRTH, VISIT_ED, VISIT_INPATIENT, VISIT_PAYMENT
from ihp_compute.measure.utilisation import (
    USE_MEASURES,
    UseOfCare,
    UseRule,
    claims_measures,
    summed_use,
    utilise_years,
)
from ihp_compute.units import NO_DAY, day_of
from tests.ihp_compute.measure.use_cases import (
    COLD,
    COORDINATION,
    CUTOFF,
    DELIVERY,
    DIAGNOSES,
    HOSPITAL,
    ILL,
    MATERNAL,
    MEASURED,
    OFFICE,
    PAIN,
    PRACTICE,
    PRETERM,
    PREVENTIVE,
    PROCEDURES,
    VISITS,
    WHOLE_YEAR,
    countable,
    read_slowly,
)  # fmt: skip

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


def emergency(day: int, principal_dx: int = 0, **other: int) -> dict[str, int]:
    return {"day": MARCH + day, "principal_dx": principal_dx, **other}


def visit(day: int, hcpcs: int = OFFICE, **other: int) -> dict[str, int]:
    return {"day": MARCH + day, "hcpcs": hcpcs, "place": PRACTICE, **other}


def of_year(shard: Any, year: int = 2024, months: Any = None) -> UseOfCare:
    attribution = countable(year, months or [WHOLE_YEAR] * shard.n_members)
    (found,) = utilise_years(shard, (attribution,), MEASURED, cutoff_day=CUTOFF)
    return found


@dataclass(frozen=True)
class Use:
    """Use of care of one member: numerators, and index stays."""

    stays: int
    ed_visits: int
    ed_avoidable: int
    readmissions: int
    index_stays: int
    follow_up: int
    well_child: tuple[int, int]
    months: int


@pytest.fixture
def use(tiny_shard: Maker) -> Callable[..., Use]:
    def make(
        *stays: Any,
        days: Any = (),
        visits: Any = (),
        year: int = 2024,
        months: Any = WHOLE_YEAR,
        **member: Any,
    ) -> Use:
        shard = tiny_shard(
            {"stays": list(stays), "emergency": list(days), "visits": list(visits), **member}
        )
        found = of_year(shard, year, [months])
        of = {name: [int(part[0]) for part in found.of(name)] for name in USE_MEASURES}
        assert of["follow_up"][1] == of["readmissions"][1]
        assert of["stays"][1] == of["ed_visits"][1]
        return Use(
            stays=of["stays"][0],
            ed_visits=of["ed_visits"][0],
            ed_avoidable=of["ed_avoidable"][0],
            readmissions=of["readmissions"][0],
            index_stays=of["readmissions"][1],
            follow_up=of["follow_up"][0],
            well_child=(of["well_child"][0], of["well_child"][1]),
            months=of["stays"][1],
        )

    return make


# --- stays ---------------------------------------------------------------------------------------


def test_interim_bills_and_transfers_are_one_stay(use: Maker) -> None:
    found = use(stay(0, 4, 30), stay(4, 9, 2), stay(10, 12), stay(14, 15))
    assert (found.stays, found.index_stays, found.readmissions) == (2, 2, 1)


def test_two_claims_that_overlap_are_one_stay(use: Maker) -> None:
    found = use(stay(0, 6), stay(3, 9), stay(20, 22))
    assert (found.stays, found.index_stays, found.readmissions) == (2, 2, 1)


def test_a_bill_inside_another_does_not_end_the_stay(use: Maker) -> None:
    found = use(stay(0, 20), stay(2, 3, 20), stay(21, 25))
    assert (found.stays, found.index_stays, found.readmissions) == (1, 1, 0)


def test_a_return_on_the_day_of_discharge_or_the_next_is_the_same_stay(use: Maker) -> None:
    assert use(stay(0, 3), stay(3, 5)).stays == 1
    assert use(stay(0, 3), stay(4, 5)).stays == 1
    assert use(stay(0, 3), stay(5, 6)).stays == 2


def test_a_stay_over_new_year_counts_at_discharge(use: Maker) -> None:
    year_end = day_of(date(2024, 12, 31)) - MARCH
    assert use(stay(year_end - 5, year_end + 1)).stays == 0
    assert use(stay(year_end - 5, year_end + 1), year=2025).stays == 1


def test_a_stay_without_discharge_day_is_of_one_day(use: Maker) -> None:
    found = use({**stay(0, 0), "discharge_day": NO_DAY}, stay(2, 3))
    assert (found.stays, found.index_stays) == (2, 1)


def test_a_stay_counts_in_a_month_that_counts(use: Maker) -> None:
    """Admitted in March and discharged in April: April must count, March need not."""
    over = stay(28, 33)
    assert use(over, months=(4, 5, 6)).stays == 1
    assert use(over, months=(1, 2, 3)).stays == 0
    assert use(over, months=(4, 5, 6)).months == 3


# --- index stays and readmissions ----------------------------------------------------------------


def test_a_readmission_follows_within_thirty_days(use: Maker) -> None:
    assert use(stay(0, 2), stay(32, 33)).readmissions == 1
    assert use(stay(0, 2), stay(33, 34)).readmissions == 0


def test_each_stay_is_an_index_of_the_next(use: Maker) -> None:
    found = use(stay(0, 2), stay(10, 12), stay(20, 22), stay(90, 92))
    assert (found.index_stays, found.readmissions) == (4, 2)


@pytest.mark.parametrize("disposition", [2, 5, 43, 66, 82, 85, 88, 94, 20, 40, 41, 42, 30])
def test_death_transfer_and_no_discharge_are_no_index(use: Maker, disposition: int) -> None:
    found = use(stay(0, 2, disposition), stay(9, 11))
    assert (found.stays, found.readmissions, found.index_stays) == (2, 0, 1)


@pytest.mark.parametrize("disposition", [1, 3, 6, 7, 62, 81, 255])
def test_home_and_other_care_are_an_index(use: Maker, disposition: int) -> None:
    assert use(stay(0, 2, disposition), stay(9, 11)).readmissions == 1


def test_the_claim_discharged_last_says_how_a_stay_ended(use: Maker) -> None:
    assert use(stay(0, 4, 2), stay(4, 9, 1)).index_stays == 1
    assert use(stay(0, 4, 1), stay(4, 9, 20)).index_stays == 0


def test_who_died_in_hospital_is_no_index(use: Maker) -> None:
    found = use(stay(0, 2, 255), death_day=MARCH + 2)
    assert (found.stays, found.index_stays) == (1, 0)


def test_a_stay_of_one_day_is_no_index_but_can_be_a_readmission(use: Maker) -> None:
    found = use(stay(0, 2), stay(9, 9))
    assert (found.stays, found.index_stays, found.readmissions) == (2, 1, 1)


def test_a_transfer_on_the_day_of_admission_is_not_a_stay_of_one_day(use: Maker) -> None:
    assert use(stay(0, 0, 2), stay(0, 3, 1)).index_stays == 1


def test_index_stays_are_discharged_by_the_first_of_december(use: Maker) -> None:
    first = day_of(date(2024, 12, 1)) - MARCH
    assert use(stay(first - 4, first), stay(first + 30, first + 31)).readmissions == 1
    late = use(stay(first - 4, first + 1), stay(first + 10, first + 12))
    assert (late.stays, late.index_stays) == (2, 0)


def test_a_stay_that_ends_on_new_years_day_is_an_index(use: Maker) -> None:
    new_year = day_of(date(2024, 1, 1)) - MARCH
    found = use(stay(new_year - 4, new_year), stay(new_year + 9, new_year + 11))
    assert (found.stays, found.index_stays, found.readmissions) == (2, 2, 1)


def test_an_index_stay_counts_in_every_month_through_that_of_day_thirty(use: Maker) -> None:
    """Discharged on 31 January 2024: day 30 is 1 March, so three months must count."""
    january = stay(-34, -30)
    assert use(january, months=(1, 2, 3)).index_stays == 1
    for gone in (1, 2, 3):
        assert use(january, months={1, 2, 3} - {gone}).index_stays == 0
    assert use(january, months=(1, 2)).stays == 1


@pytest.mark.parametrize("principal", [DELIVERY, PRETERM])
def test_pregnancy_and_the_perinatal_period_are_no_index(use: Maker, principal: int) -> None:
    """But a stay for them may be a readmission, and their months and stays count as any."""
    found = use(stay(0, 2, principal_dx=principal), stay(9, 11))
    assert (found.stays, found.index_stays, found.readmissions) == (2, 1, 0)
    found = use(stay(0, 2, principal_dx=ILL), stay(9, 11, principal_dx=principal))
    assert (found.stays, found.index_stays, found.readmissions) == (2, 1, 1)


def test_one_claim_of_a_stay_makes_it_one_of_pregnancy(use: Maker) -> None:
    assert use(stay(0, 2, principal_dx=DELIVERY), stay(2, 5, principal_dx=ILL)).index_stays == 0
    assert use(stay(0, 2, principal_dx=ILL), stay(3, 5, principal_dx=DELIVERY)).index_stays == 0


# --- births --------------------------------------------------------------------------------------


def test_a_birth_is_no_stay_and_no_index(use: Maker) -> None:
    found = use(stay(0, 2, marks=STAY_BIRTH))
    assert (found.stays, found.index_stays) == (0, 0)


def test_a_newborn_who_is_transferred_has_no_stay_yet(use: Maker) -> None:
    """Born on the first day, moved on the third: one chain, which begins with a birth."""
    found = use(stay(0, 2, 2, marks=STAY_BIRTH), stay(2, 20, principal_dx=PRETERM))
    assert (found.stays, found.index_stays) == (0, 0)


def test_a_newborn_who_comes_back_has_a_stay_and_no_readmission(use: Maker) -> None:
    found = use(stay(0, 2, marks=STAY_BIRTH), stay(9, 11), stay(20, 22))
    assert (found.stays, found.index_stays, found.readmissions) == (2, 2, 1)


def test_a_claim_that_names_a_birth_later_in_a_stay_does_not_begin_it(use: Maker) -> None:
    assert use(stay(0, 4), stay(2, 9, marks=STAY_BIRTH)).stays == 1
    assert use(stay(0, 4), stay(0, 9, marks=STAY_BIRTH)).stays == 0


def test_a_birth_is_no_readmission(use: Maker) -> None:
    found = use(stay(0, 2), stay(9, 11, marks=STAY_BIRTH))
    assert (found.stays, found.index_stays, found.readmissions) == (1, 1, 0)
    found = use(stay(0, 2), stay(9, 11, marks=STAY_BIRTH), stay(20, 21))
    assert (found.stays, found.index_stays, found.readmissions) == (2, 2, 1)


# --- emergency visits ----------------------------------------------------------------------------


def test_diagnoses_of_one_emergency_day_are_one_visit(use: Maker) -> None:
    days = [emergency(1, 3), emergency(1, 5), emergency(2)]
    assert use(days=days).ed_visits == 2


def test_a_day_counts_by_whichever_of_its_diagnoses_was_paid_in_time(use: Maker) -> None:
    days = [emergency(1, 3, paid_day=CUTOFF + 1), emergency(1, 5, paid_day=CUTOFF)]
    assert use(days=days).ed_visits == 1


def test_a_visit_that_led_into_a_stay_is_part_of_it(use: Maker) -> None:
    days = [emergency(0), emergency(1), emergency(3), emergency(40)]
    assert use(stay(1, 5), days=days).ed_visits == 2


def test_a_visit_on_the_day_of_discharge_is_a_new_one(use: Maker) -> None:
    days = [emergency(5), emergency(8)]
    assert use(stay(1, 5), stay(8, 8), days=days).ed_visits == 1


def test_an_emergency_visit_counts_in_a_month_that_counts(use: Maker) -> None:
    days = [emergency(1), emergency(40)]
    assert use(days=days, months=(3,)).ed_visits == 1
    assert use(days=days, months=(5,)).ed_visits == 0


def test_late_payments_and_other_years_do_not_count(use: Maker) -> None:
    late = {"paid_day": CUTOFF + 1}
    found = use(stay(0, 2, **late), days=[emergency(-90), emergency(1, **late), emergency(400)])
    assert (found.stays, found.ed_visits) == (0, 0)


@pytest.mark.parametrize(
    ("diagnoses", "share"),
    [
        ([COLD], 700_000),  # J06, the longer of two prefixes
        ([PAIN], 100_000),
        ([ILL], 0),  # begins with no prefix
        ([0], 0),  # not stated
        ([0, COLD], 700_000),
        ([COLD, PAIN], 100_000),
        ([ILL, COLD], 0),
    ],
)
def test_a_visit_is_avoidable_as_far_as_its_diagnosis_is(
    use: Maker, diagnoses: list[int], share: int
) -> None:
    found = use(days=[emergency(5, code) for code in sorted(diagnoses)])
    assert (found.ed_visits, found.ed_avoidable) == (1, share)


def test_shares_of_visits_that_do_not_count_are_not_summed(use: Maker) -> None:
    visits = [emergency(5, COLD), emergency(9, COLD), emergency(40, COLD)]
    found = use(stay(9, 12), days=visits, months=(3,))
    assert (found.ed_visits, found.ed_avoidable) == (1, 700_000)


# --- follow-up -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("day", "followed"), [(2, 0), (3, 1), (16, 1), (17, 0)])
def test_follow_up_is_a_visit_on_days_one_to_fourteen(use: Maker, day: int, followed: int) -> None:
    assert use(stay(0, 2), visits=[visit(day)]).follow_up == followed


def test_a_visit_may_follow_two_stays_and_counts_once_for_each(use: Maker) -> None:
    found = use(stay(0, 2), stay(5, 7), visits=[visit(9), visit(10)])
    assert (found.index_stays, found.follow_up) == (2, 2)


@pytest.mark.parametrize(
    "other",
    [
        {"hcpcs": COORDINATION},
        {"hcpcs": PREVENTIVE},  # none of this contract's visit codes
        {"place": HOSPITAL},
        {"marks": VISIT_ED},
        {"marks": VISIT_INPATIENT},
        {"marks": VISIT_PAYMENT},
        {"paid_day": CUTOFF + 1},
    ],
)
def test_what_could_attribute_nobody_is_no_follow_up(use: Maker, other: dict[str, int]) -> None:
    assert use(stay(0, 2), visits=[visit(5)]).follow_up == 1
    assert use(stay(0, 2), visits=[visit(5, **other)]).follow_up == 0


def test_follow_up_is_of_index_stays_only(use: Maker) -> None:
    found = use(stay(0, 2, 20), stay(40, 42), visits=[visit(5), visit(44)])
    assert (found.index_stays, found.follow_up) == (1, 1)


# --- well-child ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("born", "due"),
    [
        (date(2021, 12, 31), 1),  # three on 31 December
        (date(2022, 1, 1), 0),
        (date(2003, 1, 1), 1),  # twenty-one all year
        (date(2002, 12, 31), 0),
    ],
)
def test_children_of_three_to_twenty_one_years_are_due(use: Maker, born: date, due: int) -> None:
    checkup = visit(5, PREVENTIVE)
    assert use(birth_day=day_of(born)).well_child == (0, due)
    assert use(birth_day=day_of(born), visits=[checkup]).well_child == (due, due)


def test_a_child_is_due_with_eleven_months_and_an_unknown_birthday_never(use: Maker) -> None:
    child = {"birth_day": day_of(date(2015, 6, 1)), "visits": [visit(5, PREVENTIVE)]}
    assert use(**child, months=range(2, 13)).well_child == (1, 1)
    assert use(**child, months=range(3, 13)).well_child == (0, 0)
    assert use(visits=[visit(5, PREVENTIVE)]).well_child == (0, 0)


@pytest.mark.parametrize(
    "other",
    [
        {"hcpcs": OFFICE},
        {"day": MARCH - 400},
        {"marks": VISIT_PAYMENT},
        {"marks": VISIT_ED},
        {"paid_day": CUTOFF + 1},
    ],
)
def test_another_visit_is_no_checkup(use: Maker, other: dict[str, int]) -> None:
    child = {"birth_day": day_of(date(2015, 6, 1))}
    assert use(**child, visits=[visit(5, PREVENTIVE) | other]).well_child == (0, 1)


def test_a_checkup_in_a_month_that_does_not_count_is_none(use: Maker) -> None:
    child = {"birth_day": day_of(date(2015, 6, 1)), "visits": [visit(5, PREVENTIVE)]}
    assert use(**child, months={*WHOLE_YEAR} - {3}).well_child == (0, 1)


# --- shards --------------------------------------------------------------------------------------


def test_members_do_not_share_what_they_used(tiny_shard: Maker) -> None:
    shard = tiny_shard(
        {"stays": [stay(0, 5)], "emergency": [emergency(20)], "visits": [visit(40)]},
        {},
        {"stays": [stay(6, 9)], "emergency": [emergency(2), emergency(6)], "visits": [visit(10)]},
    )
    found = of_year(shard)
    assert found.of("stays")[0].tolist() == [1, 0, 1]
    assert found.of("readmissions")[0].tolist() == [0, 0, 0]
    assert found.of("ed_visits")[0].tolist() == [1, 0, 1]
    assert found.of("follow_up")[0].tolist() == [0, 0, 1]


def test_an_empty_shard_has_no_use(tiny_shard: Maker) -> None:
    assert of_year(tiny_shard()).numerator.shape == (6, 0)


def test_what_nobody_asks_for_is_not_measured(tiny_shard: Maker) -> None:
    child = {"birth_day": day_of(date(2015, 6, 1)), "stays": [stay(0, 2)]}
    shard = tiny_shard({**child, "visits": [visit(4), visit(5, PREVENTIVE)]})
    rule = UseRule(VISITS, MATERNAL)
    (found,) = utilise_years(shard, (countable(2024, [WHOLE_YEAR]),), rule, cutoff_day=CUTOFF)
    assert rule.measured == ("stays", "ed_visits", "readmissions")
    for measure in ("follow_up", "well_child", "ed_avoidable"):
        assert [part.tolist() for part in found.of(measure)] == [[0], [0]]
    assert found.of("readmissions")[1].tolist() == [1]


# --- against the slow reading --------------------------------------------------------------------

DAY = st.integers(MARCH - 80, MARCH + 320)
PAID = st.sampled_from([NO_DAY, CUTOFF, CUTOFF + 1])
CODE = st.sampled_from(range(len(DIAGNOSES)))
STAY = st.builds(
    lambda start, days, disposition, principal, marks, paid: {
        "admission_day": start,
        "discharge_day": start + days,
        "disposition": disposition,
        "principal_dx": principal,
        "marks": marks,
        "paid_day": paid,
    },
    st.one_of(DAY, st.integers(MARCH - 40, MARCH + 40)),
    st.integers(0, 6),
    st.sampled_from([1, 1, 1, 2, 6, 20, 30, 255]),
    st.sampled_from([0, ILL, ILL, ILL, PAIN, DELIVERY, PRETERM]),
    st.sampled_from([0, 0, 0, 0, STAY_BIRTH]),
    PAID,
)
EMERGENCY = st.builds(
    lambda day, principal, paid: {"day": day, "principal_dx": principal, "paid_day": paid},
    DAY,
    CODE,
    PAID,
)
VISIT = st.builds(
    lambda day, hcpcs, place, marks, paid: {
        "day": day, "hcpcs": hcpcs, "place": place, "marks": marks, "paid_day": paid,
    },
    DAY,
    st.integers(0, len(PROCEDURES) - 1),
    st.sampled_from([PRACTICE, HOSPITAL]),
    st.sampled_from([0, 0, VISIT_ED, VISIT_INPATIENT, VISIT_PAYMENT]),
    PAID,
)  # fmt: skip
PERSON = st.fixed_dictionaries(
    {
        "stays": st.lists(STAY, max_size=7),
        "emergency": st.lists(EMERGENCY, max_size=6),
        "visits": st.lists(VISIT, max_size=6),
        "birth_day": st.sampled_from(
            [NO_DAY, *(day_of(date(y, 7, 1)) for y in (1990, 2003, 2021))]
        ),
        "death_day": st.sampled_from([NO_DAY, NO_DAY, MARCH + 100]),
    }
)
MONTHS = st.one_of(st.just({*WHOLE_YEAR}), st.sets(st.integers(1, 12)))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(PERSON, MONTHS), max_size=4))
def test_counts_are_those_of_the_slow_reading(
    tiny_shard: Maker, people: list[tuple[Any, set[int]]]
) -> None:
    """Of members in one shard, each in the order that a population has."""
    order = {
        "stays": lambda row: (row["admission_day"], row["discharge_day"]),
        "emergency": lambda row: (row["day"], row["principal_dx"]),
        "visits": lambda row: row["day"],
    }
    for person, _ in people:
        for table, key in order.items():
            person[table].sort(key=key)
    shard = tiny_shard(*(person for person, _ in people))
    found = of_year(shard, 2024, [months for _, months in people])
    for place, (person, months) in enumerate(people):
        slow = read_slowly(person, months, 2024)
        fast = {name: tuple(int(part[place]) for part in found.of(name)) for name in USE_MEASURES}
        assert fast == slow


# --- groups --------------------------------------------------------------------------------------


def test_what_a_contract_may_score_is_summed_by_group(tiny_shard: Maker) -> None:
    """Two members of A, one of B who is a child, one of nobody."""
    child = {"birth_day": day_of(date(2015, 6, 1)), "visits": [visit(5, PREVENTIVE)]}
    shard = tiny_shard(
        {"stays": [stay(0, 2), stay(9, 11)], "visits": [visit(12)]},
        {"emergency": [emergency(1), emergency(3)]},
        child,
        {"stays": [stay(0, 2)], "emergency": [emergency(50)]},
    )
    attribution = replace(
        countable(2024, [WHOLE_YEAR, (3, 4), WHOLE_YEAR, WHOLE_YEAR]),
        group=np.array([0, 0, 1, -1], np.int32),
    )
    (found,) = utilise_years(shard, (attribution,), MEASURED, cutoff_day=CUTOFF)
    sums = summed_use(attribution, found, 2)
    assert sums[:, 0].tolist() == [2, 1]
    assert claims_measures(MEASURED, sums, ("A", "B")) == {
        "A": {
            "ed_visits": (2, 14), "readmissions": (1, 2), "follow_up": (2, 2), "well_child": (0, 0),
        },
        "B": {
            "ed_visits": (0, 12), "readmissions": (0, 0), "follow_up": (0, 0), "well_child": (1, 1),
        },
    }  # fmt: skip
    assert set(claims_measures(UseRule(VISITS, MATERNAL), sums, ("A", "B"))["A"]) == {
        "ed_visits",
        "readmissions",
    }
