"""The files of an input folder, by table, and what any file may ask of the machine.

Not here: which file is which table (`door.layout`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import pyarrow as pa

from ihp_compute.errors import DataError
from ihp_compute.input_columns import SPILLED

MAX_FILES: Final = 2**16 - 1
"""Most files of tables: a row keeps the place of its own."""
MAX_COLUMNS: Final = 4_096
"""Most columns of a file: twenty times the widest table."""
MOST_UNPACKED: Final = 200
"""Most bytes that a packed byte may become: claims become 10 to 40, zeros more than a thousand."""
FREE_ROWS: Final = 1 << 20
"""Rows that any packed file may have; more of them take a byte of the file each."""


MAX_SHARDS: Final = 65_535
_LEAST_SHARDS: Final = 64
_SHARD_BYTES: Final = 32 << 20
"""Of Parquet that fill a shard: an ingest takes the memory of a shard or two, beside what it knows
of every member."""
_TEXT_BYTES: Final = 8
"""Of text, that say about as much as one of Parquet."""


@dataclass(frozen=True)
class InputFile:
    """One file of one table.

    name : its path inside the input folder, with forward slashes
    stated : columns that its folders `name=value` state of all its rows, by lower-case name; "" is
        blank
    delivery : which delivery it came with, from 1; files of earlier ones are not read again
    """

    table: str
    name: str
    path: Path
    stated: tuple[tuple[str, str], ...] = ()
    delivery: int = 1


@dataclass(frozen=True)
class InputFolder:
    """The files of a folder by table and what was left alone; of several deliveries, all of them.

    files : those of claims and enrolment by delivery and name, then those of reference tables
    notes : what is asked and said about what was left alone, a sentence each
    delivery : number of the delivery that is read
    """

    files: tuple[InputFile, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...] = ()
    delivery: int = 1

    @cached_property
    def delivered(self) -> tuple[int, ...]:
        """Places of the files that came with this delivery."""
        return tuple(k for k, file in enumerate(self.files) if file.delivery == self.delivery)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What each file is called: its name, and its delivery where several have that name."""
        counts = Counter(file.name for file in self.files)
        return tuple(
            file.name if counts[file.name] == 1 else f"{file.name} (delivery {file.delivery})"
            for file in self.files
        )

    @property
    def shards(self) -> int:
        """So many that none takes much memory, by the size of what is sharded."""
        sharded = [file.path for file in self.files if file.table in SPILLED]
        size = sum(
            path.stat().st_size // (1 if path.suffix.lower() == ".parquet" else _TEXT_BYTES)
            for path in sharded
        )
        return min(max(_LEAST_SHARDS, -(-size // _SHARD_BYTES)), MAX_SHARDS)

    def of(self, table: str) -> list[tuple[int, InputFile]]:
        """Files of one table with their index in `files`."""
        return [(index, file) for index, file in enumerate(self.files) if file.table == table]


@contextmanager
def reading(file: InputFile, fault: str, reasons: Mapping[str, str]) -> Iterator[None]:
    """Say of whatever a reader raises that the file cannot be read, without what it holds.

    Parameters
    ----------
    file : InputFile
    fault : str
        What is then said of the file.
    reasons : mapping of str to str
        Our words for a library's message, which may show what the file holds, by what stands in it;
        the last is for any other.

    Raises
    ------
    DataError
        Naming the file and the reason.
    """
    try:
        yield
    except MemoryError as error:
        raise DataError(f"{file.name} needs more memory to be read than there is.") from error
    except (pa.ArrowException, OSError, EOFError, UnicodeError) as error:
        why = next(reason for word, reason in reasons.items() if word in str(error))
        if isinstance(error, OSError) and error.strerror:
            why = error.strerror
        raise DataError(f"{file.name} {fault} ({why}). Get a complete copy of the file.") from error
