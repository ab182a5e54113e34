"""Values beside a contract, names of contracts, and values whose source has ended."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from ihp_compute import contracts
from ihp_compute.contracts import ContractSet
from ihp_compute.contracts.files import FOLDER
from ihp_compute.errors import ContractError

TRACK_2 = "mn-ihp-2.0-track-2"


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def set_of(folder: Path, body: str, name: str = "set.toml") -> Path:
    return written(folder, name, f'[set]\nname = "s"\nperformance_year = 2024\n{body}')


WHAT_IF = """
[default]
contract = "mn-ihp-2.0-track-2"
[partnerships.P1.overrides]
"settlement.gain.share" = 0.9
"target.trend" = { value = 0.09, source = "amendment 2, p. 1" }
"settlement.direction" = "shared_savings"
"""


ENDS = """
name = "own"
title = "t"
programme = "p"
extends = "mn-ihp-1.0"
[sources.own]
title = "Agreement"
[settlement.gain.share]
unit = "ratio"
basis = "contract"
source = { doc = "own", at = "p. 3" }
values = [
    { value = 0.3, from = 2014-01-01, until = 2015-12-31 },
    { value = 0.4, from = 2018-01-01, until = 2019-12-31 },
]
"""


def counts(line: str) -> tuple[int, int]:
    words = line.split()
    return int(words[2]), int(words[4])


def test_a_value_beside_a_contract_is_supplied_and_stays_in_the_draft(tmp_path: Path) -> None:
    """Neither a bare number nor one with a source is the contract; a statute's term falls to it."""
    found = contracts.load_set([set_of(tmp_path, WHAT_IF)], ["P1"], 2024)
    own = found.at(2024)["P1"]
    shipped = contracts.load(TRACK_2).at(2024)
    assert own.value("settlement.gain.share").basis == "supplied"
    assert own.value("settlement.gain.share").citation == "supplied beside the contract"
    assert own.value("target.trend").citation == "supplied: amendment 2, p. 1"
    assert shipped.value("settlement.direction").basis == "statute"
    weak, total = counts(shipped.draft_line())
    assert counts(found.draft_lines()[0]) == (weak + 1, total)
    terms = found.draft_terms()
    assert (terms["recalled_or_assumed"], terms["total"]) == (weak + 1, total)
    assert sorted(terms["supplied"]) == [
        "settlement.direction", "settlement.gain.share", "target.trend",
    ]  # fmt: skip


def test_a_rule_that_is_taken_away_is_a_supplied_value_too(tmp_path: Path) -> None:
    body = WHAT_IF.replace('"settlement.gain.share" = 0.9', '"settlement.gate.loss_rate" = "none"')
    found = contracts.load_set([set_of(tmp_path, body)], ["P1"], 2024)
    assert "settlement.gate.loss_rate (supplied)" in found.draft_lines()[0]


def test_every_partnership_s_values_are_named_in_the_one_line_of_their_contract(
    tmp_path: Path,
) -> None:
    body = WHAT_IF + '[partnerships.P2.overrides]\n"cost.claim_cap" = 1000\n'
    found = contracts.load_set([set_of(tmp_path, body)], ["P0", "P1", "P2"], 2024)
    (line,) = found.draft_lines()
    assert "cost.claim_cap (supplied)" in line
    assert "settlement.gain.share (supplied)" in line


def test_no_hash_follows_the_name_of_a_set_s_file(tmp_path: Path) -> None:
    one, other = (
        contracts.load_set([set_of(tmp_path, WHAT_IF, name)], ["P1"])
        for name in ("a.toml", "b.toml")
    )
    assert one.hashes() == other.hashes()
    assert one.sha256 == other.sha256
    shipped = contracts.load(TRACK_2)
    as_it_is = shipped.override({"settlement.gain.share": Decimal("0.50")})
    assert as_it_is.sha256 != shipped.sha256, "an equal value without its page is another term"


def test_an_entry_without_a_contract_is_the_default_with_its_own_values(tmp_path: Path) -> None:
    body = WHAT_IF + '[default.overrides]\n"target.trend" = 0.01\n"cost.claim_cap" = 70000\n'
    found = contracts.load_set([set_of(tmp_path, body)], ["P0", "P1"], 2024).at(2024)
    assert {p: a["cost.claim_cap"] for p, a in found.items()} == {"P0": 70_000, "P1": 70_000}
    assert found["P0"]["target.trend"] == Decimal("0.01")
    assert found["P1"]["target.trend"] == Decimal("0.09")


