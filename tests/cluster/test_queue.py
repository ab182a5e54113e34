from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from cluster.queue import IdempotencyConflictError, Labels, StateError
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


def test_a_run_is_made_again_once_however_often_that_is_asked(
    store: Store, submit: Callable[..., Run]
) -> None:
    run = submit()
    labels = Labels(population="state", contract="ours@2", fingerprint="ab" * 32, retry_of=run.id)

    def retry(n: int) -> tuple[Run, bool]:
        key = f"retry {n}"
        return store.queue.submit(
            "run", {}, owner="a", idempotency_key=key, payload_sha256="0" * 64, labels=labels
        )

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(retry, range(16)))
    assert len({again.id for again, _ in made} - {run.id}) == 1
    assert sum(new for _, new in made) == 1
    assert store.queue.events(made[0][0].id)[0].detail == {"retry_of": run.id}
    found: list[dict[str, Any]] = [
        {"population": "state"},
        {"contract": "ours"},
        {"contract": "ours@2"},
        {"fingerprint": "ab" * 32},
        {"owner": "a"},
    ]
    for wanted in found:
        assert [one.id for one in store.queue.runs("run", limit=9, **wanted)] == [made[0][0].id]
    nothing: list[dict[str, Any]] = [{"contract": "our"}, {"contract": "ours@1"}, {"owner": "A"}]
    for other in nothing:
        assert store.queue.runs("run", limit=9, **other) == []


def test_a_run_that_succeeded_is_certified_once(
    store: Store, submit: Callable[..., Run], take: Callable[..., Run]
) -> None:
    run = submit()

    def refused(_run: Run) -> None:
        raise OSError("no space")

    kept: list[str] = []
    certify = partial(store.queue.certify, run.id, {"by": "b"}, actor="b")
    with pytest.raises(StateError, match="queued; only one that succeeded"):
        certify(keep=lambda run: kept.append(run.id))
    store.leases.finish(take(), "succeeded", digest="ab")
    with pytest.raises(OSError, match="no space"):
        certify(keep=refused)
    assert store.queue.run(run.id).certification is None
    assert certify(keep=lambda run: kept.append(run.id)).certification == {"by": "b"}
    with pytest.raises(StateError, match="certified already"):
        certify(keep=lambda run: kept.append(run.id))
    assert kept == [run.id]
    last = store.queue.events(run.id)[-1]
    assert (last.kind, last.actor, last.to_state) == ("certified", "b", None)
    assert store.queue.run(run.id).state == "succeeded"


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
