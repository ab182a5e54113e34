"""Which files of a folder are which table, and whether their columns will do.

    input folder -> every entry, links followed -> files by table, what is left out, what is asked

A table and its columns are known by the names declared in `input_columns`. What a path says is
read: folders `name=value` are columns. Nothing in the folder goes unsaid: an entry is read, named
among what is left out, or refused. Not here: how a file is read (`batches`) and what its values say
(`values`).
"""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes

from ihp_compute.errors import DataError
from ihp_compute.ingest.input_files import MAX_COLUMNS, MAX_FILES, InputFile, InputFolder
from ihp_compute.input_columns import INPUT_TABLES, InputTable
from ihp_compute.ledger import LEDGER_TABLES

SUFFIXES: Final = (".csv", ".csv.gz", ".csv.zst", ".parquet")
_MAX_FOLDERS: Final = 1 << 16
"""Most folders in an input folder, those met again through links too."""
_MAX_ENTRIES: Final = 1 << 20
_MAX_DEPTH: Final = 64
_KEPT_ELSEWHERE: Final = {
    "_delta_log": "a Delta table",
    ".hoodie": "a Hudi table",
    "_spark_metadata": "the output of a Spark stream",
}
"""Folders whose list of valid files stands in a log, by the log's name."""
_ICEBERG: Final = "an Iceberg table"
_NO_VALUE: Final = "__HIVE_DEFAULT_PARTITION__"
_PARTITION: Final = re.compile(r"([^=]+)=(.*)", re.DOTALL)


def find_inputs(folder: Path, *, is_whole: bool = True) -> InputFolder:
    """Sort a folder's CSV and Parquet files into tables.

    `is_whole` says whether required tables must be there; a delivery may lack any.

    A table is `TABLE.csv`, `TABLE.csv.gz`, `TABLE.csv.zst`, `TABLE.parquet`, `TABLE_seed.csv`,
    numbered parts `TABLE_0.parquet`, `TABLE-part-0.parquet` or `TABLE.csv_0_0_0.csv.gz`, or any
    number of such files in a folder `TABLE/` (or `TABLE_seed/`, `TABLE.parquet/`) at any depth.
    Case does not count. Folders `name=value` on the way to a file are columns of it. Symbolic links
    are followed. Files of any other name are left out and named, hidden ones where they would else
    be read; where a name is almost a table's, it is asked about.

    Raises
    ------
    DataError
        If the folder is missing, holds no table, lacks `medical_claim` or `eligibility`; if what
        bears a table's name cannot be read, a link leads nowhere or in a circle, or a folder is
        that of a format which keeps the list of its valid files elsewhere (Delta, Iceberg, Hudi).
    """
    expected = (
        "Expected Tuva input-layer tables: " + ", ".join(INPUT_TABLES) + " as CSV or Parquet."
    )
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. {expected}")
    found = _Found(folder)
    for entry in _Walk(folder).entries():
        found.see(entry)
    files = sorted(found.files, key=lambda file: (file.table not in LEDGER_TABLES, Path(file.name)))
    left_out = sorted(found.left_out, key=Path)
    notes = found.notes()
    aside = f" Left aside: {_some(left_out)}." if left_out else ""
    aside += "".join(f" {note}" for note in notes if note.endswith("?"))
    if not files:
        raise DataError(f"{folder} holds no table that can be read. {expected}{aside}")
    tables = {file.table for file in files}
    missing = [
        table.name for table in INPUT_TABLES.values() if table.required and table.name not in tables
    ]
    if missing and is_whole:
        raise DataError(
            f"{folder} lacks {' and '.join(missing)}; it holds {', '.join(sorted(tables))}. "
            f"{expected}{aside}"
        )
    return InputFolder(tuple(files), tuple(left_out), tuple(notes))


