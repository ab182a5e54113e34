"""The fate of each claim row of a shard: duplicates, final action, denial, membership, enrolment.

All rows of a member are here, so every rule that compares rows is decided here, by content: dates,
then the mapped columns, never file or position. What makes a version void or superseded is in
`final_action`; this module finds the rows that can be versions of each other, which few are.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute import final_action
from ihp_compute.final_action import OPEN
from ihp_compute.fingerprint import scramble, text_hashes
from ihp_compute.ingest_columns import CODED, Columns, Raw, Rules
from ihp_compute.ingest_rows import distinct
from ihp_compute.ledger import IngestFate
from ihp_compute.units import NO_DAY, months_of_days


def claim_row_fates(
    raw: Raw, member_key: NDArray[np.uint64], enrolled: NDArray[np.int64], rules: Rules
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Fate of each claim row, and its member's place in the shard (-1 unknown)."""
    columns = raw.numbers
    fate = columns["fate"].copy()
    claim = claim_of(columns)
    line = scramble(claim + columns["line_hash"])
    together = _shared(line) & (fate == OPEN)
    rows = np.flatnonzero(together)
    if len(rows):
        part = fate[rows]
        mark_duplicates(part, columns["hash_1"][rows], columns["hash_2"][rows])
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
    place = np.searchsorted(member_key, columns["member_key"])
    place = np.minimum(place, max(len(member_key) - 1, 0))
    known = member_key[place] == columns["member_key"] if len(member_key) else np.zeros(raw.n, bool)
    day = columns["service_day"]
    month = months_of_days(np.where(day == NO_DAY, 0, day)).astype(np.int64)
    asked = (place.astype(np.int64) << 16) | month
    at = np.minimum(np.searchsorted(enrolled, asked), max(len(enrolled) - 1, 0))
    covered = enrolled[at] == asked if len(enrolled) else np.zeros(raw.n, bool)
    for reason, met in (
        (IngestFate.DENIED, denied),
        (IngestFate.UNKNOWN_MEMBER, ~known),
        (IngestFate.OUTSIDE_ELIGIBILITY, ~covered),
    ):
        fate[(fate == OPEN) & met] = reason
    fate[fate == OPEN] = IngestFate.RETAINED
    return fate, np.where(known, place, -1).astype(np.int64)


def claim_of(columns: Columns) -> NDArray[np.uint64]:
    """A key of each row's claim: claim id and member together."""
    return scramble(np.bitwise_xor(columns["claim_hash"], columns["member_key"]))


def _shared(key: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which rows have a key that another row has too."""
    ordered = np.sort(key)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(repeated):
        return np.zeros(len(key), bool)
    found = pc.is_in(pa.array(key), value_set=pa.array(distinct(repeated)))
    shared: NDArray[np.bool_] = found.to_numpy(zero_copy_only=False)
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


def _byte_key(raw: Raw, row: int, rules: Rules) -> tuple[Any, ...]:
    """What a row is compared by. Final code numbers are in byte order; days and dates alike."""
    key: list[Any] = []
    for name in _BYTE_ORDER:
        if name in raw.texts:
            key.append((raw.texts[name][row].as_py() or "").encode())
        elif name == "dx":
            found = [] if raw.dx is None else raw.dx[row].as_py()
            key.append(tuple(rules.final_code["dx"][found].tolist()))
        elif name in CODED:
            key.append(int(rules.final_code[CODED[name]][raw.numbers[name][row]]))
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
    own = claim_of(raw.numbers)
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


def mark_duplicates(
    fate: NDArray[np.uint8], hash_1: NDArray[np.uint64], hash_2: NDArray[np.uint64]
) -> None:
    """Every readable row equal to an earlier readable one is a duplicate."""
    rows = np.flatnonzero(fate == OPEN)
    order = rows[np.lexsort((rows, hash_2[rows], hash_1[rows]))]
    same = (hash_1[order][1:] == hash_1[order][:-1]) & (hash_2[order][1:] == hash_2[order][:-1])
    fate[order[1:][same]] = IngestFate.DUPLICATE
