"""Folders of raw tables written by hand, and populations prepared from them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ihp_compute.ingest.passes import ingest
from ihp_compute.population.shards import Population, open_population

Row = dict[str, Any]
READINGS = {
    "not_understood", "not_a_date", "day_or_month_first", "date_out_of_range", "not_an_amount",
    "status_and_denial_differ", "end_before_start", "before_admission", "before_birth",
    "total_line", "money_on_total_line", "months_named_differently", "denied_dollars",
}  # fmt: skip


class Bench:
    """Writes raw tables and ingests them; each call has a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.count = 0

    def folder(self, **tables: list[Row]) -> Path:
        """A folder of CSV files. `a__b` stands for the file `a/b.csv`; columns as in the rows."""
        self.count += 1
        folder = self.root / f"raw-{self.count}"
        folder.mkdir()
        for name, rows in tables.items():
            path = folder / (name.replace("__", "/") + ".csv")
            path.parent.mkdir(exist_ok=True)
            columns = list(dict.fromkeys(column for row in rows for column in row))
            with path.open("w", newline="") as stream:
                writer = csv.DictWriter(stream, columns, restval="")
                writer.writeheader()
                writer.writerows(rows)
        return folder

    def ingest(self, folder: Path, **options: Any) -> tuple[dict[str, Any], Population]:
        """Prepare a folder; the JSON document and the population."""
        self.count += 1
        out = self.root / f"population-{self.count}"
        document = ingest(folder, out, **{"shards": 2, "threads": 1, **options})
        return document, open_population(out)

    def fates(
        self, document: dict[str, Any], table: str = "medical_claim"
    ) -> dict[str, tuple[int, int]]:
        """Lines and cents by fate, files together, fates without lines left out."""
        found: dict[str, tuple[int, int]] = {}
        for entry in document["ledger"]:
            if entry["source_table"] == table and entry["lines"]:
                lines, cents = found.get(entry["fate"], (0, 0))
                found[entry["fate"]] = lines + entry["lines"], cents + entry["paid_cents"]
        return found

    def noticed(self, document: dict[str, Any], finding: str) -> list[tuple[int, int]]:
        """Lines and cents of each row of a finding."""
        return [
            (row["lines"], row["paid_cents"])
            for row in document["data_quality"]
            if row["finding"] == finding
        ]

    def told(self, document: dict[str, Any]) -> dict[tuple[str, ...], tuple[int, int]]:
        """Lines and cents of what was read with doubt, by column, finding and what it is of."""
        return {
            tuple(filter(None, (row["column_name"], row["finding"], row["subject"]))): (
                row["lines"],
                row["paid_cents"],
            )
            for row in document["data_quality"]
            if row["finding"] in READINGS
        }

    def parquet(self, folder: Path, table: str, rows: list[Row], **columns: pa.Array) -> None:
        """A table as Parquet, some of its columns as given."""
        made = {name: pa.array([row[name] for row in rows]) for name in rows[0]}
        pq.write_table(pa.table(made | columns), folder / f"{table}.parquet")

    def rows(self, population: Population, table: str) -> list[Row]:
        """All rows of a shard table."""
        return [row for shard in population.shards for row in shard.batch(table).to_pylist()]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def member() -> Callable[..., Row]:
    """An enrolment row: member 0001, the whole of 2023 unless said otherwise."""

    def make(**changes: Any) -> Row:
        return {
            "person_id": "0001",
            "gender": "female",
            "birth_date": "1980-05-05",
            "enrollment_start_date": "2023-01-01",
            "enrollment_end_date": "2023-12-31",
        } | changes

    return make


@pytest.fixture
def line() -> Callable[..., Row]:
    """A professional office visit of member 0001 for 100 dollars in March 2023."""

    def make(**changes: Any) -> Row:
        return {
            "claim_id": "C1",
            "claim_line_number": "1",
            "claim_type": "professional",
            "person_id": "0001",
            "claim_start_date": "2023-03-01",
            "claim_end_date": "2023-03-01",
            "paid_date": "2023-04-01",
            "paid_amount": "100.00",
            "hcpcs_code": "99213",
            "place_of_service_code": "11",
            "diagnosis_code_1": "E11.9",
            "rendering_npi": "0123456789",
            "x_adjstmt_ind": "",
            "x_orgnl_clm_num": "",
            "x_clm_dnd_ind": "",
            "x_clm_type_cd": "",
            "file_date": "",
        } | changes

    return make


@pytest.fixture
def drug() -> Callable[..., Row]:
    """A prescription of member 0001 for ten dollars."""

    def make(**changes: Any) -> Row:
        return {
            "claim_id": "R1", "claim_line_number": "1", "person_id": "0001",
            "dispensing_date": "2023-03-10", "ndc_code": "00406052201", "paid_date": "2023-04-01",
            "paid_amount": "10.00", "x_clm_dnd_ind": "",
        } | changes  # fmt: skip

    return make
