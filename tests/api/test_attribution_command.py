"""`ihp attribution` and the pack by command line: what is shown, written, refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.cli import app
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.runner import LocalRunner


@pytest.fixture(scope="module")
def runs(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("rules")
    return [
        run(
            RunRequest(small_population, (name,), replicates=0, programme="none"),
            folder / name,
            LocalRunner(1),
        ).run_dir
        for name in ("mn-ihp-1.0", "mn-ihp-2.0-track-2")
    ]


def _said(*arguments: Any) -> Any:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_steps_and_moves_of_a_run_are_shown(runs: list[Path]) -> None:
    rows = json.loads(_said("attribution", runs[0], "--json"))["attribution"]
    shown = _said("attribution", runs[0])
    first = next(row for row in rows if row["partnership_id"] == "IHP-01" and row["members"] > 10)
    line = next(line for line in shown.splitlines() if "IHP-01" in line and first["step"] in line)
    assert str(first["members"]) in line


def test_another_rule_is_shown_and_written(runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "pairs.csv"
    found = json.loads(_said("attribution", *runs, "--json", "--out", out))
    with out.open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert [int(row["members"]) for row in written] == [row["members"] for row in found["pairs"]]
    assert {row["partnership_id"] for row in found["partnerships"]} >= {"IHP-01", "IHP-25"}
    refused = CliRunner().invoke(app, ["attribution", *map(str, runs), "--out", str(out)])
    assert refused.exit_code != 0


def test_a_pack_is_written_and_told(runs: list[Path], tmp_path: Path) -> None:
    said = json.loads(
        _said("explain", runs[0], "--partnership", "IHP-01", "--out", tmp_path / "p", "--json")
    )
    assert said["rows"]["people"] > 50
    assert Path(said["page"]).is_file()
    alone = CliRunner().invoke(app, ["explain", str(runs[0]), "--claim", "1", "--out", "x"])
    assert alone.exit_code == 2
