"""The OpenAPI description, completed: what holds for every endpoint is said of each.

    what the routers declare -> problems as one schema -> what any request may meet -> headers

A router declares what is particular to it: its own problems, its forms, what it does. The scope
that an endpoint needs stands in its `security`, where its dependency puts it (`auth.may`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI

from api.problems import MEDIA_TYPE, Problem

TAGS: Final = [
    {"name": "runs", "description": "Recalculations: queue, follow, cancel."},
    {"name": "results", "description": "Tables, manifest and report of a run that succeeded."},
    {"name": "sweeps", "description": "Other terms over a finished run's totals."},
    {"name": "populations", "description": "Prepared folders by name."},
    {"name": "contracts", "description": "Terms, each with unit, dates, source and basis."},
    {"name": "keys", "description": "Who may what."},
    {"name": "audit", "description": "Who did what."},
    {"name": "service", "description": "Bounds, versions, the key."},
    {"name": "health", "description": "For probes."},
]

_TEXT: Final = {"schema": {"type": "string"}}
_SECONDS: Final = {"schema": {"type": "string", "pattern": "^[0-9]+$"}}
HEADERS: Final[Mapping[str, Any]] = {
    "X-Request-ID": {"description": "Names the request in the service's log.", **_TEXT},
    "ETag": {"description": "Of the content; send it as If-None-Match.", **_TEXT},
    "Vary": {"description": "Request headers that the answer depends on.", **_TEXT},
    "Location": {"description": "Where it is found.", **_TEXT},
    "Retry-After": {"description": "Seconds until it is worth asking again.", **_SECONDS},
    "Allow": {"description": "Methods that the path takes.", **_TEXT},
    "WWW-Authenticate": {"description": "`Bearer`.", **_TEXT},
}
EVERY: Final[Mapping[int, tuple[str, ...]]] = {405: ("Allow",), 413: (), 422: (), 500: ()}
"""Problems that any request may meet, each with its headers; those with a key or a body, below."""
WITH_KEY: Final[Mapping[int, tuple[str, ...]]] = {
    401: ("WWW-Authenticate",),
    503: ("Retry-After",),
}
_METHODS: Final = ("get", "post", "put", "patch", "delete")


class DescribedApp(FastAPI):
    """An application whose description is complete."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = completed(super().openapi())
        return self.openapi_schema


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(method, path, operation) of each operation of a document."""
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield method, path, item[method]


def needed_scope(operation: Mapping[str, Any]) -> str | None:
    """The scope that an operation needs; None of one that any key, or nobody's, may call."""
    scopes = [scope for way in operation.get("security", []) for scope in next(iter(way.values()))]
    return scopes[0] if scopes else None


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """A document as FastAPI makes it, with what holds for every endpoint."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= {**problem.pop("$defs"), Problem.__name__: problem}
    for unused in ("HTTPValidationError", "ValidationError"):  # FastAPI's own, which we never send
        schemas.pop(unused, None)
    components["headers"] = dict(HEADERS)
    needed = {**EVERY, **WITH_KEY, 400: (), 403: (), 404: (), 415: ()}
    components["responses"] = {
        _name(status): _problem(status, headers) for status, headers in needed.items()
    }
    for method, _, operation in operations(document):
        _complete(method, operation)
    return document


def _complete(method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    if "application/json" in responses.get("422", {}).get("content", {}):
        del responses["422"]
    statuses = [*EVERY]
    parameters = operation.get("parameters", [])
    if "security" in operation:
        statuses += WITH_KEY
    if needed_scope(operation) is not None:
        statuses.append(403)
    if any(parameter["in"] == "path" for parameter in parameters):
        statuses.append(404)
    if "requestBody" in operation:
        statuses += [400, 415]
    for status in statuses:
        said = {"$ref": f"#/components/responses/{_name(status)}"}
        responses.setdefault(str(status), said)
    for status, response in responses.items():
        if "$ref" in response:
            continue
        headers = response.setdefault("headers", {})
        for name in _headers(method, int(status), response):
            headers.setdefault(name, {"$ref": f"#/components/headers/{name}"})
    if method == "get" and "application/json" in responses.get("200", {}).get("content", {}):
        responses.setdefault("304", _plain(304, ("ETag", "Vary", "X-Request-ID")))
    operation["responses"] = dict(sorted(responses.items()))


def _headers(method: str, status: int, response: Mapping[str, Any]) -> Iterator[str]:
    """Headers that an answer bears beside what its router says of it."""
    yield "X-Request-ID"
    if status in (201, 202, 303):
        yield "Location"
    if status in (202, 503):
        yield "Retry-After"
    if method == "get" and status == 200 and "application/json" in response.get("content", {}):
        yield from ("ETag", "Vary")


def _name(status: int) -> str:
    return "".join(word.capitalize() for word in HTTPStatus(status).phrase.split())


def _problem(status: int, headers: tuple[str, ...]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return _plain(status, (*headers, "X-Request-ID")) | {
        "content": {MEDIA_TYPE: {"schema": schema}}
    }


def _plain(status: int, headers: tuple[str, ...]) -> dict[str, Any]:
    return {
        "description": HTTPStatus(status).phrase,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
    }
