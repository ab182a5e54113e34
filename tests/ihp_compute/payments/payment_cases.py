"""Raw rows of which states are made whose payments are worked by hand."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def enrolled(person: str, start: str = "2023-01-01", end: str = "2024-12-31", **more: str) -> Row:
    return {
        "person_id": person, "gender": "female", "birth_date": "1990-01-01",
        "enrollment_start_date": start, "enrollment_end_date": end, "x_elgblty_grp_cd": "01",
        **more,
    }  # fmt: skip


def line(person: str, day: str, npi: str, code: str = "99213", paid: str = "100.00") -> Row:
    return {
        "claim_id": f"{person}{day}{npi}{code}", "claim_line_number": "1",
        "claim_type": "professional", "person_id": person, "claim_start_date": day,
        "claim_end_date": day, "place_of_service_code": "11", "hcpcs_code": code,
        "rendering_npi": npi, "diagnosis_code_1": "J209", "paid_date": f"{day[:4]}-12-31",
        "paid_amount": paid, "x_clm_type_cd": "1",
    }  # fmt: skip


def entry(npi: str, partnership: str, start: str = "2020-01-01", end: str = "") -> Row:
    return {
        "npi": npi, "tin": "", "partnership_id": partnership, "specialty": "primary care",
        "start_date": start, "end_date": end,
    }  # fmt: skip


def write_tables(folder: Path, **tables: list[Row]) -> None:
    """Tables by name as CSV files; one without rows is left out."""
    folder.mkdir(exist_ok=True)
    for name, rows in tables.items():
        if not rows:
            continue
        with (folder / f"{name}.csv").open("w", newline="") as stream:
            columns = dict.fromkeys(name for row in rows for name in row)
            writer = csv.DictWriter(stream, list(columns), restval="")
            writer.writeheader()
            writer.writerows(rows)
