"""Results of a finished run: its tables, its manifest, its report.

    find the attempt that counts -> may they see all? -> whole, else the open form (`opened`)
        -> in the form they accept (`forms`)

Which tables there are, and which are restricted, is declared (`ihp_compute.results.TABLES`); every
read of a restricted one that is whole is recorded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pyarrow.parquet as pq
from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel

from api.auth import ForbiddenError, Principal, RunsReader
from api.forms import JSON, TABLE, table_response
from api.opened import MEMBER_SCOPE, open_file, open_report, opened, sees_all
from api.problems import UnknownResultError, responses
from api.queued import finished
from api.service import Service, ServiceDep
from cluster.runs import Run
from ihp_compute.folders import MANIFEST
from ihp_compute.results import TABLES, has_open_form

PAGE_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:"

router = APIRouter(prefix="/v1/runs/{run_id}", tags=["results"])


class ResultView(BaseModel):
    """A table of results."""

    table: str
    rows: int
    columns: list[str]
    restricted: bool
    href: str


@router.get("/results", operation_id="list_results", responses=responses(404, 409))
def listed(run_id: str, _principal: RunsReader, service: ServiceDep) -> list[ResultView]:
    """The tables of a run."""
    _, folder = finished(service, "run", run_id)
    views = []
    for name, declared in sorted(TABLES.items()):
        path = folder / f"{name}.parquet"
        if path.is_file():
            about = pq.read_metadata(path)
            views.append(
                ResultView(
                    table=name,
                    rows=about.num_rows,
                    columns=about.schema.to_arrow_schema().names,
                    restricted=declared.restricted,
                    href=f"/v1/runs/{run_id}/results/{name}",
                )
            )
    return views


@router.get(
    "/results/{table}",
    operation_id="read_result",
    response_class=Response,
    responses=TABLE,
)
def read(
    run_id: str, table: str, request: Request, principal: RunsReader, service: ServiceDep
) -> Response:
    """One table of a run; to a key without `results:member` null where few people stand behind."""
    run, folder = finished(service, "run", run_id)
    path = folder / f"{table}.parquet"
    if table not in TABLES or not path.is_file():
        raise UnknownResultError(
            f"the run has no such table; GET /v1/runs/{run_id}/results lists them"
        )
    if sees_all(principal):
        if TABLES[table].restricted:
            _record(table, principal, service, run)
        return table_response(path, request)
    if not has_open_form(TABLES[table]):
        raise ForbiddenError(
            f"this table has a row per member and needs the scope {MEMBER_SCOPE}; "
            f"`ihp keys create --scope runs:read --scope {MEMBER_SCOPE}` makes a key that has it"
        )
    return table_response(open_file(opened(service, folder), table), request)


@router.get("/manifest", operation_id="read_manifest", responses=responses(404, 409))
def manifest(run_id: str, principal: RunsReader, service: ServiceDep) -> Response:
    """What went into a run and what came out: digests, versions, years, terms, timings."""
    _, folder = finished(service, "run", run_id)
    if sees_all(principal):
        return _file(folder, MANIFEST, JSON)
    return JSONResponse(opened(service, folder).manifest())


@router.get("/report", operation_id="read_report", responses=responses(404, 409))
def report(run_id: str, principal: RunsReader, service: ServiceDep) -> FileResponse:
    """The report page of a run, in one file: whole, or as everybody may see it."""
    _, folder = finished(service, "run", run_id)
    page = folder / "report.html" if sees_all(principal) else open_report(opened(service, folder))
    response = _file(page.parent, page.name, "text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = PAGE_POLICY
    return response


def _record(table: str, principal: Principal, service: Service, run: Run) -> None:
    service.store.queue.record(
        run.id, actor=principal.owner, kind="member_rows_read", detail={"table": table}
    )


def _file(folder: Path, name: str, media_type: str) -> FileResponse:
    path = folder / name
    if not path.is_file():
        raise UnknownResultError(f"the run has no {name}")
    return FileResponse(path, media_type=media_type)
