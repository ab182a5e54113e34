"""Sweeps over HTTP: queued like runs, refused by size with the number, read in any form."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

import ihp_compute
from api.auth import OPERATOR_SCOPES
from api.forms import FORMS
from api.opened import MEMBER_SCOPE
from api.service import Service
from cluster.runner import StoppedError
from cluster.runs import Run
from cluster.states import Phase
from cluster.work import WORK, resettle
from ihp_compute import contracts as contract
from ihp_compute.codes import RATE_CELLS
from ihp_compute.contracts import ContractSet
from ihp_compute.measured_before import MeasuredBefore
from ihp_compute.results import kept_terms
from ihp_compute.runner import LocalRunner, Runner
from ihp_compute.settlement.settle import settle
from ihp_compute.uncertainty.totals import Totals, column_names, write_totals
from tests.api.conftest import sealed

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
    sealed(folder, **manifest)
    return finished


@pytest.fixture
def post(client: TestClient, swept_run: Run) -> Callable[..., Any]:
    def send(key: str = "sweep-1", **changes: Any) -> Any:
        body = {"run": swept_run.id, "axes": AXES, **changes}
        return client.post("/v1/sweeps", json=body, headers={"Idempotency-Key": key})

    return send


class AttemptDouble:
    """The dispatcher's attempt, which says how far it is and is never unwanted."""

    def __init__(self, service: Service, run: Run, done: list[tuple[int, int]]) -> None:
        self._leases, self._run, self._done = service.store.leases, run, done

    def enter(self, phase: Phase) -> None:
        assert self._leases.enter(self._run, phase)

    def progress(self, done: int, total: int) -> None:
        self._done.append((done, total))

    @property
    def before(self) -> MeasuredBefore:
        raise AssertionError

    def keeping(self, runner: Runner, parallelism: int) -> Runner:
        raise AssertionError((runner, parallelism))


class StoppedAttempt:
    """An attempt that is told to stop once a row of a partnership is done."""

    def enter(self, phase: Phase) -> None:
        assert phase == "running"

    def progress(self, done: int, _total: int) -> None:
        if done > 6:
            raise StoppedError

    @property
    def before(self) -> MeasuredBefore:
        raise AssertionError

    def keeping(self, runner: Runner, parallelism: int) -> Runner:
        raise AssertionError((runner, parallelism))


def work(service: Service) -> Run:
    """Does the next sweep as the dispatcher would."""
    run = service.store.leases.take("d1", lease_ms=60_000)
    assert run is not None
    assert WORK[run.kind] is resettle
    out = service.home.attempt(run.id, run.attempt)
    out.parent.mkdir(parents=True)
    done: list[tuple[int, int]] = []
    attempt = AttemptDouble(service, run, done)
    digest = resettle(run, out, LocalRunner(1), attempt)
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
    all_scopes = key_with(*OPERATOR_SCOPES, MEMBER_SCOPE)
    view = client.get(here, params={"wait": 5}, headers=all_scopes).json()
    assert (view["state"], view["rows_done"], view["digest"]) == ("succeeded", 18, ended.digest)
    accept = {"Accept": "application/vnd.apache.arrow.stream"}
    arrow = client.get(f"{here}/results", headers=all_scopes | accept)
    table = pa.ipc.open_stream(arrow.content).read_all()
    assert table.num_rows == 18
    assert table.column_names[:5] == [
        "scenario_id", "settlement.gain.share", "settlement.loss.share", "scope", "partnership_id",
    ]  # fmt: skip
    rows = client.get(f"{here}/results", headers=all_scopes).json()["rows"]
    assert rows == table.to_pylist()
    kinds = [event["kind"] for event in client.get(f"{here}/events").json()["events"]]
    assert kinds == ["submitted", "started", "validated", "committing", "succeeded"]
    assert client.get("/v1/sweeps", headers=all_scopes).json()["sweeps"] == [view]


