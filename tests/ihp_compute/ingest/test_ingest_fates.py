"""Every row has one fate, the first that applies."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq
import pytest

from ihp_compute.input_columns import SERVICE_DATES


def test_a_plain_line_is_retained(bench: Any, member: Any, line: Any) -> None:
    document, population = bench.ingest(
        bench.folder(eligibility=[member()], medical_claim=[line()])
    )
    assert bench.fates(document) == {"retained": (1, 10_000)}
    assert document["tables"]["medical_claim"] == {
        "rows_read": 1,
        "claims": 1,
        "paid_cents": 10_000,
    }
    assert (document["members"], document["member_months"]) == (1, 12)
    assert document["balanced"] is True
    detail = bench.rows(population, "line_detail")[0]
    assert detail["claim_id"] == "C1"
    assert population.codes("npi")[detail["rendering_npi"]].as_py() == "0123456789"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"claim_start_date": "2023-02-30"}, "claim_start_date is not a date: '2023-02-30'"),
        ({"paid_amount": "12.3.4"}, "paid_amount is not an amount: '12.3.4'"),
        (
            {"claim_start_date": "", "claim_end_date": ""},
            f"no {' or '.join(SERVICE_DATES)}",
        ),
        ({"person_id": ""}, "no member id"),
        ({"claim_id": ""}, "no claim_id"),
        ({"x_clm_type_cd": "Q"}, "unknown claim type: 'Q'"),
        (
            {"claim_start_date": "0223-03-01"},
            "claim_start_date before 1850 or after 2099: '0223-03-01'",
        ),
    ],
)
def test_an_unreadable_row_is_put_aside_with_its_reason(
    bench: Any, member: Any, line: Any, change: Any, reason: Any
) -> None:
    document, population = bench.ingest(
        bench.folder(
            eligibility=[member()], medical_claim=[line(), line(**({"claim_id": "C2"} | change))]
        )
    )
    assert bench.fates(document)["unreadable"][0] == 1
    assert bench.fates(document)["retained"] == (1, 10_000)
    aside = pq.read_table(population.path / "quarantine" / "medical_claim.parquet").to_pylist()
    assert [(row["fate"], row["reason"], row["row"]) for row in aside] == [
        ("unreadable", reason, 2)
    ]


def test_an_unreadable_row_keeps_the_dollars_that_can_be_read(
    bench: Any, member: Any, line: Any
) -> None:
    document, _ = bench.ingest(
        bench.folder(eligibility=[member()], medical_claim=[line(claim_start_date="soon")])
    )
    assert bench.fates(document) == {"unreadable": (1, 10_000)}


def test_an_equal_row_is_a_duplicate_and_one_of_them_stays(
    bench: Any, member: Any, line: Any
) -> None:
    document, _ = bench.ingest(
        bench.folder(
            eligibility=[member(), member()],
            medical_claim__a=[line(), line()],
            medical_claim__b=[line()],
        )
    )
    assert bench.fates(document) == {"duplicate": (2, 20_000), "retained": (1, 10_000)}
    assert bench.fates(document, "eligibility") == {"duplicate": (1, 0), "retained": (1, 0)}


def test_how_a_row_came_does_not_make_a_row_another_row(bench: Any, member: Any, line: Any) -> None:
    rows = [
        line(file_name=name, ingest_datetime=name, file_date=day)
        for name, day in (("a", "2023-07-01"), ("b", "2023-08-01"))
    ]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document) == {"duplicate": (1, 10_000), "retained": (1, 10_000)}


def test_a_later_version_supersedes(bench: Any, member: Any, line: Any) -> None:
    rows = [line(paid_date="2023-06-01", paid_amount="80"), line()]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document) == {"superseded": (1, 10_000), "retained": (1, 8_000)}


def test_the_file_date_decides_between_versions_paid_alike(
    bench: Any, member: Any, line: Any
) -> None:
    rows = [
        line(file_date="2023-07-01", paid_amount="80"),
        line(file_date="2023-06-01", paid_amount="90"),
    ]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document) == {"superseded": (1, 9_000), "retained": (1, 8_000)}


def test_nothing_but_the_dates_says_which_version_is_later(
    bench: Any, member: Any, line: Any
) -> None:
    """Two amounts of one line, paid on one day: no spelling decides, and both stand."""
    rows = [line(paid_amount="90.00"), line(paid_amount="100.00")]
    for order in (rows, rows[::-1]):
        document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=order))
        assert bench.fates(document) == {"retained": (2, 19_000)}


def test_a_reversal_voids_its_original_and_a_new_version_stands(
    bench: Any, member: Any, line: Any
) -> None:
    rows = [
        line(),
        line(paid_amount="-100.00", paid_date="2023-05-01"),
        line(paid_amount="75.00", paid_date="2023-05-01"),
    ]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document) == {"voided": (2, 0), "retained": (1, 7_500)}


def test_a_reversal_on_the_day_of_its_original_pairs_with_it(
    bench: Any, member: Any, line: Any
) -> None:
    rows = [line(paid_amount="-100.00"), line()]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document) == {"voided": (2, 0)}


def test_a_void_cancels_whatever_amount_it_states(bench: Any, member: Any, line: Any) -> None:
    rows = [line(), line(paid_amount="", paid_date="2023-05-01", x_adjstmt_ind="1")]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document) == {"voided": (2, 10_000)}


def test_a_lone_void_is_an_orphan_and_no_cost(bench: Any, member: Any, line: Any) -> None:
    document, _ = bench.ingest(
        bench.folder(eligibility=[member()], medical_claim=[line(x_adjstmt_ind="1")])
    )
    assert bench.fates(document) == {"orphan_void": (1, 10_000)}


def test_a_voided_replacement_does_not_bring_its_predecessor_back(
    bench: Any, member: Any, line: Any
) -> None:
    rows = [
        line(),
        line(paid_amount="80", paid_date="2023-05-01", x_adjstmt_ind="4"),
        line(paid_amount="-80", paid_date="2023-06-01", x_adjstmt_ind="1"),
    ]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document) == {"voided": (2, 0), "superseded": (1, 10_000)}


def test_a_credit_adjustment_stands_beside_the_claim(bench: Any, member: Any, line: Any) -> None:
    rows = [line(), line(paid_amount="-10", paid_date="2023-05-01", x_adjstmt_ind="5")]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document) == {"retained": (2, 9_000)}


def test_a_replacement_under_its_own_number_supersedes_every_line(
    bench: Any, member: Any, line: Any
) -> None:
    """The replaced claim had two lines, the replacement has one: none of the old stands."""
    rows = [
        line(),
        line(claim_line_number="2", paid_amount="5"),
        line(
            claim_id="R9",
            x_orgnl_clm_num="C1",
            x_adjstmt_ind="4",
            paid_date="2023-06-01",
            paid_amount="60",
        ),
        line(claim_id="OTHER"),
    ]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document) == {"superseded": (2, 10_500), "retained": (2, 16_000)}


def test_a_void_under_its_own_number_voids_the_claim_it_names(
    bench: Any, member: Any, line: Any
) -> None:
    rows = [
        line(),
        line(claim_id="V9", x_orgnl_clm_num="C1", x_adjstmt_ind="1", paid_date="2023-06-01"),
    ]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document) == {"voided": (2, 20_000)}


def test_replacements_of_one_absent_claim_are_versions_of_it(
    bench: Any, member: Any, line: Any
) -> None:
    """The original is not in the data, whichever other members' claims have its number."""
    stated = {"x_adjstmt_ind": "4"}
    rows = [
        line(claim_id="R1", x_orgnl_clm_num="X", paid_date="2023-06-01", **stated),
        line(
            claim_id="R2", x_orgnl_clm_num="X", paid_date="2023-07-01", paid_amount="60", **stated
        ),
        line(claim_id="X", person_id="0002"),
    ]
    people = [member(), member(person_id="0002")]
    for shards in (1, 7):
        document, _ = bench.ingest(
            bench.folder(eligibility=people, medical_claim=rows), shards=shards
        )
        assert bench.fates(document) == {"superseded": (1, 10_000), "retained": (2, 16_000)}


