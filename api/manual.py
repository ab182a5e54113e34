"""The documentation under `/docs/`, where `make docs` has made it; it tells nothing of anybody.

A page's policy allows this service's files and the inline scripts and styles that the page was made
with, by their hashes (CSP 3, §6.7.3): nothing that somebody slipped in, and no other host.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from api.auth import AnyKey
from api.problems import problem

PLACE: Final = "/docs"
KEPT_S: Final = 300
MISSING: Final = "the documentation is not made here; `make docs` makes it, offline"
MISSING_TO_A_PERSON: Final = (
    "The documentation was not made for this service. Whoever runs it makes it once, offline, with "
    "make docs in a checkout, or names its folder in IHP_DOCS; then load this page anew."
)
INLINE: Final = {
    "script": re.compile(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL),
    "style": re.compile(r"<style[^>]*>(.*?)</style>", re.DOTALL),
}

router = APIRouter(prefix=PLACE, tags=["service"])


@router.get("", include_in_schema=False)
async def first(_principal: AnyKey) -> RedirectResponse:
    """The way to the first page; links of a page start from its folder."""
    return RedirectResponse(f"{PLACE}/", 308)


def policy_of(page: str) -> str:
    """The Content-Security-Policy under which a page works as it was made."""
    allowed = {
        kind: " ".join(["'self'", *sorted({_hash(text) for text in inline.findall(page)})])
        for kind, inline in INLINE.items()
    }
    return (
        f"default-src 'none'; script-src {allowed['script']}; style-src {allowed['style']}; "
        "img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


class Manual:
    """ASGI application of the pages.

    Parameters
    ----------
    folder : Path
        Where they were made; looked at with each request, so they may come while it serves.
    as_page : callable
        The page in place of a problem, in these words, where a person asks; else the problem.
    """

    def __init__(self, folder: Path, as_page: Callable[[Request, Response, str], Response]) -> None:
        self._folder = folder
        self._as_page = as_page
        self._files = StaticFiles(directory=folder, html=True, check_dir=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; 404 where the pages were not made, or have no such page.

        To a person that is a page, to a program a problem.
        """
        if not (self._folder / "index.html").is_file():
            answer: Response = problem(scope, 404, MISSING)
            answer = self._as_page(Request(scope), answer, MISSING_TO_A_PERSON)
            await answer(scope, receive, send)
            return
        path = self._files.get_path(scope)
        answer = await self._files.get_response(path, scope)
        headers = {"Cache-Control": f"public, max-age={KEPT_S}"}
        page = getattr(answer, "path", None)
        if page is not None and Path(page).suffix == ".html":
            answer = _page(Path(page), dict(answer.headers), answer.status_code)
        answer.headers.update(headers)
        await answer(scope, receive, send)


def _page(path: Path, headers: dict[str, str], status: int) -> Response:
    text = path.read_text(encoding="utf-8")
    kept = {name: value for name, value in headers.items() if name in ("etag", "last-modified")}
    return HTMLResponse(
        text, status_code=status, headers={**kept, "Content-Security-Policy": policy_of(text)}
    )
