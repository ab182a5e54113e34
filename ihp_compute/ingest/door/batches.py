"""From files to batches: which rows a worker reads, and what a file's folders state of them.

    file -> parts for workers -> batches of raw columns

How a file is read is in `csv_files` and `parquet_files`; what stops there is a sentence that names
the file, never a value. Not here: what a value says (`values`).
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ihp_compute.errors import DataError
from ihp_compute.ingest.door.csv_files import csv_batches, read_header
from ihp_compute.ingest.door.layout import check_columns
from ihp_compute.ingest.door.parquet_files import parquet_batches, read_footer, schema_of
from ihp_compute.ingest.door.texts import as_text
from ihp_compute.ingest.door.values import BAD_DAY, read_cents, read_days
from ihp_compute.ingest.input_files import InputFile
from ihp_compute.input_columns import InputColumn, InputTable, Kind

BATCH_ROWS: Final = 1 << 18
"""Rows of a batch, about."""
PART_ROWS: Final = 4_000_000
"""Rows of what one worker reads, about."""
_MOSTLY_DISTINCT: Final = frozenset({"claim_id", "person_id", "member_id"})


@dataclass(frozen=True)
class Part:
    """What one worker reads of an input file: row groups [first, last) of Parquet, all of a CSV."""

    file: InputFile
    file_index: int
    first_row_group: int = 0
    last_row_group: int = -1
    first_row: int = 0
    metadata: pq.FileMetaData | None = None


def parts_of(file: InputFile, index: int) -> list[Part]:
    """Cut a Parquet file at row groups into pieces of about `PART_ROWS`; a CSV is one piece.

    Raises
    ------
    DataError
        If a Parquet file's footer cannot be read, or promises what no table has.
    """
    if not _is_parquet(file):
        return [Part(file, index)]
    metadata = read_footer(file)
    sizes = [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]
    parts, start, rows, before = [], 0, 0, 0
    for k, size in enumerate(sizes):
        rows += size
        if rows >= PART_ROWS or k == len(sizes) - 1:
            parts.append(Part(file, index, start, k + 1, before, metadata))
            before, start, rows = before + rows, k + 1, 0
    return parts or [Part(file, index, 0, 0, 0, metadata)]


def column_names(file: InputFile) -> list[str]:
    """Column names as they stand in the file.

    Raises
    ------
    DataError
        If the file is empty or cannot be read.
    """
    if not _is_parquet(file):
        return read_header(file).names
    return list(schema_of(file, read_footer(file)).names)


def batches(
    part: Part, table: InputTable, only: Container[str] | None = None
) -> Iterator[tuple[int, dict[str, pa.Array]]]:
    """Known columns of a part, a batch at a time, those that the file's folders state among them.

    `only` names the columns to read, if not all.

    Yields
    ------
    (row, columns)
        Number of the batch's first data row in its file (from 1), and arrays by lower-case name.
        CSV columns are text; Parquet columns keep their type, dictionaries undone.

    Raises
    ------
    DataError
        If the file is cut off or damaged, naming it and, for CSV, the line; or if it states other
        values than its folders.
    """
    file, footer = part.file, part.metadata
    stated = {name: value for name, value in file.stated if name in table.by_name}
    if footer is None:
        names = read_header(file).names
        known = _known(part, table, names, tuple(stated), only)
        source = csv_batches(file, known, BATCH_ROWS)
    else:
        names = list(schema_of(file, footer).names)
        known = _known(part, table, names, tuple(stated), only)
        groups = list(range(part.first_row_group, part.last_row_group))
        ids = frozenset(name for name in known if name.strip().lower() in _MOSTLY_DISTINCT)
        source = parquet_batches(file, footer, groups, known, ids, BATCH_ROWS)
    row = part.first_row + 1
    for batch in source:
        columns = {name.strip().lower(): batch.column(name) for name in known}
        for name, value in stated.items():
            with converting(file, row):
                agree = name not in columns or _agree(table.by_name[name], columns[name], value)
            if not agree:
                raise DataError(
                    f"{file.name}: column {name} states another value than the folder {name}=…. "
                    "Leave out the column, or move the file."
                )
            columns[name] = _constant(value, batch.num_rows)
        yield row, columns
        row += batch.num_rows


def _known(
    part: Part,
    table: InputTable,
    names: list[str],
    stated: tuple[str, ...],
    only: Container[str] | None,
) -> list[str]:
    known, _ = check_columns(table, names, part.file.name, stated)
    return [name for name in known if only is None or name.strip().lower() in only]


@contextmanager
def converting(file: InputFile, first_row: int) -> Iterator[None]:
    """Say of whatever a conversion raises where it was, and not which value it was.

    Raises
    ------
    DataError
        Naming the file and the batch's first row.
    """
    try:
        yield
    except (pa.ArrowException, ValueError, ArithmeticError) as error:
        raise DataError(
            f"{file.name}: a value in data row {first_row:,} or in the {BATCH_ROWS:,} behind it is "
            "of a kind that cannot be read. Write its column as text, number or date."
        ) from error


def _constant(value: str, n_rows: int) -> pa.Array:
    """What a folder states of each row."""
    places = pa.array(np.zeros(n_rows, np.int32))
    return pa.DictionaryArray.from_arrays(places, pa.array([value], pa.string()))


def _agree(column: InputColumn, array: pa.Array, value: str) -> bool:
    """Whether every value that a column states is the one that its file's folder states."""
    if not len(array):
        return True
    both = (array, pa.array([value], pa.string()))
    if column.kind is Kind.DATE:
        here, stated = map(read_days, both)
        return bool(np.isin(here, [stated[0], read_days(pa.array([""]))[0]]).all()) and not (
            (here == BAD_DAY).any()
        )
    if column.kind in (Kind.AMOUNT, Kind.NUMBER):
        here_, stated_ = (read_cents(a, column.places) for a in both)
        same = (here_.cents == stated_.cents[0]) & ~stated_.blank[0]
        return bool((here_.blank | same).all())
    here_texts, stated_texts = (
        as_text(a, whole=column.is_whole).unique().to_pylist() for a in both
    )
    spelling = column.spelling or str
    return {spelling(t) for t in here_texts} <= {"", *map(spelling, stated_texts)}


def _is_parquet(file: InputFile) -> bool:
    return file.path.suffix.lower() == ".parquet"
