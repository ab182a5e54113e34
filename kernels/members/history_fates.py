"""Which rows of a claim's history stand: versions, voids, reversals and money moved beside."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any, Final

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require

PLAIN: Final = 0
"""Not negative, and nothing says that it replaces anything."""
REPLACES: Final = 1
VOID: Final = 2
NEGATIVE: Final = 3
"""A reversal where it pairs, else a line of its version or money moved."""
BESIDE: Final = 4
"""Money moved beside the claim, as its row says."""

STANDS: Final = 0
VOIDED: Final = 1
SUPERSEDED: Final = 2
ORPHAN_VOID: Final = 3
MOVED: Final = 4
"""A negative that pairs with nothing: it stands, and supersedes nothing."""

MAX_ROWS: Final = 1 << 16
"""Rows of a family at the most: its versions are compared with one another."""
GPU_THREADS: Final = 128
_NONE: Final = -1


def history_fates(
    when: Any,
    phase: Any,
    claim: Any,
    line: Any,
    cents: Any,
    own_name: Any,
    other_name: Any,
    offsets: Any,
    *,
    additional: bool,
) -> Any:
    """Fate of each row of families of claims, each family being the history of one bill.

    A family's rows are read one time after another. Rows of one time, phase and claim are a batch;
    where a line stands in it several times, the k-th of each line are a batch of their own. Batches
    of a claim that replace nothing grow into one version. At each time, in this order:

    1. A void, then a batch of negatives, cancels what has its amount and nothing else does: a
       version, a batch of this time, or a batch of a version of several; among these one of a claim
       that it names goes first, then one of an earlier time, then the latest, then the last row.
       A negative row whose batch finds none cancels the row of its claim (or of a claim it names),
       line and amount, earlier ones first, then the latest.
    2. A void that found none: where lines stand twice, rows of its lines and amounts if all are
       there; else superseded rows of its amount; else the version of a claim that it names, the
       latest; else, if it has no amount or one row without a line, the latest version.
    3. Plain rows supersede earlier ones of their claim and line, unless `additional`; they join
       the claim's version. A void that found none may then cancel a version of this time.
    4. Replacing batches supersede all that stands of earlier times and the plain rows of this one;
       one of them that another names, without naming it, is superseded by it.
    5. A negative left over cancels a superseded row of its claim, line and amount; else it is a
       line of the version of its claim and time, if that has no such line; else money moved.

    A void left over is an orphan. What is superseded or voided is never revived.

    Parameters
    ----------
    when : int64[n_rows]
        Time of a row, non-decreasing within a family.
    phase : uint8[n_rows]
        `PLAIN`, `REPLACES`, `VOID`, `NEGATIVE` or `BESIDE`, non-decreasing within a time; plain and
        replacing rows are not negative in cents, negative ones are.
    claim : int32[n_rows]
        Claim of a row, below the number of claims of its family, non-decreasing within a phase.
    line : uint64[n_rows]
        What tells lines of a claim apart, non-decreasing within a claim; 0: no line.
    cents : int64[n_rows], US cents
    own_name, other_name : int32[n_rows]
        Claims of the family that a row names; -1 none.
    offsets : int64[n_families + 1]
        Start of each family: offsets[0] == 0, offsets[-1] == n_rows, non-decreasing, at most
        `MAX_ROWS` apart.
    additional : bool
        Whether a later plain row of a line is more of it, not its later version.

    Returns
    -------
    uint8[n_rows]
        `STANDS`, `VOIDED`, `SUPERSEDED`, `ORPHAN_VOID` or `MOVED`, on the device of the inputs.

    Raises
    ------
    KernelInputError
        If an array has another dtype, rank or length, the arrays live on different devices, or a
        family has more than `MAX_ROWS` rows. Values inside the arrays are trusted.

    Exact on every device: integers only. Source: TAF claim adjustment codes and claim families;
    NUBC bill type frequency codes 7 and 8.
    """
    arrays = {
        "when": (when, np.int64), "phase": (phase, np.uint8), "claim": (claim, np.int32),
        "line": (line, np.uint64), "cents": (cents, np.int64), "own_name": (own_name, np.int32),
        "other_name": (other_name, np.int32),
    }  # fmt: skip
    device = device_of(**{name: array for name, (array, _) in arrays.items()}, offsets=offsets)
    require("when", when, np.int64, (None,))
    for name, (array, kind) in arrays.items():
        require(name, array, kind, (len(when),))
    require("offsets", offsets, np.int64, (None,))
    if len(offsets) == 0:
        raise KernelInputError("offsets: expected n_families + 1 starts, got an empty array")
    sizes = offsets[1:] - offsets[:-1]
    largest = int(sizes.max()) if len(sizes) else 0
    if largest > MAX_ROWS:
        raise KernelInputError(
            f"offsets: expected families of at most {MAX_ROWS:,} rows, got {largest:,}"
        )
    inputs = (when, phase, claim, line, cents, own_name, other_name, offsets)
    if device == "cpu":
        when, phase, claim, line, cents, own_name, other_name, offsets = map(read_only, inputs)
        return _cpu(
            when, phase, claim, line, cents, own_name, other_name, offsets, additional, largest
        )
    return _gpu(when, phase, claim, line, cents, own_name, other_name, offsets, additional)


def reference(
    when: Any,
    phase: Any,
    claim: Any,
    line: Any,
    cents: Any,
    own_name: Any,
    other_name: Any,
    offsets: Any,
    additional: Any,
) -> Any:
    """The definition, a family at a time. Slow on purpose; never optimised."""
    out = np.empty(len(when), np.uint8)
    columns = (when, phase, claim, line, cents, own_name, other_name)
    for a, b in pairwise(offsets.tolist()):
        rows = [_Row(k, *(int(c[a + k]) for c in columns)) for k in range(b - a)]
        _read(rows, additional=bool(additional))
        out[a:b] = [row.fate for row in rows]
    return out


class _Row:
    """A row of a family, as the definition sees it."""

    def __init__(
        self, place: int, when: int, phase: int, claim: int, line: int, cents: int, *names: int
    ) -> None:
        self.place, self.when, self.phase, self.claim = place, when, phase, claim
        self.line, self.cents = line, cents
        self.names = {claim, *names} - {_NONE}
        self.fate = STANDS
        self.batch: list[_Row] = []
        self.layered = False
        self.version: list[_Row] | None = None  # None: not in a version, or not yet

    def answers(self, other: _Row) -> bool:
        """Whether this row takes back just that one."""
        return (
            other.claim in self.names
            and other.line == self.line
            and other.cents == (abs(self.cents) if self.phase == VOID else -self.cents)
        )


def _read(rows: list[_Row], *, additional: bool) -> None:
    groups: dict[tuple[int, int, int], list[_Row]] = {}
    for row in rows:
        groups.setdefault((row.when, row.phase, row.claim), []).append(row)
    for group in groups.values():
        layers: list[list[_Row]] = []
        seen: dict[int, int] = {}
        for row in group:
            layer = seen[row.line] = seen.get(row.line, -1) + 1
            if layer == len(layers):
                layers.append([])
            layers[layer].append(row)
        for batch in layers:
            for row in batch:
                row.batch, row.layered = batch, len(layers) > 1
    versions: dict[int, list[_Row]] = {}  # of each claim, the one that may stand
    for when in sorted({row.when for row in rows}):
        before = [row for row in rows if row.when < when]
        at = [row for row in rows if row.when == when]
        plain, replacing, voids, negatives = (
            [row for row in at if row.phase == phase] for phase in range(BESIDE)
        )
        known = [*before, *plain, *replacing]
        for batch in (*_batches(voids), *_batches(negatives)):
            if not _cancel(batch, _options(known, when), when) and batch[0].phase == NEGATIVE:
                for row in batch:
                    found = [q for q in known if _is_open(q, when) and row.answers(q)]
                    found.sort(key=lambda q: (q.claim == row.claim, q.when < when, q.when, q.place))
                    _pair([row], found[-1:])
        for batch in _batches(voids):
            if batch[0].fate == STANDS:
                _late_void(batch, known, versions, when)
        for row in plain:
            if row.fate == STANDS:
                for q in () if additional else before:
                    if _is_open(q, when) and (q.claim, q.line) == (row.claim, row.line):
                        q.fate = SUPERSEDED
                row.version = versions.setdefault(row.claim, [])
                row.version.append(row)
        for batch in _batches(voids):
            if batch[0].fate == STANDS and not _named(batch, versions):
                for row in batch:
                    row.fate = ORPHAN_VOID
        standing = [row for row in replacing if row.fate == STANDS]
        if standing:
            for q in (*before, *plain):
                if q.version is not None and q.fate == STANDS:
                    q.fate = SUPERSEDED
            versions.clear()
        for row in standing:
            named_by = [q for q in standing if row.claim in q.names and q.claim not in row.names]
            if named_by:
                row.fate = SUPERSEDED
        made: dict[int, list[_Row]] = {}
        for row in standing:
            row.version = made.setdefault(id(row.batch), list(row.batch))
            if row.fate == STANDS:
                versions[row.claim] = row.version
        for batch in _batches(negatives):
            _left_over(batch, before, plain + replacing)


def _batches(rows: list[_Row]) -> list[list[_Row]]:
    return [row.batch for row in rows if row.batch[0] is row]


def _is_open(row: _Row, when: int) -> bool:
    """Whether it stands in a version, or may at this time."""
    return row.fate == STANDS and (row.version is not None or row.when == when)


def _options(known: list[_Row], when: int) -> list[tuple[bool, list[_Row]]]:
    """What an amount may cancel: what stands of a version, or a batch of which all stands."""
    found: dict[int, tuple[bool, list[_Row]]] = {}
    for row in known:
        if _is_open(row, when):
            whole = row.batch if row.version is None else row.version
            found[id(whole)] = (True, [q for q in whole if q.fate == STANDS])
            if all(_is_open(q, when) for q in row.batch):
                found.setdefault(id(row.batch), (False, row.batch))
    return list(found.values())


def _cancel(batch: list[_Row], options: list[tuple[bool, list[_Row]]], when: int) -> bool:
    amount = abs(sum(row.cents for row in batch))
    names = set().union(*(row.names for row in batch))
    equal = [
        (rows[-1].claim in names, whole, rows[-1].when < when, rows[-1].when, rows[-1].place, rows)
        for whole, rows in options
        if amount and sum(q.cents for q in rows) == amount
    ]
    best = max(equal, key=lambda option: option[:-1], default=None)
    return best is not None and _pair(batch, best[-1])


def _pair(batch: list[_Row], cancelled: list[_Row]) -> bool:
    if cancelled:
        for row in (*batch, *cancelled):
            row.fate = VOIDED
    return bool(cancelled)


def _late_void(
    batch: list[_Row], known: list[_Row], versions: dict[int, list[_Row]], when: int
) -> None:
    """A void whose amount nothing has that stands."""
    found: list[_Row] = []
    for row in batch:
        found += [
            q
            for q in known
            if _is_open(q, when)
            and row.answers(q)
            and (row.layered or q.layered)
            and q not in found
        ][-1:]
    if len(found) == len(batch) and _pair(batch, found):
        return
    superseded = [(False, q.batch) for q in known if all(r.fate == SUPERSEDED for r in q.batch)]
    if _cancel(batch, superseded, when):
        return
    if _named(batch, versions):
        return
    if not sum(row.cents for row in batch) or (len(batch) == 1 and not batch[0].line):
        _pair(batch, _latest(list(versions.values())))


def _latest(versions: list[list[_Row]]) -> list[_Row]:
    """What stands of the version that ends last."""
    open_ = [[row for row in version if row.fate == STANDS] for version in versions]
    return max((rows for rows in open_ if rows), key=lambda rows: rows[-1].place, default=[])


def _named(batch: list[_Row], versions: dict[int, list[_Row]]) -> bool:
    """Cancel the version of a claim that a void names, the latest."""
    names = set().union(*(row.names for row in batch))
    return _pair(batch, _latest([of for name, of in versions.items() if name in names]))


def _left_over(batch: list[_Row], before: list[_Row], at: list[_Row]) -> None:
    """Negatives that found nothing that stands."""
    open_ = [row for row in batch if row.fate == STANDS]
    for row in open_:
        past = [q for q in (*before, *at) if q.fate == SUPERSEDED and row.answers(q)]
        if _pair([row], past[-1:]):
            continue
        beside = [q for q in at if q.claim == row.claim]
        standing = [q for q in beside if q.fate == STANDS]
        if standing and all(q.line != row.line for q in beside):
            row.version = standing[-1].version
            if row.version is not None:
                row.version.append(row)
        else:
            row.fate = MOVED


@numba.njit(cache=True, nogil=True)
def _group_end(r: Any, n: Any, when: Any, phase: Any, claim: Any) -> Any:
    """Where the rows of this row's time, phase and claim end."""
    e = r + 1
    while e < n and when[e] == when[r] and phase[e] == phase[r] and claim[e] == claim[r]:
        e += 1
    return e


