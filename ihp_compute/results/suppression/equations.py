"""Which cells of a run add up to which, measure by measure, and what is hidden of them.

    people first: one pattern of all tables -> each measure's events, on top of it

Equations follow from names: strata to scope; partnerships to attributed, alliance, programme, track
and what settles; with COMPARISON and UNATTRIBUTED to the state; members of two years to who came
and who went; people left out and eligible to the population; members of nine months and the rest to
members. What an equation lacks to hold, and no table shows, is a cell of its own that nobody sees.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from ihp_compute.codes import COMPARISON
from ihp_compute.ledger import IngestFate
from ihp_compute.results.small_cells import is_small
from ihp_compute.results.suppression.cells import (
    ALL,
    ATTRIBUTED,
    PEOPLE,
    RATE_CELLS,
    RESERVED,
    Cell,
    Key,
    Told,
)
from ihp_compute.results.suppression.system import Equation, System, choose
from ihp_compute.results.tables import LINES_OF, TABLES
from ihp_compute.settlement import PARTNERSHIP, SETTLED, STATE

MOVES: Final = ("gained", "moved_in", "lost", "moved_out")
_KINDS: Final = tuple(kind for table in TABLES.values() for kind in table.behind)
_WITH_PEOPLE: Final = tuple(dict.fromkeys(m for kind in _KINDS for m in kind.with_people))
_AFTER: Final = {m: others for kind in _KINDS for m, others in kind.after.items()}
_WITHIN: Final = {m: other for kind in _KINDS for m, other in kind.within.items()}
_OF_MEASURES: Final = frozenset(m for kind in _KINDS for m in kind.of_measures)
"""What the tables declare of their measures."""


@dataclass(frozen=True)
class Shown:
    """A run that was shown before: its digest, what it tells, and what it hid."""

    digest: str
    told: Told
    hidden: frozenset[Key]


class _Build:
    """Cells of a system on the way, and its equations."""

    def __init__(self, told: Told, hidden: Iterable[Key], known: frozenset[Key]) -> None:
        self.told = told
        self.own = told
        self.before_it: Shown | None = None
        self.before = set(hidden)
        self.known = known
        self.keys: list[Key] = []
        self.cells: list[Cell] = []
        self.at: dict[Key, int] = {}
        self.equations: list[Equation] = []

    def add(self, key: Key, cell: Cell) -> int:
        """The place of a cell; of an earlier run's the one here, where it counts the same."""
        if self.before_it is not None:
            here = self.own.cells.get(key)
            if _same(cell, here) and here is not None:
                cell = here
            elif cell.is_row:
                shown = key not in self.before_it.hidden
                cell = replace(cell, is_row=False, is_known=shown)
                key = key._replace(scope=f"{self.before_it.digest}: {key.scope}")
        if key not in self.at:
            self.at[key] = len(self.keys)
            self.keys.append(key)
            self.cells.append(cell)
        return self.at[key]

    def equate(
        self, name: Key, total: Sequence[int], parts: Sequence[int], *,
        people: bool = True, adds_up: bool = True, whole: bool = True, strata: bool = False,
    ) -> bool:  # fmt: skip
        """Parts add up to totals; what is missing is a cell of its own. Whether nothing is missing.

        `people`: whether who is missing are people, who may be few. `whole`: whether nothing can
        be missing although people do not add up. `strata`: whether parts are strata of a scope, so
        that a cell stands with one sign among strata and with the other among scopes.
        """
        if not parts:
            return False
        left = sum(self.cells[k].people for k in total) - sum(self.cells[k].people for k in parts)
        cells, signs = [*total, *parts], [1] * len(total) + [-1] * len(parts)
        complete = not ((left and adds_up) or not whole)
        if not complete:
            few = people and left > 0 and is_small(left)
            also = sum(self.cells[k].also for k in total) - sum(self.cells[k].also for k in parts)
            also = max(also if left >= 0 else -also, 0)
            rest = Cell(
                abs(left) if adds_up else 0, also if adds_up else 0, is_row=False, is_small=few
            )
            cells.append(self.add(name, rest))
            signs.append(-1 if left >= 0 else 1)
        turned = -1 if strata else 1
        self.equations.append(
            Equation(np.array(cells, np.int64), turned * np.array(signs, np.int64), adds_up)
        )
        return complete

    def add_up(
        self, at: Key, wholes: Mapping[int, Sequence[int]], *, adds_up: bool
    ) -> dict[int, frozenset[int]]:
        """Totals, each with its parts; those of which nothing is missing.

        What adds up to a total whose parts are among those of another stands in its place there, so
        that a cell is a part of one total. The equations of all parts say nothing more.
        """
        complete: dict[int, frozenset[int]] = {}
        for total, parts in sorted(wholes.items(), key=lambda one: len(set(one[1]))):
            of = self.keys[total]
            name = at._replace(scope=f"rest of {of.scope}", scope_id=of.scope_id)
            if not self.equate(name, [total], parts, adds_up=adds_up):
                continue
            left, held = set(parts), []
            for other in reversed(complete):
                if complete[other] <= left:
                    held.append(other)
                    left -= complete[other]
            complete[total] = frozenset(parts)
            if held:
                whole = self.equations.pop()
                self.equations.append(replace(whole, together=False))
                cells = [total, *held, *sorted(left)]
                signs = [1] + [-1] * (len(cells) - 1)
                self.equations.append(replace(
                    whole, cells=np.array(cells, np.int64), signs=np.array(signs, np.int64),
                    alone=len(cells) == 2,  # one is the other
                ))  # fmt: skip
        return complete

    def system(self) -> System:
        """The system; rows hidden before stay so, and what was shown before cannot be hidden."""
        counts = np.array([(cell.people, cell.also) for cell in self.cells], np.int64)
        small = np.array([cell.is_small for cell in self.cells], bool)
        is_row = np.array([cell.is_row for cell in self.cells], bool)
        not_told = ~is_row & ~np.array([cell.is_known for cell in self.cells], bool)
        known = np.array([key in self.known for key in self.keys], bool)
        before = np.array(
            [key in self.before or Key(*key[:-1], PEOPLE) in self.before for key in self.keys], bool
        )
        may_hide = is_row & ~known
        hidden = (before & ~known) | not_told | (small & may_hide)
        return System(
            [tuple(k) for k in self.keys],
            counts.reshape(-1, 2),
            hidden,
            is_row,
            may_hide,
            self.equations,
        )


