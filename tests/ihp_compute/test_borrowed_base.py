"""A partnership whose rate cell has nobody in the base year, from raw tables to its payment."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.runner import LocalRunner

Row = dict[str, Any]
OWN, OTHER = "1000000001", "1000000002"


def enrolled(person: str, group: str, first: int) -> Row:
    return {
        "person_id": person, "gender": "female", "birth_date": "1980-06-15",
        "enrollment_start_date": f"{first}-01-01", "enrollment_end_date": "2024-12-31",
        "x_elgblty_grp_cd": group,
    }  # fmt: skip


def year_of_care(person: str, npi: str, year: int, dollars: int) -> list[Row]:
    """A visit in January and one in December, the year's dollars in halves."""
    return [
        {
            "claim_id": f"{person}{year}{month}", "claim_line_number": "1",
            "claim_type": "professional", "person_id": person,
            "claim_start_date": f"{year}-{month}-10", "claim_end_date": f"{year}-{month}-10",
            "place_of_service_code": "11", "hcpcs_code": "99213", "rendering_npi": npi,
            "diagnosis_code_1": "Z0000", "paid_date": f"{year}-{month}-28",
            "paid_amount": f"{dollars // 2}.00", "x_clm_type_cd": "1",
        }
        for month in ("01", "12")
    ]  # fmt: skip


def test_newcomers_in_a_cell_without_a_base_are_paid_at_their_own_risk(tmp_path: Path) -> None:
    """20 disabled newcomers of risk 1 cost $2,000 each, what the state's of risk 5 cost a point.

    40 adults at $1,000 and 20 disabled at a fifth of $10,000, at 1.042: a target of $83,360.00,
    observed $80,000.00, 4.03 % less; half of $3,360.00 is $1,680.00. At the state's base without
    its risk the target were $250,080.00 and the payment $85,040.00.
    """
    people = [
        *((f"A{k}", "72", 2023, OWN, 1_000, "1.0") for k in range(40)),  # adults
        *((f"D{k}", "11", 2024, OWN, 2_000, "1.0") for k in range(20)),  # disabled, newcomers
        *((f"S{k}", "11", 2023, OTHER, 10_000, "5.0") for k in range(30)),  # the state's
    ]
    tables: dict[str, list[Row]] = {
        "eligibility": [enrolled(name, group, first) for name, group, first, *_ in people],
        "medical_claim": [
            line
            for name, _, first, npi, dollars, _ in people
            for year in range(first, 2025)
            for line in year_of_care(name, npi, year, dollars)
        ],
        "risk_score": [
            {"person_id": name, "year": year, "model": "acg", "score": score}
            for name, _, first, *_, score in people
            for year in range(first, 2025)
        ],
        "provider_roster": [
            {"npi": OWN, "tin": "", "partnership_id": "IHP-01", "specialty": "primary care",
             "start_date": "2020-01-01", "end_date": ""},
        ],
        "quality_score": [{"partnership_id": "IHP-01", "performance_year": "2024", "score": "1"}],
    }  # fmt: skip
    raw = tmp_path / "raw"
    raw.mkdir()
    for table, rows in tables.items():
        with (raw / f"{table}.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    ingest(raw, tmp_path / "population", shards=2, threads=1)
    terms = tmp_path / "set.toml"
    terms.write_text(
        '[set]\nname = "own"\n[default]\ncontract = "mn-ihp-2.0-track-2"\n'
        '[default.overrides]\n"risk.normalise" = "none"\n'
    )
    request = RunRequest(tmp_path / "population", (str(terms),), replicates=20, programme="none")
    folder = run(request, tmp_path / "run", LocalRunner(1)).run_dir
    (row,) = pq.read_table(folder / "settlement.parquet").to_pylist()
    assert row["target_cents"] == 8_336_000
    assert row["observed_cents"] == 8_000_000
    assert row["payment_cents"] == 168_000
