"""A dispatcher that lives and does not move: it is told, killed, and another takes its place."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cluster import pulse
from cluster.home import Home
from cluster.pulse import Watch, touched
from cluster.supervisor import Supervisor, tagged

PROGRAM = """
import os, sys, time
from pathlib import Path
from cluster.home import Home
from cluster.pulse import touched
from cluster.supervisor import TAG

home = Home(Path(sys.argv[sys.argv.index("--home") + 1]))
lock = home.dispatcher_lock()
assert lock.acquire(pid=os.getpid(), tag=os.environ[TAG])
with touched(lock):
    time.sleep(300)
"""


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


@pytest.fixture
def supervisor(home: Home, tmp_path: Path) -> Iterator[Supervisor]:
    program = tmp_path / "dispatcher.py"
    program.write_text(PROGRAM)
    supervisor = Supervisor(home, command=[sys.executable, str(program)], quiet_s=4.0, hangs_s=8.0)
    yield supervisor
    supervisor.stop()


def test_a_dispatcher_that_does_not_move_is_told_then_replaced(
    home: Home, supervisor: Supervisor
) -> None:
    with capture_logs() as logs:
        supervisor.start()
        wait_for(supervisor.alive)
        first = home.dispatcher_lock().note()
        time.sleep(1.5 * supervisor._quiet_s)  # one that moves is let be
        assert supervisor.standing() == "works"
        assert home.dispatcher_lock().note() == first
        os.kill(first["pid"], signal.SIGSTOP)
        wait_for(lambda: supervisor.standing() == "hangs")
        assert home.dispatcher_lock().note() == first
        wait_for(lambda: home.dispatcher_lock().note() != first)
    wait_for(supervisor.alive)
    assert tagged(first["tag"]) == []
    told = [log for log in logs if log["event"] == "dispatcher_hangs"]
    assert [(log["pid"], log["ended"]) for log in told] == [(first["pid"], 1)]


def test_whoever_watches_may_sleep_himself(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that slept, or a server that was stopped, ends no dispatcher when it goes on."""
    now = {"s": 0.0}
    lock = home.dispatcher_lock()
    assert lock.acquire(pid=1)
    monkeypatch.setattr(time, "monotonic", lambda: now["s"])
    watch = Watch(home.dispatcher_lock())
    assert watch.look() == 0.0
    now["s"] = 3600.0
    assert watch.look() == 2.0
    now["s"] += 1.0
    assert watch.look() == 3.0
    lock.touch()
    assert watch.look() == 0.0
    lock.release()


def test_a_holder_that_is_stuck_or_never_ready_is_not_touched_for(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that touches would go on for ever beside work that hangs."""
    monkeypatch.setattr(pulse, "TOUCH_S", 0.01)
    monkeypatch.setattr(pulse, "START_S", 0.0)
    lock = home.dispatcher_lock()
    assert lock.acquire(pid=1)
    moves = {"now": False}

    def stays() -> bool:
        before = lock.touched_ns()
        time.sleep(0.2)
        return lock.touched_ns() == before

    with capture_logs() as logs, touched(lock) as beat:
        wait_for(lambda: len(logs) == 1)
        assert stays()
        before = lock.touched_ns()
        moves["now"] = True
        beat.follow(lambda: moves["now"])
        wait_for(lambda: lock.touched_ns() != before)
        moves["now"] = False
        wait_for(lambda: len(logs) == 2)
        assert stays()
    assert [log["event"] for log in logs] == ["stuck", "stuck"]
    lock.release()


def test_a_disk_that_takes_no_touch_shows(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "TOUCH_S", 0.01)
    lock = home.dispatcher_lock()
    assert lock.acquire(pid=1)

    def refused(*_arguments: object, **_named: object) -> None:
        raise OSError(30, "Read-only file system")

    with capture_logs() as logs, touched(lock):
        monkeypatch.setattr(os, "utime", refused)
        wait_for(lambda: bool(logs))
    assert logs[0]["event"] == "not_touched"
    lock.release()
