"""Real runs over HTTP: estimated, reconciled, held against each other, certified on the page."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.auth import OPERATOR_SCOPES, issue_key
from api.service import Service
from api.settings import Settings
from cluster.store import Store
from cluster.work import BESIDE
from ihp_compute.errors import GateError
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.runner import LocalRunner

BODY = {"population": "small", "contracts": ["mn-ihp-2.0-track-2"], "replicates": 0}
MEMBERS = ("runs:read", "results:member")
PAYS_EARLY = """
name = "ours"
title = "Pays a year that is not complete"
programme = "test"
extends = "mn-ihp-2.0-track-2"
[sources.own]
title = "own"
[completion.method]
value = "none"
unit = "choice"
from = 2013-01-01
basis = "contract"
source = { doc = "own", at = "p. 1" }
"""


def work(service: Service) -> str:
    """Does the next run as the dispatcher would; its state."""
    held = service.store.leases.take("d1", lease_ms=600_000)
    assert held is not None
    document = {name: said for name, said in held.request.items() if name not in BESIDE}
    out = service.home.attempt(held.id, held.attempt)
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        made = run(
            RunRequest.of(document),
            out,
            LocalRunner(1),
            enter=lambda phase: service.store.leases.enter(held, phase),
        )
    except GateError as error:
        service.store.leases.review(held, error.tripped)
    else:
        service.store.leases.finish(held, "succeeded", digest=made.digest)
    return service.store.queue.run(held.id).state


@pytest.fixture(scope="module")
def service(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = Settings(home=tmp_path_factory.mktemp("compared") / "home")
    settings.folder.make()
    shutil.copytree(small_population, settings.folder.populations / "small")
    store = Store(settings.database)
    yield Service(settings, store, lambda: "works", lambda: False)
    store.close()


@pytest.fixture(scope="module")
def key(service: Service) -> Callable[..., dict[str, str]]:
    def make(*scopes: str, owner: str = "operator") -> dict[str, str]:
        _, made = issue_key(
            service.store.keys, service.home, owner=owner, note="", scopes=scopes, days=1
        )
        return {"Authorization": f"Bearer {made}"}

    return make


@pytest.fixture(scope="module")
def client(service: Service, key: Callable[..., dict[str, str]]) -> Iterator[TestClient]:
    with TestClient(create_app(service), headers=key(*OPERATOR_SCOPES)) as client:
        made = client.post("/v1/populations", json={"name": "small", "prefix": "small"})
        assert made.status_code == 201
        yield client


def start(client: TestClient, name: str, **changes: Any) -> str:
    made = client.post("/v1/runs", json={**BODY, **changes}, headers={"Idempotency-Key": name})
    assert made.status_code == 202, made.text
    return str(made.json()["id"])


@pytest.fixture(scope="module")
def runs(client: TestClient, service: Service) -> tuple[str, str]:
    made = start(client, "a"), start(client, "b", contracts=["mn-ihp-2.0-track-1"])
    assert [work(service), work(service)] == ["succeeded", "succeeded"]
    return made


def test_an_estimate_says_what_a_run_takes_and_where_it_stops(
    client: TestClient, runs: tuple[str, str], service: Service
) -> None:
    """Nothing is queued; the year that is not complete and terms without a document are told."""
    before = client.get("/v1/runs").json()["runs"]
    body = {**BODY, "paid_through": "2024-12-31", "contracts": ["mn-ihp-1.0"], "replicates": 100}
    made = client.post("/v1/runs/estimate", json=body)
    assert made.status_code == 200, made.text
    found = made.json()
    assert (found["base_year"], found["performance_year"]) == (2023, 2024)
    assert (found["members"], found["shards"]) == (2500, 5)
    assert found["lines"] > 100_000
    assert min(found["bytes"], found["memory_bytes"], found["cpu_seconds"], found["seconds"]) > 0
    assert all(one["source"] and one["value"] > 0 for one in found["coefficients"].values())
    assert (found["executor"], found["same_run"]) == ("ray", None)
    kinds = {warning["kind"] for warning in found["warnings"]}
    assert {"draft_terms", "interim"} <= kinds
    assert str(service.home.path) not in made.text
    assert client.get("/v1/runs").json()["runs"] == before
    assert client.post("/v1/runs/estimate", json=BODY).json()["same_run"] == runs[0]
    late = client.post("/v1/runs/estimate", json={**BODY, "paid_through": "2999-01-01"})
    assert (late.status_code, late.json()["errors"][0]["pointer"]) == (422, "/paid_through")


def test_a_run_is_reconciled(
    client: TestClient, runs: tuple[str, str], key: Callable[..., dict[str, str]]
) -> None:
    path = f"/v1/runs/{runs[0]}/reconciliation"
    opened, whole = client.get(path).json(), client.get(path, headers=key(*MEMBERS)).json()
    assert (opened["balanced"], whole["balanced"]) == (True, True)
    assert len(whole["checks"]) >= 5
    lines = {line["line"]: line["cents"] for line in whole["lines"]}
    assert None not in lines.values()
    for line in opened["lines"]:
        assert line["cents"] in (None, lines[line["line"]])
    assert None in {line["cents"] for line in opened["lines"]}


def test_two_runs_are_held_against_each_other(
    client: TestClient, runs: tuple[str, str], key: Callable[..., dict[str, str]]
) -> None:
    path = f"/v1/runs/{runs[0]}/diff/{runs[1]}"
    whole = client.get(path, headers=key(*MEMBERS)).json()
    assert (whole["a"], whole["b"], whole["same_digest"]) == (*runs, False)
    assert {change["what"] for change in whole["request"]} == {"contracts"}
    assert whole["inputs"] == []
    assert "cost.claim_cap" in {term["path"] for term in whole["terms"]}
    for walk in (*whole["statewide"], *whole["partnerships"]):
        assert sum(move["change_cents"] for move in walk["moves"]) == walk["change_cents"]
        assert walk["b_cents"] - walk["a_cents"] == walk["change_cents"]
    for number, name in enumerate(("savings", "payment")):
        parts = [walk for walk in whole["partnerships"] if walk["result"] == name]
        assert len(parts) == 25
        assert whole["statewide"][number]["change_cents"] == sum(
            walk["change_cents"] for walk in parts
        )
    shown = client.get(path).json()
    hidden = {walk["partnership_id"] for walk in shown["partnerships"] if walk["a_cents"] is None}
    assert hidden
    assert {walk["change_cents"] for walk in shown["statewide"]} == {None}
    told = {(walk["partnership_id"], walk["result"]): walk for walk in whole["partnerships"]}
    for walk in shown["partnerships"]:
        if walk["partnership_id"] not in hidden:
            assert walk == told[walk["partnership_id"], walk["result"]]
    assert client.get(f"/v1/runs/{runs[0]}/diff/{runs[0]}").json()["same_digest"]
    assert client.get(f"/v1/runs/{runs[0]}/diff/no-such").status_code == 404


def test_the_page_says_what_differs_as_name_first_and_second(
    client: TestClient, runs: tuple[str, str], key: Callable[..., dict[str, str]]
) -> None:
    path = f"/compare?a={runs[0]}&b={runs[1]}"
    shown = client.get(path, headers=key(*MEMBERS))
    assert shown.status_code == 200
    rows = re.findall(r"<tr>(?:<t[hd][^>]*>.*?</t[hd]>)+</tr>", shown.text)
    cells = [re.findall(r"<t[hd][^>]*>(?:<code>)?(.*?)(?:</code>)?</t[hd]>", row) for row in rows]
    asked = next(row for row in cells if row[0] == "contracts")
    assert [re.sub(r" \([0-9a-f]{12}\)$", "", side) for side in asked[1:]] == [
        "mn-ihp-2.0-track-2",
        "mn-ihp-2.0-track-1",
    ]
    assert ["cost.claim_cap", "200000", "50000"] in [row[:3] for row in cells]
    assert "{&#34;" not in shown.text


def test_a_run_without_results_is_neither_reconciled_nor_compared(
    client: TestClient, runs: tuple[str, str]
) -> None:
    waiting = start(client, "waiting", seed=99)
    assert client.get(f"/v1/runs/{waiting}/reconciliation").status_code == 409
    assert client.get(f"/v1/runs/{runs[0]}/diff/{waiting}").status_code == 409
    client.post(f"/v1/runs/{waiting}/cancel")


def test_a_year_that_is_not_complete_waits_for_somebody_to_accept_it(
    client: TestClient, service: Service, key: Callable[..., dict[str, str]]
) -> None:
    """From asking to certifying: trips, is accepted by an actuary, succeeds, is certified."""
    (service.home.contracts / "ours.toml").write_text(PAYS_EARLY)
    asked = {"paid_through": "2024-09-30", "contracts": ["ours"], "programme": "none"}
    run_id = start(client, "early", **asked)
    state = work(service)
    view = client.get(f"/v1/runs/{run_id}", params={"wait": 5}).json()
    assert (state, view["state"]) == ("needs_review", "needs_review")
    reasons = dict.fromkeys(view["review"]["waiting"], "an interim payment is agreed")
    path = f"/v1/runs/{run_id}/accept"
    made = client.post(path, json=reasons, headers=key("runs:certify", owner="anna"))
    assert (made.status_code, made.json()["state"]) == (202, "queued")
    while (state := work(service)) == "needs_review":
        view = client.get(f"/v1/runs/{run_id}").json()
        client.post(path, json=dict.fromkeys(view["review"]["waiting"], "agreed"))
    assert state == "succeeded"
    view = client.get(f"/v1/runs/{run_id}").json()
    assert reasons.items() <= view["accept"].items()
    manifest = client.get(f"/v1/runs/{run_id}/manifest").json()
    assert reasons.items() <= manifest["accept"].items()
    statement = dict.fromkeys(
        ("status", "purpose", "intended_users", "responsible_actuary", "reliance"), "as agreed"
    )
    report = f"/v1/runs/{run_id}/report"
    assert "Certified by" not in client.get(report).text
    done = client.post(
        f"/v1/runs/{run_id}/certify",
        json={"statement": statement},
        headers=key("runs:certify", owner="ben"),
    )
    assert done.status_code == 200, done.text
    for who in (key("runs:read"), key(*MEMBERS)):
        page = client.get(report, headers=who).text
        assert "Certified by ben" in page
        assert "UNREVIEWED" not in page
    kinds = [event["kind"] for event in client.get(f"/v1/runs/{run_id}/events").json()["events"]]
    assert kinds[:4] == ["submitted", "started", "needs_review", "accepted"]
    assert kinds[-2:] == ["succeeded", "certified"]
