"""Rows of enrolment, a batch at a time: which are unreadable, and what the others say.

Decides: when a span is open, what makes a member dual, in managed care or in Medicaid, and which
plan counts. Not here: what holds when spans overlap (`ingest.shard.members`), rate cells
(`rate_cells`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import (
    SPAN_DUAL,
    SPAN_LIMITED_BENEFITS,
    SPAN_LONG_TERM_INSTITUTION,
    SPAN_MEDICAID,
    SPAN_PARTIAL_BENEFIT,
    SPAN_SPEND_DOWN,
)
from ihp_compute.ingest import rate_cells
from ihp_compute.ingest.door.books import CodeBook, MemberBook
from ihp_compute.ingest.door.columns import Column
from ihp_compute.ingest.door.rows import Rows, coalesce, small
from ihp_compute.ingest.final_action import OPEN
from ihp_compute.ingest.findings import first_and_last
from ihp_compute.input_columns import INPUT_TABLES, Kind
from ihp_compute.units import NO_DAY

_NO_PLAN_ID: Final = re.compile(str(INPUT_TABLES["eligibility"].by_name["x_mc_plan_id"].nothing))
_SEX_OF: Final = {
    "F": 1, "FEMALE": 1, "2": 1, "M": 2, "MALE": 2, "1": 2,
    **dict.fromkeys(("", "U", "UNKNOWN", "O", "OTHER", "X", "0", "3", "9"), 0),
}  # fmt: skip
_CODES: Final[Mapping[str, frozenset[int]]] = {
    "dual_status_code": frozenset((*range(11), 99)),
    "original_reason_entitlement_code": frozenset(range(4)),
    "x_elgblty_grp_cd": frozenset(range(1, 77)),
    "x_mc_plan_type_cd": frozenset((*range(21), 60, 70, 80, 99)),
}
"""Codes that are understood; of T-MSIS the valid values of DUAL-ELIGIBLE-CODE, ELIGIBILITY-GROUP
and MANAGED-CARE-PLAN-TYPE."""
_SCOPES: Final = frozenset("01234567ABCDEFG")
"""The same of RESTRICTED-BENEFITS-CODE."""
_LIMITED_SCOPES: Final = frozenset("236")
"""Of these: emergencies of aliens only, Medicare's cost sharing only, family planning only."""
_LIMITED_GROUPS: Final = frozenset({"35"})
"""Eligibility groups of such cover: family planning services."""


