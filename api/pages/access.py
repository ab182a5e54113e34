"""Signing in with a key, signing out, and the way from the root."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from api.auth import AnyKey, principal_of
from api.pages.frame import FormDep, FromHere, PageRoute, page, see
from api.service import SIGN_IN, ServiceDep
from api.sessions import COOKIE, cookie_of
from ihp_compute.report import style

router = APIRouter(route_class=PageRoute, include_in_schema=False)
STYLE_S: Final = 3600
"""How long a browser may keep the style sheet."""


@router.get("/")
async def root(_principal: AnyKey) -> Response:
    """The runs."""
    return see("/runs")


@router.get("/static/report.css")
def styled() -> Response:
    """The report's style sheet, which the pages share."""
    return Response(style(), media_type="text/css", headers={"Cache-Control": f"max-age={STYLE_S}"})


@router.get(SIGN_IN)
async def form(request: Request) -> HTMLResponse:
    """The form that asks for a key."""
    return page(request, "sign_in.html", refused=False)


@router.post(SIGN_IN, dependencies=[FromHere])
def sign_in(request: Request, fields: FormDep, service: ServiceDep) -> Response:
    """Sign in with a key."""
    principal = principal_of(
        service.store.keys, service.home.secret(), f"Bearer {fields.get('key', '')}"
    )
    if principal is None:
        return page(request, "sign_in.html", status=401, refused=True)
    response = see("/runs")
    response.set_cookie(
        COOKIE,
        service.sessions.begin(principal.key_id),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/sign-out")
def sign_out(request: Request, _fields: FormDep, service: ServiceDep) -> Response:
    """End the session."""
    token = cookie_of(request.headers)
    if token is not None:
        service.sessions.end(token)
    response = see(SIGN_IN)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response
