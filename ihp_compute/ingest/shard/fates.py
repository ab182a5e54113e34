"""The fate of each claim row of a shard: duplicates, final action, denial, membership, enrolment.

All rows of a member are here, so every rule that compares rows is decided here, by content: dates,
then what the rows say, never file or position. What makes a version void or superseded is in
`final_action`; this module finds the rows that can be versions of each other, which few are.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.ingest import final_action
from ihp_compute.ingest.final_action import OPEN, mark_duplicates
from ihp_compute.ingest.handover import Rules
from ihp_compute.ingest.shard.rows import MONTH_BITS, Columns, Fates, ShardRows, any_of
from ihp_compute.input_columns import CLAIM_CONTENT
from ihp_compute.ledger import IngestFate
from ihp_compute.units import months_of_days, usd_of
from kernels import first_row, key_place, row_pick


def claim_row_fates(
    raw: ShardRows, member_key: NDArray[np.uint64], enrolled: NDArray[np.int64], rules: Rules
) -> Fates:
    """Fate, member and claim of each row of one table."""
    columns = raw.numbers
    fate = columns["fate"].copy()
    claim = first_row(raw.hashes["claim_id"], columns["member_key"])
    void = columns["indicator"] == final_action.VOID
    rows = np.flatnonzero((_shared(claim) | void) & (fate == OPEN))
    line = first_row(_line_words(raw, rows), claim[rows].view(np.uint64))
    compared = _shared(line) | void[rows]
    rows, line = rows[compared], line[compared]
    if len(rows):
        part = fate[rows]
        mark_duplicates(part, columns["hash_1"][rows], columns["hash_2"][rows])
        fate[rows] = part
        rows, line = rows[part == OPEN], line[part == OPEN]
        versions = final_action.Versions(
            group=line,
            paid_day=columns["paid_day"][rows],
            file_day=columns["file_day"][rows],
            rank=_byte_ranks(raw, rows, line, rules),
            paid_cents=columns["paid_cents"][rows],
            indicator=columns["indicator"][rows],
        )
        fate[rows] = final_action.line_fates(versions)
    _link_claims(raw, fate, claim)
    member = key_place(columns["member_key"], member_key)
    is_open = fate == OPEN
    for reason, met in (
        (IngestFate.DENIED, rules.denied_marks.take(columns["denial"])),
        (IngestFate.UNKNOWN_MEMBER, member < 0),
        (IngestFate.OUTSIDE_ELIGIBILITY, ~_covered(columns, is_open, member, enrolled)),
    ):
        fate[is_open & met] = reason
        is_open &= ~met
    fate[is_open] = IngestFate.RETAINED
    return Fates(fate, member, claim)


def _line_words(raw: ShardRows, rows: NDArray[np.intp]) -> NDArray[np.uint64]:
    """What tells lines of a claim apart: the number, as a hash.

    A line without a number cannot be a version of another: its own content is its number.
    """
    words = raw.hashes["claim_line_number"].take(rows)
    unnumbered = np.flatnonzero(words == 0)
    words[unnumbered] = raw.numbers["hash_1"][rows[unnumbered]] | np.uint64(1)
    return words


def _shared(first: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows have company, given the first row of each one's kind."""
    others = np.flatnonzero(first != np.arange(len(first)))
    return any_of(first, others)


