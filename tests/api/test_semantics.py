"""HEAD, OPTIONS, Allow and 304, whatever the path is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.service import Service
from cluster.runs import Run

READ = ["/v1/runs", "/v1/contracts", "/v1/contracts/mn-ihp-2.0-track-2", "/v1/openapi.json"]


@pytest.mark.parametrize("path", [*READ, "/livez", "/v1/runs/x", "/v1/nothing"])
def test_head_is_get_without_its_body(client: TestClient, path: str) -> None:
    got, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    changing = {"x-request-id", "transfer-encoding"}
    assert {k: v for k, v in head.headers.items() if k not in changing} == {
        k: v for k, v in got.headers.items() if k not in changing
    }


def test_head_makes_no_rows(client: TestClient, finished: Run, monkeypatch: Any) -> None:
    """The headers of a table come without its being read."""
    monkeypatch.setattr("api.results.sees_all", lambda _principal: True)
    path = f"/v1/runs/{finished.id}/results/settlement"
    head = client.head(path, headers={"Accept": "text/csv"})
    assert head.status_code == 200
    assert head.headers["content-type"].startswith("text/csv")
    assert head.headers["etag"]


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/v1/runs", "GET, HEAD, POST, OPTIONS"),
        ("/v1/runs/x", "GET, HEAD, OPTIONS"),
        ("/v1/runs/x/cancel", "POST, OPTIONS"),
        ("/livez", "GET, HEAD, OPTIONS"),
        ("/v1/contracts/validate", "POST, OPTIONS"),
        ("/v1/contracts/other", "GET, HEAD, OPTIONS"),
    ],
)
def test_every_method_of_a_path_is_named(client: TestClient, path: str, allow: str) -> None:
    options = client.options(path)
    assert (options.status_code, options.headers["allow"], options.content) == (204, allow, b"")
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - set(allow.split(", ")):
        refused = client.request(method, path)
        assert (refused.status_code, refused.headers["allow"]) == (405, allow)
        assert refused.headers["content-type"] == "application/problem+json"
    assert client.options("/v1/nothing").status_code == 404


@pytest.mark.parametrize("path", READ)
def test_what_has_not_changed_is_not_sent_again(client: TestClient, path: str) -> None:
    first = client.get(path)
    tag = first.headers["etag"]
    assert first.headers["vary"] == "Authorization"
    for known in (tag, f'"other", W/{tag}', "*"):
        again = client.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
        assert "content-length" not in again.headers
    assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_run_that_has_moved_is_sent_anew(
    client: TestClient, service: Service, start: Callable[..., Any]
) -> None:
    here = start().headers["location"]
    tag = client.get(here).headers["etag"]
    assert client.get(here, headers={"If-None-Match": tag}).status_code == 304
    service.store.leases.take("d1", lease_ms=60_000)
    moved = client.get(here, headers={"If-None-Match": tag})
    assert (moved.status_code, moved.json()["state"]) == (200, "validating")


def test_an_error_bears_no_tag(client: TestClient) -> None:
    refused = client.get("/v1/runs/x", headers={"If-None-Match": "*"})
    assert refused.status_code == 404
    assert "etag" not in refused.headers


def test_a_path_with_a_slash_too_many_is_another(client: TestClient) -> None:
    """Nobody is sent to the host that the caller named."""
    refused = client.get("/v1/runs/", headers={"Host": "elsewhere"}, follow_redirects=False)
    assert refused.status_code == 404
    assert "location" not in refused.headers
