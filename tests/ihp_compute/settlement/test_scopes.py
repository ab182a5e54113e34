"""Partnerships drawn together: cents summed by replicate, and what the state bears of a payment."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute import contracts
from ihp_compute.codes import RATE_CELLS
from ihp_compute.contracts import Contract, ContractSet
from ihp_compute.results.scopes import MEASURES, interval_rows, scope_rows
from ihp_compute.settlement import CONDITIONINGS, Settled, scopes_of
from ihp_compute.settlement.federal import net_of_federal
from ihp_compute.settlement.settle import settle
from ihp_compute.uncertainty.totals import Totals, column_names

GROUPS = ("North", "South", "West", "COMPARISON", "UNATTRIBUTED")
CHILD, EXPANSION = RATE_CELLS.index("child_ffs"), RATE_CELLS.index("expansion_managed")
ONE = 1_000_000
LEVELS = (Decimal("0.80"), Decimal("0.90"), Decimal("0.95"))
OTHERS = {
    "aca-1342": "Affordable Care Act, temporary risk corridors",
    "mn-ihp-1.0": "Minnesota Integrated Health Partnerships",
    "mn-ihp-2.0-track-2": "Minnesota Integrated Health Partnerships",
}


def state(replicates: int = 60) -> Totals:
    """Two rate cells; North saves, South loses, West is near its gate."""
    rng = np.random.default_rng(5)
    values = np.zeros((len(GROUPS), len(RATE_CELLS), replicates + 1, 6), np.int64)
    for g in range(len(GROUPS)):
        for cell, pmpm in ((CHILD, 30_000), (EXPANSION, 60_000)):
            months = 12_000 * (g + 1)
            spent = (months + 600) * (pmpm + 2_000 * (g - 1))
            observed = np.array(
                [months, months * ONE, months + 600, (months + 600) * ONE, months * pmpm, spent]
            )
            values[g, cell, 0] = observed
            values[g, cell, 1:] = np.rint(observed * rng.normal(1, 0.02, (replicates, 6)))
    people = np.array([2_000, 4_000, 6_000, 8_000, 10_000])
    return Totals(GROUPS, column_names(1), values, people, np.zeros((len(GROUPS), 1), np.int64))


def settled(*of: Contract, replicates: int = 60) -> list[Settled]:
    return settle(
        state(replicates),
        ContractSet("test", dict(zip(GROUPS, of, strict=False))),
        base_year=2019,
        performance_year=2021,
        quality=dict.fromkeys(GROUPS[: len(of)], Decimal("0.9")),
    )


def three(**overrides: Any) -> list[Settled]:
    """A partnership under each of three contracts of two programmes."""
    moved = {"cost.claim_cap": "none"}  # one cost of everybody
    moved |= {path.replace("__", "."): value for path, value in overrides.items()}
    return settled(*(contracts.load(name).override(moved) for name in sorted(OTHERS)))


def selected(draws: np.ndarray, p: Decimal) -> float:
    """The k-th smallest, k = max(1, ceil(p B))."""
    return float(np.sort(draws)[max(1, math.ceil(p * len(draws))) - 1])


def test_an_interval_of_the_state_is_of_joint_draws() -> None:
    """By hand: cents summed over partnerships in each replicate, then sorted."""
    own = three(state__federal_share="0.6")
    found = {
        (r["measure"], r["conditioning"], round(r["level"], 2)): r
        for r in interval_rows(scopes_of(own))
        if (r["scope"], r["method"]) == ("state", "percentile")
    }
    assert len(found) == len(MEASURES) * len(CONDITIONINGS) * len(LEVELS)
    apart = 0
    for conditioning in CONDITIONINGS:
        draws = [one.draws[conditioning] for one in own]
        sums: dict[str, Any] = {
            name: sum(np.array(getattr(one, name), dtype=object) for one in draws)
            for name in ("target_cents", "savings_cents", "payment_cents", "state_net_cents")
        }
        sums["savings_rate"] = sums["savings_cents"] / sums["target_cents"]
        for measure in MEASURES:
            values = sums[measure].astype(float)
            for level in LEVELS:
                row = found[measure, conditioning, float(level)]
                assert row["point"] == values[0]
                assert row["low"] == selected(values[1:], (1 - level) / 2)
                assert row["high"] == selected(values[1:], (1 + level) / 2)
                assert row["std_error"] == pytest.approx(values[1:].std(ddof=1), rel=1e-6)
                ends = sum(selected(getattr(one, measure)[1:], (1 - level) / 2) for one in draws)
                apart += ends != row["low"]
    assert apart > len(found) / 2


def test_scopes_foot_to_what_settles() -> None:
    own = three(state__federal_share="0.5")
    rows = list(scope_rows(scopes_of(own)))
    assert [(r["scope"], r["scope_id"]) for r in rows] == [
        *(("partnership", p) for p in GROUPS[:3]),
        ("attributed", "attributed"),
        *(("programme", p) for p in sorted(set(OTHERS.values()))),
        *(("track", name) for name in sorted(OTHERS)),
        ("state", "state"),
    ]
    names = set(rows[0]) - {"scope", "scope_id"}
    whole = {name: sum(getattr(one, name) for one in own) for name in names}
    for scope in ("partnership", "attributed", "programme", "track", "state"):
        assert whole == {n: sum(r[n] for r in rows if r["scope"] == scope) for n in names}
    minnesota = next(r for r in rows if r["scope_id"] == OTHERS["mn-ihp-1.0"])
    assert minnesota["payment_cents"] == own[1].payment_cents + own[2].payment_cents
    assert minnesota["n_members"] == 4_000 + 6_000


def test_flags_of_a_sum_are_those_of_its_partnerships() -> None:
    own = three()
    own[0] = replace(own[0], below_minimum_size=True, thin_cells={"child_ffs": 40})
    flags = {(r["scope"], r["partnership_id"]): r["flag"] for r in interval_rows(scopes_of(own))}
    assert flags["state", "state"] == flags["partnership", "North"]
    assert flags["state", "state"] == "below_minimum_size thin_cell"
    assert flags["partnership", "South"] == flags["track", "mn-ihp-1.0"] == ""


SHARES = """
name      = "shares"
title     = "A federal share of each kind of rate cell"
programme = "none"
extends   = "mn-ihp-2.0-track-2"

