"""What a check of contracts passes, a run takes as written; what a run refuses, the check does."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute import contracts
from ihp_compute.codes import RATE_CELLS
from ihp_compute.contracts import Agreement, Kind
from ihp_compute.contracts.contract import MODEL_FILE
from ihp_compute.contracts.rules import KINDS as RULES
from ihp_compute.contracts.rules import CostTerms
from ihp_compute.contracts.vocabulary import KINDS
from ihp_compute.errors import ContractError
from ihp_compute.units import MICRO, cents_of

PARENT = "mn-ihp-2.0-track-2"
HEAD = """
name = "own"
title = "Own terms"
programme = "test"
extends = "mn-ihp-2.0-track-2"

[sources.own]
title = "Own agreement"
"""
REFUSED = {
    "attribution.min_months_continuous": ["0", "13", "6.5", '"none"', "true"],
    "attribution.min_months_any": ["0", "-1", "12.1", "1e400"],
    "attribution.exclude": ['["dead"]', '["dual", "dual"]', "[3]"],
    "attribution.steps": ["[]", '["specialist", "specialist"]', '["none"]', '["gate"]'],
    "attribution.visit_codes": ['["80053"]', '["99215-99211"]', '["99213", "99213"]', "[99213]"],
    "attribution.excluded_places": ['["1"]', '["21", "21"]', "[21]", '["XX"]'],
    "attribution.care_coordination_codes": ['["S0280-T1015"]', '["J1100"]', '["s0280"]'],
    "attribution.no_visit": ['["denied"]', '["inpatient", "inpatient"]'],
    "attribution.health_care_home": ['"flagged"', "true", '"none"'],
    "attribution.health_care_home_specialties": ['["primary care"]'],
    "attribution.primary_care_specialties": ['["dentist"]', '["specialist", "specialist"]'],
    "attribution.specialist_specialties": ['["207RC0000X"]'],
    "attribution.roster_rule": ['"always"', '"none"'],
    "attribution.roster_date": ['"31-12"', '"02-30"', '"2024-12-31"', "1231", '"none"'],
    "attribution.keep_pre_visit": ["1", '"yes"'],
    "attribution.tie_break": ["[]", '["lowest_id", "latest_visit"]', '["latest_visit"]'],
    "cost.amount": ['"charged"', "3"],
    "cost.incurred_by": ['"service_day"', '"claim_end_day"'],
    "cost.zero_paid_encounter": ['"paid"'],
    "cost.floor_at_zero": ['"no"'],
    "cost.claim_cap": ["-1", "1000.005", "10_000_000_000_000", "1e400"],
    "cost.keep_above_cap": ["1.1", "0.1234567"],
    "cost.prorate_cap": ["2"],
    "cost.services": ['["yoga"]', '["pharmacy", "pharmacy"]'],
    "risk.model": ['""', "28", "true"],
    "risk.second_model": ['""', "28", "true"],
    "risk.second_model_for": ['["newborn_ffs"]', "[]", '["child", "child"]', '"none"'],
    "risk.normalise": ['"state"'],
    "risk.growth_corridor": ["-0.01", "1.1", '"cms"'],
    "risk.credibility": ["0", "12000.5", '"months"'],
    "risk.missing": ['"none"', '"zero"'],
    "risk.most_missing": ["-0.1", '"half"'],
    "risk.timing": ['"none"', '"retrospective"'],
    "risk.payment_year": ["26", '"next"'],
    "risk.minimum_months": ["13", "-1", "6.5"],
    "risk.newborn": ['"mother"', "true"],
    "risk.code_edits": ['"maybe"', '"none"'],
    "risk.diagnoses_from": ['"none"', '"list"', '"codes.xlsx"'],
    "risk.without_bill_type": ['"none"', '"guess"'],
    "risk.runout_months": ["-1", "2.5", "61"],
    "settlement.gate.size_table": ["[[1000.5, 0.03], [2000, 0.02]]", "[[1e400, 0.03]]"],
    "settlement.revenue_usd": ["1e400", "nan"],
    "settlement.gain.bands": ["{ all = { above = 0, below = 1e400, share = 0.5 } }"],
    "agreement.first_performance_year": ["1e400", "2020.5"],
}
CELL = st.sampled_from(RATE_CELLS)
NUMBERS = st.one_of(
    st.integers(-2, 20),
    st.decimals(-1, 13, places=1),
    st.decimals(0, 1, places=7),
    st.decimals(-1000, 10**14, places=3),
    st.sampled_from([Decimal("1e400"), Decimal("-1e-400"), Decimal("NaN"), Decimal("6.0")]),
)


def term(path: str, value: str, begins: str = "2000-01-01") -> str:
    return (
        f'\n[{path}]\nvalue = {value}\nunit = "{KINDS[path].unit}"\nfrom = {begins}\n'
        'basis = "contract"\nsource = { doc = "own", at = "p. 1" }\n'
    )


def dated(path: str, *entries: str) -> str:
    rows = ",\n".join(f"  {{ {entry} }}" for entry in entries)
    return (
        f'\n[{path}]\nunit = "{KINDS[path].unit}"\nbasis = "contract"\n'
        f'source = {{ doc = "own", at = "p. 1" }}\nvalues = [\n{rows},\n]\n'
    )


def written(folder: Path, *terms: str) -> Path:
    file = folder / "own.toml"
    file.write_text("".join([HEAD, *terms]))
    return file


def contract_set(folder: Path, *parts: str) -> Path:
    file = folder / "set.toml"
    file.write_text('[set]\nname = "state"\nperformance_year = 2021\n' + "".join(parts))
    return file


def typed(agreement: Agreement) -> dict[str, Any]:
    """The typed rules of an agreement by path: building them refuses nothing."""
    found = {f"attribution.{name}": v for name, v in vars(agreement.attribution).items()}
    found |= {f"cost.{name}": v for name, v in vars(agreement.cost).items()}
    return found | {f"risk.{name}": v for name, v in vars(agreement.risk).items()}


@pytest.mark.parametrize(
    ("path", "value"), [(path, value) for path, values in REFUSED.items() for value in values]
)
def test_the_check_refuses_with_file_path_found_and_expected(
    tmp_path: Path, path: str, value: str
) -> None:
    file = written(tmp_path, term(path, value))
    for ask in (contracts.check, contracts.load, lambda f: contracts.load_set([f], ["P1"])):
        with pytest.raises(ContractError) as refusal:
            ask(file)
        assert str(refusal.value).startswith(f"own.toml: {path}.value: found ")
        assert "expected" in str(refusal.value)


@pytest.mark.parametrize("path", RULES)
def test_every_rule_has_a_value_that_is_refused(path: str) -> None:
    assert REFUSED[path]


def test_a_value_is_refused_whatever_year_it_holds_in(tmp_path: Path) -> None:
    path = "attribution.min_months_any"
    file = written(
        tmp_path,
        dated(path, "value = 9, from = 2013-01-01, until = 2030-12-31",
              "value = 0, from = 2031-01-01"),
    )  # fmt: skip
    with pytest.raises(ContractError, match=r"^own\.toml: .*any\.values\[1\]\.value: found 0, exp"):
        contracts.check(file, 2021)


def test_a_number_is_taken_as_written(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        term("attribution.min_months_any", "7.0"),
        term("attribution.tie_break", '["lowest_id"]'),
        term("cost.claim_cap", "9_999_999_999_999.99"),
        term("cost.keep_above_cap", "0.123456"),
    )
    contracts.check(file)
    found = typed(contracts.load(file).at(2021))
    assert found["attribution.min_months_any"] == 7
    assert found["attribution.tie_break"] == ("lowest_id",)
    assert found["cost.claim_cap_cents"] == 999_999_999_999_999
    assert found["cost.keep_above_cap_micro"] == 123_456


def overridden(path: str, raw: Any) -> tuple[Agreement | None, str]:
    """The agreement with a value, or why there is none."""
    try:
        return contracts.load(PARENT).override({path: raw}, where="state.toml").at(2021), ""
    except ContractError as refusal:
        return None, str(refusal)


CODES = ("99213", "99202-99205", "99205-99202", "80053", "T1015", "S0280-T1015", "t1015", "9921")


def values_of(path: str, kind: Kind) -> st.SearchStrategy[Any]:
    """Values of and beyond a kind, as a file or a table cell gives them."""
    names = st.sampled_from([*kind.choices, "none", "bogus"])
    sizes = st.tuples(NUMBERS, st.decimals(-1, 2, places=2)).map(list)
    band = st.fixed_dictionaries(dict.fromkeys(("above", "below", "share"), NUMBERS))
    by_form: dict[str, st.SearchStrategy[Any]] = {
        "number": st.one_of(NUMBERS, names),
        "year": NUMBERS.map(lambda n: n + 2000),
        "flag": st.sampled_from([True, False, "true", 1]),
        "choice": names,
        "text": st.text(max_size=9),
        "table": st.one_of(names, st.sampled_from(["own/list.csv", "list.xlsx"])),
        "names": st.lists(names, max_size=4),
        "codes": st.lists(st.one_of(names, st.sampled_from(CODES)), max_size=3),
        "places of service": st.lists(st.sampled_from(["11", "23", "7", "1a", ""]), max_size=3),
        "day of a year": st.sampled_from(["12-31", "02-29", "02-30", "1-1", "2024-12-31", 1231]),
        "cells": st.lists(st.one_of(CELL, st.tuples(CELL, CELL).map("+".join)), max_size=3),
        "size table": st.lists(sizes, max_size=3),
        "bands": st.dictionaries(st.sampled_from(["inner", "outer"]), band, max_size=2),
    }
    assert kind.form in by_form, path
    return st.one_of(by_form[kind.form], st.sampled_from(["none", None, 3, True, [], "x"]))


@given(st.data(), st.sampled_from([*KINDS]))
def test_what_passes_is_taken_by_every_rule_as_written(data: st.DataObject, path: str) -> None:
    """A term of any kind, given any value: refused with its path, or typed without change."""
    raw = data.draw(values_of(path, KINDS[path]))
    agreement, refusal = overridden(path, raw)
    if agreement is None:
        assert path in refusal
        return
    held = agreement[path]
    found = typed(agreement)
    if path == "cost.claim_cap" and held is not None:
        assert Decimal(found["cost.claim_cap_cents"]) == held * 100
    elif path == "cost.keep_above_cap" and held is not None:
        assert Decimal(found["cost.keep_above_cap_micro"]) == held * MICRO
    elif path in found and held is not None:
        assert found[path] == (frozenset(held) if path == "cost.services" else held)
    if isinstance(held, Decimal):
        assert held == Decimal(repr(raw) if isinstance(raw, float) else raw)
    if KINDS[path].form == "size table" and held is not None:
        assert [list(row) for row in held] == raw


@given(
    st.fixed_dictionaries(
        {
            "amount": st.sampled_from(["paid", "allowed", "charged"]),
            "incurred_by": st.sampled_from(["line", "day"]),
            "zero_paid_encounter": st.just("as_paid"),
            "floor_at_zero": st.booleans(),
            "claim_cap_cents": st.one_of(st.none(), st.integers(-1, 2**52)),
            "keep_above_cap_micro": st.integers(-1, MICRO + 1),
            "prorate_cap": st.booleans(),
            "services": st.frozensets(st.sampled_from(["pharmacy", "yoga"])),
        }
    )
)
def test_what_typed_rules_refuse_a_contract_cannot_hold(given_terms: dict[str, Any]) -> None:
    """A rule is built just when every one of its values stands in a contract."""
    cap = given_terms["claim_cap_cents"]
    raw = {
        "claim_cap": "none" if cap is None else Decimal(cap) / 100,
        "keep_above_cap": Decimal(given_terms["keep_above_cap_micro"]) / MICRO,
        **{name: value for name, value in given_terms.items() if f"cost.{name}" in KINDS},
        "services": sorted(given_terms["services"]),
    }
    held = {name: overridden(f"cost.{name}", value)[0] for name, value in raw.items()}
    try:
        CostTerms(**given_terms)
        built = True
    except ContractError:
        built = False
    assert built == all(agreement is not None for agreement in held.values())


@pytest.mark.parametrize("year", [2019, 2022])
def test_a_gate_by_size_needs_its_table_in_every_year(tmp_path: Path, year: int) -> None:
    """Rows that come or go in some year leave the gate without them in the others."""
    rows, none = "[[1000, 0.03], [5000, 0.02]]", '"none"'
    file = written(
        tmp_path,
        term("settlement.gate.gain_rate", '"size_table"', "2010-01-01"),
        dated(
            "settlement.gate.size_table",
            f"value = {rows if year == 2022 else none}, from = 2010-01-01, until = 2020-12-31",
            f"value = {rows if year == 2019 else none}, from = 2021-01-01",
        ),
    )
    message = r"own\.toml: settlement\.gate\.gain_rate: found size_table, expected rows"
    with pytest.raises(ContractError, match=message):
        contracts.check(file)


def test_a_gate_by_size_given_beside_the_contract_needs_a_table() -> None:
    own = contracts.load(PARENT).override({"settlement.gate.gain_rate": "size_table"})
    with pytest.raises(ContractError, match="found size_table, expected rows"):
        own.at(2021)
    rows = [[1000, Decimal("0.03")]]
    assert own.override({"settlement.gate.size_table": rows}).at(2021).steps


def test_values_given_beside_a_contract_may_not_count_mix_twice(tmp_path: Path) -> None:
    """In a set's override as in a file, and in every year in which they hold together."""
    given = tmp_path / "set.toml"
    given.write_text(
        f"""
[set]
name = "set"
[default]
contract = "{PARENT}"
[default.overrides]
"risk.normalise" = "statewide"
"""
    )
    message = r"set\.toml, default: .*risk\.normalise: found statewide beside 12 rate cells"
    with pytest.raises(ContractError, match=message):
        contracts.check(given)
    merged = json.dumps(["+".join(RATE_CELLS)])
    file = written(
        tmp_path,
        term("target.risk_ratio_by", '"partnership"', "2010-01-01"),
        dated(
            "target.rate_cells",
            f"value = {merged}, from = 2010-01-01, until = 2020-12-31",
            f"value = {json.dumps(RATE_CELLS)}, from = 2021-01-01",
        ),
    )
    with pytest.raises(ContractError, match=r"target\.risk_ratio_by: found partnership beside 12"):
        contracts.check(file)


