"""Who is signed in with a browser: a cookie stands for a key for a while, and ends with it.

    sign in with a key -> a random token -> a key's id and when it was last used, in this process

A session ends when it is not used for `IDLE_S`, when its key does, or with the process. The token
is kept as its SHA-256 alone. What a page reloads by itself does not count as use.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Final

from api.auth import Principal
from cluster.keys import Keys

COOKIE: Final = "ihp_session"
IDLE_S: Final = 15 * 60.0
MOST: Final = 10_000
"""Sessions at once; one more ends the one that was not used for longest."""


@dataclass
class Session:
    """A key that somebody signed in with; `form_token` is what their forms must send along."""

    key_id: str
    form_token: str
    used_s: float


class Sessions:
    """Those who are signed in.

    Parameters
    ----------
    clock : callable
        Seconds from anywhere.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[bytes, Session] = {}
        self._lock = threading.Lock()

    def begin(self, key_id: str) -> str:
        """Sign in with a key that is good; returns the cookie's value."""
        token = secrets.token_urlsafe(32)
        session = Session(key_id, secrets.token_urlsafe(32), self._clock())
        with self._lock:
            self._forget_idle()
            while len(self._held) >= MOST:
                del self._held[min(self._held, key=lambda name: self._held[name].used_s)]
            self._held[_name(token)] = session
        return token

    def find(self, token: str, *, in_use: bool = True) -> Session | None:
        """The session of a cookie, if it is not over; `in_use` unless a page reloads by itself."""
        now_s = self._clock()
        with self._lock:
            session = self._held.get(_name(token))
            if session is None or now_s - session.used_s > IDLE_S:
                return None
            if in_use:
                session.used_s = now_s
            return session

    def end(self, token: str) -> None:
        """Sign out."""
        with self._lock:
            self._held.pop(_name(token), None)

    def _forget_idle(self) -> None:
        oldest_s = self._clock() - IDLE_S
        for name in [name for name, one in self._held.items() if one.used_s < oldest_s]:
            del self._held[name]


def cookie_of(headers: Mapping[str, str]) -> str | None:
    """The session's cookie among a request's headers."""
    try:
        held = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return None if held is None else held.value


def signed_in(
    sessions: Sessions, keys: Keys, token: str, *, in_use: bool
) -> tuple[Principal, Session] | None:
    """Whoever a cookie stands for, if the session is not over and its key is good."""
    session = sessions.find(token, in_use=in_use)
    key = None if session is None else keys.in_use(session.key_id)
    if session is None or key is None:
        sessions.end(token)
        return None
    return Principal(key.owner, key.id, frozenset(key.scopes)), session


def is_own(session: Session, said: str) -> bool:
    """Whether a form comes from a page of this session."""
    return hmac.compare_digest(session.form_token.encode(), said.encode())


def _name(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
