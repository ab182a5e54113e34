"""A member's condition of a year is that of the lowest rank among diagnoses known by the cutoff."""

import numpy as np
import pytest

from ihp_compute.measure.programme import conditions
from ihp_compute.measure.programme.conditions import Conditions
from ihp_compute.units import year_bounds

RANKS = 5


class Rows:
    """A shard of nothing but diagnoses: any codes on any days of three years."""

    def __init__(self, of_each: np.ndarray, rng: np.random.Generator) -> None:
        n = int(of_each.sum())
        first, end = year_bounds(2022)[0], year_bounds(2024)[1]
        self.n_members = of_each.size
        self.starts = np.append(0, np.cumsum(of_each))
        day = rng.integers(first, end, n).astype(np.int32)
        self.columns = {
            "dx": rng.integers(0, 9, n).astype(np.int32),
            "day": day,
            "paid_day": day + rng.integers(0, 400, n).astype(np.int32),
        }

    def offsets(self, table: str) -> np.ndarray:
        """Where each member's diagnoses start."""
        assert table == "diagnoses"
        return self.starts

    def column(self, table: str, name: str) -> np.ndarray:
        """One of the columns."""
        assert table == "diagnoses"
        return self.columns[name]


@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
@pytest.mark.parametrize("most", [0, 1, 6])
def test_the_lowest_rank_seen_by_the_cutoff_is_the_members(
    monkeypatch: pytest.MonkeyPatch, piece: int, most: int
) -> None:
    """However rows are cut for reading, and whoever has none at either end."""
    monkeypatch.setattr(conditions, "_PIECE", piece)
    rng = np.random.default_rng(most)
    shard = Rows(rng.integers(0, most + 1, 40) * (rng.random(40) < 0.8), rng)
    rank_of = np.array([0, RANKS, 3, 1, RANKS, 2, 4, RANKS, 3], np.uint8)
    names = ("heart", "lung", "kidney", "none")
    by_rank = np.array([0, 1, 0, 2, 1, 3], np.int32)
    years = (2022, 2024)
    cutoffs = [year_bounds(year)[1] + 90 for year in years]

    found = Conditions(names, rank_of, by_rank).in_years(shard, years, cutoffs)  # type: ignore[arg-type]

    for y, (year, cutoff) in enumerate(zip(years, cutoffs, strict=True)):
        first, end = year_bounds(year)
        for member in range(shard.n_members):
            rows = range(shard.starts[member], shard.starts[member + 1])
            ranks = [
                int(rank_of[shard.columns["dx"][row]])
                for row in rows
                if first <= shard.columns["day"][row] < end
                and shard.columns["paid_day"][row] <= cutoff
            ]
            assert found[y, member] == by_rank[min(ranks, default=RANKS)]
