"""Of which claim a diagnosis is, for what that claim is, and on which day it stands."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from ihp_compute.codes import NO_DIAGNOSIS, diagnosis_source
from ihp_compute.units import date_of

HOSPITAL = {"claim_type": "institutional", "place_of_service_code": ""}


def found(bench: Any, member: Any, *rows: dict[str, str]) -> set[tuple[str, date, int]]:
    """Code, day and source of every diagnosis kept of these lines of one member of 2022 on."""
    enrolled = member(enrollment_start_date="2022-01-01", enrollment_end_date="2024-12-31")
    _, population = bench.ingest(bench.folder(eligibility=[enrolled], medical_claim=list(rows)))
    words = population.codes("dx").to_pylist()
    return {
        (words[row["dx"]], date_of(row["day"]), row["source"])
        for row in bench.rows(population, "diagnoses")
    }


def test_a_stay_over_new_year_bears_its_diagnoses_in_the_new_year(
    bench: Any, member: Any, line: Any
) -> None:
    stay = line(
        **HOSPITAL, bill_type_code="111", claim_start_date="2023-12-28", claim_end_date="2024-01-05"
    )
    assert found(bench, member, stay) == {("E119", date(2024, 1, 5), diagnosis_source("inpatient"))}


def test_the_through_date_of_a_claim_is_the_last_day_that_its_lines_state(
    bench: Any, member: Any, line: Any
) -> None:
    """Also for diagnoses that stand on the first line alone; a denied line states no day."""
    dates = [("2023-12-30", ""), ("2024-01-02", ""), ("2024-02-01", "0")]
    lines = [
        line(
            claim_line_number=str(k), claim_line_start_date=day, claim_line_end_date=day,
            claim_start_date="2023-12-30", claim_end_date="", x_clm_dnd_ind=denied,
            diagnosis_code_1="I50.9" if k == 0 else "",
        )
        for k, (day, denied) in enumerate(dates)
    ]  # fmt: skip
    wanted = {("I509", date(2024, 1, 2), diagnosis_source("professional"))}
    assert found(bench, member, *lines) == wanted
    assert found(bench, member, *reversed(lines)) == wanted


@pytest.mark.parametrize(
    ("changes", "form", "service"),
    [
        ({}, "professional", "any"),
        ({"claim_type": ""}, "professional", "any"),
        ({"hcpcs_code": "83036", "place_of_service_code": "81"}, "professional", "laboratory"),
        ({"hcpcs_code": "", "place_of_service_code": "81"}, "professional", "laboratory"),
        ({"hcpcs_code": "71046"}, "professional", "imaging"),
        ({"hcpcs_code": "A0429", "place_of_service_code": "41"}, "professional", "transport"),
        ({"hcpcs_code": "T2003"}, "professional", "transport"),
        ({"hcpcs_code": "E0601", "place_of_service_code": "12"}, "professional", "equipment"),
        ({"claim_type": "dental"}, "other_claim", "any"),
        (HOSPITAL | {"bill_type_code": "0117"}, "inpatient", "any"),
        (HOSPITAL | {"bill_type_code": "411", "hcpcs_code": "83036"}, "inpatient", "any"),
        (HOSPITAL | {"bill_type_code": "131"}, "outpatient", "any"),
        (HOSPITAL | {"bill_type_code": "131", "hcpcs_code": "80053"}, "outpatient", "laboratory"),
        (HOSPITAL | {"bill_type_code": "771"}, "outpatient", "any"),
        (HOSPITAL | {"bill_type_code": "141", "hcpcs_code": "80053"}, "other_bill", "any"),
        (HOSPITAL | {"bill_type_code": "121"}, "other_bill", "any"),
        (HOSPITAL | {"bill_type_code": "321"}, "other_bill", "any"),
        (HOSPITAL, "unbilled", "any"),
        (HOSPITAL | {"hcpcs_code": "80053"}, "unbilled", "laboratory"),
        (
            HOSPITAL | {"admission_date": "2023-03-01", "drg_code": "291"},
            "unbilled_stay",
            "any",
        ),
    ],
)  # fmt: skip
def test_a_claim_is_known_by_its_bill_type_and_by_what_it_is_for(
    bench: Any, member: Any, line: Any, changes: dict[str, str], form: str, service: str
) -> None:
    ((_, day, source),) = found(bench, member, line(**changes))
    assert (day, source) == (date(2023, 3, 1), diagnosis_source(form, service))


def test_one_line_of_care_makes_all_diagnoses_of_the_claim_those_of_care(
    bench: Any, member: Any, line: Any
) -> None:
    """Whichever line writes them; another claim of the day is for itself."""
    laboratory = {"hcpcs_code": "83036", "place_of_service_code": "81"}
    lines = [
        line(claim_line_number="1", diagnosis_code_1="I50.9", **laboratory),
        line(claim_line_number="2", diagnosis_code_1=""),
        line(claim_id="C2", diagnosis_code_1="E11.65", **laboratory),
        line(claim_id="C3", claim_line_number="1", x_clm_dnd_ind="0"),
        line(claim_id="C3", claim_line_number="2", diagnosis_code_1="I10", **laboratory),
    ]
    assert {(code, source) for code, _, source in found(bench, member, *lines)} == {
        ("I509", diagnosis_source("professional")),
        ("E1165", diagnosis_source("professional", "laboratory")),
        ("I10", diagnosis_source("professional", "laboratory")),
    }


def test_a_bill_type_on_one_line_is_that_of_the_claim(bench: Any, member: Any, line: Any) -> None:
    lines = [
        line(**HOSPITAL, claim_line_number="1", bill_type_code="131"),
        line(**HOSPITAL, claim_line_number="2", diagnosis_code_1="I50.9"),
    ]
    sources = {source for _, _, source in found(bench, member, *lines)}
    assert sources == {diagnosis_source("outpatient")}


def test_lines_know_the_source_of_their_claims_diagnoses(
    bench: Any, member: Any, line: Any
) -> None:
    rows = [
        line(),
        line(claim_id="C2", diagnosis_code_1=""),
        line(claim_id="C3", claim_type="dental"),
    ]
    _, population = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert {row["claim_id"]: row["source"] for row in bench.rows(population, "line_detail")} == {
        "C1": diagnosis_source("professional"),
        "C2": NO_DIAGNOSIS,
        "C3": diagnosis_source("other_claim"),
    }
