"""The whole service as a user meets it: processes, HTTP, real work, and kills in between."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.home import Home
from cluster.supervisor import NICENESS, tagged
from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import Outcome, RunRequest, run
from ihp_compute.runner import LocalRunner
from ihp_compute.synth.state import synth
from tests.cluster.listening import addresses, descendants

pytestmark = [pytest.mark.service, pytest.mark.ray]

CONTRACT = "mn-ihp-2.0-track-2"
YEAR = 2024
REPLICATES = 40
ARROW = "application/vnd.apache.arrow.stream"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


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
    """One `ihp serve` process; without a key it is the first on its home, and prints one."""

    def __init__(self, home: Path, port: int, key: str | None = None, *more: str) -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "api.cli", "serve"),
                *("--port", str(port), "--home", str(home), *more),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.key = key
        tls = ssl.create_default_context()
        if "--tls-cert" in more:
            tls.load_verify_locations(more[more.index("--tls-cert") + 1])
        scheme = "https" if "--tls-cert" in more else "http"
        self.http = httpx.Client(base_url=f"{scheme}://127.0.0.1:{port}", timeout=90, verify=tls)

    def stands(self) -> None:
        """Return once it listens."""
        if self.key is None:
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            assert line.startswith("API key: ")
            self.key = line.removeprefix("API key: ").strip()
        self.http.headers["Authorization"] = f"Bearer {self.key}"
        deadline = time.monotonic() + 60
        while not self.answers():
            assert time.monotonic() < deadline
            assert self.process.poll() is None
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether it listens."""
        try:
            return self.http.get("/livez").status_code == 200
        except httpx.TransportError:
            return False

    def end(self, number: int) -> int:
        """Send a signal and wait; the exit code."""
        self.process.send_signal(number)
        try:
            code = self.process.wait(timeout=60)
            assert self.process.stdout is not None
            assert self.process.stdout.read() == ""
        finally:
            self.close()
        return code

    def close(self) -> None:
        """Leave nothing of it, however it ended."""
        self.http.close()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started: list[Served] = []

    def start(*more: str) -> Served:
        key = started[0].key if started else None
        started.append(Served(tmp_path / "home", port, key, *more))
        started[-1].stands()
        return started[-1]

    yield start
    with ExitStack() as left:
        for served in started:
            left.callback(served.close)
            if served.process.poll() is None:
                left.callback(served.end, signal.SIGTERM)


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
            "force": True,
        },
        headers={"Idempotency-Key": key},
    )
    assert response.status_code == 202, response.text
    run_id: str = response.json()["id"]
    return run_id


