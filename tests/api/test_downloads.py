"""Downloads over sockets: how many at once, how much memory, and what ends them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2 as httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi import FastAPI

from api.auth import issue_key
from api.downloads import Downloads
from api.forms import ARROW, CSV, JSON, PARQUET
from api.opened import MEMBER_SCOPE
from api.service import Service
from api.settings import Settings
from cluster.runs import Run
from tests.api.conftest import sealed

N_ROWS = 1_000_000
MANY_BYTES = N_ROWS * 6 * 8
EACH_BYTES = MANY_BYTES
"""Memory that one download may take at most: made whole, it would take twice as much and more."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Bounds that a test reaches."""
    return settings.model_copy(
        update={"max_downloads": 4, "download_wait_s": 0.3, "key_check_s": 1.0}
    )


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table that no compression makes small."""
    path = tmp_path_factory.mktemp("large") / "member_years.parquet"
    rng = np.random.default_rng(1)
    columns = {
        f"{name}_cents": rng.integers(0, 2**52, N_ROWS) for name in ("a", "b", "c", "d", "e", "f")
    }
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture
def large(service: Service, finished: Run, table: Path) -> str:
    """Where that table is read."""
    folder = service.home.attempt(finished.id, finished.attempt)
    (folder / "member_years.parquet").unlink()
    os.link(table, folder / "member_years.parquet")
    sealed(folder)
    return f"/v1/runs/{finished.id}/results/member_years"


@pytest.fixture
def reader(
    served: tuple[FastAPI, str], key_with: Callable[..., dict[str, str]]
) -> Iterator[httpx.Client]:
    _, url = served
    with httpx.Client(
        base_url=url, headers=key_with("runs:read", MEMBER_SCOPE), timeout=60
    ) as http:
        yield http


@pytest.fixture
def under_way(served: tuple[FastAPI, str]) -> Downloads:
    app, _ = served
    held: Downloads = app.state.downloads
    return held


Stalled = Callable[[httpx.Client, str, str], socket.socket]


@pytest.fixture
def stalled() -> Iterator[Stalled]:
    """A connection on which somebody asks and takes nothing of the answer; closed at the end."""
    connections = []

    def ask(reader: httpx.Client, path: str, accept: str) -> socket.socket:
        connection = socket.socket()
        connections.append(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.connect((reader.base_url.host, reader.base_url.port))
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n"
            f"Authorization: {reader.headers['authorization']}\r\n\r\n".encode()
        )
        return connection

    yield ask
    for connection in connections:
        connection.close()


def answered(connection: socket.socket) -> bytes:
    """The first line of the answer, once it is there; it stays to be read."""
    return connection.recv(100, socket.MSG_PEEK).split(b"\r\n")[0]


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


PROGRAM = """
import socket, sys
from ihp_compute import freed_memory
freed_memory.give_back()
import uvicorn
from api.app import create_app
from api.service import Service
from api.settings import Settings
from cluster.store import Store
settings = Settings(home=sys.argv[1], max_downloads=4, download_wait_s=0.3)
app = create_app(Service(settings, Store(settings.database), lambda: "works", lambda: False))
server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
with socket.create_server(("127.0.0.1", 0)) as listening:
    print(listening.getsockname()[1], flush=True)
    server.run(sockets=[listening])
