"""What holds for every path: keys first, problems for every error, nothing echoed."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from api.app import create_app
from api.auth import SCOPES, issue_key
from api.description import needed_scope, operations
from api.service import Service
from cluster.keys import Keys
from cluster.queue import Queue
from cluster.runs import Run

WRITES = ("runs:write", "populations:write")
"""Scopes of things that have an owner."""
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


def endpoints(client: TestClient) -> Iterator[tuple[str, str]]:
    """Those that want a key, by the description."""
    for method, path, operation in operations(cast(FastAPI, client.app).openapi()):
        if operation.get("security"):
            yield method.upper(), re.sub(r"{[^}]*}", "x", path)


def test_livez_needs_no_key(anonymous: TestClient) -> None:
    response = anonymous.get("/livez")
    assert (response.status_code, response.text) == (200, "ok")
    assert anonymous.post("/livez").status_code == 401


def test_every_endpoint_refuses_a_stranger(anonymous: TestClient) -> None:
    """The list comes from the API's own description, so a new endpoint is tested the day it is."""
    found = [*endpoints(anonymous), ("GET", "/v1/openapi.json"), ("GET", "/v1/docs")]
    assert len(found) >= 20
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
    answer = anonymous.request(method, path, follow_redirects=False)
    if method == "GET" and not path.startswith("/v1"):  # a page, perhaps
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    else:
        assert answer.status_code == 401


def test_a_target_that_names_the_server_is_the_path_that_it_names(
    served: tuple[FastAPI, str], key_with: Callable[..., dict[str, str]]
) -> None:
    """The form of a request to a proxy (RFC 9112, 3.2.2): the same doors, the same answers."""
    _, url = served
    host = url.removeprefix("http://")
    address = host.partition(":")[0], int(host.partition(":")[2])
    key = key_with("runs:read")["Authorization"]
    asked = [
        (f"{url}/v1/runs", "", b"401"),
        (f"HTTP://{host}/v1/runs?limit=1", f"Authorization: {key}\r\n", b"200"),
        (f"{url}/livez", "", b"200"),
        (f"{url}/runs", "", b"303"),
        (f"{url}", "", b"303"),
        ("http:///v1/runs", "", b"303"),
    ]
    for target, more, status in asked:
        with socket.create_connection(address, timeout=60) as connection:
            head = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n"
            connection.sendall(head.encode())
            assert connection.recv(200).split(b" ")[1] == status, target


def test_what_pages_are_made_of_is_open_to_strangers(anonymous: TestClient) -> None:
    """Of what does not stand there that, and not who asks, is the answer."""
    assert anonymous.get("/sign-in").status_code == 200
    assert anonymous.get("/static/desk.css").status_code == 200
    for path in ("/static/page.css", "/docs/method.html"):
        assert anonymous.get(path).status_code == 404, path
        assert anonymous.post(path).status_code == 401, path


def test_documentation_that_is_not_made_says_how_to_make_it(
    service: Service, tmp_path: Path
) -> None:
    """To a person in a page, to a program in a problem, with HEAD as with GET."""
    settings = service.settings.model_copy(update={"docs": tmp_path / "none"})
    kinds = {"text/html,*/*;q=0.8": "text/html; charset=utf-8", "*/*": "application/problem+json"}
    with TestClient(create_app(replace(service, settings=settings))) as anyone:
        for accept, kind in kinds.items():
            for path in ("/docs/", "/docs/method.html"):
                found = anyone.get(path, headers={"Accept": accept})
                head = anyone.head(path, headers={"Accept": accept})
                assert (found.status_code, found.headers["content-type"]) == (404, kind)
                assert (head.status_code, head.headers["content-type"]) == (404, kind)
                assert "make docs" in found.text
                assert head.content == b""
        page = anyone.get("/docs/", headers={"Accept": "text/html"})
        assert "<h1>Nothing is here</h1>" in page.text
        assert "style-src 'self'" in page.headers["content-security-policy"]


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


def test_a_key_that_lacks_the_scope_of_an_endpoint_opens_nothing(
    anonymous: TestClient, key_with: Callable[..., dict[str, str]]
) -> None:
    """Which scope that is, the description says; every other scope together is not enough."""
    wanting = {scope: key_with(*(set(SCOPES) - {scope})) for scope in SCOPES}
    none = key_with()
    document = cast(FastAPI, anonymous.app).openapi()
    for method, path, operation in operations(document):
        scope = needed_scope(operation)
        if scope is None:
            continue
        here = re.sub(r"{[^}]*}", "x", path)
        for key in (wanting[scope], none):
            headers = {**key, "Idempotency-Key": "k"}
            response = anonymous.request(method.upper(), here, headers=headers)
            assert response.status_code == 403, (method, path)
            assert scope in response.json()["detail"]


