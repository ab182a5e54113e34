"""The service under load: what readers wait beside a run, and what memory and processor it takes.

    python -m benchmarks.service --members 500000
    python -m benchmarks.service --members 500000 --memory      beside other work too
    python -m benchmarks.service --members 2000 --quick

Starts `ihp serve` on a folder of its own, keeps statewide runs going, and asks it from another
process: 200 readers, each a second after its last answer, and 20 streams. The first look at a run
by a key that may not see members is timed apart: what is hidden is settled then. Memory is what
the server has resident, and of that its own and pages of mapped files, which the system takes back
when it needs them; its processor time is what Linux counts for it. Nobody else should use the
machine; with `--memory` only that is measured which another's work does not move.
Writes `results/service-<time>.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from benchmarks.data import State
from benchmarks.machine import commit, machine

RESULTS: Final = Path(__file__).parent / "results"
CONTRACT: Final = "mn-ihp-2.0-track-2"
ARROW: Final = "application/vnd.apache.arrow.stream"
THINK_S: Final = 1.0
KEPT_S: Final = 5.0
"""How long a connection is kept between two requests."""


@dataclass(frozen=True)
class Size:
    """How much is asked."""

    readers: int = 200
    streams: int = 20
    idle_streams: int = 200
    stalled: int = 65
    probes: int = 100
    load_s: float = 30.0
    idle_s: float = 15.0
    replicates: int = 2000


QUICK: Final = Size(20, 4, 20, 12, 20, load_s=3.0, idle_s=2.0, replicates=50)


class Asking:
    """One kept connection."""

    def __init__(self, port: int, key: str) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=90)
        self._headers = {"Authorization": f"Bearer {key}"}
        self._asked_s = time.monotonic()

    def close(self) -> None:
        """Leave."""
        self._http.close()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and JSON of an answer, or its text."""
        now_s = time.monotonic()
        if now_s - self._asked_s > KEPT_S:
            self._http.close()  # the server may have closed it; the next request opens another
        self._asked_s = now_s
        sent = None if body is None else json.dumps(body)
        kind = {} if body is None else {"Content-Type": "application/json"}
        self._http.request(method, path, sent, {**self._headers, **kind, **headers})
        answer = self._http.getresponse()
        text = answer.read()
        with contextlib.suppress(ValueError):
            return answer.status, json.loads(text)
        return answer.status, text

    def json(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The JSON of an answer, which must be good."""
        status, found = self.ask(method, path, body, **headers)
        assert status < 300, (status, found)
        return found


class Memory(NamedTuple):
    """Bytes that a process has resident: all, its own, and pages of files that are mapped."""

    resident: int
    own: int
    mapped: int

    def highest(self, other: Memory) -> Memory:
        """The higher of each."""
        return Memory(*map(max, self, other))

    def over(self, before: Memory) -> dict[str, int]:
        """What each has grown by."""
        return {
            f"grown_{kind}_bytes": now - then
            for kind, now, then in zip(self._fields, self, before, strict=True)
        }


@dataclass
class Served:
    """A running service."""

    process: subprocess.Popen[str]
    home: Path
    port: int
    key: str
    member_key: str
    seeds: Iterator[int] = field(default_factory=lambda: iter(range(1, 1 << 30)))

    @contextlib.contextmanager
    def asking(self) -> Iterator[Asking]:
        """A new connection with the operator's key, closed at the end."""
        with contextlib.closing(Asking(self.port, self.key)) as asking:
            yield asking

    def start(self, asking: Asking, replicates: int) -> str:
        """Queue a run that nobody has asked for before."""
        seed = next(self.seeds)
        body = {
            "population": "state",
            "contracts": [CONTRACT],
            "replicates": replicates,
            "seed": seed,
        }
        run = asking.json("POST", "/v1/runs", body, **{"Idempotency-Key": f"bench-{seed}"})
        return str(run["id"])

    def finish(self, asking: Asking, run_id: str) -> dict[str, Any]:
        """Wait for a run."""
        while True:
            run: dict[str, Any] = asking.json("GET", f"/v1/runs/{run_id}?wait=30")
            if run["state"] in ("succeeded", "failed", "cancelled"):
                return run

    @property
    def memory(self) -> Memory:
        """Memory of the server's process."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        kinds = dict(
            re.findall(r"^(VmRSS|RssAnon|RssShmem|RssFile):\s+(\d+) kB", text, re.MULTILINE)
        )
        resident, anonymous, shared, mapped = (
            int(kinds[kind]) * 1024 for kind in ("VmRSS", "RssAnon", "RssShmem", "RssFile")
        )
        return Memory(resident, anonymous + shared, mapped)

    @property
    def cpu_s(self) -> float:
        """Processor time of the server's process."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def dispatcher(self) -> int:
        """Process id of the dispatcher."""
        return int(json.loads((self.home / "dispatcher.lock").read_text())["pid"])


@contextlib.contextmanager
def serving(population: Path) -> Iterator[Served]:
    """A service over a folder of its own, with a population and a key that sees members."""
    with tempfile.TemporaryDirectory(prefix="ihp-bench-") as folder:
        home = Path(folder) / "home"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {
            **os.environ,
            "IHP_HOME": str(home),
            "IHP_LOCATIONS": json.dumps({"bench": str(population.parent)}),
        }
        ihp = [sys.executable, "-m", "api.cli"]
        process = subprocess.Popen(
            [*ihp, "serve", "--port", str(port)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert process.stdout is not None
            key = process.stdout.readline().removeprefix("API key: ").strip()
            scopes = ("results:member", "runs:read")
            made = subprocess.run(
                [*ihp, "keys", "create", "--owner", "bench", *(f"--scope={s}" for s in scopes)],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            member_key = made.stdout.removeprefix("API key: ").strip()
            served = Served(process, home, port, key, member_key)
            while _not_ready(served):
                time.sleep(0.2)
            body = {"name": "state", "location": "bench", "prefix": population.name}
            with served.asking() as asking:
                asking.json("POST", "/v1/populations", body)
            yield served
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
            if process.stdout is not None:
                process.stdout.close()


def _not_ready(served: Served) -> bool:
    try:
        with served.asking() as asking:
            return asking.ask("GET", "/readyz")[0] != 200
    except OSError:
        return True


@contextlib.contextmanager
def highest(served: Served) -> Iterator[list[Memory]]:
    """The most memory of each kind while the block runs, first of a list."""
    seen = [served.memory]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            seen[0] = seen[0].highest(served.memory)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


def latencies(times_s: Sequence[float]) -> dict[str, float]:
    """Count, median, 95th percentile and the longest, in milliseconds."""
    ms = np.array(times_s) * 1000
    return {
        "n": len(ms),
        "median_ms": round(float(np.median(ms)), 2),
        "p95_ms": round(float(np.quantile(ms, 0.95)), 2),
        "max_ms": round(float(ms.max()), 2),
    }


def timed(n_times: int, call: Callable[[], object], pause_s: float = 0.0) -> list[float]:
    """Seconds of each of several calls."""
    found = []
    for _ in range(n_times):
        started_s = time.perf_counter()
        call()
        found.append(time.perf_counter() - started_s)
        time.sleep(pause_s)
    return found


async def read_for(
    port: int, key: str, run_id: str, readers: int, seconds: float
) -> dict[str, Any]:
    """Ask as many readers do, each a second after its last answer: latencies and errors."""
    paths = [
        "/v1/runs?limit=20",
        f"/v1/runs/{run_id}",
        f"/v1/runs/{run_id}/results/settlement",
        f"/v1/runs/{run_id}/results",
        "/livez",
    ]
    until_s = time.monotonic() + seconds
    times_s: list[float] = []
    errors: list[str] = []

    async def reader(number: int) -> None:
        await asyncio.sleep(THINK_S * number / readers)
        incoming, outgoing = await asyncio.open_connection("127.0.0.1", port)
        turn = number
        while time.monotonic() < until_s:
            path = paths[turn % len(paths)]
            turn += 1
            started_s = time.perf_counter()
            head = f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n"
            outgoing.write(f"{head}Accept: application/json, text/plain\r\n\r\n".encode())
            try:
                await _answer(incoming)
            except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                errors.append(f"{path}: {type(error).__name__} {error}")
                outgoing.close()
                incoming, outgoing = await asyncio.open_connection("127.0.0.1", port)
                continue
            times_s.append(time.perf_counter() - started_s)
            await asyncio.sleep(THINK_S)
        outgoing.close()

    await asyncio.gather(*(reader(number) for number in range(readers)))
    return {"latency": latencies(times_s), "errors": len(errors), "first_errors": errors[:5]}


async def _answer(incoming: asyncio.StreamReader) -> None:
    head = (await incoming.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    status = int(head.split(" ")[1])
    length = re.search(r"content-length: (\d+)", head)
    if length:
        await incoming.readexactly(int(length[1]))
    elif "transfer-encoding: chunked" in head:
        while size := int((await incoming.readuntil(b"\r\n")).strip(), 16):
            await incoming.readexactly(size + 2)
        await incoming.readuntil(b"\r\n")
    if status != 200:
        raise ValueError(status)


def opened(port: int, key: str, path: str, accept: str) -> socket.socket:
    """A connection that has asked and does not read."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    head = f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n"
    connection.sendall(f"{head}Accept: {accept}\r\n\r\n".encode())
    return connection


class Streams:
    """Connections that follow a run, read by one thread."""

    def __init__(self, served: Served, run_id: str, n_streams: int) -> None:
        path = f"/v1/runs/{run_id}/events"
        self._open = [
            opened(served.port, served.key, path, "text/event-stream") for _ in range(n_streams)
        ]
        self.started = 0
        for connection in self._open:
            self.started += connection.recv(4096).startswith(b"HTTP/1.1 200")
            connection.setblocking(False)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while not self._done.wait(0.1):
            for connection in self._open:
                with contextlib.suppress(BlockingIOError):
                    connection.recv(65_536)

    def close(self) -> None:
        """Leave."""
        self._done.set()
        self._thread.join()
        for connection in self._open:
            connection.close()


def idle_streams(served: Served, asking: Asking, size: Size) -> dict[str, Any]:
    """Processor time of streams on which nothing happens: the dispatcher is held."""
    before_s = served.cpu_s
    time.sleep(size.idle_s)
    alone = (served.cpu_s - before_s) / size.idle_s
    os.kill(served.dispatcher, signal.SIGSTOP)
    try:
        run_id = served.start(asking, size.replicates)
        streams = Streams(served, run_id, size.idle_streams)
        time.sleep(2)
        before_s = served.cpu_s
        time.sleep(size.idle_s)
        used = (served.cpu_s - before_s) / size.idle_s
        streams.close()
        asking.ask("POST", f"/v1/runs/{run_id}/cancel")
    finally:
        os.kill(served.dispatcher, signal.SIGCONT)
    return {
        "streams": streams.started,
        "core_share": round(used, 4),
        "core_share_without": round(alone, 4),
    }


def beside_runs(served: Served, asking: Asking, size: Size, run_id: str) -> dict[str, Any]:
    """Readers, streams, submits and probes while runs go on."""
    over = threading.Event()
    finished: list[str] = []

    def keep_running() -> None:
        with served.asking() as mine:
            going = served.start(mine, size.replicates)
            while not over.is_set():
                following = served.start(mine, size.replicates)
                finished.append(str(served.finish(mine, going)["state"]))
                going = following
            mine.ask("POST", f"/v1/runs/{going}/cancel")
            served.finish(mine, going)

    runs = threading.Thread(target=keep_running)
    runs.start()
    time.sleep(1)
    watched = asking.json("GET", "/v1/runs?limit=1")["runs"][0]["id"]
    streams = Streams(served, watched, size.streams)

    def submit() -> float:
        started_s = time.perf_counter()
        queued = served.start(asking, size.replicates)
        took_s = time.perf_counter() - started_s
        asking.ask("POST", f"/v1/runs/{queued}/cancel")
        return took_s

    quiet_submits = [submit() for _ in range(size.probes // 5)]
    quiet_live = timed(size.probes, lambda: asking.ask("GET", "/livez"), 0.01)
    with highest(served) as peak:
        command = [
            *(sys.executable, "-m", "benchmarks.service", "--read"),
            *(str(served.port), served.key, run_id, str(size.readers), str(size.load_s)),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as readers:
            time.sleep(1)
            busy_submits, busy_live = [], []
            while readers.poll() is None:
                busy_submits.append(submit())
                busy_live += timed(3, lambda: asking.ask("GET", "/livez"))
                time.sleep(0.3)
            assert readers.stdout is not None
            read = json.loads(readers.stdout.read())
    streams.close()
    over.set()
    runs.join()
    return {
        "runs_finished": len(finished),
        "runs_failed": sum(state != "succeeded" for state in finished),
        "streams": streams.started,
        "readers": {"n": size.readers, "think_s": THINK_S, "seconds": size.load_s, **read},
        "submit_beside_a_run": latencies(quiet_submits),
        "livez_beside_a_run": latencies(quiet_live),
        "submit_beside_readers": latencies(busy_submits),
        "livez_beside_readers": latencies(busy_live),
        "peak_memory_bytes": peak[0]._asdict(),
    }


def whole_table(served: Served, run_id: str) -> dict[str, Any]:
    """Every row of members as an Arrow stream, to one reader."""
    before = served.memory
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=120)
    started_s = time.perf_counter()
    with contextlib.closing(connection), highest(served) as peak:
        connection.request(
            "GET",
            f"/v1/runs/{run_id}/results/member_years",
            headers={"Authorization": f"Bearer {served.member_key}", "Accept": ARROW},
        )
        answer = connection.getresponse()
        assert answer.status == 200
        n_rows = sum(batch.num_rows for batch in pa.ipc.open_stream(answer))
    return {
        "rows": n_rows,
        "seconds": round(time.perf_counter() - started_s, 3),
        **peak[0].over(before),
    }


def stalled_readers(served: Served, size: Size, run_id: str) -> dict[str, Any]:
    """Readers who ask for the same rows and take nothing."""
    before = served.memory
    path = f"/v1/runs/{run_id}/results/member_years"
    with highest(served) as peak:
        held = [opened(served.port, served.member_key, path, ARROW) for _ in range(size.stalled)]
        time.sleep(size.idle_s)
        with served.asking() as asking:
            others_s = timed(size.probes // 5, lambda: asking.ask("GET", "/v1/runs?limit=1"))
        for connection in held:
            connection.close()
    return {
        "readers": size.stalled,
        **peak[0].over(before),
        "others": latencies(others_s),
    }


def measure(members: int, size: Size, *, memory: bool = False) -> dict[str, Any]:
    """Everything, on a synthetic state of so many members; or what memory and idle streams take."""
    with (
        serving(State(members).make_population().population_dir) as served,
        served.asking() as asking,
    ):
        first = served.start(asking, size.replicates)
        run = served.finish(asking, first)
        assert run["state"] == "succeeded", run
        look = f"/v1/runs/{first}/results/settlement"
        looks_s = timed(2, lambda: asking.json("GET", look, Accept="application/json"))
        time.sleep(1)
        idle = served.memory
        idle_live = latencies(timed(size.probes, lambda: asking.ask("GET", "/livez")))
        figures: dict[str, Any] = {
            "look_s": {"first": round(looks_s[0], 3), "second": round(looks_s[1], 3)},
            "idle": {"memory_bytes": idle._asdict(), "livez": idle_live},
            "idle_streams": idle_streams(served, asking, size),
        }
        if not memory:
            found = beside_runs(served, asking, size, first)
            most = found["peak_memory_bytes"]
            found["memory_over_idle"] = {
                kind: round(most[kind] / at_idle, 2) for kind, at_idle in idle._asdict().items()
            }
            figures["beside_runs"] = found
        figures["whole_table"] = whole_table(served, first)
        figures["stalled_readers"] = stalled_readers(served, size, first)
    return figures


def main() -> None:
    """Measure, write the result and print it; or read, as one of its own processes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description=__doc__)
    parser.add_argument("--members", type=int, default=500_000)
    parser.add_argument("--quick", action="store_true", help="small: does everything run?")
    parser.add_argument("--memory", action="store_true", help="memory and idle streams alone")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--read", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read:
        port, key, run_id, readers, seconds = given.read
        found = asyncio.run(read_for(int(port), key, run_id, int(readers), float(seconds)))
        print(json.dumps(found))
        return
    before = machine()
    size = QUICK if given.quick else Size()
    figures = measure(given.members, size, memory=given.memory)
    now = datetime.now(UTC)
    document = {
        "taken": now.isoformat(timespec="seconds"),
        "command": f"python -m benchmarks.service --members {given.members}"
        + (" --quick" if given.quick else "")
        + (" --memory" if given.memory else ""),
        "members": given.members,
        "machine": before,
        "load_after": list(os.getloadavg()),
        **commit(),
        "figures": figures,
    }
    path = given.out / f"service-{now:%Y-%m-%dT%H%M%S}.json"
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))
    print(path)


if __name__ == "__main__":
    main()
