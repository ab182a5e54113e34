"""A database file that another holds for long is no failure of the run under way."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from cluster import database
from cluster.dispatch import Dispatcher
from cluster.home import Home
from cluster.runner import RayRunner
from cluster.runs import Run
from cluster.store import Store
from cluster.work import Attempt
from ihp_compute.errors import InfrastructureError

BUSY_S = 0.1
"""How long a writer waits here; thirty seconds in a service."""
LEASE_MS = 500
TURNED_AWAY = {"not_heard", "heartbeat_failed"}
"""What an attempt logs whose phase or heartbeat the database did not take."""


class NoRunner:
    """A cluster that nothing is asked of."""

    def for_run(self, **_named: Any) -> NoRunner:
        return self


def test_a_run_goes_on_while_its_database_file_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its phases, its progress and its end are said again until they are heard, by one attempt."""
    monkeypatch.setattr(database, "BUSY_S", BUSY_S)
    home = Home(tmp_path / "home")
    home.make()
    store = Store(home.database_url)
    run, _ = store.queue.submit(
        "run", {"seed": 1}, owner="o", idempotency_key="k", payload_sha256="0" * 64
    )
    held, over = threading.Event(), threading.Event()
    said: list[Any] = []

    def hold() -> None:
        """Until every kind of writer was turned away, and the lease has run out."""
        other = sqlite3.connect(home.path / "service.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        held.set()
        until_s = time.monotonic() + 60
        while time.monotonic() < until_s and not TURNED_AWAY.issubset(log["event"] for log in said):
            time.sleep(0.02)
        time.sleep(2 * LEASE_MS / 1000)
        over.set()
        other.execute("ROLLBACK")
        other.close()

    holds = threading.Thread(target=hold)

    def work(run: Run, out: Path, _runner: RayRunner, attempt: Attempt) -> str:
        holds.start()
        assert held.wait(60)
        attempt.progress(1, 5)  # waits only so long, and is not missed
        assert not over.is_set()
        attempt.enter("running")
        assert over.is_set()
        attempt.enter("committing")
        out.mkdir()
        return f"digest of {run.kind}"

    dispatcher = Dispatcher(
        store.leases,
        home,
        cast(RayRunner, NoRunner()),
        name="d",
        work={"run": work},
        lease_ms=LEASE_MS,
        beat_s=0.1,
    )
    with capture_logs() as logs:
        said = logs
        assert dispatcher.step()
        holds.join()
    ended = store.queue.run(run.id)
    assert (ended.state, ended.digest) == ("succeeded", "digest of run")
    assert (ended.attempt, ended.losses) == (1, 0)
    assert TURNED_AWAY.issubset(log["event"] for log in logs)
    store.close()


def test_an_opening_that_finds_the_file_held_waits_then_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    home.make()
    Store(home.database_url).close()
    monkeypatch.setattr(database, "BUSY_S", 0.1)
    other = sqlite3.connect(home.path / "service.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    opened: Callable[[], Store] = lambda: Store(home.database_url)  # noqa: E731
    with pytest.raises(InfrastructureError, match="database is locked; check the folder"):
        opened()
    other.execute("ROLLBACK")
    other.close()
    opened().close()
