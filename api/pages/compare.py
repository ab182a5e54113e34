"""Two runs side by side: what was asked otherwise, and the dollars between them."""

from __future__ import annotations

from typing import Annotated, Final, TypeGuard

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import JsonValue

from api import compared
from api.auth import RunsReader
from api.compared import ChangeView
from api.pages.contracts import in_words
from api.pages.frame import PageRoute, page
from api.reading import ReadsDep
from api.service import ServiceDep
from cluster.runs import Run

router = APIRouter(prefix="/compare", route_class=PageRoute, include_in_schema=False)
NEWEST: Final = 100
HEAD: Final = 12
"""Digits by which a digest is told."""
RunId = Annotated[str, Query(max_length=36)]


@router.get("")
async def show(
    request: Request,
    principal: RunsReader,
    service: ServiceDep,
    reads: ReadsDep,
    a: RunId = "",
    b: RunId = "",
) -> HTMLResponse:
    """The choice of two runs that succeeded, and once two are chosen what differs."""
    queue = service.store.queue
    done = await to_thread.run_sync(lambda: queue.runs("run", limit=NEWEST, state="succeeded"))
    diff = await compared.diff(a, b, principal, service, reads) if a and b else None
    return page(
        request,
        "compare.html",
        runs=[(run.id, _name(run)) for run in done],
        a=a,
        b=b,
        diff=diff,
        told=told,
    )


def _name(run: Run) -> str:
    asked = run.request["asked"]
    years = asked["performance_year"] or "latest year"
    contracts = ", ".join(asked["contracts"][:2])
    return f"{asked['population']}, {years}, {contracts} (…{run.id[-6:]})"


def told(change: ChangeView) -> list[tuple[str, str, str]]:
    """A change line by line: name, first, second; of an entry with parts, each part that differs.

    >>> told(ChangeView(what="accept", a={"unpaid": "seen"}, b={}))
    [('accept, unpaid', 'seen', 'none')]
    >>> told(ChangeView(what="seed", a=1, b=2))
    [('seed', '1', '2')]
    """
    one, other = change.a, change.b
    if not (_parted(one) and _parted(other)):
        return [(change.what, said(one), said(other))]
    left, right = one or {}, other or {}
    return [
        (f"{change.what}, {part}", said(left.get(part)), said(right.get(part)))
        for part in {**left, **right}
        if left.get(part) != right.get(part)
    ]


def _parted(value: JsonValue) -> TypeGuard[dict[str, JsonValue] | None]:
    return value is None or (isinstance(value, dict) and "name" not in value)


def said(value: JsonValue) -> str:
    """One side of a change in words; what has a name by it and the head of its digest.

    >>> said([{"name": "ours", "sha256": "5825d69d6add146762baf03e1756d3a3048f9c3e299bb64ea799bf"}])
    'ours (5825d69d6add)'
    """
    if isinstance(value, dict) and "name" in value:
        digest = str(value.get("sha256") or value.get("digest") or "")[:HEAD]
        return f"{value['name']} ({digest})" if digest else str(value["name"])
    if isinstance(value, list):
        return ", ".join(said(one) for one in value) or "none"
    return in_words(value)
