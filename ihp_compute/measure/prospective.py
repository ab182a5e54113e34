"""A year's people known on its first day: those of the year before, by the roster of 1 January.

    contracts of Y + population -> roster of 1 January Y -> attribution and scores of Y - 1
                                -> months of Y that count, with the payer of each, and fees in them

People and scores stay what they were when the year began; months, payers and fees are the year's
own. Who is attributed, how a score is found and which months count is asked of the same functions
as in a run. Not here: what is paid for it (`payments`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import COMPARISON
from ihp_compute.contracts import INCURRED_BY, NONE, AttributionTerms, ContractSet, load_set
from ihp_compute.data_quality import GateTerms, Stage
from ihp_compute.errors import DataError, RunError
from ihp_compute.measure.attribution import attribute, countable_cells
from ihp_compute.measure.foreseen import cutoff_of
from ihp_compute.measure.payer_months import month_payers
from ihp_compute.measure.plan import gates_of_run, score_provider
from ihp_compute.measure.roster import Roster, compile_roster
from ihp_compute.measure.scoring import noticed_of_scoring
from ihp_compute.measure.visits import VisitRule, among, compile_visits
from ihp_compute.population import Population, ShardColumns
from ihp_compute.risk import ScoreProvider, provider, scoring_of
from ihp_compute.units import date_of, months_of_days, sums_by, year_bounds

_FIRST_DAY: Final = "01-01"


@dataclass(frozen=True)
class Prospective:
    """One shard's people, as they are known on 1 January and as their year went.

    Attributes
    ----------
    group : int32[n]
        Index into `Roster.groups`, of the year before; -1 for who was not eligible.
    score_micro : int64[n], millionths
        Of the year before.
    score_missing : bool[n]
        Whether the score came from the contract's policy.
    score_months : int64[n]
        Countable months of the year before.
    payer : int32[n, 12]
        Payer of each month of the year that counts, in `payer_names`; -1 where it does not count.
    month_cell : uint8[n, 12]
        Rate cell of each month of the year that counts, in `RATE_CELLS`.
    spanned_months : int64[12]
        People of whom a span stands in each month, whether it counts or not.
    """

    group: NDArray[np.int32]
    score_micro: NDArray[np.int64]
    score_missing: NDArray[np.bool_]
    score_months: NDArray[np.int64]
    payer: NDArray[np.int32]
    month_cell: NDArray[np.uint8]
    spanned_months: NDArray[np.int64]


@dataclass(frozen=True)
class ProspectivePlan:
    """How a year's people are found, fully decided; picklable.

    Attributes
    ----------
    year : int
        The year in which they count; they are those of the year before.
    cutoff_day : int
        Visits and diagnoses paid after it are not known.
    contracts : ContractSet
    attribution : AttributionTerms
    roster : Roster
    visits : VisitRule
    scores : ScoreProvider
        Everybody is 1.000 where no contract weighs medical risk.
    procedures, plans : tuple of str
        The population's code tables "hcpcs" and "plan".
    incurred_by : str
        Column of lines by which a line is in a month.
    accept : mapping of gate to reason
    noticed : tuple of rows of `DATA_QUALITY`
    """

    year: int
    cutoff_day: int
    contracts: ContractSet
    attribution: AttributionTerms
    roster: Roster
    visits: VisitRule
    scores: ScoreProvider
    procedures: tuple[str, ...]
    plans: tuple[str, ...]
    incurred_by: str
    accept: Mapping[str, str] = field(default_factory=dict)
    noticed: tuple[Mapping[str, object], ...] = ()

    @property
    def paid_through(self) -> date:
        """Visits and diagnoses paid after this date are not known."""
        return date_of(self.cutoff_day)

    @property
    def gates(self) -> GateTerms:
        """The gates of a run, at the thresholds that its terms set."""
        return gates_of_run(self.contracts.risk(self.year), self.accept)

    def people(self, shard: ShardColumns) -> Prospective:
        """Whose people a shard's are on 1 January, how sick, and how their year went."""
        found = attribute(
            shard, self.roster, self.visits, self.attribution,
            year=self.year - 1, cutoff_day=self.cutoff_day,
        )  # fmt: skip
        scores = self.scores.score(
            shard, year=self.year - 1, cutoff_day=self.cutoff_day, months=found.months
        )
        month_cell, spanned = countable_cells(shard, self.year, self.attribution)
        return Prospective(
            group=found.group,
            score_micro=scores.score_micro,
            score_missing=scores.missing,
            score_months=found.months.sum(axis=0),
            payer=month_payers(shard, month_cell, year=self.year),
            month_cell=month_cell,
            spanned_months=np.array([int((spanned >> m & 1).sum()) for m in range(12)], np.int64),
        )

    def fees(self, shard: ShardColumns, codes: Sequence[str]) -> NDArray[np.int64]:
        """Paid for procedures in each month of the year: int64[n_members, 12], cents.

        A line is in the month of its incurred day, whatever its kind and whenever it was paid.
        """
        n, january = shard.n_members, 12 * self.year
        asked = among(self.procedures, codes)[shard.column("line_detail", "hcpcs")]
        day = shard.column("lines", self.incurred_by)
        first, end = year_bounds(self.year)
        lines = np.flatnonzero(asked & (first <= day) & (day < end))
        member = np.searchsorted(shard.offsets("lines"), lines, side="right") - 1
        place = 12 * member + months_of_days(day[lines]) - january
        paid = shard.column("lines", "paid_cents")[lines]
        return sums_by(place, paid, 12 * n).reshape(n, 12)


