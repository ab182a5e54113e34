"""Points, weights and errors against a reading of the rules that shares nothing with the program.

Ranks are counted, points are the method page's sentences, and the error is a sum over all counts or
a simulation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ihp_compute import contracts
from ihp_compute.measure.quality import MeasuredScore
from ihp_compute.measure.quality_points import Curve, points_of
from ihp_compute.measure.quality_tables import Measure
from ihp_compute.units import Z

TERMS = contracts.load("mn-ihp-2.0-track-2").at(2023).quality
PARTNERSHIPS = {f"P{i}": "contract" for i in range(4)}


def rank(rates: Sequence[Fraction], part: Fraction, *, higher: bool) -> Fraction:
    """The k-th rate from the worst, k = max(1, ceil(part × n)): k are as bad or worse."""
    k = max(1, math.ceil(part * len(rates)))
    for rate in sorted(set(rates), reverse=not higher):
        if sum(other <= rate if higher else other >= rate for other in rates) >= k:
            return rate
    raise AssertionError


def share(rate: Fraction, low: Fraction, high: Fraction) -> Fraction:
    return max(Fraction(0), min(Fraction(1), (rate - low) / (high - low)))


def points_read(
    rate: Fraction, rates: Sequence[Fraction], prior: Fraction | None, *, higher: bool
) -> Fraction:
    """Points of a rate by the ranks 30 % and 90 %."""
    low, high = (rank(rates, Fraction(p, 100), higher=higher) for p in (30, 90))
    if low == high:
        attained = Fraction(rate >= high if higher else rate <= high)
    else:
        attained = share(rate, low, high)
    if prior is None or (prior >= high if higher else prior <= high):
        return attained
    return max(attained, share(rate, prior, high))


cells = st.tuples(st.integers(20, 45), st.integers(0, 100)).map(
    lambda found: (found[0] * found[1] // 100, found[0])
)
tables = st.fixed_dictionaries(
    {
        (p, m): st.none() | st.tuples(cells, st.none() | cells)
        for p in PARTNERSHIPS
        for m in ("a", "b", "c")
    }
)


@settings(max_examples=150)
@given(tables, st.booleans())
def test_scores_are_what_a_slow_reading_makes_of_them(
    table: dict[tuple[str, str], Any], higher: bool
) -> None:
    domains = {"a": "x", "b": "x", "c": "y"}
    rows, before = [], []
    for (p, m), found in table.items():
        if found is not None:
            n, d = found[0]
            rows.append(Measure(p, m, domains[m], n, d, higher))
            if found[1] is not None:
                n, d = found[1]
                before.append(Measure(p, m, domains[m], n, d, higher))
    made = points_of(rows, before, TERMS, PARTNERSHIPS)
    by_measure = {
        m: [Fraction(*found[0]) for (_, name), found in table.items()
            if name == m and found is not None and found[0][1] >= 30]
        for m in domains
    }  # fmt: skip
    for p in PARTNERSHIPS:
        own = {m: table[p, m] for m in domains if table[p, m] is not None}
        counted: dict[str, list[Fraction]] = {}
        for m, (now, then) in own.items():
            if now[1] >= 30:
                prior = Fraction(*then) if then is not None and then[1] >= 30 else None
                earned = points_read(Fraction(*now), by_measure[m], prior, higher=higher)
                counted.setdefault(domains[m], []).append(earned)
        if not own:
            assert p not in made
            continue
        found = MeasuredScore.of(made[p])
        if not counted:
            assert found.score is None
            continue
        means = [sum(e, Fraction(0)) / len(e) for e in counted.values()]
        mean = sum(means, Fraction(0)) / len(means)
        assert found.score is not None
        assert abs(Fraction(found.score) - mean) <= Fraction(1, 2_000_000)
        assert sum(one.weight for one in made[p]) == 1


@st.composite
def curves(draw: st.DrawFn) -> Curve:
    part = st.fractions(0, 1, max_denominator=60)
    low, high = sorted((draw(part), draw(part)))
    prior, higher = draw(st.none() | part), draw(st.booleans())
    floor, ceiling = (low, high) if higher else (high, low)
    return Curve(floor, ceiling, prior, higher, ceiling)


@given(curves(), st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_error_is_that_of_every_count_there_could_be(
    curve: Curve, cases: tuple[int, int]
) -> None:
    """Summed over all counts in fractions, without a float."""
    k, n = cases
    rate = Fraction(k, n)
    chances = [math.comb(n, i) * rate**i * (1 - rate) ** (n - i) for i in range(n + 1)]
    points = [curve.points(Fraction(i, n)) for i in range(n + 1)]
    mean = sum(c * p for c, p in zip(chances, points, strict=True))
    exact = sum(c * (p - mean) ** 2 for c, p in zip(chances, points, strict=True))
    assert curve.variance(k, n) == pytest.approx(float(exact), rel=1e-9, abs=1e-14)


@pytest.mark.parametrize(("k", "n"), [(450, 1_000), (31_000, 480_000), (3, 400_000)])
def test_the_error_of_many_cases_is_that_of_draws(k: int, n: int) -> None:
    """Draws of a binomial, of which a variance is known to half a per cent."""
    spread = math.sqrt(k) / n
    low, high = Fraction(k / n - spread).limit_denominator(10**9), Fraction(k / n + 2 * spread)
    curve = Curve(low, high, None, True, high)
    drawn = np.random.default_rng(5).binomial(n, k / n, 400_000) / n
    points = np.clip((drawn - float(low)) / float(high - low), 0, 1)
    assert curve.variance(k, n) == pytest.approx(points.var(), rel=0.01)


def test_the_interval_of_a_score_is_that_of_its_measures_together() -> None:
    """Two measures of half weight: a quarter of each variance; ends never leave 0 and 1."""
    rows = [Measure(p, m, m, n, 60) for m in "ab" for p, n in (("P0", 20), ("P1", 35), ("P2", 50))]
    found = MeasuredScore.of(points_of(rows, (), TERMS, PARTNERSHIPS)["P1"])
    one = found.points[0].curve
    assert one is not None
    assert found.std_error == pytest.approx(math.sqrt(one.variance(35, 60) / 2))
    assert found.std_error > 0.05
    assert found.score is not None
    low, high = found.interval
    assert low == pytest.approx(float(found.score) - Z * found.std_error)
    assert high == min(1.0, float(found.score) + Z * found.std_error)


def test_terms_are_those_that_were_read_here() -> None:
    assert (TERMS.least_cases, TERMS.prior_least_cases, TERMS.improvement) == (30, 30, True)
    assert (Fraction(TERMS.floor_percentile), Fraction(TERMS.ceiling_percentile)) == (
        Fraction(30, 100), Fraction(90, 100),
    )  # fmt: skip
