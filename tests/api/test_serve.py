"""The whole service as a user meets it: processes, HTTP, real work, and kills in between."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.home import Home
from cluster.supervisor import tagged
from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import Outcome, RunRequest, run
from ihp_compute.runner import LocalRunner
from ihp_compute.synth.state import synth

pytestmark = [pytest.mark.service, pytest.mark.ray]

CONTRACT = "mn-ihp-2.0-track-2"
YEAR = 2024
REPLICATES = 40
ARROW = "application/vnd.apache.arrow.stream"


@pytest.fixture(scope="module")
def population(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("state")
    synth(600, 5, folder / "raw")
    ingest(folder / "raw", folder / "population", shards=5)
    return folder / "population"


@pytest.fixture(scope="module")
def local(population: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The same request, without a service."""
    request = RunRequest(
        population, (CONTRACT,), performance_year=YEAR, replicates=REPLICATES, seed=3
    )
    return run(request, tmp_path_factory.mktemp("local") / "run", LocalRunner(2))


class Served:
    """One `ihp serve` process."""

    def __init__(self, home: Path, port: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "api.cli", "serve", "--port", str(port), "--home", str(home)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("API key: ")
        self.key = line.removeprefix("API key: ").strip()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=90)
        self.http.headers["Authorization"] = f"Bearer {self.key}"
        assert self.http.get("/livez").status_code == 200  # it listens before it prints

    def end(self, number: int) -> int:
        """Send a signal and wait; the exit code."""
        self.http.close()
        self.process.send_signal(number)
        code = self.process.wait(timeout=40)
        assert self.process.stdout is not None
        assert self.process.stdout.read() == ""
        self.process.stdout.close()
        return code


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[], Served]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started: list[Served] = []

    def start() -> Served:
        started.append(Served(tmp_path / "home", port))
        return started[-1]

    yield start
    for served in started:
        if served.process.poll() is None:
            served.end(signal.SIGTERM)


def wait_for_state(served: Served, run_id: str, *states: str) -> dict[str, Any]:
    deadline = time.monotonic() + 240  # workers may have kernels to compile
    while time.monotonic() < deadline:
        wait = 30 if "running" not in states else 0
        response = served.http.get(f"/v1/runs/{run_id}", params={"wait": wait})
        view: dict[str, Any] = response.json()
        if view["state"] in states:
            return view
        time.sleep(0.02)
    raise AssertionError(f"still {view}")


def submit(served: Served, key: str) -> str:
    response = served.http.post(
        "/v1/runs",
        json={
            "population": "state",
            "contracts": [CONTRACT],
            "performance_year": YEAR,
            "replicates": REPLICATES,
            "seed": 3,
        },
        headers={"Idempotency-Key": key},
    )
    assert response.status_code == 202, response.text
    run_id: str = response.json()["id"]
    return run_id


def test_a_run_survives_every_death_and_equals_the_command_line(
    serve: Callable[[], Served], tmp_path: Path, population: Path, local: Outcome
) -> None:
    home = Home(tmp_path / "home")
    home.make()
    shutil.copytree(population, home.populations / "state")
    first = serve()
    registered = first.http.post("/v1/populations", json={"name": "state", "prefix": "state"})
    assert registered.status_code == 201

    # the server is killed under a running run: the dispatcher goes on, the next server finds it
    run_id = submit(first, "a")
    wait_for_state(first, run_id, "running")
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    lock = home.dispatcher_lock()
    assert lock.held()
    dispatcher = lock.note()
    second = serve()
    assert second.key != first.key
    done = wait_for_state(second, run_id, "succeeded", "failed")
    assert done["state"] == "succeeded", (done["reason"], done["detail"])
    assert (done["digest"], done["attempt"]) == (local.digest, 1)
    assert (done["shards_done"], done["shards_total"]) == (5, 5)
    assert lock.note() == dispatcher
    assert submit(second, "a") == run_id

    # the settlement as an Arrow stream, with the key of the server that died: it may not see
    # members, so small partnerships are hidden from it
    response = second.http.get(
        f"/v1/runs/{run_id}/results/settlement",
        headers={"Accept": ARROW, "Authorization": f"Bearer {first.key}"},
    )
    assert response.headers["content-type"] == ARROW
    table = pa.ipc.open_stream(response.content).read_all()
    whole = pq.read_table(local.run_dir / "settlement.parquet").to_pylist()
    shown = 0
    for row, own in zip(table.to_pylist(), whole, strict=True):
        assert row["partnership_id"] == own["partnership_id"]
        assert all(value in (None, own[name]) for name, value in row.items())
        shown += row["payment_cents"] is not None
    assert 0 < shown < len(whole)
    assert second.http.get(f"/v1/runs/{run_id}/manifest").json()["digest"] == local.digest
    listed = second.http.get(f"/v1/runs/{run_id}/results").json()
    (noticed,) = [view for view in listed if view["table"] == "data_quality"]
    assert not noticed["restricted"]
    rows = second.http.get(noticed["href"], headers={"Accept": "application/json"}).json()
    assert noticed["rows"] == pq.read_metadata(local.run_dir / "data_quality.parquet").num_rows
    assert "unreadable_rows" in str(rows)
    assert "<html" in second.http.get(f"/v1/runs/{run_id}/report").text
    member_years = second.http.get(f"/v1/runs/{run_id}/results/member_years")
    assert member_years.status_code == 403

    # server and dispatcher die at once, with one run running and one waiting
    runs = [submit(second, "b"), submit(second, "c")]
    wait_for_state(second, runs[0], "running", "succeeded")
    second.end(signal.SIGKILL)
    os.kill(dispatcher["pid"], signal.SIGKILL)
    third = serve()
    for name in runs:
        assert wait_for_state(third, name, "succeeded", "failed")["digest"] == local.digest

    # and a clean stop leaves nothing behind
    tags = [dispatcher["tag"], lock.note()["tag"]]
    assert third.end(signal.SIGTERM) == 0
    assert not lock.held()
    assert [pid for tag in tags for pid in tagged(tag)] == []
    folders = sorted(path.relative_to(home.runs).parts[0] for path in home.runs.glob("*/*"))
    assert folders == sorted([run_id, *runs])


def test_a_second_server_on_the_same_home_or_port_is_refused(
    serve: Callable[[], Served], tmp_path: Path
) -> None:
    first = serve()
    port = str(first.http.base_url.port)
    command = [sys.executable, "-m", "api.cli", "serve", "--port"]
    same_home = subprocess.run(
        [*command, "0", "--home", str(tmp_path / "home")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (same_home.returncode, same_home.stdout) == (5, "")
    assert "another `ihp serve`" in same_home.stderr
    same_port = subprocess.run(
        [*command, port, "--home", str(tmp_path / "other")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (same_port.returncode, same_port.stdout) == (5, "")
    assert "--port" in same_port.stderr
    assert "Traceback" not in same_home.stderr + same_port.stderr
    started_s = time.monotonic()
    tag = Home(tmp_path / "home").dispatcher_lock().note().get("tag")
    assert first.end(signal.SIGINT) == 0
    assert time.monotonic() - started_s < 30
    assert tag is None or tagged(tag) == []
