"""Rows of the claim tables, a batch at a time: which are unreadable, and what the others say.

Decides: the day of service, the tax number that counts, what a claim type, an adjustment indicator
and a denial mean. Columns without such a rule are read as declared. Not here: what compares rows
with each other (`ingest.shard.fates`).
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.ingest.door.books import CodeBook, MemberBook
from ihp_compute.ingest.door.columns import Coded, Column, Following
from ihp_compute.ingest.door.rows import Rows, coalesce, small
from ihp_compute.ingest.final_action import (
    ACTION_OF_INDICATOR,
    NOT_STATED,
    OPEN,
    frequency_action,
    issuer_words,
)
from ihp_compute.ingest.findings import Denials, first_and_last
from ihp_compute.ingest.service_categories import CLAIM_TYPES
from ihp_compute.input_columns import SERVICE_DATES, Kind
from ihp_compute.units import NO_DAY
from kernels.members.history_fates import PLAIN, REPLACES, VOID

LINE_KIND_OF: Final = {
    "": 0, "1": 0, "A": 0, "U": 0, "2": 1, "B": 1, "V": 1, "3": 2, "C": 2, "W": 2,
    "4": 3, "D": 3, "X": 3, "5": 3, "E": 3, "Y": 3, "Z": 0,
}  # fmt: skip
"""TAF claim type: Medicaid 1-5, CHIP A-E, other programmes U-Y; as `codes.LINE_KINDS`. Z is a
denied claim and meets that fate."""

_CLAIM_TYPE_OF: Final = {
    **{name.upper(): k for k, name in enumerate(CLAIM_TYPES)}, "OTHER": 0, "UNDETERMINED": 0,
}  # fmt: skip

_DENIED, _NOT_DENIED, _UNKNOWN = 1, 2, 255
_DENIAL_OF: Final = {
    **dict.fromkeys(("0", "Y", "YES", "T", "TRUE", "D", "DENIED"), _DENIED),
    **dict.fromkeys(("1", "N", "NO", "F", "FALSE", "P", "PAID"), _NOT_DENIED),
    "": 0,
}
"""T-MSIS data guide, measure ALL-17-001-1, step 1c: a header is kept when the indicator "is not
equal to 0 or is missing". Letters say what they say."""
_STATUS_DENIED: Final = "F2"
_STATUS: Final = re.compile(r"[A-Z][0-9]{1,2}[A-Z]?", re.IGNORECASE)


def _first_stated(*days: NDArray[np.int32]) -> NDArray[np.int32]:
    found = days[0]
    for other in days[1:]:
        blank = found == NO_DAY
        if not blank.any():
            break
        found = np.where(blank, other, found)
    return found


