from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, update

from api import cli
from api.app import create_app
from api.auth import OPERATOR_SCOPES, issue_key
from api.service import Service
from api.settings import Settings
from cluster.runs import Run
from cluster.schema import runs
from cluster.store import Store
from ihp_compute import METHOD_VERSION
from ihp_compute.folders import MANIFEST, SEAL, file_sha256, write_arrow, write_manifest
from ihp_compute.measure.completion import COST_KINDS
from ihp_compute.population import INCURRED_DAYS, PAYMENT_DAYS_FILE
from ihp_compute.population.payment_days import PAYMENT_DAYS
from ihp_compute.population.shards import LAYOUT_VERSION
from ihp_compute.results import CERTIFICATION, read_manifest
from ihp_compute.units import month_of

CONTRACT = "mn-ihp-2.0-track-2"
DIGEST = "cd" * 32
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
def service(settings: Settings, empty_database: Path) -> Iterator[Service]:
    if settings.database == settings.folder.database_url:
        shutil.copy(empty_database, settings.folder.path)
    store = Store(settings.database)
    yield Service(settings, store, lambda: "works", lambda: False)
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


def paid_lines(*paid: tuple[int, int]) -> pa.RecordBatch:
    """Payment days of one line each, of a year and paid on a day."""
    rows = [
        {"incurred_by": by, "kind": COST_KINDS[0], "month": month_of(year, 1), "paid_day": day,
         "lines": 1, "paid_cents": 100}
        for by in INCURRED_DAYS
        for year, day in paid
    ]  # fmt: skip
    return pa.RecordBatch.from_pylist(rows, schema=PAYMENT_DAYS)


@pytest.fixture
def served(service: Service) -> Iterator[tuple[FastAPI, str]]:
    """The application on a socket, and its address: where clients come, stall and leave."""
    app = create_app(service)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield app, f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = server.force_exit = True
        thread.join()


@pytest.fixture
def make_population() -> Callable[..., Path]:
    """Writes what is read of a population before its claims: manifest, roster, days of payment."""

    def make(path: Path, digest: str = "ab" * 32) -> Path:
        (path / "reference").mkdir(parents=True, exist_ok=True)
        roster = pa.RecordBatch.from_pydict({"partnership_id": ["P-1", "P-2"]})
        name = "reference/provider_roster.arrow"
        files = {name: write_arrow(path / name, roster)}
        write_arrow(path / PAYMENT_DAYS_FILE, paid_lines((2023, 19_500), (2024, 19_800)))
        manifest = {
            "kind": "population",
            "layout_version": LAYOUT_VERSION,
            "method_version": METHOD_VERSION,
            "files": files,
            "n_shards": 4,
            "members": 100,
            "member_months": 1200,
            "population_digest": digest,
            "inputs": [],
            "ledger": [],
            "full_years": [2023, 2024],
            "last_paid_day": 20_300,
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


def sealed(folder: Path, **said: Any) -> None:
    """Write the manifest of a run over the files that are in its folder now, and say more in it."""
    path = folder / MANIFEST
    held = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    empty = {"kind": "run", "digest": DIGEST, "terms": {}, "population": {}}
    held = {**empty, "method_version": METHOD_VERSION, **held, **said}
    names = [p for p in folder.iterdir() if p.is_file() and p.name not in (MANIFEST, CERTIFICATION)]
    held["files"] = {p.name: file_sha256(p) for p in names}
    write_manifest(folder, {name: value for name, value in held.items() if name != SEAL})


@pytest.fixture
def holding(service: Service, finished: Run) -> Callable[[Path], Run]:
    """Makes the finished run one that has made this folder, a copy of which it gets."""

    def hold(folder: Path) -> Run:
        place = service.home.attempt(finished.id, finished.attempt)
        shutil.rmtree(place)
        shutil.copytree(folder, place)
        digest = read_manifest(folder)["digest"]
        engine = create_engine(service.settings.database)
        with engine.begin() as connection:
            connection.execute(update(runs).where(runs.c.id == finished.id).values(digest=digest))
        engine.dispose()
        return replace(finished, digest=digest)

    return hold


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
    (folder / "report.html").write_text("<!doctype html><title>Report</title>")
    sealed(folder)
    ended = service.store.leases.finish(run, "succeeded", digest=DIGEST)
    assert ended is not None
    return ended
