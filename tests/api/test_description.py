"""The OpenAPI document holds what a client's maker needs, and nothing that leads nowhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from fastapi.testclient import TestClient

from api.auth import SCOPES
from api.description import needed_scope, operations

PROBLEM = {"$ref": "#/components/schemas/Problem"}


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    return dict(client.get("/v1/openapi.json").json())


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for below in part:
            yield from _references(below)


def _at(document: dict[str, Any], reference: str) -> dict[str, Any]:
    part = document
    for name in reference.removeprefix("#/").split("/"):
        part = part[name]
    return part


def _responses(
    document: dict[str, Any], operation: dict[str, Any]
) -> Iterator[tuple[int, dict[str, Any]]]:
    for status, response in operation["responses"].items():
        yield int(status), _at(document, response["$ref"]) if "$ref" in response else response


def test_every_reference_leads_to_a_part_of_the_document(document: dict[str, Any]) -> None:
    found = set(_references(document))
    assert "#/components/schemas/Problem" in found
    for reference in found:
        assert reference.startswith("#/components/")
        assert isinstance(_at(document, reference), dict)
    assert "HTTPValidationError" not in json.dumps(document)


def test_every_error_is_a_problem(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        for status, response in _responses(document, operation):
            if status >= 400 and path.startswith("/v1/"):
                content = response["content"]
                assert content == {"application/problem+json": {"schema": PROBLEM}}, (method, path)


def test_what_any_request_may_meet_is_said_of_each(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        statuses = {status for status, _ in _responses(document, operation)}
        assert {405, 422, 500} <= statuses
        if operation.get("security"):
            assert {401, 503} <= statuses, (method, path)
        if needed_scope(operation):
            assert 403 in statuses
        if "{" in path:
            assert 404 in statuses
        if "requestBody" in operation:
            assert {400, 413, 415} <= statuses


def test_an_endpoint_under_v1_names_a_scope_that_there_is_or_takes_any_key(
    document: dict[str, Any],
) -> None:
    open_to_any_key = set()
    for _, path, operation in operations(document):
        if path.startswith("/v1/"):
            assert operation["security"], path
            scope = needed_scope(operation)
            assert scope is None or scope in SCOPES
            if scope is None:
                open_to_any_key.add(path)
    assert open_to_any_key == {"/v1/limits", "/v1/version", "/v1/me"}


def test_headers_that_lead_on_are_told(document: dict[str, Any]) -> None:
    wanted = {401: "WWW-Authenticate", 405: "Allow", 503: "Retry-After", 202: "Location"}
    seen = set()
    for _, path, operation in operations(document):
        for status, response in _responses(document, operation):
            assert "X-Request-ID" in response["headers"], (path, status)
            if status in wanted and path.startswith("/v1/"):
                assert wanted[status] in response["headers"], (path, status)
                seen.add(status)
    assert seen == set(wanted)
    run = document["paths"]["/v1/runs/{run_id}"]["get"]["responses"]
    assert {"ETag", "Vary"} <= set(run["200"]["headers"])
    assert "304" in run


def test_every_body_has_an_example_that_fits(document: dict[str, Any]) -> None:
    seen = 0
    for method, path, operation in operations(document):
        if "requestBody" not in operation:
            continue
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        if "$ref" not in schema:
            continue  # a map of names: nothing of it is fixed
        examples = _at(document, schema["$ref"])["examples"]
        root = {"$ref": schema["$ref"], "components": document["components"]}
        for example in examples:
            jsonschema_rs.validate(root, example)
            seen += 1
        assert examples, (method, path)
    assert seen >= 3


def test_the_example_of_a_problem_is_one(document: dict[str, Any]) -> None:
    problem = document["components"]["schemas"]["Problem"]
    root = {**PROBLEM, "components": document["components"]}
    for example in problem["examples"]:
        jsonschema_rs.validate(root, example)
