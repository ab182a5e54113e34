from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.service import Service
from api.watching import Watch
from cluster.runs import Run
from ihp_compute.pipeline import RunRequest

GOOD = '{"population": "state", "contracts": ["mn-ihp-2.0-track-2"]'


def test_a_stranger_is_refused(anonymous: TestClient) -> None:
    assert anonymous.post("/v1/runs", json={}).status_code == 401
    for path in ("/v1/runs", "/v1/runs/x", "/v1/runs/x/events"):
        assert anonymous.get(path).status_code == 401
    assert anonymous.post("/v1/runs/x/cancel").status_code == 401


def test_a_run_is_queued_and_followed_at_its_location(
    client: TestClient, start: Callable[..., Any]
) -> None:
    response = start()
    assert response.status_code == 202
    view = response.json()
    assert response.headers["location"] == f"/v1/runs/{view['id']}"
    assert int(response.headers["retry-after"]) > 0
    assert view["state"] == "queued"
    assert (view["shards_done"], view["shards_total"], view["digest"]) == (0, 0, None)
    assert (view["population"], view["seed"], view["replicates"]) == ("state", 7, 10)
    assert client.get(response.headers["location"]).json() == view
    assert client.get("/v1/runs").json() == {"runs": [view], "next_page_token": None}
    assert [event["kind"] for event in client.get(view["links"]["events"]).json()["events"]] == [
        "submitted"
    ]


def test_the_dispatcher_gets_the_folder_and_the_caller_does_not(
    service: Service, start: Callable[..., Any]
) -> None:
    response = start()
    held = service.store.queue.run(response.json()["id"]).request
    assert held["population"] == str(service.home.populations / "state")
    assert str(service.home.path) not in response.text


