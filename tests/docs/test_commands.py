"""Every command and script of the documentation does what its page says: it is run as it stands.

Pages are read in the order of the site, in one folder: what one made, the next ones use. Each
command is a process of its own, of an `ihp` that has been imported before (`prepared_ihp`). Of R,
SAS and Power Query the first is run where it is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.docs.prepared_ihp import write_client

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PREPARED = Path(__file__).with_name("prepared_ihp.py")
PAGES = ("start", "own-claims", "own-contract", "statewide", "interval", "sweeps", "final", "sign")
LATER = ("recipes", "serve", "develop")
OVER_HTTP = "http"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"],
       "r": ["Rscript", "-e"]}  # fmt: skip
READ = {"json", "toml", "text", "sas", "toctree"}
"""Blocks to be read: files in part, programs that cannot be had here, what Sphinx reads."""


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, text) of the fenced blocks of a page."""
    return FENCE.findall((DOCS / f"{page}.md").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for the path with an `ihp` of this checkout, prepared once for all commands."""
    where = tmp_path_factory.mktemp("bin")
    address = str(where / "s")
    with subprocess.Popen(
        [sys.executable, PREPARED, address], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as server:  # fmt: skip
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        write_client(where / "ihp", address)
        yield where
        server.terminate()


def environment(tools: Path, **more: str) -> dict[str, str]:
    """Ours, with that `ihp` first on the path."""
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **more}


def follow(page: str, folder: Path, tools: Path, **more: str) -> None:
    """Run the blocks of a page; what cannot be run here is left to those who can."""
    for language, text in blocks(page):
        if language in READ or (language == "r" and shutil.which("Rscript") is None):
            continue
        done = subprocess.run(
            [*RUN[language], text], cwd=folder, env=environment(tools, **more),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (
            f"{page}.md:\n{text}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )


@pytest.fixture(scope="module")
def folder(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which somebody has followed the pages for the actuary."""
    where = tmp_path_factory.mktemp("reader")
    for page in PAGES:
        follow(page, where, tools)
    return where


def test_the_actuary_s_pages_come_to_what_they_say(folder: Path) -> None:
    made = {path.name for path in folder.iterdir()}
    assert {"run", "mine-population", "north-2024.toml", "settled.csv", "run-state",
            "summary.html", "sweep.parquet", "open-tables", "appeal-IHP-01"} <= made  # fmt: skip
    settled = (folder / "settled.csv").read_text(encoding="utf-8")
    assert ",2580600\n" in settled


@pytest.mark.parametrize("page", LATER)  # recipes say less where R is not installed
def test_a_page_can_be_followed(folder: Path, tools: Path, page: str) -> None:
    follow(page, folder, tools)


@pytest.fixture
def service(folder: Path) -> Iterator[dict[str, str]]:
    """Address and key of a service whose default location holds the folder's population."""
    home = folder / "served"
    home.mkdir(mode=0o700)
    (home / "populations").mkdir(mode=0o700)
    shutil.copytree(folder / "population", home / "populations" / "population")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = subprocess.Popen(
        [sys.executable, "-m", "api.cli", "serve", "--port", str(port), "--home", home],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    with served:
        try:
            assert served.stdout is not None
            key = served.stdout.readline().removeprefix("API key: ").strip()
            url = f"http://127.0.0.1:{port}"
            until = time.monotonic() + 60
            while time.monotonic() < until:
                try:
                    httpx.get(f"{url}/livez")
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
            yield {"IHP_URL": url, "IHP_KEY": key}
            served.send_signal(signal.SIGTERM)
            served.wait(timeout=60)
        finally:
            served.kill()


@pytest.mark.service
@pytest.mark.ray
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a_service_can_be_asked_as_the_page_says(
    folder: Path, tools: Path, service: dict[str, str]
) -> None:
    follow(OVER_HTTP, folder, tools, **service)
    assert (folder / "settlement.csv").read_text(encoding="utf-8").count("\n") > 2


def test_every_block_is_run_or_to_be_read() -> None:
    """A page with something to run has its place in the order."""
    known = {*PAGES, *LATER, OVER_HTTP}
    for path in DOCS.glob("*.md"):
        languages = {language for language, _ in blocks(path.stem)}
        assert languages <= {*RUN, *READ}, path.name
        assert path.stem in known or not languages & set(RUN), path.name


def test_the_site_lists_every_page() -> None:
    listed = set(re.findall(r"^[\w/-]+$", (DOCS / "index.md").read_text("utf-8"), re.MULTILINE))
    assert {path.stem for path in DOCS.glob("*.md")} - {"index"} <= listed
