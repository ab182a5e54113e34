"""A service's home in one file and back: all that cannot be made again, checked as it is restored.

    take_backup: database -> secret, contracts, results, populations -> list of files -> FILE.tar
    restore: FILE.tar -> beside the home, each file's digest -> database opened -> home

The database is copied first, as of one moment, while the service may go on; a result that it calls
finished is never changed again, so what is copied after it fits. A database elsewhere (PostgreSQL)
has tools of its own; the copy then holds files alone, and is taken after the database's.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from sqlalchemy import make_url, select

from cluster import kept
from cluster.database import Database
from cluster.home import Home
from cluster.schema import runs
from ihp_compute.errors import DataError, InfrastructureError
from ihp_compute.folders import MANIFEST, check_file_place
from ihp_compute.publishing import beside, publish, whole

KIND: Final = "backup"
_LAYOUT: Final = 1
_DATABASE: Final = "service.db"
_KEYED_BY: Final = "secret"
_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class Backup:
    """What a backup holds.

    Attributes
    ----------
    n_files, n_bytes : int
    n_results : int
        Finished runs and sweeps with their files.
    has_database : bool
        False where the database is elsewhere.
    """

    n_files: int
    n_bytes: int
    n_results: int
    has_database: bool


def take_backup(
    home: Home,
    database_url: str,
    out: Path,
    *,
    results: bool = True,
    populations: bool = False,
    replace: bool = False,
) -> Backup:
    """Write a home into a tar file, which appears whole or not at all.

    Parameters
    ----------
    home : Home
    database_url : str
        SQLAlchemy URL of the service's database.
    out : Path
        The file to write.
    results : bool
        With the files of finished runs and sweeps; without them each can be made again.
    populations : bool
        With the folders of the location `default`.
    replace : bool
        Whether a file that is there is replaced.

    Raises
    ------
    InfrastructureError
        If no service lives in the folder.
    DataError
        If the file's place is taken, or files of a finished run are missing.
    """
    if not (home.path / _KEYED_BY).is_file():
        raise InfrastructureError(
            f"{home.path}: no service has lived here (it has no {_KEYED_BY}); name one with --home"
        )
    check_file_place(out, replace=replace)
    with whole(out) as draft, beside(out) as aside:
        copy = _copy_of_database(database_url, aside / _DATABASE)
        finished = _finished(database_url if copy is None else f"sqlite:///{copy}")
        with (
            open(draft, "xb", opener=_private) as stream,
            tarfile.open(fileobj=stream, mode="w") as tar,
        ):
            listed: dict[str, dict[str, Any]] = {}
            if copy is not None:
                _add(tar, listed, copy, _DATABASE)
            for path in _kept(home, finished if results else [], populations=populations):
                _add(tar, listed, path, path.relative_to(home.path).as_posix())
            text = json.dumps(
                {
                    "kind": KIND,
                    "layout_version": _LAYOUT,
                    "results": len(finished) if results else 0,
                    "database": copy is not None,
                    "files": listed,
                },
                indent=1,
            ).encode()
            tar.addfile(_entry(MANIFEST, len(text)), io.BytesIO(text))
    return Backup(
        n_files=len(listed),
        n_bytes=sum(file["bytes"] for file in listed.values()),
        n_results=len(finished) if results else 0,
        has_database=copy is not None,
    )


def restore(file: Path, home: Home) -> Backup:
    """Make a home of a backup: as a whole, or not at all.

    Parameters
    ----------
    file : Path
        What `take_backup` wrote.
    home : Home
        Where; nothing may stand there.

    Raises
    ------
    DataError
        If the file is no backup, is damaged, or something stands in the home's place.
    InfrastructureError
        If its database is of a newer program.
    """
    if home.path.exists() and (not home.path.is_dir() or any(home.path.iterdir())):
        raise DataError(
            f"{home.path}: something is there already, expected a new folder; name another --home"
        )
    with beside(home.path) as aside:
        made = aside / "home"
        made.mkdir(mode=0o700)
        listed = _unpack(file, made)
        if listed["database"]:
            Database(f"sqlite:///{made / _DATABASE}").close()
        publish(made, home.path, mode=0o700)
    return Backup(
        n_files=len(listed["files"]),
        n_bytes=sum(found["bytes"] for found in listed["files"].values()),
        n_results=listed["results"],
        has_database=listed["database"],
    )


def _copy_of_database(url: str, to: Path) -> Path | None:
    """A copy of an embedded database as of one moment; None of one that is elsewhere."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    if parsed.database is None or not Path(parsed.database).is_file():
        raise InfrastructureError(f"{parsed.database}: is no database of a service; check --home")
    try:
        with (
            closing(sqlite3.connect(parsed.database, timeout=30)) as source,
            closing(sqlite3.connect(to)) as copied,
        ):
            source.backup(copied)
    except sqlite3.Error as error:
        raise InfrastructureError(f"the database cannot be copied: {error}") from error
    return to


