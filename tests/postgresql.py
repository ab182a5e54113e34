"""A PostgreSQL of a test's own: a server on a socket in a folder, started, stopped, torn away."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from cluster.store import Store

USER = "postgres"
"""Whom Debian's packages make, since the server refuses to be root."""


def programs() -> Path | None:
    """Folder of the server's programs, the newest there is."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if not found:
        initdb = shutil.which("initdb")
        return None if initdb is None else Path(initdb).resolve().parent
    return max(found, key=lambda folder: int(folder.parent.name))


class Server:
    """One server, which listens on no address but a socket in its folder."""

    def __init__(self, bin_dir: Path, folder: Path) -> None:
        self._bin = bin_dir
        self._data = folder / "data"
        self._folder = folder
        self._numbers = count()
        self._migrated: str | None = None
        self._run("initdb", "-D", str(self._data), "-U", USER, "-A", "trust", "-E", "UTF8", "-N")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-k {self._folder} -c listen_addresses= -c fsync=off -c log_timezone=UTC"
        self._run(
            "pg_ctl", "start", "-w", "-s", "-D", str(self._data), "-o", options,
            "-l", str(self._folder / "log"),
        )  # fmt: skip

    def stop(self, mode: str = "fast") -> None:
        """Stop it; `immediate` as if its machine had lost power."""
        self._run("pg_ctl", "stop", "-w", "-s", "-D", str(self._data), "-m", mode)

    @contextmanager
    def away(self, seconds: float) -> Iterator[None]:
        """Stopped for at least so long; the block runs without it."""
        until_s = time.monotonic() + seconds
        self.stop("immediate")
        try:
            yield
            time.sleep(max(0.0, until_s - time.monotonic()))
        finally:
            self.start()

    def database(self, template: str = "template0") -> str:
        """URL of a new database: an empty one, or a copy of one that nobody has open."""
        name = f"ihp_{next(self._numbers)}"
        self._run("createdb", "-h", str(self._folder), "-U", USER, "-T", template, name)
        return f"postgresql://{USER}@/{name}?host={self._folder}"

    def store(self) -> str:
        """URL of a new database with the service's tables, a copy of one that was migrated once."""
        if self._migrated is None:
            self._migrated = self.database()
            Store(self._migrated).close()
        return self.database(self._migrated.partition("@/")[2].partition("?")[0])

    def _run(self, program: str, *arguments: str) -> None:
        words = [str(self._bin / program), *arguments]
        if os.geteuid() == 0:
            words = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", *words]
        subprocess.run(words, check=True, cwd="/", stdout=subprocess.DEVNULL, timeout=60)


@contextmanager
def server() -> Iterator[Server]:
    """A server in a folder of its own, gone with it."""
    bin_dir = programs()
    assert bin_dir is not None
    # a socket's path is at most 107 bytes, and the server's user must reach it
    folder = Path(tempfile.mkdtemp(prefix="ihp-pg-", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, USER, USER)
        started = Server(bin_dir, folder)
        try:
            yield started
        finally:
            started.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
