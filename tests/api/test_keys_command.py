from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from api.app import create_app
from api.auth import SCOPES
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
    service = Service(settings, store, lambda: "works", lambda: False)
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


def test_a_home_has_one_operator_key(run_ihp: CliRunner) -> None:
    keys = []
    for _ in range(2):
        made = run_ihp.invoke(app, ["keys", "create", "--operator", "--days", "30"])
        assert made.exit_code == 0
        keys.append(made.stdout.removeprefix("API key: ").strip())
    assert [status_with(key) for key in keys] == [401, 200]
    views = json.loads(run_ihp.invoke(app, ["keys", "list", "--json"]).stdout)
    assert sorted(view["state"] for view in views) == ["in use", "revoked"]
    (view,) = [view for view in views if view["state"] == "in use"]
    assert set(view["scopes"]) == set(SCOPES) - {"results:member"}
    assert view["operator"]


def test_a_key_lasts_as_long_as_is_said(run_ihp: CliRunner) -> None:
    for days in ([], ["--days", "7"]):
        run_ihp.invoke(app, ["keys", "create", "--scope", "runs:read", *days])
    views = json.loads(run_ihp.invoke(app, ["keys", "list", "--json"]).stdout)
    lasting = [
        datetime.fromisoformat(view["expires_at"]) - datetime.fromisoformat(view["created_at"])
        for view in views
    ]
    assert sorted(span.days for span in lasting) == [7, 365]
    refused = run_ihp.invoke(app, ["keys", "create", "--scope", "runs:read", "--days", "0"])
    assert refused.exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [[], ["--operator", "--scope", "runs:read"], ["--operator", "--owner", "ana"]],
)
def test_a_key_has_scopes_or_is_the_operators(run_ihp: CliRunner, arguments: list[str]) -> None:
    assert run_ihp.invoke(app, ["keys", "create", *arguments]).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "--plain-http"),  # noqa: S104 (refused)
        (["--host", "::"], "--plain-http"),
        (["--tls-cert", "cert.pem"], "--tls-key"),
        (["--tls-cert", "cert.pem", "--tls-key", "key.pem"], "PEM"),
        (["--metrics", "9100"], "HOST:PORT"),
        (["--metrics", "127.0.0.1:x"], "HOST:PORT"),
    ],
)
def test_a_door_that_would_stand_open_is_a_usage_error(
    run_ihp: CliRunner, arguments: list[str], words: str
) -> None:
    done = run_ihp.invoke(app, ["serve", "--port", "0", *arguments])
    assert done.exit_code == 2
    assert words in done.stderr
    assert done.stdout == ""


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
