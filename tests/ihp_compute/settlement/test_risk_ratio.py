"""Corridor of the state's growth, credibility of a partnership's risk ratio, cap: in this order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ihp_compute import contracts
from ihp_compute.errors import ContractError
from ihp_compute.settlement.settle import Settled
from ihp_compute.uncertainty.totals import Totals
from tests.ihp_compute.settlement.targets_by_hand import (
    YEAR,
    MemberYear,
    random_state,
    settled,
    several,
    totals_of,
    with_terms,
)

OWN_BASE = {"target.cell_credibility": "none", "target.trend": "0"}
NO_NORM = {**OWN_BASE, "risk.normalise": "none"}
CORRIDOR, FULL = "risk.growth_corridor", "risk.credibility"


def of_one_cell(own: float, others: float, *, months: int = 1200) -> list[MemberYear]:
    """A and as many others at $100 and 1.0; then A at `own` and the others at `others`."""
    n = months // 12
    return [
        *several(n, "A", "adult_ffs", 10_000),
        *several(n, "UNATTRIBUTED", "adult_ffs", 10_000),
        *several(n, "A", "adult_ffs", 10_000, own, year=YEAR),
        *several(n, "UNATTRIBUTED", "adult_ffs", 10_000, others, year=YEAR),
    ]


def one(members: Sequence[MemberYear] | Totals, terms: Mapping[str, Any]) -> Settled:
    (result,) = settled(members, with_terms(terms))
    return result


def moves(result: Settled) -> dict[str, int]:
    return {row.step: row.amount_cents for row in result.walk if row.step.startswith("risk")}


def words(result: Settled) -> dict[str, str]:
    return {row.step: row.detail for row in result.walk}


def test_a_corridor_holds_the_state_s_growth_in_every_partnership_s_ratio() -> None:
    """The state grows by a tenth, of which 3 % may count: 1.2 × 1.03 ÷ 1.1 of $120,000."""
    up = one(of_one_cell(1.2, 1.0), {**NO_NORM, CORRIDOR: "0.03"})
    assert up.target_cents == 13_483_636
    assert moves(up) == {"risk": 2_400_000, "risk_corridor": -916_364}
    assert words(up)["risk_corridor"] == (
        "the state's mean risk grew × 1.100000 at one mix of rate cells; within ± 0.03: held at "
        "× 1.030000"
    )
    assert [c.corridor_cents for c in up.cells if c.corridor_cents] == [-916_364]
    # falling by a tenth, of which 3 % may count: 0.8 × 0.97 ÷ 0.9
    down = one(of_one_cell(0.8, 1.0), {**NO_NORM, CORRIDOR: "0.03"})
    assert down.target_cents == 10_346_667
    assert moves(down) == {"risk": -2_400_000, "risk_corridor": 746_667}


def test_the_state_s_growth_is_taken_at_one_mix_of_rate_cells() -> None:
    """Disabled people double and nobody's score moves: the state grew by nothing, so X = 0 too."""
    members = [
        *several(100, "A", "adult_ffs", 10_000),
        *several(10, "A", "disabled_ffs", 30_000, 3.0),
        *several(100, "A", "adult_ffs", 10_000, year=YEAR),
        *several(20, "A", "disabled_ffs", 30_000, 3.0, year=YEAR),
        # a cell without base risk is left out, and told
        *several(5, "UNATTRIBUTED", "newborn_ffs", 90_000, 2.0, year=YEAR),
    ]
    result = one(members, {**NO_NORM, CORRIDOR: "0"})
    assert result.target_cents == 1_200 * 10_000 + 240 * 30_000
    assert moves(result)["risk_corridor"] == 0
    assert words(result)["risk_corridor"] == (
        "the state's mean risk grew × 1.000000 at one mix of rate cells, 1 of them without its "
        "risk in one of the years left out; within ± 0"
    )


