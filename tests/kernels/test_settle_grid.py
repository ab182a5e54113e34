"""One meaning in all forms, and the refusals that keep it exact."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from kernels import KernelInputError, settle_grid
from kernels.settle.settle_grid import Op, _cpu, _gpu, reference

Grid = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
TAKEN = {Op.SELECT: 3, Op.ROUND: 1}


@st.composite
def grids(draw: Any) -> Grid:
    """Programs of up to 12 operations over up to 4 sources and 3 constants."""
    n_sources, n_constants = draw(st.integers(1, 4)), draw(st.integers(0, 3))
    n_scenarios, n_replicates = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    cents = st.integers(-(10**12), 10**12).map(float)
    rates = st.sampled_from([0.0, 0.02, 0.5, 1.0, -1.0, 2.0]) | st.floats(-2, 2)
    sources = [[draw(cents) for _ in range(n_replicates)] for _ in range(n_sources)]
    shared = [draw(rates) for _ in range(n_constants)]
    constants = [
        [value if draw(st.booleans()) else draw(rates) for value in shared]
        for _ in range(n_scenarios)
    ]
    program = []
    for i in range(draw(st.integers(1, 12))):
        op = draw(st.sampled_from(list(Op)))
        operands = [draw(st.integers(0, n_sources + n_constants + i - 1)) for _ in range(3)]
        taken = TAKEN.get(op, 2)
        program.append([int(op), *(r if k < taken else 0 for k, r in enumerate(operands))])
    outputs = np.arange(n_sources + n_constants + len(program), dtype=np.int32)
    return (
        np.array(sources),
        np.array(constants, dtype=np.float64).reshape(n_scenarios, n_constants),
        np.array(program, dtype=np.int32),
        outputs,
    )


def small(values: np.ndarray) -> bool:
    """Whether nothing overflowed on the way: products of products may, and mean nothing then."""
    return bool(np.isfinite(values).all())


@given(grids())
@settings(max_examples=200, deadline=None)
def test_the_compiled_form_is_the_reference(grid: Grid) -> None:
    try:
        expected = reference(*grid, whole=False)
    except OverflowError:
        return  # the reference rounds no infinity; the kernel's guard refuses it as an output
    if not small(expected):
        return
    found = settle_grid(*grid, whole=False)
    assert found.dtype == expected.dtype == np.float64
    assert np.array_equal(found, expected)


@given(grid=grids())
@settings(max_examples=50, deadline=None)
def test_the_cuda_twin_is_the_reference(
    host_twin: Callable[..., list[np.ndarray]], grid: Grid
) -> None:
    sources, constants, program, outputs = grid
    try:
        expected = reference(*grid, whole=False)
    except OverflowError:
        return
    if not small(expected):
        return
    n_threads = 4
    found = host_twin(
        "settle_grid",
        [
            sources, constants, program, outputs,
            np.int32(len(sources)), np.int32(constants.shape[1]), np.int32(len(program)),
            np.int32(len(outputs)), np.int64(len(constants)), np.int64(sources.shape[1]),
            np.zeros((len(program), n_threads)), np.empty(expected.shape),
        ],
        grid=2,
        block=2,
    )[-1]  # fmt: skip
    assert np.array_equal(found, expected)


@pytest.mark.gpu
@given(grids())
@settings(max_examples=50, deadline=None)
def test_the_gpu_gives_the_reference(grid: Grid) -> None:
    try:
        expected = reference(*grid, whole=False)
    except OverflowError:
        return
    if small(expected):
        move = kernels.to_device
        found = settle_grid(move(grid[0]), move(grid[1]), grid[2], grid[3], whole=False)
        assert np.array_equal(kernels.to_host(found), expected)


def test_more_replicates_than_a_tile_are_all_computed() -> None:
    """1,000 replicates are eight tiles, the last of them cut off."""
    sources = np.arange(2000, dtype=np.float64).reshape(2, 1000)
    program = np.array([[Op.SUBTRACT, 0, 1, 0], [Op.ROUND, 3, 0, 0]], dtype=np.int32)
    found = settle_grid(sources, np.array([[0.5], [0.25]]), program, np.array([4], dtype=np.int32))
    assert found.dtype == np.int64
    assert np.array_equal(found, np.full((2, 1, 1000), -1000))


@given(st.lists(st.sampled_from([0.5, 2.0]), min_size=1, max_size=3))
def test_what_rests_on_terms_alone_stands_from_tile_to_tile(terms: list[float]) -> None:
    """300 replicates are three tiles; the first two operations read no source."""
    program = np.array(
        [
            [Op.DIVIDE, 1, 2, 0], [Op.ROUND, 3, 0, 0], [Op.ADD, 0, 4, 0], [Op.MULTIPLY, 3, 5, 0],
            [Op.MAXIMUM, 6, 4, 0],
        ],
        dtype=np.int32,
    )  # fmt: skip
    constants = np.stack([np.array(terms), np.full(len(terms), 0.125)], axis=1)
    case = np.arange(300.0)[None, :], constants, program, np.arange(8, dtype=np.int32)
    assert np.array_equal(settle_grid(*case, whole=False), reference(*case, whole=False))


@given(
    st.lists(
        st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=3, max_size=3), min_size=2, max_size=9
    )
)
def test_what_is_not_done_again_is_as_it_would_be(constants: list[list[float]]) -> None:
    """Terms that move, stay and come back from scenario to scenario, alone and together."""
    program = np.array(
        [
            [Op.ADD, 0, 1, 0], [Op.MULTIPLY, 0, 2, 0], [Op.MULTIPLY, 1, 3, 0], [Op.ADD, 5, 6, 0],
            [Op.SELECT, 4, 8, 7], [Op.DIVIDE, 9, 4, 0], [Op.ROUND, 10, 0, 0],
        ],
        dtype=np.int32,
    )  # fmt: skip
    sources = np.array([[100.0, -7.0, 0.0], [3.0, 7.0, 12.0]])
    case = sources, np.array(constants), program, np.array([11], dtype=np.int32)
    assert np.array_equal(settle_grid(*case), reference(*case))


@pytest.mark.parametrize(
    ("amount", "cents"), [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (0.49, 0)]
)
def test_half_a_cent_goes_to_the_even_cent(amount: float, cents: int) -> None:
    program = np.array([[Op.ROUND, 0, 0, 0]], dtype=np.int32)
    found = settle_grid(
        np.zeros((0, 1)), np.array([[amount]]), program, np.array([1], dtype=np.int32)
    )
    assert found.tolist() == [[[cents]]]


def test_an_empty_cell_gives_zero_and_not_a_number() -> None:
    program = np.array([[Op.DIVIDE, 0, 1, 0]], dtype=np.int32)
    sources = np.array([[5.0], [0.0]])
    outputs = np.array([2], dtype=np.int32)
    assert settle_grid(sources, np.zeros((1, 0)), program, outputs, whole=False) == 0.0


def test_a_product_and_a_sum_stay_two_roundings() -> None:
    """A fused multiply-add would keep the bit that rounding the product drops."""
    a = 1.0 + 2.0**-30
    sources = np.array([[a], [a], [-(a * a)]])
    program = np.array([[Op.MULTIPLY, 0, 1, 0], [Op.ADD, 3, 2, 0]], dtype=np.int32)
    found = settle_grid(
        sources, np.zeros((1, 0)), program, np.array([4], dtype=np.int32), whole=False
    )
    assert found == 0.0


def valid() -> dict[str, Any]:
    return {
        "sources": np.ones((2, 3)),
        "constants": np.ones((1, 1)),
        "program": np.array([[Op.ADD, 0, 2, 0], [Op.ROUND, 3, 0, 0]], dtype=np.int32),
        "outputs": np.array([4], dtype=np.int32),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": np.ones((2, 3), dtype=np.int64)}, "sources: expected dtype"),
        ({"sources": np.ones((3, 2)).T}, "C-contiguous"),
        ({"sources": np.full((2, 3), 2.0**53)}, "below 2\\*\\*53"),
        ({"sources": np.full((2, 3), np.nan)}, "finite"),
        ({"constants": np.full((1, 1), np.inf)}, "constants: expected finite"),
        ({"program": np.array([[99, 0, 0, 0]], dtype=np.int32)}, "expected an operation"),
        ({"program": np.array([[Op.ADD, 0, 3, 0]], dtype=np.int32)}, "written before"),
        ({"program": np.array([[Op.ADD, 0, -1, 0]], dtype=np.int32)}, "written before"),
        ({"program": np.zeros((1, 3), dtype=np.int32)}, "expected shape"),
        ({"outputs": np.array([9], dtype=np.int32)}, "expected a register"),
        ({"outputs": np.array([3], dtype=np.int32)}, "rounding or a comparison"),
        ({"outputs": np.array([0], dtype=np.int32)}, "rounding or a comparison"),
    ],
)
def test_what_could_not_be_exact_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(KernelInputError, match=message):
        settle_grid(**{**valid(), **change})


def test_cents_beyond_exact_floats_are_refused() -> None:
    case = valid()
    case["program"] = np.array([[Op.MULTIPLY, 0, 1, 0], [Op.ROUND, 3, 0, 0]], dtype=np.int32)
    case["sources"] = np.full((2, 3), 2.0**30)
    with pytest.raises(KernelInputError, match="would not be exact"):
        settle_grid(**case)


def test_a_program_over_no_replicates_gives_no_results() -> None:
    case = valid()
    case["sources"] = np.ones((2, 0))
    assert settle_grid(**case).shape == (1, 1, 0)


def test_both_private_forms_take_the_same_arguments() -> None:
    assert list(inspect.signature(_cpu).parameters) == list(inspect.signature(_gpu).parameters)
