"""Without leave to see members' rows a key sees the open form: tables, manifest, report."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

import api.opened
from api.auth import OPERATOR_SCOPES
from api.forms import ARROW, CSV, JSON, PARQUET
from api.opened import MEMBER_SCOPE
from api.service import Service
from cluster import kept
from cluster.runs import Run
from cluster.work import opening
from ihp_compute.results import TABLES, OpenForm, open_form, result, was_shown
from tests import s3_store
from tests.api.conftest import sealed


@pytest.fixture
def held(holding: Callable[[Path], Run], shown_run: Path) -> Run:
    """A finished run with the folder of a real one that was shown."""
    return holding(shown_run)


def n_rows(client: TestClient, url: str) -> int:
    """How many rows JSON has, over all pages."""
    found, query = 0, {"limit": "10000"}
    while True:
        page = client.get(url, params=query, headers={"Accept": JSON}).json()
        found += len(page["rows"])
        if page["next_page_token"] is None:
            return found
        query["page_token"] = page["next_page_token"]


def test_every_table_and_form_is_the_open_one(
    client: TestClient, held: Run, shown_run: Path
) -> None:
    form = open_form(shown_run)
    hidden = 0
    for name in form.tables:
        expected = form.table(name)
        hidden += sum(column.null_count for column in expected.columns)
        url = f"/v1/runs/{held.id}/results/{name}"
        assert n_rows(client, url) == expected.num_rows
        parquet = pq.read_table(io.BytesIO(client.get(url, headers={"Accept": PARQUET}).content))
        assert parquet.to_pylist() == expected.to_pylist()
        if expected.num_rows:
            csv = client.get(url, headers={"Accept": CSV}).content
            assert pyarrow.csv.read_csv(io.BytesIO(csv)).num_rows == expected.num_rows
    assert hidden > 100
    refused = {}
    for name in ("member_years", "paid_ahead"):
        response = client.get(f"/v1/runs/{held.id}/results/{name}")
        assert response.status_code == 403
        refused[name] = response.json()["detail"]
    assert "a row per member" in refused["member_years"]
    assert "a row per member" not in refused["paid_ahead"]
    listed = client.get(f"/v1/runs/{held.id}/results").json()["results"]
    assert {view["rows"] for view in listed if view["restricted"]} == {None}


def test_a_run_that_succeeds_is_open_at_once(
    client: TestClient,
    service: Service,
    holding: Callable[[Path], Run],
    small_run: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What everybody may see is made when a run ends: nothing is left for a request to make."""
    held = holding(small_run)
    place = service.home.attempt(held.id, held.attempt)
    assert not was_shown(place)
    opening(service.store.queue, service.home)(held)
    assert was_shown(place)
    monkeypatch.setattr(OpenForm, "table", lambda *_: pytest.fail("made for a request"))
    for name in open_form(place).tables:
        assert client.get(f"/v1/runs/{held.id}/results/{name}").status_code == 200
    assert "Open form." in client.get(f"/v1/runs/{held.id}/report").text


def test_an_open_form_that_cannot_be_made_does_not_fail_its_run(
    client: TestClient, service: Service, held: Run
) -> None:
    place = service.home.attempt(held.id, held.attempt)
    (place / "suppression.json").write_text("{", encoding="utf-8")
    opening(service.store.queue, service.home)(held)
    assert client.get(f"/v1/runs/{held.id}").json()["state"] == "succeeded"
    refused = client.get(f"/v1/runs/{held.id}/results/settlement")
    assert refused.status_code == 409
    assert "cut off or edited" in refused.json()["detail"]


