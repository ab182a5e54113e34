"""A run's tables as everybody may see them: the stored ones are whole, what is hidden is null here.

A row that is hidden keeps its keys and nothing else: not counts, dollars, months, rates or ends of
intervals, nor words, since any of them tells of the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.data_quality import DATA_QUALITY, DATA_REVIEW
from ihp_compute.errors import RunError
from ihp_compute.folders import SEAL
from ihp_compute.results import kept_terms
from ihp_compute.results.manifest import read_manifest
from ihp_compute.results.quality_tables import QUALITY_MEASURES
from ihp_compute.results.read import result
from ihp_compute.results.small_cells import SMALL_CELL, is_small
from ihp_compute.results.suppression.cells import (
    ALL,
    ATTRIBUTED,
    PEOPLE,
    Key,
    keys_of,
    kind_of,
    measure_of,
    named,
)
from ihp_compute.results.suppression.open_cells import pooled
from ihp_compute.results.suppression.pattern import Pattern, pattern_of
from ihp_compute.results.suppression.single_table import hidden_rows
from ihp_compute.results.tables import CELLS, TABLES, WALK
from ihp_compute.settlement import PARTNERSHIP, SETTLED, STATE
from ihp_compute.table_schema import Against, Behind, TableSchema

_FINDING: Final = ("lines", "paid_cents", "share", "members", "detail")
_OF_GROUPS: Final = {"unattributed": UNATTRIBUTED}
"""Findings that count a group."""
_COUNTS: Final = ("rows", "base_lines_cut")
"""Counts of a manifest's entries, of rows of an input and of lines."""
_OF_WHOLE: Final = ("table_digests", "files", SEAL)
"""Entries of a manifest that are digests of whole content."""
_TOLD_OF_PARTS: Final = (
    "credibility", "risk", "policy", "completion", "observed", "trend", "cap",
)  # fmt: skip
"""Steps whose words go on, after a semicolon, with parts of a partnership's people, or its cost
before the claims cap."""


@dataclass(frozen=True)
class _Place:
    """Cells of people that rows stand on, and what is hidden in them.

    Attributes
    ----------
    cells : sequence of Key
    hidden, hidden_or_of_whole : frozenset of str
        Measures, of the cells, and of them or what they are strata of; "" where people are.
    others : dict of (str, str) to frozenset of str
        Measures hidden in cells of the stratum or group that a row is held against, by its name.
    """

    cells: Sequence[Key]
    hidden: frozenset[str]
    hidden_or_of_whole: frozenset[str]
    others: dict[tuple[str, str], frozenset[str]]


