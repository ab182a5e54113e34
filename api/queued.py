"""What runs and sweeps share: both are queued, followed, cancelled and kept in the same way.

Their routers have the paths, the bodies and what is particular to each; no request waits for work.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from anyio import to_thread
from fastapi import Header, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.sse import format_sse_event
from pydantic import BaseModel

from api.bodies import moment
from api.problems import ConflictError
from api.service import Service
from cluster.runs import Event, Run, UnknownRunError
from cluster.states import FINAL, State

RETRY_AFTER_S: Final = 2
"""When a caller may look again at what has not ended."""
LOOK_S: Final = 0.2
"""How often the database is asked while a request waits."""
COMMENT_S: Final = 15.0
"""How long a stream may be silent, or a proxy would close it."""

Kind: TypeAlias = Literal["run", "sweep"]
"""Kinds of one queue; each has the paths `/v1/KINDs`."""
IdempotencyKey = Annotated[str, Header(min_length=1, max_length=200)]
PageSize = Annotated[int, Query(ge=1, le=200)]
WaitSeconds = Annotated[float, Query(ge=0, le=3600, allow_inf_nan=False)]
LastEventId = Annotated[int, Header(ge=0)]


class EventView(BaseModel):
    """One thing that happened to a run."""

    seq: int
    at: datetime
    actor: str
    kind: str
    from_state: State | None
    to_state: State | None
    detail: Mapping[str, Any]

    @classmethod
    def of(cls, held: Event) -> EventView:
        """The view of a stored row."""
        actor = "dispatcher" if held.actor.count(":") >= 2 else held.actor
        return cls(**{**vars(held), "actor": actor, "at": moment(held.at_ms)})


def submitted(
    service: Service,
    kind: Kind,
    asked: Mapping[str, Any],
    resolved: Mapping[str, Any],
    *,
    owner: str,
    idempotency_key: str,
    response: Response,
) -> Run:
    """A run of a kind, queued; its place stands in the response's headers.

    Parameters
    ----------
    service : Service
    kind : Kind
    asked : mapping
        The body: what makes two submissions the same.
    resolved : mapping
        What the dispatcher needs, where names of the caller are places of the server.
    owner, idempotency_key : str
    response : Response

    Raises
    ------
    IdempotencyConflictError
        If the owner's key came before with another body.
    """
    payload = json.dumps([kind, asked], sort_keys=True).encode()
    run, _ = service.store.queue.submit(
        kind,
        {**resolved, "asked": asked},
        owner=owner,
        idempotency_key=idempotency_key,
        payload_sha256=hashlib.sha256(payload).hexdigest(),
    )
    response.headers["Location"] = path_of(run)
    response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return run


def path_of(run: Run) -> str:
    """Where a run or sweep is found."""
    return f"/v1/{run.kind}s/{run.id}"


def shown(run: Run, *, folder: str, name: str, parts: tuple[str, ...]) -> dict[str, Any]:
    """What the view of a run and that of a sweep have in common.

    Parameters
    ----------
    run : Run
    folder, name : str
        A folder of the server, and what is said instead of it.
    parts : tuple of str
        What lies below the path, for the links.
    """
    here = path_of(run)
    return {
        **vars(run),
        "detail": None if run.detail is None else run.detail.replace(folder, name),
        "created_at": moment(run.created_ms),
        "started_at": None if run.started_ms is None else moment(run.started_ms),
        "finished_at": None if run.finished_ms is None else moment(run.finished_ms),
        "links": {"self": here, **{part: f"{here}/{part}" for part in parts}},
    }


def page(
    service: Service, kind: Kind, *, limit: int, before: str | None, state: State | None
) -> tuple[list[Run], str | None]:
    """Runs of a kind, newest first, and the token that asks for the ones before them."""
    found = service.store.queue.runs(kind, limit=limit + 1, before=before, state=state)
    return found[:limit], found[limit - 1].id if len(found) > limit else None


async def awaited(
    service: Service, kind: Kind, run_id: str, wait: float, response: Response
) -> Run:
    """A run of a kind, as soon as it has ended or after `wait` seconds.

    Raises
    ------
    UnknownRunError
    """
    until_s = time.monotonic() + min(wait, service.settings.max_wait_s)
    run = await to_thread.run_sync(run_of_kind, service, kind, run_id)
    while run.state not in FINAL and time.monotonic() < until_s and not service.closing():
        await asyncio.sleep(LOOK_S)
        run = await to_thread.run_sync(run_of_kind, service, kind, run_id)
    if run.state not in FINAL:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return run


def run_of_kind(service: Service, kind: Kind, run_id: str) -> Run:
    """The run of this id, if it is one of a kind: runs and sweeps share the queue, not the paths.

    Raises
    ------
    UnknownRunError
    """
    run = service.store.queue.run(run_id)
    if run.kind != kind:
        raise UnknownRunError(f"no {kind} has this id; GET /v1/{kind}s lists them")
    return run


def cancelled(service: Service, kind: Kind, run_id: str, actor: str, response: Response) -> Run:
    """A run of a kind, its end asked for; status 200 where it has ended already.

    Raises
    ------
    UnknownRunError
    """
    run_of_kind(service, kind, run_id)
    run = service.store.queue.request_cancel(run_id, actor=actor)
    if run.state in FINAL:
        response.status_code = 200
    return run


def finished(service: Service, kind: Kind, run_id: str) -> tuple[Run, Path]:
    """A run or sweep that succeeded and the folder of the attempt that counts.

    Raises
    ------
    UnknownRunError
        If there is no such run.
    ConflictError
        If it has no results.
    """
    run = run_of_kind(service, kind, run_id)
    if run.state != "succeeded":
        raise ConflictError(f"the {kind} is {run.state}; results exist once it is succeeded")
    return run, service.home.attempt(run.id, run.attempt)


def history(service: Service, kind: Kind, run_id: str, request: Request, after: int) -> Response:
    """What happened to a run of a kind after an event, a list or a stream as Accept has it.

    Raises
    ------
    UnknownRunError
    """
    run_of_kind(service, kind, run_id)
    if "text/event-stream" in request.headers.get("accept", ""):
        stream = _stream(service, run_id, after)
        return StreamingResponse(stream, media_type="text/event-stream")
    found = service.store.queue.events(run_id, after=after)
    return JSONResponse([EventView.of(event).model_dump(mode="json") for event in found])


async def _stream(service: Service, run_id: str, after: int) -> AsyncIterator[bytes]:
    before: tuple[int, int] | None = None
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
        if now != before and run.shards_total:
            before = now
            progress = json.dumps({"shards_done": now[0], "shards_total": now[1]})
            yield format_sse_event(data_str=progress, event="progress")
        if time.monotonic() - quiet_since_s > COMMENT_S:
            quiet_since_s = time.monotonic()
            yield format_sse_event(comment="waiting")
        await asyncio.sleep(LOOK_S)


def _events(service: Service, run_id: str, after: int) -> list[Any]:
    return list(service.store.queue.events(run_id, after=after))
