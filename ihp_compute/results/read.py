"""Result tables of a finished run, read back and held against their declared schema."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ihp_compute.errors import RunError


def result(run_dir: Path, name: str, schema: pa.Schema) -> pa.Table:
    """A result table of a run.

    Parameters
    ----------
    run_dir : Path
    name : str
        Stem of the Parquet file.
    schema : pa.Schema
        Columns that must be there; others are left out.

    Returns
    -------
    pa.Table

    Raises
    ------
    RunError
        If the file is missing or lacks a column.
    """
    path = run_dir / f"{name}.parquet"
    if not path.is_file():
        raise RunError(f"{path}: missing, so the run is not finished; make one with ihp run")
    try:
        return pq.read_table(path, columns=schema.names).select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowKeyError, KeyError, ValueError) as error:
        raise RunError(
            f"{path}: expected columns {', '.join(schema.names)}: {error}; run it again"
        ) from error
