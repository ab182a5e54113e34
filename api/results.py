"""Results of a finished run, in the form the caller accepts.

    find the attempt that counts -> may they? -> which form? -> is it the one they have? -> stream

Arrow IPC stream, Parquet, CSV or JSON, by `Accept`. The ETag is the content's SHA-256 and the form:
equal content has an equal tag, whatever the run. Tables with a row per member are restricted.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from api.auth import ForbiddenError, Principal, RunsReader
from api.problems import ConflictError, NotAcceptableError, UnknownResultError, responses
from api.runs import KIND, run_of_kind
from api.schemas import ResultView
from api.service import Service, ServiceDep
from cluster.runs import Run

JSON: Final = "application/json"
ARROW: Final = "application/vnd.apache.arrow.stream"
PARQUET: Final = "application/vnd.apache.parquet"
CSV: Final = "text/csv"
FORMS: Final = (JSON, ARROW, PARQUET, CSV)
"""Forms a table is given in; the first is for those who do not mind."""
BATCH_ROWS: Final = 65_536
MEMBER_SCOPE: Final = "results:member"
MEMBER_COLUMNS: Final = frozenset({"member_key", "member_id", "person_id"})
"""A table with one of these has a row per member."""
PAGE_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:"

router = APIRouter(prefix="/v1/runs/{run_id}", tags=["results"])


@router.get("/results", operation_id="list_results", responses=responses(404, 409))
def listed(run_id: str, _principal: RunsReader, service: ServiceDep) -> list[ResultView]:
    """The tables of a run."""
    _, folder = finished(service, run_id)
    views = []
    for path in sorted(folder.glob("*.parquet")):
        about = pq.read_metadata(path)
        columns = about.schema.to_arrow_schema().names
        views.append(
            ResultView(
                table=path.stem,
                rows=about.num_rows,
                columns=columns,
                restricted=not MEMBER_COLUMNS.isdisjoint(columns),
                href=f"/v1/runs/{run_id}/results/{path.stem}",
            )
        )
    return views


@router.get(
    "/results/{table}",
    operation_id="read_result",
    response_class=Response,
    responses=responses(404, 406, 409)
    | {200: {"content": {form: {} for form in FORMS}}, 304: {"description": "Not Modified"}},
)
def read(
    run_id: str, table: str, request: Request, principal: RunsReader, service: ServiceDep
) -> Response:
    """One table of a run."""
    run, folder = finished(service, run_id)
    path = next((path for path in folder.glob("*.parquet") if path.stem == table), None)
    if path is None:
        raise UnknownResultError(
            f"the run has no such table; GET /v1/runs/{run_id}/results lists them"
        )
    _admit(path, principal, service, run)
    return table_response(path, request)


def table_response(path: Path, request: Request) -> Response:
    """A table in the form that a request accepts, or 304 where the caller has it."""
    form = accepted(",".join(request.headers.getlist("accept")))
    about = path.stat()
    tag = f'"{_content_sha256(path, about.st_mtime_ns, about.st_size)}-{form.rpartition(".")[2]}"'
    headers = {"ETag": tag, "Vary": "Accept", "Cache-Control": "private, no-cache"}
    if _matches(request.headers.get("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    headers["Content-Disposition"] = f'attachment; filename="{path.stem}.{_SUFFIX[form]}"'
    if form == PARQUET:
        return FileResponse(path, media_type=form, headers=headers)
    return StreamingResponse(_WRITERS[form](path), media_type=form, headers=headers)


@router.get("/manifest", operation_id="read_manifest", responses=responses(404, 409))
def manifest(run_id: str, _principal: RunsReader, service: ServiceDep) -> FileResponse:
    """What went into a run and what came out: digests, versions, years, terms, timings."""
    _, folder = finished(service, run_id)
    return _file(folder, "manifest.json", JSON)


@router.get("/report", operation_id="read_report", responses=responses(404, 409))
def report(run_id: str, _principal: RunsReader, service: ServiceDep) -> FileResponse:
    """The report page of a run, in one file."""
    _, folder = finished(service, run_id)
    response = _file(folder, "report.html", "text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = PAGE_POLICY
    return response


def finished(service: Service, run_id: str, kind: str = KIND) -> tuple[Run, Path]:
    """A run (or sweep) that succeeded and the folder of the attempt that counts.

    Raises
    ------
    UnknownRunError
        If there is no such run.
    ConflictError
        If it has no results.
    """
    run = run_of_kind(service, run_id, kind)
    if run.state != "succeeded":
        raise ConflictError(f"the {kind} is {run.state}; results exist once it is succeeded")
    return run, service.home.attempt(run.id, run.attempt)


def accepted(header: str | None) -> str:
    """The form that an Accept header prefers.

    Raises
    ------
    NotAcceptableError

    >>> accepted("text/csv;q=0.5, application/vnd.apache.arrow.stream")
    'application/vnd.apache.arrow.stream'
    """
    best: tuple[float, int] | None = None
    for rank, form in enumerate(FORMS):
        weight, nearest = 0.0, -1
        for part in (header or "*/*").split(","):
            kind, *parameters = (text.strip().lower() for text in part.split(";"))
            close = (form == kind) * 3 or (kind == f"{form.partition('/')[0]}/*") * 2
            close = close or (kind == "*/*") * 1
            if close > max(nearest, 0):
                nearest, weight = close, _weight(parameters)
        if weight > 0 and (best is None or weight > best[0]):
            best = (weight, rank)
    if best is None:
        raise NotAcceptableError(f"results are given as {', '.join(FORMS)}; ask for one of these")
    return FORMS[best[1]]


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 0.0
            return weight if 0 <= weight <= 1 else 0.0
    return 1.0


def _matches(header: str | None, tag: str) -> bool:
    held = [text.strip().removeprefix("W/") for text in (header or "").split(",")]
    return tag in held or "*" in held


def _admit(path: Path, principal: Principal, service: Service, run: Run) -> None:
    if MEMBER_COLUMNS.isdisjoint(pq.read_schema(path).names):
        return
    if MEMBER_SCOPE not in principal.scopes:
        raise ForbiddenError(
            f"this table has a row per member and needs the scope {MEMBER_SCOPE}; "
            f"`ihp keys create --scope runs:read --scope {MEMBER_SCOPE}` makes a key that has it"
        )
    service.store.queue.record(
        run.id, actor=principal.owner, kind="member_rows_read", detail={"table": path.stem}
    )


def _file(folder: Path, name: str, media_type: str) -> FileResponse:
    path = folder / name
    if not path.is_file():
        raise UnknownResultError(f"the run has no {name}")
    return FileResponse(path, media_type=media_type)


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        yield from file.iter_batches(batch_size=BATCH_ROWS)


def _arrow(path: Path) -> Iterator[bytes]:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, pq.read_schema(path).remove_metadata()) as writer:
        for batch in _batches(path):
            writer.write_batch(batch.replace_schema_metadata())
            yield sink.getvalue()
            sink.seek(0)
            sink.truncate()
    yield sink.getvalue()


def _csv(path: Path) -> Iterator[bytes]:
    with io.BytesIO() as sink:
        pa.csv.write_csv(pq.read_schema(path).empty_table(), sink)
        yield sink.getvalue()
    for batch in _batches(path):
        with io.BytesIO() as sink:
            pa.csv.write_csv(batch, sink, pa.csv.WriteOptions(include_header=False))
            yield sink.getvalue()


def _json(path: Path) -> Iterator[bytes]:
    before = "["
    for batch in _batches(path):
        for row in batch.to_pylist():
            plain = {name: _plain(value) for name, value in row.items()}
            yield (before + json.dumps(plain, allow_nan=False)).encode()
            before = ",\n"
    yield b"[]" if before == "[" else b"]"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value


_WRITERS: Final = {ARROW: _arrow, CSV: _csv, JSON: _json}
_SUFFIX: Final = {ARROW: "arrows", CSV: "csv", JSON: "json", PARQUET: "parquet"}


@lru_cache(maxsize=1024)
def _content_sha256(path: Path, _mtime_ns: int, _size: int) -> str:
    digest = hashlib.sha256()
    for part in _arrow(path):
        digest.update(part)
    return digest.hexdigest()