def test_a_small_partnership_s_ratio_counts_as_far_as_its_months_carry() -> None:
    """1,200 of 4,800 months: Z = 0.5. Where normed, half of 1.2 ÷ 1.1 and half of the state's 1."""
    members = of_one_cell(1.2, 1.0)
    normed = one(members, {**OWN_BASE, FULL: 4_800})
    assert normed.target_cents == 12_545_455
    assert words(normed)["risk_credibility"] == (
        "Z 0.5000 of 1,200 months; the rest at the state's ratio 1.000000"
    )
    # without a norm half of 1.2 and half of the state's 1.1
    free = one(members, {**NO_NORM, FULL: 4_800})
    assert free.target_cents == 13_800_000
    assert moves(free) == {"risk": 2_400_000, "risk_credibility": -600_000}
    assert [c.risk_credibility_cents for c in free.cells if c.target_cents] == [-600_000]
    assert one(members, {**NO_NORM, FULL: 1_200}).target_cents == 14_400_000


def test_the_corridor_comes_before_credibility_and_the_cap_last() -> None:
    """1.2 is 1.123636 in the corridor, half of it and of 1.03 is 1.076818, capped at 1.05."""
    terms = {**NO_NORM, CORRIDOR: "0.03", FULL: 4_800, "target.risk_ratio_cap_up": "0.05"}
    result = one(of_one_cell(1.2, 1.0), terms)
    assert moves(result) == {
        "risk": 2_400_000,
        "risk_corridor": 13_483_636 - 14_400_000,
        "risk_credibility": 12_921_818 - 13_483_636,
        "risk_cap": 12_600_000 - 12_921_818,
    }
    assert list(moves(result)) == ["risk", "risk_corridor", "risk_credibility", "risk_cap"]
    assert result.target_cents == 12_600_000
    assert result.risk_ratio == pytest.approx(1.05, abs=1e-12)
    found = words(result)
    assert found["risk"].startswith("× 1.200000, dollars after over dollars before, rate cell by ")
    assert "cap" not in found["risk"]
    assert found["risk_cap"] == "capped up 0.05: × 1.050000 in all"


def test_a_cap_alone_stays_in_the_line_of_risk() -> None:
    result = one(of_one_cell(1.2, 1.0), {**NO_NORM, "target.risk_ratio_cap_up": "0.05"})
    assert moves(result) == {"risk": 600_000}
    assert "capped up 0.05" in words(result)["risk"]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rounding", ["none", "cents"])
def test_a_rule_that_does_not_bind_changes_nothing(seed: int, rounding: str) -> None:
    """To the cent, target and rate cells: a wide corridor, months that suffice, no risk at all."""
    members = random_state(seed)
    for base in (NO_NORM, {**OWN_BASE, "risk.model": "none"}):
        plain = {**base, "target.rounding": rounding}
        before = settled(members, with_terms(plain), "A", "B")
        wide = settled(members, with_terms({**plain, CORRIDOR: "1", FULL: 1}), "A", "B")
        for old, new in zip(before, wide, strict=True):
            assert new.target_cents == old.target_cents
            assert [c.target_cents for c in new.cells] == [c.target_cents for c in old.cells]
            assert new.risk_ratio == old.risk_ratio
            assert sum(v for k, v in moves(new).items() if k != "risk") == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_corridor_of_nothing_is_the_mix_neutral_norm(seed: int) -> None:
    members = random_state(seed)
    held = settled(members, with_terms({**NO_NORM, CORRIDOR: "0"}), "A", "B")
    neutral = {**OWN_BASE, "risk.normalise": "mix_neutral"}
    for a, b in zip(held, settled(members, with_terms(neutral), "A", "B"), strict=True):
        assert a.target_cents == b.target_cents


@pytest.mark.parametrize("norm", ["statewide_rate_cell", "mix_neutral"])
def test_a_norm_leaves_a_corridor_nothing(norm: str) -> None:
    terms = {**OWN_BASE, "risk.normalise": norm}
    members = of_one_cell(1.2, 1.0)
    beside = one(members, {**terms, CORRIDOR: "0.001"})
    assert beside.target_cents == one(members, terms).target_cents
    assert "risk_corridor" not in moves(beside)
    assert with_terms({**terms, CORRIDOR: "0.001"}).notes == (
        f"mn-ihp-2.0-track-2.toml: {CORRIDOR} has no effect beside risk.normalise = {norm}",
    )
    assert not with_terms({**terms, CORRIDOR: "none"}).notes
    assert not with_terms({**NO_NORM, CORRIDOR: "0.001"}).notes


