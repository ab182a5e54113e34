"""Where tasks run when it is Ray: `map` as `LocalRunner` has it, over one generic remote function.

    put the task once -> keep so many shards in flight -> wait -> yield, whatever the order

A task is pure and its result small, so a shard whose worker died is simply sent again, a bounded
number of times. Ray's own retries are off: they are without end when memory runs out. A batch of
shards is sent again in halves, and after memory ran out fewer at a time, so that in the end one
shard fits, or the one that does not is named. A shard is
sent as its place, never as its rows. The cluster is always named: "local" starts one, anything else
is the address of one that runs; nothing is ever joined by guessing. A local cluster listens on
loopback alone, and its processes know each other by a token. Ray settles both when it is imported,
so it is imported when the address is known.
"""

from __future__ import annotations

import contextlib
import copy
import os
import secrets
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from cluster.home import discard
from cluster.parts import shards_named
from cluster.placement import RESULT_STORE_BYTES, Placement
from ihp_compute.errors import InfrastructureError, MemoryExhaustedError
from ihp_compute.runner import Batch

T = TypeVar("T")

LOCAL: Final = "local"
POLL_S: Final = 0.2
MAX_ATTEMPTS: Final = 3
"""At what cannot be halved: a shard, or a batch whose node died under it."""
FETCH_S: Final = 60.0
"""How long a result that is there may take to come, from a node that may be cut off."""
_SMALLEST_STORE_BYTES: Final = 100 << 20
_LONGEST_ROOT: Final = 24
"""A socket's path has 107 bytes at most, and Ray adds 75 of its own."""

_FOR_ALL: Final = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
_FOR_LOCAL: Final = {
    # a machine that is no part of a cluster calls itself 127.0.0.1, and all that Ray starts on it
    # listens there alone; naming that address does not do it, as Ray looks up the machine's own
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_worker_niceness": "0",  # that of whoever starts it
}


class StoppedError(Exception):
    """Whoever waits for these results no longer wants them."""


class ClusterLostError(InfrastructureError):
    """The cluster is gone, not a task or a worker: on another one the work goes on."""


def _apply(task: Callable[[Any], T], shard: Any) -> T:
    with contextlib.redirect_stdout(sys.stderr):  # stdout belongs to the driver's one document
        return task(shard)


