"""The prepared store: shards of memory-mapped tables, keys, code tables, one digest.

Decides: which member stands in which shard, what lies in a shard, when a file is believed.
Leaves to others: how the content comes about (`ingest`).
"""

from __future__ import annotations

from ihp_compute.population.hashes import RowHash, text_hashes
from ihp_compute.population.keys import member_keys, shard_of
from ihp_compute.population.payment_days import FILE as PAYMENT_DAYS_FILE
from ihp_compute.population.payment_days import INCURRED_DAYS, payment_days, summed
from ihp_compute.population.person_rows import (
    COUNTY,
    FACTOR_TEXTS,
    SAID_YES,
    UNKNOWN,
    PersonRows,
    factors_on,
    intervention_arms,
    member_factors,
)
from ihp_compute.population.profile import profile
from ihp_compute.population.record import (
    FEW,
    GONE,
    OF_LINES,
    RECORDS,
    codes_path,
    write_places,
    write_record,
)
from ihp_compute.population.shards import (
    LAYOUT_VERSION,
    POPULATION,
    Population,
    Shard,
    ShardColumns,
    kept,
    open_population,
    read_batch,
    read_manifest,
)
from ihp_compute.population.verify import verify

__all__ = [
    "COUNTY",
    "FACTOR_TEXTS",
    "FEW",
    "GONE",
    "INCURRED_DAYS",
    "LAYOUT_VERSION",
    "OF_LINES",
    "PAYMENT_DAYS_FILE",
    "POPULATION",
    "RECORDS",
    "SAID_YES",
    "UNKNOWN",
    "PersonRows",
    "Population",
    "RowHash",
    "Shard",
    "ShardColumns",
    "codes_path",
    "factors_on",
    "intervention_arms",
    "kept",
    "member_factors",
    "member_keys",
    "open_population",
    "payment_days",
    "profile",
    "read_batch",
    "read_manifest",
    "shard_of",
    "summed",
    "text_hashes",
    "verify",
    "write_places",
    "write_record",
]
