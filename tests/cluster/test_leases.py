from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.database import new_id
from cluster.leases import MAX_LOSSES
from cluster.queue import NotWaitingError, StateError
from cluster.runs import Run
from cluster.states import FINAL, Phase
from cluster.store import Store

LEASE_MS = 60_000
MOVES = ["take", "enter", "commit", "cancel", "finish", "fail", "trip", "accept", "release", "lose"]


def kinds(store: Store, run: Run) -> list[str]:
    return [event.kind for event in store.queue.events(run.id)]


def test_a_run_goes_from_queue_to_success_and_each_move_is_an_event(
    store: Store, submit: Callable[..., Run], take: Callable[..., Run]
) -> None:
    run = submit()
    assert (run.state, run.attempt, run.digest) == ("queued", 0, None)
    running = take()
    assert (running.id, running.state, running.attempt) == (run.id, "validating", 1)
    assert store.leases.enter(running, "running")
    assert store.leases.enter(running, "running")
    assert store.queue.run(run.id).state == "running"
    store.leases.progress(running, 3, 8)
    assert (store.queue.run(run.id).shards_done, store.queue.run(run.id).shards_total) == (3, 8)
    done = store.leases.finish(running, "succeeded", digest="ab")
    assert done is not None
    assert (done.state, done.digest) == ("succeeded", "ab")
    assert done.finished_ms is not None
    assert kinds(store, run) == ["submitted", "started", "validated", "committing", "succeeded"]
    assert [(e.from_state, e.to_state) for e in store.queue.events(run.id)] == [
        (None, "queued"),
        ("queued", "validating"),
        ("validating", "running"),
        ("running", "committing"),
        ("committing", "succeeded"),
    ]
    assert [e.actor for e in store.queue.events(run.id)] == ["operator", "d1", "d1", "d1", "d1"]


def test_the_oldest_run_is_taken_first_and_only_once(
    store: Store, submit: Callable[..., Run], take: Callable[..., Run]
) -> None:
    ids = []
    for key in "abc":
        ids.append(submit(key).id)
        time.sleep(0.002)
    assert [take().id for _ in ids] == ids
    assert store.leases.take("d1", lease_ms=LEASE_MS) is None


def test_two_dispatchers_never_take_the_same_run(store: Store, submit: Callable[..., Run]) -> None:
    for key in range(20):
        submit(str(key))
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda n: store.leases.take(f"d{n}", lease_ms=LEASE_MS), range(24)))
    ids = [run.id for run in taken if run is not None]
    assert len(ids) == len(set(ids)) == 20


def test_a_running_run_learns_of_the_wish_to_cancel_by_its_heartbeat(
    store: Store, submit: Callable[..., Run], take: Callable[..., Run]
) -> None:
    submit()
    run = take()
    beat = store.leases.heartbeat(run, lease_ms=LEASE_MS)
    assert beat is not None
    assert beat.state == "validating"
    assert store.queue.request_cancel(run.id, actor="a").state == "cancelling"
    assert not store.leases.enter(run, "running")
    beat = store.leases.heartbeat(run, lease_ms=LEASE_MS)
    assert beat is not None
    assert beat.state == "cancelling"
    store.queue.request_cancel(run.id, actor="a")
    assert kinds(store, run).count("cancelling") == 1


def test_a_cancellation_that_races_success_wins(
    store: Store, submit: Callable[..., Run], take: Callable[..., Run]
) -> None:
    submit()
    run = take()
    store.queue.request_cancel(run.id, actor="a")
    ended = store.leases.finish(run, "succeeded", digest="ab")
    assert ended is not None
    assert (ended.state, ended.digest) == ("cancelled", None)


def test_a_success_that_races_cancellation_stays(
    store: Store, submit: Callable[..., Run], take: Callable[..., Run]
) -> None:
    submit()
    run = take()
    store.leases.finish(run, "succeeded", digest="ab")
    assert store.queue.request_cancel(run.id, actor="a").state == "succeeded"


def test_an_expired_lease_puts_the_run_back_and_its_holder_can_finish_nothing(
    store: Store, submit: Callable[..., Run], take: Callable[..., Run]
) -> None:
    submit()
    first = take(lease_ms=-1)
    assert store.leases.reclaim(actor="d2") == [first.id]
    assert store.queue.run(first.id).state == "queued"
    second = take(dispatcher="d2")
    assert second.attempt == 2
    assert store.leases.heartbeat(first, lease_ms=LEASE_MS) is None
    store.leases.progress(first, 5, 5)
    assert store.queue.run(first.id).shards_done == 0
    assert store.leases.finish(first, "succeeded", digest="old") is None
    assert store.leases.finish(second, "succeeded", digest="new") is not None
    assert store.queue.run(first.id).digest == "new"
    assert kinds(store, first)[:4] == ["submitted", "started", "lost", "started"]
    assert kinds(store, first).count("succeeded") == 1


