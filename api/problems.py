"""Every error as RFC 9457 `application/problem+json`, and which domain error is which status.

Domain errors know no status; this table does. A value that somebody sent is never sent back.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.auth import ForbiddenError
from cluster.contract_versions import UnknownVersionError
from cluster.database import AWAY
from cluster.keys import UnknownKeyError
from cluster.queue import IdempotencyConflictError, StateError
from cluster.registry import NameTakenError, UnknownPopulationError
from cluster.runs import UnknownRunError
from ihp_compute.errors import IhpError, InfrastructureError, ResultsDamagedError, RunError

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 5
"""When a caller may ask again what could not be answered now."""

INSTANCE: Final = 2000
"""Characters of a path that an answer repeats."""
UNKEEPABLE: Final = (
    "the database cannot hold a value of the request; look at its numbers and its text"
)

log = structlog.get_logger(__name__)


class RequestError(Exception):
    """A well-formed request that cannot be met; `pointers` name the parts of the body."""

    def __init__(self, detail: str, *pointers: str) -> None:
        super().__init__(detail)
        self.pointers = pointers


class BusyError(Exception):
    """So much is going on that the request would have to wait too long."""


class ConflictError(Exception):
    """The request is sound, and the state of things does not allow it now."""


class NotAcceptableError(Exception):
    """No format that was asked for can be given."""


class UnknownResultError(Exception):
    """The run has no such result."""


STATUS: Final[Mapping[type[Exception], HTTPStatus]] = {
    BusyError: HTTPStatus.SERVICE_UNAVAILABLE,
    ConflictError: HTTPStatus.CONFLICT,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    IdempotencyConflictError: HTTPStatus.UNPROCESSABLE_ENTITY,
    IhpError: HTTPStatus.UNPROCESSABLE_ENTITY,
    InfrastructureError: HTTPStatus.SERVICE_UNAVAILABLE,
    NameTakenError: HTTPStatus.CONFLICT,
    NotAcceptableError: HTTPStatus.NOT_ACCEPTABLE,
    RequestError: HTTPStatus.UNPROCESSABLE_ENTITY,
    ResultsDamagedError: HTTPStatus.INTERNAL_SERVER_ERROR,
    RunError: HTTPStatus.CONFLICT,
    StateError: HTTPStatus.CONFLICT,
    UnknownKeyError: HTTPStatus.NOT_FOUND,
    UnknownPopulationError: HTTPStatus.NOT_FOUND,
    UnknownResultError: HTTPStatus.NOT_FOUND,
    UnknownRunError: HTTPStatus.NOT_FOUND,
    UnknownVersionError: HTTPStatus.NOT_FOUND,
}


class FieldProblem(BaseModel):
    """What is wrong with one part of a request.

    `pointer` leads into the body (RFC 6901), or is `query:NAME`, `header:NAME`, `path:NAME`.
    """

    pointer: str
    code: str
    detail: str


class Problem(BaseModel):
    """An error as RFC 9457 has it; `trace_id` is also the header X-Request-ID and in the log."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:ihp:problem:invalid",
                    "title": "Unprocessable Content",
                    "status": 422,
                    "detail": "see errors: /seed",
                    "instance": "/v1/runs",
                    "trace_id": "5f1d7a84db1a4c07",
                    "errors": [
                        {
                            "pointer": "/seed",
                            "code": "int_type",
                            "detail": "Input should be a valid integer",
                        }
                    ],
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    detail: str
    instance: str
    trace_id: str
    errors: list[FieldProblem] | None = None


