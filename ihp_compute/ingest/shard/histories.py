"""Histories of claims among the rows of one table, and the fate that each gives its rows.

Finds the few rows that can be versions of each other, lays them out for `kernels.history_fates` and
takes its fates back; the rules are those of `final_action`. Order among rows that nothing tells
apart goes by hashes of their content, so that neither file nor position decides.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ihp_compute.ingest.final_action import OPEN, Choices
from ihp_compute.ingest.findings import Doubt, Findings
from ihp_compute.ingest.shard.rows import ShardRows, any_of
from ihp_compute.ledger import IngestFate
from ihp_compute.population import text_hashes
from ihp_compute.units import NO_DAY
from kernels import first_row, history_fates, key_place
from kernels.members.history_fates import (
    BESIDE,
    MOVED,
    NEGATIVE,
    ORPHAN_VOID,
    PLAIN,
    REPLACES,
    STANDS,
    SUPERSEDED,
    VOID,
    VOIDED,
)

_FATE_OF: Final = {
    VOIDED: IngestFate.VOIDED,
    SUPERSEDED: IngestFate.SUPERSEDED,
    ORPHAN_VOID: IngestFate.ORPHAN_VOID,
}
_LINKS: Final = ("original_claim", "adjustment_claim")
_LAST_DAY: Final = 2**31 - 1
_HEADER_LINE: Final = text_hashes(pa.array(["0"]))[0]
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)


@dataclass
class Histories:
    """What the histories of one table's claims came to.

    claim : int64 a row, the first row of the same claim and member
    findings : what is told of them; no column alone states it
    """

    claim: NDArray[np.int64]
    findings: Findings = field(default_factory=Findings)

    def see(self, finding: str, cents: NDArray[np.int64]) -> None:
        """Count rows of a finding by their cents."""
        self.findings.see_rows(Doubt("", finding), cents)


@dataclass(frozen=True)
class _Links:
    """Rows that name another claim, and what they name.

    target : first row of the claim named, -1 where it is not here
    name : uint64, the number named, with its member: a name for what is not here
    second : whether it stands in the second of the columns that name
    """

    rows: NDArray[np.intp]
    target: NDArray[np.int64]
    name: NDArray[np.uint64]
    second: NDArray[np.bool_]


def read_histories(raw: ShardRows, fate: NDArray[np.uint8], choices: Choices) -> Histories:
    """Give rows that are duplicates, voided, superseded or orphans their fate, in place."""
    columns = raw.numbers
    cents, action = columns["paid_cents"], columns["action"]
    words: NDArray[np.uint64] = np.bitwise_xor(raw.hashes["claim_id"], columns["issuer"])
    found = Histories(first_row(words, columns["member_key"]))
    claim, readable, negative = found.claim, fate == OPEN, cents < 0
    company = _shared(claim)
    among = np.flatnonzero(company & readable)
    marked = np.zeros(raw.n, bool)
    marked[among] = _shared(first_row(_lines(raw, among), claim[among].view(np.uint64)))
    marked |= (action == VOID) | (action == REPLACES) | (negative & company)
    links = _links(raw, words, found, readable)
    marked[links.rows] = True
    is_busy = np.zeros(raw.n, bool)  # by the first row of a claim
    is_busy[claim[marked & readable]] = True
    is_busy[links.target[links.target >= 0]] = True
    busy = is_busy[claim] & readable
    found.see("unpaired_negatives", cents[negative & readable & ~busy])
    rows = np.flatnonzero(busy)
    if not len(rows):
        return found
    turned = _split(raw, rows, claim, found)
    alike = first_row(raw.numbers["hash_1"][rows], raw.numbers["hash_2"][rows])
    equal = alike != np.arange(len(rows))
    family = _Family(raw, rows, words, claim, links, turned, alike)
    once = choices.equal_rows == "duplicate"
    duplicate = equal & once
    stands = family.fates(~duplicate, once=once, additional=choices.later_amounts == "additional")
    for value, given in _FATE_OF.items():
        fate[rows[stands == value]] = given
    fate[rows[duplicate]] = IngestFate.DUPLICATE
    found.see("unpaired_negatives", cents[rows[stands == MOVED]])
    _other_readings(family, equal, duplicate, stands, choices, found)
    return found


def _shared(first: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows have company, given the first row of each one's kind."""
    return any_of(first, np.flatnonzero(first != np.arange(len(first))))