def _covered(
    columns: Columns,
    is_open: NDArray[np.bool_],
    member: NDArray[np.int32],
    enrolled: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Rows whose member is enrolled in the month of service; only open rows are asked."""
    if not is_open.any():
        return np.zeros(len(is_open), bool)
    day = columns["service_day"]
    day = np.where(is_open, day, day[is_open.argmax()])
    first = int(day.min())
    months = months_of_days(np.arange(first, int(day.max()) + 1, dtype=np.int32)).astype(np.int64)
    asked = row_pick(months, None, day - np.int32(first))
    asked |= member.astype(np.int64) << MONTH_BITS
    return key_place(asked.view(np.uint64), enrolled.view(np.uint64)) >= 0


def _byte_ranks(
    raw: ShardRows, rows: NDArray[np.intp], group: NDArray[np.int64], rules: Rules
) -> NDArray[np.int64]:
    """Order of versions that tie on both dates: what they say as text, then their hash."""
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


def _byte_key(raw: ShardRows, row: int, rules: Rules) -> tuple[Any, ...]:
    """What a row is compared by. Final code numbers are in byte order; days and dates alike."""
    key: list[Any] = []
    for column in CLAIM_CONTENT:
        name = column.name
        if pa.types.is_string(column.type):
            key.append((raw.some_texts(np.array([row]), name)[0].as_py() or "").encode())
        elif pa.types.is_list(column.type):
            lists = raw.lists[name]
            found = lists.codes[lists.starts[row] : lists.starts[row + 1]]
            key.append(tuple(rules.final_code[column.system][found].tolist()))
        elif column.system:
            key.append(int(rules.final_code[column.system][raw.numbers[name][row]]))
        elif name.endswith("_cents"):
            key.append(str(usd_of(raw.numbers[name][row])).encode())
        else:
            key.append(int(raw.numbers[name][row]))
    key += [int(raw.numbers["hash_1"][row]), int(raw.numbers["hash_2"][row])]
    return tuple(key)


def _link_claims(raw: ShardRows, fate: NDArray[np.uint8], claim: NDArray[np.int64]) -> None:
    """Apply the rule for claims linked by original and adjustment claim numbers.

    A member's claim is known here by one word, the hash of its id mixed with the member's key.
    """
    columns = raw.numbers
    own: NDArray[np.uint64] = np.bitwise_xor(raw.hashes["claim_id"], columns["member_key"])
    naming, named, linked = _links(raw, own)
    if not len(naming):
        return
    linked |= any_of(claim, naming)
    family_of = final_action.families(zip(own[naming].tolist(), named.tolist(), strict=True))
    rows = np.flatnonzero(linked & (columns["fate"] == OPEN))
    present: dict[int, list[int]] = {}
    for at, name in enumerate(own[rows].tolist()):
        if name in family_of:
            present.setdefault(name, []).append(at)
    groups: dict[int, list[list[int]]] = {}
    for name, lines in present.items():
        groups.setdefault(family_of[name], []).append(lines)
    several = [claims for claims in groups.values() if len(claims) > 1]
    versions = iter(_versions(raw, fate, rows, list(chain.from_iterable(several))))
    for claims in several:
        family = list(islice(versions, len(claims)))
        for row, given in final_action.claim_fates(family).items():
            if fate[row] == OPEN or (
                given == IngestFate.VOIDED and fate[row] == IngestFate.SUPERSEDED
            ):
                fate[row] = given


def _versions(
    raw: ShardRows, fate: NDArray[np.uint8], rows: NDArray[np.intp], claims: list[list[int]]
) -> list[final_action.ClaimVersion]:
    """Claims of families, each given by the places of its rows among `rows`.

    One void row makes a void; that counts all of its rows' cents, another claim those still open.
    """
    if not claims:
        return []
    columns = raw.numbers
    starts = np.cumsum([0, *map(len, claims)])
    own = rows[np.fromiter(chain.from_iterable(claims), np.intp, starts[-1])]
    starts, sizes = starts[:-1], np.diff(starts)
    stated = columns["indicator"][own].astype(np.int16)
    void = np.logical_or.reduceat(stated == final_action.VOID, starts)
    stated[stated == final_action.NOT_STATED] = -1
    indicator = np.maximum.reduceat(stated, starts)
    indicator[indicator < 0] = final_action.NOT_STATED
    indicator[void] = final_action.VOID
    counted = (fate[own] == OPEN) | void.repeat(sizes)
    cents = np.add.reduceat(columns["paid_cents"][own] * counted, starts)
    days = (columns[name][own] for name in ("paid_day", "file_day"))
    paid, filed = (np.maximum.reduceat(values, starts) for values in days)
    replaces = (indicator != 0) & (indicator != final_action.NOT_STATED)
    ids = raw.some_texts(own[starts], "claim_id").to_pylist()
    lists = (values.tolist() for values in (paid, filed, replaces, cents, indicator, sizes))
    numbers = iter(own.tolist())
    return [
        final_action.ClaimVersion(
            rows=tuple(islice(numbers, size)),
            order=(paid_day, file_day, later, name.encode()),
            cents=amount,
            indicator=mark,
        )
        for name, paid_day, file_day, later, amount, mark, size in zip(ids, *lists, strict=True)
    ]


def _links(
    raw: ShardRows, own: NDArray[np.uint64]
) -> tuple[NDArray[np.intp], NDArray[np.uint64], NDArray[np.bool_]]:
    """Rows that name another claim, and the claim they name, where that can matter.

    It can, of all claims that a row names, if one stands here or others name it too. Last, of all
    rows, which have a claim that is named at all. `own` is the claim of each row.
    """
    columns = raw.numbers
    readable = columns["fate"] == OPEN
    claim, member = raw.hashes["claim_id"], columns["member_key"]
    naming, named = [], []
    for column in ("original_claim", "adjustment_claim"):
        rows, words = raw.stated(column)
        away = readable[rows] & (words != claim[rows])
        naming.append(rows[away])
        named.append(words[away] ^ member[rows[away]])
    rows, target = np.concatenate(naming), np.concatenate(named)
    asked = np.unique(target)
    found, at = key_place(own, asked), key_place(target, asked)
    is_named = found >= 0
    linked = np.zeros(len(asked), bool)
    linked[found[is_named & readable]] = True
    one_of = np.empty(len(asked), np.uint64)
    one_of[at] = own[rows]
    linked[at[own[rows] != one_of[at]]] = True  # several claims name it
    matters = np.zeros(raw.n, bool)
    matters[rows[linked[at]]] = True
    kept = matters[rows]
    return rows[kept], target[kept], is_named