def test_the_scope_of_an_endpoint_is_enough_to_be_heard(
    anonymous: TestClient, key_with: Callable[..., dict[str, str]]
) -> None:
    """Nothing is there or fits yet: it says so, and does not refuse the key."""
    keys = {scope: key_with(scope) for scope in SCOPES}
    for method, path, operation in operations(cast(FastAPI, anonymous.app).openapi()):
        if (scope := needed_scope(operation)) is not None:
            here = re.sub(r"{[^}]*}", "x", path)
            headers = {**keys[scope], "Idempotency-Key": "k"}
            response = anonymous.request(method.upper(), here, headers=headers)
            assert response.status_code in (200, 404, 422), (method, path)


def test_what_is_anothers_is_changed_by_its_owner_or_an_administrator(
    anonymous: TestClient,
    key_with: Callable[..., dict[str, str]],
    population: str,
    start: Callable[..., Any],
    service: Service,
) -> None:
    """Each endpoint that writes to a thing that is there, by the description, refuses others."""
    run_id = start().json()["id"]
    held = service.store.queue.run(run_id)
    sweep, _ = service.store.queue.submit(
        "sweep",
        {"asked": {"run": run_id, "axes": {}}, "run_dir": "x", "scenarios": 1, "rows": 1},
        owner=held.owner,
        idempotency_key="s",
        payload_sha256="x",
    )
    there = {"run_id": run_id, "sweep_id": sweep.id, "name": population}
    foreign = key_with(*(set(SCOPES) - {"admin"}), owner="somebody else")
    seen = set()
    for method, path, operation in operations(cast(FastAPI, anonymous.app).openapi()):
        if method == "get" or "{" not in path or needed_scope(operation) not in WRITES:
            continue
        here = re.sub(r"{([^}]*)}", lambda found: there[found[1]], path)
        response = anonymous.request(method.upper(), here, headers=foreign)
        assert response.status_code == 403, (method, path)
        assert "owner" in response.json()["detail"]
        seen.add(operation["operationId"])
    assert {"cancel_run", "cancel_sweep", "retry_run"} <= seen
    assert service.store.queue.run(run_id).state == "queued"
    assert service.store.queue.run(sweep.id).state == "queued"


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
    assert response.headers["allow"] == "GET, HEAD, POST, OPTIONS"


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


def test_a_log_line_holds_who_asked_and_the_route_and_no_value(
    client: TestClient, service: Service
) -> None:
    with capture_logs() as logs:
        client.get("/v1/populations/secret-name")
    (line,) = [entry for entry in logs if entry["event"] == "request"]
    assert (line["route"], line["status"]) == ("/v1/populations/{name}", 404)
    assert "secret" not in str(logs)
    (view,) = service.store.keys.issued()
    assert (line["key_id"], line["owner"]) == (view.id, "operator")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /v1/runs HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", 400),
        (b"PRI * HTTP/2.0", 505),
        (b"GET /v1/runs HTTP/3.7", 505),
        (b"GET /" + b"a" * 33_000 + b" HTTP/1.1", 414),
        (b"GET /v1/runs?owner=" + b"a" * 33_000 + b" HTTP/1.1", 414),
        (b"GET /livez HTTP/1.1\r\nX-A: " + b"a" * 40_000, 431),
    ],
)
def test_a_head_that_is_too_large_or_ambiguous_ends_the_connection(
    served: tuple[Any, str], head: bytes, status: int
) -> None:
    """What stands behind it is no request."""
    host, _, port = served[1].removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        behind = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
        connection.sendall(head + b"\r\nHost: x\r\n\r\n0\r\n\r\n" + behind)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65_536):
                answer += part
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"application/problem+json" in answer
    assert len(answer) < 4000


def test_who_leaves_in_the_middle_of_a_body_is_no_defect(
    served: tuple[Any, str], key_with: Callable[..., dict[str, str]]
) -> None:
    host, _, port = served[1].removeprefix("http://").partition(":")
    key = key_with("runs:write")["Authorization"]
    head = f"POST /v1/runs HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\nContent-Length: 9\r\n"
    with capture_logs() as logs:
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(f"{head}Content-Type: application/json\r\n\r\n{{".encode())
            time.sleep(0.2)
        deadline = time.monotonic() + 60
        while not logs:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert [entry["event"] for entry in logs] == ["request"]


