"""The report of a run: whole in one file, honest first, readable without pictures."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ihp_compute.errors import RunError
from ihp_compute.report.page import write_report

HOSTILE = "<script>alert('x')</script> & \"co\""
VOID = {"br", "col", "hr", "img", "input", "link", "meta", "wbr"}


class _Balance(HTMLParser):
    """Notes tags that are closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, _attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, _attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


@pytest.fixture
def page(make_run: Callable[..., Path]) -> str:
    return write_report(make_run()).read_text(encoding="utf-8")


def test_the_page_refers_to_nothing_outside_itself(page: str) -> None:
    assert "<script" not in page
    assert not re.search(r'(?:src|href)="(?!#)', page)
    assert "url(" not in page
    assert "@import" not in page


def test_the_page_is_well_formed_and_so_is_each_chart(page: str) -> None:
    balance = _Balance()
    balance.feed(page)
    assert (balance.wrong, balance.open) == ([], [])
    charts = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(charts) > 25
    for chart in charts:
        ET.fromstring(chart)  # noqa: S314 - our own text


def test_every_chart_says_in_words_what_it_shows(page: str) -> None:
    for chart in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        assert "<title" in chart
        assert re.search(r"<desc[^>]*>[^<]{20,}", chart)


def test_draft_terms_come_before_any_result(page: str) -> None:
    body = page[page.index("<body") :]
    assert body.index("DRAFT TERMS") < body.index("Settlement")


def test_a_missed_gate_says_by_how_many_dollars(page: str) -> None:
    assert re.search(r"missed by \$[\d,]+", page)


def test_a_hostile_name_stays_text(make_run: Callable[..., Path]) -> None:
    page = write_report(make_run(names={3: HOSTILE})).read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_an_unbalanced_ledger_is_said_in_so_many_words(make_run: Callable[..., Path]) -> None:
    good = write_report(make_run()).read_text(encoding="utf-8")
    bad = write_report(make_run(balanced=False)).read_text(encoding="utf-8")
    assert "NOT BALANCED" not in good
    assert "NOT BALANCED" in bad


def test_a_substituted_device_is_named_on_the_first_page(make_run: Callable[..., Path]) -> None:
    page = write_report(make_run(requested="auto", device="cpu")).read_text(encoding="utf-8")
    assert page.index("no GPU could be used") < page.index("How sure")


def test_without_replicates_the_page_has_no_intervals(make_run: Callable[..., Path]) -> None:
    page = write_report(make_run(replicates=0)).read_text(encoding="utf-8")
    assert "<svg" in page


def test_a_folder_that_is_no_run_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a finished run"):
        write_report(tmp_path)


def test_a_missing_table_is_named(make_run: Callable[..., Path]) -> None:
    run_dir = make_run()
    (run_dir / "walk.parquet").unlink()
    with pytest.raises(RunError, match=r"walk\.parquet"):
        write_report(run_dir)
