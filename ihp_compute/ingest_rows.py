"""First pass: raw rows of one batch as typed columns, with what cannot be read marked.

    raw columns -> ids, codes, days, cents -> row hash -> rows in order of shard

Every row keeps its file and row number, and two 64-bit hashes of all its mapped columns: equal rows
have equal hashes whatever file they stand in. Codes are numbered as they are met; `CodeBook` sorts
them once all files are read. Nothing here needs another row; what does is in `ingest_shard`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute import rate_cells, tables
from ihp_compute.errors import DataError
from ihp_compute.final_action import INDICATORS, NOT_STATED, OPEN
from ihp_compute.fingerprint import RowHash, text_hashes, words_of
from ihp_compute.ingest_layout import LAYOUTS
from ihp_compute.ingest_read import (
    BAD_DAY,
    Cents,
    Text,
    as_text,
    flag_of_text,
    no_amounts,
    read_cents,
    read_days,
    read_text,
)
from ihp_compute.ledger import IngestFate
from ihp_compute.population import member_keys
from ihp_compute.service_categories import CLAIM_TYPES
from ihp_compute.units import NO_DAY

UNREADABLE: Final = int(IngestFate.UNREADABLE)
OPEN_END_YEAR: Final = 2100
_CLAIM_RANGES: Final = 64
_OPEN_END_DAY: Final = int(np.datetime64(f"{OPEN_END_YEAR}-01-01", "D").astype(int))
_FIRST_DAY: Final = int(np.datetime64("1850-01-01", "D").astype(int))

LINE_KIND_OF: Final = {
    "": 0, "1": 0, "A": 0, "U": 0, "2": 1, "B": 1, "V": 1, "3": 2, "C": 2, "W": 2,
    "4": 3, "D": 3, "X": 3, "5": 3, "E": 3, "Y": 3, "Z": 0,
}  # fmt: skip
"""TAF claim type: Medicaid 1-5, CHIP A-E, other programmes U-Y; as `tables.LINE_KINDS`. Z is a
denied claim and meets that fate."""

DENIAL_MARKS: Final = ("", "0", "1", "yes", "no")
"""What `x_clm_dnd_ind` can say; 0 and 1 are read once all rows are seen (`ingest`)."""

SPILLED_LINES: Final = pa.schema(
    [
        ("member_key", pa.uint64()), ("fate", pa.uint8()), ("reason", pa.string()),
        ("file", pa.uint16()), ("row", pa.int64()), ("hash_1", pa.uint64()),
        ("hash_2", pa.uint64()), ("claim_hash", pa.uint64()), ("line_hash", pa.uint64()),
        ("claim_id", pa.string()), ("claim_line_number", pa.string()),
        ("original_claim", pa.string()), ("adjustment_claim", pa.string()),
        ("service_day", pa.int32()), ("claim_start_day", pa.int32()), ("claim_end_day", pa.int32()),
        ("paid_day", pa.int32()), ("file_day", pa.int32()), ("admission_day", pa.int32()),
        ("discharge_day", pa.int32()), ("paid_cents", pa.int64()), ("allowed_cents", pa.int64()),
        ("third_party_cents", pa.int64()), ("blank_amount", pa.bool_()),
        ("indicator", pa.uint8()), ("denial", pa.uint8()), ("kind", pa.uint8()),
        ("claim_type", pa.uint8()), ("disposition", pa.uint8()), ("has_drg", pa.bool_()),
        ("hcpcs", pa.int32()), ("revenue", pa.int32()), ("bill_type", pa.int32()),
        ("place_of_service", pa.int32()), ("ndc", pa.int32()), ("rendering_npi", pa.int32()),
        ("billing_npi", pa.int32()), ("facility_npi", pa.int32()), ("tin", pa.int32()),
        ("dx", pa.list_(pa.int32())),
    ]
)  # fmt: skip
SPILLED_ELIGIBILITY: Final = pa.schema(
    [
        ("member_key", pa.uint64()), ("fate", pa.uint8()), ("reason", pa.string()),
        ("file", pa.uint16()), ("row", pa.int64()), ("hash_1", pa.uint64()),
        ("hash_2", pa.uint64()), ("member_id", pa.string()), ("start_day", pa.int32()),
        ("end_day", pa.int32()), ("file_day", pa.int32()), ("birth_day", pa.int32()),
        ("death_day", pa.int32()), ("sex", pa.uint8()), ("aid", pa.uint8()),
        ("managed", pa.uint8()), ("flags", pa.uint8()), ("dual_status", pa.uint8()),
        ("original_reason", pa.uint8()), ("plan", pa.int32()),
    ]
)  # fmt: skip
SPILLED_SCORES: Final = pa.schema(
    [
        ("member_key", pa.uint64()), ("year", pa.int16()), ("model", pa.int32()),
        ("score_micro", pa.int64()), ("cell", pa.int32()),
    ]
)  # fmt: skip


def distinct(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Distinct values in order. Sorting words is vectorised; `np.unique` hashes them, slower."""
    ordered = np.sort(values)
    return (
        ordered[np.r_[len(ordered) > 0, ordered[1:] != ordered[:-1]]] if len(ordered) else ordered
    )


