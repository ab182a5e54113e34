"""Results of a finished run: its tables, its manifest, its report.

    find the attempt that counts -> may they see all? -> whole, else the open form (`opened`)
        -> as they accept it (`representations`)

Which tables there are, and which are restricted, is declared (`ihp_compute.results.TABLES`); every
read of a restricted one that is whole stands among the run's events and in the audit.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq
from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel

from api.audit import note
from api.auth import ForbiddenError, Principal, RunsReader
from api.forms import JSON, content_sha256
from api.lists import PageDep
from api.opened import (
    MEMBER_SCOPE,
    open_manifest,
    open_table,
    report_of,
    sees_all,
)
from api.problems import UnknownResultError, responses
from api.queued import finished
from api.reading import ReadsDep
from api.representations import (
    FILE,
    TABLE,
    RowsDep,
    file_response,
    table_response,
)
from api.service import Service, ServiceDep
from cluster.runs import Run
from ihp_compute.folders import MANIFEST
from ihp_compute.results import TABLES, has_open_form

PAGE_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:"
HTML: Final = "text/html; charset=utf-8"

router = APIRouter(prefix="/v1/runs/{run_id}", tags=["results"])


class ResultView(BaseModel):
    """A table of results; `rows` are null to who may not read them."""

    table: str
    rows: int | None
    columns: list[str]
    restricted: bool
    href: str


class ResultPage(BaseModel):
    """Tables of a run by name; `next_page_token` asks for those that follow."""

    results: list[ResultView]
    next_page_token: str | None


@router.get("/results", operation_id="list_results", responses=responses(404, 409, 422, 503))
async def listed(
    run_id: str, principal: RunsReader, service: ServiceDep, reads: ReadsDep, page: PageDep
) -> ResultPage:
    """The tables of a run."""
    _, folder = await to_thread.run_sync(finished, service, "run", run_id)
    views = await reads.of(tables_of, folder, run_id, whole=sees_all(principal))
    shown, token = page.take(views, lambda view: view.table)
    return ResultPage(results=shown, next_page_token=token)


def tables_of(folder: Path, run_id: str, *, whole: bool) -> list[ResultView]:
    """The tables in a run's folder, as they are shown."""
    views = []
    for name, declared in sorted(TABLES.items()):
        path = folder / f"{name}.parquet"
        if path.is_file():
            status = path.stat()
            n_rows, columns = _about(path, status.st_mtime_ns, status.st_size)
            views.append(
                ResultView(
                    table=name,
                    rows=n_rows if whole or not declared.restricted else None,
                    columns=list(columns),
                    restricted=declared.restricted,
                    href=f"/v1/runs/{run_id}/results/{name}",
                )
            )
    return views


@lru_cache(maxsize=2048)
def _about(path: Path, _mtime_ns: int, _size: int) -> tuple[int, tuple[str, ...]]:
    """Rows and columns of a table, read once for as long as its file is the same."""
    about = pq.read_metadata(path)
    return about.num_rows, tuple(about.schema.to_arrow_schema().names)


@router.get(
    "/results/{table}",
    operation_id="read_result",
    response_class=Response,
    responses=TABLE,
)
async def read(
    run_id: str,
    table: str,
    request: Request,
    principal: RunsReader,
    service: ServiceDep,
    reads: ReadsDep,
    rows: RowsDep,
) -> Response:
    """One table of a run; to a key without `results:member` null where few people stand behind.

    JSON is given by pages of rows, the other forms whole; of Parquet a range of bytes may be asked.
    """
    run, folder = await to_thread.run_sync(finished, service, "run", run_id)
    path = folder / f"{table}.parquet"
    if table not in TABLES or not await reads.of(path.is_file):
        raise UnknownResultError(
            f"the run has no such table; GET /v1/runs/{run_id}/results lists them"
        )
    if sees_all(principal):
        if TABLES[table].restricted:
            await to_thread.run_sync(note_member_rows, request, table, run)
        return await table_response(request, path, rows, whole=True)
    if not has_open_form(TABLES[table]):
        member = "member_key" in TABLES[table].names
        why = "has a row per member" if member else "has no form without what tells of few people"
        raise ForbiddenError(
            f"this table {why}, and needs the scope {MEMBER_SCOPE}; "
            f"`ihp keys create --scope runs:read --scope {MEMBER_SCOPE}` makes a key that has it"
        )
    path = await open_table(service, folder, table).found(request)
    return await table_response(request, path, rows, whole=False)


@router.get("/manifest", operation_id="read_manifest", response_class=JSONResponse, responses=FILE)
async def manifest(
    run_id: str, request: Request, principal: RunsReader, service: ServiceDep
) -> Response:
    """What went into a run and what came out: digests, versions, years, terms, timings."""
    _, folder = await to_thread.run_sync(finished, service, "run", run_id)
    whole = sees_all(principal)
    path = folder / MANIFEST
    if not whole:
        path = await open_manifest(service, folder, content_sha256).found(request)
    return await file_response(request, path, JSON, whole=whole)


@router.get("/report", operation_id="read_report", response_class=HTMLResponse, responses=FILE)
@router.get(
    "/reports/report.html",
    operation_id="read_report_page",
    response_class=HTMLResponse,
    responses=FILE,
)
async def report(
    run_id: str, request: Request, principal: RunsReader, service: ServiceDep
) -> Response:
    """The report page of a run, in one file: whole, or as everybody may see it."""
    _, folder = await to_thread.run_sync(finished, service, "run", run_id)
    whole = sees_all(principal)
    page = await report_of(request, service, folder, whole=whole)
    policy = {"Content-Security-Policy": PAGE_POLICY}
    return await file_response(request, page, HTML, whole=whole, headers=policy)


def note_member_rows(request: Request, table: str, run: Run) -> None:
    """Keep among a run's events and in the audit that somebody read rows of members."""
    service: Service = request.app.state.service
    principal: Principal = request.state.principal
    note(request, "member_rows_read", run_id=run.id, result_table=table)
    service.store.queue.record(
        run.id, actor=principal.owner, kind="member_rows_read", detail={"table": table}
    )
