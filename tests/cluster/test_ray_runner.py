from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.placement import Placement
from cluster.runner import MAX_ATTEMPTS, RayRunner, StoppedError
from ihp_compute.errors import DataError, InfrastructureError
from ihp_compute.runner import LocalRunner, Runner

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
    assert time.monotonic() - started_s < 5
    assert sorted(ray_runner.map(square_sums(), range(3))) == [(0, 0), (1, 1), (2, 5)]


def test_a_worker_has_one_thread_for_every_library(ray_runner: RayRunner) -> None:
    def task(_shard: int) -> tuple[str | None, ...]:
        names = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS")
        return tuple(os.environ.get(name) for name in names)

    assert list(ray_runner.map(task, [0])) == [("1", "1", "1")]
    assert "POLARS_MAX_THREADS" not in os.environ


@pytest.mark.parametrize("address", ["auto", "", "ray://10.0.0.1:10001"])
def test_a_cluster_is_never_guessed(address: str) -> None:
    with pytest.raises(InfrastructureError, match="expected 'local' or 'host:port'"):
        RayRunner(address)


def test_a_second_cluster_in_one_process_is_refused(ray_runner: RayRunner) -> None:
    assert ray_runner.parallelism == 2
    with pytest.raises(InfrastructureError, match="already"):
        RayRunner("local")


def test_what_a_worker_prints_never_reaches_stdout() -> None:
    program = (
        "from cluster.runner import RayRunner\n"
        "import time\n"
        "def main():\n"
        "    def task(shard):\n"
        "        print('a worker speaks', flush=True)\n"
        "        return shard\n"
        "    with RayRunner('local', cpus=1) as runner:\n"
        "        assert list(runner.map(task, [7])) == [7]\n"
        "        time.sleep(1.5)\n"
        "    assert not runner._scratch.exists()\n"
        "    print('{}')\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"{}\n"
    assert b"a worker speaks" in done.stderr


def test_nothing_imports_ray_but_the_cluster() -> None:
    program = "import sys, api.cli; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
