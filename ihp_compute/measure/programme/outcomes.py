"""What each member's years bring to the outcomes of a programme, and in which strata they stand.

    use of care + capped cost + main rate cell + score -> one small row a member -> all shards' rows

Rates need the state's mean score and its rates by stratum, which are known when every shard is
measured; so this keeps rows, and `results` sums them. Cost is that of the first rule set, the same
for everybody. Events have the state's mean cost: uncapped cents of their service category, by that
rule set and in countable months.
"""

# Every part is asked with the plan, and a survey of those that need none is nothing:
# ruff: noqa: ARG002
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import LINE_KINDS, SERVICE_CATEGORIES
from ihp_compute.contracts import INCURRED_BY, CostTerms, Programme
from ihp_compute.data_quality import Noticed
from ihp_compute.errors import ContractError
from ihp_compute.measure.attribution import NOT_COUNTABLE, Attribution
from ihp_compute.measure.cost import COSTS, amount_cents, slots
from ihp_compute.measure.plan import Plan
from ihp_compute.measure.programme.outcome_measures import (
    COMPARATORS,
    COST,
    DENOMINATORS,
    EVENTS,
    MEASURES,
    REGION,
)
from ihp_compute.measure.programme.part import MemberYear
from ihp_compute.measure.programme.strata import Strata, starts_between
from ihp_compute.measure.shard_plan import ShardPlan
from ihp_compute.population import (
    COUNTY,
    Population,
    ShardColumns,
    intervention_arms,
    member_factors,
)
from ihp_compute.units import sums_by

CATEGORIES: Final = tuple(EVENTS)
"""Service categories of which events have a mean cost."""
_MONTHS: Final = 12


@dataclass(frozen=True)
class MemberOutcomes:
    """Rows of the members of one shard; years are base and performance.

    Attributes
    ----------
    member_key : uint64[n]
    group : int16[2, n]
        Place in the roster's groups; -1: not eligible.
    cell : uint8[2, n]
        Rate cell of most months, the first of several.
    score_micro : int64[2, n]
    numerator : tuple of integers[2, n]
        By measure, in the order of `MEASURES`.
    denominator : tuple of integers[2, n]
        By `DENOMINATORS`.
    stratum : int16[2, n_dimensions, n]
        Place among the strata of `Strata.names`; -1: in none.
    in_region : bool[2, n]
        Whether the member lives in the region of the comparator; False where none is.
    event_cents : int64[2, n_categories]
        Uncapped cents of eligible members by `CATEGORIES`.
    """

    member_key: NDArray[np.uint64]
    group: NDArray[np.int16]
    cell: NDArray[np.uint8]
    score_micro: NDArray[np.int64]
    numerator: tuple[NDArray[np.int64], ...]
    denominator: tuple[NDArray[np.int64], ...]
    stratum: NDArray[np.int16]
    in_region: NDArray[np.bool_]
    event_cents: NDArray[np.int64]


@dataclass(frozen=True)
class OutcomeSums:
    """Rows of several shards, and what their strata are called.

    names : mapping of dimension to its strata; the same in every shard
    """

    names: dict[str, tuple[str, ...]]
    shards: tuple[MemberOutcomes, ...]

    def __add__(self, other: OutcomeSums) -> OutcomeSums:
        """Rows of two disjoint sets of members."""
        return OutcomeSums(self.names, self.shards + other.shards)

    def in_order(self) -> MemberOutcomes:
        """Rows of who is eligible in a year, by member key, however the population is sharded."""
        key = np.concatenate([shard.member_key for shard in self.shards])
        is_in = np.concatenate([(shard.group >= 0).any(axis=0) for shard in self.shards])
        order = np.flatnonzero(is_in)[np.argsort(key[is_in])]

        def joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
            return np.take(np.concatenate(arrays, axis=-1), order, axis=-1)

        def each(name: str) -> tuple[NDArray[np.int64], ...]:
            columns = zip(*(getattr(shard, name) for shard in self.shards), strict=True)
            return tuple(joined(column) for column in columns)

        def of(name: str) -> NDArray[Any]:
            return joined([getattr(shard, name) for shard in self.shards])

        return MemberOutcomes(
            member_key=key[order],
            group=of("group"),
            cell=of("cell"),
            score_micro=of("score_micro"),
            numerator=each("numerator"),
            denominator=each("denominator"),
            stratum=of("stratum"),
            in_region=of("in_region"),
            event_cents=np.sum([shard.event_cents for shard in self.shards], axis=0),
        )


