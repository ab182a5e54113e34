"""What people decide of a run: accept what tripped, certify, make again, ask for the same twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.service import Service
from cluster.runs import Run
from ihp_compute.errors import RunError
from ihp_compute.results import read_certification
from tests.api.conftest import sealed

STATEMENT = {
    "status": "final",
    "purpose": "settlement",
    "intended_users": "the state",
    "responsible_actuary": "A. Ctuary",
    "reliance": "claims of the state",
}
Keys = Callable[..., dict[str, str]]


@pytest.fixture
def waiting(service: Service, start: Callable[..., Any]) -> Run:
    """A run that tripped two gates."""
    start(accept={"timing": "as agreed"})
    run = service.store.leases.take("d1", lease_ms=60_000)
    assert run is not None
    tripped = {"immature": "9 partnerships, 61 %", "unscored_months": "P-1: 3 months"}
    assert service.store.leases.review(run, tripped) is not None
    return run


@pytest.fixture
def ended(service: Service, finished: Run) -> Run:
    """A run of the operator's that succeeded, with a manifest that says its digest."""
    folder = service.home.attempt(finished.id, finished.attempt)
    sealed(folder, population={"digest": "ab"})
    return finished


def folder_of(service: Service, run: Run) -> Path:
    return service.home.attempt(run.id, run.attempt)


def test_a_run_that_tripped_gates_is_shown_with_them_and_a_wait_returns(
    client: TestClient, anonymous: TestClient, waiting: Run, key_with: Keys
) -> None:
    """To who may not see members, without what may count few of them."""
    response = client.get(f"/v1/runs/{waiting.id}", params={"wait": 30})
    view = response.json()
    assert view["state"] == "needs_review"
    assert "retry-after" not in response.headers
    assert set(view["review"]["waiting"]) == {"immature", "unscored_months"}
    assert "3 months" not in response.text
    assert view["links"]["accept"] == f"/v1/runs/{waiting.id}/accept"
    whole = anonymous.get(
        f"/v1/runs/{waiting.id}", headers=key_with("runs:read", "results:member")
    ).json()
    assert whole["review"]["waiting"]["unscored_months"] == "P-1: 3 months"
    events = client.get(f"/v1/runs/{waiting.id}/events", headers={"Accept": "application/json"})
    assert "3 months" not in events.text


def test_each_gate_is_accepted_by_name_and_then_the_run_is_queued_again(
    client: TestClient, anonymous: TestClient, service: Service, waiting: Run, key_with: Keys
) -> None:
    before = client.get(f"/v1/runs/{waiting.id}").json()["fingerprint"]
    path = f"/v1/runs/{waiting.id}/accept"
    actuary = key_with("runs:certify", owner="anna")
    assert anonymous.post(path, json={"immature": "interim"}).status_code == 401
    reader = key_with("runs:read", "runs:write", owner="ben")
    assert anonymous.post(path, json={"immature": "x"}, headers=reader).status_code == 403
    first = anonymous.post(path, json={"immature": "interim payment"}, headers=actuary)
    assert (first.status_code, first.json()["state"]) == (202, "needs_review")
    second = client.post(path, json={"unscored_months": "a new plan"})
    view = second.json()
    assert (second.status_code, view["state"]) == (202, "queued")
    assert view["accept"] == {
        "timing": "as agreed", "immature": "interim payment", "unscored_months": "a new plan",
    }  # fmt: skip
    accepted = view["review"]["accepted"]
    assert {gate: one["owner"] for gate, one in accepted.items()} == {
        "immature": "anna", "unscored_months": "operator",
    }  # fmt: skip
    assert view["fingerprint"] != before
    again = service.store.leases.take("d2", lease_ms=60_000)
    assert again is not None
    assert again.request["accept"] == view["accept"]
    assert again.request["asked"]["accept"] == {"timing": "as agreed"}
    kept = service.store.audit.entries(limit=9, action="run_accepted", run_id=waiting.id)
    assert [(e.owner, e.subject) for e in kept] == [
        ("operator", "unscored_months"), ("anna", "immature"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"immature": ""}, "/immature"),
        ({"immature": "x" * 501}, "/immature"),
        ({"immature": 1}, "/immature"),
        ({"immature": "a\u0000b"}, "/immature"),
        ({"no_such": "why"}, "/no_such"),
        ({"codes": "why"}, "/codes"),
        ([], ""),
    ],
)
def test_what_a_run_does_not_wait_for_is_not_accepted(
    client: TestClient, waiting: Run, body: Any, pointer: str
) -> None:
    response = client.post(f"/v1/runs/{waiting.id}/accept", json=body)
    assert response.status_code == 422, response.text
    assert response.json()["errors"][0]["pointer"] == pointer
    assert client.get(f"/v1/runs/{waiting.id}").json()["state"] == "needs_review"


