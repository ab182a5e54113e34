"""The report as a browser shows and prints it; skipped where there is no Chromium."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ihp_compute.explain import write_pack
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.runner import LocalRunner

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium to show the page with")


@pytest.fixture(scope="module")
def address(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a run with all that the standard programme measures."""
    request = RunRequest(small_population, ("mn-ihp-2.0-track-2",), replicates=20)
    out = tmp_path_factory.mktemp("browser") / "run"
    return (run(request, out, LocalRunner(1)).run_dir / "report.html").as_uri()


@pytest.fixture(scope="module")
def settled(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of settlements alone."""
    request = RunRequest(small_population, ("mn-ihp-2.0-track-2",), replicates=20, programme="none")
    out = tmp_path_factory.mktemp("browser") / "run"
    return (run(request, out, LocalRunner(1)).run_dir / "report.html").as_uri()


def _printed(address: str, browser: Any) -> int:
    """Pages of a report on paper."""
    page = browser.new_page()
    page.goto(address)
    assert page.locator(".statement").count() == 25
    printed = page.pdf(prefer_css_page_size=True, print_background=True)
    return len(re.findall(rb"/Type\s*/Page[^s]", printed))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def test_settlements_of_all_partnerships_print_on_twenty_six_pages(
    settled: str, browser: Any
) -> None:
    assert 10 < _printed(settled, browser) <= 26


def test_with_all_that_a_programme_measures_it_prints_on_thirty_pages(
    address: str, browser: Any
) -> None:
    assert 10 < _printed(address, browser) <= 30


def test_every_printed_statement_stands_whole_below_a_head_that_names_it(
    address: str, browser: Any
) -> None:
    page = browser.new_page(viewport={"width": 980, "height": 740})
    page.emulate_media(media="print")
    page.goto(address)
    found = page.evaluate(
        "[...document.querySelectorAll('.statement')].map(of => ["
        "getComputedStyle(of.parentElement).page, "
        "of.querySelector('h3').firstChild.data.trim(), of.getBoundingClientRect().height])"
    )
    heads = dict(re.findall(r'@page (sheet-\d+) { @top-left { content: "([^"]+)"', page.content()))
    assert len(found) == 25
    assert all(name in heads[sheet] and height < 740 for sheet, name, height in found)
    assert all("Statewide recalculation of 2024" in head for head in heads.values())
    assert 'content: "UNREVIEWED · DRAFT TERMS"' in page.content()


@pytest.mark.parametrize(("width", "media"), [(390, "screen"), (1280, "screen"), (980, "print")])
def test_figures_have_one_type_size(address: str, browser: Any, width: int, media: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 740})
    page.emulate_media(media=media)
    page.goto(address)
    scales = page.evaluate(
        "[...document.querySelectorAll('svg.chart')].filter(chart => chart.checkVisibility())"
        ".map(chart => chart.getBoundingClientRect().width / chart.viewBox.baseVal.width)"
    )
    assert len(scales) > 4
    assert max(scales) - min(scales) < 0.005


def test_contents_number_the_sections_that_are_there(
    address: str, settled: str, browser: Any
) -> None:
    """Each heading has its number, from 1 without a gap, and each link its heading."""
    only = {"outcomes", "quality-scores", "cost-index", "comparison"}
    found = []
    for of in (address, settled):
        page = browser.new_page()
        page.goto(of)
        headings = page.evaluate(
            "[...document.querySelectorAll('h2')]"
            ".map(h2 => [h2.id, h2.firstElementChild.textContent])"
        )
        links = page.evaluate(
            "[...document.querySelectorAll('nav a')]"
            ".map(a => [a.hash.slice(1), a.textContent.split(' ')[0]])"
        )
        assert headings == links
        assert [n for _, n in headings] == [str(n + 1) for n in range(len(headings))]
        found.append({anchor for anchor, _ in headings})
    assert only <= found[0]
    assert found[0] - found[1] == only - found[1] != set()


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


@pytest.fixture(scope="module")
def pack(address: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    run_dir = Path(address.removeprefix("file://")).parent
    out = tmp_path_factory.mktemp("browser-pack") / "pack"
    return (write_pack(run_dir, "IHP-01", out).folder / "index.html").as_uri()


def test_a_pack_prints_on_six_pages_before_its_people(pack: str, browser: Any) -> None:
    page = browser.new_page()
    page.goto(pack)
    assert page.locator(".people tbody tr").count() > 50
    page.evaluate("document.querySelector('.people').remove()")
    printed = page.pdf(prefer_css_page_size=True, print_background=True)
    assert 1 < len(re.findall(rb"/Type\s*/Page[^s]", printed)) <= 6


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_no_pack_is_wider_than_its_window(pack: str, browser: Any, width: int, scheme: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(pack)
    assert page.evaluate("document.documentElement.scrollWidth") == width
