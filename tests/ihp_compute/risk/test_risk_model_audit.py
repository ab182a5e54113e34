"""What a model must make sense of before it may score anybody."""

from typing import Any

import msgspec
import pytest

from ihp_compute.errors import RiskModelError
from ihp_compute.risk.models.audit import audit
from ihp_compute.risk.models.compile import compile_model
from ihp_compute.risk.models.schema import (
    Cell,
    Coefficient,
    Condition,
    Feature,
    Flag,
    Hierarchy,
    Model,
    Rule,
    Segment,
    Step,
    decode,
    digest,
    encode,
)


def model(**changes: Any) -> Model:
    """A small model that passes: two categories in a ladder, one cell, one count."""
    whole = Model(
        name="small",
        version="1",
        family="test",
        year=2024,
        code_years=(2024, 2024),
        features=(
            Feature("A", "CC"), Feature("B", "CC"), Feature("C", "CC"), Feature("OLD", "TERM"),
            Feature("TWO", "TERM"),
        ),
        flags=(Flag("MALE", (Condition(sex="M"),)),),
        segments=(Segment("ALL", Condition()),),
        rules=(Rule("ICD10", "A1", ("A",)), Rule("ICD10", "B1", ("B",)),
               Rule("ICD10", "C1", ("C",))),
        hierarchies=(Hierarchy("A", ("B",)),),
        steps=(
            Step("HIER"),
            Step("COUNT", of=("A", "B", "C"), outs=("", "", "TWO")),
            Step("CELL", cells=(Cell("OLD", "F", (0, 128)), Cell("OLD", "M", (0, 128)))),
        ),
        columns=("",),
        coefficients=tuple(
            Coefficient("ALL", "", term, "0.5") for term in ("A", "B", "C", "OLD", "TWO")
        ),
    )  # fmt: skip
    return msgspec.structs.replace(whole, **changes)


def test_the_small_model_passes() -> None:
    audit(model())
    compiled = compile_model(model())
    assert compiled.names == ("A", "B", "C", "OLD", "TWO")


def coefficients(*terms: str) -> tuple[Coefficient, ...]:
    return tuple(Coefficient("ALL", "", term, "0.5") for term in terms)


BASE = model()
CASES: dict[str, dict[str, Any]] = {
    "listed 2 times": {"coefficients": (*BASE.coefficients, *coefficients("A"))},
    "which no step can set": {"features": (*BASE.features, Feature("X", "TERM")),
                              "coefficients": (*BASE.coefficients, *coefficients("X"))},
    "can be set but has no coefficient": {"coefficients": coefficients("A", "B", "OLD", "TWO")},
    "same row twice": {"rules": (*BASE.rules, BASE.rules[0])},
    "overlap in sex, age and dates": {
        "rules": (*BASE.rules[1:], Rule("ICD10", "A1", ("A",), last="2024-06-30"),
                  Rule("ICD10", "A1", ("B",), first="2024-06-30"))},
    "empty age range": {"rules": (Rule("ICD10", "A1", ("A",), age=(5, 5)), *BASE.rules[1:])},
    "before it starts": {
        "rules": (Rule("ICD10", "A1", ("A",), first="2024-02-01", last="2024-01-01"),
                  *BASE.rules[1:])},
    "hierarchy is not closed": {
        "hierarchies": (Hierarchy("A", ("B",)), Hierarchy("B", ("C",))),
        "hierarchy_mode": "simultaneous"},
    "clears itself": {"hierarchies": (Hierarchy("A", ("A",)),)},
    "order of the features": {
        "hierarchies": (Hierarchy("B", ("C",)), Hierarchy("A", ("B", "C")))},
    "unknown feature 'NOPE'": {"steps": (*BASE.steps, Step("EXCLUDE", clear=("NOPE",)))},
    "unknown operation": {"steps": (*BASE.steps, Step("GUESS"))},
    "unknown segment or flag": {"steps": (*BASE.steps, Step("HIER", segments=("NOWHERE",)))},
    "unknown kind": {"features": (Feature("A", "ODD"), *BASE.features[1:])},
    "is not a number": {
        "coefficients": (*BASE.coefficients[1:], Coefficient("ALL", "", "A", "half"))},
    "below a millionth": {
        "coefficients": (*BASE.coefficients[1:], Coefficient("ALL", "", "A", "0.0000001"))},
    "unknown segment or column": {
        "coefficients": (*BASE.coefficients, Coefficient("ALL", "Gold", "A", "1"))},
    "unknown hierarchy mode": {"hierarchy_mode": "random"},
    "default column": {"default_column": "Gold"},
    "unknown timing": {"timing": "retrospective"},
    "unknown newborn rule": {"newborn": "mother"},
    "minimum_months is 13": {"minimum_months": 13},
    "unknown system": {"rules": (*BASE.rules, Rule("SNOMED", "1", ("A",)))},
}  # fmt: skip


@pytest.mark.parametrize("finding", CASES)
def test_a_model_that_makes_no_sense_is_refused(finding: str) -> None:
    with pytest.raises(RiskModelError, match=finding):
        audit(model(**CASES[finding]))


def test_an_open_hierarchy_is_allowed_when_sequential() -> None:
    audit(model(hierarchies=(Hierarchy("A", ("B",)), Hierarchy("B", ("C",)))))


def test_dates_that_touch_do_not_overlap() -> None:
    rules = (
        *BASE.rules[1:],
        Rule("ICD10", "A1", ("A",), last="2024-06-30"),
        Rule("ICD10", "A1", ("B",), first="2024-07-01"),
    )
    audit(model(rules=rules))


def test_a_file_with_an_unknown_field_is_refused() -> None:
    text = encode(model()).replace(b'"year"', b'"yeer"')
    with pytest.raises(RiskModelError, match="yeer"):
        decode(text, where="model.json")


def test_the_digest_is_that_of_the_content() -> None:
    again = decode(encode(model()), where="model.json")
    assert again == model()
    assert digest(again) == digest(model())
    assert digest(model(year=2025)) != digest(model())


def test_what_a_model_does_not_state_is_not_in_its_digest() -> None:
    stated = model(timing="prospective", minimum_months=6, newborn="missing")
    assert (model().collection, stated.collection) == ("", "year_before")
    assert b"timing" not in encode(model())
    assert b"minimum_months" not in encode(model())
    assert digest(stated) != digest(model())


def test_cells_that_overlap_are_refused() -> None:
    cells = (Cell("OLD", "F", (0, 128)), Cell("TWO", "F", (5, 6)), Cell("OLD", "M", (0, 128)))
    with pytest.raises(RiskModelError, match="overlaps another cell"):
        compile_model(model(steps=(*BASE.steps[:2], Step("CELL", cells=cells))))
