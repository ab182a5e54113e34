"""A run's folder: result tables, their digest, the manifest, the terms that were kept.

Decides: columns and keys of each table, what stands under the digest, how a folder appears whole.
Leaves to others: the numbers (`measure`, `settlement`), the page (`report`).
"""

from __future__ import annotations

from ihp_compute.results.assemble import assemble
from ihp_compute.results.clinics import OWN
from ihp_compute.results.digest import digest_over, table_digest
from ihp_compute.results.folder import Draft, Outcome, check_place
from ihp_compute.results.kept_terms import RunTerms
from ihp_compute.results.manifest import read_manifest, request_of
from ihp_compute.results.netting import nets_of
from ihp_compute.results.read import RUN, result
from ihp_compute.results.tables import CELLS, INTERVALS, SETTLEMENT, TABLES, WALK
from ihp_compute.results.true_up import true_up
from ihp_compute.results.verify import verify_run

__all__ = [
    "CELLS",
    "INTERVALS",
    "OWN",
    "RUN",
    "SETTLEMENT",
    "TABLES",
    "WALK",
    "Draft",
    "Outcome",
    "RunTerms",
    "assemble",
    "check_place",
    "digest_over",
    "nets_of",
    "read_manifest",
    "request_of",
    "result",
    "table_digest",
    "true_up",
    "verify_run",
]
