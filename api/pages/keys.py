"""Keys in a browser: who holds one, make one for somebody, revoke one."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import ValidationError

from api import keys
from api.auth import SCOPES, Admin
from api.lists import PageDep
from api.pages.frame import FormDep, PageRoute, page, see
from api.problems import RequestError
from api.service import ServiceDep

router = APIRouter(prefix="/keys", route_class=PageRoute, include_in_schema=False)


@router.get("")
def listed(request: Request, principal: Admin, service: ServiceDep, part: PageDep) -> HTMLResponse:
    """Every key that was made, without its secret."""
    found = keys.listed(principal, service, part)
    return page(
        request,
        "keys.html",
        keys=found.keys,
        next_page_token=found.next_page_token,
        all_scopes=SCOPES,
        max_days=keys.MAX_DAYS,
    )


@router.post("")
def make(request: Request, fields: FormDep, principal: Admin, service: ServiceDep) -> HTMLResponse:
    """Make a key, and show it this once."""
    said = {name: fields[name] for name in ("owner", "note") if name in fields}
    try:
        body = keys.KeyRequest.model_validate(
            {**said, "scopes": fields.all("scopes"), "days": fields.number("days")}
        )
    except ValidationError as error:
        words = "; ".join(f"{one['loc'][0]}: {one['msg']}" for one in error.errors())
        raise RequestError(words) from error
    made = keys.make(body, request, Response(), principal, service)
    return page(request, "new_key.html", made=made)


@router.post("/{key_id}/revoke")
def revoke(
    key_id: str, request: Request, _fields: FormDep, principal: Admin, service: ServiceDep
) -> Response:
    """Make a key useless."""
    keys.revoke(key_id, request, principal, service)
    return see("/keys")
