"""What is planted in a state comes back from a run's tables, and would be missed if it did not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.programme import PLANTED, Case, report, state, summary

MEMBERS, SEED, REPLICATES = 6_000, 5, 200
STRONG = {
    "care": {
        **PLANTED["care"], "ed_change": -0.45, "stay_change": -0.5, "readmission_change": 0.5,
        "ed_disparity": 1.0, "ed_disparity_homeless": 1.5, "intervention_effect": -0.7,
    },
    "cost": {
        **PLANTED["cost"], "trend_difference": 0.2, "price_change": 0.5, "use_change": 0.0,
    },
}  # fmt: skip
STANDARD_ERRORS = 3.3


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    folder = tmp_path_factory.mktemp("programme") / "work"
    return [
        case
        for planted in STRONG.values()
        for case in state(MEMBERS, SEED, folder, REPLICATES, planted)
    ]


def of(cases: list[Case], figure: str) -> list[Case]:
    found = [case for case in cases if case.figure == figure]
    assert found, sorted({case.figure for case in cases})
    return found


def test_every_planted_figure_is_compared(cases: list[Case]) -> None:
    figures = {case.figure for case in cases}
    for basis in ("crude", "standardised"):
        assert {
            f"{whose} {measure}, {basis}"
            for whose in ("all partnerships'", "a partnership's")
            for measure in ("ed_visits", "stays", "readmissions")
        } <= figures
        assert f"unplanted, all partnerships' stays, {basis}" in figures
        assert f"the treated arm's ed_visits, {basis}" in figures
    assert {"ratio of race", "ratio of homelessness", "tci", "rui", "price_index"} <= figures
    assert {"growth_difference", "IHP-01's price_index", "IHP-01's growth_difference"} <= figures


def test_figures_are_within_chance_of_what_is_planted(cases: list[Case]) -> None:
    for case in cases:
        assert abs(case.spread) < STANDARD_ERRORS, case
    inside = [case.low <= case.truth <= case.high for case in cases]
    assert np.mean(inside) > 0.85


@pytest.mark.parametrize(
    ("figure", "nothing"),
    [
        ("all partnerships' ed_visits, standardised", 1.0),
        ("all partnerships' stays, standardised", 1.0),
        ("the treated arm's ed_visits, standardised", 1.0),
        ("ratio of race", 1.0),
        ("ratio of homelessness", 1.0),
        ("IHP-01's price_index", 1.0),
    ],
)
def test_what_is_planted_is_seen(cases: list[Case], figure: str, nothing: float) -> None:
    """The interval holds the planted figure on the right side of nothing, and not nothing."""
    for case in of(cases, figure):
        assert (case.truth > nothing) == (case.point > nothing)
        assert not case.low <= nothing <= case.high, case


def test_most_partnerships_grow_more_than_the_comparison(cases: list[Case]) -> None:
    found = of(cases, "growth_difference")
    assert {round(case.truth, 4) for case in found} == {round(0.2 * 1.042, 4)}
    assert np.mean([case.point > 0 for case in found]) > 0.75


def test_a_study_says_how_often_intervals_hold(cases: list[Case]) -> None:
    rows = {row["figure"]: row for row in summary(cases)}
    assert sum(row["cases"] for row in rows.values()) == len(cases)
    found = of(cases, "a partnership's stays, crude")
    row = rows["a partnership's stays, crude"]
    assert row["coverage"] == pytest.approx(
        np.mean([case.low <= case.truth <= case.high for case in found])
    )
    assert row["states"] == 1


def test_a_folder_without_states_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds no states"):
        report(tmp_path)
