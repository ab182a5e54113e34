from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from api import cli
from api.app import create_app
from api.auth import OPERATOR_SCOPES, issue_key
from api.service import Service
from api.settings import Settings
from cluster.runs import Run
from cluster.store import Store
from ihp_compute import METHOD_VERSION
from ihp_compute.population.shards import LAYOUT_VERSION

CONTRACT = "mn-ihp-2.0-track-2"
Ihp = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def ihp(monkeypatch: Any, capsys: Any, tmp_path: Path) -> Ihp:
    """Run `ihp` in an empty folder: exit code, stdout, and what stderr says beside progress."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: Any) -> tuple[int, str, list[str]]:
        monkeypatch.setattr("sys.argv", ["ihp", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        said = [line for line in err.splitlines() if not line.startswith(("ingest: ", "run: "))]
        return int(left.value.code or 0), out, said

    return call


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    settings = Settings(
        home=tmp_path / "home", locations={"archive": elsewhere}, max_body_bytes=2000
    )
    settings.folder.make()
    return settings


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    store = Store(settings.database)
    yield Service(settings, store, lambda: True, lambda: False)
    store.close()


@pytest.fixture
def key_with(service: Service) -> Callable[..., dict[str, str]]:
    """Makes a key with these scopes; gives the header that carries it."""

    def make(*scopes: str, owner: str = "operator", days: int = 1) -> dict[str, str]:
        _, key = issue_key(
            service.store.keys, service.home, owner=owner, note="test", scopes=scopes, days=days
        )
        return {"Authorization": f"Bearer {key}"}

    return make


@pytest.fixture
def anonymous(service: Service) -> Iterator[TestClient]:
    with TestClient(create_app(service)) as client:
        yield client


@pytest.fixture
def client(service: Service, key_with: Callable[..., dict[str, str]]) -> Iterator[TestClient]:
    """A client with the key that `ihp serve` prints."""
    with TestClient(create_app(service), headers=key_with(*OPERATOR_SCOPES)) as client:
        yield client


@pytest.fixture
def make_population() -> Callable[..., Path]:
    """Writes the manifest of a population without files: enough to be registered and named."""

    def make(path: Path, digest: str = "ab" * 32) -> Path:
        path.mkdir(parents=True, exist_ok=True)
        manifest = {
            "kind": "population",
            "layout_version": LAYOUT_VERSION,
            "method_version": METHOD_VERSION,
            "files": {},
            "n_shards": 4,
            "members": 100,
            "member_months": 1200,
            "population_digest": digest,
            "inputs": [],
            "ledger": [],
            "full_years": [2023, 2024],
            "last_paid_day": 20_000,
        }
        (path / "manifest.json").write_text(json.dumps(manifest))
        return path

    return make


@pytest.fixture
def population(client: TestClient, service: Service, make_population: Callable[..., Path]) -> str:
    make_population(service.home.populations / "state")
    response = client.post("/v1/populations", json={"name": "state", "prefix": "state"})
    assert response.status_code == 201
    return "state"


@pytest.fixture
def start(client: TestClient, population: str) -> Callable[..., Any]:
    """Posts a run; gives the response."""

    def post(key: str = "key-1", **changes: Any) -> Any:
        body = {
            "population": population,
            "contracts": [CONTRACT],
            "performance_year": 2024,
            "replicates": 10,
            "seed": 7,
            **changes,
        }
        return client.post("/v1/runs", json=body, headers={"Idempotency-Key": key})

    return post


SETTLEMENT = pa.table(
    {
        "partnership_id": ["P-1", 'P "2", ü'],
        "payment_cents": pa.array([2**53 + 1, -5], pa.int64()),
        "savings_rate": [0.1, float("nan")],
    }
)
MEMBER_YEARS = pa.table(
    {"member_key": pa.array([1, 2**64 - 1], pa.uint64()), "paid_cents": pa.array([1, 2])}
)


@pytest.fixture
def finished(service: Service, start: Callable[..., Any]) -> Run:
    """A run that succeeded, with a table for all and one that is restricted."""
    run_id = start().json()["id"]
    run = service.store.leases.take("d1", lease_ms=60_000)
    assert run is not None
    assert run.id == run_id
    folder = service.home.attempt(run.id, run.attempt)
    folder.mkdir(parents=True)
    pq.write_table(SETTLEMENT, folder / "settlement.parquet", row_group_size=1)
    pq.write_table(MEMBER_YEARS, folder / "member_years.parquet")
    (folder / "manifest.json").write_text('{"kind": "run"}')
    (folder / "report.html").write_text("<!doctype html><title>Report</title>")
    ended = service.store.leases.finish(run, "succeeded", digest="cd" * 32)
    assert ended is not None
    return ended
