"""How a body must be declared before it is read."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

BODY = '{"name": "x", "prefix": "x"}'


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/vnd.x+json"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": ""},
        {},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
def test_what_is_not_declared_as_plain_json_is_refused(
    client: TestClient, headers: dict[str, str]
) -> None:
    refused = client.post("/v1/populations", content=BODY, headers=headers)
    assert refused.status_code == 415
    assert refused.headers["content-type"] == "application/problem+json"
    taken = refused.headers.get("accept", refused.headers.get("accept-encoding"))
    assert taken in ("application/json", "identity")


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=UTF-8"])
def test_json_by_any_of_its_spellings_is_taken(client: TestClient, kind: str) -> None:
    response = client.post("/v1/populations", content=BODY, headers={"Content-Type": kind})
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/prefix"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "a\0b", "prefix": "x"}, "/name"),
        ({"name": "x", "prefix": "x", "a/b~c": ["\0"]}, "/a~1b~0c/0"),
        ({"name": "x", "prefix": "x", "\0": 1}, ""),
    ],
)
def test_text_that_no_database_keeps_is_refused_where_it_stands(
    client: TestClient, body: dict[str, Any], pointer: str
) -> None:
    refused = client.post("/v1/populations", json=body)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == pointer


def test_an_empty_idempotency_key_is_none(client: TestClient) -> None:
    body = {"population": "x", "contracts": ["x"]}
    refused = client.post("/v1/runs", json=body, headers={"Idempotency-Key": ""})
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["pointer"] == "header:idempotency-key"
