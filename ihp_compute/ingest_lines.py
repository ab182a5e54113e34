"""Retained claim rows of a shard as population tables: lines, diagnoses, visits, stays, drugs.

    claim rows of every table -> what each says (`sort_out`) -> retained lines in their order

Rows stay where they were spilled until their order is known, so that each column moves once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute import tables
from ihp_compute.ingest_columns import (
    CODED,
    Columns,
    Lists,
    Raw,
    Rules,
    count_by_member,
    record,
)
from ihp_compute.ingest_fates import Fates, any_of
from ihp_compute.ingest_members import Members
from ihp_compute.ingest_typed import Space
from ihp_compute.ledger import IngestFate
from ihp_compute.orders import WORD_BITS, fields, order_by, packed, width
from ihp_compute.service_categories import CLAIM_TYPES, CodeFacts, LineFacts, classify
from ihp_compute.units import NO_DAY
from kernels import first_row, key_place, least_words, list_words, row_pick

MAX_MEMBERS: Final = 1 << 22
"""Members of one shard that a word with a code and a day has room for."""
_HASH_BITS: Final = 8


@dataclass(frozen=True)
class Sorted:
    """What the rows of one table say, and their fates.

    category, flags : uint8
    admitted : bool, the row's claim is a stay
    """

    fates: Fates
    category: NDArray[np.uint8]
    flags: NDArray[np.uint8]
    admitted: NDArray[np.bool_]


def sort_out(raw: Raw, fates: Fates, table: str, rules: Rules) -> Sorted:
    """Category and flags of each row of one table, from what retained rows of its claim say."""
    flags = raw.numbers["blank_amount"].astype(np.uint8) * np.uint8(tables.LINE_BLANK_AMOUNT)
    if table != "medical_claim":
        pharmacy = np.full(raw.n, tables.SERVICE_CATEGORIES.index("pharmacy"), np.uint8)
        return Sorted(fates, pharmacy, flags, np.zeros(raw.n, bool))
    columns, facts, claim = raw.numbers, rules.spilled_facts, fates.claim
    retained = fates.fate == IngestFate.RETAINED
    inpatient, admitted = _acute(columns, claim, retained, facts)
    urgent = row_pick(facts.emergency_revenue, None, columns["revenue"])
    urgent |= row_pick(facts.emergency_procedure, None, columns["hcpcs"])
    urgent &= retained
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
    # a visit is a claim's lines of one day
    rows = np.flatnonzero(emergency_claim)
    day = raw.numbers["service_day"][rows].astype(np.int64).view(np.uint64)
    visit = first_row(day, claim[rows].view(np.uint64))
    flags[rows[any_of(visit, urgent[rows])]] |= np.uint8(tables.LINE_ED)
    flags |= inpatient.view(np.uint8) * np.uint8(tables.LINE_INPATIENT)
    return Sorted(fates, category, flags, admitted)


def _acute(
    columns: Columns, claim: NDArray[np.int64], retained: NDArray[np.bool_], facts: CodeFacts
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Lines of acute inpatient claims, and of those that are a stay.

    By bill type (11x, 41x are stays; 12x is inpatient without one); an institutional claim without
    a bill type is a stay when it has an admission date and a DRG or a room-and-board line.
    """
    kind, bill = columns["claim_type"], columns["bill_type"]
    unbilled = (kind == 0) | (kind == CLAIM_TYPES.index("institutional"))
    unbilled &= bill == 0
    unbilled &= columns["admission_day"] != NO_DAY
    unbilled &= columns["has_drg"] | row_pick(facts.room_and_board, None, columns["revenue"])
    admitted = any_of(claim, (unbilled | row_pick(facts.admitted_bill, None, bill)) & retained)
    inpatient = any_of(claim, row_pick(facts.inpatient_bill, None, bill) & retained)
    inpatient |= admitted
    return inpatient, admitted


