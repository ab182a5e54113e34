"""Preparing claims as polars and DuckDB do it: read, sort by member, write the same columns.

Neither validates, deduplicates, takes final actions, classifies or keeps a ledger; they only read
the columns that a population keeps, put the rows of a member side by side by date, and write them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import duckdb
import polars as pl

MEDICAL: Final = (
    "person_id", "claim_id", "claim_line_number", "claim_type", "claim_start_date",
    "claim_end_date", "claim_line_start_date", "admission_date", "discharge_date",
    "discharge_disposition_code", "place_of_service_code", "bill_type_code", "drg_code",
    "revenue_center_code", "hcpcs_code", "rendering_npi", "billing_npi", "billing_tin",
    "facility_npi", "diagnosis_code_1", "diagnosis_code_2", "diagnosis_code_3",
    "diagnosis_code_4", "paid_date", "paid_amount", "allowed_amount", "x_tpl_amt",
    "x_clm_type_cd", "x_adjstmt_ind", "x_clm_dnd_ind",
)  # fmt: skip
PHARMACY: Final = (
    "person_id", "claim_id", "claim_line_number", "prescribing_provider_npi",
    "dispensing_provider_npi", "dispensing_date", "ndc_code", "paid_date", "paid_amount",
    "allowed_amount", "x_tpl_amt", "x_clm_type_cd", "x_adjstmt_ind", "x_clm_dnd_ind",
)  # fmt: skip
TABLES: Final = (
    ("medical_claim", MEDICAL, "claim_start_date"),
    ("pharmacy_claim", PHARMACY, "dispensing_date"),
)


def by_polars(raw: Path, out: Path) -> int:
    """Rows written; one Arrow IPC file a table, uncompressed, by the streaming engine."""
    out.mkdir(parents=True)
    rows = 0
    for table, columns, date in TABLES:
        path = out / f"{table}.arrow"
        (
            pl.scan_parquet(raw / table / "part-*.parquet")
            .select(columns)
            .sort("person_id", date)
            .sink_ipc(path, compression="uncompressed", engine="streaming")
        )
        rows += pl.scan_ipc(path).select(pl.len()).collect().item()
    return rows


def by_duckdb(raw: Path, out: Path, *, threads: int, memory: str) -> int:
    """Rows written; one Parquet file a table, as DuckDB writes no Arrow file by itself."""
    out.mkdir(parents=True)
    connection = duckdb.connect()
    connection.execute(f"SET threads = {threads}; SET memory_limit = '{memory}'")
    connection.execute(f"SET temp_directory = '{out / 'spill'}'")
    rows = 0
    for table, columns, date in TABLES:
        source = f"read_parquet('{raw / table}/part-*.parquet')"
        target = out / f"{table}.parquet"
        names = ", ".join(columns)
        connection.execute(
            f"COPY (SELECT {names} FROM {source} ORDER BY person_id, {date}) "  # noqa: S608
            f"TO '{target}' (FORMAT parquet, COMPRESSION snappy)"
        )
        counted = connection.execute(f"SELECT count(*) FROM '{target}'")  # noqa: S608
        rows += counted.fetchall()[0][0]
    return rows
