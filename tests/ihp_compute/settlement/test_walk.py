"""What a walk says of itself: whose rule a line is, how good its source, what the gate came to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ihp_compute import contracts
from ihp_compute.codes import RATE_CELLS
from ihp_compute.contracts import BASES, NO_RULE, ContractSet
from ihp_compute.settlement.settle import Settled, settle
from ihp_compute.settlement.steps import gate_words
from ihp_compute.uncertainty.totals import Totals, column_names

GROUPS = ("P1", "COMPARISON", "UNATTRIBUTED")
FULL = {"settlement.quality.missing": "full"}


def settled(name: str, *, months: int = 12_000, year: int = 2021, **values: Any) -> Settled:
    """P1 with one rate cell, $300 and then $290 a month; the comparison has the same."""
    totals = np.zeros((len(GROUPS), len(RATE_CELLS), 1, 6), np.int64)
    for g in range(len(GROUPS)):
        n = months if g == 0 else 12_000
        totals[g, 0, 0] = [n, n * 1_000_000, n, n * 1_000_000, n * 30_000, n * 29_000]
    people = np.array([months // 12, 1_000, 1_000])
    given = Totals(GROUPS, column_names(1), totals, people, np.zeros((3, 1), np.int64))
    beside = {path.replace("__", "."): value for path, value in values.items()}
    found = contracts.load(name).override({**FULL, **beside})
    (result,) = settle(
        given, ContractSet("test", {"P1": found}), base_year=year - 2, performance_year=year
    )
    return result


def rows(result: Settled) -> dict[str, Any]:
    return {row.step: row for row in result.walk}


def test_a_line_without_a_rule_says_so() -> None:
    found = rows(settled("mn-ihp-2.0-track-2"))
    for step in ("agreed_base", "policy", "withhold", "cap", "adjustments"):
        assert found[step].amount_cents == 0
        assert (found[step].basis, found[step].citation) == (
            NO_RULE, "no rule in mn-ihp-2.0-track-2",
        )  # fmt: skip


def test_a_step_that_a_contract_does_not_have_is_no_rule() -> None:
    found = rows(settled("aca-1342", year=2016))
    assert found["quality"].basis == NO_RULE
    assert found["quality"].detail == "not a step of this contract"


@pytest.mark.parametrize(
    ("name", "year"),
    [
        ("mn-ihp-2.0-track-2", 2021), ("mn-ihp-1.0", 2015), ("cms-mssp-enhanced", 2023),
        ("cms-reach-global", 2022), ("vermont-medicaid-aco", 2019), ("aca-1342", 2016),
        ("maine-accountable-communities", 2026), ("northwest-metro-alliance", 2013),
    ],
)  # fmt: skip
def test_a_sum_has_the_weakest_basis_of_its_parts(name: str, year: int) -> None:
    """What an actuary signs, target and payment, is no better than what it rests on."""
    walk = settled(name, year=year).walk
    order = [row.step for row in walk]
    target, savings, payment = (order.index(step) for step in ("target", "savings", "payment"))

    def weakest(part: Any) -> str:
        return max((row.basis for row in part if row.basis != NO_RULE), key=BASES.index)

    assert BASES.index(walk[target].basis) >= BASES.index(weakest(walk[:target]))
    assert walk[savings].basis == weakest(walk[target:savings])
    assert BASES.index(walk[payment].basis) >= BASES.index(weakest(walk[savings:payment]))
    for place in (target, savings, payment):
        assert f"{walk[place].basis}: " in walk[place].citation
        assert "no such rule" not in walk[place].citation
    assert walk[savings].citation.startswith("target less observed; ")


def test_the_target_cites_its_rule() -> None:
    row = rows(settled("mn-ihp-2.0-track-2"))["target"]
    assert row.citation.startswith("facts: Rate cells; assumed: ")


def test_a_value_beside_the_contract_shows_in_its_line() -> None:
    row = rows(settled("mn-ihp-2.0-track-2", settlement__gain__share="0.9"))["share"]
    assert (row.basis, row.citation) == ("supplied", "supplied beside the contract")
    assert rows(settled("vermont-medicaid-aco", year=2019))["share"].basis == "carried"


def test_dollars_are_missed_only_where_something_settles() -> None:
    assert gate_words(passed=True, missed_by_cents=0, savings_cents=1, target_cents=9) == "passed"
    assert gate_words(
        passed=False, missed_by_cents=123, savings_cents=1, target_cents=9
    ) == "missed by $1.23"  # fmt: skip
    loss = rows(settled("northwest-metro-alliance", target__trend="-0.4"))["gate"]
    assert loss.detail == "no loss settles"
    assert rows(settled("mn-ihp-2.0-track-2", months=0))["gate"].detail.endswith(": no target")
