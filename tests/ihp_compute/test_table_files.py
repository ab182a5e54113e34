"""Small tables as people have them: separators, capitals, workbooks."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ihp_compute.errors import DataError
from ihp_compute.settlement import settle_table
from ihp_compute.table_files import read_table, with_plain_names, write_table

openpyxl = pytest.importorskip("openpyxl", reason="openpyxl is not installed")
ROW = {
    "partnership_id": "IHP-07", "n_members": "23000", "target_usd": "124614000.00",
    "observed_usd": "119452800.00", "quality_score": "1.0",
}  # fmt: skip
PAYMENT_CENTS = 258_060_000
"""Half of the savings of $5,161,200, which pass the gate."""
SIX = datetime(2024, 1, 1, 6, tzinfo=UTC).replace(tzinfo=None)
CONTRACT = "mn-ihp-2.0-track-2"


def sheet(path: Path, *rows: Any) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.create_sheet("other").append(["not", "read"])
    book.save(path)
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_table_is_read_however_its_values_are_separated(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "given.csv"
    head = [name.upper() if i % 2 else f'"{name}"' for i, name in enumerate(ROW)]
    path.write_text("\n".join(separator.join(row) for row in (head, ROW.values())) + "\n")
    settled = settle_table(read_table(path), CONTRACT)
    assert settled.payment_cents.tolist() == [PAYMENT_CENTS]


def test_a_comma_in_the_header_outweighs_what_stands_in_quotes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('"a;b;c",d\n1;2,3\n')
    assert read_table(path).to_pylist() == [{"a;b;c": "1;2", "d": "3"}]


def test_a_workbook_settles_as_its_csv_does(tmp_path: Path) -> None:
    path = sheet(
        tmp_path / "given.xlsx",
        ["Partnership_ID", "n_members", "target_usd", "observed_usd", "Quality_Score"],
        ["IHP-07", 23000, 124614000, 119452800.0, 1],
        [None] * 5,
    )
    settled = settle_table(read_table(path), CONTRACT)
    assert settled.payment_cents.tolist() == [PAYMENT_CENTS]


def test_values_of_a_workbook_are_text_and_whole_ids_are_digits(tmp_path: Path) -> None:
    path = sheet(
        tmp_path / "t.xlsx",
        ["member_id", "npi", "share", "day", "moment", "yes", "nothing", "diagnosis_code"],
        [1234567890, "0012", 0.1, date(2024, 2, 29), SIX, True, None, "E119"],
        [17.0, 3, 25, None, None, False, " ", "0"],
    )
    assert read_table(path).to_pylist() == [
        {"member_id": "1234567890", "npi": "0012", "share": "0.1", "day": "2024-02-29",
         "moment": "2024-01-01T06:00:00", "yes": "true", "nothing": "", "diagnosis_code": "E119"},
        {"member_id": "17", "npi": "3", "share": "25", "day": "", "moment": "", "yes": "false",
         "nothing": " ", "diagnosis_code": "0"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([["member_id"], [1.5]], "row 2, member_id: found a number with decimals"),
        ([["member_id"], [10**15]], "a number of more than 15 digits"),
        ([["diagnosis_code"], [250]], "found a number, so zeros at its head are lost"),
        ([["a", None, "b"], [1, 2, 3]], "column 2 has no name"),
        ([["a"], [1, 2]], "row 2 has values right of the last named column"),
        ([["a"], ["=1+1"]], "row 2, a: a formula without a stored value"),
        ([["a"], ["#DIV/0!"]], "row 2, a: found the error #DIV/0!"),
        ([[None]], "no header in the first row"),
    ],
)
def test_what_a_workbook_does_not_say_for_sure_is_refused(
    tmp_path: Path, rows: list[list[Any]], said: str
) -> None:
    with pytest.raises(DataError, match=r"t\.xlsx") as refused:
        read_table(sheet(tmp_path / "t.xlsx", *rows))
    assert said in str(refused.value)


def test_what_is_no_workbook_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.xlsx"
    path.write_text("partnership_id,n_members\n")
    with pytest.raises(DataError, match=r"t\.xlsx: cannot be read as a workbook"):
        read_table(path)


def test_two_names_that_differ_in_capitals_are_one(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("A, a\n1,2\n")
    with pytest.raises(DataError, match="found column a twice"):
        with_plain_names(read_table(path), "t.csv")


def test_a_partnership_that_stands_twice_is_named_with_its_dollars(tmp_path: Path) -> None:
    path = tmp_path / "dup.csv"
    head, row = ",".join(ROW), ",".join(ROW.values())
    path.write_text(f"{head}\n{row}\n{row}\n")
    settled = settle_table(read_table(path), CONTRACT, where="dup.csv")
    assert settled.payment_cents.sum() == 2 * PAYMENT_CENTS
    (note,) = (note for note in settled.notes if "stands 2 times" in note)
    assert "IHP-07" in note
    assert "rows 1 and 2" in note
    assert "$5,161,200.00" in note


def test_rows_that_differ_in_a_term_are_scenarios(tmp_path: Path) -> None:
    path = tmp_path / "grid.csv"
    row = ",".join(ROW.values())
    path.write_text(f"{','.join(ROW)},settlement.gain.share\n{row},0.4\n{row},0.5\n{row},0.6\n")
    settled = settle_table(read_table(path), CONTRACT)
    assert not any("stands" in note for note in settled.notes)
    assert any("1 partnerships stand in 3 scenarios" in note for note in settled.notes)


def test_a_csv_for_people_has_exact_dollars_beside_cents(tmp_path: Path) -> None:
    cents = pa.array([2**53 + 1, -5, None], pa.int64())
    table = pa.table({"paid_cents": cents, "n": [1, 2, 3], "left_cents": cents, "left_usd": cents})
    write_table(table, tmp_path / "t.csv")
    assert read_table(tmp_path / "t.csv").to_pylist()[:2] == [
        {"paid_cents": "9007199254740993", "paid_usd": "90071992547409.93", "n": "1",
         "left_cents": "9007199254740993", "left_usd": "9007199254740993"},
        {"paid_cents": "-5", "paid_usd": "-0.05", "n": "2", "left_cents": "-5", "left_usd": "-5"},
    ]  # fmt: skip
    write_table(table, tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").equals(table)
