"""The weights follow their law, and the totals the theory of resampling: statistics, not bits.

Seeds are fixed, so every test gives the same figures each time. A bound is a quantile that a true
generator would cross once in about a million tests, unless a test says otherwise.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from kernels import replicate_totals
from kernels.draws.philox import LAW, weights

LANES = 65536
SHARES = np.array(LAW) / LANES


def chi_square_bound(freedom: int, deviations: float = 4.75) -> float:
    """Upper millionth of chi-square, by Wilson and Hilferty's cube."""
    spread = 2 / (9 * freedom)
    return float(freedom * (1 - spread + deviations * spread**0.5) ** 3)


def chi_square(counts: Any, expected: Any) -> float:
    return float(((counts - expected) ** 2 / expected).sum())


def keys(n: int, start: int = 0) -> Any:
    """Neighbouring keys, the hardest for a generator that takes them as its counter."""
    return np.arange(start, start + n, dtype=np.uint64)


def test_the_table_has_mean_and_variance_one() -> None:
    """Exactly, in rationals; the higher central moments are nearly those of Poisson(1), 1 and 4."""
    law = [(weight, Fraction(count, LANES)) for weight, count in enumerate(LAW)]
    assert sum(share for _, share in law) == 1
    moments = [sum(share * (weight - 1) ** k for weight, share in law) for k in range(1, 5)]
    assert moments[:2] == [0, 1]
    assert round(float(moments[2]), 5) == 0.99902
    assert round(float(moments[3]), 5) == 3.98755


def test_the_table_is_poisson_to_three_lanes() -> None:
    """Of 65536, which is what an exact mean and variance cost; 7 stands for 7 and more."""
    poisson, tail = [], 1.0
    for weight in range(7):
        poisson.append(np.exp(-1) / float(np.prod(np.arange(1, weight + 1))))
        tail -= poisson[-1]
    assert np.abs(np.array([*poisson, tail]) * LANES - LAW).max() < 3


@pytest.mark.parametrize("seed", [0, 1, 2**63 + 12345])
def test_weights_follow_the_table(seed: int) -> None:
    drawn = weights(keys(20_000), n_replicates=200, seed=seed, first_replicate=1)
    counts = np.bincount(drawn.ravel(), minlength=8)
    assert chi_square(counts, drawn.size * SHARES) < chi_square_bound(7)


def test_every_lane_follows_the_table() -> None:
    drawn = weights(keys(50_000), n_replicates=16, seed=3, first_replicate=8)
    for row in drawn:
        counts = np.bincount(row, minlength=8)
        assert chi_square(counts[:6], row.size * SHARES[:6]) < chi_square_bound(6)


def test_moments_of_weights_are_the_tables() -> None:
    drawn = weights(keys(40_000), n_replicates=250, seed=9, first_replicate=1).astype(np.float64)
    deviation = drawn - 1
    n = deviation.size
    assert abs(deviation.mean()) < 5 * n**-0.5
    for power, moment in ((2, 1.0), (3, 0.99902), (4, 3.98755)):
        sample = deviation**power
        assert abs(sample.mean() - moment) < 5 * sample.std() * n**-0.5


def joint(a: Any, b: Any) -> float:
    """Chi-square of independence over the joint table, weights of 4 and more as one."""
    a, b = np.minimum(a, 4).astype(np.int64).ravel(), np.minimum(b, 4).astype(np.int64).ravel()
    counts = np.bincount(5 * a + b, minlength=25)
    shares = np.append(SHARES[:4], SHARES[4:].sum())
    return chi_square(counts, a.size * np.outer(shares, shares).ravel())


