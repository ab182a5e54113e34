"""Second pass: one shard's rows from every file, made into population tables.

    enrolment rows -> members, one span per member-month
    claim rows     -> fates -> retained lines -> lines, diagnoses, visits, stays, drugs

All rows of a member are here, so every rule that compares rows is decided here: duplicates, final
action (`final_action`), unknown members, months outside enrolment. Where rows compete, content
decides (dates, then hashes of the mapped columns), never file or position, so that the result does
not depend on how the input was ordered or split.

When enrolment rows overlap, each month follows the row that starts latest, then ends latest (open
ends last), then the later file date, then the larger row hash. Birth, death and sex follow the same
order, the last row that states them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute import final_action, tables
from ihp_compute.errors import DataError
from ihp_compute.final_action import OPEN
from ihp_compute.fingerprint import scramble, text_hashes
from ihp_compute.ingest_layout import LEDGER_TABLES
from ihp_compute.ingest_rows import distinct
from ihp_compute.ledger import IngestFate
from ihp_compute.rate_cells import rate_cells
from ihp_compute.service_categories import CLAIM_TYPES, CodeFacts, LineFacts, classify
from ihp_compute.units import NO_DAY, months_of_days

Columns = dict[str, NDArray[Any]]
Strings = dict[str, pa.Array]

_DAY_BIAS: Final = 1 << 19
_DAY_BITS: Final = 20
_HASH_BITS: Final = 20
_CODE_BITS: Final = 22
_MAX_MEMBERS: Final = 1 << (64 - _DAY_BITS - _CODE_BITS)


@dataclass(frozen=True)
class Rules:
    """What all shards share once every file has been read.

    horizon_month : last month that an open-ended span reaches
    denied_marks : bool per `ingest_rows.DENIAL_MARKS`: which of them say denied
    final_code : final number of each provisional code, by system
    facts : what the codes say, by final number
    """

    horizon_month: int
    denied_marks: NDArray[np.bool_]
    final_code: Mapping[str, NDArray[np.int32]]
    facts: CodeFacts


@dataclass
class ShardContent:
    """Tables of one shard, its share of the ledger, and the rows put aside.

    ledger : int64[len(LEDGER_TABLES), n_files, len(IngestFate), 2], lines and paid cents
    covered_months : calendar months in which somebody is enrolled
    service_days : first and last service day of retained lines, or None
    """

    tables: dict[str, pa.RecordBatch]
    ledger: NDArray[np.int64]
    quarantine: dict[str, pa.Table]
    member_months: int
    open_end_months: int
    covered_months: frozenset[int]
    service_days: tuple[int, int] | None
    last_paid_day: int
    notes: dict[str, int]


@dataclass(frozen=True)
class Raw:
    """Spilled rows of one table: numeric columns as arrays, texts as Arrow arrays."""

    numbers: Columns
    texts: Strings
    dx: pa.Array | None = None

    @property
    def n(self) -> int:
        """How many rows."""
        return len(self.numbers["member_key"])


def raw_of(batches: list[pa.RecordBatch], schema: pa.Schema) -> Raw:
    """Spilled batches of a shard as one set of columns, rows in order of file and position."""
    table = pa.Table.from_batches(batches, schema=schema).combine_chunks()
    numbers: Columns = {}
    texts: Strings = {}
    dx = None
    for field in schema:
        chunked = table.column(field.name)
        if chunked.num_chunks > 1:  # text beyond 2 GiB
            raise DataError("a shard holds too much text for one column: ingest with more --shards")
        array = chunked.chunk(0) if chunked.num_chunks else pa.array([], field.type)
        if pa.types.is_string(field.type):
            texts[field.name] = array
        elif pa.types.is_list(field.type):
            dx = array
        else:
            numbers[field.name] = array.to_numpy(zero_copy_only=False)
    return Raw(numbers, texts, dx)


def build(
    eligibility: Raw, claims: Mapping[str, Raw], scores: Raw, rules: Rules, n_files: int
) -> ShardContent:
    """All tables of a shard."""
    ledger = np.zeros((len(LEDGER_TABLES), n_files, len(IngestFate), 2), np.int64)
    quarantine: dict[str, pa.Table] = {}
    notes: dict[str, int] = {}
    members = _members(eligibility, rules)
    if len(members.key) >= _MAX_MEMBERS:
        raise DataError(
            f"a shard would hold {len(members.key):,} members, more than {_MAX_MEMBERS:,}: "
            "ingest with more --shards"
        )
    _enter(ledger, "eligibility", eligibility, members.fate)
    quarantine["eligibility"] = _aside(eligibility, members.fate, "eligibility")
    kept: list[_Kept] = []
    for table, raw in claims.items():
        fate, place = _fates(raw, members, rules)
        _enter(ledger, table, raw, fate)
        quarantine[table] = _aside(raw, fate, table)
        rows = np.flatnonzero(fate == IngestFate.RETAINED)
        kept.append(_keep(raw, rows, place[rows], table, rules))
    lines = _lines(kept)
    contents = dict(members.tables)
    counts = {"spans": members.span_counts}
    n = len(members.key)
    contents["lines"], contents["line_detail"], counts["lines"] = lines.tables(n)
    for name, made in (
        ("diagnoses", _diagnoses(kept, n)),
        ("visits", _visits(kept, rules, n)),
        ("stays", _stays(kept, n)),
        ("drugs", _drugs(kept, rules, n)),
        ("scores", _scores(scores, members, rules, notes)),
    ):
        contents[name], counts[name] = made
    contents["offsets"] = pa.RecordBatch.from_arrays(
        [
            pa.array(np.concatenate([[0], np.cumsum(counts[field.name])]).astype(np.int64))
            for field in tables.OFFSETS
        ],
        schema=tables.OFFSETS,
    )
    days, paid = lines.columns["service_day"], lines.columns["paid_day"]
    return ShardContent(
        tables=contents,
        ledger=ledger,
        quarantine=quarantine,
        member_months=members.member_months,
        open_end_months=members.open_end_months,
        covered_months=members.covered_months,
        service_days=(int(days.min()), int(days.max())) if len(days) else None,
        last_paid_day=int(paid.max(initial=NO_DAY)),
        notes=notes,
    )


# --- members and spans ----------------------------------------------------------------


@dataclass(frozen=True)
class _Members:
    key: NDArray[np.uint64]
    fate: NDArray[np.uint8]  # of the enrolment rows
    enrolled: NDArray[np.int64]  # sorted member << 16 | month
    tables: dict[str, pa.RecordBatch]
    span_counts: NDArray[np.int64]
    member_months: int
    open_end_months: int
    covered_months: frozenset[int]


def _members(raw: Raw, rules: Rules) -> _Members:
    columns = raw.numbers
    fate = columns["fate"].copy()
    _mark_duplicates(fate, columns["hash_1"], columns["hash_2"])
    fate[fate == OPEN] = IngestFate.RETAINED
    rows = np.flatnonzero(fate == IngestFate.RETAINED)
    key, member = np.unique(columns["member_key"][rows], return_inverse=True)
    n = len(key)
    last = np.iinfo(np.int32).max
    end_day = np.where(columns["end_day"] == NO_DAY, last, columns["end_day"])[rows]
    ladder = np.lexsort(
        (
            columns["hash_2"][rows],
            columns["hash_1"][rows],
            columns["file_day"][rows],
            end_day,
            columns["start_day"][rows],
        )
    )
    rank = np.empty(len(rows), np.int64)
    rank[ladder] = np.arange(len(rows))
    birth = _last_stated(columns["birth_day"][rows], NO_DAY, member, rank, n)
    death = _last_stated(columns["death_day"][rows], NO_DAY, member, rank, n)
    sex = _last_stated(columns["sex"][rows], 0, member, rank, n)

    first = months_of_days(columns["start_day"][rows])
    is_open = end_day == last
    stated = months_of_days(np.where(is_open, 0, end_day).astype(np.int32))
    until = np.where(is_open, np.maximum(rules.horizon_month, first), stated)
    length = (until - first + 1).astype(np.int64)
    row = np.repeat(np.arange(len(rows)), length)
    month = (
        np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length) + first[row]
    ).astype(np.int64)
    # one row per member and month: the highest rank
    place = (member[row].astype(np.int64) << 16) | month
    order = np.lexsort((rank[row], place))
    top = np.flatnonzero(np.r_[place[order][1:] != place[order][:-1], len(order) > 0])
    chosen = order[top]
    place, row = place[chosen], row[chosen]
    at_month: NDArray[np.int32] = month[chosen].astype(np.int32)
    of = rows[row]
    birth_month = np.where(birth == NO_DAY, -1, months_of_days(np.where(birth == NO_DAY, 0, birth)))
    attributes = {
        "rate_cell": rate_cells(
            at_month,
            birth_month[member[row]].astype(np.int32),
            columns["aid"][of],
            columns["original_reason"][of],
            columns["managed"][of],
        ),
        "flags": columns["flags"][of],
        "dual_status": columns["dual_status"][of],
        "original_reason": columns["original_reason"][of],
        "plan": rules.final_code["plan"][columns["plan"][of]],
    }
    fresh = np.ones(len(place), bool)
    fresh[1:] = place[1:] != place[:-1] + 1
    for values in attributes.values():
        fresh[1:] |= values[1:] != values[:-1]
    starts = np.flatnonzero(fresh)
    spans = {
        "first_month": at_month[starts],
        "n_months": np.diff(np.r_[starts, len(place)]).astype(np.int32),
        **{name: values[starts] for name, values in attributes.items()},
    }
    identity = np.empty(n, np.int64)
    identity[member] = rows
    return _Members(
        key=key,
        fate=fate,
        enrolled=place,
        tables={
            "members": _record(
                tables.MEMBERS,
                {"member_key": key, "birth_day": birth, "death_day": death, "sex": sex},
            ),
            "identity": pa.RecordBatch.from_arrays(
                [pa.array(key), raw.texts["member_id"].take(pa.array(identity))],
                schema=tables.IDENTITY,
            ),
            "spans": _record(tables.SPANS, spans),
        },
        span_counts=np.bincount(place[starts] >> 16, minlength=n).astype(np.int64),
        member_months=len(place),
        open_end_months=int(is_open[row].sum()),
        covered_months=frozenset(np.unique(at_month).tolist()),
    )


def _last_stated(
    values: NDArray[Any], blank: int, member: NDArray[np.intp], rank: NDArray[np.int64], n: int
) -> NDArray[Any]:
    found = np.full(n, blank, values.dtype)
    stated = np.flatnonzero(values != blank)
    stated = stated[np.argsort(rank[stated], kind="stable")]
    found[member[stated]] = values[stated]  # the last assignment stands
    return found


def _mark_duplicates(
    fate: NDArray[np.uint8], hash_1: NDArray[np.uint64], hash_2: NDArray[np.uint64]
) -> None:
    """Every readable row equal to an earlier readable one is a duplicate."""
    rows = np.flatnonzero(fate == OPEN)
    order = rows[np.lexsort((rows, hash_2[rows], hash_1[rows]))]
    same = (hash_1[order][1:] == hash_1[order][:-1]) & (hash_2[order][1:] == hash_2[order][:-1])
    fate[order[1:][same]] = IngestFate.DUPLICATE


# --- fates of claim rows --------------------------------------------------------------


def _fates(
    raw: Raw, members: _Members, rules: Rules
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Fate of each claim row, and its member's place in the shard (-1 unknown)."""
    columns = raw.numbers
    fate = columns["fate"].copy()
    claim = _claim_of(columns)
    line = scramble(claim + columns["line_hash"])
    together = _shared(line) & (fate == OPEN)
    rows = np.flatnonzero(together)
    if len(rows):
        part = fate[rows]
        _mark_duplicates(part, columns["hash_1"][rows], columns["hash_2"][rows])
        fate[rows] = part
    rows = rows[fate[rows] == OPEN]
    void = np.flatnonzero((fate == OPEN) & (columns["indicator"] == final_action.VOID))
    rows = np.union1d(rows, void)
    if len(rows):
        _, group = np.unique(line[rows], return_inverse=True)
        versions = final_action.Versions(
            group=group.astype(np.int64),
            paid_day=columns["paid_day"][rows],
            file_day=columns["file_day"][rows],
            rank=_byte_ranks(raw, rows, group, rules),
            paid_cents=columns["paid_cents"][rows],
            indicator=columns["indicator"][rows],
        )
        fate[rows] = final_action.line_fates(versions)
    _link_claims(raw, fate)
    denied = rules.denied_marks[columns["denial"]]
    place = np.searchsorted(members.key, columns["member_key"])
    place = np.minimum(place, max(len(members.key) - 1, 0))
    known = (
        members.key[place] == columns["member_key"] if len(members.key) else np.zeros(raw.n, bool)
    )
    day = columns["service_day"]
    month = months_of_days(np.where(day == NO_DAY, 0, day)).astype(np.int64)
    asked = (place.astype(np.int64) << 16) | month
    at = np.minimum(np.searchsorted(members.enrolled, asked), max(len(members.enrolled) - 1, 0))
    covered = members.enrolled[at] == asked if len(members.enrolled) else np.zeros(raw.n, bool)
    for reason, met in (
        (IngestFate.DENIED, denied),
        (IngestFate.UNKNOWN_MEMBER, ~known),
        (IngestFate.OUTSIDE_ELIGIBILITY, ~covered),
    ):
        fate[(fate == OPEN) & met] = reason
    fate[fate == OPEN] = IngestFate.RETAINED
    return fate, np.where(known, place, -1).astype(np.int64)


