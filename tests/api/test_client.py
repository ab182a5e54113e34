from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient

from api.client import AsyncClient, Client, ServiceError
from cluster.runs import Run


class ToApp(httpx.BaseTransport):
    """Hands requests to the application; loses the first answers on the way."""

    def __init__(self, app: TestClient, lost: int = 0) -> None:
        self._app = app
        self._lost = lost

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        answer = self._app.request(
            request.method, path, content=request.read(), headers=dict(request.headers),
            follow_redirects=False,
        )  # fmt: skip
        if self._lost > 0:
            self._lost -= 1
            raise httpx.ReadError("the connection broke")
        kept = ("content-type", "location")
        headers = {name: answer.headers[name] for name in kept if name in answer.headers}
        return httpx.Response(answer.status_code, content=answer.content, headers=headers)


@pytest.fixture
def connect(
    anonymous: TestClient, key_with: Callable[..., dict[str, str]]
) -> Callable[..., Client]:
    def make(lost: int = 0, *scopes: str) -> Client:
        header = key_with(*(scopes or ("populations:write", "runs:read", "runs:write")))
        key = header["Authorization"].removeprefix("Bearer ")
        return Client("http://service", key, transport=ToApp(anonymous, lost))

    return make


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.client.POLL_S", 0.3)
    monkeypatch.setattr("time.sleep", lambda _s: None)


def test_a_run_is_started_followed_and_cancelled(
    connect: Callable[..., Client], population: str
) -> None:
    with connect() as service:
        run = service.start(population, ["mn-ihp-2.0-track-2"], idempotency_key="k", seed=2)
        assert service.run(run["id"])["state"] == "queued"
        with pytest.raises(TimeoutError, match="it goes on"):
            service.wait(run["id"], seconds=0.5)
        assert service.cancel(run["id"])["state"] == "cancelled"
        assert service.wait(run["id"])["state"] == "cancelled"


def test_an_answer_that_is_lost_on_the_way_starts_nothing_twice(
    client: TestClient, connect: Callable[..., Client], population: str
) -> None:
    with connect(lost=2) as service:
        run = service.start(population, ["mn-ihp-2.0-track-2"], idempotency_key="k")
    assert [view["id"] for view in client.get("/v1/runs").json()["runs"]] == [run["id"]]


def test_results_arrive_as_an_arrow_table(connect: Callable[..., Client], finished: Run) -> None:
    with connect(0, "runs:read", "results:member") as service:
        table = service.results(finished.id, "settlement")
    assert table.column("payment_cents").to_pylist() == [2**53 + 1, -5]
    with connect() as service, pytest.raises(ServiceError, match="403 Forbidden") as caught:
        service.results(finished.id, "member_years")
    assert caught.value.problem["type"] == "urn:ihp:problem:forbidden"


def test_a_service_that_is_away_is_an_error_in_the_end(connect: Callable[..., Client]) -> None:
    with connect(lost=99) as service, pytest.raises(httpx.ReadError):
        service.run("x")


def test_a_population_is_registered(connect: Callable[..., Client]) -> None:
    with connect() as service, pytest.raises(ServiceError, match="422"):
        service.register("x", prefix="absent")


def test_the_client_goes_to_the_run_that_is_the_same_unless_forced(
    connect: Callable[..., Client], finished: Run, population: str
) -> None:
    terms = {"performance_year": 2024, "replicates": 10, "seed": 7}
    with connect() as service:
        found = service.start(population, ["mn-ihp-2.0-track-2"], idempotency_key="n", **terms)
        assert (found["id"], found["state"]) == (finished.id, "succeeded")
        forced = service.start(
            population, ["mn-ihp-2.0-track-2"], idempotency_key="m", force=True, **terms
        )
        assert forced["state"] == "queued"
        service.cancel(forced["id"])
        assert service.retry(forced["id"])["retry_of"] == forced["id"]


def test_lists_come_whole_and_a_contract_by_its_name(
    connect: Callable[..., Client], population: str
) -> None:
    terms = ["mn-ihp-2.0-track-2"]
    scopes = ("runs:read", "runs:write", "populations:read", "contracts:read")
    with connect(0, *scopes) as service:
        made = {
            service.start(population, terms, idempotency_key=str(seed), seed=seed)["id"]
            for seed in range(1, 60)
        }
        assert {run["id"] for run in service.runs()} == made  # more than a part of the list
        assert [one["name"] for one in service.populations()] == [population]
        assert terms[0] in {one["name"] for one in service.contracts()}
        assert service.contract(terms[0])["name"] == terms[0]


def test_who_waits_is_told_how_far_it_is(
    connect: Callable[..., Client], finished: Run, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    with connect() as service:
        view = service.wait(finished.id, tell=lambda done, total: told.append((done, total)))
        assert told == [(view["shards_done"], view["shards_total"])]
        with pytest.raises(ServiceError):
            service.sweep(finished.id, {"no.term": [1]}, "k")
        with pytest.raises(ValueError, match=r"ends in \.html, \.xlsx, \.pdf"):
            service.save_report(finished.id, tmp_path / "report.doc")
    with connect(0, "runs:read", "results:member") as service:
        saved = service.save_report(finished.id, tmp_path / "report.html")
    assert saved.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_program_of_asyncio_awaits_the_same(
    anonymous: TestClient, key_with: Callable[..., dict[str, str]], finished: Run
) -> None:
    key = key_with("runs:read", "results:member")["Authorization"].removeprefix("Bearer ")

    async def read() -> tuple[str, int, int]:
        async with AsyncClient("http://service", key, transport=ToApp(anonymous)) as service:
            run = await service.wait(finished.id, bar=True)
            table = await service.results(finished.id, "settlement")
            frame = await service.polars(finished.id, "settlement")
            return run["state"], table.num_rows, frame.height

    assert asyncio.run(read()) == ("succeeded", 2, 2)


def test_everything_that_the_client_does_can_be_awaited() -> None:
    def named(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert named(AsyncClient) == named(Client)


def test_results_arrive_as_frames(connect: Callable[..., Client], finished: Run) -> None:
    scopes = ("runs:read", "results:member")
    paid = [2**53 + 1, -5]  # to the cent: no way through floats
    with connect(0, *scopes) as service:
        assert service.polars(finished.id, "settlement")["payment_cents"].to_list() == paid
        assert service.pandas(finished.id, "settlement")["payment_cents"].tolist() == paid


def test_a_bar_is_drawn_on_a_terminal_alone(
    connect: Callable[..., Client],
    finished: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with connect() as service:
        assert service.wait(finished.id, bar=True)["state"] == "succeeded"
        assert capsys.readouterr().err == ""
        monkeypatch.setenv("FORCE_COLOR", "1")
        service.wait(finished.id, bar=True)
    assert f"run {finished.id}"[:12] in capsys.readouterr().err