BATTERY = {
    "lanes of one word": lambda w: (w[0::2], w[1::2]),
    "words of one block": lambda w: (w[0::8], w[2::8]),
    "outer words of one block": lambda w: (w[1::8], w[7::8]),
    "neighbouring blocks": lambda w: (w[:-8], w[8:]),
    "far replicates": lambda w: (w[: len(w) // 2], w[len(w) // 2 :]),
    "neighbouring members": lambda w: (w[:, :-1], w[:, 1:]),
    "members one bit apart": lambda w: (w[:, 0::2], w[:, 1::2]),
    "far members": lambda w: (w[:, : w.shape[1] // 2], w[:, w.shape[1] // 2 :]),
}


@pytest.mark.parametrize("name", BATTERY)
def test_draws_within_a_seed_are_independent(name: str) -> None:
    """Joint tables over every direction in which the counter moves."""
    drawn = weights(keys(4000), n_replicates=512, seed=21, first_replicate=8)
    assert joint(*BATTERY[name](drawn)) < chi_square_bound(24)


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 2), (1, 1 << 32), (7, 2**64 - 8)])
def test_draws_of_two_seeds_are_independent(one: int, other: int) -> None:
    pair = [weights(keys(4000), n_replicates=256, seed=s, first_replicate=8) for s in (one, other)]
    assert joint(*pair) < chi_square_bound(24)


def test_keys_that_differ_in_their_high_word_are_independent() -> None:
    low = weights(keys(4000), n_replicates=256, seed=5, first_replicate=8)
    high = weights(keys(4000) << np.uint64(32), n_replicates=256, seed=5, first_replicate=8)
    assert joint(low[:, 1:], high[:, 1:]) < chi_square_bound(24)


def test_replicates_are_uncorrelated() -> None:
    """The largest of all pairwise correlations stays where independence puts it."""
    drawn = weights(keys(20_000), n_replicates=200, seed=2, first_replicate=1)
    deviation = drawn.astype(np.float64) - 1
    correlation = deviation @ deviation.T / deviation.shape[1]
    upper = correlation[np.triu_indices(len(correlation), 1)] * deviation.shape[1] ** 0.5
    assert abs(upper.mean()) < 5 * upper.size**-0.5
    assert abs(upper.std() - 1) < 5 * (2 * upper.size) ** -0.5
    assert np.abs(upper).max() < 6


def test_runs_of_zero_weights_are_geometric() -> None:
    """Runs test along the members of each replicate."""
    drawn = weights(keys(40_000), n_replicates=50, seed=6, first_replicate=1)
    absent = drawn == 0
    share = LAW[0] / LANES
    n_runs = (absent[:, 1:] != absent[:, :-1]).sum()
    pairs = absent[:, 1:].size
    expected = 2 * share * (1 - share)
    # neighbouring changes share a member; the variance of their count has that covariance too
    variance = expected * (1 - expected) + 2 * (share * (1 - share) - expected**2)
    assert abs(n_runs - pairs * expected) < 5 * (pairs * variance) ** 0.5


@pytest.fixture(scope="module")
def population() -> Any:
    """Costs with a heavy tail, months, and scores that go with costs, as integers."""
    rng = np.random.default_rng(12)
    n = 5000
    score = np.exp(rng.normal(0, 0.6, n))
    cents = (rng.pareto(2.5, n) * 200_000 * score).astype(np.int64)
    months = rng.integers(1, 13, n)
    return np.stack([cents, months, (score * 1e6).astype(np.int64) * months])


B = 4000


@pytest.fixture(scope="module")
def draws(population: Any) -> Any:
    n = population.shape[1]
    group = np.zeros(n, np.int32)
    total = replicate_totals(
        population, group, keys(n), n_groups=1, n_replicates=B, seed=17, first_replicate=1
    )
    return total[0].astype(np.float64)


def test_totals_have_the_mean_and_spread_of_theory(population: Any, draws: Any) -> None:
    """Mean: the observed total. Covariance: sum of x y over members, for weights of variance 1."""
    x = population.astype(np.float64)
    mean, covariance = x.sum(axis=1), x @ x.T
    deviation = draws - mean
    assert (np.abs(deviation.mean(axis=0)) < 5 * (np.diag(covariance) / B) ** 0.5).all()
    found = deviation.T @ deviation / B
    for a in range(3):
        for b in range(3):
            products = deviation[:, a] * deviation[:, b]
            assert abs(found[a, b] - covariance[a, b]) < 5 * products.std() * B**-0.5


def multinomial_draws(population: Any) -> Any:
    """Resampling members with replacement: their number is fixed, unlike under Poisson weights."""
    rng = np.random.default_rng(31)
    n = population.shape[1]
    x = population.T.astype(np.float64)
    return np.stack([np.bincount(rng.integers(0, n, n), minlength=n) @ x for _ in range(B)])


def test_ratios_spread_as_under_multinomial_resampling_and_totals_more(
    population: Any, draws: Any
) -> None:
    """Cost per month is alike under both; a total's variance is larger by n times its mean squared.

    The Poisson number of members varies by sqrt(n) about n. A ratio of totals cancels it; a total
    has variance sum(x^2) where resampling a fixed number has sum((x - mean)^2).
    """
    other = multinomial_draws(population)
    x = population.astype(np.float64)
    n = x.shape[1]
    for top, bottom in ((0, 1), (0, 2), (2, 1)):
        ratios = [drawn[:, top] / drawn[:, bottom] for drawn in (draws, other)]
        assert abs(ratios[0].std() / ratios[1].std() - 1) < 5 * B**-0.5
        assert abs(ratios[0].mean() - ratios[1].mean()) < 5 * ratios[1].std() * (2 / B) ** 0.5
        low, high = (np.quantile(ratio, [0.025, 0.975]) for ratio in ratios)
        assert np.abs(low - high).max() < 0.25 * ratios[1].std()
    for column in range(3):
        poisson, multinomial = (x[column] ** 2).sum(), n * x[column].var()
        assert poisson - multinomial == pytest.approx(n * x[column].mean() ** 2)
        found = draws[:, column].var() / other[:, column].var()
        assert abs(found / (poisson / multinomial) - 1) < 5 * (4 / B) ** 0.5


def test_savings_rates_spread_as_under_multinomial_resampling(population: Any) -> None:
    """Two years of one member share its weight; the rate is 1 - later / base cost per risk."""
    rng = np.random.default_rng(44)
    base = population
    later = base.copy()
    later[0] = (base[0] * rng.uniform(0.2, 1.7, base.shape[1])).astype(np.int64)
    both = np.concatenate([base, later])
    n = both.shape[1]
    poisson = replicate_totals(
        both, np.zeros(n, np.int32), keys(n), n_groups=1, n_replicates=B, seed=8, first_replicate=1
    )[0].astype(np.float64)
    rates = []
    for drawn in (poisson, multinomial_draws(both)):
        cost_per_risk = [drawn[:, c] / drawn[:, c + 2] for c in (0, 3)]
        rates.append(1 - cost_per_risk[1] / cost_per_risk[0])
    assert abs(rates[0].std() / rates[1].std() - 1) < 5 * B**-0.5
    assert abs(rates[0].mean() - rates[1].mean()) < 5 * rates[1].std() * (2 / B) ** 0.5
