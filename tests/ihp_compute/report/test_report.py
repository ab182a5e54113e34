"""The report of a run: whole in one file, honest first, readable without pictures."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ihp_compute.data_quality import Noticed
from ihp_compute.errors import RunError
from ihp_compute.measure import STATEMENT_FIELDS
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.report.about import facts
from ihp_compute.report.methods import METHODS
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


NOTICED = [
    Noticed(
        "duplicate_rows", "medical_claim", lines=600, paid_cents=1_234_500, share=0.6, size=1_000
    ),
    Noticed("missing_claim_table", "pharmacy_claim", share=1.0, size=10),
    Noticed(
        "unreadable_rows", "eligibility", subject="7 of them: birth_date is not a date",
        lines=9, share=0.0009, size=10_000,
    ),
    Noticed("blank_amount", "medical_claim", "medical_claim/part-0.parquet", lines=3),
    Noticed("blank_amount", "medical_claim", "medical_claim/part-1.parquet", lines=4),
    *(
        Noticed("roster_npi_without_claims", "provider_roster", subject=f"19999999{k:02d}", lines=1)
        for k in range(12)
    ),
]  # fmt: skip


def _text(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


@pytest.fixture
def noticed(make_run: Callable[..., Path]) -> tuple[str, str]:
    """Words of the first page, and of the section, of a run of which much was noticed."""
    accept = {"duplicate_rows": "<b>a re-send</b>"}
    page = write_report(make_run(noticed=NOTICED, accept=accept)).read_text(encoding="utf-8")
    assert "<b>a re-send" not in page
    body = page[page.index("<body") :]
    first, _, rest = body.partition('<nav aria-label="Contents">')
    section = rest[rest.index('id="quality"') : rest.index('id="limits"')]
    return _text(first), _text(section)


def test_the_first_page_says_what_tripped_with_count_dollars_and_reason(
    noticed: tuple[str, str],
) -> None:
    n = noticed[1].split(">", 1)[-1].split()[0]
    assert f"1 gate tripped and was accepted; 5 kinds of finding in section {n}" in noticed[0]
    assert (
        "duplicate rows , rows that repeat another: medical_claim: 600 lines, $12,345, 60.00 %. "
        "Accepted because: &lt;b&gt;a re-send&lt;/b&gt;"
    ) in noticed[0]


def test_what_is_missing_stands_on_the_first_page_whether_or_not_a_gate_tripped(
    noticed: tuple[str, str],
) -> None:
    assert "Missing: claim table missing or empty: pharmacy_claim" in noticed[0]
    assert "Missing: blank amounts, read as 0: medical_claim (2 files): 7 lines" in noticed[0]
    assert "Missing: rows that repeat" not in noticed[0]


def test_a_whole_page_says_that_it_is_and_shows_few_people(noticed: tuple[str, str]) -> None:
    assert "This page shows rows of few people" in noticed[0]
    assert "7 of them" in noticed[1]


def test_ten_rows_of_a_finding_are_shown_and_the_rest_counted(noticed: tuple[str, str]) -> None:
    assert "1999999909" in noticed[1]
    assert "1999999910" not in noticed[1]
    assert "and 2 more" in noticed[1]


def test_a_run_of_which_nothing_was_noticed_says_so(make_run: Callable[..., Path]) -> None:
    text = _text(write_report(make_run()).read_text(encoding="utf-8"))
    assert "No gate tripped; 0 kinds of finding" in text
    assert "Nothing was noticed." in text


# --- who answers for it -------------------------------------------------------------------------


def _with_statement(run_dir: Path, **fields: str) -> str:
    manifest = run_dir / "manifest.json"
    held = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.write_text(json.dumps({**held, "statement": fields}), encoding="utf-8")
    return write_report(run_dir).read_text(encoding="utf-8")


STATED = {name: f"the {name}" for name, field in STATEMENT_FIELDS.items() if field.needed}


def test_without_a_statement_the_first_page_and_every_printed_one_say_so(page: str) -> None:
    first = _text(page[page.index("<body") : page.index('<dl class="big">')])
    assert first.startswith("UNREVIEWED Nobody has stated status, purpose")
    assert re.search(r'@top-right { content: "UNREVIEWED · DRAFT TERMS"', page)


def test_a_statement_is_shown_and_the_page_is_no_longer_unreviewed(
    make_run: Callable[..., Path],
) -> None:
    page = _with_statement(make_run(), **STATED, reviewer=HOSTILE)
    assert "UNREVIEWED" not in page
    assert "<script>" not in page
    text = _text(page[page.index('id="review"') :])
    for said in STATED.values():
        assert said in text


@pytest.mark.parametrize("name", STATED)
def test_a_field_that_is_needed_and_not_stated_is_named(
    make_run: Callable[..., Path], name: str
) -> None:
    stated = {key: said for key, said in STATED.items() if key != name}
    page = _with_statement(make_run(), **stated)
    assert f"Nobody has stated {name.replace('_', ' ')}" in _text(page)


def test_each_standard_has_its_answer(page: str) -> None:
    review = _text(page[page.index('id="review"') : page.index('id="definitions"')])
    places = [review.index(f"ASOP {number}") for number in (41, 23, 25, 45, 56)]
    assert places == sorted(places)


def test_what_one_term_moves_stands_beside_the_result(page: str) -> None:
    section = _text(page[page.index('id="sensitivities"') : page.index('id="walk"')])
    assert "trend one point a year higher" in section
    assert "IHP01 +$1 +$1" in section
    assert "cost.claim_cap one tier up or down" in section


def test_chances_of_savings_and_of_the_gate_are_shown(page: str) -> None:
    section = _text(page[page.index('id="chances"') : page.index('id="sensitivities"')])
    assert "IHP01 80 % 75 % (state) 40 % 40 % 10 %" in section
    assert "about 1.2 rates differ from zero at 95 % by chance" in section


def test_without_draws_there_are_no_chances(make_run: Callable[..., Path]) -> None:
    page = write_report(make_run(replicates=0)).read_text(encoding="utf-8")
    assert 'id="chances"' not in page
    assert 'id="sensitivities"' in page


def test_every_rule_in_a_sentence_is_on_the_page(page: str) -> None:
    words = _text(page)
    for method in METHODS:
        assert method.text in unescape(words)


def test_terms_in_force_are_shown_with_value_basis_and_source(
    small_population: Path, tmp_path: Path
) -> None:
    request = RunRequest(small_population, ("mn-ihp-2.0-track-2",), replicates=0, statement=STATED)
    outcome = run(request, tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    terms = _text(page[page.index("Terms of mn-ihp-2.0-track-2") :])
    assert re.search(r"settlement\.gate\.gain_rate .*?0\.02 ratio of target", terms)
    assert "UNREVIEWED" not in page
    bare = run(RunRequest(small_population, ("mn-ihp-2.0-track-2",), replicates=0), tmp_path / "b")
    assert bare.digest == outcome.digest


def test_partnerships_with_values_of_their_own_are_counted_beside_their_contract() -> None:
    """A set that overrides a term for all would else name the contract once for each of them."""
    names = ["track-2", "track-2 (IHP-01)", "track-2 (IHP-02)", "wcho"]
    manifest = {
        "performance_year": 2024, "base_year": 2023, "paid_through": "2025-06-30",
        "replicates": 2, "seed": 1, "device": "cpu", "digest": "d",
        "contracts": [{"name": name} for name in names],
    }  # fmt: skip
    assert dict(facts(manifest))["Contracts"] == "track-2, 2 with values of their own, wcho"
