"""`ihp score`, `ihp risk import`, `ihp calibrate` at the command line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.cli import app
from ihp_compute.errors import RiskModelError

run = CliRunner().invoke


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IHP_MODEL_STORE", str(tmp_path / "store"))
    (tmp_path / "m.csv").write_text("member_id,age,gender\n01,70,male\n2,64,F\n")
    (tmp_path / "d.csv").write_text("member_id,diagnosis_code\n01,E11.69\n01,I509\n")
    return tmp_path


def test_score_writes_the_agreed_columns(files: Path) -> None:
    out = files / "o.csv"
    found = run(
        app,
        ["score", str(files / "m.csv"), str(files / "d.csv"), "--model", "cms-hcc-v28",
         "--out", str(out)],
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    assert out.read_text().splitlines()[:2] == [
        "member_id,segment,raw_score,score", "01,CNA,1.034000,0.912000",
    ]  # fmt: skip


def test_score_prints_one_document_with_json(files: Path) -> None:
    found = run(
        app,
        ["score", str(files / "m.csv"), str(files / "d.csv"), "--model", "cms-hcc-v24", "--json",
         "--code-edits", "off", "--hierarchies", "simultaneous", "--explain",
         "--out", str(files / "o.parquet")],
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    document = json.loads(found.stdout)
    assert document["code_edits"] is False
    assert document["hierarchies"] == "simultaneous"
    assert document["counts"]["icd10_mapped"] == 2
    assert len((files / "o.explain.jsonl").read_text().splitlines()) == 2


def test_an_unknown_model_is_a_domain_error(files: Path) -> None:
    found = run(
        app,
        ["score", str(files / "m.csv"), str(files / "d.csv"), "--model", "esrd-v24",
         "--out", str(files / "o.csv")],
    )  # fmt: skip
    assert isinstance(found.exception, RiskModelError)


def test_import_then_list_then_score_cells(files: Path) -> None:
    (files / "cells.csv").write_text("cell,weight\n0100,1.5\n")
    found = run(app, ["risk", "import", str(files / "cells.csv"), "--as", "acg", "--json"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["counts"] == {"cell_weights": 1}
    listed = run(app, ["risk", "list"])
    assert listed.stdout.split() == ["cms-hcc-v24", "cms-hcc-v28", "cms-hcc-blend", "acg"]


def test_calibrate_needs_a_population(files: Path) -> None:
    found = run(
        app,
        ["calibrate", str(files), "--model", "cms-hcc-v28", "--out", str(files / "state.json")],
    )
    assert found.exit_code != 0
    assert not (files / "state.json").exists()
