"""What was delivered, as its reviewer reads it: lines and dollars by table, month and plan.

    counts by file, plan and month -> sums over files, plans beyond the largest as one -> a table

The counts are those that control totals are held against (`control`): rows as delivered, duplicates
and reversals among them. They add up to the rows and dollars that were read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Final

import pyarrow as pa

from ihp_compute.data_quality import DATA_REVIEW
from ihp_compute.ingest.findings import NO_MONTH, Delivered
from ihp_compute.ingest.input_files import InputFolder
from ihp_compute.ledger import CLAIM_TABLES
from ihp_compute.units import month_text

MOST_PLANS: Final = 100
"""Plans of a table that have rows of their own."""
OTHERS: Final = "(other plans)"


def review_of(folder: InputFolder, delivered: Mapping[int, Delivered]) -> pa.Table:
    """The table `DATA_REVIEW` of an ingest; `delivered` is by index of the file."""
    sums: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for table in CLAIM_TABLES:
        files = [delivered.get(index, Delivered()) for index, _ in folder.of(table)]
        largest = Counter[str]()
        for found in files:
            for (plan, _), n in found.lines.items():
                largest[plan] += n
        named = {
            plan for plan, _ in sorted(largest.items(), key=lambda of: (-of[1], of[0]))[:MOST_PLANS]
        }
        for found in files:
            for cell, n in found.lines.items():
                plan, month = cell
                own = sums[
                    table,
                    "" if month == NO_MONTH else month_text(month),
                    plan if plan in named else OTHERS,
                ]
                own[0] += n
                own[1] += n - found.readable[cell]
                own[2] += found.cents[cell]
    rows = [dict(zip(DATA_REVIEW.names, (*key, *of), strict=True)) for key, of in sums.items()]
    rows.sort(key=lambda row: [row[name] for name in DATA_REVIEW.keys])
    return pa.Table.from_pylist(rows, schema=DATA_REVIEW.arrow)