def test_a_rule_for_empty_cells_that_says_nothing_is_told(tmp_path: Path) -> None:
    """Where bases are blended no cell is empty; whoever writes the rule is told, nobody else."""
    rule = term("target.empty_cell", '"partnership"')
    found = contracts.check(written(tmp_path, rule))
    assert found["notes"] == [
        "own.toml: target.empty_cell has no effect beside target.cell_credibility = months"
    ]
    unblended = term("target.cell_credibility", '"none"')
    assert contracts.check(written(tmp_path, rule, unblended))["notes"] == []
    assert contracts.check(written(tmp_path))["notes"] == []
    assert contracts.load(PARENT).override({"target.empty_cell": "statewide"}).notes


def test_merged_rate_cells_have_one_trend(tmp_path: Path) -> None:
    others = (cell for cell in RATE_CELLS if cell not in ("child_ffs", "adult_ffs"))
    cells = term("target.rate_cells", json.dumps(["child_ffs+adult_ffs", *others]))
    apart = dated(
        "target.trend",
        "value = 0.03, from = 2000-01-01",
        'value = 0.04, from = 2020-01-01, cells = ["child_ffs"]',
    )
    message = r"own\.toml: target\.trend: found 0\.04 for child_ffs and 0\.03 for adult_ffs in 2020"
    with pytest.raises(ContractError, match=message):
        contracts.check(written(tmp_path, cells, apart))
    one = apart.replace('["child_ffs"]', '["child_ffs", "adult_ffs"]')
    assert contracts.check(written(tmp_path, cells, one))["name"] == "own"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (dated("target.trend", 'value = 0.1, from = 2000-01-01, cells = ["kids"]'),
         r"target\.trend\.values\[0\]\.cells: found kids, expected rate cells"),
        (dated("target.trend", "value = 0.1, from = 2000-01-01, cells = []"),
         r"cells: found nothing, expected rate cells"),
        (dated("target.trend",
               'value = 0.1, from = 2000-01-01, cells = ["child_ffs", "adult_ffs"]',
               'value = 0.2, from = 2010-01-01, cells = ["child_ffs"]'),
         r"target\.trend: found two values for child_ffs in 2010, expected one"),
        (dated("cost.claim_cap", 'value = 100, from = 2000-01-01, cells = ["child_ffs"]'),
         r"cost\.claim_cap\.values\[0\]\.cells: found child_ffs, expected none"),
    ],
)  # fmt: skip
def test_cells_of_a_value_are_rate_cells_of_a_trend(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ContractError, match=message):
        contracts.check(written(tmp_path, text))