def test_a_run_that_waits_for_no_review_is_not_accepted_and_one_that_does_can_be_cancelled(
    client: TestClient, waiting: Run, start: Callable[..., Any]
) -> None:
    queued = start("other", seed=8).json()["id"]
    assert client.post(f"/v1/runs/{queued}/accept", json={"immature": "x"}).status_code == 409
    assert client.post("/v1/runs/x/accept", json={"immature": "x"}).status_code == 404
    cancelled = client.post(f"/v1/runs/{waiting.id}/cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")


def test_only_its_owner_or_an_operator_ends_a_run_or_makes_it_again(
    client: TestClient,
    anonymous: TestClient,
    service: Service,
    start: Callable[..., Any],
    key_with: Keys,
) -> None:
    run_id = start().json()["id"]
    assert client.get(f"/v1/runs/{run_id}").json()["owner"] == "operator"
    bob = key_with("runs:read", "runs:write", owner="bob")
    for verb in ("cancel", "retry"):
        refused = anonymous.post(f"/v1/runs/{run_id}/{verb}", headers=bob)
        assert refused.status_code == 403
        assert refused.json()["type"] == "urn:ihp:problem:forbidden"
    assert client.get(f"/v1/runs/{run_id}").json()["state"] == "queued"
    admin = key_with("runs:write", "admin", owner="carol")
    for _ in range(2):
        assert anonymous.post(f"/v1/runs/{run_id}/cancel", headers=admin).status_code == 200
    kept = [
        (e.owner, e.action, e.outcome) for e in service.store.audit.entries(limit=9, run_id=run_id)
    ]
    assert kept == [
        ("carol", "run_cancelled", "done"),
        ("bob", "request", "refused"),
        ("bob", "request", "refused"),
    ]


def test_a_second_person_certifies_a_run_once(
    client: TestClient, anonymous: TestClient, service: Service, ended: Run, key_with: Keys
) -> None:
    path = f"/v1/runs/{ended.id}/certify"
    body = {"statement": STATEMENT}
    report = (folder_of(service, ended) / "report.html").read_bytes()
    assert client.post(path, json=body).status_code == 403  # whoever submitted it
    dora = key_with("runs:certify", owner="dora")
    lacking = anonymous.post(path, json={"statement": {"status": "final"}}, headers=dora)
    assert lacking.status_code == 422
    assert {error["pointer"] for error in lacking.json()["errors"]} == {
        f"/statement/{name}" for name in STATEMENT if name != "status"
    }
    wrong = anonymous.post(path, json={"statement": {"colour": "blue"}}, headers=dora)
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/statement")
    done = anonymous.post(path, json=body, headers=dora)
    assert done.status_code == 200, done.text
    certification = done.json()["certification"]
    assert (certification["submitted_by"], certification["certified_by"]) == ("operator", "dora")
    assert (certification["digest"], done.json()["state"]) == (ended.digest, "succeeded")
    assert certification["statement"]["reviewer"] == "dora"
    assert client.get(f"/v1/runs/{ended.id}").json()["certification"] == certification
    assert read_certification(folder_of(service, ended)) == certification
    assert (folder_of(service, ended) / "report.html").read_bytes() == report
    # the same again is the same; another person or statement is refused
    again = anonymous.post(path, json=body, headers=dora)
    assert (again.status_code, again.json()["certification"]) == (200, certification)
    eve = key_with("runs:certify", owner="eve")
    assert anonymous.post(path, json=body, headers=eve).status_code == 409
    other = {"statement": {**STATEMENT, "purpose": "another"}}
    assert anonymous.post(path, json=other, headers=dora).status_code == 409
    kinds = [event.kind for event in service.store.queue.events(ended.id)]
    assert kinds.count("certified") == 1
    (kept,) = service.store.audit.entries(limit=9, action="run_certified")
    assert (kept.owner, kept.run_id) == ("dora", ended.id)