@dataclass(frozen=True)
class Outcomes:
    """The part of a programme that tells of outcomes."""

    name: ClassVar[str] = "outcomes"
    each: ClassVar[bool] = False
    surveys: ClassVar[bool] = False
    strata: Strata

    @classmethod
    def of(cls, plan: Plan, population: Population) -> Self | None:
        """The strata that the population can tell.

        Raises
        ------
        ContractError
            If the programme's comparator is none, or a region that no county is of.
        """
        if plan.programme is None:
            return None
        return cls(
            Strata(
                member_factors(population),
                intervention_arms(population),
                _region(plan.programme, population),
            )
        )

    @classmethod
    def absent(cls, plan: Plan, population: Population) -> Iterator[Noticed]:
        """What leaves a measure or strata out, and who of an intervention is in no arm."""
        if population.reference("member_factors") is None:
            yield Noticed("outcomes_without_factors", source_table="member_factors")
        if population.reference("ed_classifier") is None:
            yield Noticed("no_ed_classifier", source_table="ed_classifier")
        arms = intervention_arms(population)
        if arms is not None:
            began = arms.first_day
            outside = int(np.count_nonzero(~starts_between(began, plan.years)))
            if outside:
                yield Noticed(
                    "intervention_outside_years",
                    source_table="intervention",
                    column_name="start_date",
                    lines=outside,
                    share=outside / began.size,
                    size=began.size,
                )

    def survey_key(self, plan: Plan) -> None:
        """Nothing is asked."""

    def survey(self, shard: ShardColumns, plan: ShardPlan) -> None:
        """Nothing is asked of everybody before."""

    def surveyed(self, found: None) -> Self:
        """The same part."""
        return self

    def measure(
        self, shard: ShardColumns, plan: ShardPlan, years: Sequence[MemberYear]
    ) -> MemberOutcomes:
        """Rows of a shard; years are base and performance."""
        attributions = [year.attribution for year in years]
        stratum = self.strata.of(shard, [attribution.year for attribution in attributions])
        months = [attribution.months for attribution in attributions]
        numerators = [
            _both(
                year.costs[0].capped_cents if measure.name == COST else year.use.of(measure.name)[0]
                for year in years
            )
            for measure in MEASURES
        ]
        over = {
            measure.over: measure.name for measure in reversed(MEASURES) if measure.name != COST
        }
        return MemberOutcomes(
            member_key=np.asarray(shard.column("members", "member_key")),
            group=_both(attribution.group for attribution in attributions).astype(np.int16),
            cell=_both(own.argmax(axis=0) for own in months).astype(np.uint8),
            score_micro=_both(year.scores.score_micro for year in years),
            numerator=tuple(_small(one) for one in numerators),
            denominator=tuple(
                _small(_both(year.use.of(over[name])[1] for year in years)) for name in DENOMINATORS
            ),
            stratum=stratum,
            in_region=self._in_region(stratum),
            event_cents=category_cents(
                shard, plan.rule_sets[0], attributions, cutoff_day=plan.cutoff_day
            ),
        )

    def together(self, plan: ShardPlan, shards: Sequence[MemberOutcomes]) -> OutcomeSums:
        """Rows of neighbouring shards."""
        return OutcomeSums(self.strata.names, tuple(shards))

    def _in_region(self, stratum: NDArray[np.int16]) -> NDArray[np.bool_]:
        counties = self.strata.region_counties
        if counties is None:
            return np.zeros((stratum.shape[0], stratum.shape[2]), np.bool_)
        place = list(self.strata.names).index(COUNTY)
        is_in = np.array([name in counties for name in self.strata.names[COUNTY]])
        return is_in[stratum[:, place]]


