"""Which files of a folder are which table, and whether their columns will do.

A table and its columns are known by the names declared in `input_columns`. Not here: how a file is
read (`batches`) and what its values say (`values`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from ihp_compute.errors import DataError
from ihp_compute.ingest.input_files import InputFile, InputFolder
from ihp_compute.input_columns import INPUT_TABLES, InputTable

SUFFIXES: Final = (".csv", ".csv.gz", ".parquet")


def find_inputs(folder: Path) -> InputFolder:
    """Sort a folder's CSV and Parquet files into tables.

    A table is `TABLE.csv`, `TABLE.csv.gz`, `TABLE.parquet`, `TABLE_seed.csv`, numbered parts
    `TABLE_0.parquet`, `TABLE-part-0.parquet` or `TABLE.csv_0_0_0.csv.gz`, or any number of such
    files in a folder `TABLE/` (or `TABLE_seed/`, `TABLE.parquet/`) at any depth. Hidden files and
    files of any other name are left out and named.

    Raises
    ------
    DataError
        If the folder is missing, holds no table, lacks `medical_claim` or `eligibility`.
    """
    expected = (
        "Expected Tuva input-layer tables: " + ", ".join(INPUT_TABLES) + " as CSV or Parquet."
    )
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. {expected}")
    files: list[InputFile] = []
    left_out: list[str] = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith((".", "_")) for part in relative.parts)
        if not path.is_file() or hidden:
            continue
        table = next((t for t in map(_table_of, relative.parts) if t), None)
        if table is None or not path.name.lower().endswith(SUFFIXES):
            left_out.append(relative.as_posix())
        else:
            files.append(InputFile(table, relative.as_posix(), path))
    aside = f" Left aside: {_some(left_out)}." if left_out else ""
    if not files:
        raise DataError(f"{folder} holds no table that can be read. {expected}{aside}")
    found = {file.table for file in files}
    missing = [
        table.name for table in INPUT_TABLES.values() if table.required and table.name not in found
    ]
    if missing:
        raise DataError(
            f"{folder} lacks {' and '.join(missing)}; it holds {', '.join(sorted(found))}. "
            f"{expected}{aside}"
        )
    if len(files) >= 2**16:
        raise DataError(f"{folder} holds {len(files):,} files, more than 65,535: join some of them")
    return InputFolder(tuple(files), tuple(left_out))


def check_columns(table: InputTable, names: list[str], file: str) -> tuple[list[str], list[str]]:
    """Split a file's columns into known and unknown ones; names are compared in lower case.

    Raises
    ------
    DataError
        Listing every required column that is missing, or one that stands twice.
    """
    lowered = [name.strip().lower() for name in names]
    twice = sorted({name for name in lowered if lowered.count(name) > 1 and name in table.known})
    if twice:
        raise DataError(f"{file} has more than one column {', '.join(twice)}: keep one of each")
    missing = [name for name in table.required_columns if name not in lowered]
    missing += [
        " or ".join(names_) for names_ in table.one_of if not any(n in lowered for n in names_)
    ]
    if missing:
        found = [name for name in lowered if name in table.known]
        # a first line without a single known name may be a member's row: it is not shown
        has = f"It has: {_some(found, 200)}" if found else "Its first line is not a header"
        raise DataError(
            f"{file} lacks required columns of {table.name}: {', '.join(missing)}. {has}."
        )
    known = [name for name, low in zip(names, lowered, strict=True) if low in table.known]
    unknown = [name for name, low in zip(names, lowered, strict=True) if low not in table.known]
    return known, unknown


def _some(names: list[str], most: int = 10) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


def _table_of(part: str) -> str | None:
    stem = _without_suffix(part.lower())
    stem = re.sub(r"(?:[-_.]?(?:part[-_]?)?\d+)+$", "", stem)
    stem = _without_suffix(stem).removesuffix("_seed")
    return stem if stem in INPUT_TABLES else None


def _without_suffix(name: str) -> str:
    return next((name.removesuffix(end) for end in SUFFIXES if name.endswith(end)), name)
