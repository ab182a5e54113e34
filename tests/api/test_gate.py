"""What holds for every path: keys first, problems for every error, nothing echoed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import cast

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from api.app import create_app
from api.service import Service
from cluster.queue import Queue
from cluster.runs import Run

UNKNOWN = [
    "/",
    "/v1",
    "/v1/nothing",
    "/docs",
    "/openapi.json",
    "/v1/runs/..%2f..%2flivez",
    "//livez",
    "/livez/",
]


BODIES = {
    "/v1/populations": {"name": "x", "prefix": "x"},
    "/v1/runs": {"population": "x", "contracts": ["x"]},
}


def endpoints(client: TestClient) -> Iterator[tuple[str, str]]:
    for path, methods in cast(FastAPI, client.app).openapi()["paths"].items():
        for method in methods:
            yield method.upper(), re.sub(r"{[^}]*}", "x", path)


def test_livez_needs_no_key(anonymous: TestClient) -> None:
    response = anonymous.get("/livez")
    assert (response.status_code, response.text) == (200, "ok")
    assert anonymous.post("/livez").status_code == 401


def test_every_endpoint_refuses_a_stranger(anonymous: TestClient) -> None:
    """The list comes from the API's own description, so a new endpoint is tested the day it is."""
    found = [(m, p) for m, p in endpoints(anonymous) if p != "/livez"]
    assert len(found) >= 14
    for method, path in found:
        response = anonymous.request(method, path, content=b"x" * 5000)
        assert response.status_code == 401, (method, path)
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", UNKNOWN)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_a_path_that_does_not_exist_does_not_say_so_to_a_stranger(
    anonymous: TestClient, method: str, path: str
) -> None:
    assert anonymous.request(method, path).status_code == 401


def test_a_key_shows_that_a_path_does_not_exist(client: TestClient) -> None:
    response = client.get("/v1/nothing")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert set(body) == {"type", "title", "status", "detail", "instance", "trace_id"}
    assert (body["status"], body["title"], body["instance"]) == (404, "Not Found", "/v1/nothing")
    assert body["trace_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", "Bearer ", "Bearer wrong", "Basic ihp_x", "ihp_x", "Bearer ihp_\u00ff"],
)
def test_a_wrong_key_is_refused(anonymous: TestClient, value: str) -> None:
    response = anonymous.get("/v1/runs", headers={b"Authorization": value.encode()})
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"


def test_an_expired_or_revoked_key_is_refused(
    anonymous: TestClient, service: Service, key_with: Callable[..., dict[str, str]]
) -> None:
    good = key_with("runs:read")
    assert anonymous.get("/v1/runs", headers=good).status_code == 200
    service.store.keys.revoke(service.store.keys.issued()[0].id)
    assert anonymous.get("/v1/runs", headers=good).status_code == 401
    assert anonymous.get("/v1/runs", headers=key_with("runs:read", days=0)).status_code == 401


def test_every_endpoint_wants_its_scope(
    anonymous: TestClient, key_with: Callable[..., dict[str, str]]
) -> None:
    """A key without scopes opens nothing; with `results:member` alone, nothing either."""
    for useless in (key_with(), key_with("results:member")):
        headers = {**useless, "Idempotency-Key": "k"}
        for method, path in endpoints(anonymous):
            if path != "/livez":
                response = anonymous.request(method, path, headers=headers, json=BODIES.get(path))
                assert response.status_code == 403, (method, path)


def test_the_database_holds_no_key_that_could_be_used(
    service: Service, key_with: Callable[..., dict[str, str]]
) -> None:
    key = key_with("runs:read")["Authorization"].removeprefix("Bearer ")
    assert re.fullmatch(r"ihp_[A-Za-z0-9_-]{43}", key)
    files = [path for path in service.home.path.iterdir() if path.is_file()]
    assert len(files) >= 2
    assert not any(key.encode() in path.read_bytes() for path in files)


def test_an_unknown_method_names_those_allowed(client: TestClient) -> None:
    response = client.delete("/v1/runs")
    assert response.status_code == 405
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["allow"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused(client: TestClient, chunked: bool) -> None:
    parts = [b"[" * 1000] * 3
    response = client.post(
        "/v1/runs",
        content=iter(parts) if chunked else b"".join(parts),
        headers={"Idempotency-Key": "k", "Content-Type": "application/json"},
    )
    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"


def test_a_defect_is_a_problem_without_its_message(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object, **_more: object) -> None:
        raise RuntimeError("member Q4711")

    monkeypatch.setattr(Queue, "runs", broken)
    with capture_logs() as logs:
        response = client.get("/v1/runs")
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert "Q4711" not in response.text
    assert "Q4711" not in str(logs)
    (defect,) = [entry for entry in logs if entry["event"] == "defect"]
    assert defect["error"] == "RuntimeError"
    assert defect["request_id"] == response.json()["trace_id"]


def test_a_database_that_is_away_is_told_as_such(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_args: object, **_more: object) -> None:
        raise OperationalError("SELECT secret", {}, RuntimeError("locked"))

    monkeypatch.setattr(Queue, "runs", away)
    response = client.get("/v1/runs")
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert int(response.headers["retry-after"]) > 0
    assert "SELECT" not in response.text


def test_a_log_line_holds_the_route_and_no_value(client: TestClient) -> None:
    with capture_logs() as logs:
        client.get("/v1/populations/secret-name?x=secret-query")
    (line,) = [entry for entry in logs if entry["event"] == "request"]
    assert (line["route"], line["status"]) == ("/v1/populations/{name}", 404)
    assert "secret" not in str(logs)


def test_the_description_names_every_operation_and_loads_nothing(client: TestClient) -> None:
    description = client.get("/v1/openapi.json").json()
    names = [op["operationId"] for path in description["paths"].values() for op in path.values()]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z_]+", name) for name in names)
    assert description["paths"]["/v1/runs"]["post"]["security"] == [{"HTTPBearer": []}]
    assert client.get("/docs").status_code == 404


def test_readiness_follows_the_dispatcher(
    service: Service, key_with: Callable[..., dict[str, str]]
) -> None:
    headers = key_with("runs:read")
    for alive, status in ((True, 200), (False, 503)):
        changed = Service(service.settings, service.store, lambda: alive, service.closing)  # noqa: B023
        with TestClient(create_app(changed), headers=headers) as client:
            response = client.get("/readyz")
            assert response.status_code == status
            assert response.json()["dispatcher"] is alive


def test_metrics_count_runs_by_state(client: TestClient, finished: Run) -> None:
    assert finished.state == "succeeded"
    lines = client.get("/metrics").text.splitlines()
    assert 'ihp_runs{state="succeeded"} 1.0' in lines
    assert 'ihp_runs{state="queued"} 0.0' in lines
    assert "ihp_dispatcher_alive 1.0" in lines
