"""What a person decides of a run that is there: accept what tripped, certify it, make it again.

    needs_review -> accept -> queued            succeeded -> certify
    failed | cancelled -> retry -> another run, which names it

A run that has ended stays as it ended: a retry is a run of its own, so that both have whole
histories, and a run has one, however often it is asked for.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Body, Request, Response
from pydantic import Field, field_validator

from api import queued
from api.audit import note
from api.auth import ForbiddenError, Principal, RunsCertifier, RunsWriter
from api.bodies import Strict, StrictJsonRoute, example
from api.contracts import recorded_name
from api.opened import sees_all
from api.problems import ConflictError, RequestError, responses
from api.reading import ReadsDep
from api.requests import Reason, RunRequest, resolved
from api.runs import RunView
from api.service import Service, ServiceDep
from cluster.queue import NotWaitingError
from cluster.runs import Run
from ihp_compute.data_quality import RUN, GateTerms
from ihp_compute.errors import AcceptanceError, RunError
from ihp_compute.measure import STATEMENT_FIELDS, statement_of, unstated
from ihp_compute.results import certification_of, read_manifest, write_certification

router = APIRouter(prefix="/v1/runs/{run_id}", tags=["runs"], route_class=StrictJsonRoute)

Reasons = Annotated[
    dict[str, Reason],
    Field(min_length=1, max_length=50),
    Body(description="A reason for each gate by name", examples=[{"immature": "interim payment"}]),
]


class CertificationRequest(Strict):
    """Fields of a statement; together with the run's own they must say what a report needs."""

    model_config = example(statement={"reviewer": "A. Actuary"})

    statement: dict[str, str] = Field(default_factory=dict)

    @field_validator("statement")
    @classmethod
    def _of_fields(cls, value: dict[str, str]) -> dict[str, str]:
        return statement_of(value)


@router.post(
    "/accept", status_code=202, operation_id="accept_run", responses=responses(404, 409, 413, 422)
)
def accept(
    run_id: str,
    reasons: Reasons,
    sent: Request,
    principal: RunsCertifier,
    response: Response,
    service: ServiceDep,
) -> RunView:
    """Accept gates that a run tripped, each with a reason; once all are accepted it is queued.

    What was accepted before stays, and whoever accepted is told with the reason.
    """
    queued.run_of_kind(service, "run", run_id)
    try:
        GateTerms(accept=reasons, work=RUN)
        run = service.store.queue.accept(run_id, reasons, actor=principal.owner)
    except (AcceptanceError, NotWaitingError) as error:
        stranger = next((gate for gate in reasons if gate in str(error)), "")
        raise RequestError(str(error), f"/{stranger}" if stranger else "") from error
    note(sent, "run_accepted", run_id=run_id, subject=", ".join(reasons))
    queued.point_to(run, response)
    return RunView.of(run, service, sees_all(principal))


@router.post("/certify", operation_id="certify_run", responses=responses(404, 409, 413, 422))
def certify(
    run_id: str,
    request: CertificationRequest,
    sent: Request,
    principal: RunsCertifier,
    service: ServiceDep,
) -> RunView:
    """Certify a run that somebody else submitted: stands beside its results, which never change.

    The same from the same person again is the same certification; anything else is refused.
    """
    run = queued.run_of_kind(service, "run", run_id)
    if run.owner == principal.owner:
        raise ForbiddenError("whoever submitted a run does not certify it; ask a second person")
    if run.state != "succeeded":
        raise ConflictError(f"the run is {run.state}; only one that succeeded is certified")
    folder = queued.results_of(service, run)
    try:
        manifest = read_manifest(folder)
    except RunError as error:
        raise ConflictError(str(error).replace(str(folder), "the run")) from error
    stated = _stated(manifest.get("statement") or {}, request, principal)
    held = run.certification
    if held is None:
        certification = certification_of(
            manifest["digest"],
            submitted_by=run.owner,
            certified_by=principal.owner,
            certified_at=datetime.now(UTC).isoformat(timespec="seconds"),
            statement=stated,
        )
        run = service.store.queue.certify(
            run_id,
            certification,
            actor=principal.owner,
            keep=lambda _run: write_certification(folder, certification),
        )
        note(sent, "run_certified", run_id=run_id)
    elif (held["certified_by"], _undated(held["statement"])) != (
        principal.owner, _undated(stated)
    ):  # fmt: skip
        raise ConflictError(
            f"the run was certified by {held['certified_by']} at {held['certified_at']}, "
            "which is done once"
        )
    return RunView.of(run, service, sees_all(principal))


def _stated(
    own: dict[str, str], request: CertificationRequest, principal: Principal
) -> dict[str, str]:
    """The statement of a certification: the run's, what is said now, who reviewed it and when."""
    signed = {"reviewer": principal.owner, "date": datetime.now(UTC).date().isoformat()}
    stated = statement_of({**own, **signed, **request.statement})
    missing = unstated(stated)
    if missing:
        words = ", ".join(f"{name} ({STATEMENT_FIELDS[name].meaning})" for name in missing)
        raise RequestError(
            f"neither the run nor this certification states {words}; state it",
            *(f"/statement/{name}" for name in missing),
        )
    return stated


def _undated(statement: dict[str, str]) -> dict[str, str]:
    return {name: said for name, said in statement.items() if name != "date"}


@router.post(
    "/retry", status_code=202, operation_id="retry_run", responses=responses(404, 409, 422)
)
async def retry(
    run_id: str,
    principal: RunsWriter,
    response: Response,
    service: ServiceDep,
    reads: ReadsDep,
) -> RunView:
    """Make a run that failed or was cancelled again, as another run that names it.

    Asked for again, it is the same other run. Gates accepted since it was first asked for stay
    accepted.
    """
    run = await to_thread.run_sync(queued.own, service, "run", run_id, principal)
    if run.state not in ("failed", "cancelled"):
        raise ConflictError(f"the run is {run.state}; only one that failed or was cancelled is")
    again = await reads.of(_again, run, service, principal)
    queued.point_to(again, response)
    return await to_thread.run_sync(RunView.of, again, service, sees_all(principal))


def _again(run: Run, service: Service, principal: Principal) -> Run:
    held = run.request
    names = map(recorded_name, held["asked"]["contracts"], held["contracts"])  # not the latest
    asked = {**held["asked"], "contracts": [*names], "accept": held["accept"], "force": True}
    request = RunRequest.model_validate(asked)
    made = resolved(request, service)
    return queued.submitted(
        service,
        "run",
        request.model_dump(mode="json"),
        made.document,
        owner=principal.owner,
        idempotency_key=f"retry of {run.id}",
        labels=made.labels.retrying(run.id),
    )