@dataclass(frozen=True)
class Lines:
    """Retained lines of all tables, by member, service day, then row hash.

    raw : spilled rows of all tables, medical ones first
    n_medical : how many are medical
    rows : int32, the spilled row of each line
    member : int32, the place of each line's member
    retained : bool, of each spilled row
    of_row : of each spilled row: member, category, flags, admitted, claim
    """

    raw: Raw
    rules: Rules
    n_medical: int
    rows: NDArray[np.int32]
    member: NDArray[np.int32]
    retained: NDArray[np.bool_]
    of_row: Columns
    space: Space
    _taken: Columns = field(default_factory=dict)

    def column(self, name: str) -> NDArray[Any]:
        """A column of the lines, codes final; taken once."""
        found = self._taken.get(name)
        if found is None:
            source = self.of_row.get(name)
            if source is None:
                source = self.raw.passing(name)
            final = self.rules.final_code[CODED[name]] if name in CODED else None
            found = self._taken[name] = self._picked(name, source, final)
        return found

    def _picked(
        self, name: str, source: NDArray[Any], final: NDArray[np.int32] | None = None
    ) -> NDArray[Any]:
        values, index = (source, None) if final is None else (final, source)
        out = self.space.array(f"lines.{name}", len(self.rows), values.dtype)
        picked: NDArray[Any] = row_pick(values, index, self.rows, out)
        return picked

    def hashes(self, name: str) -> NDArray[np.uint64]:
        """`fingerprint.text_hashes` of a text column of `line_detail`."""
        return self._picked(f"{name} hashes", self.raw.hashes[name])

    def some(self, name: str, at: NDArray[np.intp]) -> NDArray[Any]:
        """A column of a few of the lines, codes final."""
        if name in self._taken:
            return self._taken[name][at]
        found = self.raw.passing(name)[self.rows[at]]
        return self.rules.final_code[CODED[name]].take(found) if name in CODED else found

    def tables(self, n_members: int) -> tuple[pa.RecordBatch, pa.RecordBatch, NDArray[np.int64]]:
        """`lines`, `line_detail`, and the number of lines of each member."""
        lines = record(
            tables.LINES,
            {
                field.name: (self.rows >= self.n_medical)
                if field.name == "table"
                else self.column(field.name)
                for field in tables.LINES
            },
        )
        detail = pa.RecordBatch.from_arrays(
            [
                self.raw.some_texts(self.rows, field.name)
                if pa.types.is_string(field.type)
                else pa.array(self.column(field.name), field.type)
                for field in tables.LINE_DETAIL
            ],
            schema=tables.LINE_DETAIL,
        )
        return lines, detail, count_by_member(self.member, n_members)


def lines_of(raw: Raw, parts: list[Sorted], rules: Rules, space: Space) -> Lines:
    """Retained lines of the spilled rows, whose tables stand one after another."""
    of_row: Columns = {
        "member": np.concatenate([part.fates.member for part in parts]),
        "category": np.concatenate([part.category for part in parts]),
        "flags": np.concatenate([part.flags for part in parts]),
        "admitted": np.concatenate([part.admitted for part in parts]),
        "claim": parts[0].fates.claim,
    }
    retained = np.concatenate([part.fates.fate for part in parts]) == IngestFate.RETAINED
    rows = np.flatnonzero(retained).astype(np.int32)
    member, day, hashed = (
        row_pick(values, None, rows)
        for values in (of_row["member"], raw.numbers["service_day"], raw.numbers["hash_1"])
    )
    hashed >>= np.uint64(64 - _HASH_BITS)
    order, fresh = order_by(member, day, hashed)
    order = order.astype(np.int32)
    rows, member = row_pick(rows, None, order), row_pick(member, None, order)
    _settle_ties(rows, fresh, tuple(raw.numbers[name] for name in ("hash_1", "hash_2", "file")))
    n_medical = len(parts[0].category)
    return Lines(raw, rules, n_medical, rows, member, retained, of_row, space)


def _settle_ties(
    rows: NDArray[Any], fresh: NDArray[np.bool_], columns: tuple[NDArray[Any], ...]
) -> None:
    """Order rows that stand alike so far by further columns, in place."""
    tie = np.flatnonzero(~fresh)
    if len(tie):
        at = np.union1d(tie, tie - 1)
        group = np.cumsum(fresh[at])
        tied = rows[at]
        rows[at] = tied[np.lexsort((*(c[tied] for c in reversed(columns)), group))]


