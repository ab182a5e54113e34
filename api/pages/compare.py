"""Two runs side by side: what was asked otherwise, and the dollars between them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from api import compared
from api.auth import RunsReader
from api.pages.frame import PageRoute, page
from api.reading import ReadsDep
from api.service import ServiceDep
from cluster.runs import Run

router = APIRouter(prefix="/compare", route_class=PageRoute, include_in_schema=False)
NEWEST: Final = 100
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
        said=said,
    )


def _name(run: Run) -> str:
    asked = run.request["asked"]
    years = asked["performance_year"] or "latest year"
    contracts = ", ".join(asked["contracts"][:2])
    return f"{asked['population']}, {years}, {contracts} (…{run.id[-6:]})"


def said(value: Any) -> str:
    """One side of a change as text.

    >>> said(None), said("2024"), said({"b": 1})
    ('none', '2024', '{"b": 1}')
    """
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
