"""The pages of the method say what the program does: nothing declared is left out, examples run."""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterable

import pytest

from ihp_compute.contracts import KINDS, SETTLEMENT_STEPS
from ihp_compute.data_quality import FINDINGS, GATES
from ihp_compute.input_columns import INPUT_TABLES
from ihp_compute.ledger import IngestFate, RunFate
from ihp_compute.measure import EXCLUSION_REASONS, STATEMENT_FIELDS
from ihp_compute.report.methods import METHODS
from ihp_compute.results import TABLES
from ihp_compute.settlement import CHANGES, CONDITIONINGS
from ihp_compute.settlement.walk import CHANGES as CHANGES_OF_WALK
from tests import method_pages

PAGES = {path.name: path.read_text(encoding="utf-8") for path in method_pages.FOLDER.glob("*.md")}
WRITTEN = {
    name: text.partition(method_pages.BEGIN)[0] + text.partition(method_pages.END)[2]
    for name, text in PAGES.items()
}
"""What people wrote, without what is repeated of declarations."""


def _unnamed(names: Iterable[str], pages: Iterable[str]) -> list[str]:
    """Names that no page has as code."""
    text = "\n".join(pages)
    return [name for name in names if not re.search(rf"[`.]{re.escape(name)}`", text)]


@pytest.mark.parametrize("name", method_pages.PARTS)
def test_a_page_repeats_its_declarations(name: str) -> None:
    assert method_pages.written(name) == (method_pages.FOLDER / name).read_text(encoding="utf-8")


def test_every_term_has_its_rule_in_words() -> None:
    assert not _unnamed(KINDS, WRITTEN.values())


def test_every_default_stands_beside_its_term() -> None:
    rows = {
        found[1]: found[2]
        for found in re.finditer(
            r"^\| `([a-z_.]+)` \| [^|]* \| ([^|]*) \|", PAGES["terms.md"], re.MULTILINE
        )
    }
    for path, term in method_pages.unbound().items():
        value = term["value"]
        first = value[0] if isinstance(value, list) else value
        assert str(first).lower() in rows[path].lower(), path


def test_every_step_and_line_of_a_walk_is_explained() -> None:
    lines = {step.line for step in SETTLEMENT_STEPS.values() if step.line}
    levels = {"recomputed_base", "agreed_base", "target", "observed", "savings", "payment"}
    assert not _unnamed(SETTLEMENT_STEPS, [WRITTEN["settlement.md"]])
    assert not _unnamed(
        lines | levels | CHANGES_OF_WALK, [WRITTEN["target.md"], WRITTEN["settlement.md"]]
    )


@pytest.mark.parametrize(
    ("names", "page"),
    [
        ([fate.label for fate in IngestFate], "claims.md"),
        ([fate.label for fate in RunFate], "cost.md"),
        ([reason for reason in EXCLUSION_REASONS if reason], "attribution.md"),
        ([*GATES, *FINDINGS], "findings.md"),
        ([c.name for t in TABLES.values() for c in t.columns], "results.md"),
        (CONDITIONINGS, "intervals.md"),
        (INPUT_TABLES, "inputs.md"),
        (STATEMENT_FIELDS, "sign-off.md"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_a_page_leaves_nothing_of_its_list_out(names: Iterable[str], page: str) -> None:
    text = PAGES[page]
    assert not [name for name in names if not re.search(rf"(?<![a-z_]){name}(?![a-z_])", text)]


def test_every_result_table_has_a_heading() -> None:
    headings = re.findall(r"^### (\w+)$", PAGES["results.md"], re.MULTILINE)
    assert headings == list(TABLES)


def test_every_sensitivity_is_told() -> None:
    for change in CHANGES.values():
        assert change.meaning.split()[0] in WRITTEN["sign-off.md"]


def test_a_sentence_names_terms_that_exist() -> None:
    assert not [path for method in METHODS for path in method.terms if path not in KINDS]


def test_every_sentence_of_the_report_stands_in_the_pages() -> None:
    for method in METHODS:
        assert method.text in PAGES["README.md"]


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", PAGES[name]):
        assert (method_pages.FOLDER / target).exists(), target


def test_the_index_lists_every_page() -> None:
    assert not [
        name for name in PAGES if name != "README.md" and f"({name})" not in PAGES["README.md"]
    ]


@pytest.mark.parametrize("name", [name for name, text in PAGES.items() if ">>> " in text])
def test_examples_of_a_page_hold(name: str) -> None:
    found = doctest.testfile(str(method_pages.FOLDER / name), module_relative=False)
    assert (found.failed, found.attempted > 0) == (0, True)
