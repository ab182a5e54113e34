r"""One performance year against one base year, top to bottom. Read this first.

    plan -> attribute -> score -> cost -> utilise -> replicate | merge -> settle -> write
            \_____________ one shard, one worker _____________/  \____ once, small ____/

Where a contract has the run complete its costs, the state's claims are developed in a pass before,
and where a part of the programme must know everybody first, the state is surveyed in one;
where contracts see other claims of the base year, all above the bar is done once for each kind;
where a payment in advance counts as cost, its people are found in a pass of their own.
Everything above the bar needs a member's own rows and nothing of another's, so it runs wherever the
runner puts it. What comes back is integers, which may be added in any order: one core, forty shards
and a cluster give the same digest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Literal, TypeAlias

from ihp_compute.contracts import ContractSet
from ihp_compute.measure import (
    READ_APART,
    Developed,
    Measured,
    Plan,
    ProgrammePart,
    RunRequest,
    ShardMeasured,
    ShardPlan,
    Survey,
    added,
    completed,
    costs,
    develop,
    make_plan,
    measurements,
    parts_of,
    parts_of_each,
    programme_parts,
    scored,
    settling,
    together,
    utilise_years,
    with_payments,
    with_scores_of,
)
from ihp_compute.measured_before import MeasuredBefore, measuring_sha256
from ihp_compute.payments import paid_years
from ihp_compute.population import Shard
from ihp_compute.report import write_report
from ihp_compute.results import (
    Draft,
    Outcome,
    Part,
    assemble,
    check_place,
    nets_of,
    programme_rows,
)
from ihp_compute.runner import LocalRunner, Runner, batches, beside
from ihp_compute.settlement import Settled, settle
from ihp_compute.workbook import require_workbook, write_workbook

__all__ = ["Outcome", "RunRequest", "measure", "run"]

Phase: TypeAlias = Literal["running", "committing"]


def run(
    request: RunRequest,
    out: Path,
    runner: Runner | None = None,
    progress: Callable[[int, int], None] | None = None,
    enter: Callable[[Phase], object] | None = None,
    *,
    replace: bool = False,
    workbook: bool = False,
    contracts: ContractSet | None = None,
    before: MeasuredBefore | None = None,
) -> Outcome:
    """Measure every shard wherever `runner` puts it, merge the sums, settle, write.

    Parameters
    ----------
    request : RunRequest
    out : Path
        Folder to make; it appears whole or not at all.
    runner : Runner, optional
        `LocalRunner` unless given.
    progress : callable, optional
        Called with (shards done, shards in all).
    enter : callable, optional
        Called with `running` once all is decided and before a claim is read, with `committing`
        once all is settled and before results are written.
    replace : bool
        Whether to take the place of a finished run of other terms.
    workbook : bool
        Whether to write the run's workbook beside its report.
    contracts : ContractSet, optional
        Instead of those that the request names.
    before : MeasuredBefore, optional
        What this process has measured before: taken where nothing differs that measuring rests on.

    Returns
    -------
    Outcome

    Raises
    ------
    IhpError
        If the population, the contracts or their combination cannot be used, an earlier settlement
        is not one that this may net, something else stands in the place of the folder, or nothing
        is there that writes a workbook.
    """
    started = time.perf_counter()
    if workbook:
        require_workbook()
    pages = (write_report, write_workbook) if workbook else (write_report,)
    runner = runner or LocalRunner()
    plan = make_plan(request, contracts)
    plan, programme = with_programme(plan)
    nets = nets_of(plan)
    check_place(out, plan, nets, replace=replace)
    if enter is not None:
        enter("running")
    paid = paid_years(plan, runner)
    ways = measurements(plan)
    if paid:  # what is paid ahead is among the costs that a shard does not know
        before = None
    sha256 = "" if before is None else measuring_sha256(ways, programme)
    taken = None if before is None else before.find(sha256, ways)
    measured = measured_by(ways, programme, runner, progress) if taken is None else [*taken[0]]
    plan = scored(together(plan, [way for way, _ in measured]), measured[0][1])
    measured = [(with_scores_of(way, plan), found) for way, found in measured]

    def again() -> list[tuple[Plan, Measured]]:
        found = measured_by(ways, programme, runner, progress)
        return [(way, one) for (way, _), (_, one) in zip(measured, found, strict=True)]

    with Draft(out, plan, nets, pages, replace=replace) as draft:
        if taken is not None and not draft.take(taken[1]):
            taken = None
            measured = again()
        if taken is None:
            draft.keep([(len(way.rule_sets), found.member_years) for way, found in measured])
        elif progress is not None:
            progress(len(ways) * len(plan.shards), len(ways) * len(plan.shards))
        parts = [
            Part(way, with_payments(way, settling(way, found), paid), ()) for way, found in measured
        ]
        with beside(partial(programme_rows, parts)) as rows:
            parts = [part._replace(settled=settled(part.plan, part.measured)) for part in parts]
            results = assemble(plan, parts, nets, rows)
        if not draft.is_whole():
            draft.keep([(len(way.rule_sets), found.member_years) for way, found in again()])
        if enter is not None:
            enter("committing")
        outcome = draft.finish(results, runner_name=runner.name, started=started)
    if before is not None:
        before.keep(sha256, ways, measured, outcome.files)
    return outcome


def measured_by(
    ways: Sequence[Plan],
    programme: Sequence[ProgrammePart],
    runner: Runner,
    progress: Callable[[int, int], None] | None = None,
) -> list[tuple[Plan, Measured]]:
    """Each measurement with completion where costs are completed, and its sums over all shards."""
    measured = []
    for done, way in enumerate(ways):
        complete = completion_of(way, runner)
        asked = surveyed(complete, programme if done == 0 else parts_of_each(way), runner)
        tasks = runner.map(
            partial(measure, plan=complete.for_shards(), parts=asked),
            batches(way.shards, runner.parallelism),
        )
        told = _told(progress, done, len(ways))
        measured.append((complete, Measured.merge(tasks, len(way.shards), told)))
    return measured


def settled(plan: Plan, measured: Measured) -> list[Settled]:
    """The partnerships of one measurement, settled by its totals."""
    return settle(
        measured.totals,
        plan.contracts,
        base_year=plan.base_year,
        performance_year=plan.performance_year,
        quality=plan.quality,
        movers=measured.cells.movers,
    )


def _told(
    progress: Callable[[int, int], None] | None, before: int, ways: int
) -> Callable[[int, int], None] | None:
    """Progress over all measurements, of which some are done."""
    if progress is None:
        return None
    return lambda done, shards: progress(before * shards + done, ways * shards)


def completion_of(plan: Plan, runner: Runner) -> Plan:
    """The plan with each payer's completion, where the run is to complete costs."""
    if not plan.completes:
        return plan
    task = partial(develop_all, plan=plan.for_shards())
    found = runner.map(task, batches(plan.shards, runner.parallelism))
    return plan.completed_by(*parts_of(reduce(add, found), plan))


