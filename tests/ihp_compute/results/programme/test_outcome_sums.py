"""Rates, expected, changes and their errors equal a plain exact reading of the same people."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ihp_compute.measure.programme import DENOMINATORS, MEASURES
from ihp_compute.results.programme.expected import pooled, score_bands, stratum_rates
from ihp_compute.results.programme.outcome_changes import BASES, Compared, change_columns
from ihp_compute.results.programme.outcome_rates import Columns, Texts, rate_columns
from ihp_compute.results.programme.outcome_sums import OutcomeYear, dimension_sums
from ihp_compute.units import Z
from tests.ihp_compute.results.programme.outcome_reading import Change, Person, Slot, change

N_GROUPS, N_STRATA = 4, 3
SCOPES = [frozenset({0}), frozenset({1}), frozenset({0, 1}), frozenset({0, 1, 2, 3})]
OTHERS = frozenset({2})
KIND = tuple(DENOMINATORS.index(measure.over) for measure in MEASURES)


@st.composite
def people(draw: st.DrawFn) -> list[list[Person]]:
    """Up to 12 members; each has one row a measure, in the same groups and strata."""
    n = draw(st.integers(1, 12))
    group = st.tuples(*2 * [st.integers(-1, N_GROUPS - 1)])
    stratum = st.tuples(*2 * [st.integers(-1, N_STRATA - 1)])
    groups = [draw(group) for _ in range(n)]
    strata = [draw(stratum) for _ in range(n)]
    by_kind = [[draw(st.tuples(*2 * [st.integers(0, 12)])) for _ in range(n)] for _ in DENOMINATORS]
    rate = st.integers(0, 5).map(lambda k: Fraction(k, 4))
    found = []
    for kind in KIND:
        rows = []
        for i in range(n):
            d = by_kind[kind][i]
            events = tuple(draw(st.integers(0, 3)) if one else 0 for one in d)
            expected = tuple(one * draw(rate) for one in d)
            # tuples made of generators have no known length; those of a person are by year
            rows.append(Person(groups[i], strata[i], events, d, expected))  # type: ignore[arg-type]
        found.append(rows)
    return found


def _arrays(found: list[list[Person]]) -> tuple[list[OutcomeYear], np.ndarray]:
    first = found[0]
    years = []
    for year in (0, 1):
        of_kind = [found[KIND.index(kind)] for kind in range(len(DENOMINATORS))]
        years.append(
            OutcomeYear(
                group=np.array([p.group[year] for p in first]),
                n=np.array([[float(p.n[year]) for p in rows] for rows in found]),
                e=np.array([[float(p.e[year]) for p in rows] for rows in found]),
                d=np.array([[float(p.d[year]) for p in rows] for rows in of_kind]),
                kind=KIND,
            )
        )
    return years, np.array([[p.stratum[year] for p in first] for year in (0, 1)])


def _matrix(scopes: list[frozenset[int]]) -> np.ndarray:
    return np.array([[float(g in scope) for g in range(N_GROUPS)] for scope in scopes])


def _close(found: float, expected: Fraction | float) -> bool:
    return math.isclose(found, float(expected), rel_tol=1e-9, abs_tol=1e-9)


@settings(max_examples=40)
@given(people())
def test_rates_and_their_errors_are_those_of_fractions(found: list[list[Person]]) -> None:
    years, stratum = _arrays(found)
    (sums,) = dimension_sums(years, [stratum], [N_STRATA], n_groups=N_GROUPS)
    own = _matrix(SCOPES)
    state_rate = np.arange(1, len(MEASURES) + 1) / 10
    for year in (0, 1):
        columns, flag = rate_columns(
            own @ sums.sums[year],
            own @ sums.people[year],
            state_rate,
            np.ones(len(MEASURES)),
            reference=0,
        )
        for m, measure in enumerate(MEASURES):
            for s, scope in enumerate(SCOPES):
                for t in range(N_STRATA):
                    at = m, s, t
                    crude, expected = (Slot(scope, t, year, basis) for basis in BASES)
                    n, d = crude.sums(found[m])
                    inside = [p for p in found[m] if crude.has(p)]
                    assert columns["n_members"][at] == len(inside)
                    assert columns["n_with"][at] == sum(p.n[year] > 0 for p in inside)
                    assert _close(columns["numerator"][at] * measure.parts, n)
                    assert columns["denominator"][at] == d
                    rate = columns["rate"][at] / measure.scale
                    assert _close(rate, crude.rate(found[m]))
                    squared = (columns["std_error"][at] / measure.scale) ** 2
                    assert _close(squared, crude.error_squared(found[m]))
                    unit = measure.scale * state_rate[m]
                    assert _close(columns["rate_standardised"][at] / unit, expected.rate(found[m]))
                    squared = (columns["std_error_standardised"][at] / unit) ** 2
                    assert _close(squared, expected.error_squared(found[m]))
                    assert ("no_denominator" in _words(flag, at)) == (d == 0)


@settings(max_examples=40)
@given(people(), st.sampled_from(list(BASES)))
def test_changes_and_their_errors_are_those_of_fractions(
    found: list[list[Person]], basis: str
) -> None:
    """Whoever is in several of the four rates moves them together."""
    years, stratum = _arrays(found)
    (sums,) = dimension_sums(years, [stratum], [N_STRATA], n_groups=N_GROUPS)
    compared = Compared.of(sums, _matrix(SCOPES), _matrix([OTHERS] * len(SCOPES)))
    has_other = np.ones((len(SCOPES), N_STRATA), np.bool_)
    mean_cents = np.full(len(MEASURES), 1_000.0)
    columns, flag = change_columns(compared, basis, mean_cents, has_other)
    for m, measure in enumerate(MEASURES):
        for s, scope in enumerate(SCOPES):
            for t in range(N_STRATA):
                at = m, s, t
                expected = change(found[m], scope, OTHERS, t, basis)
                _holds(columns, _words(flag, at), at, expected, measure.parts)


def _words(flag: Texts, at: tuple[int, int, int]) -> str:
    return flag.names[flag.place[at]]


def _holds(
    columns: Columns, words: str, at: tuple[int, int, int], expected: Change, parts: int
) -> None:
    own, other, square, events = expected
    if own == -1:
        assert columns["change"][at] == 0.0
        assert words
        return
    assert _close(columns["change"][at], own)
    if other == -1:
        assert "no_comparator" in words
        assert columns["relative_change"][at] == columns["events_difference"][at] == 0.0
        return
    relative = columns["relative_change"][at]
    assert _close(relative, (1 + own) / (1 + other) - 1)
    assert math.isclose(
        columns["std_error_log"][at] ** 2, float(square), rel_tol=1e-7, abs_tol=1e-9
    )
    assert _close(columns["events_difference"][at] * parts, events)
    factor = math.exp(Z * columns["std_error_log"][at])
    assert _close(columns["low"][at], (1 + relative) / factor - 1)
    assert _close(columns["high"][at], (1 + relative) * factor - 1)
    assert abs(columns["usd_cents"][at] + columns["events_difference"][at] * 1_000) <= 0.5 + 1e-6


@settings(max_examples=25)
@given(people())
def test_an_arm_is_held_against_another_arm_of_its_scope(found: list[list[Person]]) -> None:
    """Arms hold through both years, so nobody is in two."""
    found = [[p._replace(stratum=(p.stratum[1], p.stratum[1])) for p in rows] for rows in found]
    years, stratum = _arrays(found)
    (sums,) = dimension_sums(years, [stratum], [N_STRATA], n_groups=N_GROUPS)
    compared = Compared.of_strata(sums, _matrix(SCOPES), control=2)
    has_other = np.ones((len(SCOPES), N_STRATA), np.bool_)
    columns, flag = change_columns(compared, "crude", np.full(len(MEASURES), 1_000.0), has_other)
    for m, measure in enumerate(MEASURES):
        for s, scope in enumerate(SCOPES):
            for t in (0, 1):
                expected = change(found[m], scope, scope, t, "crude", other_stratum=2)
                at = m, s, t
                _holds(columns, _words(flag, at), at, expected, measure.parts)


def _many(rng: np.random.Generator, n: int, n_dimensions: int) -> tuple[list[OutcomeYear], list]:
    years = []
    for _ in (0, 1):
        d = np.stack([rng.integers(0, 13, n), rng.integers(0, 3, n), rng.integers(0, 2, n)])
        events = rng.poisson(1, (len(MEASURES), n)) * (d[list(KIND)] > 0)
        rate = rng.random((len(MEASURES), n))
        years.append(
            OutcomeYear(
                rng.integers(-1, N_GROUPS, n), events.astype(float), d[list(KIND)] * rate,
                d.astype(float), KIND,
            )
        )  # fmt: skip
    strata = [rng.integers(-1, 4, (2, n)).astype(np.int16) for _ in range(n_dimensions)]
    return years, strata


def test_dimensions_summed_together_are_as_if_each_were_alone() -> None:
    """300 members of six dimensions, whose combinations are many, and none."""
    years, strata = _many(np.random.default_rng(5), 300, 6)
    together = dimension_sums(years, strata, [4] * 6, n_groups=N_GROUPS)
    for one, stratum in zip(together, strata, strict=True):
        (alone,) = dimension_sums(years, [stratum], [4], n_groups=N_GROUPS)
        assert np.array_equal(one.people, alone.people)
        assert np.allclose(one.sums, alone.sums, rtol=1e-12, atol=0)
        scopes = _matrix(SCOPES)
        others = _matrix([OTHERS] * len(SCOPES))
        a, b = (Compared.of(each, scopes, others) for each in (one, alone))
        for pair, products in a.products.items():
            assert np.allclose(products, b.products[pair], rtol=1e-12, atol=1e-9)


def test_whoever_is_held_against_themselves_moves_by_nothing() -> None:
    years, strata = _many(np.random.default_rng(8), 400, 1)
    (sums,) = dimension_sums(years, strata, [4], n_groups=N_GROUPS)
    same = _matrix([OTHERS])
    has_other = np.ones((1, 4), np.bool_)
    for basis in BASES:
        columns, _ = change_columns(
            Compared.of(sums, same, same), basis, np.ones(len(MEASURES)), has_other
        )
        assert np.all(columns["relative_change"] == 0)
        assert np.all(columns["std_error_log"] == 0)


@pytest.mark.parametrize("basis", list(BASES))
def test_the_error_is_that_of_draws_of_members(basis: str) -> None:
    """Poisson weights of the members, drawn 4,000 times, spread the logarithm as much."""
    rng = np.random.default_rng(11)
    n = 6_000
    years, _ = _many(rng, n, 0)
    stayed = rng.random(n) < 0.8
    years[1] = OutcomeYear(
        np.where(stayed, years[0].group, years[1].group), years[1].n, years[1].e, years[1].d, KIND
    )
    stratum = np.zeros((2, n), np.int16)
    (sums,) = dimension_sums(years, [stratum], [1], n_groups=N_GROUPS)
    compared = Compared.of(sums, _matrix([SCOPES[0]]), _matrix([OTHERS]))
    columns, _ = change_columns(compared, basis, np.ones(len(MEASURES)), np.ones((1, 1), np.bool_))
    rates, _ = rate_columns(
        _matrix([SCOPES[0]]) @ sums.sums[1], np.ones((1, 1)), np.ones(len(MEASURES)),
        np.ones(len(MEASURES)), 0,
    )  # fmt: skip
    weights = rng.poisson(1.0, (4_000, n)).astype(float)
    for m in (0, 3, 6):
        logs = {}
        for name, groups in (("own", SCOPES[0]), ("other", OTHERS)):
            for year in (0, 1):
                of = years[year]
                inside = np.isin(of.group, list(groups))
                b = of.d[KIND[m]] if basis == "crude" else of.e[m]
                logs[name, year] = np.log(weights @ (of.n[m] * inside) / (weights @ (b * inside)))
        drawn = logs["own", 1] - logs["own", 0] - logs["other", 1] + logs["other", 0]
        assert columns["std_error_log"][m, 0, 0] == pytest.approx(drawn.std(), rel=0.05)
        name = "rate" if basis == "crude" else "rate_standardised"
        error = "std_error" if basis == "crude" else "std_error_standardised"
        drawn_rate = np.exp(logs["own", 1]) * MEASURES[m].scale
        assert rates[name][m, 0, 0] == pytest.approx(drawn_rate.mean(), rel=0.02)
        assert rates[error][m, 0, 0] == pytest.approx(drawn_rate.std(), rel=0.05)


@pytest.mark.parametrize(("members", "events"), [(120, 12.0), (320, 30.0)])
def test_intervals_of_small_arms_hold_no_change_as_often_as_they_say(
    members: int, events: float
) -> None:
    """600 pairs of arms whose care did not change: people differ, and each is their own kind.

    Of 600 intervals that hold 95 % three standard errors are 2.7 points.
    """
    rng = np.random.default_rng(members)
    pairs = 600
    n = 2 * pairs * members
    arm = np.repeat(np.arange(2 * pairs), members)
    need = rng.gamma(0.5, 2.0, n) * events / members
    rates = [rng.poisson(need).astype(float) for _ in (0, 1)]
    years = [
        OutcomeYear(
            np.zeros(n, np.int64), np.tile(found, (len(MEASURES), 1)),
            np.ones((len(MEASURES), n)), np.ones((len(DENOMINATORS), n)), KIND,
        )
        for found in rates
    ]  # fmt: skip
    (sums,) = dimension_sums(years, [np.stack([arm, arm])], [2 * pairs], n_groups=1)
    scope, mean_cents = np.ones((1, 1)), np.ones(len(MEASURES))
    has_other = np.ones((1, 2 * pairs), np.bool_)
    held = told = 0
    for pair in range(pairs):
        compared = Compared.of_strata(sums, scope, control=2 * pair + 1)
        columns, flag = change_columns(compared, "crude", mean_cents, has_other)
        at = 0, 0, 2 * pair
        if not _words(flag, at):
            told += 1
            held += columns["low"][at] <= 0 <= columns["high"][at]
    assert told > 0.95 * pairs
    assert held / told == pytest.approx(0.95, abs=0.027)


# --- what is expected -----------------------------------------------------------------------------


def test_bands_are_the_multiples_of_the_mean_that_a_score_reaches() -> None:
    """The mean of those who are in is (1 x 12 + 3 x 4) / 16 = 1.5, half of it 0.75."""
    score = np.array([1_000_000, 3_000_000, 749_999, 750_000, 6_000_000])
    months = np.array([12, 4, 12, 12, 12])
    is_in = np.array([True, True, False, False, False])
    edges = [Decimal("0.5"), Decimal(1), Decimal(2), Decimal(4)]
    assert score_bands(score, months, is_in, edges).tolist() == [1, 3, 0, 1, 4]


def test_thin_strata_stand_with_those_of_their_cell_then_with_all_thin_ones() -> None:
    """Cells of three bands: 50 thin of 1,300 together; 40 thin of 90; 3 thin of 20; none."""
    denominator = np.array([2_000, 700, 600, 1_500, 40, 50, 3, 1_200, 17, 1_200, 1_200, 1_200])
    pool = pooled(denominator, 3, 1_200)
    assert pool.tolist() == [0, 12, 12, 3, 16, 16, 16, 7, 16, 9, 10, 11]
    numerator = np.arange(12) * 10
    rates = stratum_rates(numerator, denominator, pool)
    assert rates[0] == 0.0
    assert rates[1] == rates[2] == (10 + 20) / 1_300
    assert rates[4] == rates[5] == rates[6] == rates[8] == (40 + 50 + 60 + 80) / 110
    assert rates[7] == 70 / 1_200


def test_a_stratum_that_the_base_year_has_nothing_of_has_the_state_s_rate() -> None:
    denominator, numerator = np.array([0, 0, 5, 5]), np.array([0, 0, 1, 2])
    pool = pooled(denominator, 2, 5)
    assert stratum_rates(numerator, denominator, pool).tolist() == [0.3, 0.3, 0.2, 0.4]
    assert stratum_rates(numerator * 0, denominator * 0, pool).tolist() == [0.0] * 4


def test_who_is_expected_by_their_own_rates_has_the_state_s_in_the_base_year() -> None:
    """Expected adds up to what there was, over the state and its strata of risk."""
    rng = np.random.default_rng(2)
    stratum, d = rng.integers(0, 8, 500), rng.integers(1, 13, 500)
    n = rng.poisson(0.2 * d)
    by = [np.bincount(stratum, weights, 8).astype(np.int64) for weights in (n, d)]
    rates = stratum_rates(by[0], by[1], pooled(by[1], 4, 1))
    assert (d * rates[stratum]).sum() == pytest.approx(n.sum())
