"""A run on several nodes ends as on one, though a node comes, goes or is cut off while it lasts."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.runner import LocalRunner
from ihp_compute.synth.state import synth

pytestmark = pytest.mark.ray

ROOT = Path(__file__).resolve().parents[2]
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
NETWORK = "10.77.61"
ATTEMPTS = 3
"""Ray gives a node half a minute to start, whatever else the machine does, and then gives it up."""
QUICK_TO_NOTICE = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "5",
    "RAY_grpc_client_keepalive_time_ms": "3000",
    "RAY_grpc_client_keepalive_timeout_ms": "8000",
}
"""Seconds instead of minutes, yet more than a busy machine may take to answer."""


@pytest.fixture(scope="module")
def population(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    synth(500, 11, folder / "raw")
    ingest(folder / "raw", folder / "population", shards=12)
    return folder / "population"


@pytest.fixture(scope="module")
def expected(population: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of one process."""
    request = RunRequest(population, ("mn-ihp-2.0-track-2",), replicates=30)
    return run(request, tmp_path_factory.mktemp("one") / "run", LocalRunner(1)).digest


def without_ray() -> dict[str, str]:
    """The environment less what a local cluster left in it, which keeps to loopback."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


def told(
    population: Path, out: Path, *more: str, before: tuple[str, ...] = (), **environment: str
) -> list[list[Any]]:
    """What `several_nodes` wrote of each run."""
    command = [
        *before, sys.executable, "-m", "tests.cluster.several_nodes", str(population), str(out),
        *more,
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, env={**without_ray(), **environment}, capture_output=True, text=True,
        check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    rows: list[list[Any]] = json.loads((out / "told.json").read_text())
    return rows


def test_a_node_that_goes_and_one_that_comes_change_nothing(
    population: Path, expected: str, tmp_path: Path
) -> None:
    assert told(population, tmp_path) == [[3, 2, expected], [2, 3, expected]]


# --- machines that lose one another --------------------------------------------------------------


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def inside(name: str) -> tuple[str, ...]:
    return ("ip", "netns", "exec", name)


def connected(bridge: str, names: list[str]) -> None:
    """Make namespaces and the bridge that joins them."""
    ip("link", "add", bridge, "type", "bridge")
    ip("link", "set", bridge, "up")
    for k, name in enumerate(names):
        ip("netns", "add", name)
        ip("link", "add", f"{name}o", "type", "veth", "peer", "name", f"{name}i")
        ip("link", "set", f"{name}o", "master", bridge, "up")
        ip("link", "set", f"{name}i", "netns", name)
        ip("-netns", name, "addr", "add", f"{NETWORK}.{k + 1}/24", "dev", f"{name}i")
        ip("-netns", name, "link", "set", f"{name}i", "up")
        ip("-netns", name, "link", "set", "lo", "up")


@pytest.fixture
def machines() -> Iterator[list[str]]:
    """Three network namespaces on a bridge, as three machines on a switch."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    tag = f"{os.getpid() % 10_000:04d}"
    bridge, names = f"ihpb{tag}", [f"ihp{tag}{k}" for k in range(3)]
    try:
        try:
            connected(bridge, names)
        except subprocess.CalledProcessError:
            pytest.skip("this system lets nobody make network namespaces and bridges")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", bridge], capture_output=True, check=False)


@pytest.fixture
def on_a_machine(machines: list[str], tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Starts a node of Ray in a namespace, and returns when it stands; all end with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(k: int, *words: str, **environment: str) -> None:
        log = tmp_path / f"node-{k}"
        command = [
            *inside(machines[k]), *RAY, "start", "--block", "--num-cpus=1",
            f"--node-ip-address={NETWORK}.{k + 1}", *words,
        ]  # fmt: skip
        for _ in range(ATTEMPTS):
            with log.open("wb") as sink:
                node = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env={**without_ray(), **environment},
                    stdout=sink,
                    stderr=sink,
                    start_new_session=True,
                )
            started.append(node)
            while node.poll() is None:
                if b"Ray runtime started" in log.read_bytes():
                    return
                time.sleep(0.1)
        pytest.fail(f"no node would start: {log.read_text()[-3000:]}")

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
    for process in started:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=60)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_machine_that_is_cut_off_is_done_without(
    population: Path,
    expected: str,
    machines: list[str],
    on_a_machine: Callable[..., None],
    tmp_path: Path,
) -> None:
    environment = {
        **QUICK_TO_NOTICE, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
    }  # fmt: skip
    address = f"{NETWORK}.1:6379"
    scratch = f"/tmp/ihp-{machines[0]}"  # noqa: S108 - short: sockets have their names in it
    head = ["--head", "--port=6379", "--include-dashboard=false", f"--temp-dir={scratch}"]
    try:
        on_a_machine(0, *head, **environment)
        for k in (1, 2):
            on_a_machine(k, f"--address={address}", **environment)
        cut = f"ip netns exec {machines[2]} ip link set {machines[2]}i down"
        rows = told(
            population, tmp_path / "out", address, cut, before=inside(machines[0]), **environment
        )
        assert rows == [[3, 2, expected]]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
