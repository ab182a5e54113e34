"""First pass: raw files, a batch at a time, as typed rows in order of shard.

Decides: layout of the input, spelling of values, which rows are put aside and why.
Leaves to others: what needs all rows of a member (`ingest.shard`).
"""

from __future__ import annotations

from ihp_compute.ingest.door.batches import (
    Part,
    batches,
    column_names,
    converting,
    parts_of,
)
from ihp_compute.ingest.door.books import CodeBook, MemberBook
from ihp_compute.ingest.door.by_shard import by_shard
from ihp_compute.ingest.door.claims import read_lines
from ihp_compute.ingest.door.columns import Column
from ihp_compute.ingest.door.date_orders import DateOrders
from ihp_compute.ingest.door.delivered import count_delivered
from ihp_compute.ingest.door.eligibility import read_eligibility
from ihp_compute.ingest.door.layout import check_columns, find_inputs
from ihp_compute.ingest.door.reference import number_reference, read_reference
from ihp_compute.ingest.door.rows import Rows
from ihp_compute.ingest.door.scores import read_scores
from ihp_compute.ingest.door.texts import Words

__all__ = [
    "CodeBook",
    "Column",
    "DateOrders",
    "MemberBook",
    "Part",
    "Rows",
    "Words",
    "batches",
    "by_shard",
    "check_columns",
    "column_names",
    "converting",
    "count_delivered",
    "find_inputs",
    "number_reference",
    "parts_of",
    "read_eligibility",
    "read_lines",
    "read_reference",
    "read_scores",
]
