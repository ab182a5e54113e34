"""What a run will do, decided and recorded before any claim is read.

    request -> population · years · cutoff · contracts · roster · rule sets · scores · device

A plan is small and picklable: it travels to every worker. Nothing is chosen later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

import kernels
from ihp_compute.contracts import (
    AttributionTerms,
    ContractSet,
    Own,
    Programme,
    QualityScores,
    RiskTerms,
    load_programme,
)
from ihp_compute.data_quality import RUN, GateTerms, Noticed, Stage
from ihp_compute.errors import ContractError, DeviceUnavailableError
from ihp_compute.ledger import file_of
from ihp_compute.measure.attribution import countable_months
from ihp_compute.measure.claims_to_come import ClaimsToCome, claims_to_come, immature
from ihp_compute.measure.foreseen import foresee
from ihp_compute.measure.quality import QualityOfYear, check_measured, given_instead, settled_by
from ihp_compute.measure.request import RunRequest
from ihp_compute.measure.roster import Roster, compile_roster
from ihp_compute.measure.scoring import noticed_of_scoring
from ihp_compute.measure.shard_plan import ShardPlan
from ihp_compute.measure.utilisation import compile_use
from ihp_compute.measure.visits import VisitRule, compile_visits
from ihp_compute.population import Population, Shard, open_population
from ihp_compute.risk import (
    MonthsThatCount,
    ScoreProvider,
    ScoreTerms,
    idle_terms,
    provider,
    scoring_of,
)
from ihp_compute.storage import lasting


@dataclass(frozen=True)
class Origin:
    """The population of a run, as its results name it."""

    path: Path
    digest: str
    inputs: Sequence[Mapping[str, Any]]
    ledger: Sequence[Mapping[str, Any]]
    noticed: pa.Table
    review: pa.Table

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the input files."""
        return tuple(map(file_of, self.inputs))


@dataclass(frozen=True, kw_only=True)
class Plan(ShardPlan):
    """A run, fully decided: how its shards are measured, and what is made of it.

    `programme` is what is measured beside settlements; None: nothing.
    `quality` are the scores that settle, `quality_of_year` is what they are made of.
    `noticed` are rows of `DATA_QUALITY` of the run itself, judged by its gates.
    """

    request: RunRequest
    origin: Origin
    shards: tuple[Shard, ...]
    contracts: ContractSet
    quality: Mapping[str, Own]
    quality_of_year: QualityOfYear
    programme: Programme | None = None
    notes: tuple[str, ...] = field(default=())
    noticed: tuple[Mapping[str, Any], ...] = field(default=())

    def for_shards(self) -> ShardPlan:
        """What of it travels to workers: not whose contracts have what is to come done so."""
        sent = {each.name: getattr(self, each.name) for each in fields(ShardPlan)}
        sent["to_come"] = tuple(replace(one, methods={}, interim=()) for one in self.to_come)
        return ShardPlan(**sent)

    def completed_by(
        self, parts: Mapping[tuple[int, int, int], Fraction], notes: Sequence[str] = ()
    ) -> Plan:
        """The plan with the completion of each part of cost, and what to tell of it."""
        return replace(
            self, to_come=(replace(self.completion, parts=parts),), notes=(*self.notes, *notes)
        )

    @property
    def gates(self) -> GateTerms:
        """The gates of the run, at the thresholds that its terms set."""
        return gates_of_run(self.contracts.risk(self.performance_year), self.request.accept)

    def decided(self) -> RunRequest:
        """The request with nothing left to a default: it makes this run again."""
        return replace(
            self.request,
            population=self.origin.path,
            performance_year=self.performance_year,
            base_year=self.base_year,
            paid_through=self.paid_through,
            earlier=tuple(map(lasting, self.request.earlier)),
        )