def _lines(raw: ShardRows, rows: NDArray[np.intp]) -> NDArray[np.uint64]:
    """What tells lines of a claim apart: the number, as a hash.

    A line without a number cannot be a version of another: its own content is its number. A void
    without one, or of line 0, is of no line and has 0.
    """
    words = raw.hashes["claim_line_number"].take(rows)
    void = raw.numbers["action"][rows] == VOID
    words[void & (words == _HEADER_LINE)] = 0
    unnumbered = np.flatnonzero((words == 0) & ~void)
    words[unnumbered] = raw.numbers["hash_1"][rows[unnumbered]] | np.uint64(1)
    return words


def _links(
    raw: ShardRows, words: NDArray[np.uint64], found: Histories, readable: NDArray[np.bool_]
) -> _Links:
    """Rows that name a claim that stands here, or state an adjustment of one that does not."""
    columns, number = raw.numbers, raw.hashes["claim_id"]
    member, claim = columns["member_key"], found.claim
    pieces = []
    for second, column in enumerate(_LINKS):
        rows, named = raw.stated(column)
        away = readable[rows] & (named != number[rows])
        rows, named = rows[away], named[away]
        pieces.append((rows, named, np.full(len(rows), bool(second))))
    rows, named, second_ = (np.concatenate(column) for column in zip(*pieces, strict=True))
    of_member = member[rows]
    name = named ^ of_member
    content = columns["hash_1"]
    target = _claims_of(
        words ^ member, readable, claim, content, (named ^ columns["issuer"][rows]) ^ of_member
    )
    away = np.flatnonzero(target < 0)
    if len(away):
        numbers = np.bitwise_xor(number, member)
        target[away] = _claims_of(numbers, readable, claim, content, name[away])
        crossed = away[target[away] >= 0]
        found.see("links_across_payers", columns["paid_cents"][rows[crossed]])
    stated = np.isin(columns["action"][rows], (VOID, REPLACES))
    found.see("links_to_nothing", columns["paid_cents"][rows[(target < 0) & ~stated]])
    kept = (target >= 0) | stated
    return _Links(rows[kept], target[kept], name[kept], second_[kept])


def _claims_of(
    names: NDArray[np.uint64],
    readable: NDArray[np.bool_],
    claim: NDArray[np.int64],
    content: NDArray[np.uint64],
    asked: NDArray[np.uint64],
) -> NDArray[np.int64]:
    """First row of the claim of each name asked for, -1 where no readable row bears it.

    Of several claims of one name, told apart by what `names` leave out, one stands for all of them,
    by the hashes of their rows and not by where they stand: they are tied together by it.
    """
    found = np.full(len(asked), -1, np.int64)
    if not len(asked):
        return found
    known, at = np.unique(asked, return_inverse=True)
    place = key_place(names, known)
    bearing = np.flatnonzero((place >= 0) & readable)
    bearing = bearing[np.argsort(content[bearing], kind="stable")]
    first = np.full(len(known), -1, np.int64)
    first[place[bearing][::-1]] = claim[bearing][::-1]
    return first[at]


