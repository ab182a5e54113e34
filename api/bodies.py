"""What a body may hold: JSON that names every key once, nothing that was not asked, exact types.

Each router has the bodies of its own noun; here is what all of them rest on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class Strict(BaseModel):
    """A body that says nothing but what is asked."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


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


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise json.JSONDecodeError(f"the key {key[:50]!r} stands there twice", "", 0)
        found[key] = value
    return found


def _constant(name: str) -> Any:
    raise json.JSONDecodeError(f"{name} is no JSON number", "", 0)


class StrictJsonRoute(APIRoute):
    """Routes whose bodies are read by `StrictJsonRequest`."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """The handler, given a strict request."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Any:
            return await handler(StrictJsonRequest(request.scope, request.receive))

        return strict
