"""Settling a run: targets per replicate, two conditionings, and agreement with given aggregates."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ihp_compute import contracts as contract
from ihp_compute.codes import RATE_CELLS
from ihp_compute.contracts import Contract, ContractSet
from ihp_compute.errors import ContractError
from ihp_compute.settlement.given import settle_table
from ihp_compute.settlement.settle import Settled, settle
from ihp_compute.settlement.target import trend_factor
from ihp_compute.uncertainty.totals import Totals, column_names

GROUPS = ("P1", "P2", "COMPARISON", "UNATTRIBUTED")
CHILD, ADULT = RATE_CELLS.index("child_ffs"), RATE_CELLS.index("adult_managed")
ONE = 1_000_000


def state(replicates: int = 0, seed: int = 1) -> Totals:
    """Two cells, costs and risks that differ by group; replicates near the observed values."""
    rng = np.random.default_rng(seed)
    values = np.zeros((len(GROUPS), len(RATE_CELLS), replicates + 1, 6), np.int64)
    for g in range(len(GROUPS)):
        for cell, pmpm in ((CHILD, 30_000), (ADULT, 60_000)):
            months = 12_000 * (g + 1)
            observed = np.array(
                [
                    months, months * (ONE + 20_000 * g), months + 600, (months + 600) * ONE,
                    months * pmpm, (months + 600) * (pmpm + 1_000 * (2 - g)),
                ]
            )  # fmt: skip
            values[g, cell, 0] = observed
            noise = rng.normal(1, 0.02, (replicates, 6))
            values[g, cell, 1:] = np.rint(observed * noise)
    people = np.array([1_000, 2_000, 3_000, 4_000])
    return Totals(GROUPS, column_names(1), values, people, np.zeros((4, 1), np.int64))


def plain(**overrides: object) -> Contract:
    found = contract.load("mn-ihp-2.0-track-2").override(
        {"target.trend": "0", "settlement.quality.missing": "full"}
    )
    return found.override({path.replace("__", "."): value for path, value in overrides.items()})


def run(totals: Totals, found: Contract, score: str | None = None) -> list[Settled]:
    return settle(
        totals,
        ContractSet("test", dict.fromkeys(("P1", "P2"), found)),
        base_year=2019,
        performance_year=2021,
        quality={"P1": None if score is None else Decimal(score)},
    )


def test_a_run_and_given_aggregates_settle_alike() -> None:
    """The same dollars through `ihp settle`: every amount equal to the cent, in every replicate."""
    for name in ("mn-ihp-2.0-track-2", "mn-ihp-1.0", "cms-reach-global", "cms-mssp-enhanced"):
        found = contract.load(name)
        result = settle(
            state(50),
            ContractSet("test", {"P1": found}),
            base_year=2020,
            performance_year=2021,
            quality={"P1": Decimal("0.9")},
        )[0]
        for draws in result.draws.values():
            n = len(draws.target_cents)
            table = pa.table(
                {
                    "partnership_id": ["P1"] * n,
                    "n_members": [result.n_members] * n,
                    "target_usd": [str(Decimal(int(c)).scaleb(-2)) for c in draws.target_cents],
                    "observed_usd": [str(Decimal(int(c)).scaleb(-2)) for c in draws.observed_cents],
                    "performance_year": [2021] * n,
                    "quality_score": ["0.9"] * n,
                }
            )
            assert np.array_equal(settle_table(table, found).payment_cents, draws.payment_cents)


def test_both_conditionings_start_from_the_data_as_observed() -> None:
    for result in run(state(40), plain()):
        fixed, moving = result.draws["target_fixed"], result.draws["target_resampled"]
        assert fixed.target_cents[0] == moving.target_cents[0] == result.target_cents
        for draws in (fixed, moving):
            assert len(set(draws.target_cents.tolist())) > 30
        assert np.array_equal(fixed.observed_cents, moving.observed_cents)
        for draws in (fixed, moving):
            assert draws.payment_cents[0] == result.payment_cents
            assert draws.savings_cents[0] == result.savings_cents
            assert np.array_equal(draws.savings_cents, draws.target_cents - draws.observed_cents)


def test_dollars_are_at_the_observed_member_months() -> None:
    """Twice everybody in a replicate is the same cost per month, so the same dollars."""
    totals = state(1)
    totals.values[:, :, 1] = 2 * totals.values[:, :, 0]
    for result in run(totals, plain()):
        for draws in result.draws.values():
            assert draws.observed_cents[0] == draws.observed_cents[1]
            assert draws.target_cents[0] == draws.target_cents[1]


def test_observed_dollars_are_the_claims_to_the_cent() -> None:
    totals = state()
    for g, result in enumerate(run(totals, plain())):
        assert result.observed_cents == totals.column("perf_cost_r0")[g].sum()
        assert result.member_months == totals.column("perf_months")[g].sum()


def test_the_target_weighs_rate_cells_by_the_performance_year() -> None:
    """Risk aside, each cell's base per month times its months of the performance year."""
    totals = state()
    result = run(totals, plain().override({"risk.model": "none"}))[0]
    expected = sum(
        30_000 * months if cell == CHILD else 60_000 * months
        for cell, months in ((CHILD, 12_600), (ADULT, 12_600))
    )
    assert result.target_cents == expected
    assert result.risk_ratio == 1.0