def _split(
    raw: ShardRows, rows: NDArray[np.intp], claim: NDArray[np.int64], found: Histories
) -> dict[int, list[tuple[int, int, int]]]:
    """Part claims whose number starts anew; of each, the first and last day and name of its parts.

    A number starts anew where lines of it repeat on service dates that have nothing in common.
    """
    columns = raw.numbers
    start = columns["claim_start_day"][rows].astype(np.int64)
    end = np.maximum(columns["claim_end_day"][rows], start)
    order = np.lexsort((end, start, claim[rows]))
    fresh = np.r_[True, claim[rows][order][1:] != claim[rows][order][:-1]]
    rank = np.cumsum(fresh)
    reach = np.maximum.accumulate((rank << 32) + end[order]) - (rank << 32)
    apart = np.r_[True, start[order][1:] > reach[:-1]] | fresh
    several = np.isin(rank, np.unique(rank[apart & ~fresh]))
    at, part, rank = rows[order[several]], np.cumsum(apart)[several], rank[several]
    parts: dict[int, list[tuple[int, int, int]]] = {}
    if not len(at):
        return parts
    starts = np.flatnonzero(np.r_[True, part[1:] != part[:-1]])  # the first row of each part
    heads = np.flatnonzero(np.r_[True, np.diff(rank[starts]) != 0])  # the first part of each claim
    sizes = np.diff(np.r_[starts, len(at)])
    of_part = np.repeat(np.arange(len(heads)), np.diff(np.r_[heads, len(starts)]))
    of_row = np.repeat(of_part, sizes)
    cents, action = columns["paid_cents"][at], columns["action"][at]
    billed = np.flatnonzero((cents >= 0) & (action != VOID))
    first = billed[first_row(_lines(raw, at[billed]), of_row[billed].astype(np.uint64))]
    anew = np.zeros(len(heads), bool)
    anew[of_row[billed[part[billed] != part[first]]]] = True
    loose = np.logical_and.reduceat((cents < 0) & (action == PLAIN), starts)
    plain = anew.copy()
    plain[of_part[loose]] = False
    # plain ones at once; of others it depends on what their negatives by themselves take back
    moved, leasts = plain[of_row], np.minimum.reduceat(at, starts)
    firsts = np.minimum.reduceat(columns["claim_start_day"][at], starts)
    lasts = np.maximum.reduceat(columns["claim_end_day"][at], starts)
    old = claim[at[starts[heads]]].tolist()
    claim[at[moved]] = np.repeat(leasts, sizes)[moved]
    found.see("numbers_that_start_anew", cents[moved])
    spans = list(zip(firsts.tolist(), lasts.tolist(), leasts.tolist(), strict=True))
    bounds, stops = np.append(heads, len(starts)).tolist(), np.append(starts, len(at)).tolist()
    for k in np.flatnonzero(anew).tolist():
        own = range(bounds[k], bounds[k + 1])
        if plain[k]:
            parts[old[k]] = spans[own.start : own.stop]
            continue
        whole = [at[stops[part] : stops[part + 1]] for part in own]
        pieces = _with_negatives(columns["paid_cents"], whole, loose[own.start : own.stop])
        if len(pieces) > 1:
            parts[old[k]] = []
            for piece in pieces:
                claim[piece] = piece.min()
                days = columns["claim_start_day"][piece], columns["claim_end_day"][piece]
                parts[old[k]].append((int(days[0].min()), int(days[1].max()), int(piece.min())))
            found.see("numbers_that_start_anew", columns["paid_cents"][np.concatenate(whole)])
    return parts


def _with_negatives(
    cents: NDArray[np.int64], pieces: list[NDArray[np.intp]], loose: NDArray[np.bool_]
) -> list[NDArray[np.intp]]:
    """Pieces of a claim, apart in time, as claims.

    Unmarked negatives by themselves (`loose`) go with the piece that has their amounts.
    """
    kept = [piece for piece, is_loose in zip(pieces, loose, strict=True) if not is_loose]
    amounts = [set(cents[piece].tolist()) for piece in kept]
    for piece, is_loose in zip(pieces, loose, strict=True):
        if not is_loose:
            continue
        taken = set((-cents[piece]).tolist())
        home = next((k for k, known in enumerate(amounts) if taken <= known), None)
        if home is None:
            kept.append(piece)
        else:
            kept[home] = np.concatenate([kept[home], piece])
    return kept


