"""Sweeps over HTTP: queued like runs, refused by size with the number, read in any form."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

import ihp_compute
from api.auth import OPERATOR_SCOPES
from api.opened import MEMBER_SCOPE
from api.service import Service
from cluster.runs import Run
from cluster.work import WORK, resettle
from ihp_compute import contracts as contract
from ihp_compute.codes import RATE_CELLS
from ihp_compute.contracts import ContractSet
from ihp_compute.results import kept_terms
from ihp_compute.runner import LocalRunner
from ihp_compute.settlement.settle import settle
from ihp_compute.uncertainty.totals import Totals, column_names, write_totals

AXES: dict[str, Any] = {
    "settlement.gain.share": {"from": 0.3, "to": 0.7, "count": 3},
    "settlement.loss.share": ["none", 0.5],
}


@pytest.fixture
def swept_run(finished: Run, service: Service) -> Run:
    """The finished run, with what a sweep reads of it."""
    folder = service.home.attempt(finished.id, finished.attempt)
    rng = np.random.default_rng(2)
    values = np.zeros((3, len(RATE_CELLS), 12, 6), np.int64)
    values[:, 0] = np.rint(
        np.array([12_000, 1.2e10, 12_000, 1.2e10, 4e8, 4.1e8]) * rng.normal(1, 0.03, (3, 12, 6))
    )
    totals = Totals(
        ("P-1", "P-2", "UNATTRIBUTED"), column_names(1), values, np.array([1000, 1000, 5]),
        np.zeros((3, 1), np.int64),
    )  # fmt: skip
    contracts = ContractSet("x", dict.fromkeys(("P-1", "P-2"), contract.load("mn-ihp-2.0-track-2")))
    scores = dict.fromkeys(("P-1", "P-2"), Decimal(1))
    write_totals(totals, folder / "totals.arrow")
    (folder / kept_terms.FILE).write_text(json.dumps(kept_terms.document(contracts, scores)))
    rows = settle(totals, contracts, base_year=2023, performance_year=2024, quality=scores)
    names = ("partnership_id", "payment_cents")
    pq.write_table(
        pa.table({n: [getattr(r, n) for r in rows] for n in names}), folder / "settlement.parquet"
    )
    manifest = {
        "kind": "run",
        "population": {},
        "digest": finished.digest,
        "method_version": ihp_compute.METHOD_VERSION,
        "table_digests": {},
        "completion": {
            "status": "final",
            "interim": [],
            "run_out_months": 6,
            "ratio": "1.000000",
            "measurements": [
                {
                    "partnerships": ["P-1", "P-2"],
                    "methods": ["equal_runout"],
                    "base_lines_cut": 0,
                    "parts": [],
                },
            ],
        },
        "base_year": 2023,
        "performance_year": 2024,
        "terms": {"contracts": contracts.hashes()},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return finished


@pytest.fixture
def post(client: TestClient, swept_run: Run) -> Callable[..., Any]:
    def send(key: str = "sweep-1", **changes: Any) -> Any:
        body = {"run": swept_run.id, "axes": AXES, **changes}
        return client.post("/v1/sweeps", json=body, headers={"Idempotency-Key": key})

    return send


def work(service: Service) -> Run:
    """Does the next sweep as the dispatcher would."""
    run = service.store.leases.take("d1", lease_ms=60_000)
    assert run is not None
    assert WORK[run.kind] is resettle
    out = service.home.attempt(run.id, run.attempt)
    out.parent.mkdir(parents=True)
    done: list[tuple[int, int]] = []
    digest = resettle(run, out, LocalRunner(1), lambda n, of: done.append((n, of)))
    service.store.leases.progress(run, *done[-1])
    ended = service.store.leases.finish(run, "succeeded", digest=digest)
    assert ended is not None
    return ended


def test_a_stranger_is_refused(anonymous: TestClient) -> None:
    assert anonymous.post("/v1/sweeps", json={}).status_code == 401
    for path in ("/v1/sweeps", "/v1/sweeps/x", "/v1/sweeps/x/events", "/v1/sweeps/x/results"):
        assert anonymous.get(path).status_code == 401
    assert anonymous.post("/v1/sweeps/x/cancel").status_code == 401


def test_a_reader_starts_no_sweep(
    anonymous: TestClient, key_with: Callable[..., dict[str, str]]
) -> None:
    headers = key_with("runs:read") | {"Idempotency-Key": "k"}
    response = anonymous.post("/v1/sweeps", json={"run": "x", "axes": AXES}, headers=headers)
    assert response.status_code == 403


def test_a_sweep_is_queued_worked_on_and_read(
    client: TestClient,
    service: Service,
    post: Callable[..., Any],
    swept_run: Run,
    key_with: Callable[..., dict[str, str]],
) -> None:
    response = post()
    assert response.status_code == 202
    view = response.json()
    here = f"/v1/sweeps/{view['id']}"
    assert response.headers["location"] == here
    assert (view["state"], view["run"], view["scenarios"], view["rows"]) == (
        "queued", swept_run.id, 6, 18,
    )  # fmt: skip
    assert view["axes"] == AXES
    assert str(service.home.path) not in response.text
    assert client.get(f"{here}/results").status_code == 409
    ended = work(service)
    view = client.get(here, params={"wait": 5}).json()
    assert (view["state"], view["rows_done"], view["digest"]) == ("succeeded", 18, ended.digest)
    all_scopes = key_with(*OPERATOR_SCOPES, MEMBER_SCOPE)
    accept = {"Accept": "application/vnd.apache.arrow.stream"}
    arrow = client.get(f"{here}/results", headers=all_scopes | accept)
    table = pa.ipc.open_stream(arrow.content).read_all()
    assert table.num_rows == 18
    assert table.column_names[:5] == [
        "scenario_id", "settlement.gain.share", "settlement.loss.share", "scope", "partnership_id",
    ]  # fmt: skip
    rows = client.get(f"{here}/results", headers=all_scopes).json()
    assert rows == table.to_pylist()
    kinds = [event["kind"] for event in client.get(f"{here}/events").json()]
    assert kinds == ["submitted", "started", "succeeded"]
    assert client.get("/v1/sweeps").json()["sweeps"] == [view]


def test_the_same_key_and_payload_are_one_sweep(post: Callable[..., Any]) -> None:
    first, second = post(), post()
    assert first.json()["id"] == second.json()["id"]
    assert post(axes={"settlement.gain.share": [0.5]}).status_code == 422
    assert post("another").json()["id"] != first.json()["id"]


def test_runs_and_sweeps_keep_to_their_paths(
    client: TestClient, post: Callable[..., Any], swept_run: Run
) -> None:
    sweep_id = post().json()["id"]
    assert [run["id"] for run in client.get("/v1/runs").json()["runs"]] == [swept_run.id]
    for path in ("", "/events", "/results", "/manifest", "/report"):
        assert client.get(f"/v1/runs/{sweep_id}{path}").status_code == 404
    for path in ("", "/events", "/results"):
        assert client.get(f"/v1/sweeps/{swept_run.id}{path}").status_code == 404
    assert client.post(f"/v1/runs/{sweep_id}/cancel").status_code == 404
    assert client.post(f"/v1/sweeps/{sweep_id}/cancel").json()["state"] == "cancelled"


def test_a_grid_that_is_too_large_is_refused_with_its_number(
    post: Callable[..., Any], service: Service
) -> None:
    axes = {"settlement.gain.share": {"from": 0, "to": 1, "count": 100_000},
            "settlement.loss.share": {"from": 0, "to": 1, "count": 6}}  # fmt: skip
    response = post(axes=axes)
    assert response.status_code == 422
    assert "1,200,000 rows, more than the limit of 1,000,000" in response.json()["detail"]
    assert response.json()["errors"][0]["pointer"] == "/axes"
    assert service.store.queue.runs("sweep", limit=1) == []


@pytest.mark.parametrize(
    ("axes", "told"),
    [
        ({"cost.claim_cap": [100_000]}, "make a new run"),
        ({"settlement.gain.shares": [0.5]}, "no such path"),
        ({"settlement.gain.share": [1.5]}, "expected a number at least 0 and at most 1"),
        ({"settlement.gain.share": {"from": 1, "to": 0, "count": 2}}, "rising range"),
        ({"settlement.gain.share": []}, "see errors"),
        ({"settlement.gain.share": {"from": 0, "to": 1}}, "see errors"),
        ({}, "see errors"),
    ],
)
def test_axes_that_fit_no_term_are_refused(
    post: Callable[..., Any], axes: dict[str, Any], told: str
) -> None:
    response = post(axes=axes)
    assert response.status_code == 422
    assert told in response.json()["detail"]


def test_a_sweep_needs_a_run_that_succeeded(
    client: TestClient, start: Callable[..., Any], post: Callable[..., Any]
) -> None:
    waiting = start("other").json()["id"]
    assert post(run=waiting).status_code == 409
    assert post(run="no-such").json()["errors"][0]["pointer"] == "/run"
    assert client.get("/v1/sweeps/no-such").status_code == 404


def test_a_run_without_its_terms_cannot_be_swept(
    post: Callable[..., Any], service: Service, swept_run: Run
) -> None:
    folder: Path = service.home.attempt(swept_run.id, swept_run.attempt)
    (folder / kept_terms.FILE).unlink()
    response = post()
    assert response.status_code == 409
    assert "keeps no terms" in response.json()["detail"]
    assert str(folder) not in response.text