def hidden_of(told: Told, shown: Sequence[Shown] = ()) -> tuple[set[Key], list[Key]]:
    """Keys of the cells to hide, and of those that nothing can protect.

    What a run that was shown before hid is hidden; what it showed with the same counts is known.

    Parameters
    ----------
    told : Told
    shown : sequence of Shown
        Runs of the same population.
    """
    hidden = {key for one in shown for key in one.hidden}
    known = frozenset(
        key
        for one in shown
        for key, cell in one.told.cells.items()
        if key not in one.hidden and cell.is_row and _same(cell, told.cells.get(key))
    )
    exposed: list[Key] = []
    measures = [m for m in told.measures if m not in _WITH_PEOPLE]
    order = sorted(measures, key=lambda m: (m != PEOPLE, m in _WITHIN, m in _AFTER, m))
    for measure in order:
        together = (PEOPLE, *_WITH_PEOPLE) if measure == PEOPLE else (measure,)
        build = _Build(told, hidden, known)
        for name in together:
            _structure(build, name, hidden)
        if measure == PEOPLE:
            _moves(build)
            _population(build)
        elif measure == LINES_OF:
            _fates(build)
        for one in shown:
            build.told, build.before_it = one.told, one
            for name in together:
                _structure(build, name, hidden)
        system = build.system()
        choice = choose(system)
        for k in np.flatnonzero(choice.hidden | (system.small & system.is_row)).tolist():
            if build.cells[k].is_row and build.keys[k] in told.cells:
                hidden.add(build.keys[k])
        exposed += [build.keys[k] for k in choice.exposed.tolist()]
    return hidden, exposed


def _same(cell: Cell, other: Cell | None) -> bool:
    return other is not None and (cell.people, cell.also) == (other.people, other.also)


