"""A user's own list of procedures whose claims bear diagnoses: read, checked, told by its content.

A table with a column `hcpcs_code`, or with one column, of codes and of ranges FIRST-LAST of them.
Such lists hold CPT, which is licensed to the user: none is shipped.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import parts_of, range_of
from ihp_compute.errors import RiskModelError
from ihp_compute.table_files import read_table

COLUMN: Final = "hcpcs_code"
_CODE: Final = re.compile(r"[A-Z]\d{4}|\d{4}[A-Z0-9]", re.ASCII)


class EligibleCodes:
    """The codes and ranges of a list.

    sha256 : of its content, whatever the order of its rows, its spelling or its format
    """

    def __init__(self, entries: Sequence[str]) -> None:
        self._codes = {entry for entry in entries if "-" not in entry}
        self._ranges = [range_of(entry) for entry in entries if "-" in entry]
        content = "\n".join(sorted(set(entries)))
        self.sha256 = hashlib.sha256(content.encode()).hexdigest()

    def among(self, codes: Sequence[str]) -> NDArray[np.bool_]:
        """Which of these codes are on the list."""
        return np.fromiter((self._has(code) for code in codes), np.bool_, len(codes))

    def _has(self, code: str) -> bool:
        if code in self._codes:
            return True
        sign, number = parts_of(code)
        return any(sign == letter and a <= number <= b for letter, a, b in self._ranges)


def read_eligible_codes(path: Path) -> EligibleCodes:
    """The list in a table.

    Raises
    ------
    DataError
        If the file cannot be read.
    RiskModelError
        If it has no such column, no codes, or an entry that is none.
    """
    table = read_table(path)
    names = table.column_names
    if COLUMN not in names and len(names) != 1:
        raise RiskModelError(
            f"{path.name}: found the columns {', '.join(names)}, expected {COLUMN}, or one column"
        )
    column = table.column(COLUMN if COLUMN in names else names[0])
    entries = []
    for row, value in enumerate(column.to_pylist(), start=1):
        entry = str("" if value is None else value).strip().upper()
        if not entry:
            continue
        if not _is_entry(entry):
            raise RiskModelError(
                f"{path.name}: row {row} says {entry}, expected a procedure code of five "
                "characters, or a range FIRST-LAST of them"
            )
        entries.append(entry)
    if not entries:
        raise RiskModelError(f"{path.name}: found no codes, expected the procedures that count")
    return EligibleCodes(entries)


def _is_entry(entry: str) -> bool:
    if "-" not in entry:
        return bool(_CODE.fullmatch(entry))
    try:
        range_of(entry)
    except ValueError:
        return False
    return True