@pytest.mark.parametrize("phase", [None, "running", "committing"])
def test_an_attempt_that_dies_in_any_state_is_made_again(
    store: Store, submit: Callable[..., Run], take: Callable[..., Run], phase: Phase | None
) -> None:
    run = submit()
    first = take(lease_ms=-1)
    if phase is not None:
        assert store.leases.enter(first, phase)
    assert store.leases.reclaim(actor="d2") == [run.id]
    assert not store.leases.enter(first, "committing")
    assert store.queue.run(run.id).state == "queued"
    second = take()
    if phase is not None:
        assert store.leases.enter(second, phase)
    store.leases.release(second)
    assert (store.queue.run(run.id).state, store.queue.run(run.id).losses) == ("queued", 1)


GATES = {"immature": "2 of 12 months", "codes": "1 year"}


def test_a_run_that_tripped_gates_waits_until_each_is_accepted(
    store: Store, submit: Callable[..., Run], take: Callable[..., Run]
) -> None:
    """Held by nobody, taken by nobody; what was accepted is told, with who did, and kept."""
    run = submit()
    waiting = store.leases.review(take(), GATES)
    assert waiting is not None
    assert (waiting.state, waiting.lease_owner) == ("needs_review", None)
    assert store.leases.take("d2", lease_ms=LEASE_MS) is None
    assert store.leases.reclaim(actor="d2", dead="d1") == []
    with pytest.raises(NotWaitingError, match="timing, but for immature, codes"):
        store.queue.accept(run.id, {"timing": "as agreed"}, actor="anna")
    half = store.queue.accept(run.id, {"immature": "an interim payment"}, actor="anna")
    assert (half.state, half.request["accept"]) == (
        "needs_review",
        {"immature": "an interim payment"},
    )
    whole = store.queue.accept(run.id, {"codes": "as agreed"}, actor="ben")
    assert whole.state == "queued"
    assert whole.request == {
        "seed": 1, "accept": {"immature": "an interim payment", "codes": "as agreed"}
    }  # fmt: skip
    assert whole.review is not None
    assert {gate: one["owner"] for gate, one in whole.review["accepted"].items()} == {
        "immature": "anna", "codes": "ben"
    }  # fmt: skip
    with pytest.raises(StateError, match="queued; only one in needs_review"):
        store.queue.accept(run.id, {"codes": "again"}, actor="ben")
    again = store.leases.review(take(), {"unscored_months": "61 %"})
    assert again is not None
    assert again.review is not None
    assert set(again.review["accepted"]) == set(GATES)
    assert set(again.review["waiting"]) == {"unscored_months"}
    told = [e for e in store.queue.events(run.id) if e.kind in ("needs_review", "accepted")]
    assert [e.actor for e in told] == ["d1", "anna", "ben", "d1"]
    assert told[0].detail == {"gates": list(GATES)}
    assert store.queue.request_cancel(run.id, actor="anna").state == "cancelled"


def test_a_gate_that_trips_a_run_to_be_cancelled_cancels_it(
    store: Store, submit: Callable[..., Run], take: Callable[..., Run]
) -> None:
    submit()
    run = take()
    store.queue.request_cancel(run.id, actor="a")
    ended = store.leases.review(run, GATES)
    assert ended is not None
    assert ended.state == "cancelled"


def test_a_failure_of_a_run_to_be_cancelled_is_its_cancellation(
    store: Store, submit: Callable[..., Run], take: Callable[..., Run]
) -> None:
    submit()
    run = take()
    store.queue.request_cancel(run.id, actor="a")
    ended = store.leases.finish(run, "failed", reason="data_error", detail="no roster")
    assert ended is not None
    assert (ended.state, ended.reason) == ("cancelled", None)


def test_a_living_lease_is_left_alone(
    store: Store, submit: Callable[..., Run], take: Callable[..., Run]
) -> None:
    submit()
    take()
    assert store.leases.reclaim(actor="d2") == []


