"""The counts of a run's tables as cells: one for each scope, dimension, stratum, year and measure.

    tables as declared + people behind events, payers and settlements -> cells by measure

Several tables count the same people: they share a cell, so that what one hides all hide. Where they
count others of the same scope, as members of nine months, the count is a measure of its own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.ledger import RunFate
from ihp_compute.measure import MEMBER_YEARS
from ihp_compute.results import kept_terms
from ihp_compute.results.manifest import read_manifest
from ihp_compute.results.read import result
from ihp_compute.results.small_cells import is_small
from ihp_compute.results.tables import (
    CAPPED,
    CELLS,
    LEDGER,
    LINES_OF,
    SETTLEMENT,
    TABLES,
    UTILISATION,
)
from ihp_compute.settlement import PARTNERSHIP, SETTLED, STATE
from ihp_compute.table_schema import Behind, Counted, TableSchema

PEOPLE: Final = ""
ALL: Final = "all"
RATE_CELLS: Final = "cells"
PAYERS: Final = "payers"
ATTRIBUTED: Final = "attributed"
RESERVED: Final = (COMPARISON, UNATTRIBUTED)
_EVENTS: Final = ("stays", "ed_visits", "readmissions")
_Row = Mapping[str, Any]


class Key(NamedTuple):
    """What a cell counts."""

    scope: str
    scope_id: str
    dimension: str
    stratum: str
    year: str
    measure: str


@dataclass
class Cell:
    """Counts of a cell.

    `is_row`: whether a table shows it. `is_known`: whether it is known although none does.
    `adds_up`: whether nobody stands in two strata. `of_people`: whether the rest of its scope's
    people are those whom it does not count.
    """

    people: int
    also: int = 0
    is_row: bool = True
    is_known: bool = False
    is_small: bool = False
    adds_up: bool = True
    of_people: bool = False


@dataclass
class Told:
    """What a run tells: cells by key, and what partnerships are of.

    Attributes
    ----------
    years : (str, str)
        Base and performance.
    groups : tuple of str
        Partnerships of the roster, without those that are reserved.
    members_of : dict of (scope, scope_id) to partnerships
        Of programmes, tracks and alliances, and of what settles.
    """

    years: tuple[str, str]
    groups: tuple[str, ...]
    members_of: dict[tuple[str, str], tuple[str, ...]]
    cells: dict[Key, Cell] = field(default_factory=dict)

    def put(self, key: Key, cell: Cell) -> None:
        """A count of a cell, or another count of it: it is small if one of them is."""
        small = is_small(cell.people) or is_small(cell.also)
        held = self.cells.setdefault(key, cell)
        held.is_small |= small
        held.is_row |= cell.is_row

    @cached_property
    def of_measure(self) -> dict[str, list[tuple[Key, Cell]]]:
        """Cells by measure, in the order of their keys; asked once all counts are in."""
        found: dict[str, list[tuple[Key, Cell]]] = {}
        for key, cell in sorted(self.cells.items()):
            found.setdefault(key.measure, []).append((key, cell))
        return found

    @property
    def measures(self) -> list[str]:
        """Measures with cells, by name."""
        return sorted(self.of_measure)


def told_by(run_dir: Path) -> Told:
    """Every count of a run that tells of people.

    Raises
    ------
    RunError
        If the folder is not a finished run of this method version, or a table is missing.
    """
    manifest = read_manifest(run_dir, go_on=True)
    years = str(manifest["base_year"]), str(manifest["performance_year"])
    groups = tuple(g for g in manifest["groups"] if g not in RESERVED)
    told = Told(years, groups, dict(_membership(run_dir)))
    people = _people_of(run_dir, told)
    for declared in TABLES.values():
        if any(kind.counts for kind in declared.behind) and not declared.restricted:
            rows = _rows_behind(run_dir, declared)
            if declared is UTILISATION:
                rows = (row | people[row["group_id"], row["year"]] for row in rows)
            _count(told, declared, rows)
    _settlements(told)
    _attributed(told)
    _rate_cells(told, result(run_dir, CELLS))
    _lines(told, result(run_dir, LEDGER))
    return told


def keys_of(told_years: tuple[str, str], kind: Behind, row: _Row) -> list[Key]:
    """The cells of people that a row stands on, a year each."""
    scope = named(kind.scope, row)
    scope_id = named(kind.scope_id, row)
    scope = kind.renamed.get(scope, scope) if scope != PARTNERSHIP else scope
    if scope == PARTNERSHIP and scope_id in kind.renamed:
        scope = kind.renamed[scope_id]
    if scope in (STATE, SETTLED, ATTRIBUTED):
        scope_id = scope
    dimension, stratum = named(kind.dimension, row), named(kind.stratum, row)
    return [
        Key(scope, scope_id, dimension, stratum, year, PEOPLE)
        for year in _years(told_years, kind, row)
    ]


def _years(told_years: tuple[str, str], kind: Behind, row: _Row) -> list[str]:
    """Years of a row; another than the run's stands on the people of both of them."""
    at = {"=base": told_years[0], "=performance": told_years[1]}
    years = [at.get(year) or str(row[year]) for year in kind.years]
    if all(year in told_years for year in years):
        return years
    return list(dict.fromkeys([*years, *told_years]))


