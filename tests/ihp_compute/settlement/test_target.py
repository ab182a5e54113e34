"""Targets by hand: credibility, borrowed and agreed bases, mix, the market, a fixed target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from ihp_compute import contracts
from ihp_compute.codes import RATE_CELLS
from ihp_compute.contracts import ContractSet
from ihp_compute.errors import ContractError
from ihp_compute.settlement.settle import settle
from ihp_compute.uncertainty.totals import Totals
from tests.ihp_compute.settlement.targets_by_hand import (
    BASE,
    YEAR,
    MemberYear,
    Terms,
    by_hand,
    random_state,
    settled,
    several,
    totals_of,
    with_terms,
)


def test_the_worked_example_of_credibility() -> None:
    """2,400 adult months at $400 (the state $380), 600 newborn months at $900 (the state $1,000).

    Z = √(3,000 / 12,000) = 0.5; E = 912,000 + 600,000; B = 0.5 × 1,500,000 + 0.5 × 1,512,000 =
    1,506,000; L = 0.9960317; units $385.4996 and $968.0017. Newborns double, the trend is 4.2 %.
    """
    members = [
        *several(200, "A", "adult_ffs", 40_000),
        *several(50, "A", "newborn_ffs", 90_000),
        *several(200, "UNATTRIBUTED", "adult_ffs", 36_000),
        *several(50, "UNATTRIBUTED", "newborn_ffs", 110_000),
        *several(200, "A", "adult_ffs", 40_000, year=YEAR),
        *several(100, "A", "newborn_ffs", 90_000, year=YEAR),
        *several(10, "UNATTRIBUTED", "adult_ffs", 36_000, year=YEAR),
    ]
    (result,) = settled(members, "mn-ihp-2.0-track-2")
    assert result.target_cents == 217_444_669
    cells = {cell.rate_cell: cell for cell in result.cells}
    assert cells["adult_ffs"].level == pytest.approx(0.9960317, abs=5e-8)
    assert cells["adult_ffs"].base_pmpm_usd == pytest.approx(385.4996, abs=5e-5)
    assert cells["newborn_ffs"].base_pmpm_usd == pytest.approx(968.0017, abs=5e-5)
    walk = {row.step: row for row in result.walk}
    # 1,500,000 and 1,506,000 over 3,000 months, at the 3,600 of the performance year
    assert walk["recomputed_base"].amount_cents == 180_000_000
    assert walk["credibility"].amount_cents == 720_000
    assert walk["credibility"].detail == (
        "Z 0.5000 of 3,000 base months; level 0.996032 of the state's; rate cells 0.2236 to 0.4472"
    )


def test_one_newborn_of_the_base_year_sets_no_target() -> None:
    """Six of 120 months carry nothing; its own base of $15,000 a month would give $1,900,608.

    The state's newborns: (120,000 + 90,000) / 246 = $853.66. E = 24,000 + 6 × 853.66 = 29,121.95,
    Z = √(246 / 12,000) = 0.143178, B = 41,274.44; adults of 240 months carry √0.02 of themselves.
    """
    members = [
        *several(20, "A", "adult_ffs", 10_000),
        *several(1, "A", "newborn_ffs", 1_500_000, months=6),
        *several(20, "A", "adult_ffs", 10_000, year=YEAR),
        *several(10, "A", "newborn_ffs", 50_000, year=YEAR),
    ]
    for year in (BASE, YEAR):
        members += several(20, "COMPARISON", "adult_ffs", 10_000, year=year)
        members += several(20, "COMPARISON", "newborn_ffs", 50_000, year=year)
    (result,) = settled(members, "mn-ihp-2.0-track-2")
    assert result.target_cents == 19_183_611
    assert result.payment_cents == 5_391_806
    assert result.thin_cells == {"newborn_ffs": 6}
    walk = {row.step: row for row in result.walk}
    assert walk["credibility"].detail.endswith("thin: newborn_ffs 6 months")
    (whole,) = settled(members, with_terms({"target.cell_credibility": "none"}))
    assert whole.target_cents == 190_060_800


def test_a_borrowed_base_comes_with_its_risk() -> None:
    """20 disabled of score 1 at the base of people of score 5: a fifth of $10,000 a year each.

    40 adults at $1,000 and 20 at $2,000, at 1.042: $83,360.00, against $80,000.00 observed.
    """
    members = [
        *several(40, "A", "adult_ffs", 8_333, 1.0, months=12),
        *several(30, "UNATTRIBUTED", "disabled_ffs", 83_333, 5.0),
        *several(40, "A", "adult_ffs", 8_333, 1.0, year=YEAR),
        *several(20, "A", "disabled_ffs", 16_666, 1.0, year=YEAR),
        *several(30, "UNATTRIBUTED", "disabled_ffs", 83_333, 5.0, year=YEAR),
    ]
    for blended in ("months", "none"):
        found = with_terms({"risk.normalise": "none", "target.cell_credibility": blended})
        (result,) = settled(members, found)
        hand = Fraction(480 * 8_333) + Fraction(240 * 83_333, 5)
        assert result.target_cents == round(hand * Fraction(1042, 1000))
        assert result.empty_cell_replicates == 1
        (cell,) = (c for c in result.cells if c.rate_cell == "disabled_ffs")
        assert cell.risk_ratio == pytest.approx(0.2)
        assert cell.base_pmpm_usd == pytest.approx(833.33)


def test_a_change_of_mix_is_paid_once() -> None:
    """Ten adults and ten disabled become five and fifteen; nothing else changes.

    60 months at $100 and 180 at $400 are $78,000: no ratio and no norm may say 1.3 times that.
    """
    members = [
        *several(10, "A", "adult_ffs", 10_000, 0.5),
        *several(10, "A", "disabled_ffs", 40_000, 2.0),
        *several(5, "A", "adult_ffs", 10_000, 0.5, year=YEAR),
        *several(15, "A", "disabled_ffs", 40_000, 2.0, year=YEAR),
    ]
    for cell, pmpm, score in (("adult_ffs", 10_000, 0.5), ("disabled_ffs", 40_000, 2.0)):
        for year in (BASE, YEAR):
            members += several(10, "COMPARISON", cell, pmpm, score, year=year)
    (result,) = settled(members, "northwest-metro-alliance")
    assert result.target_cents == result.observed_cents == 7_800_000
    assert result.payment_cents == 0
    for norm in ("mix_neutral", "none"):
        found = with_terms({"risk.normalise": norm}, "northwest-metro-alliance")
        assert settled(members, found)[0].target_cents == 7_800_000
    one_cell = with_terms(
        {"target.rate_cells": ["+".join(RATE_CELLS)], "target.risk_ratio_by": "partnership"},
        "northwest-metro-alliance",
    )
    # one cell: base 250 × ratio 1.3, the norm grown by (1.625 × 240 + 1.25 × 240) / 480 over 1.25
    hand = by_hand(
        [
            MemberYear(m.group, m.year, {"adult_ffs": 12}, {"adult_ffs": sum(m.cents.values())},
                       m.score_micro)
            for m in members
        ],
        "A",
        Terms(trend=None),
    )  # fmt: skip
    assert settled(members, one_cell)[0].target_cents == round(hand)


def test_the_state_s_change_of_mix_is_nobody_s_savings() -> None:
    """The partnership is as it was; of the rest of the state ten move from disabled to adult."""
    members = [
        *several(10, "A", "adult_ffs", 10_000, 0.5),
        *several(5, "A", "disabled_ffs", 40_000, 2.0),
        *several(10, "A", "adult_ffs", 10_420, 0.5, year=YEAR),
        *several(5, "A", "disabled_ffs", 41_680, 2.0, year=YEAR),
    ]
    for year, adults, disabled in ((BASE, 40, 20), (YEAR, 50, 10)):
        members += several(adults, "UNATTRIBUTED", "adult_ffs", 10_000, 0.5, year=year)
        members += several(disabled, "UNATTRIBUTED", "disabled_ffs", 40_000, 2.0, year=year)
    for norm in ("statewide_rate_cell", "mix_neutral", "none"):
        (result,) = settled(members, with_terms({"risk.normalise": norm}))
        assert result.target_cents == result.observed_cents == 3_751_200
        assert result.risk_ratio == 1.0


def test_an_agreed_base_holds_without_base_months() -> None:
    """$100 a month for 144 months and no base member: $14,400, times the trend, at the risk of 2.

    The state's units are $50 and $150, so its mean at these months is $100; agreed is agreed.
    """
    members = [
        *several(10, "UNATTRIBUTED", "adult_ffs", 5_000),
        *several(10, "UNATTRIBUTED", "disabled_ffs", 15_000),
        *several(6, "A", "adult_ffs", 9_000, 1.0, year=YEAR),
        *several(6, "A", "disabled_ffs", 9_000, 1.0, year=YEAR),
        *several(6, "UNATTRIBUTED", "adult_ffs", 9_000, 1.0, year=YEAR),
        *several(6, "UNATTRIBUTED", "disabled_ffs", 9_000, 1.0, year=YEAR),
    ]
    for blended in ("months", "none"):
        found = with_terms({"target.base_pmpm_fixed": "100", "target.cell_credibility": blended})
        (result,) = settled(members, found)
        assert result.target_cents == 1_500_480  # 14,400 × 1.042
        assert [cell.target_cents for cell in result.cells if cell.target_cents] == [
            375_120, 1_125_360,
        ]  # fmt: skip
        walk = {row.step: row.amount_cents for row in result.walk}
        assert walk["agreed_base"] == 1_440_000
        assert walk["trend"] == 60_480
        assert walk["rate_mix"] == walk["risk"] == 0


def test_a_newcomer_stands_at_the_state_s_base() -> None:
    """No base months: L = k = 1, each cell at the state's unit and the own risk."""
    members = [
        *several(10, "UNATTRIBUTED", "adult_ffs", 10_000, 2.0),
        *several(10, "A", "adult_ffs", 9_000, 0.5, year=YEAR),
        *several(10, "B", "adult_ffs", 9_000, 1.5, year=YEAR),
    ]
    first, second = settled(members, "mn-ihp-2.0-track-2", "A", "B")
    # norms 2 and 1; half and one and a half of $12,000 × 1.042
    assert (first.target_cents, second.target_cents) == (625_200, 1_875_600)
    walk = {row.step: row for row in first.walk}
    assert walk["recomputed_base"].amount_cents == 0
    assert walk["credibility"].amount_cents == 1_200_000
    assert walk["trend"].amount_cents == 50_400
    assert walk["rate_mix"].amount_cents == 0
    assert walk["risk"].amount_cents == 625_200 - 1_250_400


