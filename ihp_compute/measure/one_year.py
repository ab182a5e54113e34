"""One year of a state, measured by a contract as a run measures its performance year.

    population + contracts + year -> roster · visits · cost terms · cutoff -> attribution · cost

What belongs to whom, what counts and when is asked of the same functions as in a run; only what a
run does with two years (completion, trends, settlement) has no place here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.contracts import AttributionTerms, Contract, ContractSet, CostTerms, load_set
from ihp_compute.errors import ContractError, RunError
from ihp_compute.ledger import RunFate
from ihp_compute.measure.attribution import Attribution, attribute
from ihp_compute.measure.cost import Cost, costs
from ihp_compute.measure.foreseen import cutoff_of
from ihp_compute.measure.line_fates import line_fates
from ihp_compute.measure.roster import Roster, compile_roster, nobodys_roster
from ihp_compute.measure.visits import VisitRule, compile_visits
from ihp_compute.population import Population, ShardColumns
from ihp_compute.units import date_of


@dataclass(frozen=True)
class YearPlan:
    """How one year is measured, fully decided; picklable.

    Attributes
    ----------
    year : int
    cutoff_day : int
        Lines and visits paid after it do not count.
    contracts : ContractSet
        One definition of cost.
    attribution : AttributionTerms
    cost : CostTerms
    roster : Roster
    visits : VisitRule
    n_files : int
        Input files of the population.
    """

    year: int
    cutoff_day: int
    contracts: ContractSet
    attribution: AttributionTerms
    cost: CostTerms
    roster: Roster
    visits: VisitRule
    n_files: int

    @property
    def paid_through(self) -> date:
        """Claims paid after this date are left out."""
        return date_of(self.cutoff_day)

    def measure(self, shard: ShardColumns) -> tuple[Attribution, Cost]:
        """Whose members a shard's are in the year, and what they cost."""
        found = attribute(
            shard, self.roster, self.visits, self.attribution,
            year=self.year, cutoff_day=self.cutoff_day,
        )  # fmt: skip
        ((cost,),) = costs(shard, (self.cost,), cutoff_day=self.cutoff_day, attributions=(found,))
        return found, cost

    def ledger(
        self, shard: ShardColumns, attribution: Attribution, cost: Cost, counts: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Lines and paid cents by `RunFate`, where members that `counts` names are counted.

        An eligible member who is not named has the fate NOT_ATTRIBUTED; who is unattributed and
        named is counted.

        Returns
        -------
        int64[n_run_fates, 2]
        """
        n_groups = len(self.roster.groups)
        standing = np.where(attribution.group < 0, -1, np.where(counts, 0, n_groups))
        ledger, _ = line_fates(
            shard, (self.cost,), cutoff_day=self.cutoff_day,
            attributions=(replace(attribution, group=standing.astype(np.int32)),),
            costs=((cost,),), group_rule_set=(0,) * (n_groups + 1), n_partnerships=n_groups,
            n_files=self.n_files,
        )  # fmt: skip
        summed: NDArray[np.int64] = ledger.sum(axis=(0, 1))
        return summed[: len(RunFate)]


def plan_year(
    population: Population,
    contract: str | Contract,
    *,
    year: int | None = None,
    paid_through: date | None = None,
) -> YearPlan:
    """Decide how a year is measured.

    Parameters
    ----------
    population : Population
    contract : str or Contract
        A name, a file, a contract set with one definition of cost, or a contract as it stands.
    year : int, optional
        By default that of the contract set, else the last full year of the population.
    paid_through : date, optional
        By default that of the contract set, else the last day on which a line was paid.

    Raises
    ------
    ContractError
        If the contract is wrong, has no values for the year, or is a set of several costs.
    RunError
        If the year is none of the population's full years, nothing says through which day claims
        were paid, or a contract needs a roster and there is none.
    DataError
        If the roster cannot be used.
    """
    table = population.reference("provider_roster")
    names = set() if table is None else set(table.column("partnership_id").to_pylist())
    partnerships = sorted(names - {COMPARISON}) or [UNATTRIBUTED]
    contracts = (
        load_set((contract,), partnerships)
        if isinstance(contract, str)
        else ContractSet(contract.name, dict.fromkeys(partnerships, contract))
    )
    first, last = population.manifest["full_years"]
    year = year or contracts.performance_year or last
    if not first <= year <= last:
        raise RunError(
            f"{population.path}: {year} is not a full calendar year of the data, which hold "
            f"{first} to {last}; choose one of these or ingest more"
        )
    attribution = contracts.attribution(year)
    rule_sets = contracts.rule_sets(year)
    if len(rule_sets) != 1:
        raise ContractError(
            f"{contracts.name}: found {len(rule_sets)} definitions of cost, expected one; name one "
            "of its contracts"
        )
    npi_codes, tin_codes = population.codes("npi"), population.codes("tin")
    if table is not None:
        roster = compile_roster(
            table, npi_codes=npi_codes, tin_codes=tin_codes, terms=attribution,
            base_year=year, performance_year=year,
        )  # fmt: skip
    elif attribution.keep_pre_visit:
        roster = nobodys_roster(year, len(npi_codes))
    else:
        raise RunError(
            f"{population.path}: has no provider_roster, and months before the first visit do not "
            "count (attribution.keep_pre_visit); add the table to the raw folder and ingest again"
        )
    return YearPlan(
        year=year,
        cutoff_day=cutoff_of(population, contracts, paid_through, year=year),
        contracts=contracts,
        attribution=attribution,
        cost=rule_sets[0],
        roster=roster,
        visits=compile_visits(attribution, population.codes("hcpcs").to_pylist()),
        n_files=len(population.manifest["inputs"]),
    )