def make_plan(request: RunRequest, contracts: ContractSet | None = None) -> Plan:
    """Decide a run.

    Parameters
    ----------
    request : RunRequest
    contracts : ContractSet, optional
        Instead of those that the request names.

    Raises
    ------
    PopulationError, ContractError, RiskModelError, RunError, DeviceUnavailableError
        If a part of the request cannot be met.
    MissingQualityError
        If a contract rests on a quality score that is missing, and lets nothing stand in.
    GateError
        If what the run would do trips a gate that is not accepted.
    AcceptanceError
        If a gate was accepted that is none of a run's, or did not trip.
    """
    gates = GateTerms(accept=request.accept, work=RUN)
    foreseen = foresee(request, contracts)
    population, contracts, roster_table = foreseen.population, foreseen.contracts, foreseen.roster
    base_year, performance_year = foreseen.base_year, foreseen.performance_year
    rule_sets, cutoff_day = contracts.rule_sets(performance_year), foreseen.cutoff_day
    to_come = claims_to_come(
        population, contracts, years=(base_year, performance_year), cutoff_day=cutoff_day
    )
    agreements = contracts.at(performance_year)
    quality, used, of_quality = settled_by(
        population, performance_year, contracts.graded(performance_year), interim_of(to_come)
    )
    strangers = sorted({*quality.scores} - {*contracts.contracts, *contracts.alliance_of})
    risk = contracts.risk(performance_year)
    scorings = [(each, scoring_of(each)) for each in risk.each]
    noticed = gates.judge(
        (
            *_inconsistent(contracts, base_year, performance_year),
            *_unmatched_quality(quality.scores, strangers),
            *immature(to_come, contracts),
            *(
                noticed
                for _, scoring in scorings
                for noticed in noticed_of_scoring(
                    scoring, population, (base_year, performance_year)
                )
            ),
        )
    )
    gates.refuse(noticed, {}, Stage.PLAN)
    attribution = contracts.attribution(performance_year)
    roster = compile_roster(
        roster_table,
        npi_codes=population.codes("npi"),
        tin_codes=population.codes("tin"),
        terms=attribution,
        base_year=base_year,
        performance_year=performance_year,
    )
    unmet = {*roster.met_by_nobody(performance_year)}
    without_members = {*map(contracts.settles, unmet)} - {
        contracts.settles(name) for name in roster.groups if name not in unmet
    }
    QualityScores.of(used, agreements, without_members).refuse_missing(
        quality.judged(agreements),
        lambda: given_instead(population, performance_year, strangers),
    )
    visits = compile_visits(attribution, population.codes("hcpcs").to_pylist())
    programme = load_programme(request.programme, performance_year)
    use = compile_use(visits, population, programme)
    check_measured(agreements, use.measured)
    contracts.check_splits(used, compared=programme is not None)
    device, notes = _device(request)
    idle = dict.fromkeys(note for asked in scorings for note in idle_terms(*asked))
    return Plan(
        request=request,
        n_files=len(population.manifest["inputs"]),
        replicates=request.replicates,
        seed=request.seed,
        origin=Origin(
            population.place,
            population.digest,
            population.manifest["inputs"],
            population.manifest["ledger"],
            population.data_quality(),
            population.data_review(),
        ),
        shards=population.shards,
        base_year=base_year,
        performance_year=performance_year,
        cutoff_day=cutoff_day,
        to_come=to_come,
        contracts=contracts,
        attribution=attribution,
        rule_sets=rule_sets,
        rate_cells=contracts.rate_cells(performance_year),
        group_rule_set=_group_rule_set(contracts, roster, performance_year),
        roster=roster,
        visits=visits,
        use=use,
        scores=score_provider(
            population,
            risk,
            attribution,
            roster,
            visits,
            {base_year: to_come[0].base_cutoff_day, performance_year: cutoff_day},
        ),
        quality=used,
        quality_of_year=quality,
        device=device,
        plans=tuple(population.codes("plan").to_pylist()),
        programme=programme,
        notes=(*notes, *contracts.newer_lines(), *contracts.notes, *idle, *of_quality),
        noticed=tuple(noticed),
    )


def interim_of(to_come: Sequence[ClaimsToCome]) -> list[str]:
    """Partnerships that are settled for the interim."""
    return [partnership for one in to_come for partnership in one.interim]


def measurements(plan: Plan) -> tuple[Plan, ...]:
    """The plan, once for each way in which its contracts have claims measured.

    Visits, diagnoses, use of care and cost of the base year are cut for the whole state, which a
    target is held against: contracts that see other claims have a measurement each, of everybody.
    """
    if len(plan.to_come) == 1:
        return (plan,)
    population = open_population(plan.origin.path)
    return tuple(_apart(plan, k, population) for k in range(len(plan.to_come)))


