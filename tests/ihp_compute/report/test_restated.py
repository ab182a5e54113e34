"""The report of a finished run is made again under a later statement; no result moves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.cli import app
from ihp_compute.errors import DataError, RunError
from ihp_compute.measure import STATEMENT_FIELDS
from ihp_compute.report import write_report
from ihp_compute.results import restate, verify_run

STATED = {name: f"the {name}" for name in STATEMENT_FIELDS}
PAGE = "report.html"


@pytest.fixture(scope="module")
def made(small_run: Path) -> Path:
    return small_run


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture
def statement(tmp_path: Path) -> Path:
    file = tmp_path / "statement.json"
    file.write_text(json.dumps(STATED))
    return file


def _manifest(folder: Path) -> dict[str, Any]:
    held: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return held


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_later_statement_changes_the_page_and_the_seal_and_no_result(folder: Path) -> None:
    before, held = _content(folder), _manifest(folder)
    assert b"UNREVIEWED" in before[PAGE]
    found = restate(folder, [write_report], STATED)
    after, now = _content(folder), _manifest(folder)
    assert found.digest == held["digest"] == verify_run(folder)
    assert found.changed == ("statement", f"files/{PAGE}")
    assert (found.seal_before, found.seal) == (held["manifest_digest"], now["manifest_digest"])
    assert found.seal != found.seal_before
    assert b"UNREVIEWED" not in after[PAGE]
    assert after.keys() == before.keys()
    moved = {name for name in before if before[name] != after[name]}
    assert moved == {"manifest.json", PAGE}
    said = {name for name in now if now[name] != held[name]}
    assert said == {"statement", "files", "manifest_digest"}


def test_the_page_of_the_same_statement_is_the_page_that_the_run_wrote(folder: Path) -> None:
    before = _content(folder)
    assert restate(folder, [write_report]).changed == ()
    assert _content(folder) == before


def test_a_run_that_was_changed_gets_no_new_page(folder: Path) -> None:
    page = folder / PAGE
    page.write_text(page.read_text().replace("UNREVIEWED", "REVIEWED"))
    before = _content(folder)
    with pytest.raises(RunError, match=r"report\.html: missing or changed after the run"):
        restate(folder, [write_report], STATED)
    assert _content(folder) == before


def test_what_somebody_laid_beside_the_results_stays_and_is_no_part_of_the_run(
    folder: Path,
) -> None:
    (folder / "notes.txt").write_text("mine")
    restate(folder, [write_report], STATED)
    assert (folder / "notes.txt").read_text() == "mine"
    assert "notes.txt" not in _manifest(folder)["files"]


def test_the_command_says_what_changed_in_the_manifest(folder: Path, statement: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(folder), "--statement", str(statement)])
    assert done.exit_code == 0
    assert f"digest {_manifest(folder)['digest']}, as it was" in done.stderr
    assert "changed in its manifest: statement, files/report.html" in done.stderr
    assert f"is {_manifest(folder)['manifest_digest'][:16]}… now" in done.stderr


def test_a_page_elsewhere_leaves_the_run_as_it_is(
    folder: Path, statement: Path, tmp_path: Path
) -> None:
    before, out = _content(folder), tmp_path / "pages" / "signed.html"
    arguments = ["report", str(folder), "--statement", str(statement), "--html", str(out)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert _content(folder) == before
    signed = out.read_text()
    assert "UNREVIEWED" not in signed
    restate(folder, [write_report], STATED)
    assert (folder / PAGE).read_text() == signed
    refused = CliRunner().invoke(app, arguments)
    assert isinstance(refused.exception, DataError)
    assert "--replace" in str(refused.exception)
    assert CliRunner().invoke(app, [*arguments, "--replace"]).exit_code == 0