def _structure(build: _Build, measure: str, hidden: set[Key]) -> None:
    """Cells of a measure, strata to scope, and scopes to scopes."""
    told = build.told
    by_scope: dict[tuple[str, str, str], dict[str, list[int]]] = defaultdict(
        lambda: defaultdict(list)
    )
    by_stratum: dict[tuple[str, str, str], dict[tuple[str, str], int]] = defaultdict(dict)
    for key, cell in told.of_measure.get(measure, ()):
        inherited = any(key._replace(measure=m) in hidden for m in _AFTER.get(measure, ()))
        if measure in _OF_MEASURES:
            inherited |= _all(key, key.stratum) in hidden
        if measure in _WITHIN:
            inherited |= _all(key, _WITHIN[measure]) in hidden
        if measure == SETTLED:
            inherited |= key._replace(measure=PEOPLE, year=told.years[0]) in hidden
        k = build.add(key, cell)
        if inherited:
            build.before.add(key)
        by_scope[key.scope, key.scope_id, key.year][key.dimension].append(k)
        by_stratum[key.dimension, key.stratum, key.year][key.scope, key.scope_id] = k
        if cell.of_people:
            people = key._replace(measure=PEOPLE)
            if people in told.cells:
                whole = build.add(people, _as_shown(told.cells[people], people in hidden))
                build.equate(key._replace(dimension="rest"), [whole], [k])
    complete: dict[int, frozenset[int]] = {}
    for (dimension, stratum, year), by_scope_id in by_stratum.items():
        at = Key("", "", dimension, stratum, year, measure)
        complete |= _scopes(build, at, by_scope_id)
    _strata(build, measure, by_scope, complete, hidden)


def _strata(
    build: _Build, measure: str, by_scope: Mapping[tuple[str, str, str], Mapping[str, list[int]]],
    complete: Mapping[int, frozenset[int]], hidden: set[Key],
) -> None:  # fmt: skip
    """Strata to their scope, and which of it follows from what scopes are of."""
    sound: dict[tuple[str, int], frozenset[int]] = {}
    of_wholes = []
    for (scope, scope_id, year), by_dimension in by_scope.items():
        for dimension, cells in by_dimension.items():
            total = _total(build, Key(scope, scope_id, ALL, ALL, year, measure), cells, hidden)
            if dimension == ALL or total is None or dimension == "reason":
                continue
            adds = build.equate(
                Key(scope, scope_id, dimension, "rest", year, measure), [total], cells,
                adds_up=build.cells[cells[0]].adds_up, strata=True,
            )  # fmt: skip
            if adds and complete.keys() >= {total, *cells}:
                of_wholes.append((len(build.equations) - 1, dimension, total, cells))
            elif adds:
                sound[dimension, total] = frozenset(cells)
    for at, dimension, total, cells in of_wholes:
        parts = [sound.get((dimension, part), frozenset()) for part in complete[total]]
        if all(parts) and frozenset().union(*parts) == frozenset().union(
            *(complete[cell] for cell in cells)
        ):  # parts by strata, and each stratum of parts, say as much
            build.equations[at] = replace(build.equations[at], together=False)


def _as_shown(cell: Cell, is_hidden: bool) -> Cell:
    """A cell of another measure: what is known of it stands as it is."""
    return Cell(
        cell.people, cell.also, is_row=False, is_known=True, is_small=is_hidden and cell.is_small
    )


def _all(key: Key, measure: str) -> Key:
    """The cell of all strata of a scope."""
    return key._replace(dimension=ALL, stratum=ALL, measure=measure)


def _total(build: _Build, key: Key, cells: Sequence[int], hidden: set[Key]) -> int | None:
    """The sum over all strata, where a table shows it."""
    if key in build.told.cells:
        return build.add(key, build.told.cells[key])
    if key.measure not in _WITHIN or key.scope == STATE:
        return None
    if _all(key, _WITHIN[key.measure]) in hidden:
        build.before.add(key)
    people = sum(build.cells[k].people for k in cells)
    return build.add(key, Cell(people, is_row=False, is_known=True))


