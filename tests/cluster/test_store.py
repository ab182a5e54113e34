from __future__ import annotations

import hashlib
import sqlite3
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import OperationalError
from sqlalchemy.schema import CreateTable

from cluster.home import Home
from cluster.schema import METADATA, DatabaseNow
from cluster.states import FINAL
from cluster.store import (
    MAX_LOSSES,
    IdempotencyConflictError,
    NameTakenError,
    Run,
    Store,
    UnknownPopulationError,
    UnknownRunError,
    new_id,
)
from ihp_compute.errors import InfrastructureError

LEASE_MS = 60_000
MOVES = ["lease", "cancel", "finish", "fail", "release", "lose"]


def submit(store: Store, key: str = "k", payload: str = "p", owner: str = "operator") -> Run:
    sha256 = hashlib.sha256(payload.encode()).hexdigest()
    run, _ = store.submit(
        "run", {"seed": 1}, owner=owner, idempotency_key=key, payload_sha256=sha256
    )
    return run


def leased(store: Store, lease_ms: int = LEASE_MS, dispatcher: str = "d1") -> Run:
    run = store.lease(dispatcher, lease_ms=lease_ms)
    assert run is not None
    return run


def kinds(store: Store, run: Run) -> list[str]:
    return [event.kind for event in store.events(run.id)]


@pytest.mark.usefixtures("store")
def test_the_migrations_build_the_schema_as_declared(home: Home) -> None:
    engine = create_engine(home.database_url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()


def test_the_schema_can_be_written_for_postgresql() -> None:
    dialect = postgresql.dialect()
    for table in METADATA.sorted_tables:
        assert str(CreateTable(table).compile(dialect=dialect)).lstrip().startswith("CREATE TABLE")
    assert "clock_timestamp" in str(select(DatabaseNow()).compile(dialect=dialect))


def test_a_database_of_a_newer_program_is_refused(store: Store, home: Home) -> None:
    store.close()
    with sqlite3.connect(home.path / "service.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(InfrastructureError, match="step 9999"):
        Store(home.database_url)


def test_a_file_that_is_no_database_is_refused_in_words(home: Home) -> None:
    (home.path / "service.db").mkdir()
    with pytest.raises(InfrastructureError, match="cannot be opened"):
        Store(home.database_url)


def test_ids_sort_by_the_time_they_were_made() -> None:
    first = new_id()
    time.sleep(0.003)
    second = new_id()
    assert first < second
    assert uuid.UUID(first).version == 7
    assert uuid.UUID(first).variant == uuid.RFC_4122


def test_a_run_goes_from_queue_to_success_and_each_move_is_an_event(store: Store) -> None:
    run = submit(store)
    assert (run.state, run.attempt, run.digest) == ("queued", 0, None)
    running = leased(store)
    assert (running.id, running.state, running.attempt) == (run.id, "running", 1)
    store.progress(running, 3, 8)
    assert (store.run(run.id).shards_done, store.run(run.id).shards_total) == (3, 8)
    done = store.finish(running, "succeeded", digest="ab")
    assert done is not None
    assert (done.state, done.digest) == ("succeeded", "ab")
    assert done.finished_ms is not None
    assert kinds(store, run) == ["submitted", "started", "succeeded"]
    assert [(e.from_state, e.to_state) for e in store.events(run.id)] == [
        (None, "queued"),
        ("queued", "running"),
        ("running", "succeeded"),
    ]


def test_the_oldest_run_is_taken_first_and_only_once(store: Store) -> None:
    ids = []
    for key in "abc":
        ids.append(submit(store, key).id)
        time.sleep(0.002)
    assert [leased(store).id for _ in ids] == ids
    assert store.lease("d1", lease_ms=LEASE_MS) is None


def test_two_dispatchers_never_take_the_same_run(store: Store) -> None:
    for key in range(20):
        submit(store, str(key))
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda n: store.lease(f"d{n}", lease_ms=LEASE_MS), range(24)))
    ids = [run.id for run in taken if run is not None]
    assert len(ids) == len(set(ids)) == 20


def test_a_hundred_identical_submissions_make_one_run(store: Store) -> None:
    with ThreadPoolExecutor(16) as pool:
        ids = set(pool.map(lambda _: submit(store).id, range(100)))
    assert len(ids) == 1
    assert len(store.runs("run", limit=200)) == 1


