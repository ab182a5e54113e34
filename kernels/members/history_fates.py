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
        *rows, offsets = map(read_only, inputs)
        return _cpu(tuple(rows), offsets, additional, largest)
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
def _group_end(r: Any, rows: Any) -> Any:
    """Where the rows of this row's time, phase and claim end."""
    when, phase, claim, _, _, _, _ = rows
    e = r + 1
    while e < len(when) and when[e] == when[r] and phase[e] == phase[r] and claim[e] == claim[r]:
        e += 1
    return e


@numba.njit(cache=True, nogil=True)
def _is_named(c: Any, head: Any, end: Any, rows: Any, batch: Any) -> Any:
    """Whether a batch, by its head and the end of its group, names a claim."""
    _, _, claim, _, _, own, other = rows
    if claim[head] == c:
        return True
    for r in range(head, end):  # noqa: SIM110 - Numba compiles no generators
        if batch[r] == head and (own[r] == c or other[r] == c):
            return True
    return False


@numba.njit(cache=True, nogil=True)
def _answers(r: Any, q: Any, rows: Any) -> Any:
    """Whether row r takes back just row q."""
    _, phase, claim, line, cents, own, other = rows
    if line[q] != line[r]:
        return False
    if claim[q] != claim[r] and own[r] != claim[q] and other[r] != claim[q]:
        return False
    return cents[q] == (abs(cents[r]) if phase[r] == VOID else -cents[r])


@numba.njit(cache=True, nogil=True)
def _may_stand(q: Any, now: Any, rows: Any, state: Any) -> Any:
    """Whether a row stands in a version, or may at this time."""
    fate, version = state[0], state[4]
    return fate[q] == STANDS and (version[q] >= 0 or rows[0][q] == now)


@numba.njit(cache=True, nogil=True)
def _mark(head: Any, end: Any, value: Any, state: Any) -> None:
    """Give the rows of a batch a fate."""
    fate, batch = state[0], state[1]
    for r in range(head, end):
        if batch[r] == head:
            fate[r] = value


@numba.njit(cache=True, nogil=True)
def _amount(head: Any, end: Any, rows: Any, batch: Any) -> Any:
    """Cents of a batch, without their sign."""
    cents = rows[4]
    amount = np.int64(0)
    for r in range(head, end):
        if batch[r] == head:
            amount += cents[r]
    return abs(amount)


@numba.njit(cache=True, nogil=True)
def _cancel_by_amount(
    head: Any, end: Any, known: Any, now: Any, superseded: Any, rows: Any, state: Any
) -> Any:
    """Cancel what has a batch's amount, as the definition ranks it; whether something had it.

    Looks at rows before `known`: at what stands, or at batches that are superseded whole.
    """
    when, _, claim, _, cents, _, _ = rows
    fate, batch, size, _, version, _, _, sums, counts, lasts = state
    amount = _amount(head, end, rows, batch)
    if amount == 0:
        return False
    for q in range(known):
        counts[0, q] = counts[1, q] = 0
        sums[0, q] = sums[1, q] = 0
    for q in range(known):
        taken = fate[q] == SUPERSEDED if superseded else _may_stand(q, now, rows, state)
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
    for level in range(2):  # versions, then batches
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
            named = _is_named(claim[last], head, end, rows, batch)
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
    _mark(head, end, VOIDED, state)
    return True


@numba.njit(cache=True, nogil=True)
def _cancel_latest(
    head: Any, end: Any, any_claim: Any, n_claims: Any, known: Any, rows: Any, state: Any
) -> Any:
    """Cancel the version that ends last, of the claims that a batch names or of any."""
    fate, batch, _, _, version, of_claim, _, _, _, lasts = state
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
        if not any_claim and not _is_named(c, head, end, rows, batch):
            continue
        if best < 0 or lasts[0, v] > lasts[0, best]:
            best = v
    if best < 0:
        return False
    for q in range(known):
        if version[q] == best and fate[q] == STANDS:
            fate[q] = VOIDED
    _mark(head, end, VOIDED, state)
    return True


