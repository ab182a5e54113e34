"""Final action: which version of a claim line stands, from adjusted history.

    duplicates -> versions in order -> voids and reversals pair off -> the last version stands

The input is every row of a claim and line of one member, in any order. Rules, in this order:

1. A row equal to another in every column that is content (`input_columns`) is a duplicate; the
   first read stays.
2. Versions are ordered by paid date, then file date, then what they say, in byte order. A blank
   date comes first. File names and positions never decide.
3. A void (adjustment indicator 1) and the version it cancels are voided. So are a reversal, which
   is a version with a negative amount and no indicator of its own, and the version with the
   opposite amount. Of several candidates the latest not later than the void goes first, a version
   of equal size before any other; a void may cancel a version of another size, a reversal may not.
4. Credits and debits (indicators 3, 5, 6) are money moved beside a claim: not versions of it. They
   neither supersede nor are superseded.
5. Any version followed by another is superseded, also when the later one was voided afterwards: a
   cancelled replacement does not bring its predecessor back.
6. Claims linked by original or adjustment claim numbers are versions of one claim, as wholes: the
   later claim supersedes, or, being a void or an exact negative, voids, every line of the earlier.

Indicators are those of the TAF claim adjustment code: 0 original, 1 void, 2 resubmittal, 3 credit
adjustment, 4 replacement, 5 gross credit, 6 gross debit (ResDAC, "Claim Line Adjustment Code").
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.ledger import IngestFate


def mark_duplicates(
    fate: NDArray[np.uint8], hash_1: NDArray[np.uint64], hash_2: NDArray[np.uint64]
) -> None:
    """Every readable row equal to an earlier readable one is a duplicate."""
    rows = np.flatnonzero(fate == OPEN)
    order = rows[np.lexsort((rows, hash_2[rows], hash_1[rows]))]
    same = (hash_1[order][1:] == hash_1[order][:-1]) & (hash_2[order][1:] == hash_2[order][:-1])
    fate[order[1:][same]] = IngestFate.DUPLICATE


OPEN: Final = 255
"""No fate yet."""
NOT_STATED: Final = 255
VOID: Final = 1
ADDITIVE: Final = (3, 5, 6)
INDICATORS: Final = frozenset("0123456")

_VOIDED: Final = int(IngestFate.VOIDED)
_SUPERSEDED: Final = int(IngestFate.SUPERSEDED)


@dataclass(frozen=True)
class Versions:
    """Rows that share claim and line with another row: arrays of one length.

    group : int64, rows of one claim and line of one member
    paid_day, file_day : int32 days, `NO_DAY` blank
    rank : int64, order of the mapped columns in bytes among rows that tie on the days
    paid_cents : int64
    indicator : uint8, 0-6, `NOT_STATED`
    """

    group: NDArray[np.int64]
    paid_day: NDArray[np.int32]
    file_day: NDArray[np.int32]
    rank: NDArray[np.int64]
    paid_cents: NDArray[np.int64]
    indicator: NDArray[np.uint8]


def line_fates(versions: Versions) -> NDArray[np.uint8]:
    """Fate of each row by rules 2 to 5: `OPEN`, voided or superseded.

    Returns
    -------
    uint8[n], in the order of the input
    """
    n = len(versions.group)
    order = np.lexsort((versions.rank, versions.file_day, versions.paid_day, versions.group))
    group = versions.group[order]
    cents = versions.paid_cents[order]
    indicator = versions.indicator[order]
    additive = np.isin(indicator, ADDITIVE)
    fate = np.full(n, OPEN, np.uint8)
    version = ~additive  # counts as a later version of what stands before it
    starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]]) if n else np.empty(0, np.intp)
    stops = np.r_[starts[1:], n]
    cancels = (indicator == VOID) | ((cents < 0) & _plain(indicator))
    if n:
        busy = np.logical_or.reduceat(cancels, starts)
        plain_pair, voided = _plain_pairs(starts[busy], stops[busy], cents, indicator)
        fate[voided] = fate[voided + 1] = _VOIDED
        busy[np.flatnonzero(busy)[plain_pair]] = False
        rows = np.flatnonzero(busy.repeat(stops - starts))
        days = (values[order[rows]].tolist() for values in (versions.paid_day, versions.file_day))
        when = list(zip(*days, strict=True))
        amounts, marks = cents[rows].tolist(), indicator[rows].tolist()
        first = 0
        for start, size in zip(starts[busy].tolist(), (stops - starts)[busy].tolist(), strict=True):
            own = slice(first, first + size)
            for row in _pair_off(when[own], amounts[own], marks[own]):
                fate[start + row] = _VOIDED
            first += size
        version &= ~(cancels & (fate == _VOIDED))
        # rows after which another version of the group follows
        later: NDArray[np.int64] = np.cumsum(version[::-1])[::-1] - version.astype(np.int64)
        after_group = np.repeat(np.r_[later[stops[:-1] - 1], 0], stops - starts)
        followed = later - after_group > 0
        fate[(fate == OPEN) & version & followed] = _SUPERSEDED
    result = np.empty(n, np.uint8)
    result[order] = fate
    return result


def _plain(indicator: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (indicator == NOT_STATED) | (indicator == 0)


def _plain_pairs(
    starts: NDArray[np.intp],
    stops: NDArray[np.intp],
    cents: NDArray[np.int64],
    indicator: NDArray[np.uint8],
) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Groups of a version and the one row that may cancel it; and the starts of those it does.

    A shorter way to what `_pair_off` says of them: a void cancels the version before it, a reversal
    if the amount is the opposite.
    """
    plain = stops - starts == 2
    first, second = starts, np.where(plain, starts + 1, starts)
    plain &= (indicator[first] != VOID) & ~np.isin(indicator[first], ADDITIVE) & (cents[first] >= 0)
    void = indicator[second] == VOID
    plain &= void | (_plain(indicator[second]) & (cents[second] < 0))
    return plain, starts[plain & (void | (cents[first] == -cents[second]))]


