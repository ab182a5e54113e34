"""The study of coverage, small: its member-years are a run's, and no contract's savings are off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import coverage
from ihp_compute import contracts
from ihp_compute.contracts import NONE

NORM = """
name = "norm"
title = "Another norm"
programme = "test"
extends = "{contract}"

[sources.here]
title = "A test"

[risk.normalise]
value = "{norm}"
unit = "choice"
from = 2018-01-01
basis = "contract"
source = {{ doc = "here", at = "norm" }}
"""
DRAWS = 10
MOST_ERROR = 0.008
"""A standard error of the mean beyond which the test would hold nothing."""


def term(path: str, value: str, unit: str) -> str:
    return (
        f'[{path}]\nvalue = {value}\nunit = "{unit}"\nfrom = 2018-01-01\nbasis = "contract"\n'
        'source = { doc = "here", at = "terms" }\n'
    )


def alike() -> list[str]:
    """Shipped contracts, one for all that make targets and cost alike."""
    found: dict[tuple[object, ...], str] = {}
    for name in contracts.names():
        terms = contracts.load(name).at(2024)
        key = (
            terms["cost.claim_cap"], terms["target.trend"], terms["target.market"],
            terms["target.risk_ratio_cap_up"], terms["target.risk_ratio_cap_down"],
            tuple(v.value for v in terms.policies),
        )  # fmt: skip
        found.setdefault(key, name)
    return list(found.values())


@pytest.fixture(scope="module")
def drawn() -> coverage.Drawn:
    return coverage.Drawn(40_000, 5)


def off(drawn: coverage.Drawn, contract: str | Path) -> np.ndarray:
    """Settlement less truth, a mean over people, by draw and question."""
    found = []
    for number in range(DRAWS):
        drawn.draw(number)
        cases = list(drawn.cases(contract))
        found.append(
            [
                np.average(
                    [c.point - c.truth for c in cases if c.conditioning == conditioning],
                    weights=[c.n_members for c in cases if c.conditioning == conditioning],
                )
                for conditioning in ("target_resampled", "target_fixed")
            ]
        )
    return np.array(found)


def holds(found: np.ndarray) -> None:
    error = found.std(axis=0, ddof=1) / np.sqrt(DRAWS)
    assert (error < MOST_ERROR).all()
    assert (np.abs(found.mean(axis=0)) < 4 * error).all()


@pytest.mark.parametrize("contract", alike())
def test_savings_under_every_shipped_contract_are_right_on_average(
    contract: str, drawn: coverage.Drawn
) -> None:
    holds(off(drawn, contract))


@pytest.mark.parametrize("norm", ["mix_neutral", NONE])
def test_savings_under_every_norm_are_right_on_average(
    norm: str, drawn: coverage.Drawn, tmp_path: Path
) -> None:
    """The state's change of acuity and coding is somebody's savings only where no norm takes it."""
    path = tmp_path / "norm.toml"
    path.write_text(NORM.format(contract=coverage.CONTRACT, norm=norm), encoding="utf-8")
    holds(off(drawn, path))


def test_a_norm_takes_the_state_s_change_from_everybody_s_savings(
    drawn: coverage.Drawn, tmp_path: Path
) -> None:
    """Scores rose by two points of creep and two of acuity, and by more in some cells."""
    path = tmp_path / "norm.toml"
    path.write_text(NORM.format(contract=coverage.CONTRACT, norm=NONE), encoding="utf-8")
    normed, plain = (
        coverage.TRUE_SAVINGS(drawn.truth, contracts.load(contract).at(2024))
        for contract in (coverage.CONTRACT, path)
    )
    assert all(0.02 < plain[name] - normed[name] < 0.12 for name in normed)


def test_savings_are_right_on_average_under_corridor_and_credibility(
    drawn: coverage.Drawn, tmp_path: Path
) -> None:
    """Growth of the state's scores within a point, and small partnerships' ratios tempered."""
    norm = NORM.format(contract=coverage.CONTRACT, norm=NONE)
    alone, both = (tmp_path / f"{name}.toml" for name in ("alone", "both"))
    own = term("target.cell_credibility", '"none"', "choice")
    alone.write_text(norm + own, encoding="utf-8")
    rules = term("risk.growth_corridor", "0.01", "ratio")
    rules += term("risk.credibility", "60_000", "member months")
    both.write_text(norm + own + rules, encoding="utf-8")
    free, held = (
        coverage.TRUE_SAVINGS(drawn.truth, contracts.load(path).at(2024)) for path in (alone, both)
    )
    moved = [free[name] - held[name] for name in free]
    assert 0.01 < np.mean(moved) < 0.12, moved
    assert np.ptp(moved) > 0.005, moved
    holds(off(drawn, both))


def test_states_of_claims_settle_to_their_truth(tmp_path: Path) -> None:
    """Through claims, ingest and a run: a mean over people, by the standard errors of the runs.

    From claims a rate cell has the cost of its days by chance, from member-years by its share.
    """
    states = [coverage.full_state(5_000, seed, tmp_path / "state", 200) for seed in (8, 9, 10)]
    for conditioning in ("target_resampled", "target_fixed"):
        cases = [c for state in states for c in state if c.conditioning == conditioning]
        weight = np.array([c.n_members for c in cases]) / sum(c.n_members for c in cases)
        apart = (weight * [c.point - c.truth for c in cases]).sum()
        error = np.sqrt(((weight * [c.std_error for c in cases]) ** 2).sum())
        assert abs(apart) < 4 * error < 0.12
        twins = np.array([c.point - c.of_member_years for c in cases])
        assert abs((weight * twins).sum()) < 0.0015
    assert not list(tmp_path.iterdir())


def test_clusters_widen_a_standard_error() -> None:
    """Two states with values 0, 0 and 1, 1: the mean is one half, with the spread of two values."""
    mean, error = coverage.clustered(np.array([0.0, 0.0, 1.0, 1.0]), np.array([1, 1, 2, 2]))
    assert (mean, error) == (0.5, 0.5)


def test_a_study_passes_by_coverage_and_bias_alone() -> None:
    """Nine intervals of ten hold the truth, settlements right on average; then all are too high."""

    def case(seed: int, k: int, more: float) -> coverage.Case:
        high = 0.03 if k % 10 else -0.01
        return coverage.Case(
            seed, "IHP-01", "target_fixed", 3_000, 0.0, more + (k % 2 - 0.5) * 0.001, -0.03,
            high, 0.02,
        )  # fmt: skip

    (good,), (bad,), (few,) = (
        coverage.summary([case(s, k, more) for s in range(4) for k in range(draws)])
        for more, draws in ((0.0, 800), (0.004, 800), (0.0, 80))
    )
    assert (good["coverage"], good["passes"], bad["passes"], few["passes"]) == (
        0.9, True, False, None,
    )  # fmt: skip
    assert good["band"] == [2_500, 6_000]
