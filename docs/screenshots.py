"""Takes the pictures that the README shows: `python docs/screenshots.py out/demo`.

    the demo's report -> report.png
    a service of its own, the same run asked of it -> run-page.png

The system's Chromium draws pages as a reader sees them first; nothing is fetched from elsewhere.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, sync_playwright

from api.client import Client
from ihp_compute.report import require_browser

SIZE: Final = {"width": 1280, "height": 900}
HERE: Final = Path(__file__).parent
CONTRACT: Final = "mn-ihp-2.0-track-2"


@contextlib.contextmanager
def serving(population: Path) -> Iterator[tuple[str, str]]:
    """Address and operator's key of a service with this population in a home of its own."""
    with tempfile.TemporaryDirectory(prefix="ihp-") as folder:
        home = Path(folder) / "home"
        shutil.copytree(population, home / "populations" / population.name)
        command = [sys.executable, "-m", "api.cli", "serve", "--port", "0", "--home", str(home)]
        served = subprocess.Popen(  # noqa: S603 - ours
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            said = next(line for line in served.stderr or () if line.startswith("serving "))
            key = next(line for line in served.stdout or () if line.startswith("API key: "))
            yield said.split()[1], key.split()[-1]
        finally:
            served.send_signal(signal.SIGTERM)
            served.communicate(timeout=60)


def take_run_page(page: Page, population: Path, out: Path) -> None:
    """The page of a run, signed in."""
    with serving(population) as (url, key):
        with Client(url, key) as client:
            client.register("demo", prefix=population.name)
            run = client.start("demo", [CONTRACT], idempotency_key="picture", replicates=500)
            client.wait(run["id"])
        page.goto(f"{url}/sign-in")
        page.fill("input[name=key]", key)
        page.press("input[name=key]", "Enter")
        page.wait_for_url(f"{url}/runs")
        page.goto(f"{url}/runs/{run['id']}")
        page.screenshot(path=out)


def main(demo: Path) -> None:
    """Take both."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=require_browser(), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)
        page.goto((demo / "run" / "report.html").resolve().as_uri())
        page.screenshot(path=HERE / "report.png")
        take_run_page(page, demo / "population", HERE / "run-page.png")
        browser.close()
    for name in ("report.png", "run-page.png"):
        print(HERE / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
