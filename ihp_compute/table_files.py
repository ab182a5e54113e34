"""Tables of a user, read and written by extension, in any case: .csv, .parquet, .arrow; .xlsx read.

In a CSV file every column is text, ids and codes are never inferred; values may be separated by
commas, semicolons, tabs or bars, which the header tells. Of a workbook the first sheet is read, as
text too: a header in its first row, and the values that it stores.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from ihp_compute.errors import DataError, InfrastructureError

READABLE: Final = ".csv, .xlsx, .parquet or .arrow"
_CENTS: Final = "_cents"
_CENT: Final = pa.scalar(Decimal("0.01"), pa.decimal128(2, 2))
_SEPARATORS: Final = ";\t|"
_ERRORS: Final = frozenset(
    {"#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#N/A", "#GETTING_DATA"}
)
_DIGITS: Final = 15
"""Digits of a number that a workbook keeps."""


def read_table(path: Path) -> pa.Table:
    """A table by its extension; every column of a CSV file or a workbook as text.

    Raises
    ------
    DataError
        If the file is missing, of another kind or damaged.
    InfrastructureError
        If it is a workbook, and nothing is installed that reads one.
    """
    if not path.is_file():
        raise DataError(f"{path.name}: no such file, expected a table ({READABLE})")
    suffix = path.suffix.lower()
    try:
        if suffix == ".csv":
            return _read_csv(path)
        if suffix == ".xlsx":
            return _read_workbook(path)
        if suffix == ".parquet":
            return pq.read_table(path)
        if suffix == ".arrow":
            with pa.memory_map(str(path)) as source:
                return pa.ipc.open_file(source).read_all()
    except pa.ArrowInvalid as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path.name}: cannot be read: {reason}") from None
    raise DataError(f"{path.name}: expected {READABLE}")


def with_plain_names(
    table: pa.Table, where: str, keep: Callable[[str], bool] = lambda _: False
) -> pa.Table:
    """A table with the names of its columns in lower case and without spaces around them.

    Parameters
    ----------
    table : pa.Table
    where : str
        The table's name, for messages.
    keep : callable
        Names that keep their capitals.

    Raises
    ------
    DataError
        If two columns have one name.
    """
    bare = [name.strip() for name in table.column_names]
    names = [name if keep(name) else name.lower() for name in bare]
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise DataError(f"{where}: found column {twice[0]} twice, expected it once")
    return table.rename_columns(names)


def _separator(path: Path) -> str:
    """What separates the names of a CSV file's header: a comma if it has any outside quotes."""
    with path.open(encoding="utf-8", errors="replace") as file:
        bare = "".join(file.readline().split('"')[::2])
    if "," in bare:
        return ","
    return max(_SEPARATORS, key=bare.count) if any(map(bare.count, _SEPARATORS)) else ","


def _read_csv(path: Path) -> pa.Table:
    broken: list[pa_csv.InvalidRow] = []

    def leave_out(row: pa_csv.InvalidRow) -> str:
        broken.append(row)
        return "skip"

    rows = pa_csv.ParseOptions(
        delimiter=_separator(path), newlines_in_values=True, invalid_row_handler=leave_out
    )
    with path.open("rb") as stream:
        names = pa_csv.open_csv(stream, parse_options=rows).schema.names
    broken.clear()
    text = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
    )
    table = pa_csv.read_csv(path, parse_options=rows, convert_options=text)
    if broken:  # the row itself may be about a member
        raise DataError(
            f"{path.name}: cannot be read: {len(broken)} rows have more or fewer values than the "
            f"header's {broken[0].expected_columns}, the first has {broken[0].actual_columns}"
        )
    return table


