"""The service on PostgreSQL: values it cannot hold, its server stopped and started, whose it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.settings import Settings
from cluster.home import Home
from cluster.store import Store
from tests.postgresql import Server

pytestmark = pytest.mark.service


@pytest.fixture
def settings(settings: Settings, postgresql: Server) -> Settings:
    return settings.model_copy(update={"database_url": postgresql.database()})


NUL = [
    "/v1/populations/%00",
    "/v1/runs/%00",
    "/v1/runs/%00/results",
    "/v1/runs/%00/events",
    "/v1/runs?page_token=%00",
    "/v1/runs?owner=%00",
    "/v1/contracts/%00",
    "/v1/contracts/a/versions/99999999999999999999",
    "/v1/sweeps/%00",
    "/v1/audit?run_id=%00",
    "/v1/keys?page_token=%00",
    "/runs/%00",
]


def test_text_that_the_database_has_no_form_for_is_no_defect(client: TestClient) -> None:
    found = {path: client.get(path).status_code for path in NUL}
    assert {path: status for path, status in found.items() if status not in (400, 404, 422)} == {}


def test_events_are_read_from_any_number_on(client: TestClient, start: Callable[..., Any]) -> None:
    path = f"/v1/runs/{start().json()['id']}/events"
    for last, found in ((0, 1), (2**31, 0), (2**63 - 1, 0)):
        events = client.get(path, headers={"Last-Event-ID": str(last)})
        assert (events.status_code, len(events.json()["events"])) == (200, found)
    for last in (2**63, 2**70, -1):
        assert client.get(path, headers={"Last-Event-ID": str(last)}).status_code == 422


def test_while_the_database_is_away_everybody_is_told_to_come_again(
    client: TestClient, start: Callable[..., Any], postgresql: Server
) -> None:
    run = start().json()
    with postgresql.away(0):
        for method, path in (("GET", f"/v1/runs/{run['id']}"), ("POST", "/v1/runs/x/cancel")):
            answer = client.request(method, path)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert answer.json()["detail"] == "the database does not answer; try again"
        assert client.get("/livez").status_code == 200
        assert client.get("/readyz").status_code == 503
    assert client.get(f"/v1/runs/{run['id']}").json() == run
    assert client.get("/readyz").status_code == 200


def test_a_second_home_on_a_database_is_refused_before_it_serves(
    ihp: Any, postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or makes a key that it alone would know."""
    url = postgresql.database()
    first = Home(tmp_path / "first")
    first.make()
    store = Store(url)
    store.claim(first)
    store.close()
    monkeypatch.setenv("IHP_DATABASE_URL", url)
    home = ("--home", str(tmp_path / "second"))
    code, out, said = ihp("keys", "create", "--operator", *home)
    assert (code, out) == (5, "")
    assert "belongs to another home" in " ".join(said)
    serve = [sys.executable, "-m", "api.cli", "serve", "--port", "0", *home]
    served = subprocess.run(serve, capture_output=True, text=True, timeout=60, check=False)
    assert (served.returncode, served.stdout) == (5, "")
    assert "belongs to another home" in " ".join(served.stderr.split())
    assert ihp("keys", "create", "--operator", "--home", tmp_path / "first")[0] == 0
