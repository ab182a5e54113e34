"""Reference tables, which belong to nobody's shard: read whole, as text, in an order of their own.

Decides: that a day which cannot be read stops the ingest. What the tables say is read where it is
used (`measure`).
"""

from __future__ import annotations

from collections import Counter

import pyarrow as pa

from ihp_compute.errors import DataError
from ihp_compute.ingest.door.batches import batches, converting, parts_of
from ihp_compute.ingest.door.books import CodeBook
from ihp_compute.ingest.door.texts import as_text
from ihp_compute.ingest.door.values import BAD_DAY, day_of_text
from ihp_compute.ingest.input_files import InputFile, InputFolder
from ihp_compute.input_columns import INPUT_TABLES, InputTable, Kind
from ihp_compute.units import NO_DAY, date_of


def read_reference(folder: InputFolder, name: str) -> tuple[pa.Table, Counter[int]]:
    """A table that is not sharded, and how many rows each of its files has, by index.

    Columns are text, trimmed, days as YYYY-MM-DD; rows are sorted.

    Raises
    ------
    DataError
        If a file is damaged or a day cannot be read; names file and row.
    """
    table = INPUT_TABLES[name]
    pieces = []
    rows: Counter[int] = Counter()
    for index, file in folder.of(name):
        rows[index] = 0
        for part in parts_of(file, index):
            for first_row, columns in batches(part, table):
                n = len(next(iter(columns.values())))
                rows[index] += n
                with converting(file, first_row):
                    pieces.append(_piece(file, table, columns, first_row, n))
    schema = pa.schema([(column, pa.string()) for column in table.known])
    whole = pa.concat_tables(pieces) if pieces else schema.empty_table()
    whole = whole.sort_by([(column, "ascending") for column in table.known])
    return whole, rows


def number_reference(name: str, rows: pa.Table, codes: CodeBook) -> dict[str, list[str]]:
    """Number the codes of a table's columns; by column, those that nothing read before has."""
    fresh = {}
    for column in INPUT_TABLES[name].columns:
        if column.code_system:
            found = rows.column(column.name).unique().to_pylist()
            fresh[column.name] = codes.unmet(column.code_system, found)
            codes.numbers(column.code_system, found)
    return fresh


def _piece(
    file: InputFile, table: InputTable, columns: dict[str, pa.Array], first_row: int, n: int
) -> pa.Table:
    """One batch of a table: known columns as text."""
    piece = {}
    for column in table.columns:
        name = column.name
        if name not in columns:
            piece[name] = pa.array([""] * n, pa.string())
            continue
        texts = as_text(columns[name]).cast(pa.string())
        if column.kind is Kind.DATE:
            written = texts.dictionary_encode()
            days = [day_of_text(text) for text in written.dictionary.to_pylist()]
            if BAD_DAY in days:
                row = written.indices.index(days.index(BAD_DAY)).as_py()
                raise DataError(
                    f"{file.name}, data row {first_row + row:,}: {name} is not a date. "
                    "Write it as YYYY-MM-DD."
                )
            dates = ["" if day == NO_DAY else date_of(day).isoformat() for day in days]
            texts = pa.array(dates, pa.string()).take(written.indices)
        piece[name] = texts
    return pa.table(piece)
