"""Enrolment rows become spans in which each member-month stands once."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from ihp_compute.codes import (
    LINE_ED,
    RATE_CELLS,
    SERVICE_CATEGORIES,
    SPAN_DUAL,
    SPAN_LIMITED_BENEFITS,
    SPAN_LONG_TERM_INSTITUTION,
    SPAN_MEDICAID,
    SPAN_PARTIAL_BENEFIT,
    SPAN_SPEND_DOWN,
)
from ihp_compute.units import day_of, month_of


def _months(bench: Any, population: Any) -> dict[int, Any]:
    """Month number -> the span it stands in; a month that stands twice fails."""
    found = {}
    for span in bench.rows(population, "spans"):
        for month in range(span["first_month"], span["first_month"] + span["n_months"]):
            assert month not in found
            found[month] = span
    return found


def _cell(span: Any) -> str:
    return RATE_CELLS[span["rate_cell"]]


def test_a_month_counts_when_any_day_of_it_is_enrolled(bench: Any, member: Any, line: Any) -> None:
    rows = [member(enrollment_start_date="2023-01-31", enrollment_end_date="2023-03-01")]
    document, population = bench.ingest(bench.folder(eligibility=rows, medical_claim=[line()]))
    assert document["member_months"] == 3
    assert sorted(_months(bench, population)) == [month_of(2023, m) for m in (1, 2, 3)]


def test_overlapping_and_touching_rows_count_a_month_once(
    bench: Any, member: Any, line: Any
) -> None:
    rows = [
        member(enrollment_end_date="2023-06-30", plan="OLD"),
        member(enrollment_start_date="2023-04-15", plan="NEW"),
        member(enrollment_start_date="2023-05-01", enrollment_end_date="2023-05-02", plan="MAY"),
    ]
    document, population = bench.ingest(bench.folder(eligibility=rows, medical_claim=[line()]))
    months = _months(bench, population)
    plans = population.codes("plan").to_pylist()
    assert document["member_months"] == 12
    assert [plans[months[month_of(2023, m)]["plan"]] for m in range(1, 13)] == (
        ["OLD"] * 3 + ["NEW", "MAY"] + ["NEW"] * 7
    )


def test_a_gap_between_spans_is_not_enrolled(bench: Any, member: Any, line: Any) -> None:
    rows = [
        member(enrollment_end_date="2023-02-28"),
        member(enrollment_start_date="2023-06-01"),
    ]
    document, _ = bench.ingest(bench.folder(eligibility=rows, medical_claim=[line()]))
    assert document["member_months"] == 9
    assert bench.fates(document) == {"outside_eligibility": (1, 10_000)}


@pytest.mark.parametrize("end", ["", "9999-12-31", "29991231", "2199-01-01"])
def test_an_open_span_ends_with_the_last_month_of_the_data(
    bench: Any, member: Any, line: Any, end: Any
) -> None:
    lines = [line(), line(claim_id="C2", claim_start_date="2023-05-20", paid_date="2023-09-01")]
    document, _ = bench.ingest(
        bench.folder(eligibility=[member(enrollment_end_date=end)], medical_claim=lines)
    )
    assert document["member_months"] == 5
    assert bench.fates(document) == {"retained": (2, 20_000)}
    assert any("open-ended" in note for note in document["notes"])


def test_an_end_before_the_start_is_unreadable(bench: Any, member: Any, line: Any) -> None:
    rows = [member(), member(person_id="0002", enrollment_end_date="2022-12-31")]
    document, _ = bench.ingest(bench.folder(eligibility=rows, medical_claim=[line()]))
    assert bench.fates(document, "eligibility") == {"unreadable": (1, 0), "retained": (1, 0)}
    assert document["members"] == 1


@pytest.mark.parametrize(
    ("person_id", "member_id"), [("0001", "other"), ("", "0001"), ("0001", "")]
)
def test_person_id_goes_before_member_id_row_by_row(
    bench: Any, member: Any, line: Any, person_id: Any, member_id: Any
) -> None:
    ids = {"person_id": person_id, "member_id": member_id}
    document, population = bench.ingest(
        bench.folder(
            eligibility=[member(**ids), member(person_id="", member_id="0002")],
            medical_claim=[line(**ids), line(claim_id="C2", person_id="", member_id="0002")],
        )
    )
    assert bench.fates(document) == {"retained": (2, 20_000)}
    assert {row["member_id"] for row in bench.rows(population, "identity")} == {"0001", "0002"}


def test_rate_cells_follow_age_code_and_plan_month_by_month(
    bench: Any, member: Any, line: Any
) -> None:
    """A child of 20 turns 21 in June, and joins managed care in October."""
    rows = [
        member(birth_date="2002-06-30", enrollment_end_date="2023-09-30"),
        member(
            birth_date="2002-06-30",
            enrollment_start_date="2023-10-01",
            x_mc_plan_id="PMAP1",
            x_mc_plan_type_cd="01",
        ),
    ]
    _, population = bench.ingest(bench.folder(eligibility=rows, medical_claim=[line()]))
    months = _months(bench, population)
    assert [_cell(months[month_of(2023, m)]) for m in range(1, 13)] == (
        ["child_ffs"] * 5 + ["adult_ffs"] * 4 + ["adult_managed"] * 3
    )


@pytest.mark.parametrize(
    ("facts", "cell"),
    [
        ({"birth_date": "2023-06-01", "enrollment_start_date": "2023-06-01"}, "newborn_ffs"),
        ({"birth_date": "2022-12-31"}, "newborn_ffs"),
        ({"birth_date": "2021-12-31"}, "child_ffs"),
        ({"birth_date": "1990-01-01", "x_elgblty_grp_cd": "05"}, "maternity_ffs"),
        ({"birth_date": "1990-01-01", "x_elgblty_grp_cd": "72"}, "expansion_ffs"),
        ({"birth_date": "1990-01-01", "x_elgblty_grp_cd": "11"}, "disabled_ffs"),
        ({"birth_date": "2010-01-01", "x_elgblty_grp_cd": "01"}, "child_ffs"),
        ({"birth_date": "1990-01-01", "x_elgblty_grp_cd": "07"}, "adult_ffs"),
        ({"birth_date": "1940-01-01"}, "disabled_ffs"),
        ({"birth_date": "1990-01-01", "original_reason_entitlement_code": "1"}, "disabled_ffs"),
        ({"birth_date": ""}, "adult_ffs"),
        ({"birth_date": "1990-01-01", "payer_type": "Medicaid managed care"}, "adult_managed"),
        ({"birth_date": "1990-01-01", "x_mc_plan_type_cd": "02", "x_mc_plan_id": "P"}, "adult_ffs"),
    ],
)
def test_a_rate_cell_has_its_fact(
    bench: Any, member: Any, line: Any, facts: Any, cell: Any
) -> None:
    _, population = bench.ingest(
        bench.folder(eligibility=[member(**facts)], medical_claim=[line()])
    )
    assert _cell(bench.rows(population, "spans")[-1 if "2023-06" in str(facts) else 0]) == cell


@pytest.mark.parametrize(
    ("facts", "flags", "dual"),
    [
        ({"dual_status_code": "02"}, {"dual", "medicaid"}, 2),
        ({"dual_status_code": "1"}, {"dual", "partial", "medicaid"}, 1),
        ({"dual_status_code": "00"}, set(), 0),
        ({"dual_status_code": "NA"}, set(), 255),
        ({"dual_status_code": "09"}, set(), 9),
        ({"x_spenddown_flag": "Yes", "payer": "State Medicaid"}, {"spend_down", "medicaid"}, 255),
        ({"x_partial_benefit_flag": "true"}, {"partial"}, 255),
        ({"x_elgblty_grp_cd": "35"}, {"limited", "medicaid"}, 255),
        ({"x_elgblty_grp_cd": "36"}, {"medicaid"}, 255),
        *(({"x_rstrctd_bnfts_cd": code}, {"limited"}, 255) for code in ("2", "03", "6.0")),
        *(
            ({"x_rstrctd_bnfts_cd": code}, set(), 255)
            for code in ("", "0", "1", "4", "5", "7", "B")
        ),
        ({"long_term_institutional_flag": "1"}, {"institution"}, 255),
        ({"medicaid_indicator": "0", "payer_type": "medicaid"}, {"medicaid"}, 255),
    ],
)
def test_flags_of_a_span_have_their_facts(
    bench: Any, member: Any, line: Any, facts: Any, flags: Any, dual: Any
) -> None:
    names = {
        "dual": SPAN_DUAL,
        "spend_down": SPAN_SPEND_DOWN,
        "partial": SPAN_PARTIAL_BENEFIT,
        "limited": SPAN_LIMITED_BENEFITS,
        "institution": SPAN_LONG_TERM_INSTITUTION,
        "medicaid": SPAN_MEDICAID,
    }
    _, population = bench.ingest(
        bench.folder(eligibility=[member(**facts)], medical_claim=[line()])
    )
    span = bench.rows(population, "spans")[0]
    assert {name for name, bit in names.items() if span["flags"] & bit} == flags
    assert span["dual_status"] == dual


def test_people_keep_the_facts_of_their_latest_row(bench: Any, member: Any, line: Any) -> None:
    rows = [
        member(birth_date="1980-05-06", gender="M", death_date="2023-11-30"),
        member(enrollment_start_date="2023-06-01", gender="", birth_date="1980-05-05"),
    ]
    _, population = bench.ingest(bench.folder(eligibility=rows, medical_claim=[line()]))
    person = bench.rows(population, "members")[0]
    assert person["sex"] == 2
    assert (person["birth_day"], person["death_day"]) == (3_777, 19_691)


@pytest.mark.parametrize(
    ("start", "served", "end", "fate"),
    [
        ("2023-02-27", "2023-02-27", "2023-03-02", "retained"),
        ("2023-03-30", "2023-04-02", "2023-04-02", "retained"),
        ("2023-02-27", "2023-03-01", "2023-04-02", "retained"),
        ("2023-02-27", "2023-04-01", "2023-04-02", "outside_eligibility"),
        ("2023-02-27", "2023-02-27", "2023-02-28", "outside_eligibility"),
    ],
)
def test_a_line_is_outside_eligibility_by_no_date_that_may_incur_it(
    bench: Any, member: Any, line: Any, start: str, served: str, end: str, fate: str
) -> None:
    """A member of March: the first or last day of the claim keeps a line, or its own; no other."""
    row = line(claim_start_date=start, claim_line_start_date=served, claim_end_date=end)
    march = member(enrollment_start_date="2023-03-01", enrollment_end_date="2023-03-31")
    document, _ = bench.ingest(bench.folder(eligibility=[march], medical_claim=[row]))
    assert bench.fates(document) == {fate: (1, 10_000)}


def test_a_line_served_outside_eligibility_brings_its_dollars_alone(
    bench: Any, member: Any, line: Any
) -> None:
    """No visit, drug or emergency visit of a day without enrolment; and it is told.

    Its diagnoses are of the claim's last day, as those of every line that is retained.
    """
    over = {"claim_start_date": "2023-02-27", "claim_end_date": "2023-03-02"}
    rows = [
        line(**over),
        line(**over, claim_id="C2", hcpcs_code="J1885"),
        line(**over, claim_id="C3", claim_type="institutional", revenue_center_code="0450",
             hcpcs_code="99284"),
        line(claim_id="C4", claim_start_date="2023-03-05", claim_end_date="2023-04-05",
             diagnosis_code_1="I509"),
    ]  # fmt: skip
    march = member(enrollment_start_date="2023-03-01", enrollment_end_date="2023-03-31")
    document, population = bench.ingest(bench.folder(eligibility=[march], medical_claim=rows))
    assert bench.fates(document) == {"retained": (4, 40_000)}
    assert bench.noticed(document, "served_outside_eligibility") == [(3, 30_000)]
    (visit,) = bench.rows(population, "visits")
    assert visit["day"] == day_of(date(2023, 3, 5))
    found = {
        population.codes("dx")[row["dx"]].as_py(): row["day"]
        for row in bench.rows(population, "diagnoses")
    }
    assert found == {"E119": day_of(date(2023, 3, 2)), "I509": day_of(date(2023, 4, 5))}
    assert bench.rows(population, "drugs") == []
    lines = bench.rows(population, "lines")
    assert not any(row["flags"] & LINE_ED for row in lines)
    emergency = SERVICE_CATEGORIES.index("emergency")
    assert [row["category"] for row in lines].count(emergency) == 1


def test_a_stay_that_starts_before_medicaid_is_a_stay_of_its_discharge(
    bench: Any, member: Any, line: Any
) -> None:
    row = line(
        claim_type="institutional", bill_type_code="111", claim_start_date="2023-02-26",
        claim_end_date="2023-03-03", admission_date="2023-02-26", discharge_date="2023-03-03",
    )  # fmt: skip
    later = member(enrollment_start_date="2023-03-01")
    _, population = bench.ingest(bench.folder(eligibility=[later], medical_claim=[row]))
    (stay,) = bench.rows(population, "stays")
    assert stay["discharge_day"] == day_of(date(2023, 3, 3))


def test_the_years_of_service_are_those_of_enrolled_members(
    bench: Any, member: Any, line: Any
) -> None:
    """A stay from December into the first January adds no year without enrolment."""
    row = line(claim_start_date="2022-12-30", claim_end_date="2023-01-02")
    _, population = bench.ingest(bench.folder(eligibility=[member()], medical_claim=[row, line()]))
    assert population.manifest["service_years"] == [2023, 2023]
