"""Connections at their bounds, with raw sockets: what no well-behaved client would send."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from api.connections import Bounds, Connection
from api.listening import Listener, most_open, room_for
from api.server import Door, Server

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HALF = b"GET / HTTP/1.1\r\nHost: x\r\nX-A: "
MEGABYTES = 8


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Reads the body of a POST, sends much at /much, and a word otherwise."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/read":
        while (await receive()).get("more_body"):
            pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(MEGABYTES * 16 if scope["path"] == "/much" else 1):
        await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


class Served:
    """A server in a thread of this process."""

    def __init__(self, most: int | None = None, **bounds: float) -> None:
        given = {
            "connections": 50,
            "waiting": 50,
            "head_s": 30,
            "body_s": 30,
            "idle_s": 30,
            "send_s": 30,
        }
        # one mapping of numbers for all fields: that connections are whole is seen above
        bound = Bounds(**(given | bounds))  # type: ignore[arg-type]
        self.listener = Listener("127.0.0.1", 0, most=most or most_open(bound.connections))
        self.address = self.listener.getsockname()
        self.door = Door(self.listener, application, bound)
        self.server = Server([self.door])
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()

    def connect(self, sent: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
        connection = socket.create_connection(self.address, timeout=60, source_address=(source, 0))
        connection.sendall(sent)
        return connection

    def until_open(self, n_connections: int) -> None:
        deadline = time.monotonic() + 60
        while self.door.connections != n_connections:
            assert time.monotonic() < deadline, self.door.connections
            time.sleep(0.01)


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(**bounds: Any) -> Served:
        started.append(Served(**bounds))
        return started[-1]

    yield start
    for served in started:
        served.server.should_exit = True
        served.thread.join(60)
        assert not served.thread.is_alive()


def received(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    with connection:
        parts = []
        while part := connection.recv(1 << 20):
            parts.append(part)
    return b"".join(parts)


def problem(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    found: dict[str, Any] = json.loads(body)
    assert head.split(b" ")[1] == str(found["status"]).encode()
    return found


def test_a_small_answer_waits_for_no_acknowledgement(serve: Callable[..., Served]) -> None:
    served = serve()
    with served.connect():
        served.until_open(1)
        (connection,) = served.door.state.connections
        assert isinstance(connection, Connection)
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


@pytest.mark.parametrize("sent", [HALF, b"G"])
def test_a_head_that_does_not_end_is_told_so(serve: Callable[..., Served], sent: bytes) -> None:
    served = serve(head_s=0.3)
    found = problem(received(served.connect(sent)))
    assert (found["status"], found["type"]) == (408, "urn:ihp:problem:request-timeout")
    served.until_open(0)


def test_bytes_that_trickle_do_not_stretch_the_time_for_a_head(
    serve: Callable[..., Served],
) -> None:
    served = serve(head_s=0.5)
    deadline = time.monotonic() + 60
    with served.connect(HALF) as connection, contextlib.suppress(OSError):
        while True:  # until the server has closed it
            connection.sendall(b"x")
            assert time.monotonic() < deadline
            time.sleep(0.05)
    served.until_open(0)


def test_a_body_that_does_not_end_is_cut_off(serve: Callable[..., Served]) -> None:
    served = serve(body_s=0.2)
    post = b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12"
    connection = served.connect(post)
    with pytest.raises(ConnectionResetError):
        assert received(connection)
    served.until_open(0)


def test_a_connection_without_a_request_is_closed(serve: Callable[..., Served]) -> None:
    served = serve(idle_s=1)  # more than it takes to send a head
    assert received(served.connect()) == b""
    assert received(served.connect(HEAD)).endswith(b"0\r\n\r\n")


def test_a_connection_over_the_bound_is_told_to_come_again(serve: Callable[..., Served]) -> None:
    served = serve(connections=3)
    kept = [served.connect(HALF) for _ in range(3)]
    served.until_open(3)
    for _ in range(2):
        answer = received(served.connect(HEAD))
        assert problem(answer)["status"] == 503
        assert b"Retry-After: 5" in answer
    kept.pop().close()
    served.until_open(2)
    assert received_some(served.connect(HEAD)).startswith(b"HTTP/1.1 200")
    for connection in kept:
        connection.close()


def test_one_address_does_not_have_all_connections_by_asking_nothing(
    serve: Callable[..., Served],
) -> None:
    """Half a head, no byte, and a connection kept after its answer count alike; a request does not.

    Others are served meanwhile, and the same address again once it has room.
    """
    served = serve(connections=9, waiting=3)
    asking = served.connect(HEAD.replace(b"/ ", b"/much "))
    served.until_open(1)
    answered = served.connect(HEAD)
    while not answered.recv(1 << 20).endswith(b"0\r\n\r\n"):
        pass
    kept = [served.connect(HALF), served.connect()]
    served.until_open(4)
    for sent in (HALF, HEAD):
        assert "of this address" in problem(received(served.connect(sent)))["detail"]
    other = [served.connect(HALF, "127.0.0.2") for _ in range(3)]
    served.until_open(7)
    assert received_some(served.connect(HEAD, "127.0.0.3")).startswith(b"HTTP/1.1 200")
    kept.pop().close()
    served.until_open(6)
    assert received_some(served.connect(HEAD)).startswith(b"HTTP/1.1 200")
    for connection in (asking, answered, *kept, *other):
        connection.close()


def test_one_address_does_not_have_the_last_descriptors(serve: Callable[..., Served]) -> None:
    """However far it comes with each: a handshake of TLS that does not end is no connection yet."""
    served = serve(most=10, connections=5)
    flood = [served.connect(HALF) for _ in range(30)]
    served.until_open(5)
    answer = received(served.connect(HEAD, "127.0.0.2"))
    assert problem(answer)["status"] == 503
    for connection in flood:
        connection.close()


def received_some(connection: socket.socket) -> bytes:
    with connection:
        return connection.recv(100)


def test_whoever_takes_nothing_of_an_answer_is_cut_off(serve: Callable[..., Served]) -> None:
    served = serve(send_s=0.5)
    connection = served.connect(HEAD.replace(b"/ ", b"/much "))
    assert connection.recv(9, socket.MSG_PEEK) == b"HTTP/1.1 "
    served.until_open(0)
    with pytest.raises(ConnectionResetError):
        received(connection)


def test_a_slow_reader_gets_the_whole(serve: Callable[..., Served]) -> None:
    """One who takes longer in all than the bound, and after each part a fraction of it."""
    served = serve(send_s=3)
    n_bytes = 0
    with served.connect(HEAD.replace(b"/ ", b"/much ")) as connection:
        while n_bytes < MEGABYTES << 20:
            part = connection.recv(1 << 20)
            assert part
            n_bytes += len(part)
            time.sleep(0.4)


def test_what_is_no_http_is_a_problem(serve: Callable[..., Served]) -> None:
    served = serve()
    assert problem(received(served.connect(b"\x16\x03\x01\x02\r\n\r\n")))["status"] == 400


def test_a_body_that_is_no_http_is_a_problem(serve: Callable[..., Served]) -> None:
    """Also where somebody waits for the rest of it; nobody answers twice."""
    served = serve()
    head = b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    for body in (b"zz\r\n", b"2\r\nabc\r\n0\r\n\r\n"):
        told = problem(received(served.connect(head + body)))
        assert (told["status"], told["detail"]) == (400, "Invalid HTTP request received.")
    late = served.connect(head)
    served.until_open(1)
    late.sendall(b"zz\r\n")
    assert problem(received(late))["status"] == 400


def test_a_flood_is_dropped_before_descriptors_run_out(serve: Callable[..., Served]) -> None:
    served = serve(most=5, connections=3)
    with capture_logs() as logs:
        flood = [served.connect(HALF) for _ in range(40)]
        for connection in flood[5:]:
            with contextlib.suppress(ConnectionResetError):
                assert received(connection)[:12] in (b"", b"HTTP/1.1 503")
        assert sum(line["event"] == "connections_dropped" for line in logs) <= 3
        for connection in flood[:5]:
            connection.close()
    served.until_open(0)
    assert received_some(served.connect(HEAD)).startswith(b"HTTP/1.1 200")


PROGRAM = """
import resource, sys, time
import structlog
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
from tests.api.test_server import Served
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
served = Served(most=1000, connections=1000)
served.until_open(0)
print(served.address[1], flush=True)
sys.stdin.readline()
cpu_s = time.process_time()
time.sleep(2)
print(time.process_time() - cpu_s, flush=True)
sys.stdin.readline()
"""


def test_a_server_without_descriptors_says_so_now_and_then_and_does_not_spin() -> None:
    """Bounds too wide for the machine: what is left over is closed, and the next one served."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        port = int(process.stdout.readline())
        flood = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(120)]
        for connection in flood:
            with contextlib.suppress(OSError):
                connection.sendall(HALF)
        print(file=process.stdin, flush=True)
        assert float(process.stdout.readline()) < 1
        for connection in flood:
            connection.close()
        answer = b""
        deadline = time.monotonic() + 60
        while not answer.startswith(b"HTTP/1.1 200"):
            assert time.monotonic() < deadline
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
                    connection.sendall(HEAD)
                    answer = connection.recv(100)
            except OSError:
                time.sleep(0.1)
        print(file=process.stdin, flush=True)
        assert process.stderr is not None
        said = process.stderr.read()
        assert 1 <= said.count("out_of_descriptors") <= 40
        assert "Traceback" not in said


def test_few_descriptors_make_fewer_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"now": (256, 4096)}
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: limits.update(now=new))
    assert room_for(512) == 512
    assert limits["now"] == (1024, 4096)
    limits["now"] = (64, 128)
    with capture_logs() as logs:
        assert room_for(512) == 32
    assert [line["event"] for line in logs] == ["few_descriptors"]
    assert most_open(32) <= 128 // 2