class _Family:
    """Rows of families of claims, laid out for the kernel.

    `alike` is the first row of those that equal each other in all that has meaning.
    """

    def __init__(
        self,
        raw: ShardRows,
        rows: NDArray[np.intp],
        words: NDArray[np.uint64],
        claim: NDArray[np.int64],
        links: _Links,
        parts: dict[int, list[tuple[int, int, int]]],
        alike: NDArray[np.int64],
    ) -> None:
        columns = raw.numbers
        self.cents = columns["paid_cents"][rows]
        self.claim = claim[rows]
        place = np.full(raw.n, -1, np.int64)
        place[rows] = np.arange(len(rows))
        at = place[links.rows]
        target = links.target.copy()
        for k in np.flatnonzero(np.isin(target, list(parts))).tolist() if parts else ():
            target[k] = _part_of(raw, int(links.rows[k]), parts[int(target[k])])
        self.family = _families(self.claim, claim[links.rows], target, links.name)
        # a claim is ordered by what it is called, not by where it stands
        called = words[rows]
        if parts:
            called = called ^ (
                columns["claim_start_day"][self.claim].astype(np.uint64)
                * _ODD
                * np.isin(self.claim, [name for of in parts.values() for *_, name in of])
            )
        self.called = called
        self.line = _lines(raw, rows)
        action = columns["action"][rows]
        self.phase = self._phases(action, columns["paid_day"][rows])
        self.phase[at[(target >= 0) & (self.phase[at] == PLAIN)]] = REPLACES
        paid = columns["paid_day"][rows].astype(np.int64)
        paid[(self.phase == VOID) & (paid == NO_DAY)] = _LAST_DAY
        came = columns["file_day"][rows].astype(np.int64)
        self.when = (paid << 32) + (came - NO_DAY)
        self.first = (paid << 32) + (_earliest(came, alike) - NO_DAY)
        self.names = np.full((2, len(rows)), -1, np.int64)
        self.names[links.second.astype(int), at] = target
        self.hash = columns["hash_1"][rows], columns["hash_2"][rows]
        self._number_lines(raw.hashes["claim_line_number"].take(rows) == 0, alike)

    def _number_lines(self, blank: NDArray[np.bool_], alike: NDArray[np.int64]) -> None:
        """Tell lines without a number apart where only amounts can.

        A negative is of a line of its claim with its amount. Several rows of one void are each of
        some line, not of the header.
        """
        billed: dict[tuple[int, int], list[int]] = {}
        for k in np.flatnonzero(blank & (self.phase <= REPLACES)).tolist():
            key = int(self.claim[k]), int(self.cents[k])
            billed.setdefault(key, []).append(int(self.line[k]))
        for k in np.flatnonzero(blank & (self.phase == NEGATIVE)).tolist():
            known = billed.get((int(self.claim[k]), -int(self.cents[k])))
            if known:
                self.line[k] = max(known)
                known.remove(max(known))
        voids = np.flatnonzero(blank & (self.phase == VOID))
        at = list(zip(self.claim[voids].tolist(), self.first[voids].tolist(), strict=True))
        several = Counter(key for key, _ in set(zip(at, alike[voids].tolist(), strict=True)))
        for k, key in zip(voids.tolist(), at, strict=True):
            if several[key] > 1:
                self.line[k] = self.hash[0][k] | np.uint64(1)

    def _phases(self, action: NDArray[np.uint8], paid_day: NDArray[np.int32]) -> NDArray[np.uint8]:
        phase = action.copy()
        negative = (self.cents < 0) & ((action == PLAIN) | (action == REPLACES))
        phase[negative] = NEGATIVE
        of_day = first_row(self.claim.view(np.uint64), paid_day.astype(np.int64).view(np.uint64))
        # unmarked negatives of a claim belong to its void of the same paid day
        phase[negative & (action == PLAIN) & any_of(of_day, action == VOID)] = VOID
        return phase

    def later_amounts(self, taken: NDArray[np.bool_], *, once: bool) -> NDArray[np.bool_]:
        """Rows of families in which a plain row comes after one of its claim and line.

        A void's line is no version. Only here does the kernel ask whether a later amount is more.
        """
        kept = np.flatnonzero(taken & (self.phase != VOID) & (self.phase != BESIDE))
        kind = first_row(self.line[kept], self.claim[kept].view(np.uint64))
        when = (self.first if once else self.when)[kept]
        earliest = when.copy()
        np.minimum.at(earliest, kind, when)
        later = (when > earliest[kind]) & (self.phase[kept] == PLAIN)
        return self.of_families(kept[later])

    def of_families(self, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """All rows of the families of some."""
        return np.isin(self.family, np.unique(self.family[rows]))

    def fates(self, taken: NDArray[np.bool_], *, once: bool, additional: bool) -> NDArray[np.uint8]:
        """What `history_fates` says of the rows taken; of others 255.

        Rows that equal each other came when the first of them did, if they are taken `once`. A
        family's fates depend on no other family, so that some may be taken alone.
        """
        kept = np.flatnonzero(taken)
        found = np.full(len(taken), OPEN, np.uint8)
        if not len(kept):
            return found
        when = self.first if once else self.when
        order = kept[
            np.lexsort(
                [
                    column[kept]
                    for column in (
                        self.hash[1], self.hash[0], self.cents, self.line, self.called, self.phase,
                        when, self.family,
                    )
                ]
            )
        ]  # fmt: skip
        family = self.family[order]
        starts = np.flatnonzero(np.r_[True, family[1:] != family[:-1]])
        local = self._numbered(order)
        own, other = (
            np.where(named >= 0, local.take(np.maximum(named, 0)), -1).astype(np.int32)
            for named in self.names[:, order]
        )
        found[order] = history_fates(
            when[order],
            self.phase[order],
            local[self.claim[order]].astype(np.int32),
            self.line[order],
            self.cents[order],
            own,
            other,
            np.append(starts, len(order)).astype(np.int64),
            additional=additional,
        )
        return found

    def _numbered(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Number of each claim within its family, by the claim's first row; -1 of others."""
        order = rows[np.lexsort((self.called[rows], self.family[rows]))]
        family, called = self.family[order], self.called[order]
        fresh_family = np.r_[True, family[1:] != family[:-1]]
        fresh = fresh_family | np.r_[True, called[1:] != called[:-1]]
        number = np.cumsum(fresh) - 1
        first = np.maximum.accumulate(np.where(fresh_family, number, 0))
        local = np.full(int(self.claim.max()) + 1, -1, np.int64)
        local[self.claim[order]] = number - first
        return local


def _earliest(days: NDArray[np.int64], alike: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first stated day of rows that are alike, known by the first of them; else `NO_DAY`."""
    first = np.full(len(days), _LAST_DAY, np.int64)
    np.minimum.at(first, alike, np.where(days == NO_DAY, _LAST_DAY, days))
    first[first == _LAST_DAY] = NO_DAY
    return first[alike]


def _part_of(raw: ShardRows, row: int, parts: list[tuple[int, int, int]]) -> int:
    """The part of a claim whose service dates a row that names it shares, else the latest."""
    start, end = (int(raw.numbers[f"claim_{which}_day"][row]) for which in ("start", "end"))
    met = [part for part in parts if part[0] <= max(start, end) and start <= part[1]]
    return max(met or parts)[2]


def _families(
    claim: NDArray[np.int64],
    naming: NDArray[np.int64],
    target: NDArray[np.int64],
    name: NDArray[np.uint64],
) -> NDArray[np.int64]:
    """Family of each row, known by one of its claims: claims that name each other or one number."""
    family = claim.copy()
    if not len(naming):
        return family
    away = target < 0
    linked = np.unique(np.concatenate([naming, target[~away]]))
    absent, place = np.unique(name[away], return_inverse=True)
    to = np.empty(len(target), np.int64)
    to[~away] = np.searchsorted(linked, target[~away])
    to[away] = len(linked) + place
    n = len(linked) + len(absent)
    links = np.ones(len(to), np.int8), (np.searchsorted(linked, naming), to)
    _, part = connected_components(coo_array(links, shape=(n, n)), directed=False)
    _, first = np.unique(part, return_index=True)  # claims stand before what is not here
    home = linked[first[part[: len(linked)]]]
    at = np.searchsorted(linked, claim)
    at[at == len(linked)] = 0
    met = linked[at] == claim
    family[met] = home[at[met]]
    return family


def _other_readings(
    family: _Family,
    equal: NDArray[np.bool_],
    duplicate: NDArray[np.bool_],
    stands: NDArray[np.uint8],
    choices: Choices,
    found: Histories,
) -> None:
    """What would stand more, in rows and dollars, if an open choice were made the other way."""
    additional, once = choices.later_amounts == "additional", choices.equal_rows == "duplicate"
    later = family.later_amounts(~duplicate, once=once)
    others = [("later_amounts", later, ~duplicate, once, not additional)]
    if equal.any():
        repeated = family.of_families(np.flatnonzero(equal))
        others.append(("equal_rows", repeated, ~(equal & (not once)), not once, additional))
    for finding, differing, taken, is_once, is_more in others:
        read = family.fates(differing & taken, once=is_once, additional=is_more)
        then, now = (differing & np.isin(fates, (STANDS, MOVED)) for fates in (read, stands))
        if (then != now).any():
            found.findings.see(
                Doubt("", finding), int(np.count_nonzero(then != now)),
                int(family.cents[then].sum() - family.cents[now].sum()),
            )  # fmt: skip
