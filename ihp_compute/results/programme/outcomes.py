"""Outcomes of care by scope and stratum, and their changes: tables `outcomes`, `outcome_changes`.

    rows of members -> what is expected of each -> sums by group and stratum -> scopes
                    -> rates against a reference stratum; changes against a comparator

A measure that the run does not measure is not told. A stratum stands in a scope where it has people
in the year, for a change in one of the two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.codes import COMPARISON, RATE_CELLS
from ihp_compute.contracts import Programme
from ihp_compute.measure import Plan
from ihp_compute.measure.programme import (
    ALL,
    CONTROL,
    COST,
    DENOMINATORS,
    EVENTS,
    INTERVENTION,
    MEASURES,
    REGION,
    MemberOutcomes,
    OutcomeSums,
    ProgrammeScope,
    comparator_of,
    programme_scopes,
)
from ihp_compute.results.part import Part
from ihp_compute.results.programme.expected import pooled, score_bands, stratum_rates
from ihp_compute.results.programme.outcome_changes import BASES, Compared, change_columns
from ihp_compute.results.programme.outcome_rates import Texts, over, rate_columns
from ihp_compute.results.programme.outcome_sums import (
    FIELDS,
    DimensionSums,
    OutcomeYear,
    dimension_sums,
)
from ihp_compute.results.programme_tables import OUTCOME_CHANGES, OUTCOMES
from ihp_compute.units import sums_by

ARM: Final = "arm:"
"""What stands before the arm that an intervention's other arms are held against."""
_NAMES: Final = [measure.name for measure in MEASURES]
_KIND: Final = tuple(DENOMINATORS.index(measure.over) for measure in MEASURES)


def outcome_tables(parts: Sequence[Part]) -> dict[str, pa.Table]:
    """Both tables, by name; none where outcomes were not measured."""
    plan, measured, _ = parts[0]
    found: OutcomeSums | None = measured.programme.get("outcomes")
    if found is None or plan.programme is None:
        return {}
    scopes = programme_scopes(*(part.plan for part in parts))
    told = Told.of(plan, plan.programme, scopes, found)
    return {OUTCOMES.name: told.outcomes(), OUTCOME_CHANGES.name: told.changes()}


