"""Enrolment rows as members and spans: one span holds each member-month.

Of a data source that gives snapshots only the latest stands. When rows overlap, each month follows
the row that starts latest, then ends latest (open ends last), then the later file date, then the
first of the declared rate cells, then what else it says; months for which rows name different
groups or plans are counted. Birth, death and sex follow the same order, the last row that states
them. An end far behind the last claim is open. A month counts when any day of it is enrolled; a
span ends where a rate cell, a flag or a plan changes.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.ingest.final_action import OPEN, mark_duplicates
from ihp_compute.ingest.findings import Doubt, Findings
from ihp_compute.ingest.handover import Rules
from ihp_compute.ingest.rate_cells import rate_cells
from ihp_compute.ingest.shard.rows import (
    MONTH_BITS,
    Columns,
    Members,
    ShardRows,
    record,
    settle_ties,
)
from ihp_compute.ledger import IngestFate
from ihp_compute.population import tables, text_hashes
from ihp_compute.sorting import order_by
from ihp_compute.units import NO_DAY, months_of_days

_PAST_MONTHS: Final = 120
"""So long before the first service nobody's enrolment is asked for."""
_FAR_MONTHS: Final = 24
"""An end that stands so long after the last claim is none that anybody knows."""


def members_of(raw: ShardRows, rules: Rules, notes: dict[str, int]) -> Members:
    """Enrolment rows to members and spans.

    Their fates are unreadable, superseded by a later snapshot, duplicate or retained.
    """
    columns = raw.numbers
    fate = columns["fate"].copy()
    _replace_snapshots(raw, fate, rules)
    mark_duplicates(fate, columns["hash_1"], columns["hash_2"])
    fate[fate == OPEN] = IngestFate.RETAINED
    rows = np.flatnonzero(fate == IngestFate.RETAINED)
    key, member = np.unique(columns["member_key"][rows], return_inverse=True)
    n = len(key)
    last = np.iinfo(np.int32).max
    end_day = np.where(columns["end_day"] == NO_DAY, last, columns["end_day"])[rows]
    start_day = columns["start_day"][rows]
    first = months_of_days(start_day)
    ladder = _ladder(raw, rules, rows, member, end_day, first)
    rank = np.empty(len(rows), np.int64)
    rank[ladder] = np.arange(len(rows))
    birth = _last_stated(columns["birth_day"][rows], NO_DAY, member, rank, n)
    death = _last_stated(columns["death_day"][rows], NO_DAY, member, rank, n)
    sex = _last_stated(columns["sex"][rows], 0, member, rank, n)

    is_open = end_day == last
    stated = months_of_days(np.where(is_open, 0, end_day).astype(np.int32))
    if rules.horizon_month:
        far = ~is_open & (stated > rules.horizon_month + _FAR_MONTHS)
        notes[
            "enrolment rows end more than two years after the last claim; they are read as open"
        ] = int(np.count_nonzero(far))
        is_open |= far
    until = np.where(is_open, np.maximum(rules.horizon_month, first), stated)
    if rules.first_month:
        long = first < rules.first_month - _PAST_MONTHS
        notes[
            "enrolment rows start more than ten years before the first service; their months until "
            "then are left out"
        ] = int(np.count_nonzero(long))
        kept = np.minimum(rules.first_month - _PAST_MONTHS, until)
        first = np.where(long, kept, first).astype(first.dtype)
    length = (until - first + 1).astype(np.int64)
    row = np.repeat(np.arange(len(rows)), length)
    month = np.arange(len(row)) + (first - (np.cumsum(length) - length)).take(row)
    # one row per member and month: the highest rank
    who = member.take(row)
    order, fresh = order_by(who, month, len(rows) - rank.take(row), kind=2)
    findings = Findings()
    _tell_rivals(columns, rows[row], order, fresh, findings)
    chosen = order[fresh]
    row, month = row.take(chosen), month.take(chosen)
    place = (who.take(chosen).astype(np.int64) << MONTH_BITS) | month
    at_month: NDArray[np.int32] = month.astype(np.int32)
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
    return Members(
        key=key,
        fate=fate,
        enrolled=place,
        tables={
            "members": record(
                tables.MEMBERS,
                {"member_key": key, "birth_day": birth, "death_day": death, "sex": sex},
            ),
            "identity": pa.RecordBatch.from_arrays(
                [pa.array(key), raw.texts["member_id"].take(pa.array(identity))],
                schema=tables.IDENTITY,
            ),
            "spans": record(tables.SPANS, spans),
        },
        span_counts=np.bincount(place[starts] >> MONTH_BITS, minlength=n).astype(np.int64),
        member_months=len(place),
        open_end_months=int(is_open[row].sum()),
        covered_months=frozenset(np.flatnonzero(np.bincount(at_month)).tolist()),
        findings=findings,
    )


