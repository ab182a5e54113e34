"""Streams of events and long polls, over sockets: who is told what, and what ends them."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx2 as httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from api import streams, watching
from api.auth import issue_key
from api.service import Service
from api.settings import Settings
from api.watching import Message, Watch, Watcher
from cluster.runs import Run

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Bounds that a test reaches."""
    return settings.model_copy(update={"max_streams": 25, "key_check_s": 1.0})


@pytest.fixture
def queued(start: Callable[..., Any]) -> str:
    """Id of a run that waits."""
    run_id: str = start().json()["id"]
    return run_id


@pytest.fixture
def reader(
    served: tuple[FastAPI, str], key_with: Callable[..., dict[str, str]]
) -> Iterator[httpx.Client]:
    _, url = served
    with httpx.Client(base_url=url, headers=key_with("runs:read"), timeout=60) as http:
        yield http


@pytest.fixture
def watch(served: tuple[FastAPI, str]) -> Watch:
    app, _ = served
    held: Watch = app.state.watch
    return held


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def read_event(lines: Iterator[str]) -> dict[str, str]:
    """The fields of the next event, comments among them under no name."""
    found: dict[str, str] = {}
    for line in lines:
        if not line:
            return found
        name, _, value = line.partition(":")
        found[name] = value.strip()
    raise AssertionError("the stream has ended")


def test_a_stream_tells_what_happens_when_it_happens(
    reader: httpx.Client, service: Service, queued: str, watch: Watch
) -> None:
    with reader.stream("GET", f"/v1/runs/{queued}/events", headers=STREAM) as response:
        assert response.headers["x-accel-buffering"] == "no"
        assert "content-length" not in response.headers
        lines = response.iter_lines()
        assert read_event(lines) == {"retry": "2000"}
        assert read_event(lines)["event"] == "submitted"
        run = service.store.leases.take("d1", lease_ms=60_000)
        assert run is not None
        assert read_event(lines)["event"] == "started"
        service.store.leases.progress(run, 1, 4)
        progress = read_event(lines)
        assert progress["event"] == "progress"
        assert "id" not in progress
        told = json.loads(progress["data"])
        assert (told["shards_done"], told["shards_total"], told["stage"]) == (1, 4, "validating")
        assert told["eta_s"] == pytest.approx(3 * told["elapsed_s"], abs=0.4)
        service.store.leases.finish(run, "succeeded", digest="cd" * 32)
        last = [line for line in lines if line.startswith(("event:", "data:"))][-2:]
        assert last[0] == "event: succeeded"
        assert json.loads(last[1].removeprefix("data: "))["to_state"] == "succeeded"
    until(lambda: watch.n_streams == 0)


def test_a_stream_of_an_ended_run_tells_the_rest_and_then_says_that_there_is_no_more(
    client: TestClient, finished: Run
) -> None:
    url = f"/v1/runs/{finished.id}/events"
    text = client.get(url, headers=STREAM).text
    ids = [line.removeprefix("id: ") for line in text.splitlines() if line.startswith("id:")]
    assert len(ids) == text.count("event:") > 2
    rest = client.get(url, headers={**STREAM, "Last-Event-ID": ids[-2]})
    assert (rest.status_code, rest.text.count("event:")) == (200, 1)
    none = client.get(url, headers={**STREAM, "Last-Event-ID": ids[-1]})
    assert (none.status_code, none.content) == (204, b"")


def test_what_happened_is_a_list_in_parts(client: TestClient, finished: Run) -> None:
    url = f"/v1/runs/{finished.id}/events"
    first = client.get(url, params={"limit": 2}).json()
    assert [event["kind"] for event in first["events"]] == ["submitted", "started"]
    rest = client.get(url, params={"limit": 9, "page_token": first["next_page_token"]}).json()
    assert rest["events"][-1]["kind"] == "succeeded"
    assert rest["next_page_token"] is None
    seen = {"Last-Event-ID": str(first["events"][1]["seq"])}
    assert client.get(url, headers=seen).json() == rest
    assert client.get(url).json()["events"] == first["events"] + rest["events"]


def test_a_silent_stream_says_that_it_lives(
    reader: httpx.Client, queued: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "COMMENT_S", 0.05)
    with reader.stream("GET", f"/v1/runs/{queued}/events", headers=STREAM) as response:
        lines = response.iter_lines()
        found = [read_event(lines) for _ in range(4)]
    assert found[2:] == [{"": "waiting"}] * 2


Asked = Callable[..., socket.socket]


@pytest.fixture
def asked() -> Iterator[Asked]:
    """Connections on which somebody asks and then waits; closed at the end."""
    with ExitStack() as connections:

        def ask(reader: httpx.Client, path: str, accept: str = "*/*") -> socket.socket:
            there = (reader.base_url.host, reader.base_url.port or 80)
            connection = socket.create_connection(there, timeout=60)
            connections.enter_context(connection)
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n"
                f"Authorization: {reader.headers['authorization']}\r\n\r\n".encode()
            )
            return connection

        yield ask


