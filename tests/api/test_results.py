from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
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
from ihp_compute.folders import file_sha256
from tests.api.conftest import sealed

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
        assert response.headers["vary"] == "Accept, Authorization"
    assert found[JSON].json() == {"rows": ROWS, "next_page_token": None}
    parquet = pq.read_table(io.BytesIO(found[PARQUET].content))
    assert parquet.equals(pa.ipc.open_stream(found[ARROW].content).read_all()) is False  # NaN
    assert parquet.column("partnership_id").to_pylist() == [row["partnership_id"] for row in ROWS]
    csv = pa.csv.read_csv(io.BytesIO(found[CSV].content))
    assert csv.column("payment_cents").to_pylist() == [2**53 + 1, -5]
    assert b",90071992547409.93," in found[CSV].content
    assert csv.column_names[1:3] == ["payment_cents", "payment_usd"]
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
    sealed(path.parent)
    assert client.get(url).headers["etag"] == before
    pq.write_table(table.slice(1), path)
    sealed(path.parent)
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
    done = service.store.audit.entries(limit=1)[0]
    assert (done.action, done.outcome, done.owner) == ("member_rows_read", "done", "an auditor")
    assert (done.run_id, done.result_table) == (finished.id, "member_years")
    (denied,) = service.store.audit.entries(limit=2, outcome="refused")
    assert (denied.owner, denied.run_id) == ("operator", finished.id)


def test_the_tables_of_a_run_are_listed(client: TestClient, finished: Run) -> None:
    found = client.get(f"/v1/runs/{finished.id}/results").json()["results"]
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
    listed = client.get(f"/v1/runs/{finished.id}/results").json()["results"]
    assert [table["table"] for table in listed] == ["member_years", "settlement"]
    assert client.get(f"/v1/runs/{finished.id}/results/work").status_code == 404


def pay_more(path: Path) -> None:
    table = pq.read_table(path)
    more = pc.add(table.column("payment_cents"), 100_000_000)
    pq.write_table(table.set_column(1, "payment_cents", more), path)


def turn_a_bit(path: Path) -> None:
    """Under the time stamp that it had."""
    content, before = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def forge(path: Path) -> None:
    """Write a table of other amounts and name it in the manifest, whose seal nobody has."""
    pay_more(path)
    manifest = path.with_name("manifest.json")
    said = json.loads(manifest.read_text())
    said["files"][path.name] = file_sha256(path)
    manifest.write_text(json.dumps(said))


@pytest.mark.parametrize(
    "damage",
    [
        pay_more,
        turn_a_bit,
        cut,
        forge,
        lambda path: path.write_bytes(b""),
        Path.unlink,
        lambda path: path.with_name("member_years.parquet").replace(path),
        lambda path: shutil.rmtree(path.parent),
        lambda path: path.with_name("manifest.json").write_text("{"),
    ],
    ids=["rewritten", "bit", "cut", "forged", "emptied", "gone", "swapped", "folder", "manifest"],
)
def test_nothing_is_shown_of_a_run_whose_files_are_not_what_it_wrote(
    client: TestClient,
    service: Service,
    finished: Run,
    url: str,
    damage: Callable[[Path], object],
) -> None:
    assert client.get(url).status_code == 200
    damage(service.home.attempt(finished.id, finished.attempt) / "settlement.parquet")
    here = f"/v1/runs/{finished.id}"
    tails = ("results", "results/settlement", "manifest", "report", "reports/workbook.xlsx")
    for tail in tails:
        answer = client.get(f"{here}/{tail}", headers={"Accept": "*/*"})
        assert (answer.status_code, answer.json()["type"]) == (
            500,
            "urn:ihp:problem:results_damaged",
        )
        assert finished.id in answer.json()["detail"]
        assert any(word in answer.json()["detail"] for word in ("settlement", "manifest", "member"))
        assert str(service.home.path) not in answer.text
    counted = service.metrics.registry.get_sample_value(
        "ihp_results_damaged_total", {"kind": "run"}
    )
    assert counted == len(tails)


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
        assert "validating" in response.json()["detail"]


