"""The service's memory on PostgreSQL: its steps, its locks, and what happens while it is away."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import alembic.command
import alembic.config
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, select, update
from sqlalchemy.exc import DBAPIError

from cluster import dispatch, schema
from cluster.audit import Actor
from cluster.database import AWAY, BUSY_S, new_id
from cluster.dispatch import Dispatcher
from cluster.home import Home
from cluster.leases import Leases
from cluster.queue import Labels
from cluster.runner import RayRunner
from cluster.runs import Run
from cluster.schema import METADATA
from cluster.store import Store
from cluster.work import Attempt, Work
from ihp_compute.errors import InfrastructureError
from tests.cluster.test_audit import by_many, entries_of_step_4
from tests.postgresql import Server

pytestmark = pytest.mark.service  # its rows do not depend on the interpreter

LEASE_MS = 60_000
ANN = Actor("ann", "key-1", "GET /v1", "r-1")


@pytest.fixture
def store(postgresql_store: Store) -> Store:
    return postgresql_store


def submit(store: Store, key: str = "k", **labels: Any) -> tuple[Run, bool]:
    return store.queue.submit(
        "run", {"seed": 1}, owner="o", idempotency_key=key,
        payload_sha256=hashlib.sha256(b"p").hexdigest(), labels=Labels(**labels),
    )  # fmt: skip


def steps(engine: Any, last: str, *, back: bool = False) -> None:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        move = alembic.command.downgrade if back else alembic.command.upgrade
        move(config, last)


def test_the_steps_build_the_schema_as_declared_and_are_taken_back(postgresql: Server) -> None:
    url = postgresql.database().replace("postgresql:", "postgresql+psycopg:")
    engine = create_engine(url)
    for last in ("0001", "0003", "head"):
        steps(engine, last)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
        widths = connection.exec_driver_sql("SELECT data_type::text FROM pg_sequences").scalars()
        assert set(widths) == {"bigint"}
    steps(engine, "0004", back=True)
    steps(engine, "base", back=True)
    with engine.connect() as connection:
        assert connection.dialect.get_table_names(connection) == ["alembic_version"]
    engine.dispose()


def test_many_processes_may_open_a_new_database_at_once(postgresql: Server) -> None:
    url = postgresql.database()
    with ThreadPoolExecutor(6) as pool:
        stores = list(pool.map(lambda _: Store(url), range(6)))
    assert [store.news.last() for store in stores] == [0] * 6
    for store in stores:
        store.close()


def test_what_cannot_be_opened_is_said_in_words(postgresql: Server) -> None:
    """No driver's text over many lines, and no password."""
    nowhere = (
        postgresql.database().replace("ihp_", "none_").replace("postgres@", "postgres:secret@")
    )
    with pytest.raises(InfrastructureError, match=r"cannot be opened: .*does not exist") as refused:
        Store(nowhere)
    assert "secret" not in str(refused.value)
    for url, words in (("mysql://h/d", "of kind mysql"), ("garbage", "URL is none")):
        with pytest.raises(InfrastructureError, match=words):
            Store(url)


def test_numbers_of_events_go_beyond_32_bits(store: Store) -> None:
    with store._database.write() as connection:
        connection.exec_driver_sql(f"ALTER SEQUENCE events_seq_seq RESTART WITH {2**33}")
    run, _ = submit(store)
    assert [event.seq for event in store.queue.events(run.id, after=2**31)] == [2**33]
    assert store.news.last() == 2**33
    assert store.queue.events(run.id, after=2**63 - 1) == []


@pytest.mark.parametrize(
    "words", ["UPDATE audit SET owner = 'eve'", "DELETE FROM audit", "TRUNCATE audit"]
)
def test_the_database_refuses_to_change_a_row_of_the_audit(store: Store, words: str) -> None:
    store.audit.append(ANN, "request", outcome="refused", run_id="a\x00b")
    with pytest.raises(DBAPIError, match="kept as it was written"), store._database.write() as at:
        at.exec_driver_sql(words)
    (entry,) = store.audit.entries(limit=10)
    assert (entry.owner, entry.run_id) == ("ann", "a?b")