class CodeBook:
    """Numbers codes in the order met, for all workers; then sorts them by their bytes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = {system: {"": 0} for system in tables.CODE_SYSTEMS}

    def numbers(self, system: str, codes: Sequence[str]) -> NDArray[np.int32]:
        """Provisional number of each code."""
        known = self._number[system]
        if any(code not in known for code in codes):
            with self._lock:
                for code in codes:
                    known.setdefault(code, len(known))
        return np.fromiter(map(known.__getitem__, codes), np.int32, count=len(codes))

    def sort(self) -> tuple[dict[str, pa.Array], dict[str, NDArray[np.int32]]]:
        """Sorted codes of every system, and the final number of each provisional one."""
        sorted_codes, final = {}, {}
        for system, known in self._number.items():
            ordered = sorted(known, key=str.encode)  # "" sorts first
            remap = np.empty(len(known), np.int32)
            remap[[known[code] for code in ordered]] = np.arange(len(known), dtype=np.int32)
            sorted_codes[system] = pa.array(ordered, pa.string())
            final[system] = remap
        return sorted_codes, final


class MemberBook:
    """The key of every member id met, computed once; stops when two ids have one key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: dict[str, int] = {}
        self._id: dict[int, str] = {}

    def keys(self, ids: Sequence[str]) -> NDArray[np.uint64]:
        """Key of each id; 0 for "".

        Raises
        ------
        DataError
            If another id has the same key.
        """
        new = [text for text in ids if text not in self._key]
        if new:
            found = member_keys(new).tolist()
            with self._lock:
                for text, key in zip(new, found, strict=True):
                    if self._id.setdefault(key, text) != text and text:
                        raise DataError(
                            "two member ids have one 64-bit key, so their claims cannot be told "
                            "apart. Prefix every id with a text of your own and ingest again."
                        )
                    self._key[text] = key if text else 0
        return np.fromiter(map(self._key.__getitem__, ids), np.uint64, count=len(ids))

    def id_of(self, key: int) -> str:
        """The id that has a key, "" if none was met."""
        return self._id.get(key, "")


