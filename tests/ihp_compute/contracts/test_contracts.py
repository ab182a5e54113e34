"""Contracts: what loads, what is refused and in which words, dates, overrides and sets."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute import contracts
from ihp_compute.contracts.files import FOLDER
from ihp_compute.contracts.kinds import BASES
from ihp_compute.contracts.values import text_of
from ihp_compute.contracts.vocabulary import KINDS
from ihp_compute.errors import ContractError

BAD = Path(__file__).resolve().parents[2] / "bad_contracts"
FIXED_PATHS = (
    "target.base_pmpm_fixed", "target.trend", "target.risk_ratio_cap_up",
    "target.risk_ratio_cap_down", "cost.claim_cap", "cost.keep_above_cap",
    "settlement.gate.gain_rate", "settlement.gate.loss_rate", "settlement.gain.share",
    "settlement.loss.share", "settlement.gain.bands", "settlement.loss.bands",
    "settlement.gain.cap_of_target", "settlement.loss.cap_of_target", "settlement.loss.cap_usd",
    "settlement.withhold.rate", "settlement.quality.weight",
    "settlement.adjustments.disaster_usd",
)  # fmt: skip
each_contract = pytest.mark.parametrize("name", contracts.names())


@pytest.mark.parametrize("path", sorted(BAD.glob("*.toml")), ids=lambda path: path.stem)
def test_a_bad_contract_is_refused_with_what_was_found_and_expected(path: Path) -> None:
    """Each file says on its first line how the message begins."""
    expected = path.read_text().splitlines()[0].removeprefix("# expect: ")
    with pytest.raises(ContractError) as refusal:
        contracts.load(path)
    assert str(refusal.value).startswith(expected)


@each_contract
def test_every_path_stands_in_every_contract(name: str) -> None:
    terms = contracts.load(name).terms
    assert set(KINDS) <= set(terms)
    assert set(FIXED_PATHS) <= set(terms)


@each_contract
def test_every_value_has_a_page(name: str) -> None:
    found = contracts.load(name)
    for term in found.terms.values():
        for entry in term.entries:
            assert entry.source.doc in found.documents
            assert entry.source.at
            assert entry.basis in BASES
            assert entry.first is not None


@each_contract
def test_every_document_is_cited(name: str) -> None:
    """A document that only the overview of a programme needs belongs into the summary."""
    found = contracts.load(name)
    own = FOLDER / f"{name}.toml"
    declared = [
        line.removeprefix("[sources.").removesuffix("]")
        for line in own.read_text().splitlines()
        if line.startswith("[sources.")
    ]
    cited = {entry.source.doc for term in found.terms.values() for entry in term.entries}
    assert set(declared) <= cited


def test_the_issue_of_contracts_is_complete() -> None:
    expected = {
        "mn-ihp-1.0", "mn-ihp-1.0-virtual", "mn-ihp-2.0-track-1", "mn-ihp-2.0-track-2",
        "mn-ihp-2.0-track-2-non-reciprocal", "northwest-metro-alliance", "cms-pioneer-core",
        "cms-next-generation-a", "cms-next-generation-b", "cms-mssp-track-1", "cms-mssp-track-2",
        "cms-mssp-track-3", "cms-mssp-basic-a", "cms-mssp-basic-b", "cms-mssp-basic-c",
        "cms-mssp-basic-d", "cms-mssp-basic-e", "cms-mssp-enhanced", "cms-reach-global",
        "cms-reach-professional", "aca-1342", "medicaid-mco-corridor", "vermont-medicaid-aco",
        "maine-accountable-communities", "massachusetts-medicaid-aco",
    }  # fmt: skip
    assert expected <= set(contracts.names())


def test_losses_of_the_first_generation_follow_the_contract_year() -> None:
    """Gains only, then 2:1, then 1:1, counted from the partnership's own first year."""
    found = contracts.load("mn-ihp-1.0").override({"agreement.first_performance_year": 2015})
    shares = [found.at(year)["settlement.loss.share"] for year in (2015, 2016, 2017, 2019)]
    assert shares == [0, Decimal("0.25"), Decimal("0.5"), Decimal("0.5")]


def test_values_by_contract_year_need_a_first_year() -> None:
    """Without one nobody knows which year it is: the last year's share is no answer."""
    found = contracts.load("mn-ihp-1.0").override({"agreement.first_performance_year": "none"})
    with pytest.raises(ContractError, match="first_performance_year: found none beside values of"):
        found.at(2015)
    with pytest.raises(ContractError, match="by contract year, expected the year from which"):
        found.check_years()


@pytest.mark.parametrize(
    ("year", "rate"), [(2013, "0.02"), (2018, "0.02"), (2019, "0"), (2020, "0"), (2021, "0.02")]
)
def test_sequestration_follows_the_performance_year(year: int, rate: str) -> None:
    agreement = contracts.load("cms-mssp-enhanced" if year >= 2019 else "cms-mssp-track-1").at(year)
    assert agreement["settlement.withhold.rate"] == Decimal(rate)