def test_a_run_survives_every_death_and_equals_the_command_line(
    serve: Callable[..., Served], tmp_path: Path, population: Path, local: Outcome
) -> None:
    home = Home(tmp_path / "home")
    home.make()
    shutil.copytree(population, home.populations / "state")
    first = serve()
    registered = first.http.post("/v1/populations", json={"name": "state", "prefix": "state"})
    assert registered.status_code == 201

    # what it starts listens on loopback, is nobody else's, and gives way to whoever asks
    lock = home.dispatcher_lock()
    deadline = time.monotonic() + 120
    while not (found := addresses(descendants(first.process.pid))) or len(found) < 5:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    assert all(address.is_loopback for address in found), found
    others = [path.name for path in home.path.iterdir() if path.stat().st_mode & 0o077]
    assert others == []
    assert (home.path / "ray_token").stat().st_size >= 32
    assert os.getpriority(os.PRIO_PROCESS, lock.note()["pid"]) == NICENESS

    # the server is killed under a running run: the dispatcher goes on, the next server finds it
    run_id = submit(first, "a")
    wait_for_state(first, run_id, "running")
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    assert lock.held()
    dispatcher = lock.note()
    second = serve()
    done = wait_for_state(second, run_id, "succeeded", "failed")
    assert done["state"] == "succeeded", (done["reason"], done["detail"])
    assert (done["digest"], done["attempt"]) == (local.digest, 1)
    assert (done["shards_done"], done["shards_total"]) == (5, 5)
    assert lock.note() == dispatcher
    assert submit(second, "a") == run_id

    # the settlement as an Arrow stream: the operator may not see members, so small partnerships
    # are hidden
    response = second.http.get(f"/v1/runs/{run_id}/results/settlement", headers={"Accept": ARROW})
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
    listed = second.http.get(f"/v1/runs/{run_id}/results").json()["results"]
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


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium to show the pages with")
def test_a_run_is_made_read_swept_and_compared_in_a_browser(
    serve: Callable[..., Served], tmp_path: Path, population: Path
) -> None:
    """From the key that the server prints to signing out, by the pages alone."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    home = Home(tmp_path / "home")
    home.make()
    shutil.copytree(population, home.populations / "state")
    served = serve()
    registered = served.http.post("/v1/populations", json={"name": "state", "prefix": "state"})
    assert registered.status_code == 201
    address = str(served.http.base_url).rstrip("/")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{address}/runs")
        page.fill("#key", served.key)
        page.click("main button")
        page.wait_for_url(f"{address}/runs")

        page.goto(f"{address}/runs/new")
        page.check(f'input[name="contracts"][value="{CONTRACT}"]')
        page.fill("#performance_year", str(YEAR))
        page.fill("#replicates", str(REPLICATES))
        page.click("text=See what it would take")
        page.wait_for_selector("#estimate")
        for gate in page.locator('input[name^="accept."]').all():
            gate.fill("a state made for a test")
        page.click("text=Start the run")
        page.wait_for_url(re.compile(r"/runs/(?!new)[^/]+$"))
        run = page.url.removeprefix(f"{address}/runs/")
        # the page follows the run by itself, and is another once the run has succeeded
        page.wait_for_selector("text=Sweep terms", timeout=240_000)
        assert page.locator(".state.succeeded").count() == 1
        shown = served.http.get(f"/v1/runs/{run}").json()
        assert (shown["state"], shown["shards_done"]) == ("succeeded", 5)

        # every page of its exhibits, and the numbers under one of them
        parts = page.locator("nav.parts a")
        paths = [part.get_attribute("href") for part in parts.all()]
        assert len(paths) > 1
        for path in paths:
            page.goto(f"{address}{path}")
            assert page.locator('nav.parts a[aria-current="page"]').get_attribute("href") == path
            assert page.locator("main table").count() > 0
        page.goto(f"{address}/runs/{run}")
        with page.expect_download() as coming:
            page.locator('a[href$="/tables/settlement.csv"]').first.click()
        rows = Path(coming.value.path()).read_text(encoding="utf-8").splitlines()
        kept = served.http.get(f"/v1/runs/{run}/results/settlement", headers={"Accept": ARROW})
        assert "payment_cents" in rows[0]
        assert len(rows) == 1 + pa.ipc.open_stream(kept.content).read_all().num_rows

        page.click("text=Sweep terms")
        page.fill("#path-0", "settlement.gain.share")
        page.fill("#values-0", "0.3, 0.5, 0.7")
        page.click("text=Count the points")
        page.wait_for_selector("#size")
        page.click("text=Start the sweep")
        page.wait_for_selector(".state.succeeded")
        page.wait_for_selector("#rows")
        assert page.locator("table.sortable").first.locator("tbody tr").count() == 3

        page.goto(f"{address}/compare?a={run}&b={run}")
        page.wait_for_selector("text=The same digest:")

        page.click("text=Sign out")
        page.wait_for_url(f"{address}/sign-in")
        page.goto(f"{address}/runs/{run}")
        assert page.url == f"{address}/sign-in"
        browser.close()


def test_a_server_ends_soon_though_a_thread_hangs(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    """A pipe that nobody writes to stands for a disk that does not answer."""
    served = serve()
    folder = Home(tmp_path / "home").populations / "hanging"
    folder.mkdir()
    os.mkfifo(folder / "manifest.json")
    with ThreadPoolExecutor(4) as callers:
        body = {"name": "hanging", "prefix": "hanging"}
        calls = [callers.submit(served.http.post, "/v1/populations", json=body) for _ in range(4)]
        time.sleep(0.5)
        assert served.http.get("/v1/runs").status_code == 200
        assert served.end(signal.SIGTERM) == 0  # not waiting for what never comes
        for call in calls:
            assert isinstance(call.exception(), httpx.TransportError) or call.result().is_error


def test_tls_and_metrics(serve: Callable[..., Served], tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tls = ["--tls-cert", str(certificate), "--tls-key", str(key)]
    served = serve(*tls, "--metrics", f"127.0.0.1:{port}")
    answer = served.http.get("/v1/runs")
    assert answer.status_code == 200
    assert answer.headers["strict-transport-security"]
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    assert 'ihp_http_requests_total{method="GET",route="/v1/runs",status="200"} 1.0' in text
    assert served.http.get("/metrics").status_code == 404
    assert served.end(signal.SIGTERM) == 0


def test_a_second_server_on_the_same_home_or_port_is_refused(
    serve: Callable[..., Served], tmp_path: Path
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
    tag = Home(tmp_path / "home").dispatcher_lock().note().get("tag")
    assert first.end(signal.SIGINT) == 0
    assert tag is None or tagged(tag) == []
