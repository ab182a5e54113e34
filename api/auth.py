"""Who asks, and what they may: API keys and scopes.

A key is 256 random bits, shown once; the database keeps its HMAC-SHA256 under the home's secret. A
slow hash is for passwords, which can be guessed; these cannot. A home has one operator's key, with
every scope but that of members. Which paths want a key is decided by `service.Gate`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import Request, Security
from fastapi.security import HTTPBearer, SecurityScopes
from pydantic import BaseModel

from api.bodies import moment
from cluster.audit import COMMAND_LINE, Actor
from cluster.home import Home
from cluster.keys import Key, Keys

PREFIX: Final = "ihp_"
SCOPES: Final = {
    "populations:read": "see registered populations",
    "populations:write": "register populations",
    "contracts:read": "see contract terms",
    "contracts:write": "keep contracts of one's own, version by version",
    "runs:read": "see runs and what everybody may see of their results",
    "runs:write": "start and cancel runs",
    "runs:certify": "accept a run that waits for a review, and certify what somebody else ran",
    "results:member": "read whole results, rows of few people and of members: restricted",
    "audit:read": "see who did what",
    "admin": "make and revoke keys, and act on what belongs to others",
}
OPERATOR_SCOPES: Final = tuple(scope for scope in SCOPES if scope != "results:member")
"""Scopes of the operator's key, which the first `ihp serve` on a home prints."""


ADMIN_SCOPE: Final = "admin"
"""What lets a key act on what belongs to others."""
OPERATOR: Final = "operator"
OPERATOR_NOTE: Final = "the operator's key"


class ForbiddenError(Exception):
    """The key is good, and does not allow this."""


@dataclass(frozen=True)
class Principal:
    """Whoever holds the key of a request."""

    owner: str
    key_id: str
    scopes: frozenset[str]


def issue_key(
    keys: Keys,
    home: Home,
    *,
    owner: str,
    note: str,
    scopes: Sequence[str],
    days: int,
    operator: bool = False,
    by: Actor = COMMAND_LINE,
) -> tuple[str, str]:
    """Make a key; returns its id and the key itself, which is kept nowhere."""
    key = PREFIX + secrets.token_urlsafe(32)
    hashed = hash_key(home.secret(), key)
    key_id = keys.add(
        hashed, owner=owner, note=note, scopes=scopes, days=days, operator=operator, by=by
    )
    return key_id, key


def issue_operator_key(keys: Keys, home: Home, *, days: int) -> tuple[str, str]:
    """Make the one key of a home's operator; the earlier one is good no more."""
    return issue_key(
        keys,
        home,
        owner=OPERATOR,
        note=OPERATOR_NOTE,
        scopes=OPERATOR_SCOPES,
        days=days,
        operator=True,
    )


def hash_key(secret: bytes, key: str) -> str:
    """What the database holds of a key: HMAC-SHA256 in hexadecimal."""
    return hmac.new(secret, key.encode(), hashlib.sha256).hexdigest()


def principal_of(keys: Keys, secret: bytes, authorization: str | None) -> Principal | None:
    """Whoever an Authorization header stands for; None if it is missing or its key is not good."""
    scheme, _, key = (authorization or "").partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        return None
    found = keys.find(hash_key(secret, key))
    if found is None:
        return None
    return Principal(found.owner, found.id, frozenset(found.scopes))


async def _allowed(
    request: Request,
    needed: SecurityScopes,
    _key: Annotated[Any, Security(HTTPBearer(auto_error=False, description="API key"))],
) -> Principal:
    """The principal that the gate found, if its key has every scope needed."""
    principal: Principal = request.state.principal
    for scope in needed.scopes:
        if scope not in principal.scopes:
            raise ForbiddenError(
                f"this key lacks the scope {scope}; `ihp keys create --scope {scope}` makes one "
                "that has it"
            )
    return principal


def may(*scopes: str) -> Any:
    """A dependency: the principal, if its key has the scopes, which the description then names."""
    return Security(_allowed, scopes=scopes)


AnyKey = Annotated[Principal, may()]
PopulationsReader = Annotated[Principal, may("populations:read")]
PopulationsWriter = Annotated[Principal, may("populations:write")]
ContractsReader = Annotated[Principal, may("contracts:read")]
ContractsWriter = Annotated[Principal, may("contracts:write")]
RunsReader = Annotated[Principal, may("runs:read")]
RunsWriter = Annotated[Principal, may("runs:write")]
RunsCertifier = Annotated[Principal, may("runs:certify")]
AuditReader = Annotated[Principal, may("audit:read")]
Admin = Annotated[Principal, may("admin")]


def actor_of(scope: Mapping[str, Any]) -> Actor:
    """Whoever sends the request of an ASGI scope, for a row of the audit."""
    principal: Principal = scope["state"]["principal"]
    return Actor(
        owner=principal.owner,
        key_id=principal.key_id,
        route=f"{scope['method']} {getattr(scope.get('route'), 'path', '')}",
        request_id=scope["state"]["request_id"],
    )


class KeyView(BaseModel):
    """An API key without the key."""

    id: str
    owner: str
    note: str
    scopes: list[str]
    state: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    operator: bool

    @classmethod
    def of(cls, key: Key) -> KeyView:
        """The view of a stored row."""
        expires_at = moment(key.expires_ms)
        state = "revoked" if key.revoked_ms is not None else "in use"
        if state == "in use" and expires_at < datetime.now(UTC):
            state = "expired"
        return cls(
            **{
                **vars(key),
                "scopes": list(key.scopes),
                "state": state,
                "created_at": moment(key.created_ms),
                "expires_at": expires_at,
                "last_used_at": None if key.last_used_ms is None else moment(key.last_used_ms),
            }
        )
