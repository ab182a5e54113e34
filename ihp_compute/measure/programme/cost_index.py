"""Total cost, resource use and price of groups against a peer: the sums that indices are made of.

    survey: services of all eligible people -> a rate for each (`scale`)
    shard: members' services -> cost · resources at those rates -> one factor each -> sums by group
           the performance year's member by member -> drawn, group and peer together

1. Members count with the months that the programme asks for; everybody eligible makes the scale.
2. A service above zero is cost and uses resources, its units at the scale's rate. At zero it is in
   nothing and counted; below zero it is cost alone.
3. A member whose cost exceeds the cap has one factor, cap over cost, on cost and resources alike.

Not here: what a line's category is (`ingest`), what the sums come to (`results`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import COMPARISON
from ihp_compute.data_quality import Noticed
from ihp_compute.errors import ContractError
from ihp_compute.measure.attribution import NOT_COUNTABLE
from ihp_compute.measure.plan import Plan
from ihp_compute.measure.programme.conditions import Conditions
from ihp_compute.measure.programme.outcome_measures import REGION
from ihp_compute.measure.programme.part import MemberYear
from ihp_compute.measure.programme.regions import Regions
from ihp_compute.measure.programme.scale import Rates, ScaleSums, Services
from ihp_compute.measure.programme.scopes import STATE
from ihp_compute.measure.shard_plan import ShardPlan
from ihp_compute.population import Population, ShardColumns
from ihp_compute.uncertainty import drawn_sums
from ihp_compute.units import cents_of, sums_by

INDEX_MEASURES: Final = (
    "n_members", "member_months", "risk", "cost_cents", "resource_cents", "n_truncated",
    "unpriced_lines",
)  # fmt: skip
"""Columns of `IndexSums.groups`; risk is months times score, in millionths."""
DRAWN_MEASURES: Final = ("member_months", "risk", "cost_cents", "resource_cents")
"""Columns of `IndexSums.draws`."""


@dataclass(frozen=True)
class IndexSums:
    """Sums over members of groups; years are (base, performance).

    Groups are the roster's; where the peer is a region they stand twice, first those who live
    elsewhere, then those who live there.

    Attributes
    ----------
    groups : int64[2, n_groups, n_measures]
    by_category : int64[2, n_groups, n_categories, 3]
        Cost, resources, services.
    by_condition : int64[2, n_groups, n_conditions, 4]
        The same, and months; of 0 conditions where the population has none.
    draws : int64[n_groups, 1 + B, n_drawn]
        Of the performance year, members drawn.
    conditions : tuple of str
    peer : str
    peer_groups : tuple of int
        Groups that are the peer's.
    n_rostered : int
        Groups of the roster.
    scale : ScaleSums
        What the rates were made of.
    """

    groups: NDArray[np.int64]
    by_category: NDArray[np.int64]
    by_condition: NDArray[np.int64]
    draws: NDArray[np.int64]
    conditions: tuple[str, ...]
    peer: str
    peer_groups: tuple[int, ...]
    n_rostered: int
    scale: ScaleSums

    def places(self, rostered: Sequence[int]) -> list[int]:
        """Groups of these sums that groups of the roster are."""
        n = self.groups.shape[1]
        return [g + first for first in range(0, n, self.n_rostered) for g in rostered]

    def __add__(self, other: IndexSums) -> IndexSums:
        """Sums of two disjoint sets of members, by one scale."""
        return replace(
            self,
            groups=self.groups + other.groups,
            by_category=self.by_category + other.by_category,
            by_condition=self.by_condition + other.by_condition,
            draws=self.draws + other.draws,
        )


@dataclass(frozen=True)
class ShardSums:
    """One shard's sums, whose members are not yet drawn.

    Attributes
    ----------
    sums : IndexSums
        Without draws.
    columns : int64[n_drawn, n]
    group : int32[n]
    member_key : uint64[n]
    """

    sums: IndexSums
    columns: NDArray[np.int64]
    group: NDArray[np.int32]
    member_key: NDArray[np.uint64]


@dataclass(frozen=True)
class CostIndex:
    """How the indices of a run are measured; `scale` and `rates` once everybody was surveyed."""

    name: ClassVar[str] = "cost_index"
    each: ClassVar[bool] = False

    services: Services
    conditions: Conditions | None
    cap_cents: int
    least_months: int
    least_lines: int
    peer: str
    regions: Regions | None = None
    scale: ScaleSums | None = None
    rates: Rates | None = None

    @classmethod
    def of(cls, plan: Plan, population: Population) -> Self | None:
        """As the programme has it.

        Raises
        ------
        ContractError
            If its peer is none.
        """
        programme = plan.programme
        if programme is None:
            return None
        peer = programme["cost_index.peer"]
        regions = Regions.of(population) if peer.startswith(REGION) else None
        if peer.startswith(REGION) and regions is None:
            return None
        named = () if regions is None else regions.names
        known = (STATE, COMPARISON, *(REGION + name for name in named))
        if peer not in known:
            raise ContractError(
                f"{programme.name}: cost_index.peer: found {peer}, expected {', '.join(known)}"
                + ("" if named else f", or {REGION}NAME")
            )
        cap = programme["cost_index.cap"]
        return cls(
            Services.of(
                population, programme["cost_index.amount"], programme["cost_index.services"]
            ),
            Conditions.of(plan, population),
            -1 if cap is None else cents_of(cap),
            int(programme["cost_index.least_months"]),
            int(programme["cost_index.least_lines"]),
            peer,
            regions,
        )

    @classmethod
    def absent(cls, plan: Plan, population: Population) -> Iterator[Noticed]:
        """The region that is the peer, and conditions, where nothing says them."""
        if plan.programme is None:
            return
        peer = plan.programme["cost_index.peer"]
        if peer.startswith(REGION) and not Regions.are_told(population):
            yield Noticed("cost_index_without_regions", subject=peer)
        elif Conditions.of(plan, population) is None:
            yield Noticed("no_condition_groups", subject="cost_drivers")

    @property
    def surveys(self) -> bool:
        """The scale rests on everybody."""
        return True

    def survey_key(self, plan: Plan) -> Hashable:
        """Services, and whose count when; a month that waits for a visit rests on the roster."""
        if not plan.attribution.keep_pre_visit:
            return None
        return (
            type(self), self.services, self.least_lines, plan.attribution, plan.years,
            plan.cutoff_days, plan.cut,
        )  # fmt: skip

    def survey(self, shard: ShardColumns, plan: ShardPlan) -> ScaleSums:
        """Sums of the scale."""
        return ScaleSums.of(shard, plan, self.services, self.least_lines)

    def surveyed(self, found: ScaleSums) -> Self:
        """The indices by the scale of everybody."""
        return replace(self, scale=found, rates=found.rates())

    def measure(
        self, shard: ShardColumns, plan: ShardPlan, years: Sequence[MemberYear]
    ) -> ShardSums:
        """What a shard's members cost and use."""
        if self.scale is None or self.rates is None:
            raise ValueError("the cost index is measured after everybody was surveyed")
        n_groups = self._n_groups(plan)
        months = [year.attribution.months.sum(axis=0) for year in years]
        counts = [
            (year.attribution.group >= 0) & (m >= self.least_months)
            for year, m in zip(years, months, strict=True)
        ]
        group = np.stack(
            [
                np.where(here, self._group(shard, plan, year), -1)
                for year, here in zip(years, counts, strict=True)
            ]
        ).astype(np.int32)
        cells = np.stack(
            [
                np.where(here[:, None], year.attribution.month_cell, NOT_COUNTABLE)
                for year, here in zip(years, counts, strict=True)
            ]
        ).astype(np.uint8)
        use = self.services.use(
            shard, plan, cells, self.rates,
            group=group, n_groups=n_groups, cap_cents=self.cap_cents,
        )  # fmt: skip
        conditions = (
            None
            if self.conditions is None
            else self.conditions.in_years(shard, plan.years, plan.cutoff_days)
        )
        groups, by_condition = [], []
        for t, (year, here) in enumerate(zip(years, counts, strict=True)):
            at = np.flatnonzero(here)
            of = {
                "n_members": np.ones(at.size, np.int64),
                "member_months": months[t][at],
                "risk": months[t][at] * year.scores.score_micro[at],
                "cost_cents": use.cost_cents[t, at],
                "resource_cents": use.resource_cents[t, at],
                "n_truncated": use.truncated[t, at],
                "unpriced_lines": use.unpriced[t, at],
            }
            own = group[t, at]
            groups.append(
                np.stack([sums_by(own, of[name], n_groups) for name in INDEX_MEASURES], 1)
            )
            of_condition = (
                of["cost_cents"], of["resource_cents"], use.services[t, at], of["member_months"],
            )  # fmt: skip
            condition = None if conditions is None else conditions[t, at]
            by_condition.append(self._by_condition(condition, own, of_condition, n_groups))
        drawn = (of[name] for name in DRAWN_MEASURES)  # of the performance year, the last
        return ShardSums(
            IndexSums(
                np.stack(groups),
                use.by_category,
                np.stack(by_condition),
                np.zeros((n_groups, 0, len(DRAWN_MEASURES)), np.int64),
                () if self.conditions is None else self.conditions.names,
                self.peer,
                self._peer_groups(plan),
                len(plan.roster.groups),
                self.scale,
            ),
            np.stack(list(drawn)),
            own,
            shard.column("members", "member_key")[at],
        )

    def _n_groups(self, plan: ShardPlan) -> int:
        return len(plan.roster.groups) * (1 if self.regions is None else 2)

    def _group(self, shard: ShardColumns, plan: ShardPlan, year: MemberYear) -> NDArray[np.int64]:
        """Group of each eligible member; of the peer's region those behind the roster's."""
        group = year.attribution.group.astype(np.int64)
        if self.regions is None:
            return group
        (region,) = self.regions.at_ends_of([year.attribution.year], shard)
        there = region == self.regions.names.index(self.peer.removeprefix(REGION))
        return group + len(plan.roster.groups) * there

    def _peer_groups(self, plan: ShardPlan) -> tuple[int, ...]:
        """Groups of the sums that the peer is."""
        groups = plan.roster.groups
        if self.regions is not None:
            return tuple(range(len(groups), 2 * len(groups)))
        return tuple(range(len(groups))) if self.peer == STATE else (groups.index(self.peer),)

    def _by_condition(
        self,
        condition: NDArray[np.int32] | None,
        group: NDArray[np.int32],
        values: Sequence[NDArray[Any]],
        n_groups: int,
    ) -> NDArray[np.int64]:
        """Sums of a year's members by group and condition: int64[n_groups, n_conditions, 4]."""
        if self.conditions is None or condition is None:
            return np.zeros((n_groups, 0, len(values)), np.int64)
        n = len(self.conditions.names)
        place = group.astype(np.int64) * n + condition
        sums = np.stack([sums_by(place, each, n_groups * n) for each in values], axis=1)
        return sums.reshape(n_groups, n, len(values))

    def together(self, plan: ShardPlan, shards: Sequence[ShardSums]) -> IndexSums:
        """Sums of neighbouring shards, members drawn together."""
        whole = sum((shard.sums for shard in shards[1:]), shards[0].sums)
        draws = drawn_sums(
            np.concatenate([shard.columns for shard in shards], axis=1),
            np.concatenate([shard.group for shard in shards]),
            np.concatenate([shard.member_key for shard in shards]),
            n_groups=self._n_groups(plan), replicates=plan.replicates, seed=plan.seed,
            device=plan.device,
        )  # fmt: skip
        return replace(whole, draws=draws)