def _scopes(
    build: _Build, at: Key, cells: Mapping[tuple[str, str], int]
) -> dict[int, frozenset[int]]:
    """Partnerships to what they are of, and groups to the state; as `_Build.add_up`."""
    told = build.told
    adds_up = all(build.cells[k].adds_up for k in cells.values())
    groups = [cells[PARTNERSHIP, g] for g in told.groups if (PARTNERSHIP, g) in cells]
    others = [cells[PARTNERSHIP, r] for r in RESERVED if (PARTNERSHIP, r) in cells]
    wholes = {}
    attributed = cells.get((ATTRIBUTED, ATTRIBUTED))
    if attributed is not None:
        wholes[attributed] = groups
    for of, members in told.members_of.items():
        if of in cells:
            wholes[cells[of]] = [
                cells[PARTNERSHIP, m] for m in members if (PARTNERSHIP, m) in cells
            ]
    state = cells.get((STATE, STATE))
    whole = at.measure != RATE_CELLS or len(groups) == len(told.groups)
    if state is not None and whole:
        wholes[state] = [*groups, *others]
    complete = build.add_up(at, wholes, adds_up=adds_up)
    if state is not None and not whole:
        build.equate(
            at._replace(scope="rest of state"), [state], [*groups, *others], adds_up=adds_up,
            whole=False,
        )  # fmt: skip
    return complete


def _moves(build: _Build) -> None:
    """Members of the year are those of the year before with who came, less who went."""
    told = build.told
    base, performance = told.years
    by: dict[tuple[str, str], list[int]] = defaultdict(list)
    for key, k in list(build.at.items()):
        if key.measure in MOVES and key.scope == PARTNERSHIP:
            by[key.scope_id, key.measure].append(k)
    for group in sorted({group for group, _ in by}):
        at = Key(PARTNERSHIP, group, ALL, ALL, performance, PEOPLE)
        now, before = (build.at.get(at._replace(year=year)) for year in (performance, base))
        if now is None or before is None:
            continue
        came = by[group, "gained"] + by[group, "moved_in"]
        went = by[group, "lost"] + by[group, "moved_out"]
        build.equate(
            at._replace(dimension="moves", stratum="rest"), [now, *went], [before, *came],
            people=False,
        )  # fmt: skip
    rostered = [g for g in (*told.groups, COMPARISON) if (g, "moved_in") in by]
    build.equate(
        Key("moves", "", "moves", "rest", performance, PEOPLE),
        [k for g in rostered for k in by[g, "moved_out"]],
        [k for g in rostered for k in by[g, "moved_in"]],
        people=False,
    )


def _population(build: _Build) -> None:
    """People left out and people eligible are the population, whose size is known."""
    told = build.told
    for year in told.years:
        at = Key("", "", ALL, ALL, year, PEOPLE)
        reasons = [
            k for key, k in build.at.items()
            if (key.scope, key.year, key.measure) == ("excluded", year, PEOPLE)
        ]  # fmt: skip
        groups = [
            build.at[key]
            for g in (*told.groups, *RESERVED)
            if (key := at._replace(scope=PARTNERSHIP, scope_id=g)) in build.at
        ]
        if reasons and groups:
            parts = [*reasons, *groups]
            people = sum(build.cells[k].people for k in parts)
            size = Cell(people, is_row=False, is_known=True)
            known = build.add(at._replace(scope="population"), size)
            build.equate(at._replace(scope="population", dimension="rest"), [known], parts)


def _fates(build: _Build) -> None:
    """Fates of an ingest add up to the lines that were read, those of a run to those retained."""
    by: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for key, k in list(build.at.items()):
        by[key.scope, key.scope_id, key.dimension].append(k)
    for (table, file, stage), cells in by.items():
        at = Key(table, file, stage, "", build.told.years[1], LINES_OF)
        if stage == "ingest":
            lines = sum(build.cells[k].people for k in cells)
            if not is_small(lines):  # else nothing of the file is shown
                read = Cell(lines, is_row=False, is_known=True)
                build.equate(at, [build.add(at, read)], cells)
            continue
        retained = build.at.get(at._replace(dimension="ingest", stratum=IngestFate.RETAINED.label))
        if retained is not None:
            build.equate(at, [retained], cells, people=False)
