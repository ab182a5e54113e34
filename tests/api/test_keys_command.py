from __future__ import annotations

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from api.app import create_app
from api.cli import app
from api.service import Service
from api.settings import Settings
from cluster.store import Store
from ihp_compute.errors import InfrastructureError


@pytest.fixture
def run_ihp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("IHP_HOME", str(tmp_path / "home"))
    return CliRunner()


def status_with(key: str) -> int:
    settings = Settings()
    store = Store(settings.database)
    service = Service(settings, store, lambda: True, lambda: False)
    with TestClient(create_app(service)) as client:
        status = client.get("/v1/runs", headers={"Authorization": f"Bearer {key}"}).status_code
    store.close()
    return status


def test_a_key_that_is_made_opens_until_it_is_revoked(run_ihp: CliRunner) -> None:
    made = run_ihp.invoke(app, ["keys", "create", "--scope", "runs:read", "--owner", "ana"])
    assert made.exit_code == 0
    key = made.stdout.removeprefix("API key: ").strip()
    assert status_with(key) == 200
    listed = run_ihp.invoke(app, ["keys", "list", "--json"])
    (view,) = json.loads(listed.stdout)
    assert (view["owner"], view["scopes"], view["state"]) == ("ana", ["runs:read"], "in use")
    assert key not in listed.stdout
    assert run_ihp.invoke(app, ["keys", "revoke", view["id"]]).exit_code == 0
    assert status_with(key) == 401
    assert (
        json.loads(run_ihp.invoke(app, ["keys", "list", "--json"]).stdout)[0]["state"] == "revoked"
    )
    assert run_ihp.invoke(app, ["keys", "revoke", view["id"]]).exit_code == 2


def test_a_scope_that_does_not_exist_is_a_usage_error(run_ihp: CliRunner) -> None:
    done = run_ihp.invoke(app, ["keys", "create", "--scope", "everything"])
    assert done.exit_code == 2
    assert "results:member" in done.stderr


def test_a_home_that_is_not_there_lists_no_keys(run_ihp: CliRunner, tmp_path: Path) -> None:
    done = run_ihp.invoke(app, ["keys", "list", "--json", "--home", str(tmp_path / "new")])
    assert (done.exit_code, json.loads(done.stdout)) == (0, [])


def test_settings_come_from_the_environment(
    run_ihp: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IHP_LOCATIONS", json.dumps({"claims": str(tmp_path)}))
    settings = Settings()
    assert settings.roots == {"default": tmp_path / "home" / "populations", "claims": tmp_path}
    monkeypatch.setenv("IHP_PORT", "not a port")
    done = run_ihp.invoke(app, ["serve"])
    assert done.exit_code == 2
    assert "IHP_PORT" in done.stderr


def test_without_its_extras_the_service_says_what_to_install(
    run_ihp: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "ray" else name)
    done = run_ihp.invoke(app, ["serve"])
    assert isinstance(done.exception, InfrastructureError)
    assert "ihp-compute[service,cluster]" in str(done.exception)
