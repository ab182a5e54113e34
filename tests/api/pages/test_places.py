"""Contracts, populations and keys in a browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from api.pages.populations import by_year
from api.profiles import Claims
from api.service import Service
from ihp_compute.contracts import load, names


def test_every_contract_is_listed_and_shown_with_every_term(client: TestClient) -> None:
    listed = client.get("/contracts").text
    for name in names():
        assert f'href="/contracts/{name}"' in listed, name
    page = client.get("/contracts/mn-ihp-2.0-track-2").text
    for value in load("mn-ihp-2.0-track-2").at(None).terms():
        assert f"<code>{value.path}</code>" in page, value.path
    assert "Worked example" in page
    assert "DRAFT TERMS" in page


def test_every_shipped_contract_has_its_page(client: TestClient) -> None:
    for name in names():
        assert client.get(f"/contracts/{name}").status_code == 200, name


def test_a_contract_that_was_sent_shows_its_text(client: TestClient, service: Service) -> None:
    text = 'name = "own<b>"'
    (service.home.contracts / "own.toml").write_text(text)
    listed = client.get("/contracts")
    assert listed.status_code == 200
    assert "cannot be used" in listed.text
    assert "own<b>" not in listed.text
    assert client.get("/contracts/none-of-these").status_code == 404


def test_a_population_is_registered_and_shown(
    client: TestClient, service: Service, small_population: Path
) -> None:
    shutil.copytree(small_population, service.home.populations / "real")
    sent = {"name": "real", "location": "default", "prefix": "real"}
    page = client.post("/populations", data=sent)
    assert page.url.path == "/populations/real"
    assert "pooled with others" in page.text
    for anchor in ("quality", "ledger", "enrolment", "claims"):
        assert f'id="{anchor}"' in page.text
    assert 'href="/populations/real"' in client.get("/populations").text
    refused = client.post("/populations", data={**sent, "prefix": "../.."})
    assert refused.status_code == 422


def test_claims_are_added_up_by_year() -> None:
    rows = [
        Claims(month=month, category="inpatient", members=20, lines=2, paid_cents=30)
        for month in ("2023-12", "2024-01", "2024-02", "pooled")
    ]
    assert [(row["year"], row["lines"], row["paid_cents"]) for row in by_year(rows)] == [
        ("2023", 2, 30),
        ("2024", 4, 60),
        ("pooled", 2, 30),
    ]


def test_a_key_is_shown_once_and_revoked(client: TestClient, service: Service) -> None:
    made = client.post(
        "/keys", data={"owner": "ann", "days": "5", "scopes": ["runs:read", "contracts:read"]}
    )
    assert made.status_code == 200
    found = re.search(r"ihp_[\w-]{43}", made.text)
    assert found is not None
    bearer = {"Authorization": f"Bearer {found[0]}"}
    assert client.get("/runs", headers=bearer).status_code == 200
    listed = client.get("/keys").text
    assert found[0] not in listed
    held = next(key for key in service.store.keys.issued() if key.owner == "ann")
    assert held.scopes == ("contracts:read", "runs:read")
    assert client.post(f"/keys/{held.id}/revoke").url.path == "/keys"
    assert client.get("/v1/runs", headers=bearer).status_code == 401
    assert client.post("/keys", data={"owner": "ann", "days": "900"}).status_code == 422


def test_keys_are_for_administrators(client: TestClient, key_with: Callable[..., Any]) -> None:
    reader = key_with("runs:read")
    assert client.get("/keys", headers=reader).status_code == 403
    assert client.post("/keys", data={"owner": "x"}, headers=reader).status_code == 403
    assert 'href="/keys"' not in client.get("/runs", headers=reader).text
