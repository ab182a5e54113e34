from __future__ import annotations

from collections.abc import Callable

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient

from api.client import Client, ServiceError
from cluster.runs import Run


class ToApp(httpx.BaseTransport):
    """Hands requests to the application; loses the first answers on the way."""

    def __init__(self, app: TestClient, lost: int = 0) -> None:
        self._app = app
        self._lost = lost

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        answer = self._app.request(
            request.method, path, content=request.read(), headers=dict(request.headers)
        )
        if self._lost > 0:
            self._lost -= 1
            raise httpx.ReadError("the connection broke")
        headers = {"content-type": answer.headers["content-type"]}
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
