"""One value has one reading, whatever holds it: amounts, whole numbers, ids and codes."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from ihp_compute.codes import SPAN_DUAL
from ihp_compute.errors import DataError
from ihp_compute.ingest.door.texts import is_rounded
from ihp_compute.ingest.door.values import MAX_CENTS, read_cents

Row = dict[str, Any]


# --- amounts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "cents"),
    [
        ("100.00-", -10_000), ("100.00 -", -10_000), ("$(12.00)", -1_200), ("($12.00)", -1_200),
        ("-", 0), (" $ - ", 0), ("$-", 0), ("$1,234.50-", -123_450), ("(1,234.50)", -123_450),
        ("-$5", -500), ("$-5", -500),
    ],
)  # fmt: skip
def test_a_credit_is_read_as_mainframes_and_spreadsheets_write_it(text: str, cents: int) -> None:
    read = read_cents(pa.array([text]))
    assert (int(read.cents[0]), bool(read.bad[0]), bool(read.blank[0])) == (cents, False, False)


@pytest.mark.parametrize(
    "text", ["0000123{", "12,34", "-5-", "(5)-", "(-5)", "((5))", "5+", "--", "$", "5CR", "- 5 -"]
)
def test_a_credit_that_must_be_guessed_is_refused(text: str) -> None:
    assert read_cents(pa.array([text])).bad.tolist() == [True]


EDGES = [
    pa.array([-(2**63)], pa.int64()),
    pa.array([2**63 - 1], pa.int64()),
    pa.array([2**64 - 1], pa.uint64()),
    pa.array([2**63], pa.uint64()),
    pa.array([-(2**63)], pa.int64()).dictionary_encode(),
    pa.array([Decimal(-(2**63))], pa.decimal128(38, 0)),
    pa.array([Decimal("-92233720368547758.08")], pa.decimal128(38, 2)),
    pa.array([Decimal("92233720368547758.08")], pa.decimal128(38, 2)),
    pa.array([Decimal(-(2**63)).scaleb(-6)], pa.decimal128(38, 6)),
    pa.array([Decimal(-(2**64))], pa.decimal128(38, 0)),
    pa.array([Decimal(2**64 + 1).scaleb(-2)], pa.decimal128(38, 2)),
    pa.array([Decimal(-(2**63))], pa.decimal256(76, 0)),
    pa.array([Decimal(10**70)], pa.decimal256(76, 2)),
    pa.array([Decimal(10**16)], pa.decimal64(18, 0)),
    pa.array([-(2.0**63)]),
    pa.array([float("-inf")]),
    pa.array([5e10]),
    pa.array(["50000000000"]),
    pa.array([50_000_000_000]),
    pa.array([3.0e38], pa.float32()),
]


@pytest.mark.parametrize("array", EDGES, ids=[str(array.type) for array in EDGES])
def test_an_integer_at_its_edge_is_no_amount(array: pa.Array) -> None:
    """What is beyond ten billion dollars is unreadable in every type, never zero or negative."""
    read = read_cents(array)
    assert (read.bad.tolist(), read.cents.tolist(), read.blank.tolist()) == ([True], [0], [False])


@pytest.mark.parametrize("cents", [MAX_CENTS, -MAX_CENTS])
def test_the_largest_amount_is_read_alike_in_every_type(cents: int) -> None:
    dollars = Decimal(cents).scaleb(-2)
    for array in (
        pa.array([str(dollars)]),
        pa.array([cents // 100]),
        pa.array([float(dollars)]),
        pa.array([dollars], pa.decimal128(38, 2)),
        pa.array([dollars], pa.decimal128(38, 0)),
        pa.array([dollars], pa.decimal256(76, 20)),
    ):
        assert read_cents(array).cents.tolist() == [cents]


def test_a_wide_decimal_rounds_by_all_of_its_places() -> None:
    """Just above half a cent is a cent, however far behind the rest stands."""
    above = Decimal("0.005" + 56 * "0" + "1")
    read = read_cents(pa.array([above, Decimal("0.005")], pa.decimal256(76, 60)))
    assert (read.cents.tolist(), read.sub_cent.tolist()) == ([1, 0], [True, True])


def test_a_line_with_an_amount_of_no_size_is_told(bench: Any, member: Any, line: Any) -> None:
    folder = bench.folder(eligibility=[member()])
    rows = [line(claim_id=f"C{k}") for k in range(4)]
    amounts = pa.array([150, -(2**63), 75, -20], pa.int64())
    bench.parquet(folder, "medical_claim", rows, paid_amount=amounts)
    document, _ = bench.ingest(folder)
    assert bench.fates(document) == {"unreadable": (1, 0), "retained": (3, 20_500)}
    assert bench.told(document)["paid_amount", "not_an_amount"] == (1, 0)


# --- whole numbers and ids ------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "float", "decimal"])
def test_a_number_with_point_zero_is_the_number(
    bench: Any, member: Any, line: Any, form: str
) -> None:
    """In codes, ids, flags and line numbers, of every table, as text and as a float."""
    spelled: Callable[[str], Any] = {
        "csv": lambda text: f"{text}.0" if text else "",
        "float": lambda text: float(text) if text else None,
        "decimal": lambda text: Decimal(text) if text else None,
    }[form]
    types = {"csv": None, "float": pa.float64(), "decimal": pa.decimal128(20, 1)}

    def column(*texts: str) -> pa.Array:
        return pa.array([spelled(text) for text in texts], types[form])

    folder = bench.folder()
    claims = [line(claim_id=c) for c in ("11", "11", "12")]
    bench.parquet(
        folder, "medical_claim", claims,
        person_id=column("71", "71", "71"), claim_id=column("11", "11", "12"),
        paid_amount=pa.array(["100.00", "0.00", "70.00"]), x_clm_type_cd=column("1", "1", "3"),
        x_adjstmt_ind=column("0", "1", "0"), paid_date=pa.array(["2023-04-01", "2023-05-01", ""]),
        rendering_npi=column(*["1111111112"] * 3), place_of_service_code=column("11", "11", "11"),
        x_clm_dnd_ind=column("1", "", "1"), claim_start_date=column(*["20230301"] * 3),
    )  # fmt: skip
    bench.parquet(
        folder, "eligibility", [member()], person_id=column("71"),
        x_elgblty_grp_cd=column("72"), dual_status_code=column("2"), medicaid_indicator=column("1"),
    )  # fmt: skip
    bench.parquet(
        folder, "provider_roster", [{"partnership_id": "P1"}], npi=column("1111111112"),
        health_care_home=column("1"),
    )  # fmt: skip
    document, population = bench.ingest(folder)
    assert bench.fates(document) == {"voided": (2, 10_000), "retained": (1, 7_000)}
    assert bench.told(document) == {}
    (kept,) = bench.rows(population, "lines")
    assert kept["kind"] == 2
    assert population.codes("npi").to_pylist() == ["", "1111111112"]
    assert population.codes("place_of_service").to_pylist() == ["", "11"]
    (span,) = bench.rows(population, "spans")
    assert (span["dual_status"], span["flags"] & 1) == (2, 1)


def test_a_diagnosis_keeps_the_digits_behind_its_dot(bench: Any, member: Any, line: Any) -> None:
    """401.0 of ICD-9 is not 401."""
    row = line(diagnosis_code_1="401.0", diagnosis_code_2="250.00", hcpcs_code="99213.0")
    _, population = bench.ingest(bench.folder(eligibility=[member()], medical_claim=[row]))
    assert population.codes("dx").to_pylist() == ["", "25000", "4010"]
    assert population.codes("hcpcs").to_pylist() == ["", "99213"]


def test_line_numbers_are_numbers_in_every_table_and_type(
    bench: Any, member: Any, drug: Any, line: Any
) -> None:
    folder = bench.folder(eligibility=[member()], medical_claim=[line()])
    rows = [drug(), drug(paid_date="2023-05-01", paid_amount="12.00")]
    for numbers in (pa.array(["1", "01"]), pa.array(["1.0", "001"]), pa.array([1.0, 1.0])):
        bench.parquet(folder, "pharmacy_claim", rows, claim_line_number=numbers)
        document, _ = bench.ingest(folder)
        assert bench.fates(document, "pharmacy_claim") == {
            "superseded": (1, 1_000), "retained": (1, 1_200),
        }  # fmt: skip


ROUNDED = [
    pa.array(["1.23457E+11"]), pa.array([" 1.23457e+11 "]), pa.array(["1E+11"]),
    pa.array(["1,23457E+11"]), pa.array(["9007199254740993.0"]), pa.array(["A1", "4.5E11"]),
    pa.array([1.5]), pa.array([2.0**53 + 2]), pa.array([2.0**24 + 2], pa.float32()),
    pa.array([None, 1e22]), pa.array(["2.5E+10"]).dictionary_encode(),
    pa.array([1.5]).dictionary_encode(), pa.array(["1.2E+9"], pa.large_string()),
]  # fmt: skip
EXACT = [
    pa.array(["123457000000"]), pa.array(["1E11"]), pa.array(["2023.001", "A+B", "x,y"]),
    pa.array([2.0**53, None]), pa.array([123456789012.0]), pa.array([2**63 - 1]),
    pa.array(["123456789012.0"]), pa.array([None], pa.string()), pa.array([], pa.string()),
    pa.array(["1E4TE5MK73", "12E+"]),
]  # fmt: skip


@pytest.mark.parametrize("array", ROUNDED, ids=str)
def test_a_rounded_number_is_seen(array: pa.Array) -> None:
    assert is_rounded(array)


@pytest.mark.parametrize("array", EXACT, ids=str)
def test_a_number_that_tells_people_apart_is_none(array: pa.Array) -> None:
    assert not is_rounded(array)


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("medical_claim", "person_id"), ("medical_claim", "member_id"),
        ("medical_claim", "claim_id"), ("medical_claim", "x_orgnl_clm_num"),
        ("medical_claim", "rendering_npi"), ("eligibility", "person_id"),
        ("pharmacy_claim", "dispensing_provider_npi"), ("pharmacy_claim", "claim_id"),
        ("eligibility", "x_mc_plan_id"), ("provider_roster", "npi"), ("provider_roster", "tin"),
        ("risk_score", "member_id"),
    ],
)  # fmt: skip
def test_rounded_ids_are_refused_by_column_and_without_the_value(
    bench: Any, member: Any, line: Any, drug: Any, table: str, column: str
) -> None:
    rows = {
        "medical_claim": line(), "pharmacy_claim": drug(), "eligibility": member(),
        "provider_roster": {"npi": "1", "partnership_id": "P", "tin": ""},
        "risk_score": {"person_id": "", "member_id": "0001", "year": "2023", "model": "m",
                       "score": "1"},
    }  # fmt: skip
    rows[table] |= {column: "1.23457E+11"}
    folder = bench.folder(**{name: [row, row] for name, row in rows.items()})
    with pytest.raises(DataError, match=f"^{table}.csv: {column} looks like a number") as refused:
        bench.ingest(folder)
    assert "1.23457" not in str(refused.value)


# --- codes and denial -----------------------------------------------------------------------------


def test_denial_is_read_from_the_rows_that_state_it(
    bench: Any, member: Any, line: Any, drug: Any
) -> None:
    """Tables that say nothing have no vote, and both readings are told with their dollars."""
    rows = [line(claim_id=f"C{k}", x_clm_dnd_ind="1") for k in range(2)]
    rows.append(line(claim_id="C9", x_clm_dnd_ind="0", paid_amount="999"))
    drugs = [drug(claim_id=f"R{k}") for k in range(4)]
    document, _ = bench.ingest(
        bench.folder(eligibility=[member()], medical_claim=rows, pharmacy_claim=drugs)
    )
    assert bench.fates(document) == {"denied": (1, 99_900), "retained": (2, 20_000)}
    assert bench.fates(document, "pharmacy_claim") == {"retained": (4, 4_000)}
    assert bench.told(document) == {
        ("x_clm_dnd_ind", "denied_dollars", "as it is read"): (1, 99_900),
        ("x_clm_dnd_ind", "denied_dollars", "if it were turned round"): (2, 20_000),
    }


def test_denial_is_judged_by_source(bench: Any, member: Any, line: Any) -> None:
    rows = [
        line(claim_id=f"{source}{k}", data_source=source, x_clm_dnd_ind=mark, paid_amount="10")
        for source, marks in (("a", "1" * 99 + "0"), ("b", "110"))
        for k, mark in enumerate(marks)
    ]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.told(document) == {
        ("x_clm_dnd_ind", "denied_dollars", "source b, as it is read"): (1, 1_000),
        ("x_clm_dnd_ind", "denied_dollars", "source b, if it were turned round"): (2, 2_000),
    }


def test_a_status_of_denied_must_agree_with_the_flag(bench: Any, member: Any, line: Any) -> None:
    cases = [("F2", "0"), ("F1", "1"), ("", "1"), ("F2", "1"), ("f1", "N"), ("F1", ""), ("F2", "")]
    rows = [
        line(claim_id=f"C{k}", x_clm_stus_ctgry=status, x_clm_dnd_ind=mark, paid_amount=10**k)
        for k, (status, mark) in enumerate(cases)
    ]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document)["denied"] == (1, 100)
    assert bench.told(document)["x_clm_stus_ctgry", "status_and_denial_differ"] == (2, 100_100_000)


def test_codes_that_are_not_understood_are_told_by_kind_and_with_dollars(
    bench: Any, member: Any, line: Any
) -> None:
    claim = {
        "x_adjstmt_ind": "77", "claim_type": "hospital", "x_clm_dnd_ind": "maybe",
        "x_clm_stus_ctgry": "paid?",
    }  # fmt: skip
    rows = [line(**claim), line(claim_id="C2"), line(claim_id="C3", x_clm_type_cd="Q9")]
    people = {
        "gender": "unk?", "dual_status_code": "B7", "x_elgblty_grp_cd": "999",
        "x_mc_plan_type_cd": "HMO", "original_reason_entitlement_code": "7",
        "x_spenddown_flag": "perhaps", "x_rstrctd_bnfts_cd": "Z9",
    }  # fmt: skip
    document, _ = bench.ingest(
        bench.folder(eligibility=[member(**people), member(person_id="2")], medical_claim=rows)
    )
    assert bench.told(document) == {
        ("x_adjstmt_ind", "not_understood", "digits"): (1, 10_000),
        ("claim_type", "not_understood", "letters"): (1, 10_000),
        ("x_clm_dnd_ind", "not_understood", "letters"): (1, 10_000),
        ("x_clm_stus_ctgry", "not_understood", "other"): (1, 10_000),
        ("x_clm_type_cd", "not_understood", "mixed"): (1, 10_000),
        ("gender", "not_understood", "other"): (1, 0),
        ("dual_status_code", "not_understood", "mixed"): (1, 0),
        ("x_elgblty_grp_cd", "not_understood", "digits"): (1, 0),
        ("x_mc_plan_type_cd", "not_understood", "letters"): (1, 0),
        ("original_reason_entitlement_code", "not_understood", "digits"): (1, 0),
        ("x_spenddown_flag", "not_understood", "letters"): (1, 0),
        ("x_rstrctd_bnfts_cd", "not_understood", "mixed"): (1, 0),
    }


# --- what cannot well be --------------------------------------------------------------------------


def test_what_cannot_well_be_is_told_and_stands(bench: Any, member: Any, line: Any) -> None:
    rows = [
        line(claim_id="A", claim_end_date="2022-03-10", paid_amount="1"),
        line(claim_id="B", claim_line_start_date="2023-03-02", claim_line_end_date="2023-03-01",
             paid_amount="2"),
        line(claim_id="C", admission_date="2023-03-02", discharge_date="2023-03-01",
             paid_amount="4"),
        line(claim_id="D", person_id="0002", paid_amount="8"),
    ]  # fmt: skip
    people = [member(), member(person_id="0002", birth_date="2023-05-05", death_date="2023-04-01")]
    document, _ = bench.ingest(bench.folder(eligibility=people, medical_claim=rows))
    assert bench.fates(document) == {"retained": (4, 1_500)}
    assert bench.told(document) == {
        ("claim_end_date", "end_before_start"): (1, 100),
        ("claim_line_end_date", "end_before_start"): (1, 200),
        ("discharge_date", "before_admission"): (1, 400),
        ("birth_date", "before_birth"): (1, 800),
        ("death_date", "before_birth"): (1, 0),
    }


@pytest.mark.parametrize(
    ("total", "finding"),
    [("100", "total_line"), ("99", "money_on_total_line")],
)
@pytest.mark.parametrize("code", ["0001", "1", "001.0"])
def test_money_on_a_total_line_is_named(
    bench: Any, member: Any, line: Any, code: str, total: str, finding: str
) -> None:
    rows = [
        line(claim_line_number=str(k), revenue_center_code=revenue, paid_amount=paid)
        for k, (revenue, paid) in enumerate([(code, total), ("0450", "60"), ("0300", "40")])
    ]
    rows.append(line(claim_id="C2", revenue_center_code=code, paid_amount="0"))
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.told(document) == {("revenue_center_code", finding): (1, int(total) * 100)}


# --- two rows of enrolment for one month ----------------------------------------------------------


def test_rows_that_name_different_cells_for_a_month_follow_the_declared_order(
    bench: Any, member: Any, line: Any
) -> None:
    """Child stands before adult and expansion, whatever else the rows say; the months are told."""
    codes = ["72", "07", "11"]  # expansion, child (an adult by age), disabled
    for order in (codes, codes[::-1]):
        rows = [member(x_elgblty_grp_cd=code, first_name=code) for code in order]
        document, population = bench.ingest(bench.folder(eligibility=rows, medical_claim=[line()]))
        (span,) = bench.rows(population, "spans")
        assert span["rate_cell"] == 2  # adult, fee for service
        assert bench.told(document) == {("months_named_differently",): (12, 0)}


def test_rows_that_differ_in_a_flag_alone_are_told_and_the_flag_stands(
    bench: Any, member: Any, line: Any
) -> None:
    """Whether a month counts hangs on it: the row with the flag stands, in whatever order."""
    for order in (["00", "02"], ["02", "00"]):
        rows = [member(dual_status_code=code) for code in order]
        document, population = bench.ingest(bench.folder(eligibility=rows, medical_claim=[line()]))
        (span,) = bench.rows(population, "spans")
        assert span["flags"] & SPAN_DUAL
        assert bench.told(document) == {("months_named_differently",): (12, 0)}
