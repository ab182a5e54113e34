"""Who asks, and what they may: API keys and scopes.

A key is 256 random bits, shown once; the database keeps its HMAC-SHA256 under the home's secret. A
slow hash is for passwords, which can be guessed; these cannot. Every path but `/livez` wants a key,
and a path that does not exist does not say so to a stranger.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import Depends, Request
from pydantic import BaseModel

from api.bodies import moment
from cluster.home import Home
from cluster.keys import Key, Keys

PREFIX: Final = "ihp_"
SCOPES: Final = {
    "populations:read": "see registered populations",
    "populations:write": "register populations",
    "contracts:read": "see contract terms",
    "runs:read": "see runs and what everybody may see of their results",
    "runs:write": "start and cancel runs",
    "results:member": "read whole results, rows of few people and of members: restricted",
}
OPERATOR_SCOPES: Final = tuple(scope for scope in SCOPES if scope != "results:member")
"""Scopes of the key that `ihp serve` prints."""


class ForbiddenError(Exception):
    """The key is good, and does not allow this."""


@dataclass(frozen=True)
class Principal:
    """Whoever holds the key of a request."""

    owner: str
    key_id: str
    scopes: frozenset[str]


def issue_key(
    keys: Keys, home: Home, *, owner: str, note: str, scopes: Sequence[str], days: int
) -> tuple[str, str]:
    """Make a key; returns its id and the key itself, which is kept nowhere."""
    key = PREFIX + secrets.token_urlsafe(32)
    hashed = hash_key(home.secret(), key)
    return keys.add(hashed, owner=owner, note=note, scopes=scopes, days=days), key


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


def _allowed(scope: str) -> Callable[[Request], Principal]:
    def check(request: Request) -> Principal:
        principal: Principal = request.state.principal
        if scope not in principal.scopes:
            raise ForbiddenError(
                f"this key lacks the scope {scope}; `ihp keys create --scope {scope}` makes one "
                "that has it"
            )
        return principal

    return check


def may(scope: str) -> Any:
    """A dependency: the principal, if its key has the scope."""
    return Depends(_allowed(scope))


PopulationsReader = Annotated[Principal, may("populations:read")]
PopulationsWriter = Annotated[Principal, may("populations:write")]
ContractsReader = Annotated[Principal, may("contracts:read")]
RunsReader = Annotated[Principal, may("runs:read")]
RunsWriter = Annotated[Principal, may("runs:write")]


class KeyView(BaseModel):
    """An API key without the key."""

    id: str
    owner: str
    note: str
    scopes: list[str]
    state: str
    created_at: datetime
    expires_at: datetime

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
            }
        )
