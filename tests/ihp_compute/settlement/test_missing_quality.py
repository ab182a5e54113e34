"""A quality score that is missing pays nothing by itself: the contract says what it is, or nobody.

Half of a gain rests on the score (mn-ihp-2.0-track-2): 100,000 saved of a million, half shared.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute import contracts
from ihp_compute.contracts import MISSING_QUALITY_TERM, Contract, QualityScores, rests_on_quality
from ihp_compute.errors import ContractError, MissingQualityError
from ihp_compute.settlement.given import SettledTable, settle_table

HALF = "mn-ihp-2.0-track-2"


def settled(found: Contract | str, *scores: str | None, **columns: Any) -> SettledTable:
    n = len(scores)
    table = {
        "partnership_id": [f"IHP-{i}" for i in range(n)],
        "n_members": [8_000] * n,
        "target_usd": [1_000_000] * n,
        "observed_usd": [900_000] * n,
        "quality_score": pa.array(scores, pa.string()),
        **{name.replace("__", "."): values for name, values in columns.items()},
    }
    return settle_table(pa.table(table), found, where="table.csv")


def under(policy: str, **more: str) -> Contract:
    more = {path.replace("__", "."): value for path, value in more.items()}
    return contracts.load(HALF).override({MISSING_QUALITY_TERM: policy, **more})


def payments(done: SettledTable) -> list[float]:
    found: list[float] = done.table.column("payment_usd").to_pylist()
    return found


def test_a_missing_score_is_refused_by_name() -> None:
    with pytest.raises(MissingQualityError) as refused:
        settled(HALF, "0.8", "", " ", None)
    assert "IHP-1, IHP-2, IHP-3 (mn-ihp-2.0-track-2)" in str(refused.value)
    assert "settlement.quality.missing" in str(refused.value)
    assert "IHP-0" not in str(refused.value)


def test_a_table_without_scores_is_refused_too() -> None:
    table = settled(under("full"), "1", "1").table.select(
        ["partnership_id", "n_members", "target_usd", "observed_usd"]
    )
    with pytest.raises(MissingQualityError, match="no column quality_score; found no quality"):
        settle_table(table, HALF)


@pytest.mark.parametrize(
    ("policy", "paid", "moved"),
    [
        ("full", 50_000, "$25,000.00 more than at score 0"),
        ("none", 25_000, "-$25,000.00 more than with the share whole"),
        ("average", 45_000, "$20,000.00 more than at score 0"),  # mean of 0.7 and 0.9
    ],
)
def test_a_missing_score_is_what_the_contract_says(policy: str, paid: float, moved: str) -> None:
    done = settled(under(policy), "0.7", "0.9", "")
    assert payments(done) == [42_500, 47_500, paid]
    assert done.table.column("quality_fill").to_pylist() == [None, None, policy]
    (note,) = (note for note in done.notes if "without quality_score" in note)
    assert f"1 row of {HALF}" in note
    assert moved in note


def test_nothing_is_said_where_nothing_is_missing() -> None:
    done = settled(under("none"), "0.7", "0.9")
    assert "quality_fill" not in done.table.column_names
    assert done.notes == ()


def test_a_row_may_say_what_its_missing_score_is() -> None:
    done = settled(HALF, "", "", settlement__quality__missing=["full", "none"])
    assert payments(done) == [50_000, 25_000]


def test_the_mean_is_of_the_same_contract_and_year() -> None:
    done = settled(
        HALF, "0.2", "1.0", "",
        performance_year=[2023, 2024, 2024],
        settlement__quality__missing=["average"] * 3,
    )  # fmt: skip
    assert payments(done)[2] == 50_000


def test_a_mean_of_nobody_is_refused() -> None:
    with pytest.raises(ContractError, match="no partnership under the contract has a quality"):
        settled(under("average"), "", "")


def test_score_zero_is_below_a_floor_and_reduces_no_loss() -> None:
    """Maine: losses shrink with the score; a floor takes the whole gain from score 0."""
    assert payments(settled(under("none", settlement__quality__floor="0.3"), "")) == [0]
    maine = contracts.load("maine-accountable-communities")
    rows = {"observed_usd": [1_100_000], "settlement__core_cost_usd": ["1000000"]}
    full, none = (
        payments(settled(maine.override({MISSING_QUALITY_TERM: policy}), "", **rows))[0]
        for policy in ("full", "none")
    )
    assert full == none < 0


def test_a_contract_on_which_no_score_bears_needs_none() -> None:
    assert payments(
        settled(contracts.load(HALF).override({"settlement.quality.weight": "none"}), "")
    )
    assert payments(settled(contracts.load(HALF).override({"settlement.quality.weight": "0"}), ""))
    without = contracts.load(HALF).override({"settlement.steps": "gate;counting;share"})
    assert payments(settled(without, "")) == [50_000]


def test_a_weight_of_the_row_decides_whether_its_score_is_needed() -> None:
    weights = {"settlement__quality__weight": ["0", "0.4"]}
    with pytest.raises(MissingQualityError) as refused:
        settled(HALF, "", "", **weights)
    assert "IHP-0" not in str(refused.value)
    assert payments(settled(under("none"), "", "", **weights)) == [50_000, 30_000]


def test_a_loss_share_that_follows_the_final_gain_share_rests_on_quality() -> None:
    found = contracts.load("cms-mssp-track-3")
    assert found.at(2019)["settlement.loss.share"] is None
    assert rests_on_quality(found.at(2019))


@given(st.lists(st.none() | st.decimals(0, 1, places=4), min_size=1, max_size=6))
def test_a_fill_lies_between_score_0_and_a_whole_share(scores: list[Decimal | None]) -> None:
    """Own scores stand; the mean of those that are there is one of theirs or between them."""
    agreement = under("average").at(None)
    own = {f"P{i}": score for i, score in enumerate(scores)}
    found = QualityScores.of(own, dict.fromkeys(own, agreement), ())
    present = [score for score in scores if score is not None]
    for name, score in own.items():
        if score is not None:
            assert found.used(name, agreement) == score
        elif present:
            used = found.used(name, agreement)
            assert used is not None
            assert min(present) - Decimal("0.000001") <= used <= max(present) + Decimal("0.000001")
