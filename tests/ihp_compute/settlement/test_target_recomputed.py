"""Targets of random states are what the rule says, to the cent, under every choice of terms."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final

import pytest

from tests.ihp_compute.settlement.targets_by_hand import (
    YEAR,
    Terms,
    by_hand,
    random_state,
    settled,
    with_terms,
)


def terms(**given: Any) -> Terms:
    return Terms(**given)


CONTRACTS: Final = {
    "as shipped": terms(),
    "no norm, ratio capped": terms(
        norm=None, cap_up=Fraction(3, 100), cap_down=Fraction(1, 100),
        paths={
            "risk.normalise": "none", "target.risk_ratio_cap_up": "0.03",
            "target.risk_ratio_cap_down": "0.01",
        },
    ),
    "capped by rate cell": terms(
        cap_up=Fraction(5, 1000), cap_down=Fraction(2, 1000), cap_by="rate_cell",
        paths={
            "target.risk_ratio_cap_up": "0.005", "target.risk_ratio_cap_down": "0.002",
            "target.risk_ratio_cap_by": "rate_cell",
        },
    ),
    "mix-neutral": terms(norm="mix_neutral", paths={"risk.normalise": "mix_neutral"}),
    "nothing blended": terms(credible=False, paths={"target.cell_credibility": "none"}),
    "nothing blended, own mean": terms(
        credible=False, empty_cell="partnership",
        paths={"target.cell_credibility": "none", "target.empty_cell": "partnership"},
    ),
    "agreed base": terms(
        agreed_cents=Fraction(40_215), paths={"target.base_pmpm_fixed": "402.15"}
    ),
    "agreed base, nothing blended": terms(
        agreed_cents=Fraction(40_215), credible=False,
        paths={"target.base_pmpm_fixed": "402.15", "target.cell_credibility": "none"},
    ),
    "other months": terms(
        least=24, full=2_400, base_full=6_000,
        paths={
            "target.cell_least_months": 24, "target.cell_full_months": 2_400,
            "target.base_full_months": 6_000,
        },
    ),
    "the market's growth": terms(
        trend=None, norm="mix_neutral",
        paths={
            "target.trend": "none", "target.market": "comparison", "risk.normalise": "mix_neutral",
        },
    ),
    "market by rate cell, PMPM rounded, completed": terms(
        trend=None, completion=Fraction(98, 100), cents=True,
        paths={
            "target.trend": "none", "target.market": "comparison",
            "target.completion": "0.98", "target.rounding": "cents",
        },
    ),
    "a corridor of the state's growth": terms(
        norm=None, corridor=Fraction(5, 1000),
        paths={"risk.normalise": "none", "risk.growth_corridor": "0.005"},
    ),
    "corridor, credibility and cap": terms(
        norm=None, credible=False, corridor=Fraction(2, 1000), full_ratio=20_000,
        cap_up=Fraction(1, 100), cap_down=Fraction(3, 1000),
        paths={
            "risk.normalise": "none", "target.cell_credibility": "none",
            "risk.growth_corridor": "0.002", "risk.credibility": 20_000,
            "target.risk_ratio_cap_up": "0.01", "target.risk_ratio_cap_down": "0.003",
        },
    ),
    "credibility, capped by rate cell": terms(
        credible=False, full_ratio=9_000, cap_up=Fraction(1, 100), cap_down=Fraction(1, 100),
        cap_by="rate_cell",
        paths={
            "target.cell_credibility": "none", "risk.credibility": 9_000,
            "target.risk_ratio_cap_up": "0.01", "target.risk_ratio_cap_down": "0.01",
            "target.risk_ratio_cap_by": "rate_cell",
        },
    ),
    "credibility, mix-neutral, PMPM rounded": terms(
        credible=False, full_ratio=15_000, norm="mix_neutral", cents=True,
        paths={
            "target.cell_credibility": "none", "risk.credibility": 15_000,
            "risk.normalise": "mix_neutral", "target.rounding": "cents",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRACTS)
@pytest.mark.parametrize("seed", range(6))
def test_a_target_is_what_the_rule_says_to_the_cent(name: str, seed: int) -> None:
    members, hand = random_state(seed), CONTRACTS[name]
    for result in settled(members, with_terms(hand.paths), "A", "B"):
        exact = by_hand(members, result.partnership_id, hand)
        assert abs(exact - round(exact)) != Fraction(1, 2)
        assert result.target_cents == round(exact)
        assert sum(cell.target_cents for cell in result.cells) == result.target_cents
        assert result.observed_cents == sum(
            sum(one.cents.values())
            for one in members
            if one.group == result.partnership_id and one.year == YEAR
        )