def _read_workbook(path: Path) -> pa.Table:
    """The first sheet of a workbook, each value as text."""
    try:
        from openpyxl import load_workbook  # noqa: PLC0415 - an extra
        from openpyxl.utils.exceptions import InvalidFileException  # noqa: PLC0415
    except ImportError:
        raise InfrastructureError(
            f"{path.name}: openpyxl is not installed, expected the extra workbook; "
            'pip install "ihp-compute[workbook]", or save the sheet as .csv'
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and rules that nobody reads here
        try:
            stored, written = (
                [[cell.value for cell in row] for row in load_workbook(
                    path, read_only=True, data_only=data_only
                ).worksheets[0].iter_rows()]
                for data_only in (True, False)
            )  # fmt: skip
        except (
            InvalidFileException,
            zipfile.BadZipFile,
            KeyError,
            ValueError,
            IndexError,
        ) as error:
            raise DataError(
                f"{path.name}: cannot be read as a workbook ({type(error).__name__}); save it "
                "anew as .xlsx or as .csv"
            ) from None
    return _of_cells(path.name, stored, written)


def _of_cells(where: str, stored: Sequence[Sequence[Any]], written: Sequence[Sequence[Any]]) -> Any:
    """A table of a sheet's cells: stored values, and formulas where such are written."""
    if not stored or all(name is None for name in stored[0]):
        raise DataError(f"{where}: found no header in the first row of the first sheet")
    width = max(i for i, name in enumerate(stored[0]) if name is not None) + 1
    names = ["" if name is None else str(name).strip() for name in stored[0][:width]]
    if "" in names:
        raise DataError(f"{where}: column {names.index('') + 1} has no name in the first row")
    columns: list[list[str]] = [[] for _ in names]
    for row, (cells, texts) in enumerate(zip(stored[1:], written[1:], strict=True), start=2):
        if any(cell is not None for cell in cells[width:]):
            raise DataError(f"{where}: row {row} has values right of the last named column")
        if all(text is None for text in texts):
            continue
        for i, name in enumerate(names):
            value = cells[i] if i < len(cells) else None
            at = f"{where}: row {row}, {name}"
            if value is None and i < len(texts) and texts[i] is not None:
                raise DataError(
                    f"{at}: a formula without a stored value; open the workbook in a spreadsheet "
                    "and save it"
                )
            columns[i].append(_cell_text(value, name.lower(), at))
    arrays = [pa.array(column, pa.string()) for column in columns]
    return pa.Table.from_arrays(arrays, names=names)


def _cell_text(value: Any, name: str, at: str) -> str:
    """A cell as text: whole numbers of an id are its digits, numbers of a code are refused."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        is_id = name.endswith("_id")
        whole = isfinite(value) and value == int(value)
        if name.endswith("_code") or (is_id and not whole):
            raise DataError(
                f"{at}: found a number, so zeros at its head are lost; expected text"
                if whole
                else f"{at}: found a number with decimals, expected text or a whole number"
            )
        if is_id and abs(value) >= 10**_DIGITS:
            raise DataError(
                f"{at}: found a number of more than {_DIGITS} digits, of which a workbook keeps "
                "no more; expected text"
            )
        return str(int(value)) if whole else repr(value)
    if isinstance(value, datetime):
        return str(value.date()) if value.time() == time() else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    text = str(value)
    if text in _ERRORS:
        raise DataError(f"{at}: found the error {text}, expected a value")
    return text


def beside_cents(table: pa.Table) -> pa.Table:
    """A table for people: beside each column of cents, `X_cents`, one of dollars, `X_usd`.

    >>> beside_cents(pa.table({"paid_cents": [123456, None], "n": [1, 2]})).column_names
    ['paid_cents', 'paid_usd', 'n']
    """
    names, columns = [], []
    for field in table.schema:
        cents = table.column(field.name)
        names.append(field.name)
        columns.append(cents)
        dollars = f"{field.name.removesuffix(_CENTS)}_usd"
        if not field.name.endswith(_CENTS) or dollars in table.column_names:
            continue
        if pa.types.is_integer(field.type):
            names.append(dollars)
            columns.append(pc.multiply(cents.cast(pa.decimal128(20, 0)), _CENT))
    return pa.table(columns, names=names)


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table by its extension; a CSV file, for people, with dollars beside cents.

    Raises
    ------
    DataError
        If the extension is not .csv, .parquet or .arrow.
    """
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet", ".arrow"):
        raise DataError(f"{path.name}: expected .csv, .parquet or .arrow")
    path.parent.mkdir(parents=True, exist_ok=True)
    if suffix == ".csv":
        pa_csv.write_csv(beside_cents(table), path)
    elif suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
