"""What a finished run is; its result tables, read back and held against what is declared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from ihp_compute.errors import RunError
from ihp_compute.folders import MANIFEST, Kind
from ihp_compute.measure import MEMBER_YEARS, member_years_schema
from ihp_compute.table_schema import TableSchema

KEPT_TERMS: Final = "contracts.json"
"""The terms that a run was settled by, in its folder (`kept_terms`)."""
RUN: Final = Kind(
    "run",
    entries=("digest", "terms", "population"),
    error=RunError,
    no_folder=f"{{folder}}: not a finished run, it has no {MANIFEST}; make one with ihp run",
    no_manifest=f"{{folder}}: not a finished run, it has no {MANIFEST}; make one with ihp run",
    unreadable="{manifest}: cannot be read ({reason}); run it again",
    another="{manifest}: expected the manifest of a run, got {found!r}",
    incomplete="{manifest}: lacks {missing}, cut off or edited; run it again",
    is_file="{folder}: is a file, expected a folder to make; choose another --out",
    occupied="{folder}: {what}, which will not be overwritten; choose another --out",
)


def result(run_dir: Path, declared: TableSchema, columns: Sequence[str] | None = None) -> pa.Table:
    """A result table of a run, with these of the declared columns; all unless named.

    Columns that a table has once for each rule set are as many as the run has rule sets.

    Raises
    ------
    RunError
        If the file is missing or lacks a column.
    """
    path = run_dir / f"{declared.name}.parquet"
    if not path.is_file():
        raise RunError(
            f"{path}: missing, the run is not finished or an earlier version made it; run it again"
        )
    names = list(columns or declared.names)
    try:
        if columns is None and declared is MEMBER_YEARS:
            declared = _as_stored(path)
            names = list(declared.names)
        found = set(pq.read_schema(path).names)
        if lacking := [name for name in names if name not in found]:
            raise RunError(
                f"{path}: found no {', '.join(lacking)}, expected the columns of this version; "
                "the run was made by an earlier one or changed, run it again"
            )
        schema = pa.schema([declared.arrow.field(name) for name in names])
        return pq.read_table(path, columns=names).select(names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowKeyError, KeyError, ValueError) as error:
        raise RunError(
            f"{path}: expected columns {', '.join(names)}, found others "
            f"({type(error).__name__}); run it again"
        ) from error


def _as_stored(path: Path) -> TableSchema:
    """`MEMBER_YEARS` with costs for each rule set of the file."""
    n_repeated = sum(bool(column.each) for column in MEMBER_YEARS.columns)
    n_others = len(MEMBER_YEARS.columns) - n_repeated
    return member_years_schema((len(pq.read_schema(path).names) - n_others) // n_repeated)
