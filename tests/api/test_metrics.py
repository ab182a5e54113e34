from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient as PlainClient

from api.metrics import MetricsApp
from api.service import Service
from cluster.census import Census
from cluster.runs import Run


@pytest.fixture
def counted(service: Service) -> Callable[[], dict[str, float]]:
    """Scrapes, as a Prometheus does; gives each line's value."""
    service.metrics.watch(
        census=service.store.census, dispatcher_alive=lambda: True, connections=lambda: 7
    )

    def scrape() -> dict[str, float]:
        answer = PlainClient(MetricsApp(service.metrics)).get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain")
        lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    return scrape


def test_requests_are_counted_by_pattern_method_and_status(
    client: TestClient, counted: Callable[[], dict[str, float]]
) -> None:
    for name in ("one", "two"):
        client.get(f"/v1/populations/{name}-secret")
    client.request("BREW", "/secret-path")
    found = counted()
    labels = 'method="GET",route="/v1/populations/{name}"'
    requests = 'ihp_http_requests_total{method="GET",route="/v1/populations/{name}",status="404"}'
    assert found[requests] == 2
    assert found[f"ihp_http_request_seconds_count{{{labels}}}"] == 2
    assert found[f'ihp_http_request_seconds_bucket{{le="+Inf",{labels}}}'] == 2
    assert not any("secret" in name or "BREW" in name for name in found)


def test_runs_are_counted_by_state_reason_and_time_and_sweeps_apart(
    service: Service, start: Any, finished: Run, counted: Callable[[], dict[str, float]]
) -> None:
    assert finished.state == "succeeded"
    failing = start("key-2", seed=8).json()["id"]
    run = service.store.leases.take("d1", lease_ms=60_000)
    assert run is not None
    assert run.id == failing
    service.store.leases.finish(run, "failed", reason="data_error", detail="no rows")
    start("key-3", seed=9)
    found = counted()
    assert found['ihp_runs{kind="run",state="succeeded"}'] == 1
    assert found['ihp_runs{kind="run",state="failed"}'] == 1
    assert found['ihp_runs{kind="run",state="queued"}'] == 1
    assert found['ihp_runs{kind="sweep",state="queued"}'] == 0
    assert found['ihp_run_failures_total{kind="run",reason="data_error"}'] == 1
    assert found['ihp_run_seconds_count{kind="run",state="succeeded"}'] == 1
    assert found['ihp_run_seconds_bucket{kind="run",le="+Inf",state="failed"}'] == 1
    assert 0 <= found['ihp_queue_age_seconds{kind="run"}'] < 600
    assert found["ihp_dispatcher_alive"] == 1
    assert found["ihp_connections_open"] == 7
    assert found["ihp_streams_open"] == found["ihp_downloads_open"] == 0
    assert found["process_resident_memory_bytes"] > 1 << 20


def test_metrics_without_a_database_are_503(
    service: Service,
    counted: Callable[[], dict[str, float]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert counted()

    def away(_self: object) -> None:
        raise OperationalError("SELECT", {}, RuntimeError("gone"))

    monkeypatch.setattr(Census, "count", away)
    client = PlainClient(MetricsApp(service.metrics))
    assert client.get("/metrics").status_code == 503
    assert client.get("/").status_code == 404
    assert client.post("/metrics").status_code == 405


def test_the_service_itself_has_no_metrics(client: TestClient) -> None:
    assert client.get("/metrics").status_code == 404
