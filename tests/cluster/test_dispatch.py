"""The dispatcher, with work whose end and duration the tests decide."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from cluster import dispatch
from cluster.dispatch import Dispatcher
from cluster.home import Home
from cluster.runner import ClusterLostError, RayRunner
from cluster.runs import Run
from cluster.states import FINAL
from cluster.store import Store
from cluster.supervisor import Supervisor, tagged
from cluster.work import Attempt, Work
from ihp_compute.errors import (
    AcceptanceError,
    ContractError,
    GateError,
    MemoryExhaustedError,
    UnbalancedLedgerError,
)

pytestmark = pytest.mark.ray

N_SHARDS = 6


def squares(
    seconds: float = 0.0, error: Exception | None = None, before: Callable[[], object] | None = None
) -> Work:
    """Work like a recalculation's: tasks on the cluster, a sum, a folder."""

    def work(run: Run, out: Path, runner: RayRunner, attempt: Attempt) -> str:
        def task(shard: int) -> int:
            time.sleep(seconds)
            return shard * shard

        total = 0
        for done, value in enumerate(runner.map(task, range(N_SHARDS)), start=1):
            total += value
            attempt.progress(done, N_SHARDS)
        out.mkdir()
        (out / "settlement.parquet").write_text(str(total))
        if before is not None:
            before()
        if error is not None:
            raise error
        return hashlib.sha256(f"{run.request['seed']} {total}".encode()).hexdigest()

    return work


DIGEST = hashlib.sha256(f"1 {sum(n * n for n in range(N_SHARDS))}".encode()).hexdigest()


def submit(store: Store, key: str = "k") -> Run:
    run, _ = store.queue.submit(
        "run", {"seed": 1}, owner="o", idempotency_key=key, payload_sha256="0" * 64
    )
    return run


@pytest.fixture
def dispatcher(store: Store, home: Home, ray_runner: RayRunner) -> Callable[..., Dispatcher]:
    def make(work: Work, lease_ms: int = 60_000, **more: Any) -> Dispatcher:
        return Dispatcher(
            store.leases,
            home,
            ray_runner,
            name="host:home:1",
            work={"run": work},
            lease_ms=lease_ms,
            beat_s=0.1,
            **more,
        )

    return make


def files(home: Home) -> list[str]:
    return sorted(str(p.relative_to(home.runs)) for p in home.runs.rglob("*") if p.is_file())


def test_a_queued_run_becomes_a_result(
    store: Store, home: Home, dispatcher: Callable[..., Dispatcher]
) -> None:
    run = submit(store)
    worker = dispatcher(squares())
    assert worker.step()
    assert not worker.step()
    ended = store.queue.run(run.id)
    assert (ended.state, ended.digest, ended.attempt) == ("succeeded", DIGEST, 1)
    assert (ended.shards_done, ended.shards_total) == (N_SHARDS, N_SHARDS)
    assert files(home) == [f"{run.id}/1/settlement.parquet"]


def test_what_a_run_shows_is_made_before_it_is_said_to_have_succeeded(
    store: Store, home: Home, dispatcher: Callable[..., Dispatcher]
) -> None:
    """Over its results; of one that is cancelled meanwhile nothing is left."""
    seen = []

    def made(run: Run) -> None:
        found = home.attempt(run.id, run.attempt) / "settlement.parquet"
        seen.append((found.is_file(), store.queue.run(run.id).state in FINAL))
        if len(seen) > 1:
            store.queue.request_cancel(run.id, actor="a")

    first, second = submit(store), submit(store, "k2")
    worker = dispatcher(squares(), before_success=made)
    worker.step()
    worker.step()
    assert seen == [(True, False)] * 2
    states = [store.queue.run(run.id).state for run in (first, second)]
    assert states == ["succeeded", "cancelled"]
    assert files(home) == [f"{first.id}/1/settlement.parquet"]


