"""Where tasks run when it is Ray: `map` as `LocalRunner` has it, over one generic remote function.

    put the task once -> keep so many shards in flight -> wait -> yield, whatever the order

A task is pure and its result small, so a shard whose worker died is simply sent again, a bounded
number of times. Ray's own retries are off: they are without end when memory runs out. A shard is
sent as its path, never as its rows. The cluster is always named: "local" starts one, anything else
is the address of one that runs; nothing is ever joined by guessing.
"""

from __future__ import annotations

import contextlib
import copy
import os
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray import exceptions as ray_errors

from cluster.home import discard
from cluster.placement import Placement
from ihp_compute.errors import InfrastructureError

T = TypeVar("T")

LOCAL: Final = "local"
POLL_S: Final = 0.2
MAX_ATTEMPTS: Final = 3
RESULT_STORE_BYTES: Final = 1 << 30
"""Memory for results under way. Ray would take 30 % of the machine; shards are mapped, not sent."""
_SMALLEST_STORE_BYTES: Final = 100 << 20
_LONGEST_ROOT: Final = 24
"""A socket's path has 107 bytes at most, and Ray adds 75 of its own."""

_LOST: Final = (
    ray_errors.LocalRayletDiedError,
    ray_errors.NodeDiedError,
    ray_errors.ObjectLostError,
    ray_errors.OutOfMemoryError,
    ray_errors.WorkerCrashedError,
)
"""The worker or its node went, not the task: worth another try."""


class StoppedError(Exception):
    """Whoever waits for these results no longer wants them."""


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

    Raises
    ------
    InfrastructureError
        If the address is none, or Ray cannot be started or reached.
    """

    name = "ray"

    def __init__(
        self, address: str = LOCAL, *, cpus: int | None = None, scratch: Path | None = None
    ) -> None:
        if address != LOCAL and (":" not in address or "://" in address):
            raise InfrastructureError(
                f"Ray address {address!r}: expected 'local' or 'host:port' of a running cluster"
            )
        self._scratch = scratch
        if address == LOCAL and scratch is None:
            self._scratch = scratch_folder()
        try:
            _connect(address, cpus, self._scratch)
        except InfrastructureError:
            if self._scratch is not None:
                discard(self._scratch)
            raise
        # Ray annotates some of its functions, and not this one
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        self.parallelism = int(resources.get("CPU", 1))
        self._remote: Any = ray.remote(_apply)
        self._in_flight = 2 * self.parallelism
        self._options: dict[str, Any] = {"num_cpus": 1, "max_retries": 0}
        self._stopped: Callable[[], bool] = lambda: False

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
        ray.shutdown()
        if self._scratch is not None:
            discard(self._scratch)

    def for_run(self, *, stopped: Callable[[], bool]) -> RayRunner:
        """The same cluster, for a run that may be stopped.

        Parameters
        ----------
        stopped : callable
            Asked several times a second; once it answers True, `map` ends its tasks and raises
            `StoppedError`.

        Returns
        -------
        RayRunner
        """
        return self._but(_stopped=stopped)

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
        whose worker died is sent again, `MAX_ATTEMPTS` times in all.

        Raises
        ------
        InfrastructureError
            If workers keep dying, or the cluster is lost.
        StoppedError
            If the run is no longer wanted.
        """
        waiting = deque((shard, 1) for shard in shards)
        flying: dict[Any, tuple[Any, int]] = {}
        try:
            shared = ray.put(task)
            send = self._remote.options(**self._options).remote
            while waiting or flying:
                while waiting and len(flying) < self._in_flight:
                    shard, attempt = waiting.popleft()
                    flying[send(shared, shard)] = (shard, attempt)
                ready, _ = ray.wait(list(flying), num_returns=1, timeout=POLL_S)
                if self._stopped():
                    raise StoppedError
                for reference in ready:
                    shard, attempt = flying.pop(reference)
                    try:
                        result = ray.get(reference)
                    except _LOST as error:
                        if attempt == MAX_ATTEMPTS:
                            raise _gave_up(error) from None
                        waiting.appendleft((shard, attempt + 1))
                        continue
                    yield result
        except ray_errors.RayTaskError as error:
            raise error.cause from None
        except ray_errors.RayError as error:
            raise InfrastructureError(
                f"the Ray cluster failed ({type(error).__name__}); submit the run again"
            ) from error
        finally:
            for reference in flying:
                with contextlib.suppress(ray_errors.RayError):
                    ray.cancel(reference, force=True)


def ray_runner(address: str = LOCAL, cpus: int | None = None) -> RayRunner:
    """A runner to use in a `with` block; `RayRunner` says the rest."""
    return RayRunner(address, cpus=cpus)


def _gave_up(error: Exception) -> InfrastructureError:
    if isinstance(error, ray_errors.OutOfMemoryError):
        return InfrastructureError(
            f"a shard ran out of memory {MAX_ATTEMPTS} times; ingest with more shards, ask for "
            "fewer replicates, or use machines with more memory"
        )
    return InfrastructureError(
        f"the worker of one shard died {MAX_ATTEMPTS} times ({type(error).__name__}); look for "
        "memory running out on that machine"
    )


def scratch_folder() -> Path:
    """A new folder for a local cluster, for this user only; short, as it holds sockets."""
    wanted = tempfile.gettempdir()
    root = wanted if len(wanted) <= _LONGEST_ROOT else "/tmp"  # noqa: S108 (mkdtemp is safe there)
    return Path(tempfile.mkdtemp(prefix="ihp-", dir=root))


def _connect(address: str, cpus: int | None, scratch: Path | None) -> None:
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
    except (OSError, RuntimeError, ValueError, ray_errors.RayError) as error:
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
