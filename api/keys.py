"""API keys over HTTP: whoever administers makes them for others, sees them without their secret.

A key grants what its maker's scopes grant and no more, but that an administrator may hand out every
scope: `results:member` too, which the operator's key lacks, so that who reads members' rows does so
by a key of their own, made for a named owner and kept in the audit. Nobody revokes the operator's
key here: `ihp keys create --operator`, on the machine itself, replaces it.
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, StringConstraints, field_validator

from api.auth import SCOPES, Admin, KeyView, actor_of, issue_key
from api.bodies import Strict, StrictJsonRoute, example
from api.lists import PageDep
from api.problems import ConflictError, responses
from api.service import ServiceDep

MAX_DAYS: Final = 365
"""The longest that a key made over HTTP is good."""

Owner = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$",
                                         min_length=1, max_length=100)]  # fmt: skip
router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=StrictJsonRoute)


class KeyRequest(Strict):
    """A key to make: whose it is, what it may, how many days it is good, what it is for."""

    model_config = example(
        owner="actuary", scopes=["runs:read", "runs:write"], days=90, note="notebook"
    )

    owner: Owner
    scopes: Annotated[list[str], Field(min_length=1, max_length=len(SCOPES))]
    days: Annotated[int, Field(strict=True, ge=1, le=MAX_DAYS)] = 90
    note: Annotated[str, StringConstraints(max_length=200)] = ""

    @field_validator("scopes")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        unknown = sorted(set(value) - set(SCOPES))
        if unknown:
            raise ValueError(f"expected some of {', '.join(SCOPES)}")
        if len(set(value)) < len(value):
            raise ValueError("a scope stands there twice")
        return value


class NewKeyView(KeyView):
    """A key that was just made, with the key itself: it is shown this once."""

    key: str


class KeyPage(BaseModel):
    """Keys, newest first; `next_page_token` asks for the ones before."""

    keys: list[KeyView]
    next_page_token: str | None


@router.get("", operation_id="list_keys")
def listed(_principal: Admin, service: ServiceDep, page: PageDep) -> KeyPage:
    """Every key that was made, in use or not, with its last use to the minute."""
    held = service.store.keys.issued(limit=page.wanted, before=page.after)
    found, token = page.cut(held, lambda key: key.id)
    return KeyPage(keys=[KeyView.of(key) for key in found], next_page_token=token)


@router.post("", status_code=201, operation_id="make_key", responses=responses(413, 422))
def make(
    body: KeyRequest, request: Request, response: Response, _principal: Admin, service: ServiceDep
) -> NewKeyView:
    """Make a key for an owner. The key itself is in this answer and nowhere else."""
    key_id, key = issue_key(
        service.store.keys,
        service.home,
        owner=body.owner,
        note=body.note,
        scopes=[scope for scope in SCOPES if scope in body.scopes],
        days=body.days,
        by=actor_of(request.scope),
    )
    response.headers["Location"] = f"/v1/keys/{key_id}"
    held = service.store.keys.of_id(key_id)
    return NewKeyView(**vars(KeyView.of(held)), key=key)


@router.get("/{key_id}", operation_id="show_key", responses=responses(404))
def show(key_id: str, _principal: Admin, service: ServiceDep) -> KeyView:
    """One key, without its secret."""
    return KeyView.of(service.store.keys.of_id(key_id))


@router.delete(
    "/{key_id}", status_code=204, operation_id="revoke_key", responses=responses(404, 409)
)
def revoke(key_id: str, request: Request, _principal: Admin, service: ServiceDep) -> None:
    """Make a key useless from now on; a key that is useless already stays so."""
    if service.store.keys.of_id(key_id).operator:
        raise ConflictError(
            "this is the operator's key; `ihp keys create --operator` on the machine replaces it"
        )
    service.store.keys.revoke(key_id, by=actor_of(request.scope))
