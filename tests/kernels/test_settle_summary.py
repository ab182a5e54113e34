"""Summaries are those of the payments themselves, in all forms; and the refusals."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from kernels import KernelInputError, settle_grid, settle_summary
from kernels.settle._plan import Plan
from kernels.settle.settle_grid import Op
from kernels.settle.settle_summary import _cpu, _gpu, _limit, reference

TAKEN = {Op.SELECT: 3, Op.ROUND: 1}
P = (0, 50_000, 500_000, 950_000, 1_000_000)
Case = tuple[np.ndarray, np.ndarray, np.ndarray, int, tuple[int, ...]]


@st.composite
def cases(draw: Any) -> Case:
    """Programs of up to 12 operations that end in a rounding; few distinct values, so ties."""
    n_sources, n_constants = draw(st.integers(1, 3)), draw(st.integers(0, 4))
    n_scenarios, n_replicates = draw(st.integers(1, 6)), draw(st.integers(2, 30))
    cents = st.sampled_from([0.0, 1.0, -7.0]) | st.integers(-(10**7), 10**7).map(float)
    rates = st.sampled_from([0.0, 0.02, 0.5, 1.0, -1.0, 2.0]) | st.floats(-2, 2)
    sources = [[draw(cents) for _ in range(n_replicates)] for _ in range(n_sources)]
    axes = [draw(st.lists(rates, min_size=1, max_size=2)) for _ in range(n_constants)]
    constants = [[draw(st.sampled_from(axis)) for axis in axes] for _ in range(n_scenarios)]
    program = []
    for i in range(draw(st.integers(1, 12))):
        op = draw(st.sampled_from(list(Op)))
        operands = [draw(st.integers(0, n_sources + n_constants + i - 1)) for _ in range(3)]
        program.append(
            [int(op), *(r if k < TAKEN.get(op, 2) else 0 for k, r in enumerate(operands))]
        )
    last = n_sources + n_constants + len(program) - 1
    program.append([int(Op.ROUND), last, 0, 0])
    return (
        np.array(sources),
        np.array(constants, dtype=np.float64).reshape(n_scenarios, n_constants),
        np.array(program, dtype=np.int32),
        last + 1,
        draw(st.sampled_from([(), P, (500_000,)])),
    )


def expected(case: Case) -> np.ndarray | None:
    """What the reference gives; None where payments leave the exact range."""
    sources, constants, program, output, _ = case
    outputs = np.array([output], dtype=np.int32)
    try:
        raw = kernels.settle_grid(sources, constants, program, outputs, whole=False)
        if not bool((abs(raw) < _limit(sources.shape[1] - 1)).all()):
            return None
        found = reference(*case)
    except OverflowError:
        return None
    assert isinstance(found, np.ndarray)
    return found


@given(cases())
@settings(max_examples=100, deadline=None)
def test_the_compiled_form_is_the_reference(case: Case) -> None:
    wanted = expected(case)
    if wanted is None:
        with pytest.raises(KernelInputError, match="would not be exact"):
            settle_summary(*case)
        return
    found = settle_summary(*case)
    assert found.dtype == wanted.dtype == np.int64
    assert np.array_equal(found, wanted)


@st.composite
def wide_cases(draw: Any) -> Case:
    """The same programs over several blocks of replicates and a small grid of terms."""
    _, constants, program, output, _ = draw(cases())
    n_constants = constants.shape[1]
    n_sources = output - len(program) + 1 - n_constants
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(60, 300))
    spread = draw(st.sampled_from([0.0, 3.0, 1e4]))
    centre = draw(st.sampled_from([0.0, 5.0, 1e6]))
    sources = np.rint(rng.normal(centre, spread, (n_sources, n)))
    axes = [np.unique(rng.choice([-1.0, 0.0, 0.5, 0.9, 1.0, 2.0], 3)) for _ in range(n_constants)]
    points = list(product(*axes))
    grid = np.array(points).reshape(len(points), n_constants)
    kept = rng.permutation(len(grid))[:40] if draw(st.booleans()) else np.arange(len(grid))[:40]
    return sources, np.ascontiguousarray(grid[kept]), program, output, P


@given(wide_cases())
@settings(max_examples=150, deadline=None)
def test_blocks_that_a_scenario_leaves_alone_are_as_they_were(case: Case) -> None:
    sources, constants, program, output, p_micro = case
    outputs = np.array([output], dtype=np.int32)
    payments = settle_grid(sources, constants, program, outputs, whole=False)[:, 0]
    if not bool((abs(payments) < _limit(sources.shape[1] - 1)).all()):
        with pytest.raises(KernelInputError, match="would not be exact"):
            settle_summary(*case)
        return
    rows = np.ascontiguousarray(payments[:, 1:].astype(np.int64))
    found = settle_summary(*case)
    assert np.array_equal(found[:, 0], payments[:, 0])
    assert np.array_equal(found[:, 1], rows.sum(axis=1))
    assert np.array_equal(found[:, 2], (rows > 0).sum(axis=1))
    assert np.array_equal(found[:, 3], (rows < 0).sum(axis=1))
    assert np.array_equal(found[:, 4:], kernels.quantiles(rows, p_micro))


def launch(host_twin: Callable[..., list[Any]], case: Case) -> tuple[np.ndarray, int]:
    sources, constants, program, output, p_micro = case
    n, n_blocks, n_threads = sources.shape[1], 2, 3
    ranks = np.array([max(1, -(-p * (n - 1) // 10**6)) for p in p_micro], dtype=np.int64)
    arguments = [
        sources, constants, program, ranks, np.int32(len(sources)), np.int32(constants.shape[1]),
        np.int32(len(program)), np.int32(output), np.int32(len(ranks)), np.int64(len(constants)),
        np.int64(n), np.float64(_limit(n - 1)), np.zeros((len(program), n_blocks * n_threads)),
        np.zeros((n_blocks, n), dtype=np.int64),
        np.zeros((len(constants), 4 + len(ranks)), dtype=np.int64), np.zeros(1, dtype=np.int32),
    ]  # fmt: skip
    *_, out, inexact = host_twin("settle_summary", arguments, grid=n_blocks, block=n_threads)
    return out, int(inexact[0])


@given(case=cases())
@settings(max_examples=25, deadline=None)
def test_the_cuda_twin_is_the_reference(host_twin: Callable[..., list[Any]], case: Case) -> None:
    wanted = expected(case)
    found, inexact = launch(host_twin, case)
    assert bool(inexact) == (wanted is None)
    if wanted is not None:
        assert np.array_equal(found, wanted)


@pytest.mark.gpu
@given(cases())
@settings(max_examples=50, deadline=None)
def test_the_gpu_gives_the_reference(case: Case) -> None:
    wanted = expected(case)
    if wanted is None:
        return
    sources, constants, program, output, p_micro = case
    there = kernels.to_device(sources), kernels.to_device(constants)
    found = settle_summary(*there, program, output, p_micro)
    assert np.array_equal(kernels.to_host(found), wanted)


def shares(n_replicates: int, order: str) -> np.ndarray:
    """Savings of draws: in no order, rising, or with many ties at nothing."""
    rng = np.random.default_rng(5)
    savings = np.rint(rng.normal(2e6, 3e6, n_replicates))
    if order == "rising":
        savings.sort()
    if order == "ties":
        savings = np.where(abs(savings) < 2e6, 0.0, savings)
    if order == "one value":
        savings[:] = -5.0
    return savings


@pytest.mark.parametrize("order", ["none", "rising", "ties", "one value"])
@pytest.mark.parametrize("n_replicates", [2, 3, 65, 257, 1025, 2001, 4200])
def test_a_gate_and_a_share_over_many_replicates(order: str, n_replicates: int) -> None:
    """More replicates than a tile, more scenarios than a block of few, ranks at both ends."""
    sources = np.stack([shares(n_replicates, order), np.arange(n_replicates, dtype=np.float64)])
    gates, parts = np.linspace(0, 4e6, 7), np.linspace(0.3, 0.7, 6)
    constants = np.array([[gate, part, 0.0] for part in parts for gate in gates])
    program = np.array(
        [
            [Op.AT_MOST, 2, 0, 0],
            [Op.SELECT, 5, 0, 4],
            [Op.MULTIPLY, 6, 3, 0],
            [Op.ADD, 7, 1, 0],
            [Op.ROUND, 8, 0, 0],
        ],
        dtype=np.int32,
    )
    payments = kernels.settle_grid(sources, constants, program, np.array([9], dtype=np.int32))[:, 0]
    found = settle_summary(sources, constants, program, 9, P)
    assert np.array_equal(found[:, 0], payments[:, 0])
    assert np.array_equal(found[:, 1], payments[:, 1:].sum(axis=1))
    assert np.array_equal(found[:, 2], (payments[:, 1:] > 0).sum(axis=1))
    assert np.array_equal(found[:, 3], (payments[:, 1:] < 0).sum(axis=1))
    rows = np.ascontiguousarray(payments[:, 1:])
    assert np.array_equal(found[:, 4:], kernels.quantiles(rows, P))


def test_replicates_and_scenarios_may_come_in_any_order() -> None:
    rng = np.random.default_rng(3)
    sources = np.rint(rng.normal(0, 1e6, (1, 500)))
    constants = rng.random((40, 2)).round(1)
    program = np.array(
        [[Op.MULTIPLY, 0, 1, 0], [Op.MAXIMUM, 3, 2, 0], [Op.ROUND, 4, 0, 0]], dtype=np.int32
    )
    found = settle_summary(sources, constants, program, 5, P)
    turned = np.ascontiguousarray(np.hstack([sources[:, :1], sources[:, :0:-1]]))
    assert np.array_equal(settle_summary(turned, constants, program, 5, P), found)
    mixed = rng.permutation(40)
    assert np.array_equal(settle_summary(sources, constants[mixed], program, 5, P), found[mixed])


def test_more_moved_terms_than_a_word_has_bits() -> None:
    rng = np.random.default_rng(4)
    sources, constants = np.rint(rng.normal(0, 1e6, (1, 20))), rng.random((9, 70)).round(1)
    program = [[int(Op.MULTIPLY), 0, 1, 0]]
    program += [[int(Op.ADD), 71 + i, 2 + i, 0] for i in range(69)]
    program += [[int(Op.ROUND), 70 + len(program), 0, 0]]
    table = np.array(program, dtype=np.int32)
    case = (sources, constants, table, 71 + 70, (500_000,))
    assert np.array_equal(settle_summary(*case), reference(*case))


def test_what_only_terms_make_up_is_done_once_a_scenario() -> None:
    """1 - share needs no replicate; the product with the savings does."""
    sources, constants = np.ones((1, 4)), np.array([[1.0, 0.2], [1.0, 0.3]])
    program = np.array(
        [[Op.SUBTRACT, 1, 2, 0], [Op.MULTIPLY, 0, 3, 0], [Op.ROUND, 4, 0, 0]], dtype=np.int32
    )
    plan = Plan(constants, program, 1, 5)
    assert plan.terms.tolist() == [[0.8], [0.7]]
    assert [operation[0] for operation in plan.operations] == [Op.MULTIPLY, Op.ROUND]
    assert plan.live(sources).tolist() == [[1.0] * 4]


def test_terms_that_enter_last_vary_fastest() -> None:
    """Of two terms the one that more operations rest on stays while the other runs through."""
    early, late = np.repeat([0.1, 0.2, 0.3], 10), np.tile(np.arange(10.0), 3)
    mixed = np.random.default_rng(1).permutation(30)
    constants = np.ascontiguousarray(np.stack([early, late], axis=1)[mixed])
    program = np.array(
        [[Op.MULTIPLY, 0, 1, 0], [Op.MULTIPLY, 3, 3, 0], [Op.MULTIPLY, 4, 4, 0],
         [Op.MULTIPLY, 5, 2, 0], [Op.ROUND, 6, 0, 0]],
        dtype=np.int32,
    )  # fmt: skip
    plan = Plan(constants, program, 1, 7)
    assert (np.diff(plan.terms[:, 0]) != 0).sum() == 2


def valid() -> dict[str, Any]:
    return {
        "sources": np.ones((2, 3)),
        "constants": np.ones((1, 1)),
        "program": np.array([[Op.ADD, 0, 2, 0], [Op.ROUND, 3, 0, 0]], dtype=np.int32),
        "output": 4,
        "p_micro": (500_000,),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": np.ones((2, 3), dtype=np.int64)}, "sources: expected dtype"),
        ({"sources": np.ones((2, 1))}, "at least one replicate"),
        ({"sources": np.full((2, 3), np.nan)}, "finite"),
        ({"sources": np.full((2, 3), 2.0**53 - 1)}, "would not be exact"),
        ({"constants": np.full((1, 1), np.inf)}, "constants: expected finite"),
        ({"program": np.array([[99, 0, 0, 0]], dtype=np.int32)}, "expected an operation"),
        ({"output": 9}, "expected a register"),
        ({"output": 3}, "rounding or a comparison"),
        ({"p_micro": (1_000_001,)}, "expected 0 to"),
    ],
)
def test_what_could_not_be_exact_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(KernelInputError, match=message):
        settle_summary(**{**valid(), **change})


def test_no_scenarios_give_no_rows() -> None:
    assert settle_summary(**{**valid(), "constants": np.ones((0, 1))}).shape == (0, 5)


def test_both_private_forms_take_the_same_arguments() -> None:
    assert list(inspect.signature(_cpu).parameters) == list(inspect.signature(_gpu).parameters)


def test_settle_grid_is_the_meaning() -> None:
    case = valid()
    payments = settle_grid(
        case["sources"], case["constants"], case["program"], np.array([4], dtype=np.int32)
    )
    assert settle_summary(**case).tolist() == [[payments[0, 0, 0], 4, 2, 0, 2]]