def kind_of(declared: TableSchema, row: _Row) -> Behind | None:
    """Which kind of row it is."""
    for kind in declared.behind:
        if kind.only is None or row[kind.only[0]] in kind.only[1]:
            return kind
    return None


def measure_of(counted: Counted, row: _Row) -> str:
    """What a count of a row counts."""
    return named(counted.measure, row) if counted.measure else PEOPLE


def named(name: str, row: _Row) -> str:
    """What a column of a row says; after "=" the thing itself."""
    return name[1:] if name.startswith("=") else str(row[name])


def _rows_behind(run_dir: Path, declared: TableSchema) -> Iterator[dict[str, Any]]:
    """Rows of a table in what its counts are of, one at a time: many would be held for nothing."""
    asked = {name for kind in declared.behind for name in kind.columns}
    names = [name for name in declared.names if name in asked]
    table = result(run_dir, declared, names)
    for values in zip(*(table.column(name).to_pylist() for name in names), strict=True):
        yield dict(zip(names, values, strict=True))


def _count(told: Told, declared: TableSchema, rows: Iterable[_Row]) -> None:
    """Cells of a table's rows."""
    keys: dict[tuple[Any, ...], list[Key]] = {}  # rows of one cell are many, a measure each
    for row in rows:
        kind = kind_of(declared, row)
        if kind is None:
            continue
        at = id(kind), *(row[name] for name in kind.places)
        if at not in keys:
            keys[at] = keys_of(told.years, kind, row)
        for key in keys[at]:
            for counted in kind.counts:
                _count_one(told, declared, kind, key, counted, row)


def _count_one(
    told: Told, declared: TableSchema, kind: Behind, key: Key, counted: Counted, row: _Row
) -> None:
    measure = measure_of(counted, row)
    people = int(row[counted.column])
    has_second = counted.also and (not counted.also_of or measure in counted.also_of)
    also = int(row[counted.also]) if has_second else 0
    at = Key(*key[:-1], measure)
    of_people = counted.of_people
    held = told.cells.get(at)
    if measure == PEOPLE and held is not None and held.people != people:
        at, of_people = key._replace(measure=f"people of {declared.name}"), True
    told.put(at, Cell(people, also, adds_up=kind.adds_up, of_people=of_people))


def _membership(run_dir: Path) -> Iterator[tuple[tuple[str, str], tuple[str, ...]]]:
    """Which partnerships a programme, a track, an alliance and the settled of the state are."""
    contracts = kept_terms.read(run_dir).contracts.contracts
    settled = [row["partnership_id"] for row in result(run_dir, SETTLEMENT).to_pylist()]
    alliances: dict[str, list[str]] = defaultdict(list)
    if "pool" in TABLES:
        for row in result(run_dir, TABLES["pool"]).to_pylist():
            alliances[row["alliance_id"]].append(row["partnership_id"])
    of: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in settled:
        for partnership in alliances.get(name, [name]):
            of[SETTLED, SETTLED].append(partnership)
            if name in contracts:
                of["programme", contracts[name].programme].append(partnership)
                of["track", contracts[name].name].append(partnership)
    for alliance, members in alliances.items():
        of[PARTNERSHIP, alliance] = members
        of["alliance", alliance] = members
    for key, names in of.items():
        yield key, tuple(dict.fromkeys(names))


