"""The process that turns queued runs into results: `python -m cluster.dispatch --home HOME`.

    lease -> run the pipeline on Ray, heartbeat beside it -> commit | fail | cancel | release

It answers to the database alone: the HTTP server may die and come back. When it dies itself, its
lease expires, or the next dispatcher of this home finds the lock free, and the run starts again:
results are a function of their request, so nothing is lost but time. An attempt writes a folder of
its own, which counts only once the database says so. Without work and without a living HTTP server
it ends by itself.

Not here: the states of a run (`states`), its rows (`runs`, `leases`), what it computes (`work`),
who starts this process (`supervisor`).
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Final, Self

import structlog

from cluster.home import Home, discard
from cluster.leases import Leases
from cluster.runner import LOCAL, RayRunner, StoppedError, scratch_folder
from cluster.runs import Run
from cluster.states import State
from cluster.store import Store
from cluster.supervisor import TAG, end_tagged
from cluster.work import WORK, Work, warm
from ihp_compute.errors import (
    AcceptanceError,
    ContractError,
    DataError,
    GateError,
    GridError,
    IhpError,
    InfrastructureError,
    RiskModelError,
    UnbalancedLedgerError,
)

LEASE_MS: Final = 15_000
BEAT_S: Final = 1.0
LINGER_S: Final = 60.0
EXIT_ANOTHER_LIVES: Final = 5

REASONS: Final[Mapping[type[IhpError], str]] = {
    AcceptanceError: "acceptance_error",
    ContractError: "contract_error",
    DataError: "data_error",
    GateError: "gate_error",
    GridError: "grid_error",
    InfrastructureError: "infrastructure",
    RiskModelError: "model_error",
    UnbalancedLedgerError: "unbalanced_ledger",
}

_MACHINE: Final = frozenset({errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EMFILE})

log = structlog.get_logger(__name__)


class Dispatcher:
    """Takes queued runs one at a time and brings each to its end.

    Parameters
    ----------
    leases : Leases
    home : Home
    runner : RayRunner
    work : mapping of kind to Work
    name : str
        Who holds the leases; unique among the living.
    """

    def __init__(
        self,
        leases: Leases,
        home: Home,
        runner: RayRunner,
        *,
        name: str,
        work: Mapping[str, Work] = WORK,
        lease_ms: int = LEASE_MS,
        beat_s: float = BEAT_S,
    ) -> None:
        self._leases = leases
        self._home = home
        self._runner = runner
        self._name = name
        self._work = work
        self._lease_ms = lease_ms
        self._beat_s = beat_s
        self.stopping = threading.Event()

    def serve(self, *, linger_s: float = LINGER_S, idle_s: float = 0.2) -> None:
        """Work until `stopping` is set, or until nobody has been there for `linger_s`."""
        front = self._home.front_lock()
        alone_since_s = time.monotonic()
        while not self.stopping.is_set():
            for run_id in self._leases.reclaim(actor=self._name):
                log.warning("lease_expired", run_id=run_id)
            if self.step() or front.held():
                alone_since_s = time.monotonic()
            elif time.monotonic() - alone_since_s > linger_s:
                log.info("nobody_here")
                return
            self.stopping.wait(idle_s)

    def step(self) -> bool:
        """Take one queued run and end it; False when none waits."""
        run = self._leases.take(self._name, lease_ms=self._lease_ms)
        if run is None:
            return False
        started_s = time.monotonic()
        log.info("started", run_id=run.id, attempt=run.attempt)
        attempt = _Attempt(self._leases, run, self._lease_ms, self._beat_s, self.stopping)
        folder = self._home.runs / run.id
        shutil.rmtree(folder, ignore_errors=True)  # what dead attempts left
        folder.mkdir(parents=True, mode=0o700)
        with attempt:
            state, ended = self._do(attempt, self._home.attempt(run.id, run.attempt))
        if state != "succeeded" and (ended is None or ended.attempt == run.attempt):
            shutil.rmtree(self._home.attempt(run.id, run.attempt), ignore_errors=True)
        seconds = round(time.monotonic() - started_s, 3)
        log.info("ended", run_id=run.id, attempt=run.attempt, outcome=state, seconds=seconds)
        return True

    def _do(self, attempt: _Attempt, out: Path) -> tuple[str, Run | None]:
        run = attempt.run
        runner = self._runner.for_run(stopped=attempt.unwanted)
        try:
            digest = self._work[run.kind](run, out, runner, attempt.progress)
        except StoppedError:
            if attempt.cancelled.is_set():
                return self._end(run, "cancelled")
            if not attempt.lost.is_set():
                self._leases.release(run)
            return "released", None
        except IhpError as error:
            return self._end(run, "failed", reason=_reason(error), detail=str(error))
        except (MemoryError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _MACHINE:
                return self._defect(run, error)
            cause = "no memory left"
            if isinstance(error, OSError):
                cause = os.strerror(error.errno or 0)
            detail = f"the machine failed: {cause}; make room and submit the run again"
            return self._end(run, "failed", reason="infrastructure", detail=detail)
        except Exception as error:  # noqa: BLE001 (one bad run must not end the others)
            return self._defect(run, error)
        return self._end(run, "succeeded", digest=digest)

    def _defect(self, run: Run, error: Exception) -> tuple[str, Run | None]:
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{frame.filename}:{frame.lineno}" for frame in frames]
        # a message may quote a value; names and lines do not
        log.error("defect", run_id=run.id, error=type(error).__name__, where=where)
        detail = f"a defect of this program ({type(error).__name__}); its log has the place"
        return self._end(run, "failed", reason="defect", detail=detail)

    def _end(self, run: Run, state: State, **values: str) -> tuple[str, Run | None]:
        ended = self._leases.finish(run, state, **values)
        return ("lost" if ended is None else ended.state), ended


class _Attempt:
    """One attempt's lease, kept alive by a thread; as a context."""

    def __init__(
        self, leases: Leases, run: Run, lease_ms: int, beat_s: float, stopping: threading.Event
    ) -> None:
        self.run = run
        self.cancelled = threading.Event()
        self.lost = threading.Event()
        self._leases = leases
        self._lease_ms = lease_ms
        self._beat_s = beat_s
        self._stopping = stopping
        self._over = threading.Event()
        self._noted_s = 0.0
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def unwanted(self) -> bool:
        """Whether to stop: cancelled, lost, or the dispatcher ends."""
        return self.cancelled.is_set() or self.lost.is_set() or self._stopping.is_set()

    def progress(self, done: int, total: int) -> None:
        """Note how far the attempt is, several times a second at most."""
        now_s = time.monotonic()
        if done == total or now_s - self._noted_s > BEAT_S / 4:
            self._noted_s = now_s
            self._leases.progress(self.run, done, total)
        if self.unwanted():
            raise StoppedError

    def _beat(self) -> None:
        kept_s = time.monotonic()
        while not self._over.wait(self._beat_s):
            try:
                now = self._leases.heartbeat(self.run, lease_ms=self._lease_ms)
            except Exception as error:  # noqa: BLE001 (a database that is away may come back)
                log.warning("heartbeat_failed", run_id=self.run.id, error=type(error).__name__)
                if time.monotonic() - kept_s > self._lease_ms / 1000:
                    self.lost.set()
                    return
                continue
            if now is None:
                self.lost.set()
                return
            kept_s = time.monotonic()
            if now.cancel_requested:
                self.cancelled.set()


