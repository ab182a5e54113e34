from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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
    assert client.get("/v1/populations").json() == [view]
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
    make_population(service.settings.locations["archive"] / "old")
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
    assert client.get("/v1/populations").json() == []


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