def _replace_snapshots(raw: ShardRows, fate: NDArray[np.uint8], rules: Rules) -> None:
    """Rows of a snapshot before the latest of their data source are superseded.

    So cover that was lost in retrospect ends; rows of no snapshot stand.
    """
    if not rules.snapshots:
        return
    day, source = raw.numbers["snapshot_day"], raw.hashes["data_source"]
    words = text_hashes(pa.array(list(rules.snapshots), pa.string()))
    for word, latest in zip(words, rules.snapshots.values(), strict=True):
        earlier = (source == word) & (day != NO_DAY) & (day < latest) & (fate == OPEN)
        fate[earlier] = IngestFate.SUPERSEDED


def _ladder(
    raw: ShardRows,
    rules: Rules,
    rows: NDArray[np.intp],
    member: NDArray[np.intp],
    end_day: NDArray[np.int32],
    first: NDArray[np.int32],
) -> NDArray[np.intp]:
    """Enrolment rows by member, the one that stands before others last."""
    columns = raw.numbers
    keys = (member, columns["start_day"][rows], end_day, columns["file_day"][rows])
    ladder: NDArray[np.intp] = np.lexsort(keys[::-1])
    fresh = np.ones(len(ladder), bool)
    fresh[1:] = False
    for key in keys:
        ordered = key[ladder]
        fresh[1:] |= ordered[1:] != ordered[:-1]
    if not fresh.all():
        birth = columns["birth_day"][rows]
        birth_month = np.where(
            birth == NO_DAY, -1, months_of_days(np.where(birth == NO_DAY, 0, birth))
        )
        cells = rate_cells(
            first.astype(np.int32),
            birth_month.astype(np.int32),
            columns["aid"][rows],
            columns["original_reason"][rows],
            columns["managed"][rows],
        )
        rest = (
            "aid", "managed", "flags", "dual_status", "original_reason", "birth_day", "death_day",
            "sex",
        )  # fmt: skip
        settle_ties(
            ladder,
            fresh,
            (
                -cells.astype(np.int16),  # the first declared stands
                rules.final_code["plan"][columns["plan"][rows]],
                *(columns[name][rows] for name in rest),
            ),
        )
    return ladder


def _tell_rivals(
    columns: Columns,
    rows: NDArray[np.intp],
    order: NDArray[Any],
    fresh: NDArray[np.bool_],
    findings: Findings,
) -> None:
    """Count member months for which rows name different groups, plans or flags."""
    beaten = np.flatnonzero(~fresh)
    if not len(beaten):
        return
    chosen = np.maximum.accumulate(np.where(fresh, np.arange(len(fresh)), 0))[beaten]
    one, other = rows[order[beaten]], rows[order[chosen]]
    differ = np.zeros(len(beaten), bool)
    for name in ("aid", "managed", "original_reason", "plan", "flags"):
        differ |= columns[name][one] != columns[name][other]
    findings.see(Doubt("", "months_named_differently"), len(np.unique(chosen[differ])), 0)


def _last_stated(
    values: NDArray[Any], blank: int, member: NDArray[np.intp], rank: NDArray[np.int64], n: int
) -> NDArray[Any]:
    found = np.full(n, blank, values.dtype)
    stated = np.flatnonzero(values != blank)
    stated = stated[np.argsort(rank[stated], kind="stable")]
    found[member[stated]] = values[stated]  # the last assignment stands
    return found