def test_a_method_that_nobody_knows_is_not_logged(client: TestClient) -> None:
    with capture_logs() as logs:
        for method in ("Q4711" * 1000, "DELETE"):
            assert client.request(method, "/v1/runs").status_code == 405
    assert "Q4711" not in str(logs)
    assert [entry["method"] for entry in logs if entry["event"] == "request"] == [None, "DELETE"]


def test_a_text_in_the_place_of_a_run_is_not_logged(client: TestClient, finished: Run) -> None:
    with capture_logs() as logs:
        client.get(f"/v1/runs/{finished.id}")
        client.get("/v1/runs/Q4711")
    lines = [entry for entry in logs if entry["event"] == "request"]
    assert [line["run_id"] for line in lines] == [finished.id, None]


def test_a_key_that_cannot_be_looked_up_is_told_as_such(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_args: object, **_more: object) -> None:
        raise OperationalError("SELECT secret", {}, RuntimeError("locked"))

    monkeypatch.setattr(Keys, "find", away)
    response = client.get("/v1/runs")
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert int(response.headers["retry-after"]) > 0
    assert client.get("/livez").status_code == 200


def test_requests_that_hang_keep_nobody_out(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every thread that requests share hangs, as in a folder that does not answer."""
    back = threading.Event()
    monkeypatch.setattr(Queue, "runs", lambda *_args, **_more: back.wait(120) and [])
    with ThreadPoolExecutor(45) as readers:
        hanging = [readers.submit(client.get, "/v1/runs") for _ in range(41)]
        try:
            deadline = time.monotonic() + 60
            while client.get("/readyz").json().get("threads"):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            wrong = client.get("/v1/runs", headers={"Authorization": "Bearer ihp_x"})
            assert wrong.status_code == 401
            assert client.get("/v1/nothing").status_code == 404
            assert client.get("/readyz").status_code == 503
        finally:
            back.set()
        assert {done.result().status_code for done in hanging} == {200}


def test_a_body_that_does_not_end_is_a_problem(service: Service) -> None:
    """As the server hands it over: a part, and nothing more."""
    changed = replace(service, settings=service.settings.model_copy(update={"body_s": 0.1}))
    _, key = issue_key(
        service.store.keys, service.home, owner="ana", note="", scopes=["runs:write"], days=1
    )
    sent: list[Any] = []

    async def ask() -> None:
        parts = iter([{"type": "http.request", "body": b"{", "more_body": True}])

        async def receive() -> Any:
            part = next(parts, None)
            if part is None:
                await asyncio.sleep(60)
            return part

        async def send(message: Any) -> None:
            sent.append(message)

        headers = {
            "authorization": f"Bearer {key}",
            "idempotency-key": "k",
            "content-type": "application/json",
        }
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "scheme": "https",
            "path": "/v1/runs",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        await create_app(changed)(scope, receive, send)

    asyncio.run(ask())
    assert sent[0]["status"] == 408
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    assert found["content-type"] == "application/problem+json"
    assert found["connection"] == "close"
    assert found["strict-transport-security"]


def test_the_description_names_every_operation_and_loads_nothing(client: TestClient) -> None:
    description = client.get("/v1/openapi.json").json()
    names = [op["operationId"] for path in description["paths"].values() for op in path.values()]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z_]+", name) for name in names)
    assert description["paths"]["/v1/runs"]["post"]["security"] == [{"HTTPBearer": ["runs:write"]}]
    assert (
        "swagger" not in client.get("/docs/").text.casefold()
    )  # the framework's own page, which loads from elsewhere


def test_a_refusal_is_kept_with_who_was_refused_what(
    anonymous: TestClient, service: Service, key_with: Callable[..., dict[str, str]]
) -> None:
    headers = key_with("runs:read", owner="bob")
    refused = anonymous.post("/v1/runs/run-1/cancel", headers=headers)
    assert refused.status_code == 403
    entry = service.store.audit.entries(limit=1)[0]
    assert (entry.owner, entry.action, entry.outcome) == ("bob", "request", "refused")
    assert (entry.route, entry.run_id) == ("POST /v1/runs/{run_id}/cancel", "run-1")
    assert entry.request_id == refused.headers["X-Request-ID"]
    (key,) = service.store.keys.issued()
    assert entry.key_id == key.id
