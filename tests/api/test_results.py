from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.auth import OPERATOR_SCOPES
from api.forms import ARROW, CSV, JSON, PARQUET, accepted
from api.opened import MEMBER_SCOPE
from api.problems import NotAcceptableError
from api.service import Service
from cluster.runs import Run

ROWS = [
    {"partnership_id": "P-1", "payment_cents": 2**53 + 1, "savings_rate": 0.1},
    {"partnership_id": 'P "2", ü', "payment_cents": -5, "savings_rate": None},
]


@pytest.fixture
def client(service: Service, key_with: Callable[..., dict[str, str]]) -> Iterator[TestClient]:
    """A client who may see whole tables."""
    headers = key_with(*OPERATOR_SCOPES, MEMBER_SCOPE)
    with TestClient(create_app(service), headers=headers) as client:
        yield client


@pytest.fixture
def url(finished: Run) -> str:
    return f"/v1/runs/{finished.id}/results/settlement"


def test_a_stranger_is_refused(anonymous: TestClient) -> None:
    for tail in ("results", "results/settlement", "manifest", "report"):
        assert anonymous.get(f"/v1/runs/x/{tail}").status_code == 401


def test_a_table_is_read_as_an_arrow_stream(client: TestClient, url: str) -> None:
    response = client.get(url, headers={"Accept": ARROW})
    assert response.headers["content-type"] == ARROW
    table = pa.ipc.open_stream(response.content).read_all()
    assert table.column("payment_cents").to_pylist() == [2**53 + 1, -5]
    assert table.schema.types == [pa.string(), pa.int64(), pa.float64()]


def test_every_form_holds_the_same_rows(client: TestClient, url: str) -> None:
    found: dict[str, Any] = {
        form: client.get(url, headers={"Accept": form}) for form in (ARROW, PARQUET, CSV, JSON)
    }
    for form, response in found.items():
        assert response.status_code == 200
        assert response.headers["content-type"].partition(";")[0] == form
        assert response.headers["vary"] == "Accept"
    assert found[JSON].json() == ROWS
    parquet = pq.read_table(io.BytesIO(found[PARQUET].content))
    assert parquet.equals(pa.ipc.open_stream(found[ARROW].content).read_all()) is False  # NaN
    assert parquet.column("partnership_id").to_pylist() == [row["partnership_id"] for row in ROWS]
    csv = pa.csv.read_csv(io.BytesIO(found[CSV].content))
    assert csv.column("payment_cents").to_pylist() == [2**53 + 1, -5]
    assert csv.column("partnership_id").to_pylist() == [row["partnership_id"] for row in ROWS]


def test_who_does_not_mind_gets_json(client: TestClient, url: str) -> None:
    assert client.get(url).headers["content-type"] == JSON
    assert client.get(url, headers={"Accept": "*/*"}).headers["content-type"] == JSON


@pytest.mark.parametrize(
    ("header", "form"),
    [
        (None, JSON),
        ("text/*", CSV),
        ("application/*", JSON),
        (f"{ARROW}, {JSON};q=0.5", ARROW),
        (f"{JSON};q=0, */*;q=0.1", ARROW),
        (f"text/html, {PARQUET};q=0.3", PARQUET),
        (f"{CSV};Q=1.0;header=present", CSV),
        (f"*/*;q=0.9, {JSON};q=0.2, {ARROW};q=0.95", ARROW),
    ],
)
def test_the_form_that_is_preferred_is_given(header: str | None, form: str) -> None:
    assert accepted(header) == form


@pytest.mark.parametrize("header", ["text/html", "image/*", f"{JSON};q=0", f"{CSV};q=x", ",;"])
def test_a_form_that_is_not_known_is_not_acceptable(header: str) -> None:
    with pytest.raises(NotAcceptableError):
        accepted(header)


def test_not_acceptable_is_a_problem_that_names_the_forms(client: TestClient, url: str) -> None:
    response = client.get(url, headers={"Accept": "text/html"})
    assert response.status_code == 406
    assert response.headers["content-type"] == "application/problem+json"
    assert ARROW in response.json()["detail"]