def test_those_who_write_at_once_make_one_chain_of_the_audit(postgresql: Server) -> None:
    """Two connections never wait for each other in a ring: keys, names and versions take turns."""
    url = postgresql.database()
    stores = [Store(url) for _ in range(3)]
    by_many(*stores)
    for store in stores:
        store.close()


def test_entries_of_an_earlier_step_are_chained_and_kept(postgresql: Server) -> None:
    url = postgresql.database()
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        entries_of_step_4(connection)
    store = Store(url)
    store.audit.append(ANN, "request", outcome="refused")
    assert store.audit.chain().valid
    assert store.audit.chain().entries == 3
    for words in ("UPDATE audit SET owner = 'eve'", "DELETE FROM audit", "TRUNCATE audit"):
        with pytest.raises(DBAPIError, match="kept as it was"), engine.begin() as connection:
            connection.exec_driver_sql(words)
    engine.dispose()
    store.close()


def test_a_hundred_identical_submissions_and_retries_make_one_run(store: Store) -> None:
    with ThreadPoolExecutor(16) as pool:
        ids = {run.id for run, _ in pool.map(lambda _: submit(store), range(100))}
        (first,) = ids
        again = list(pool.map(lambda n: submit(store, f"r{n}", retry_of=first), range(30)))
    assert sum(new for _, new in again) == 1
    assert len({run.id for run, _ in again}) == 1


def test_many_dispatchers_take_each_run_once_and_reclaim_it_once(store: Store) -> None:
    for n in range(24):
        submit(store, str(n))
    with ThreadPoolExecutor(8) as pool:
        take = partial(store.leases.take, lease_ms=-1)
        taken = [run for run in pool.map(take, (f"d{n}" for n in range(30))) if run]
        assert len({run.id for run in taken}) == len(taken) == 24
        moved = list(pool.map(lambda _: store.leases.reclaim(actor="d"), range(8)))
    assert len([run_id for ids in moved for run_id in ids]) == 24
    assert {run.losses for run in store.queue.runs("run", limit=99)} == {1}


def test_a_writer_waits_for_a_locked_row_only_so_long(store: Store) -> None:
    """A key's last use waits for nobody; a run's row that another holds is told as away."""
    key_id = store.keys.add("h", owner="o", note="", scopes=[], days=1)
    run, _ = submit(store)
    held = store.leases.take("d", lease_ms=LEASE_MS)
    assert held is not None
    with store._database.write() as other:
        other.execute(update(schema.api_keys).values(note="held"))
        other.execute(update(schema.runs).values(owner="held"))
        started_s = time.monotonic()
        found = store.keys.find("h")
        assert found is not None
        assert found.id == key_id
        with pytest.raises(AWAY):
            store.leases.progress(held, 1, 2)
        assert time.monotonic() - started_s < BUSY_S / 2  # others wait for so long
    assert store.queue.run(run.id).owner == "held"


def test_a_database_is_one_homes(postgresql: Server, tmp_path: Path) -> None:
    """Opened again, and moved to another folder, it is the same home; another is turned away."""
    first, second = Home(tmp_path / "a"), Home(tmp_path / "b")
    first.make()
    second.make()
    store = Store(postgresql.database())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: store.claim(first), range(4)))
    with pytest.raises(InfrastructureError, match="belongs to another home"):
        store.claim(second)
    first.path.rename(tmp_path / "moved")
    store.claim(Home(tmp_path / "moved"))
    store.close()


class Here:
    """A runner that counts to `n` here; enough for an attempt that talks to its database."""

    def for_run(self, **_named: object) -> Here:
        return self


def counting(n: int, each_s: float, reached: threading.Event) -> Work:
    def work(run: Run, out: Path, _runner: RayRunner, attempt: Attempt) -> str:
        attempt.enter("running")
        for done in range(1, n + 1):
            time.sleep(each_s)
            attempt.progress(done, n)
            if done == n // 4:
                reached.set()
        attempt.enter("committing")
        out.mkdir()
        (out / "settlement.parquet").write_text(run.id)
        return hashlib.sha256(run.id.encode()).hexdigest()

    return work


