"""That a second person stands behind a run, beside what never changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ihp_compute.errors import RunError
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.report import write_report
from ihp_compute.results import (
    certification_of,
    read_certification,
    verify_run,
    write_certification,
)

STATEMENT = {
    "status": "final",
    "purpose": "settlement",
    "intended_users": "the state",
    "responsible_actuary": "A. Ctuary",
    "reliance": "claims of the state",
}


@pytest.fixture(scope="module")
def finished(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certified") / "run"
    request = RunRequest(small_population, ("mn-ihp-2.0-track-2",), replicates=0, programme="none")
    return run(request, folder).run_dir


@pytest.fixture
def copy(tmp_path: Path, finished: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def certify(folder: Path, digest: str) -> None:
    certification = certification_of(
        digest,
        submitted_by="anna",
        certified_by="ben",
        certified_at="2026-11-30T12:00:00+00:00",
        statement=STATEMENT,
    )
    write_certification(folder, certification)


def test_a_certified_run_is_the_run_that_it_was_and_its_report_says_who(copy: Path) -> None:
    """Digest, manifest and stored page stay; a page that is made now is reviewed."""
    stored = {path.name: path.read_bytes() for path in copy.iterdir()}
    digest = verify_run(copy)
    assert read_certification(copy) is None
    certify(copy, digest)
    assert verify_run(copy) == digest
    assert {name: (copy / name).read_bytes() for name in stored} == stored
    page = write_report(copy, copy.parent / "page.html").read_text(encoding="utf-8")
    assert "Certified by ben" in page
    assert "UNREVIEWED" in (copy / "report.html").read_text(encoding="utf-8")
    assert "UNREVIEWED" not in page
    assert "A. Ctuary" in page


def test_a_certification_of_another_run_is_not_put_beside_this_one(copy: Path) -> None:
    with pytest.raises(RunError, match="expected a certification of the run"):
        certify(copy, "ef" * 32)
    assert not (copy / "certification.json").exists()


@pytest.mark.parametrize("entry", ["certified_by", "digest", "statement"])
def test_verify_finds_a_certification_that_was_changed(copy: Path, entry: str) -> None:
    certify(copy, verify_run(copy))
    path = copy / "certification.json"
    held = json.loads(path.read_text())
    held[entry] = "somebody else"
    path.write_text(json.dumps(held))
    with pytest.raises(RunError, match="says other things than it was written with"):
        verify_run(copy)
