"""Rows of a CSV file of weights or codes, with the lines where they stand."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from ihp_compute.errors import RiskModelError


def read_rows(path: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Line and values, stripped, of each row; the columns are all there and none of them blank.

    Raises
    ------
    RiskModelError
        If the file cannot be read, lacks a column, or a row has a blank in one or too many values.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            absent = [c for c in columns if c not in (reader.fieldnames or ())]
            if absent:
                raise RiskModelError(f"{path.name}: no column {', '.join(absent)}")
            found = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise RiskModelError(f"{path.name}: cannot be read: {problem}") from problem
    rows = []
    for line, row in found:
        if None in row:
            raise RiskModelError(f"{path.name}, line {line}: more values than columns")
        values = {name: (value or "").strip() for name, value in row.items()}
        blank = [column for column in columns if not values[column]]
        if blank:
            raise RiskModelError(f"{path.name}, line {line}: {', '.join(blank)} is blank")
        rows.append((line, values))
    return rows