@dataclass(frozen=True)
class Told:
    """Sums of a run, and of whom they are told.

    Attributes
    ----------
    years : (base, performance)
    comparator : str
        Whom changes are held against.
    scopes : sequence of ProgrammeScope
    own, others : float64[n_scopes, n_places]
        1 for the places of sums (groups, or a group in and outside the comparator's region) of
        each scope, and of its comparator.
    strata : mapping of dimension to its strata
    sums : mapping of dimension to DimensionSums
    state_rate : float64[n_measures]
        Of the base year.
    least : float64[n_measures]
        Denominators below it are flagged.
    mean_cents : float64[n_measures]
        What one event costs the state in the performance year; 0: nothing is told.
    told : bool[n_measures]
        Whether the run measures it.
    """

    years: tuple[int, int]
    comparator: str
    scopes: Sequence[ProgrammeScope]
    own: NDArray[np.float64]
    others: NDArray[np.float64]
    strata: Mapping[str, tuple[str, ...]]
    sums: Mapping[str, DimensionSums]
    state_rate: NDArray[np.float64]
    least: NDArray[np.float64]
    mean_cents: NDArray[np.float64]
    told: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        plan: Plan,
        programme: Programme,
        scopes: Sequence[ProgrammeScope],
        found: OutcomeSums,
    ) -> Told:
        """Sums over all members, in the order of their keys."""
        rows = found.in_order()
        n_groups = len(plan.roster.groups)
        least = np.array(
            [int(programme[f"outcomes.least_{name}"]) for name in DENOMINATORS], np.int64
        )
        years, state_rate = outcome_years(rows, programme["outcomes.score_edges"], least)
        comparator = comparator_of(programme)
        n_places = n_groups
        if comparator.startswith(REGION):
            n_places = 2 * n_groups
            years = [
                OutcomeYear(
                    np.where(year.group < 0, -1, year.group + n_groups * is_in),
                    year.n, year.e, year.d, year.kind,
                )
                for year, is_in in zip(years, rows.in_region, strict=True)
            ]  # fmt: skip
        strata = {ALL: (ALL,), **found.names}
        everybody = np.zeros((2, rows.member_key.size), np.int8)
        sums = dimension_sums(
            years,
            [everybody, *rows.stratum.transpose(1, 0, 2)],
            [len(names) for names in strata.values()],
            n_groups=n_places,
        )
        own = np.zeros((len(scopes), n_places))
        for place, scope in enumerate(scopes):
            for group in scope.groups:
                own[place, group::n_groups] = 1.0
        by_dimension = dict(zip(strata, sums, strict=True))
        return cls(
            years=plan.years,
            comparator=comparator,
            scopes=scopes,
            own=own,
            others=_others(comparator, plan.roster.groups, own),
            strata=strata,
            sums=by_dimension,
            state_rate=state_rate,
            least=least[list(_KIND)].astype(np.float64),
            mean_cents=_mean_cents(rows),
            told=np.array([name in (*plan.use.measured, COST) for name in _NAMES]),
        )

    def outcomes(self) -> pa.Table:
        """Rows of `OUTCOMES`."""
        blocks = []
        for dimension, names in self.strata.items():
            sums = self.sums[dimension]
            reference = self._reference(dimension)
            for year, at in zip(self.years, (0, 1), strict=True):
                people = self.own @ sums.people[at]
                found, flag = rate_columns(
                    self.own @ sums.sums[at], people, self.state_rate, self.least, reference
                )
                keys = {"dimension": dimension, "year": year, "reference": names[reference]}
                blocks.append(self._block(keys, names, people, {**found, "flag": flag}))
        return _table(OUTCOMES.arrow, blocks)

    def changes(self) -> pa.Table:
        """Rows of `OUTCOME_CHANGES`."""
        blocks = []
        for dimension, names in self.strata.items():
            sums = self.sums[dimension]
            people = self.own @ sums.people.sum(axis=0)
            whom = Texts(np.zeros(len(names), np.int64), [self.comparator])
            has_other = np.repeat(
                np.any(self.others != 0, axis=1, keepdims=True), len(names), axis=1
            )
            if dimension == INTERVENTION and CONTROL in names:
                control = names.index(CONTROL)
                compared = Compared.of_strata(sums, self.own, control)
                arms = np.arange(len(names)) != control
                whom = Texts(arms.astype(np.int64), ["", ARM + CONTROL])
                has_other = np.repeat(arms[None], len(self.scopes), axis=0)
            else:
                compared = Compared.of(sums, self.own, self.others)
            for basis in BASES:
                found, flag = change_columns(compared, basis, self.mean_cents, has_other)
                comparator = Texts(np.broadcast_to(whom.place, flag.place.shape), whom.names)
                keys = {"dimension": dimension, "basis": basis}
                blocks.append(
                    self._block(
                        keys, names, people, {**found, "flag": flag, "comparator": comparator}
                    )
                )
        return _table(OUTCOME_CHANGES.arrow, blocks)

    def _reference(self, dimension: str) -> int:
        """The stratum of most of the state's months of both years; the control among arms."""
        names = self.strata[dimension]
        if dimension == INTERVENTION and CONTROL in names:
            return names.index(CONTROL)
        months = self.sums[dimension].sums[:, FIELDS.index("d"), 0].sum(axis=(0, 1))
        return int(np.argmax(months))

    def _block(
        self,
        keys: Mapping[str, Any],
        strata: Sequence[str],
        people: NDArray[np.float64],
        columns: Mapping[str, NDArray[Any] | Texts],
    ) -> dict[str, Any]:
        """Columns of a block by measure, scope and stratum, with keys, where there are people."""
        scope, stratum = np.nonzero(people)
        measures = np.flatnonzero(self.told)
        shape = measures.size, scope.size
        names = [(one.scope, one.scope_id) for one in self.scopes]
        places = {
            "scope": (scope, [name for name, _ in names]),
            "scope_id": (scope, [name for _, name in names]),
            "stratum": (stratum, strata),
            "measure": (measures[:, None], _NAMES),
        }

        def picked(column: NDArray[Any]) -> NDArray[Any]:
            return column[measures[:, None], scope, stratum].ravel()

        block: dict[str, Any] = {
            name: (np.broadcast_to(place, shape).ravel(), texts)
            for name, (place, texts) in places.items()
        }
        for name, value in keys.items():
            same = np.zeros(math.prod(shape), np.int64)
            block[name] = (same, [value]) if isinstance(value, str) else same + value
        for name, column in columns.items():
            if isinstance(column, Texts):
                block[name] = picked(column.place), column.names
            else:
                block[name] = picked(column)
        return block


