"""Raw tables to a prepared population, in two passes that meet in what is spilled.

    door   a batch at a time: files, values, rows; bad ones put aside, the rest by shard
    shard  a shard at a time: fates of claims, members, lines, derived tables

Decides: what each row means, and its one fate. Leaves to others: the prepared store (`population`).
"""

from __future__ import annotations

from ihp_compute.ingest.final_action import Choices, EqualRows, LaterAmounts
from ihp_compute.ingest.passes import ingest

__all__ = [
    "Choices",
    "EqualRows",
    "LaterAmounts",
    "ingest",
]