@numba.njit(cache=True, nogil=True)
def _is_named(c: Any, head: Any, end: Any, batch: Any, claim: Any, own: Any, other: Any) -> Any:
    """Whether a batch, by its head and the end of its group, names a claim."""
    if claim[head] == c:
        return True
    for r in range(head, end):  # noqa: SIM110 - Numba compiles no generators
        if batch[r] == head and (own[r] == c or other[r] == c):
            return True
    return False


@numba.njit(cache=True, nogil=True)
def _answers(
    r: Any, q: Any, phase: Any, claim: Any, line: Any, cents: Any, own: Any, other: Any
) -> Any:
    """Whether row r takes back just row q."""
    if line[q] != line[r] or not (
        claim[q] == claim[r] or own[r] == claim[q] or other[r] == claim[q]
    ):
        return False
    return cents[q] == (abs(cents[r]) if phase[r] == VOID else -cents[r])


@numba.njit(cache=True, nogil=True)
def _cancel_by_amount(
    head: Any,
    end: Any,
    known: Any,
    now: Any,
    superseded: Any,
    when: Any,
    claim: Any,
    cents: Any,
    own: Any,
    other: Any,
    fate: Any,
    batch: Any,
    size: Any,
    version: Any,
    sums: Any,
    counts: Any,
    lasts: Any,
) -> Any:
    """Cancel what has a batch's amount, as the definition ranks it; whether something had it.

    Looks at rows before `known`: at what stands, or at batches that are superseded whole. `sums`,
    `counts` and `lasts` are scratch of two rows: by version, by batch.
    """
    amount = np.int64(0)
    for r in range(head, end):
        if batch[r] == head:
            amount += cents[r]
    amount = abs(amount)
    if amount == 0:
        return False
    for q in range(known):
        counts[0, q] = counts[1, q] = 0
        sums[0, q] = sums[1, q] = 0
    for q in range(known):
        if superseded:
            taken = fate[q] == SUPERSEDED
        else:
            taken = fate[q] == STANDS and (version[q] >= 0 or when[q] == now)
        if not taken:
            continue
        if version[q] >= 0 and not superseded:
            v = version[q]
            sums[0, v] += cents[q]
            counts[0, v] += 1
            lasts[0, v] = q
        h = batch[q]
        sums[1, h] += cents[q]
        counts[1, h] += 1
        lasts[1, h] = q
    best_level, best_at = -1, -1
    b_named, b_whole, b_before, b_last = False, False, False, -1
    for level in range(2):
        for at in range(known):
            if counts[level, at] == 0 or sums[level, at] != amount:
                continue
            whole = level == 0
            last = lasts[level, at]
            if level == 1:
                if not superseded and version[last] < 0:
                    whole = True
                elif counts[1, at] != size[at]:
                    continue
            named = _is_named(claim[last], head, end, batch, claim, own, other)
            before = when[last] < now
            if best_at >= 0:
                if named != b_named:
                    better = named
                elif whole != b_whole:
                    better = whole
                elif before != b_before:
                    better = before
                else:
                    better = last > b_last  # rows stand in order of time
                if not better:
                    continue
            best_level, best_at = level, at
            b_named, b_whole, b_before, b_last = named, whole, before, last
    if best_at < 0:
        return False
    for q in range(known):
        mine = version[q] == best_at if best_level == 0 else batch[q] == best_at
        if mine and fate[q] == (SUPERSEDED if superseded else STANDS):
            fate[q] = VOIDED
    _mark(head, end, VOIDED, batch, fate)
    return True


