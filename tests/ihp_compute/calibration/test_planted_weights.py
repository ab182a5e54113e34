"""A state's planted weights come back from its calibration, with errors clustered by member."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from ihp_compute.calibration import CalibrationRequest, calibrate_population
from ihp_compute.ingest import ingest
from ihp_compute.runner import LocalRunner
from ihp_compute.synth.state import synth

MEMBERS, SEED, YEAR = 8_000, 5, 2024
SEGMENT = "CND"
LEAST_MONTHS = 1_200
"""Of a term that is judged: errors clustered by member are too small of few people."""
ERROR = 0.01
CONTRACT = """
name = "own"
title = "Codes of the year, cost capped"
programme = "test"
extends = "mn-ihp-2.0-track-2"

[sources.here]
title = "A test"
"""
TERM = """
[{path}]
value = {value}
unit = "{unit}"
from = 2018-01-01
basis = "contract"
source = {{ doc = "here", at = "terms" }}
"""
Calibrated = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("planted")
    truth = synth(MEMBERS, SEED, folder / "raw", plant={"weights": 1})
    ingest(folder / "raw", folder / "population", shards=2)
    return truth, folder / "population"


@pytest.fixture
def calibrated(state: tuple[dict[str, Any], Path], tmp_path: Path) -> Calibrated:
    """The report of a calibration by a contract of codes of the year, and by other terms."""

    def make(*terms: tuple[str, str, str], predictors: tuple[str, ...] = ("aid_group",)) -> Any:
        timing = ("risk.timing", '"concurrent"', "choice")
        contract = tmp_path / "own.toml"
        contract.write_text(
            CONTRACT
            + "".join(TERM.format(path=p, value=v, unit=u) for p, v, u in (timing, *terms)),
            encoding="utf-8",
        )
        request = CalibrationRequest(
            contract=str(contract), model="cms-hcc-v28", year=YEAR, predictors=predictors
        )
        return calibrate_population(state[1], tmp_path / "own.json", request, LocalRunner(1))

    return make


def joint(report: dict[str, Any], truth: dict[str, Any]) -> tuple[float, set[str]]:
    """Chance of estimates as far from the planted weights, and the terms that were judged."""
    planted = truth["weights"]["usd"][str(YEAR)]
    features = report["features"][SEGMENT]
    judged = [
        k for k, one in enumerate(features)
        if one["member_months"] >= LEAST_MONTHS and one["estimate_usd"] is not None
    ]  # fmt: skip
    off = np.array(
        [features[k]["estimate_usd"] - planted.get(features[k]["term"], 0) for k in judged]
    )
    covariance = np.array(report["covariance_usd2"][SEGMENT], float)[np.ix_(judged, judged)]
    chance = chi2.sf(off @ np.linalg.solve(covariance, off), len(judged))
    return float(chance), {features[k]["term"] for k in judged}


def test_planted_weights_come_back(
    calibrated: Calibrated, state: tuple[dict[str, Any], Path]
) -> None:
    report = calibrated()
    assert report["predictors"] == {"aid_group": state[0]["weights"]["reference_aid_group"]}
    chance, judged = joint(report, state[0])
    assert chance > ERROR
    assert judged >= {"F0_34", "M0_34", "aid_adult", "aid_expansion", "aid_disabled", "HCC38"}


@pytest.mark.parametrize(
    "term",
    [
        ("cost.claim_cap", "10000", "USD per member per year"),
        ("cost.services", '["inpatient", "pharmacy"]', "names"),
    ],
)
def test_cost_that_is_counted_otherwise_does_not_pass(
    calibrated: Calibrated, state: tuple[dict[str, Any], Path], term: tuple[str, str, str]
) -> None:
    assert joint(calibrated(term), state[0])[0] < ERROR


def test_without_aid_groups_it_does_not_pass(
    calibrated: Calibrated, state: tuple[dict[str, Any], Path]
) -> None:
    assert joint(calibrated(predictors=()), state[0])[0] < ERROR
