"""Result tables of a finished run, read back and held against what is declared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ihp_compute.errors import RunError
from ihp_compute.table_schema import TableSchema


def result(run_dir: Path, declared: TableSchema, columns: Sequence[str] | None = None) -> pa.Table:
    """A result table of a run, with these of the declared columns; all unless named.

    Raises
    ------
    RunError
        If the file is missing or lacks a column.
    """
    path = run_dir / f"{declared.name}.parquet"
    if not path.is_file():
        raise RunError(f"{path}: missing, so the run is not finished; make one with ihp run")
    names = list(columns or declared.names)
    schema = pa.schema([declared.arrow.field(name) for name in names])
    try:
        return pq.read_table(path, columns=names).select(names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowKeyError, KeyError, ValueError) as error:
        raise RunError(
            f"{path}: expected columns {', '.join(names)}: {error}; run it again"
        ) from error