def diagnoses(lines: Lines, n_members: int) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """Unique diagnosis and day of each member, with the earliest paid day that carries it."""
    raw, retained = lines.raw, lines.retained
    if not len(lines.rows):
        return record(tables.DIAGNOSES, _NO_PAIRS), np.zeros(n_members, np.int64)
    # rows put aside go behind the last member
    member = np.where(retained, lines.of_row["member"], n_members)
    day = np.where(retained, raw.numbers["service_day"], lines.column("service_day")[0])
    paid, blank = _blank_before(raw.numbers["paid_day"])
    found = _earliest_pairs(member, day, paid, raw.lists["dx"], lines.rules.final_code["dx"])
    stop = np.searchsorted(found["member"], n_members)
    made = {name: values[:stop] for name, values in found.items()}
    made["paid_day"][made["paid_day"] == blank] = NO_DAY
    return record(tables.DIAGNOSES, made), count_by_member(made["member"], n_members)


def _blank_before(paid: NDArray[np.int32]) -> tuple[NDArray[np.int32], int]:
    """Paid days whose blank is a day before all stated ones, and that day."""
    stated = paid != NO_DAY
    if stated.all():
        return paid, NO_DAY
    first = int(paid.min(where=stated, initial=np.iinfo(np.int32).max)) - 1
    return np.where(stated, paid, np.int32(first)), first


def _earliest_pairs(
    member: NDArray[np.int32],
    day: NDArray[np.int32],
    paid: NDArray[np.int32],
    lists: Lists,
    final: NDArray[np.int32],
) -> Columns:
    """Distinct member, diagnosis and day in order, and the least paid day of each.

    member, day, paid and lists are of rows; final gives the diagnosis of each code listed.
    """
    ranges = [(values.min(), values.max()) for values in (member, day, paid)]
    made = fields(ranges[0], (0, len(final)), *ranges[1:])
    names = ("member", "dx", "day", "paid_day")
    if width(made) > WORD_BITS:
        n_codes = np.diff(lists.starts)
        dx = final.take(lists.codes[lists.starts[0] : lists.starts[-1]])
        pairs = (member.repeat(n_codes), dx, day.repeat(n_codes), paid.repeat(n_codes))
        order, fresh = order_by(*pairs, kind=3)
        order = order[fresh]
        return {name: values[order] for name, values in zip(names, pairs, strict=True)}
    rows = packed((made[0], made[2], made[3]), (member, day, paid))
    parts = packed((made[1],), (final,))
    words = list_words(rows, lists.starts, lists.codes, parts)
    words = least_words(words, width(made), made[2].shift)
    return {name: part.values(words) for name, part in zip(names, made, strict=True)}


_NO_PAIRS: Final = {name: np.empty(0, np.int32) for name in ("dx", "day", "paid_day")}


def visits(lines: Lines, n_members: int) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """Lines that can attribute: visit codes outside hospital, emergency and laboratory places."""
    facts = lines.rules.facts
    kind = row_pick(facts.visit_class, None, lines.column("hcpcs"))
    at = np.flatnonzero(kind)
    at = at[lines.rows[at] < lines.n_medical]
    kind = kind[at]
    hospital = lines.column("flags")[at] & (tables.LINE_INPATIENT | tables.LINE_ED) != 0
    elsewhere = facts.no_visit_place[lines.column("place_of_service")[at]] | hospital
    counted = (kind == tables.VISIT_CLASSES.index("health_care_home")) | ~elsewhere
    at, kind = at[counted], kind[counted]
    member = lines.member[at]
    picked = {
        "day": lines.column("service_day")[at],
        "paid_day": lines.column("paid_day")[at],
        "rendering_npi": lines.column("rendering_npi")[at],
        "billing_npi": lines.column("billing_npi")[at],
        "tin": lines.some("tin", at),
        "class": kind,
    }
    order = np.arange(len(at))
    fresh = np.ones(len(at), bool)
    fresh[1:] = (member[1:] != member[:-1]) | (picked["day"][1:] != picked["day"][:-1])
    rest = ("paid_day", "rendering_npi", "billing_npi", "tin", "class")
    _settle_ties(order, fresh, tuple(picked[name] for name in rest))
    return (
        record(tables.VISITS, {name: values[order] for name, values in picked.items()}),
        count_by_member(member, n_members),
    )


