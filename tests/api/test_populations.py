from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.service import Service

OUTSIDE = [
    "../outside",
    "a/../../outside",
    "..",
    "/etc",
    "a//b",
    "a/",
    "./a",
    "~root",
    "a\\..\\b",
    "a\x00b",
    "..%2foutside",
    "s3://bucket/x?endpoint_override=169.254.169.254",
    "file:///etc/passwd",
    "http://169.254.169.254/",
    "a\u2215b",
    "\uff0e\uff0e/outside",
    "",
    "x" * 501,
]


def test_a_stranger_is_refused(anonymous: TestClient) -> None:
    assert anonymous.post("/v1/populations", json={}).status_code == 401
    assert anonymous.get("/v1/populations").status_code == 401
    assert anonymous.get("/v1/populations/state").status_code == 401


def test_a_prepared_folder_is_registered_by_name(
    client: TestClient, service: Service, make_population: Callable[..., Path]
) -> None:
    make_population(service.home.populations / "2024" / "state")
    body = {"name": "mn-2024", "location": "default", "prefix": "2024/state"}
    response = client.post("/v1/populations", json=body)
    assert response.status_code == 201
    assert response.headers["location"] == "/v1/populations/mn-2024"
    view = response.json()
    assert (view["members"], view["member_months"], view["shards"]) == (100, 1200, 4)
    assert view["population_digest"] == "ab" * 32
    assert client.get("/v1/populations/mn-2024").json() == view
    assert client.get(f"/v1/populations/{view['id']}").json() == view
    assert client.get("/v1/populations").json()["populations"] == [view]
    again = client.post("/v1/populations", json=body)
    assert (again.status_code, again.json()) == (200, view)


def test_another_content_wants_another_name(
    client: TestClient, service: Service, population: str, make_population: Callable[..., Path]
) -> None:
    make_population(service.home.populations / "state", digest="cd" * 32)
    response = client.post("/v1/populations", json={"name": population, "prefix": "state"})
    assert response.status_code == 409
    assert response.json()["type"] == "urn:ihp:problem:name-taken"