# --- what stands in a folder ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    """Something in the input folder, by the parts of its path; a folder where it is not entered.

    kind : "file", "hidden", "an empty folder", or what it is that is no file
    """

    parts: tuple[str, ...]
    path: Path
    kind: str

    @property
    def name(self) -> str:
        """The path inside the input folder; bytes that are no text are escaped."""
        return _shown(self.parts) + ("/" if self.kind == "an empty folder" else "")

    @property
    def table(self) -> str | None:
        return next(filter(None, map(_table_of, self.parts)), None)

    @property
    def has_suffix(self) -> bool:
        return self.parts[-1].lower().endswith(SUFFIXES)


class _Walk:
    """Every entry of a folder at any depth; links are followed, and may not lead in a circle."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._folders = 0
        self._seen = 0
        self._formats: dict[Path, str | None] = {}

    def entries(self) -> Iterator[_Entry]:
        """The entries, folder by folder, in order of name.

        Raises
        ------
        DataError
            Naming a folder that cannot be listed, a link in a circle, a folder whose valid files
            are listed elsewhere, or what is too deep or too much.
        """
        waiting: list[tuple[Path, tuple[str, ...], tuple[tuple[int, int], ...], bool]]
        waiting = [(self.folder, (), (), False)]
        while waiting:
            path, parts, above, is_table = waiting.pop()
            is_table = is_table or bool(parts and _table_of(parts[-1]))
            identity, names = self._opened(path, parts, above)
            if is_table or not parts:
                self._check_format(path, parts, names)
            if not names and parts:
                yield _Entry(parts, path, "an empty folder")
            folders = []
            for name in names:
                entry, within = path / name, (*parts, name)
                kind = "hidden" if _is_hidden(name) else _kind(entry)
                if kind == "folder":
                    folders.append((entry, within, (*above, identity), is_table))
                    continue
                if kind == "file" and (is_table or _table_of(name)) and entry.is_symlink():
                    self._check_format(entry, within, None)
                yield _Entry(within, entry, kind)
            waiting += reversed(folders)

    def _opened(
        self, path: Path, parts: tuple[str, ...], above: tuple[tuple[int, int], ...]
    ) -> tuple[tuple[int, int], list[str]]:
        """Which folder it is, and the names in it."""
        shown = _shown(parts) or str(self.folder)
        try:
            here = path.stat()
            names = sorted(os.listdir(path))  # noqa: PTH208 - names, not paths, are wanted
        except OSError as error:
            raise DataError(
                f"{shown}: the folder cannot be read ({error.strerror}). Make it readable, or move "
                "it out of the input folder."
            ) from error
        identity = (here.st_dev, here.st_ino)
        if identity in above:
            raise DataError(
                f"{shown} is a link to a folder that it stands in: links in a circle have no end. "
                "Remove the link."
            )
        if len(parts) > _MAX_DEPTH:
            raise DataError(
                f"{_shown(parts[:3])}/… is more than {_MAX_DEPTH} folders deep. Move its files up."
            )
        self._folders += 1
        self._seen += len(names)
        if self._folders > _MAX_FOLDERS or self._seen > _MAX_ENTRIES:
            raise DataError(
                f"{self.folder} holds more than {_MAX_FOLDERS:,} folders or {_MAX_ENTRIES:,} "
                "entries, links followed. Give a folder that holds the tables alone."
            )
        return identity, names

    def _check_format(self, path: Path, parts: Sequence[str], names: list[str] | None) -> None:
        """Refuse a folder that holds files of deleted rows too, and a link into one."""
        found = None if names is None else _format_of(path, names, beside_data=bool(parts))
        if found is None and path.is_symlink():
            for parent in path.resolve().parents:
                if parent not in self._formats:
                    self._formats[parent] = _format_of(parent, _listed(parent), beside_data=False)
                found = found or self._formats[parent]
        if found:
            raise DataError(
                f"{_shown(parts) or path} is part of {found}: files of deleted and replaced rows "
                "stand there too, and which ones are valid is written elsewhere. Export the table "
                "to plain Parquet, and give that folder."
            )


def _shown(parts: Sequence[str]) -> str:
    """A path inside the input folder; bytes that are no text are escaped."""
    return os.fsencode("/".join(parts)).decode("utf-8", "backslashreplace")


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def _kind(path: Path) -> str:
    try:
        mode = path.stat().st_mode
    except OSError:
        return "a link to nothing" if path.is_symlink() else "nothing that can be reached"
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names, not paths, are wanted
    except OSError:
        return []