@numba.njit(cache=True, nogil=True)
def _mark(head: Any, end: Any, value: Any, batch: Any, fate: Any) -> None:
    """Give the rows of a batch a fate."""
    for r in range(head, end):
        if batch[r] == head:
            fate[r] = value


@numba.njit(cache=True, nogil=True)
def _cancel_latest(
    head: Any,
    end: Any,
    any_claim: Any,
    n_claims: Any,
    known: Any,
    claim: Any,
    own: Any,
    other: Any,
    fate: Any,
    batch: Any,
    version: Any,
    of_claim: Any,
    lasts: Any,
) -> Any:
    """Cancel the version that ends last, of the claims that a batch names or of any."""
    for q in range(known):
        lasts[0, q] = -1
    for q in range(known):
        if fate[q] == STANDS and version[q] >= 0:
            lasts[0, version[q]] = q
    best = -1
    for c in range(n_claims):
        v = of_claim[c]
        if v < 0 or lasts[0, v] < 0:
            continue
        if not any_claim and not _is_named(c, head, end, batch, claim, own, other):
            continue
        if best < 0 or lasts[0, v] > lasts[0, best]:
            best = v
    if best < 0:
        return False
    for q in range(known):
        if version[q] == best and fate[q] == STANDS:
            fate[q] = VOIDED
    _mark(head, end, VOIDED, batch, fate)
    return True


