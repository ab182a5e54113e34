"""A part of a list: so many after a place that only this service can name.

    ?limit=&page_token= -> is the token ours, for this list? -> the part -> the next token

A token is the key of the last thing shown under a seal: HMAC-SHA256 of the list's path and filters
and of that key, by the secret of the home. A damaged one is refused, not read as the beginning.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import dropwhile
from typing import Annotated, Final, TypeVar

from fastapi import Depends, Query, Request
from fastapi.exceptions import RequestValidationError

from api.service import ServiceDep
from cluster.home import Home

MAX_ITEMS: Final = 200
SEAL_BYTES: Final = 12

Item = TypeVar("Item")


@dataclass(frozen=True)
class Page:
    """What part of a list is asked for: at most `limit`, after the one whose key is `after`."""

    limit: int
    after: str | None
    of: bytes
    secret: bytes

    @property
    def wanted(self) -> int:
        """How many to look for: one more than is shown tells whether there are others."""
        return self.limit + 1

    def cut(
        self, found: Sequence[Item], key: Callable[[Item], str]
    ) -> tuple[list[Item], str | None]:
        """What is shown of those found after `after`, and the token for the others."""
        shown = list(found[: self.limit])
        more = len(found) > self.limit
        return shown, self._token(key(shown[-1])) if more else None

    def take(
        self, items: Iterable[Item], key: Callable[[Item], str]
    ) -> tuple[list[Item], str | None]:
        """The same of a whole list that stands by rising keys."""
        after = self.after
        rest = items if after is None else dropwhile(lambda item: key(item) <= after, items)
        return self.cut(list(rest), key)

    def _token(self, key: str) -> str:
        return base64.urlsafe_b64encode(_seal(self.secret, self.of, key) + key.encode()).decode()


def _seal(secret: bytes, of: bytes, key: str) -> bytes:
    return hmac.digest(secret, b"page\0" + of + b"\0" + key.encode(), hashlib.sha256)[:SEAL_BYTES]


def page_of(request: Request, limit: int, page_token: str | None, secret: bytes) -> Page:
    """The part of a list that a request asks for.

    Parameters
    ----------
    request : Request
        Its path and its other parameters say of which list.
    limit : int
    page_token : str or None
    secret : bytes
        The home's.

    Raises
    ------
    RequestValidationError
        If the token is not one that this list gave.
    """
    filters = sorted(
        (name, value)
        for name, value in request.query_params.multi_items()
        if name not in ("limit", "page_token")
    )
    of = repr((request.scope["path"], filters)).encode()
    after = None
    if page_token is not None:
        try:
            held = base64.b64decode(page_token, altchars=b"-_", validate=True)
            after = held[SEAL_BYTES:].decode()
        except (binascii.Error, ValueError):
            raise _damaged() from None
        sealed = hmac.compare_digest(held[:SEAL_BYTES], _seal(secret, of, after))
        if not sealed or base64.urlsafe_b64encode(held).decode() != page_token:
            raise _damaged()
    return Page(limit, after, of, secret)


def _damaged() -> RequestValidationError:
    words = "no next_page_token of this list with these filters; send it as it was, or begin anew"
    return RequestValidationError(
        [{"type": "page_token", "loc": ("query", "page_token"), "msg": words, "input": None}]
    )


async def _page(
    request: Request,
    service: ServiceDep,
    limit: Annotated[int, Query(ge=1, le=MAX_ITEMS, description="At most so many.")] = 50,
    page_token: Annotated[
        str | None,
        Query(max_length=1000, description="`next_page_token` of the part before."),
    ] = None,
) -> Page:
    return page_of(request, limit, page_token, _secret(service.home))


@lru_cache(maxsize=8)
def _secret(home: Home) -> bytes:
    return home.secret()


PageDep = Annotated[Page, Depends(_page)]
"""The part of a list that is asked for, as an endpoint takes it."""