@pytest.mark.usefixtures("population")
def test_a_run_without_an_idempotency_key_is_a_bad_request(client: TestClient) -> None:
    response = client.post(
        "/v1/runs", content=GOOD + "}", headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 400
    assert response.json()["errors"][0]["pointer"] == "header:idempotency-key"


OWN = """
name = "ours"
title = "Terms of our own"
programme = "test"
extends = "mn-ihp-2.0-track-2"
[sources.own]
title = "own"
[{path}]
value = {value}
unit = "{unit}"
from = 2013-01-01
basis = "contract"
source = {{ doc = "own", at = "p. 1" }}
"""


@pytest.mark.parametrize(
    ("path", "value", "unit"),
    [
        ("attribution.min_months_any", "0", "months"),
        ("attribution.steps", "[]", "names"),
        ("cost.claim_cap", "0.001", "USD per member per year"),
    ],
)
def test_a_contract_that_no_run_takes_is_refused_at_once(
    client: TestClient,
    service: Service,
    start: Callable[..., Any],
    path: str,
    value: str,
    unit: str,
) -> None:
    """Nothing is queued; the problem names file and term, and the contract of the request."""
    own = service.home.contracts / "zero.toml"
    own.write_text(OWN.format(path=path, value=value, unit=unit))
    response = start(contracts=["ours"])
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["detail"].startswith(f"zero.toml: {path}.value: found {value}, expected")
    assert problem["errors"][0]["pointer"] == "/contracts/0"
    assert client.get("/v1/runs").json()["runs"] == []
    assert client.get("/v1/contracts/ours").status_code == 422


def test_a_contract_of_two_credibilities_is_refused_at_once(
    client: TestClient, service: Service, start: Callable[..., Any]
) -> None:
    own = service.home.contracts / "twice.toml"
    own.write_text(OWN.format(path="risk.credibility", value="6000", unit="member months"))
    response = start(contracts=["ours"])
    assert response.status_code == 422
    assert response.json()["detail"].startswith(
        "twice.toml: risk.credibility: found 6000 beside target.cell_credibility months"
    )
    assert client.get("/v1/runs").json()["runs"] == []


def test_a_run_of_two_contracts_is_refused_at_once(
    client: TestClient, start: Callable[..., Any]
) -> None:
    response = start(contracts=["mn-ihp-1.0", "mn-ihp-2.0-track-2"])
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/contracts"
    assert client.get("/v1/runs").json()["runs"] == []


def test_a_contract_without_values_for_the_year_is_refused_at_once(
    client: TestClient, service: Service, start: Callable[..., Any]
) -> None:
    text = OWN.format(path="attribution.min_months_any", value="7", unit="months")
    (service.home.contracts / "later.toml").write_text(text.replace("2013-01-01", "2030-01-01"))
    response = start(contracts=["ours"])
    assert response.status_code == 422
    assert "found no value for 2024, expected one" in response.json()["detail"]
    assert response.json()["errors"][0]["pointer"] == "/contracts/0"
    assert client.get("/v1/runs").json()["runs"] == []


def test_the_same_key_and_payload_are_the_same_run(start: Callable[..., Any]) -> None:
    first, second = start(), start()
    assert (second.status_code, second.json()) == (202, first.json())
    assert second.headers["location"] == first.headers["location"]
    # said in full or left to the default, a payload is what it means
    assert start("k", contracts="mn-ihp-2.0-track-2").json()["id"] == start("k").json()["id"]


def test_the_same_key_with_another_payload_is_refused(
    client: TestClient, start: Callable[..., Any]
) -> None:
    start()
    response = start(seed=8)
    assert response.status_code == 422
    assert response.json()["type"] == "urn:ihp:problem:idempotency-conflict"
    assert len(client.get("/v1/runs").json()["runs"]) == 1


def test_keys_of_two_owners_do_not_meet(
    client: TestClient, start: Callable[..., Any], key_with: Callable[..., dict[str, str]]
) -> None:
    first = start().json()["id"]
    client.headers.update(key_with("runs:read", "runs:write", owner="somebody else"))
    assert start().json()["id"] != first


def test_a_hundred_identical_submissions_at_once_are_one_run(
    client: TestClient, start: Callable[..., Any]
) -> None:
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda _: start(), range(100)))
    assert {response.status_code for response in found} == {202}
    assert len({response.json()["id"] for response in found}) == 1
    assert len(client.get("/v1/runs").json()["runs"]) == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (GOOD + ', "seeed": 1}', "/seeed"),
        (GOOD + ', "seed": NaN}', ""),
        (GOOD + ', "seed": 1e999}', "/seed"),
        (GOOD + ', "seed": "1"}', "/seed"),
        (GOOD + ', "seed": 1.5}', "/seed"),
        (GOOD + ', "seed": -1}', "/seed"),
        (GOOD + ', "seed": true}', "/seed"),
        (GOOD + ', "seed": 18446744073709551616}', "/seed"),
        (GOOD + f', "seed": {"9" * 5000}}}', None),
        (GOOD + ', "seed": 1, "seed": 2}', ""),
        (GOOD + ', "replicates": 20001}', "/replicates"),
        (GOOD + ', "performance_year": 20240}', "/performance_year"),
        (GOOD + ', "paid_through": "2024-02-30"}', "/paid_through"),
        (GOOD + ', "paid_through": 0}', "/paid_through"),
        (GOOD + ', "paid_through": "0"}', "/paid_through"),
        (GOOD + ', "paid_through": -86400}', "/paid_through"),
        (GOOD + ', "paid_through": 1735689600000}', "/paid_through"),
        (GOOD + ', "paid_through": "1735689600.0"}', "/paid_through"),
        (GOOD + ', "paid_through": "2025-06-30T00:00:00+06:00"}', "/paid_through"),
        (GOOD + ', "paid_through": "20250630"}', "/paid_through"),
        (GOOD + ', "accept": {"inconsistent": "\\ud800"}}', "/accept/inconsistent"),
        (GOOD + ', "accept": {"no_such": "why"}}', "/accept"),
        (GOOD + ', "accept": {"thin_month": "why"}}', "/accept"),
        (GOOD + ', "accept": {"inconsistent": ""}}', "/accept"),
        (GOOD + ', "accept": {"inconsistent": "a\\u0000b"}}', "/accept/inconsistent"),
        (GOOD + ', "accept": {"inconsistent": 1}}', "/accept/inconsistent"),
        (GOOD + ', "accept": {"inconsistent": "' + "x" * 501 + '"}}', "/accept/inconsistent"),
        (GOOD + ', "accept": "inconsistent"}', "/accept"),
        (GOOD + ', "accept": null}', "/accept"),
        (GOOD + ', "allow_inconsistent": "amended"}', "/allow_inconsistent"),
        ('{"population": "state", "contracts": []}', "/contracts"),
        ('{"population": "state", "contracts": ["no-such"]}', "/contracts/0"),
        ('{"population": "state", "contracts": ["../../etc/passwd"]}', "/contracts/0"),
        ('{"population": "state", "contracts": ["x.toml"]}', "/contracts/0"),
        ('{"population": "nobody", "contracts": ["mn-ihp-2.0-track-2"]}', "/population"),
        ('{"contracts": ["mn-ihp-2.0-track-2"]}', "/population"),
        ("{", ""),
        ("", ""),
        ("[]", ""),
        ("null", ""),
        ("[" * 1500, ""),
    ],
)
@pytest.mark.usefixtures("population")
def test_a_wrong_body_names_what_is_wrong(
    client: TestClient, body: str, pointer: str | None
) -> None:
    response = client.post(
        "/v1/runs",
        content=body,
        headers={"Idempotency-Key": "k", "Content-Type": "application/json"},
    )
    if pointer is None:  # larger than a body may be in these tests
        assert response.status_code == 413
        return
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["errors"][0]["pointer"] == pointer
    assert client.get("/v1/runs").json()["runs"] == []