@dataclass
class Tally:
    """What one file was found to hold in the first pass; sums of parts add up."""

    rows: int = 0
    paid_cents: int = 0
    blank_amounts: int = 0
    sub_cents: int = 0
    unreadable: int = 0
    last_day: int = NO_DAY
    claim_hashes: list[NDArray[np.uint64]] = field(default_factory=list)
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

    def distinct_claims(self) -> int:
        """How many different claim ids stand in the rows read, one range of hashes at a time."""
        edges = np.arange(1, _CLAIM_RANGES, dtype=np.uint64) * np.uint64(2**64 // _CLAIM_RANGES)
        cut = [np.split(hashes, np.searchsorted(hashes, edges)) for hashes in self.claim_hashes]
        return sum(len(distinct(np.concatenate(pieces))) for pieces in zip(*cut, strict=True))


class Rows:
    """One batch on its way in: hands out typed columns, hashes each, remembers what was bad."""

    def __init__(self, table: str, columns: Mapping[str, pa.Array], first_row: int) -> None:
        self.columns = columns
        self.n = len(next(iter(columns.values())))
        self.row = np.arange(first_row, first_row + self.n, dtype=np.int64)
        self.hash = RowHash(self.n)
        self.tally = Tally(rows=self.n, columns=dict.fromkeys(columns))
        self._left = [name for name in LAYOUTS[table].mapped if name in columns]
        self._bad: dict[int, str] = {}
        self._texts: dict[str, Text] = {}

    def text(self, name: str) -> Text:
        """A code or name, trimmed, as distinct values."""
        if name not in self.columns:
            return Text.blank(self.n)
        text = self._texts.get(name)
        if text is None:
            self._take(name)
            text = self._texts[name] = read_text(self.columns[name])
            self._hash_text(name, text)
        return text

    def strings(self, name: str) -> tuple[pa.Array, NDArray[np.uint64]]:
        """A column of mostly distinct texts, and the hash of each (0 for blank)."""
        if name not in self.columns:
            return pa.array([""] * self.n, pa.string()), np.zeros(self.n, np.uint64)
        if pa.types.is_dictionary(self.columns[name].type):
            text = self.text(name)
            words = text_hashes(pa.array(text.values, pa.string()))
            return text.array(), text.take(words)
        self._take(name)
        array = as_text(self.columns[name])
        if pa.types.is_large_string(array.type):
            array = array.cast(pa.string())
        words = text_hashes(array)
        self.hash.add(name, words)
        return array, words

    def days(self, name: str) -> NDArray[np.int32]:
        """A date column; what is not a date is marked and becomes blank."""
        if name not in self.columns:
            return np.full(self.n, NO_DAY, np.int32)
        self._take(name)
        days = read_days(self.columns[name])
        bad = days == BAD_DAY
        if bad.any():
            self.mark(np.flatnonzero(bad), f"{name} is not a date", name)
            days = np.where(bad, np.int32(NO_DAY), days)
        self._hash_days(name, days)
        return days

    def cents(self, name: str) -> Cents:
        """A dollar column; what is not an amount is marked and becomes zero."""
        if name not in self.columns:
            return no_amounts(self.n)
        self._take(name)
        read = read_cents(self.columns[name])
        self.mark(np.flatnonzero(read.bad), f"{name} is not an amount", name)
        self.tally.sub_cents += int(read.sub_cent.sum())
        words = words_of(np.where(read.blank, 0, read.cents * 2 + 1))
        self.hash.add(name, words)
        return read

    def codes(self, name: str, system: str, book: CodeBook) -> NDArray[np.int32]:
        """Provisional numbers of a code column."""
        text = self.text(name)
        return text.take(book.numbers(system, text.values))

    def lookup(self, name: str, of: Mapping[str, int], default: int) -> NDArray[np.uint8]:
        """A small code through a table; upper case, codes not in it give `default`."""
        text = self.text(name)
        return text.take(np.array([of.get(v.upper(), default) for v in text.values], np.uint8))

    def flag(self, name: str) -> NDArray[np.bool_]:
        """A yes-no column; blank and unknown are no."""
        text = self.text(name)
        return text.take(np.array([flag_of_text(value) == 1 for value in text.values], bool))

    def member_ids(self) -> Text:
        """`person_id`, else `member_id`, row by row. Both are content and are hashed."""
        person, member = self.text("person_id"), self.text("member_id")
        if person.is_blank or not (person.index == 0).any() or member.is_blank:
            return member if person.is_blank else person
        place = {value: k for k, value in enumerate(person.values)}
        remap = np.array([place.setdefault(v, len(place)) for v in member.values], np.int32)
        return Text(list(place), np.where(person.index == 0, remap[member.index], person.index))

    def mark(self, rows: NDArray[np.intp], reason: str, column: str = "") -> None:
        """Set rows aside as unreadable; the first reason stands, with the value as written."""
        raw = self.columns.get(column) if column else None
        for row in rows.tolist():
            if row not in self._bad:
                value = "" if raw is None else f": {as_text(raw.slice(row, 1))[0].as_py()!r}"
                self._bad[row] = reason + value

    def finish(self) -> tuple[NDArray[np.uint64], NDArray[np.uint8], pa.Array]:
        """Hash the mapped columns nobody asked for; hashes, fates and reasons."""
        for name in list(self._left):
            if name.endswith(("_amount", "_amt")):
                self._hash_amount(name)
            else:
                self.text(name)
        fate = np.full(self.n, OPEN, np.uint8)
        rows = sorted(self._bad)
        fate[rows] = UNREADABLE
        self.tally.unreadable = len(rows)
        reason = pa.nulls(self.n, pa.string())
        if rows:
            reasons = [None] * self.n
            for row, text in self._bad.items():
                reasons[row] = text  # type: ignore[call-overload]
            reason = pa.array(reasons, pa.string())
        return self.hash.finish(), fate, reason

    def _take(self, name: str) -> None:
        if name in self._left:
            self._left.remove(name)

    def _hash_days(self, name: str, days: NDArray[np.int32]) -> None:
        """Days as words from 1, blank as 0."""
        self.hash.add(name, words_of(days.astype(np.int64) - NO_DAY))

    def _hash_amount(self, name: str) -> None:
        """An amount that the population does not keep: only its value counts, readable or not."""
        read = read_cents(self.columns[name])
        if read.bad.any():
            self.text(name)
        elif not read.blank.all():
            self.hash.add(name, words_of(np.where(read.blank, 0, read.cents * 2 + 1)))

    def _hash_text(self, name: str, text: Text) -> None:
        if text.is_blank:
            return
        words = text_hashes(pa.array(text.values, pa.string()))
        words[0] = 0
        self.hash.add_coded(name, text.index, words)


def _first_stated(*days: NDArray[np.int32]) -> NDArray[np.int32]:
    found = days[0]
    for other in days[1:]:
        found = np.where(found == NO_DAY, other, found)
    return found


def read_lines(
    table: str,
    columns: Mapping[str, pa.Array],
    first_row: int,
    file_index: int,
    members: MemberBook,
    codes: CodeBook,
) -> tuple[pa.RecordBatch, Tally]:
    """A batch of claim lines as `SPILLED_LINES`.

    Unreadable: no member id, no claim id, no service date, a date or an amount that cannot be read,
    an unknown claim type (`x_clm_type_cd`). A blank amount is zero and counted.
    """
    rows = Rows(table, columns, first_row)
    n = rows.n
    ids = rows.member_ids()
    key = ids.take(members.keys(ids.values))
    claim_id, claim_hash = rows.strings("claim_id")
    line, line_hash = rows.strings("claim_line_number")
    paid = rows.cents("paid_amount")
    allowed, third_party = rows.cents("allowed_amount"), rows.cents("x_tpl_amt")
    paid_day, file_day = rows.days("paid_date"), rows.days("file_date")
    no_day = np.full(n, NO_DAY, np.int32)
    if table == "medical_claim":
        start, end = rows.days("claim_start_date"), rows.days("claim_end_date")
        line_start, line_end = rows.days("claim_line_start_date"), rows.days("claim_line_end_date")
        admission, discharge = rows.days("admission_date"), rows.days("discharge_date")
        service = _first_stated(line_start, start)
        claim_start = _first_stated(start, line_start)
        claim_end = _first_stated(end, line_end, claim_start)
        service_column = "claim_line_start_date and claim_start_date"
        npi = [
            rows.codes(f"{who}_npi", "npi", codes) for who in ("rendering", "billing", "facility")
        ]
        tin = [rows.codes(f"{who}_tin", "tin", codes) for who in ("rendering", "billing")]
        claim_type = rows.lookup(
            "claim_type", {name.upper(): k for k, name in enumerate(CLAIM_TYPES)}, 0
        )
        disposition = rows.text("discharge_disposition_code")
        coded = {
            "claim_type": claim_type,
            "disposition": disposition.take(
                np.array([_small(value) for value in disposition.values], np.uint8)
            ),
            "has_drg": rows.text("drg_code").index > 0,
            "hcpcs": _upper_codes(rows, "hcpcs_code", "hcpcs", codes),
            "revenue": rows.codes("revenue_center_code", "revenue", codes),
            "bill_type": rows.codes("bill_type_code", "bill_type", codes),
            "place_of_service": rows.codes("place_of_service_code", "place_of_service", codes),
            "ndc": np.zeros(n, np.int32),
            "rendering_npi": npi[0],
            "billing_npi": npi[1],
            "facility_npi": npi[2],
            "tin": np.where(tin[0] > 0, tin[0], tin[1]),
        }
    else:
        service = claim_start = claim_end = rows.days("dispensing_date")
        service_column = "dispensing_date"
        admission = discharge = no_day
        nothing = np.zeros(n, np.int32)
        coded = {
            "claim_type": np.full(n, CLAIM_TYPES.index("pharmacy"), np.uint8),
            "disposition": np.full(n, 255, np.uint8),
            "has_drg": np.zeros(n, bool),
            "hcpcs": nothing,
            "revenue": nothing,
            "bill_type": nothing,
            "place_of_service": nothing,
            "ndc": rows.codes("ndc_code", "ndc", codes),
            "rendering_npi": rows.codes("prescribing_provider_npi", "npi", codes),
            "billing_npi": rows.codes("dispensing_provider_npi", "npi", codes),
            "facility_npi": nothing,
            "tin": nothing,
        }
    dx = _diagnoses(rows, codes) if table == "medical_claim" else _no_lists(n)
    kind = rows.lookup("x_clm_type_cd", LINE_KIND_OF, 255)
    indicator = rows.lookup("x_adjstmt_ind", {c: int(c) for c in INDICATORS}, NOT_STATED)
    original, adjustment = rows.text("x_orgnl_clm_num"), rows.text("x_adjstmt_clm_num")
    denial = rows.text("x_clm_dnd_ind")
    marks = np.array([_denial_mark(value) for value in denial.values], np.uint8)
    denied = denial.take(marks)
    denied[rows.lookup("x_clm_type_cd", {"Z": 1}, 0) == 1] = DENIAL_MARKS.index("yes")

    rows.mark(np.flatnonzero(key == 0), "no member id")
    rows.mark(np.flatnonzero(claim_hash == 0), "no claim_id")
    rows.mark(np.flatnonzero(service == NO_DAY), f"no {service_column}")
    rows.mark(
        np.flatnonzero((service != NO_DAY) & ((service < _FIRST_DAY) | (service >= _OPEN_END_DAY))),
        "service date before 1850 or after 2099",
    )
    rows.mark(np.flatnonzero(kind == 255), "unknown claim type", "x_clm_type_cd")
    hashes, fate, reason = rows.finish()
    readable = fate == OPEN
    # a line without a number cannot be a version of another: its own content is its number
    line_hash = np.where(line_hash == 0, hashes[0] | np.uint64(1), line_hash)

    tally = rows.tally
    tally.paid_cents = int(paid.cents.sum())
    tally.blank_amounts = int(paid.blank.sum())
    stated = claim_hash[claim_hash != 0]
    if len(stated):
        tally.claim_hashes = [distinct(stated[np.r_[True, stated[1:] != stated[:-1]]])]
    counted = np.bincount(denied, minlength=len(DENIAL_MARKS))
    tally.denials = Counter(dict(zip(DENIAL_MARKS, counted.tolist(), strict=True)))
    unknown_mark = (indicator == NOT_STATED) & (rows.text("x_adjstmt_ind").index > 0)
    if unknown_mark.any():
        tally.notes["lines with an unknown x_adjstmt_ind, read as not stated"] = int(
            unknown_mark.sum()
        )
    timely = readable & ((paid_day == NO_DAY) | (paid_day >= service))
    tally.last_day = int(service[timely].max(initial=NO_DAY))

    arrays: dict[str, Any] = {
        "member_key": key,
        "fate": fate,
        "reason": reason,
        "file": np.full(n, file_index, np.uint16),
        "row": rows.row,
        "hash_1": hashes[0],
        "hash_2": hashes[1],
        "claim_hash": claim_hash,
        "line_hash": line_hash,
        "claim_id": claim_id,
        "claim_line_number": line,
        "original_claim": original.array(blank=None),
        "adjustment_claim": adjustment.array(blank=None),
        "service_day": service,
        "claim_start_day": claim_start,
        "claim_end_day": claim_end,
        "paid_day": paid_day,
        "file_day": file_day,
        "admission_day": admission,
        "discharge_day": discharge,
        "paid_cents": paid.cents,
        "allowed_cents": allowed.cents,
        "third_party_cents": third_party.cents,
        "blank_amount": paid.blank,
        "indicator": indicator,
        "denial": denied,
        "kind": kind,
        "dx": dx,
        **coded,
    }
    return _batch(arrays, SPILLED_LINES), tally


def read_eligibility(
    columns: Mapping[str, pa.Array],
    first_row: int,
    file_index: int,
    members: MemberBook,
    codes: CodeBook,
) -> tuple[pa.RecordBatch, Tally]:
    """A batch of enrolment rows as `SPILLED_ELIGIBILITY`.

    Unreadable: no member id, no start date, a date that cannot be read, an end before the start. A
    blank end, or one in 2100 or later, is open. Dual: CMS dual status 01-06 and 08; partial
    benefit: 01, 03, 05, 06 or the flag. 09 and 10 are entitled to Medicare outside full Medicaid
    and are stored, but set no flag.
    """
    rows = Rows("eligibility", columns, first_row)
    ids = rows.member_ids()
    key = ids.take(members.keys(ids.values))
    start, end = rows.days("enrollment_start_date"), rows.days("enrollment_end_date")
    birth, death = rows.days("birth_date"), rows.days("death_date")
    file_day = rows.days("file_date")
    end = np.where(end >= _OPEN_END_DAY, np.int32(NO_DAY), end)
    sex = rows.lookup("gender", {"F": 1, "FEMALE": 1, "2": 1, "M": 2, "MALE": 2, "1": 2}, 0)
    dual_text = rows.text("dual_status_code")
    dual = dual_text.take(np.array([_dual(value) for value in dual_text.values], np.uint8))
    reason_text = rows.text("original_reason_entitlement_code")
    original = reason_text.take(
        np.array([_small(v) if _small(v) <= 3 else 255 for v in reason_text.values], np.uint8)
    )
    aid_text = rows.text("x_elgblty_grp_cd")
    aid = aid_text.take(np.array([rate_cells.aid_code(v) for v in aid_text.values], np.uint8))
    payer_type, payer = rows.text("payer_type"), rows.text("payer")
    plan, plan_id = rows.text("plan"), rows.text("x_mc_plan_id")
    by_type = rows.text("x_mc_plan_type_cd")
    plan_type = by_type.take(
        np.array([rate_cells.is_managed_plan_type(v) for v in by_type.values], np.uint8)
    )
    named = np.zeros(rows.n, bool)
    for text in (payer_type, plan):
        named |= text.take(np.array([rate_cells.names_managed_care(v) for v in text.values], bool))
    has_plan_id = plan_id.take(np.array([bool(v.strip("089")) for v in plan_id.values], bool))
    managed = np.where(plan_type == 255, has_plan_id | named, plan_type).astype(np.uint8)
    plan_code = _coalesce(
        *(text.take(codes.numbers("plan", text.values)) for text in (plan_id, plan, payer))
    )
    is_medicaid = payer_type.take(
        np.array(["medicaid" in value.lower() for value in payer_type.values], bool)
    ) | payer.take(np.array(["medicaid" in value.lower() for value in payer.values], bool))
    dual_flag = np.isin(dual, (1, 2, 3, 4, 5, 6, 8))
    partial = np.isin(dual, (1, 3, 5, 6)) | rows.flag("x_partial_benefit_flag")
    medicaid = rows.flag("medicaid_indicator") | is_medicaid | (aid > 0) | dual_flag
    flags = (
        dual_flag * tables.SPAN_DUAL
        + rows.flag("x_spenddown_flag") * tables.SPAN_SPEND_DOWN
        + partial * tables.SPAN_PARTIAL_BENEFIT
        + rows.flag("long_term_institutional_flag") * tables.SPAN_LONG_TERM_INSTITUTION
        + medicaid * tables.SPAN_MEDICAID
    ).astype(np.uint8)
    rows.mark(np.flatnonzero(key == 0), "no member id")
    rows.mark(np.flatnonzero(start == NO_DAY), "no enrollment_start_date")
    rows.mark(np.flatnonzero((end != NO_DAY) & (end < start)), "enrolment ends before it starts")
    rows.mark(
        np.flatnonzero((start != NO_DAY) & ((start < _FIRST_DAY) | (start >= _OPEN_END_DAY))),
        "enrolment starts before 1850 or after 2099",
    )
    hashes, fate, reason = rows.finish()
    readable = fate == OPEN
    tally = rows.tally
    tally.last_day = int(np.maximum(start, end)[readable].max(initial=NO_DAY))
    for what, count in (
        ("open-ended enrolment rows", int((readable & (end == NO_DAY)).sum())),
        ("enrolment rows without a birth date", int((readable & (birth == NO_DAY)).sum())),
    ):
        if count:
            tally.notes[what] = count
    arrays: dict[str, Any] = {
        "member_key": key,
        "fate": fate,
        "reason": reason,
        "file": np.full(rows.n, file_index, np.uint16),
        "row": rows.row,
        "hash_1": hashes[0],
        "hash_2": hashes[1],
        "member_id": pa.array(ids.values, pa.string()).take(pa.array(ids.index)),
        "start_day": start,
        "end_day": end,
        "file_day": file_day,
        "birth_day": birth,
        "death_day": death,
        "sex": sex,
        "aid": aid,
        "managed": managed,
        "flags": flags,
        "dual_status": dual,
        "original_reason": original,
        "plan": plan_code,
    }
    return _batch(arrays, SPILLED_ELIGIBILITY), tally


def read_scores(
    columns: Mapping[str, pa.Array],
    first_row: int,
    file_name: str,
    members: MemberBook,
    codes: CodeBook,
) -> tuple[pa.RecordBatch, Tally]:
    """A batch of supplied risk scores as `SPILLED_SCORES`; score in millionths, half to even.

    Raises
    ------
    DataError
        Naming the first row whose member id, year, model or score is missing or unreadable.
    """
    rows = Rows("risk_score", columns, first_row)
    ids = rows.member_ids()
    key = ids.take(members.keys(ids.values))
    year_text = rows.text("year")
    year = year_text.take(np.array([_year(value) for value in year_text.values], np.int16))
    model = rows.codes("model", "risk_model", codes)
    cell = rows.codes("cell", "risk_cell", codes)
    score = read_cents(columns["score"], places=6)
    unread = score.bad | score.blank | (score.cents < 0)
    wrong = np.flatnonzero((key == 0) | (year < 0) | (model == 0) | unread)
    if len(wrong):
        raise DataError(
            f"{file_name}, data row {rows.row[wrong[0]]:,}: a risk score needs a member id, "
            f"a year, a model and a decimal score ({len(wrong):,} rows of this batch lack one)."
        )
    arrays = {
        "member_key": key,
        "year": year,
        "model": model,
        "score_micro": score.cents,
        "cell": cell,
    }
    return _batch(arrays, SPILLED_SCORES), rows.tally


def _diagnoses(rows: Rows, codes: CodeBook) -> pa.Array:
    """The distinct stated diagnosis codes of each line, upper case without the dot."""
    stated = []
    for k in range(1, 26):
        text = rows.text(f"diagnosis_code_{k}")
        if text.is_blank:
            continue
        cleaned = [value.upper().replace(".", "") for value in text.values]
        stated.append(text.take(codes.numbers("dx", cleaned)))
    if not stated:
        return _no_lists(rows.n)
    table = np.stack(stated, axis=1)
    present = table > 0
    offsets = np.zeros(rows.n + 1, np.int32)
    np.cumsum(present.sum(axis=1), out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(table[present]))


def _no_lists(n: int) -> pa.Array:
    return pa.ListArray.from_arrays(
        pa.array(np.zeros(n + 1, np.int32)), pa.array(np.empty(0, np.int32))
    )


def _upper_codes(rows: Rows, name: str, system: str, codes: CodeBook) -> NDArray[np.int32]:
    text = rows.text(name)
    return text.take(codes.numbers(system, [value.upper() for value in text.values]))


def _coalesce(*codes: NDArray[np.int32]) -> NDArray[np.int32]:
    found = codes[0]
    for other in codes[1:]:
        found = np.where(found > 0, found, other)
    return found


def _small(text: str) -> int:
    return int(text) if text.isdigit() and int(text) < 255 else 255


def _dual(text: str) -> int:
    return int(text) if text.isdigit() and int(text) <= 10 else 255


def _year(text: str) -> int:
    return int(text) if text.isdigit() and 1900 <= int(text) < 2200 else -1


def _denial_mark(text: str) -> int:
    if text in ("", "0", "1"):
        return DENIAL_MARKS.index(text)
    flag = flag_of_text(text)
    if flag == 255:
        return DENIAL_MARKS.index("yes") if text.upper() in ("D", "DENIED") else 0
    return DENIAL_MARKS.index("yes" if flag == 1 else "no")


def _batch(arrays: Mapping[str, Any], schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [
            value if isinstance(value, pa.Array) else pa.array(value, kind.type)
            for kind in schema
            for value in (arrays[kind.name],)
        ],
        schema=schema,
    )


def by_shard(batch: pa.RecordBatch, n_shards: int) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """The batch in order of shard, rows of a shard in their order, and where each shard starts."""
    key = batch.column("member_key").to_numpy()
    shard = (key % np.uint64(n_shards)).astype(np.uint16)
    starts = np.zeros(n_shards + 1, np.int64)
    np.cumsum(np.bincount(shard, minlength=n_shards), out=starts[1:])
    return batch.take(pa.array(np.argsort(shard, kind="stable"))), starts