def test_a_claim_number_of_another_member_is_another_claim(
    bench: Any, member: Any, line: Any
) -> None:
    rows = [line(), line(person_id="0002", paid_date="2023-06-01")]
    people = [member(), member(person_id="0002")]
    document, _ = bench.ingest(bench.folder(eligibility=people, medical_claim=rows))
    assert bench.fates(document) == {"retained": (2, 20_000)}
    assert document["tables"]["medical_claim"]["claims"] == 1


def test_lines_without_a_number_are_not_versions_of_each_other(
    bench: Any, member: Any, line: Any
) -> None:
    rows = [line(claim_line_number="", paid_amount=amount) for amount in ("1", "2", "2")]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document) == {"duplicate": (1, 200), "retained": (2, 300)}


@pytest.mark.parametrize(
    ("denied", "paid"), [("0", "1"), ("0", ""), ("0.0", "1.0"), ("Y", "N"), ("true", ""), ("d", "")]
)
def test_denied_lines_are_set_aside_as_taf_codes_them_or_letters_say(
    bench: Any, member: Any, line: Any, denied: Any, paid: Any
) -> None:
    rows = [line(claim_id=f"C{k}", x_clm_dnd_ind=paid) for k in range(4)]
    rows.append(line(claim_id="D", x_clm_dnd_ind=denied, paid_amount="7"))
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document) == {"denied": (1, 700), "retained": (4, 40_000)}