def test_a_problem_never_repeats_what_was_sent(client: TestClient, population: str) -> None:
    assert population
    body = {"population": "member Q4711", "contracts": ["member Q4711"], "seed": "member Q4711"}
    response = client.post("/v1/runs", json=body, headers={"Idempotency-Key": "k"})
    assert response.status_code == 422
    assert "Q4711" not in response.text


def test_a_population_that_changed_since_it_was_registered_is_not_run(
    service: Service, start: Callable[..., Any], make_population: Callable[..., Path]
) -> None:
    make_population(service.home.populations / "state", digest="cd" * 32)
    response = start()
    assert response.status_code == 409
    assert "register it again" in response.json()["detail"]


def test_a_contract_of_the_services_own_is_found_by_name(
    service: Service, start: Callable[..., Any]
) -> None:
    text = OWN.format(path="attribution.min_months_any", value="7", unit="months")
    (service.home.contracts / "file.toml").write_text(text)
    response = start(contracts=["ours"])
    assert response.status_code == 202
    assert response.json()["contracts"] == ["ours"]
    held = service.store.queue.run(response.json()["id"]).request
    assert held["contracts"] == [str(service.home.contracts / "file.toml")]
    assert start("key-2", contracts=["file"]).status_code == 422


def test_an_unknown_run_is_not_found(client: TestClient) -> None:
    for response in (
        client.get("/v1/runs/x"),
        client.get("/v1/runs/x/events"),
        client.post("/v1/runs/x/cancel"),
        client.get("/v1/runs/x/results/settlement"),
    ):
        assert response.status_code == 404
        assert response.json()["type"] == "urn:ihp:problem:unknown-run"


