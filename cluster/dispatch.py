"""The process that turns queued runs into results: `python -m cluster.dispatch --home HOME`.

    lease -> run the pipeline on Ray, heartbeat beside it
        -> commit | fail | let it wait for a review | cancel | release

It answers to the database alone: the HTTP server may die and come back. The database may be away
for minutes: work goes on, what must be said is said again until it is heard, and no lease is taken
for lost before its holder could renew it. When the dispatcher dies itself, its lease expires, or
the next dispatcher of this home finds the lock free, and the run goes on with the shards that were
kept (`parts`): results are a function of their request, so nothing is lost but time. One whose Ray
cluster is gone puts its run back and ends, as the next one starts a cluster. An attempt writes a
folder of its own, which counts only once the database says so. Without work and without a living
HTTP server it ends by itself.

Not here: the states of a run (`states`), its rows (`runs`, `leases`), what it computes (`work`),
who starts this process (`supervisor`).
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import gc
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Final, Self, TypeVar

import structlog

from cluster import parts
from cluster.database import AWAY
from cluster.home import Home, discard
from cluster.kept import keep, sweep
from cluster.leases import Leases
from cluster.parts import KEEP_FROM_S, KeepingRunner, Part, Parts
from cluster.pulse import Pulse, touched
from cluster.runner import LOCAL, ClusterLostError, RayRunner, StoppedError, scratch_folder
from cluster.runs import Run, UnknownRunError
from cluster.states import FINAL, Phase, State
from cluster.store import Store
from cluster.supervisor import TAG, end_tagged
from cluster.work import WORK, BeforeSuccess, Work, nothing_before, opening, warm
from ihp_compute.errors import (
    AcceptanceError,
    ContractError,
    DataError,
    GateError,
    GridError,
    IhpError,
    InfrastructureError,
    MemoryExhaustedError,
    RiskModelError,
    UnbalancedLedgerError,
)
from ihp_compute.measured_before import MeasuredBefore
from ihp_compute.publishing import make_folder
from ihp_compute.runner import Runner

LEASE_MS: Final = 15_000
BEAT_S: Final = 1.0
LINGER_S: Final = 60.0
EXIT_ANOTHER_LIVES: Final = 5
EXIT_CLUSTER_LOST: Final = 6
AWAY_S: Final = 600.0
"""How long the database may be away from one attempt."""
AGAIN_S: Final = 0.5
"""Between two tries to reach it."""

MAX_RUN_S: Final = 24 * 3600.0
"""No attempt lasts longer: what hangs must not hold up what waits."""

STUCK_S: Final = 300.0
"""How long an attempt that is not wanted any more may take to end: what hangs in it is not heard of
by anybody else, so a dispatcher that waits for longer counts as one that does not move."""

REASONS: Final[Mapping[type[IhpError], str]] = {
    AcceptanceError: "data_error",
    ContractError: "contract_error",
    DataError: "data_error",
    GridError: "contract_error",
    InfrastructureError: "infrastructure",
    MemoryExhaustedError: "out_of_memory",
    RiskModelError: "model_error",
    UnbalancedLedgerError: "data_error",
}
"""In one word, whose matter a failure is; a defect of this program is its infrastructure."""
_MACHINE: Final[Mapping[int, str]] = {
    errno.ENOSPC: "storage",
    errno.EIO: "storage",
    errno.EROFS: "storage",
    errno.EDQUOT: "quota",
    errno.EMFILE: "infrastructure",
}
"""Errors of the system that are the machine's, and the reason of a run that met one."""

log = structlog.get_logger(__name__)

