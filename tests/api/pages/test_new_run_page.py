"""The form for a run: what it is made of, what it would take, and queued."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.service import Service

FIELDS = {"population": "real", "contracts": "mn-ihp-2.0-track-2", "replicates": "20", "seed": "3"}


@pytest.fixture
def real(client: TestClient, service: Service, small_population: Path) -> None:
    """The small state, registered."""
    shutil.copytree(small_population, service.home.populations / "real")
    answer = client.post("/v1/populations", json={"name": "real", "prefix": "real"})
    assert answer.status_code == 201


@pytest.mark.usefixtures("real")
def test_the_form_offers_what_the_service_has(client: TestClient) -> None:
    page = client.get("/runs/new?population=real").text
    assert "<option selected>real</option>" in page
    assert 'value="mn-ihp-2.0-track-2"' in page
    assert 'value="start"' not in page


@pytest.mark.usefixtures("real")
def test_what_it_would_take_is_said_before_it_is_queued(
    client: TestClient, service: Service
) -> None:
    said = client.post("/runs/new", data={**FIELDS, "do": "estimate"})
    assert said.status_code == 200
    assert "What it would take" in said.text
    assert "Draft terms" in said.text
    assert 'value="start"' in said.text
    assert not service.store.queue.runs("run", limit=1)


@pytest.mark.usefixtures("real")
def test_sending_the_form_twice_starts_one_run(client: TestClient, service: Service) -> None:
    sent = {**FIELDS, "do": "start", "once": "one"}
    first, second = (client.post("/runs/new", data=sent) for _ in range(2))
    assert first.url == second.url
    (run,) = service.store.queue.runs("run", limit=5)
    assert first.url.path == f"/runs/{run.id}"
    assert (run.request["seed"], run.request["replicates"]) == (3, 20)
    assert f'value="{run.request["asked"]["seed"]}"' in client.get(f"/runs/new?of={run.id}").text


@pytest.mark.usefixtures("real")
@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("replicates", "many", "valid integer"),
        ("seed", "-1", "valid integer"),
        ("population", "nowhere", "no population"),
        ("contracts", "", "contracts"),
        ("performance_year", "1999", "1999"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(
    client: TestClient, service: Service, field: str, value: str, words: str
) -> None:
    said = client.post("/runs/new", data={**FIELDS, field: value, "do": "start"})
    assert said.status_code == 422
    errors = re.search(r'role="alert".*?</div>', said.text, re.DOTALL)
    assert errors is not None
    assert words in errors[0]
    assert not service.store.queue.runs("run", limit=1)


def test_a_reader_gets_no_form(client: TestClient, key_with: Callable[..., Any]) -> None:
    assert client.get("/runs/new", headers=key_with("runs:read")).status_code == 403
    assert "New run" not in client.get("/runs", headers=key_with("runs:read")).text
