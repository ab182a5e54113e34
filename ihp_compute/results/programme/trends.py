"""Whose cost is held against whose: partnerships, alliances and their members, by pairs of years.

Each is measured by the contract that settles it, its rate cells and its rules of cost, and so is
everybody it is held against. Base and performance year rest on the totals of the run and have all
draws; regions and further years have the first of them (`measure.programme`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import combinations
from operator import add
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import COMPARISON, RATE_CELLS
from ihp_compute.contracts import Agreement
from ihp_compute.measure import ComparisonPart, ComparisonSums
from ihp_compute.results.part import Part
from ihp_compute.results.small_cells import SMALL_CELL
from ihp_compute.settlement import (
    PARTNERSHIP,
    CellYears,
    OwnGrowth,
    Trend,
    comparator_growth,
)
from ihp_compute.units import MICRO

ALLIANCE, MEMBER = "alliance", "member"
"""Scopes beside a partnership's: who settles together, and each of those."""
MARKET: Final = "comparison"
OTHERS: Final = "others"
_REGION: Final = "region:{}"
READ_OF_CONTRACTS: Final = ("target.rate_cells", "risk.model")
"""Terms that a trend rests on beside those of cost."""


@dataclass(frozen=True)
class Compared:
    """One trend held against another.

    Attributes
    ----------
    scope, scope_id : str
        partnership, alliance or member; whose cost it is.
    comparator : str
        comparison, others or region:NAME.
    from_year, to_year : int
    trend : Trend
    """

    scope: str
    scope_id: str
    comparator: str
    from_year: int
    to_year: int
    trend: Trend

    @property
    def item(self) -> str:
        """What its intervals are named by."""
        return f"{self.comparator} {self.from_year}-{self.to_year}"


def trends(
    part: Part, comparators: Sequence[str], least_months: int, *, further: bool = True
) -> Iterator[Compared]:
    """The trends of everybody whom a measurement settles, where both sides have both years.

    Parameters
    ----------
    part : Part
    comparators : sequence of str
        `comparison`, `others`, `regions`: each region.
    least_months : int
        Months of a rate cell that stands alone.
    further : bool
        Whether years beside base and performance are told.
    """
    plan, contracts = part.plan, part.plan.contracts
    groups = part.measured.group_totals.groups
    sums: dict[tuple[object, ...], _Sums] = {}
    against: dict[tuple[object, ...], _Against] = {}
    for who, agreement in contracts.at(plan.performance_year).items():
        cells, model = (agreement[path] for path in READ_OF_CONTRACTS)
        key = agreement.cost, cells, model is None
        if key not in sums:
            sums[key] = _Sums.of(part, agreement, further=further)
        alliance = contracts.alliances.get(who)
        members = (who,) if alliance is None else alliance.members
        places = [groups.index(name) for name in members]
        scopes = [(PARTNERSHIP if alliance is None else ALLIANCE, who, places)]
        if alliance is not None:
            scopes += [(MEMBER, name, [g]) for name, g in zip(members, places, strict=True)]
        for scope, scope_id, own in scopes:
            for years in combinations(sums[key].years, 2):
                if (key, years) not in against:
                    against[key, years] = sums[key].against(years, comparators, least_months)
                for comparator, found in against[key, years].compared(own):
                    yield Compared(scope, scope_id, comparator, *years, found)


