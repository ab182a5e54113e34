"""A block's ranges hold its values, and a block told to be unchanged is."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.settle._fused import BLOCK, LANES, Shape
from kernels.settle._plan import Plan
from kernels.settle._ranges import compiled
from kernels.settle.settle_grid import Op
from kernels.settle.settle_summary import _ranges

N_BLOCKS = 5
MEANING: dict[Op, Any] = {
    Op.ADD: np.add,
    Op.SUBTRACT: np.subtract,
    Op.MULTIPLY: np.multiply,
    Op.DIVIDE: lambda a, b: np.where(b != 0, a / b, 0.0),
    Op.MINIMUM: lambda a, b: np.where(b < a, b, a),
    Op.MAXIMUM: lambda a, b: np.where(b > a, b, a),
    Op.LESS: lambda a, b: (a < b) * 1.0,
    Op.AT_MOST: lambda a, b: (a <= b) * 1.0,
    Op.EQUAL: lambda a, b: (a == b) * 1.0,
    Op.SELECT: lambda a, b, c: np.where(a != 0, b, c),
    Op.ROUND: np.rint,
}


@st.composite
def plans(draw: Any) -> tuple[Plan, np.ndarray]:
    """Programs in which each operation takes the one before it; sources that differ by block."""
    n_sources, n_constants = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    centres = rng.choice([-1e3, -2.0, 0.0, 3.0, 1e3, 1e200], (n_sources, N_BLOCKS))
    spreads = rng.choice([0.0, 1.0, 100.0], (n_sources, N_BLOCKS))
    noise = np.rint(rng.normal(0, 1, (n_sources, N_BLOCKS, BLOCK)) * spreads[..., None])
    sources = (centres[..., None] + noise).reshape(n_sources, -1)
    constants = rng.choice([-1.0, 0.0, 0.5, 1.0, 1.0, 2.0], (draw(st.integers(2, 12)), n_constants))
    n_inputs = n_sources + n_constants
    program = []
    for i in range(draw(st.integers(1, 10))):
        op = draw(st.sampled_from(list(Op)))
        n_written = n_inputs + i
        operands = [draw(st.integers(0, n_written - 1)) for _ in range(3)]
        if i:
            operands[draw(st.integers(0, 2))] = n_written - 1
        program.append([int(op), *operands])
    table = np.array(program, dtype=np.int32)
    return Plan(constants, table, n_sources, n_inputs + len(program) - 1), sources


def values(plan: Plan, live: np.ndarray, terms: np.ndarray) -> np.ndarray:
    """Every row of a plan in one scenario."""
    rows = [*live, *(np.full(live.shape[1], term) for term in terms)]
    for op, _, operands in plan.operations:
        rows.append(MEANING[Op(op)](*(rows[k] for k in operands)))
    return np.array(rows)


@given(plans())
@settings(max_examples=200, deadline=None)
def test_ranges_hold_and_what_is_unchanged_is(case: tuple[Plan, np.ndarray]) -> None:
    plan, sources = case
    live = np.ascontiguousarray(plan.live(sources)).reshape(plan.n_live, N_BLOCKS * BLOCK)
    width = live.shape[1]
    shape = Shape(
        plan.n_live, plan.n_terms, width, LANES, BLOCK, plan.operations, plan.lists, plan.output
    )
    code = compiled(shape)
    ranges, bits = _ranges(live, len(plan.operations), LANES), np.zeros(1, np.uint8)
    form = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 5)
    before: np.ndarray | None = None
    for s, terms in enumerate(plan.terms):
        entry = code.entries[plan.which[s] if s else -1][1]
        if entry:
            at = [plan.terms[max(0, s - back)].ctypes.data for back in (0, 1)]
            form(entry)(ranges.ctypes.data, *at, bits.ctypes.data, 0)
        with np.errstate(all="ignore"):
            found = values(plan, live, terms)
        blocks = found.reshape(len(found), N_BLOCKS, BLOCK)
        for i, (_, row, _) in enumerate(plan.operations):
            low, high = ranges[plan.n_live + i, :, :N_BLOCKS, None]
            assert (((low <= blocks[row]) & (blocks[row] <= high)) | np.isinf(low)).all()
            assert (np.isinf(low) == np.isinf(high)).all()
        output = blocks[plan.output]
        if before is not None:
            for b in range(N_BLOCKS):
                if not entry or not bits[0] >> b & 1:
                    assert np.array_equal(output[b], before[b], equal_nan=True)
        before = output
