r"""One performance year against one base year, top to bottom. Read this first.

    plan -> attribute -> score -> cost -> utilise -> replicate | merge -> settle -> write
            \_____________ one shard, one worker _____________/  \____ once, small ____/

Where a contract has the run complete its costs, the state's claims are developed in a pass before,
and where a part of the programme must know everybody first, the state is surveyed in one;
where contracts see other claims of the base year, all above the bar is done once for each kind.
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

from ihp_compute.measure import (
    Developed,
    Measured,
    Plan,
    ProgrammePart,
    RunRequest,
    ShardMeasured,
    Survey,
    added,
    completed,
    costs,
    develop,
    make_plan,
    measurements,
    parts_of,
    programme_parts,
    scored,
    settling,
    together,
    utilise_years,
    with_scores_of,
)
from ihp_compute.population import Shard
from ihp_compute.report import write_report
from ihp_compute.results import Draft, Outcome, Part, assemble, check_place, nets_of
from ihp_compute.runner import LocalRunner, Runner, batches
from ihp_compute.settlement import Settled, settle

__all__ = ["Outcome", "RunRequest", "measure", "run"]


def run(
    request: RunRequest,
    out: Path,
    runner: Runner | None = None,
    progress: Callable[[int, int], None] | None = None,
    *,
    replace: bool = False,
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
    replace : bool
        Whether to take the place of a finished run of other terms.

    Returns
    -------
    Outcome

    Raises
    ------
    IhpError
        If the population, the contracts or their combination cannot be used, an earlier settlement
        is not one that this may net, or something else stands in the place of the folder.
    """
    started = time.perf_counter()
    runner = runner or LocalRunner()
    plan = make_plan(request)
    plan, programme = with_programme(plan)
    nets = nets_of(plan)
    check_place(out, plan, nets, replace=replace)
    ways = measurements(plan)
    measured = []
    for done, way in enumerate(ways):
        complete = completion_of(way, runner)
        asked = surveyed(complete, programme, runner) if way.measurement == 0 else ()
        tasks = runner.map(
            partial(measure, plan=complete, parts=asked), batches(plan.shards, runner.parallelism)
        )
        told = _told(progress, done, len(ways))
        measured.append((complete, Measured.merge(tasks, len(plan.shards), told)))
    plan = scored(together(plan, [way for way, _ in measured]), measured[0][1])
    measured = [(with_scores_of(way, plan), found) for way, found in measured]
    with Draft(out, plan, nets, write_report, replace=replace) as draft:
        draft.keep([(len(way.rule_sets), found.member_years) for way, found in measured])
        parts = [part_of(way, found) for way, found in measured]
        results = assemble(plan, parts, nets)
        return draft.finish(results, runner_name=runner.name, started=started)


def part_of(plan: Plan, measured: Measured) -> Part:
    """One measurement with the settlements of its partnerships and alliances."""
    found = settling(plan, measured)
    return Part(plan, found, settled(plan, found))


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
    found = runner.map(partial(develop_all, plan=plan), batches(plan.shards, runner.parallelism))
    return plan.completed_by(*parts_of(reduce(add, found), plan))


def develop_all(shards: Sequence[Shard], *, plan: Plan) -> Developed:
    """Capped cost of neighbouring shards by payer, month and lag."""
    return reduce(add, (develop(shard, plan, plan.attributed(shard)) for shard in shards))


def with_programme(plan: Plan) -> tuple[Plan, tuple[ProgrammePart, ...]]:
    """The parts of the programme, and the plan with what they ask for and nobody gave."""
    parts, lacking = programme_parts(plan)
    return replace(plan, noticed=(*plan.noticed, *plan.gates.judge(lacking))), parts


def surveyed(
    plan: Plan, parts: Sequence[ProgrammePart], runner: Runner
) -> tuple[ProgrammePart, ...]:
    """The parts of the programme, each with what it must know of everybody before it measures."""
    asking = [part for part in parts if part.surveys]
    if not asking:
        return tuple(parts)
    found = runner.map(
        partial(survey, plan=plan, parts=asking), batches(plan.shards, runner.parallelism)
    )
    whole = reduce(added, found)
    return tuple(part.surveyed(whole[part.name]) if part.surveys else part for part in parts)


def survey(shards: Sequence[Shard], *, plan: Plan, parts: Sequence[ProgrammePart]) -> Survey:
    """What parts of the programme must know of everybody, over neighbouring shards."""
    each = ({part.name: part.survey(plan.seen(shard), plan) for part in parts} for shard in shards)
    return reduce(added, each)


def measure(
    shards: Sequence[Shard], *, plan: Plan, parts: Sequence[ProgrammePart] = ()
) -> Measured:
    """Measure neighbouring shards one by one, then draw their members together."""
    return Measured.of(plan, [measure_shard(shard, plan, parts) for shard in shards], parts)


def measure_shard(
    shard: Shard, plan: Plan, programme: Sequence[ProgrammePart] = ()
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
    return ShardMeasured.of(seen, plan, attributions, scores, parts, cost, use, programme)