def _finished(url: str) -> list[tuple[str, int]]:
    """Id and last attempt of every run and sweep that succeeded, the oldest first."""
    database = Database(url)
    try:
        with database.read() as connection:
            rows = connection.execute(
                select(runs.c.id, runs.c.attempt)
                .where(runs.c.state == "succeeded")
                .order_by(runs.c.created_ms, runs.c.id)
            )
            return [(row.id, row.attempt) for row in rows]
    finally:
        database.close()


def _kept(home: Home, finished: list[tuple[str, int]], *, populations: bool) -> Iterator[Path]:
    """Every file of a home that is kept; what can be made from the others is not."""
    yield home.path / _KEYED_BY
    yield from (path for path in sorted(home.contracts.glob("*.toml")) if path.is_file())
    for run_id, attempt in finished:
        folder = kept.at_hand(home.attempt(run_id, attempt))
        if not folder.exists():
            raise DataError(
                f"{folder}: the files of a finished run are missing; "
                "`ihp backup --without-results` keeps the rest"
            )
        yield from _files(folder)
    if populations:
        yield from _files(home.populations)


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_file():
        yield folder
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))  # drafts
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))


def _add(tar: tarfile.TarFile, listed: dict[str, dict[str, Any]], path: Path, name: str) -> None:
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        hashed = _Hashing(stream)
        tar.addfile(_entry(name, size), hashed)
    listed[name] = {"sha256": hashed.digest.hexdigest(), "bytes": size}


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    return entry


class _Hashing(io.RawIOBase):
    """A file, hashed while it is read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        found = self._stream.read(size)
        self.digest.update(found)
        return found


def _unpack(file: Path, into: Path) -> dict[str, Any]:
    """Write a backup's files into a folder; its list, with which they were compared."""
    found: dict[str, dict[str, Any]] = {}
    text = b""
    try:
        with tarfile.open(file, "r:") as tar:
            for entry in tar:
                stream = tar.extractfile(entry)
                if stream is None or not _inside(entry.name):
                    raise DataError(f"{file}: holds {entry.name!r}, which no backup does")
                if entry.name == MANIFEST:
                    text = stream.read()
                    continue
                path = into / entry.name
                _private_folder(path.parent)
                hashed = _Hashing(stream)
                with open(path, "xb", opener=_private) as out:
                    shutil.copyfileobj(hashed, out, _CHUNK)
                found[entry.name] = {"sha256": hashed.digest.hexdigest(), "bytes": entry.size}
    except FileNotFoundError:
        raise DataError(f"{file}: is not there") from None
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{file}: is no backup, or one cut short ({error})") from error
    return _compared(file, text, found)


def _compared(file: Path, text: bytes, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    try:
        listed = dict(json.loads(text))
    except (ValueError, TypeError):
        raise DataError(f"{file}: has no list of its files, as a backup cut short") from None
    if listed.get("kind") != KIND or listed.get("layout_version") != _LAYOUT:
        raise DataError(
            f"{file}: expected a {KIND} of layout {_LAYOUT}, found {listed.get('kind')!r} of "
            f"{listed.get('layout_version')!r}; use the program that wrote it"
        )
    if found != listed["files"]:
        names = sorted(
            name
            for name in {*found, *listed["files"]}
            if found.get(name) != listed["files"].get(name)
        )
        raise DataError(
            f"{file}: {names[0]} is not what was written (files that differ: {len(names)}); take "
            "an earlier backup"
        )
    return listed


def _private_folder(path: Path) -> None:
    if not path.exists():
        _private_folder(path.parent)
        path.mkdir(mode=0o700)


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)
