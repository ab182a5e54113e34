"""What HTTP wants of every answer, whatever it is about (RFC 9110).

    HEAD is GET without its body -> OPTIONS and 405 name every method of the path
        -> JSON bears a tag of its content, and 304 says that the caller has it

Not here: errors (`problems`), tags of tables, which are those of their rows (`forms`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Paths:
    """Which methods the paths of an application take.

    A path that is named in full is no thing's name: where `/runs/estimate` takes POST, nothing is
    looked for under `/runs/{run_id}` with the id `estimate`.

    Parameters
    ----------
    routes : sequence of BaseRoute
        Of the application.
    named : iterable of Route
        All there are; those without parameters count.
    """

    def __init__(self, routes: Sequence[BaseRoute], named: Iterable[BaseRoute]) -> None:
        self._routes = routes
        self._named: dict[str, set[str]] = {}
        for route in named:
            if isinstance(route, Route) and "{" not in route.path:
                self._named.setdefault(route.path, set()).update(route.methods or ())

    def refuses(self, method: str, path: str) -> bool:
        """Whether a path is named in full, for other methods."""
        return path in self._named and method not in self._named[path]

    def takes(self, method: str, path: str) -> bool:
        """Whether some route of the path takes a method."""
        if path in self._named:
            return method in self._named[path]
        scope: Scope = {
            "type": "http",
            "method": method,
            "path": path,
            "root_path": "",
            "headers": [],
        }
        return any(
            route.matches(scope)[0] == Match.FULL
            for route in self._routes
            if method == "GET" or not isinstance(route, Mount)
        )

    def allow(self, path: str) -> str:
        """The value of `Allow`: every method that the path takes (§15.5.6)."""
        found = [method for method in METHODS if self.takes(method, path)]
        if "GET" in found:
            found.insert(1, "HEAD")
        return ", ".join([*found, "OPTIONS"])


def tag_matches(header: str | None, tag: str) -> bool:
    """Whether an If-None-Match header names a tag, compared weakly (§13.1.2)."""
    held = [text.strip().removeprefix("W/") for text in (header or "").split(",")]
    return tag in held or "*" in held


class HeadOfGet:
    """ASGI middleware: HEAD is answered as GET is, and ends with the headers (§9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        answered = False

        async def head(message: Message) -> None:
            nonlocal answered
            if message["type"] != "http.response.start":
                return
            answered = True
            scope["method"] = "HEAD"  # the server below asks it whether a body is due
            await send(message)
            await send({"type": "http.response.body"})
            raise _AnsweredError  # whoever makes the body need not

        scope["method"] = "GET"
        try:
            await self._app(scope, receive, head)
        except Exception:
            if not answered:
                raise
        finally:
            scope["method"] = "HEAD"


class _AnsweredError(Exception):
    """The headers were all that was asked for."""


class ContentTags:
    """ASGI middleware: a whole JSON answer of GET bears an ETag of its content (§8.8.3).

    It may be kept by the caller alone and is asked for again each time. Streams and what has a tag
    of its own pass.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        known = Headers(scope=scope).get("if-none-match")
        start: Message | None = None

        async def tagged(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_taggable(message):
                start = message
                return
            if start is None or message["type"] != "http.response.body":
                await send(message)
                return
            headers = MutableHeaders(scope=start)
            tag = f'"{hashlib.sha256(message.get("body", b"")).hexdigest()}"'
            headers["ETag"] = tag
            headers.setdefault("Vary", "Authorization")
            headers.setdefault("Cache-Control", "private, no-cache")
            if tag_matches(known, tag):
                del headers["content-length"], headers["content-type"]
                start["status"] = 304
                message = {"type": "http.response.body"}
            await send(start)
            start = None
            await send(message)

        await self._app(scope, receive, tagged)


def _is_taggable(start: Message) -> bool:
    """Whether a body follows in one part, which is so where its length was known."""
    headers = Headers(scope=start)
    return (
        start["status"] == 200
        and headers.get("content-type") == "application/json"
        and "content-length" in headers
        and "etag" not in headers
    )