def test_an_empty_table_is_given_in_every_form(
    client: TestClient, service: Service, finished: Run
) -> None:
    folder = service.home.attempt(finished.id, finished.attempt)
    pq.write_table(pa.table({"x": pa.array([], pa.int64())}), folder / "exclusions.parquet")
    sealed(folder)
    url = f"/v1/runs/{finished.id}/results/exclusions"
    assert client.get(url).json() == {"rows": [], "next_page_token": None}
    assert client.get(url, headers={"Accept": CSV}).text == '"x"\n'
    stream = client.get(url, headers={"Accept": ARROW}).content
    assert pa.ipc.open_stream(stream).read_all().schema.names == ["x"]


def test_manifest_and_report_are_given_as_they_are_and_once(
    client: TestClient, finished: Run
) -> None:
    url = f"/v1/runs/{finished.id}"
    assert client.get(f"{url}/manifest").json()["digest"] == finished.digest
    for tail in ("report", "reports/report.html"):
        report = client.get(f"{url}/{tail}")
        assert report.headers["content-type"].startswith("text/html")
        assert "script-src" not in report.headers["content-security-policy"]
        assert report.text.startswith("<!doctype html>")
    for tail in ("manifest", "report", "reports/report.html"):
        tag = client.get(f"{url}/{tail}").headers["etag"]
        again = client.get(f"{url}/{tail}", headers={"If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)


NUMBERS = pa.table(
    {
        "member_key": pa.array([2**64 - 1 - n for n in range(25_000)], pa.uint64()),
        "paid_cents": pa.array(range(25_000), pa.int64()),
    }
)


@pytest.fixture
def numbers(service: Service, finished: Run) -> str:
    """Where a table of many rows, in several row groups, is read."""
    folder = service.home.attempt(finished.id, finished.attempt)
    pq.write_table(NUMBERS, folder / "member_years.parquet", row_group_size=9000)
    sealed(folder)
    return f"/v1/runs/{finished.id}/results/member_years"


def test_json_is_given_by_pages_and_its_keys_as_text(client: TestClient, numbers: str) -> None:
    assert len(client.get(numbers).json()["rows"]) == 1000
    rows: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": 9999}
    while True:
        page = client.get(numbers, params=query).json()
        rows += page["rows"]
        if page["next_page_token"] is None:
            break
        query["page_token"] = page["next_page_token"]
    assert [row["paid_cents"] for row in rows] == list(range(25_000))
    assert rows[0] == {"member_key": "18446744073709551615", "paid_cents": 0}
    assert [int(row["member_key"]) for row in rows] == NUMBERS["member_key"].to_pylist()


def test_each_page_of_json_has_a_tag_of_its_own(client: TestClient, numbers: str) -> None:
    first = client.get(numbers, params={"limit": 10})
    query = {"limit": "10", "page_token": first.json()["next_page_token"]}
    second = client.get(numbers, params=query)
    assert first.headers["etag"] != second.headers["etag"]
    known = {"If-None-Match": second.headers["etag"]}
    assert client.get(numbers, params=query, headers=known).status_code == 304


@pytest.mark.parametrize("limit", ["0", "10001", "-1", "x"])
def test_a_page_of_no_or_too_many_rows_is_refused(
    client: TestClient, numbers: str, limit: str
) -> None:
    assert client.get(numbers, params={"limit": limit}).status_code == 422


def test_a_damaged_page_token_is_refused(client: TestClient, numbers: str, url: str) -> None:
    token = client.get(numbers, params={"limit": 10}).json()["next_page_token"]
    other = token[:-5] + ("A" if token[-5] != "A" else "B") + token[-4:]
    for bad in ("zzz", "", token[:-1], other, "9"):
        response = client.get(numbers, params={"page_token": bad})
        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"] == "query:page_token"
    assert client.get(url, params={"page_token": token}).status_code == 422  # of another table


def test_a_page_of_a_form_that_has_none_is_refused(client: TestClient, numbers: str) -> None:
    for form in (ARROW, CSV, PARQUET):
        response = client.get(numbers, params={"limit": 5}, headers={"Accept": form})
        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"] == "query:limit"


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=100-", 100, None),
        ("bytes=-8", -8, None),
        ("bytes=5-99999999999", 5, None),
        ("bytes= 3 - 4", 3, 5),
    ],
)
def test_a_range_of_a_parquet_files_bytes_is_given(
    client: TestClient, numbers: str, asked: str, first: int, last: int | None
) -> None:
    whole = client.get(numbers, headers={"Accept": PARQUET})
    assert whole.headers["accept-ranges"] == "bytes"
    n_bytes = len(whole.content)
    part = client.get(numbers, headers={"Accept": PARQUET, "Range": asked})
    assert part.status_code == 206
    assert part.content == whole.content[first:last]
    start = first % n_bytes
    end = start + len(part.content) - 1
    assert part.headers["content-range"] == f"bytes {start}-{end}/{n_bytes}"
    assert part.headers["content-length"] == str(len(part.content))
    assert part.headers["etag"] == whole.headers["etag"]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("bytes=99999999-", 416),
        ("bytes=-0", 416),
        ("bytes=a-b", 400),
        ("bytes=-", 400),
        ("bytes=5-2", 400),
        ("bytes=" + "9" * 40 + "-", 400),
    ],
)
def test_a_range_that_cannot_be_given_is_a_problem(
    client: TestClient, numbers: str, asked: str, status: int
) -> None:
    response = client.get(numbers, headers={"Accept": PARQUET, "Range": asked})
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    if status == 416:
        n_bytes = len(client.get(numbers, headers={"Accept": PARQUET}).content)
        assert response.headers["content-range"] == f"bytes */{n_bytes}"


