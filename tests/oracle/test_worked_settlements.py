"""Settlements worked by hand: two small cases and the statute's table.

Sources: a constructed partnership with its target walk; Axene Health Partners, "Minimum Savings
Rates"; 42 U.S.C. 18062(b).
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ihp_compute import contracts
from ihp_compute.codes import RATE_CELLS
from ihp_compute.contracts import Contract, ContractSet
from ihp_compute.settlement.given import settle_table
from ihp_compute.settlement.settle import Settled, settle
from ihp_compute.uncertainty.totals import Totals, column_names

MONTHS = 276_000
BASE_PMPM = "402.15"
POLICY = "1.011"
BASE_RISK, PERFORMANCE_RISK = 1_031_200, 1_054_700


def constructed(tmp_path: Path, *, rounded: bool = True, more: str = "") -> Contract:
    """Trend 4.2 % a year, a policy factor, a risk ratio, and the target PMPM in cents."""
    path = tmp_path / "constructed.toml"
    path.write_text(
        f"""
name = "constructed"
title = "Constructed partnership"
programme = "test"
extends = "mn-ihp-2.0-track-2"
[target.policy.fee_schedule]
value = {POLICY}
unit = "factor"
from = 2018-01-01
basis = "assumed"
source = {{ doc = "facts", at = "4.4" }}
[target.rounding]
value = "{"cents" if rounded else "none"}"
unit = "choice"
from = 2018-01-01
basis = "assumed"
source = {{ doc = "facts", at = "4.4" }}
[risk.normalise]
value = "none"
unit = "choice"
from = 2018-01-01
basis = "assumed"
source = {{ doc = "facts", at = "4.4" }}
[settlement.quality.weight]
value = "none"
unit = "ratio"
from = 2018-01-01
basis = "assumed"
source = {{ doc = "facts", at = "4.4" }}
{more}"""
    )
    return contracts.load(path)


def totals(observed_pmpm: str) -> Totals:
    """One partnership in one rate cell: 276,000 member months in either year."""
    values = np.zeros((3, len(RATE_CELLS), 2, 6), np.int64)
    values[0, 0, :] = [
        MONTHS,
        MONTHS * BASE_RISK,
        MONTHS,
        MONTHS * PERFORMANCE_RISK,
        int(Decimal(BASE_PMPM) * 100) * MONTHS,
        int(Decimal(observed_pmpm) * 100) * MONTHS,
    ]
    return Totals(
        groups=("P", "COMPARISON", "UNATTRIBUTED"),
        columns=column_names(1),
        values=values,
        n_members=np.array([25_000, 0, 0]),
        taken_cents=np.zeros((3, 1), np.int64),
    )


def settled(found: Contract, observed_pmpm: str, quality: str | None = None) -> Settled:
    (result,) = settle(
        totals(observed_pmpm),
        ContractSet("test", {"P": found}),
        base_year=2019,
        performance_year=2021,
        quality={"P": None if quality is None else Decimal(quality)},
    )
    return result


def test_the_constructed_target_in_both_roundings(tmp_path: Path) -> None:
    """402.15 x 1.085764 x 1.011 x 1.02278898 = 451.5030706; the rounding is worth $847."""
    assert settled(constructed(tmp_path), "432.80").target_cents == 124_614_000_00
    exact = settled(constructed(tmp_path, rounded=False), "432.80")
    assert exact.target_cents == 124_614_847_48
    assert exact.risk_ratio == pytest.approx(1.0227890, abs=5e-8)


@pytest.mark.parametrize(
    ("pmpm", "savings", "rate", "passed", "first_dollar", "excess"),
    [
        ("432.80", 5_161_200, 0.041417, True, 2_580_600, 1_334_460),
        ("446.00", 1_518_000, 0.012182, False, 0, 0),
        ("466.00", -4_002_000, -0.032115, True, -2_001_000, -754_860),
        ("380.00", 19_734_000, 0.158361, True, 9_867_000, 8_620_860),
    ],
)
def test_the_constructed_settlement(
    tmp_path: Path,
    pmpm: str,
    savings: int,
    rate: float,
    passed: bool,
    first_dollar: int,
    excess: int,
) -> None:
    result = settled(constructed(tmp_path), pmpm)
    assert result.savings_cents == savings * 100
    assert result.savings_rate == pytest.approx(rate, abs=1e-6)
    assert result.gate_passed == passed
    assert result.payment_cents == first_dollar * 100
    only_excess = constructed(tmp_path).override(
        {"settlement.gain.counting": "excess", "settlement.loss.counting": "excess"}
    )
    assert settled(only_excess, pmpm).payment_cents == excess * 100


def test_the_constructed_settlement_misses_its_gate_by(tmp_path: Path) -> None:
    assert settled(constructed(tmp_path), "446.00").missed_by_cents == (2_492_280 - 1_518_000) * 100


@pytest.mark.parametrize(("share", "owed"), [("0.25", 1_000_500), ("0", 0)])
def test_losses_at_two_to_one_and_in_the_first_year(tmp_path: Path, share: str, owed: int) -> None:
    found = constructed(tmp_path).override({"settlement.loss.share": share})
    assert settled(found, "466.00").payment_cents == -owed * 100


def test_the_constructed_cap_of_target(tmp_path: Path) -> None:
    found = constructed(tmp_path).override({"settlement.gain.cap_of_target": "0.05"})
    assert settled(found, "380.00").payment_cents == 6_230_700 * 100


def test_the_constructed_quality_score(tmp_path: Path) -> None:
    """2,580,600 x (0.5 + 0.5 x 0.82)."""
    found = constructed(tmp_path).override({"settlement.quality.weight": "0.5"})
    assert settled(found, "432.80", "0.82").payment_cents == 2_348_346 * 100


def test_the_walk_adds_up(tmp_path: Path) -> None:
    """The base and its changes make the target; the share and its changes the payment."""
    found = constructed(tmp_path).override(
        {"settlement.quality.weight": "0.5", "target.base_pmpm_fixed": "410.00"}
    )
    walk = {row.step: row.amount_cents for row in settled(found, "432.80", "0.82").walk}
    assert walk["recomputed_base"] == 402_15 * MONTHS
    assert walk["agreed_base"] == 410_00 * MONTHS
    changes = ("trend", "policy", "completion", "rate_mix", "risk")
    assert walk["agreed_base"] + sum(walk[step] for step in changes) == walk["target"]
    assert walk["target"] - walk["observed"] == walk["savings"]
    after = ("share", "quality", "withhold", "cap", "adjustments")
    assert sum(walk[step] for step in after) == walk["payment"]


def test_every_step_of_the_walk_is_there(tmp_path: Path) -> None:
    steps = [row.step for row in settled(constructed(tmp_path), "432.80").walk]
    assert steps == [
        "agreed_base", "recomputed_base", "credibility", "trend", "policy", "completion",
        "rate_mix", "risk", "target", "observed", "savings", "gate", "share",
        "quality", "withhold", "cap", "adjustments", "payment",
    ]  # fmt: skip


def test_a_published_example_misses_its_gate() -> None:
    """Target $500.00, actual $495.50, 125,000 months, half shared: $281,250, but a gate of 1 %."""
    table = pa.table(
        {
            "partnership_id": ["no gate", "gate of 1 %", "at the gate"],
            "n_members": [10_417] * 3,
            "target_usd": [62_500_000] * 3,
            "observed_usd": ["61937500", "61937500", "61875000"],
            "settlement.gate.gain_rate": ["0", "0.01", "0.01"],
            "quality_score": ["1", "1", "1"],
        }
    )
    rows = settle_table(table, "mn-ihp-2.0-track-2").table.to_pylist()
    assert [row["savings_usd"] for row in rows] == [562_500, 562_500, 625_000]
    assert [row["payment_usd"] for row in rows] == [281_250, 0, 312_500]
    assert [row["gate_passed"] for row in rows] == [True, False, True]


@pytest.mark.parametrize(
    ("cost", "paid"),
    [
        (110, "4.10"), (108, "2.50"), (105, "1.00"), (103, "0"), (100, "0"), (97, "0"),
        (95, "-1.00"), (92, "-2.50"), (90, "-4.10"),
    ],
)  # fmt: skip
def test_the_statute_s_corridor(cost: int, paid: str) -> None:
    """42 U.S.C. 18062(b) on a target of 100: paid to the plan, or by it."""
    table = pa.table(
        {
            "partnership_id": ["plan"],
            "n_members": [1000],
            "target_usd": [100],
            "observed_usd": [cost],
            "performance_year": [2015],
        }
    )
    (row,) = settle_table(table, "aca-1342").table.to_pylist()
    assert Decimal(str(row["payment_usd"])) == Decimal(paid)


def test_a_medicaid_accountable_organisation_as_published() -> None:
    """MassHealth C3, 2018: two thirds of 12.2 million; Maine counts 5 % and caps at 1 % of cost."""
    table = pa.table(
        {
            "partnership_id": ["C3", "Maine"],
            "contract": ["massachusetts-medicaid-aco", "maine-accountable-communities"],
            "n_members": [100_000, 20_000],
            "target_usd": [533_600_000, 100_000_000],
            "observed_usd": [521_400_000, 90_000_000],
            "quality_score": ["1", "0.8"],
            "performance_year": [2018, 2018],
            "settlement.core_cost_usd": [None, "95000000"],
        }
    )
    massachusetts, maine = settle_table(table, "mn-ihp-1.0").table.to_pylist()
    assert massachusetts["payment_usd"] == pytest.approx(8_100_000, abs=50_000)
    assert maine["share_usd"] == 1_600_000
    assert maine["payment_usd"] == 950_000


def test_a_vermont_organisation_bears_three_per_cent_and_no_more() -> None:
    table = pa.table(
        {
            "partnership_id": ["within", "beyond", "saved"],
            "n_members": [10_000] * 3,
            "target_usd": [100_000_000] * 3,
            "observed_usd": [102_000_000, 107_000_000, 92_000_000],
        }
    )
    rows = settle_table(table, "vermont-medicaid-aco").table.to_pylist()
    assert [row["payment_usd"] for row in rows] == [-2_000_000, -3_000_000, 3_000_000]
