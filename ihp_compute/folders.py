"""Folders that appear whole or not at all, and say in a manifest what they are.

    check_target -> beside: files, then the manifest -> publish

A folder is made beside its place and renamed; what stood there is whole until then. What a killed
process left is removed by the next that makes the same folder. Files are hashed while they are
written. A manifest is written under a seal, the digest of all that it says; a manifest holds what
must be trusted beside the results: inputs, counts, versions, hashes of files.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from ihp_compute.errors import DataError

MANIFEST: Final = "manifest.json"
SEAL: Final = "manifest_digest"
"""Entry of a manifest: the digest of all the others."""


@dataclass(frozen=True)
class Kind:
    """A kind of folder, and the words in which another is refused.

    Words are format strings of `folder`, `manifest` (its path) and what is named below.

    Attributes
    ----------
    name : str
        `kind` in the manifest.
    entries : tuple of str
        What else the manifest must have.
    error : type of DataError
    no_folder, no_manifest : str
    unreadable : str
        With `reason`.
    another : str
        The manifest is of another kind; with `found`.
    incomplete : str
        Entries are missing; with `missing`.
    is_file, occupied : str
        A folder of this kind cannot be made in this place; `occupied` with `what`.
    layout_version : int, optional
        `layout_version` in the manifest.
    other_layout : str
        With `found` and `expected`.
    method_version : str, optional
        `method_version` in the manifest, where rules of another cannot be gone on with.
    other_method : str
        With `found` and `expected`.
    """

    name: str
    entries: tuple[str, ...]
    error: type[DataError]
    no_folder: str
    no_manifest: str
    unreadable: str
    another: str
    incomplete: str
    is_file: str
    occupied: str
    layout_version: int | None = None
    other_layout: str = ""
    method_version: str | None = None
    other_method: str = ""

    def refusal(self, words: str, folder: Path, **found: Any) -> DataError:
        """The error in these words."""
        return self.error(words.format(folder=folder, manifest=folder / MANIFEST, **found))


def read_manifest(folder: Path, kind: Kind) -> dict[str, Any]:
    """The manifest of a folder of this kind, with every entry that it must have.

    Raises
    ------
    DataError
        `kind.error`, if the folder is none of this kind and version, or its manifest is damaged.
    """
    if not folder.is_dir():
        raise kind.refusal(kind.no_folder, folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise kind.refusal(kind.no_manifest, folder) from None
    except (OSError, ValueError) as error:
        raise kind.refusal(kind.unreadable, folder, reason=error) from error
    found = manifest.get("kind") if isinstance(manifest, dict) else None
    if found != kind.name:
        raise kind.refusal(kind.another, folder, found=found)
    layout, method = manifest.get("layout_version"), manifest.get("method_version")
    if kind.layout_version not in (None, layout):
        raise kind.refusal(kind.other_layout, folder, found=layout, expected=kind.layout_version)
    if method is not None and kind.method_version not in (None, method):
        raise kind.refusal(kind.other_method, folder, found=method, expected=kind.method_version)
    missing = [name for name in kind.entries if name not in manifest]
    if missing:
        raise kind.refusal(kind.incomplete, folder, missing=", ".join(missing))
    return dict(manifest)


def kind_of(folder: Path) -> Any:
    """What kind a folder says it is; None if it says nothing."""
    try:
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("kind")
    except (OSError, ValueError, AttributeError):
        return None


def check_target(out: Path, kind: Kind) -> None:
    """Refuse a place where something else stands; a folder of this kind will be replaced.

    Raises
    ------
    DataError
        `kind.error`, if `out` is a file, or a folder that holds anything of another kind.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise kind.refusal(kind.is_file, out)
    found = kind_of(out)
    if found != kind.name and any(out.iterdir()):
        what = f"holds a {found}" if isinstance(found, str) else f"exists and is not a {kind.name}"
        raise kind.refusal(kind.occupied, out, what=what)


OTHERWISE: Final = "choose another --out, or give --replace"
"""What somebody is told whose result would take the place of another one."""


def check_file_place(file: Path, *, replace: bool) -> None:
    """Refuse a file's place where something stands: a result is a record, replaced when asked.

    Raises
    ------
    DataError
        If a folder is there, or a file that `replace` does not say to replace.
    """
    if file.is_dir():
        raise DataError(f"{file}: is a folder, expected a file to write; choose another --out")
    if file.exists() and not replace:
        raise DataError(f"{file}: is there already; {OTHERWISE}")


