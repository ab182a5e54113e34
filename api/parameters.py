"""What may stand in a request's path and query: what the endpoint knows, once, without NUL.

A parameter that nobody reads is refused, or a misspelt filter would be answered with everything.
"""

from __future__ import annotations

import types
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Final, Union, get_args, get_origin
from urllib.parse import unquote_to_bytes

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

MAX_TOLD: Final = 50
"""Characters of an unknown parameter's name that are said back."""


async def known_parameters(request: Request) -> None:
    """Refuse what the endpoint does not read. A dependency of the whole application.

    Raises
    ------
    RequestValidationError
        If a query parameter is unknown, stands there twice or holds NUL; if the query is no UTF-8.
    HTTPException
        If the path holds NUL: nothing can be of that name. If it is named in full, for other
        methods.
    """
    if request.app.state.paths.refuses(request.method, request.scope["path"]):
        raise HTTPException(405)
    if any("\0" in str(value) for value in request.path_params.values()):
        raise HTTPException(404)
    route = request.scope.get("route")
    if not isinstance(route, APIRoute) or not request.query_params:
        return
    try:
        unquote_to_bytes(request.scope["query_string"]).decode()
    except UnicodeDecodeError:
        raise RequestValidationError([_error("encoding", "*", "the query is no UTF-8")]) from None
    known = dict(_queries(route.dependant))
    errors = []
    for name, n_times in Counter(name for name, _ in request.query_params.multi_items()).items():
        if name not in known:
            told = ", ".join(sorted(known)) or "none"
            errors.append(
                _error("unknown", name[:MAX_TOLD], f"no such parameter; there are: {told}")
            )
        elif n_times > 1 and not known[name]:
            errors.append(_error("repeated", name, "stands there twice; say it once"))
        elif any("\0" in value for value in request.query_params.getlist(name)):
            errors.append(_error("nul", name, "holds the character NUL"))
    if errors:
        raise RequestValidationError(errors)


def refused(name: str, words: str) -> RequestValidationError:
    """What refuses the value of a query parameter that no type can judge."""
    return RequestValidationError([_error("value", name, words)])


def _error(kind: str, name: str, words: str) -> Mapping[str, Any]:
    return {"type": kind, "loc": ("query", name), "msg": words, "input": None}


def _queries(dependant: Dependant) -> Iterator[tuple[str, bool]]:
    """Names of the query parameters of an endpoint and of what it depends on; whether of many."""
    for field in dependant.query_params:
        yield field.alias, _of_many(field.field_info.annotation)
    for below in dependant.dependencies:
        yield from _queries(below)


def _of_many(kind: Any) -> bool:
    """Whether a type holds several values.

    >>> _of_many(list[str] | None), _of_many(str | None)
    (True, False)
    """
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return any(_of_many(one) for one in get_args(kind))
    if origin is Annotated:
        return _of_many(get_args(kind)[0])
    kind = origin or kind
    return isinstance(kind, type) and issubclass(kind, Collection) and kind is not str
