"""A browser's session: how it begins, what it is good for, how it ends."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api import sessions
from api.auth import issue_key
from api.service import Service
from api.sessions import COOKIE, IDLE_S, Sessions

READER = ("runs:read", "populations:read", "contracts:read")
SignIn = Callable[..., str]


def form_token(page: str) -> str:
    """What the forms of a page send along."""
    found = re.search(r'name="form_token" value="([^"]+)"', page)
    assert found is not None
    return found[1]


@pytest.fixture
def sign_in(anonymous: TestClient, service: Service) -> SignIn:
    """Signs the client in with a key of these scopes; gives the key's id."""

    def make(*scopes: str, owner: str = "reader") -> str:
        key_id, key = issue_key(
            service.store.keys, service.home, owner=owner, note="", scopes=scopes, days=1
        )
        answer = anonymous.post("/sign-in", data={"key": key}, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/runs")
        return key_id

    return make


def test_the_cookie_is_for_pages_of_this_site_alone(
    anonymous: TestClient, service: Service
) -> None:
    _, key = issue_key(service.store.keys, service.home, owner="a", note="", scopes=READER, days=1)
    plain = anonymous.post("/sign-in", data={"key": f" {key} "}, follow_redirects=False)
    parts = plain.headers["set-cookie"].lower()
    assert parts.startswith(f"{COOKIE}=")
    assert "httponly" in parts
    assert "samesite=strict" in parts
    assert "secure" not in parts
    assert key not in plain.headers["set-cookie"]
    anonymous.base_url = "https://testserver"
    tls = anonymous.post(
        "/sign-in",
        data={"key": key, "form_token": form_token(anonymous.get("/runs").text)},
        follow_redirects=False,
    )
    assert "secure" in tls.headers["set-cookie"].lower()


@pytest.mark.parametrize("key", ["", "wrong", "ihp_wrong"])
def test_a_wrong_key_signs_nobody_in(anonymous: TestClient, key: str) -> None:
    answer = anonymous.post("/sign-in", data={"key": key})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "no key in use" in answer.text
    assert f'value="{key}"' not in answer.text


def test_another_site_signs_nobody_in(anonymous: TestClient, service: Service) -> None:
    _, key = issue_key(service.store.keys, service.home, owner="a", note="", scopes=READER, days=1)
    answer = anonymous.post("/sign-in", data={"key": key}, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 400
    assert "set-cookie" not in answer.headers


def test_a_session_reads_and_writes_nothing_under_v1(
    anonymous: TestClient, sign_in: SignIn
) -> None:
    sign_in(*READER, "runs:write")
    assert anonymous.get("/v1/runs").status_code == 200
    assert anonymous.head("/v1/runs").status_code == 200
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert anonymous.request(method, "/v1/runs", json={}).status_code == 401, method


def test_signing_out_ends_the_session_for_every_holder_of_the_cookie(
    anonymous: TestClient, sign_in: SignIn
) -> None:
    sign_in(*READER)
    held = anonymous.cookies[COOKIE]
    page = anonymous.get("/runs")
    out = anonymous.post("/sign-out", data={"form_token": form_token(page.text)})
    assert out.url.path == "/sign-in"
    anonymous.cookies.set(COOKIE, held)
    assert anonymous.get("/v1/runs").status_code == 401
    assert anonymous.get("/runs", follow_redirects=False).headers["location"] == "/sign-in"


@pytest.mark.parametrize("said", [None, "", "guessed"])
def test_a_form_of_another_page_does_nothing(
    anonymous: TestClient, sign_in: SignIn, said: str | None
) -> None:
    sign_in(*READER)
    fields = {} if said is None else {"form_token": said}
    assert anonymous.post("/sign-out", data=fields).status_code == 403
    assert anonymous.get("/runs").status_code == 200


def test_a_session_ends_with_its_key(
    anonymous: TestClient, service: Service, sign_in: SignIn
) -> None:
    key_id = sign_in(*READER)
    assert anonymous.get("/runs").status_code == 200
    service.store.keys.revoke(key_id)
    assert anonymous.get("/v1/runs").status_code == 401


def test_a_session_is_over_after_a_quarter_of_an_hour_without_use() -> None:
    now_s = 0.0
    held = Sessions(lambda: now_s)
    token = held.begin("k")
    now_s = IDLE_S - 1
    assert held.find(token) is not None
    now_s += IDLE_S - 1
    assert held.find(token, in_use=False) is not None
    now_s += 2
    assert held.find(token) is None


def test_a_page_that_reloads_by_itself_keeps_nobody_signed_in(
    anonymous: TestClient, service: Service, sign_in: SignIn, monkeypatch: Any
) -> None:
    sign_in(*READER)
    now_s = 0.0
    monkeypatch.setattr(service.sessions, "_clock", lambda: now_s)
    assert anonymous.get("/runs").status_code == 200
    now_s = IDLE_S * 0.9
    assert anonymous.get("/runs?live=1").status_code == 200
    now_s = IDLE_S + 1
    gone = anonymous.get("/runs?live=1", follow_redirects=False)
    assert gone.headers["location"] == "/sign-in"


def test_sessions_are_bounded_in_number(monkeypatch: Any) -> None:
    monkeypatch.setattr(sessions, "MOST", 2)
    seconds = itertools.count()
    held = Sessions(lambda: next(seconds))
    tokens = [held.begin("k") for _ in range(3)]
    assert [held.find(token) is not None for token in tokens] == [False, True, True]


@pytest.mark.parametrize("cookie", ["x", "ihp_session=", 'ihp_session="', "ihp_session=\u00ff; a"])
def test_a_damaged_cookie_is_nobody(anonymous: TestClient, cookie: str) -> None:
    answer = anonymous.get("/v1/runs", headers={b"Cookie": cookie.encode("latin-1")})
    assert answer.status_code == 401
