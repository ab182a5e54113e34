"""What every page has: its frame, its policy, its forms, and its errors as pages.

who is asked? -> the endpoint -> a template inside the frame
a form        -> is it from a page of this session? -> its fields
an error      -> the status that `/v1` has for it, in a page
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

import jinja2
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from markupsafe import Markup
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException

from api.auth import ForbiddenError, Principal
from api.problems import STATUS, UNKEEPABLE, said_of
from api.sessions import Session, is_own
from cluster.database import AWAY
from ihp_compute import __version__
from ihp_compute.report import FILTERS

POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
FORM: Final = "application/x-www-form-urlencoded"
FORM_TOKEN: Final = "form_token"  # noqa: S105 (a field's name)
MAX_FIELDS: Final = 1000
BAD_REQUEST: Final = 400
SERVER_ERROR: Final = 500
_TOKEN: Final = Markup('<input type="hidden" name="{}" value="{}">')
PLACES: Final = {
    "/runs": "Runs",
    "/compare": "Compare",
    "/contracts": "Contracts",
    "/populations": "Populations",
    "/keys": "Keys",
    "/v1/docs": "API",
}
"""What the head of every page leads to."""


def session_of(request: Request) -> Session | None:
    """The session of a browser; None of a request that bears a key."""
    session: Session | None = getattr(request.state, "session", None)
    return session


def page(request: Request, name: str, /, *, status: int = 200, **shown: Any) -> HTMLResponse:
    """A template inside the frame.

    Parameters
    ----------
    request : Request
    name : str
        File of the template.
    status : int
    **shown
        What the template asks for.

    Returns
    -------
    HTMLResponse
    """
    principal: Principal | None = getattr(request.state, "principal", None)
    session = session_of(request)
    text = (
        _environment()
        .get_template(name)
        .render(
            {
                "principal": principal,
                "scopes": principal.scopes if principal else frozenset(),
                "token": _TOKEN.format(FORM_TOKEN, session.form_token) if session else "",
                "places": PLACES,
                "here": request.url.path,
                "version": __version__,
                "reload_to": None,
                **shown,
            }
        )
    )
    headers = {
        "Content-Security-Policy": POLICY,
        "Referrer-Policy": "same-origin",
        "Vary": "Cookie, Authorization",
    }
    return HTMLResponse(text, status, headers=headers)


def see(path: str) -> RedirectResponse:
    """Go on at another page, after a form."""
    return RedirectResponse(path, 303)


class Form(Mapping[str, str]):
    """The fields of a form; `all` has every value of a field that may stand there more than once.

    Fields that were left empty are as good as absent.
    """

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._fields = [(name, value.strip()) for name, value in fields if value.strip()]
        self._last = dict(self._fields)

    def __getitem__(self, name: str) -> str:
        """The value of a field."""
        return self._last[name]

    def __iter__(self) -> Any:
        """Names of the fields."""
        return iter(self._last)

    def __len__(self) -> int:
        """How many fields have a value."""
        return len(self._last)

    def all(self, name: str) -> list[str]:
        """Every value of a field."""
        return [value for other, value in self._fields if other == name]

    def below(self, prefix: str) -> dict[str, str]:
        """Fields whose name begins so, by what follows."""
        return {
            name.removeprefix(prefix): value
            for name, value in self._last.items()
            if name.startswith(prefix)
        }

    def number(self, name: str) -> int | str | None:
        """A whole number as one; other text as it is, for whoever checks the body to refuse."""
        value = self.get(name)
        return int(value) if value is not None and value.isdecimal() else value


async def _form(request: Request) -> Form:
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    if body and declared != FORM:
        raise HTTPException(415, f"send the form as {FORM}", {"Accept": FORM})
    try:
        fields = parse_qsl(
            body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise HTTPException(400, "this is no form; load the page again") from None
    if any("\0" in part for field in fields for part in field):
        raise HTTPException(400, "a field holds the character NUL")
    form = Form(fields)
    session = session_of(request)
    if session is not None and not is_own(session, form.get(FORM_TOKEN, "")):
        raise ForbiddenError(
            "the form is not from a page of this session; load the page again and send it anew"
        )
    return form


async def _from_here(request: Request) -> None:
    site = request.headers.get("sec-fetch-site", "none")
    if site not in ("same-origin", "none"):
        raise HTTPException(400, "a form of another site does not sign anybody in")


Live = Annotated[bool, Query()]
"""Whether a page reloads by itself, which keeps nobody signed in: the gate reads it."""
FormDep = Annotated[Form, Depends(_form)]
FromHere = Depends(_from_here)


class PageRoute(APIRoute):
    """Routes that answer errors as pages."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """The handler, with its errors as pages."""
        handler = super().get_route_handler()

        async def shown(request: Request) -> Response:
            try:
                response: Response = await handler(request)
            except RequestValidationError as error:
                words = "; ".join(f"{e['loc'][-1]}: {e['msg']}" for e in error.errors())
                return failed(request, 422, words)
            except HTTPException as error:
                return failed(request, error.status_code, str(error.detail), error.headers)
            except tuple(STATUS) as error:
                return failed(request, status_of(error), said_of(request, error))
            except AWAY:
                return failed(request, 503, "the database does not answer; try again")
            except DataError:
                return failed(request, 422, UNKEEPABLE)
            return response

        return shown


def install(app: FastAPI) -> None:
    """Answer a person who asks for what is not there, or in a way it does not take, with a page.

    Programs are answered as under `/v1` everywhere; so is a browser under `/v1` without a session.
    """
    as_problem: Any = app.exception_handlers[HTTPException]

    async def shown(request: Request, error: Exception) -> Response:
        answer: Response = await as_problem(request, error)
        if answer.status_code < BAD_REQUEST or not _for_people(request):
            return answer
        words = _NOWHERE.get(answer.status_code, str(getattr(error, "detail", "")))
        kept = {name: answer.headers[name] for name in ("allow",) if name in answer.headers}
        return failed(request, answer.status_code, words, kept)

    app.add_exception_handler(HTTPException, shown)


def _for_people(request: Request) -> bool:
    wanted = request.headers.get("accept", "").partition(",")[0].partition(";")[0]
    is_place = not f"{request.url.path}/".startswith("/v1/")
    return wanted.strip() == "text/html" and (is_place or session_of(request) is not None)


def status_of(error: Exception) -> int:
    """The status that `/v1` answers an error with."""
    return int(next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS))


def failed(
    request: Request, status: int, words: str, headers: Mapping[str, str] | None = None
) -> Response:
    """An error as a page."""
    shown = {"words": words, "title": _TITLES.get(status)}
    if status >= SERVER_ERROR:
        shown["request_id"] = request.state.request_id
    response = page(request, "error.html", status=status, **shown)
    response.headers.update(headers or {})
    return response


def in_place_of(request: Request, problem: Response, words: str | None = None) -> Response:
    """The page for a problem that no endpoint has answered, where a person asks; else the problem.

    Nothing of the problem but its status is shown, in words for it unless some are given: what went
    wrong stands in the log.
    """
    if not _for_people(request):
        return problem
    kept = {name: problem.headers[name] for name in ("retry-after",) if name in problem.headers}
    return failed(request, problem.status_code, words or _WRONG[problem.status_code], kept)


_WRONG: Final = {
    500: "This page could not be made, by a fault of the program and of nothing that you did. "
    "Load it again; if it fails again, tell whoever runs the service.",
    503: "The service cannot reach its database. Load the page again in a moment.",
}
_NOWHERE: Final = {
    404: "There is no page at this address. The runs lead to all that was computed.",
    405: "This address cannot be asked so; go there by the page that has its form.",
}
_TITLES: Final = {
    400: "This request does not fit",
    403: "Your key does not allow this",
    404: "Nothing is here",
    405: "Not in this way",
    413: "That is too much",
    415: "This is no form",
    409: "Not now",
    422: "A value does not fit",
    500: "Something went wrong here",
    503: "Busy; try again soon",
}


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(FILTERS, moment=_moment, html=Markup, size=_size)
    return environment


def _moment(at: datetime | None) -> Markup:
    """A time for people, with the exact one for machines."""
    if at is None:
        return Markup("\N{EN DASH}")
    return Markup('<time datetime="{}">{}</time>').format(
        at.isoformat(timespec="seconds"), f"{at:%Y-%m-%d %H:%M} UTC"
    )


def _size(n_bytes: float) -> str:
    """Bytes for people.

    >>> _size(1536), _size(3 * 2**30)
    ('1.5 KiB', '3.0 GiB')
    """
    unit = "bytes"
    for larger in ("KiB", "MiB", "GiB"):
        if n_bytes < 1024:
            break
        n_bytes, unit = n_bytes / 1024, larger
    return f"{n_bytes:.0f} {unit}" if unit == "bytes" else f"{n_bytes:.1f} {unit}"