@dataclass(frozen=True)
class OpenForm:
    """A run as everybody may see it.

    Attributes
    ----------
    run_dir : Path
    pattern : Pattern
    """

    run_dir: Path
    pattern: Pattern

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables that have an open form."""
        return tuple(name for name, table in TABLES.items() if has_open_form(table))

    def table(self, name: str) -> pa.Table:
        """A table of the run, null where it is hidden; rows as stored, but those of `cells`.

        Raises
        ------
        RunError
            If the table has rows of members, or is missing or damaged.
        """
        declared = TABLES[name]
        if not has_open_form(declared):
            raise RunError(
                f"{name}: has a row for each member and no open form; read the whole table, with "
                "leave to see members' rows"
            )
        whole = result(self.run_dir, declared)
        rows = whole.to_pylist()
        if declared is DATA_QUALITY:
            return _hide(whole, declared, self._findings(rows))
        if declared is DATA_REVIEW:
            return _hide(whole, declared, {"": _few_lines(rows)})
        masks = self._masks(declared, rows)
        if declared is CELLS:
            return pooled(whole, masks[""], self._hidden_of_state())
        found = _hide(whole, declared, masks)
        if declared is QUALITY_MEASURES:
            return without_prior(found, self._least_cases())
        return _without_parts(found) if declared is WALK else found

    def hide(self, table: pa.Table, declared: TableSchema) -> pa.Table:
        """A table that is made of this run, with what is hidden null; undeclared columns stay."""
        masks = self._masks(declared, table.to_pylist())
        return _hide(table, declared, masks)

    def manifest(self) -> dict[str, Any]:
        """The manifest, without counts of people, rows or lines from 1 to 10.

        Nor has it a digest of what is hidden, by which a guess of it could be tried: of whole
        tables and files, and of the whole manifest. The run's own digest is over the rows of
        members too, which nobody guesses. `open_form` has the digest of what is hidden, the same
        for whoever is shown the same.
        """
        said = read_manifest(self.run_dir)
        found = {name: value for name, value in said.items() if name not in _OF_WHOLE}
        found["suppressed"] = True
        found["open_form"] = {"pattern": self.pattern.sha256}
        counted = [found.get("counts") or {}, *found["inputs"]]
        counted += found["completion"]["measurements"]
        for entry in counted:
            for name, n in entry.items():
                is_count = name in _COUNTS or entry is found.get("counts")
                if is_count and isinstance(n, int) and is_small(n):
                    entry[name] = None
        return found

    def hides_of(self, measure: str, year: int, scope_ids: Iterable[str] | None = None) -> bool:
        """Whether a sum is hidden, of people where `measure` is empty.

        Of what settles in all, or of these partnerships: then whether it is of one of them.
        """
        if scope_ids is None:
            whose = [(SETTLED, SETTLED), (ATTRIBUTED, ATTRIBUTED)]
        else:
            whose = [(PARTNERSHIP, name) for name in scope_ids]
        return self.hides(*(Key(*who, ALL, ALL, str(year), measure) for who in whose))

    def hides(self, *keys: Key) -> bool:
        """Whether any of these cells is hidden."""
        return not self.pattern.hidden.isdisjoint(keys)

    def _hidden_of_state(self) -> frozenset[str]:
        """Rate cells of which the state's sums are hidden."""
        return frozenset(
            key.stratum
            for key in self.pattern.hidden
            if (key.scope, key.dimension) == (STATE, "rate_cell")
        )

    def _masks(
        self, declared: TableSchema, rows: Sequence[Mapping[str, Any]]
    ) -> dict[str, NDArray[np.bool_]]:
        """Rows that are hidden, by column; those that are hidden wholly under ""."""
        fallen: defaultdict[str, list[int]] = defaultdict(list)
        places: dict[tuple[Any, ...], _Place] = {}  # rows of one cell are many, a measure each
        for at, row in enumerate(rows):
            kind = kind_of(declared, row)
            if kind is None:
                fallen[""].append(at)  # nobody said who stands behind it
                continue
            named_by = id(kind), *(row[name] for name in kind.places)
            place = places.get(named_by)
            if place is None:
                place = places[named_by] = self._place(keys_of(self.pattern.years, kind, row))
            for falls in self._fallen(declared, kind, place, row):
                for name in falls or ("",):
                    fallen[name].append(at)
        masks = {name: np.zeros(len(rows), bool) for name in ("", *fallen)}
        for name, places_in in fallen.items():
            masks[name][places_in] = True
        return masks

    @cached_property
    def _measures(self) -> Mapping[Key, set[str]]:
        """What is hidden in a cell of people: measures, and "" where people are."""
        found: defaultdict[Key, set[str]] = defaultdict(set)
        for key in self.pattern.hidden:
            found[key._replace(measure=PEOPLE)].add(key.measure)
        return dict(found)

    def _hidden_in(self, cells: Iterable[Key]) -> frozenset[str]:
        """What is hidden in one of some cells of people or another."""
        return frozenset[str]().union(*(self._measures.get(cell, ()) for cell in cells))

    def _place(self, cells: Sequence[Key]) -> _Place:
        whole = (cell._replace(dimension=ALL, stratum=ALL) for cell in cells)
        hidden = self._hidden_in(cells)
        return _Place(cells, hidden, hidden | self._hidden_in(whole), {})

    def _fallen(
        self, declared: TableSchema, kind: Behind, place: _Place, row: Mapping[str, Any]
    ) -> Iterable[tuple[str, ...]]:
        """Columns of a row that fall, as often as something hidden stands behind them."""
        hidden = place.hidden
        if PEOPLE in hidden:
            yield ()
        for measure in kind.rests_on:
            if named(measure, row) in place.hidden_or_of_whole:
                yield ()
        for counted in kind.counts:
            if measure_of(counted, row) in hidden or (
                not counted.measure and f"people of {declared.name}" in hidden
            ):
                yield counted.falls
        for against in kind.against:
            name = row[against.column].partition(" ")[0]
            other = place.others.get((against.names, name))
            if other is None:
                other = self._hidden_in(_others(against, name, place.cells))
                place.others[against.names, name] = other
            counts = (measure_of(one, row) for one in kind.counts if not one.falls)
            rests_on = (named(measure, row) for measure in kind.rests_on)
            if not other.isdisjoint((PEOPLE, *counts, *rests_on)):
                yield against.falls

    def _least_cases(self) -> int:
        """Least cases from which a rate of the year before counts, in any contract of the run."""
        year = int(self.pattern.years[1])
        agreements = kept_terms.read(self.run_dir).contracts.at(year).values()
        return min(int(one["quality.prior_least_cases"]) for one in agreements)

    def _findings(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[np.bool_]]:
        """Findings of few people or lines, and those that name or count a hidden group."""
        hidden = {
            key.scope_id
            for key in self.pattern.hidden
            if (key.scope, key.dimension) == (PARTNERSHIP, ALL) and not key.measure
        }
        fall = np.array(
            [
                is_small(abs(row["members"] or row["lines"]))
                or _OF_GROUPS.get(row["finding"]) in hidden
                or not hidden.isdisjoint(row["subject"].split(", "))
                for row in rows
            ],
            bool,
        )
        return dict.fromkeys(_FINDING, fall)