@numba.njit(cache=True, nogil=True)
def _line_by_line(head: Any, end: Any, known: Any, now: Any, rows: Any, state: Any) -> Any:
    """Cancel rows of a void's lines and amounts where lines stand twice, if all are there."""
    fate, batch, _, layered, _, _, partner, _, _, _ = state
    complete = True
    for r in range(head, end):
        if batch[r] != head:
            continue
        partner[r] = -1
        for q in range(known - 1, -1, -1):
            if not _may_stand(q, now, rows, state) or not (layered[r] or layered[q]):
                continue
            if _answers(r, q, rows):
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
def _lay_batches(rows: Any, state: Any) -> None:
    """Part groups into batches in which no line stands twice."""
    line = rows[3]
    _, batch, size, layered, _, _, heads, _, _, _ = state
    r = 0
    while r < len(line):
        end = _group_end(r, rows)
        n_layers, layer = 0, 0
        for q in range(r, end):
            layer = layer + 1 if q > r and line[q] == line[q - 1] else 0
            if layer == n_layers:
                heads[n_layers] = q
                n_layers += 1
            batch[q] = heads[layer]
            size[heads[layer]] += 1
        for q in range(r, end):
            layered[q] = n_layers > 1
        r = end


@numba.njit(cache=True, nogil=True)
def _reverse_rows(head: Any, end: Any, known: Any, now: Any, rows: Any, state: Any) -> None:
    """Cancel, row by row of a batch of negatives, the row of its claim, line and amount."""
    when, _, claim, _, _, _, _ = rows
    fate, batch = state[0], state[1]
    for r in range(head, end):
        if batch[r] != head:
            continue
        best, b_own, b_before = -1, False, False
        for q in range(known):
            if not _may_stand(q, now, rows, state) or not _answers(r, q, rows):
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


@numba.njit(cache=True, nogil=True)
def _enter_plain(first: Any, end: Any, additional: Any, rows: Any, state: Any) -> None:
    """Let plain rows of a time supersede earlier ones of their lines and join their versions."""
    _, _, claim, line, _, _, _ = rows
    fate, _, _, _, version, of_claim, _, _, _, _ = state
    for r in range(first, end):
        if fate[r] != STANDS:
            continue
        for q in range(0 if additional else first):
            same = claim[q] == claim[r] and line[q] == line[r]
            if same and fate[q] == STANDS and version[q] >= 0:
                fate[q] = SUPERSEDED
        if of_claim[claim[r]] < 0:
            of_claim[claim[r]] = r
        version[r] = of_claim[claim[r]]


@numba.njit(cache=True, nogil=True)
def _replace(first: Any, end: Any, n_claims: Any, rows: Any, state: Any) -> None:
    """Let replacing rows of a time supersede all that stands, and each other by name."""
    _, _, claim, _, _, own, other = rows
    fate, batch, _, _, version, of_claim, stood, _, _, _ = state
    replaced = False
    for r in range(first, end):
        replaced |= fate[r] == STANDS
    if not replaced:
        return
    for q in range(first):
        if version[q] >= 0 and fate[q] == STANDS:
            fate[q] = SUPERSEDED
    for c in range(n_claims):
        of_claim[c] = -1
    for r in range(first, end):
        stood[r] = fate[r]
    for r in range(first, end):
        if stood[r] != STANDS:
            continue
        for q in range(first, end):
            if stood[q] != STANDS:
                continue
            names = claim[q] == claim[r] or own[q] == claim[r] or other[q] == claim[r]
            named = claim[q] == claim[r] or own[r] == claim[q] or other[r] == claim[q]
            if names and not named:
                fate[r] = SUPERSEDED
                break
    for r in range(first, end):
        if stood[r] == STANDS:
            version[r] = batch[r]
            if fate[r] == STANDS:
                of_claim[claim[r]] = batch[r]


