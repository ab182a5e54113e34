"""What a body may hold: JSON that names every key once, nothing that was not asked, exact types.

    declared as JSON? -> each key once, text without NUL -> the fields of the noun, and no other

Each router has the bodies of its own noun; here is what all of them rest on.
"""

from __future__ import annotations

import email.message
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints
from starlette.exceptions import HTTPException

JSON: Final = "application/json"
_NO_TEXT: Final = re.compile("[\0\ud800-\udfff]")
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


def _day(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
        raise ValueError("expected YYYY-MM-DD")
    if not isinstance(value, str | date) or isinstance(value, datetime):
        raise ValueError("expected text YYYY-MM-DD")  # noqa: TRY004 (told as a wrong value)
    return value


Day = Annotated[date, BeforeValidator(_day)]
"""A date as RFC 3339 writes it; a number is none, or a blank cell would be 1970."""


class Strict(BaseModel):
    """A body that says nothing but what is asked."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


def example(**body: Any) -> ConfigDict:
    """The configuration of a body that shows how one may look."""
    return ConfigDict(json_schema_extra={"examples": [body]})


def moment(ms: int) -> datetime:
    """Milliseconds since 1970, as the database holds them, as a time in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC)


class StrictJsonRequest(Request):
    """A request whose JSON names every key once and knows no NaN."""

    async def json(self) -> Any:
        """The body; refused where a lenient parser would choose silently."""
        if not hasattr(self, "_json"):
            body = await self.body()
            try:
                text = body.decode("utf-8")
            except UnicodeDecodeError:
                raise json.JSONDecodeError("not UTF-8", "", 0) from None
            try:
                self._json = json.loads(text, object_pairs_hook=_unique, parse_constant=_constant)
            except RecursionError:
                raise json.JSONDecodeError("nested too deeply", "", 0) from None
            except json.JSONDecodeError:
                raise
            except ValueError as error:  # a number of thousands of digits
                raise json.JSONDecodeError(str(error), "", 0) from None
        return self._json

    async def require_text(self) -> None:
        """Refuse text in the body that no database keeps.

        Raises
        ------
        RequestValidationError
        """
        try:
            body = await self.json()
            found = list(_unkeepable(body, ("body",)))
        except (json.JSONDecodeError, RecursionError):
            return  # refused by whoever reads it
        if found:
            raise RequestValidationError(found, body=body)


def _unkeepable(value: Any, place: tuple[str | int, ...]) -> Iterator[dict[str, Any]]:
    """Text that no database keeps: NUL, and halves of a pair of UTF-16."""
    if isinstance(value, str):
        if _NO_TEXT.search(value):
            words = "holds NUL or half of a surrogate pair"
            yield {"type": "text", "loc": place, "msg": words, "input": None}
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from _unkeepable(key, place)
            yield from _unkeepable(below, (*place, key))
    elif isinstance(value, list):
        for n, below in enumerate(value):
            yield from _unkeepable(below, (*place, n))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise json.JSONDecodeError(f"the key {key[:50]!r} stands there twice", "", 0)
        found[key] = value
    return found


def _constant(name: str) -> Any:
    raise json.JSONDecodeError(f"{name} is no JSON number", "", 0)


def require_json(request: Request) -> None:
    """Refuse a body that is not declared as JSON in UTF-8, uncompressed.

    Raises
    ------
    HTTPException
        415, with what is taken (RFC 9110 §15.5.16).
    """
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        words = "bodies are taken uncompressed; send no Content-Encoding"
        raise HTTPException(415, words, {"Accept-Encoding": "identity"})
    declared = email.message.Message()
    declared["content-type"] = request.headers.get("content-type", "")
    charset = str(declared.get_param("charset", "utf-8")).lower()
    if declared.get_content_type() != JSON or charset not in ("utf-8", "utf8", "us-ascii"):
        raise HTTPException(415, f"send the body with `Content-Type: {JSON}`", {"Accept": JSON})


def _has_body(request: Request) -> bool:
    headers = request.headers
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


class StrictJsonRoute(APIRoute):
    """Routes whose bodies are read by `StrictJsonRequest`."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """The handler, given a strict request."""
        handler = super().get_route_handler()
        wants_body = self.body_field is not None

        async def strict(request: Request) -> Any:
            strictly = StrictJsonRequest(request.scope, request.receive)
            if wants_body and _has_body(request):
                require_json(request)
                await strictly.require_text()
            return await handler(strictly)

        return strict
