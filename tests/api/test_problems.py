"""What the database says of itself and of values, told as problems."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import exc

from cluster.keys import Keys
from cluster.queue import Queue

AWAY = [
    exc.OperationalError("SELECT secret", {}, RuntimeError("gone")),
    exc.InterfaceError("SELECT secret", {}, RuntimeError("gone")),
    exc.TimeoutError("no connection is free"),
]


@pytest.mark.parametrize("error", AWAY)
@pytest.mark.parametrize(("of", "name"), [(Queue, "runs"), (Keys, "find")])
def test_a_database_that_is_away_is_no_defect(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, of: type, name: str, error: Exception
) -> None:
    """Nor is it where the key is looked up, before any endpoint."""
    monkeypatch.setattr(of, name, _raising(error))
    refused = client.get("/v1/runs")
    assert refused.status_code == 503
    assert refused.headers["content-type"] == "application/problem+json"
    assert int(refused.headers["retry-after"]) > 0
    assert "secret" not in refused.text


def test_a_value_that_the_database_cannot_hold_is_the_callers(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Queue, "runs", _raising(exc.DataError("x", {}, ValueError("Q4711"))))
    refused = client.get("/v1/runs")
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert "Q4711" not in refused.text


def test_a_pointer_leads_to_what_was_sent(client: TestClient) -> None:
    """Kinds that a value was tried as are no places of the body."""
    body = {"run": "x", "axes": {"settlement.gain.share": [0.5, None]}}
    refused = client.post("/v1/sweeps", json=body, headers={"Idempotency-Key": "k"})
    pointers = {error["pointer"] for error in refused.json()["errors"]}
    assert "/axes/settlement.gain.share/1" in pointers
    assert pointers <= {"/axes/settlement.gain.share/1", "/axes/settlement.gain.share"}


def _raising(error: Exception) -> Callable[..., None]:
    def away(*_args: object, **_more: object) -> None:
        raise error

    return away
