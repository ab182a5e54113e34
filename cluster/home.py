"""The folder a service lives in, and the locks that say who is alive in it.

    HOME/service.db          runs, keys, populations (unless a database URL is given)
    HOME/secret              what API keys are hashed with; readable by its owner only
    HOME/populations/        the location `default`
    HOME/contracts/          contract files that may be named beside the shipped ones
    HOME/runs/RUN/ATTEMPT/   results; an attempt counts only when the database says `succeeded`
    HOME/dispatcher.log      what the dispatcher and Ray had to say
    HOME/dispatcher.lock     held by the living dispatcher, with its process id inside
    HOME/front.lock          held by the living HTTP server

A lock is the kernel's, on an open file: it is gone the moment its process is, however that ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ihp_compute.errors import InfrastructureError


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
            for folder in (self.path, self.populations, self.contracts, self.runs):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
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
    def runs(self) -> Path:
        """Results of every run."""
        return self.path / "runs"

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

    def secret(self) -> bytes:
        """The 32 bytes that API keys are hashed with; made on first use."""
        path = self.path / "secret"
        with contextlib.suppress(FileExistsError):
            made = path.with_name(f"secret.{secrets.token_hex(8)}")
            made.touch(mode=0o600)
            made.write_bytes(secrets.token_bytes(32))
            try:
                os.link(made, path)  # whole or not at all, and never over an older one
            finally:
                made.unlink()
        return path.read_bytes()


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
