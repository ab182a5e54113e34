"""Objects of buckets on this machine, by content, within a bound of bytes.

    IHP_CACHE/objects/ab/ab12…   an object under its SHA-256
    IHP_CACHE/objects/.part-*    one on its way
    IHP_CACHE/used/PROCESS/      what a living process has mapped, an empty file for each
    IHP_CACHE/views/             folders of links that a command reads
    IHP_CACHE/drafts/            folders on their way into a bucket
    IHP_CACHE/bytes, lock        how much is there; held while that is changed

What arrives is hashed on its way and kept only under the hash it was asked for by. What lies here
is believed while its size and the time stamp that it was given hold, and is fetched again
otherwise, in place of it: a damaged copy costs a request and nothing else. What was used longest
ago goes first; what a living process has mapped stays. A process is alive while it holds the lock
on its folder in `used`, so that a killed one leaves nothing pinned.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
import secrets
import shutil
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Final

import pyarrow as pa

from ihp_compute.errors import DataError, InfrastructureError, LocationError
from ihp_compute.folders import file_sha256

FOLDER: Final = "IHP_CACHE"
BOUND: Final = "IHP_CACHE_BYTES"
BOUND_BYTES: Final = 64 << 30
_ATTEMPTS: Final = 3
_LOW: Final = 0.9
"""Of the bound: to here a full cache is emptied, so that not every object counts them all."""

Fetch = Callable[[], contextlib.AbstractContextManager[Iterator[bytes]]]
"""Opens an object's content, piece by piece."""