@pytest.mark.parametrize("number", ["9" * 5000, "1e9999999999999999999999"])
def test_a_number_that_no_type_holds_is_refused(tmp_path: Path, number: str) -> None:
    with pytest.raises(ContractError, match=r"own\.toml: not TOML"):
        contracts.check(written(tmp_path, term("cost.claim_cap", number)))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('"attribution.min_months_any" = 0', "attribution.min_months_any: found 0, expected"),
        ('"cost.claim_cap" = 0.001', "cost.claim_cap: found 0.001, expected"),
        ('"settlement.gate.gain_rate" = "size_table"', "found size_table, expected rows"),
    ],
)
@pytest.mark.parametrize(
    ("key", "told"), [("partnerships.P1", "partnership P1"), ("default", "default")]
)
def test_a_value_in_a_set_is_checked_for_partnerships_and_the_default(
    tmp_path: Path, override: str, message: str, key: str, told: str
) -> None:
    file = contract_set(
        tmp_path, f'[{key}]\ncontract = "{PARENT}"\n[{key}.overrides]\n{override}\n'
    )
    with pytest.raises(ContractError) as refusal:
        contracts.check(file)
    assert str(refusal.value).startswith(f"set.toml, {told}: ")
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("attribution.min_months_any", "10", "attribution: found different terms"),
        ("risk.missing", '"error"', "risk: found different terms"),
        ("cost.incurred_by", '"line"', "cost.incurred_by: the contracts of one run must agree"),
    ],
)
def test_a_set_whose_contracts_cannot_share_a_run_is_refused(
    tmp_path: Path, path: str, value: str, message: str
) -> None:
    file = contract_set(
        tmp_path,
        f'[default]\ncontract = "{PARENT}"\n',
        f'[partnerships.P1]\ncontract = "{PARENT}"\n',
        f'[partnerships.P1.overrides]\n"{path}" = {value}\n',
    )
    with pytest.raises(ContractError, match=message):
        contracts.check(file)