def check_new_folder(folder: Path) -> None:
    """Refuse a place for new files where something stands already.

    Raises
    ------
    DataError
        If a file is there, or a folder that is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: is there already, expected a new folder; choose another --out")


_STALE_SECONDS: Final = 60


@contextlib.contextmanager
def beside(out: Path) -> Iterator[Path]:
    """An empty folder on the same file system, gone at the end whatever happens."""
    out.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(out)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.draft-", dir=out.parent))
    lock = os.open(staging, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield staging
    finally:
        os.close(lock)
        shutil.rmtree(staging, ignore_errors=True)


def _remove_stale(out: Path) -> None:
    """Remove what a killed process left beside the same folder: old, and locked by nobody."""
    for stale in out.parent.glob(f".{glob.escape(out.name)}.draft-*"):
        with contextlib.suppress(OSError):
            if time.time() - stale.stat().st_mtime < _STALE_SECONDS:
                continue
            lock = os.open(stale, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(stale, ignore_errors=True)
            finally:
                os.close(lock)


def publish(staging: Path, out: Path) -> None:
    """Put the finished folder in place of what stood there, which stays if that fails."""
    staging.chmod(0o755)
    if out.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{out.name}.old-", dir=out.parent))
        out.rename(old / out.name)
        try:
            staging.rename(out)
        except OSError:
            (old / out.name).rename(out)
            raise
        finally:
            shutil.rmtree(old, ignore_errors=True)
    else:
        staging.rename(out)
    handle = os.open(out.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place beside a file's own to write it to: it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_arrow(path: Path, batch: pa.RecordBatch) -> dict[str, Any]:
    """Write a single-batch, uncompressed Arrow IPC file; its digest, size and time stamp."""
    with hashed_file(path) as (target, stamp), pa.ipc.new_file(target, batch.schema) as writer:
        writer.write_batch(batch)
    return stamp


@contextlib.contextmanager
def hashed_file(path: Path) -> Iterator[tuple[pa.NativeFile, dict[str, Any]]]:
    """A new file to write to, and its stamp (`stamp_of`), which is empty until it is written."""
    stamp: dict[str, Any] = {}
    with _Hashed(path) as sink, pa.PythonFile(sink, "w") as target:
        yield target, stamp
    stamp |= stamp_of(path, sink.digest.hexdigest())


def stamp_of(path: Path, sha256: str | None = None) -> dict[str, Any]:
    """Digest, size and time stamp of a finished file."""
    status = path.stat()
    return {
        "sha256": sha256 or file_sha256(path),
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
    }


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest, under its seal, to the disk itself: it says what the folder is."""
    sealed = {**manifest, SEAL: _seal_of(manifest)}
    with (folder / MANIFEST).open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(sealed, indent=2) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def check_seal(folder: Path, manifest: Mapping[str, Any], kind: Kind) -> None:
    """Refuse a manifest that says other things than it was written with.

    Raises
    ------
    DataError
        `kind.error`, if it has no seal or another.
    """
    if SEAL not in manifest:
        raise kind.refusal(kind.incomplete, folder, missing=SEAL)
    if manifest[SEAL] != _seal_of(manifest):
        raise kind.error(
            f"{folder / MANIFEST}: what it says of inputs, counts, terms, versions or files is not "
            f"what was written: its {SEAL} is of other content; make the {kind.name} again"
        )


def _seal_of(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of everything that a manifest says, whatever the order of its entries."""
    said = {name: value for name, value in manifest.items() if name != SEAL}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def library_versions() -> dict[str, str]:
    """Versions of the libraries that take part in the numbers, by name."""
    return {name: _version(name) for name in _LIBRARIES}


@cache
def _version(library: str) -> str:
    return metadata.version(library)  # takes milliseconds, and stays while a process lives


_LIBRARIES: Final = ("msgspec", "numba", "numpy", "pyarrow", "scipy")
_WRITE_BYTES: Final = 1 << 17
"""Hashed and written at a time. An ingest of 500,000 members took 27.4 s so, 28.4 s beside it with
256 KiB; and with 1 MiB 30.0 s, beside 28.2 s with 256 KiB (medians of four): the system takes
longer over larger writes."""


class _Hashed(io.FileIO):
    """A new file whose bytes are hashed while they are in the cache."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "wb")
        self.digest = hashlib.sha256()

    def write(self, content: Any) -> int:
        """Write all of the content."""
        view = memoryview(content).cast("B")
        for start in range(0, len(view), _WRITE_BYTES):
            piece = view[start : start + _WRITE_BYTES]
            self.digest.update(piece)
            while piece:
                piece = piece[super().write(piece) :]
        return len(view)
