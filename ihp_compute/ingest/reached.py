"""Whose claims a delivery reaches: their rows are decided anew, all others' stand as they are.

What a row meets rests on the history of its claim, on claims that it names or that name it, and on
its member's enrolment; what is derived of it, on its member's other rows. So of a member whom no
new row reaches there, new rows and earlier ones may be decided apart and joined. Members are
reached, rather more than need be, where

    a new row bears or names a number that an earlier row of theirs bears or names
    enrolment changed in a month in which an earlier row has a day, or their day of birth did
    a new row may be of a stay, beside an earlier stay, whose lines say which of theirs it is
    a new row is an emergency line of a day that has one
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.ingest.findings import Findings
from ihp_compute.ingest.handover import Rules
from ihp_compute.ingest.shard import MONTH_BITS, Members, ShardRows, may_admit, may_be_urgent
from ihp_compute.ledger import CLAIM_TABLES, IngestFate
from ihp_compute.population import GONE, Shard, text_hashes
from ihp_compute.units import months_of_days
from kernels import key_place

_LINKS: Final = ("original_claim", "adjustment_claim")
_DAYS: Final = ("service_day", "claim_start_day", "claim_end_day")
_READ: Final = (
    "source_table", "fate", "line", "member_key", "claim_id", *_LINKS, *_DAYS, "hash_1",
)  # fmt: skip
_COVERED: Final = (IngestFate.UNKNOWN_MEMBER.label, IngestFate.OUTSIDE_ELIGIBILITY.label)
"""Fates that enrolment decided."""


@dataclass(frozen=True)
class Reached:
    """What was found of a shard's earlier claims.

    keys : uint64, ascending, of the members who are reached
    line_hash : uint64 a line, the hash that tells its row apart
    claims : by claim table, `population.text_hashes` of the claim numbers of all rows
    """

    keys: NDArray[np.uint64]
    line_hash: NDArray[np.uint64]
    claims: dict[str, list[NDArray[np.uint64]]]


def reached(
    shard: Shard,
    new: ShardRows,
    n_medical: int,
    before: Members,
    members: Members,
    rules: Rules,
) -> Reached:
    """Whom the delivery's claim rows and the enrolment of now reach.

    Parameters
    ----------
    shard : Shard
        Of the earlier population.
    new : ShardRows
        The delivery's claim rows, of which the first `n_medical` are medical.
    before, members : Members
        Those of the earlier population, and those by all rows of enrolment.
    rules : Rules
    """
    member_key = shard.column("members", "member_key")
    of_line = np.repeat(member_key, np.diff(shard.offsets("lines")))
    asked = _asked(new)
    cover = _Changed(before, members)
    keys: list[NDArray[np.uint64]] = [
        cover.others(),
        _stays(shard, new, n_medical, rules),
        _emergency(shard, new, rules),
    ]
    words = text_hashes(shard.strings("line_detail", "claim_id"))
    keys.append(of_line[key_place(words ^ of_line, asked) >= 0])
    keys.append(of_line[cover.of_lines(shard, of_line)])
    is_pharmacy = shard.column("lines", "source_table") == CLAIM_TABLES.index("pharmacy_claim")
    claims = {"medical_claim": [words[~is_pharmacy]], "pharmacy_claim": [words[is_pharmacy]]}
    line_hash = np.zeros(len(of_line), np.uint64)
    for stretch in shard.stretches("claims", _READ):
        rows = _Rows(stretch, of_line)
        line_hash[rows.line[rows.lines]] = rows.numbers("hash_1", rows.lines)
        words = text_hashes(stretch.column("claim_id").take(pa.array(rows.others)))
        claims[stretch.column("source_table")[0].as_py()].append(words)
        own = rows.key[rows.others]
        keys.append(own[key_place(words ^ own, asked) >= 0])
        for name in _LINKS:
            at, words = rows.stated(name)
            keys.append(rows.key[at][key_place(words ^ rows.key[at], asked) >= 0])
        at = rows.others[rows.met(_COVERED)]
        own, days = rows.key[at], [rows.numbers(name, at) for name in _DAYS]
        keys.append(own[cover.of_days(own, days)])
    return Reached(np.unique(np.concatenate(keys)), line_hash, claims)


def _asked(new: ShardRows) -> NDArray[np.uint64]:
    """Numbers that rows bear or name, each with its member: distinct words in order."""
    key = new.numbers["member_key"]
    found: list[NDArray[np.uint64]] = [np.bitwise_xor(new.hashes["claim_id"], key)]
    for name in _LINKS:
        rows, words = new.stated(name)
        found.append(words ^ key[rows])
    return np.unique(np.concatenate(found))


class _Rows:
    """Rows of a stretch: those with a line, and those without that are not gone."""

    def __init__(self, stretch: pa.RecordBatch, of_line: NDArray[np.uint64]) -> None:
        self._stretch = stretch
        self.line = stretch.column("line").to_numpy()
        self.lines = np.flatnonzero(self.line >= 0)
        self.others = np.flatnonzero((self.line < 0) & (self.line != GONE))
        self.key = np.zeros(len(self.line), np.uint64)
        self.key[self.lines] = of_line[self.line[self.lines]]
        self.key[self.others] = self.numbers("member_key", self.others)

    def numbers(self, name: str, at: NDArray[np.intp]) -> NDArray[Any]:
        """A column of some rows; none of them is null."""
        found: NDArray[Any] = self._stretch.column(name).take(pa.array(at)).to_numpy()
        return found

    def stated(self, name: str) -> tuple[NDArray[np.intp], NDArray[np.uint64]]:
        """Rows that say a text, and its hash."""
        texts = self._stretch.column(name)
        if texts.null_count == len(texts):
            return np.empty(0, np.intp), np.empty(0, np.uint64)
        words = text_hashes(texts)
        at = np.flatnonzero((words != 0) & (self.line != GONE))
        return at, words[at]

    def met(self, fates: tuple[str, ...]) -> NDArray[np.bool_]:
        """Which of the rows without a line met one of these fates."""
        fate = self._stretch.column("fate")
        codes = [k for k, text in enumerate(fate.dictionary.to_pylist()) if text in fates]
        return np.isin(fate.indices.to_numpy()[self.others], codes)


def members_before(shard: Shard) -> Members:
    """Members of an earlier population, as far as claims ask for them."""
    n_months = shard.column("spans", "n_months").astype(np.int64)
    ends = np.cumsum(n_months)
    month = np.repeat(shard.column("spans", "first_month") - (ends - n_months), n_months)
    month += np.arange(len(month))
    spans = np.diff(shard.offsets("spans"))
    member = np.repeat(np.repeat(np.arange(shard.n_members), spans), n_months)
    return Members(
        key=shard.column("members", "member_key"),
        fate=np.empty(0, np.uint8),
        enrolled=(member << MONTH_BITS) | month,
        tables={"members": shard.batch("members")},
        span_counts=spans,
        member_months=len(month),
        open_end_months=0,
        covered_months=frozenset(),
        findings=Findings(),
    )


class _Changed:
    """Months in which members are enrolled now and were not, or the other way round."""

    def __init__(self, before: Members, members: Members) -> None:
        self._key, self._before = members.key, before.key
        place = key_place(before.key, members.key)
        now, then = (of.enrolled & ((1 << MONTH_BITS) - 1) for of in (members, before))
        whose, were = (of.enrolled >> MONTH_BITS for of in (members, before))
        stays = place[were] >= 0
        then, were = then[stays], place[were[stays]]
        months = np.concatenate([now, then])
        self._first = int(months.min(initial=1 << MONTH_BITS))
        width = max(int(months.max(initial=-1)) - self._first, -1) + 2
        # a month more, in which nothing changed, and a member more, who is everybody unknown
        self._grid = np.zeros((len(members.key) + 1, width), np.bool_)
        self._grid[whose, now - self._first] = True
        self._grid[were, then - self._first] ^= True
        at = np.flatnonzero(place >= 0)
        born, was_born = (
            of.tables["members"].column("birth_day").to_numpy() for of in (members, before)
        )
        self._others = before.key[place < 0], before.key[at[born[place[at]] != was_born[at]]]

    def others(self) -> NDArray[np.uint64]:
        """Members who are none any more, and those of whom another day of birth is said."""
        return np.concatenate(self._others)

    def of_lines(self, shard: Shard, of_line: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Lines with a day in a changed month of their member's."""
        changed = np.flatnonzero(self._grid.any(axis=0))
        if not len(changed):
            return np.empty(0, np.intp)
        days = [shard.column("lines", name) for name in _DAYS]
        last = np.maximum(np.maximum(days[0], days[1]), days[2])
        if not len(last):
            return np.empty(0, np.intp)
        rows = np.flatnonzero(last >= _first_day(self._first + int(changed[0]), last))
        met = self.of_days(of_line[rows], [day[rows] for day in days])
        return rows[met]

    def of_days(self, key: NDArray[np.uint64], days: list[NDArray[np.int32]]) -> NDArray[np.bool_]:
        """Which rows, of members by key, have one of their days in a changed month of theirs.

        Of somebody who was no member and is, or the other way round, every row does.
        """
        place = key_place(key, self._key)
        was = key_place(key, self._before) >= 0
        found = was != (place >= 0)
        width = self._grid.shape[1]
        for day in days:
            month = months_of_days(day.astype(np.int32)).astype(np.int64) - self._first
            month[(month < 0) | (month >= width)] = width - 1
            found |= self._grid[place, month]
        return found