"""


class Apart:
    """The application in a process of its own, whose memory nothing else moves."""

    def __init__(self, process: subprocess.Popen[str], headers: dict[str, str]) -> None:
        self._process = process
        assert process.stdout is not None
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        self.http = httpx.Client(base_url=url, headers=headers, timeout=60)

    @property
    def resident_bytes(self) -> int:
        fields = Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii").split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def apart(service: Service, key_with: Callable[..., dict[str, str]]) -> Iterator[Apart]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(service.settings.home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        served = Apart(process, key_with("runs:read", MEMBER_SCOPE))
        with served.http:
            yield served
        process.kill()


def open_tables() -> int:
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            found += link.readlink().suffix == ".parquet"
        except OSError:
            continue  # closed meanwhile
    return found


def test_a_large_table_is_sent_in_parts(
    apart: Apart, large: str, finished: Run, stalled: Stalled
) -> None:
    """Of what is sent, little is in memory at once: whichever thread read it, whoever stalls."""
    small = f"/v1/runs/{finished.id}/results/settlement"
    with ThreadPoolExecutor(8) as pool:  # every thread that reads has begun
        list(pool.map(lambda _: apart.http.get(small, headers={"Accept": CSV}), range(40)))
    for form in (ARROW, CSV, PARQUET):
        before, most, n_bytes = apart.resident_bytes, 0, 0
        with apart.http.stream("GET", large, headers={"Accept": form}) as response:
            assert response.status_code == 200
            for part in response.iter_raw():
                n_bytes += len(part)
                most = max(most, apart.resident_bytes)
        assert n_bytes > 0.9 * MANY_BYTES
        assert most - before < EACH_BYTES
    before = apart.resident_bytes
    held = [stalled(apart.http, large, form) for form in (ARROW, PARQUET, ARROW, CSV)]
    for connection in held:  # each has its turn before anybody else asks
        assert answered(connection) == b"HTTP/1.1 200 OK"
    assert apart.http.get(large, headers={"Accept": PARQUET}).status_code == 503
    assert apart.resident_bytes - before < 4 * EACH_BYTES


COMMAND = """
import os, sys
from api import cli
from api.commands import service
def served(settings):
    import pyarrow as pa
    from ihp_compute import freed_memory
    print(pa.default_memory_pool().backend_name, freed_memory.keep())
    print(os.environ.get("ARROW_DEFAULT_MEMORY_POOL"))
service._serve = served
cli.app(["serve"], standalone_mode=False)
"""


@pytest.mark.parametrize("said", [None, "mimalloc"])
def test_the_service_decides_before_arrow_is_used(said: str | None, tmp_path: Path) -> None:
    """What it starts later chooses for itself; what an operator said stays."""
    environment = {**os.environ, "IHP_HOME": str(tmp_path)}
    environment.pop("ARROW_DEFAULT_MEMORY_POOL", None)
    if said:
        environment["ARROW_DEFAULT_MEMORY_POOL"] = said
    done = subprocess.run(
        [sys.executable, "-c", COMMAND], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [said or "system", "given", "back", str(said)]


def test_readers_who_take_nothing_hold_so_many_turns(
    reader: httpx.Client, large: str, under_way: Downloads, finished: Run, stalled: Stalled
) -> None:
    forms = [ARROW, PARQUET, ARROW, CSV]
    held = [stalled(reader, large, form) for form in forms]
    until(lambda: under_way.n_open == 4)
    # more of them wait for a turn, are refused and cost nothing
    others = [stalled(reader, large, ARROW) for _ in range(20)]
    for other in others:
        assert other.recv(200).startswith(b"HTTP/1.1 503 ")
        other.close()
    refused = reader.get(large, headers={"Accept": PARQUET})
    assert refused.status_code == 503
    assert refused.headers["content-type"] == "application/problem+json"
    assert int(refused.headers["retry-after"]) > 0
    for connection in held:
        connection.close()
    until(lambda: under_way.n_open == 0)
    until(lambda: open_tables() == 0)
    assert reader.get(f"/v1/runs/{finished.id}/results/settlement").status_code == 200


def test_a_small_answer_keeps_nobody_waiting(
    reader: httpx.Client, under_way: Downloads, finished: Run, stalled: Stalled
) -> None:
    """However many take nothing of it: it was made, and its turn is over."""
    under_way._settings = under_way._settings.model_copy(update={"download_wait_s": 60.0})
    held = [stalled(reader, f"/v1/runs/{finished.id}/results/settlement", JSON) for _ in range(20)]
    until(lambda: under_way.n_open == 0)
    assert reader.get(f"/v1/runs/{finished.id}/report").status_code == 200
    for connection in held:
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        connection.close()


def test_a_download_ends_with_its_key_and_does_not_look_whole(
    reader: httpx.Client, service: Service, large: str, under_way: Downloads, stalled: Stalled
) -> None:
    key_id, key = issue_key(
        service.store.keys,
        service.home,
        owner="b",
        note="",
        scopes=["runs:read", MEMBER_SCOPE],
        days=1,
    )
    reader.headers["authorization"] = f"Bearer {key}"
    with stalled(reader, large, CSV) as connection:
        until(lambda: under_way.n_open == 1)
        service.store.keys.revoke(key_id)
        time.sleep(1.5 * service.settings.key_check_s)
        found = b""
        while part := connection.recv(1 << 20):
            found += part
        assert found.startswith(b"HTTP/1.1 200 ")
        assert not found.endswith(b"0\r\n\r\n")
        assert len(found) < MANY_BYTES
    until(lambda: under_way.n_open == 0)
