"""What every endpoint may use, and the gate every request passes.

    number the request -> who asks? -> how large is it? -> the endpoint -> log it

The gate answers a stranger before anything of the request is read: 401, and 303 to the way in for
pages. It logs who asked, ids, counts and the route's own text: no query, no body, no name.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Final
from urllib.parse import unquote

import anyio
import structlog
from fastapi import Depends, Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.auth import Principal, actor_of, principal_of
from api.metrics import Metrics
from api.reading import Reads
from api.sessions import Sessions, cookie_of, signed_in
from api.settings import Settings
from cluster.database import AWAY
from cluster.home import Home
from cluster.store import Store
from cluster.supervisor import Standing

OPEN: Final = frozenset({"/livez", "/readyz", "/startupz", "/sign-in"})
OPEN_FOLDERS: Final = ("/static/", "/docs/")
"""What GET and HEAD may have without a key: probes, the way in, and what pages are made of."""
SIGN_IN: Final = "/sign-in"
READS: Final = ("GET", "HEAD")
RELOADED: Final = b"live=1"
"""The query of a page that reloads by itself, which keeps nobody signed in."""
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""What is logged as a method: any other is somebody's text."""
VERSIONS: Final = ("1.0", "1.1")
MAX_TARGET_BYTES: Final = 32_768
"""More than any query that fits: of a thousand characters each may take twelve bytes."""
MAX_HEADER_BYTES: Final = 32_768
KEY_THREADS: Final = 8
KEY_S: Final = 5.0
"""How long a key may take to be looked up."""

_ABSOLUTE: Final = re.compile(rb"https?://[^/?#]+", re.IGNORECASE)
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""What a run's id looks like: anything else in its place is somebody's text, and not logged."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Service:
    """The parts of a running service."""

    settings: Settings
    store: Store
    dispatcher: Callable[[], Standing]
    closing: Callable[[], bool]
    metrics: Metrics = field(default_factory=Metrics)
    sessions: Sessions = field(default_factory=Sessions)

    @property
    def home(self) -> Home:
        """The service's folder."""
        return self.settings.folder


async def _service(request: Request) -> Service:  # as a plain function it would want a thread
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(_service)]


