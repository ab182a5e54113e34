"""A term that came later than somebody's file breaks no file: it stands as in `unbound`, by name.

A file of somebody's own, extending nothing, gives every path that there was when it was written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ihp_compute import contracts
from ihp_compute.contracts import files
from ihp_compute.contracts.vocabulary import FIRST_PATHS, KINDS
from ihp_compute.errors import ContractError
from ihp_compute.settlement import exhibit

HEAD = """
name = "north"
title = "An agreement in one file"
programme = "test"

[sources.practice]
title = "The agreement's own practice"
"""
LATER = "payers.split"


def whole(tmp_path: Path, without: frozenset[str] = frozenset(), name: str = "north.toml") -> Path:
    """A file with values for the paths of method version 1, extending nothing."""
    terms = contracts.load("mn-ihp-1.0").terms
    parts = [HEAD]
    for path in sorted(FIRST_PATHS - without):
        entry, unit = terms[path].entries[0], KINDS[path].unit
        value = "none" if entry.value is None else entry.value
        text = str(value) if isinstance(value, Decimal) else json.dumps(value)
        parts.append(
            f'[{path}]\nvalue = {text}\nunit = "{unit}"\nfrom = 2000-01-01\nbasis = "contract"\n'
            'source = { doc = "practice", at = "p. 1" }\n'
        )
    file = tmp_path / name
    file.write_text("\n".join(parts), encoding="utf-8")
    return file


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Method version 1 did not have `payers.split`."""
    monkeypatch.setattr(files, "FIRST_PATHS", FIRST_PATHS - {LATER})


def test_a_file_of_method_version_1_holds_whatever_came_after_it(tmp_path: Path) -> None:
    found = contracts.load(whole(tmp_path))
    assert set(found.newer) == set(KINDS) - FIRST_PATHS
    assert found.at(2024)["settlement.gain.share"] == Decimal("0.5")


@pytest.mark.usefixtures("later")
def test_a_later_term_stands_as_in_unbound_with_its_page(tmp_path: Path) -> None:
    found = contracts.load(whole(tmp_path, frozenset({LATER})))
    value = found.at(2024).value(LATER)
    assert LATER in found.newer
    assert (value.value, value.basis) == (None, "assumed")
    assert value.citation == "unbound.practice: No such rule"
    title = found.documents["unbound.practice"].title
    assert title == "Constants of the contracts shipped, working rules"
    assert found.documents["practice"].title == "The agreement's own practice"


@pytest.mark.usefixtures("later")
def test_a_later_term_is_named_wherever_the_contract_is_read(tmp_path: Path) -> None:
    file = whole(tmp_path, frozenset({LATER}))
    found = contracts.load(file)
    assert found.newer_line.startswith("NEWER TERMS: north does not give ")
    assert LATER in found.newer_line
    assert contracts.check(file)["newer_terms"] == [found.newer_line]
    assert contracts.load_set([file], ["P1", "P2"]).newer_lines() == [found.newer_line]
    agreement = found.at(2024)
    assert found.newer_line in list(exhibit.lines(found, agreement))
    document: Mapping[str, Any] = exhibit.document(found, agreement)
    assert document["newer"] == found.newer_line


@pytest.mark.usefixtures("later")
def test_what_extends_an_older_file_says_so_too(tmp_path: Path) -> None:
    whole(tmp_path, frozenset({LATER}), "old.toml")
    file = tmp_path / "new.toml"
    head = 'name = "new"\ntitle = "New"\nprogramme = "test"\nextends = "old.toml"\n'
    file.write_text(head, encoding="utf-8")
    assert LATER in contracts.load(file).newer
    given = (
        f'[{LATER}]\nvalue = "cost"\nunit = "choice"\nfrom = 2020-01-01\nbasis = "contract"\n'
        'source = { doc = "practice", at = "p. 2" }\n'
    )
    file.write_text(head + given, encoding="utf-8")
    assert LATER not in contracts.load(file).newer


def test_a_term_that_every_file_could_know_is_still_owed(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=f"^north.toml: {LATER}: found nothing, expected"):
        contracts.load(whole(tmp_path, frozenset({LATER})))


@pytest.mark.parametrize("name", contracts.names())
def test_contracts_shipped_give_every_term(name: str) -> None:
    assert contracts.load(name).newer == ()