def _claim_of(columns: Columns) -> NDArray[np.uint64]:
    """A key of each row's claim: claim id and member together."""
    return scramble(np.bitwise_xor(columns["claim_hash"], columns["member_key"]))


def _shared(key: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which rows have a key that another row has too."""
    order = np.argsort(key)
    ordered = key[order]
    same = ordered[1:] == ordered[:-1]
    shared = np.zeros(len(key), bool)
    shared[order[1:][same]] = True
    shared[order[:-1][same]] = True
    return shared


_BYTE_ORDER: Final = (  # mapped columns that the population keeps, in the layout's order
    "claim_id", "claim_line_number", "claim_type", "claim_start_day", "claim_end_day",
    "service_day", "admission_day", "discharge_day", "disposition", "place_of_service",
    "bill_type", "has_drg", "revenue", "hcpcs", "rendering_npi", "tin", "billing_npi",
    "facility_npi", "ndc", "paid_cents", "allowed_cents", "dx", "kind", "indicator",
    "original_claim", "adjustment_claim", "denial", "third_party_cents",
)  # fmt: skip


def _byte_ranks(
    raw: Raw, rows: NDArray[np.intp], group: NDArray[np.intp], rules: Rules
) -> NDArray[np.int64]:
    """Order of versions that tie on both dates: their mapped columns as text, then their hash."""
    columns = raw.numbers
    rank = np.zeros(len(rows), np.int64)
    days = columns["paid_day"][rows], columns["file_day"][rows]
    order = np.lexsort((days[1], days[0], group))
    tie = np.zeros(len(rows), bool)
    equal = group[order][1:] == group[order][:-1]
    for values in days:
        equal &= values[order][1:] == values[order][:-1]
    tie[order[1:][equal]] = True
    tie[order[:-1][equal]] = True
    tied = np.flatnonzero(tie)
    texts = {int(k): _byte_key(raw, int(rows[k]), rules) for k in tied}
    for position, k in enumerate(sorted(texts, key=texts.__getitem__)):
        rank[k] = position
    return rank


_CODED: Final = {
    "place_of_service": "place_of_service", "bill_type": "bill_type", "revenue": "revenue",
    "hcpcs": "hcpcs", "rendering_npi": "npi", "billing_npi": "npi", "facility_npi": "npi",
    "ndc": "ndc", "tin": "tin",
}  # fmt: skip


def _byte_key(raw: Raw, row: int, rules: Rules) -> tuple[Any, ...]:
    """What a row is compared by. Final code numbers are in byte order; days and dates alike."""
    key: list[Any] = []
    for name in _BYTE_ORDER:
        if name in raw.texts:
            key.append((raw.texts[name][row].as_py() or "").encode())
        elif name == "dx":
            found = [] if raw.dx is None else raw.dx[row].as_py()
            key.append(tuple(rules.final_code["dx"][found].tolist()))
        elif name in _CODED:
            key.append(int(rules.final_code[_CODED[name]][raw.numbers[name][row]]))
        elif name.endswith("_cents"):
            key.append(_dollars(int(raw.numbers[name][row])))
        else:
            key.append(int(raw.numbers[name][row]))
    key += [int(raw.numbers["hash_1"][row]), int(raw.numbers["hash_2"][row])]
    return tuple(key)


def _dollars(cents: int) -> bytes:
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02}".encode()


def _link_claims(raw: Raw, fate: NDArray[np.uint8]) -> None:
    """Apply the rule for claims linked by original and adjustment claim numbers."""
    columns = raw.numbers
    links: list[tuple[tuple[int, str], tuple[int, str]]] = []
    candidates = _linked_rows(raw)
    if not len(candidates):
        return
    ids = raw.texts["claim_id"]
    keys = columns["member_key"]
    for row in candidates.tolist():
        own = (int(keys[row]), ids[row].as_py())
        for name in ("original_claim", "adjustment_claim"):
            other = raw.texts[name][row].as_py()
            if other and other != own[1]:
                links.append((own, (own[0], other)))
    family_of = final_action.families(links)
    words = distinct(text_hashes(pa.array([claim for _, claim in family_of], pa.string())))
    named = pc.is_in(pa.array(columns["claim_hash"]), value_set=pa.array(words))
    rows = np.flatnonzero(named.to_numpy(zero_copy_only=False) & (columns["fate"] == OPEN))
    present: dict[tuple[int, str], list[int]] = {}
    for row in rows.tolist():
        own = (int(keys[row]), ids[row].as_py())
        if own in family_of:
            present.setdefault(own, []).append(row)
    groups: dict[tuple[int, str], list[tuple[int, str]]] = {}
    for own in present:
        groups.setdefault(family_of[own], []).append(own)
    for claims in groups.values():
        if len(claims) < 2:
            continue
        versions = [_claim_version(raw, fate, own[1], present[own]) for own in claims]
        for row, given in final_action.claim_fates(versions).items():
            if fate[row] == OPEN or (
                given == IngestFate.VOIDED and fate[row] == IngestFate.SUPERSEDED
            ):
                fate[row] = given


def _linked_rows(raw: Raw) -> NDArray[np.intp]:
    """Rows that name another claim of their member which stands here, or which others name too."""
    readable = raw.numbers["fate"] == OPEN
    claim, member = raw.numbers["claim_hash"], raw.numbers["member_key"]
    naming, named = [], []
    for column in ("original_claim", "adjustment_claim"):
        other = raw.texts[column]
        rows = np.flatnonzero(other.is_valid().to_numpy(zero_copy_only=False) & readable)
        words = text_hashes(other.take(pa.array(rows)))
        away = words != claim[rows]
        naming.append(rows[away])
        named.append(scramble(np.bitwise_xor(words, member[rows])[away]))
    rows, target = np.concatenate(naming), np.concatenate(named)
    if not len(rows):
        return rows
    own = _claim_of(raw.numbers)
    asked = pc.is_in(pa.array(own[readable]), value_set=pa.array(distinct(target)))
    stands = np.isin(target, own[readable][asked.to_numpy(zero_copy_only=False)])
    order = np.lexsort((own[rows], target))
    another = (target[order][1:] == target[order][:-1]) & (
        own[rows[order]][1:] != own[rows[order]][:-1]
    )
    shared = np.isin(target, target[order[1:][another]])
    return np.unique(rows[stands | shared])


def _claim_version(
    raw: Raw, fate: NDArray[np.uint8], claim_id: str, rows: list[int]
) -> final_action.ClaimVersion:
    columns = raw.numbers
    indicators = columns["indicator"][rows].tolist()
    stated = [mark for mark in indicators if mark != final_action.NOT_STATED]
    indicator = (
        final_action.VOID
        if final_action.VOID in stated
        else max(stated, default=final_action.NOT_STATED)
    )
    standing = [row for row in rows if fate[row] == OPEN or indicator == final_action.VOID]
    replaces = indicator not in (0, final_action.NOT_STATED)
    return final_action.ClaimVersion(
        rows=tuple(rows),
        order=(
            int(columns["paid_day"][rows].max()),
            int(columns["file_day"][rows].max()),
            replaces,
            claim_id.encode(),
        ),
        cents=int(columns["paid_cents"][standing].sum()),
        indicator=indicator,
    )


def _enter(ledger: NDArray[np.int64], table: str, raw: Raw, fate: NDArray[np.uint8]) -> None:
    """Add the rows of one table to the ledger by file and fate."""
    n_files, n_fates = ledger.shape[1:3]
    cell = raw.numbers["file"].astype(np.int64) * n_fates + fate
    size = n_files * n_fates
    entry = ledger[LEDGER_TABLES.index(table)].reshape(size, 2)
    entry[:, 0] += np.bincount(cell, minlength=size)
    if "paid_cents" in raw.numbers:
        # exact sums in integers: high and low halves stay exact in bincount's float64
        cents = raw.numbers["paid_cents"]
        low = np.bincount(cell, weights=(cents & 0xFFFFFF).astype(np.float64), minlength=size)
        high = np.bincount(cell, weights=(cents >> 24).astype(np.float64), minlength=size)
        entry[:, 1] += low.astype(np.int64) + (high.astype(np.int64) << 24)


def _aside(raw: Raw, fate: NDArray[np.uint8], table: str) -> pa.Table:
    """Rows that are not retained, with what is needed to find and judge them."""
    rows = np.flatnonzero(fate != IngestFate.RETAINED)
    at = pa.array(rows)
    labels = pa.array([fate_.label for fate_ in IngestFate], pa.string())
    columns: dict[str, Any] = {
        "fate": labels.take(pa.array(fate[rows])),
        "reason": raw.texts["reason"].take(at),
        "file": pa.array(raw.numbers["file"][rows]),
        "row": pa.array(raw.numbers["row"][rows]),
        "member_key": pa.array(raw.numbers["member_key"][rows]),
    }
    if table == "eligibility":
        dates = ("start_day", "end_day")
    else:
        columns["claim_id"] = raw.texts["claim_id"].take(at)
        columns["claim_line_number"] = raw.texts["claim_line_number"].take(at)
        columns["paid_cents"] = pa.array(raw.numbers["paid_cents"][rows])
        dates = ("service_day", "paid_day")
    for name in dates:
        days = raw.numbers[name][rows]
        columns[name.replace("_day", "_date")] = pa.array(
            days, pa.int32(), mask=days == NO_DAY
        ).cast(pa.date32())
    return pa.table(columns)


# --- retained lines -------------------------------------------------------------------


@dataclass(frozen=True)
class _Kept:
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


def _keep(
    raw: Raw, rows: NDArray[np.intp], member: NDArray[np.int64], table: str, rules: Rules
) -> _Kept:
    columns = {name: values[rows] for name, values in raw.numbers.items() if name not in _SPENT}
    for name, system in _CODED.items():
        columns[name] = rules.final_code[system][columns[name]]
    texts = {name: raw.texts[name] for name in ("claim_id", "claim_line_number")}
    claim = _claim_of(columns)
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
        remapped = rules.final_code["dx"][dx.flatten().to_numpy()]
        offsets = np.concatenate([[0], np.cumsum(dx.value_lengths().to_numpy())])
        dx = pa.ListArray.from_arrays(
            pa.array(offsets.astype(np.int32)), pa.array(remapped.astype(np.int32))
        )
    return _Kept(
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
class _Lines:
    columns: Columns
    texts: Strings

    def tables(self, n_members: int) -> tuple[pa.RecordBatch, pa.RecordBatch, NDArray[np.int64]]:
        lines = _record(tables.LINES, self.columns)
        detail = pa.RecordBatch.from_arrays(
            [
                self.texts[field.name]
                if field.name in self.texts
                else pa.array(self.columns[field.name], field.type)
                for field in tables.LINE_DETAIL
            ],
            schema=tables.LINE_DETAIL,
        )
        return lines, detail, _count(self.columns["member"], n_members)


def _lines(kept: list[_Kept]) -> _Lines:
    """Retained lines of all tables by member, service day, then row hash."""
    member = np.concatenate([part.member for part in kept])
    names = [
        field.name
        for schema in (tables.LINES, tables.LINE_DETAIL)
        for field in schema
        if field.name not in ("table", "claim_id", "claim_line_number")
    ]
    columns = {
        name: np.concatenate([part.columns[name] for part in kept])
        for name in (*names, "hash_1", "hash_2")
    }
    columns["member"] = member
    columns["table"] = np.concatenate(
        [np.full(len(part.member), part.table, np.uint8) for part in kept]
    )
    day = columns["service_day"].astype(np.int64) + _DAY_BIAS
    packed = ((member << _DAY_BITS) | day).astype(np.uint64)
    order = _order(
        (packed << np.uint64(_HASH_BITS)) | (columns["hash_1"] >> np.uint64(64 - _HASH_BITS)),
        (columns["hash_1"], columns["hash_2"], columns["file"]),
    )
    before = np.cumsum([0, *(len(part.texts["claim_id"]) for part in kept)])
    rows = np.concatenate([part.rows + first for part, first in zip(kept, before, strict=False)])
    at = pa.array(rows[order])
    texts = {
        name: pa.concat_arrays([part.texts[name] for part in kept]).take(at)
        for name in ("claim_id", "claim_line_number")
    }
    return _Lines({name: values[order] for name, values in columns.items()}, texts)


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


def _diagnoses(kept: list[_Kept], n_members: int) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
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
        _record(tables.DIAGNOSES, {"dx": dx[keep], "day": day[keep], "paid_day": paid}),
        _count(member[keep], n_members),
    )


def _visits(
    kept: list[_Kept], rules: Rules, n_members: int
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
        _record(tables.VISITS, {name: values[order] for name, values in picked.items()}),
        _count(member, n_members),
    )


def _stays(kept: list[_Kept], n_members: int) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
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
        _record(tables.STAYS, {name: values[order] for name, values in made.items()}),
        _count(member, n_members),
    )


def _drugs(
    kept: list[_Kept], rules: Rules, n_members: int
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
    return _record(tables.DRUGS, columns), _count(who[keep], n_members)


def _scores(
    raw: Raw, members: _Members, rules: Rules, notes: dict[str, int]
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
    return _record(tables.SCORES, made), _count(made["member"], n)


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


def _count(member: NDArray[np.int64], n_members: int) -> NDArray[np.int64]:
    return np.bincount(member, minlength=n_members).astype(np.int64)


def _record(schema: pa.Schema, columns: Mapping[str, NDArray[Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [
            pa.array(np.ascontiguousarray(columns[field.name]).astype(
                field.type.to_pandas_dtype(), copy=False
            ), field.type)
            for field in schema
        ],
        schema=schema,
    )  # fmt: skip
