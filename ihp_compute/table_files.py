"""Tables of a user, read and written by extension: .csv, .parquet, .arrow, in any case.

In a CSV file every column is text: ids and codes are never inferred.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from ihp_compute.errors import DataError


def read_table(path: Path) -> pa.Table:
    """A table by its extension; every CSV column as text.

    Raises
    ------
    DataError
        If the file is missing, of another kind or damaged.
    """
    if not path.is_file():
        raise DataError(f"{path.name}: no such file, expected a table (.csv, .parquet, .arrow)")
    suffix = path.suffix.lower()
    try:
        if suffix == ".csv":
            return _read_csv(path)
        if suffix == ".parquet":
            return pq.read_table(path)
        if suffix == ".arrow":
            with pa.memory_map(str(path)) as source:
                return pa.ipc.open_file(source).read_all()
    except pa.ArrowInvalid as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path.name}: cannot be read: {reason}") from None
    raise DataError(f"{path.name}: expected .csv, .parquet or .arrow")


def _read_csv(path: Path) -> pa.Table:
    broken: list[pa_csv.InvalidRow] = []

    def leave_out(row: pa_csv.InvalidRow) -> str:
        broken.append(row)
        return "skip"

    rows = pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=leave_out)
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


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table by its extension.

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
        pa_csv.write_csv(table, path)
    elif suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