def test_risk_is_relative_to_the_state_in_each_year() -> None:
    """Scores that creep up everywhere by the same factor move no target."""
    totals = state()
    before = [result.target_cents for result in run(totals, plain())]
    totals.values[:, :, :, 3] = totals.values[:, :, :, 3] * 11 // 10
    assert [result.target_cents for result in run(totals, plain())] == before
    own = plain().override({"risk.normalise": "none"})
    assert all(a.target_cents != b for a, b in zip(run(totals, own), before, strict=True))


@pytest.mark.parametrize("by", ["rate_cell", "partnership"])
def test_the_risk_ratio_is_capped_both_ways(by: str) -> None:
    found = plain().override({"risk.normalise": "none", "target.risk_ratio_cap_by": by})
    capped = found.override(
        {"target.risk_ratio_cap_up": "0.03", "target.risk_ratio_cap_down": "0.01"}
    )
    totals = state()
    totals.values[0, :, :, 3] = totals.values[0, :, :, 2] * ONE * 12 // 10
    totals.values[1, :, :, 3] = totals.values[1, :, :, 2] * ONE * 8 // 10
    assert [round(result.risk_ratio, 4) for result in run(totals, found)] == [1.2, 0.7843]
    assert [round(result.risk_ratio, 4) for result in run(totals, capped)] == [1.03, 0.99]


def test_a_cell_without_base_months_borrows_its_base_and_is_counted() -> None:
    totals = state(2)
    totals.values[0, ADULT, 1, [0, 1, 4]] = 0
    unblended = plain(risk__model="none", target__cell_credibility="none")
    borrowed = run(totals, unblended)[0]
    assert borrowed.empty_cell_replicates == 1
    other = unblended.override({"target.empty_cell": "partnership"})
    assert run(totals, other)[0].target_cents == borrowed.target_cents
    assert (
        run(totals, other)[0].draws["target_resampled"].target_cents[1]
        < borrowed.draws["target_resampled"].target_cents[1]
    ), "children cost half of what adults cost in the state"


def test_a_replicate_that_draws_nobody_is_zero_and_no_error() -> None:
    totals = state(1)
    totals.values[0, :, 1] = 0
    draws = run(totals, plain())[0].draws["target_resampled"]
    assert draws.target_cents[1] == draws.payment_cents[1] == draws.savings_rate[1] == 0


