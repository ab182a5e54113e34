"""A folder in Tuva's layout loads with no mapping, however its files are named and filled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ihp_compute.codes import (
    LINE_ED,
    LINE_INPATIENT,
    SERVICE_CATEGORIES,
    VISIT_ED,
    VISIT_INPATIENT,
    VISIT_PAYMENT,
)
from ihp_compute.ingest.door.layout import find_inputs
from ihp_compute.input_columns import INPUT_TABLES
from ihp_compute.population.shards import open_population

MEDICAL, PHARMACY, ELIGIBILITY = (
    [
        name
        for name in INPUT_TABLES[table].known
        if not name.startswith("x_") and name != "snapshot_date"
    ]
    for table in ("medical_claim", "pharmacy_claim", "eligibility")
)
"""Tuva's own columns."""


def test_the_layout_has_the_published_number_of_columns() -> None:
    assert (len(MEDICAL), len(PHARMACY), len(ELIGIBILITY)) == (148, 25, 47)


def test_a_full_layout_of_nulls_loads(bench: Any, member: Any, line: Any) -> None:
    """Every column there, most of them empty, line dates and line numbers blank."""
    medical = [dict.fromkeys(MEDICAL, "") | row for row in (line(), line(claim_id="C2"))]
    pharmacy = dict.fromkeys(PHARMACY, "") | {
        "claim_id": "R1",
        "person_id": "0001",
        "dispensing_date": "2023-05-05",
        "paid_amount": "3.5",
        "quantity": "30.0",
    }
    person = dict.fromkeys(ELIGIBILITY, "") | member()
    folder = bench.folder(
        medical_claim_seed=medical, pharmacy_claim_seed=[pharmacy], eligibility_seed=[person]
    )
    document, _ = bench.ingest(folder)
    assert document["tables"]["medical_claim"] == {
        "rows_read": 2,
        "claims": 2,
        "paid_cents": 20_000,
    }
    assert document["tables"]["pharmacy_claim"]["paid_cents"] == 350
    assert document["left_out"] == {"files": [], "columns": {}}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("claim_id", "CLAIM_ID", 1).replace(
            "paid_amount", " Paid_Amount "
        ),
        lambda text: text.rstrip(),
        lambda text: text.replace("professional", '"professional"'),
        lambda text: text.replace("professional", '"a ""professional"", on\ntwo lines"'),
    ],
)
def test_csv_dialects_are_one(bench: Any, member: Any, line: Any, change: Any) -> None:
    folder = bench.folder(eligibility=[member()], medical_claim=[line(), line(claim_id="C2")])
    path = folder / "medical_claim.csv"
    with path.open(newline="") as stream:
        text = stream.read().replace("\r\n", "\n")
    with path.open("w", newline="", encoding="utf-8") as stream:
        stream.write(change(text))
    document, _ = bench.ingest(folder)
    assert bench.fates(document) == {"retained": (2, 20_000)}


def test_unknown_files_and_columns_are_named_and_left_out(
    bench: Any, member: Any, line: Any
) -> None:
    folder = bench.folder(
        eligibility=[member(shoe_size="9")],
        medical_claim=[line(), line(claim_id="C2")],
        lab_result=[{"a": "1"}],
    )
    (folder / "README.txt").write_text("hello")
    (folder / ".hidden.csv").write_text("x")
    document, _ = bench.ingest(folder)
    assert document["left_out"] == {
        "files": ["README.txt", "lab_result.csv"],
        "columns": {"eligibility.csv": ["shoe_size"]},
    }


def test_files_are_found_under_every_usual_name(tmp_path: Path) -> None:
    names = [
        "medical_claim.csv",
        "MEDICAL_CLAIM_SEED.CSV",
        "medical_claim_3.parquet",
        "medical_claim-part-0007.parquet",
        "medical_claim/year=2023/0.parquet",
        "medical_claim_seed/anything.csv",
        "eligibility.parquet/part-0.parquet",
    ]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = {file.name: file.table for file in find_inputs(tmp_path).files}
    assert found == {
        name: "eligibility" if name.startswith("elig") else "medical_claim" for name in names
    }


def test_typed_parquet_says_what_text_says(bench: Any, member: Any, line: Any) -> None:
    """Dates, decimals, dictionaries, numbers for codes: the population is the same."""
    text = bench.folder(
        eligibility=[member()],
        medical_claim=[line(bill_type_code="111", claim_line_number="1", allowed_amount="7.5")],
    )
    expected, _ = bench.ingest(text)
    folder = bench.folder(eligibility=[member()])
    table = (
        pl.read_csv(text / "medical_claim.csv", infer_schema=False)
        .with_columns(
            pl.col("claim_start_date", "claim_end_date", "paid_date").str.to_date(),
            pl.col("paid_amount").cast(pl.Float64),
            pl.col("allowed_amount").cast(pl.Decimal(12, 4)),
            pl.col("claim_line_number", "bill_type_code").cast(pl.Int64),
            pl.col("place_of_service_code").cast(pl.Float64),
            pl.col("claim_type").cast(pl.Categorical),
        )
        .to_arrow()
    )
    pq.write_table(table, folder / "medical_claim.parquet")
    document, _ = bench.ingest(folder)
    assert document["population_digest"] == expected["population_digest"]


