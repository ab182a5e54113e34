"""Retained claim rows of a shard as population tables: lines, diagnoses, visits, stays, drugs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute import tables
from ihp_compute.fingerprint import scramble
from ihp_compute.ingest_columns import CODED, Columns, Raw, Rules, Strings, count_by_member, record
from ihp_compute.ingest_fates import claim_of
from ihp_compute.ingest_members import Members
from ihp_compute.ingest_rows import distinct
from ihp_compute.service_categories import CLAIM_TYPES, CodeFacts, LineFacts, classify
from ihp_compute.units import NO_DAY

_DAY_BIAS: Final = 1 << 19
_DAY_BITS: Final = 20
_HASH_BITS: Final = 20
_CODE_BITS: Final = 22
MAX_MEMBERS: Final = 1 << (64 - _DAY_BITS - _CODE_BITS)
"""Members of one shard that the packed sort keys have room for."""


@dataclass(frozen=True)
class Kept:
    """Retained rows of one table; `member` is the place in the shard, codes are final.

    `texts` are of all the table's rows, of which `rows` are retained; the rest is of these alone.
    """

    table: int
    rows: NDArray[np.intp]
    member: NDArray[np.int64]
    columns: Columns
    texts: Strings
    dx: pa.Array | None
    claim: NDArray[np.uint64]
    admitted: NDArray[np.bool_]


_SPENT: Final = frozenset({"fate", "row", "line_hash", "denial", "indicator", "file_day"})
"""Columns that have done their work once a row has its fate."""


def keep(
    raw: Raw, rows: NDArray[np.intp], member: NDArray[np.int64], table: str, rules: Rules
) -> Kept:
    """Retained rows with final codes, classified: category and flags. `member` is their place."""
    columns = {
        name: values.take(rows) for name, values in raw.numbers.items() if name not in _SPENT
    }
    for name, system in CODED.items():
        columns[name] = rules.final_code[system].take(columns[name])
    texts = {name: raw.texts[name] for name in ("claim_id", "claim_line_number")}
    claim = claim_of(columns)
    flags = columns["blank_amount"].astype(np.uint8) * np.uint8(tables.LINE_BLANK_AMOUNT)
    admitted = np.zeros(len(rows), bool)
    if table == "medical_claim":
        facts = rules.facts
        inpatient, admitted = _acute(columns, claim, facts)
        urgent = (
            facts.emergency_revenue[columns["revenue"]]
            | facts.emergency_procedure[columns["hcpcs"]]
        )
        category = classify(
            LineFacts(
                claim_type=columns["claim_type"],
                hcpcs=columns["hcpcs"],
                revenue=columns["revenue"],
                bill_type=columns["bill_type"],
                place=columns["place_of_service"],
                inpatient=inpatient,
                emergency_claim=_any_of(claim, urgent),
            ),
            facts,
        )
        visit_day = scramble(claim + columns["service_day"].astype(np.int64).view(np.uint64))
        flags |= _any_of(visit_day, urgent).astype(np.uint8) * np.uint8(tables.LINE_ED)
        flags |= inpatient.astype(np.uint8) * np.uint8(tables.LINE_INPATIENT)
    else:
        category = np.full(len(rows), tables.SERVICE_CATEGORIES.index("pharmacy"), np.uint8)
    columns["category"], columns["flags"] = category, flags
    dx = None if raw.dx is None else raw.dx.take(pa.array(rows))
    if dx is not None:
        remapped = rules.final_code["dx"].take(dx.flatten().to_numpy())
        offsets = np.concatenate([[0], np.cumsum(dx.value_lengths().to_numpy())])
        dx = pa.ListArray.from_arrays(
            pa.array(offsets.astype(np.int32)), pa.array(remapped.astype(np.int32))
        )
    return Kept(
        tables.SOURCE_TABLES.index(table), rows, member, columns, texts, dx, claim, admitted
    )


def _acute(
    columns: Columns, claim: NDArray[np.uint64], facts: CodeFacts
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Lines of acute inpatient claims, and of those that are a stay.

    By bill type (11x, 41x are stays; 12x is inpatient without one); an institutional claim without
    a bill type is a stay when it has an admission date and a DRG or a room-and-board line.
    """
    institutional = np.isin(columns["claim_type"], (0, CLAIM_TYPES.index("institutional")))
    lodged = columns["has_drg"] | facts.room_and_board[columns["revenue"]]
    unbilled = (
        institutional & (columns["bill_type"] == 0) & (columns["admission_day"] != NO_DAY) & lodged
    )
    admitted = _any_of(claim, (facts.admitted_bill[columns["bill_type"]]) | unbilled)
    inpatient = admitted | _any_of(claim, facts.inpatient_bill[columns["bill_type"]])
    return inpatient, admitted