def _first_day(month: int, days: NDArray[np.int32]) -> int:
    """The first of the days between some, or one behind them, that lies in a month or later."""
    every = np.arange(int(days.min()), int(days.max()) + 1, dtype=np.int64)
    at = np.searchsorted(months_of_days(every.astype(np.int32)), month)
    return int(days.min()) + int(at)


def _stays(shard: Shard, new: ShardRows, n_medical: int, rules: Rules) -> NDArray[np.uint64]:
    """Members with a stay who may have another."""
    medical = new.rows(0, n_medical)
    rows = np.flatnonzero(may_admit(medical.numbers, rules.spilled_facts))
    has = np.diff(shard.offsets("stays")) > 0
    return np.intersect1d(
        medical.numbers["member_key"][rows], shard.column("members", "member_key")[has]
    )


def _emergency(shard: Shard, new: ShardRows, rules: Rules) -> NDArray[np.uint64]:
    """Members with an emergency line on a day on which they may have another."""
    rows = np.flatnonzero(may_be_urgent(new.numbers, rules.spilled_facts))
    key = new.numbers["member_key"][rows]
    place = key_place(key, shard.column("members", "member_key")).astype(np.int64)
    day = new.numbers["service_day"][rows].astype(np.int64)
    before = np.repeat(np.arange(shard.n_members), np.diff(shard.offsets("emergency")))
    days = shard.column("emergency", "day").astype(np.int64)
    return key[np.isin((place << 32) + day, (before << 32) + days)]