class RayRunner:
    """Tasks on a Ray cluster. Use as a context: leaving it stops the cluster it started.

    Parameters
    ----------
    address : str
        "local", or "host:port" of a running cluster.
    cpus : int, optional
        Cores of a local cluster; all of the machine unless given.
    scratch : Path, optional
        Folder for a local cluster's sockets, logs and spilled results, removed at the end; one of
        this user's own unless given.
    token : Path, optional
        File of a local cluster's token; one that this process makes and keeps unless given.

    Raises
    ------
    InfrastructureError
        If the address is none, or Ray cannot be started or reached.
    """

    name = "ray"

    def __init__(
        self,
        address: str = LOCAL,
        *,
        cpus: int | None = None,
        scratch: Path | None = None,
        token: Path | None = None,
    ) -> None:
        if address != LOCAL and (":" not in address or "://" in address):
            raise InfrastructureError(
                f"Ray address {address!r}: expected 'local' or 'host:port' of a running cluster"
            )
        self._ray = ray = _imported(address, token)
        self._node_lost = (
            ray.exceptions.NodeDiedError,
            ray.exceptions.ObjectLostError,
            ray.exceptions.GetTimeoutError,
        )
        self._lost = (
            *self._node_lost,
            ray.exceptions.OutOfMemoryError,
            ray.exceptions.WorkerCrashedError,
        )  # the worker or its node went, not the task: worth another try
        self._scratch = scratch
        if address == LOCAL and scratch is None:
            self._scratch = scratch_folder()
        try:
            _connect(ray, address, cpus, self._scratch)
        except InfrastructureError:
            if self._scratch is not None:
                discard(self._scratch)
            raise
        resources: dict[str, float] = ray.cluster_resources()
        self.parallelism = int(resources.get("CPU", 1))
        self._remote: Any = ray.remote(_apply)
        self._in_flight = 2 * self.parallelism
        self._options: dict[str, Any] = {"num_cpus": 1, "max_retries": 0}
        self._stopped: Callable[[], bool] = lambda: False
        self._told: Callable[[str, str], object] = lambda _shards, _why: None

    def __enter__(self) -> Self:
        """The runner itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the cluster; a local one ends."""
        self.close()

    def close(self) -> None:
        """Leave the cluster; a local one ends."""
        self._ray.shutdown()
        if self._scratch is not None:
            discard(self._scratch)

    def for_run(
        self, *, stopped: Callable[[], bool], told: Callable[[str, str], object] | None = None
    ) -> RayRunner:
        """The same cluster, for a run that may be stopped.

        Parameters
        ----------
        stopped : callable
            Asked several times a second; once it answers True, `map` ends its tasks and raises
            `StoppedError`.
        told : callable, optional
            Told which shards are sent again, and why.

        Returns
        -------
        RayRunner
        """
        return self._but(_stopped=stopped, _told=told or self._told)

    def placed(self, placement: Placement) -> RayRunner:
        """The same cluster, with tasks in flight and their memory as a placement says."""
        options = {**self._options, "memory": placement.task_memory_bytes}
        return self._but(_in_flight=placement.in_flight, _options=options)

    def _but(self, **changes: Any) -> RayRunner:
        other = copy.copy(self)
        vars(other).update(changes)
        return other

    def warm(self, task: Callable[[Any], object]) -> None:
        """Have every core's worker do `task` once, without waiting: the first run finds it warm."""
        for core in range(self.parallelism):
            self._remote.options(**self._options).remote(task, core)

    def map(self, task: Callable[[Any], T], shards: Sequence[Any]) -> Iterator[T]:
        """Yield `task(shard)` for every shard, in any order.

        The first failure of a task is raised as the task raised it, and ends the others. A shard
        whose worker died is sent again, `MAX_ATTEMPTS` times in all; a `Batch` in halves, so that
        a result may be of fewer shards than were asked for together.

        Raises
        ------
        InfrastructureError
            If workers keep dying: of which shard is said.
        MemoryExhaustedError
            If one shard alone does not fit.
        ClusterLostError
            If the cluster is lost.
        StoppedError
            If the run is no longer wanted.
        """
        ray, errors = self._ray, self._ray.exceptions
        waiting = deque((shard, 1) for shard in shards)
        flying: dict[Any, tuple[Any, int]] = {}
        most = self._in_flight
        try:
            shared = ray.put(task)
            send = self._remote.options(**self._options).remote
            while waiting or flying:
                while waiting and len(flying) < most:
                    shard, attempt = waiting.popleft()
                    flying[send(shared, shard)] = (shard, attempt)
                ready, _ = ray.wait(list(flying), num_returns=1, timeout=POLL_S)
                if self._stopped():
                    raise StoppedError
                for reference in ready:
                    shard, attempt = flying.pop(reference)
                    try:
                        result = ray.get(reference, timeout=FETCH_S)
                    except (*self._lost, errors.RayTaskError) as error:
                        full = self._is_full(error)
                        if isinstance(error, errors.RayTaskError) and not full:
                            raise
                        waiting.extendleft(reversed(self._again(shard, attempt, error)))
                        if full:  # tasks of a machine share its memory
                            most = max(1, most // 2)
                        continue
                    yield result
        except errors.RayTaskError as error:
            raise error.cause from None
        except errors.RayError as error:
            raise ClusterLostError(
                f"the Ray cluster failed ({type(error).__name__}); submit the run again"
            ) from error
        finally:
            for reference in flying:
                with contextlib.suppress(errors.RayError):
                    ray.cancel(reference, force=True)

    def _is_full(self, error: Exception) -> bool:
        """Whether memory ran out: seen by Ray, or met by the task itself."""
        cause = getattr(error, "cause", None)
        return isinstance(error, self._ray.exceptions.OutOfMemoryError) or isinstance(
            cause, MemoryError
        )

    def _again(self, shard: Any, attempt: int, error: Exception) -> list[tuple[Any, int]]:
        """What is sent in place of a task that was lost, and the how-maniest attempt it is."""
        named, why = _named(shard), type(error).__name__
        if self._is_full(error):
            why = "out of memory"
        if isinstance(shard, Batch) and not isinstance(error, self._node_lost):
            halves = shard.halves()
            if len(halves) > 1:
                self._told(named, why)
                return [(half, 1) for half in halves]
        if attempt < MAX_ATTEMPTS:
            self._told(named, why)
            return [(shard, attempt + 1)]
        if self._is_full(error):
            raise MemoryExhaustedError(
                f"{named} ran out of memory {MAX_ATTEMPTS} times, alone on its worker; ingest with "
                "more shards, ask for fewer replicates, or use machines with more memory"
            )
        raise InfrastructureError(
            f"the worker of {named} died {MAX_ATTEMPTS} times ({why}); look for memory running out "
            "on that machine, then check the population with `ihp verify`"
        )


def _named(shard: Any) -> str:
    """What a message calls a shard or a batch of them."""
    ones = shard if isinstance(shard, Batch) else (shard,)
    numbers = [one if isinstance(one, int) else getattr(one, "index", None) for one in ones]
    known = [number for number in numbers if isinstance(number, int)]
    return shards_named(known[0], len(known)) if known else "a task"


def ray_runner(address: str = LOCAL, cpus: int | None = None) -> RayRunner:
    """A runner to use in a `with` block; `RayRunner` says the rest."""
    return RayRunner(address, cpus=cpus)


def scratch_folder() -> Path:
    """A new folder for a local cluster, for this user only; short, as it holds sockets."""
    wanted = tempfile.gettempdir()
    root = wanted if len(wanted) <= _LONGEST_ROOT else "/tmp"  # noqa: S108 (mkdtemp is safe there)
    return Path(tempfile.mkdtemp(prefix="ihp-", dir=root))


def _imported(address: str, token: Path | None) -> Any:
    """Ray, which keeps for good what it finds in the environment now."""
    for name, value in _FOR_ALL.items():
        os.environ.setdefault(name, value)
    if address == LOCAL:
        os.environ.update(_FOR_LOCAL)
        if token is not None:
            os.environ.pop("RAY_AUTH_TOKEN", None)  # it would go first
            os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)
        elif "RAY_AUTH_TOKEN_PATH" not in os.environ:
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    import ray  # noqa: PLC0415 (as said)

    return ray


