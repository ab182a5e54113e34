"""The files of an input folder, by table. Not here: which file is which table (`door.layout`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_COLUMNS: Final = 4_096
"""Most columns of a file: twenty times the widest table."""


@dataclass(frozen=True)
class InputFile:
    """One file of one table.

    name : its path inside the input folder, with forward slashes
    stated : columns that its folders `name=value` state of all its rows, by lower-case name; "" is
        blank
    """

    table: str
    name: str
    path: Path
    stated: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class InputFolder:
    """The files of a folder by table, ordered by name, and what was left alone.

    notes : what is asked and said about what was left alone, a sentence each
    """

    files: tuple[InputFile, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def of(self, table: str) -> list[tuple[int, InputFile]]:
        """Files of one table with their index in `files`."""
        return [(index, file) for index, file in enumerate(self.files) if file.table == table]
