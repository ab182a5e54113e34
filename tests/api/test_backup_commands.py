from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.cli import app


@pytest.fixture
def ihp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    made = runner.invoke(app, ["keys", "create", "--scope", "runs:read", "--home", "home"])
    assert made.exit_code == 0
    return runner


def test_a_restored_home_knows_its_keys(ihp: CliRunner) -> None:
    taken = ihp.invoke(app, ["backup", "--home", "home", "--out", "b.tar", "--json"])
    assert json.loads(taken.stdout)["n_results"] == 0
    restored = ihp.invoke(app, ["restore", "b.tar", "--home", "again"])
    assert (restored.exit_code, "restored" in restored.stderr) == (0, True)
    keys = [
        json.loads(ihp.invoke(app, ["keys", "list", "--home", home, "--json"]).stdout)
        for home in ("home", "again")
    ]
    assert len(keys[0]) == 1
    assert keys[0] == keys[1]


def test_what_is_refused_is_said_and_writes_nothing(ihp: CliRunner, tmp_path: Path) -> None:
    assert ihp.invoke(app, ["backup", "--home", "none", "--out", "b.tar"]).exception is not None
    (tmp_path / "b.tar").write_text("no backup")
    assert "no backup" in str(ihp.invoke(app, ["restore", "b.tar", "--home", "again"]).exception)
    assert not (tmp_path / "again").exists()