def test_the_same_key_with_another_payload_is_refused(store: Store) -> None:
    submit(store, "k", "one")
    with pytest.raises(IdempotencyConflictError, match="another payload"):
        submit(store, "k", "two")
    assert submit(store, "k", "two", owner="somebody else").state == "queued"


def test_a_queued_run_is_cancelled_at_once_and_twice_is_once(store: Store) -> None:
    run = submit(store)
    assert store.request_cancel(run.id, actor="a").state == "cancelled"
    assert store.request_cancel(run.id, actor="a").state == "cancelled"
    assert kinds(store, run) == ["submitted", "cancelled"]
    assert store.lease("d1", lease_ms=LEASE_MS) is None


def test_a_running_run_learns_of_the_wish_to_cancel_by_its_heartbeat(store: Store) -> None:
    submit(store)
    run = leased(store)
    beat = store.heartbeat(run, lease_ms=LEASE_MS)
    assert beat is not None
    assert not beat.cancel_requested
    assert store.request_cancel(run.id, actor="a").state == "running"
    beat = store.heartbeat(run, lease_ms=LEASE_MS)
    assert beat is not None
    assert beat.cancel_requested
    store.request_cancel(run.id, actor="a")
    assert kinds(store, run).count("cancel_requested") == 1


def test_a_cancellation_that_races_success_wins(store: Store) -> None:
    submit(store)
    run = leased(store)
    store.request_cancel(run.id, actor="a")
    ended = store.finish(run, "succeeded", digest="ab")
    assert ended is not None
    assert (ended.state, ended.digest) == ("cancelled", None)


def test_a_success_that_races_cancellation_stays(store: Store) -> None:
    submit(store)
    run = leased(store)
    store.finish(run, "succeeded", digest="ab")
    assert store.request_cancel(run.id, actor="a").state == "succeeded"


def test_an_expired_lease_puts_the_run_back_and_its_holder_can_finish_nothing(
    store: Store,
) -> None:
    submit(store)
    first = leased(store, lease_ms=-1)
    assert store.reclaim(actor="d2") == [first.id]
    assert store.run(first.id).state == "queued"
    second = leased(store, dispatcher="d2")
    assert second.attempt == 2
    assert store.heartbeat(first, lease_ms=LEASE_MS) is None
    store.progress(first, 5, 5)
    assert store.run(first.id).shards_done == 0
    assert store.finish(first, "succeeded", digest="old") is None
    assert store.finish(second, "succeeded", digest="new") is not None
    assert store.run(first.id).digest == "new"
    assert kinds(store, first) == ["submitted", "started", "lost", "started", "succeeded"]


def test_a_living_lease_is_left_alone(store: Store) -> None:
    submit(store)
    leased(store)
    assert store.reclaim(actor="d2") == []


@pytest.mark.parametrize("skew_s", [-3600, 3600])
def test_a_clock_that_is_wrong_here_loses_no_lease(
    store: Store, monkeypatch: pytest.MonkeyPatch, skew_s: int
) -> None:
    """Leases are kept by the database's clock alone."""
    submit(store)
    run = leased(store)
    now_s = time.time()
    monkeypatch.setattr("time.time", lambda: now_s + skew_s)
    monkeypatch.setattr("time.time_ns", lambda: int((now_s + skew_s) * 1e9))
    assert store.reclaim(actor="d2") == []
    assert store.heartbeat(run, lease_ms=-1) is not None
    assert store.reclaim(actor="d2") == [run.id]


def test_the_leases_of_a_dead_dispatcher_are_taken_over_at_once(store: Store) -> None:
    submit(store)
    run = leased(store, dispatcher="host:/home_1:7")
    assert store.reclaim(actor="d", dead="host:/home%1:") == []
    assert store.reclaim(actor="d", dead="host:/home_1:") == [run.id]


def test_a_lost_run_that_was_to_be_cancelled_is_cancelled(store: Store) -> None:
    submit(store)
    run = leased(store, lease_ms=-1)
    store.request_cancel(run.id, actor="a")
    store.reclaim(actor="d2")
    assert store.run(run.id).state == "cancelled"


def test_a_run_that_kills_its_dispatchers_fails_in_the_end(store: Store) -> None:
    run = submit(store)
    for _ in range(MAX_LOSSES):
        assert store.run(run.id).state == "queued"
        leased(store, lease_ms=-1)
        store.reclaim(actor="d2")
    ended = store.run(run.id)
    assert (ended.state, ended.reason) == ("failed", "infrastructure")
    assert "died 3 times" in str(ended.detail)


