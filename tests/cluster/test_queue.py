from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster.queue import IdempotencyConflictError
from cluster.runs import Run, UnknownRunError
from cluster.store import Store


def test_a_hundred_identical_submissions_make_one_run(
    store: Store, submit: Callable[..., Run]
) -> None:
    with ThreadPoolExecutor(16) as pool:
        ids = set(pool.map(lambda _: submit().id, range(100)))
    assert len(ids) == 1
    assert len(store.queue.runs("run", limit=200)) == 1


def test_the_same_key_with_another_payload_is_refused(submit: Callable[..., Run]) -> None:
    submit("k", "one")
    with pytest.raises(IdempotencyConflictError, match="another payload"):
        submit("k", "two")
    assert submit("k", "two", owner="somebody else").state == "queued"


def test_a_queued_run_is_cancelled_at_once_and_twice_is_once(
    store: Store, submit: Callable[..., Run]
) -> None:
    run = submit()
    assert store.queue.request_cancel(run.id, actor="a").state == "cancelled"
    assert store.queue.request_cancel(run.id, actor="a").state == "cancelled"
    assert [e.kind for e in store.queue.events(run.id)] == ["submitted", "cancelled"]
    assert store.leases.take("d1", lease_ms=60_000) is None


def test_an_unknown_run_is_named_as_such(store: Store) -> None:
    with pytest.raises(UnknownRunError):
        store.queue.run("no")
    with pytest.raises(UnknownRunError):
        store.queue.request_cancel("no", actor="a")


def test_runs_are_listed_newest_first_and_in_pages(
    store: Store, submit: Callable[..., Run]
) -> None:
    ids = []
    for key in "abcde":
        ids.append(submit(key).id)
        time.sleep(0.002)
    first = store.queue.runs("run", limit=2)
    second = store.queue.runs("run", limit=9, before=first[-1].id)
    assert [run.id for run in (*first, *second)] == ids[::-1]
    assert store.queue.runs("sweep", limit=9) == []
    store.queue.request_cancel(ids[0], actor="a")
    assert [run.id for run in store.queue.runs("run", limit=9, state="cancelled")] == [ids[0]]
    assert store.queue.states() == {"queued": 4, "cancelled": 1}
