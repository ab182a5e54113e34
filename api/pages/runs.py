"""Runs in a browser: what goes on, what came out, what one may do about it.

A run's pages show the report's own exhibits (`exhibits`), whole or as everybody may see them, one
partnership's statement at a time, with the numbers to take along.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse

from api import lifecycle, results, runs
from api.auth import Principal, RunsCertifier, RunsReader, RunsWriter
from api.forms import ARROW, CSV, PARQUET
from api.lists import PageDep
from api.opened import report_of, sees_all
from api.pages.exhibits import (
    DATA,
    FILES,
    OVERVIEW,
    PARTS,
    STATEMENTS,
    Exhibits,
    numbers_of,
    title_of,
)
from api.pages.frame import FormDep, Live, PageRoute, page, see
from api.problems import BusyError, RequestError, UnknownResultError
from api.queued import finished
from api.reading import ReadsDep
from api.representations import Rows
from api.results import ResultView
from api.runs import RunView
from api.service import Service, ServiceDep
from cluster.states import AT_REST, FINAL, STATES, State
from ihp_compute.measure import STATEMENT_FIELDS
from ihp_compute.report import pieces
from ihp_compute.results import TABLES, Reconciliation, has_open_form, open_form, reconcile

router = APIRouter(prefix="/runs", route_class=PageRoute, include_in_schema=False)
FileForm = Literal["csv", "parquet", "arrow"]
"""As what a table can be taken, by the end of its address."""
FORMS: Final[dict[FileForm, str]] = {"csv": CSV, "parquet": PARQUET, "arrow": ARROW}
"""Forms of a table by how a file's name ends."""
WHOLE: Final = Rows(None, None, b"")
"""No part of a table, but all of it."""
TIED_S: Final = 60.0
"""How long it may take to hold a run's ledger to its settlement."""
FIRST_LOOK_S: Final = 1.5
"""How long a page waits for what it is cut from before it says that this is being made."""
AnyState = Annotated[State | Literal[""], Query()]


@router.get("")
def listed(
    request: Request,
    principal: RunsReader,
    service: ServiceDep,
    part: PageDep,
    state: AnyState = "",
    live: Live = False,  # noqa: ARG001 (read by the gate)
) -> HTMLResponse:
    """What goes on, newest first."""
    found = runs.listed(principal, service, part, state=state or None)
    going = [run for run in found.runs if run.state not in AT_REST]
    return page(
        request,
        "runs.html",
        runs=found.runs,
        next_page_token=found.next_page_token,
        states=STATES,
        state=state,
        first=part.after is None,
        reload_to=f"/runs?state={state}&live=1" if going and part.after is None else None,
    )


@router.get("/{run_id}")
async def show(
    run_id: str,
    request: Request,
    principal: RunsReader,
    service: ServiceDep,
    reads: ReadsDep,
    live: Live = False,  # noqa: ARG001 (read by the gate)
) -> HTMLResponse:
    """One run: where it stands, and once it has succeeded its headline and settlement."""
    run = await runs.show(run_id, request, Response(), principal, service)
    if run.state == "succeeded":
        return await _part(OVERVIEW, run, request, principal, service, reads)
    return page(
        request,
        "run_state.html",
        run=run,
        is_final=run.state in FINAL,
        is_own=run.owner == principal.owner or "admin" in principal.scopes,
        reload_to=None if run.state in AT_REST else f"/runs/{run_id}?live=1",
    )


@router.get("/{run_id}/{part}")
async def show_part(
    run_id: str,
    part: str,
    request: Request,
    principal: RunsReader,
    service: ServiceDep,
    reads: ReadsDep,
    partnership: Annotated[str | None, Query(max_length=200)] = None,
    live: Live = False,  # noqa: ARG001 (read by the gate)
) -> HTMLResponse:
    """More of a run that succeeded: one of its pages."""
    if part == OVERVIEW or part not in PARTS:
        raise UnknownResultError("a run has no such page; its first page leads to all it has")
    run = await runs.show(run_id, request, Response(), principal, service)
    return await _part(part, run, request, principal, service, reads, partnership)


