"""A quantile is one of the values, chosen by its rank."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import KernelInputError, quantiles, to_device, to_host
from kernels.draws.quantiles import _gpu, ranks_of, reference

probabilities = st.lists(st.integers(0, 1_000_000), max_size=5)


@st.composite
def rows(draw: st.DrawFn, most: int = 300) -> Any:
    """Rows that are spread, tied, skewed or at the ends of int64."""
    shape = (draw(st.integers(0, 4)), draw(st.integers(1, most)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["spread", "tied", "skewed", "constant", "gated"]))
    if kind == "spread":
        return rng.integers(-(2**63), 2**63 - 1, shape, dtype=np.int64, endpoint=True)
    if kind == "tied":
        return rng.integers(-3, 4, shape)
    if kind == "skewed":
        values = rng.integers(0, 40, shape)
        values[rng.random(shape) < 0.02] = 2**62
        return values
    if kind == "constant":
        return np.full(shape, draw(st.integers(-(2**63), 2**63 - 1)), np.int64)
    return np.where(rng.random(shape) < 0.8, 0, rng.integers(-(10**9), 10**9, shape))


@settings(max_examples=300, deadline=None)
@given(values=rows(), p_micro=probabilities)
def test_fast_selection_is_the_sorted_rank(values: Any, p_micro: list[int]) -> None:
    fast, slow = quantiles(values, p_micro), reference(values, p_micro)
    assert fast.dtype == slow.dtype == np.int64
    assert fast.shape == slow.shape == (len(values), len(p_micro))
    assert np.array_equal(fast, slow)


@settings(max_examples=25, deadline=None)
@given(values=rows(40), p_micro=probabilities)
def test_the_cuda_text_selects_the_same(
    host_twin: Callable[..., list[Any]], values: Any, p_micro: list[int]
) -> None:
    n_rows, n = values.shape
    ranks = ranks_of(p_micro, n)
    out = np.zeros((n_rows, len(ranks)), np.int64)
    arguments = [values, ranks, np.int64(n), np.int32(len(ranks)), out]
    if out.size:
        out = host_twin("quantiles", arguments, grid=n_rows, block=3)[-1]
    assert np.array_equal(out, reference(values, p_micro))


def test_the_launch_lays_out_what_the_cuda_text_expects(
    numpy_as_cupy: Callable[[str], None],
) -> None:
    numpy_as_cupy("quantiles")
    values = np.random.default_rng(1).integers(-50, 50, (6, 31))
    p_micro = [0, 500_000, 975_000]
    assert np.array_equal(_gpu(values, ranks_of(p_micro, 31)), reference(values, p_micro))


@pytest.mark.gpu
@settings(max_examples=200, deadline=None)
@given(values=rows(), p_micro=probabilities)
def test_a_gpu_selects_the_same(values: Any, p_micro: list[int]) -> None:
    found = to_host(quantiles(to_device(values), p_micro))
    assert np.array_equal(found, reference(values, p_micro))


def test_a_long_row_is_counted_in_parts() -> None:
    values = np.random.default_rng(2).integers(0, 10**4, (1, 100_000))
    p_micro = [0, 1, 25_000, 500_000, 999_999, 1_000_000]
    assert np.array_equal(quantiles(values, p_micro), reference(values, p_micro))


@pytest.mark.parametrize(
    ("p_micro", "n", "rank"),
    [
        (0, 2000, 1),
        (1, 2000, 1),
        (25_000, 2000, 50),
        (25_001, 2000, 51),
        (975_000, 2000, 1950),
        (1_000_000, 2000, 2000),
        (333_333, 3, 1),
        (333_334, 3, 2),
    ],
)
def test_a_rank_is_rounded_up_in_integers(p_micro: int, n: int, rank: int) -> None:
    assert ranks_of([p_micro], n).tolist() == [rank]
    assert quantiles(np.arange(1, n + 1)[None, :], [p_micro]).tolist() == [[rank]]


@pytest.mark.parametrize("p_micro", [-1, 1_000_001])
def test_a_probability_outside_0_to_1_is_refused(p_micro: int) -> None:
    with pytest.raises(KernelInputError, match="millionths"):
        quantiles(np.zeros((1, 1), np.int64), [500_000, p_micro])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 0), np.int64), "at least one value"),
        (np.zeros((2, 3)), "expected dtype int64"),
        (np.zeros(3, np.int64), "expected shape"),
        (np.zeros((3, 2), np.int64).T, "C-contiguous"),
        ([[1, 2]], "NumPy or CuPy"),
    ],
)
def test_values_of_another_kind_are_refused(values: Any, message: str) -> None:
    with pytest.raises(KernelInputError, match=message):
        quantiles(values, [500_000])
