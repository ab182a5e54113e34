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
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from api.auth import ForbiddenError
from cluster.queue import IdempotencyConflictError
from cluster.registry import NameTakenError, UnknownPopulationError
from cluster.runs import UnknownRunError
from ihp_compute.errors import IhpError, InfrastructureError

MEDIA_TYPE: Final = "application/problem+json"

log = structlog.get_logger(__name__)


class RequestError(Exception):
    """A well-formed request that cannot be met; `pointer` names the part of the body."""

    def __init__(self, detail: str, pointer: str) -> None:
        super().__init__(detail)
        self.pointer = pointer


class ConflictError(Exception):
    """The request is sound, and the state of things does not allow it now."""


class NotAcceptableError(Exception):
    """No format that was asked for can be given."""


class UnknownResultError(Exception):
    """The run has no such result."""


STATUS: Final[Mapping[type[Exception], HTTPStatus]] = {
    ConflictError: HTTPStatus.CONFLICT,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    IdempotencyConflictError: HTTPStatus.UNPROCESSABLE_ENTITY,
    IhpError: HTTPStatus.UNPROCESSABLE_ENTITY,
    InfrastructureError: HTTPStatus.SERVICE_UNAVAILABLE,
    NameTakenError: HTTPStatus.CONFLICT,
    NotAcceptableError: HTTPStatus.NOT_ACCEPTABLE,
    RequestError: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnknownPopulationError: HTTPStatus.NOT_FOUND,
    UnknownResultError: HTTPStatus.NOT_FOUND,
    UnknownRunError: HTTPStatus.NOT_FOUND,
}


class FieldProblem(BaseModel):
    """What is wrong with one part of a request."""

    pointer: str
    code: str
    detail: str


class Problem(BaseModel):
    """An error as RFC 9457 has it."""

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
    phrase = HTTPStatus(status).phrase
    body = Problem(
        type=f"urn:ihp:problem:{name or phrase.lower().replace(' ', '-')}",
        title=phrase,
        status=status,
        detail=detail,
        instance=scope["path"],
        trace_id=scope.get("state", {}).get("request_id", ""),
        errors=None if errors is None else list(errors),
    )
    return JSONResponse(
        body.model_dump(exclude_none=True), status, headers=headers, media_type=MEDIA_TYPE
    )


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documentation of the problems an endpoint may answer with."""
    content = {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}
    return {
        int(status): {"description": HTTPStatus(status).phrase, "content": content}
        for status in (401, 403, *statuses)
    }


def _name(error: Exception) -> str:
    words = type(error).__name__.removesuffix("Error")
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in words).lstrip("-")


async def _listed(request: Request, error: Exception) -> JSONResponse:
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    errors = None
    if isinstance(error, RequestError):
        errors = [FieldProblem(pointer=error.pointer, code="invalid", detail=str(error))]
    return problem(request.scope, status, str(error), name=_name(error), errors=errors)


async def _http(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    details = {
        404: "nothing is here; GET /v1/openapi.json lists what is",
        405: "this path does not know the method; the Allow header lists those it knows",
    }
    detail = details.get(error.status_code, str(error.detail))
    return problem(request.scope, error.status_code, detail, headers=error.headers)


async def _validation(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    errors = []
    for found in error.errors():
        where, *path = found["loc"]
        pointer = "".join(f"/{part}" for part in path) if where == "body" else f"{where}:{path[0]}"
        detail = str(found["msg"])
        if found["type"] == "json_invalid":
            pointer, detail = "", f"not JSON: {found['ctx']['error']}"
        errors.append(FieldProblem(pointer=pointer, code=found["type"], detail=detail))
    # a required header that is missing is a malformed request, not a wrong value
    bad = all(e.code == "missing" and e.pointer.startswith("header:") for e in errors)
    names = ", ".join(e.pointer or "the body" for e in errors)
    status = HTTPStatus.BAD_REQUEST if bad else HTTPStatus.UNPROCESSABLE_ENTITY
    return problem(request.scope, status, f"see errors: {names}", name="invalid", errors=errors)


async def _database(request: Request, _error: Exception) -> JSONResponse:
    return problem(
        request.scope,
        HTTPStatus.SERVICE_UNAVAILABLE,
        "the database does not answer; try again",
        name="infrastructure",
        headers={"Retry-After": "5"},
    )


def defect(scope: Mapping[str, Any], error: Exception) -> JSONResponse:
    """A 500 for an error nobody foresaw, logged by place and never by value."""
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
    app.add_exception_handler(OperationalError, _database)
