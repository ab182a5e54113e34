"""What probes ask: does it live, can it work, has it started.

Probes send no key and are told "ok", or in few words what does not work. Whoever sends a good key
is told the parts. Nothing here waits for long, or for a thread that others have: what hangs makes
the answer 503, not late.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from api.auth import Principal
from api.problems import RETRY_AFTER_S
from api.reading import Reads
from api.service import Service, ServiceDep

LOOK_S: Final = 2.0
"""How long a probe waits for the database."""

router = APIRouter(tags=["health"])


@router.get("/livez", operation_id="live", response_class=PlainTextResponse)
async def live() -> PlainTextResponse:
    """Whether this process answers."""
    return PlainTextResponse("ok")


def _either(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documentation of a word, or of the parts where a key asks."""
    content = {"text/plain": {"schema": {"type": "string"}}, "application/json": {"schema": {}}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in statuses
    }


class Health:
    """What has been seen of a service's parts.

    Parameters
    ----------
    service : Service
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._reads = Reads(1, "part")
        self._started = False

    async def troubles(self) -> dict[str, str | None]:
        """What is wrong with the database, the dispatcher and the threads that requests wait for.

        None with a part that works.
        """
        threads = to_thread.current_default_thread_limiter().statistics()
        database: str | None = None
        try:
            await self._reads.within(LOOK_S, self._service.store.queue.states)
        except Exception:  # noqa: BLE001 (whatever it is, the database does not answer)
            database = "the database does not answer"
        standing = self._service.dispatcher()
        free = threads.borrowed_tokens < threads.total_tokens or not threads.tasks_waiting
        troubles = {
            "database": database,
            "dispatcher": None if standing == "works" else f"the dispatcher {standing}",
            "threads": None if free else "all threads are taken",
        }
        self._started = self._started or not any(troubles.values())
        return troubles

    async def started(self) -> bool:
        """Whether every part has worked at once since the start."""
        return self._started or not any((await self.troubles()).values())


async def _health(request: Request) -> Health:
    health: Health = request.app.state.health
    return health


HealthDep = Annotated[Health, Depends(_health)]


async def _principal(request: Request) -> Principal | None:
    return getattr(request.state, "principal", None)


@router.get(
    "/readyz", operation_id="ready", response_class=PlainTextResponse, responses=_either(200, 503)
)
async def ready(
    health: HealthDep,
    service: ServiceDep,
    principal: Annotated[Principal | None, Depends(_principal)],
) -> Response:
    """Whether requests are answered and runs are worked on, or why not; with a key, by part."""
    troubles = await health.troubles()
    said = [trouble for trouble in troubles.values() if trouble is not None]
    if service.closing():
        said.append("the service ends")
    parts = None if principal is None else {part: not said for part, said in troubles.items()}
    return _said(not said, f"not ready: {'; '.join(said)}", parts)


@router.get(
    "/startupz", operation_id="started", response_class=PlainTextResponse, responses=_either(503)
)
async def started(health: HealthDep) -> Response:
    """Whether the service has come up since its start."""
    return _said(await health.started(), "starting", None)


def _said(good: bool, otherwise: str, parts: dict[str, bool] | None) -> Response:
    status = 200 if good else 503
    headers = {} if good else {"Retry-After": str(RETRY_AFTER_S)}
    if parts is not None:
        return JSONResponse(
            parts | ({} if good else {"reason": otherwise}), status, headers=headers
        )
    return PlainTextResponse("ok" if good else otherwise, status, headers=headers)