def problem(
    scope: Mapping[str, Any],
    status: int,
    detail: str,
    *,
    name: str | None = None,
    errors: Sequence[FieldProblem] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A problem as a response.

    Parameters
    ----------
    scope : mapping
        ASGI scope of the request.
    status : int
    detail : str
        What, instead of what, where, what next.
    name : str, optional
        Ends the problem's type; the status phrase unless given.
    errors : sequence of FieldProblem, optional
    headers : mapping, optional

    Returns
    -------
    JSONResponse
    """
    status, phrase = int(status), HTTPStatus(status).phrase
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers = {"Retry-After": str(RETRY_AFTER_S), **(headers or {})}
    body = Problem(
        type=f"urn:ihp:problem:{name or phrase.lower().replace(' ', '-')}",
        title=phrase,
        status=status,
        detail=detail,
        instance=scope["path"][:INSTANCE],
        trace_id=scope.get("state", {}).get("request_id", ""),
        errors=None if errors is None else list(errors),
    )
    return JSONResponse(
        body.model_dump(exclude_none=True), status, headers=headers, media_type=MEDIA_TYPE
    )


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documentation of the problems an endpoint may answer with, beside those of every endpoint."""
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {
        int(status): {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in statuses
    }


def _name(error: Exception) -> str:
    if isinstance(error, ResultsDamagedError):
        return "results_damaged"  # a word of the log and of the metrics too
    words = type(error).__name__.removesuffix("Error")
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in words).lstrip("-")


async def _listed(request: Request, error: Exception) -> JSONResponse:
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    errors = None
    if isinstance(error, RequestError):
        errors = [
            FieldProblem(pointer=pointer, code="invalid", detail=str(error))
            for pointer in error.pointers
        ]
    words = said_of(request, error)
    return problem(request.scope, status, words, name=_name(error), errors=errors)


def said_of(request: Request, error: Exception) -> str:
    """An error's words without the place of the service's folder, which is nobody's to know."""
    return str(error).replace(f"{request.app.state.service.home.path}/", "")


async def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = request.app.state.paths.allow(request.scope["path"])
        if request.method == "OPTIONS":
            return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)
    details = {
        404: "nothing is here; GET /v1/openapi.json lists what is",
        405: "this path does not know the method; the Allow header lists those it knows",
    }
    detail = details.get(error.status_code, str(error.detail))
    return problem(request.scope, error.status_code, detail, headers=headers)


async def _validation(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    errors = []
    for found in error.errors():
        where, *path = found["loc"]
        code, detail = found["type"], str(found["msg"])
        pointer = f"{where}:{path[0]}" if path else str(where)
        if where == "body":
            pointer = _pointer(path, error.body, missing=code == "missing")
        if code == "json_invalid":
            pointer, detail = "", f"not JSON: {found['ctx']['error']}"
        if where == "header" and code == "string_too_short":
            code, detail = "missing", "Field required"  # as good as none
        errors.append(FieldProblem(pointer=pointer, code=code, detail=detail))
    # a required header that is missing is a malformed request, not a wrong value
    bad = all(e.code == "missing" and e.pointer.startswith("header:") for e in errors)
    names = ", ".join(e.pointer or "the body" for e in errors)
    status = HTTPStatus.BAD_REQUEST if bad else HTTPStatus.UNPROCESSABLE_ENTITY
    return problem(request.scope, status, f"see errors: {names}", name="invalid", errors=errors)


def _pointer(path: Sequence[int | str], body: Any, *, missing: bool) -> str:
    """RFC 6901 of a place in a body; Pydantic names kinds on the way, which are no places.

    >>> _pointer(["axes", "a/b", "list[int]", 0], {"axes": {"a/b": ["x"]}}, missing=False)
    '/axes/a~1b/0'
    """
    parts = []
    for n, part in enumerate(path):
        known = (
            body if isinstance(body, Mapping) else range(len(body) if isinstance(body, list) else 0)
        )
        if part in known:
            body = body[part]
        elif not (missing and n == len(path) - 1):
            continue
        parts.append(str(part).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{part}" for part in parts)


async def _database(request: Request, _error: Exception) -> JSONResponse:
    return away(request.scope)


def away(scope: Mapping[str, Any]) -> JSONResponse:
    """A 503 for a database that does not answer."""
    words = "the database does not answer; try again"
    return problem(scope, HTTPStatus.SERVICE_UNAVAILABLE, words, name="infrastructure")


async def _unkeepable(request: Request, _error: Exception) -> JSONResponse:
    """A value that the database has no form for, which no bound of ours had refused before."""
    return problem(request.scope, HTTPStatus.UNPROCESSABLE_ENTITY, UNKEEPABLE, name="invalid")


def defect(scope: Mapping[str, Any], error: Exception) -> JSONResponse:
    """A 500 for an error nobody foresaw, logged by place and never by value.

    A database that is away is none: it may be so before a request comes to an endpoint.
    """
    if isinstance(error, AWAY):
        return away(scope)
    frames = traceback.extract_tb(error.__traceback__)
    log.error(
        "defect",
        request_id=scope.get("state", {}).get("request_id"),
        error=type(error).__name__,
        where=[f"{frame.filename}:{frame.lineno}" for frame in frames[-5:]],
    )
    return problem(
        scope,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "a defect of this program; its log has the place under this trace_id",
    )


def install(app: FastAPI) -> None:
    """Answer every error of an application as a problem."""
    for kind in STATUS:
        app.add_exception_handler(kind, _listed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(DataError, _unkeepable)
    for kind in AWAY:
        app.add_exception_handler(kind, _database)