class Cache:
    """Objects of buckets on this machine.

    Parameters
    ----------
    root : Path
        Folder, made when it is first needed; processes may share it.
    bound_bytes : int
        Most that objects here may take.
    """

    def __init__(self, root: Path, bound_bytes: int) -> None:
        self.root = root
        self.bound_bytes = bound_bytes
        self._objects = root / "objects"
        self._pins: Counter[str] = Counter()
        self._guard = threading.RLock()
        self._used: Path | None = None
        self._letting_go: weakref.WeakSet[Holder] = weakref.WeakSet()

    def mapped(self, sha256: str, size: int, fetch: Fetch, name: str) -> pa.Buffer:
        """An object's bytes, memory-mapped; they stay here while anything shows them.

        Parameters
        ----------
        sha256 : str
            Of the content.
        size : int
            Its bytes.
        fetch : callable
            Opens the content where it is not here.
        name : str
            What a message calls it.

        Raises
        ------
        DataError
            If what arrives is of another size or hash.
        InfrastructureError
            If it does not fit beside what is in use, or cannot be fetched.
        """
        if size == 0:
            return pa.py_buffer(b"")
        self.pin(sha256, size, fetch, name)
        try:
            with self._path(sha256).open("rb") as stream:
                found = mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ)
        except BaseException:
            self.unpin(sha256)
            raise
        weakref.finalize(found, self.unpin, sha256).atexit = False
        return pa.py_buffer(found)

    def pin(self, sha256: str, size: int, fetch: Fetch, name: str) -> Path:
        """An object's file, which stays here until `unpin`, or until this process ends.

        Raises
        ------
        DataError, InfrastructureError
            As `mapped`.
        """
        self._pin(sha256)
        try:
            for _ in range(_ATTEMPTS):
                if self._believed(sha256, size):
                    return self._path(sha256)
                self._fetch(sha256, size, fetch, name)
        except BaseException:
            self.unpin(sha256)
            raise
        self.unpin(sha256)
        raise InfrastructureError(
            f"{self.root}: {name} does not stay as it was fetched; look for a failing disk, or "
            f"for who changes files there, or name another folder in {FOLDER}"
        )

    def renew(self, sha256: str, size: int, fetch: Fetch, name: str) -> None:
        """Fetch an object in place of what is here of it; whoever has that mapped keeps it.

        Raises
        ------
        DataError, InfrastructureError
            As `mapped`.
        """
        self._pin(sha256)
        try:
            self._fetch(sha256, size, fetch, name)
        finally:
            self.unpin(sha256)

    def hold(self, holder: Holder) -> None:
        """Have `holder` let go of what it keeps mapped when room is needed."""
        self._letting_go.add(holder)

    def _path(self, sha256: str) -> Path:
        return self._objects / sha256[:2] / sha256

    def _believed(self, sha256: str, size: int) -> bool:
        """Whether the object is here and whole; it counts as used now.

        One that is not stays until another takes its place: it may be another's for a moment more.
        """
        path = self._path(sha256)
        try:
            status = path.stat()
        except FileNotFoundError:
            return False
        if status.st_size != size or (
            status.st_mtime_ns != _stamp(sha256) and file_sha256(path) != sha256
        ):
            return False
        os.utime(path, ns=(time.time_ns(), _stamp(sha256)))
        return True

    def _fetch(self, sha256: str, size: int, fetch: Fetch, name: str) -> None:
        path = self._path(sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        part, sink = self._begun(path, size, name)
        hashed, arrived = hashlib.sha256(), 0
        try:
            with sink:
                with fetch() as pieces:
                    for piece in pieces:
                        arrived += len(piece)
                        if arrived > size:
                            break
                        hashed.update(piece)
                        sink.write(piece)
                sink.flush()
                os.fsync(sink.fileno())  # else a machine that goes down may leave a file of zeros
                _check(name, size, sha256, arrived, hashed.hexdigest())
                os.utime(part, ns=(time.time_ns(), _stamp(sha256)))
                with self._locked():
                    replaced = _bytes_of(path)
                    part.rename(path)
                    self._count(self._counted() - replaced)
        except BaseException:
            with self._locked():
                part.unlink(missing_ok=True)
                self._count(self._counted() - size)
            raise

    def _begun(self, path: Path, size: int, name: str) -> tuple[Path, BinaryIO]:
        """An object on its way, its bytes set aside: others go for it, or it is refused."""
        if (begun := self._set_aside(path, size)) is not None:
            return begun
        for holder in list(self._letting_go):
            holder.let_go()
        if (begun := self._set_aside(path, size, alone=True)) is not None:
            return begun
        raise InfrastructureError(
            f"{self.root}: no room for {name}, {size:,} bytes, beside what is in use, within "
            f"{self.bound_bytes:,} bytes; raise {BOUND}, or use fewer workers on this machine"
        )

    def _set_aside(
        self, path: Path, size: int, *, alone: bool = False
    ) -> tuple[Path, BinaryIO] | None:
        """A file for an object's bytes, which count from now on, locked while its process lives.

        Begun under the lock that its bytes are counted under: whoever counts them anew sees it, and
        takes it for no dead process's. `alone` is where there is no room for a damaged copy too.
        """
        with self._locked():
            held = self._counted()
            if alone and not self._believed(path.name, size):
                path.unlink(missing_ok=True)
            if held + size > self.bound_bytes:
                held = self._evict(int(self.bound_bytes * _LOW) - size)
            if held + size > self.bound_bytes:
                self._count(held)
                return None
            part = self._objects / f".part-{size}-{secrets.token_hex(8)}"
            sink = part.open("xb")
            fcntl.flock(sink, fcntl.LOCK_EX)
            self._count(held + size)
            return part, sink

    def _evict(self, target: int) -> int:
        """Remove what was used longest ago and is not in use, down to `target`; bytes left."""
        used = self._in_use()
        found = []
        for path in self._objects.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                if path.is_dir():
                    continue
                size = status.st_size
                if path.name.startswith(".part-"):
                    if _swept(path):
                        continue
                    size = int(path.name.split("-")[1])
                found.append((status.st_atime_ns, size, path))
        held = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if held <= target:
                break
            if path.name not in used and not path.name.startswith("."):
                path.unlink(missing_ok=True)
                held -= size
        return held

    def _in_use(self) -> set[str]:
        used: set[str] = set()
        for folder in _folders(self.root / "used"):
            if not _swept(folder):
                used.update(path.name for path in folder.iterdir())
        return used

    def _counted(self) -> int:
        try:
            return int((self.root / "bytes").read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return self.bound_bytes + 1  # counted anew before anything is let in

    def _count(self, held: int) -> None:
        (self.root / "bytes").write_text(str(max(held, 0)), encoding="ascii")

    def _pin(self, sha256: str) -> None:
        with self._locked(), self._guard:
            self._pins[sha256] += 1
            if self._pins[sha256] == 1:
                (self._own() / sha256).touch()

    def unpin(self, sha256: str) -> None:
        """Let an object go that `pin` gave."""
        with self._guard:
            self._pins[sha256] -= 1
            if self._pins[sha256] <= 0:
                del self._pins[sha256]
                if self._used is not None:
                    (self._used / sha256).unlink(missing_ok=True)

    def _own(self) -> Path:
        """The process's own folder of what it uses, locked while it lives."""
        if self._used is None:
            self._used = locked_folder(self.root / "used")
        return self._used

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._objects.mkdir(parents=True, exist_ok=True, mode=0o700)
            stream = (self.root / "lock").open("a")
        except OSError as error:
            raise InfrastructureError(
                f"{self.root}: cannot be used to keep objects in ({error.strerror}); name another "
                f"folder in {FOLDER}"
            ) from error
        with stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


class Holder(ABC):
    """Whoever keeps objects mapped for later, and can do without."""

    @abstractmethod
    def let_go(self) -> None:
        """Keep nothing more."""


def the_cache() -> Cache:
    """The cache that this process's environment names.

    Raises
    ------
    LocationError
        If the bound is no number of bytes.
    """
    said = os.environ.get(BOUND, "")
    if said and not said.isdecimal():
        raise LocationError(f"{BOUND}: expected a number of bytes, got {said!r}")
    root = Path(os.environ.get(FOLDER) or "~/.cache/ihp").expanduser().absolute()
    return _cache(root, int(said) if said else BOUND_BYTES, os.getpid())


@lru_cache(maxsize=8)
def _cache(root: Path, bound_bytes: int, _pid: int) -> Cache:
    """One for each folder and process: a forked process has pinned nothing."""
    return Cache(root, bound_bytes)


_LOCKS: Final[dict[Path, int]] = {}


def locked_folder(parent: Path) -> Path:
    """A new folder of this process's own, locked while the process lives.

    Those that dead processes left beside it are removed.
    """
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder in _folders(parent):
        _swept(folder)
    while True:
        made = parent / f"{os.getpid()}-{secrets.token_hex(4)}"
        made.mkdir(mode=0o700)
        with contextlib.suppress(FileNotFoundError):  # swept before it was locked
            lock = os.open(made, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if made.exists():
                _LOCKS[made] = lock
                return made
            os.close(lock)


def removed(folder: Path) -> None:
    """Remove a folder that `locked_folder` made."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder in _LOCKS:
        os.close(_LOCKS.pop(folder))


def _folders(parent: Path) -> list[Path]:
    try:
        return [path for path in parent.iterdir() if path.is_dir()]
    except FileNotFoundError:
        return []


def _swept(path: Path) -> bool:
    """Remove a file or folder whose lock no living process holds; whether it is gone."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def _bytes_of(path: Path) -> int:
    """Size of a file, 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _check(name: str, size: int, sha256: str, arrived: int, found: str) -> None:
    if (arrived, found) != (size, sha256):
        raise DataError(
            f"{name}: does not have the content that was published (its digest or size differs): "
            "it is damaged, cut off or another object; publish it again"
        )


def _stamp(sha256: str) -> int:
    """The time stamp of an object's file: whoever writes into it gives it another."""
    return int(sha256[:12], 16)
