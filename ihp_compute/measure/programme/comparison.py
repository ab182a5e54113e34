"""Sums of regions, and of every group in years beside those of the run, for comparing trends.

    county -> region --------------------\
    full years beside base and performance -> months, risk, cost by rate cell -> the first draws

A run's totals have every group in base and performance year already: nothing is measured for them
here. People of a region are of any group, so that regions have totals of their own.

Not here: how a trend is compared (`settlement.trends`), whose (`results.programme.comparison`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

import kernels
from ihp_compute.codes import RATE_CELLS
from ihp_compute.data_quality import Noticed
from ihp_compute.measure.plan import Plan
from ihp_compute.measure.programme.further_years import FurtherYear, further_years
from ihp_compute.measure.programme.part import MemberYear
from ihp_compute.measure.programme.regions import Regions
from ihp_compute.measure.shard_plan import ShardPlan
from ihp_compute.population import Population, ShardColumns

DRAWS: Final = 200
"""Replicates of these sums at most: the first of the run's."""
OTHERS, COMPARISON_PEOPLE, REGIONS = "others", "comparison", "regions"
"""Comparators of `comparison.comparators`."""


@dataclass(frozen=True)
class ComparisonSums:
    """Sums by region, and by group in further years.

    Attributes
    ----------
    regions : tuple of str
    groups : tuple of str
        Of the roster; empty without further years.
    years : tuple of int
        Of the regions, those of the run first; groups have the others alone.
    values : int64[n_regions + n_groups, n_years, n_strata, 1 + B, 2 + n_rule_sets]
        Member months, months times score in millionths, cents by rule set, as observed and in the
        first draws.
    """

    regions: tuple[str, ...]
    groups: tuple[str, ...]
    years: tuple[int, ...]
    values: NDArray[np.int64]

    def __add__(self, other: ComparisonSums) -> ComparisonSums:
        """Sums of two disjoint sets of members."""
        return ComparisonSums(self.regions, self.groups, self.years, self.values + other.values)

    def of(self, year: int) -> NDArray[np.int64]:
        """Regions, then groups: int64[n_regions + n_groups, n_strata, 1 + B, n_columns]."""
        return self.values[:, self.years.index(year)]


@dataclass(frozen=True)
class ShardRows:
    """Rows of a shard's members, not yet drawn: one a member, region or group, year and rate cell.

    Attributes
    ----------
    columns : int64[2 + n_rule_sets, n_rows]
    place : int32[n_rows]
        Index into the first three axes of `ComparisonSums.values`.
    member_key : uint64[n_rows]
    """

    columns: NDArray[np.int64]
    place: NDArray[np.int32]
    member_key: NDArray[np.uint64]


@dataclass(frozen=True)
class ComparisonPart:
    """Regions and further years of a run, where its programme and population have some."""

    name: ClassVar[str] = "comparison"
    each: ClassVar[bool] = True
    regions: Regions | None
    further: tuple[FurtherYear, ...]

    @classmethod
    def of(cls, plan: Plan, population: Population) -> ComparisonPart | None:
        """None where the run's own totals hold all there is to compare."""
        programme = plan.programme
        if programme is None:
            return None
        asked = REGIONS in programme["comparison.comparators"]
        regions = Regions.of(population) if asked else None
        further = programme["comparison.years"] == "all"
        years = tuple(further_years(plan, population)) if further else ()
        return cls(regions, years) if regions is not None or years else None

    @classmethod
    def absent(cls, plan: Plan, population: Population) -> Iterator[Noticed]:
        """Regions that are asked for, where nothing says where people live."""
        programme = plan.programme
        if programme is None or REGIONS not in programme["comparison.comparators"]:
            return
        if not Regions.are_told(population):
            missing = [
                name for name in ("region", "member_factors") if population.reference(name) is None
            ]
            yield Noticed(
                "comparison_without_regions",
                subject="comparison with regions",
                detail=f"no table {' and no table '.join(missing)}" if missing else "no county",
                lines=len(missing),
            )

    @property
    def surveys(self) -> bool:
        """Nothing must be known of others."""
        return False

    def survey_key(self, plan: Plan) -> None:
        """Nothing."""

    def survey(self, shard: ShardColumns, plan: ShardPlan) -> None:
        """Nothing."""

    def surveyed(self, found: None) -> ComparisonPart:  # noqa: ARG002 - asked of every part
        """The part itself."""
        return self

    def measure(
        self, shard: ShardColumns, plan: ShardPlan, years: Sequence[MemberYear]
    ) -> ShardRows:
        """Rows of a shard."""
        all_years = self._years(plan)
        n_regions = 0 if self.regions is None else len(self.regions.names)
        parts = []
        measured = [(year.attribution, year.scores, year.costs) for year in years]
        measured += [further.measure(shard, plan) for further in self.further]
        region = None
        if self.regions is not None:
            region = self.regions.at_ends_of(all_years, shard).astype(np.int32)
        for y, (attribution, scores, costs) in enumerate(measured):
            months, cents = attribution.months, [cost.cell_cents for cost in costs]
            there = (months != 0) & (attribution.group >= 0)
            for own in cents:
                there |= (own != 0) & (attribution.group >= 0)
            units = []
            if region is not None:
                units.append(region[y])
            if y >= len(years):
                units.append(attribution.group + np.int32(n_regions))
            for unit in units:
                row = np.flatnonzero(there & (unit >= 0))
                cell = row // shard.n_members
                member = row - cell * shard.n_members
                counted = months.take(row)
                risk = counted * scores.score_micro.take(member)
                place = (unit.take(member) * len(all_years) + y) * len(RATE_CELLS) + cell
                parts.append(
                    ShardRows(
                        np.stack([counted, risk, *(own.take(row) for own in cents)]),
                        place.astype(np.int32),
                        shard.column("members", "member_key").take(member),
                    )
                )
        return _joined(parts)

    def together(self, plan: ShardPlan, shards: Sequence[ShardRows]) -> ComparisonSums:
        """Sums of neighbouring shards in the first draws."""
        rows = _joined(shards)
        regions = () if self.regions is None else self.regions.names
        groups = plan.roster.groups if self.further else ()
        years = self._years(plan)
        shape = (len(regions) + len(groups), len(years), len(RATE_CELLS))
        draws = min(DRAWS, plan.replicates)
        sums = kernels.replicate_totals(
            rows.columns, rows.place, rows.member_key, n_groups=int(np.prod(shape)),
            n_replicates=1 + draws, seed=plan.seed,
        )  # fmt: skip
        return ComparisonSums(
            regions, groups, years, sums.reshape(*shape, 1 + draws, len(rows.columns))
        )

    def _years(self, plan: ShardPlan) -> tuple[int, ...]:
        return (*plan.years, *(further.year for further in self.further))


def _joined(parts: Sequence[ShardRows]) -> ShardRows:
    return ShardRows(
        np.concatenate([part.columns for part in parts], axis=1),
        np.concatenate([part.place for part in parts]),
        np.concatenate([part.member_key for part in parts]),
    )