def test_a_released_run_is_queued_again_and_counts_as_no_loss(store: Store) -> None:
    submit(store)
    run = leased(store)
    store.release(run)
    again = store.run(run.id)
    assert (again.state, again.losses, again.lease_owner) == ("queued", 0, None)
    assert leased(store).attempt == 2


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(moves=st.lists(st.sampled_from(MOVES), max_size=9))
def test_no_order_of_events_moves_a_finished_run(store: Store, moves: list[str]) -> None:
    """Whatever happens in whatever order, a final state is the last, and events tell the story."""
    run = submit(store, new_id())
    attempt = None
    final = None
    for move in moves:
        if move == "lease" and store.run(run.id).state == "queued":
            while (attempt := leased(store)).id != run.id:
                store.finish(attempt, "failed")
        elif move == "cancel":
            store.request_cancel(run.id, actor="a")
        elif attempt is not None and move in ("finish", "fail"):
            store.finish(attempt, "succeeded" if move == "finish" else "failed")
        elif attempt is not None and move == "release":
            store.release(attempt)
        elif move == "lose":
            store.reclaim(actor="d2", dead="d1")
        now = store.run(run.id).state
        assert final in (None, now)
        final = now if now in FINAL else None
    told = [event.to_state for event in store.events(run.id) if event.to_state is not None]
    assert told[-1] == store.run(run.id).state
    if store.run(run.id).state not in FINAL:
        store.request_cancel(run.id, actor="a")
        store.reclaim(actor="a", dead="d")


def test_an_unknown_run_or_population_is_named_as_such(store: Store) -> None:
    with pytest.raises(UnknownRunError):
        store.run("no")
    with pytest.raises(UnknownRunError):
        store.request_cancel("no", actor="a")
    with pytest.raises(UnknownPopulationError):
        store.population("no")


def test_runs_are_listed_newest_first_and_in_pages(store: Store) -> None:
    ids = []
    for key in "abcde":
        ids.append(submit(store, key).id)
        time.sleep(0.002)
    first = store.runs("run", limit=2)
    second = store.runs("run", limit=9, before=first[-1].id)
    assert [run.id for run in (*first, *second)] == ids[::-1]
    assert store.runs("sweep", limit=9) == []
    store.request_cancel(ids[0], actor="a")
    assert [run.id for run in store.runs("run", limit=9, state="cancelled")] == [ids[0]]
    assert store.states() == {"queued": 4, "cancelled": 1}


def test_a_population_name_stands_for_one_content(store: Store) -> None:
    values = {
        "name": "2024",
        "location": "default",
        "prefix": "pop",
        "population_digest": "aa",
        "members": 1,
        "member_months": 12,
        "n_shards": 4,
        "owner": "operator",
    }
    held, new = store.register_population(**values)
    assert new
    assert store.register_population(**values) == (held, False)
    with pytest.raises(NameTakenError, match="2024"):
        store.register_population(**{**values, "population_digest": "bb"})
    assert store.population("2024") == store.population(held.id) == held
    assert store.populations() == [held]


def test_a_key_is_found_by_its_hash_until_it_is_revoked_or_expires(store: Store) -> None:
    key_id = store.add_key("h1", owner="operator", note="n", scopes=["runs:read"], days=1)
    store.add_key("h2", owner="operator", note="n", scopes=[], days=0)
    found = store.key("h1")
    assert found is not None
    assert (found.id, found.owner, found.scopes) == (key_id, "operator", ("runs:read",))
    assert store.key("h2") is None
    assert store.key("h3") is None
    assert store.revoke_key(key_id)
    assert not store.revoke_key(key_id)
    assert store.key("h1") is None
    assert len(store.issued_keys()) == 2


def test_what_was_committed_is_there_after_the_process_is_gone(store: Store, home: Home) -> None:
    run = submit(store)
    leased(store)
    store.close()
    again = Store(home.database_url)
    assert again.run(run.id).state == "running"
    assert kinds(again, run) == ["submitted", "started"]
    again.close()


def test_a_locked_database_is_an_error_and_no_half_of_a_run(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.store.BUSY_S", 0.05)
    store = Store(home.database_url)
    other = sqlite3.connect(home.path / "service.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError, match="locked"):
        submit(store)
    other.execute("ROLLBACK")
    other.close()
    assert store.runs("run", limit=9) == []
    assert submit(store).state == "queued"
    store.close()