[state.federal_share]
unit   = "ratio"
basis  = "assumed"
source = { doc = "facts", at = "Rate cells" }
values = [
    { value = 0.5, from = 2018-01-01 },
    { value = 0.7, from = 2018-01-01, contract_year = 4, cells = ["child_ffs"] },
    { value = 0.9, from = 2018-01-01, cells = ["expansion_ffs", "expansion_managed"] },
    { value = "none", from = 2018-01-01, cells = ["disabled_ffs"] },
]

[agreement.first_performance_year]
value  = 2020
unit   = "year"
from   = 2018-01-01
basis  = "assumed"
source = { doc = "facts", at = "Rate cells" }
"""


def test_what_the_state_bears_follows_the_target_s_rate_cells(tmp_path: Path) -> None:
    """Half of children's dollars and nine tenths of the expansion's are federal."""
    file = tmp_path / "shares.toml"
    file.write_text(SHARES, encoding="utf-8")
    own = settled(*[contracts.load(file).override({"target.trend": "0"})] * 3)
    assert own[0].payment_cents > 0 > own[2].payment_cents
    for one in own:
        target = {cell.rate_cell: cell.target_cents for cell in one.cells}
        assert {cell for cell, cents in target.items() if cents} == {
            "child_ffs", "expansion_managed",
        }  # fmt: skip
        share = (
            Decimal("0.5") * target["child_ffs"] + Decimal("0.9") * target["expansion_managed"]
        ) / one.target_cents
        assert one.federal_share == pytest.approx(float(share), rel=1e-15)
        assert 0.5 < one.federal_share < 0.9
        for draws in one.draws.values():
            for payment, net in zip(
                draws.payment_cents.tolist(), draws.state_net_cents.tolist(), strict=True
            ):
                federal = Decimal(payment * one.federal_share).to_integral_value(ROUND_HALF_EVEN)
                assert net == payment - int(federal)
        assert one.state_net_cents == one.draws["target_fixed"].state_net_cents[0]


def test_without_a_federal_share_the_state_bears_all() -> None:
    for one in three():
        assert one.federal_share == 0
        for draws in one.draws.values():
            assert np.array_equal(draws.state_net_cents, draws.payment_cents)


def test_the_federal_share_moves_no_payment_and_is_in_the_digest() -> None:
    """A share is a term: another contract, the same dollars to partnerships."""
    plain, shared = three(), three(state__federal_share="0.55")
    assert [one.payment_cents for one in plain] == [one.payment_cents for one in shared]
    first = contracts.load("mn-ihp-1.0")
    assert first.sha256 != first.override({"state.federal_share": "0.55"}).sha256


CENTS = st.integers(-(10**12), 10**12)


@given(cents=st.lists(CENTS, min_size=1), share=st.floats(0, 1))
def test_the_federal_part_and_the_state_s_are_the_payment(cents: list[int], share: float) -> None:
    payment = np.array(cents, np.int64)
    net = net_of_federal(payment, share)
    assert net.dtype == np.int64
    assert np.array_equal(net_of_federal(-payment, share), -net)  # what is owed is divided alike
    assert (np.abs(net) <= np.abs(payment)).all()
    assert (net * np.sign(payment) >= 0).all()
    federal = [round(one * share) for one in cents]
    assert [a + b for a, b in zip(net.tolist(), federal, strict=True)] == cents


@given(
    order=st.permutations(range(3)),
    shares=st.lists(st.decimals(0, 1, places=3), min_size=3, max_size=3),
)
def test_the_state_does_not_hang_on_the_order_of_partnerships(
    order: list[int], shares: list[Decimal]
) -> None:
    names = sorted(OTHERS)
    own = settled(
        *(
            contracts.load(name).override(
                {"cost.claim_cap": "none", "state.federal_share": str(share)}
            )
            for name, share in zip(names, shares, strict=True)
        ),
        replicates=3,
    )
    there, again = (
        next(s for s in scopes_of(given) if s.scope == "state")
        for given in (own, [own[k] for k in order])
    )
    for conditioning in CONDITIONINGS:
        for name, values in vars(there.draws[conditioning]).items():
            assert np.array_equal(values, getattr(again.draws[conditioning], name)), name