@numba.njit(cache=True, nogil=True)
def _leave(time: Any, known: Any, first: Any, end: Any, rows: Any, state: Any) -> None:
    """Give negatives of a time that found nothing standing what is left to them."""
    _, _, claim, line, _, _, _ = rows
    fate, version = state[0], state[4]
    for r in range(first, end):
        if fate[r] != STANDS:
            continue
        best = -1
        for q in range(known):
            if fate[q] == SUPERSEDED and _answers(r, q, rows):
                best = q
        if best >= 0:
            fate[r] = fate[best] = VOIDED
            continue
        beside, free = -1, True
        for q in range(time, known):
            if claim[q] == claim[r]:
                if line[q] == line[r]:
                    free = False
                if fate[q] == STANDS:
                    beside = q
        if beside >= 0 and free:
            version[r] = version[beside]
        else:
            fate[r] = MOVED


@numba.njit(cache=True, nogil=True)
def _phase_end(r: Any, now: Any, kind: Any, rows: Any) -> Any:
    """Where the rows of a time and phase end that may begin here."""
    when, phase = rows[0], rows[1]
    while r < len(when) and when[r] == now and phase[r] == kind:
        r += 1
    return r


@numba.njit(cache=True, nogil=True)
def _family(rows: Any, additional: Any, state: Any) -> None:
    """Give every row of a family its fate."""
    when, phase, claim, line, _, _, _ = rows
    fate, batch, size, _, version, of_claim, _, _, _, _ = state
    n, n_claims = len(when), 0
    for r in range(n):
        fate[r] = STANDS
        version[r] = of_claim[r] = -1
        size[r] = 0
        n_claims = max(n_claims, claim[r] + 1)
    _lay_batches(rows, state)
    i = 0
    while i < n:
        now = when[i]
        p1 = _phase_end(i, now, PLAIN, rows)
        p2 = _phase_end(p1, now, REPLACES, rows)
        p3 = _phase_end(p2, now, VOID, rows)
        p4 = _phase_end(p3, now, NEGATIVE, rows)
        for h in range(p2, p4):
            if batch[h] == h:
                end = _group_end(h, rows)
                found = _cancel_by_amount(h, end, p2, now, False, rows, state)
                if not found and phase[h] == NEGATIVE:
                    _reverse_rows(h, end, p2, now, rows, state)
        for h in range(p2, p3):
            if batch[h] != h or fate[h] != STANDS:
                continue
            end = _group_end(h, rows)
            if _line_by_line(h, end, p2, now, rows, state):
                continue
            if _cancel_by_amount(h, end, p2, now, True, rows, state):
                continue
            if _cancel_latest(h, end, False, n_claims, p2, rows, state):
                continue
            if _amount(h, end, rows, batch) == 0 or (size[h] == 1 and line[h] == 0):
                _cancel_latest(h, end, True, n_claims, p2, rows, state)
        _enter_plain(i, p1, additional, rows, state)
        for h in range(p2, p3):
            if batch[h] == h and fate[h] == STANDS:
                end = _group_end(h, rows)
                if not _cancel_latest(h, end, False, n_claims, p2, rows, state):
                    _mark(h, end, ORPHAN_VOID, state)
        _replace(p1, p2, n_claims, rows, state)
        _leave(i, p2, p3, p4, rows, state)
        i = _phase_end(p4, now, BESIDE, rows)


@numba.njit(cache=True, nogil=True)
def _cpu(rows: Any, offsets: Any, additional: Any, largest: Any) -> Any:
    """Family by family, in scratch of the largest."""
    when, phase, claim, line, cents, own, other = rows
    fate = np.empty(len(when), np.uint8)
    batch, size = np.empty(largest, np.int32), np.empty(largest, np.int32)
    layered, version = np.empty(largest, np.bool_), np.empty(largest, np.int32)
    of_claim, partner = np.empty(largest, np.int32), np.empty(largest, np.int32)
    sums, counts = np.empty((2, largest), np.int64), np.empty((2, largest), np.int32)
    lasts = np.empty((2, largest), np.int32)
    for f in range(len(offsets) - 1):
        a, b = offsets[f], offsets[f + 1]
        _family(
            (when[a:b], phase[a:b], claim[a:b], line[a:b], cents[a:b], own[a:b], other[a:b]),
            additional,
            (
                fate[a:b], batch, size, layered, version, of_claim, partner, sums, counts, lasts,
            ),
        )  # fmt: skip
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
