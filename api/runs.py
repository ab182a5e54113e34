"""Runs: queue one, follow it, cancel it. The dispatcher does the work; no request waits for it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.sse import format_sse_event

from api.auth import RunsReader, RunsWriter
from api.populations import folder_of
from api.problems import ConflictError, RequestError, responses
from api.schemas import EventView, RunPage, RunRequest, RunView
from api.service import Service, ServiceDep, StrictJsonRoute
from cluster.registry import UnknownPopulationError
from cluster.runs import Run, UnknownRunError
from cluster.states import FINAL, State
from ihp_compute import contracts as contract
from ihp_compute.errors import DataError
from ihp_compute.population import read_manifest

KIND: Final = "run"
RETRY_AFTER_S: Final = 2
LOOK_S: Final = 0.2
COMMENT_S: Final = 15.0

router = APIRouter(prefix="/v1/runs", tags=["runs"], route_class=StrictJsonRoute)


@router.post(
    "", status_code=202, operation_id="start_run", responses=responses(400, 409, 413, 422, 503)
)
def start(
    request: RunRequest,
    response: Response,
    idempotency_key: Annotated[str, Header(min_length=1, max_length=200)],
    principal: RunsWriter,
    service: ServiceDep,
) -> RunView:
    """Queue a run and return at once; follow it at its Location.

    The same Idempotency-Key with the same payload is the same run, however often it is sent.
    """
    asked = request.model_dump(mode="json")
    payload = json.dumps([KIND, asked], sort_keys=True).encode()
    run, _ = service.store.queue.submit(
        KIND,
        {**asked, **_resolved(request, service), "asked": asked},
        owner=principal.owner,
        idempotency_key=idempotency_key,
        payload_sha256=hashlib.sha256(payload).hexdigest(),
    )
    response.headers["Location"] = f"/v1/runs/{run.id}"
    response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return RunView.of(run)


def _resolved(request: RunRequest, service: Service) -> dict[str, Any]:
    """The parts of a request that name things of the server, as the dispatcher needs them."""
    limit = service.settings.max_replicates
    if request.replicates > limit:
        raise RequestError(f"more than {limit} replicates; ask for fewer", "/replicates")
    try:
        held = service.store.registry.find(request.population)
    except UnknownPopulationError as error:
        raise RequestError(str(error), "/population") from error
    path = folder_of(service.settings, held.location, held.prefix)
    try:
        digest = read_manifest(path)["population_digest"]
    except DataError as error:
        told = str(error).replace(str(path), held.name)
        raise ConflictError(told) from error
    if digest != held.population_digest:
        raise ConflictError(
            f"population {held.name} holds other content than when it was registered; "
            "register it again under another name"
        )
    contracts = [_contract(name, n, service) for n, name in enumerate(request.contracts)]
    return {"population": str(path), "contracts": contracts}


def _contract(name: str, position: int, service: Service) -> str:
    own: Path = service.home.contracts / f"{name.removesuffix('.toml')}.toml"
    if own.is_file():
        return str(own)
    if name not in contract.names():
        raise RequestError(
            "no contract of this name; GET /v1/contracts lists them",
            f"/contracts/{position}",
        )
    return name


@router.get("", operation_id="list_runs", responses=responses(422))
def listed(
    _principal: RunsReader,
    service: ServiceDep,
    state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    page_token: str | None = None,
) -> RunPage:
    """Runs, newest first."""
    found = service.store.queue.runs(KIND, limit=limit + 1, before=page_token, state=state)
    return RunPage(
        runs=[RunView.of(run) for run in found[:limit]],
        next_page_token=found[limit - 1].id if len(found) > limit else None,
    )


@router.get("/{run_id}", operation_id="show_run", responses=responses(404, 422))
async def show(
    run_id: str,
    response: Response,
    _principal: RunsReader,
    service: ServiceDep,
    wait: Annotated[float, Query(ge=0, le=3600, allow_inf_nan=False)] = 0,
) -> RunView:
    """One run. With `wait`, answers as soon as it has ended, or after so many seconds."""
    return RunView.of(await awaited(service, run_id, KIND, wait, response))


async def awaited(service: Service, run_id: str, kind: str, wait: float, response: Response) -> Run:
    """A run of a kind, as soon as it has ended or after `wait` seconds."""
    until_s = time.monotonic() + min(wait, service.settings.max_wait_s)
    run = await to_thread.run_sync(run_of_kind, service, run_id, kind)
    while run.state not in FINAL and time.monotonic() < until_s and not service.closing():
        await asyncio.sleep(LOOK_S)
        run = await to_thread.run_sync(run_of_kind, service, run_id, kind)
    if run.state not in FINAL:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return run


def run_of_kind(service: Service, run_id: str, kind: str) -> Run:
    """The run of this id, if it is one of a kind: runs and sweeps share the queue, not the paths.

    Raises
    ------
    UnknownRunError
    """
    run = service.store.queue.run(run_id)
    if run.kind != kind:
        raise UnknownRunError(f"no {kind} has this id; GET /v1/{kind}s lists them")
    return run


@router.post(
    "/{run_id}/cancel", status_code=202, operation_id="cancel_run", responses=responses(404)
)
def cancel(run_id: str, response: Response, principal: RunsWriter, service: ServiceDep) -> RunView:
    """Cancel a run. Answers 200 when it has ended already, whichever way."""
    return RunView.of(cancelled(service, run_id, KIND, principal.owner, response))


def cancelled(service: Service, run_id: str, kind: str, actor: str, response: Response) -> Run:
    """A run of a kind, its end asked for; status 200 where it has ended already."""
    run_of_kind(service, run_id, kind)
    run = service.store.queue.request_cancel(run_id, actor=actor)
    if run.state in FINAL:
        response.status_code = 200
    return run


@router.get(
    "/{run_id}/events",
    operation_id="run_events",
    response_model=list[EventView],
    responses=responses(404),
)
def events(
    run_id: str,
    request: Request,
    _principal: RunsReader,
    service: ServiceDep,
    last_event_id: Annotated[int, Header(ge=0)] = 0,
) -> Response:
    """What happened to a run: a list, or as server-sent events until the run has ended.

    A stream goes on after `Last-Event-ID`.
    """
    return told(service, run_id, KIND, request, last_event_id)


def told(service: Service, run_id: str, kind: str, request: Request, after: int) -> Response:
    """What happened to a run of a kind after an event, as the request's Accept wants it."""
    run_of_kind(service, run_id, kind)
    if "text/event-stream" in request.headers.get("accept", ""):
        stream = _stream(service, run_id, after)
        return StreamingResponse(stream, media_type="text/event-stream")
    found = service.store.queue.events(run_id, after=after)
    return JSONResponse([EventView.of(event).model_dump(mode="json") for event in found])


async def _stream(service: Service, run_id: str, after: int) -> AsyncIterator[bytes]:
    shown: tuple[int, int] | None = None
    quiet_since_s = time.monotonic()
    while not service.closing():
        run = await to_thread.run_sync(service.store.queue.run, run_id)
        for event in await to_thread.run_sync(_events, service, run_id, after):
            after = event.seq
            view = EventView.of(event).model_dump_json()
            yield format_sse_event(data_str=view, event=event.kind, id=str(event.seq))
            quiet_since_s = time.monotonic()
        if run.state in FINAL:
            return
        now = (run.shards_done, run.shards_total)
        if now != shown and run.shards_total:
            shown = now
            progress = json.dumps({"shards_done": now[0], "shards_total": now[1]})
            yield format_sse_event(data_str=progress, event="progress")
        if time.monotonic() - quiet_since_s > COMMENT_S:
            quiet_since_s = time.monotonic()
            yield format_sse_event(comment="waiting")
        await asyncio.sleep(LOOK_S)


def _events(service: Service, run_id: str, after: int) -> list[Any]:
    return list(service.store.queue.events(run_id, after=after))