def _others(against: Against, name: str, cells: Sequence[Key]) -> list[Key]:
    """Cells of the stratum or group of this name, which rows on these cells are held against."""
    if against.names == "stratum" or name.startswith("arm:"):
        return [cell._replace(stratum=name.removeprefix("arm:")) for cell in cells]
    states = [cell._replace(scope=STATE, scope_id=STATE) for cell in cells]
    if name in (STATE, "others"):
        return states
    group = COMPARISON if name == "comparison" else name
    return [state._replace(scope=PARTNERSHIP, scope_id=group) for state in states]


def open_form(run_dir: Path, shown: Sequence[Path] = ()) -> OpenForm:
    """A run as everybody may see it; its pattern is fixed now unless it was shown before.

    Parameters and errors as `pattern_of`.
    """
    return OpenForm(run_dir, pattern_of(run_dir, shown))


def has_open_form(declared: TableSchema) -> bool:
    """Whether everybody may see anything of a table."""
    return declared is DATA_QUALITY or declared is DATA_REVIEW or bool(declared.behind)


def _few_lines(rows: Sequence[Mapping[str, Any]]) -> NDArray[np.bool_]:
    """Months of a plan with few lines, and others, so that no sum by month, plan or table tells."""
    return hidden_rows(
        [
            (row["source_table"], *(f"{row['source_table']} {row[of]}" for of in ("month", "plan")))
            for row in rows
        ],
        [row["lines"] for row in rows],
    )


def _hide(
    whole: pa.Table, declared: TableSchema, masks: Mapping[str, NDArray[np.bool_]]
) -> pa.Table:
    """The table with nulls where columns are hidden; keys stay."""
    everywhere = masks.get("", np.zeros(whole.num_rows, bool))
    values = [name for name in declared.names if name not in declared.keys]
    columns = [
        whole.column(field.name)
        if field.name not in values
        else pc.if_else(
            pa.array(everywhere | masks.get(field.name, False)),
            pa.scalar(None, field.type),
            whole.column(field.name),
        )
        for field in whole.schema
    ]
    fields = [field.with_nullable(field.name in values) for field in whole.schema]
    return pa.table(columns, schema=pa.schema(fields))


def without_prior(measures: pa.Table, least_cases: int) -> pa.Table:
    """Measures without rates of the year before that may be those of 1 to 10 people.

    Their cases are not known here, only from how many on a rate counts: those who met it may be
    few. What is made of such a rate goes with it.
    """
    prior = measures.column("prior_rate")
    few = pc.and_(pc.greater(prior, 0.0), pc.less(prior, (SMALL_CELL + 1) / least_cases))
    better = pc.and_(few, pc.greater(measures.column("improvement"), measures.column("attainment")))
    for name, hide in (("prior_rate", few), ("improvement", few), ("points", better)):
        at = measures.schema.get_field_index(name)
        field = measures.schema.field(at)
        held = pc.fill_null(hide, fill_value=False)
        shown = pc.if_else(held, pa.scalar(None, field.type), measures.column(at))
        measures = measures.set_column(at, field, shown)
    return measures


def _without_parts(walk: pa.Table) -> pa.Table:
    """Words of a walk up to where they tell of rate cells, of few people's months among them."""
    steps, words = walk.column("step").to_pylist(), walk.column("detail").to_pylist()
    kept = [
        text.partition(";")[0] if text is not None and step in _TOLD_OF_PARTS else text
        for step, text in zip(steps, words, strict=True)
    ]
    at = walk.schema.get_field_index("detail")
    return walk.set_column(at, walk.schema.field(at), pa.array(kept, pa.string()))