def test_two_persons_who_certify_at_once_leave_one_certification(
    anonymous: TestClient, service: Service, ended: Run, key_with: Keys
) -> None:
    keys = [key_with("runs:certify", owner=f"person {n}") for n in range(8)]
    path = f"/v1/runs/{ended.id}/certify"

    def certify(key: dict[str, str]) -> Any:
        return anonymous.post(path, json={"statement": STATEMENT}, headers=key)

    with ThreadPoolExecutor(8) as pool:
        found = [response.status_code for response in pool.map(certify, keys)]
    assert sorted(found) == [200, *[409] * 7]
    assert read_certification(folder_of(service, ended)) == (
        service.store.queue.run(ended.id).certification
    )


def test_a_run_that_has_not_succeeded_is_not_certified(
    anonymous: TestClient, start: Callable[..., Any], key_with: Keys
) -> None:
    run_id = start().json()["id"]
    dora = key_with("runs:certify", owner="dora")
    path = f"/v1/runs/{run_id}/certify"
    assert anonymous.post(path, json={"statement": STATEMENT}, headers=dora).status_code == 409
    assert anonymous.post(path, json={"statement": STATEMENT}).status_code == 401


@pytest.mark.parametrize("how", ["edited", "of another run", "cut"])
def test_a_certification_that_was_changed_is_found_out(
    anonymous: TestClient, service: Service, ended: Run, key_with: Keys, how: str
) -> None:
    dora = key_with("runs:certify", owner="dora")
    body = {"statement": STATEMENT}
    anonymous.post(f"/v1/runs/{ended.id}/certify", json=body, headers=dora)
    folder = folder_of(service, ended)
    path = folder / "certification.json"
    if how == "edited":
        path.write_text(path.read_text().replace("dora", "eve"))
    elif how == "cut":
        path.write_text(path.read_text()[:-20])
    else:
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**manifest, "digest": "ef" * 32}))
    with pytest.raises(RunError, match=r"certification\.json: "):
        read_certification(folder)


def test_a_run_that_failed_is_made_again_once_and_stays_as_it_ended(
    client: TestClient, service: Service, start: Callable[..., Any]
) -> None:
    run_id = start(accept={"timing": "as agreed"}).json()["id"]
    assert client.post(f"/v1/runs/{run_id}/retry").status_code == 409
    run = service.store.leases.take("d1", lease_ms=60_000)
    assert run is not None
    service.store.leases.finish(run, "failed", reason="storage", detail="no room")
    again = client.post(f"/v1/runs/{run_id}/retry")
    view = again.json()
    assert (again.status_code, view["state"], view["retry_of"]) == (202, "queued", run_id)
    assert again.headers["location"] == f"/v1/runs/{view['id']}"
    assert view["id"] != run_id
    same = ("population", "contracts", "seed", "replicates", "accept", "fingerprint")
    before = client.get(f"/v1/runs/{run_id}").json()
    assert (before["state"], before["reason"]) == ("failed", "storage")
    assert {name: view[name] for name in same} == {name: before[name] for name in same}
    assert client.post(f"/v1/runs/{run_id}/retry").json()["id"] == view["id"]
    client.post(f"/v1/runs/{view['id']}/cancel")
    third = client.post(f"/v1/runs/{view['id']}/retry").json()
    assert third["retry_of"] == view["id"]


