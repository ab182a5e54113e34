"""The overview of runs and the page of one run."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from api.auth import OPERATOR_SCOPES
from api.pages.exhibits import DATA, FILES, OVERVIEW, PARTS
from api.service import Service
from cluster.runs import Run

Keys = Callable[..., dict[str, str]]
LARGEST = 300 * 1024
"""Bytes that a first look may load, of a state of 25 partnerships."""


def test_every_page_is_bound_to_its_own_files(client: TestClient, start: Any) -> None:
    """No style or script of its own or of another host, whatever a name holds."""
    start()
    answer = client.get("/runs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert not re.search(r"\sstyle=|<style|<script(?! src=\"/static/)|\son\w+=", answer.text)
    named = re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text)
    assert len(named) == 4
    assert all(client.get(path).status_code == 200 for path in named)


def test_the_script_is_small(client: TestClient) -> None:
    assert len(client.get("/static/desk.js").content) < 20 * 1024


def test_the_root_leads_to_the_runs(client: TestClient) -> None:
    answer = client.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs")


def test_the_overview_reloads_while_something_goes_on(
    client: TestClient, service: Service, start: Any
) -> None:
    assert "No run" in client.get("/runs").text
    run_id = start().json()["id"]
    going = client.get("/runs").text
    assert f'href="/runs/{run_id}"' in going
    assert f'data-run="/v1/runs/{run_id}"' in going
    assert '<noscript><meta http-equiv="refresh"' in going
    service.store.queue.request_cancel(run_id, actor="operator")
    over = client.get("/runs").text
    assert "data-run" not in over
    assert "http-equiv" not in over
    assert run_id not in client.get("/runs?state=queued").text
    assert run_id in client.get("/runs?state=cancelled").text


def test_a_run_shows_what_came_out(client: TestClient, done: Run, key_with: Keys) -> None:
    """Every section of its report stands on one of its pages, and every link leads somewhere."""
    headers = key_with(*OPERATOR_SCOPES, "results:member")
    pages = {
        part: client.get(f"/runs/{done.id}/{part}".rstrip("/"), headers=headers).text
        for part in PARTS
    }
    report = client.get(f"/v1/runs/{done.id}/report", headers=headers).text
    anchors = re.findall(r'<h2 id="([a-z-]+)">', report)
    assert len(anchors) > 10
    for anchor in anchors:
        assert [f'id="{anchor}"' in text for text in pages.values()].count(True) == 1, anchor
        heading = re.compile(f'<h[12] id="{anchor}"')  # a page's own says that of its one section
        part = next(part for part in PARTS if heading.search(pages[part]))
        assert anchor in PARTS[part].sections, f"{anchor}: has no page of its own choice"
    for part, text in pages.items():
        assert len(text.encode()) < LARGEST, part
        assert not re.search(r"\sstyle=|<style", text)
        for where, anchor in re.findall(r'href="([^"#]*)#([^"]+)"', text):
            there = client.get(where, headers=headers).text if where else text
            assert f'id="{anchor}"' in there, (part, where, anchor)
    assert "missed by $" in pages[OVERVIEW]
    for text in pages.values():  # what is draft is said in a line that opens
        assert re.search(r"<details class=\"weak-terms\"><summary>DRAFT TERMS: \d+ of \d+", text)
    assert "Balanced." in pages[DATA]


def test_a_statement_is_shown_at_a_time(client: TestClient, done: Run, key_with: Keys) -> None:
    headers = key_with(*OPERATOR_SCOPES, "results:member")
    of = f"/runs/{done.id}/statements"
    for place in (of, f"{of}?partnership=IHP-02"):
        assert client.get(place, headers=headers).text.count('class="statement"') == 1
    assert "<h3>IHP-02 " in client.get(f"{of}?partnership=IHP-02", headers=headers).text
    assert client.get(f"{of}?partnership=nobody", headers=headers).status_code == 404
    assert client.get(f"/runs/{done.id}/elsewhere", headers=headers).status_code == 404


def test_charts_have_their_numbers_beside_them(
    client: TestClient, done: Run, key_with: Keys
) -> None:
    headers = key_with(*OPERATOR_SCOPES, "results:member")
    for part, of in PARTS.items():
        text = client.get(f"/runs/{done.id}/{part}".rstrip("/"), headers=headers).text
        for anchor in of.sections:
            section = text.partition(f'<h2 id="{anchor}"')[2].partition("<h2")[0]
            if "<svg" in section:
                assert re.search(rf'href="/runs/{done.id}/tables/\w+\.csv"', section), anchor


def test_who_may_not_see_members_is_shown_the_open_form(
    client: TestClient, done: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.pages.runs.FIRST_LOOK_S", 60.0)
    shown = client.get(f"/runs/{done.id}")
    assert shown.status_code == 200
    assert "<strong>Open form.</strong>" in shown.text
    pages = {part: client.get(f"/runs/{done.id}/{part}".rstrip("/")).text for part in PARTS}
    assert max(len(text.encode()) for text in pages.values()) < LARGEST
    assert "needs the scope results:member" in pages[FILES]
    assert client.get(f"/runs/{done.id}/tables/member_years.csv").status_code == 403


def test_a_page_that_is_not_made_yet_says_so_and_comes_back(
    client: TestClient, done: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The open form of a run is chosen once; a page waits for it a moment and not longer."""
    monkeypatch.setattr("api.pages.runs.FIRST_LOOK_S", 0.0)
    waits = client.get(f"/runs/{done.id}/data")
    assert waits.status_code == 200
    assert "its pages are being made" in waits.text
    assert 'data-reload="2000"' in waits.text
    assert f'content="5; url=/runs/{done.id}/data?live=1"' in waits.text
    monkeypatch.undo()
    while "are being made" in (shown := client.get(f"/runs/{done.id}/data?live=1").text):
        pass  # the client waits a moment each time
    assert "Balanced." in shown


