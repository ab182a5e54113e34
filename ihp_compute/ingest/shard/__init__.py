"""Second pass: a shard's spilled rows as its finished tables.

Decides: the final action of claims, who is a member when, what lines and visits there are.
Leaves to others: reading and typing (`ingest.door`), writing and digests (`ingest.passes`).
"""

from __future__ import annotations

from ihp_compute.ingest.shard.build import build
from ihp_compute.ingest.shard.rows import ShardRows

__all__ = [
    "ShardRows",
    "build",
]
