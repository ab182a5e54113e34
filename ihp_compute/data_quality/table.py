"""The tables in which an ingest and a run keep what was noticed of data, and what was delivered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

import pyarrow as pa

from ihp_compute.data_quality.findings import GATES
from ihp_compute.table_schema import Column, TableSchema

_Row = TypeVar("_Row", bound=Mapping[str, Any])

DATA_QUALITY: Final = TableSchema(
    "data_quality",
    "what was noticed of the input and of a run, and what of it was accepted",
    (
        Column("source_table", pa.string(), "input table; empty: the whole input, or a run"),
        Column("file", pa.string(), "file in the input folder; empty: all of the table"),
        Column("column_name", pa.string(), "column; empty: the row as a whole"),
        Column("finding", pa.string(), "what was noticed"),
        Column("lines", pa.int64(), "rows of which it holds; of control totals read less stated",
               "lines"),
        Column("paid_cents", pa.int64(), "their paid dollars; of control totals read less stated",
               "cents"),
        Column("share", pa.float64(), "what its gate judges, else its part of the table's rows",
               "ratio"),
        Column("gate", pa.string(), "gate that judges it, or empty"),
        Column("tripped", pa.bool_(), "whether it tripped the gate"),
        Column("subject", pa.string(), "reason, plan and month, reading, NPI or terms"),
        Column("accepted", pa.string(), "why it was accepted although it tripped, or empty"),
        Column("members", pa.int64(), "people of whom it holds; 0: of nobody in particular",
               "members"),
        Column("detail", pa.string(), "more of it in words, or empty"),
    ),
    keys=("source_table", "file", "column_name", "finding", "subject"),
    in_digest=False,
)  # fmt: skip

DATA_REVIEW: Final = TableSchema(
    "data_review",
    "claim lines and dollars as they were delivered, by table, month of service and plan",
    (
        Column("source_table", pa.string(), "medical_claim or pharmacy_claim"),
        Column("month", pa.string(), "month of service, YYYY-MM; empty: no date that can be read"),
        Column("plan", pa.string(),
               "plan, or payer where none is stated; beyond the largest: (other plans)"),
        Column("lines", pa.int64(), "lines delivered, whatever became of them", "lines"),
        Column("unreadable_lines", pa.int64(), "those of them that cannot be read", "lines"),
        Column("paid_cents", pa.int64(), "paid dollars of the lines delivered", "cents"),
    ),
    keys=("source_table", "month", "plan"),
    in_digest=False,
)  # fmt: skip


def tripped_by_gate(rows: Iterable[_Row]) -> dict[str, list[_Row]]:
    """Rows of `DATA_QUALITY` that tripped, by the name of their gate, gates in their order."""
    by_gate: dict[str, list[_Row]] = {name: [] for name in GATES}
    for row in rows:
        if row["tripped"]:
            by_gate.setdefault(row["gate"], []).append(row)
    return {name: found for name, found in by_gate.items() if found}


def table_of(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table of schema `DATA_QUALITY.arrow`, in the order of its keys."""
    return pa.Table.from_pylist(in_order(rows), schema=DATA_QUALITY.arrow)


def in_order(rows: Iterable[_Row]) -> list[_Row]:
    """Rows in the order of the table's keys."""
    return sorted(rows, key=lambda row: [row[key] for key in DATA_QUALITY.keys])
