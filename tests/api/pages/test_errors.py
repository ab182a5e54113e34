"""What goes wrong on a page is told in a page, in plain words, with the number of the request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import exc
from structlog.testing import capture_logs

from api.app import create_app
from api.service import Service
from cluster.keys import Keys
from cluster.queue import Queue

PERSON = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_given: object, **_named: object) -> None:
        raise error

    return fail


@pytest.fixture
def signed_in(service: Service, key_with: Callable[..., dict[str, str]]) -> TestClient:
    """A browser of somebody who signed in."""
    browser = TestClient(create_app(service), headers=PERSON)
    key = key_with("runs:read")["Authorization"].removeprefix("Bearer ")
    assert browser.post("/sign-in", data={"key": key}).url.path == "/runs"
    return browser


@pytest.mark.parametrize("path", ["/runs", "/runs?state=failed", "/sweeps/x", "/"])
def test_a_defect_is_a_page_without_its_message(
    signed_in: TestClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    for name in ("runs", "run"):
        monkeypatch.setattr(Queue, name, failing(RuntimeError("member Q4711")))
    with capture_logs() as logs:
        answer = signed_in.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (500, "text/html; charset=utf-8")
    assert "<h1>Something went wrong here</h1>" in answer.text
    assert answer.headers["x-request-id"] in answer.text
    assert "Q4711" not in answer.text + str(logs)
    (defect,) = [entry for entry in logs if entry["event"] == "defect"]
    assert defect["request_id"] == answer.headers["x-request-id"]
    policy = answer.headers["content-security-policy"]
    assert "style-src 'self'" in policy


def test_a_program_at_a_page_is_answered_as_anywhere(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Queue, "runs", failing(RuntimeError("x")))
    answer = client.get("/runs")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("of", ["in_use", "runs"])
def test_a_database_that_is_away_is_told_in_a_page(
    signed_in: TestClient, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    """Where the key of the session is looked up, and where the page is made."""
    away = failing(exc.OperationalError("SELECT secret", {}, RuntimeError("gone")))
    monkeypatch.setattr(Keys if of == "in_use" else Queue, of, away)
    answer = signed_in.get("/runs")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert "database" in answer.text
    assert "SELECT" not in answer.text
    assert answer.headers["x-request-id"] in answer.text


def test_a_value_that_the_database_cannot_hold_is_told_in_a_page(
    signed_in: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Queue, "run", failing(exc.DataError("x", {}, ValueError("Q4711"))))
    answer = signed_in.get("/runs/x")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "text/html; charset=utf-8")
    assert "Q4711" not in answer.text