def test_the_same_inputs_and_terms_are_answered_by_the_run_that_succeeded(
    client: TestClient, ended: Run, start: Callable[..., Any]
) -> None:
    """Whatever key it comes with, and however its years are said; `force` has it made again."""
    client.follow_redirects = False
    same = start("another key")
    assert (same.status_code, same.headers["location"]) == (303, f"/v1/runs/{ended.id}")
    assert same.json()["id"] == ended.id
    assert start("k2", base_year=2023, statement={"purpose": "x"}).status_code == 303
    assert start("key-1").status_code == 202  # the key that made it comes first
    others: dict[str, dict[str, Any]] = {
        "seed": {"seed": 8},
        "replicates": {"replicates": 11},
        "cutoff": {"paid_through": "2025-01-31"},
        "accept": {"accept": {"timing": "as agreed"}},
        "contract": {"contracts": ["mn-ihp-2.0-track-1"]},
        "programme": {"programme": "none"},
        "force": {"force": True},
    }
    for key, other in others.items():
        assert start(key, **other).status_code == 202, key
    forced = start("force", force=True).json()
    assert (forced["fingerprint"], forced["state"]) == (same.json()["fingerprint"], "queued")
    found = client.get("/v1/runs", params={"fingerprint": forced["fingerprint"]}).json()["runs"]
    assert [run["id"] for run in found] == [forced["id"], ended.id]


def test_a_run_whose_results_are_gone_answers_for_none(
    service: Service, ended: Run, start: Callable[..., Any]
) -> None:
    (folder_of(service, ended) / "manifest.json").unlink()
    assert start("another key").status_code == 202


def test_runs_are_found_by_owner_population_and_contract(
    client: TestClient, start: Callable[..., Any]
) -> None:
    run_id = start().json()["id"]
    for wanted in (
        {"owner": "operator"},
        {"population": "state"},
        {"contract": "mn-ihp-2.0-track-2"},
        {"state": "queued", "owner": "operator"},
    ):
        runs = client.get("/v1/runs", params=wanted).json()["runs"]
        assert [run["id"] for run in runs] == [run_id], wanted
    for nothing in (
        {"owner": "bob"},
        {"population": "stat"},
        {"contract": "mn-ihp-2.0"},
        {"state": "needs_review"},
    ):
        assert client.get("/v1/runs", params=nothing).json()["runs"] == []
    assert client.get("/v1/runs", params={"fingerprint": "abc"}).status_code == 422


@pytest.mark.parametrize(
    ("changes", "pointer", "words"),
    [
        ({"performance_year": 1900}, "/performance_year", "not a full calendar year"),
        ({"performance_year": 2022}, "/performance_year", "hold 2023 to 2024"),
        ({"base_year": 2024}, "/base_year", "not before performance year"),
        ({"performance_year": 2023, "base_year": 2024}, "/base_year", "not before performance"),
        ({"contracts": ["mn-ihp-2.0-track-2"] * 40}, "/contracts", "found 40 contracts"),
        ({"paid_through": "0001-01-01"}, "/paid_through", "no claim of 2024 was paid by"),
        ({"paid_through": "2023-12-31"}, "/paid_through", "no claim of 2024 was paid by"),
        ({"paid_through": "2025-08-01"}, "/paid_through", "past that month"),
        ({"paid_through": "2999-12-31"}, "/paid_through", "past that month"),
        ({"replicates": 1_000_001}, "/replicates", ""),
        ({"force": "yes"}, "/force", ""),
    ],
)
def test_what_can_be_known_is_refused_at_once(
    client: TestClient, start: Callable[..., Any], changes: Any, pointer: str, words: str
) -> None:
    """With a pointer, without a word of the command line or a folder, and nothing is queued."""
    response = start(**changes)
    assert response.status_code == 422, response.text
    problem = response.json()
    assert problem["errors"][0]["pointer"] == pointer
    assert words in problem["detail"]
    assert "--" not in problem["detail"]
    assert "/home" not in problem["detail"]
    assert client.get("/v1/runs").json()["runs"] == []


def test_a_day_of_the_last_payments_month_is_a_cutoff(start: Callable[..., Any]) -> None:
    assert start("last", paid_through="2025-07-31").status_code == 202
    assert start("first", paid_through="2024-03-18").status_code == 202