def test_what_the_caller_has_is_not_sent_again(client: TestClient, url: str) -> None:
    first = client.get(url, headers={"Accept": ARROW})
    tag = first.headers["etag"]
    again = client.get(url, headers={"Accept": ARROW, "If-None-Match": f'"x", W/{tag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == tag
    other = client.get(url, headers={"Accept": CSV, "If-None-Match": tag})
    assert other.status_code == 200
    assert other.headers["etag"] != tag


def test_a_tag_is_of_the_content_and_not_of_the_file(
    client: TestClient, service: Service, finished: Run, url: str
) -> None:
    before = client.get(url).headers["etag"]
    path = service.home.attempt(finished.id, finished.attempt) / "settlement.parquet"
    table = pq.read_table(path)
    pq.write_table(table, path, compression="none")
    assert client.get(url).headers["etag"] == before
    pq.write_table(table.slice(1), path)
    assert client.get(url).headers["etag"] != before


def test_rows_of_members_need_a_scope_of_their_own(
    client: TestClient,
    service: Service,
    finished: Run,
    key_with: Callable[..., dict[str, str]],
) -> None:
    url = f"/v1/runs/{finished.id}/results/member_years"
    refused = client.get(url, headers=key_with(*OPERATOR_SCOPES))
    assert refused.status_code == 403
    assert refused.headers["content-type"] == "application/problem+json"
    assert "results:member" in refused.json()["detail"]
    assert "member_rows_read" not in [e.kind for e in service.store.queue.events(finished.id)]
    headers = key_with("runs:read", "results:member", owner="an auditor")
    allowed = client.get(url, headers={**headers, "Accept": ARROW})
    assert pa.ipc.open_stream(allowed.content).read_all().num_rows == 2
    event = service.store.queue.events(finished.id)[-1]
    assert (event.kind, event.actor, event.detail) == (
        "member_rows_read",
        "an auditor",
        {"table": "member_years"},
    )


def test_the_tables_of_a_run_are_listed(client: TestClient, finished: Run) -> None:
    found = client.get(f"/v1/runs/{finished.id}/results").json()
    assert [(t["table"], t["rows"], t["restricted"]) for t in found] == [
        ("member_years", 2, True),
        ("settlement", 2, False),
    ]
    assert client.get(found[1]["href"]).status_code == 200


def test_a_file_that_is_no_declared_table_is_neither_listed_nor_given(
    client: TestClient, service: Service, finished: Run
) -> None:
    folder = service.home.attempt(finished.id, finished.attempt)
    pq.write_table(pa.table({"member_id": ["a"]}), folder / "work.parquet")
    listed = client.get(f"/v1/runs/{finished.id}/results").json()
    assert [table["table"] for table in listed] == ["member_years", "settlement"]
    assert client.get(f"/v1/runs/{finished.id}/results/work").status_code == 404


@pytest.mark.parametrize(
    "table", ["nothing", "settlement.parquet", "..%2fsettlement", "*", "manifest"]
)
def test_a_table_that_is_not_there_is_not_found(
    client: TestClient, finished: Run, table: str
) -> None:
    assert client.get(f"/v1/runs/{finished.id}/results/{table}").status_code == 404


def test_a_run_that_has_not_succeeded_has_no_results(
    client: TestClient, service: Service, start: Callable[..., Any]
) -> None:
    """Not even when an attempt has left files: only the database says what counts."""
    run_id = start().json()["id"]
    run = service.store.leases.take("d1", lease_ms=60_000)
    assert run is not None
    folder = service.home.attempt(run.id, run.attempt)
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"x": [1]}), folder / "settlement.parquet")
    for tail in ("results", "results/settlement", "manifest", "report"):
        response = client.get(f"/v1/runs/{run_id}/{tail}")
        assert response.status_code == 409
        assert "running" in response.json()["detail"]


def test_an_empty_table_is_given_in_every_form(
    client: TestClient, service: Service, finished: Run
) -> None:
    folder = service.home.attempt(finished.id, finished.attempt)
    pq.write_table(pa.table({"x": pa.array([], pa.int64())}), folder / "exclusions.parquet")
    url = f"/v1/runs/{finished.id}/results/exclusions"
    assert client.get(url).json() == []
    assert client.get(url, headers={"Accept": CSV}).text == '"x"\n'
    stream = client.get(url, headers={"Accept": ARROW}).content
    assert pa.ipc.open_stream(stream).read_all().schema.names == ["x"]


def test_manifest_and_report_are_given_as_they_are(client: TestClient, finished: Run) -> None:
    assert client.get(f"/v1/runs/{finished.id}/manifest").json() == {"kind": "run"}
    report = client.get(f"/v1/runs/{finished.id}/report")
    assert report.headers["content-type"].startswith("text/html")
    assert "script-src" not in report.headers["content-security-policy"]
    assert report.text.startswith("<!doctype html>")