class Gate:
    """ASGI middleware around everything else.

    Keys are looked up in threads of their own: requests that hang elsewhere keep nobody out. What
    goes wrong here is shown to people as `as_page` makes it of the problem.
    """

    def __init__(
        self, app: ASGIApp, service: Service, as_page: Callable[[Request, Response], Response]
    ) -> None:
        self._app = app
        self._as_page = as_page
        self._service = service
        self._secret = service.home.secret()
        self._keys = Reads(KEY_THREADS, "key")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = time.perf_counter()
        _to_origin_form(scope)
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
                if scope["scheme"] == "https":
                    headers["Strict-Transport-Security"] = "max-age=31536000"
            await send(message)

        try:
            await self._admit(scope, receive, answer)
        except ClientDisconnect:
            pass  # nobody is there to be told
        except Exception as error:  # noqa: BLE001 (nothing of it may reach a log or a reader)
            refusal = self._as_page(Request(scope), problems.defect(scope, error))
            if not status:  # else the answer ends here, short, and the connection with it
                await refusal(scope, receive, answer)
        finally:
            self._note(scope, status, time.perf_counter() - started_s)
        if status == HTTPStatus.FORBIDDEN:
            try:
                await self._keys.within(KEY_S, self._keep_refusal, scope)
            except (problems.BusyError, *AWAY):
                log.exception("refusal_not_kept", request_id=scope["state"]["request_id"])

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None)
        principal: Principal | None = scope["state"].get("principal")
        run_id = scope.get("path_params", {}).get("run_id", "")
        self._service.metrics.answered(route, scope["method"], status, seconds)
        log.info(
            "request",
            request_id=scope["state"]["request_id"],
            key_id=principal and principal.key_id,
            owner=principal and principal.owner,
            address=scope["client"][0] if scope.get("client") else None,
            method=scope["method"] if scope["method"] in METHODS else None,
            route=route,
            run_id=run_id if _ID.fullmatch(run_id) else None,
            status=status,
            ms=round(seconds * 1000, 1),
        )

    def _keep_refusal(self, scope: Scope) -> None:
        """Keep who was refused what: a scope that their key lacks, or what belongs to others."""
        asked = scope.get("path_params", {})
        self._service.store.audit.append(
            actor_of(scope),
            "request",
            outcome="refused",
            run_id=asked.get("run_id") or asked.get("sweep_id"),
            result_table=asked.get("table"),
            subject=asked.get("name") or asked.get("key_id"),
        )

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if (unfit := _unfit(scope, headers)) is not None:
            await unfit(scope, receive, send)
            return
        open_to_all = _open(scope)
        alive = open_to_all and scope["path"] == "/livez"  # asked often, and told without a look
        if not alive:
            try:
                await self._recognise(scope, headers)
            except (problems.BusyError, *AWAY):
                if not open_to_all:
                    told = self._as_page(Request(scope), problems.away(scope))
                    await told(scope, receive, send)
                    return
        if not open_to_all and scope["state"].get("principal") is None:
            await self._refusal(scope, headers)(scope, receive, send)
            return
        limit = self._service.settings.max_body_bytes
        if _is_page(scope):  # says so in a page, once it has read so much
            await self._app(scope, self._limited(receive), send)
            return
        declared = headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared) > limit:
            await problems.problem(scope, 413, _too_large(limit))(scope, receive, send)
            return
        await self._app(scope, self._limited(receive), send)

    async def _recognise(self, scope: Scope, headers: Headers) -> None:
        """Say who asks: by a key, else by the session of a browser, of which `/v1` takes reads."""
        keys, authorization = self._service.store.keys, headers.get("authorization")
        if authorization is not None:
            scope["state"]["principal"] = await self._keys.within(
                KEY_S, principal_of, keys, self._secret, authorization
            )
            return
        token = cookie_of(headers)
        if token is None or not (_is_page(scope) or scope["method"] in READS):
            return
        found = await self._keys.within(
            KEY_S,
            signed_in,
            self._service.sessions,
            keys,
            token,
            in_use=RELOADED not in scope["query_string"].split(b"&"),
        )
        if found is not None:
            scope["state"]["principal"], scope["state"]["session"] = found

    def _refusal(self, scope: Scope, headers: Headers) -> Response:
        asked = scope["method"] in READS or headers.get("sec-fetch-mode") == "navigate"
        if _is_page(scope) and "authorization" not in headers and asked:
            return RedirectResponse(SIGN_IN, 303)
        return problems.problem(
            scope,
            401,
            "send an API key that is in use, as `Authorization: Bearer KEY`; "
            "the first `ihp serve` prints one, `ihp keys create` makes others",
            headers={"WWW-Authenticate": "Bearer"},
        )

    def _limited(self, receive: Receive) -> Receive:
        """The body of a request, so large and so late at most."""
        limit, body_s = self._service.settings.max_body_bytes, self._service.settings.body_s
        until_s = time.monotonic() + body_s
        n_bytes = 0
        whole = False

        async def limited() -> Message:
            nonlocal n_bytes, whole
            if whole:
                return await receive()  # it waits for the reader to leave
            with anyio.move_on_after(until_s - time.monotonic()) as wait:
                message = await receive()
            if wait.cancelled_caught:
                raise HTTPException(
                    408,
                    f"the request's body did not end within {body_s:g} s; send it again",
                    headers={"Connection": "close"},
                )
            whole = not message.get("more_body", False)
            n_bytes += len(message.get("body", b""))
            if n_bytes > limit:
                raise HTTPException(413, _too_large(limit))
            return message

        return limited


def _to_origin_form(scope: Scope) -> None:
    """Take a target that names this server (RFC 9112, 3.2.2) as its path, which is what it asks."""
    raw: bytes = scope.get("raw_path") or b""
    if named := _ABSOLUTE.match(raw):
        scope["raw_path"] = raw[named.end() :] or b"/"
        scope["path"] = unquote(scope["raw_path"].decode("ascii"))


def _unfit(scope: Scope, headers: Headers) -> Response | None:
    """Refuse a head that is too large, of another protocol, or frames its body in two ways.

    After the last, whoever sends and whoever answers may not agree where the next request begins
    (RFC 9112, 6.3).
    """
    told: tuple[int, str] | None = None
    if "transfer-encoding" in headers and "content-length" in headers:
        told = 400, "Content-Length and Transfer-Encoding exclude each other; send one of them"
    elif scope["http_version"] not in VERSIONS:
        told = 505, f"expected HTTP/{' or HTTP/'.join(VERSIONS)}"
    elif len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_TARGET_BYTES:
        told = 414, f"the path with its query is longer than {MAX_TARGET_BYTES:,} bytes"
    elif sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
        told = 431, f"the headers are larger than {MAX_HEADER_BYTES:,} bytes"
    if told is None:
        return None
    return problems.problem(scope, *told, headers={"Connection": "close"})


def _open(scope: Scope) -> bool:
    path: str = scope["path"]
    if scope["method"] in READS:
        return path in OPEN or path.startswith(OPEN_FOLDERS)
    return scope["method"] == "POST" and path == SIGN_IN


def _is_page(scope: Scope) -> bool:
    path: str = scope["path"]
    return path != "/v1" and not path.startswith("/v1/")


def _too_large(limit: int) -> str:
    return f"the body is larger than {limit:,} bytes; claims are ingested on the server"
