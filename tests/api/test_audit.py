"""Who did what is listed to auditors: by whom, when, of which run, and what was refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from fastapi import APIRouter, Request
from fastapi.testclient import TestClient

from api.app import create_app
from api.audit import note
from api.auth import OPERATOR_SCOPES, RunsReader
from api.service import Service


def test_only_auditors_read_it(
    anonymous: TestClient, key_with: Callable[..., dict[str, str]]
) -> None:
    assert anonymous.get("/v1/audit").status_code == 401
    assert anonymous.get("/v1/audit", headers=key_with("runs:read")).status_code == 403
    assert anonymous.get("/v1/audit", headers=key_with("audit:read")).status_code == 200


@pytest.fixture
def done(service: Service, key_with: Callable[..., dict[str, str]]) -> Iterator[TestClient]:
    """A client whose service was asked for things by two owners."""
    app = create_app(service)
    router = APIRouter()

    @router.get("/v1/read/{run_id}")
    def read(run_id: str, request: Request, _principal: RunsReader) -> str:
        note(request, "member_rows_read", run_id=run_id, result_table="member_years")
        return "rows"

    app.include_router(router)
    with TestClient(app, headers=key_with(*OPERATOR_SCOPES)) as client:
        client.get("/v1/read/run-1", headers=key_with("runs:read", owner="ann"))
        client.post("/v1/runs/run-2/cancel", headers=key_with("runs:read", owner="bob"))
        yield client


def test_what_was_read_and_refused_is_listed_newest_first(done: TestClient) -> None:
    entries = done.get("/v1/audit?limit=200").json()["entries"]
    found = {entry["action"]: entry for entry in entries}
    read, refused = found["member_rows_read"], found["request"]
    assert (read["owner"], read["run_id"], read["table"], read["outcome"]) == (
        "ann", "run-1", "member_years", "done",
    )  # fmt: skip
    assert (refused["owner"], refused["run_id"], refused["outcome"], refused["route"]) == (
        "bob", "run-2", "refused", "POST /v1/runs/{run_id}/cancel",
    )  # fmt: skip
    assert read["key_id"] != refused["key_id"]
    seqs = [entry["seq"] for entry in entries]
    assert seqs == sorted(seqs, reverse=True)
    made = [entry for entry in entries if entry["action"] == "key_made"]
    assert all(entry["owner"] == "command line" for entry in made)


def test_it_is_searched_and_read_part_by_part(done: TestClient) -> None:
    whole = done.get("/v1/audit?limit=200").json()["entries"]
    parts, token = [], None
    while True:
        params = {"limit": "2"} | ({} if token is None else {"page_token": token})
        page = done.get("/v1/audit", params=params).json()
        parts += page["entries"]
        token = page["next_page_token"]
        if token is None:
            break
    assert parts == whole
    for name in ("owner", "key_id", "action", "outcome", "run_id", "table", "subject"):
        value = next(entry[name] for entry in whole if entry[name] is not None)
        found = done.get("/v1/audit", params={name: value, "limit": 200}).json()["entries"]
        assert found == [entry for entry in whole if entry[name] == value]
    at = whole[0]["at"]
    assert done.get("/v1/audit", params={"since": at}).json()["entries"]
    assert done.get("/v1/audit", params={"since": "2999-01-01T00:00:00Z"}).json()["entries"] == []
    assert done.get("/v1/audit", params={"until": "2000-01-01T00:00:00+05:00"}).json() == {
        "entries": [], "next_page_token": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "query", ["action=sleep", "outcome=x", "since=0", "since=2024-01-01", "who=ann", "until="]
)
def test_what_it_cannot_be_searched_by_is_refused(done: TestClient, query: str) -> None:
    assert done.get(f"/v1/audit?{query}").status_code == 422


def test_an_auditor_asks_whether_it_is_what_was_written(
    done: TestClient, anonymous: TestClient, key_with: Callable[..., dict[str, str]]
) -> None:
    assert anonymous.get("/v1/audit/verify").status_code == 401
    assert anonymous.get("/v1/audit/verify", headers=key_with("runs:read")).status_code == 403
    newest, before = done.get("/v1/audit?limit=2").json()["entries"]
    whole = {"valid": True, "broken_at": None, "has_seen": True}
    chain = done.get("/v1/audit/verify").json()
    assert chain | whole == chain
    assert chain["last"] == {"seq": newest["seq"], "sha256": newest["sha256"]}
    kept = {"seq": before["seq"], "sha256": before["sha256"]}
    assert done.get("/v1/audit/verify", params=kept).json()["valid"]
    other = {"seq": before["seq"], "sha256": newest["sha256"]}
    answer = done.get("/v1/audit/verify", params=other).json()
    assert (answer["valid"], answer["has_seen"], answer["broken_at"]) == (False, False, None)


@pytest.mark.parametrize(
    "query", ["seq=1", f"sha256={'a' * 64}", "seq=0&sha256=x", f"seq={2**63}&sha256={'a' * 64}"]
)
def test_an_entry_is_named_whole(done: TestClient, query: str) -> None:
    assert done.get(f"/v1/audit/verify?{query}").status_code == 422
