"""The forms a table is given in: JSON by pages, CSV, Arrow IPC stream or Parquet.

    which form does Accept prefer? -> its rows, a few thousand at a time, as bytes

Not here: tags, ranges, who waits for whom while a table is sent (`downloads`).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from api.problems import NotAcceptableError
from ihp_compute.table_files import beside_cents

JSON: Final = "application/json"
ARROW: Final = "application/vnd.apache.arrow.stream"
PARQUET: Final = "application/vnd.apache.parquet"
CSV: Final = "text/csv"
FORMS: Final = (JSON, ARROW, PARQUET, CSV)
"""Forms a table is given in; the first is given where any is accepted."""
SUFFIX: Final = {ARROW: "arrows", CSV: "csv", JSON: "json", PARQUET: "parquet"}
BATCH_ROWS: Final = 4096
"""Rows in memory while a table is sent."""
JSON_ROWS: Final = 1024
"""Likewise of JSON, whose values are objects of Python for a moment."""
COLUMN_BYTES: Final = 1 << 16
"""Bytes of each column that are read ahead while it is decoded."""
FILE_BYTES: Final = 1 << 18
"""Bytes in memory of a file that is sent as it is."""


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


def arrow(path: Path) -> Iterator[bytes]:
    """A table as an Arrow IPC stream, in parts."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, pq.read_schema(path).remove_metadata()) as writer:
        for batch in _batches(path):
            writer.write_batch(batch.replace_schema_metadata())
            yield _taken(sink)
    yield _taken(sink)


def csv(path: Path) -> Iterator[bytes]:
    """A table as CSV with a header, in parts; dollars stand beside cents."""
    sink = io.BytesIO()
    pa.csv.write_csv(beside_cents(pq.read_schema(path).empty_table()), sink)
    yield _taken(sink)
    for batch in _batches(path):
        rows = beside_cents(pa.Table.from_batches([batch]))
        pa.csv.write_csv(rows, sink, pa.csv.WriteOptions(include_header=False))
        yield _taken(sink)


def json_rows(path: Path, first: int, n_rows: int, token: str | None) -> Iterator[bytes]:
    """Rows of a table as `{"rows": […], "next_page_token"}`, in parts.

    Keys of 64 bits are text, or readers that keep numbers in floats would round them; what is no
    finite number is null.

    Parameters
    ----------
    path : Path
    first, n_rows : int
        Position of the first row, and how many.
    token : str or None
        What asks for the rows that follow.
    """
    before = b'{"rows":['
    for batch in _batches(path, first, n_rows, JSON_ROWS):
        names = batch.schema.names
        columns = (_plain(column).to_pylist() for column in batch.columns)
        rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        yield before + msgspec.json.encode(rows)[1:-1]
        before = b","
    rest = b'],"next_page_token":' + msgspec.json.encode(token) + b"}"
    yield before + rest if before.startswith(b"{") else rest


def file_bytes(path: Path, first: int = 0, last: int | None = None) -> Iterator[bytes]:
    """A file from byte `first` up to before `last`, in parts."""
    with path.open("rb") as file:
        left = (path.stat().st_size if last is None else last) - file.seek(first)
        while left > 0 and (part := file.read(min(left, FILE_BYTES))):
            left -= len(part)
            yield part


WRITERS: Final[Mapping[str, Callable[[Path], Iterator[bytes]]]] = {
    ARROW: arrow,
    CSV: csv,
    PARQUET: file_bytes,
}
"""What is given whole, by form."""


def content_sha256(path: Path) -> str:
    """SHA-256 of a table's schema and rows, however its file is made."""
    return _sha256(arrow(path))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    return _sha256(file_bytes(path))


def _sha256(parts: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _batches(
    path: Path, first: int = 0, n_rows: int | None = None, batch_rows: int = BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """Rows of a table from a position on; row groups before it are not read."""
    n_read = 0
    try:
        with pq.ParquetFile(
            path, page_checksum_verification=True, pre_buffer=False, buffer_size=COLUMN_BYTES
        ) as file:
            left = file.metadata.num_rows - first if n_rows is None else n_rows
            groups: list[int] = []
            start = 0
            for n in range(file.metadata.num_row_groups):
                n_in_group = file.metadata.row_group(n).num_rows
                if groups or first < start + n_in_group:
                    groups.append(n)
                else:
                    start += n_in_group
            skip = first - start
            for batch in file.iter_batches(batch_rows, row_groups=groups, use_threads=False):
                n_read += batch.num_rows
                rows = batch.slice(skip, left)
                skip = max(skip - batch.num_rows, 0)
                left -= rows.num_rows
                if rows.num_rows:
                    yield rows
                if left <= 0:
                    return
    finally:
        if (
            n_read > BATCH_ROWS
        ):  # it walks through all that is free, which a small table is not worth
            pa.default_memory_pool().release_unused()  # or the next one's comes on top


def _plain(column: pa.Array) -> pa.Array:
    return column.cast(pa.string()) if column.type == pa.uint64() else column


def _taken(sink: io.BytesIO) -> bytes:
    value = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return value