def test_an_agreed_base_sets_the_level_and_keeps_the_shape() -> None:
    found = plain().override({"risk.model": "none", "target.base_pmpm_fixed": "450"})
    result = run(state(), found)[0]
    assert result.base_pmpm_usd == 450
    assert result.target_cents == 45_000 * 25_200
    walk = {row.step: row for row in result.walk}
    assert walk["agreed_base"].amount_cents == 45_000 * 25_200
    assert "+$0.00 against the recomputed base" in walk["agreed_base"].detail


def test_the_market_s_trend_is_that_of_the_comparison_population() -> None:
    """The comparison population's cost per month, risk-adjusted in both years, over its base."""
    found = contract.load("northwest-metro-alliance").override({"risk.model": "none"})
    totals = state()
    totals.values[2, :, :, [1, 3]] = totals.values[2, :, :, [0, 2]] * ONE
    totals.values[2, :, :, 5] = totals.values[2, :, :, 5] * 11 // 10
    base = totals.values[2, :, 0, 4].sum() / totals.values[2, :, 0, 0].sum()
    performance = totals.values[2, :, 0, 5].sum() / totals.values[2, :, 0, 2].sum()
    result = run(totals, found)[0]
    assert result.target_cents == pytest.approx(45_000 * 25_200 * performance / base, abs=1)
    prescribed = run(totals, found.override({"target.trend": "0"}))[0]
    assert prescribed.target_cents == 45_000 * 25_200


def test_a_market_trend_needs_a_market() -> None:
    totals = state()
    totals.values[2] = 0
    found = contract.load("northwest-metro-alliance")
    with pytest.raises(ContractError, match="found no months of COMPARISON in the base year"):
        run(totals, found)
    assert run(totals, found.override({"target.trend": "0.04"}))


def test_incomplete_claims_are_completed() -> None:
    full = run(state(), plain())[0]
    found = plain().override({"target.completion": "0.98", "observed.completion": "0.95"})
    result = run(state(), found)[0]
    assert result.target_cents == pytest.approx(full.target_cents / 0.98, abs=1)
    assert result.observed_cents == pytest.approx(full.observed_cents / 0.95, abs=1)


def test_trends_compound_by_year_and_rate_cell(tmp_path: Path) -> None:
    path = tmp_path / "trends.toml"
    path.write_text(
        """
name = "trends"
title = "Trends by year and cell"
programme = "test"
extends = "mn-ihp-2.0-track-2"
[target.trend]
unit = "ratio per year"
basis = "assumed"
source = { doc = "facts", at = "test" }
values = [
    { value = 0.04, from = 2018-01-01, until = 2020-12-31 },
    { value = 0.05, from = 2021-01-01 },
    { value = 0.10, from = 2021-01-01, cells = ["child_ffs"] },
]
"""
    )
    agreement = contract.load(path).at(2021)
    assert trend_factor(agreement, "adult_ffs", 2019, 2021) == Decimal("1.04") * Decimal("1.05")
    assert trend_factor(agreement, "child_ffs", 2019, 2021) == Decimal("1.04") * Decimal("1.10")
    with pytest.raises(ContractError, match=r"target\.trend: found no value for 2016"):
        trend_factor(agreement, "child_ffs", 2015, 2021)


def test_merged_rate_cells_have_one_base() -> None:
    merged = ["+".join(RATE_CELLS)]
    result = run(state(), plain().override({"risk.model": "none", "target.rate_cells": merged}))[0]
    assert result.target_cents == 45_000 * 25_200


def test_a_rate_cell_that_the_contract_does_not_list_is_refused() -> None:
    found = plain().override({"target.rate_cells": ["child_ffs"]})
    with pytest.raises(
        ContractError, match=r"P1 has months in .*_\w+, rate cells that the contract does not list"
    ):
        run(state(), found)


def test_a_small_partnership_is_flagged_and_settled() -> None:
    first, second = run(state(), plain(settlement__gate__loss_rate="0"))
    assert first.below_minimum_size
    assert not second.below_minimum_size
    assert first.payment_cents != 0


