"""What both passes of ingest share: rules of the whole input, and a shard's content on its way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.ingest.service_categories import CodeFacts
from ihp_compute.units import NO_DAY
from kernels import distinct_count, row_order, row_pick

_CLAIM_RANGES: Final = 64
"""Claims are counted one range of their hashes at a time."""

_RANGE_SHIFT: Final = np.uint64(58)


@dataclass
class Tally:
    """What one file was found to hold in the first pass; sums of parts add up."""

    rows: int = 0
    paid_cents: int = 0
    blank_amounts: int = 0
    sub_cents: int = 0
    unreadable: int = 0
    last_day: int = NO_DAY
    claim_hashes: list[tuple[NDArray[np.uint64], NDArray[np.int64]]] = field(default_factory=list)
    denials: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    columns: dict[str, None] = field(default_factory=dict)
    unknown_columns: tuple[str, ...] = ()

    def add(self, other: Tally) -> None:
        """Add another part of the same file or table."""
        self.rows += other.rows
        self.paid_cents += other.paid_cents
        self.blank_amounts += other.blank_amounts
        self.sub_cents += other.sub_cents
        self.unreadable += other.unreadable
        self.last_day = max(self.last_day, other.last_day)
        self.claim_hashes += other.claim_hashes
        self.denials += other.denials
        self.notes += other.notes
        self.columns |= other.columns
        self.unknown_columns = tuple(dict.fromkeys((*self.unknown_columns, *other.unknown_columns)))

    def see_claims(self, claim_hash: NDArray[np.uint64]) -> None:
        """Keep the claims of rows just read, rows of a claim once where they follow each other."""
        stated = claim_hash[claim_hash != 0] if not claim_hash.all() else claim_hash
        if not len(stated):
            return
        fresh = np.empty(len(stated), bool)
        fresh[0] = True
        np.not_equal(stated[1:], stated[:-1], out=fresh[1:])
        claims = stated[fresh]
        order, starts = row_order(claims >> _RANGE_SHIFT, _CLAIM_RANGES)
        self.claim_hashes.append((row_pick(claims, None, order), starts))

    def distinct_claims(self) -> int:
        """How many different claim ids stand in the rows read."""
        found = 0
        for start in range(_CLAIM_RANGES if self.claim_hashes else 0):
            pieces = [
                claims[starts[start] : starts[start + 1]] for claims, starts in self.claim_hashes
            ]
            found += distinct_count(np.concatenate(pieces))
        return found


CODED: Final = {
    "place_of_service": "place_of_service", "bill_type": "bill_type", "revenue": "revenue",
    "hcpcs": "hcpcs", "rendering_npi": "npi", "billing_npi": "npi", "facility_npi": "npi",
    "ndc": "ndc", "tin": "tin",
}  # fmt: skip
"""Spilled columns that are codes, and the system of each."""


@dataclass(frozen=True)
class Rules:
    """What all shards share once every file has been read.

    horizon_month : last month that an open-ended span reaches
    denied_marks : bool per `ingest_rows.DENIAL_MARKS`: which of them say denied
    final_code : final number of each provisional code, by system
    facts, spilled_facts : what the codes say, by final and by provisional number
    """

    horizon_month: int
    denied_marks: NDArray[np.bool_]
    final_code: Mapping[str, NDArray[np.int32]]
    facts: CodeFacts
    spilled_facts: CodeFacts


MONTH_BITS: Final = 16
"""A member-month is known by member << MONTH_BITS | month."""


@dataclass(frozen=True)
class Fates:
    """What was found of each claim row of one table.

    fate : uint8, `IngestFate`
    member : int32, the member's place in the shard, -1 unknown
    claim : int64, the first row of the same claim and member
    """

    fate: NDArray[np.uint8]
    member: NDArray[np.int32]
    claim: NDArray[np.int64]


@dataclass(frozen=True)
class Members:
    """Members of a shard by key, their tables, and the months in which they are enrolled."""

    key: NDArray[np.uint64]
    fate: NDArray[np.uint8]  # of the enrolment rows
    enrolled: NDArray[np.int64]  # sorted member << MONTH_BITS | month
    tables: dict[str, pa.RecordBatch]
    span_counts: NDArray[np.int64]
    member_months: int
    open_end_months: int
    covered_months: frozenset[int]


DENIAL_MARKS: Final = ("", "0", "1", "yes", "no")
"""What `x_clm_dnd_ind` can say; 0 and 1 are read once all rows are seen (`ingest`)."""


@dataclass
class ShardContent:
    """Tables of one shard, its share of the ledger, and the rows put aside.

    hashes : uint64 a row, `fingerprint.text_hashes` of some text columns, by table and name
    ledger : int64[len(LEDGER_TABLES), n_files, len(IngestFate), 2], lines and paid cents
    covered_months : calendar months in which somebody is enrolled
    service_days : first and last service day of retained lines, or None
    """

    tables: dict[str, pa.RecordBatch]
    hashes: dict[tuple[str, str], NDArray[np.uint64]]
    ledger: NDArray[np.int64]
    quarantine: dict[str, pa.Table]
    member_months: int
    open_end_months: int
    covered_months: frozenset[int]
    service_days: tuple[int, int] | None
    last_paid_day: int
    notes: dict[str, int]
