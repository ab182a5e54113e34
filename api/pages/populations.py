"""Populations in a browser: which there are, what one holds, what was noticed of its input."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from typing import Any, Final

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import ValidationError

from api import populations, profiles
from api.auth import PopulationsReader, PopulationsWriter
from api.lists import PageDep
from api.pages.frame import FormDep, Live, PageRoute, page, see
from api.problems import BusyError, RequestError
from api.profiles import Claims, ProfileView
from api.reading import ReadsDep
from api.service import ServiceDep

router = APIRouter(prefix="/populations", route_class=PageRoute, include_in_schema=False)
PATIENCE_S: Final = 1.0
"""How long the page waits for a population to be counted; it is shown without, and reloads."""


@router.get("")
def listed(
    request: Request, principal: PopulationsReader, service: ServiceDep, part: PageDep
) -> HTMLResponse:
    """Registered populations, newest first, and a form for another."""
    found = populations.registered(principal, service, part)
    return page(
        request,
        "populations.html",
        populations=found.populations,
        next_page_token=found.next_page_token,
        locations=sorted(service.settings.roots),
    )


@router.post("")
async def register(
    request: Request,
    fields: FormDep,
    principal: PopulationsWriter,
    service: ServiceDep,
    reads: ReadsDep,
) -> Response:
    """Register a prepared population."""
    said = {name: fields[name] for name in ("name", "location", "prefix") if name in fields}
    try:
        body = populations.PopulationRequest.model_validate(said)
    except ValidationError as error:
        words = "; ".join(f"{one['loc'][0]}: {one['msg']}" for one in error.errors())
        raise RequestError(words) from error
    held = await populations.register(body, request, Response(), principal, service, reads)
    return see(f"/populations/{held.name}")


@router.get("/{name}")
async def show(
    name: str,
    request: Request,
    principal: PopulationsReader,
    service: ServiceDep,
    reads: ReadsDep,
    live: Live = False,  # noqa: ARG001 (read by the gate)
) -> HTMLResponse:
    """What a population holds, and what was noticed when it was prepared."""
    about = await to_thread.run_sync(populations.show, name, principal, service)
    profile: ProfileView | None = None
    with suppress(BusyError):  # it is counted all the same, and shown once it is
        profile = await profiles.profile_of(
            name, request, Response(), principal, service, limit_s=PATIENCE_S
        )
    quality = await profiles.show_quality(name, request, Response(), principal, service, reads)
    return page(
        request,
        "population.html",
        about=about,
        profile=profile,
        quality=quality,
        by_year=by_year(profile.claims) if profile else [],
        reload_to=None if profile else f"/populations/{name}?live=1",
    )


def by_year(rows: list[Claims]) -> list[dict[str, Any]]:
    """Lines and dollars of categories by year of service."""
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        held = sums[row.month.partition("-")[0], row.category]
        held[0] += row.lines
        held[1] += row.paid_cents
    return [
        {"year": year, "category": category, "lines": lines, "paid_cents": cents}
        for (year, category), (lines, cents) in sorted(sums.items())
    ]
