"""A run as workbook and PDF: on the command line and over HTTP, whole and as everybody sees it."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.opened import MEMBER_SCOPE
from cluster.runs import Run
from ihp_compute import report
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.runner import LocalRunner

openpyxl = pytest.importorskip("openpyxl", reason="openpyxl is not installed")
pytest.importorskip("xlsxwriter", reason="XlsxWriter is not installed")
Ihp = Callable[..., tuple[int, str, list[str]]]
with_browser = pytest.mark.skipif(
    not any(map(shutil.which, report.paper.BROWSERS)), reason="no Chromium to print with"
)


@pytest.fixture(scope="module")
def folder(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    request = RunRequest(small_population, ("mn-ihp-2.0-track-2",), replicates=20, programme="none")
    return run(request, tmp_path_factory.mktemp("reports") / "run", LocalRunner(1)).run_dir


@pytest.fixture
def url(holding: Callable[[Path], Run], folder: Path) -> str:
    """Reports of a finished run with the folder of a real one."""
    return f"/v1/runs/{holding(folder).id}/reports"


def test_a_report_needs_a_form_a_run_and_a_place(ihp: Ihp, folder: Path, tmp_path: Path) -> None:
    assert ihp("report", folder)[0] == 2
    assert ihp("report", tmp_path, "--xlsx", "w.xlsx")[0] == 3
    assert ihp("report", folder, "--shown", folder, "--xlsx", "w.xlsx")[0] == 2
    (tmp_path / "w.xlsx").write_text("mine")
    code, _, said = ihp("report", folder, "--xlsx", "w.xlsx")
    assert (code, (tmp_path / "w.xlsx").read_text()) == (3, "mine")
    assert "is there already" in " ".join(said)


def test_a_run_is_written_as_page_and_workbook(ihp: Ihp, folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "run"))
    code, out, _ = ihp("report", copy, "--html", "r.html", "--xlsx", "w.xlsx", "--json")
    assert code == 0
    assert json.loads(out)["files"] == {"html": "r.html", "xlsx": "w.xlsx"}
    assert (tmp_path / "r.html").read_bytes() == (folder / "report.html").read_bytes()
    whole = (tmp_path / "w.xlsx").read_bytes()
    assert ihp("report", copy, "--xlsx", "w.xlsx", "--suppress", "--replace")[0] == 0
    assert (tmp_path / "w.xlsx").read_bytes() != whole


def test_a_run_keeps_its_workbook_and_a_later_statement_reaches_it(
    ihp: Ihp, small_population: Path, tmp_path: Path
) -> None:
    arguments = ("--contracts", "mn-ihp-2.0-track-2", "--replicates", 0, "--programme", "none")
    assert ihp("run", small_population, *arguments, "--out", "run", "--workbook")[0] == 0
    before = (tmp_path / "run" / "workbook.xlsx").read_bytes()
    (tmp_path / "s.toml").write_text('purpose = "to see"\n')
    assert ihp("report", "run", "--statement", "s.toml")[0] == 0
    cover = openpyxl.load_workbook(tmp_path / "run" / "workbook.xlsx")["Cover"]
    assert "to see" in [row[1] for row in cover.iter_rows(values_only=True)]
    assert (tmp_path / "run" / "workbook.xlsx").read_bytes() != before
    assert ihp("verify", "run")[0] == 0


def test_without_a_browser_nothing_is_printed(
    ihp: Ihp, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report.paper, "BROWSERS", ("no-such-browser",))
    code, _, said = ihp("report", folder, "--pdf", "r.pdf")
    assert code == 5
    assert "expected Chromium" in " ".join(said)


@with_browser
def test_a_report_is_printed(ihp: Ihp, folder: Path, tmp_path: Path) -> None:
    assert ihp("report", folder, "--pdf", "r.pdf")[0] == 0
    assert (tmp_path / "r.pdf").read_bytes().startswith(b"%PDF-")


def test_a_stranger_gets_no_report(anonymous: TestClient) -> None:
    for name in ("workbook.xlsx", "report.pdf"):
        assert anonymous.get(f"/v1/runs/x/reports/{name}").status_code == 401


def test_the_workbook_is_made_once_for_each_who_may_see_it(
    client: TestClient, url: str, key_with: Callable[..., dict[str, str]]
) -> None:
    whole = key_with("runs:read", MEMBER_SCOPE)
    found: dict[str, Any] = {}
    for who, headers in (("whole", whole), ("open", {})):
        first = client.get(f"{url}/workbook.xlsx", headers=headers)
        assert first.status_code == 200
        assert "spreadsheetml" in first.headers["content-type"]
        assert 'filename="workbook.xlsx"' in first.headers["content-disposition"]
        tag = {"If-None-Match": first.headers["etag"]}
        assert client.get(f"{url}/workbook.xlsx", headers=headers | tag).status_code == 304
        found[who] = openpyxl.load_workbook(io.BytesIO(first.content), data_only=True)
    paid = {
        who: [row[0].value for row in book["Settlement"].iter_rows(min_row=2, min_col=15)]
        for who, book in found.items()
    }
    assert None not in paid["whole"]
    assert None in paid["open"]


def test_where_nothing_prints_the_service_says_so(
    client: TestClient, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report.paper, "BROWSERS", ("no-such-browser",))
    refused = client.get(f"{url}/report.pdf")
    assert refused.status_code == 503
    assert refused.headers["content-type"] == "application/problem+json"


@with_browser
def test_the_service_prints_the_report_once(client: TestClient, url: str) -> None:
    first = client.get(f"{url}/report.pdf")
    assert first.content.startswith(b"%PDF-")
    tag = {"If-None-Match": first.headers["etag"]}
    assert client.get(f"{url}/report.pdf", headers=tag).status_code == 304
