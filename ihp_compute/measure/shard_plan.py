"""What of a plan the measures of a shard follow from: all of it that travels to a worker.

No contract is among it, no corridor, gate, share or quality score, and no place of a folder. So
what shards came to is known by the content of this and of the population: a run of other settlement
terms measures the same, and what is not sent cannot be read by mistake.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from ihp_compute.contracts import INCURRED_BY, AttributionTerms, CostTerms, incurred_by
from ihp_compute.measure.attribution import Attribution, attribute
from ihp_compute.measure.claims_to_come import ClaimsToCome
from ihp_compute.measure.cut import CutShard
from ihp_compute.measure.roster import Roster
from ihp_compute.measure.utilisation import UseRule
from ihp_compute.measure.visits import VisitRule
from ihp_compute.population import Shard, ShardColumns
from ihp_compute.risk import ScoreProvider
from ihp_compute.units import date_of


@dataclass(frozen=True, kw_only=True)
class ShardPlan:
    """How shards are measured.

    `rule_sets` are the distinct cost terms among the contracts; `group_rule_set[g]` says which one
    settles group g (the comparison population and the unattributed are measured under each).
    `rate_cells` are the distinct lists of rate cells among the contracts.
    `to_come` has one entry for each way in which contracts have claims measured, and `measurement`
    is the place of this plan's among them where it has one alone (`measurements`).
    `replicates` are draws beside the observed row, `seed` that of the member weights; `plans` the
    managed care plans by code, `n_files` the input files of the population.
    """

    base_year: int
    performance_year: int
    cutoff_day: int
    to_come: tuple[ClaimsToCome, ...]
    attribution: AttributionTerms
    rule_sets: tuple[CostTerms, ...]
    rate_cells: tuple[tuple[str, ...], ...]
    group_rule_set: tuple[int, ...]
    roster: Roster
    visits: VisitRule
    use: UseRule
    scores: ScoreProvider
    device: str
    plans: tuple[str, ...]
    n_files: int
    replicates: int
    seed: int
    measurement: int = 0

    @property
    def completion(self) -> ClaimsToCome:
        """What is done about claims still to come, of a plan that measures in one way."""
        (found,) = self.to_come
        return found

    @property
    def years(self) -> tuple[int, int]:
        """Base year, performance year."""
        return self.base_year, self.performance_year

    @property
    def completes(self) -> bool:
        """Whether cost must be developed before it is measured: not where it is known complete."""
        return self.completion.completes

    @property
    def cutoff_days(self) -> tuple[int, int]:
        """Claims paid after these days are left out: of the base, of the performance year."""
        return self.completion.base_cutoff_day, self.cutoff_day

    @property
    def cut(self) -> tuple[int, str, int] | None:
        """Base year, the day that a line is of, and cutoff, where that leaves anything out."""
        if not self.completion.cut_lines:
            return None
        incurred_day = INCURRED_BY[incurred_by(self.rule_sets)]
        return self.base_year, incurred_day, self.completion.base_cutoff_day

    def seen(self, shard: Shard) -> ShardColumns:
        """A shard with the base year cut, where that leaves anything out."""
        if self.cut is None:
            return shard
        base_year, incurred_day, cutoff_day = self.cut
        return CutShard(
            shard, base_year=base_year, incurred_day=incurred_day, cutoff_day=cutoff_day
        )

    def attributed(self, shard: ShardColumns) -> list[Attribution]:
        """Whose members a shard's are, in the base and in the performance year."""
        return [
            attribute(
                shard, self.roster, self.visits, self.attribution, year=year, cutoff_day=cutoff_day
            )
            for year, cutoff_day in zip(self.years, self.cutoff_days, strict=True)
        ]

    @property
    def paid_through(self) -> date:
        """Claims paid after this date are left out."""
        return date_of(self.cutoff_day)