def test_a_set_of_a_base_year_that_is_not_before_the_performance_year_is_refused(
    tmp_path: Path,
) -> None:
    file = contract_set(tmp_path, "base_year = 2021\n", f'[default]\ncontract = "{PARENT}"\n')
    with pytest.raises(ContractError, match=r"set\.toml: set\.base_year: found 2021, expected"):
        contracts.check(file)
    assert contracts.check(file, 2022)["kind"] == contracts.check(file, 2021, 2020)["kind"] == "set"


def test_a_set_that_leaves_a_trend_open_between_its_years_is_refused(tmp_path: Path) -> None:
    written(tmp_path, dated("target.trend", "value = 0.03, from = 2021-01-01"))
    parts = "base_year = 2019\n", '[default]\ncontract = "own.toml"\n'
    with pytest.raises(ContractError, match="found no value for 2020"):
        contracts.check(contract_set(tmp_path, *parts))


@pytest.mark.parametrize("path", ["a/weights.json", "/b/weights.json", "own.json", "./weights"])
def test_the_path_of_a_model_is_no_part_of_a_digest(tmp_path: Path, path: str) -> None:
    """Nor in a contract, nor in a set; the model's own digest stands beside it in a run."""
    one, other, named = (
        contracts.load(written(tmp_path, term("risk.model", f'"{model}"')))
        for model in ("elsewhere/model.json", path, "cms-hcc-v28")
    )
    assert one.sha256 == other.sha256 != named.sha256
    assert other.at(2021).risk.model == path
    sets = [
        contracts.load_set(
            [contract_set(tmp_path, f'[default]\ncontract = "{PARENT}"\n[default.overrides]\n'
                                    f'"risk.model" = "{model}"\n')],
            ["P1"],
        ).sha256
        for model in ("elsewhere/model.json", path)
    ]  # fmt: skip
    assert sets[0] == sets[1]


@pytest.mark.parametrize("model", ["cms-hcc-v28@2026", "supplied:ACG 11/2", "sha256:ab", "own"])
def test_a_model_that_has_a_name_keeps_it_in_the_digest(model: str) -> None:
    contract = contracts.load(PARENT)
    own, file = (contract.override({"risk.model": value}).sha256 for value in (model, "model.json"))
    assert own not in (file, contract.sha256)
    assert own == contract.override({"risk.model": model}).sha256
    assert MODEL_FILE not in model


def test_cents_of_a_cap_are_exact() -> None:
    cap = contracts.load(PARENT).override({"cost.claim_cap": "0.07"}).at(2021).cost.claim_cap_cents
    assert cap == cents_of("0.07") == 7
