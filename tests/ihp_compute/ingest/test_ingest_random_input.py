"""Random, damaged rows: never a crash, one fate each, the same whatever their order and place."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ihp_compute.data_quality import GateTerms
from ihp_compute.input_columns import INPUT_TABLES

JUNK = (
    "", "0", "1", "-1", "NULL", "nan", "2023-05-05", "20230505", "9999-12-31", "1e5", "é", "a,b",
    '"q"', "\n", "12.345", "-100.00", "0001", "Z", "01", "9" * 21, "2023-05-05T00:00:00Z", "true",
    "111", "0450", "99213", "E11.9", "  x ", "0000-00-00", "inf", "1850-01-01",
)  # fmt: skip
USUAL = {
    "person_id": ("0001", "0002", "0003"),
    "member_id": ("0001",),
    "claim_id": ("C1", "C2", "C3", "C4"),
    "claim_line_number": ("1", "2", ""),
    "paid_amount": ("100.00", "-100.00", "80", ""),
    "x_orgnl_clm_num": ("C1", "C2", "C9", "", ""),
    "x_adjstmt_ind": ("0", "1", "4", "5", ""),
}
GOOD = {
    "person_id": "0009", "claim_id": "G1", "paid_amount": "1", "claim_start_date": "2023-05-05",
    "dispensing_date": "2023-05-05", "enrollment_start_date": "2023-01-01",
}  # fmt: skip


def _row(draw: random.Random, columns: list[str]) -> dict[str, str]:
    row = {}
    for column in columns:
        usual = USUAL.get(column, JUNK)
        if "date" in column:
            usual = (f"2023-{draw.randrange(1, 9):02}-{draw.randrange(1, 9):02}",)
        row[column] = draw.choice(usual if draw.random() < 0.7 else JUNK)
    return row


@pytest.mark.parametrize("seed", range(12))
def test_damaged_rows_have_one_fate_wherever_they_stand(bench: Any, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311  repeatable, not secret
    raw = {}
    for table in ("medical_claim", "pharmacy_claim", "eligibility"):
        layout = INPUT_TABLES[table]
        needed = {*layout.required_columns, *(name for names in layout.one_of for name in names)}
        columns = [c for c in layout.known if c in needed or draw.random() < 0.4]
        raw[table] = [_row(draw, columns) for _ in range(1 + draw.randrange(40))]
    lenient = GateTerms({"unreadable_rows": 1})  # of a table of few rows all may be damaged
    document, _ = bench.ingest(bench.folder(**raw), shards=1, threads=1, gates=lenient)
    moved: dict[str, list[dict[str, str]]] = {}
    for table, rows in raw.items():
        shuffled = draw.sample(rows, len(rows))
        cut = draw.randrange(len(rows))
        halves = {"b": shuffled[:cut], "a": shuffled[cut:]} if cut else {"a": shuffled}
        moved |= {f"{table}__{half}": part for half, part in halves.items()}
    other, _ = bench.ingest(bench.folder(**moved), shards=5, threads=2, gates=lenient)
    for table, rows in raw.items():
        assert sum(lines for lines, _ in bench.fates(document, table).values()) == len(rows)
        assert bench.fates(other, table) == bench.fates(document, table)
    for name in ("tables", "members", "member_months", "population_digest"):
        assert other[name] == document[name]
