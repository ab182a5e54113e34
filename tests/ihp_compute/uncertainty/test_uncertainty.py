"""Replicate totals over rate cells, and intervals as selections."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute.codes import RATE_CELLS
from ihp_compute.uncertainty.intervals import intervals
from ihp_compute.uncertainty.totals import Rows, YearRows, replicate_totals

GROUPS = ("IHP-01", "IHP-02", "COMPARISON", "UNATTRIBUTED")


def _year(rng: np.random.Generator, n: int) -> YearRows:
    months = np.zeros((len(RATE_CELLS), n), np.int64)
    first, second = rng.integers(0, len(RATE_CELLS), (2, n))
    months[first, np.arange(n)] = rng.integers(0, 7, n)
    months[second, np.arange(n)] += rng.integers(0, 6, n)
    cents = np.where(months > 0, rng.integers(-500, 10**7, months.shape), 0)
    return YearRows(
        group=rng.integers(-1, len(GROUPS), n).astype(np.int32),
        months=months,
        score_micro=rng.integers(0, 5_000_000, n),
        cell_cents=[cents, cents // 2],
    )


def _totals(keys, base, performance, replicates=24):  # noqa: ANN001, ANN202 - test shorthand
    grouped = performance.group[performance.group >= 0]
    return replicate_totals(
        Rows.of(keys, base, performance),
        np.bincount(grouped, minlength=len(GROUPS)),
        np.zeros((len(GROUPS), 1), np.int64),
        groups=GROUPS,
        replicates=replicates,
        seed=7,
        device="cpu",
    )


def test_the_observed_row_is_the_plain_sum() -> None:
    rng = np.random.default_rng(1)
    keys = np.sort(rng.integers(0, 2**63, 400).astype(np.uint64))
    base, performance = _year(rng, 400), _year(rng, 400)
    totals = _totals(keys, base, performance)
    for year, rows in (("base", base), ("perf", performance)):
        for g in range(len(GROUPS)):
            here = rows.group == g
            months = rows.months[:, here]
            assert (totals.column(f"{year}_months")[g, :, 0] == months.sum(axis=1)).all()
            risk = (months * rows.score_micro[here]).sum(axis=1)
            assert (totals.column(f"{year}_risk")[g, :, 0] == risk).all()
            for r, cents in enumerate(rows.cell_cents):
                found = totals.column(f"{year}_cost_r{r}")[g, :, 0]
                assert (found == cents[:, here].sum(axis=1)).all()
    assert (totals.n_members == [(performance.group == g).sum() for g in range(4)]).all()


def test_a_member_has_one_weight_in_both_years_and_every_cell() -> None:
    """One member moves from a group and cell to others: every total is the same multiple."""
    months = np.zeros((2, len(RATE_CELLS), 1), np.int64)
    months[0, 0], months[1, 3] = 7, 11
    base, performance = (
        YearRows(np.array([g], np.int32), months[g], np.array([1_000_000]), [months[g] * 100])
        for g in (0, 1)
    )
    totals = _totals(np.array([99], np.uint64), base, performance, replicates=64)
    weight = totals.column("base_months")[0, 0] // 7
    assert weight.max() > 1
    assert (totals.column("perf_months")[1, 3] == 11 * weight).all()
    assert (totals.column("perf_cost_r0")[1, 3] == 1100 * weight).all()
    assert (totals.column("base_risk")[0, 0] == 7_000_000 * weight).all()


def test_shards_add_up_in_any_order() -> None:
    rng = np.random.default_rng(2)
    keys = np.sort(rng.integers(0, 2**63, 300).astype(np.uint64))
    base, performance = _year(rng, 300), _year(rng, 300)

    def part(rows: YearRows, here: np.ndarray) -> YearRows:
        return YearRows(
            rows.group[here],
            np.ascontiguousarray(rows.months[:, here]),
            rows.score_micro[here],
            [np.ascontiguousarray(cents[:, here]) for cents in rows.cell_cents],
        )

    shard = rng.integers(0, 5, 300)
    parts = [
        _totals(keys[shard == s], part(base, shard == s), part(performance, shard == s))
        for s in (3, 0, 4, 2, 1)
    ]
    merged = parts[0] + parts[1] + parts[2] + parts[3] + parts[4]
    whole = _totals(keys, base, performance)
    assert (merged.values == whole.values).all()
    assert (merged.n_members == whole.n_members).all()


def rank(p: Fraction, n: int) -> int:
    return max(1, math.ceil(p * n))


@given(st.lists(st.integers(-(2**50), 2**50), min_size=2, max_size=200))
def test_an_interval_is_a_selection_of_its_draws(values: list[int]) -> None:
    drawn = sorted(values[1:])
    for interval in intervals(np.array(values, np.int64)):
        p = (1 - Fraction(str(interval.level))) / 2
        low, high = drawn[rank(p, len(drawn)) - 1], drawn[rank(1 - p, len(drawn)) - 1]
        if interval.method == "basic":
            low, high = 2 * values[0] - high, 2 * values[0] - low
        assert (interval.low, interval.high, interval.point) == (low, high, values[0])


def test_the_standard_error_is_exact_for_dollars_beyond_float_precision() -> None:
    values = np.array([0, 2**52 + 1, 2**52 + 3], np.int64)
    assert intervals(values)[0].std_error == pytest.approx(math.sqrt(2), rel=1e-15)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=200))
def test_rates_are_selected_in_their_order(values: list[float]) -> None:
    drawn = sorted(values[1:])
    for interval in intervals(np.array(values)):
        p = (1 - Fraction(str(interval.level))) / 2
        if interval.method == "percentile":
            assert interval.low == drawn[rank(p, len(drawn)) - 1]
            assert interval.high == drawn[rank(1 - p, len(drawn)) - 1]


@given(st.lists(st.integers(-(2**52), 2**52), min_size=3, max_size=50), st.integers(0, 40))
def test_the_standard_error_is_that_of_exact_sums(values: list[int], smaller: int) -> None:
    drawn = [value >> smaller for value in values[1:]]
    n, mean = len(drawn), Fraction(sum(drawn), len(drawn))
    variance = sum((value - mean) ** 2 for value in drawn) / (n - 1)
    found = intervals(np.array([0, *drawn], np.int64))[0].std_error
    assert found == math.sqrt(variance)


def test_no_replicates_no_intervals() -> None:
    assert intervals(np.array([5], np.int64)) == []


def test_the_error_of_an_end_is_what_other_replicates_change() -> None:
    random = np.random.default_rng(7)
    drawn = np.sort(random.normal(0, 1e6, (400, 1000)).astype(np.int64), axis=1)
    found = [intervals(np.append(np.int64(0), random.permutation(one))) for one in drawn]
    for i in range(len(found[0])):
        for end in ("low", "high"):
            spread = np.std([getattr(own[i], end) for own in found], ddof=1)
            told = np.mean([getattr(own[i], f"{end}_monte_carlo_error") for own in found])
            assert told == pytest.approx(spread, rel=0.12), (found[0][i], end)


@given(st.lists(st.integers(-(2**50), 2**50), min_size=2, max_size=200))
def test_the_error_of_an_end_is_read_off_its_neighbours(values: list[int]) -> None:
    drawn = sorted(values[1:])
    n = len(drawn)
    for interval in intervals(np.array(values, np.int64)):
        p = (1 - Fraction(str(interval.level))) / 2
        expected = []
        for tail in (p, 1 - p):
            k, d = rank(tail, n), math.sqrt(n * float(tail * (1 - tail)))
            low, high = max(1, k - max(1, math.ceil(d))), min(n, k + max(1, math.ceil(d)))
            expected.append(d * (drawn[high - 1] - drawn[low - 1]) / max(1, high - low))
        if interval.method == "basic":
            expected.reverse()
        told = (interval.low_monte_carlo_error, interval.high_monte_carlo_error)
        assert told == pytest.approx(tuple(expected), rel=1e-9)


def test_draws_that_are_alike_have_no_error_of_their_ends() -> None:
    own = intervals(np.full(101, 5, np.int64))[0]
    assert (own.low_monte_carlo_error, own.high_monte_carlo_error) == (0.0, 0.0)
