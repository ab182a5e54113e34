"""Reference tables, which belong to nobody's shard: read whole, as text, in an order of their own.

Decides: that a day which cannot be read stops the ingest. What rows must not say beside each other
is in `reference_rules`; what the other tables say is read where it is used (`measure`).
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from ihp_compute.errors import DataError
from ihp_compute.ingest.door.batches import batches, converting, parts_of
from ihp_compute.ingest.door.books import CodeBook
from ihp_compute.ingest.door.reference_rules import distinct_rows
from ihp_compute.ingest.door.texts import as_text, is_rounded
from ihp_compute.ingest.door.values import (
    BAD_DAY,
    NO_FLAG,
    DateOrder,
    flag_of_text,
    order_note,
    read_days,
    value_class,
)
from ihp_compute.ingest.findings import Doubt, Tally
from ihp_compute.ingest.input_files import InputFile, InputFolder
from ihp_compute.input_columns import (
    FIRST_DATE,
    INPUT_TABLES,
    OPEN_END,
    InputColumn,
    InputTable,
    Kind,
)
from ihp_compute.units import NO_DAY, date_of, day_of

OrderOf = Callable[[InputFile], DateOrder]
"""The order of day and month of a file (`date_orders`)."""


def read_reference(
    folder: InputFolder, name: str, order_of: OrderOf
) -> tuple[pa.Table, dict[int, Tally]]:
    """A table that is not sharded, and what each of its files was found to hold, by index.

    Columns are text, trimmed, days as YYYY-MM-DD; rows are sorted.

    Raises
    ------
    DataError
        If a file is damaged, a day cannot be read, an id was rounded, or as in
        `reference_rules.distinct_rows`; names file and row.
    """
    table = INPUT_TABLES[name]
    pieces = []
    starts: list[int] = [0]
    origins: list[tuple[str, int]] = []
    tallies: dict[int, Tally] = {}
    for index, file in folder.of(name):
        tally = tallies[index] = Tally()
        for part in parts_of(file, index):
            for first_row, columns in batches(part, table):
                n = len(next(iter(columns.values())))
                tally.rows += n
                with converting(file, first_row):
                    pieces.append(_piece(file, table, columns, first_row, n, order_of, tally))
                starts.append(starts[-1] + n)
                origins.append((file.name, first_row))
    schema = pa.schema([(column, pa.string()) for column in table.known])
    whole = pa.concat_tables(pieces) if pieces else schema.empty_table()

    def place(row: int) -> str:
        piece = bisect(starts, row) - 1
        file_name, first = origins[piece]
        return f"{file_name}, data row {first + row - starts[piece]:,}"

    whole = distinct_rows(name, whole, place)
    whole = whole.sort_by([(column, "ascending") for column in table.known])
    return whole, tallies


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
    file: InputFile,
    table: InputTable,
    columns: dict[str, pa.Array],
    first_row: int,
    n: int,
    order_of: OrderOf,
    tally: Tally,
) -> pa.Table:
    """One batch of a table: known columns as text."""
    piece = {}
    for column in table.columns:
        name = column.name
        if name not in columns:
            piece[name] = pa.array([""] * n, pa.string())
            continue
        if column.kind is Kind.DATE:
            piece[name] = _dates(file, column, columns[name], first_row, order_of, tally)
            continue
        if column.kind is Kind.ID and is_rounded(columns[name]):
            raise DataError(
                f"{file.name}: {name} looks like a number rounded by a spreadsheet: export it as "
                "text"
            )
        piece[name] = _spelled(
            as_text(columns[name], whole=column.is_whole).cast(pa.string()), column
        )
        if column.kind is Kind.FLAG:
            for entry in piece[name].value_counts().to_pylist():
                text, count = entry["values"], entry["counts"]
                if text and flag_of_text(text) == NO_FLAG:
                    tally.findings.see(Doubt(name, "not_understood", value_class(text)), count, 0)
    return pa.table(piece)


def _spelled(texts: pa.Array, column: InputColumn) -> pa.Array:
    """Texts as their column spells them."""
    if column.spelling is None:
        return texts
    coded = texts.dictionary_encode()
    spelled = [column.spelling(text) for text in coded.dictionary.to_pylist()]
    return pa.array(spelled, pa.string()).take(coded.indices)


def _dates(
    file: InputFile,
    column: InputColumn,
    array: pa.Array,
    first_row: int,
    order_of: OrderOf,
    tally: Tally,
) -> pa.Array:
    """A date column as text, blank where a day states none."""
    days = read_days(array)
    bad = days == BAD_DAY
    if bad.any() and (order := order_of(file)):
        days = read_days(array, order)
        tally.notes[order_note(file.name, order)] += int(np.count_nonzero(bad & (days != BAD_DAY)))
    stated = days != NO_DAY
    none = np.isin(days, [day_of(day) for day in column.no_dates])
    if column.may_be_open:
        none |= days >= day_of(OPEN_END)
    outside = (days < day_of(FIRST_DATE)) | (days >= day_of(OPEN_END))
    wrong = np.flatnonzero(stated & outside & ~none)
    if len(wrong):
        raise DataError(
            f"{file.name}, data row {first_row + wrong[0]:,}: {column.name} is not a date from "
            "1850 to 2099. Write it as YYYY-MM-DD."
        )
    values, index = np.unique(np.where(none, NO_DAY, days), return_inverse=True)
    dates = ["" if day == NO_DAY else date_of(day).isoformat() for day in values.tolist()]
    return pa.array(dates, pa.string()).take(pa.array(index))