def test_the_first_corridor_of_global_narrows_in_2026() -> None:
    found = contracts.load("cms-reach-global")
    edges = [found.at(year)["settlement.gain.bands"][0].below for year in (2025, 2026)]
    assert edges == [Decimal("0.25"), Decimal("0.10")]


def test_a_year_without_values_is_refused() -> None:
    with pytest.raises(ContractError, match="found no value for 2015, expected one"):
        contracts.load("mn-ihp-2.0-track-2").at(2015)


def test_an_override_that_no_contract_has_is_refused() -> None:
    with pytest.raises(ContractError, match=r"settlement.gain.shore: no such path .* did you mean"):
        contracts.load("mn-ihp-1.0").override({"settlement.gain.shore": "0.5"})


def test_a_band_that_the_contract_lacks_is_refused() -> None:
    with pytest.raises(ContractError, match=r"no such band or field; bands are inner, second"):
        contracts.load("cms-reach-global").override({"settlement.gain.bands.first.below": "0.1"})
    with pytest.raises(ContractError, match="bands are none"):
        contracts.load("mn-ihp-1.0").override({"settlement.gain.bands.inner.below": "0.1"})


def test_moving_an_edge_moves_the_neighbours() -> None:
    found = contracts.load("cms-reach-global").override(
        {"settlement.gain.bands.inner.below": "0.2", "settlement.gain.bands.outer.above": "0.6"}
    )
    bands = found.at(2023)["settlement.gain.bands"]
    assert [(str(b.above), text_of(b.below)) for b in bands] == [
        ("0.00", "0.2"), ("0.2", "0.35"), ("0.35", "0.6"), ("0.6", "none"),
    ]  # fmt: skip


def test_an_edge_cannot_pass_the_next() -> None:
    with pytest.raises(ContractError, match=r"from 0\.4 to 0\.35, expected below at least above"):
        contracts.load("cms-reach-global").override({"settlement.gain.bands.inner.below": "0.4"})


def test_bands_can_be_replaced_by_a_list() -> None:
    found = contracts.load("mn-ihp-1.0").override(
        {"settlement.gain.bands": "0:0.02:0;0.02:0.05:0.5"}
    )
    bands = found.at(2015)["settlement.gain.bands"]
    assert [(b.above, b.below, b.share) for b in bands] == [
        (0, Decimal("0.02"), 0),
        (Decimal("0.02"), Decimal("0.05"), Decimal("0.5")),
    ]


@given(st.sampled_from(["inner", "second", "third"]), st.decimals("0.01", "0.6", places=3))
def test_bands_touch_whatever_edge_moves(name: str, edge: Decimal) -> None:
    path = f"settlement.loss.bands.{name}.below"
    try:
        found = contracts.load("cms-reach-professional").override({path: edge})
    except ContractError:
        return
    bands = found.at(2023)["settlement.loss.bands"]
    assert all(a.below == b.above for a, b in pairwise(bands))


def test_the_digest_follows_values_and_not_the_file(tmp_path: Path) -> None:
    original = (FOLDER / "mn-ihp-2.0-track-2.toml").read_text()
    named = 'name      = "mn-ihp-2.0-track-2"'
    same = tmp_path / "same.toml"
    same.write_text("# another comment\n" + original.replace("0.50\n", "0.50   # half\n"))
    other = tmp_path / "other.toml"
    own = original.replace(named, 'name = "own"')
    other.write_text(own.replace("value  = 0.042", "value  = 0.043"))
    renamed = tmp_path / "renamed.toml"
    renamed.write_text(own)
    shipped = contracts.load("mn-ihp-2.0-track-2")
    assert contracts.load(same).sha256 == shipped.sha256
    assert contracts.load(renamed).sha256 != shipped.sha256
    assert contracts.load(other).sha256 != contracts.load(renamed).sha256
    assert shipped.override({"target.trend": "0.05"}).sha256 != shipped.sha256


def test_recalled_and_assumed_terms_are_named() -> None:
    line = contracts.load("mn-ihp-2.0-track-2").at(2021).draft(("settlement.",)).line()
    assert line.startswith("DRAFT TERMS: ")
    assert "settlement.gain.share" in line
    assert "settlement.gain.bands" not in line, "a term at none binds nothing"


def test_a_contract_without_weak_terms_has_no_draft_line(tmp_path: Path) -> None:
    text = (FOLDER / "mn-ihp-2.0-track-2.toml").read_text()
    for name in ("unbound.toml",):
        unbound = (FOLDER / name).read_text()
        for basis in ("recalled", "assumed"):
            unbound = unbound.replace(f'"{basis}"', '"contract"')
            text = text.replace(f'"{basis}"', '"contract"')
        (tmp_path / name).write_text(unbound)
    signed = tmp_path / "signed.toml"
    text = text.replace('extends   = "unbound"', 'extends   = "unbound.toml"')
    signed.write_text(text.replace('"mn-ihp-2.0-track-2"', '"signed"'))
    assert contracts.load(signed).at(2021).draft_line() == ""


