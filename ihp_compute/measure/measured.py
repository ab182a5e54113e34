"""What one shard brings to a run: member-years and sums, and how the sums of shards are merged.

Every sum is of integers and every member stands in one shard, so shards merge in any order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.contracts import INCURRED_BY, incurred_by
from ihp_compute.measure.attribution import EXCLUSION_REASONS, Attribution
from ihp_compute.measure.cell_sums import CellSums, cell_sums
from ihp_compute.measure.cost import Cost
from ihp_compute.measure.line_fates import line_fates
from ihp_compute.measure.member_years import member_years_of
from ihp_compute.measure.missing import unpaid_encounters, unscored
from ihp_compute.measure.movement import movement
from ihp_compute.measure.paid_ahead import PaidYear
from ihp_compute.measure.payer_months import payer_months
from ihp_compute.measure.programme import MemberYear, ProgrammePart, ProgrammeSums, added
from ihp_compute.measure.providers import providers_of
from ihp_compute.measure.score_change import score_change
from ihp_compute.measure.shard_plan import ShardPlan
from ihp_compute.measure.utilisation import UseOfCare, summed_use
from ihp_compute.population import ShardColumns
from ihp_compute.risk import ScoreParts, Scores
from ihp_compute.uncertainty import Rows, Totals, YearRows, replicate_totals
from ihp_compute.units import sums_by

T = TypeVar("T")


@dataclass(frozen=True)
class Measured:
    """Sums and member-years of one shard or of several.

    Attributes
    ----------
    totals : Totals
    member_years : tuple of Arrow tables
        One a shard: each member's base year, then its performance year.
    ledger : int64[n_tables, n_files, n_run_fates, 2]
        Lines and paid cents of retained rows by run fate.
    exclusions : int64[2, n_reasons, 3]
        Members, member months and paid cents per year (base, performance) and reason.
    movement : int64[2, n_groups, n_steps, 7]
        Members by group and step of each year, and who came and went (`movement`).
    use_by_group : int64[2, n_groups, 1 + 2 * n_measures]
        Members, numerators and denominators of use of care per year and group (`summed_use`).
    cells : CellSums
        What stands in rate cells as observed.
    payer_months : int64[n_groups, 1 + n_plans]
        Countable months of the performance year by payer (`payer_months`), summed.
    unscored : int64[2, n_groups, 1 + 2 * n_rate_cells]
        Members whose score was filled, per year and group (`missing.unscored`).
    unpaid : int64[2, n_groups, n_plans, 4]
        Encounters, and those without a payment (`missing.unpaid_encounters`).
    score_change : int64[n_groups + 1, 2, n_rate_cells + 1, n_parts]
        What the two years' scores are made of (`score_change`), the state last; of 0 groups where
        no model scores from codes.
    programme : dict of name to sums
        What the parts of the programme measured.
    counts : Counter
        What the score provider counted, as "year:what".
    n_shards : int
        Shards summed.
    apart : Totals, optional
        Totals of the roster's groups, where `totals` has alliances in their members' place.
    paid_ahead : tuple of PaidYear
        Population-based payments that the run counts as cost or grades.
    made : dict
        What `once` and `again` were given.
    """

    totals: Totals
    member_years: tuple[pa.Table, ...]
    ledger: NDArray[np.int64]
    exclusions: NDArray[np.int64]
    movement: NDArray[np.int64]
    use_by_group: NDArray[np.int64]
    cells: CellSums
    payer_months: NDArray[np.int64]
    unscored: NDArray[np.int64]
    unpaid: NDArray[np.int64]
    score_change: NDArray[np.int64]
    programme: ProgrammeSums
    counts: Counter[str]
    n_shards: int
    apart: Totals | None = None
    paid_ahead: tuple[PaidYear, ...] = ()
    made: dict[str, Any] = field(default_factory=dict, compare=False)

    def once(self, name: str, make: Callable[[Sequence[pa.Table]], T]) -> T:
        """What `make` gives of the member-years, made once: it lasts longer than these do.

        It may rest on nothing else but what `measured_before.measuring_sha256` is made of.
        """
        if name not in self.made:
            if not self.member_years:
                raise ValueError(f"{name} was not made while member-years were there")
            self.made[name] = make(self.member_years)
        return cast(T, self.made[name])

    def again(self, name: str, rests_on: str, make: Callable[[], T]) -> T:
        """What `make` gives of sums, made anew where it rests on something else than the last time.

        Parameters
        ----------
        name : str
        rests_on : str
            All that it rests on beside what `measured_before.measuring_sha256` is made of.
        make : callable
            Gives what nobody changes.
        """
        known: tuple[str, T] | None = self.made.get(name)
        if known is None or known[0] != rests_on:
            known = self.made[name] = rests_on, make()
        return known[1]

    @property
    def group_totals(self) -> Totals:
        """Totals of the roster's groups."""
        return self.totals if self.apart is None else self.apart

    def __add__(self, other: Measured) -> Measured:
        """Measures of two disjoint sets of members."""
        return Measured(
            self.totals + other.totals,
            self.member_years + other.member_years,
            self.ledger + other.ledger,
            self.exclusions + other.exclusions,
            self.movement + other.movement,
            self.use_by_group + other.use_by_group,
            self.cells + other.cells,
            self.payer_months + other.payer_months,
            self.unscored + other.unscored,
            self.unpaid + other.unpaid,
            self.score_change + other.score_change,
            added(self.programme, other.programme),
            self.counts + other.counts,
            self.n_shards + other.n_shards,
        )

    @classmethod
    def merge(
        cls,
        parts: Iterable[Measured],
        n_shards: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> Measured:
        """Sum of all shards, in the order in which they arrive."""
        merged: Measured | None = None
        for part in parts:
            merged = part if merged is None else merged + part
            if progress is not None:
                progress(merged.n_shards, n_shards)
        if merged is None:
            raise ValueError("a population has at least one shard")
        return merged

    @classmethod
    def of(
        cls, plan: ShardPlan, shards: Sequence[ShardMeasured], parts: Sequence[ProgrammePart] = ()
    ) -> Measured:
        """Sums of measured shards; their members are drawn together."""
        cells = sum((shard.cells for shard in shards[1:]), shards[0].cells)
        return cls(
            totals=replicate_totals(
                Rows.concat([shard.rows for shard in shards]),
                sum_of([shard.n_members for shard in shards]),
                cells.taken_cents[1].sum(axis=2).T,
                groups=plan.roster.groups,
                replicates=plan.replicates,
                seed=plan.seed,
                device=plan.device,
            ),
            member_years=tuple(shard.member_years for shard in shards),
            ledger=sum_of([shard.ledger for shard in shards]),
            exclusions=sum_of([shard.exclusions for shard in shards]),
            movement=sum_of([shard.movement for shard in shards]),
            use_by_group=sum_of([shard.use_by_group for shard in shards]),
            cells=cells,
            payer_months=sum_of([shard.payer_months for shard in shards]),
            unscored=sum_of([shard.unscored for shard in shards]),
            unpaid=sum_of([shard.unpaid for shard in shards]),
            score_change=sum_of([shard.score_change for shard in shards]),
            programme={
                part.name: part.together(plan, [shard.programme[part.name] for shard in shards])
                for part in parts
            },
            counts=sum((shard.counts for shard in shards), Counter()),
            n_shards=len(shards),
        )


def sum_of(arrays: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Element-wise sum of equal shapes."""
    total = arrays[0].copy()
    for array in arrays[1:]:
        total += array
    return total


@dataclass(frozen=True)
class ShardMeasured:
    """One shard, measured: what `Measured` sums, with rows not yet drawn."""

    rows: Rows
    n_members: NDArray[np.int64]
    member_years: pa.Table
    ledger: NDArray[np.int64]
    exclusions: NDArray[np.int64]
    movement: NDArray[np.int64]
    use_by_group: NDArray[np.int64]
    cells: CellSums
    payer_months: NDArray[np.int64]
    unscored: NDArray[np.int64]
    unpaid: NDArray[np.int64]
    score_change: NDArray[np.int64]
    programme: ProgrammeSums
    counts: Counter[str]

    @classmethod
    def of(
        cls,
        shard: ShardColumns,
        plan: ShardPlan,
        attributions: Sequence[Attribution],
        scores: Sequence[Scores],
        score_parts: ScoreParts | None,
        costs: Sequence[Sequence[Cost]],
        uses: Sequence[UseOfCare],
        parts: Sequence[ProgrammePart] = (),
    ) -> ShardMeasured:
        """One shard; sequences are (base year, performance year), but parts of the programme."""
        member_key = shard.column("members", "member_key")
        n_groups = len(plan.roster.groups)
        years = list(zip(attributions, scores, costs, uses, strict=True))
        base, performance = (
            YearRows(
                group=attribution.group,
                months=attribution.months,
                score_micro=score.score_micro,
                cell_cents=[under.cell_cents for under in cost],
            )
            for attribution, score, cost, _ in years
        )
        grouped = performance.group[performance.group >= 0]
        eligible = np.flatnonzero(performance.group >= 0)
        by_payer = [payer_months(shard, a, n_plans=len(plan.plans)) for a in attributions]
        providers = [providers_of(shard, plan.roster.entries[a.year], a) for a in attributions]
        ledger, fate = line_fates(
            shard,
            plan.rule_sets,
            cutoff_day=plan.cutoff_day,
            attributions=attributions,
            costs=costs,
            group_rule_set=plan.group_rule_set,
            n_partnerships=plan.roster.n_partnerships,
            n_files=plan.n_files,
        )
        incurred_day = shard.column("lines", INCURRED_BY[incurred_by(plan.rule_sets)])
        return cls(
            rows=Rows.of(member_key, base, performance),
            n_members=np.bincount(grouped, minlength=n_groups).astype(np.int64),
            member_years=member_years_of(member_key, plan, years, by_payer, providers),
            ledger=ledger,
            exclusions=np.stack([_exclusions(a, cost[0]) for a, _, cost, _ in years]),
            movement=movement(
                attributions, n_groups=n_groups, n_partnerships=plan.roster.n_partnerships
            ),
            use_by_group=np.stack([summed_use(a, use, n_groups) for a, _, _, use in years]),
            cells=cell_sums(
                [
                    (attribution, cost, rows)
                    for (attribution, _, cost, _), rows in zip(
                        years, (base, performance), strict=True
                    )
                ],
                plan.rate_cells,
                n_groups=n_groups,
            ),
            payer_months=np.stack(
                [
                    sums_by(performance.group[eligible], months[eligible], n_groups)
                    for months in by_payer[1].T
                ],
                axis=1,
            ),
            unscored=np.stack([unscored(a, score, n_groups) for a, score, _, _ in years]),
            unpaid=np.stack(
                [
                    unpaid_encounters(
                        shard, fate, incurred_day, a, n_groups=n_groups, n_plans=len(plan.plans)
                    )
                    for a in attributions
                ]
            ),
            score_change=score_change(score_parts, attributions, n_groups=n_groups),
            programme=_programme(shard, plan, years, parts),
            counts=Counter(
                {
                    f"{a.year}:{what}": n
                    for a, score, _, _ in years
                    for what, n in score.counts.items()
                    if n
                }
            ),
        )


def _programme(
    shard: ShardColumns,
    plan: ShardPlan,
    years: Sequence[tuple[Attribution, Scores, Sequence[Cost], UseOfCare]],
    parts: Sequence[ProgrammePart],
) -> ProgrammeSums:
    """What each part of the programme finds in a shard; years are base and performance year."""
    if not parts:
        return {}
    given = [MemberYear(*year) for year in years]
    return {part.name: part.measure(shard, plan, given) for part in parts}


def _exclusions(attribution: Attribution, cost: Cost) -> NDArray[np.int64]:
    months = attribution.enrolled_months
    return np.stack(
        [
            sums_by(attribution.reason, values, len(EXCLUSION_REASONS))
            for values in (np.ones_like(months), months, cost.paid_cents)
        ],
        axis=1,
    )