def _pair_off(when: list[tuple[int, int]], cents: list[int], indicator: list[int]) -> set[int]:
    """Positions voided among the ordered versions of one claim and line."""
    voided: set[int] = set()
    live = [
        k for k, mark in enumerate(indicator) if mark not in ADDITIVE and mark != VOID
    ]  # in order
    for k, mark in enumerate(indicator):
        reversal = mark in (0, NOT_STATED) and cents[k] < 0
        if mark == VOID:
            voided.add(k)
        elif not reversal or k in voided:
            continue
        before = [j for j in live if j != k and j not in voided and when[j] <= when[k]]
        before = [j for j in before if mark == VOID or cents[j] > 0]
        same = [j for j in before if abs(cents[j]) == abs(cents[k])]
        earlier = [j for j in before if when[j] < when[k]]
        partner = same or ((earlier or before) if mark == VOID else [])
        if partner:
            voided.update((k, partner[-1]))
    return voided


@dataclass(frozen=True)
class ClaimVersion:
    """One claim of a family of linked claims.

    rows : positions of its rows
    order : what decides which claim is later
    cents : sum of its rows still open
    indicator : of its rows; the void if any row is one
    """

    rows: tuple[int, ...]
    order: tuple[Hashable, ...]
    cents: int
    indicator: int


def claim_fates(family: list[ClaimVersion]) -> dict[int, int]:
    """Fates that rule 6 gives to rows of linked claims; rows not named keep theirs."""
    fates: dict[int, int] = {}
    live: list[ClaimVersion] = []
    for claim in sorted(family, key=lambda version: version.order):
        if claim.indicator in ADDITIVE:
            continue
        opposite = claim.cents < 0 and any(version.cents == -claim.cents for version in live)
        if claim.indicator == VOID or (claim.indicator in (0, NOT_STATED) and opposite):
            match = [v for v in live if v.cents == abs(claim.cents)] or live
            fates.update(dict.fromkeys(claim.rows, _VOIDED))
            if match:
                fates.update(dict.fromkeys(match[-1].rows, _VOIDED))
            live = []
            continue
        for version in live:
            fates.update(dict.fromkeys(version.rows, _SUPERSEDED))
        live = [claim]
    return fates


def families(links: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Which claims, known by number, belong together: of each, the smallest of its family."""
    parent: dict[int, int] = {}

    def root(name: int) -> int:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for left, right in links:
        a, b = root(left), root(right)
        parent[max(a, b)] = min(a, b)
    return {name: root(name) for name in list(parent)}