def test_no_digest_of_whole_rows_is_told_to_who_may_not_see_them(
    client: TestClient,
    service: Service,
    small_run: Path,
    holding: Callable[[Path], Run],
    key_with: Callable[..., dict[str, str]],
) -> None:
    """By it a guess of what is hidden could be tried: in no view, header, file or page."""
    body = {"run": holding(small_run).id, "axes": AXES}

    def post() -> Any:
        return client.post("/v1/sweeps", json=body, headers={"Idempotency-Key": "1"}).json()

    sweep_id = post()["id"]
    digest = work(service).digest
    assert digest
    here, page = f"/v1/sweeps/{sweep_id}", f"/sweeps/{sweep_id}"
    asked: list[tuple[str, str, str]] = [
        *(("GET", path, "*/*") for path in ("/v1/sweeps", here, f"{here}/events", page)),
        *(("GET", f"{here}/results", form) for form in FORMS),
        *(("GET", f"{page}/{name}", "*/*") for name in ("rows.csv", "rows.parquet", "bars.arrow")),
        ("POST", f"{here}/cancel", "*/*"),
    ]
    for method, path, accept in asked:
        found = client.request(method, path, headers={"Accept": accept})
        assert found.status_code == 200, path
        told = [found.content, str(found.headers).encode()]
        if found.content.startswith(b"PAR1"):
            told.append(repr(pq.read_schema(pa.BufferReader(found.content)).metadata).encode())
        assert not any(digest.encode() in one for one in told), path
    assert (post()["id"], post()["digest"]) == (sweep_id, None)  # the same Idempotency-Key
    whole = key_with(*OPERATOR_SCOPES, MEMBER_SCOPE)
    assert digest in client.get(page, headers=whole).text


def test_a_failure_counts_no_few_people_to_who_may_not_see_members(
    client: TestClient,
    service: Service,
    post: Callable[..., Any],
    key_with: Callable[..., dict[str, str]],
) -> None:
    here = f"/v1/sweeps/{post().json()['id']}"
    run = service.store.leases.take("d1", lease_ms=60_000)
    assert run is not None
    words = f"{run.request['run_dir']}: 3 members of P-1 cost $12.50"
    service.store.leases.finish(run, "failed", reason="data_error", detail=words)
    name = f"run {run.request['asked']['run']}"
    assert client.get(here).json()["detail"] == f"{name}: few members of P-1 cost $…"
    assert (
        client.get("/v1/sweeps").json()["sweeps"][0]["detail"]
        == f"{name}: few members of P-1 cost $…"
    )
    whole = client.get(here, headers=key_with("runs:read", "results:member")).json()
    assert whole["detail"] == f"{name}: 3 members of P-1 cost $12.50"


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
        ({"settlement.gain.share": {"from": -1e308, "to": 1e308, "count": 5}}, "below 1E+15"),
        ({"settlement.gain.share": [1e300]}, "below 1E+15"),
        ({"settlement.gain.share": [10**400]}, "below 1E+15"),
        (
            {"settlement.gain.bands": ["none"], "settlement.gain.bands.inner.share": [0.5]},
            "as a whole",
        ),
        ({"cost.keep_above_cap": [0.2]}, "make a new run"),
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
    waiting = start("other", force=True).json()["id"]
    assert post(run=waiting).status_code == 409
    assert post(run="no-such").json()["errors"][0]["pointer"] == "/run"
    assert client.get("/v1/sweeps/no-such").status_code == 404


def test_a_run_without_its_terms_cannot_be_swept(
    post: Callable[..., Any], service: Service, swept_run: Run
) -> None:
    folder: Path = service.home.attempt(swept_run.id, swept_run.attempt)
    (folder / kept_terms.FILE).unlink()
    sealed(folder)
    response = post()
    assert response.status_code == 409
    assert "keeps no terms" in response.json()["detail"]
    assert str(folder) not in response.text


def test_a_refused_axis_is_pointed_at(post: Callable[..., Any]) -> None:
    axes = {"settlement.loss.share": [0.5], "settlement.gain.share": [1.5]}
    for number, wrong in enumerate(([1.5], {"from": 1, "to": 0, "count": 2}, [1e300], [0.5, 0.5])):
        response = post(str(number), axes={**axes, "settlement.gain.share": wrong})
        assert response.json()["errors"][0]["pointer"] == "/axes/settlement.gain.share"


@pytest.mark.parametrize(
    "axes",
    [
        {"risk.credibility": ["none", 5000], "target.cell_credibility": ["none", "months"]},
        {
            "settlement.gate.size_table": ["none", "1:0.05"],
            "settlement.gate.gain_rate": [0.02, "size_table"],
        },
    ],
)
def test_axes_that_contradict_each_other_are_refused_before_anything_is_queued(
    post: Callable[..., Any], service: Service, axes: dict[str, Any]
) -> None:
    response = post(axes=axes)
    assert response.status_code == 422, response.text
    assert response.json()["errors"][0]["pointer"].startswith("/axes")
    assert service.store.queue.runs("sweep", limit=1) == []


def test_an_estimate_wants_no_idempotency_key(
    client: TestClient, post: Callable[..., Any], swept_run: Run
) -> None:
    body = {"run": swept_run.id, "axes": AXES}
    estimate = client.post("/v1/sweeps/estimate", json=body)
    assert estimate.status_code == 200
    assert estimate.json() == post(dry_run=True).json()
    assert client.post("/v1/sweeps", json=body).status_code == 400


