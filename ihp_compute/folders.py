"""Folders that say in a manifest what they are, and files that are hashed while they are written.

    check_target -> a draft (`publishing`): files, then the manifest -> in its place

A manifest is written under a seal, the digest of all that it says; it holds what must be trusted
beside the results: inputs, counts, versions, hashes of files. How a folder gets to its place, and
when it is on the disk, is `publishing`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from ihp_compute.errors import DataError
from ihp_compute.publishing import begin_to_write

MANIFEST: Final = "manifest.json"
_MANIFEST_BYTES: Final = 1 << 28
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
    return manifest_of(lambda: _text_of(folder / MANIFEST), folder, kind)


def manifest_of(read: Callable[[], str], folder: Path, kind: Kind) -> dict[str, Any]:
    """A manifest's text, wherever it is read, as that of a folder of this kind.

    Parameters
    ----------
    read : callable
        Gives the text; raises FileNotFoundError where there is none.
    folder : Path
        How messages name the folder.
    kind : Kind

    Raises
    ------
    DataError
        As `read_manifest`.
    """
    try:
        manifest = json.loads(read(), parse_constant=_no_number)
    except FileNotFoundError:
        raise kind.refusal(kind.no_manifest, folder) from None
    except RecursionError:
        raise kind.refusal(kind.unreadable, folder, reason="nested too deeply") from None
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


def _text_of(path: Path) -> str:
    """A regular file's text, and never a wait for whoever would write into a pipe of its name."""
    with open(path, encoding="utf-8", opener=_at_once) as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no file")
        if status.st_size > _MANIFEST_BYTES:
            raise ValueError(f"it has more than {_MANIFEST_BYTES:,} bytes")
        return stream.read()


def _at_once(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


_PART: Final = r"(?!\.{1,2}(?:/|\Z))[^/\\\x00-\x1f]+"
_BELOW: Final = re.compile(rf"{_PART}(?:/{_PART})*")
"""Names with / between them: none is empty, . or .. or holds what no path needs."""


def is_below(name: str) -> bool:
    """Whether a manifest's name of a file stays in its folder, whatever else stands there.

    >>> [is_below(n) for n in ("codes/dx.arrow", "/etc/hostname", "../secret", "a/../b", "")]
    [True, False, False, False, False]
    """
    return _BELOW.fullmatch(name) is not None


def kind_of(folder: Path) -> Any:
    """What kind a folder says it is; None if it says nothing."""
    try:
        return json.loads(_text_of(folder / MANIFEST)).get("kind")
    except (OSError, ValueError, AttributeError, RecursionError):
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


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_known(path: Path) -> str:
    """SHA-256 of a file's bytes, read once by this process for as long as it is the same file.

    The same file has its place, number, size and times, that of its last change among them, which
    nobody sets: a bit turned under an old time stamp is read again.
    """
    status = path.stat()
    return _sha256_of(path, status.st_dev, status.st_ino, *times_of(status))


def times_of(status: os.stat_result) -> tuple[int, int, int]:
    """Size and times of a file, that of its last change among them."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


@lru_cache(maxsize=1 << 14)
def _sha256_of(path: Path, *_identity: int) -> str:
    return file_sha256(path)


def link(source: Path, target: Path) -> None:
    """The same file in another place; a copy where the system makes no link."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(source, target)


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
    """Digest and size of a finished file, and when it was written and last changed in any way."""
    n_bytes, written_ns, changed_ns = times_of(path.stat())
    return {
        "sha256": sha256 or file_sha256(path),
        "bytes": n_bytes,
        "mtime_ns": written_ns,
        "ctime_ns": changed_ns,
    }


def write_manifest(folder: Path, manifest: Mapping[str, Any], *, lasting: bool = True) -> None:
    """Write the manifest, under its seal: it says what the folder is.

    One that does not last is laid out for no reader, which takes a tenth of the time.
    """
    sealed = {**manifest, SEAL: _seal_of(manifest)}
    text = json.dumps(sealed, indent=2 if lasting else None)
    (folder / MANIFEST).write_text(f"{text}\n", encoding="utf-8")


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

    def close(self) -> None:
        """Close, once the system has begun to write: who publishes waits for less."""
        if not self.closed:
            begin_to_write(self.fileno())
        super().close()
