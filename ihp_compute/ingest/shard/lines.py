"""Claim rows of a shard as retained lines: what each says, and in which order they stand.

    claim rows of every table -> what each says (`sort_out`) -> retained lines in their order

Rows stay where they were spilled until their order is known, so that each column moves once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import (
    LINE_BLANK_AMOUNT,
    LINE_ED,
    LINE_INPATIENT,
    NO_DIAGNOSIS,
    SERVICE_CATEGORIES,
)
from ihp_compute.ingest.handover import Rules
from ihp_compute.ingest.service_categories import CLAIM_TYPES, CodeFacts, LineFacts, classify
from ihp_compute.ingest.shard.diagnoses import principal_diagnoses, sources, through_days
from ihp_compute.ingest.shard.rows import Columns, Fates, Lines, ShardRows, any_of, settle_ties
from ihp_compute.ingest.spill_layout import Scratch
from ihp_compute.ledger import IngestFate
from ihp_compute.sorting import order_by
from ihp_compute.units import NO_DAY
from kernels import first_row, row_pick

MAX_MEMBERS: Final = 1 << 22
"""Members of one shard that a word with a code and a day has room for."""
_HASH_BITS: Final = 8


@dataclass(frozen=True)
class Sorted:
    """What the rows of one table say, and their fates.

    category, flags : uint8
    admitted : bool, the row's claim is a stay
    source : uint8, of the diagnoses of the row's claim (`diagnoses.sources`)
    through_day : int32, through date of the row's claim
    principal_dx : int32, the principal diagnosis of the row's claim, by provisional number
    """

    fates: Fates
    category: NDArray[np.uint8]
    flags: NDArray[np.uint8]
    admitted: NDArray[np.bool_]
    source: NDArray[np.uint8]
    through_day: NDArray[np.int32]
    principal_dx: NDArray[np.int32]


def sort_out(raw: ShardRows, fates: Fates, table: str, rules: Rules) -> Sorted:
    """Category and flags of each row of one table, from what retained rows of its claim say."""
    flags = raw.numbers["blank_amount"].astype(np.uint8) * np.uint8(LINE_BLANK_AMOUNT)
    if table != "medical_claim":
        pharmacy = np.full(raw.n, SERVICE_CATEGORIES.index("pharmacy"), np.uint8)
        none = np.full(raw.n, NO_DIAGNOSIS, np.uint8)
        end = raw.numbers["claim_end_day"]
        nothing = np.zeros(raw.n, np.int32)
        return Sorted(fates, pharmacy, flags, np.zeros(raw.n, bool), none, end, nothing)
    columns, facts, claim = raw.numbers, rules.spilled_facts, fates.claim
    retained = fates.fate == IngestFate.RETAINED
    inpatient, admitted = _acute(columns, claim, retained, facts)
    urgent = may_be_urgent(columns, facts) & retained
    emergency_claim = any_of(claim, urgent)
    category = classify(
        LineFacts(
            claim_type=columns["claim_type"],
            hcpcs=columns["hcpcs"],
            revenue=columns["revenue"],
            bill_type=columns["bill_type"],
            place=columns["place_of_service"],
            inpatient=inpatient,
            emergency_claim=emergency_claim,
        ),
        facts,
    )
    # a visit is a claim's lines of one day, on which the member is enrolled
    rows = np.flatnonzero(emergency_claim & fates.served)
    day = raw.numbers["service_day"][rows].astype(np.int64).view(np.uint64)
    visit = first_row(day, claim[rows].view(np.uint64))
    flags[rows[any_of(visit, urgent[rows])]] |= np.uint8(LINE_ED)
    flags |= inpatient.view(np.uint8) * np.uint8(LINE_INPATIENT)
    source = sources(raw, claim, retained, category, admitted, facts)
    return Sorted(
        fates, category, flags, admitted, source, through_days(raw, claim, retained),
        principal_diagnoses(raw, claim, retained, rules.final_code["dx"]),
    )  # fmt: skip


def _acute(
    columns: Columns, claim: NDArray[np.int64], retained: NDArray[np.bool_], facts: CodeFacts
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Lines of acute inpatient claims, and of those that are a stay.

    By bill type (11x, 41x are stays; 12x is inpatient without one); an institutional claim without
    a bill type is a stay when it has an admission date and a DRG or a room-and-board line.
    """
    bill = columns["bill_type"]
    admitted = any_of(claim, may_admit(columns, facts) & retained)
    inpatient = any_of(claim, row_pick(facts.inpatient_bill, None, bill) & retained)
    inpatient |= admitted
    return inpatient, admitted


def may_admit(columns: Columns, facts: CodeFacts) -> NDArray[np.bool_]:
    """Medical rows each of which makes its claim a stay, once it is retained."""
    kind, bill = columns["claim_type"], columns["bill_type"]
    unbilled = (kind == 0) | (kind == CLAIM_TYPES.index("institutional"))
    unbilled &= bill == 0
    unbilled &= columns["admission_day"] != NO_DAY
    unbilled &= (columns["drg"] > 0) | row_pick(facts.room_and_board, None, columns["revenue"])
    unbilled |= row_pick(facts.admitted_bill, None, bill)
    return unbilled


def may_be_urgent(columns: Columns, facts: CodeFacts) -> NDArray[np.bool_]:
    """Rows of emergency departments by their revenue centre or procedure."""
    urgent: NDArray[np.bool_] = row_pick(facts.emergency_revenue, None, columns["revenue"])
    urgent |= row_pick(facts.emergency_procedure, None, columns["hcpcs"])
    return urgent


def lines_of(raw: ShardRows, parts: list[Sorted], rules: Rules, scratch: Scratch) -> Lines:
    """Retained lines of the spilled rows, whose tables stand one after another."""
    of_row: Columns = {
        "member": np.concatenate([part.fates.member for part in parts]),
        "category": np.concatenate([part.category for part in parts]),
        "flags": np.concatenate([part.flags for part in parts]),
        "admitted": np.concatenate([part.admitted for part in parts]),
        "source": np.concatenate([part.source for part in parts]),
        "through_day": np.concatenate([part.through_day for part in parts]),
        "principal_dx": np.concatenate([part.principal_dx for part in parts]),
        "served": np.concatenate([part.fates.served for part in parts]),
        "claim": parts[0].fates.claim,
    }
    retained = np.concatenate([part.fates.fate for part in parts]) == IngestFate.RETAINED
    of_row["retained"] = retained
    rows = np.flatnonzero(retained).astype(np.int32)
    member, day, hashed = (
        row_pick(values, None, rows)
        for values in (of_row["member"], raw.numbers["service_day"], raw.numbers["hash_1"])
    )
    hashed >>= np.uint64(64 - _HASH_BITS)
    order, fresh = order_by(member, day, hashed)
    order = order.astype(np.int32)
    rows, member = row_pick(rows, None, order), row_pick(member, None, order)
    settle_ties(rows, fresh, tuple(raw.numbers[name] for name in ("hash_1", "hash_2", "file")))
    n_medical = len(parts[0].category)
    return Lines(raw, rules.final_code, n_medical, rows, member, of_row, scratch)
