"""A group's growth beside that of others: by hand, planted, and in every draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ihp_compute.settlement import CellYears, OwnGrowth, Trend, comparator_growth
from tests.ihp_compute.settlement.trends_by_hand import Side, by_hand

LEAST = 120


def group(*years: tuple[list[int], list[float], list[int]]) -> CellYears:
    """Observed months, mean scores and cents by rate cell, the earlier year first."""
    months = np.array([m for m, _, _ in years], np.int64)[..., None]
    risk = np.array([np.multiply(m, s) * 1_000_000 for m, s, _ in years]).round()[..., None]
    return CellYears(months, risk.astype(np.int64), np.array([c for *_, c in years])[..., None])


def side(whose: CellYears) -> Side:
    """Observed sums as `by_hand` takes them."""
    years = [
        list(
            zip(*(a[y, :, 0].tolist() for a in (whose.months, whose.risk, whose.cost)), strict=True)
        )
        for y in (0, 1)
    ]
    return years[0], years[1]


OWN = group(([1200, 600, 50], [1.0, 1.5, 2.0], [400_000, 300_000, 90_000]),
            ([1300, 500, 40], [1.1, 1.4, 2.0], [460_000, 260_000, 70_000]))  # fmt: skip
OTHERS = group(([5000, 3000, 400], [1.0, 1.2, 2.0], [2_000_000, 1_500_000, 800_000]),
               ([5200, 2900, 500], [1.0, 1.3, 2.1], [2_200_000, 1_600_000, 900_000]))  # fmt: skip
STATE = CellYears(OWN.months + OTHERS.months, OWN.risk + OTHERS.risk, OWN.cost + OTHERS.cost)


def _trend(own: CellYears, others: CellYears, state: CellYears, least_months: int) -> Trend:
    """A group's trend against that of others."""
    grown = comparator_growth(others, state, least_months=least_months)
    return OwnGrowth.of(own, state, least_months=least_months).against(grown)


def test_by_exact_fractions() -> None:
    found = _trend(OWN, OTHERS, STATE, LEAST)
    growth, grown, benchmark, observed, left = by_hand(side(OWN), side(OTHERS), side(STATE), LEAST)
    assert found.growth[0] == pytest.approx(float(growth), rel=1e-12)
    assert found.comparator_growth[0] == pytest.approx(float(grown), rel=1e-12)
    assert found.benchmark_cents[0] == benchmark
    assert found.observed_cents[0] == observed == 790_000
    assert found.difference_cents[0] == benchmark - observed
    assert found.months_without_base == left == 0


def test_a_cell_that_nobody_had_in_one_year_is_left_out_of_both_with_its_months() -> None:
    own = group(([1200, 0], [1.0, 0.0], [400_000, 0]), ([1300, 90], [1.0, 3.0], [430_000, 55_000]))
    state = group(([5000, 400], [1.0, 2.0], [2, 2]), ([5000, 400], [1.0, 2.0], [2, 2]))
    others = CellYears(state.months, state.risk, state.cost * 100_000)
    found = _trend(own, others, state, LEAST)
    assert found.months_without_base == 90
    assert found.observed_cents[0] == 430_000
    assert found.comparator_growth[0] == 1
    assert found.growth[0] == pytest.approx(430_000 / (1300 / 1200 * 400_000))


def test_planted_growth_is_recovered_whatever_mix_and_risk_do() -> None:
    """Costs per unit of risk of each cell, and growth of 3 % here and 5 % elsewhere, planted."""
    unit = np.array([300_00, 500_00, 900_00])
    rng = np.random.default_rng(4)

    def planted(growth: float, size: int) -> tuple[CellYears, Any]:
        months = rng.integers(size, 2 * size, (2, 3, 1))
        score = rng.integers(500_000, 2_000_000, (2, 3, 1))
        factor = np.array([1.0, growth])[:, None, None]
        return CellYears(months, months * score, np.zeros_like(months)), factor

    (own, of_own), (others, of_others) = planted(1.03, 20_000), planted(1.05, 90_000)
    state = CellYears(own.months + others.months, own.risk + others.risk, own.cost)
    mean = state.risk / state.months

    def with_cost(g: CellYears, factor: Any) -> CellYears:
        return CellYears(
            g.months, g.risk, np.rint(g.risk / mean * unit[None, :, None] * factor).astype(np.int64)
        )

    found = _trend(with_cost(own, of_own), with_cost(others, of_others), state, LEAST)
    assert found.growth[0] == pytest.approx(1.03, abs=1e-8)
    assert found.comparator_growth[0] == pytest.approx(1.05, abs=1e-8)
    assert found.growth_difference[0] == pytest.approx(-0.02, abs=1e-8)
    assert found.difference_cents[0] == pytest.approx(
        found.observed_cents[0] * (1.05 / 1.03 - 1), rel=1e-6
    )


counts = arrays.arrays(np.int64, (2, 4, 1), elements=st.integers(0, 400))
costs = arrays.arrays(np.int64, (2, 4, 1), elements=st.integers(0, 10**7))
scores = arrays.arrays(np.int64, (2, 4, 1), elements=st.integers(1, 4_000_000))


@given(counts, scores, costs, counts, scores, costs, st.sampled_from([0, 1, 120, 300]))
def test_any_sums(m: Any, s: Any, c: Any, om: Any, os: Any, oc: Any, least: int) -> None:
    own, others = CellYears(m, m * s, c * (m > 0)), CellYears(om, om * os, oc * (om > 0))
    state = CellYears(own.months + others.months, own.risk + others.risk, own.cost)
    found = _trend(own, others, state, least)
    try:
        growth, grown, benchmark, observed, left = by_hand(
            side(own), side(others), side(state), least
        )
    except ZeroDivisionError:  # nothing to grow from
        assert np.isfinite([found.growth[0], found.comparator_growth[0]]).all()
        return
    assert found.growth[0] == pytest.approx(float(growth), rel=1e-9)
    assert found.comparator_growth[0] == pytest.approx(float(grown), rel=1e-9)
    assert abs(int(found.benchmark_cents[0]) - benchmark) <= 1
    assert abs(int(found.observed_cents[0]) - observed) <= 1
    assert found.months_without_base == left


def test_a_draw_is_the_trend_of_its_own_totals_at_the_months_as_observed() -> None:
    """Cells stand together as observed; a draw without months of a cell leaves it out."""
    months = np.array([[[900, 700], [300, 0]], [[800, 1000], [300, 200]]])
    own = CellYears(months, months * 1_000_000, months * 1000)
    own.cost[1] = own.cost[1] * 11 // 10
    others = CellYears(own.months * 3, own.risk * 3, months * 3000)
    state = CellYears(own.months * 4, own.risk * 4, own.cost * 4)
    found = _trend(own, others, state, LEAST)
    assert found.observed_cents.tolist() == [1100 * 1100, 1100 * 1100]  # 1,100 months, $11 each
    assert found.growth == pytest.approx([1.1, 1.1])
    assert found.comparator_growth.tolist() == [1.0, 1.0]
    assert found.months_without_base == 0
