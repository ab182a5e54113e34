"""An alliance in a contract set: who settles, and what is refused, by file and path."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from ihp_compute.contracts import ContractSet, check, load_set
from ihp_compute.errors import ContractError

ROSTER = ["P-1", "P-2", "P-3", "P-4"]
HEAD = '[set]\nname = "with-alliance"\n[default]\ncontract = "mn-ihp-2.0-track-2"\n'
METRO = '[alliances.METRO]\ncontract = "northwest-metro-alliance"\n'


def loaded(folder: Path, text: str, roster: list[str] = ROSTER) -> ContractSet:
    file = folder / "set.toml"
    file.write_text(HEAD + text, encoding="utf-8")
    return load_set((str(file),), roster)


def test_an_alliance_has_a_contract_in_its_members_place(tmp_path: Path) -> None:
    given = (
        'members = ["P-3", "P-1"]\nsplit = "weights"\nweights = { "P-1" = 0.25, "P-3" = 0.75 }\n'
    )
    found = loaded(tmp_path, METRO + given)
    assert list(found.contracts) == ["METRO", "P-2", "P-4"]
    assert found.contracts["METRO"].name == "northwest-metro-alliance"
    assert [found.settles(name) for name in ROSTER] == ["METRO", "P-2", "METRO", "P-4"]
    alliance = found.alliances["METRO"]
    assert alliance.members == ("P-3", "P-1")
    assert alliance.weights == (Decimal("0.75"), Decimal("0.25"))
    assert found.only(["P-2"]).alliances == {}
    assert list(found.only(["METRO"]).alliances) == ["METRO"]


def test_an_alliance_takes_contract_and_values_as_a_partnership_does(tmp_path: Path) -> None:
    own = '[alliances.METRO]\nmembers = ["P-1", "P-2"]\nsplit = "member_months"\n'
    own += '[alliances.METRO.overrides]\n"settlement.gain.share" = 0.3\n'
    found = loaded(tmp_path, own)
    assert found.contracts["METRO"].name == "mn-ihp-2.0-track-2"
    assert found.at(2023)["METRO"]["settlement.gain.share"] == Decimal("0.3")


def test_members_split_and_weights_are_part_of_what_a_set_is(tmp_path: Path) -> None:
    texts = (
        METRO + 'members = ["P-1", "P-2"]\nsplit = "member_months"\n',
        METRO + 'members = ["P-2", "P-1"]\nsplit = "member_months"\n',
        METRO + 'members = ["P-1", "P-2"]\nsplit = "quality"\n',
        METRO + 'members = ["P-1"]\nsplit = "weights"\nweights = { "P-1" = 1 }\n',
        METRO + 'members = ["P-1"]\nsplit = "weights"\nweights = { "P-1" = 1.0 }\n',
    )
    found = [loaded(tmp_path, text) for text in texts]
    assert len({one.sha256 for one in found}) == 4  # 1 and 1.0 are one number
    assert len({str(one.hashes()) for one in found}) == 4


def test_a_set_with_an_alliance_is_checked_without_a_roster(tmp_path: Path) -> None:
    loaded(tmp_path, '[alliances.A]\nmembers = ["P-1"]\nsplit = "member_months"\n')
    assert check(tmp_path / "set.toml", 2023)["kind"] == "set"


MEMBERS = 'members = ["P-1", "P-2"]\n'
BAD = {
    "twice": ('members = ["P-1", "P-1"]\nsplit = "quality"\n',
              ".members: found P-1 twice, expected each member once"),
    "nobody": ('members = []\nsplit = "quality"\n', ".members: found none, expected partnership"),
    "unknown": ('members = ["P-1", "P-9"]\nsplit = "quality"\n',
                ".members: found P-9, not on the roster, which has P-1, P-2, P-3, P-4"),
    "no split": (MEMBERS, ".split: found '', expected weights, member_months, quality or own_resu"),
    "other split": (f'{MEMBERS}split = "equal"\n', ".split: found 'equal', expected weights"),
    "missing weight": (f'{MEMBERS}split = "weights"\nweights = {{ "P-1" = 1 }}\n',
                       ".weights.P-2: found nothing, expected the weight of each member"),
    "weight of a stranger": (
        f'{MEMBERS}split = "weights"\nweights = {{ "P-1" = 0.5, "P-2" = 0.5, "P-3" = 0 }}\n',
        ".weights.P-3: found a weight of who is no member"),
    "weights below 1": (f'{MEMBERS}split = "weights"\nweights = {{ "P-1" = 0.5, "P-2" = 0.4 }}\n',
                        ".weights: found weights that add up to 0.9, expected 1"),
    "negative weight": (f'{MEMBERS}split = "weights"\nweights = {{ "P-1" = 1.5, "P-2" = -0.5 }}\n',
                        ".weights.P-1: found 1.5, expected a number from 0 to 1"),
    "weights of another split": (f'{MEMBERS}split = "quality"\nweights = {{ "P-1" = 1 }}\n',
                                 ".weights: found weights beside a split by quality"),
    "weight in words": (f'{MEMBERS}split = "weights"\nweights = {{ "P-1" = "half" }}\n',
                        ".weights.P-1: found half, expected a number from 0 to 1"),
    "unknown key": (f'{MEMBERS}split = "quality"\nshares = 2\n', "shares"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_alliance_is_refused_by_its_path(case: str, tmp_path: Path) -> None:
    text, message = BAD[case]
    with pytest.raises(ContractError) as caught:
        loaded(tmp_path, METRO + text)
    assert "set.toml: alliances.METRO" in str(caught.value)
    assert message in str(caught.value)


TOGETHER = {
    "in two alliances": (
        f'{METRO}{MEMBERS}split = "quality"\n[alliances.B]\nmembers = ["P-2"]\nsplit = "quality"\n',
        "alliances.B.members: found P-2, a member of alliance METRO too",
    ),
    "with a contract of its own": (
        f'{METRO}{MEMBERS}split = "quality"\n[partnerships.P-2]\ncontract = "mn-ihp-1.0"\n',
        "alliances.METRO.members: found P-2, which has an entry partnerships.P-2",
    ),
    "named as a partnership": (
        '[alliances.P-4]\nmembers = ["P-1"]\nsplit = "quality"\n',
        "alliances.P-4: found the id of a partnership of the roster",
    ),
    "reserved": (
        '[alliances.COMPARISON]\nmembers = ["P-1"]\nsplit = "quality"\n',
        "alliances.COMPARISON: found COMPARISON, a reserved name",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TOGETHER)
def test_alliances_that_do_not_fit_together_are_refused(case: str, tmp_path: Path) -> None:
    text, message = TOGETHER[case]
    with pytest.raises(ContractError) as caught:
        loaded(tmp_path, text)
    assert message in str(caught.value)


def test_an_alliance_needs_a_contract(tmp_path: Path) -> None:
    file = tmp_path / "set.toml"
    file.write_text('[set]\nname = "s"\n[alliances.A]\nmembers = ["P-1"]\nsplit = "quality"\n')
    with pytest.raises(ContractError, match=r"alliances\.A: found no contract, expected one"):
        load_set((str(file),), ["P-1"])


def test_alliances_alone_are_no_contract(tmp_path: Path) -> None:
    file = tmp_path / "set.toml"
    file.write_text('[alliances.A]\nmembers = ["P-1"]\nsplit = "quality"\n')
    with pytest.raises(ContractError, match=r"no such table beside \[alliances\]"):
        load_set((str(file),), ["P-1"])


def test_a_split_by_quality_needs_a_score_of_each_member(tmp_path: Path) -> None:
    found = loaded(tmp_path, METRO + MEMBERS + 'split = "quality"\n')
    found.check_splits({"P-1": Decimal("0.5"), "P-2": Decimal(1)}, compared=False)
    with pytest.raises(ContractError) as caught:
        found.check_splits({"P-1": Decimal("0.5"), "P-2": None}, compared=True)
    assert "alliances.METRO.split: found quality, and no quality score of P-2" in str(caught.value)


def test_a_split_by_own_results_needs_a_programme(tmp_path: Path) -> None:
    found = loaded(tmp_path, METRO + MEMBERS + 'split = "own_results"\n')
    found.check_splits({}, compared=True)
    with pytest.raises(ContractError, match=r"METRO\.split: found own_results, and no programme"):
        found.check_splits({}, compared=False)
