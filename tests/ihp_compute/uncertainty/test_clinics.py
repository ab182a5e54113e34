"""The variance of a clinic-year: planted and found again, and worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ihp_compute.uncertainty import Clinics, chance_above_zero

N_PARTNERSHIPS, N_CLINICS = 20, 10


def planted(seed: int, sd: float) -> Clinics:
    """Clinics of 200 to 800 people whose costs last, vary, and share a clinic-year of `sd`.

    Levels of partnerships last and their savings differ; one in ten members changes clinic, one in
    ten is missing from a year.
    """
    rng = np.random.default_rng(seed)
    n = N_PARTNERSHIPS * N_CLINICS
    group = np.repeat(np.arange(N_PARTNERSHIPS), N_CLINICS).astype(np.int32)
    base = np.repeat(np.arange(n), rng.integers(200, 800, n))
    people = base.size
    clinic = np.stack([base, np.where(rng.random(people) < 0.1, rng.integers(0, n, people), base)])
    expected = np.rint(rng.gamma(2, 200_000, people)).astype(np.int64) + 50_000
    level = 1 + rng.uniform(-0.1, 0.1, N_PARTNERSHIPS)[group]
    saved = 1 + rng.normal(0, 0.05, N_PARTNERSHIPS)[group]
    shared = level * (1 + rng.normal(0, sd, (2, n))) * np.stack([np.ones(n), saved])
    lasting = rng.lognormal(-0.32, 0.8, people)
    cost = expected * lasting * rng.lognormal(-0.32, 0.8, (2, people))
    cost *= np.take_along_axis(shared, clinic, axis=1)
    clinic[rng.random((2, people)) < 0.1] = -1
    return Clinics.of(group, clinic, np.rint(cost).astype(np.int64), np.stack([expected] * 2))


@pytest.mark.parametrize("sd", [0.0, 0.03, 0.06])
def test_a_planted_clinic_year_is_found_again(sd: float) -> None:
    """Each within four of its own standard errors; without the floor, so is their mean."""
    found = [planted(seed, sd).component() for seed in range(8)]
    errors = []
    for one in found:
        assert one is not None
        assert one.n_clinics == N_PARTNERSHIPS * N_CLINICS
        assert abs(one.variance - sd**2) <= 4 * one.std_error
        errors.append((one.variance - sd**2, one.std_error))
    if sd:
        mean = math.fsum(error for error, _ in errors) / len(errors)
        assert abs(mean) <= 4 * max(each for _, each in errors) / math.sqrt(len(errors))
    assert max(each for _, each in errors) < 0.0015


def two_clinics(low: int, high: int) -> Clinics:
    """Two clinics of two members, of $1,000 expected each in both years.

    Base: everybody at $1,000. Performance: members of the first at `low`, of the second at `high`.
    """
    clinic = np.array([[0, 0, 1, 1]] * 2)
    expected = np.full((2, 4), 100_000)
    cost = np.array([[100_000] * 4, [low * 100, low * 100, high * 100, high * 100]])
    return Clinics.of(np.zeros(2, np.int32), clinic, cost, expected)


def test_two_clinics_by_hand() -> None:
    """Changes -0.1 and +0.3, no spread within: a = 1,000 each, s² = 1,000 (0.04 + 0.04) ÷ 2,000."""
    found = two_clinics(900, 1_300).component()
    assert found is not None
    assert found.variance == pytest.approx(0.04)
    assert found.n_clinics == 2
    # Q = a Σ (z - z̄)² over two equal clinics has variance 2 a² (2 s²)², over (2 a)²
    assert found.std_error == pytest.approx(math.sqrt(2) * 0.08 / 2)


def test_the_spread_of_members_is_no_variance_of_clinics() -> None:
    """One member of each clinic at $800 and one at $1,200: residuals of $200 over $2,000 expected.

    v = 2 ÷ 1 × 2 × 0.1² = 0.04, which is all of the change of 0 and more: nothing is left.
    """
    cost = np.array([[100_000] * 4, [80_000, 120_000] * 2])
    clinics = Clinics.of(
        np.zeros(2, np.int32), np.array([[0, 0, 1, 1]] * 2), cost, np.full((2, 4), 100_000)
    )
    assert clinics.sampling.tolist() == pytest.approx([0.04, 0.04])
    found = clinics.component()
    assert found is not None
    assert found.variance == 0


def test_what_a_whole_partnership_saves_is_no_variance_of_its_clinics() -> None:
    """Both clinics of one at -20 %, both of another at +20 %: clinics do not differ within."""
    group = np.array([0, 0, 1, 1], np.int32)
    clinic = np.array([np.repeat(np.arange(4), 2)] * 2)
    cost = np.array([[100_000] * 8, [80_000] * 4 + [120_000] * 4])
    found = Clinics.of(group, clinic, cost, np.full((2, 8), 100_000)).component()
    assert found is not None
    assert found.variance == 0


def test_a_clinic_of_one_member_or_of_one_year_takes_no_part() -> None:
    clinic = np.array([[0, 0, 1, 2, 2], [0, 0, 1, -1, -1]])
    clinics = Clinics.of(
        np.zeros(3, np.int32), clinic, np.full((2, 5), 100_000), np.full((2, 5), 100_000)
    )
    assert clinics.group.size == 1
    assert clinics.component() is None


def test_a_state_without_clinics_has_no_component() -> None:
    nobody: NDArray[np.int64] = np.full((2, 3), -1)
    clinics = Clinics.of(np.empty(0, np.int32), nobody, np.zeros_like(nobody), nobody + 2)
    assert clinics.component() is None


@given(st.integers(0, 10), st.permutations(range(12)))
def test_members_come_in_any_order(seed: int, order: list[int]) -> None:
    """Their sums are of integers: the same bits, whichever shard came first."""
    rng = np.random.default_rng(seed)
    clinic = rng.integers(-1, 3, (2, 12))
    cost, expected = rng.integers(1, 10**9, (2, 2, 12))
    group = np.array([0, 0, 1], np.int32)
    one = Clinics.of(group, clinic, cost, expected)
    other = Clinics.of(group, clinic[:, order], cost[:, order], expected[:, order])
    assert one.change.tobytes() == other.change.tobytes()
    assert one.sampling.tobytes() == other.sampling.tobytes()


def test_a_chance_without_spread_counts_draws() -> None:
    draws = np.array([0.02, 0.01, 0.0, -0.01])
    assert chance_above_zero(draws, 0.0) == 0.5
    # Φ(1) = 0.8413447, Φ(0.5) = 0.6914625, and their complements
    assert chance_above_zero(np.array([0.02, -0.01]), 0.02) == pytest.approx(
        (0.8413447 + 0.3085375) / 2, abs=1e-6
    )