def test_values_that_are_measured_anew_are_counted_beforehand(
    client: TestClient, swept_run: Run, service: Service
) -> None:
    """By what the run itself took; its own value takes nothing, and too many are refused."""
    folder = service.home.attempt(swept_run.id, swept_run.attempt)
    sealed(folder, timings={"seconds": 100.0})
    axes = {**AXES, "cost.claim_cap": [100_000, 200_000, 500_000]}
    found = client.post("/v1/sweeps/estimate", json={"run": swept_run.id, "axes": axes}).json()
    assert (found["points"], found["measurements"]) == (18, 2)
    assert 200 <= found["seconds"] < 201
    axes["cost.claim_cap"] = list(range(1, 80))
    refused = client.post("/v1/sweeps/estimate", json={"run": swept_run.id, "axes": axes})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/axes/cost.claim_cap"


def test_a_dry_run_tells_the_size_and_queues_nothing(
    post: Callable[..., Any], service: Service
) -> None:
    response = post(dry_run=True)
    assert response.status_code == 200
    said = response.json()
    assert (said["points"], said["rows"], said["draws"]) == (6, 18, 18 * 11)
    assert said["seconds"] >= 0
    assert said["max_rows"] == service.settings.max_sweep_rows
    assert service.store.queue.runs("sweep", limit=1) == []
    assert post(dry_run=True, axes={"settlement.gain.share": [9]}).status_code == 422
    assert post().status_code == 202  # the key was not used


def test_a_run_whose_folder_hangs_stops_nobody_else(
    client: TestClient,
    swept_run: Run,
    key_with: Callable[..., dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More requests than there are threads, of each kind that reads a run's files."""
    let_go = threading.Event()
    whole = key_with(*OPERATOR_SCOPES, MEMBER_SCOPE)
    monkeypatch.setattr("api.sweeps.ways_of", lambda *_, **__: let_go.wait(120))
    monkeypatch.setattr("api.compared.reconcile", lambda *_: let_go.wait(120))
    monkeypatch.setattr("api.compared.asked_otherwise", lambda *_: let_go.wait(120))
    monkeypatch.setattr("api.compared.MAKE_S", 0.5)
    monkeypatch.setattr("api.reading.READ_S", 0.5)
    here = f"/v1/runs/{swept_run.id}"
    body = {"run": swept_run.id, "axes": AXES, "dry_run": True}
    asked = [
        partial(client.post, "/v1/sweeps", json=body, headers={"Idempotency-Key": "1"}),
        partial(client.get, f"{here}/reconciliation", headers=whole),
        partial(client.get, f"{here}/diff/{swept_run.id}", headers=whole),
    ]
    with ThreadPoolExecutor(48) as many:
        waiting = [many.submit(ask) for ask in asked * 16]
        try:
            assert client.get("/v1/sweeps").status_code == 200
            answers = [one.result(timeout=60) for one in waiting]
        finally:
            let_go.set()
    assert {answer.status_code for answer in answers} == {503}


def test_rows_that_were_done_before_a_cancel_stay_readable(
    client: TestClient,
    service: Service,
    post: Callable[..., Any],
    key_with: Callable[..., dict[str, str]],
) -> None:
    """The state's come first, so that a sweep stopped early answers the budget's question."""
    here = f"/v1/sweeps/{post().json()['id']}"
    run = service.store.leases.take("d1", lease_ms=60_000)
    assert run is not None
    out = service.home.attempt(run.id, run.attempt)
    out.parent.mkdir(parents=True)
    client.post(f"{here}/cancel")

    with pytest.raises(StoppedError):
        resettle(run, out, LocalRunner(1), StoppedAttempt())
    assert client.get(f"{here}/results").status_code == 409
    assert service.store.leases.finish(run, "cancelled") is not None
    headers = key_with(*OPERATOR_SCOPES, MEMBER_SCOPE)
    headers["Accept"] = "application/vnd.apache.arrow.stream"
    answer = client.get(f"{here}/results", headers=headers)
    rows = pa.ipc.open_stream(answer.content).read_all().to_pylist()
    assert [row["scope"] for row in rows].count("state") == 6
    assert 6 < len(rows) < 18
    again = post("again").json()["id"]
    work(service)
    whole = client.get(f"/v1/sweeps/{again}/results", headers=headers)
    all_rows = pa.ipc.open_stream(whole.content).read_all().to_pylist()
    assert all(row in all_rows for row in rows)
