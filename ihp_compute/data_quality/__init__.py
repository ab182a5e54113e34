"""What is noticed of data and moves no dollar by itself, and the gates that ask before going on.

Decides: which findings and gates there are, from where a gate trips, how it is accepted.
Leaves to others: what is counted (`ingest`, `measure`, `results`).
"""

from __future__ import annotations

from ihp_compute.data_quality.findings import (
    FINDINGS,
    GATES,
    INGEST,
    RUN,
    Stage,
    finding_of,
    gates_of,
)
from ihp_compute.data_quality.judging import GateTerms, Noticed
from ihp_compute.data_quality.table import DATA_QUALITY, DATA_REVIEW, table_of, tripped_by_gate
from ihp_compute.data_quality.words import accepted_lines, noticed_lines, over_files, where_of

__all__ = [
    "DATA_QUALITY",
    "DATA_REVIEW",
    "FINDINGS",
    "GATES",
    "INGEST",
    "RUN",
    "GateTerms",
    "Noticed",
    "Stage",
    "accepted_lines",
    "finding_of",
    "gates_of",
    "noticed_lines",
    "over_files",
    "table_of",
    "tripped_by_gate",
    "where_of",
]