def _both(arrays: Iterator[NDArray[Any]]) -> NDArray[Any]:
    return np.stack(list(arrays))


def _small(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same integers in the least room that holds them."""
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    kind = np.result_type(np.min_scalar_type(low), np.min_scalar_type(high))
    return values.astype(kind)


def category_cents(
    shard: ShardColumns, terms: CostTerms, attributions: Sequence[Attribution], *, cutoff_day: int
) -> NDArray[np.int64]:
    """Uncapped cost of eligible members by `CATEGORIES`: int64[n_years, n_categories].

    A line counts as it does in `cost`: by the day that incurs it, in a countable month, of a
    category that the terms include, paid by the cutoff.
    """
    codes = [SERVICE_CATEGORIES.index(name) for name in CATEGORIES]
    category = shard.column("lines", "category")
    is_taken = np.zeros(category.size, np.bool_)
    for code in codes:
        if terms.service_bits >> code & 1:
            is_taken |= category == code
    rows = np.flatnonzero(is_taken)
    is_cost = np.array([COSTS >> kind & 1 for kind in range(len(LINE_KINDS))], np.bool_)
    counts = np.take(is_cost, shard.column("lines", "kind")[rows])
    counts &= shard.column("lines", "paid_day")[rows] <= cutoff_day
    years = [attribution.year for attribution in attributions]
    first_day, slot_of_day = slots(years)
    day = shard.column("lines", INCURRED_BY[terms.incurred_by])[rows] - np.int32(first_day)
    slot = np.take(
        np.append(slot_of_day, NOT_COUNTABLE), np.minimum(day.view(np.uint32), slot_of_day.size)
    )
    is_in = np.zeros((NOT_COUNTABLE + 1, shard.n_members), np.bool_)
    for y, attribution in enumerate(attributions):
        is_in[_MONTHS * y : _MONTHS * (y + 1)] = (
            (attribution.month_cell != NOT_COUNTABLE) & (attribution.group >= 0)[:, None]
        ).T
    member = np.repeat(
        np.arange(shard.n_members), np.diff(np.searchsorted(rows, shard.offsets("lines")))
    )
    counts &= is_in[slot, member]
    rows, slot = rows[counts], slot[counts]
    place_of = np.zeros(len(SERVICE_CATEGORIES), np.int64)
    place_of[codes] = np.arange(len(codes))
    place = slot // _MONTHS * len(codes) + np.take(place_of, category[rows])
    sums = sums_by(place, amount_cents(shard, terms, rows), len(years) * len(codes))
    return sums.reshape(len(years), len(codes))


def _region(programme: Programme, population: Population) -> frozenset[str] | None:
    """Counties of the region that changes are held against; None where it is no region."""
    comparator = comparator_of(programme)
    if not comparator.startswith(REGION):
        return None
    region = comparator.removeprefix(REGION)
    table = population.reference("region")
    rows = [] if table is None else table.to_pylist()
    counties = frozenset(row["county_fips"] for row in rows if row["region"] == region)
    if not counties or population.reference("member_factors") is None:
        raise ContractError(
            f"outcomes.comparator: found {comparator}, expected a region of the population's table "
            "region, and member_factors with the counties of people; add them and ingest again, "
            f"or compare with {' or '.join(COMPARATORS)}"
        )
    return counties


def comparator_of(programme: Programme) -> str:
    """Whom a programme holds changes against.

    Raises
    ------
    ContractError
        If it is none of those that there are.
    """
    found = str(programme["outcomes.comparator"])
    if found not in COMPARATORS and not found.startswith(REGION):
        raise ContractError(
            f"outcomes.comparator: found {found}, expected {', '.join(COMPARATORS)}, or "
            f"{REGION}NAME"
        )
    return found