def test_a_table_without_rows_is_a_table(bench: Any, member: Any, line: Any) -> None:
    folder = bench.folder(eligibility=[member()], medical_claim=[line()])
    (folder / "medical_claim.csv").write_text("claim_id,person_id,claim_start_date,paid_amount\n")
    schema = pa.schema([(name, pa.string()) for name in PHARMACY])
    pq.write_table(schema.empty_table(), folder / "pharmacy_claim.parquet")
    document, population = bench.ingest(folder)
    assert document["tables"]["medical_claim"]["rows_read"] == 0
    assert document["members"] == 1
    assert open_population(population.path).manifest["service_years"] == [0, 0]


def test_scores_and_factors_reach_their_places(bench: Any, member: Any, line: Any) -> None:
    score = {"person_id": "0001", "year": "2023", "model": "acg", "score": "1.2345678", "cell": "7"}
    stranger = score | {"person_id": "0009"}
    factor = {"person_id": "0001", "start_date": "2023-01-01", "homelessness": "true"}
    folder = bench.folder(
        eligibility=[member()],
        medical_claim=[line()],
        risk_score=[score, score, stranger],
        member_factors=[factor],
        quality_score=[{"partnership_id": "A", "performance_year": "2023", "score": "0.8"}],
    )
    document, population = bench.ingest(folder)
    (row,) = bench.rows(population, "scores")
    assert row["score_micro"] == 1_234_568
    assert population.codes("risk_model")[row["model"]].as_py() == "acg"
    assert population.codes("risk_cell")[row["cell"]].as_py() == "7"
    assert population.reference("member_factors").to_pylist()[0]["homelessness"] == "true"
    assert population.reference("quality_score").to_pylist()[0]["score"] == "0.8"
    found = {row["finding"]: row["lines"] for row in document["data_quality"]}
    assert found["score_unmatched"] == 1


def test_a_hospital_claim_is_a_stay_and_an_emergency_visit_is_one(
    bench: Any, member: Any, line: Any
) -> None:
    stay = line(
        claim_id="S",
        claim_type="institutional",
        bill_type_code="0111",
        revenue_center_code="0120",
        hcpcs_code="",
        admission_date="2023-03-01",
        discharge_date="2023-03-05",
        discharge_disposition_code="01",
        facility_npi="1111111111",
    )
    urgent = line(claim_id="E", claim_type="institutional", bill_type_code="131", hcpcs_code="")
    rows = [
        stay,
        stay | {"claim_line_number": "2", "revenue_center_code": "0450"},
        urgent | {"revenue_center_code": "0450"},
        urgent | {"claim_line_number": "2", "revenue_center_code": "0300"},
        line(claim_id="P", hcpcs_code="99284", place_of_service_code="23"),
        line(claim_id="L", hcpcs_code="80053", place_of_service_code="81"),
        line(claim_id="H", hcpcs_code="S0280"),
        line(claim_id="V"),
        line(claim_id="I", place_of_service_code="21"),
    ]
    _, population = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    (found,) = bench.rows(population, "stays")
    assert (found["admission_day"], found["discharge_day"]) == (19_417, 19_421)
    assert found["disposition"] == 1
    lines = {
        (d["claim_id"], d["claim_line_number"]): (
            SERVICE_CATEGORIES[row["category"]],
            bool(row["flags"] & LINE_ED),
            bool(row["flags"] & LINE_INPATIENT),
        )
        for row, d in zip(
            bench.rows(population, "lines"), bench.rows(population, "line_detail"), strict=True
        )
    }
    assert lines == {
        ("S", "1"): ("inpatient", True, True),
        ("S", "2"): ("inpatient", True, True),
        ("E", "1"): ("emergency", True, False),
        ("E", "2"): ("emergency", True, False),
        ("P", "1"): ("emergency", True, False),
        ("L", "1"): ("laboratory", False, False),
        ("H", "1"): ("health_care_home", False, False),
        ("V", "1"): ("primary_care", False, False),
        ("I", "1"): ("primary_care", False, False),
    }
    codes = population.codes("hcpcs").to_pylist()
    possible = {
        (codes[row["hcpcs"]], row["place"], row["marks"])
        for row in bench.rows(population, "visits")
    }
    assert possible == {
        ("99284", 23, VISIT_ED), ("S0280", 11, 0), ("99213", 11, 0), ("99213", 21, 0),
    }  # fmt: skip


def test_a_possible_visit_says_what_may_make_it_none(bench: Any, member: Any, line: Any) -> None:
    """Payments, stays and odd places are kept with their marks: the contract decides."""
    rows = [
        *(line(claim_id=f"K{k}", x_clm_type_cd=k) for k in ("2", "4", "E")),
        line(claim_id="E", x_clm_type_cd="3", paid_amount="0"),
        line(claim_id="P", place_of_service_code="2"),
        line(claim_id="Q", place_of_service_code="XX"),
        line(claim_id="S", claim_type="institutional", bill_type_code="111", hcpcs_code="99221",
             place_of_service_code=""),
        line(claim_id="D", x_clm_dnd_ind="0"),
        line(claim_id="A", hcpcs_code="A0428"),
    ]  # fmt: skip
    _, population = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    codes = population.codes("hcpcs").to_pylist()
    found = [
        (codes[row["hcpcs"]], row["place"], row["marks"])
        for row in bench.rows(population, "visits")
    ]
    assert sorted(found) == sorted(
        [
            *(("99213", 11, VISIT_PAYMENT) for _ in range(3)),
            ("99213", 11, 0), ("99213", 2, 0), ("99213", 0, 0), ("99221", 0, VISIT_INPATIENT),
        ]
    )  # fmt: skip
