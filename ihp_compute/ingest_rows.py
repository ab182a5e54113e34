"""First pass: raw rows of one batch as typed columns, with what cannot be read marked.

    raw columns -> ids, codes, days, cents -> row hash -> rows in order of shard (`ingest_spill`)

Every row keeps its file and row number, and two 64-bit hashes of all its mapped columns: equal rows
have equal hashes whatever file they stand in. Codes are numbered as they are met; `CodeBook` sorts
them once all files are read. Nothing here needs another row; what does is in `ingest_shard`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute import rate_cells, tables
from ihp_compute.errors import DataError
from ihp_compute.final_action import INDICATORS, NOT_STATED, OPEN
from ihp_compute.fingerprint import RowHash, text_hashes
from ihp_compute.ingest_books import CodeBook, MemberBook, Tally
from ihp_compute.ingest_layout import LAYOUTS
from ihp_compute.ingest_read import (
    BAD_DAY,
    Cents,
    Text,
    Words,
    as_text,
    flag_of_text,
    no_amounts,
    read_cents,
    read_days,
    read_text,
)
from ihp_compute.ingest_typed import Coded, Column, Following, Stated
from ihp_compute.ledger import IngestFate
from ihp_compute.service_categories import CLAIM_TYPES
from ihp_compute.units import NO_DAY

UNREADABLE: Final = int(IngestFate.UNREADABLE)
OPEN_END_YEAR: Final = 2100
_OPEN_END_DAY: Final = int(np.datetime64(f"{OPEN_END_YEAR}-01-01", "D").astype(int))
_FIRST_DAY: Final = int(np.datetime64("1850-01-01", "D").astype(int))

LINE_KIND_OF: Final = {
    "": 0, "1": 0, "A": 0, "U": 0, "2": 1, "B": 1, "V": 1, "3": 2, "C": 2, "W": 2,
    "4": 3, "D": 3, "X": 3, "5": 3, "E": 3, "Y": 3, "Z": 0,
}  # fmt: skip
"""TAF claim type: Medicaid 1-5, CHIP A-E, other programmes U-Y; as `tables.LINE_KINDS`. Z is a
denied claim and meets that fate."""

_CLAIM_TYPE_OF: Final = {name.upper(): k for k, name in enumerate(CLAIM_TYPES)}
_INDICATOR_OF: Final = {code: int(code) for code in INDICATORS}
_SEX_OF: Final = {"F": 1, "FEMALE": 1, "2": 1, "M": 2, "MALE": 2, "1": 2}

DENIAL_MARKS: Final = ("", "0", "1", "yes", "no")
"""What `x_clm_dnd_ind` can say; 0 and 1 are read once all rows are seen (`ingest`)."""


class Rows:
    """One batch on its way in: hands out typed columns, hashes each, remembers what was bad."""

    def __init__(
        self,
        table: str,
        columns: Mapping[str, pa.Array],
        first_row: int,
        known: dict[str, Words] | None = None,
    ) -> None:
        self.columns = columns
        self.n = len(next(iter(columns.values())))
        self.first_row = first_row
        self.hash = RowHash(self.n)
        self.tally = Tally(rows=self.n, columns=dict.fromkeys(columns))
        self._known = {} if known is None else known
        self._left = dict.fromkeys(name for name in LAYOUTS[table].mapped if name in columns)
        self._bad: dict[int, str] = {}
        self._texts: dict[str, Text] = {}

    def text(self, name: str) -> Text:
        """A code or name, trimmed, as distinct values."""
        text = self._texts.get(name)
        if text is None:
            if name not in self.columns:
                text = Text.blank(self.n)
            else:
                self._left.pop(name, None)
                text = read_text(self.columns[name], self._known.get(name))
                if not text.is_blank:
                    self._known[name] = text.words
                    self.hash.add_coded(name, text.index, text.words.hashes)
            self._texts[name] = text
        return text

    def strings(self, name: str) -> Text | Following:
        """A column of mostly distinct texts."""
        if name not in self.columns or pa.types.is_dictionary(self.columns[name].type):
            return self.text(name)
        self._left.pop(name, None)
        array = as_text(self.columns[name])
        if pa.types.is_large_string(array.type):
            array = array.cast(pa.string())
        words = text_hashes(array)
        self.hash.add(name, words)
        return Following(array, words)

    def days(self, name: str) -> NDArray[np.int32]:
        """A date column; what is not a date is marked and becomes blank."""
        if name not in self.columns:
            return np.full(self.n, NO_DAY, np.int32)
        self._left.pop(name, None)
        days = read_days(self.columns[name])
        bad = days == BAD_DAY
        if bad.any():
            self.mark(np.flatnonzero(bad), f"{name} is not a date", name)
            days = np.where(bad, np.int32(NO_DAY), days)
        # words from 1, blank as 0
        self.hash.add(name, days.view(np.uint32) - np.array(NO_DAY, np.int32).view(np.uint32))
        return days

    def cents(self, name: str) -> Cents:
        """A dollar column; what is not an amount is marked and becomes zero."""
        if name not in self.columns:
            return no_amounts(self.n)
        self._left.pop(name, None)
        read = read_cents(self.columns[name])
        self.mark(np.flatnonzero(read.bad), f"{name} is not an amount", name)
        self.tally.sub_cents += int(np.count_nonzero(read.sub_cent))
        self._hash_cents(name, read)
        return read

    def read(self, name: str, what: str, of: Callable[[str], int], kind: type) -> Coded:
        """What a function says of each text; `what` names it among those asked of the column."""
        text = self.text(name)
        values = text.words.made(what, lambda: np.array([of(v) for v in text.values], kind))
        return Coded(values, text.index)

    def codes(self, name: str, system: str, book: CodeBook, clean: Any = None) -> Coded:
        """Provisional numbers of a code column, of what `clean` makes of each code."""
        text = self.text(name)

        def numbers() -> NDArray[np.int32]:
            return book.numbers(system, [clean(v) for v in text.values] if clean else text.values)

        return Coded(text.words.made(system, numbers), text.index)

    def lookup(self, name: str, what: str, of: Mapping[str, int], default: int) -> Coded:
        """A small code through a table; upper case, codes not in it give `default`."""
        return self.read(name, what, lambda text: of.get(text.upper(), default), np.uint8)

    def flag(self, name: str) -> NDArray[np.bool_]:
        """A yes-no column; blank and unknown are no."""
        return self.read(name, "flag", lambda text: flag_of_text(text) == 1, np.bool_).rows()

    def member_ids(self) -> Text:
        """`person_id`, else `member_id`, row by row. Both are content and are hashed."""
        person, member = self.text("person_id"), self.text("member_id")
        if person.is_blank or member.is_blank:
            return member if person.is_blank else person
        stated = person.stated()
        if stated.all():
            return person
        place = {value: k for k, value in enumerate(person.values[:-1])}
        remap = [place.setdefault(value, len(place)) for value in member.values[:-1]]
        remap.append(len(place))
        index = np.where(stated, person.index, np.array(remap, np.int32).take(member.index))
        return Text(Words(pa.array([*place, ""], pa.string())), index)

    def member_keys(self, book: MemberBook) -> tuple[Text, Coded]:
        """The member id of each row and its key, 0 where there is none."""
        ids = self.member_ids()
        return ids, Coded(ids.words.made("key", lambda: book.keys(ids.words.texts)), ids.index)

    def mark(self, rows: NDArray[np.intp], reason: str, column: str = "") -> None:
        """Set rows aside as unreadable; the first reason stands, with the value as written."""
        raw = self.columns.get(column) if column else None
        for row in rows.tolist():
            if row not in self._bad:
                value = "" if raw is None else f": {as_text(raw.slice(row, 1))[0].as_py()!r}"
                self._bad[row] = reason + value

    def finish(self) -> tuple[NDArray[np.uint64], NDArray[np.uint8], Stated | None]:
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
        if not rows:
            return self.hash.finish(), fate, None
        reasons: list[str | None] = [None] * self.n
        for row, text in self._bad.items():
            reasons[row] = text
        return self.hash.finish(), fate, Stated(read_text(pa.array(reasons, pa.string())))

    def _hash_amount(self, name: str) -> None:
        """An amount that the population does not keep: only its value counts, readable or not."""
        read = read_cents(self.columns[name])
        if read.bad.any():
            self.text(name)
        else:
            self._hash_cents(name, read)

    def _hash_cents(self, name: str, read: Cents) -> None:
        """Twice the cents and one, blank as 0."""
        words = read.cents * 2
        words += 1
        if read.blank.any():
            words[read.blank] = 0
        self.hash.add(name, words)


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
    """A batch of claim lines as columns of `SPILLED_LINES`.

    Unreadable: no member id, no claim id, no service date, a date or an amount that cannot be read,
    an unknown claim type (`x_clm_type_cd`). A blank amount is zero and counted.
    """
    n = rows.n
    _, key = rows.member_keys(members)
    claim_id, line = rows.strings("claim_id"), rows.text("claim_line_number")
    claim_hash = (
        claim_id.words if isinstance(claim_id, Following) else claim_id.take(claim_id.words.hashes)
    )
    paid = rows.cents("paid_amount")
    allowed, third_party = rows.cents("allowed_amount"), rows.cents("x_tpl_amt")
    paid_day, file_day = rows.days("paid_date"), rows.days("file_date")
    if table == "medical_claim":
        start, end = rows.days("claim_start_date"), rows.days("claim_end_date")
        line_start, line_end = rows.days("claim_line_start_date"), rows.days("claim_line_end_date")
        admission: Column = rows.days("admission_date")
        discharge: Column = rows.days("discharge_date")
        service = _first_stated(line_start, start)
        claim_start = _first_stated(start, line_start)
        claim_end = _first_stated(end, line_end, claim_start)
        service_column = "claim_line_start_date and claim_start_date"
        tin = [rows.codes(f"{who}_tin", "tin", codes) for who in ("rendering", "billing")]
        coded: dict[str, Column] = {
            "claim_type": rows.lookup("claim_type", "type", _CLAIM_TYPE_OF, 0),
            "disposition": rows.read("discharge_disposition_code", "small", _small, np.uint8),
            "has_drg": rows.read("drg_code", "stated", bool, np.bool_),
            "hcpcs": rows.codes("hcpcs_code", "hcpcs", codes, str.upper),
            "revenue": rows.codes("revenue_center_code", "revenue", codes),
            "bill_type": rows.codes("bill_type_code", "bill_type", codes),
            "place_of_service": rows.codes("place_of_service_code", "place_of_service", codes),
            "ndc": 0,
            **{
                f"{who}_npi": rows.codes(f"{who}_npi", "npi", codes)
                for who in ("rendering", "billing", "facility")
            },
            "tin": _coalesce(*tin),
            "dx": _diagnoses(rows, codes),
        }
    else:
        service = claim_start = claim_end = rows.days("dispensing_date")
        service_column = "dispensing_date"
        admission = discharge = NO_DAY
        coded = {
            "claim_type": CLAIM_TYPES.index("pharmacy"),
            "disposition": 255,
            "has_drg": 0,
            "hcpcs": 0,
            "revenue": 0,
            "bill_type": 0,
            "place_of_service": 0,
            "ndc": rows.codes("ndc_code", "ndc", codes),
            "rendering_npi": rows.codes("prescribing_provider_npi", "npi", codes),
            "billing_npi": rows.codes("dispensing_provider_npi", "npi", codes),
            "facility_npi": 0,
            "tin": 0,
            "dx": [],
        }
    kind = rows.lookup("x_clm_type_cd", "kind", LINE_KIND_OF, 255)
    indicator = rows.lookup("x_adjstmt_ind", "indicator", _INDICATOR_OF, NOT_STATED)
    original, adjustment = rows.text("x_orgnl_clm_num"), rows.text("x_adjstmt_clm_num")
    denial = rows.read("x_clm_dnd_ind", "mark", _denial_mark, np.uint8)
    denied = denial.rows()
    is_denied = rows.lookup("x_clm_type_cd", "denied", {"Z": 1}, 0)
    denied[is_denied.where(is_denied.values == 1)] = DENIAL_MARKS.index("yes")

    rows.mark(key.where(key.values == 0), "no member id")
    rows.mark(np.flatnonzero(claim_hash == 0), "no claim_id")
    rows.mark(np.flatnonzero(service == NO_DAY), f"no {service_column}")
    outside = (service < _FIRST_DAY) | (service >= _OPEN_END_DAY)
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
        "member_key": key,
        "fate": fate,
        "reason": reason,
        "file": file_index,
        "row": range(rows.first_row, rows.first_row + n),
        "hash_1": hashes[0],
        "hash_2": hashes[1],
        "claim_id": claim_id,
        "claim_line_number": line,
        "original_claim": Stated(original),
        "adjustment_claim": Stated(adjustment),
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
        **coded,
    }


def read_eligibility(
    rows: Rows, file_index: int, members: MemberBook, codes: CodeBook
) -> dict[str, Column]:
    """A batch of enrolment rows as columns of `SPILLED_ELIGIBILITY`.

    Unreadable: no member id, no start date, a date that cannot be read, an end before the start. A
    blank end, or one in 2100 or later, is open. Dual: CMS dual status 01-06 and 08; partial
    benefit: 01, 03, 05, 06 or the flag. 09 and 10 are entitled to Medicare outside full Medicaid
    and are stored, but set no flag.
    """
    ids, key = rows.member_keys(members)
    start, end = rows.days("enrollment_start_date"), rows.days("enrollment_end_date")
    birth, death = rows.days("birth_date"), rows.days("death_date")
    file_day = rows.days("file_date")
    end = np.where(end >= _OPEN_END_DAY, np.int32(NO_DAY), end)
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
    plan_code = _coalesce(
        *(rows.codes(name, "plan", codes) for name in ("x_mc_plan_id", "plan", "payer"))
    )
    is_medicaid = np.zeros(rows.n, bool)
    for name in ("payer_type", "payer"):
        is_medicaid |= rows.read(
            name, "medicaid", lambda text: "medicaid" in text.lower(), np.bool_
        ).rows()
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
    rows.mark(key.where(key.values == 0), "no member id")
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
    return {
        "member_key": key,
        "fate": fate,
        "reason": reason,
        "file": file_index,
        "row": range(rows.first_row, rows.first_row + rows.n),
        "hash_1": hashes[0],
        "hash_2": hashes[1],
        "member_id": ids,
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


def read_scores(
    rows: Rows, file_name: str, members: MemberBook, codes: CodeBook
) -> dict[str, Column]:
    """A batch of supplied risk scores as columns of `SPILLED_SCORES`.

    Scores are millionths, half to even.

    Raises
    ------
    DataError
        Naming the first row whose member id, year, model or score is missing or unreadable.
    """
    _, key = rows.member_keys(members)
    year = rows.read("year", "year", _year, np.int16)
    model = rows.codes("model", "risk_model", codes)
    cell = rows.codes("cell", "risk_cell", codes)
    score = read_cents(rows.columns["score"], places=6)
    unread = score.bad | score.blank | (score.cents < 0)
    wrong = np.flatnonzero((key.rows() == 0) | (year.rows() < 0) | (model.rows() == 0) | unread)
    if len(wrong):
        raise DataError(
            f"{file_name}, data row {rows.first_row + wrong[0]:,}: a risk score needs a member id, "
            f"a year, a model and a decimal score ({len(wrong):,} rows of this batch lack one)."
        )
    return {
        "member_key": key,
        "year": year,
        "model": model,
        "score_micro": score.cents,
        "cell": cell,
    }


def _diagnoses(rows: Rows, codes: CodeBook) -> list[Coded]:
    """The stated diagnosis codes of each line, upper case without the dot."""
    names = [f"diagnosis_code_{k}" for k in range(1, 26)]
    return [
        rows.codes(name, "dx", codes, lambda code: code.upper().replace(".", ""))
        for name in names
        if not rows.text(name).is_blank
    ]


def _coalesce(*columns: Coded) -> Coded | NDArray[np.int32]:
    """The first number above 0 of each row."""
    said = [column for column in columns if column.values.any()] or [columns[0]]
    if len(said) == 1:
        return said[0]
    found = said[0].rows()
    for other in said[1:]:
        found = np.where(found > 0, found, other.rows())
    return found


def _reason(text: str) -> int:
    code = _small(text)
    return code if code <= 3 else 255


def _is_plan_id(text: str) -> bool:
    return bool(text.strip("089"))


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