def test_runs_come_in_pages(client: TestClient, start: Callable[..., Any]) -> None:
    ids = []
    for key in "abc":
        ids.append(start(key).json()["id"])
        time.sleep(0.002)
    first = client.get("/v1/runs", params={"limit": 2}).json()
    assert [run["id"] for run in first["runs"]] == ids[:0:-1]
    rest = client.get("/v1/runs", params={"page_token": first["next_page_token"]}).json()
    assert [run["id"] for run in rest["runs"]] == ids[:1]
    assert rest["next_page_token"] is None
    assert client.get("/v1/runs", params={"limit": 0}).status_code == 422
    assert client.get("/v1/runs", params={"state": "done"}).status_code == 422


def test_a_long_poll_answers_as_soon_as_the_run_has_ended(
    client: TestClient, service: Service, start: Callable[..., Any]
) -> None:
    run_id = start().json()["id"]
    assert isinstance(client.app, FastAPI)
    watch: Watch = client.app.state.watch
    watched = threading.Event()

    def cancel() -> None:
        until_s = time.monotonic() + 50
        while watch.n_watchers == 0 and time.monotonic() < until_s:
            time.sleep(0.01)
        if watch.n_watchers == 1:
            watched.set()
        service.store.queue.request_cancel(run_id, actor="a")

    with ThreadPoolExecutor(1) as beside:
        cancelled = beside.submit(cancel)
        view = client.get(f"/v1/runs/{run_id}", params={"wait": 60}).json()
        cancelled.result()
    assert watched.is_set()
    assert view["state"] == "cancelled"


def test_a_long_poll_answers_after_its_time_when_nothing_happens(
    client: TestClient, start: Callable[..., Any]
) -> None:
    started_s = time.monotonic()
    response = client.get(f"/v1/runs/{start().json()['id']}", params={"wait": 0.5})
    assert response.json()["state"] == "queued"
    assert int(response.headers["retry-after"]) > 0
    assert time.monotonic() - started_s > 0.4
    bad = client.get("/v1/runs/x", params={"wait": "nan"})
    assert bad.status_code == 422


def test_cancelling_is_the_same_once_and_twice(
    client: TestClient, start: Callable[..., Any]
) -> None:
    run_id = start().json()["id"]
    for _ in range(2):
        response = client.post(f"/v1/runs/{run_id}/cancel")
        assert (response.status_code, response.json()["state"]) == (200, "cancelled")


def test_a_running_run_is_asked_to_stop(
    client: TestClient, service: Service, start: Callable[..., Any]
) -> None:
    run_id = start().json()["id"]
    service.store.leases.take("d1", lease_ms=60_000)
    response = client.post(f"/v1/runs/{run_id}/cancel")
    assert response.status_code == 202
    assert (response.json()["state"], response.json()["cancel_requested"]) == ("cancelling", True)


def test_a_finished_run_is_not_cancelled(client: TestClient, finished: Run) -> None:
    response = client.post(f"/v1/runs/{finished.id}/cancel")
    assert (response.status_code, response.json()["state"]) == (200, "succeeded")


def test_a_failure_is_told_without_the_servers_paths(
    client: TestClient, service: Service, start: Callable[..., Any]
) -> None:
    start()
    run = service.store.leases.take("d1", lease_ms=60_000)
    assert run is not None
    path = run.request["population"]
    service.store.leases.finish(
        run, "failed", reason="data_error", detail=f"{path}: performance year"
    )
    view = client.get(f"/v1/runs/{run.id}").json()
    assert (view["reason"], view["detail"]) == ("data_error", "state: performance year")


def test_a_failure_counts_no_few_people_to_who_may_not_see_members(
    client: TestClient,
    service: Service,
    start: Callable[..., Any],
    key_with: Callable[..., dict[str, str]],
) -> None:
    start()
    run = service.store.leases.take("d1", lease_ms=60_000)
    assert run is not None
    words = "P-1: 3 members of 2024 cost $12.50, at most 1.5 % may"
    service.store.leases.finish(run, "failed", reason="data_error", detail=words)
    here = f"/v1/runs/{run.id}"
    opened = client.get(here).json()["detail"]
    assert opened == "P-1: few members of 2024 cost $…, at most 1.5 % may"
    assert client.get("/v1/runs").json()["runs"][0]["detail"] == opened
    whole = client.get(here, headers=key_with("runs:read", "results:member")).json()
    assert whole["detail"] == words