def test_a_second_location_is_used_by_its_name(
    client: TestClient, service: Service, make_population: Callable[..., Path]
) -> None:
    archive = service.settings.roots["archive"]
    assert isinstance(archive, Path)
    make_population(archive / "old")
    body = {"name": "old", "location": "archive", "prefix": "old"}
    assert client.post("/v1/populations", json=body).status_code == 201
    body = {"name": "old", "location": "nowhere", "prefix": "old"}
    response = client.post("/v1/populations", json=body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/location"


@pytest.mark.parametrize("prefix", OUTSIDE)
def test_a_prefix_never_leaves_its_location(
    client: TestClient, service: Service, make_population: Callable[..., Path], prefix: str
) -> None:
    make_population(service.home.path / "outside")
    response = client.post("/v1/populations", json={"name": "x", "prefix": prefix})
    assert response.status_code == 422
    assert client.get("/v1/populations").json()["populations"] == []


def test_a_link_that_leads_out_is_refused(
    client: TestClient, service: Service, make_population: Callable[..., Path]
) -> None:
    outside = make_population(service.home.path / "outside")
    (service.home.populations / "link").symlink_to(outside)
    response = client.post("/v1/populations", json={"name": "x", "prefix": "link"})
    assert response.status_code == 422
    assert "leads out" in response.json()["detail"]


def test_a_folder_that_is_no_population_is_told_without_the_servers_paths(
    client: TestClient, service: Service
) -> None:
    (service.home.populations / "empty").mkdir()
    for prefix in ("empty", "absent"):
        response = client.post("/v1/populations", json={"name": "x", "prefix": prefix})
        assert response.status_code == 422
        assert f"default/{prefix}" in response.json()["detail"]
        assert str(service.home.path) not in response.text


def test_a_manifest_that_is_not_as_written_is_refused_and_stores_nothing(
    client: TestClient, service: Service, make_population: Callable[..., Path]
) -> None:
    """Whatever its types and bounds: nothing is kept before it can be shown."""
    folder = make_population(service.home.populations / "p")
    sound = json.loads((folder / "manifest.json").read_text())
    changes: list[tuple[str, Any]] = [
        ("members", "abc"), ("members", -5), ("members", 2**70), ("members", 1.5),
        ("members", True), ("n_shards", -1), ("n_shards", "8"), ("n_shards", 10**9),
        ("files", []), ("files", {"x": {}}), ("population_digest", "ab"), ("full_years", "2023"),
        ("last_paid_day", 2**40), ("ledger", [1]), ("inputs", None), ("member_months", None),
    ]  # fmt: skip
    for name, value in changes:
        (folder / "manifest.json").write_text(json.dumps({**sound, name: value}))
        response = client.post("/v1/populations", json={"name": "p", "prefix": "p"})
        assert response.status_code == 422, (name, value, response.text)
        assert name in response.json()["detail"], (name, value)
        assert str(service.home.path) not in response.text
    written = json.dumps(sound)
    for text in (
        "[" * 100_000,
        '{"a":' * 100_000,
        written.replace("1200", "NaN"),
        written[:-9],
        "9" * 5000,
    ):
        (folder / "manifest.json").write_text(text)
        response = client.post("/v1/populations", json={"name": "p", "prefix": "p"})
        assert response.status_code == 422, text[:20]
    assert client.get("/v1/populations").json()["populations"] == []


@pytest.mark.parametrize("name", ["/etc/hostname", "../../secret", "a/../../x", "", "a//b", "./a"])
def test_a_manifest_names_no_file_elsewhere(
    client: TestClient, service: Service, make_population: Callable[..., Path], name: str
) -> None:
    """Or its size and time would tell of any file of the machine."""
    folder = make_population(service.home.populations / "p")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = {name: {"sha256": "0" * 64, "bytes": 1, "mtime_ns": 1}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    response = client.post("/v1/populations", json={"name": "p", "prefix": "p"})
    assert response.status_code == 422
    assert "$.files" in response.json()["detail"]


def test_pipes_circles_and_links_that_lead_out_are_refused_at_once(
    client: TestClient, service: Service, make_population: Callable[..., Path]
) -> None:
    here = service.home.populations
    (here / "pipe").mkdir()
    os.mkfifo(here / "pipe" / "manifest.json")
    (here / "loop").symlink_to("loop")
    secret = service.home.path / "secret"
    linked = make_population(here / "linked")
    (linked / "manifest.json").unlink()
    (linked / "manifest.json").symlink_to(secret)
    outside = make_population(here / "outside")
    manifest = json.loads((outside / "manifest.json").read_text())
    manifest["files"] = {"x": {"sha256": "0" * 64, "bytes": 32, "mtime_ns": 1}}
    (outside / "manifest.json").write_text(json.dumps(manifest))
    (outside / "x").symlink_to(secret)
    piped = make_population(here / "piped")
    manifest["files"]["x"]["bytes"] = 0
    (piped / "manifest.json").write_text(json.dumps(manifest))
    os.mkfifo(piped / "x")
    for prefix in ("pipe", "loop", "loop/below", "linked", "outside", "piped"):
        response = client.post("/v1/populations", json={"name": "p", "prefix": prefix})
        assert response.status_code == 422, (prefix, response.text)
        assert response.json()["errors"][0]["pointer"] == "/prefix"


def test_a_population_of_few_people_is_not_counted_to_everybody(
    client: TestClient,
    service: Service,
    make_population: Callable[..., Path],
    key_with: Callable[..., dict[str, str]],
) -> None:
    folder = make_population(service.home.populations / "few")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"members": 7, "member_months": 84}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    view = client.post("/v1/populations", json={"name": "few", "prefix": "few"}).json()
    assert (view["members"], view["member_months"]) == (None, None)
    assert client.get("/v1/populations").json()["populations"] == [view]
    whole = client.get(
        "/v1/populations/few", headers=key_with("populations:read", "results:member")
    ).json()
    assert (whole["members"], whole["member_months"]) == (7, 84)


def test_a_folder_that_hangs_stops_nobody_else(
    client: TestClient,
    service: Service,
    make_population: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More requests for it than there are threads: each ends, and others are answered meanwhile."""
    make_population(service.home.populations / "slow")
    let_go = threading.Event()
    monkeypatch.setattr("api.populations.open_population", lambda _path: let_go.wait(120))
    monkeypatch.setattr("api.reading.READ_S", 0.5)
    body = {"name": "slow", "prefix": "slow"}
    with ThreadPoolExecutor(41) as many:
        waiting = [many.submit(client.post, "/v1/populations", json=body) for _ in range(41)]
        try:
            assert client.get("/v1/populations").status_code == 200
            answers = [one.result(timeout=60) for one in waiting]
        finally:
            let_go.set()
    assert {answer.status_code for answer in answers} == {503}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)


def test_a_row_that_an_earlier_version_kept_breaks_no_list(
    client: TestClient, service: Service, population: str
) -> None:
    with sqlite3.connect(service.home.path / "service.db") as connection:
        connection.execute("UPDATE populations SET members = 'abc', n_shards = -1")
    connection.close()
    (view,) = client.get("/v1/populations").json()["populations"]
    assert (view["name"], view["members"], view["shards"]) == (population, None, None)
    assert client.get(f"/v1/populations/{population}").json() == view


def test_a_population_is_forgotten_by_its_owner_or_an_administrator(
    client: TestClient,
    anonymous: TestClient,
    service: Service,
    population: str,
    key_with: Callable[..., dict[str, str]],
) -> None:
    here = f"/v1/populations/{population}"
    bob = key_with("populations:read", "populations:write", owner="bob")
    assert anonymous.delete(here).status_code == 401
    assert anonymous.delete(here, headers=bob).status_code == 403
    assert client.get(here).json()["owner"] == "operator"
    assert client.delete(here).status_code == 204
    assert client.get(here).status_code == client.delete(here).status_code == 404
    assert (service.home.populations / "state" / "manifest.json").is_file()
    body = {"name": population, "prefix": "state"}
    assert anonymous.post("/v1/populations", json=body, headers=bob).status_code == 201
    assert client.delete(here).status_code == 204  # the scope admin
    kept = [(e.owner, e.action, e.outcome) for e in service.store.audit.entries(limit=9)]
    assert ("bob", "request", "refused") in kept
    assert kept.count(("operator", "population_removed", "done")) == 2
