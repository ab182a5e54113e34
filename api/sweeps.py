"""Sweeps: queue a grid of terms over a finished run's totals, follow it, read its rows.

They wait in the queue of the runs and are worked on by the same dispatcher. The size of a grid is
known, and refused, before anything is queued.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request, Response

from api.auth import RunsReader, RunsWriter
from api.problems import ConflictError, RequestError, UnknownResultError, responses
from api.results import FORMS, finished, table_response
from api.runs import RETRY_AFTER_S, awaited, cancelled, told
from api.schemas import EventView, SweepPage, SweepRequest, SweepView
from api.service import Service, ServiceDep, StrictJsonRoute
from cluster.runs import UnknownRunError
from cluster.states import State
from ihp_compute.errors import GridError, RunError
from ihp_compute.sweeps import FILE, check, grid_of

KIND: Final = "sweep"

router = APIRouter(prefix="/v1/sweeps", tags=["sweeps"], route_class=StrictJsonRoute)


@router.post(
    "", status_code=202, operation_id="start_sweep", responses=responses(400, 409, 413, 422, 503)
)
def start(
    request: SweepRequest,
    response: Response,
    idempotency_key: Annotated[str, Header(min_length=1, max_length=200)],
    principal: RunsWriter,
    service: ServiceDep,
) -> SweepView:
    """Queue a sweep and return at once; follow it at its Location.

    `axes` are term paths, each with a list of values or `from`, `to` and `count`. The same
    Idempotency-Key with the same payload is the same sweep, however often it is sent.
    """
    asked = request.model_dump(mode="json", by_alias=True)
    payload = json.dumps([KIND, asked], sort_keys=True).encode()
    sweep, _ = service.store.queue.submit(
        KIND,
        {"asked": asked, **_resolved(asked, service)},
        owner=principal.owner,
        idempotency_key=idempotency_key,
        payload_sha256=hashlib.sha256(payload).hexdigest(),
    )
    response.headers["Location"] = f"/v1/sweeps/{sweep.id}"
    response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return SweepView.of(sweep)


def _resolved(asked: dict[str, Any], service: Service) -> dict[str, Any]:
    """Where the run lies, and how large the sweep will be."""
    try:
        run, folder = finished(service, asked["run"])
    except UnknownRunError as error:
        raise RequestError(str(error), "/run") from error
    try:
        grid = grid_of(asked["axes"])
        terms = check(folder, grid, limit=service.settings.max_sweep_rows)
    except GridError as error:
        raise RequestError(str(error), "/axes") from error
    except RunError as error:
        told_of = str(error).replace(str(folder), f"run {run.id}")
        raise ConflictError(told_of) from error
    return {
        "run_dir": str(folder),
        "scenarios": grid.n_scenarios,
        "rows": grid.n_scenarios * len(terms.contracts.contracts),
    }


@router.get("", operation_id="list_sweeps", responses=responses(422))
def listed(
    _principal: RunsReader,
    service: ServiceDep,
    state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    page_token: str | None = None,
) -> SweepPage:
    """Sweeps, newest first."""
    found = service.store.queue.runs(KIND, limit=limit + 1, before=page_token, state=state)
    return SweepPage(
        sweeps=[SweepView.of(sweep) for sweep in found[:limit]],
        next_page_token=found[limit - 1].id if len(found) > limit else None,
    )


@router.get("/{sweep_id}", operation_id="show_sweep", responses=responses(404, 422))
async def show(
    sweep_id: str,
    response: Response,
    _principal: RunsReader,
    service: ServiceDep,
    wait: Annotated[float, Query(ge=0, le=3600, allow_inf_nan=False)] = 0,
) -> SweepView:
    """One sweep. With `wait`, answers as soon as it has ended, or after so many seconds."""
    return SweepView.of(await awaited(service, sweep_id, KIND, wait, response))


@router.post(
    "/{sweep_id}/cancel", status_code=202, operation_id="cancel_sweep", responses=responses(404)
)
def cancel(
    sweep_id: str, response: Response, principal: RunsWriter, service: ServiceDep
) -> SweepView:
    """Cancel a sweep. Answers 200 when it has ended already, whichever way."""
    return SweepView.of(cancelled(service, sweep_id, KIND, principal.owner, response))


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
    last_event_id: Annotated[int, Header(ge=0)] = 0,
) -> Response:
    """What happened to a sweep: a list, or as server-sent events until it has ended."""
    return told(service, sweep_id, KIND, request, last_event_id)


@router.get(
    "/{sweep_id}/results",
    operation_id="read_sweep",
    response_class=Response,
    responses=responses(404, 406, 409)
    | {200: {"content": {form: {} for form in FORMS}}, 304: {"description": "Not Modified"}},
)
def results(
    sweep_id: str, request: Request, _principal: RunsReader, service: ServiceDep
) -> Response:
    """The rows of a sweep, in the form the caller accepts."""
    _, folder = finished(service, sweep_id, KIND)
    path = folder / FILE
    if not path.is_file():
        raise UnknownResultError("the rows of this sweep are gone; submit it again")
    return table_response(path, request)
