"""Sweeps: queue a grid of terms over a finished run's totals, follow it, read its rows.

They wait in the queue of the runs and are worked on by the same dispatcher. The size of a grid is
known, and refused, before anything is queued.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, StringConstraints

from api import queued
from api.auth import RunsReader, RunsWriter
from api.bodies import Strict, StrictJsonRoute
from api.forms import TABLE, table_response
from api.opened import open_sweep, opened, sees_all
from api.problems import ConflictError, RequestError, UnknownResultError, responses
from api.queued import EventView, IdempotencyKey, LastEventId, PageSize, WaitSeconds
from api.service import Service, ServiceDep
from cluster.runs import Run, UnknownRunError
from cluster.states import State
from ihp_compute.errors import GridError, RunError
from ihp_compute.sweeps import FILE, check, grid_of

AxisValue = Annotated[str, StringConstraints(min_length=1, max_length=1000)] | bool | int | float
router = APIRouter(prefix="/v1/sweeps", tags=["sweeps"], route_class=StrictJsonRoute)


class AxisRange(Strict):
    """`count` values from one end to the other."""

    first: Annotated[int | float, Field(alias="from")]
    last: Annotated[int | float, Field(alias="to")]
    count: Annotated[int, Field(strict=True, ge=1)]


class SweepRequest(Strict):
    """A grid of terms to settle a finished run's partnerships by."""

    run: Annotated[str, StringConstraints(min_length=1, max_length=36)]
    axes: Annotated[
        dict[
            Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.]+$", max_length=200)],
            Annotated[list[AxisValue], Field(min_length=1, max_length=100_000)] | AxisRange,
        ],
        Field(min_length=1, max_length=50),
    ]


class SweepView(BaseModel):
    """A sweep: what was asked, where it stands, where its rows are."""

    id: str
    state: State
    run: str
    axes: dict[str, Any]
    scenarios: int
    rows: int
    rows_done: int
    cancel_requested: bool
    attempt: int
    digest: str | None
    reason: str | None
    detail: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: dict[str, str]

    @classmethod
    def of(cls, run: Run) -> SweepView:
        """The view of a stored row; folders of the server stay inside."""
        request = run.request
        asked = request["asked"]
        common = queued.shown(
            run,
            folder=request["run_dir"],
            name=f"run {asked['run']}",
            parts=("events", "cancel", "results"),
        )
        common["links"]["run"] = f"/v1/runs/{asked['run']}"
        return cls(
            **{
                **common,
                **asked,
                "scenarios": request["scenarios"],
                "rows": request["rows"],
                "rows_done": run.shards_done,
            }
        )


class SweepPage(BaseModel):
    """Sweeps, newest first; `next_page_token` asks for the ones before."""

    sweeps: list[SweepView]
    next_page_token: str | None


@router.post(
    "", status_code=202, operation_id="start_sweep", responses=responses(400, 409, 413, 422, 503)
)
def start(
    request: SweepRequest,
    response: Response,
    idempotency_key: IdempotencyKey,
    principal: RunsWriter,
    service: ServiceDep,
) -> SweepView:
    """Queue a sweep and return at once; follow it at its Location.

    `axes` are term paths, each with a list of values or `from`, `to` and `count`. The same
    Idempotency-Key with the same payload is the same sweep, however often it is sent.
    """
    asked = request.model_dump(mode="json", by_alias=True)
    sweep = queued.submitted(
        service,
        "sweep",
        asked,
        _resolved(asked, service),
        owner=principal.owner,
        idempotency_key=idempotency_key,
        response=response,
    )
    return SweepView.of(sweep)


def _resolved(asked: dict[str, Any], service: Service) -> dict[str, Any]:
    """Where the run lies, and how large the sweep will be."""
    try:
        run, folder = queued.finished(service, "run", asked["run"])
    except UnknownRunError as error:
        raise RequestError(str(error), "/run") from error
    try:
        grid = grid_of(asked["axes"])
        terms = check(folder, grid, limit=service.settings.max_sweep_rows)
    except GridError as error:
        raise RequestError(str(error), "/axes") from error
    except RunError as error:
        raise ConflictError(str(error).replace(str(folder), f"run {run.id}")) from error
    return {
        "run_dir": str(folder),
        "scenarios": grid.n_scenarios,
        "rows": grid.n_scenarios * (len(terms.contracts.contracts) + 1),
    }


@router.get("", operation_id="list_sweeps", responses=responses(422))
def listed(
    _principal: RunsReader,
    service: ServiceDep,
    state: State | None = None,
    limit: PageSize = 50,
    page_token: str | None = None,
) -> SweepPage:
    """Sweeps, newest first."""
    found, token = queued.page(service, "sweep", limit=limit, before=page_token, state=state)
    return SweepPage(sweeps=[SweepView.of(sweep) for sweep in found], next_page_token=token)


@router.get("/{sweep_id}", operation_id="show_sweep", responses=responses(404, 422))
async def show(
    sweep_id: str,
    response: Response,
    _principal: RunsReader,
    service: ServiceDep,
    wait: WaitSeconds = 0,
) -> SweepView:
    """One sweep. With `wait`, answers as soon as it has ended, or after so many seconds."""
    return SweepView.of(await queued.awaited(service, "sweep", sweep_id, wait, response))


@router.post(
    "/{sweep_id}/cancel", status_code=202, operation_id="cancel_sweep", responses=responses(404)
)
def cancel(
    sweep_id: str, response: Response, principal: RunsWriter, service: ServiceDep
) -> SweepView:
    """Cancel a sweep. Answers 200 when it has ended already, whichever way."""
    return SweepView.of(queued.cancelled(service, "sweep", sweep_id, principal.owner, response))


@router.get(
    "/{sweep_id}/events",
    operation_id="sweep_events",
    response_model=list[EventView],
    responses=responses(404),
)
def events(
    sweep_id: str,
    request: Request,
    _principal: RunsReader,
    service: ServiceDep,
    last_event_id: LastEventId = 0,
) -> Response:
    """What happened to a sweep: a list, or as server-sent events until it has ended."""
    return queued.history(service, "sweep", sweep_id, request, last_event_id)


@router.get(
    "/{sweep_id}/results",
    operation_id="read_sweep",
    response_class=Response,
    responses=TABLE,
)
def results(
    sweep_id: str, request: Request, principal: RunsReader, service: ServiceDep
) -> Response:
    """The rows of a sweep, in the form the caller accepts.

    To a key without `results:member` null where the run hides the partnership.
    """
    sweep, folder = queued.finished(service, "sweep", sweep_id)
    path = folder / FILE
    if not path.is_file():
        raise UnknownResultError("the rows of this sweep are gone; submit it again")
    if not sees_all(principal):
        path = open_sweep(opened(service, Path(sweep.request["run_dir"])), path)
    return table_response(path, request)