def _people_of(run_dir: Path, told: Told) -> Mapping[tuple[str, int], dict[str, int]]:
    """People behind the events of each group and year; and, put among the cells, behind payers."""
    names = ("year", "measurement", "group_id", "payer_months", *_EVENTS)
    rows = result(run_dir, MEMBER_YEARS, names)
    found: dict[tuple[str, int], dict[str, int]] = defaultdict(
        lambda: {f"{event}_people": 0 for event in _EVENTS}
    )
    for event in _EVENTS:
        having = rows.filter(pc.greater(rows.column(event), 0))
        counted = having.group_by(["group_id", "year", "measurement"]).aggregate(
            [([], "count_all")]
        )
        for row in counted.to_pylist():
            held = found[row["group_id"], row["year"]]
            held[f"{event}_people"] = max(held[f"{event}_people"], row["count_all"])
    now = rows.filter(pc.equal(rows.column("year"), int(told.years[1])))
    months = now.group_by(["group_id", "payer_months"]).aggregate([([], "count_all")])
    payers: Counter[tuple[str, str]] = Counter()
    for row in months.to_pylist():
        for part in filter(None, (row["payer_months"] or "").split("; ")):
            payers[row["group_id"], part.rpartition(" ")[0]] += row["count_all"]
    for (group, payer), people in payers.items():
        if group not in RESERVED:
            key = Key(PARTNERSHIP, group, "payer", payer, told.years[1], PAYERS)
            told.put(key, Cell(people, adds_up=False))
    return found


def _settlements(told: Told) -> None:
    """What a settlement rests on: the people of both years, of each scope."""
    base, performance = told.years
    for key in [k for k in told.cells if k.measure == PEOPLE and k.dimension == ALL]:
        if key.year == performance:
            before = told.cells.get(key._replace(year=base))
            now = told.cells[key]
            told.put(
                key._replace(measure=SETTLED),
                Cell(now.people, _base_people(told, key) if before is None else before.people),
            )


def _attributed(told: Told) -> None:
    """Events of all partnerships together, which a summary or the ledger shows."""
    for measure in (*_EVENTS, *CAPPED):
        for year in told.years:
            at = Key(PARTNERSHIP, "", ALL, ALL, year, measure)
            names = told.groups
            if measure in CAPPED:  # of alliances too, which no roster names
                names = tuple(k.scope_id for k in told.cells if k == at._replace(scope_id=k[1]))
            found = [told.cells[k] for g in names if (k := at._replace(scope_id=g)) in told.cells]
            whole = at._replace(scope=ATTRIBUTED, scope_id=ATTRIBUTED)
            if found and whole not in told.cells:
                people, also = sum(c.people for c in found), sum(c.also for c in found)
                told.put(whole, Cell(people, also))


def _base_people(told: Told, key: Key) -> int:
    """People of the base year of a scope of which no table counts them: those of its groups."""
    at = Key(PARTNERSHIP, "", ALL, ALL, told.years[0], PEOPLE)
    members = told.members_of.get((key.scope, key.scope_id), told.groups)
    found = (told.cells.get(at._replace(scope_id=name)) for name in members)
    return sum(cell.people for cell in found if cell is not None)


def _rate_cells(told: Told, cells: pa.Table) -> None:
    """People of each rate cell in both years, of each group and, as the rows show it, the state."""
    base, performance = told.years
    counts: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for row in cells.to_pylist():
        of = counts[row["partnership_id"], row["rate_cell"]]
        of[str(row["year"])] = row["n_members"]
    whole: dict[str, np.ndarray[Any, Any]] = defaultdict(lambda: np.zeros(2, np.int64))
    for (group, cell), of in counts.items():
        people = of.get(performance, 0), of.get(base, 0)
        whole[cell] += people
        key = Key(PARTNERSHIP, group, "rate_cell", cell, performance, RATE_CELLS)
        told.put(key, Cell(*people, adds_up=False))
    for cell, sums in whole.items():
        key = Key(STATE, STATE, "rate_cell", cell, performance, RATE_CELLS)
        told.put(key, Cell(int(sums[0]), int(sums[1]), adds_up=False))


def _lines(told: Told, ledger: pa.Table) -> None:
    """Lines of each fate by file.

    Dollars counted less those of cap and floor are the cost, which is shown: where cap or floor
    moved those of few people in all, dollars counted are hidden as if they were of few lines.
    """
    few = any(
        told.cells[key].is_small
        for measure in CAPPED
        for year in told.years
        if (key := Key(ATTRIBUTED, ATTRIBUTED, ALL, ALL, year, measure)) in told.cells
    )
    for row in ledger.to_pylist():
        if row["fate"] not in CAPPED:
            (key,) = keys_of(told.years, LEDGER.behind[-1], row)
            is_small = few and row["fate"] == RunFate.COUNTED.label
            told.put(key._replace(measure=LINES_OF), Cell(row["lines"], is_small=is_small))