def test_any_number_of_watchers_asks_the_database_as_often_as_one(
    reader: httpx.Client,
    service: Service,
    queued: str,
    watch: Watch,
    asked: Asked,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody watching asks nothing, and whoever leaves watches no more."""
    looks, look = 0, service.store.news.look

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal looks
        looks += 1
        return look(*arguments, **named)

    monkeypatch.setattr(service.store.news, "look", counted)
    waits = [asked(reader, f"/v1/runs/{queued}?wait=60") for _ in range(20)]
    many = [asked(reader, f"/v1/runs/{queued}/events", "text/event-stream") for _ in range(20)]
    until(lambda: watch.n_watchers == 40)
    assert watch.n_streams == 20
    looks, began_s = 0, time.monotonic()
    until(lambda: looks >= 5)
    assert looks <= (time.monotonic() - began_s) / watching.LOOK_S + 1
    for connection in waits + many:
        connection.close()
    until(lambda: watch.n_watchers == 0 and watch._poller is None)
    looks = 0
    time.sleep(2 * watching.LOOK_S)
    assert looks == 0


def test_a_wait_and_a_stream_end_with_their_key_and_others_go_on(
    reader: httpx.Client, service: Service, queued: str, watch: Watch, asked: Asked
) -> None:
    key_id, key = issue_key(
        service.store.keys, service.home, owner="b", note="", scopes=["runs:read"], days=1
    )
    leaver = httpx.Client(base_url=reader.base_url, headers={"Authorization": f"Bearer {key}"})
    stays = asked(reader, f"/v1/runs/{queued}?wait=60")
    with leaver:
        text = asked(leaver, f"/v1/runs/{queued}/events", "text/event-stream")
        wait = asked(leaver, f"/v1/runs/{queued}?wait=60")
        until(lambda: watch.n_watchers == 3)
        service.store.keys.revoke(key_id)
        revoked_s = time.monotonic()
        said = everything(wait)
        assert said.startswith(b"HTTP/1.1 401 ")
        assert b"application/problem+json" in said
        assert b"www-authenticate: Bearer" in said
        assert everything(text).endswith(b"0\r\n\r\n")
        assert time.monotonic() - revoked_s < 30  # the wait alone would last sixty
        until(lambda: watch.n_watchers == 1)
        service.store.queue.request_cancel(queued, actor="a")
        assert everything(stays).startswith(b"HTTP/1.1 200 ")


def everything(connection: socket.socket) -> bytes:
    """What is answered on a connection, to the end of the answer."""
    found = b""
    while b"\r\n\r\n" not in found or not _is_whole(found):
        part = connection.recv(65_536)
        assert part
        found += part
    return found


def _is_whole(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    return len(body) == int(length[1]) if length else body.endswith(b"0\r\n\r\n")


def test_a_wait_ends_when_the_run_waits_for_a_review_and_a_stream_does_not(
    reader: httpx.Client, service: Service, queued: str, watch: Watch, asked: Asked
) -> None:
    run = service.store.leases.take("d1", lease_ms=60_000)
    assert run is not None
    asked(reader, f"/v1/runs/{queued}/events", "text/event-stream")
    wait = asked(reader, f"/v1/runs/{queued}?wait=60")
    until(lambda: watch.n_watchers == 2)
    service.store.leases.review(run, {"immature": "4 months"})
    assert b'"state":"needs_review"' in everything(wait)
    assert watch.n_streams == 1


def test_there_are_so_many_streams_and_no_more(
    reader: httpx.Client, queued: str, watch: Watch, asked: Asked
) -> None:
    url = f"/v1/runs/{queued}/events"
    held = [asked(reader, url, "text/event-stream") for _ in range(25)]
    until(lambda: watch.n_streams == 25)
    refused = reader.get(url, headers=STREAM)
    assert refused.status_code == 503
    assert refused.headers["content-type"] == "application/problem+json"
    assert int(refused.headers["retry-after"]) > 0
    held.pop().close()
    until(lambda: watch.n_streams == 24)
    with reader.stream("GET", url, headers=STREAM) as allowed:
        assert allowed.status_code == 200


def test_a_database_that_is_away_leaves_nobody_waiting_for_it(
    reader: httpx.Client, service: Service, queued: str, watch: Watch, monkeypatch: Any
) -> None:
    with reader.stream("GET", f"/v1/runs/{queued}/events", headers=STREAM) as response:
        lines = response.iter_lines()
        read_event(lines)
        read_event(lines)

        def away(*_arguments: Any, **_named: Any) -> Any:
            raise OperationalError("select", {}, Exception("gone"))

        monkeypatch.setattr(service.store.news, "look", away)
        assert list(lines) == []
    until(lambda: watch.n_watchers == 0)


def test_a_reader_who_leaves_too_much_unread_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MOST_UNREAD", 3)

    async def all_of_it() -> None:
        watcher = Watcher("run", "key")
        for seq in range(5):
            watcher.tell(Message(seq, None, b"x"))
        assert watcher.over
        assert len(await watcher.messages(0)) == 3

    asyncio.run(all_of_it())