def _format_of(folder: Path, names: list[str], *, beside_data: bool) -> str | None:
    """What a folder is that does not say itself which of its files are valid, if it is such."""
    lowered = {name.lower(): name for name in names}
    for marker, found in _KEPT_ELSEWHERE.items():
        if marker in lowered:
            return found
    if "metadata" not in lowered:
        return None
    inside = _listed(folder / lowered["metadata"])
    is_iceberg = (beside_data and "data" in lowered) or any(
        name.endswith(".metadata.json") or name == "version-hint.text" for name in inside
    )
    return _ICEBERG if is_iceberg else None


@dataclass
class _Found:
    """What becomes of the entries of a folder."""

    folder: Path
    files: list[InputFile] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    _first: dict[tuple[str, int, int], InputFile] = field(default_factory=dict)
    _near: dict[str, str] = field(default_factory=dict)
    _unsuited: dict[str, list[str]] = field(default_factory=dict)
    _empty: list[str] = field(default_factory=list)
    _again: list[str] = field(default_factory=list)

    def see(self, entry: _Entry) -> None:
        """Take a file of a table, refuse what should be one, leave out the rest."""
        table = entry.table
        if entry.kind == "hidden":
            is_table = any(_table_of(part.lstrip("._")) for part in entry.parts)
            if is_table and (entry.has_suffix or entry.path.is_dir()):
                self.left_out.append(entry.name)
        elif table is None or not entry.has_suffix:
            self.left_out.append(entry.name)
            self._ask(entry, table)
        elif entry.kind == "file":
            self._take(entry, table)
        else:
            raise DataError(
                f"{entry.name} bears the name of a file of {table}, but is {entry.kind}. Put the "
                "file there, or remove the entry."
            )

    def _take(self, entry: _Entry, table: str) -> None:
        try:
            "/".join(entry.parts).encode()
        except UnicodeEncodeError:
            raise DataError(
                f"{entry.name}: the name is not UTF-8 text (its bytes are shown as \\x..). Rename "
                "the entry."
            ) from None
        file = InputFile(table, entry.name, entry.path, _stated(entry))
        real = entry.path.stat()
        first = self._first.setdefault((table, real.st_dev, real.st_ino), file)
        if first is file:
            self.files.append(file)
        elif first.stated != file.stated:
            raise DataError(
                f"{first.name} and {file.name} are one file, in folders that state different "
                "values. Remove one of them."
            )
        else:
            self.left_out.append(file.name)
            self._again.append(f"{file.name} (is {first.name})")
        if len(self.files) > MAX_FILES:
            raise DataError(
                f"{self.folder} holds more than {MAX_FILES:,} files of tables: join some of them"
            )

    def _ask(self, entry: _Entry, table: str | None) -> None:
        """Whether something left out was meant to be read."""
        if entry.kind == "an empty folder" and table:
            self._empty.append(entry.name)
            return
        if table:
            self._unsuited.setdefault(table, []).append(entry.name)
            return
        for k, part in enumerate(entry.parts, start=1):
            if meant := _meant(part):
                is_file = k == len(entry.parts) and entry.kind != "an empty folder"
                where = _shown(entry.parts[:k]) + ("" if is_file else "/")
                self._near[where] = meant + (_suffix_of(part) if is_file else "/")
                return

    def notes(self) -> list[str]:
        """What is asked and said about what is left out, a sentence each."""
        said = [
            f"{where} is left out: did you mean {meant}?"
            for where, meant in sorted(self._near.items())
        ]
        said += [
            f"left out of {table}, as files are read whose names end in {', '.join(SUFFIXES)}: "
            f"{_some(sorted(names), 3)}"
            for table, names in sorted(self._unsuited.items())
        ]
        if self._empty:
            said.append(f"folders of a table without a file: {_some(sorted(self._empty), 3)}")
        if self._again:
            said.append(f"files that stand here twice, read once: {_some(sorted(self._again), 3)}")
        return said