def test_a_cell_without_any_base_in_the_state_is_refused_by_name() -> None:
    members = [
        *several(10, "A", "adult_ffs", 10_000),
        *several(10, "A", "adult_ffs", 10_000, year=YEAR),
        *several(2, "A", "newborn_ffs", 50_000, months=3, year=YEAR),
    ]
    with pytest.raises(
        ContractError,
        match="A has 6 months of the performance year in rate cell newborn_ffs, and nobody in the "
        "state has base months there",
    ):
        settled(members, "mn-ihp-2.0-track-2")


def drawn(members: Sequence[MemberYear], *draws: Sequence[MemberYear]) -> Totals:
    """Totals of the observed members, and of each draw as one replicate."""
    parts = [totals_of(part) for part in (members, *draws)]
    values = np.concatenate([part.values for part in parts], axis=2)
    return replace(parts[0], values=values)


def test_a_draw_without_base_of_a_cell_takes_the_state_s_and_is_counted() -> None:
    """Own credibility is of the observed months; a draw that has none of a cell has nothing own.

    Where the draw has nobody of the state either, the state's unit stays as observed.
    """
    now = [
        *several(100, "A", "adult_ffs", 10_000, year=YEAR),
        *several(20, "A", "newborn_ffs", 60_000, year=YEAR),
        *several(20, "UNATTRIBUTED", "newborn_ffs", 60_000, year=YEAR),
    ]
    adults = several(100, "A", "adult_ffs", 10_000)
    babies = several(20, "A", "newborn_ffs", 70_000)
    others = several(20, "UNATTRIBUTED", "newborn_ffs", 50_000)
    observed = [*adults, *babies, *others, *now]
    totals = drawn(observed, observed, [*adults, *others, *now], [*adults, *now])
    (result,) = settled(totals, "mn-ihp-2.0-track-2")
    moved = result.draws["target_resampled"].target_cents
    assert moved[1] == moved[0] == result.target_cents
    assert result.empty_cell_replicates == 2
    # 1,200 months of the base are the state's own adults: B = E, L = k = 1; newborns at $500
    assert moved[2] == round((1_200 * 10_000 + 240 * 50_000) * Fraction(1042, 1000))
    # nobody: the unit as observed, (70,000 + 50,000) / 2
    assert moved[3] == round((1_200 * 10_000 + 240 * 60_000) * Fraction(1042, 1000))
    held = result.draws["target_fixed"].target_cents
    assert set(held.tolist()) == {result.target_cents}, "only base members were drawn otherwise"


