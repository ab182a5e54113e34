"""Full years of a population beside the two of a run, measured by the rules of the run.

Attribution, scores and cost are asked of the same functions, under the roster that the run's rule
gives a year, with claims paid through the run's cutoff; a year has no completion of its own.
A year by whose codes a model scores and that the data do not hold in full is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ihp_compute.errors import DataError
from ihp_compute.measure.attribution import Attribution, attribute
from ihp_compute.measure.cost import Cost, costs
from ihp_compute.measure.plan import Plan, score_provider
from ihp_compute.measure.roster import Roster, compile_roster
from ihp_compute.measure.shard_plan import ShardPlan
from ihp_compute.population import Population, ShardColumns
from ihp_compute.risk import ScoreProvider, Scores, scoring_of


@dataclass(frozen=True)
class FurtherYear:
    """How a year beside those of the run is measured; picklable."""

    year: int
    roster: Roster
    scores: ScoreProvider

    def measure(
        self, shard: ShardColumns, plan: ShardPlan
    ) -> tuple[Attribution, Scores, Sequence[Cost]]:
        """Whose members a shard's are in the year, how sick, and their cost by rule set."""
        found = attribute(
            shard, self.roster, plan.visits, plan.attribution, year=self.year,
            cutoff_day=plan.cutoff_day,
        )  # fmt: skip
        scores = self.scores.score(
            shard, year=self.year, cutoff_day=plan.cutoff_day, months=found.months
        )
        (cost,) = costs(shard, plan.rule_sets, cutoff_day=plan.cutoff_day, attributions=(found,))
        return found, scores, cost


def further_years(plan: Plan, population: Population) -> Iterator[FurtherYear]:
    """The full years of a population that a run can measure beside its own, in order."""
    table = population.reference("provider_roster")
    if table is None:
        return
    risk = plan.contracts.risk(plan.performance_year)
    scorings = [found for found in map(scoring_of, risk.each) if found is not None]
    first, last = population.manifest["full_years"]
    for year in range(first, last + 1):
        coded = all(first <= scoring.terms.code_year(year) <= last for scoring in scorings)
        if year in plan.years or not coded:
            continue
        own = plan.attribution.roster_rule == "own_year"
        try:
            roster = compile_roster(
                table,
                npi_codes=population.codes("npi"),
                tin_codes=population.codes("tin"),
                terms=plan.attribution,
                base_year=year,
                performance_year=year if own else plan.performance_year,
            )
        except DataError:
            if own:
                continue  # nobody is on the roster of that year
            raise
        scores = score_provider(
            population, risk, plan.attribution, roster, plan.visits, {year: plan.cutoff_day}
        )
        yield FurtherYear(year, roster, scores)