@pytest.mark.parametrize(
    ("error", "reason", "detail"),
    [
        (ContractError("no contract x"), "contract_error", "no contract x"),
        (GateError("1 gate tripped"), "data_error", "1 gate tripped"),
        (AcceptanceError("did not trip"), "data_error", "did not trip"),
        (UnbalancedLedgerError("1 line lost"), "data_error", "1 line lost"),
        (MemoryExhaustedError("a shard"), "out_of_memory", "a shard"),
        (OSError(errno.EDQUOT, "x"), "quota", "the machine failed: "),
        (
            OSError(errno.ENOSPC, "x", "/data"),
            "storage",
            "the machine failed: No space left",
        ),
        (MemoryError("member Q4711"), "out_of_memory", "the machine failed: no memory left"),
        (
            FileNotFoundError(errno.ENOENT, "member Q4711"),
            "infrastructure",
            "a defect of this program (File",
        ),
        (RuntimeError("member Q4711"), "infrastructure", "a defect of this program (RuntimeError)"),
    ],
)
def test_a_failure_has_a_reason_and_leaves_nothing(
    store: Store,
    home: Home,
    dispatcher: Callable[..., Dispatcher],
    error: Exception,
    reason: str,
    detail: str,
) -> None:
    run = submit(store)
    with capture_logs() as logs:
        dispatcher(squares(error=error)).step()
    ended = store.queue.run(run.id)
    assert (ended.state, ended.reason) == ("failed", reason)
    assert str(ended.detail).startswith(detail)
    assert "Q4711" not in f"{ended} {logs}"
    assert files(home) == []


def test_a_run_is_cancelled_within_seconds_and_leaves_nothing(
    store: Store, home: Home, dispatcher: Callable[..., Dispatcher]
) -> None:
    run = submit(store)
    timer = threading.Timer(0.5, store.queue.request_cancel, [run.id], {"actor": "a"})
    timer.start()
    started_s = time.monotonic()
    dispatcher(squares(seconds=60)).step()
    assert time.monotonic() - started_s < 30  # each of its tasks would last sixty
    timer.join()
    assert store.queue.run(run.id).state == "cancelled"
    assert files(home) == []


def test_gates_that_trip_let_a_run_wait_and_the_next_one_goes_on(
    store: Store, home: Home, dispatcher: Callable[..., Dispatcher]
) -> None:
    run, other = submit(store), submit(store, "k2")
    tripped = {"immature": "2 of 12 months"}
    dispatcher(squares(error=GateError("1 gate", tripped=tripped))).step()
    waiting = store.queue.run(run.id)
    assert (waiting.state, waiting.reason, waiting.lease_owner) == ("needs_review", None, None)
    assert files(home) == []
    dispatcher(squares()).step()
    assert store.queue.run(other.id).state == "succeeded"
    store.queue.accept(run.id, {"immature": "interim"}, actor="a")
    dispatcher(squares()).step()
    assert (store.queue.run(run.id).state, store.queue.run(run.id).attempt) == ("succeeded", 2)


def test_a_run_that_does_not_end_fails_in_time(
    store: Store, home: Home, dispatcher: Callable[..., Dispatcher]
) -> None:
    run = submit(store)
    worker = dispatcher(squares(seconds=60))
    worker._max_run_s = 0.5
    worker.step()
    ended = store.queue.run(run.id)
    assert (ended.state, ended.reason) == ("failed", "timed_out")
    assert files(home) == []


def test_a_cancellation_after_the_last_shard_still_holds(
    store: Store, home: Home, dispatcher: Callable[..., Dispatcher]
) -> None:
    run = submit(store)
    late = squares(before=lambda: store.queue.request_cancel(run.id, actor="a"))
    dispatcher(late).step()
    assert (store.queue.run(run.id).state, store.queue.run(run.id).digest) == ("cancelled", None)
    assert files(home) == []