def _stated(entry: _Entry) -> tuple[tuple[str, str], ...]:
    """Columns that the folders `name=value` on the way to a file state, names in lower case."""
    stated: dict[str, str] = {}
    for part in entry.parts[:-1]:
        split = _PARTITION.fullmatch(part)
        if split is None:
            continue
        try:
            name, value = (unquote_to_bytes(text).decode() for text in split.groups())
        except UnicodeDecodeError:
            raise DataError(
                f"{entry.name}: a folder name=value is not UTF-8 text once its %xx are undone. "
                "Write the table anew with UTF-8 names."
            ) from None
        name = name.strip().lower()
        value = "" if value == _NO_VALUE else value
        if stated.setdefault(name, value) != value:
            raise DataError(
                f"{entry.name}: two folders state different values of {name}. Keep one of them."
            )
    return tuple(stated.items())


# --- names ----------------------------------------------------------------------------------------


def _table_of(part: str) -> str | None:
    stem = _without_suffix(part.lower())
    stem = re.sub(r"(?:[-_.]?(?:part[-_]?)?\d+)+$", "", stem)
    stem = _without_suffix(stem).removesuffix("_seed")
    return stem if stem in INPUT_TABLES else None


def _without_suffix(name: str) -> str:
    return next((name.removesuffix(end) for end in SUFFIXES if name.endswith(end)), name)


_ENDINGS: Final = re.compile(
    r"(?:\.(?:csv|tsv|txt|dat|psv|parquet|parq|pq|gz|gzip|zst|zstd|snappy|bz2|xz|zip|7z|xlsx?|json|"
    r"jsonl|ndjson|orc|avro|arrow|feather|sas7bdat|bak|old|tmp|part))+$"
)
_ADDED: Final = re.compile(
    r"(?:_*(?:\(\d+\)|copy|final|new|old|all|full|extract|export|data|table|seed|part|[vr]?\d+))+$"
)


def _meant(part: str) -> str | None:
    """The table whose name a file or folder almost bears, if there is one.

    >>> _meant("pharmacy_claims.csv"), _meant("Medical-Claim (1).csv"), _meant("notes.csv")
    ('pharmacy_claim', 'medical_claim', None)
    """
    stem = _ENDINGS.sub("", part.lower())
    stem = re.sub(r"[^a-z0-9()]+", "_", stem).strip("_")
    stem = _ADDED.sub("", stem).strip("_")
    squeezed = {table.replace("_", ""): table for table in INPUT_TABLES}
    near = difflib.get_close_matches(stem.replace("_", ""), squeezed, n=1, cutoff=0.82)
    return squeezed[near[0]] if near else None


def _suffix_of(part: str) -> str:
    return next((end for end in SUFFIXES if part.lower().endswith(end)), ".csv")


# --- columns --------------------------------------------------------------------------------------


def check_columns(
    table: InputTable, names: list[str], file: str, stated: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """Split a file's columns into known and unknown ones; names are compared in lower case.

    `stated` are names of columns that the file's folders state; unknown ones are among the unknown.

    Raises
    ------
    DataError
        Listing every required column that is missing, or one that stands twice; or if there are too
        many columns.
    """
    if len(names) > MAX_COLUMNS:
        raise DataError(
            f"{file} has {len(names):,} columns, more than {MAX_COLUMNS:,}. Write those that "
            f"{table.name} has."
        )
    lowered = [name.strip().lower() for name in names]
    here = {*lowered, *stated}
    twice = sorted(n for n, count in Counter(lowered).items() if count > 1 and n in table.by_name)
    if twice:
        raise DataError(f"{file} has more than one column {', '.join(twice)}: keep one of each")
    missing = [name for name in table.required_columns if name not in here]
    missing += [
        " or ".join(names_) for names_ in table.one_of if not any(n in here for n in names_)
    ]
    if missing:
        found = [name for name in lowered if name in table.by_name]
        # a first line without a single known name may be a member's row: it is not shown
        has = f"It has: {_some(found, 200)}" if found else "Its first line is not a header"
        raise DataError(
            f"{file} lacks required columns of {table.name}: {', '.join(missing)}. {has}."
        )
    known = [name for name, low in zip(names, lowered, strict=True) if low in table.by_name]
    unknown = [name for name, low in zip(names, lowered, strict=True) if low not in table.by_name]
    unknown += [name for name in stated if name not in table.by_name and name not in lowered]
    return known, unknown


def _some(names: list[str], most: int = 10) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"