async def _part(
    part: str,
    run: RunView,
    request: Request,
    principal: Principal,
    service: Service,
    reads: ReadsDep,
    partnership: str | None = None,
) -> HTMLResponse:
    """A page of a run that succeeded, of the report that who asks may see."""
    whole = sees_all(principal)
    _, folder = await to_thread.run_sync(finished, service, "run", run.id)
    try:
        report = await report_of(request, service, folder, whole=whole, limit_s=FIRST_LOOK_S)
    except BusyError:  # it is made all the same: say so, and come back
        return page(request, "run_making.html", run=run, whole=whole, reload_to=_again(request))
    exhibits = await reads.of(_cut, run.id, report)
    shown: dict[str, Any] = {}
    if part == STATEMENTS:
        names = exhibits.names
        chosen = next((a for a, name in names.items() if name == partnership), None)
        if chosen is None and partnership is not None:
            raise UnknownResultError("no partnership of this name is shown of this run")
        chosen = chosen or next(iter(names), None)
        shown = {"chosen": chosen, "statement": exhibits.statement(chosen) if chosen else ""}
    elif part == DATA:
        shown = {"tied": await reads.within(TIED_S, _tied, folder, whole)}
    elif part == FILES:
        shown = {"tables": await reads.of(_tables, folder, run.id, whole)}
    sections = exhibits.sections(part)
    titles = {anchor: title_of(text) for anchor, text in sections.items()}
    alone = next((a for a, title in titles.items() if title == PARTS[part].name), None)
    if alone is not None:  # the page's own heading says it
        sections[alone] = sections[alone].partition("</h2>")[2]
    return page(
        request,
        "run.html" if part == OVERVIEW else "run_part.html",
        run=run,
        part=part,
        parts=PARTS,
        exhibits=exhibits,
        sections=sections,
        titles=titles,
        alone=alone,
        numbers=await reads.of(_numbers, folder, tuple(sections), whole),
        forms=tuple(FORMS),
        statement_fields=STATEMENT_FIELDS,
        whole=whole,
        **shown,
    )


def _again(request: Request) -> str:
    """The same page, asked for by itself."""
    return str(request.url.include_query_params(live="1").replace(scheme="", netloc=""))


def _cut(run_id: str, report: Path) -> Exhibits:
    """The exhibits in a report's file, which is written once."""
    return _cut_once(run_id, report, report.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _cut_once(run_id: str, report: Path, _written_ns: int) -> Exhibits:
    return Exhibits(run_id, pieces(report.read_text(encoding="utf-8")))


def _numbers(folder: Path, anchors: Sequence[str], whole: bool) -> dict[str, list[str]]:
    """Tables that each section is made of, those that who asks may have."""
    return {
        anchor: [t for t in numbers_of(anchor, folder) if whole or has_open_form(TABLES[t])]
        for anchor in anchors
    }


def _tables(folder: Path, run_id: str, whole: bool) -> list[tuple[ResultView, bool]]:
    """Tables of a run, and whether each is closed to who asks."""
    return [
        (one, one.restricted and not whole and not has_open_form(TABLES[one.table]))
        for one in results.tables_of(folder, run_id, whole=whole)
    ]


@lru_cache(maxsize=64)
def _tied(folder: Path, whole: bool) -> Reconciliation:
    """The ledger of a run held to its settlement; its open form is fixed when its report is."""
    return reconcile(folder, None if whole else open_form(folder))


@router.get("/{run_id}/tables/{table}.{form}")
async def table(
    run_id: str,
    table: str,
    form: FileForm,
    request: Request,
    principal: RunsReader,
    service: ServiceDep,
    reads: ReadsDep,
) -> Response:
    """One table of a run as a file."""
    asked = wanting(request, FORMS[form])
    return await results.read(run_id, table, asked, principal, service, reads, WHOLE)


def wanting(request: Request, media_type: str) -> Request:
    """The same request, wanting a form: a link cannot say so in a header."""
    headers = [pair for pair in request.scope["headers"] if pair[0] != b"accept"]
    return Request({**request.scope, "headers": [*headers, (b"accept", media_type.encode())]})


@router.post("/{run_id}/cancel")
def cancel(
    run_id: str, request: Request, _fields: FormDep, principal: RunsWriter, service: ServiceDep
) -> Response:
    """Cancel a run."""
    runs.cancel(run_id, request, Response(), principal, service)
    return see(f"/runs/{run_id}")


@router.post("/{run_id}/retry")
async def retry(
    run_id: str, _fields: FormDep, principal: RunsWriter, service: ServiceDep, reads: ReadsDep
) -> Response:
    """Make a run again."""
    again = await lifecycle.retry(run_id, principal, Response(), service, reads)
    return see(f"/runs/{again.id}")


@router.post("/{run_id}/accept")
def accept(
    run_id: str, request: Request, fields: FormDep, principal: RunsCertifier, service: ServiceDep
) -> Response:
    """Accept gates that a run tripped, each with a reason."""
    reasons = fields.below("reason.")
    if not reasons:
        raise RequestError("say a reason for at least one gate")
    lifecycle.accept(run_id, reasons, request, principal, Response(), service)
    return see(f"/runs/{run_id}")


@router.post("/{run_id}/certify")
def certify(
    run_id: str, request: Request, fields: FormDep, principal: RunsCertifier, service: ServiceDep
) -> Response:
    """Certify a run that somebody else submitted."""
    said = lifecycle.CertificationRequest(statement=fields.below("statement."))
    lifecycle.certify(run_id, said, request, principal, service)
    return see(f"/runs/{run_id}")
