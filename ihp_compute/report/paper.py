"""A page on paper: what a browser's print style makes of a report, as a PDF.

Chromium prints it; nothing else here lays out a page. Text and figures are those of the page.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from ihp_compute.errors import InfrastructureError
from ihp_compute.publishing import whole

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LONGEST_S: Final = 180
"""How long printing may take; a report of a state takes some seconds."""


def require_browser() -> str:
    """The browser that prints.

    Raises
    ------
    InfrastructureError
        If none is on the path.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise InfrastructureError(
            f"no PDF: found none of {', '.join(BROWSERS)}, expected Chromium on the path; install "
            "it, or print the HTML report from a browser"
        )
    return found


def write_pdf(page: Path, out: Path) -> Path:
    """Print a page of ours into a PDF.

    Parameters
    ----------
    page : Path
        An HTML file without script or references to others.
    out : Path

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    InfrastructureError
        If there is no Chromium, or it fails.
    """
    browser = require_browser()
    with tempfile.TemporaryDirectory(prefix="ihp-print-") as profile, whole(out) as unfinished:
        command = [
            browser,
            "--headless",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--no-pdf-header-footer",
            f"--user-data-dir={profile}",
            f"--print-to-pdf={unfinished.resolve()}",
            page.resolve().as_uri(),
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.insert(1, "--no-sandbox")  # Chromium's sandbox refuses the superuser
        try:
            done = subprocess.run(  # noqa: S603 - a browser of the path, on a page of ours
                command, capture_output=True, timeout=LONGEST_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise InfrastructureError(
                f"no PDF: {browser} did not print within {LONGEST_S} s; try again"
            ) from None
        if done.returncode or not unfinished.is_file():
            raise InfrastructureError(
                f"no PDF: {browser} ended with {done.returncode} and printed nothing; try again, "
                "or print the HTML report from a browser"
            )
    return out
