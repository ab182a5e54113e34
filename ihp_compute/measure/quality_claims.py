"""Quality measures from a run's own claims, and the scores that waited for them.

    use of care of who settles -> measures -> scores of those under a contract that takes them

Computed by open rules (`utilisation`), not certified by anybody. An alliance has the events and
cases of its members together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from ihp_compute.contracts import QualityScores
from ihp_compute.measure.measured import Measured
from ihp_compute.measure.plan import Plan, interim_of
from ihp_compute.measure.quality import given_instead, settled_by
from ihp_compute.measure.quality_tables import CLAIMS, Measure
from ihp_compute.measure.settling import settling
from ihp_compute.measure.utilisation import claims_measures
from ihp_compute.population import open_population

HIGHER_IS_BETTER: Final[Mapping[str, bool]] = {
    "ed_visits": False,
    "readmissions": False,
    "follow_up": True,
    "well_child": True,
}
"""Whether a higher rate of a measure from claims is better."""


def scored(plan: Plan, measured: Measured) -> Plan:
    """The plan with the scores that waited for measures from claims.

    Parameters
    ----------
    plan : Plan
        Of the whole run.
    measured : Measured
        Of everybody, by groups of the roster.

    Raises
    ------
    MissingQualityError
        If a contract rests on a score that is still missing, and lets nothing stand in.
    DataError, ContractError
        As `quality_of`.
    """
    if not plan.quality_of_year.waiting:
        return plan
    year = plan.performance_year
    agreements = plan.contracts.at(year)
    population = open_population(plan.origin.path)
    found, used, told = settled_by(
        population,
        year,
        plan.contracts.graded(year),
        interim_of(plan.to_come),
        from_claims(plan, measured),
    )
    nobody = settling(plan, measured).totals.without_members
    QualityScores.of(used, agreements, nobody).refuse_missing(
        agreements, lambda: given_instead(population, year, ())
    )
    notes = tuple(dict.fromkeys((*plan.notes, *told)))
    return replace(plan, quality=used, quality_of_year=found, notes=notes)


def with_scores_of(way: Plan, plan: Plan) -> Plan:
    """A plan of one measurement with the quality scores of the whole run's."""
    return replace(way, quality=plan.quality, quality_of_year=plan.quality_of_year)


def from_claims(plan: Plan, measured: Measured) -> list[Measure]:
    """Measures of who settles in the performance year, domains left to contracts."""
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    use = claims_measures(plan.use, measured.use_by_group[1], plan.roster.groups)
    for group, by_measure in use.items():
        who = plan.contracts.settles(group)
        if who not in plan.contracts.contracts:
            continue
        for name, (numerator, denominator) in by_measure.items():
            met, could = sums.get((who, name), (0, 0))
            sums[who, name] = met + numerator, could + denominator
    return [
        Measure(who, name, "", *counts, HIGHER_IS_BETTER[name], CLAIMS)
        for (who, name), counts in sums.items()
    ]
