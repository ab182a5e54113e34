"""Without leave to see members' rows a key sees the open form: tables, manifest, report."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from api.auth import OPERATOR_SCOPES
from api.forms import CSV, JSON, PARQUET
from api.opened import MEMBER_SCOPE
from api.service import Service
from cluster.runs import Run
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.results import TABLES, open_form, result
from ihp_compute.runner import LocalRunner


@pytest.fixture(scope="module")
def folder(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    request = RunRequest(small_population, ("mn-ihp-2.0-track-2",), replicates=20)
    return run(request, tmp_path_factory.mktemp("opened") / "run", LocalRunner(1)).run_dir


@pytest.fixture
def held(service: Service, finished: Run, folder: Path) -> Run:
    """A finished run with the folder of a real one."""
    place = service.home.attempt(finished.id, finished.attempt)
    shutil.rmtree(place)
    shutil.copytree(folder, place)
    return finished


def test_every_table_and_form_is_the_open_one(
    client: TestClient, held: Run, tmp_path: Path, folder: Path
) -> None:
    shutil.copytree(folder, tmp_path / "run")
    form = open_form(tmp_path / "run")
    hidden = 0
    for name in form.tables:
        expected = form.table(name)
        hidden += sum(column.null_count for column in expected.columns)
        url = f"/v1/runs/{held.id}/results/{name}"
        rows = client.get(url, headers={"Accept": JSON}).json()
        assert len(rows) == expected.num_rows
        parquet = pq.read_table(io.BytesIO(client.get(url, headers={"Accept": PARQUET}).content))
        assert parquet.to_pylist() == expected.to_pylist()
        if expected.num_rows:
            csv = client.get(url, headers={"Accept": CSV}).content
            assert pyarrow.csv.read_csv(io.BytesIO(csv)).num_rows == expected.num_rows
    assert hidden > 100
    assert client.get(f"/v1/runs/{held.id}/results/member_years").status_code == 403


def test_who_may_see_all_is_given_what_is_stored(
    client: TestClient, held: Run, folder: Path, key_with: Callable[..., dict[str, str]]
) -> None:
    headers = key_with(*OPERATOR_SCOPES, MEMBER_SCOPE) | {"Accept": PARQUET}
    for name in ("attribution", "cells", "settlement"):
        given = client.get(f"/v1/runs/{held.id}/results/{name}", headers=headers)
        stored = result(folder, TABLES[name])
        assert pq.read_table(io.BytesIO(given.content)).to_pylist() == stored.to_pylist()


def test_the_report_of_everybody_is_another_page(
    client: TestClient, held: Run, key_with: Callable[..., dict[str, str]]
) -> None:
    url = f"/v1/runs/{held.id}/report"
    everybody = client.get(url).text
    assert "Open form." in everybody
    assert "held back" in everybody
    whole = client.get(url, headers=key_with("runs:read", MEMBER_SCOPE)).text
    assert "Whole." in whole


def test_a_run_shown_later_reckons_with_the_one_before(
    client: TestClient, service: Service, held: Run, start: Callable[..., Any], folder: Path
) -> None:
    assert client.get(f"/v1/runs/{held.id}/results/settlement").status_code == 200
    run_id = start("key-2").json()["id"]
    later = service.store.leases.take("d1", lease_ms=60_000)
    assert later is not None
    assert later.id == run_id
    place = service.home.attempt(later.id, later.attempt)
    shutil.copytree(folder, place)
    manifest = (place / "manifest.json").read_text(encoding="utf-8")
    digest = open_form(service.home.attempt(held.id, held.attempt)).pattern.digest
    (place / "manifest.json").write_text(manifest.replace(digest, "ef" * 32))
    service.store.leases.finish(later, "succeeded", digest="ef" * 32)
    assert client.get(f"/v1/runs/{run_id}/results/settlement").status_code == 200
    assert open_form(place).pattern.after == (digest,)
    assert (
        open_form(place).pattern.hidden
        == open_form(service.home.attempt(held.id, held.attempt)).pattern.hidden
    )