def plan_prospective(
    population: Population,
    contracts: Sequence[str],
    *,
    year: int,
    paid_through: date | None = None,
    accept: Mapping[str, str] | None = None,
    every_gate_trips: bool = True,
) -> ProspectivePlan:
    """Decide how the people of a year are found.

    Parameters
    ----------
    population : Population
    contracts : sequence of str
        One contract, or one contract set, whose terms of the year hold.
    year : int
    paid_through : date, optional
        By default that of the contract set, else the last day on which a line was paid.
    accept : mapping of gate to reason, optional
    every_gate_trips : bool
        Whether what is accepted must trip here; not where it is accepted of a whole run.

    Raises
    ------
    ContractError
        If a contract is wrong or has no values for the year.
    RunError
        If the year before is none of the population's full years, there is no roster, or nothing
        says through which day claims were paid.
    DataError
        If the roster cannot be used, or has no entry valid on 1 January.
    GateError, AcceptanceError
        If the year of the model's codes is not whole and nobody accepts it, or it was accepted and
        is whole.
    """
    table = population.reference("provider_roster")
    if table is None:
        raise RunError(
            f"{population.path}: has no provider_roster, so nobody can be attributed; add the "
            "table to the raw folder and ingest again"
        )
    names = set(table.column("partnership_id").to_pylist()) - {COMPARISON}
    found = load_set(contracts, sorted(names))
    first, last = population.manifest["full_years"]
    if not first <= year - 1 <= last:
        raise RunError(
            f"{population.path}: people of {year} are those of {year - 1}, which is not a full "
            f"calendar year of the data; they hold {first} to {last}: choose a year from "
            f"{first + 1} to {last + 1}, or ingest more"
        )
    terms, risk = found.attribution(year), found.risk(year)
    roster = _roster_of(table, population, terms, year)
    visits = compile_visits(terms, population.codes("hcpcs").to_pylist())
    cutoff_day = cutoff_of(population, found, paid_through, year=year - 1)
    weighed = any(
        one.rate_usd is not None and one.medical_weight
        for one in (agreement.population_based for agreement in found.at(year).values())
    )
    gates = gates_of_run(risk, accept or {})
    scorings = [scoring_of(each) for each in risk.each] if weighed else []
    noticed = gates.judge(
        one for scoring in scorings for one in noticed_of_scoring(scoring, population, (year - 1,))
    )
    if not every_gate_trips:
        tripped = {row["gate"] for row in noticed if row["tripped"]}
        gates = replace(gates, accept={g: why for g, why in gates.accept.items() if g in tripped})
    gates.refuse(noticed, {}, Stage.PLAN)
    return ProspectivePlan(
        year=year,
        cutoff_day=cutoff_day,
        contracts=found,
        attribution=terms,
        roster=roster,
        visits=visits,
        scores=(
            score_provider(population, risk, terms, roster, visits, {year - 1: cutoff_day})
            if weighed
            else provider(NONE, population)
        ),
        procedures=tuple(population.codes("hcpcs").to_pylist()),
        plans=tuple(population.codes("plan").to_pylist()),
        incurred_by=INCURRED_BY[found.rule_sets(year)[0].incurred_by],
        accept=dict(accept or {}),
        noticed=tuple(noticed),
    )


def _roster_of(table: object, population: Population, terms: AttributionTerms, year: int) -> Roster:
    """Entries valid on 1 January, for all days of the year before."""
    try:
        return compile_roster(
            table, npi_codes=population.codes("npi"), tin_codes=population.codes("tin"),
            terms=replace(terms, roster_rule="on_date", roster_date=_FIRST_DAY),
            base_year=year - 1, performance_year=year,
        )  # fmt: skip
    except DataError as error:
        raise DataError(f"{error} (people of {year} are by the roster of its 1 January)") from error