def _reason(error: IhpError) -> str:
    for kind in type(error).__mro__:
        if kind in REASONS:
            return REASONS[kind]
    return "data_error"


def main(argv: list[str] | None = None, *, work: Mapping[str, Work] = WORK) -> int:
    """Serve a home until told to stop; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cluster.dispatch", description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--database", help="SQLAlchemy URL; SQLite in the home unless given")
    parser.add_argument("--ray-address", default=LOCAL)
    parser.add_argument("--cpus", type=int)
    parser.add_argument("--linger", type=float, default=LINGER_S, metavar="SECONDS")
    given = parser.parse_args(argv)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    home = Home(given.home.resolve())
    home.make()
    place_name = f"{socket.gethostname()}:{home.path}:"
    lock = home.dispatcher_lock()
    before = lock.note()
    tag = os.environ.setdefault(TAG, os.urandom(16).hex())
    scratch = scratch_folder() if given.ray_address == LOCAL else None
    if not lock.acquire(pid=os.getpid(), tag=tag, scratch=str(scratch or "")):
        log.info("another_dispatcher_lives", pid=lock.note().get("pid"))
        if scratch is not None:
            scratch.rmdir()
        return EXIT_ANOTHER_LIVES
    if before.get("tag") not in (None, tag) and (left := end_tagged(str(before["tag"]))):
        log.warning("swept", processes=len(left))
    if before.get("scratch"):  # of one that was killed; otherwise it is gone
        discard(Path(before["scratch"]))
    try:
        return _serve(given, home, work, place_name, scratch)
    except IhpError as error:
        log.error("cannot_serve", detail=str(error))  # noqa: TRY400 (the message says it all)
        return EXIT_ANOTHER_LIVES
    finally:
        if scratch is not None:
            discard(scratch)
        lock.release()


def _serve(
    given: argparse.Namespace,
    home: Home,
    work: Mapping[str, Work],
    place_name: str,
    scratch: Path | None,
) -> int:
    store = Store(given.database or home.database_url)
    # The lock was free: whoever held a lease from here is dead, whatever the lease says.
    name = f"{place_name}{os.getpid()}"
    for run_id in store.leases.reclaim(actor=name, dead=place_name):
        log.warning("taken_over", run_id=run_id)
    with RayRunner(given.ray_address, cpus=given.cpus, scratch=scratch) as runner:
        dispatcher = Dispatcher(store.leases, home, runner, name=name, work=work)

        def stop(_number: int, _frame: FrameType | None) -> None:
            dispatcher.stopping.set()

        signal.signal(signal.SIGTERM, stop)  # after Ray, which sets one of its own
        signal.signal(signal.SIGINT, stop)
        runner.warm(warm)
        log.info("ready", cpus=runner.parallelism)
        dispatcher.serve(linger_s=given.linger)
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