def read_eligibility(
    rows: Rows, file_index: int, members: MemberBook, codes: CodeBook
) -> dict[str, Column]:
    """A batch of enrolment rows as spilled columns.

    Unreadable: no member id, no start or end that can be read, an end before the start; birth or
    death that cannot be read is blank and told. A blank end, or one after 2099-12-30, is open.
    Dual: CMS dual status 01-06 and 08; partial benefit: 01, 03, 05, 06 or the flag. 09 and 10 are
    entitled to Medicare outside full Medicaid and are stored, but set no flag. Limited benefits:
    the eligibility group of family planning, or a scope of benefits for some care only.
    """
    ids, key = rows.member_keys(members)
    start, end = rows.days("enrollment_start_date"), rows.days("enrollment_end_date")
    birth, death = rows.days("birth_date"), rows.days("death_date")
    dates = rows.carried(codes, Kind.DATE)
    sex = rows.lookup("gender", "sex", _SEX_OF, 0)
    dual = rows.read("dual_status_code", "dual", _dual, np.uint8).rows()
    original = rows.read("original_reason_entitlement_code", "reason", _reason, np.uint8)
    aid = rows.read("x_elgblty_grp_cd", "aid", rate_cells.aid_code, np.uint8).rows()
    plan_type = rows.read(
        "x_mc_plan_type_cd", "managed", rate_cells.is_managed_plan_type, np.uint8
    ).rows()
    named = np.zeros(rows.n, bool)
    for name in ("payer_type", "plan"):
        named |= rows.read(name, "managed", rate_cells.names_managed_care, np.bool_).rows()
    has_plan_id = rows.read("x_mc_plan_id", "stated", _is_plan_id, np.bool_).rows()
    managed = np.where(plan_type == 255, has_plan_id | named, plan_type).astype(np.uint8)
    plan_code = coalesce(*(rows.codes(name, codes) for name in ("x_mc_plan_id", "plan", "payer")))
    is_medicaid = np.zeros(rows.n, bool)
    for name in ("payer_type", "payer"):
        is_medicaid |= rows.read(
            name, "medicaid", lambda text: "medicaid" in text.lower(), np.bool_
        ).rows()
    dual_flag = np.isin(dual, (1, 2, 3, 4, 5, 6, 8))
    partial = np.isin(dual, (1, 3, 5, 6)) | rows.flag("x_partial_benefit_flag")
    medicaid = rows.flag("medicaid_indicator") | is_medicaid | (aid > 0) | dual_flag
    limited = rows.read("x_elgblty_grp_cd", "limited", _is_limited_group, np.bool_).rows()
    limited = limited | rows.read("x_rstrctd_bnfts_cd", "limited", _is_limited, np.bool_).rows()
    flags = (
        dual_flag * SPAN_DUAL
        + rows.flag("x_spenddown_flag") * SPAN_SPEND_DOWN
        + partial * SPAN_PARTIAL_BENEFIT
        + limited * SPAN_LIMITED_BENEFITS
        + rows.flag("long_term_institutional_flag") * SPAN_LONG_TERM_INSTITUTION
        + medicaid * SPAN_MEDICAID
    ).astype(np.uint8)
    for name, known in _CODES.items():
        rows.understood(name, functools.partial(_is_among, known))
    rows.understood("x_rstrctd_bnfts_cd", lambda text: _scope(text) in _SCOPES)
    carried = rows.carried(codes)
    rows.mark(key.where(key.values == 0), "no member id")
    for name in ("enrollment_start_date", "enrollment_end_date"):
        rows.mark_doubtful(name)
    rows.mark(np.flatnonzero(start == NO_DAY), "no enrollment_start_date")
    rows.mark(np.flatnonzero((end != NO_DAY) & (end < start)), "enrolment ends before it starts")
    rows.see("death_date", "before_birth", np.flatnonzero((death < birth) & (death != NO_DAY)))
    hashes, fate, reason = rows.finish()
    readable = fate == OPEN
    tally = rows.tally
    tally.days = first_and_last(np.maximum(start, end)[readable])
    _see_snapshots(rows, dates["snapshot_day"], readable)
    for what, count in (
        ("open-ended enrolment rows", int((readable & (end == NO_DAY)).sum())),
        (
            "enrolment rows without a birth date",
            int((readable & (birth == NO_DAY)).sum()),
        ),
    ):
        if count:
            tally.notes[what] = count
    return {
        **dates,
        **carried,
        "member_key": key,
        "fate": fate,
        "reason": reason,
        "file": file_index,
        "row": range(rows.first_row, rows.first_row + rows.n),
        "hash_1": hashes[0],
        "hash_2": hashes[1],
        "member_id": ids,
        "birth_day": birth,
        "death_day": death,
        "start_day": start,
        "end_day": end,
        "sex": sex,
        "aid": aid,
        "managed": managed,
        "flags": flags,
        "dual_status": dual,
        "original_reason": original,
        "plan": plan_code,
    }


def _see_snapshots(rows: Rows, day: Column, readable: NDArray[np.bool_]) -> None:
    """Note the latest snapshot of each data source."""
    if not isinstance(day, np.ndarray) or not (taken := readable & (day != NO_DAY)).any():
        return
    source = rows.text("data_source")
    latest = np.full(len(source.values), NO_DAY, np.int32)
    np.maximum.at(latest, source.index[taken], day[taken])
    for place in np.flatnonzero(latest != NO_DAY).tolist():
        rows.tally.snapshots[source.values[place]] = int(latest[place])


def _reason(text: str) -> int:
    code = small(text)
    return code if code <= 3 else 255


def _scope(text: str) -> str:
    """A scope of benefits, of one character.

    >>> _scope("02"), _scope("c"), _scope("0")
    ('2', 'C', '0')
    """
    return (text.lstrip("0") or "0").upper()


def _is_limited(text: str) -> bool:
    return _scope(text) in _LIMITED_SCOPES


def _is_limited_group(text: str) -> bool:
    return text.zfill(2) in _LIMITED_GROUPS


def _is_plan_id(text: str) -> bool:
    return bool(text) and not _NO_PLAN_ID.fullmatch(text)


def _dual(text: str) -> int:
    return int(text) if text.isdecimal() and int(text) <= 10 else 255


def _is_among(known: frozenset[int], text: str) -> bool:
    return text.isdecimal() and int(text) in known