def _apart(plan: Plan, measurement: int, population: Population) -> Plan:
    one, year = plan.to_come[measurement], plan.performance_year
    contracts = plan.contracts.only(one.methods)
    cutoff_days = {plan.base_year: one.base_cutoff_day, year: plan.cutoff_day}
    return replace(
        plan,
        to_come=(one,),
        contracts=contracts,
        rule_sets=contracts.rule_sets(year),
        rate_cells=contracts.rate_cells(year),
        group_rule_set=_group_rule_set(contracts, plan.roster, year),
        scores=score_provider(
            population, contracts.risk(year), plan.attribution, plan.roster, plan.visits,
            cutoff_days,
        ),
        measurement=measurement,
    )  # fmt: skip


def together(plan: Plan, parts: Sequence[Plan]) -> Plan:
    """A plan with what its measurements came to know: completion of costs, and what to tell."""
    notes = dict.fromkeys(note for part in parts for note in part.notes)
    return replace(plan, to_come=tuple(part.completion for part in parts), notes=tuple(notes))


def _group_rule_set(contracts: ContractSet, roster: Roster, year: int) -> tuple[int, ...]:
    """Rule set of each group: of its contract; the first of who has none."""
    return tuple(
        contracts.rule_set_of(name, year) if name in contracts.contracts else 0
        for name in map(contracts.settles, roster.groups)
    )


def score_provider(
    population: Population,
    risk: RiskTerms,
    attribution: AttributionTerms,
    roster: Roster,
    visits: VisitRule,
    cutoff_days: Mapping[int, int],
) -> ScoreProvider:
    """Who scores the years of `cutoff_days`; countable months weigh in the means that fill."""
    counting = MonthsThatCount(
        years=tuple(cutoff_days),
        of=partial(
            countable_months,
            roster=roster,
            visits=visits,
            terms=attribution,
            cutoff_days=cutoff_days,
        ),
        cutoff_days=cutoff_days,
        # without visits, months depend on the population and these terms alone
        key=attribution if attribution.keep_pre_visit else None,
    )
    return provider(
        risk.model,
        population,
        missing=risk.missing,
        counting=counting,
        terms=ScoreTerms.of(risk),
        second=None if risk.second_model is None else (risk.second_model, risk.second_model_for),
    )


def gates_of_run(risk: RiskTerms, accept: Mapping[str, str]) -> GateTerms:
    """The gates of a run, at the thresholds that terms of risk set."""
    most = risk.most_missing
    return GateTerms({"unscored_months": 1.0 if most is None else float(most)}, accept, RUN)


def _inconsistent(
    contracts: ContractSet, base_year: int, performance_year: int
) -> Iterator[Noticed]:
    """Terms of which a contract dates others for its base year.

    The rules of the performance year measure both years.
    """
    differing: Counter[tuple[str, str]] = Counter()
    agreements = contracts.at(performance_year)
    shared: dict[int, list[str]] = {}
    for partnership, contract in contracts.contracts.items():
        shared.setdefault(id(contract), []).append(partnership)
    for first, *others in shared.values():
        now = agreements[first]
        try:
            then = contracts.contracts[first].at(base_year)
        except ContractError:
            continue  # the contract says nothing of its base year: one set of rules
        for what in ("attribution", "cost", "risk"):
            if getattr(now, what) != getattr(then, what):
                differing[now.name, what] += 1 + len(others)
    for (name, what), n in differing.items():
        if n:
            partnerships = f"{n} partnership{'s' if n > 1 else ''}"
            yield Noticed(
                "inconsistent_terms",
                subject=f"{name}: {what} of {base_year} and {performance_year}, {partnerships}",
                share=1.0,
                size=n,
            )


def _unmatched_quality(
    quality: Mapping[str, Decimal | None], strangers: Sequence[str]
) -> Iterator[Noticed]:
    """Ids that have a quality score and are no partnership of the roster."""
    for name in strangers:
        yield Noticed(
            "quality_id_unmatched",
            column_name="partnership_id",
            subject=name or "no id",
            lines=1,
            share=len(strangers) / len(quality),
            size=len(quality),
        )


def _device(request: RunRequest) -> tuple[str, tuple[str, ...]]:
    request.check("device")
    asked, found = request.device, kernels.device()
    if asked == "gpu" and found != "gpu":
        raise DeviceUnavailableError(
            "device gpu was asked for, and no GPU with CuPy is here; "
            "install the gpu-cu12 or gpu-cu13 extra on a machine with a GPU, or use --device auto"
        )
    if asked == "auto" and found != "gpu":
        return "cpu", ("device auto: no GPU with CuPy was found, the CPU was used",)
    return ("cpu" if asked == "cpu" else found), ()
