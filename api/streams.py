"""Requests that wait for a run: a long poll, a stream of events; and what happened, as a list.

    watch the run (`watching`) -> what is stored already -> what is told, until somebody ends it

A reader of a stream goes on after the last event it has, however its stream ended.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import Header, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.sse import format_sse_event
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from api.auth import Principal
from api.lists import Page
from api.presence import unless_gone
from api.problems import responses
from api.queued import RETRY_AFTER_S, Kind, run_of_kind
from api.service import Service
from api.watching import EventView, Message, Watch, Watcher
from cluster.runs import Run
from cluster.states import AT_REST, FINAL

COMMENT_S: Final = 15.0
"""How long a stream may be silent, or a proxy would close it."""
RETRY_MS: Final = 2000
"""When a reader whose stream has ended connects again."""

EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    **responses(404, 503),
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
    204: {"description": "No Content: the run has ended, and a stream has nothing newer to tell"},
}
"""Documentation of what an endpoint that tells what happened may answer with."""

WaitSeconds = Annotated[float, Query(ge=0, le=3600, allow_inf_nan=False)]
LastEventId = Annotated[int, Header(ge=0, lt=2**63)]


class EventPage(BaseModel):
    """What happened to a run, in order; `next_page_token` asks for what followed."""

    events: list[EventView]
    next_page_token: str | None


async def awaited(
    request: Request, service: Service, kind: Kind, run_id: str, wait_s: float, response: Response
) -> Run:
    """A run of a kind, as soon as it rests or after `wait_s` seconds.

    Raises
    ------
    UnknownRunError
    HTTPException
        401 if the key of the request ended meanwhile.
    """
    until_s = time.monotonic() + min(wait_s, service.settings.max_wait_s)
    if wait_s > 0:
        async with _watch(request).on(run_id, _key_of(request), stream=False) as watcher:
            run = await to_thread.run_sync(run_of_kind, service, kind, run_id)
            if run.state not in AT_REST:
                await unless_gone(request.receive, _rested(watcher, until_s))
            if watcher.key_ended:
                raise HTTPException(
                    401,
                    "the key of this request was revoked or has expired",
                    {"WWW-Authenticate": "Bearer"},
                )
    run = await to_thread.run_sync(run_of_kind, service, kind, run_id)
    if run.state not in AT_REST:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return run


async def _rested(watcher: Watcher, until_s: float) -> None:
    while not watcher.over and (left_s := until_s - time.monotonic()) > 0:
        if any(message.to_state in AT_REST for message in await watcher.messages(left_s)):
            return


async def history(
    request: Request, service: Service, kind: Kind, run_id: str, page: Page, after: int
) -> Response:
    """What happened to a run of a kind after an event, a list or a stream as Accept has it.

    A stream of a run that has ended, with nothing newer to tell, is 204: the reader stops coming.

    Raises
    ------
    UnknownRunError
    """
    run = await to_thread.run_sync(run_of_kind, service, kind, run_id)
    if "text/event-stream" not in request.headers.get("accept", ""):
        after = max(after, int(page.after or 0))
        found = await to_thread.run_sync(lambda: service.store.queue.events(run_id, after=after))
        shown, token = page.cut(found, lambda event: str(event.seq))
        events = [EventView.of(event) for event in shown]
        return JSONResponse(EventPage(events=events, next_page_token=token).model_dump(mode="json"))
    if run.state in FINAL:
        run, found = await to_thread.run_sync(
            lambda: service.store.news.of_run(run_id, after=after)
        )
        if not found:
            return Response(status_code=204)
    return EventStream(_watch(request), service, run_id, _key_of(request), after)


class EventStream(Response):
    """Server-sent events of a run after an event, until the run, the reader or the key ends.

    Parameters
    ----------
    watch : Watch
    service : Service
    run_id, key_id : str
    after : int
        Number of the last event that the reader has.
    """

    media_type = "text/event-stream"

    def __init__(
        self, watch: Watch, service: Service, run_id: str, key_id: str, after: int
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({"X-Accel-Buffering": "no"})  # or nginx keeps events back
        del self.headers["content-length"]
        self._watch = watch
        self._service = service
        self._run_id = run_id
        self._key_id = key_id
        self._after = after

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send what is told until nothing more will be."""
        async with self._watch.on(self._run_id, self._key_id, stream=True) as watcher:
            await unless_gone(receive, self._sent(send, watcher))

    async def _sent(self, send: Send, watcher: Watcher) -> None:
        run, events = await to_thread.run_sync(
            lambda: self._service.store.news.of_run(self._run_id, after=self._after)
        )
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        messages = [Message.of_event(event) for event in events]
        lines = [format_sse_event(retry=RETRY_MS)]
        ended = run.state in FINAL
        while True:
            lines += [message.sent for message in messages if self._is_new(message)]
            ended = ended or any(message.to_state in FINAL for message in messages)
            over = ended or watcher.over
            if watcher.key_ended:
                lines = []
            body = b"".join(lines) or (b"" if over else format_sse_event(comment="waiting"))
            await send({"type": "http.response.body", "body": body, "more_body": not over})
            if over:
                return
            lines, messages = [], await watcher.messages(COMMENT_S)

    def _is_new(self, message: Message) -> bool:
        """Whether it was not among what was stored when the watch began."""
        if message.seq is not None:
            if message.seq <= self._after:
                return False
            self._after = message.seq
        return True


def _watch(request: Request) -> Watch:
    watch: Watch = request.app.state.watch
    return watch


def _key_of(request: Request) -> str:
    principal: Principal = request.state.principal
    return principal.key_id