def _connect(ray: Any, address: str, cpus: int | None, scratch: Path | None) -> None:
    if ray.is_initialized():
        raise InfrastructureError("Ray runs in this process already; close that runner first")
    # kernels are serial: one thread a worker, whatever a library would like
    workers = {"NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    options: dict[str, Any] = {
        "address": address,
        "logging_level": "error",
        "log_to_driver": True,
    }
    before = {name: os.environ.get(name) for name in workers}
    if address == LOCAL:
        options |= {
            "include_dashboard": False,
            "num_cpus": cpus,
            "object_store_memory": _store_bytes(),
            "_temp_dir": f"{scratch}/ray",  # Ray opens its folder to everybody; ours stays shut
        }
        os.environ.update(workers)  # inherited: no environment to build for every worker
    else:
        options["runtime_env"] = {"env_vars": workers}
    try:
        ray.init(**options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise InfrastructureError(
            f"Ray at {address!r} cannot be used ({type(error).__name__}: {error}); "
            "`ihp doctor` checks shared memory, disk and Ray"
        ) from error
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _store_bytes() -> int:
    try:
        free = shutil.disk_usage("/dev/shm").free  # noqa: S108 (asked for its size, not written)
    except OSError:
        return _SMALLEST_STORE_BYTES
    return max(_SMALLEST_STORE_BYTES, min(RESULT_STORE_BYTES, int(0.8 * free)))
