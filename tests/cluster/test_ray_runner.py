from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.placement import Placement
from cluster.runner import MAX_ATTEMPTS, RayRunner, StoppedError
from ihp_compute.errors import DataError, InfrastructureError, MemoryExhaustedError
from ihp_compute.runner import Batch, LocalRunner, Runner
from tests.cluster.listening import addresses, descendants

pytestmark = pytest.mark.ray


def square_sums() -> Any:
    def task(shard: int, *, power: int) -> Any:
        rows = np.arange(shard + 1, dtype=np.int64)
        return shard, int((rows**power).sum())

    return partial(task, power=2)


def test_ray_and_threads_give_the_same_results(ray_runner: RayRunner) -> None:
    runner: Runner = ray_runner
    shards = list(range(40))
    assert sorted(runner.map(square_sums(), shards)) == sorted(
        LocalRunner(2).map(square_sums(), shards)
    )


def test_no_shards_give_no_results(ray_runner: RayRunner) -> None:
    assert list(ray_runner.map(square_sums(), [])) == []


def test_never_more_in_flight_than_placed(ray_runner: RayRunner, tmp_path: Path) -> None:
    def task(shard: int) -> int:
        mark = tmp_path / str(shard)
        mark.touch()
        time.sleep(0.05)
        n_running = len(list(tmp_path.iterdir()))
        mark.unlink()
        return n_running

    placed = ray_runner.placed(Placement(in_flight=1, task_memory_bytes=1 << 20, seconds=0.0))
    assert set(placed.map(task, range(6))) == {1}


def test_a_worker_that_is_killed_changes_nothing(ray_runner: RayRunner, tmp_path: Path) -> None:
    """The first worker to reach shard 3 is killed as the kernel would: no warning, no clean-up."""

    def task(shard: int) -> int:
        mark = tmp_path / "killed"
        if shard == 3 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return shard * shard

    assert sorted(ray_runner.map(task, range(8))) == [n * n for n in range(8)]
    assert (tmp_path / "killed").exists()


def test_a_shard_that_always_kills_its_worker_is_given_up(
    ray_runner: RayRunner, tmp_path: Path
) -> None:
    def task(_shard: int) -> None:
        with (tmp_path / "attempts").open("a") as stream:
            stream.write("x")
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(InfrastructureError, match=f"died {MAX_ATTEMPTS} times"):
        list(ray_runner.map(task, [0]))
    assert len((tmp_path / "attempts").read_text()) == MAX_ATTEMPTS


def test_a_poisonous_shard_is_found_in_its_batch_and_named(
    ray_runner: RayRunner, tmp_path: Path
) -> None:
    """Every death halves the batch; the one shard left has its attempts, and the others end."""

    def task(batch: Sequence[int]) -> int:
        if 5 in batch:
            with (tmp_path / "deaths").open("a") as stream:
                stream.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        return sum(batch)

    told: list[tuple[str, str]] = []
    runner = ray_runner.for_run(stopped=lambda: False, told=lambda *said: told.append(said))
    with pytest.raises(InfrastructureError, match=f"worker of shard 5 died {MAX_ATTEMPTS} times"):
        list(runner.map(task, [Batch(range(4, 8))]))
    assert [shards for shards, _ in told] == ["shards 4 to 7", "shards 4 to 5", *2 * ["shard 5"]]
    assert len((tmp_path / "deaths").read_text()) == 2 + MAX_ATTEMPTS


def test_memory_that_runs_out_shrinks_batches_then_stops_with_advice(
    ray_runner: RayRunner,
) -> None:
    def task(batch: Sequence[int]) -> list[int]:
        if len(batch) > fits:
            raise MemoryError
        return list(batch)

    fits = 2
    told: list[tuple[str, str]] = []
    runner = ray_runner.for_run(stopped=lambda: False, told=lambda *said: told.append(said))
    found = list(runner.map(task, [Batch(range(8))]))
    assert sorted(found) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert told[0] == ("shards 0 to 7", "out of memory")
    fits = 0
    with pytest.raises(MemoryExhaustedError, match=r"shard [01] ran out of memory.*more shards"):
        list(runner.map(task, [Batch(range(2))]))


def test_an_error_of_a_task_arrives_as_the_task_raised_it(ray_runner: RayRunner) -> None:
    def task(shard: int) -> int:
        if shard == 2:
            raise DataError("shard 2: damaged; ingest again")
        return shard

    with pytest.raises(DataError, match=r"^shard 2: damaged; ingest again$") as caught:
        list(ray_runner.map(task, range(4)))
    assert type(caught.value) is DataError


def test_a_stopped_run_ends_its_tasks_at_once(ray_runner: RayRunner) -> None:
    started_s = time.monotonic()
    stopped = ray_runner.for_run(stopped=lambda: time.monotonic() - started_s > 1)

    def task(shard: int) -> int:
        time.sleep(60)
        return shard

    with pytest.raises(StoppedError):
        list(stopped.map(task, range(4)))
    assert time.monotonic() - started_s < 30  # a task would last sixty
    assert sorted(ray_runner.map(square_sums(), range(3))) == [(0, 0), (1, 1), (2, 5)]


def test_a_worker_is_as_nice_as_whoever_starts_the_cluster(ray_runner: RayRunner) -> None:
    def task(_shard: int) -> int:
        return os.nice(0)

    assert list(ray_runner.map(task, [0])) == [os.nice(0)]


def test_a_worker_has_one_thread_for_every_library(ray_runner: RayRunner) -> None:
    def task(_shard: int) -> tuple[str | None, ...]:
        names = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS")
        return tuple(os.environ.get(name) for name in names)

    assert list(ray_runner.map(task, [0])) == [("1", "1", "1")]
    assert "POLARS_MAX_THREADS" not in os.environ


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_a_local_cluster_listens_on_loopback_alone(ray_runner: RayRunner) -> None:
    assert list(ray_runner.map(square_sums(), range(1))) == [(0, 0)]  # there is a worker
    found = addresses(descendants(os.getpid()))
    assert len(found) >= 4
    assert all(address.is_loopback for address in found), found


@pytest.mark.parametrize("address", ["auto", "", "ray://10.0.0.1:10001"])
def test_a_cluster_is_never_guessed(address: str) -> None:
    with pytest.raises(InfrastructureError, match="expected 'local' or 'host:port'"):
        RayRunner(address)


def test_a_second_cluster_in_one_process_is_refused(ray_runner: RayRunner) -> None:
    assert ray_runner.parallelism == 2
    with pytest.raises(InfrastructureError, match="already"):
        RayRunner("local")


SPEAKS = """
import select, sys
from cluster.runner import RayRunner
def main():
    def task(shard):
        print("a worker speaks", flush=True)
        return shard
    with RayRunner("local", cpus=1) as runner:
        assert list(runner.map(task, [7])) == [7]
        select.select([sys.stdin], [], [], 60)
    assert not runner._scratch.exists()
    print("{}")
main()
"""


def test_what_a_worker_prints_never_reaches_stdout() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SPEAKS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as speaks:
        assert speaks.stderr is not None
        assert any(b"a worker speaks" in line for line in speaks.stderr)  # it ends after a minute
        out, _ = speaks.communicate()  # says that it may end
    assert out == b"{}\n"
    assert speaks.returncode == 0


def test_nothing_imports_ray_but_the_cluster() -> None:
    program = """
import pkgutil, sys
from api import catalogue, commands
for module in pkgutil.iter_modules(commands.__path__):
    catalogue.load(module.name)
sys.exit("ray" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