@dataclass(frozen=True)
class _Sums:
    """Sums under one contract's rate cells and cost, by year.

    groups, regions : mapping of year to int64[n, n_cells, 1 + B, 3]
        Months, months times score in millionths, cents.
    """

    names: tuple[str, ...]
    further: frozenset[int]
    groups: dict[int, NDArray[np.int64]]
    region_names: tuple[str, ...]
    regions: dict[int, NDArray[np.int64]]

    @property
    def years(self) -> tuple[int, ...]:
        return tuple(sorted(self.groups))

    @classmethod
    def of(cls, part: Part, agreement: Agreement, *, further: bool) -> _Sums:
        plan, totals = part.plan, part.measured.group_totals
        rule_set = plan.rule_sets.index(agreement.cost)
        cells = [
            [RATE_CELLS.index(name) for name in cell.split("+")]
            for cell in agreement["target.rate_cells"]
        ]
        scored = agreement["risk.model"] is not None

        def by_cell(values: NDArray[np.int64], columns: Sequence[int]) -> NDArray[np.int64]:
            """Of [n, n_strata, 1 + B, n_columns], rate cells of the contract and its columns."""
            found = np.stack(
                [reduce(add, (values[:, c][..., columns] for c in cell)) for cell in cells], axis=1
            )
            if not scored:
                found[..., 1] = found[..., 0] * MICRO
            return found

        groups = {
            year: by_cell(
                totals.values,
                [
                    totals.columns.index(f"{of}_{what}")
                    for what in ("months", "risk", f"cost_r{rule_set}")
                ],
            )
            for year, of in zip(plan.years, ("base", "perf"), strict=True)
        }
        sums: ComparisonSums | None = part.measured.programme.get(ComparisonPart.name)
        if sums is None:
            return cls(totals.groups, frozenset(), groups, (), {})
        found = {year: by_cell(sums.of(year), (0, 1, 2 + rule_set)) for year in sums.years}
        n = len(sums.regions)
        if further:
            groups |= {year: a[n:] for year, a in found.items() if year not in plan.years}
        return cls(
            totals.groups,
            frozenset(sums.years) - {*plan.years},
            groups,
            sums.regions,
            {year: a[:n] for year, a in found.items()},
        )

    def against(
        self, years: tuple[int, int], comparators: Sequence[str], least_months: int
    ) -> _Against:
        """Whom everybody is held against in two years."""
        groups = [self.groups[year] for year in years]
        sides: dict[str, CellYears | None] = {}
        if MARKET in comparators:
            g = self.names.index(COMPARISON)
            sides[MARKET] = _cell_years([year[g] for year in groups])
        if OTHERS in comparators:
            sides[OTHERS] = None
        if "regions" in comparators:
            for r, name in enumerate(self.region_names):
                sides[_REGION.format(name)] = _cell_years([self.regions[year][r] for year in years])
        state = _cell_years([year.sum(axis=0) for year in groups])
        return _Against(groups, state, sides, bool(set(years) & self.further), least_months)


@dataclass(frozen=True)
class _Against:
    """Two years of everybody, and the comparators' own.

    Attributes
    ----------
    groups : int64[n, n_cells, 1 + B, 3] of either year
    state : CellYears
    sides : mapping of comparator to CellYears
        None: everybody but the group itself.
    further : bool
        Whether one of the years is not the run's.
    """

    groups: Sequence[NDArray[np.int64]]
    state: CellYears
    sides: Mapping[str, CellYears | None]
    further: bool
    least_months: int
    _grown: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def compared(self, own: Sequence[int]) -> Iterator[tuple[str, Trend]]:
        """Trends of groups together, by comparator."""
        mine = _cell_years([year[list(own)].sum(axis=0) for year in self.groups])
        if not mine.has_both or (self.further and not _many(mine)):
            return
        sides: dict[int, OwnGrowth] = {}
        for name, side in self.sides.items():
            others = self.state - mine if side is None else side
            if others.has_both and (name in (MARKET, OTHERS) or _many(others)):
                n = min(one.n_draws for one in (mine, others, self.state))
                state = self.state.draws(n)
                grown = self._grown.get(name)
                if grown is None:
                    grown = comparator_growth(
                        others.draws(n), state, least_months=self.least_months
                    )
                if side is not None:
                    self._grown[name] = grown
                if n not in sides:
                    sides[n] = OwnGrowth.of(mine.draws(n), state, least_months=self.least_months)
                yield name, sides[n].against(grown)


def _many(side: CellYears) -> bool:
    """Whether in both years more people must be there than a small cell has."""
    most_months = 12 * SMALL_CELL
    return bool((side.months[..., 0].sum(axis=1) > most_months).all())


def _cell_years(years: Sequence[NDArray[np.int64]]) -> CellYears:
    """Two years' sums, of the draws that both have."""
    n = min(year.shape[1] for year in years)
    months, risk, cost = np.moveaxis(np.stack([year[:, :n] for year in years]), -1, 0)
    return CellYears(months, risk, cost)
