"""What every endpoint may use, and the gate every request passes.

    number the request -> who asks? -> how large is it? -> the endpoint -> log it

The gate answers 401 before anything of the request is read, and logs ids, counts and the route's
own text: no query, no body, no name.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

import structlog
from anyio import to_thread
from fastapi import Depends, Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.auth import principal_of
from api.settings import Settings
from cluster.home import Home
from cluster.store import Store

OPEN: Final = frozenset({("GET", "/livez"), ("HEAD", "/livez")})

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Service:
    """The parts of a running service."""

    settings: Settings
    store: Store
    dispatcher_alive: Callable[[], bool]
    closing: Callable[[], bool]

    @property
    def home(self) -> Home:
        """The service's folder."""
        return self.settings.folder


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(_service)]


class Gate:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._secret = service.home.secret()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = time.perf_counter()
        request_id = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Cache-Control", "no-store")
                headers.setdefault("Content-Security-Policy", "default-src 'none'")
            await send(message)

        try:
            await self._admit(scope, receive, answer)
        except Exception as error:
            if status:
                raise
            await problems.defect(scope, error)(scope, receive, answer)
        route = scope.get("route")
        log.info(
            "request",
            request_id=request_id,
            method=scope["method"],
            route=getattr(route, "path", None),
            run_id=scope.get("path_params", {}).get("run_id"),
            status=status,
            ms=round((time.perf_counter() - started_s) * 1000, 1),
        )

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if (scope["method"], scope["path"]) not in OPEN:
            principal = await to_thread.run_sync(
                principal_of, self._service.store.keys, self._secret, headers.get("authorization")
            )
            if principal is None:
                refusal = problems.problem(
                    scope,
                    401,
                    "send an API key that is in use, as `Authorization: Bearer KEY`; "
                    "`ihp serve` prints one, `ihp keys create` makes others",
                    headers={"WWW-Authenticate": "Bearer"},
                )
                await refusal(scope, receive, send)
                return
            scope["state"]["principal"] = principal
        limit = self._service.settings.max_body_bytes
        declared = headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared) > limit:
            await problems.problem(scope, 413, _too_large(limit))(scope, receive, send)
            return
        n_bytes = 0

        async def limited() -> Message:
            nonlocal n_bytes
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > limit:
                raise HTTPException(413, _too_large(limit))
            return message

        await self._app(scope, limited, send)


def _too_large(limit: int) -> str:
    return f"the body is larger than {limit:,} bytes; claims are ingested on the server"