_Said = TypeVar("_Said")


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
        before_success: BeforeSuccess = nothing_before,
        lease_ms: int = LEASE_MS,
        beat_s: float = BEAT_S,
        max_run_s: float = MAX_RUN_S,
        keep_from_s: float = KEEP_FROM_S,
    ) -> None:
        self._leases = leases
        self._home = home
        self._runner = runner
        self._name = name
        self._work = work
        self._measured_before = MeasuredBefore()
        self._before_success = before_success
        self._lease_ms = lease_ms
        self._beat_s = beat_s
        self._max_run_s = max_run_s
        self._keep_from_s = keep_from_s
        self.cluster_lost = False
        self._waits = False
        self._reclaims_from_s = 0.0
        self._under_way: _Attempt | None = None
        self.stopping = threading.Event()

    def serve(self, *, linger_s: float = LINGER_S, idle_s: float = 0.2) -> None:
        """Work until `stopping` is set, or until nobody has been there for `linger_s`."""
        front = self._home.front_lock()
        alone_since_s = time.monotonic()
        while not self.stopping.is_set():
            try:
                worked = self._reclaim_and_step()
            except AWAY as error:
                if not self._waits:
                    log.warning("database_away", error=type(error).__name__)
                worked, self._waits = False, True
                self.stopping.wait(AGAIN_S)
            if worked or front.held():
                alone_since_s = time.monotonic()
            elif time.monotonic() - alone_since_s > linger_s:
                log.info("nobody_here")
                return
            self.stopping.wait(idle_s)

    def moves(self) -> bool:
        """Whether the attempt under way, if there is one, ends when it is told to."""
        attempt = self._under_way
        return attempt is None or not attempt.stuck()

    def _reclaim_and_step(self) -> bool:
        run = None
        if self._waits:
            run = self._leases.taken(self._name)
            log.info("database_back")
            self._waits = False
            # leases ran out while nobody could renew one: whoever lives does so now
            self._reclaims_from_s = time.monotonic() + self._lease_ms / 1000
        if time.monotonic() >= self._reclaims_from_s:
            for run_id in self._leases.reclaim(actor=self._name):
                log.warning("lease_expired", run_id=run_id)
        return self.step(run)

    def step(self, run: Run | None = None) -> bool:
        """Take one queued run and end it; False when none waits.

        Parameters
        ----------
        run : Run, optional
            One that is taken already.
        """
        run = run or self._leases.take(self._name, lease_ms=self._lease_ms)
        if run is None:
            return False
        started_s = time.monotonic()
        log.info("started", run_id=run.id, attempt=run.attempt)
        attempt = _Attempt(
            self._leases, run, self._lease_ms, self._beat_s, self._max_run_s, self.stopping
        )
        held = _Held(self._leases, attempt)
        attempt.before = self._measured_before
        attempt.parts = Parts(self._home.parts / run.id, held, from_s=self._keep_from_s)
        self._under_way = attempt
        folder = self._home.runs / run.id
        shutil.rmtree(folder, ignore_errors=True)  # what dead attempts left
        make_folder(folder, mode=0o700)
        with attempt:
            state, ended = self._do(attempt, self._home.attempt(run.id, run.attempt))
        self._under_way = None
        if state != "succeeded" and (ended is None or ended.attempt == run.attempt):
            shutil.rmtree(self._home.attempt(run.id, run.attempt), ignore_errors=True)
        if ended is not None and ended.state in FINAL:
            parts.discard(self._home.parts / run.id)
        seconds = round(time.monotonic() - started_s, 3)
        log.info("ended", run_id=run.id, attempt=run.attempt, outcome=state, seconds=seconds)
        return True

    def _do(self, attempt: _Attempt, out: Path) -> tuple[str, Run | None]:
        run = attempt.run
        runner = self._runner.for_run(stopped=attempt.unwanted, told=attempt.sent_again)
        try:
            digest = self._work[run.kind](run, out, runner, attempt)
            keep(out)
        except StoppedError:
            if attempt.cancelled.is_set():
                return self._end(attempt, "cancelled")
            if attempt.too_long.is_set():
                detail = f"not ended after {self._max_run_s / 3600:g} hours; ask for less at a time"
                return self._end(attempt, "failed", reason="timed_out", detail=detail)
            if not attempt.lost.is_set():
                attempt.heard(lambda: self._leases.release(run))
            return "released", None
        except ClusterLostError as error:
            log.error("cluster_lost", run_id=run.id, detail=str(error))  # noqa: TRY400 (says it all)
            self.cluster_lost = True
            self.stopping.set()
            self._leases.reclaim(actor=self._name, dead=self._name)
            return "lost", None
        except GateError as error:
            if not error.tripped:
                return self._end(attempt, "failed", reason="data_error", detail=str(error))
            tripped = error.tripped
            waiting = attempt.heard(lambda: self._leases.review(run, tripped))
            return ("lost" if waiting is None else waiting.state), waiting
        except IhpError as error:
            return self._end(attempt, "failed", reason=_reason(error), detail=str(error))
        except (MemoryError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _MACHINE:
                return self._defect(attempt, error)
            cause, reason = "no memory left", "out_of_memory"
            if isinstance(error, OSError):
                number = error.errno or 0
                cause, reason = os.strerror(number), _MACHINE[number]
            detail = f"the machine failed: {cause}; make room and submit the run again"
            return self._end(attempt, "failed", reason=reason, detail=detail)
        except Exception as error:  # noqa: BLE001 (one bad run must not end the others)
            return self._defect(attempt, error)
        if not attempt.cancelled.is_set():
            self._before_success(run)  # once it is told, all that it shows is there
        return self._end(attempt, "succeeded", digest=digest)

    def _defect(self, attempt: _Attempt, error: Exception) -> tuple[str, Run | None]:
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{frame.filename}:{frame.lineno}" for frame in frames]
        # a message may quote a value; names and lines do not
        log.error("defect", run_id=attempt.run.id, error=type(error).__name__, where=where)
        detail = f"a defect of this program ({type(error).__name__}); its log has the place"
        return self._end(attempt, "failed", reason="infrastructure", detail=detail)

    def _end(self, attempt: _Attempt, state: State, **values: str) -> tuple[str, Run | None]:
        ended = attempt.heard(lambda: self._leases.finish(attempt.run, state, **values))
        return ("lost" if ended is None else ended.state), ended


class _Held:
    """Rows of parts, of a run that an attempt holds."""

    def __init__(self, leases: Leases, attempt: _Attempt) -> None:
        self._leases = leases
        self._attempt = attempt

    def parts(self, task_sha256: str) -> list[Part]:
        """As `parts.Rows`."""
        attempt = self._attempt
        return attempt.heard(lambda: self._leases.parts(attempt.run, task_sha256))

    def keep(self, part: Part) -> Part | None:
        """As `parts.Rows`; a database that is away keeps nobody waiting for what may be lost."""
        with contextlib.suppress(*AWAY):
            return self._leases.keep(self._attempt.run, part)
        return None


class _Attempt:
    """One attempt's lease, kept alive by a thread; as a context."""

    parts: Parts
    before: MeasuredBefore

    def __init__(
        self,
        leases: Leases,
        run: Run,
        lease_ms: int,
        beat_s: float,
        max_run_s: float,
        stopping: threading.Event,
    ) -> None:
        self.run = run
        self.cancelled = threading.Event()
        self.lost = threading.Event()
        self.too_long = threading.Event()
        self._until_s = time.monotonic() + max_run_s
        self._leases = leases
        self._lease_ms = lease_ms
        self._beat_s = beat_s
        self._stopping = stopping
        self._over = threading.Event()
        self._unwanted_s: float | None = None
        self._noted_s = 0.0
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def unwanted(self) -> bool:
        """Whether to stop: cancelled, lost, too long under way, or the dispatcher ends."""
        now_s = time.monotonic()
        if now_s > self._until_s:
            self.too_long.set()
        stops = (self.cancelled, self.lost, self.too_long, self._stopping)
        unwanted = any(stop.is_set() for stop in stops)
        if unwanted and self._unwanted_s is None:
            self._unwanted_s = now_s
        return unwanted

    def stuck(self) -> bool:
        """Whether it has been unwanted for so long that it does not hear of it."""
        since_s = self._unwanted_s if self.unwanted() else None
        return since_s is not None and time.monotonic() - since_s > STUCK_S

    def enter(self, phase: Phase) -> None:
        """Say how far the attempt is."""
        if not self.heard(lambda: self._leases.enter(self.run, phase)):
            self.heard(self._look)
        if self.unwanted():
            raise StoppedError

    def keeping(self, runner: Runner, parallelism: int) -> Runner:
        """The runner, which leaves out what an earlier attempt has done, and keeps what it does."""
        return KeepingRunner(runner, self.parts, parallelism=parallelism)

    def sent_again(self, shards: str, why: str) -> None:
        """Note that shards are tried again."""
        log.warning("sent_again", run_id=self.run.id, shards=shards, why=why)
        with contextlib.suppress(*AWAY):
            self._leases.note(self.run, "sent_again", {"shards": shards, "why": why})

    def heard(self, say: Callable[[], _Said]) -> _Said:
        """What a call of the database returns, made again while the database is away.

        Each of ours may be made twice: where an answer was lost, what it said had been kept.
        """
        until_s = time.monotonic() + AWAY_S
        while True:
            try:
                return say()
            except AWAY as error:
                if self._stopping.is_set() or time.monotonic() > until_s:
                    raise
                log.warning("not_heard", run_id=self.run.id, error=type(error).__name__)
            self._stopping.wait(AGAIN_S)

    def progress(self, done: int, total: int) -> None:
        """Note how far the attempt is, several times a second at most."""
        now_s = time.monotonic()
        if done == total or now_s - self._noted_s > BEAT_S / 4:
            self._noted_s = now_s
            with contextlib.suppress(*AWAY):  # the next one says more
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
                # though the lease be over: whoever took it is named when this attempt would end
                if time.monotonic() - kept_s > AWAY_S:
                    self.lost.set()
                    return
                continue
            if now is None:
                self.lost.set()
                return
            kept_s = time.monotonic()
            if now.state == "cancelling":
                self.cancelled.set()

    def _look(self) -> None:
        """Learn at once why the attempt is not wanted any more."""
        now = self._leases.heartbeat(self.run, lease_ms=self._lease_ms)
        (self.lost if now is None else self.cancelled).set()


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
        with touched(lock) as pulse:
            return _serve(given, home, pulse, work, place_name, scratch)
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
    pulse: Pulse,
    work: Mapping[str, Work],
    place_name: str,
    scratch: Path | None,
) -> int:
    store = Store(
        given.database or home.database_url, owner=None if given.database is None else home
    )
    # The lock was free: whoever held a lease from here is dead, whatever the lease says.
    name = f"{place_name}{os.getpid()}"
    for run_id in store.leases.reclaim(actor=name, dead=place_name):
        log.warning("taken_over", run_id=run_id)
    token = home.ray_token() if given.ray_address == LOCAL else None
    with RayRunner(given.ray_address, cpus=given.cpus, scratch=scratch, token=token) as runner:
        dispatcher = Dispatcher(
            store.leases,
            home,
            runner,
            name=name,
            work=work,
            before_success=opening(store.queue, home),
        )

        def stop(_number: int, _frame: FrameType | None) -> None:
            dispatcher.stopping.set()

        signal.signal(signal.SIGTERM, stop)  # after Ray, which sets one of its own
        signal.signal(signal.SIGINT, stop)
        pulse.follow(dispatcher.moves)
        runner.warm(warm)
        _sweep(store, home)
        gc.collect()
        gc.freeze()  # what is loaded by now stays: no run looks for garbage in it
        log.info("ready", cpus=runner.parallelism)
        dispatcher.serve(linger_s=given.linger)
    store.close()
    return EXIT_CLUSTER_LOST if dispatcher.cluster_lost else 0


def _sweep(store: Store, home: Home) -> None:
    """Remove what counts for nothing: parts of runs that ended, objects in the bucket of runs."""

    def goes_on(run_id: str) -> bool:
        try:
            return store.queue.run(run_id).state not in FINAL
        except UnknownRunError:
            return False

    parts.sweep(home.parts, goes_on)

    def counts(run_id: str) -> int | None:
        try:
            run = store.queue.run(run_id)
        except UnknownRunError:
            return None
        return 0 if run.state in FINAL and run.state != "succeeded" else run.attempt

    try:
        gone = sweep(counts)
    except IhpError as error:
        log.warning("not_swept", error=type(error).__name__)
        return
    if gone:
        log.info("objects_swept", objects=gone)


if __name__ == "__main__":
    sys.exit(main())