def _any_of(key: NDArray[np.uint64], marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows whose key some marked row has."""
    if not marked.any():
        return np.zeros(len(key), bool)
    found = pc.is_in(pa.array(key), value_set=pa.array(distinct(key[marked])))
    return found.to_numpy(zero_copy_only=False)


@dataclass(frozen=True)
class Lines:
    """Retained lines of all tables in their order."""

    columns: Columns
    texts: Strings

    def tables(self, n_members: int) -> tuple[pa.RecordBatch, pa.RecordBatch, NDArray[np.int64]]:
        """`lines`, `line_detail`, and the number of lines of each member."""
        lines = record(tables.LINES, self.columns)
        detail = pa.RecordBatch.from_arrays(
            [
                self.texts[field.name]
                if field.name in self.texts
                else pa.array(self.columns[field.name], field.type)
                for field in tables.LINE_DETAIL
            ],
            schema=tables.LINE_DETAIL,
        )
        return lines, detail, count_by_member(self.columns["member"], n_members)


def lines_of(kept: list[Kept]) -> Lines:
    """Retained lines of all tables by member, service day, then row hash."""
    member = np.concatenate([part.member for part in kept])
    names = [
        field.name
        for schema in (tables.LINES, tables.LINE_DETAIL)
        for field in schema
        if field.name not in ("table", "claim_id", "claim_line_number")
    ]

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([part.columns[name] for part in kept])

    day = joined("service_day").astype(np.int64) + _DAY_BIAS
    hashes = joined("hash_1"), joined("hash_2")
    packed = ((member << _DAY_BITS) | day).astype(np.uint64)
    order = _order(
        (packed << np.uint64(_HASH_BITS)) | (hashes[0] >> np.uint64(64 - _HASH_BITS)),
        (*hashes, joined("file")),
    )
    columns = {name: joined(name).take(order) for name in names}
    columns["member"] = member.take(order)
    tables_ = [np.full(len(part.member), part.table, np.uint8) for part in kept]
    columns["table"] = np.concatenate(tables_).take(order)
    before = np.cumsum([0, *(len(part.texts["claim_id"]) for part in kept)])
    rows = np.concatenate([part.rows + first for part, first in zip(kept, before, strict=False)])
    at = pa.array(rows.take(order))
    texts = {
        name: pa.concat_arrays([part.texts[name] for part in kept]).take(at)
        for name in ("claim_id", "claim_line_number")
    }
    return Lines(columns, texts)


def _order(packed: NDArray[np.uint64], rest: tuple[NDArray[Any], ...]) -> NDArray[np.intp]:
    """Order by a packed key, rows that tie on it by further columns, first one first."""
    order = np.argsort(packed)
    ordered = packed[order]
    tie = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(tie):
        at = np.union1d(tie, tie + 1)
        rows = order[at]
        order[at] = rows[np.lexsort((*(c[rows] for c in reversed(rest)), packed[rows]))]
    return order


def diagnoses(kept: list[Kept], n_members: int) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """Unique diagnosis and day of each member, with the earliest paid day that carries it."""
    parts = [part for part in kept if part.dx is not None]
    repeats = [part.dx.value_lengths().to_numpy() for part in parts]  # type: ignore[union-attr]
    member = _gather([np.repeat(p.member, r) for p, r in zip(parts, repeats, strict=True)])
    day, paid = (
        _gather([np.repeat(p.columns[name], r) for p, r in zip(parts, repeats, strict=True)])
        for name in ("service_day", "paid_day")
    )
    dx = _gather([p.dx.flatten().to_numpy() for p in parts])  # type: ignore[union-attr]
    keep, paid = _earliest((member, dx, day), paid)
    return (
        record(tables.DIAGNOSES, {"dx": dx[keep], "day": day[keep], "paid_day": paid}),
        count_by_member(member[keep], n_members),
    )


def visits(
    kept: list[Kept], rules: Rules, n_members: int
) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """Lines that can attribute: visit codes outside hospital, emergency and laboratory places."""
    part = next(p for p in kept if tables.SOURCE_TABLES[p.table] == "medical_claim")
    columns, facts = part.columns, rules.facts
    kind = facts.visit_class[columns["hcpcs"]]
    hospital = (columns["flags"] & (tables.LINE_INPATIENT | tables.LINE_ED)) != 0
    elsewhere = facts.no_visit_place[columns["place_of_service"]] | hospital
    home = kind == tables.VISIT_CLASSES.index("health_care_home")
    rows = np.flatnonzero((kind > 0) & (home | ~elsewhere))
    member = part.member[rows]
    picked = {
        "day": columns["service_day"][rows],
        "rendering_npi": columns["rendering_npi"][rows],
        "billing_npi": columns["billing_npi"][rows],
        "tin": columns["tin"][rows],
        "class": kind[rows],
        "paid_day": columns["paid_day"][rows],
    }
    names = ("class", "tin", "billing_npi", "rendering_npi", "paid_day", "day")
    order = np.lexsort((*(picked[name] for name in names), member))
    return (
        record(tables.VISITS, {name: values[order] for name, values in picked.items()}),
        count_by_member(member, n_members),
    )


def stays(kept: list[Kept], n_members: int) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """One row per acute inpatient claim: earliest admission, latest discharge, earliest payment."""
    part = next(p for p in kept if tables.SOURCE_TABLES[p.table] == "medical_claim")
    rows = np.flatnonzero(part.admitted)
    columns = {name: part.columns[name][rows] for name in part.columns}
    _, claim = np.unique(part.claim[rows], return_inverse=True)
    n = int(claim.max(initial=-1)) + 1
    member = np.zeros(n, np.int64)
    member[claim] = part.member[rows]
    far = np.iinfo(np.int32).max

    def least(values: NDArray[Any], blank: int) -> NDArray[Any]:
        found = np.full(n, far, np.int64)
        np.minimum.at(found, claim, np.where(values == blank, far, values))
        return np.where(found == far, blank, found)

    admission = least(columns["admission_day"], NO_DAY)
    admission = np.where(admission == NO_DAY, least(columns["claim_start_day"], NO_DAY), admission)
    discharge = np.full(n, NO_DAY, np.int64)
    np.maximum.at(discharge, claim, columns["discharge_day"])
    end = np.full(n, NO_DAY, np.int64)
    np.maximum.at(end, claim, columns["claim_end_day"])
    discharge = np.where(discharge == NO_DAY, end, discharge)
    paid = np.full(n, far, np.int64)
    np.minimum.at(paid, claim, columns["paid_day"])
    facility = least(
        np.where(columns["facility_npi"] > 0, columns["facility_npi"], columns["billing_npi"]), 0
    )
    made = {
        "admission_day": admission,
        "discharge_day": discharge,
        "paid_day": paid,
        "facility_npi": facility,
        "disposition": least(columns["disposition"], 255),
    }
    names = ("disposition", "facility_npi", "paid_day", "discharge_day", "admission_day")
    order = np.lexsort((*(made[name] for name in names), member))
    return (
        record(tables.STAYS, {name: values[order] for name, values in made.items()}),
        count_by_member(member, n_members),
    )


def drugs(
    kept: list[Kept], rules: Rules, n_members: int
) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """Unique drug code and day of a member: NDC of pharmacy lines, drug HCPCS of medical ones."""
    member, system, code, day, paid = [], [], [], [], []
    for part in kept:
        is_drug = tables.SOURCE_TABLES[part.table] == "pharmacy_claim"
        source = part.columns["ndc" if is_drug else "hcpcs"]
        rows = np.flatnonzero(source > 0 if is_drug else rules.facts.drug[source])
        member.append(part.member[rows])
        system.append(np.full(len(rows), 0 if is_drug else 1, np.uint8))
        code.append(source[rows])
        day.append(part.columns["service_day"][rows])
        paid.append(part.columns["paid_day"][rows])
    columns = {
        "system": _gather(system),
        "code": _gather(code),
        "day": _gather(day),
        "paid_day": _gather(paid),
    }
    who = _gather(member)
    both = columns["code"] | (columns["system"].astype(np.int32) << (_CODE_BITS - 1))
    keep, columns["paid_day"] = _earliest((who, both, columns["day"]), columns["paid_day"])
    for name in ("system", "code", "day"):
        columns[name] = columns[name][keep]
    return record(tables.DRUGS, columns), count_by_member(who[keep], n_members)


def scores(
    raw: Raw, members: Members, rules: Rules, notes: dict[str, int]
) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """Supplied scores of known members, by year, model, cell."""
    columns = raw.numbers
    n = len(members.key)
    place = np.minimum(np.searchsorted(members.key, columns["member_key"]), max(n - 1, 0))
    known = members.key[place] == columns["member_key"] if n else np.zeros(raw.n, bool)
    if not known.all():
        notes["risk scores of members without enrolment, left out"] = int((~known).sum())
    made = {
        "member": place[known].astype(np.int64),
        "year": columns["year"][known],
        "model": rules.final_code["risk_model"][columns["model"][known]],
        "cell": rules.final_code["risk_cell"][columns["cell"][known]],
        "score_micro": columns["score_micro"][known],
    }
    names = ("member", "year", "model", "cell", "score_micro")
    order = np.lexsort([made[name] for name in reversed(names)])
    made = {name: values[order] for name, values in made.items()}
    same = np.ones(max(len(order) - 1, 0), bool)
    for name in names:
        same &= made[name][1:] == made[name][:-1]
    keep = np.r_[len(order) > 0, ~same] if len(order) else np.zeros(0, bool)
    if same.any():
        notes["risk scores stated twice alike"] = int(same.sum())
    made = {name: values[keep] for name, values in made.items()}
    return record(tables.SCORES, made), count_by_member(made["member"], n)


def _earliest(
    keys: tuple[NDArray[Any], ...], paid: NDArray[np.int32]
) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """First row of each distinct key in order of the keys, and the least paid day of its rows."""
    if not len(paid):
        return np.empty(0, np.intp), paid
    member, *middle, day = keys
    packed = member.astype(np.uint64)
    for values in middle:
        packed = (packed << np.uint64(_CODE_BITS)) | values.astype(np.uint64)
    packed = (packed << np.uint64(_DAY_BITS)) | (day.astype(np.int64) + _DAY_BIAS).astype(np.uint64)
    order = np.argsort(packed)
    ordered = packed[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    return order[starts], np.minimum.reduceat(paid[order], starts)


def _gather(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, np.int32)