def test_a_dispatcher_whose_attempt_does_not_hear_of_its_end_is_stuck(
    store: Store, dispatcher: Callable[..., Dispatcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work that hangs between two shards, in a disk that does not answer, say."""
    monkeypatch.setattr(dispatch, "STUCK_S", 0.3)
    run = submit(store)
    moved = []

    def hangs() -> None:
        moved.append(worker.moves())
        store.queue.request_cancel(run.id, actor="a")
        deadline = time.monotonic() + 60
        while worker.moves() and time.monotonic() < deadline:
            time.sleep(0.05)
        moved.append(worker.moves())

    worker = dispatcher(squares(before=hangs))
    assert worker.moves()
    worker.step()
    assert moved == [True, False]
    assert worker.moves()
    assert store.queue.run(run.id).state == "cancelled"


def test_a_cluster_that_is_lost_costs_a_loss_and_ends_the_dispatcher(
    store: Store, home: Home, dispatcher: Callable[..., Dispatcher]
) -> None:
    """Another dispatcher starts another cluster; the run goes on there."""
    run = submit(store)
    worker = dispatcher(squares(error=ClusterLostError("the head is gone")))
    with capture_logs() as logs:
        worker.serve()
    assert worker.cluster_lost
    assert "cluster_lost" in [log["event"] for log in logs]
    assert (store.queue.run(run.id).state, store.queue.run(run.id).losses) == ("queued", 1)
    assert files(home) == []
    dispatcher(squares()).step()
    assert (store.queue.run(run.id).digest, store.queue.run(run.id).attempt) == (DIGEST, 2)


def test_shards_that_are_sent_again_are_among_the_events_of_their_run(
    store: Store, dispatcher: Callable[..., Dispatcher], tmp_path: Path
) -> None:
    run = submit(store)

    def dies_once(run: Run, out: Path, runner: RayRunner, _attempt: Attempt) -> str:
        def task(shard: int) -> int:
            if not (tmp_path / "died").exists():
                (tmp_path / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return shard

        out.mkdir()
        return f"{list(runner.map(task, [3]))} {run.kind}"

    dispatcher(dies_once).step()
    told = [event.detail for event in store.queue.events(run.id) if event.kind == "sent_again"]
    assert told == [{"shards": "shard 3", "why": "WorkerCrashedError"}]
    assert store.queue.run(run.id).digest == "[3] run"


def test_a_dispatcher_that_is_stopped_puts_its_run_back(
    store: Store, home: Home, dispatcher: Callable[..., Dispatcher]
) -> None:
    run = submit(store)
    worker = dispatcher(squares(seconds=60))
    timer = threading.Timer(0.5, worker.stopping.set)
    timer.start()
    worker.step()
    timer.join()
    assert (store.queue.run(run.id).state, store.queue.run(run.id).losses) == ("queued", 0)
    assert files(home) == []
    dispatcher(squares()).step()
    assert (store.queue.run(run.id).digest, store.queue.run(run.id).attempt) == (DIGEST, 2)


def test_a_heartbeat_keeps_a_lease_shorter_than_the_run(
    store: Store, dispatcher: Callable[..., Dispatcher]
) -> None:
    run = submit(store)
    reclaimed: list[str] = []
    over = threading.Event()

    def reclaim() -> None:
        while not over.wait(0.05):
            reclaimed.extend(store.leases.reclaim(actor="another"))

    thread = threading.Thread(target=reclaim)
    thread.start()
    dispatcher(squares(seconds=1.3), lease_ms=3000).step()
    over.set()
    thread.join()
    assert reclaimed == []
    assert store.queue.run(run.id).state == "succeeded"


def test_an_attempt_whose_lease_was_taken_shows_nothing(
    store: Store, home: Home, dispatcher: Callable[..., Dispatcher]
) -> None:
    """A dispatcher that was asleep while another took its run over wakes up and finishes."""
    run = submit(store)

    def taken_over() -> None:
        assert store.leases.reclaim(actor="another", dead="host:home:") == [run.id]
        second = store.leases.take("another", lease_ms=60_000)
        assert second is not None
        store.leases.finish(second, "succeeded", digest="of the second")

    dispatcher(squares(before=taken_over)).step()
    assert (store.queue.run(run.id).digest, store.queue.run(run.id).attempt) == ("of the second", 2)
    assert files(home) == []


def test_what_a_dead_attempt_left_is_removed(
    store: Store, home: Home, dispatcher: Callable[..., Dispatcher]
) -> None:
    run = submit(store)
    first = store.leases.take("dead", lease_ms=-1)
    assert first is not None
    home.attempt(run.id, 1).mkdir(parents=True)
    (home.attempt(run.id, 1) / "settlement.parquet").write_text("half")
    store.leases.reclaim(actor="x")
    dispatcher(squares()).step()
    assert files(home) == [f"{run.id}/2/settlement.parquet"]


PROGRAM = """
import sys, time
from cluster.dispatch import main

def work(run, out, runner, attempt):
    attempt.enter("running")
    def task(shard):
        time.sleep(run.request["seconds"])
        return shard * shard
    total = 0
    for done, value in enumerate(runner.map(task, range(8)), start=1):
        total += value
        attempt.progress(done, 8)
    attempt.enter("committing")
    out.mkdir()
    (out / "settlement.parquet").write_text(str(total))
    return str(total)

sys.exit(main(work={"run": work}))
"""


@pytest.fixture
def supervisor(home: Home, tmp_path: Path) -> Iterator[Supervisor]:
    program = tmp_path / "dispatcher.py"
    program.write_text(PROGRAM)
    supervisor = Supervisor(
        home,
        command=[sys.executable, str(program)],
        arguments=["--cpus", "2", "--linger", "1"],
    )
    yield supervisor
    supervisor.stop()


def wait_for(condition: Callable[[], bool], seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


def start_run(store: Store, seconds: float, key: str = "k") -> str:
    run, _ = store.queue.submit(
        "run", {"seconds": seconds}, owner="o", idempotency_key=key, payload_sha256="0" * 64
    )
    return run.id


def test_a_killed_dispatcher_is_replaced_and_its_run_ends_the_same(
    store: Store, home: Home, supervisor: Supervisor
) -> None:
    """Then the service stops, and not one process of either dispatcher is left."""
    run_id = start_run(store, 1.0)
    supervisor.start()
    wait_for(lambda: store.queue.run(run_id).shards_done >= 1)
    first = home.dispatcher_lock().note()
    os.kill(first["pid"], signal.SIGKILL)
    wait_for(lambda: store.queue.run(run_id).state == "succeeded")
    assert (store.queue.run(run_id).digest, store.queue.run(run_id).attempt) == ("140", 2)
    kinds = [event.kind for event in store.queue.events(run_id)]
    assert kinds == [
        "submitted", "started", "validated", "lost",
        "started", "validated", "committing", "succeeded",
    ]  # fmt: skip
    second = home.dispatcher_lock().note()
    assert second["tag"] != first["tag"]
    assert tagged(first["tag"]) == []
    assert not Path(first["scratch"]).exists()
    assert stat.S_IMODE(Path(second["scratch"]).stat().st_mode) == 0o700
    assert tagged(second["tag"]) != []
    waiting = start_run(store, 60, "k2")
    wait_for(lambda: store.queue.run(waiting).state == "running")
    supervisor.stop()
    assert not supervisor.alive()
    assert tagged(second["tag"]) == []
    assert not Path(second["scratch"]).exists()
    assert (store.queue.run(waiting).state, store.queue.run(waiting).losses) == ("queued", 0)


def test_a_dispatcher_without_work_or_server_ends_by_itself(
    store: Store, home: Home, supervisor: Supervisor
) -> None:
    """And one whose server is gone finishes first; a second on the same home goes away at once."""
    run_id = start_run(store, 1.0)
    front = home.front_lock()
    assert front.acquire(pid=os.getpid())

    def running() -> bool:
        supervisor._ensure()  # once more should Ray not come up on a busy machine
        return store.queue.run(run_id).state == "running"

    wait_for(running)
    other = Supervisor(home, command=supervisor._command, arguments=[])
    assert other.alive()
    other._ensure()
    assert other._child is None
    front.release()
    wait_for(lambda: not supervisor.alive())
    assert store.queue.run(run_id).state == "succeeded"
    assert supervisor._child is not None
    assert supervisor._child.wait(timeout=60) == 0
    assert tagged(home.dispatcher_lock().note()["tag"]) == []