def test_a_claim_of_the_denied_type_is_denied(bench: Any, member: Any, line: Any) -> None:
    rows = [line(), line(claim_id="Z", x_clm_type_cd="Z", paid_amount="7")]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document) == {"denied": (1, 700), "retained": (1, 10_000)}


@pytest.mark.parametrize(
    ("code", "kind"),
    [("", 0), ("1", 0), ("A", 0), ("2", 1), ("b", 1), ("3", 2), ("4", 3), ("E", 3)],
)
def test_a_claim_type_folds_into_a_kind(
    bench: Any, member: Any, line: Any, code: str, kind: int
) -> None:
    _, population = bench.ingest(
        bench.folder(eligibility=[member()], medical_claim=[line(x_clm_type_cd=code)])
    )
    assert bench.rows(population, "lines")[0]["kind"] == kind


def test_strangers_and_months_without_enrolment_are_told_apart(
    bench: Any, member: Any, line: Any
) -> None:
    rows = [
        line(),
        line(claim_id="C2", person_id="0009"),
        line(claim_id="C3", claim_start_date="2022-12-31", claim_end_date="2022-12-31"),
        line(claim_id="C4", claim_start_date="2022-12-31", claim_line_start_date="2023-01-01"),
    ]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document) == {
        "unknown_member": (1, 10_000),
        "outside_eligibility": (1, 10_000),
        "retained": (2, 20_000),
    }


def test_precedence_gives_one_fate_to_a_row_that_deserves_many(
    bench: Any, member: Any, line: Any
) -> None:
    """An unreadable copy of a superseded, denied claim of a stranger is unreadable, and so on."""
    worst = {"person_id": "0009", "x_clm_dnd_ind": "yes"}
    rows = [
        line(**worst, paid_amount="x"),
        line(**worst, paid_amount="1"),
        line(**worst, paid_amount="1"),
        line(**worst, paid_amount="2", paid_date="2023-05-01"),
        line(**worst, paid_amount="-2", paid_date="2023-06-01"),
        line(**worst, paid_amount="3", paid_date="2023-07-01"),
        line(claim_id="C2", person_id="0009", paid_amount="4"),
    ]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document) == {
        "unreadable": (1, 0),
        "duplicate": (1, 100),
        "superseded": (1, 100),
        "voided": (2, 0),
        "denied": (1, 300),
        "unknown_member": (1, 400),
    }


def test_pharmacy_lines_follow_the_same_rules(bench: Any, member: Any) -> None:
    def fill(**changes: Any) -> dict[str, Any]:
        return {
            "claim_id": "R1",
            "claim_line_number": "1",
            "person_id": "0001",
            "dispensing_date": "20230615",
            "ndc_code": "00093005801",
            "paid_date": "2023-06-16",
            "paid_amount": "12.34",
        } | changes

    rows = [fill(), fill(), fill(claim_id="R2", dispensing_date="2024-01-01")]
    folder = bench.folder(eligibility=[member()], pharmacy_claim=rows)
    (folder / "medical_claim.csv").write_text("claim_id,person_id,claim_start_date,paid_amount\n")
    document, population = bench.ingest(folder)
    assert bench.fates(document, "pharmacy_claim") == {
        "duplicate": (1, 1_234),
        "outside_eligibility": (1, 1_234),
        "retained": (1, 1_234),
    }
    drug = bench.rows(population, "drugs")[0]
    assert population.codes("ndc")[drug["code"]].as_py() == "00093005801"
