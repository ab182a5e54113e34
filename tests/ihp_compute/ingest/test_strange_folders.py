"""Folders as publishers write them: packed, split, with their own word for nothing."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ihp_compute.errors import DataError
from ihp_compute.ingest.door.values import read_cents
from ihp_compute.ingest.passes import ingest
from ihp_compute.input_columns import INPUT_TABLES

Rows = list[dict[str, str]]

ELIGIBILITY: Rows = [
    {
        "person_id": "00501", "member_id": "A-1", "gender": "Female", "birth_date": "1980-05-05",
        "enrollment_start_date": "2023-01-15", "enrollment_end_date": "2023-02-03",
        "last_name": "Smith, Jr.", "address": '12 "Main" St', "dual_status_code": "NA",
    },
    {
        "person_id": "00501", "member_id": "A-1", "gender": "F", "birth_date": "1980-05-05",
        "enrollment_start_date": "2023-05-31", "enrollment_end_date": "2023-12-31",
        "dual_status_code": "00",
    },
    {
        "person_id": "2", "gender": "MALE", "birth_date": "1990-01-01",
        "enrollment_start_date": "2023-03-01", "enrollment_end_date": "9999-12-31",
    },
]  # fmt: skip
MEDICAL: Rows = [
    {"claim_id": claim, "claim_line_number": line, "person_id": person, "paid_amount": paid,
     "claim_type": "professional", "claim_start_date": start, "claim_line_start_date": of_line,
     "paid_date": "2023-12-31", "place_of_service_code": "11"}
    for claim, line, person, paid, start, of_line in (
        ("C1", "1", "00501", "120.5", "2023-01-01", "2023-02-28"),
        ("C1", "2", "00501", "", "2023-02-01", ""),
        ("C2", "1", "00501", "-3", "2023-03-01", ""),  # in the gap
        ("C3", "1", "00501", "1e3", "2023-04-30", "2023-05-01"),
        ("C4", "1", "2", "0.125", "2023-12-01", ""),
        ("C5", "1", "ghost", "7", "2023-12-01", ""),
    )
]  # fmt: skip
PHARMACY: Rows = [
    {"claim_id": "P1", "claim_line_number": "1", "person_id": "2", "paid_amount": "9.99",
     "dispensing_date": "2023-02-28", "ndc_code": "00093505698"},
]  # fmt: skip
TABLES = {
    name: ([column for column in INPUT_TABLES[name].known if not column.startswith("x_")], rows)
    for name, rows in (
        ("eligibility", ELIGIBILITY),
        ("medical_claim", MEDICAL),
        ("pharmacy_claim", PHARMACY),
    )
}


def _write(
    path: Path,
    columns: list[str],
    rows: Rows,
    *,
    blank: str = "",
    encoding: str = "utf-8",
    upper: bool = False,
    **dialect: Any,
) -> None:
    with path.open("w", newline="", encoding=encoding) as stream:
        writer = csv.writer(stream, **dialect)
        writer.writerow([name.upper() if upper else name for name in columns])
        for row in rows:
            writer.writerow([row.get(name) or blank for name in columns])


def _plain(folder: Path, name: str = "{}.csv", **how: Any) -> None:
    for table, (columns, rows) in TABLES.items():
        _write(folder / name.format(table), columns, rows, **how)


def _packed(folder: Path) -> None:
    for table, (columns, rows) in TABLES.items():
        path = folder / "draft"
        for part, piece in enumerate((rows[:1], rows[1:])):
            _write(path, columns, piece, blank=r"\N")
            packed = folder / f"{table}.csv_0_{part}_0.csv.gz"
            packed.write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


def _parquet(folder: Path) -> None:
    for table, (columns, rows) in TABLES.items():
        part = folder / table / "year=2023"
        part.mkdir(parents=True)
        (folder / table / "_SUCCESS").touch()
        arrays = {name: [row.get(name) or None for row in rows] for name in columns}
        made = {
            name: pa.array([None if v is None else float(v) for v in values])
            if name == "paid_amount"
            else pa.array(values, pa.large_string()).dictionary_encode()
            if name == "claim_type"
            else pa.array(values, pa.string())
            for name, values in arrays.items()
        }
        pq.write_table(pa.table(made), part / "part-00000-c000.parquet", row_group_size=2)


WRITERS: dict[str, Callable[[Path], None]] = {
    "plain": _plain,
    "seed": lambda folder: _plain(folder, "{}_seed.csv", encoding="utf-8-sig"),
    "quoted, CRLF": lambda folder: _plain(
        folder, quoting=csv.QUOTE_ALL, lineterminator="\r\n", blank="NULL"
    ),
    "upper case": lambda folder: _plain(folder, upper=True),
    "packed parts": _packed,
    "partitioned Parquet": _parquet,
}  # fmt: skip


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("plain")
    _plain(folder)
    return ingest(folder, folder / "population", shards=2, threads=1)


def test_the_layout_loads_with_no_mapping_and_ties_to_figures_made_by_hand(first: Any) -> None:
    assert first["tables"]["medical_claim"] == {
        "rows_read": 6, "claims": 5, "paid_cents": 12_050 - 300 + 100_000 + 12 + 700,
    }  # fmt: skip
    assert first["members"] == 2
    # January and February, May to December; March to December
    assert first["member_months"] == 2 + 8 + 10
    fates = {
        (row["source_table"], row["fate"]): (row["lines"], row["paid_cents"])
        for row in first["ledger"]
    }
    assert fates["medical_claim", "outside_eligibility"] == (1, -300)
    assert fates["medical_claim", "unknown_member"] == (1, 700)
    assert fates["medical_claim", "retained"] == (4, 12_050 + 100_000 + 12)
    assert fates["pharmacy_claim", "outside_eligibility"] == (1, 999)
    assert first["amounts"]["medical_claim"] == {"blank": 1, "sub_cent": 1}


@pytest.mark.parametrize("how", WRITERS)
def test_however_a_folder_is_written_its_content_is_the_same(
    tmp_path: Path, first: Any, how: Any
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    WRITERS[how](raw)
    document = ingest(raw, tmp_path / "population", shards=3, threads=2)
    assert document["population_digest"] == first["population_digest"]
    assert document["tables"] == first["tables"]
    assert document["left_out"]["files"] == []


def test_a_packed_file_that_breaks_off_is_refused(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    _packed(raw)
    path = raw / "medical_claim.csv_0_1_0.csv.gz"
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(DataError, match=r"medical_claim.csv_0_1_0.csv.gz.*cut off.*complete copy"):
        ingest(raw, tmp_path / "population")
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_a_file_without_a_header_is_refused_and_no_row_of_it_is_shown(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    _plain(raw)
    path = raw / "eligibility.csv"
    path.write_text(path.read_text().split("\n", 1)[1])
    with pytest.raises(DataError, match=r"eligibility.csv lacks required.*not a header") as caught:
        ingest(raw, tmp_path / "population")
    assert "00501" not in str(caught.value)


def test_what_was_left_aside_is_named_when_a_table_is_missing(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    _plain(raw)
    (raw / "medical_claim.csv").rename(raw / "medical_claim.xlsx")
    with pytest.raises(DataError, match=r"lacks medical_claim.*Left aside: medical_claim.xlsx"):
        ingest(raw, tmp_path / "population")


@pytest.mark.parametrize(
    ("column", "array", "words"),
    [
        ("claim_type", pa.array([{"a": "x"}] * 6), "claim_type holds a struct"),
        ("claim_id", pa.array([b"\xff"] * 6), "claim_id is not UTF-8"),
    ],
)
def test_a_column_that_is_no_plain_value_is_named(
    tmp_path: Path, column: str, array: pa.Array, words: str
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    _plain(raw)
    (raw / "medical_claim.csv").unlink()
    table = pa.table({name: [row.get(name) for row in MEDICAL] for name in MEDICAL[0]})
    table = table.set_column(table.column_names.index(column), column, array)
    pq.write_table(table, raw / "medical_claim.parquet")
    with pytest.raises(DataError, match=words):
        ingest(raw, tmp_path / "population")


@pytest.mark.parametrize("text", ["12,34", "1,23,456", "1_000", "$", "٣", "."])
def test_a_comma_that_parts_no_thousands_makes_no_amount(text: str) -> None:
    read = read_cents(pa.array([text, "1,234,567.50"]))
    assert read.bad.tolist() == [True, False]
    assert read.cents.tolist() == [0, 123_456_750]
