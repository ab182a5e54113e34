from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cluster.home import Home
from cluster.runs import Run
from cluster.store import Store

if TYPE_CHECKING:
    from cluster.runner import RayRunner
    from tests.postgresql import Server


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.make()
    return home


ON_BOTH = ("test_keys", "test_leases", "test_news", "test_queue", "test_registry")
"""Modules whose tests hold on either database: what they tell must not depend on which."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    module = metafunc.module.__name__.rpartition(".")[2]
    if module in ON_BOTH and "database_url" in metafunc.fixturenames:
        # rows on a server do not depend on the interpreter
        server = pytest.param("postgresql", marks=pytest.mark.service)
        metafunc.parametrize("database_url", ["sqlite", server], indirect=True)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, home: Home) -> str:
    """Of SQLite in the home, or of PostgreSQL with the tables made."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return home.database_url
    server: Server = request.getfixturevalue("postgresql")
    return server.store()


@pytest.fixture
def store(database_url: str, home: Home, empty_database: Path) -> Iterator[Store]:
    if database_url == home.database_url:
        shutil.copy(empty_database, home.path)
    store = Store(database_url)
    yield store
    store.close()


@pytest.fixture
def postgresql_store(postgresql: Server) -> Iterator[Store]:
    store = Store(postgresql.database())
    yield store
    store.close()


@pytest.fixture
def submit(store: Store) -> Callable[..., Run]:
    """Queues a run; gives it."""

    def send(key: str = "k", payload: str = "p", owner: str = "operator") -> Run:
        run, _ = store.queue.submit(
            "run",
            {"seed": 1},
            owner=owner,
            idempotency_key=key,
            payload_sha256=hashlib.sha256(payload.encode()).hexdigest(),
        )
        return run

    return send


@pytest.fixture
def take(store: Store) -> Callable[..., Run]:
    """Takes the oldest queued run, of which there must be one."""

    def lease(lease_ms: int = 60_000, dispatcher: str = "d1") -> Run:
        run = store.leases.take(dispatcher, lease_ms=lease_ms)
        assert run is not None
        return run

    return lease


@pytest.fixture(scope="session")
def ray_runner() -> Iterator[RayRunner]:
    """One local cluster for every test that wants one: starting it costs seconds."""
    from cluster.runner import RayRunner  # noqa: PLC0415 (tests of the store need no Ray)

    with RayRunner("local", cpus=2) as runner:
        yield runner
