"""What the service says of itself and of who asks: its bounds, its versions, the key."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from fastapi import APIRouter
from pydantic import BaseModel

from api.auth import AnyKey
from api.bodies import StrictJsonRoute, moment
from api.lists import MAX_ITEMS
from api.service import MAX_HEADER_BYTES, MAX_TARGET_BYTES, ServiceDep
from ihp_compute import METHOD_VERSION, __version__

FIXED: Final[tuple[dict[str, Any], ...]] = (
    {"name": "max_list_items", "value": MAX_ITEMS, "meaning": "things in a part of a list"},
    {
        "name": "max_target_bytes",
        "value": MAX_TARGET_BYTES,
        "meaning": "bytes of a request's path with its query",
    },
    {"name": "max_header_bytes", "value": MAX_HEADER_BYTES, "meaning": "bytes of its headers"},
)
"""Bounds that no setting moves."""

router = APIRouter(prefix="/v1", tags=["service"], route_class=StrictJsonRoute)


class LimitView(BaseModel):
    """A bound: its value, in the unit that ends its name, and what it bounds.

    `variable` is the setting of the operator that moves it, if one does.
    """

    name: str
    value: float
    meaning: str
    variable: str | None


class LimitsView(BaseModel):
    """Every bound of the service."""

    limits: list[LimitView]


class VersionView(BaseModel):
    """What computes, and by which method: the same method version gives the same digests."""

    engine_version: str
    method_version: str


class MeView(BaseModel):
    """The key of the request, without the key."""

    key_id: str
    owner: str
    scopes: list[str]
    expires_at: datetime


@router.get("/limits", operation_id="show_limits")
async def limits(_principal: AnyKey, service: ServiceDep) -> LimitsView:
    """How large, how many, how long: what is refused, or waits, beyond a bound."""
    views = [
        LimitView(name=name, **limit._asdict()) for name, limit in service.settings.limits.items()
    ]
    views += [LimitView(**fixed, variable=None) for fixed in FIXED]
    return LimitsView(limits=views)


@router.get("/version", operation_id="show_version")
async def version(_principal: AnyKey) -> VersionView:
    """Which engine answers."""
    return VersionView(engine_version=__version__, method_version=METHOD_VERSION)


@router.get("/me", operation_id="show_me")
def me(principal: AnyKey, service: ServiceDep) -> MeView:
    """Whose key it is, what it may and until when."""
    return MeView(
        key_id=principal.key_id,
        owner=principal.owner,
        scopes=sorted(principal.scopes),
        expires_at=moment(service.store.keys.of_id(principal.key_id).expires_ms),
    )
