"""Second pass: a shard's spilled rows as its finished tables.

Decides: the final action of claims, who is a member when, what lines and visits there are.
Leaves to others: reading and typing (`ingest.door`), writing and digests (`ingest.fresh`).
"""

from __future__ import annotations

from ihp_compute.ingest.shard.build import Claims, build, claims_of, content_of, offsets_of
from ihp_compute.ingest.shard.fates import served_on
from ihp_compute.ingest.shard.joined import join
from ihp_compute.ingest.shard.lines import may_admit, may_be_urgent
from ihp_compute.ingest.shard.members import members_of
from ihp_compute.ingest.shard.rows import MONTH_BITS, Members, ShardRows

__all__ = [
    "MONTH_BITS",
    "Claims",
    "Members",
    "ShardRows",
    "build",
    "claims_of",
    "content_of",
    "join",
    "may_admit",
    "may_be_urgent",
    "members_of",
    "offsets_of",
    "served_on",
]