SET = """
[set]
name = "state-2021"
performance_year = 2021
base_year = 2019

[default]
contract = "mn-ihp-2.0-track-2"

[partnerships.A]
contract = "mn-ihp-1.0"
base_pmpm_usd = 402.15

[partnerships.B]
contract = "mn-ihp-2.0-track-1"

[partnerships.C]
contract = "mn-ihp-2.0-track-2"
[partnerships.C.overrides]
"settlement.gain.share" = 0.4
"cost.claim_cap" = 50_000
"""


@pytest.fixture
def state_set(tmp_path: Path) -> Path:
    path = tmp_path / "state.toml"
    path.write_text(SET)
    return path


def test_generations_stand_side_by_side_in_one_set(state_set: Path) -> None:
    found = contracts.load_set([state_set], ["D", "C", "B", "A"], 2021)
    assert list(found.contracts) == ["A", "B", "C", "D"]
    agreements = found.at(2021)
    assert agreements["A"]["target.base_pmpm_fixed"] == Decimal("402.15")
    assert "shadow" in agreements["B"].steps
    assert agreements["C"]["settlement.gain.share"] == Decimal("0.4")
    assert agreements["D"]["settlement.gain.share"] == Decimal("0.5")
    assert (found.performance_year, found.base_year) == (2021, 2019)


def test_each_distinct_cost_rule_is_one_rule_set(state_set: Path) -> None:
    found = contracts.load_set([state_set], ["A", "B", "C", "D"])
    caps = [terms.claim_cap_cents for terms in found.rule_sets(2021)]
    assert caps == [20_000_000, 5_000_000]
    assert [found.rule_set_of(p, 2021) for p in "ABCD"] == [0, 1, 1, 0]


def test_a_partnership_without_a_contract_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.toml"
    path.write_text(SET.replace('[default]\ncontract = "mn-ihp-2.0-track-2"\n', ""))
    with pytest.raises(
        ContractError, match=r"partnerships.D: found nothing, expected its contract"
    ):
        contracts.load_set([path], ["A", "B", "C", "D"])


def test_a_contract_for_a_stranger_is_refused(state_set: Path) -> None:
    with pytest.raises(ContractError, match=r"partnerships.C: not on the roster"):
        contracts.load_set([state_set], ["A", "B"])


def test_contracts_for_partnerships_without_a_set_say_what_makes_one(tmp_path: Path) -> None:
    """Who forgets the table is told of it, not that partnerships are no term."""
    file = tmp_path / "state.toml"
    file.write_text('[partnerships.A]\ncontract = "mn-ihp-1.0"\n')
    with pytest.raises(ContractError, match=r"state.toml: set: no such table beside"):
        contracts.check(file)
    with pytest.raises(ContractError, match=r"expected \[set\] with a name"):
        contracts.load_set([file], ["A"])


def test_several_contracts_need_a_set() -> None:
    with pytest.raises(ContractError, match="expected one contract for all partnerships"):
        contracts.load_set(["mn-ihp-1.0", "mn-ihp-2.0-track-2"], ["A"])


def test_contracts_that_attribute_differently_do_not_share_a_run(tmp_path: Path) -> None:
    path = tmp_path / "state.toml"
    path.write_text(SET + '"attribution.min_months_any" = 10\n')
    found = contracts.load_set([path], ["A", "B", "C"])
    with pytest.raises(ContractError, match="attribution: found different terms for A"):
        found.attribution(2021)
    assert found.risk(2021).model == "supplied"


def test_a_draft_names_its_contract_where_there_are_several(state_set: Path) -> None:
    found = contracts.load_set([state_set], ["A", "B", "C"])
    terms = found.draft_terms(2021)
    assert terms["recalled_or_assumed"] == len(terms["names"]) <= terms["total"]
    assert any(name.startswith("mn-ihp-2.0-track-1: ") for name in terms["names"])
    lines = found.draft_lines(2021)
    assert [line.split(": ")[1].split(" in ")[1] for line in lines] == [
        "mn-ihp-1.0", "mn-ihp-2.0-track-1", "mn-ihp-2.0-track-2",
    ]  # fmt: skip
    assert {"mn-ihp-2.0-track-1", "mn-ihp-1.0 (A)", "mn-ihp-2.0-track-2 (C)"} == set(found.hashes())


def test_a_set_is_checked_like_a_contract(state_set: Path) -> None:
    assert contracts.check(state_set)["kind"] == "set"
    assert contracts.check(FOLDER / "aca-1342.toml")["name"] == "aca-1342"
    state_set.write_text(SET + '"settlement.gain.shore" = 0.4\n')
    with pytest.raises(ContractError, match=r"state\.toml, partnership C: settlement\.gain\.shore"):
        contracts.check(state_set)
