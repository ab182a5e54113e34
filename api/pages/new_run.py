"""A run to ask for: what it is made of, what it would take, what would be said of it first.

fields -> the body that `/v1/runs` takes -> estimated, as often as asked -> queued
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import ValidationError

from api import estimates, runs
from api.auth import RunsWriter
from api.contracts import known_contracts
from api.estimates import EstimateView
from api.pages.frame import Form, FormDep, PageRoute, page, see, status_of
from api.problems import STATUS, RequestError
from api.queued import run_of_kind
from api.reading import ReadsDep
from api.requests import RunRequest
from api.service import Service, ServiceDep
from ihp_compute.contracts import programmes
from ihp_compute.data_quality import GATES
from ihp_compute.measure import STATEMENT_FIELDS

router = APIRouter(prefix="/runs/new", route_class=PageRoute, include_in_schema=False)
NUMBERS: Final = ("performance_year", "base_year", "replicates", "seed")
TEXTS: Final = ("population", "paid_through", "programme")
MOST_POPULATIONS: Final = 200


@router.get("")
async def form(
    request: Request,
    _principal: RunsWriter,
    service: ServiceDep,
    population: Annotated[str | None, Query(max_length=100)] = None,
    of: Annotated[str | None, Query(max_length=36)] = None,
) -> HTMLResponse:
    """The form, empty, with a population, or as another run was asked for."""
    fields: dict[str, Any] = {} if population is None else {"population": population}
    if of is not None:
        run = await to_thread.run_sync(run_of_kind, service, "run", of)
        fields = {**run.request["asked"], "force": False}
    return await to_thread.run_sync(lambda: _page(request, service, fields))


@router.post("")
async def ask(
    request: Request,
    sent: FormDep,
    principal: RunsWriter,
    service: ServiceDep,
    reads: ReadsDep,
) -> Response:
    """Say what the run would take; or queue it."""
    fields = _body(sent)
    errors: list[tuple[str, str]] = []
    estimate: EstimateView | None = None
    status = 200
    try:
        body = RunRequest.model_validate(fields)
        if sent.get("do") == "start":
            once = sent.get("once", "") or secrets.token_urlsafe(16)
            run = await runs.start(body, Response(), once, principal, service, reads)
            return see(f"/runs/{run.id}")
        estimate = await estimates.estimate(body, principal, service, reads)
    except ValidationError as error:
        status = 422
        errors = [(str(one["loc"][0]) if one["loc"] else "", one["msg"]) for one in error.errors()]
    except RequestError as error:
        status = 422
        places = [pointer.split("/")[1] for pointer in error.pointers if "/" in pointer]
        errors = [(places[0] if places else "", str(error))]
    except tuple(STATUS) as error:
        status, errors = status_of(error), [("", str(error))]
    return await to_thread.run_sync(
        lambda: _page(
            request,
            service,
            fields,
            status,
            errors=errors,
            estimate=estimate,
            once=sent.get("once"),
        )
    )


def _body(sent: Form) -> dict[str, Any]:
    """The fields of a form as the body of a run; what was left empty is left out."""
    body: dict[str, Any] = {name: sent[name] for name in TEXTS if name in sent}
    body |= {name: sent.number(name) for name in NUMBERS if name in sent}
    body["contracts"] = sent.all("contracts")
    for name in ("accept", "statement"):
        if said := sent.below(f"{name}."):
            body[name] = said
    if "force" in sent:
        body["force"] = True
    return body


def _page(
    request: Request,
    service: Service,
    fields: Mapping[str, Any],
    status: int = 200,
    **shown: Any,
) -> HTMLResponse:
    held = service.store.registry.registered(limit=MOST_POPULATIONS)
    known = known_contracts(service)
    return page(
        request,
        "new_run.html",
        status=status,
        fields=fields,
        errors=shown.get("errors", []),
        wrong={name for name, _ in shown.get("errors", ())},
        estimate=shown.get("estimate"),
        once=shown.get("once") or secrets.token_urlsafe(16),
        populations=[one.name for one in held],
        contracts=[known[name].view for name in sorted(known)],
        programmes=programmes(),
        defaults={name: field.default for name, field in RunRequest.model_fields.items()},
        statement_fields=STATEMENT_FIELDS,
        gates=GATES,
        max_replicates=service.settings.max_replicates,
    )
