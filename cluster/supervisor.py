"""One dispatcher per home: adopt the living one, start one if there is none, stop all that is its.

One that lives and does not move is no dispatcher: it is killed, and another takes its place.

The dispatcher is a process of its own in a session of its own, so that the death of the HTTP server
cannot touch a run. Its processes, Ray's among them, carry its tag in their environment: whatever is
left of a dispatcher that was killed is found by that tag and ended.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import structlog

from cluster.home import Home, discard
from cluster.pulse import Watch

TAG: Final = "IHP_DISPATCHER_TAG"
STOP_S: Final = 8.0
"""How long a dispatcher may take to end in good order."""
NICENESS: Final = 10
"""Of a dispatcher and all it starts: whoever asks the service is answered before runs go on."""
LONGEST_PAUSE_S: Final = 60.0
QUIET_S: Final = 15.0
"""A dispatcher that has not moved for so long is not one that works."""
HANGS_S: Final = 45.0
"""One that has not moved for so long is killed; its leases are over by then."""

Standing: TypeAlias = Literal["works", "hangs", "is gone"]
"""What a dispatcher does, in words that follow "the dispatcher"."""

log = structlog.get_logger(__name__)


class Supervisor:
    """Keeps one dispatcher running on a home, until `stop`.

    Parameters
    ----------
    home : Home
    command : sequence of str, optional
        How to start a dispatcher; `python -m cluster.dispatch` unless given.
    arguments : sequence of str
        Further arguments of the dispatcher.
    quiet_s, hangs_s : float
        How long a dispatcher may not move until it is told, and until it is killed.
    """

    def __init__(
        self,
        home: Home,
        *,
        command: list[str] | None = None,
        arguments: list[str] | None = None,
        quiet_s: float = QUIET_S,
        hangs_s: float = HANGS_S,
    ) -> None:
        self._home = home
        self._watch = Watch(home.dispatcher_lock())
        self._quiet_s = quiet_s
        self._hangs_s = hangs_s
        self._command = command or [sys.executable, "-m", "cluster.dispatch"]
        self._arguments = arguments or []
        self._child: subprocess.Popen[bytes] | None = None
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._keep, name="supervisor", daemon=True)
        self._pause_s = 1.0
        self._started_s = 0.0

    def start(self) -> None:
        """Adopt or start a dispatcher now and whenever there is none."""
        self._ensure()
        self._watcher.start()

    def standing(self) -> Standing:
        """What the dispatcher of this home does."""
        if not self._home.dispatcher_lock().held():
            return "is gone"
        return "works" if self._watch.look() < self._quiet_s else "hangs"

    def alive(self) -> bool:
        """Whether a dispatcher lives on this home, and moves."""
        return self.standing() == "works"

    def stop(self) -> None:
        """End the dispatcher in good order, adopted or not, and everything it started."""
        self._stopped.set()
        if self._watcher.is_alive():
            self._watcher.join(timeout=5)
        lock = self._home.dispatcher_lock()
        child = self._child
        if lock.held():
            _send(int(lock.note().get("pid", 0)), signal.SIGTERM)
        elif child is not None and child.poll() is None:  # not yet as far as its lock
            child.terminate()
        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline and (
            lock.held() or (child is not None and child.poll() is None)
        ):
            time.sleep(0.05)
        if lock.held():
            _send(int(lock.note().get("pid", 0)), signal.SIGKILL)
        if child is not None and child.poll() is None:
            child.kill()
            child.wait()
        note = lock.note()
        if note.get("tag"):
            end_tagged(str(note["tag"]))
        if note.get("scratch"):
            discard(Path(note["scratch"]))

    def _keep(self) -> None:
        while not self._stopped.wait(1.0):
            self._ensure()

    def _ensure(self) -> None:
        lock = self._home.dispatcher_lock()
        if lock.held() and (quiet_s := self._watch.look()) > self._hangs_s:
            self._end_hanging(lock.note(), quiet_s)
        if self._child is not None and self._child.poll() is None:
            return
        if lock.held():
            self._pause_s = 1.0
            return
        now_s = time.monotonic()
        if self._child is not None:  # it died: the sooner it did, the longer the pause
            if now_s - self._started_s > LONGEST_PAUSE_S:
                self._pause_s = 1.0
            if now_s < self._started_s + self._pause_s:
                return
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            log.warning("dispatcher_died", exit_code=self._child.returncode)
        self._started_s = now_s
        with self._home.log.open("ab") as output:
            self._child = subprocess.Popen(
                [*self._command, "--home", str(self._home.path), *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                umask=0o077,
                env={**os.environ, TAG: secrets.token_hex(16)},
            )
        with contextlib.suppress(OSError):  # it is new and has one thread; others inherit from it
            os.setpriority(os.PRIO_PROCESS, self._child.pid, NICENESS)
        log.info("dispatcher_started", pid=self._child.pid)

    def _end_hanging(self, note: dict[str, Any], quiet_s: float) -> None:
        """Kill a dispatcher that does not move, and all that it started."""
        pid, tag = int(note.get("pid", 0)), str(note.get("tag", ""))
        ended = end_tagged(tag) if tag and pid in tagged(tag) else []
        # one that somebody started by hand is his; that it hangs is said as long as it does
        log.error("dispatcher_hangs", pid=pid, quiet_s=round(quiet_s), ended=len(ended))
        if ended and note.get("scratch"):
            discard(Path(note["scratch"]))
        if ended and self._child is not None and self._child.pid == pid:
            self._child.wait()


def _send(pid: int, number: int) -> None:
    if pid > 0:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def tagged(tag: str) -> list[int]:
    """Ids of processes, this one excepted, whose environment carries the tag (Linux only)."""
    wanted = f"{TAG}={tag}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        with contextlib.suppress(OSError):
            if pid != os.getpid() and wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def end_tagged(tag: str) -> list[int]:
    """Kill what a dispatcher left behind, found by its tag; returns the process ids."""
    ended = []
    for _ in range(3):  # a dying process may still have started another
        left = tagged(tag)
        if not left:
            break
        for pid in left:
            _send(pid, signal.SIGKILL)
        ended += left
        time.sleep(0.1)
    return ended