def stays(lines: Lines, n_members: int) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """One row per acute inpatient claim: earliest admission, latest discharge, earliest payment."""
    at = np.flatnonzero(lines.column("admitted"))
    rows = lines.rows[at]
    columns = {name: lines.some(name, at) for name in _STAY_COLUMNS}
    _, claim = np.unique(lines.of_row["claim"][rows], return_inverse=True)
    n = int(claim.max(initial=-1)) + 1
    member = np.zeros(n, np.int64)
    member[claim] = lines.member[at]
    admission = _least(columns["admission_day"], NO_DAY, claim, n)
    start = _least(columns["claim_start_day"], NO_DAY, claim, n)
    admission = np.where(admission == NO_DAY, start, admission)
    discharge = np.full(n, NO_DAY, np.int64)
    np.maximum.at(discharge, claim, columns["discharge_day"])
    end = np.full(n, NO_DAY, np.int64)
    np.maximum.at(end, claim, columns["claim_end_day"])
    discharge = np.where(discharge == NO_DAY, end, discharge)
    paid = np.full(n, np.iinfo(np.int32).max, np.int64)
    np.minimum.at(paid, claim, columns["paid_day"])
    facility = np.where(
        columns["facility_npi"] > 0, columns["facility_npi"], columns["billing_npi"]
    )
    made = {
        "admission_day": admission,
        "discharge_day": discharge,
        "paid_day": paid,
        "facility_npi": _least(facility, 0, claim, n),
        "disposition": _least(columns["disposition"], 255, claim, n),
    }
    names = ("disposition", "facility_npi", "paid_day", "discharge_day", "admission_day")
    order = np.lexsort((*(made[name] for name in names), member))
    return (
        record(tables.STAYS, {name: values[order] for name, values in made.items()}),
        count_by_member(member, n_members),
    )


def _least(values: NDArray[Any], blank: int, claim: NDArray[np.intp], n: int) -> NDArray[np.int64]:
    """The least stated value of each of n claims, `blank` where none is: int64[n].

    What stands for none is int64, whatever the values are: a Python integer beside an array takes
    the array's type, which may be too small for it.
    """
    none = np.iinfo(np.int64).max
    found = np.full(n, none)
    stated = np.flatnonzero(values != blank)
    np.minimum.at(found, claim[stated], values[stated])
    found[found == none] = blank
    return found


_STAY_COLUMNS: Final = (
    "admission_day", "claim_start_day", "discharge_day", "claim_end_day", "paid_day",
    "facility_npi", "billing_npi", "disposition",
)  # fmt: skip


def drugs(lines: Lines, n_members: int) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """Unique drug code and day of a member: NDC of pharmacy lines, drug HCPCS of medical ones."""
    medical = lines.rows < lines.n_medical
    hcpcs, ndc = lines.column("hcpcs"), lines.column("ndc")
    is_drug = row_pick(lines.rules.facts.drug, None, hcpcs)
    at = np.flatnonzero(np.where(medical, is_drug, ndc > 0))
    member, system = lines.member[at], medical[at].astype(np.uint8)
    made = {
        "system": system,
        "code": np.where(system, hcpcs[at], ndc[at]),
        "day": lines.column("service_day")[at],
        "paid_day": lines.column("paid_day")[at],
    }
    paid, _ = _blank_before(made["paid_day"])
    order, fresh = order_by(member, system, made["code"], made["day"], paid, kind=4)
    order = order[fresh]
    return (
        record(tables.DRUGS, {name: values[order] for name, values in made.items()}),
        count_by_member(member[order], n_members),
    )


def scores(
    raw: Raw, members: Members, rules: Rules, notes: dict[str, int]
) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """Supplied scores of known members, by year, model, cell."""
    columns = raw.numbers
    place = key_place(columns["member_key"], members.key)
    known = place >= 0
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
    order, fresh = order_by(*(made[name] for name in names))
    if not fresh.all():
        notes["risk scores stated twice alike"] = int((~fresh).sum())
    order = order[fresh]
    made = {name: values[order] for name, values in made.items()}
    return record(tables.SCORES, made), count_by_member(made["member"], len(members.key))
