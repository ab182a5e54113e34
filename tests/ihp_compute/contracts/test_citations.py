"""Every citation of a contract shipped leads somewhere, and a source speaks of its years only."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ihp_compute import contracts
from ihp_compute.contracts import Contract, Entry

ROOT = Path(__file__).resolve().parents[3]
PAGE = "docs/method/constants.md"
NAMES = contracts.names()


def headings() -> set[str]:
    return set(re.findall(r"(?m)^### (.+)$", (ROOT / PAGE).read_text(encoding="utf-8")))


def documents() -> dict[str, str]:
    """Address by title, of the page's table of documents."""
    table = (ROOT / PAGE).read_text(encoding="utf-8").split("## Documents")[1]
    return dict(re.findall(r"(?m)^\| (.+?) \| (http\S+) \| .+ \|$", table))


def test_every_document_says_how_far_it_was_read() -> None:
    """In full, a part that is named, its results, or not at all; and a contract cites no such."""
    table = (ROOT / PAGE).read_text(encoding="utf-8").split("## Documents")[1]
    rows = re.findall(r"(?m)^\| (.+?) \| (http\S+) \| (.+) \|$", table)
    assert len(rows) > 30
    for title, _, read in rows:
        assert re.fullmatch(r"in full|in part: .+|results|not at all", read), title
    unread = {title for title, _, read in rows if read == "not at all"}
    assert len(unread) > 2
    for name in NAMES:
        assert not unread & {document.title for document in contracts.load(name).documents.values()}


def cited(contract: Contract) -> list[tuple[str, Entry]]:
    return [(path, entry) for path, term in contract.terms.items() for entry in term.entries]


def test_no_heading_is_there_twice() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    assert len(re.findall(r"(?m)^### ", text)) == len(headings())


@pytest.mark.parametrize("name", NAMES)
def test_every_citation_of_a_shipped_contract_resolves(name: str) -> None:
    """A page of ours and a heading on it, or a public document with its address."""
    found = contracts.load(name)
    known, places = documents(), headings()
    for path, entry in cited(found):
        document = found.documents[entry.source.doc]
        if document.url == PAGE:
            assert entry.source.at.split(":")[0] in places, f"{path}: {entry.source.at}"
        else:
            assert known.get(document.title) == document.url, f"{path}: {document.title}"


@pytest.mark.parametrize("name", NAMES)
def test_a_published_value_ends_with_its_source(name: str) -> None:
    """But for what a page says of a programme that goes on."""
    found = contracts.load(name)
    for path, entry in cited(found):
        if entry.basis == "published" and entry.source.doc != "overview":
            assert entry.last is not None, path


@pytest.mark.parametrize(
    ("name", "year", "paths"),
    [
        ("vermont-medicaid-aco", 2019, ("settlement.gain.bands", "settlement.loss.bands")),
        ("aca-1342", 2017, ("settlement.gain.bands", "settlement.loss.share")),
        ("cms-mssp-enhanced", 2025, ("settlement.gain.share", "settlement.withhold.rate")),
        ("cms-reach-global", 2027, ("target.policy.discount",)),
        ("maine-accountable-communities", 2027, ("settlement.gain.share",)),
        ("massachusetts-medicaid-aco", 2019, ("settlement.gain.share",)),
        ("mn-ihp-1.0-virtual", 2016, ("settlement.gain.share",)),
        ("northwest-metro-alliance", 2013, ("target.market",)),
        ("cms-pioneer-half-of-losses", 2014, ("settlement.loss.share",)),
    ],
)
def test_the_last_known_value_is_carried_as_a_draft(
    name: str, year: int, paths: tuple[str, ...]
) -> None:
    found = contracts.load(name)
    late, last = found.at(year), found.at(year - 1)
    for path in paths:
        assert late.value(path).basis == "carried"
        assert f"{path} (carried)" in late.draft_line()
        if name != "vermont-medicaid-aco":
            assert last.value(path).basis != "carried"
        assert late[path] == last[path]


def test_half_of_savings_is_published_for_the_virtual_partnership_that_said_it() -> None:
    assert contracts.load("mn-ihp-1.0").at(2014).value("settlement.gain.share").basis == "recalled"
    own = contracts.load("mn-ihp-1.0-virtual").at(2014).value("settlement.gain.share")
    assert (own.basis, own.source.doc) == ("published", "fuhn")


def test_both_readings_of_a_virtual_partnership_s_losses_are_shipped() -> None:
    """The overview excepts nobody from losses after the first year; gains only was recalled."""
    first = {"agreement.first_performance_year": 2013}
    both, gains = (
        contracts.load(name).override(first)
        for name in ("mn-ihp-1.0-virtual", "mn-ihp-1.0-virtual-gains-only")
    )
    integrated = contracts.load("mn-ihp-1.0").override(first)
    for year in (2013, 2014, 2015):
        for path in ("settlement.loss.share", "settlement.gate.loss_rate"):
            assert both.at(year)[path] == integrated.at(year)[path]
        assert gains.at(year)["settlement.gate.loss_rate"] is None
    assert [both.at(year)["settlement.loss.share"] > 0 for year in (2013, 2014, 2015)] == [
        False, True, True,
    ]  # fmt: skip