def test_a_cap_of_core_cost_refers_to_cost_before_the_claims_cap() -> None:
    """Capped 12,600 x $320 + 12,600 x $620 = $11,844,000; the claims cap took $156,000.

    1 % of $12,000,000 binds, in every draw; core cost that the contract states goes before it.
    """
    found = plain(target__trend="0.2", settlement__gain__cap_of_core_cost="0.01")
    totals = replace(state(replicates=5), taken_cents=np.array([[156_000_00], [0], [0], [0]]))
    one = run(totals, found)[0]
    assert one.payment_cents == 120_000_00
    assert one.draws["target_resampled"].payment_cents.tolist() == [120_000_00] * 6
    (line,) = (row for row in one.walk if row.step == "cap")
    assert "cost before the claims cap, $12,000,000.00, stands for it" in line.detail
    stated = found.override({"settlement.core_cost_usd": "9000000"})
    assert run(totals, stated)[0].payment_cents == 90_000_00


def test_different_contracts_settle_side_by_side() -> None:
    contracts = {
        "P1": contract.load("mn-ihp-1.0").override({"agreement.first_performance_year": 2021}),
        "P2": contract.load("mn-ihp-2.0-track-1").override({"cost.claim_cap": "200000"}),
    }
    results = settle(
        state(),
        ContractSet("state", contracts),
        base_year=2020,
        performance_year=2021,
        quality=dict.fromkeys(contracts, Decimal(1)),
    )
    assert [result.contract for result in results] == ["mn-ihp-1.0", "mn-ihp-2.0-track-1"]
    assert results[0].payment_cents > 0, "a first year shares gains"
    assert results[1].payment_cents == 0, "track 1 is a shadow settlement"
    assert results[0].draft.startswith("DRAFT TERMS: ")


@pytest.mark.parametrize("name", ["mn-ihp-2.0-track-2", "cms-mssp-basic-e"])
@pytest.mark.parametrize("scores", [("0.9", "0.4"), ("0.9", None), (None, None)])
def test_partnerships_of_one_contract_settle_as_each_alone(
    name: str, scores: tuple[str | None, str | None]
) -> None:
    """They may share a program; score and size stay each one's own."""
    found = contract.load(name).override({"settlement.quality.missing": "full"})
    quality = {p: Decimal(s) if s else None for p, s in zip(("P1", "P2"), scores, strict=True)}
    totals = state(20)
    totals.n_members[:2] = 5_200, 8_000

    def settled(*partnerships: str) -> list[Settled]:
        contracts = ContractSet("test", dict.fromkeys(partnerships, found))
        return settle(totals, contracts, base_year=2020, performance_year=2021, quality=quality)

    together, alone = settled("P1", "P2"), [*settled("P1"), *settled("P2")]
    for one, other in zip(together, alone, strict=True):
        assert one.walk == other.walk
        for conditioning, draws in one.draws.items():
            theirs = other.draws[conditioning]
            assert np.array_equal(draws.payment_cents, theirs.payment_cents)


def test_each_payer_pays_its_part_to_the_cent() -> None:
    """Two cells of equal months, one of them managed care: by months a half each, by cost not."""
    by_months = run(
        state(), plain(settlement__gate__gain_rate="0", settlement__gate__loss_rate="0")
    )
    by_cost = run(
        state(),
        plain(
            settlement__gate__gain_rate="0", settlement__gate__loss_rate="0", payers__split="cost"
        ),
    )
    for months, cost in zip(by_months, by_cost, strict=True):
        assert sum(months.payer_cents.values()) == months.payment_cents
        assert sum(cost.payer_cents.values()) == cost.payment_cents
        ffs, managed = months.payer_cents["ffs"], months.payer_cents["managed"]
        assert abs(ffs - managed) <= 1
        assert abs(cost.payer_cents["managed"]) > abs(cost.payer_cents["ffs"])
    assert run(state(), contract.load("northwest-metro-alliance"))[0].payer_cents == {}
