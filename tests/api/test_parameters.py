"""What nobody reads is refused where it is said, on every path alike."""

from __future__ import annotations

import re
from typing import cast

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from cluster.runs import Run


def test_no_endpoint_takes_a_parameter_that_it_does_not_know(client: TestClient) -> None:
    for path, methods in cast(FastAPI, client.app).openapi()["paths"].items():
        for method in methods:
            here = re.sub(r"{[^}]*}", "x", path)
            refused = client.request(method, here, params={"no_such": "1"})
            assert refused.status_code == 422, (method, path)
            assert refused.json()["errors"][0]["pointer"] == "query:no_such"


def test_a_misspelt_filter_is_told_what_there_is(client: TestClient) -> None:
    refused = client.get("/v1/runs", params={"stat": "failed"})
    assert "state" in refused.json()["errors"][0]["detail"]


@pytest.mark.parametrize("query", ["limit=1&limit=2", "state=queued&state=queued", "state=a%00b"])
def test_a_parameter_stands_there_once_and_is_text(client: TestClient, query: str) -> None:
    refused = client.get(f"/v1/runs?{query}")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == f"query:{query.partition('=')[0]}"


def test_a_query_is_utf_8(client: TestClient) -> None:
    """Or a filter that nobody sent would be answered with nothing."""
    for query in ("owner=%ff", "owner=%ed%a0%80", "%ff=1"):
        refused = client.get(f"/v1/runs?{query}")
        assert refused.status_code == 422
        assert "UTF-8" in refused.json()["errors"][0]["detail"]
    assert client.get("/v1/runs?owner=%C3%BC").status_code == 200


@pytest.mark.parametrize("path", ["/v1/runs/a%00b", "/v1/populations/%00", "/v1/contracts/%00"])
def test_nothing_is_named_with_nul(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("last", [2**63, 10**30, -1, "x", ""])
def test_an_event_id_fits_the_database(client: TestClient, finished: Run, last: int | str) -> None:
    here = f"/v1/runs/{finished.id}/events"
    refused = client.get(here, headers={"Last-Event-ID": str(last)})
    assert refused.status_code in (400, 422)
    assert refused.json()["errors"][0]["pointer"] == "header:last-event-id"
    assert client.get(here, headers={"Last-Event-ID": str(2**63 - 1)}).is_success
