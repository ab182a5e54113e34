"""Providers: supplied scores, the missing-member policies, and the refusal to guess."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute.codes import RATE_CELLS
from ihp_compute.errors import DataError, RiskModelError
from ihp_compute.population import Population
from ihp_compute.risk.providers import provider
from ihp_compute.risk.scores import ages_on, enrolled_months
from ihp_compute.units import MICRO, NO_DAY, day_of, month_of


@dataclass
class FakeShard:
    tables: dict[str, dict[str, np.ndarray]]
    starts: dict[str, np.ndarray]
    n_members: int
    index: int = 0

    def column(self, table: str, name: str) -> np.ndarray:
        return self.tables[table][name]

    def offsets(self, table: str) -> np.ndarray:
        return self.starts[table]


@dataclass
class FakePopulation(Population):
    """A population in memory, of the shards given."""

    shards: Any
    models: list[str]
    manifest: dict[str, Any] = field(
        default_factory=lambda: {"service_years": [2023, 2024], "population_digest": "ab"}
    )

    def codes(self, system: str) -> pa.Array:
        assert system == "risk_model"
        return pa.array(["", *self.models])

    def remember(self, _key: Any, make: Callable[[], Any]) -> Any:
        return make()


def shard_of(scores: list[list[tuple[int, int, int]]], sexes: list[int] | None = None) -> FakeShard:
    """One full-year adult FFS span each; `scores` lists (year, model, micro) per member."""
    n = len(scores)
    rows = [row for member in scores for row in member]
    return FakeShard(
        tables={
            "members": {
                "birth_day": np.full(n, day_of(date(1980, 5, 5)), np.int32),
                "sex": np.array(sexes or [1] * n, np.uint8),
            },
            "spans": {
                "first_month": np.full(n, month_of(2024, 1), np.int32),
                "n_months": np.full(n, 12, np.int32),
                "rate_cell": np.full(n, 2, np.uint8),
            },
            "scores": {
                "year": np.array([r[0] for r in rows], np.int16),
                "model": np.array([r[1] for r in rows], np.int32),
                "score_micro": np.array([r[2] for r in rows], np.int64),
                "cell": np.zeros(len(rows), np.int32),
            },
        },
        starts={
            "spans": np.arange(n + 1),
            "scores": np.cumsum([0, *(len(s) for s in scores)]),
        },
        n_members=n,
    )


def months_of(shard: FakeShard) -> np.ndarray:
    return enrolled_months(shard, year=2024)


def test_supplied_scores_are_taken_as_they_stand() -> None:
    shard = shard_of([[(2024, 1, 1_200_000), (2023, 1, 5)], [(2024, 1, 800_000)]])
    found = provider("supplied", FakePopulation((shard,), ["acg"])).score(
        shard, year=2024, cutoff_day=0, months=months_of(shard)
    )
    assert found.score_micro.tolist() == [1_200_000, 800_000]
    assert found.counts == {"n_unscored": 0}
    assert not found.missing.any()


def test_a_member_with_months_and_no_score_is_an_error_by_default() -> None:
    shard = shard_of([[(2024, 1, 1_200_000)], []])
    with pytest.raises(DataError, match="1 members of shard 0"):
        provider("supplied", FakePopulation((shard,), ["acg"])).score(
            shard, year=2024, cutoff_day=0, months=months_of(shard)
        )


def test_a_member_without_months_is_never_missing() -> None:
    shard = shard_of([[(2024, 1, 1_200_000)], []])
    months = months_of(shard)
    months[:, 1] = 0
    found = provider("supplied", FakePopulation((shard,), ["acg"])).score(
        shard, year=2024, cutoff_day=0, months=months
    )
    assert found.score_micro.tolist() == [1_200_000, 0]


def test_the_group_average_is_weighted_by_months_and_counted() -> None:
    first = shard_of([[(2024, 1, 1_000_000)], []])
    second = shard_of([[(2024, 1, 2_000_001)]])
    found = provider(
        "supplied", FakePopulation((first, second), ["acg"]), missing="group_average"
    ).score(first, year=2024, cutoff_day=0, months=months_of(first))
    assert found.score_micro.tolist() == [1_000_000, 1_500_000]
    assert found.counts["n_unscored"] == 1
    assert found.missing.tolist() == [False, True]


def test_a_demographic_cell_is_age_band_and_sex() -> None:
    shard = shard_of([[(2024, 1, 1_000_000)], [(2024, 1, 3_000_000)], []], sexes=[1, 2, 2])
    found = provider(
        "supplied", FakePopulation((shard,), ["acg"]), missing="demographic_cell"
    ).score(shard, year=2024, cutoff_day=0, months=months_of(shard))
    assert found.score_micro.tolist() == [1_000_000, 3_000_000, 3_000_000]


def test_an_empty_cell_is_refused_not_guessed() -> None:
    shard = shard_of([[(2024, 1, 1_000_000)], []], sexes=[1, 2])
    with pytest.raises(DataError, match="nobody in the state of the same age band and sex has"):
        provider("supplied", FakePopulation((shard,), ["acg"]), missing="demographic_cell").score(
            shard, year=2024, cutoff_day=0, months=months_of(shard)
        )


def test_the_rate_cell_of_which_nobody_has_a_score_is_named() -> None:
    """Who has to supply scores knows of which people."""
    shard = shard_of([[], []])
    with pytest.raises(DataError, match=r"2 members .* of the same rate cell \(adult_ffs\) has"):
        provider("supplied", FakePopulation((shard,), ["acg"]), missing="group_average").score(
            shard, year=2024, cutoff_day=0, months=months_of(shard)
        )


def test_two_different_scores_of_one_member_are_refused() -> None:
    shard = shard_of([[(2024, 1, 1_000_000), (2024, 1, 1_000_001)]])
    with pytest.raises(DataError, match="two different scores"):
        provider("supplied", FakePopulation((shard,), ["acg"])).score(
            shard, year=2024, cutoff_day=0, months=months_of(shard)
        )


def test_several_models_need_a_name() -> None:
    shard = shard_of([[(2024, 2, 7)]])
    population = FakePopulation((shard,), ["acg", "cdps"])
    with pytest.raises(RiskModelError, match="name one"):
        provider("supplied", population)
    with pytest.raises(RiskModelError, match="no supplied scores of 'x'"):
        provider("supplied:x", population)
    found = provider("supplied:cdps", population).score(
        shard, year=2024, cutoff_day=0, months=months_of(shard)
    )
    assert found.score_micro.tolist() == [7]


def test_none_scores_everyone_one() -> None:
    shard = shard_of([[], []])
    found = provider("none", FakePopulation((shard,), [])).score(
        shard, year=2024, cutoff_day=0, months=months_of(shard)
    )
    assert found.score_micro.tolist() == [MICRO, MICRO]


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(RiskModelError, match="unknown"):
        provider("supplied", FakePopulation((), ["acg"]), missing="guess")


def test_months_are_cut_to_the_year_and_land_in_their_cell() -> None:
    shard = shard_of([[]])
    shard.tables["spans"]["first_month"][0] = month_of(2023, 11)
    months = enrolled_months(shard, year=2024)
    assert months.shape == (len(RATE_CELLS), 1)
    assert months[2, 0] == 10
    assert months.sum() == 10


@given(
    st.dates(date(1900, 1, 1), date(2024, 12, 31)), st.dates(date(2024, 12, 31), date(2030, 1, 1))
)
def test_age_counts_birthdays(born: date, on: date) -> None:
    expected = on.year - born.year - ((on.month, on.day) < (born.month, born.day))
    assert ages_on(np.array([day_of(born)], np.int32), day_of(on))[0] == min(expected, 127)


def test_an_unknown_birth_day_has_no_age() -> None:
    assert ages_on(np.array([NO_DAY], np.int32), 0).tolist() == [-1]