def test_credibility_is_of_the_months_as_observed_in_every_draw() -> None:
    """Twice everybody is the same cost per month, and carries no further than was observed."""
    members = random_state(5)
    totals = totals_of(members)
    twice = replace(
        totals, values=np.concatenate([totals.values, 2 * totals.values], axis=2)
    )  # fmt: skip
    result = one(twice, {**NO_NORM, FULL: 40_000, CORRIDOR: "0.001"})
    assert result.member_months < 40_000
    for draws in result.draws.values():
        assert draws.target_cents[1] == draws.target_cents[0]


def test_a_draw_s_own_growth_is_held_and_its_base_year_stands_where_the_target_is_fixed() -> None:
    observed = of_one_cell(1.2, 1.0)  # × 1.1
    grown = [  # the base year's others at 0.9, so that the state grows × 1.1 ÷ 0.95
        *several(100, "A", "adult_ffs", 10_000),
        *several(100, "UNATTRIBUTED", "adult_ffs", 10_000, 0.9),
        *observed[200:],
    ]
    parts = [totals_of(observed), totals_of(grown)]
    drawn = replace(parts[0], values=np.concatenate([part.values for part in parts], axis=2))
    result = one(drawn, {**NO_NORM, CORRIDOR: "0.03"})
    held, moved = (result.draws[name] for name in ("target_fixed", "target_resampled"))
    assert held.target_cents.tolist() == [13_483_636, 13_483_636]
    # 1.2 × 1.03 ÷ (1.1 ÷ 0.95)
    assert moved.target_cents.tolist() == [13_483_636, 12_809_455]


@given(
    own=st.integers(500_000, 2_000_000),
    others=st.integers(500_000, 2_000_000),
    corridor=st.decimals(0, 1, places=3),
    full=st.integers(1, 20_000),
    months=st.integers(1, 40),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_ratio_lies_between_its_own_and_the_state_s(
    own: int, others: int, corridor: Any, full: int, months: int
) -> None:
    """Exactly: growth within the corridor; the rest by the root, in whole cents."""
    members = of_one_cell(own / 1e6, others / 1e6, months=12 * months)
    result = one(members, {**NO_NORM, CORRIDOR: corridor, FULL: full})
    growth = Fraction(own + others, 2_000_000)
    x = Fraction(corridor)
    held = min(max(growth, 1 - x), 1 + x)
    inside = Fraction(own, 1_000_000) * held / growth
    low, high = sorted((inside, held))
    before = 12 * months * 10_000
    assert before * low - 1 <= result.target_cents <= before * high + 1
    z = min(1.0, (12 * months / full) ** 0.5)
    exact = before * (z * float(inside) + (1 - z) * float(held))
    assert result.target_cents == pytest.approx(exact, abs=0.51)


AGREED = """
name = "own"
title = "Own"
programme = "test"
extends = "mn-ihp-2.0-track-2"
[sources.own]
title = "Own agreement"
"""


def term(path: str, value: str, unit: str, begins: str = "2010-01-01") -> str:
    return (
        f'[{path}]\nvalue = {value}\nunit = "{unit}"\nfrom = {begins}\nbasis = "contract"\n'
        'source = { doc = "own", at = "p. 1" }\n'
    )


WHY = (
    r"risk\.credibility: found 6000 beside target\.cell_credibility months, expected none, or "
    r"target\.cell_credibility none: .* temper it a second time"
)


def test_one_credibility_or_the_other(tmp_path: Path) -> None:
    """Checked, loaded and overridden; a file alone, in a set, and with values beside it."""
    file = tmp_path / "own.toml"
    full = term(FULL, "6000", "member months", "2020-01-01")
    file.write_text(AGREED + full)
    for ask in (contracts.check, contracts.load, lambda f: contracts.load_set([f], ["A"])):
        with pytest.raises(ContractError, match=WHY):
            ask(file)
    with pytest.raises(ContractError, match=WHY):
        settled(of_one_cell(1.2, 1.0), with_terms({FULL: 6_000}))
    file.write_text(AGREED + full + term("target.cell_credibility", '"none"', "choice"))
    assert contracts.check(file)["name"] == "own"
    with pytest.raises(ContractError, match=WHY):
        contracts.load(file).override({"target.cell_credibility": "months"}).at(2024)
