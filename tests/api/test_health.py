from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from api.app import create_app
from api.service import Service
from cluster.queue import Queue
from cluster.supervisor import Standing

KeyWith = Callable[..., dict[str, str]]


def test_a_probe_gets_one_word_and_a_key_the_parts(
    anonymous: TestClient, key_with: KeyWith
) -> None:
    for path in ("/livez", "/readyz", "/startupz"):
        answer = anonymous.get(path)
        assert (answer.status_code, answer.text) == (200, "ok")
        assert anonymous.head(path).status_code in (200, 405)
        assert anonymous.post(path).status_code == 401
    assert anonymous.get("/readyz", headers={"Authorization": "Bearer ihp_x"}).text == "ok"
    parts = anonymous.get("/readyz", headers=key_with("runs:read")).json()
    assert parts == {"database": True, "dispatcher": True, "threads": True}


def test_readiness_follows_the_dispatcher_and_the_start_is_once(
    service: Service, key_with: KeyWith
) -> None:
    standing: dict[str, Standing] = {"now": "is gone"}
    changed = replace(service, dispatcher=lambda: standing["now"])
    with TestClient(create_app(changed)) as client:
        answer = client.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "not ready: the dispatcher is gone")
        assert int(answer.headers["retry-after"]) > 0
        assert client.get("/startupz").status_code == 503
        standing["now"] = "works"
        assert client.get("/startupz").status_code == 200
        assert client.get("/readyz").status_code == 200
        standing["now"] = "hangs"
        answer = client.get("/readyz", headers=key_with("runs:read"))
        assert answer.status_code == 503
        assert answer.json() == {
            "database": True, "dispatcher": False, "threads": True,
            "reason": "not ready: the dispatcher hangs",
        }  # fmt: skip
        assert client.get("/startupz").status_code == 200


def test_a_service_that_stops_is_not_ready(service: Service) -> None:
    with TestClient(create_app(replace(service, closing=lambda: True))) as client:
        assert client.get("/readyz").status_code == 503


def test_a_database_that_is_away_or_hangs_is_told_in_time(
    anonymous: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_self: object) -> None:
        raise OperationalError("SELECT", {}, RuntimeError("gone"))

    monkeypatch.setattr(Queue, "states", away)
    assert anonymous.get("/readyz").status_code == 503
    back = threading.Event()
    monkeypatch.setattr(Queue, "states", lambda _self: back.wait(60))
    try:
        assert anonymous.get("/readyz").status_code == 503
        assert anonymous.get("/livez").status_code == 200
    finally:
        back.set()