def test_what_was_opened_once_is_given_without_opening_it_again(
    client: TestClient, held: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [f"/v1/runs/{held.id}/{tail}" for tail in ("results/settlement", "manifest", "report")]
    first = [client.get(url).content for url in urls]

    monkeypatch.setattr(api.opened, "opened", lambda *_: pytest.fail("opened again"))
    assert [client.get(url).content for url in urls] == first


def test_who_may_see_all_is_given_what_is_stored(
    client: TestClient, held: Run, small_run: Path, key_with: Callable[..., dict[str, str]]
) -> None:
    headers = key_with(*OPERATOR_SCOPES, MEMBER_SCOPE) | {"Accept": PARQUET}
    for name in ("attribution", "cells", "settlement"):
        given = client.get(f"/v1/runs/{held.id}/results/{name}", headers=headers)
        stored = result(small_run, TABLES[name])
        assert pq.read_table(io.BytesIO(given.content)).to_pylist() == stored.to_pylist()


def test_the_report_of_everybody_is_another_page(
    client: TestClient, held: Run, key_with: Callable[..., dict[str, str]]
) -> None:
    url = f"/v1/runs/{held.id}/report"
    everybody = client.get(url).text
    assert "Open form." in everybody
    assert "held back" in everybody
    whole = client.get(url, headers=key_with("runs:read", MEMBER_SCOPE))
    assert "Whole." in whole.text
    assert client.get(url).headers["etag"] != whole.headers["etag"]


def test_what_everybody_may_see_has_tags_of_its_own(
    client: TestClient, held: Run, key_with: Callable[..., dict[str, str]]
) -> None:
    """Also where it tells no less: a cache keeps the two apart."""
    headers = key_with(*OPERATOR_SCOPES, MEMBER_SCOPE)
    for tail in ("manifest", "results/exclusions", "results/settlement", "report"):
        url = f"/v1/runs/{held.id}/{tail}"
        mine = client.get(url)
        whole = client.get(url, headers=headers)
        assert mine.headers["etag"] != whole.headers["etag"]
        assert mine.headers["vary"] == whole.headers["vary"] == "Accept, Authorization"
        known = {"If-None-Match": mine.headers["etag"]}
        assert client.get(url, headers=known).status_code == 304
        assert client.get(url, headers={**headers, **known}).status_code == 200


def test_what_was_shown_can_be_named(client: TestClient, held: Run) -> None:
    """By the SHA-256 of a table's Arrow stream: in the manifest, its tag, and of what was kept."""
    said = client.get(f"/v1/runs/{held.id}/manifest").json()["open_form"]
    for name in ("settlement", "exclusions", "cells"):
        url = f"/v1/runs/{held.id}/results/{name}"
        kept = client.get(url, headers={"Accept": ARROW})
        assert hashlib.sha256(kept.content).hexdigest() == said["tables"][name]
        for form in (ARROW, JSON, CSV):
            tag = client.get(url, headers={"Accept": form}).headers["etag"]
            assert tag.startswith(f'"{said["tables"][name]}-')
            assert tag.endswith('-open"')


def test_a_run_shown_later_reckons_with_the_one_before(
    client: TestClient, service: Service, held: Run, start: Callable[..., Any], small_run: Path
) -> None:
    assert client.get(f"/v1/runs/{held.id}/results/settlement").status_code == 200
    run_id = start("key-2", force=True).json()["id"]
    later = service.store.leases.take("d1", lease_ms=60_000)
    assert later is not None
    assert later.id == run_id
    place = service.home.attempt(later.id, later.attempt)
    shutil.copytree(small_run, place)
    digest = open_form(service.home.attempt(held.id, held.attempt)).pattern.digest
    sealed(place, digest="ef" * 32)
    service.store.leases.finish(later, "succeeded", digest="ef" * 32)
    assert client.get(f"/v1/runs/{run_id}/results/settlement").status_code == 200
    assert open_form(place).pattern.after == (digest,)
    assert (
        open_form(place).pattern.hidden
        == open_form(service.home.attempt(held.id, held.attempt)).pattern.hidden
    )


def test_results_that_the_home_lost_come_from_the_bucket(
    client: TestClient, service: Service, held: Run, tmp_path: Path, monkeypatch: Any
) -> None:
    folder = service.home.attempt(held.id, held.attempt)
    manifest = client.get(f"/v1/runs/{held.id}/manifest").json()
    with s3_store.running(tmp_path / "store" / "buckets") as store:
        for name, value in store.environment(tmp_path / "cache", IHP_RUNS="lake").items():
            monkeypatch.setenv(name, value)
        kept.keep(folder)
        shutil.rmtree(folder)
        assert client.get(f"/v1/runs/{held.id}/manifest").json() == manifest
        assert was_shown(folder)
        shutil.rmtree(folder)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
        away = client.get(f"/v1/runs/{held.id}/manifest")
        assert away.status_code == 503
        assert "another" not in away.text