@numba.njit(cache=True, nogil=True)
def _line_by_line(
    head: Any,
    end: Any,
    known: Any,
    now: Any,
    when: Any,
    phase: Any,
    claim: Any,
    line: Any,
    cents: Any,
    own: Any,
    other: Any,
    fate: Any,
    batch: Any,
    layered: Any,
    version: Any,
    partner: Any,
) -> Any:
    """Cancel rows of a void's lines and amounts where lines stand twice, if all are there."""
    complete = True
    for r in range(head, end):
        if batch[r] != head:
            continue
        partner[r] = -1
        for q in range(known - 1, -1, -1):
            if fate[q] != STANDS or not (version[q] >= 0 or when[q] == now):
                continue
            if not (layered[r] or layered[q]):
                continue
            if not _answers(r, q, phase, claim, line, cents, own, other):
                continue
            partner[r] = q
            fate[q] = VOIDED
            break
        if partner[r] < 0:
            complete = False
    for r in range(head, end):
        if batch[r] == head:
            if complete:
                fate[r] = VOIDED
            elif partner[r] >= 0:
                fate[partner[r]] = STANDS
    return complete


@numba.njit(cache=True, nogil=True)
def _family(
    when: Any,
    phase: Any,
    claim: Any,
    line: Any,
    cents: Any,
    own: Any,
    other: Any,
    additional: Any,
    fate: Any,
    batch: Any,
    size: Any,
    layered: Any,
    version: Any,
    of_claim: Any,
    partner: Any,
    sums: Any,
    counts: Any,
    lasts: Any,
) -> None:
    """Give every row of a family its fate; the last eight are scratch."""
    n = len(when)
    n_claims = 0
    for r in range(n):
        fate[r] = STANDS
        version[r] = of_claim[r] = -1
        size[r] = 0
        n_claims = max(n_claims, claim[r] + 1)
    r = 0
    while r < n:
        end = _group_end(r, n, when, phase, claim)
        n_layers, layer = 0, 0
        for q in range(r, end):
            layer = layer + 1 if q > r and line[q] == line[q - 1] else 0
            if layer == n_layers:
                partner[n_layers] = q  # head of the layer
                n_layers += 1
            batch[q] = partner[layer]
            size[partner[layer]] += 1
        for q in range(r, end):
            layered[q] = n_layers > 1
        r = end
    i = 0
    while i < n:
        now = when[i]
        p1 = i
        while p1 < n and when[p1] == now and phase[p1] == PLAIN:
            p1 += 1
        p2 = p1
        while p2 < n and when[p2] == now and phase[p2] == REPLACES:
            p2 += 1
        p3 = p2
        while p3 < n and when[p3] == now and phase[p3] == VOID:
            p3 += 1
        p4 = p3
        while p4 < n and when[p4] == now and phase[p4] == NEGATIVE:
            p4 += 1
        j = p4
        while j < n and when[j] == now:
            j += 1
        for h in range(p2, p4):
            if batch[h] != h:
                continue
            end = _group_end(h, n, when, phase, claim)
            if (
                _cancel_by_amount(
                    h,
                    end,
                    p2,
                    now,
                    False,
                    when,
                    claim,
                    cents,
                    own,
                    other,
                    fate,
                    batch,
                    size,
                    version,
                    sums,
                    counts,
                    lasts,
                )
                or phase[h] == VOID
            ):
                continue
            for r in range(h, end):
                if batch[r] != h:
                    continue
                best, b_own, b_before = -1, False, False
                for q in range(p2):
                    if fate[q] != STANDS or not (version[q] >= 0 or when[q] == now):
                        continue
                    if not _answers(r, q, phase, claim, line, cents, own, other):
                        continue
                    is_own, before = claim[q] == claim[r], when[q] < now
                    if best >= 0:
                        if is_own != b_own:
                            if b_own:
                                continue
                        elif before != b_before and b_before:
                            continue
                    best, b_own, b_before = q, is_own, before
                if best >= 0:
                    fate[r] = fate[best] = VOIDED
        for h in range(p2, p3):
            if batch[h] != h or fate[h] != STANDS:
                continue
            end = _group_end(h, n, when, phase, claim)
            if _line_by_line(
                h,
                end,
                p2,
                now,
                when,
                phase,
                claim,
                line,
                cents,
                own,
                other,
                fate,
                batch,
                layered,
                version,
                partner,
            ):
                continue
            if _cancel_by_amount(
                h,
                end,
                p2,
                now,
                True,
                when,
                claim,
                cents,
                own,
                other,
                fate,
                batch,
                size,
                version,
                sums,
                counts,
                lasts,
            ):
                continue
            if _cancel_latest(
                h,
                end,
                False,
                n_claims,
                p2,
                claim,
                own,
                other,
                fate,
                batch,
                version,
                of_claim,
                lasts,
            ):
                continue
            amount = np.int64(0)
            for r in range(h, end):
                if batch[r] == h:
                    amount += cents[r]
            if amount == 0 or (size[h] == 1 and line[h] == 0):
                _cancel_latest(
                    h,
                    end,
                    True,
                    n_claims,
                    p2,
                    claim,
                    own,
                    other,
                    fate,
                    batch,
                    version,
                    of_claim,
                    lasts,
                )
        for r in range(i, p1):
            if fate[r] != STANDS:
                continue
            if not additional:
                for q in range(i):
                    if (
                        claim[q] == claim[r]
                        and line[q] == line[r]
                        and fate[q] == STANDS
                        and version[q] >= 0
                    ):
                        fate[q] = SUPERSEDED
            if of_claim[claim[r]] < 0:
                of_claim[claim[r]] = r
            version[r] = of_claim[claim[r]]
        for h in range(p2, p3):
            if batch[h] != h or fate[h] != STANDS:
                continue
            end = _group_end(h, n, when, phase, claim)
            if not _cancel_latest(
                h,
                end,
                False,
                n_claims,
                p2,
                claim,
                own,
                other,
                fate,
                batch,
                version,
                of_claim,
                lasts,
            ):
                _mark(h, end, ORPHAN_VOID, batch, fate)
        replaced = False
        for r in range(p1, p2):
            replaced |= fate[r] == STANDS
        if replaced:
            for q in range(p1):
                if version[q] >= 0 and fate[q] == STANDS:
                    fate[q] = SUPERSEDED
            for c in range(n_claims):
                of_claim[c] = -1
            for r in range(p1, p2):
                partner[r] = fate[r]
            for r in range(p1, p2):
                if partner[r] != STANDS:
                    continue
                for q in range(p1, p2):
                    if partner[q] != STANDS:
                        continue
                    names = claim[q] == claim[r] or own[q] == claim[r] or other[q] == claim[r]
                    named = claim[q] == claim[r] or own[r] == claim[q] or other[r] == claim[q]
                    if names and not named:
                        fate[r] = SUPERSEDED
                        break
            for r in range(p1, p2):
                if partner[r] == STANDS:
                    version[r] = batch[r]
                    if fate[r] == STANDS:
                        of_claim[claim[r]] = batch[r]
        for r in range(p3, p4):
            if fate[r] != STANDS:
                continue
            best = -1
            for q in range(p2):
                if fate[q] == SUPERSEDED and _answers(r, q, phase, claim, line, cents, own, other):
                    best = q
            if best >= 0:
                fate[r] = fate[best] = VOIDED
                continue
            beside, free = -1, True
            for q in range(i, p2):
                if claim[q] == claim[r]:
                    if line[q] == line[r]:
                        free = False
                    if fate[q] == STANDS:
                        beside = q
            if beside >= 0 and free:
                version[r] = version[beside]
            else:
                fate[r] = MOVED
        i = j


