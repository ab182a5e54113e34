"""Rows of the claim tables, a batch at a time: which are unreadable, and what the others say.

Decides: the day of service, the tax number that counts, what a claim type, an adjustment indicator
and a denial mean. Columns without such a rule are read as declared. Not here: what compares rows
with each other (`ingest.shard.fates`).
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.ingest.door.books import CodeBook, MemberBook
from ihp_compute.ingest.door.columns import Coded, Column, Following
from ihp_compute.ingest.door.rows import FIRST_DAY, OPEN_END_DAY, Rows, coalesce, small
from ihp_compute.ingest.door.values import flag_of_text
from ihp_compute.ingest.final_action import (
    ACTION_OF_INDICATOR,
    NOT_STATED,
    OPEN,
    frequency_action,
)
from ihp_compute.ingest.handover import DENIAL_MARKS
from ihp_compute.ingest.service_categories import CLAIM_TYPES
from ihp_compute.input_columns import Kind
from ihp_compute.units import NO_DAY
from kernels.members.history_fates import PLAIN, REPLACES, VOID

LINE_KIND_OF: Final = {
    "": 0, "1": 0, "A": 0, "U": 0, "2": 1, "B": 1, "V": 1, "3": 2, "C": 2, "W": 2,
    "4": 3, "D": 3, "X": 3, "5": 3, "E": 3, "Y": 3, "Z": 0,
}  # fmt: skip
"""TAF claim type: Medicaid 1-5, CHIP A-E, other programmes U-Y; as `codes.LINE_KINDS`. Z is a
denied claim and meets that fate."""

_CLAIM_TYPE_OF: Final = {name.upper(): k for k, name in enumerate(CLAIM_TYPES)}


def _first_stated(*days: NDArray[np.int32]) -> NDArray[np.int32]:
    found = days[0]
    for other in days[1:]:
        blank = found == NO_DAY
        if blank.any():
            found = np.where(blank, other, found)
    return found


def read_lines(
    rows: Rows, table: str, file_index: int, members: MemberBook, codes: CodeBook
) -> dict[str, Column]:
    """A batch of claim lines as spilled columns.

    Unreadable: no member id, no claim id, no service date, a date or an amount that cannot be read,
    an unknown claim type (`x_clm_type_cd`). A blank amount is zero and counted.
    """
    n = rows.n
    _, key = rows.member_keys(members)
    claim_id = rows.strings("claim_id")
    claim_hash = (
        claim_id.words if isinstance(claim_id, Following) else claim_id.take(claim_id.words.hashes)
    )
    paid = rows.cents("paid_amount")
    amounts = rows.carried(codes, Kind.AMOUNT)
    paid_day, file_day = rows.days("paid_date"), rows.days("file_date")
    if table == "medical_claim":
        start, end = rows.days("claim_start_date"), rows.days("claim_end_date")
        line_start, line_end = rows.days("claim_line_start_date"), rows.days("claim_line_end_date")
        service = _first_stated(line_start, start)
        claim_start = _first_stated(start, line_start)
        claim_end = _first_stated(end, line_end, claim_start)
        service_column = "claim_line_start_date and claim_start_date"
        by_rule: dict[str, Column] = {
            "claim_type": rows.lookup("claim_type", "type", _CLAIM_TYPE_OF, 0),
            "bill_type": rows.codes("bill_type_code", codes),
            "disposition": rows.read("discharge_disposition_code", "small", small, np.uint8),
            "has_drg": rows.read("drg_code", "stated", bool, np.bool_),
            "tin": coalesce(*(rows.codes(f"{who}_tin", codes) for who in ("rendering", "billing"))),
        }
    else:
        service = claim_start = claim_end = rows.days("dispensing_date")
        service_column = "dispensing_date"
        by_rule = {"claim_type": CLAIM_TYPES.index("pharmacy")}
    kind = rows.lookup("x_clm_type_cd", "kind", LINE_KIND_OF, 255)
    indicator = rows.lookup("x_adjstmt_ind", "action", ACTION_OF_INDICATOR, NOT_STATED)
    denial = rows.read("x_clm_dnd_ind", "mark", _denial_mark, np.uint8)
    denied = denial.rows()
    is_denied = rows.lookup("x_clm_type_cd", "denied", {"Z": 1}, 0)
    denied[is_denied.where(is_denied.values == 1)] = DENIAL_MARKS.index("yes")
    issuer, action = _issuer(rows), _action(rows, indicator)
    carried = rows.carried(codes)

    rows.mark(key.where(key.values == 0), "no member id")
    rows.mark(np.flatnonzero(claim_hash == 0), "no claim_id")
    rows.mark(np.flatnonzero(service == NO_DAY), f"no {service_column}")
    outside = (service < FIRST_DAY) | (service >= OPEN_END_DAY)
    rows.mark(
        np.flatnonzero((service != NO_DAY) & outside), "service date before 1850 or after 2099"
    )
    rows.mark(kind.where(kind.values == 255), "unknown claim type", "x_clm_type_cd")
    hashes, fate, reason = rows.finish()
    readable = fate == OPEN

    tally = rows.tally
    tally.paid_cents = int(paid.cents.sum())
    tally.blank_amounts = int(np.count_nonzero(paid.blank))
    tally.see_claims(claim_hash)
    counted = np.bincount(denied, minlength=len(DENIAL_MARKS))
    tally.denials = Counter(dict(zip(DENIAL_MARKS, counted.tolist(), strict=True)))
    stated = indicator.values == NOT_STATED
    stated[-1] = False
    if unknown_mark := len(indicator.where(stated)):
        tally.notes["lines with an unknown x_adjstmt_ind, read as not stated"] = unknown_mark
    timely = readable & ((paid_day == NO_DAY) | (paid_day >= service))
    tally.last_day = int(service[timely].max(initial=NO_DAY))

    return {
        **amounts,
        **carried,
        **by_rule,
        "member_key": key,
        "fate": fate,
        "reason": reason,
        "file": file_index,
        "row": range(rows.first_row, rows.first_row + n),
        "hash_1": hashes[0],
        "hash_2": hashes[1],
        "claim_id": claim_id,
        "service_day": service,
        "claim_start_day": claim_start,
        "claim_end_day": claim_end,
        "paid_day": paid_day,
        "file_day": file_day,
        "paid_cents": paid.cents,
        "blank_amount": paid.blank,
        "issuer": issuer,
        "action": action,
        "denial": denied,
        "kind": kind,
    }


def _issuer(rows: Rows) -> Column:
    """Whose numbers the claims of a row are: one word of data source, payer and plan, 0 of none."""
    texts = [rows.text(name) for name in ("data_source", "payer", "plan")]
    stated = [(k, text) for k, text in enumerate(texts) if not text.is_blank]
    if not stated:
        return 0
    word = np.zeros(rows.n, np.uint64)
    for k, text in stated:
        turn = np.uint64(2 * k + 1)
        word ^= text.take(text.words.hashes * turn)
    values, index = np.unique(word, return_inverse=True)
    return Coded(values, index.astype(np.int32))


def _action(rows: Rows, indicator: Coded) -> Column:
    """What a row says that it does to its claim: the indicator, else the type of bill."""
    if "bill_type_code" not in rows.columns:
        return Coded(
            np.where(indicator.values == NOT_STATED, PLAIN, indicator.values), indicator.index
        )
    frequency = rows.read("bill_type_code", "frequency", frequency_action, np.uint8)
    said, bill = indicator.rows(), frequency.rows()
    plain = (said == NOT_STATED) | (said == PLAIN)
    found = np.where(plain, bill, said)
    found[(bill == VOID) & (said == REPLACES)] = VOID
    return found


def _denial_mark(text: str) -> int:
    if text in ("", "0", "1"):
        return DENIAL_MARKS.index(text)
    flag = flag_of_text(text)
    if flag == 255:
        return DENIAL_MARKS.index("yes") if text.upper() in ("D", "DENIED") else 0
    return DENIAL_MARKS.index("yes" if flag == 1 else "no")