def develop_all(shards: Sequence[Shard], *, plan: ShardPlan) -> Developed:
    """Capped cost of neighbouring shards by payer, month and lag."""
    return reduce(add, (develop(shard, plan, plan.attributed(shard)) for shard in shards))


def with_programme(plan: Plan) -> tuple[Plan, tuple[ProgrammePart, ...]]:
    """The parts of the programme, and the plan with what they ask for and nobody gave."""
    parts, lacking = programme_parts(plan)
    return replace(plan, noticed=(*plan.noticed, *plan.gates.judge(lacking))), parts


def surveyed(
    plan: Plan, parts: Sequence[ProgrammePart], runner: Runner
) -> tuple[ProgrammePart, ...]:
    """The parts of the programme, each with what it must know of everybody before it measures.

    A survey is small and rests on little but the population, so a process makes it once.
    """
    asking = [part for part in parts if part.surveys]
    if not asking:
        return tuple(parts)

    def find() -> Survey:
        task = partial(survey, plan=plan.for_shards(), parts=asking)
        found = runner.map(task, batches(plan.shards, runner.parallelism))
        return reduce(added, found)

    keys = tuple(part.survey_key(plan) for part in asking)
    whole = find() if None in keys else plan.shards[0].remember(keys, find)
    return tuple(part.surveyed(whole[part.name]) if part.surveys else part for part in parts)


def survey(shards: Sequence[Shard], *, plan: ShardPlan, parts: Sequence[ProgrammePart]) -> Survey:
    """What parts of the programme must know of everybody, over neighbouring shards."""
    each = ({part.name: part.survey(plan.seen(shard), plan) for part in parts} for shard in shards)
    return reduce(added, each)


def measure(
    shards: Sequence[Shard], *, plan: ShardPlan, parts: Sequence[ProgrammePart] = ()
) -> Measured:
    """Measure neighbouring shards one by one, then draw their members together."""
    return Measured.of(plan, [measure_shard(shard, plan, parts) for shard in shards], parts)


def measure_shard(
    shard: Shard, plan: ShardPlan, programme: Sequence[ProgrammePart] = ()
) -> ShardMeasured:
    """Everything that needs a member's own rows."""
    attributions = plan.attributed(shard)
    scores = [
        plan.scores.score(shard, year=a.year, cutoff_day=cutoff_day, months=a.months)
        for a, cutoff_day in zip(attributions, plan.cutoff_days, strict=True)
    ]
    parts = plan.scores.parts(
        shard,
        scores,
        years=plan.years,
        cutoff_days=plan.cutoff_days,
        months=[a.months for a in attributions],
    )
    seen = plan.seen(shard)
    cost = completed(
        seen, plan, attributions,
        costs(seen, plan.rule_sets, cutoff_day=plan.cutoff_day, attributions=attributions),
    )  # fmt: skip
    use = utilise_years(seen, attributions, plan.use, cutoff_day=plan.cutoff_day)
    found = ShardMeasured.of(seen, plan, attributions, scores, parts, cost, use, programme)
    if programme:
        shard.release(*READ_APART)
    return found