def test_a_pack_is_one_archive_for_who_may_see_people(
    client: TestClient, service: Service, done: Run, key_with: Keys
) -> None:
    of = f"/runs/{done.id}/packs/pack.zip?partnership="
    assert client.get(f"{of}IHP-02").status_code == 403
    headers = key_with(*OPERATOR_SCOPES, "results:member")
    page = client.get(f"/runs/{done.id}/statements?partnership=IHP-02", headers=headers).text
    assert f'href="{of}IHP-02"' in page
    taken = client.get(f"{of}IHP-02", headers=headers)
    assert taken.headers["content-type"] == "application/zip"
    assert taken.headers["content-disposition"] == 'attachment; filename="pack-IHP-02.zip"'
    with zipfile.ZipFile(io.BytesIO(taken.content)) as archive:
        assert archive.testzip() is None
        assert {"index.html", "people.csv"} <= set(archive.namelist())
        assert b"IHP-02" in archive.read("index.html")
    assert client.get(f"{of}nobody", headers=headers).status_code == 404
    noted = [e for e in service.store.queue.events(done.id) if e.kind == "member_rows_read"]
    assert [event.detail for event in noted] == [{"table": "pack"}]


@pytest.mark.parametrize("form", ["csv", "parquet", "arrow"])
def test_a_table_is_taken_along_as_under_v1(
    client: TestClient, done: Run, form: str, key_with: Keys
) -> None:
    headers = key_with("runs:read", "results:member")
    answer = client.get(f"/runs/{done.id}/tables/settlement.{form}", headers=headers)
    assert answer.status_code == 200
    read = {
        "csv": pa.csv.read_csv,
        "parquet": pq.read_table,
        "arrow": lambda held: pa.ipc.open_stream(held).read_all(),
    }[form](io.BytesIO(answer.content))
    assert read.num_rows == 25
    assert f"settlement.{form}"[:13] in answer.headers["content-disposition"]


def test_a_key_without_a_scope_is_told_so_in_a_page(client: TestClient, key_with: Keys) -> None:
    refused = client.get("/runs", headers=key_with("contracts:read"))
    assert refused.status_code == 403
    assert refused.headers["content-type"].startswith("text/html")
    assert "lacks the scope runs:read" in refused.text


@pytest.mark.parametrize(
    ("path", "status"),
    [("/runs/unknown", 404), ("/runs?state=odd", 422), ("/runs?odd=1", 422)],
)
def test_an_error_is_a_page(client: TestClient, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert 'role="alert"' in answer.text


BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/runs/a/b/c/d", 404),
                                              ("/sign-out", 405)])  # fmt: skip
def test_a_browser_is_told_in_a_page_what_is_not_there(
    client: TestClient, path: str, status: int
) -> None:
    shown = client.get(path, headers=BROWSER)
    assert (shown.status_code, shown.headers["content-type"][:9]) == (status, "text/html")
    assert 'href="/runs"' in shown.text
    told = client.get(path)
    assert (told.status_code, told.json()["status"]) == (status, status)
    assert client.get("/v1/nowhere", headers=BROWSER).json()["status"] == 404


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"content": b"[]", "headers": {"Content-Type": "application/json"}}, 415),
        ({"data": {"owner": "x" * 3000}}, 413),
        ({"data": {"owner": "a\0b"}}, 400),
    ],
)
def test_a_form_that_cannot_be_taken_is_answered_in_a_page(
    client: TestClient, sent: dict[str, Any], status: int
) -> None:
    answer = client.post("/keys", **sent)
    assert (answer.status_code, answer.headers["content-type"][:9]) == (status, "text/html")
    assert 'role="alert"' in answer.text


def test_a_run_is_cancelled_and_made_again(client: TestClient, start: Any) -> None:
    run_id = start().json()["id"]
    assert "Cancel the run" in client.get(f"/runs/{run_id}").text
    over = client.post(f"/runs/{run_id}/cancel")
    assert over.url.path == f"/runs/{run_id}"
    assert ">cancelled<" in over.text
    assert "Make it again" in over.text


def test_what_tripped_is_accepted_with_a_reason(
    client: TestClient, service: Service, start: Any
) -> None:
    run_id = start().json()["id"]
    held = service.store.leases.take("d1", lease_ms=60_000)
    assert held is not None
    service.store.leases.review(held, {"immature": "the year is 80 % complete"})
    page = client.get(f"/runs/{run_id}").text
    assert 'name="reason.immature"' in page
    assert client.post(f"/runs/{run_id}/accept").status_code == 422
    after = client.post(f"/runs/{run_id}/accept", data={"reason.immature": "interim payment"})
    assert ">queued<" in after.text
    assert "<q>interim payment</q>" in after.text


def test_a_second_person_certifies(
    client: TestClient, done: Run, key_with: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.pages.runs.FIRST_LOOK_S", 60.0)
    own = key_with(*OPERATOR_SCOPES, "results:member")
    assert "a second person certifies it" in client.get(f"/runs/{done.id}", headers=own).text
    second = key_with(*OPERATOR_SCOPES, "results:member", owner="second")
    page = client.get(f"/runs/{done.id}", headers=second).text
    fields = dict.fromkeys(re.findall(r'name="(statement\.[a-z_]+)"', page), "")
    fields |= {
        "statement.status": "final",
        "statement.purpose": "settlement",
        "statement.intended_users": "the state",
        "statement.responsible_actuary": "A. Actuary",
        "statement.reliance": "claims as received",
    }
    after = client.post(f"/runs/{done.id}/certify", data=fields, headers=second)
    assert after.status_code == 200, after.text
    assert "certified by second" in after.text