@numba.njit(cache=True, nogil=True)
def _cpu(
    when: Any,
    phase: Any,
    claim: Any,
    line: Any,
    cents: Any,
    own: Any,
    other: Any,
    offsets: Any,
    additional: Any,
    largest: Any,
) -> Any:
    """Family by family, in scratch of the largest."""
    fate = np.empty(len(when), np.uint8)
    batch, size = np.empty(largest, np.int32), np.empty(largest, np.int32)
    layered, version = np.empty(largest, np.bool_), np.empty(largest, np.int32)
    of_claim, partner = np.empty(largest, np.int32), np.empty(largest, np.int32)
    sums, counts = np.empty((2, largest), np.int64), np.empty((2, largest), np.int32)
    lasts = np.empty((2, largest), np.int32)
    for f in range(len(offsets) - 1):
        a, b = offsets[f], offsets[f + 1]
        _family(
            when[a:b],
            phase[a:b],
            claim[a:b],
            line[a:b],
            cents[a:b],
            own[a:b],
            other[a:b],
            additional,
            fate[a:b],
            batch,
            size,
            layered,
            version,
            of_claim,
            partner,
            sums,
            counts,
            lasts,
        )
    return fate


@cache
def _entry() -> Any:
    return cuda_module("members/history_fates").get_function("history_fates")


def _gpu(
    when: Any,
    phase: Any,
    claim: Any,
    line: Any,
    cents: Any,
    own: Any,
    other: Any,
    offsets: Any,
    additional: Any,
) -> Any:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    n, n_families = len(when), len(offsets) - 1
    fate = cupy.empty(n, dtype=np.uint8)
    if n:
        whole = (np.int32, np.int32, np.bool_, np.int32, np.int32, np.int32)
        twice = (np.int64, np.int32, np.int32)
        scratch = [
            *(cupy.empty(n, dtype=kind) for kind in whole),
            *(cupy.empty(2 * n, dtype=kind) for kind in twice),
        ]
        _entry()(
            ((n_families + GPU_THREADS - 1) // GPU_THREADS,),
            (GPU_THREADS,),
            (
                when, phase, claim, line, cents, own, other, offsets,
                np.int32(additional), np.int64(n_families), *scratch, fate,
            ),
        )  # fmt: skip
    return fate
