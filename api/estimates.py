"""What a run would take and what would be said of it, before it is asked for.

    body -> refused as a run's -> size -> placement -> memory and time -> gates that would trip

Times are those of the model of `cluster.placement`, whose coefficients are told with their source:
they leave loading and compiling aside.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import date
from typing import Final

from fastapi import APIRouter
from pydantic import BaseModel

from api.auth import RunsWriter
from api.bodies import StrictJsonRoute
from api.opened import open_words, sees_all
from api.problems import responses
from api.reading import ReadsDep
from api.requests import Resolved, RunRequest, resolved
from api.runs import succeeded
from api.service import Service, ServiceDep
from cluster.placement import RESULT_STORE_BYTES, place, workload
from ihp_compute import pipeline
from ihp_compute.data_quality import GATES
from ihp_compute.errors import GateError, IhpError
from ihp_compute.measure import interim_line, make_plan
from ihp_compute.runner import batches
from ihp_compute.units import date_of

PLAN_S: Final = 60.0
"""How long a run may take to be planned before its estimate is given up."""

router = APIRouter(prefix="/v1/runs", tags=["runs"], route_class=StrictJsonRoute)


class CoefficientView(BaseModel):
    """A measured number that the time rests on."""

    value: float
    unit: str
    source: str


class WarningView(BaseModel):
    """What a run would be stopped by, or say first of its results.

    `kind` is `gate` of what must be accepted, `refused` of what cannot be, `interim` of a year not
    complete, `draft_terms` of terms without a document, `note` of anything else; `gate` names it.
    """

    kind: str
    detail: str
    gate: str | None = None


class EstimateView(BaseModel):
    """What a run would take: lines and members read, bytes, memory, time, and where it would go.

    `same_run` is one that succeeded by the same inputs and terms: starting the run answers 303.
    """

    base_year: int
    performance_year: int
    paid_through: date
    fingerprint: str | None
    same_run: str | None
    lines: int
    members: int
    member_months: int
    bytes: int
    shards: int
    tasks: int
    tasks_in_flight: int
    memory_bytes: int
    cpu_seconds: float
    seconds: float
    coefficients: dict[str, CoefficientView]
    executor: str
    cores: int
    why: str
    warnings: list[WarningView]


@router.post("/estimate", operation_id="estimate_run", responses=responses(409, 413, 422, 503))
async def estimate(
    request: RunRequest, principal: RunsWriter, service: ServiceDep, reads: ReadsDep
) -> EstimateView:
    """What a run of this body would take and where it would stop; nothing is queued.

    To a key without `results:member` what trips a gate is told without its numbers.
    """
    return await reads.within(PLAN_S, _estimate, request, service, whole=sees_all(principal))


def _estimate(request: RunRequest, service: Service, *, whole: bool) -> EstimateView:
    made = resolved(request, service)
    foreseen = made.foreseen
    population = foreseen.population
    cores = service.settings.cpus or os.cpu_count() or 1
    tasks = len(batches(population.shards, cores))
    work = workload(
        population,
        n_tasks=tasks,
        n_replicates=request.replicates + 1,
        n_contracts=len(foreseen.contracts.rule_sets(foreseen.performance_year)),
        programme=made.document["programme"],
    )
    placed = place(work, cpus=cores, result_budget_bytes=RESULT_STORE_BYTES // 2)
    same = succeeded(service, made)
    return EstimateView(
        base_year=foreseen.base_year,
        performance_year=foreseen.performance_year,
        paid_through=date_of(foreseen.cutoff_day),
        fingerprint=made.labels.fingerprint,
        same_run=None if same is None else same.id,
        lines=work.n_lines,
        members=work.n_members,
        member_months=population.manifest["member_months"],
        bytes=sum(stamp["bytes"] for stamp in population.manifest["files"].values()),
        shards=len(population.shards),
        tasks=tasks,
        tasks_in_flight=placed.in_flight,
        memory_bytes=placed.in_flight * placed.task_memory_bytes,
        cpu_seconds=round(work.cpu_seconds, 3),
        seconds=round(placed.seconds, 3),
        coefficients={
            name: CoefficientView(**coefficient) for name, coefficient in asdict(work.costs).items()
        },
        executor="ray",
        cores=cores,
        why=_why(service, cores),
        warnings=[
            one if whole else one.model_copy(update={"detail": _open_detail(one)})
            for one in _warnings(made, service)
        ],
    )


def _open_detail(warning: WarningView) -> str:
    """What a warning says, as everybody may see it; terms and months count nobody."""
    if warning.gate is not None:
        return GATES[warning.gate].judges
    return open_words(warning.detail) if warning.kind in ("refused", "note") else warning.detail


def _why(service: Service, cores: int) -> str:
    address = service.settings.ray_address
    where = f"of {cores} cores on this machine" if address == "local" else "that it was given"
    return f"the service keeps one Ray cluster warm, {where}, and gives every run to it"


def _warnings(made: Resolved, service: Service) -> Iterator[WarningView]:
    """What a run would stop at or say first; every gate that would trip before claims are read."""
    document = {name: made.document[name] for name in pipeline.RunRequest.options()}
    request = pipeline.RunRequest.of(document)
    accept = dict(request.accept)
    for _ in range(len(GATES) + 1):
        try:
            plan = make_plan(replace(request, accept=accept))
        except GateError as error:
            yield from (
                WarningView(kind="gate", gate=gate, detail=words)
                for gate, words in error.tripped.items()
            )
            accept |= dict.fromkeys(error.tripped, "estimated")
            continue
        except IhpError as error:
            home = str(service.home.path)
            detail = str(error).replace(str(request.population), "the population")
            yield WarningView(kind="refused", detail=detail.replace(home, "the service's folder"))
            return
        said = {
            "draft_terms": plan.contracts.draft_lines(plan.performance_year),
            "interim": filter(None, [interim_line(plan.to_come, plan.paid_through)]),
            "note": plan.notes,
        }
        for kind, lines in said.items():
            yield from (WarningView(kind=kind, detail=line) for line in lines)
        return
