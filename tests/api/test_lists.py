"""Lists come in parts, and only a token that a list gave leads on."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.service import Service

LISTS = ["/v1/runs", "/v1/sweeps", "/v1/populations", "/v1/contracts"]


@pytest.fixture
def populations(
    client: TestClient, service: Service, make_population: Callable[..., Path]
) -> list[str]:
    """Names of five populations, newest first."""
    names = [f"p{n}" for n in range(5)]
    for name in names:
        make_population(service.home.populations / name)
        assert client.post("/v1/populations", json={"name": name, "prefix": name}).is_success
    return names[::-1]


@pytest.mark.parametrize("limit", [1, 2, 5, 200])
def test_the_parts_are_the_whole(client: TestClient, populations: list[str], limit: int) -> None:
    found: list[str] = []
    params: dict[str, Any] = {"limit": limit}
    while True:
        page = client.get("/v1/populations", params=params).json()
        assert len(page["populations"]) <= limit
        found += [one["name"] for one in page["populations"]]
        if page["next_page_token"] is None:
            break
        params["page_token"] = page["next_page_token"]
    assert found == populations


def test_contracts_go_on_by_name(client: TestClient) -> None:
    whole = [one["name"] for one in client.get("/v1/contracts").json()["contracts"]]
    assert whole == sorted(whole)
    first = client.get("/v1/contracts", params={"limit": 2}).json()
    rest = client.get("/v1/contracts", params={"page_token": first["next_page_token"]}).json()
    assert [one["name"] for one in (*first["contracts"], *rest["contracts"])] == whole


@pytest.mark.usefixtures("populations")
def test_a_damaged_token_is_refused(client: TestClient) -> None:
    token = client.get("/v1/populations", params={"limit": 1}).json()["next_page_token"]
    forged = base64.urlsafe_b64encode(b"x" * 12 + b"p3").decode()
    short = base64.urlsafe_b64encode(b"x").decode()
    for wrong in ("zzz", "", "\0", "ü", token[:-1], token + "A", token[::-1], forged, short):
        refused = client.get("/v1/populations", params={"page_token": wrong})
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["pointer"] == "query:page_token"


def test_a_token_is_good_for_its_list_alone(
    client: TestClient, start: Callable[..., Any], populations: list[str]
) -> None:
    assert populations
    start("a"), start("b")
    params: dict[str, Any] = {"limit": 1, "state": "queued"}
    token = client.get("/v1/runs", params=params).json()["next_page_token"]
    assert client.get("/v1/runs", params={**params, "page_token": token}).status_code == 200
    for path, others in (("/v1/runs", {}), ("/v1/sweeps", params), ("/v1/populations", {})):
        assert client.get(path, params={**others, "page_token": token}).status_code == 422


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("limit", ["0", "201", "-1", "1.5", "", "x", "9" * 30])
def test_a_part_has_a_bound(client: TestClient, path: str, limit: str) -> None:
    refused = client.get(path, params={"limit": limit})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "query:limit"