def test_gates_accepted_are_asked_and_shown_by_name(
    service: Service, start: Callable[..., Any]
) -> None:
    accept = {"inconsistent": "amendment 2 lowers the cap"}
    view = start(accept=accept).json()
    assert view["accept"] == accept
    assert service.store.queue.run(view["id"]).request["accept"] == accept


def test_a_run_that_has_ended_says_whether_its_settlement_is_final(
    client: TestClient, service: Service, finished: Run
) -> None:
    said = {"status": "INTERIM", "interim": ["P-1"], "run_out_months": 4, "ratio": "0.961200"}
    measured = [{"methods": ["given"]}, {"methods": ["equal_runout", "given"]}]
    manifest = service.home.attempt(finished.id, finished.attempt) / "manifest.json"
    years = {"base_year": 2023, "performance_year": 2024}
    held = {"kind": "run", "digest": "cd" * 32, "terms": {}, "population": {}, **years}
    manifest.write_text(json.dumps({**held, "completion": {**said, "measurements": measured}}))
    said |= years | {"methods": ["equal_runout", "given"]}
    assert client.get(f"/v1/runs/{finished.id}").json()["completion"] == said
    assert client.get("/v1/runs").json()["runs"][0]["completion"] == said
    manifest.unlink()
    assert client.get(f"/v1/runs/{finished.id}").json()["completion"] is None


def test_a_run_that_waits_says_nothing_of_completion(start: Callable[..., Any]) -> None:
    assert start().json()["completion"] is None


def test_events_are_streamed_until_the_run_has_ended(client: TestClient, finished: Run) -> None:
    headers = {"Accept": "text/event-stream"}
    response = client.get(f"/v1/runs/{finished.id}/events", headers=headers)
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = response.text.splitlines()
    assert [line for line in lines if line.startswith("event:")] == [
        "event: submitted",
        "event: started",
        "event: validated",
        "event: committing",
        "event: succeeded",
    ]
    ids = [line.removeprefix("id: ") for line in lines if line.startswith("id:")]
    data = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data:")]
    assert [str(event["seq"]) for event in data] == ids
    rest = client.get(
        f"/v1/runs/{finished.id}/events", headers={**headers, "Last-Event-ID": ids[1]}
    )
    assert rest.text.count("event:") == 3


def test_a_row_of_the_queue_is_the_document_of_a_request(
    service: Service, start: Callable[..., Any]
) -> None:
    """What the dispatcher reads is what was asked, with folders of the server for names."""
    run_id = start(paid_through="2025-06-30").json()["id"]
    row = service.store.queue.run(run_id).request
    asked = row.pop("asked")
    assert len(row.pop("inputs")) == 64
    assert RunRequest.of(row).document() == row
    named = {"population", "contracts", "device", "force"}
    assert {key: row[key] for key in set(row) - named} == {
        key: asked[key] for key in set(asked) - named
    }


def test_a_run_names_earlier_ones_by_id_and_the_dispatcher_gets_their_folders(
    service: Service, finished: Run, start: Callable[..., Any]
) -> None:
    response = start("second", earlier=[finished.id])
    assert response.status_code == 202
    assert response.json()["earlier"] == [finished.id]
    held = service.store.queue.run(response.json()["id"]).request
    assert held["earlier"] == [str(service.home.attempt(finished.id, finished.attempt))]
    assert str(service.home.path) not in response.text


def test_an_earlier_run_that_does_not_exist_or_has_no_results_is_refused(
    start: Callable[..., Any],
) -> None:
    response = start("second", earlier=["nothing-of-this-id"])
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/earlier/0"
    queued = start("third").json()["id"]
    assert start("fourth", earlier=[queued]).status_code == 409