SOURCED_BY_A_NUMBER = """
[default]
contract = "mn-ihp-1.0"
[partnerships.P1.overrides]
"target.trend" = { value = 0.1, source = 7 }
"""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('[partnerships.P1.overrides]\n"target.trend" = 0.1',
         "set.toml: partnerships.P1: found no contract, expected one beside its overrides"),
        ('[partnerships.P1]\ncontract = "mn-ihp-1.0"\nshare = 1',
         "set.toml: partnerships.P1: found unknown key share"),
        ("[default]", "set.toml: default: found no contract, expected one"),
        ("[default]\ncontract = 1", "set.toml: default: contract: found int, expected str"),
        (SOURCED_BY_A_NUMBER,
         "set.toml, partnership P1: target.trend: source: found int, expected str"),
    ],
)  # fmt: skip
def test_a_message_about_a_set_names_the_entry(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(ContractError) as refusal:
        contracts.check(set_of(tmp_path, body))
    assert str(refusal.value).startswith(message)


@pytest.mark.parametrize("name", [TRACK_2, "MN-IHP-2.0-Track-2", "\uff4dn-ihp-2.0-track-2"])
def test_no_other_content_is_read_under_a_shipped_name(tmp_path: Path, name: str) -> None:
    text = (FOLDER / f"{TRACK_2}.toml").read_text()
    changed = text.replace("value  = 0.042", "value  = 0.041").replace(f'"{TRACK_2}"', f'"{name}"')
    file = written(tmp_path, "copy.toml", changed)
    for read in (contracts.load, contracts.check):
        with pytest.raises(
            ContractError, match=rf"copy\.toml: name: .*contracts new {TRACK_2} --as"
        ):
            read(file)
    in_a_set = set_of(tmp_path, '[partnerships.P1]\ncontract = "copy.toml"')
    with pytest.raises(ContractError, match=r"copy\.toml: name: "):
        contracts.check(in_a_set)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('at = "track 2: shared', 'at = "p. 17: shared'),
        ('title     = "Integrated', 'title     = "The signed Integrated'),
        ('note  = "Opening read;', 'note  = "Read whole;'),
    ],
)
def test_another_source_under_a_shipped_name_is_other_content(
    tmp_path: Path, old: str, new: str
) -> None:
    text = (FOLDER / f"{TRACK_2}.toml").read_text()
    assert old in text
    contracts.load(written(tmp_path, "same.toml", f"# a comment\n{text}"))
    with pytest.raises(ContractError, match="a contract shipped, with other content"):
        contracts.load(written(tmp_path, "other.toml", text.replace(old, new)))


def test_two_contracts_under_one_name_do_not_share_a_set(tmp_path: Path) -> None:
    """A result is known by its contract's name: two agreements need two names."""
    for file, share in (("north.toml", "0.4"), ("south.toml", "0.6")):
        written(tmp_path, file, ENDS.replace("0.4", share))
    both = '[partnerships.N]\ncontract = "north.toml"\n[partnerships.S]\ncontract = "south.toml"\n'
    with pytest.raises(
        ContractError, match=r"partnerships\.S: found south\.toml, another contract"
    ):
        contracts.check(set_of(tmp_path, both))
    assert contracts.check(set_of(tmp_path, both.replace("south", "north")))["kind"] == "set"


@pytest.mark.parametrize("name", ["", " own", "own ", "a/b", "a\\b", "a\tb", "x" * 101])
def test_a_name_can_be_told_from_another_where_it_is_printed(tmp_path: Path, name: str) -> None:
    quoted = name.replace("\\", "\\\\").replace("\t", "\\t")
    text = f'name = "{quoted}"\ntitle = "t"\nprogramme = "p"\nextends = "mn-ihp-1.0"\n'
    with pytest.raises(ContractError, match=r"own\.toml: name: found"):
        contracts.load(written(tmp_path, "own.toml", text))


@pytest.mark.parametrize(
    ("year", "value", "basis"),
    [(2014, "0.3", "contract"), (2015, "0.3", "contract"), (2016, "0.3", "carried"),
     (2018, "0.4", "contract"), (2019, "0.4", "contract"), (2030, "0.4", "carried")],
)  # fmt: skip
def test_a_value_is_carried_past_the_end_of_its_source(
    tmp_path: Path, year: int, value: str, basis: str
) -> None:
    found = contracts.load(written(tmp_path, "own.toml", ENDS)).at(year)
    share = found.value("settlement.gain.share")
    assert (share.value, share.basis) == (Decimal(value), basis)
    assert ("settlement.gain.share (carried)" in found.draft_line()) == (basis == "carried")
    assert ("(until " in share.citation) == (basis == "carried")


def test_without_a_year_a_value_of_a_source_that_ended_is_carried() -> None:
    """A table that names no year may be of one that the source says nothing of."""
    found = contracts.load("northwest-metro-alliance").at(None)
    ended = {value.path for value in found.terms() if value.last is not None}
    assert ended
    for value in found.terms():
        assert (value.basis == "carried") == (value.path in ended), value.path


def test_nothing_is_carried_back_before_a_source_begins(tmp_path: Path) -> None:
    found = contracts.load(written(tmp_path, "own.toml", ENDS))
    with pytest.raises(ContractError, match="found no value for 2013"):
        found.at(2013)


def test_a_supplied_edge_of_a_band_is_supplied_in_every_year() -> None:
    found = contracts.load("cms-reach-global").override(
        {"settlement.gain.bands.inner.share": "0.9"}
    )
    assert {found.at(y).value("settlement.gain.bands").basis for y in (2022, 2026, 2040)} == {
        "supplied"
    }


def test_a_set_of_a_shipped_name_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "set.toml", f'[set]\nname = "{TRACK_2}"\n')
    with pytest.raises(
        ContractError, match=r"set\.toml: set\.name: found mn-ihp-2\.0-track-2, a con"
    ):
        contracts.check(file)


def test_contracts_that_are_equal_but_for_their_file_are_one() -> None:
    one = contracts.load(TRACK_2)
    same = contracts.load(FOLDER / f"{TRACK_2}.toml")
    assert ContractSet("s", {"A": one, "B": same}).draft_lines(2024) == [one.at(2024).draft_line()]


def test_no_contract_has_the_name_of_the_file_that_all_extend(tmp_path: Path) -> None:
    file = written(tmp_path, "own.toml", ENDS.replace('name = "own"', 'name = "Unbound"'))
    with pytest.raises(ContractError, match=r"own\.toml: name: found Unbound, the file that"):
        contracts.check(file)