def read_lines(
    rows: Rows, table: str, file_index: int, members: MemberBook, codes: CodeBook
) -> dict[str, Column]:
    """A batch of claim lines as spilled columns.

    Unreadable: no member id, no claim id, no service date or a start that is stated and cannot be
    read, an amount that cannot be read, an unknown claim type (`x_clm_type_cd`). Any other date
    that cannot be read is blank and told. A blank amount is zero and counted.
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
        admission, discharge = rows.days("admission_date"), rows.days("discharge_date")
        service = _first_stated(line_start, start, admission, end, line_end)
        claim_start = _first_stated(start, service)
        claim_end = _first_stated(end, line_end, discharge, claim_start)
        starts: tuple[str, ...] = ("claim_line_start_date", "claim_start_date")
        no_start = (line_start == NO_DAY) & (start == NO_DAY)
        service_columns: tuple[str, ...] = SERVICE_DATES
        stand_ins = {
            "admission_date": admission, "claim_end_date": end, "claim_line_end_date": line_end,
        }  # fmt: skip
        for column, finding, first, last in (
            ("claim_end_date", "end_before_start", start, end),
            ("claim_line_end_date", "end_before_start", line_start, line_end),
            ("discharge_date", "before_admission", admission, discharge),
        ):
            rows.see(
                column, finding,
                np.flatnonzero((last < first) & (last != NO_DAY)),
            )  # fmt: skip
        by_rule: dict[str, Column] = {
            "claim_type": rows.lookup("claim_type", "type", _CLAIM_TYPE_OF, 0),
            "bill_type": rows.codes("bill_type_code", codes),
            "disposition": rows.read("discharge_disposition_code", "small", small, np.uint8),
            "admission_day": admission,
            "discharge_day": discharge,
            "tin": coalesce(*(rows.codes(f"{who}_tin", codes) for who in ("rendering", "billing"))),
        }
    else:
        service = claim_start = claim_end = rows.days("dispensing_date")
        starts = service_columns = ("dispensing_date",)
        no_start = service == NO_DAY
        stand_ins = {}
        by_rule = {"claim_type": CLAIM_TYPES.index("pharmacy")}
    units = rows.thousandths(_QUANTITY[table])
    kind = rows.lookup("x_clm_type_cd", "kind", LINE_KIND_OF, 255)
    indicator = rows.lookup("x_adjstmt_ind", "action", ACTION_OF_INDICATOR, NOT_STATED)
    denied = _denied(rows, paid.cents)
    issuer, action = _issuer(rows), _action(rows, indicator)
    carried = rows.carried(codes)
    # once it stands among all diagnoses, which are read as declared
    principal = rows.codes("diagnosis_code_1", codes) if table == "medical_claim" else 0

    rows.mark(key.where(key.values == 0), "no member id")
    rows.mark(np.flatnonzero(claim_hash == 0), "no claim_id")
    unread = [rows.mark_doubtful(column, no_start) for column in starts]
    if any(map(len, unread)):
        service = service.copy()
        service[np.concatenate(unread)] = NO_DAY
    rows.mark(np.flatnonzero(service == NO_DAY), f"no {' or '.join(service_columns)}")
    rows.mark(kind.where(kind.values == 255), "unknown claim type", "x_clm_type_cd")
    hashes, fate, reason = rows.finish(paid.cents)
    readable = fate == OPEN
    _tell_dates(rows, no_start & readable, stand_ins)

    tally = rows.tally
    tally.paid_cents = int(paid.cents.sum())
    tally.blank_amounts = int(np.count_nonzero(paid.blank))
    tally.see_claims(claim_hash)
    undated = paid_day == NO_DAY
    until = np.where((paid_day >= claim_end) | undated, np.maximum(service, claim_end), service)
    tally.days, tally.unpaid_days = (
        (first_and_last(service[told])[0], first_and_last(until[told])[1])
        for told in (readable & (paid_day >= service), readable & undated)
    )

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
        "principal_dx": principal,
        "units_milli": units,
        "issuer": issuer,
        **{name: rows.text(column) for name, column in _AS_GIVEN.items()},
        "action": action,
        "denial": denied,
        "kind": kind,
    }


_AS_GIVEN: Final = {
    "data_source": "data_source", "payer": "payer", "payer_plan": "plan",
    "indicator": "x_adjstmt_ind",
}  # fmt: skip
"""Texts that a rule reads and that are kept as they stand too, and the columns of each."""

_QUANTITY: Final = {"medical_claim": "service_unit_quantity", "pharmacy_claim": "quantity"}

_MANY_ISSUERS: Final = 1 << 12
"""Pairs of values that may stand in a table; of more only those that a row has are kept."""


def _issuer(rows: Rows) -> Column:
    """Whose numbers the claims of a row are: one word of data source, payer and plan, 0 of none."""
    values = np.zeros(1, np.uint64)
    index: NDArray[np.int32] = np.zeros(1, np.int32)
    for k, name in enumerate(("data_source", "payer", "plan")):
        text = rows.text(name)
        if text.is_blank:
            continue
        words = issuer_words(k, text.words.hashes)
        if len(values) * len(words) > _MANY_ISSUERS:
            values, found = np.unique(values[index] ^ text.take(words), return_inverse=True)
            index = found.astype(np.int32)
        else:  # every pair of values, whether or not a row has it
            index = index * np.int32(len(words)) + text.index
            values = (values[:, None] ^ words).reshape(-1)
    return Coded(values, index) if len(index) == rows.n else 0


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


def _tell_dates(
    rows: Rows, no_start: NDArray[np.bool_], others: dict[str, NDArray[np.int32]]
) -> None:
    """Note which other date lines without a start take for their day of service."""
    left = no_start
    for column, days in others.items():
        taken = left & (days != NO_DAY)
        if n := int(np.count_nonzero(taken)):
            rows.tally.notes[
                f"lines without claim_line_start_date and claim_start_date take {column} for "
                "their day of service"
            ] = n
        left = left & ~taken


def _denied(rows: Rows, cents: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which lines are denied, by the denial flag or by claim type Z; the flag's dollars told."""
    flag = rows.lookup("x_clm_dnd_ind", "denial", _DENIAL_OF, _UNKNOWN)
    marks = flag.rows()
    denied: NDArray[np.bool_] = marks == _DENIED
    _tell_denials(rows, denied, marks == _NOT_DENIED, cents)
    status = rows.text("x_clm_stus_ctgry")
    if not status.is_blank:
        rows.understood("x_clm_stus_ctgry", lambda text: _STATUS.fullmatch(text) is not None)
        says = rows.read(
            "x_clm_stus_ctgry", "denied", lambda text: text.upper() == _STATUS_DENIED, np.bool_
        ).rows()
        rows.see(
            "x_clm_stus_ctgry", "status_and_denial_differ",
            np.flatnonzero((says != denied) & status.stated()),
        )  # fmt: skip
    is_type_z = rows.read("x_clm_type_cd", "denied", lambda text: text.upper() == "Z", np.bool_)
    denied[is_type_z.where(is_type_z.values)] = True
    return denied


def _tell_denials(
    rows: Rows, denied: NDArray[np.bool_], not_denied: NDArray[np.bool_], cents: NDArray[np.int64]
) -> None:
    """Count what the flag denies, and what it would if it were read the other way round."""
    source = rows.text("data_source")
    positive = np.maximum(cents, 0)
    if source.index.min() == source.index.max():
        counted = [_sum_of(positive, some) for some in (denied, not_denied)]
        whole = rows.n, int(positive.sum())
        rows.tally.denials[source.values[source.index[0]]] = Denials(*whole, *counted)
        return
    for place in np.flatnonzero(np.bincount(source.index)).tolist():
        of = source.index == place
        counted = [_sum_of(positive, some) for some in (of, of & denied, of & not_denied)]
        rows.tally.denials[source.values[place]] = Denials(*counted[0], *counted[1:])


def _sum_of(cents: NDArray[np.int64], some: NDArray[np.bool_]) -> tuple[int, int]:
    """How many rows are marked, and their cents."""
    n = int(np.count_nonzero(some))
    if 2 * n > len(some):
        return n, int(cents.sum()) - int(cents[~some].sum())
    return n, int(cents[some].sum()) if n else 0