def test_a_range_is_left_unread_where_it_may_be(client: TestClient, numbers: str) -> None:
    """Another unit, several ranges, a file that is no longer the same, a form made anew."""
    parquet = {"Accept": PARQUET, "Range": "bytes=0-9"}
    assert client.get(numbers, headers={**parquet, "Range": "rows=1-2"}).status_code == 200
    assert client.get(numbers, headers={**parquet, "Range": "bytes=0-1,4-5"}).status_code == 200
    assert client.get(numbers, headers={**parquet, "If-Range": '"x"'}).status_code == 200
    assert client.get(numbers, headers={"Accept": ARROW, "Range": "bytes=0-9"}).status_code == 200
    tag = client.get(numbers, headers=parquet).headers["etag"]
    assert client.get(numbers, headers={**parquet, "If-Range": tag}).status_code == 206


def test_a_parquet_files_tag_is_of_its_bytes(
    client: TestClient, service: Service, finished: Run, numbers: str
) -> None:
    """A reader puts ranges together under one tag, so other bytes have another."""
    before = client.get(numbers, headers={"Accept": PARQUET}).headers["etag"]
    path = service.home.attempt(finished.id, finished.attempt) / "member_years.parquet"
    pq.write_table(NUMBERS, path, compression="none")
    sealed(path.parent)
    assert client.get(numbers, headers={"Accept": PARQUET}).headers["etag"] != before


def test_headers_are_given_without_a_body(client: TestClient, numbers: str, finished: Run) -> None:
    for form in (ARROW, CSV, PARQUET, JSON):
        whole = client.get(numbers, headers={"Accept": form})
        head = client.head(numbers, headers={"Accept": form})
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["etag"] == whole.headers["etag"]
    for tail in ("results", "manifest", "report", "reports/report.html"):
        assert client.head(f"/v1/runs/{finished.id}/{tail}").status_code == 200
