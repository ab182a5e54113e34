"""A table in the form that the caller accepts: JSON, CSV, Arrow IPC stream or Parquet.

    which form? -> is it the one they have? -> stream

The ETag is the content's SHA-256 and the form: equal content has an equal tag, whatever the run.
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
from fastapi import Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from api.problems import NotAcceptableError, responses

JSON: Final = "application/json"
ARROW: Final = "application/vnd.apache.arrow.stream"
PARQUET: Final = "application/vnd.apache.parquet"
CSV: Final = "text/csv"
FORMS: Final = (JSON, ARROW, PARQUET, CSV)
"""Forms a table is given in; the first is given where any is accepted."""
BATCH_ROWS: Final = 65_536
"""Rows in memory while a table is sent."""
TABLE: Final = responses(404, 406, 409) | {
    200: {"content": {form: {} for form in FORMS}},
    304: {"description": "Not Modified"},
}
"""Documentation of what an endpoint that gives a table may answer with."""


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


def accepted(header: str | None) -> str:
    """The form that an Accept header prefers; among equals, the first of `FORMS`.

    For each form the most exact part of the header counts: `type/subtype`, `type/*`, `*/*`.

    Raises
    ------
    NotAcceptableError
        If no form has a weight above 0.

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