@contextmanager
def dispatching(
    store: Store, home: Home, work: Work, *, name: str = "host:home:1", lease_ms: int = 3000
) -> Iterator[Dispatcher]:
    """A dispatcher that serves in a thread."""
    dispatcher = Dispatcher(
        store.leases, home, cast("RayRunner", Here()), work={"run": work}, beat_s=0.1,
        name=name, lease_ms=lease_ms,
    )  # fmt: skip
    thread = threading.Thread(target=dispatcher.serve)
    thread.start()
    try:
        yield dispatcher
        assert thread.is_alive()
    finally:
        dispatcher.stopping.set()
        thread.join()


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


def test_a_run_goes_on_while_its_database_is_away(
    postgresql: Server, store: Store, home: Home
) -> None:
    """Longer than its lease, over its end, beside another dispatcher: one attempt, no loss."""
    reached = threading.Event()
    run, _ = submit(store)
    with dispatching(store, home, counting(8, 0.3, reached)):
        assert reached.wait(60)
        idle = dispatching(store, home, counting(1, 0, reached), name="other:home:2")
        with idle, postgresql.away(4.5), pytest.raises(AWAY):
            store.queue.run(run.id)
        until(lambda: store.queue.run(run.id).state == "succeeded")
    ended = store.queue.run(run.id)
    assert (ended.attempt, ended.losses) == (1, 0)
    assert home.attempt(run.id, 1).joinpath("settlement.parquet").read_text() == run.id
    kinds = [event.kind for event in store.queue.events(run.id)]
    assert kinds == ["submitted", "started", "validated", "committing", "succeeded"]


class Cut:
    """Leases whose answers are lost once each, after what was said had been kept."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self.lost: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._leases, name)

        def cut(*given: Any, **named: Any) -> Any:
            answer = call(*given, **named)
            if answer and name not in self.lost and name != "heartbeat":
                self.lost.add(name)
                raise AWAY[0](name, {}, ConnectionError("cut"))
            return answer

        return cut


def test_what_was_kept_and_not_heard_is_said_again_without_harm(store: Store, home: Home) -> None:
    run, _ = submit(store)
    leases = Cut(store.leases)
    one = cast("Store", SimpleNamespace(leases=leases))
    with dispatching(one, home, counting(4, 0.01, threading.Event()), lease_ms=LEASE_MS):
        until(lambda: store.queue.run(run.id).state == "succeeded")
    ended = store.queue.run(run.id)
    assert (ended.attempt, ended.losses) == (1, 0)
    assert home.attempt(run.id, 1).joinpath("settlement.parquet").is_file()
    assert leases.lost >= {"take", "enter", "finish"}


def test_a_dispatcher_gives_up_a_database_that_stays_away(
    store: Store, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "AWAY_S", 0.3)
    submit(store)

    def gone(*_given: Any, **_named: Any) -> None:
        raise AWAY[0]("x", {}, ConnectionError())

    taken = store.leases.take("host:home:1", lease_ms=LEASE_MS)
    monkeypatch.setattr(store.leases, "finish", gone)
    dispatcher = Dispatcher(
        store.leases, home, cast("RayRunner", Here()), name="host:home:1",
        work={"run": counting(1, 0, threading.Event())},
    )  # fmt: skip
    with pytest.raises(AWAY):
        dispatcher.step(taken)
    assert store.queue.states() == {"committing": 1}


def test_ids_and_reads_are_of_one_moment(store: Store) -> None:
    """Two questions of one look find the same, whoever writes between them."""
    run, _ = submit(store)
    with store._database.read() as connection:
        before = connection.execute(select(schema.runs.c.state)).scalar_one()
        store.queue.request_cancel(run.id, actor="a")
        assert connection.execute(select(schema.runs.c.state)).scalar_one() == before
    assert store.queue.run(run.id).state == "cancelled"
    assert store.queue.run(run.id).id < new_id()
