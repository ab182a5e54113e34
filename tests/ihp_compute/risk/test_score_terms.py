"""What a contract says of its model's scores, and what the model states where it says nothing."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ihp_compute import contracts
from ihp_compute.contracts import RiskTerms
from ihp_compute.errors import ContractError
from ihp_compute.risk.models import Model
from ihp_compute.risk.models.store import load, save
from ihp_compute.risk.score_terms import ScoreTerms, idle_terms, scoring_of
from ihp_compute.units import day_of

PARENT = "mn-ihp-2.0-track-2"


def risk(**terms: Any) -> RiskTerms:
    given = {f"risk.{name}": value for name, value in terms.items()}
    return contracts.load(PARENT).override(given).at(2024).risk


def idle(store: Path | None = None, **terms: Any) -> list[str]:
    said = risk(**terms)
    return list(idle_terms(said, scoring_of(said, store=store)))


def stated(**facts: Any) -> Model:
    return msgspec.structs.replace(load("cms-hcc-v28"), **facts)


def test_by_default_every_term_is_what_the_model_states() -> None:
    for name in contracts.names():
        assert ScoreTerms.of(contracts.load(name).at(None).risk) == ScoreTerms(), name
    found = ScoreTerms().by(stated(timing="concurrent", minimum_months=7, newborn="missing"))
    assert (found.timing, found.min_months, found.newborn) == ("concurrent", 7, "missing")
    assert found.code_edits
    assert found.payment_year is None


def test_what_the_contract_says_holds_over_the_model() -> None:
    said = risk(
        timing="concurrent", payment_year=2026, minimum_months=3, newborn="as_published",
        code_edits=False, diagnoses_from="all", without_bill_type="leave_out", runout_months=3,
    )  # fmt: skip
    found = ScoreTerms.of(said).by(stated(timing="prospective", newborn="missing"))
    assert found == ScoreTerms(
        "concurrent", 3, "as_published", "", False, 2026, "all", "leave_out", 3
    )


def test_a_model_states_whose_diagnoses_count_else_all_do() -> None:
    assert ScoreTerms().by(load("cms-hcc-v28")).diagnoses_from == "risk_adjustable"
    assert ScoreTerms().by(stated(diagnoses_from="")).diagnoses_from == "all"


def test_codes_are_known_by_the_run_out_of_their_own_year() -> None:
    """Scores of 2025 by codes of 2024, three months after their end; never after the cutoff."""
    terms = ScoreTerms(timing="prospective", runout_months=3)
    assert terms.known_by(2025, day_of(date(2026, 6, 30))) == day_of(date(2025, 3, 31))
    assert terms.known_by(2025, day_of(date(2025, 2, 1))) == day_of(date(2025, 2, 1))


def test_no_months_are_no_minimum() -> None:
    assert ScoreTerms.of(risk(minimum_months=0)).by(stated(minimum_months=6)).min_months == 0


@pytest.mark.parametrize(("timing", "code_year"), [("concurrent", 2024), ("prospective", 2023)])
def test_timing_decides_whose_codes_score_a_year(timing: str, code_year: int) -> None:
    assert ScoreTerms(timing).code_year(2024) == code_year


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("timing", "retrospective", "model or concurrent or prospective"),
        ("timing", "none", "model or concurrent or prospective"),
        ("payment_year", 26, "a year from 2000 to 2100"),
        ("minimum_months", 13, "at most 12"),
        ("minimum_months", "0.5", "a whole number"),
        ("newborn", "mother", "as_published or missing, or none"),
        ("code_edits", "maybe", "true or false"),
    ],
)
def test_what_no_score_can_mean_is_refused(path: str, value: Any, expected: str) -> None:
    with pytest.raises(ContractError, match=f"risk.{path}: found {value}, expected.*{expected}"):
        risk(**{path: value})


@pytest.mark.parametrize(("said", "meant"), [("on", True), ("off", False), (False, False)])
def test_code_edits_are_switched_by_words_too(said: Any, meant: bool) -> None:
    assert risk(code_edits=said).code_edits is meant


def test_terms_of_a_model_say_nothing_where_there_is_none() -> None:
    scored = contracts.load(PARENT).at(2024).draft().binding
    assert {"risk.timing", "risk.code_edits"} <= set(scored)
    assert not {"risk.payment_year", "risk.minimum_months", "risk.newborn"} & set(scored)
    for path in ("risk.timing", "risk.code_edits"):
        assert contracts.speaks(path, {"risk.model"}.__contains__)
        assert not contracts.speaks(path, set().__contains__)


def test_supplied_scores_have_no_timing() -> None:
    for model in ("supplied", "supplied:ACG 11/2", "none"):
        assert scoring_of(risk(model=model)) is None
        assert idle(model=model) == []
    (said,) = idle(model="supplied", timing="prospective")
    assert said.startswith("risk.timing = prospective has no effect beside supplied")
    assert idle(model="none", timing="prospective") == []


def test_a_model_knows_its_timing_and_a_contract_may_differ() -> None:
    found = scoring_of(risk(model="cms-hcc-v28"))
    assert found is not None
    assert (found.stated, found.terms.timing, found.differs) == (
        "prospective", "prospective", False,
    )  # fmt: skip
    other = scoring_of(risk(model="cms-hcc-v28", timing="concurrent"))
    assert other is not None
    assert (other.terms.timing, other.differs) == ("concurrent", True)


def test_a_model_that_states_no_timing_is_read_as_concurrent_and_told(tmp_path: Path) -> None:
    save(stated(timing=""), "undated", store=tmp_path, about={})
    found = scoring_of(risk(model="undated"), store=tmp_path)
    assert found is not None
    assert (found.stated, found.terms.timing, found.differs) == ("", "concurrent", False)
    (said,) = idle(tmp_path, model="undated")
    assert "undated states no timing" in said
    for timing in ("concurrent", "prospective"):
        assert idle(tmp_path, model="undated", timing=timing) == []


def test_a_payment_year_is_of_published_models_alone(tmp_path: Path) -> None:
    save(stated(), "own", store=tmp_path, about={})
    assert idle(model="cms-hcc-v28", payment_year=2026) == []
    (said,) = idle(tmp_path, model="own", payment_year=2026)
    assert "risk.payment_year = 2026 has no effect beside own" in said
    (said,) = idle(model="cms-hcc-v28@2025", payment_year=2026)
    assert said.endswith("no effect beside cms-hcc-v28@2025: its name fixes 2025")
