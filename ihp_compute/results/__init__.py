"""A run's folder: result tables, their digest, the manifest, the terms that were kept.

Decides: columns and keys of each table, what stands under the digest, how a folder appears whole.
Leaves to others: the numbers (`measure`, `settlement`), the page (`report`).
"""

from __future__ import annotations

from ihp_compute.results.assemble import assemble
from ihp_compute.results.certification import (
    CERTIFICATION,
    certification_of,
    read_certification,
    write_certification,
)
from ihp_compute.results.clinics import OWN
from ihp_compute.results.digest import digest_over, table_digest
from ihp_compute.results.folder import Draft, Outcome, TableFile, check_place
from ihp_compute.results.kept_terms import RunTerms
from ihp_compute.results.manifest import read_manifest, request_of
from ihp_compute.results.netting import nets_of
from ihp_compute.results.part import Part
from ihp_compute.results.programme import programme_rows
from ihp_compute.results.read import RUN, result
from ihp_compute.results.reconciliation import Reconciliation, reconcile
from ihp_compute.results.resettle import measured_totals
from ihp_compute.results.restate import restate
from ihp_compute.results.risk_step import risk_by_cell
from ihp_compute.results.scoring import scoring_words
from ihp_compute.results.small_cells import SMALL_CELL, is_small, without_small
from ihp_compute.results.summary import LEVEL, Figure, Summary, UseChange, YearSummary, summarise
from ihp_compute.results.suppression import (
    OpenForm,
    has_open_form,
    hidden_rows,
    open_form,
    pattern_file,
    was_shown,
)
from ihp_compute.results.tables import (
    ATTRIBUTION,
    CELLS,
    INTERVALS,
    PAID_AHEAD,
    SETTLEMENT,
    TABLES,
    WALK,
)
from ihp_compute.results.true_up import true_up
from ihp_compute.results.verify import check_undamaged, verify_run

__all__ = [
    "ATTRIBUTION",
    "CELLS",
    "CERTIFICATION",
    "INTERVALS",
    "LEVEL",
    "OWN",
    "PAID_AHEAD",
    "RUN",
    "SETTLEMENT",
    "SMALL_CELL",
    "TABLES",
    "WALK",
    "Draft",
    "Figure",
    "OpenForm",
    "Outcome",
    "Part",
    "Reconciliation",
    "RunTerms",
    "Summary",
    "TableFile",
    "UseChange",
    "YearSummary",
    "assemble",
    "certification_of",
    "check_place",
    "check_undamaged",
    "digest_over",
    "has_open_form",
    "hidden_rows",
    "is_small",
    "measured_totals",
    "nets_of",
    "open_form",
    "pattern_file",
    "programme_rows",
    "read_certification",
    "read_manifest",
    "reconcile",
    "request_of",
    "restate",
    "result",
    "risk_by_cell",
    "scoring_words",
    "summarise",
    "table_digest",
    "true_up",
    "verify_run",
    "was_shown",
    "without_small",
    "write_certification",
]
