"""The report as a browser shows and prints it; skipped where there is no Chromium."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ihp_compute.pipeline import RunRequest, run
from ihp_compute.runner import LocalRunner

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium to show the page with")


@pytest.fixture(scope="module")
def address(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    request = RunRequest(small_population, ("mn-ihp-2.0-track-2",), replicates=20)
    out = tmp_path_factory.mktemp("browser") / "run"
    return (run(request, out, LocalRunner(1)).run_dir / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def test_a_report_of_all_partnerships_prints_on_thirty_pages(address: str, browser: Any) -> None:
    page = browser.new_page()
    page.goto(address)
    assert page.locator(".statement").count() == 25
    printed = page.pdf(prefer_css_page_size=True, print_background=True)
    assert 10 < len(re.findall(rb"/Type\s*/Page[^s]", printed)) <= 30


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_no_page_is_wider_than_its_window(
    address: str, browser: Any, width: int, scheme: str
) -> None:
    """Wide tables scroll in their own frame."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_on_paper_every_table_fits_its_column(address: str, browser: Any) -> None:
    """Letter, landscape, 10 mm of margin: 980 pixels; a number that is cut off cannot be read."""
    page = browser.new_page(viewport={"width": 980, "height": 740})
    page.emulate_media(media="print")
    page.goto(address)
    wide = page.evaluate(
        "[...document.querySelectorAll('table')].filter(table => table.offsetParent && "
        "table.getBoundingClientRect().right > 980 + 1)"
        ".map(table => table.closest('[aria-label]')?.getAttribute('aria-label'))"
    )
    assert wide == []