def test_the_walk_tells_the_target_without_those_who_move() -> None:
    """Two movers of twelve months each in the performance year, nobody else of the base year."""
    stay = [
        *several(20, "A", "adult_ffs", 10_000),
        *several(20, "A", "disabled_ffs", 30_000),
        *several(20, "A", "adult_ffs", 10_000, year=YEAR),
    ]
    both = {"adult_ffs": 6, "disabled_ffs": 6}
    move = [MemberYear("A", YEAR, both, {"adult_ffs": 1, "disabled_ffs": 1})] * 2
    found = with_terms({"settlement.quality.weight": "none"})
    (result,) = settle(
        totals_of([*stay, *move]),
        ContractSet("test", {"A": found}),
        base_year=BASE,
        performance_year=YEAR,
        movers=totals_of(move).values[:, :, 0],
    )
    (mix,) = (row for row in result.walk if row.step == "rate_mix")
    assert mix.detail.endswith(
        "24 months are of members in several rate cells, and without them the target is 104.20 PMPM"
    )


def test_a_fixed_target_holds_the_base_and_moves_with_the_performance_year() -> None:
    """Another draw of performance members under this base: months and risk move, units do not."""
    base = [
        *several(60, "A", "adult_ffs", 10_000),
        *several(40, "A", "disabled_ffs", 30_000, 2.0),
        *several(60, "UNATTRIBUTED", "adult_ffs", 12_000),
        *several(40, "UNATTRIBUTED", "disabled_ffs", 33_000, 2.0),
    ]
    now = [
        *several(60, "A", "adult_ffs", 11_000, year=YEAR),
        *several(40, "A", "disabled_ffs", 31_000, 2.0, year=YEAR),
        *several(100, "UNATTRIBUTED", "adult_ffs", 11_000, year=YEAR),
        *several(100, "UNATTRIBUTED", "disabled_ffs", 31_000, 2.0, year=YEAR),
    ]
    other_base = [*several(60, "A", "adult_ffs", 20_000), *base]
    other_now = [*several(10, "A", "disabled_ffs", 90_000, 3.0, year=YEAR), *now]
    totals = drawn(
        [*base, *now], [*other_base, *now], [*base, *other_now], [*other_base, *other_now]
    )
    (result,) = settled(totals, "mn-ihp-2.0-track-2")
    held, moved = (result.draws[name] for name in ("target_fixed", "target_resampled"))
    assert held.target_cents[1] == result.target_cents != moved.target_cents[1]
    assert held.target_cents[2] == moved.target_cents[2] != result.target_cents
    assert held.target_cents[3] == held.target_cents[2] != moved.target_cents[3]
    for draws in (held, moved):
        assert np.array_equal(draws.savings_cents, draws.target_cents - draws.observed_cents)
        assert draws.payment_cents[0] == result.payment_cents
    assert np.array_equal(held.observed_cents, moved.observed_cents)


