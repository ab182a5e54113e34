"""A sweep's file: written with what the sweep says of itself, held against its digest.

Not here: what stands in it (`sweep`).
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Final

import pyarrow as pa

from ihp_compute.errors import DataError, ResultsDamagedError
from ihp_compute.folders import check_file_place, sha256_known
from ihp_compute.publishing import whole
from ihp_compute.results import digest_over, table_digest
from ihp_compute.sweeps.sweep import SWEEP, Swept
from ihp_compute.table_files import read_table, write_table

SUFFIXES: Final = (".parquet", ".arrow", ".csv")
METADATA: Final = b"ihp_sweep"
FILE: Final = f"{SWEEP.name}.parquet"
"""Name of a sweep beside other results."""


def check_output(out: Path, *, replace: bool = False) -> None:
    """Refuse a place where a sweep does not belong, before anything is computed.

    Raises
    ------
    DataError
        If the extension says no form, or something is there that `replace` does not say to replace.
    """
    if out.suffix not in SUFFIXES:
        raise DataError(f"{out.name}: expected a name ending in {', '.join(SUFFIXES)}")
    check_file_place(out, replace=replace)


def write(swept: Swept, out: Path, *, replace: bool = False) -> None:
    """Write a sweep by its file's extension; Arrow and Parquet say what it is in their metadata.

    Raises
    ------
    DataError
        As `check_output`.
    """
    check_output(out, replace=replace)
    with whole(out) as draft:
        write_table(swept.table.replace_schema_metadata({METADATA: json.dumps(swept.said)}), draft)


def verify_sweep(file: Path) -> str:
    """Recompute the digest of a sweep from its rows and what it says of itself.

    Returns
    -------
    str
        The digest.

    Raises
    ------
    DataError
        If the file is no sweep, is a CSV, which says nothing of itself, or was changed.
    """
    if file.suffix == ".csv":
        raise DataError(f"{file}: a CSV holds no digest; sweep into .parquet or .arrow")
    try:
        table = read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: cannot be read back: {error}; sweep again") from None
    try:
        about = json.loads((table.schema.metadata or {})[METADATA])
        if about.get("suppressed"):
            raise DataError(
                f"{file}: is the open form of a sweep, which has no digest: verify the file that "
                "ihp sweep writes without --suppress"
            )
        held = about.pop("digest")
    except (KeyError, ValueError, AttributeError, TypeError):
        raise DataError(f"{file}: is no sweep; make one with ihp sweep") from None
    found = digest_over({SWEEP.name: table_digest(table)}, about)
    if found != held:
        raise DataError(
            f"{file}: digest {found[:12]}… of what is there, {str(held)[:12]}… in the file: the "
            "sweep was changed; sweep again"
        )
    return found


def check_undamaged(file: Path, digest: str) -> None:
    """Refuse a sweep's file that is not the one of this digest; the same file is read once.

    Raises
    ------
    ResultsDamagedError
        If it is gone, cut, changed or another's.
    """
    try:
        found = _digest_of(file, sha256_known(file))
    except (OSError, DataError):
        found = ""
    if found != digest:
        raise ResultsDamagedError(
            f"{file.name}: is gone, or not what the sweep wrote; restore it from a backup, or "
            "sweep again"
        )


@lru_cache(maxsize=64)
def _digest_of(file: Path, _sha256: str) -> str:
    return verify_sweep(file)