def outcome_years(
    rows: MemberOutcomes, edges: Sequence[str], least: NDArray[np.int64]
) -> tuple[list[OutcomeYear], NDArray[np.float64]]:
    """Numerators, denominators and what is expected of everybody, and the state's base rates.

    Parameters
    ----------
    rows : MemberOutcomes
        Of all members.
    edges : sequence of str
        Multiples of the state's mean score that part bands.
    least : int64[n_denominators]
        Of the base year's state, for a stratum to stand alone.

    Returns
    -------
    years : list of OutcomeYear
        Base, performance.
    state_rate : float64[n_measures]
    """
    multiples = sorted(Decimal(edge) for edge in edges)
    n_bands = len(edges) + 1
    is_in = rows.group >= 0
    numerator = [np.where(is_in, one, 0) for one in rows.numerator]
    denominator = [np.where(is_in, one, 0) for one in rows.denominator]
    months = denominator[DENOMINATORS.index("months")].astype(np.int64)
    stratum = [
        rows.cell[y] * n_bands + score_bands(rows.score_micro[y], months[y], is_in[y], multiples)
        for y in (0, 1)
    ]
    n_strata = len(RATE_CELLS) * n_bands
    base = stratum[0]
    over_strata = [sums_by(base, one[0], n_strata) for one in denominator]
    pools = [pooled(own, n_bands, int(k)) for own, k in zip(over_strata, least, strict=True)]
    counted = [sums_by(base, one[0], n_strata) for one in numerator]
    rates = [
        stratum_rates(own, over_strata[kind], pools[kind])
        for own, kind in zip(counted, _KIND, strict=True)
    ]
    years = []
    for y in (0, 1):
        d = np.stack([one[y] for one in denominator]).astype(np.float64)
        years.append(
            OutcomeYear(
                group=rows.group[y].astype(np.int64),
                n=np.stack([one[y] for one in numerator]).astype(np.float64),
                e=np.stack(
                    [d[kind] * rate[stratum[y]] for kind, rate in zip(_KIND, rates, strict=True)]
                ),
                d=d,
                kind=_KIND,
            )
        )
    whole = [(own.sum(), over_strata[kind].sum()) for own, kind in zip(counted, _KIND, strict=True)]
    return years, np.array([over(n, d) for n, d in whole])


def _others(
    comparator: str, groups: Sequence[str], own: NDArray[np.float64]
) -> NDArray[np.float64]:
    """1 for the places of each scope's comparator."""
    if comparator == "others":
        return 1.0 - own
    others = np.zeros(own.shape)
    if comparator.startswith(REGION):
        others[:, len(groups) :] = 1.0
    else:
        others[:, groups.index(COMPARISON)] = 1.0
    return others


def _mean_cents(rows: MemberOutcomes) -> NDArray[np.float64]:
    """What one event of each measure costs the state in the performance year."""
    is_in = rows.group[1] >= 0
    mean = {}
    for place, (category, events) in enumerate(EVENTS.items()):
        n = int(rows.numerator[_NAMES.index(events)][1][is_in].sum(dtype=np.int64))
        mean[category] = int(rows.event_cents[1, place]) / n if n else 0.0
    return np.array([1.0 if one.name == COST else mean.get(one.category, 0.0) for one in MEASURES])


def _table(schema: pa.Schema, blocks: Sequence[Mapping[str, Any]]) -> pa.Table:
    """All blocks by column; texts come as places among names."""

    def column(field: pa.Field) -> pa.ChunkedArray | pa.Array:
        parts = [block[field.name] for block in blocks]
        if field.type != pa.string():
            return pa.array(np.concatenate(parts), field.type)
        return pa.chunked_array(
            [
                pa.DictionaryArray.from_arrays(place, pa.array(names, field.type)).cast(field.type)
                for place, names in parts
            ]
        )

    return pa.table({field.name: column(field) for field in schema}, schema=schema)