def test_the_market_is_held_with_a_fixed_target() -> None:
    """What the comparison population grew by is part of what a contract holds, its norm too."""
    members = random_state(3)
    more = [*members, *several(90, "COMPARISON", "adult_ffs", 99_000, 1.7, year=YEAR)]
    found = with_terms({"target.trend": "none", "target.market": "comparison"})
    (result,) = settled(drawn(members, more), found)
    held, moved = (result.draws[name] for name in ("target_fixed", "target_resampled"))
    assert moved.target_cents[1] > 1.02 * moved.target_cents[0]
    # the norm of the performance year moves with the draw, the market's growth does not
    growth = by_hand(members, "A", Terms(trend=None)) / by_hand(members, "A", Terms())
    assert held.target_cents[1] == round(
        by_hand(more, "A", Terms(trend=growth * Fraction(1042, 1000)))
    )


def test_cells_without_both_years_leave_the_market_s_growth() -> None:
    """Newborns that the comparison population has in one year only move neither sum."""
    members = []
    for year, pmpm in ((BASE, 10_000), (YEAR, 11_000)):
        members += several(10, "A", "adult_ffs", 10_000, year=year)
        members += several(10, "COMPARISON", "adult_ffs", pmpm, year=year)
    members += several(50, "COMPARISON", "newborn_ffs", 900_000, year=YEAR)
    (result,) = settled(members, "northwest-metro-alliance")
    assert result.target_cents == 1_320_000  # 120 months of $100, grown by a tenth
    (trend,) = (row for row in result.walk if row.step == "trend")
    assert trend.detail.endswith("× 1.100000, at one mix of rate cells; 1 without its months in "
                                 "one of the years")  # fmt: skip


def test_a_point_of_trend_is_what_another_trend_would_move() -> None:
    members = random_state(1)
    one, more = (
        settled(members, with_terms({"target.trend": trend}))[0] for trend in ("0.042", "0.052")
    )
    (trend,) = (row for row in one.walk if row.step == "trend")
    moved = (more.target_cents - one.target_cents) / 100
    assert trend.detail == (
        f"× 1.042000 over 1 years; a point more a year moves the target by ${moved:,.2f}"
    )


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("risk.normalise", "statewide", "a norm over all of them would count it a second time"),
        ("target.risk_ratio_by", "partnership", "one risk ratio over all of them would count it"),
    ],
)
def test_a_pair_that_counts_mix_twice_is_refused(path: str, value: str, why: str) -> None:
    found = contracts.load("mn-ihp-2.0-track-2").override({path: value})
    with pytest.raises(ContractError, match=f"{path}: found {value} beside 12 rate cells") as error:
        found.at(2024)
    assert why in str(error.value)
    whole = found.override({"target.rate_cells": ["+".join(RATE_CELLS)]})
    assert whole.at(2024)[path] == value
