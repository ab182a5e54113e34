"""The program of a risk model: every step, both hierarchy orders, compiled equals reference."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels._core import KernelInputError, to_device, to_host
from kernels.members.risk_score import (
    AGES,
    AND,
    CELL,
    COUNT,
    CROSS,
    DURATION,
    EXCLUDE,
    GROUP,
    HIER,
    PATCH,
    RANK,
    reference,
    risk_score,
)

SEGMENTS = 3


@st.composite
def cases(draw: st.DrawFn) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(0, 10))
    n_input = draw(st.integers(1, 2))
    n_words = n_input + draw(st.integers(0, 2))
    n_bits = 64 * n_words
    n_masks = 6
    masks = rng.integers(0, 2**64, (n_masks, n_words), dtype=np.uint64)
    masks &= rng.integers(0, 2**64, (n_masks, n_words), dtype=np.uint64)
    masks[rng.random((n_masks, n_words)) < 0.4] = 0
    children = rng.integers(0, 2**64, (64 * n_input, n_input), dtype=np.uint64)
    for _ in range(3):
        children &= rng.integers(0, 2**64, children.shape, dtype=np.uint64)
    table: list[int] = []
    steps = []

    def mask(*, absent: bool = False) -> int:
        return int(rng.integers(-1 if absent else 0, n_masks))

    def bits(count: int, *, absent: bool = True) -> list[int]:
        return [int(b) for b in rng.integers(-1 if absent else 0, n_bits, count)]

    for _ in range(draw(st.integers(0, 12))):
        operation = int(rng.integers(0, 10))
        step = [operation, int(rng.integers(1, 2**SEGMENTS)), int(rng.integers(0, 4)), 0]
        step += [-1, -1, -1, -1, 0, 0, 0]
        start = len(table)
        step[3] = bits(1, absent=False)[0]
        if operation == PATCH:
            step[4:6] = [mask(), mask()]
        elif operation in (HIER, GROUP, EXCLUDE):
            step[4], step[8] = mask(), int(rng.integers(0, 2))
        elif operation == AND:
            step[4:8] = [mask(absent=True) for _ in range(4)]
        elif operation == RANK:
            count = int(rng.integers(0, 4))
            for _ in range(count):
                table += [mask(), bits(1, absent=False)[0]]
            step[4], step[8:11] = mask(absent=True), [start, count, bits(1)[0]]
        elif operation == CROSS:
            n1, n2 = (int(v) for v in rng.integers(1, 4, 2))
            table += [n1, n2, *bits(n1, absent=False), *bits(n2, absent=False), *bits(n1 * n2)]
            step[8] = start
        elif operation in (COUNT, DURATION):
            count = int(rng.integers(1, 8))
            table += bits(count)
            step[4:6] = [mask(), mask(absent=True)]
            step[8:10] = [start, count]
        elif operation == CELL:
            width = int(rng.integers(0, 3))
            table += bits((1 << width) * 3 * AGES)
            step[8:11] = [start, int(rng.integers(0, 3)), width]
        steps.append(step)
    return {
        "words": rng.integers(0, 2**64, (n, n_input), dtype=np.uint64)
        & rng.integers(0, 2**64, (n, n_input), dtype=np.uint64),
        "age": rng.integers(-1, 140, n).astype(np.int16),
        "sex": rng.integers(0, 3, n).astype(np.uint8),
        "months": rng.integers(0, 13, n).astype(np.uint8),
        "segment": rng.integers(0, SEGMENTS, n).astype(np.uint8),
        "row": rng.integers(0, 4, n).astype(np.int32),
        "flags": rng.integers(0, 32, n).astype(np.int32),
        "steps": np.array(steps, np.int32).reshape(len(steps), 11),
        "masks": masks,
        "children": children,
        "table": np.array(table, np.int32),
        "coefficients_micro": rng.integers(-(10**9), 10**9, (4, n_bits)),
    }


@settings(max_examples=200, deadline=None)
@given(cases())
def test_the_compiled_form_equals_the_reference(case: dict[str, np.ndarray]) -> None:
    want = reference(**case)
    have = risk_score(**case)
    for wanted, found in zip(want, have, strict=True):
        assert found.dtype == wanted.dtype
        assert found.shape == wanted.shape
        assert (found == wanted).all()


def chain(*, simultaneous: bool) -> int:
    """Bits left of {0, 1, 2} when 0 clears 1 and 1 clears 2."""
    children = np.zeros((64, 1), np.uint64)
    children[0], children[1] = 2, 4
    step = [HIER, 1, 0, 0, 0, -1, -1, -1, int(simultaneous), 0, 0]
    _, terms = risk_score(
        np.array([[7]], np.uint64), np.zeros(1, np.int16), np.zeros(1, np.uint8),
        np.zeros(1, np.uint8), np.zeros(1, np.uint8), np.zeros(1, np.int32), np.zeros(1, np.int32),
        np.array([step], np.int32), np.array([[7]], np.uint64), children, np.zeros(0, np.int32),
        np.zeros((1, 64), np.int64),
    )  # fmt: skip
    return int(terms[0, 0])


def test_a_cleared_parent_clears_nothing_in_sequence() -> None:
    assert chain(simultaneous=False) == 0b101


def test_all_parents_act_at_once_when_simultaneous() -> None:
    assert chain(simultaneous=True) == 0b001


@settings(max_examples=1)
@given(cases())
def test_another_dtype_is_refused(case: dict[str, np.ndarray]) -> None:
    for name, array in case.items():
        wrong = dict(case, **{name: array.astype(np.float32)})
        with pytest.raises(KernelInputError, match=name):
            risk_score(**wrong)


@settings(max_examples=1)
@given(cases())
def test_too_few_words_for_the_masks_are_refused(case: dict[str, np.ndarray]) -> None:
    with pytest.raises(KernelInputError, match="masks"):
        risk_score(**dict(case, masks=np.zeros((1, 0), np.uint64)))


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(case=cases())
def test_the_cuda_text_equals_the_reference_on_the_host(
    host_twin: Callable[..., list[Any]], case: dict[str, np.ndarray]
) -> None:
    n, n_words = len(case["words"]), case["masks"].shape[1]
    score_micro, terms = np.zeros(n, np.int64), np.zeros((n, n_words), np.uint64)
    arguments = [
        *case.values(), np.int64(n), np.int32(case["words"].shape[1]), np.int32(n_words),
        np.int32(len(case["steps"])), score_micro, terms,
    ]  # fmt: skip
    have = host_twin("risk_score", arguments, grid=2, block=8)[-2:]
    for wanted, found in zip(reference(**case), have, strict=True):
        assert (found == wanted).all()


@pytest.mark.gpu
@settings(max_examples=100, deadline=None)
@given(cases())
def test_the_gpu_equals_the_reference(case: dict[str, np.ndarray]) -> None:
    there = {name: to_device(array) for name, array in case.items()}
    for wanted, found in zip(reference(**case), risk_score(**there), strict=True):
        assert (to_host(found) == wanted).all()
