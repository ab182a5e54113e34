"""Indices and drivers as the rule states them, over any sums."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ihp_compute.results.programme.cost_index import Drivers, Totals, drivers, indices

amounts = st.integers(1, 10**13)
totals = st.tuples(st.integers(1, 10**7), st.integers(1, 10**13), amounts, amounts)
items = st.tuples(st.integers(-(10**9), 10**11), st.integers(0, 10**7), st.integers(0, 10**6))
both = st.lists(st.tuples(items, items), min_size=1, max_size=6)


def of(*values: int) -> Totals:
    return Totals(*(np.array(value, np.int64) for value in values))


def exact(own: Any, peer: Any) -> tuple[Fraction, Fraction, Fraction]:
    """TCI, RUI and price index in fractions: months, risk, cost, resources."""
    risk = [Fraction(each[1], each[0]) for each in (own, peer)]
    tci, rui = (
        Fraction(own[k], own[0]) / risk[0] / (Fraction(peer[k], peer[0]) / risk[1]) for k in (2, 3)
    )
    return tci, rui, Fraction(own[2], own[3]) / Fraction(peer[2], peer[3])


@given(own=totals, peer=totals)
def test_the_total_cost_index_is_resource_use_times_price(own: Any, peer: Any) -> None:
    found = indices(of(*own), of(*peer))
    expected = exact(own, peer)
    assert expected[0] == expected[1] * expected[2]
    for ours, right in zip(found[:3], expected, strict=True):
        assert float(ours) == pytest.approx(float(right), rel=1e-13)
    assert float(found.tci) == pytest.approx(float(found.rui) * float(found.price_index), rel=1e-13)


def test_a_scope_is_its_own_peer_at_one() -> None:
    own = of(120, 140_000_000, 999, 777)
    assert [float(index) for index in indices(own, own)[:3]] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("k", range(4))
@pytest.mark.parametrize("of_peer", [False, True])
def test_without_a_denominator_the_indices_are_zero(k: int, of_peer: bool) -> None:
    sums = [12, 12_000_000, 500, 400]
    bare = [0 if i == k else value for i, value in enumerate(sums)]
    own, peer = (sums, bare) if of_peer else (bare, sums)
    found = indices(of(*own), of(*peer))
    assert [float(index) for index in found[:3]] == [0.0, 0.0, 0.0]
    assert not found.whole


def split(pairs: Any, months: tuple[int, int], weight: Any) -> Drivers:
    own, peer = (np.array(side, np.int64).T for side in zip(*pairs, strict=True))
    return drivers(
        own[0], own[1], months[0], peer[0], peer[1], months[1],
        np.array(weight, np.float64),
    )  # fmt: skip


@given(pairs=both, months=st.tuples(st.integers(1, 10**7), st.integers(1, 10**7)),
       ratio=st.floats(0.01, 100))  # fmt: skip
@example(pairs=[((0, 70_369, 0), (97_656_249, 1, 0))], months=(1, 295), ratio=2.0)
def test_drivers_by_category_are_the_rule_and_add_up(
    pairs: Any, months: tuple[int, int], ratio: float
) -> None:
    """Mix (w - 1) P₀U₀, use w P₀ (U ÷ w - U₀), price w (U ÷ w) (P - P₀), where both have services;
    the parts add up to the difference, whatever is missing."""
    found = split(pairs, months, [ratio] * len(pairs))
    n, n0 = months
    for i, ((cost, services, _), (cost0, services0, _)) in enumerate(pairs):
        own, peer = cost / n / 100, cost0 / n0 / 100
        at_peer_s_price = abs(cost0) / services0 * services / n / 100 if services0 else 0.0
        size = abs(own) + (1 + ratio) * abs(peer) + at_peer_s_price + 1  # of what is subtracted
        near = {"rel": 1e-9, "abs": 1e-9 * size}
        assert found.difference[i] == pytest.approx(own - peer, **near)
        whole = found.mix[i] + found.use[i] + found.price[i]
        assert whole == pytest.approx(found.difference[i], **near)
        if services and services0:
            u, u0, p, p0 = services / n, services0 / n0, cost / services, cost0 / services0
            much = {"rel": 1e-9, "abs": 1e-9 * (1 + abs(p0) * (u + (1 + ratio) * u0) + abs(p) * u)}
            assert found.mix[i] == pytest.approx((ratio - 1) * p0 * u0 / 100, **much)
            expected = ratio * p0 * (u / ratio - u0) / 100
            assert found.use[i] == pytest.approx(expected, **much)
            assert found.price[i] == pytest.approx(u * (p - p0) / 100, **much)


@given(pairs=both)
def test_drivers_by_condition_are_the_rule_and_add_up(pairs: Any) -> None:
    """Mix (w - w₀) P₀U₀, use w P₀ (U - U₀), price w U (P - P₀), U within the condition."""
    pairs = [
        # who has no months in a condition has no services and no cost there
        tuple((c, s, m) if m else (0, 0, 0) for c, s, m in pair)
        for pair in pairs
    ]
    n, n0 = (max(sum(pair[side][2] for pair in pairs), 1) for side in (0, 1))
    shares = [(own[2] / n, peer[2] / n0) for own, peer in pairs]
    found = split(pairs, (n, n0), [w / w0 if w0 else np.nan for w, w0 in shares])
    for i, ((cost, services, m), (cost0, services0, m0)) in enumerate(pairs):
        w, w0 = shares[i]
        size = abs(cost) / n + (1 + w / w0 if w0 else 1) * abs(cost0) / n0
        size += abs(cost0) / services0 * services / n if services0 else 0.0
        much = {"rel": 1e-9, "abs": 1e-9 * (1 + size)}
        whole = found.mix[i] + found.use[i] + found.price[i]
        assert whole == pytest.approx(cost / n / 100 - cost0 / n0 / 100, **much)
        if services and services0:
            u, u0, p, p0 = services / m, services0 / m0, cost / services, cost0 / services0
            much["abs"] = 1e-9 * (1 + abs(p0) * (w * u + (w + w0) * u0) + abs(p) * w * u)
            assert found.mix[i] == pytest.approx((w - w0) * p0 * u0 / 100, **much)
            assert found.use[i] == pytest.approx(w * p0 * (u - u0) / 100, **much)
            assert found.price[i] == pytest.approx(w * u * (p - p0) / 100, **much)
        elif not m:  # nobody of the group: what is missing is as the peer's, so all is mix
            assert (found.use[i], found.price[i]) == (0, 0)


def test_what_is_missing_is_as_on_the_other_side() -> None:
    """No services of the peer: their cost is the group's own, so more use; none of the group: less
    use. A condition that the peer lacks is mix."""
    (mix, use, price, difference) = split([((600, 3, 1), (0, 0, 1))], (1, 1), [1.0])
    assert (mix[0], use[0], price[0], difference[0]) == (0, 6, 0, 6)
    (mix, use, price, difference) = split([((0, 0, 1), (600, 3, 1))], (1, 1), [1.0])
    assert (mix[0], use[0], price[0], difference[0]) == (0, -6, 0, -6)
    (mix, use, price, _) = split([((600, 3, 1), (0, 0, 0))], (1, 1), [np.nan])
    assert (mix[0], use[0], price[0]) == (6, 0, 0)


def test_reversals_without_services_are_price() -> None:
    (mix, use, price, difference) = split([((-600, 0, 1), (600, 3, 1))], (1, 1), [1.0])
    assert (mix[0], use[0], price[0], difference[0]) == (0, -6, -6, -12)
