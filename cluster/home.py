"""The folder a service lives in, and the locks that say who is alive in it.

    HOME/service.db          runs, keys, populations (unless a database URL is given)
    HOME/secret              what API keys are hashed with
    HOME/ray_token           what processes of this service's own Ray cluster know each other by
    HOME/populations/        the location `default`
    HOME/contracts/          contract files that may be named beside the shipped ones
    HOME/contracts/versions/ files of contracts that were sent, made from the database
    HOME/profiles/           counts of registered populations, by digest; made anew where missing
    HOME/payments/           population-based payments that were asked for, whole and open
    HOME/runs/RUN/ATTEMPT/   results; an attempt counts only when the database says `succeeded`
    HOME/parts/RUN/          what shards of a run under way came to; gone when it ends
    HOME/dispatcher.log      what the dispatcher and Ray had to say
    HOME/dispatcher.lock     held by the living dispatcher, with its process id inside
    HOME/front.lock          held by the living HTTP server
    HOME/opening.lock        held while it is chosen what a run shows to everybody

All of it is readable by its owner only. A lock is the kernel's, on an open file: it is gone the
moment its process is, however that ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import hmac
import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from cluster import kept
from ihp_compute.errors import InfrastructureError
from ihp_compute.publishing import first

PARTIAL: Final = "partial.parquet"
"""Rows of a sweep that was stopped, beside its attempts; the next attempt removes them."""


@dataclass(frozen=True)
class Home:
    """Paths of a service's folder."""

    path: Path

    def make(self) -> None:
        """Make the folder and what stands in it, for its owner only.

        Raises
        ------
        InfrastructureError
            If the folder cannot be made or written.
        """
        try:
            for folder in (self.path, self.populations, self.contracts, self.payments, self.runs):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # what an older program, or whoever made the folder, left open to others
            for path in (self.path, *(p for p in self.path.iterdir() if p.is_file())):
                _shut(path)
        except OSError as error:
            raise InfrastructureError(
                f"{self.path}: cannot be used as the service's folder ({error.strerror}); "
                "name another with --home"
            ) from error

    @property
    def populations(self) -> Path:
        """The location `default`."""
        return self.path / "populations"

    @property
    def contracts(self) -> Path:
        """Contract files of this service's own."""
        return self.path / "contracts"

    @property
    def payments(self) -> Path:
        """Population-based payments that were asked for; each can be made again."""
        return self.path / "payments"

    @property
    def runs(self) -> Path:
        """Results of every run, where no location of their own is configured."""
        return kept.folder() or self.path / "runs"

    @property
    def parts(self) -> Path:
        """What shards of runs under way came to."""
        return self.path / "parts"

    @property
    def log(self) -> Path:
        """The dispatcher's log."""
        return self.path / "dispatcher.log"

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the embedded database."""
        return f"sqlite:///{self.path / 'service.db'}"

    def attempt(self, run_id: str, number: int) -> Path:
        """Folder that attempt `number` of a run writes."""
        return self.runs / run_id / str(number)

    def dispatcher_lock(self) -> Lock:
        """Lock of the one dispatcher."""
        return Lock(self.path / "dispatcher.lock")

    def front_lock(self) -> Lock:
        """Lock of the HTTP server."""
        return Lock(self.path / "front.lock")

    @contextlib.contextmanager
    def one_at_a_time(self, what: str) -> Iterator[None]:
        """Wait until no other thread or process of this home does this, then do it alone."""
        with (self.path / f"{what}.lock").open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def secret(self) -> bytes:
        """The 32 bytes that API keys are hashed with; made on first use."""
        return self._made_once("secret", secrets.token_bytes(32))

    def identity(self) -> str:
        """What tells this home from every other, also where it is moved to; tells no secret."""
        return hmac.digest(self.secret(), b"home", "sha256").hex()

    def ray_token(self) -> Path:
        """File of the token of this service's own Ray cluster; made on first use."""
        self._made_once("ray_token", secrets.token_hex(32).encode())
        return self.path / "ray_token"

    def _made_once(self, name: str, content: bytes) -> bytes:
        path = self.path / name
        if not path.exists():
            with contextlib.suppress(FileExistsError), first(path) as made:
                made.touch(mode=0o600)
                made.write_bytes(content)
        return path.read_bytes()


def _shut(path: Path) -> None:
    """Take away what others may do with a file or folder of ours."""
    with contextlib.suppress(FileNotFoundError):  # of a process that is ending
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode)
        if status.st_uid == os.geteuid() and mode & 0o077 and not stat.S_ISLNK(status.st_mode):
            path.chmod(mode & 0o700)


def discard(folder: Path) -> None:
    """Remove a folder in which processes that are ending may still write; gives up after 2 s."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


class Lock:
    """An exclusive lock on a file, with a note inside about who holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: IO[str] | None = None

    def acquire(self, **note: Any) -> bool:
        """Take the lock and write the note; False if a living process has it."""
        stream = self._path.open("a+", encoding="utf-8")
        for _ in range(20):  # `held` takes the lock for a moment
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.02)
        else:
            stream.close()
            return False
        stream.seek(0)
        stream.truncate()
        json.dump(note, stream)
        stream.flush()
        self._stream = stream
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def touch(self) -> None:
        """Say that its holder, which this is, still moves.

        Raises
        ------
        OSError
            If the file system takes nothing.
        """
        if self._stream is not None:
            os.utime(self._stream.fileno())

    def touched_ns(self) -> int | None:
        """When the file was touched or written last, to be told from another time only."""
        try:
            with self._path.open("rb") as stream:  # opened, so that a network file system asks
                return os.fstat(stream.fileno()).st_mtime_ns
        except OSError:
            return None

    def note(self) -> dict[str, Any]:
        """What the last holder wrote; empty if there was none."""
        try:
            return dict(json.loads(self._path.read_text(encoding="utf-8")))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}

    def held(self) -> bool:
        """Whether a living process, this one included, has the lock."""
        if self._stream is not None:
            return True
        try:
            stream = self._path.open("a+", encoding="utf-8")
        except FileNotFoundError:
            return False
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False