@pytest.mark.parametrize("skew_s", [-3600, 3600])
def test_a_clock_that_is_wrong_here_loses_no_lease(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    skew_s: int,
    submit: Callable[..., Run],
    take: Callable[..., Run],
) -> None:
    """Leases are kept by the database's clock alone."""
    submit()
    run = take()
    now_s = time.time()
    monkeypatch.setattr("time.time", lambda: now_s + skew_s)
    monkeypatch.setattr("time.time_ns", lambda: int((now_s + skew_s) * 1e9))
    assert store.leases.reclaim(actor="d2") == []
    assert store.leases.heartbeat(run, lease_ms=-1) is not None
    assert store.leases.reclaim(actor="d2") == [run.id]


def test_the_leases_of_a_dead_dispatcher_are_taken_over_at_once(
    store: Store, submit: Callable[..., Run], take: Callable[..., Run]
) -> None:
    submit()
    run = take(dispatcher="host:/home_1:7")
    assert store.leases.reclaim(actor="d", dead="host:/home%1:") == []
    assert store.leases.reclaim(actor="d", dead="host:/home_1:") == [run.id]


def test_a_lost_run_that_was_to_be_cancelled_is_cancelled(
    store: Store, submit: Callable[..., Run], take: Callable[..., Run]
) -> None:
    submit()
    run = take(lease_ms=-1)
    store.queue.request_cancel(run.id, actor="a")
    store.leases.reclaim(actor="d2")
    assert store.queue.run(run.id).state == "cancelled"


def test_a_run_that_kills_its_dispatchers_fails_in_the_end(
    store: Store, submit: Callable[..., Run], take: Callable[..., Run]
) -> None:
    run = submit()
    for _ in range(MAX_LOSSES):
        assert store.queue.run(run.id).state == "queued"
        take(lease_ms=-1)
        store.leases.reclaim(actor="d2")
    ended = store.queue.run(run.id)
    assert (ended.state, ended.reason) == ("failed", "infrastructure")
    assert "died 3 times" in str(ended.detail)


def test_a_released_run_is_queued_again_and_counts_as_no_loss(
    store: Store, submit: Callable[..., Run], take: Callable[..., Run]
) -> None:
    submit()
    run = take()
    store.leases.release(run)
    again = store.queue.run(run.id)
    assert (again.state, again.losses, again.lease_owner) == ("queued", 0, None)
    assert take().attempt == 2


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(moves=st.lists(st.sampled_from(MOVES), max_size=9))
def test_no_order_of_events_moves_a_finished_run(
    store: Store, moves: list[str], submit: Callable[..., Run], take: Callable[..., Run]
) -> None:
    """Whatever happens in whatever order, a final state is the last, and events tell the story."""
    run = submit(new_id())
    attempt = None
    final = None
    for move in moves:
        if move == "take" and store.queue.run(run.id).state == "queued":
            while (attempt := take()).id != run.id:
                store.leases.finish(attempt, "failed")
        elif move == "cancel":
            store.queue.request_cancel(run.id, actor="a")
        elif attempt is not None and move in ("finish", "fail"):
            store.leases.finish(attempt, "succeeded" if move == "finish" else "failed")
        elif attempt is not None and move in ("enter", "commit"):
            store.leases.enter(attempt, "running" if move == "enter" else "committing")
        elif (
            attempt is not None and move == "trip" and store.queue.run(run.id).state != "committing"
        ):
            store.leases.review(attempt, {"immature": "2 of 12 months"})
        elif move == "accept" and store.queue.run(run.id).state == "needs_review":
            store.queue.accept(run.id, {"immature": "agreed"}, actor="a")
        elif attempt is not None and move == "release":
            store.leases.release(attempt)
        elif move == "lose":
            store.leases.reclaim(actor="d2", dead="d1")
        now = store.queue.run(run.id).state
        assert final in (None, now)
        final = now if now in FINAL else None
    told = [event.to_state for event in store.queue.events(run.id) if event.to_state is not None]
    assert told[-1] == store.queue.run(run.id).state
    if store.queue.run(run.id).state not in FINAL:
        store.queue.request_cancel(run.id, actor="a")
        store.leases.reclaim(actor="a", dead="d")


def test_what_was_committed_is_there_after_the_process_is_gone(
    store: Store, database_url: str, submit: Callable[..., Run], take: Callable[..., Run]
) -> None:
    run = submit()
    take()
    store.close()
    again = Store(database_url)
    assert again.queue.run(run.id).state == "validating"
    assert kinds(again, run) == ["submitted", "started"]
    again.close()
