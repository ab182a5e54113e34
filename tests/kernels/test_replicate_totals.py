"""Totals are exact integers: equal to the definition, however members and replicates are split."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels import KernelInputError, replicate_totals, to_device, to_host
from kernels.draws._lanes import (
    add_sums_1,
    add_sums_2,
    block_weights,
    portable_add_sums_1,
    portable_add_sums_2,
    portable_block_weights,
)
from kernels.draws.philox import key_schedule, weights
from kernels.draws.replicate_totals import DOUBLE_LIMIT, SUM_LIMIT, _gpu, chunks_of, reference


@dataclass(frozen=True)
class Case:
    """Arguments of one call."""

    columns: Any
    group: Any
    member_key: Any
    n_groups: int
    n_replicates: int
    seed: int
    first_replicate: int

    def run(self, form: Callable[..., Any] = replicate_totals) -> Any:
        return form(self.columns, self.group, self.member_key, **self.scalars())

    def scalars(self) -> dict[str, int]:
        names = ("n_groups", "n_replicates", "seed", "first_replicate")
        return {name: getattr(self, name) for name in names}

    def of(self, members: Any) -> Case:
        """The same call over some of the members."""
        return replace(
            self,
            columns=np.ascontiguousarray(self.columns[:, members]),
            group=self.group[members],
            member_key=self.member_key[members],
        )

    def over(self, first: int, n: int) -> Case:
        return replace(self, first_replicate=first, n_replicates=n)


@st.composite
def cases(draw: st.DrawFn, most_members: int = 150) -> Case:
    n = draw(st.integers(0, most_members))
    n_columns = draw(st.integers(0, 11))
    n_groups = draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    bits = np.array([draw(st.integers(0, 48)) for _ in range(n_columns)], dtype=np.int64)
    scale = np.left_shift(np.int64(1), bits)[:, None]
    columns = rng.integers(-scale, scale + 1, (n_columns, n), dtype=np.int64)
    columns[rng.random(columns.shape) < draw(st.sampled_from([0, 0.9]))] = 0
    group = rng.integers(-1, n_groups, n).astype(np.int32)
    member_key = rng.integers(0, 2**64, n, dtype=np.uint64)
    if n and draw(st.booleans()):
        member_key = rng.choice(member_key, n)  # several rows of one member
    if draw(st.booleans()):
        columns = columns.astype(np.float64)
    return Case(
        columns,
        group,
        member_key,
        n_groups,
        draw(st.integers(0, 20)),
        draw(st.integers(0, 2**64 - 1)),
        draw(st.integers(0, 30) | st.sampled_from([2**32 - 3, 2**35 - 20])),
    )


@settings(max_examples=200, deadline=None)
@given(case=cases())
def test_fast_totals_are_the_reference_totals(case: Case) -> None:
    fast, slow = case.run(), case.run(reference)
    assert fast.dtype == slow.dtype == np.int64
    assert fast.shape == (case.n_groups, case.n_replicates, len(case.columns))
    assert np.array_equal(fast, slow)


def on_host(host_twin: Callable[..., list[Any]], case: Case, *, in_double: bool, chunk: int) -> Any:
    """The CUDA text over the case, laid out as the GPU form lays it out."""
    order = np.argsort(case.group, kind="stable")
    order = order[case.group[order] >= 0]
    n_columns = len(case.columns)
    out = np.zeros((case.n_groups, case.n_replicates, n_columns), np.int64)
    counts = np.bincount(case.group[order], minlength=case.n_groups)
    chunk_group, chunk_start = chunks_of(counts, chunk)
    first = case.first_replicate
    octets = ((first + case.n_replicates + 7) >> 3) - (first >> 3)
    if not order.size or not out.size:
        return out
    rows = np.ascontiguousarray(case.columns[:, order].T.astype(float if in_double else np.int64))
    arguments = [
        rows,
        case.member_key[order],
        chunk_group,
        chunk_start,
        np.uint64(case.seed),
        np.int32(in_double),
        np.int32(n_columns),
        np.int64(case.n_replicates),
        np.int64(first),
        out,
    ]
    grid = (len(chunk_group), -(-octets // 2), -(-n_columns // 8))
    return host_twin("replicate_totals", arguments, grid=grid, block=2)[-1]


@settings(max_examples=60, deadline=None)
@given(case=cases(60), wide=st.booleans(), chunk=st.sampled_from([1, 7, 2048]))
def test_the_cuda_text_gives_the_reference_totals(
    host_twin: Callable[..., list[Any]], case: Case, wide: bool, chunk: int
) -> None:
    largest = 7 * np.abs(case.columns).sum(axis=1).max(initial=0)
    in_double = not wide and largest < DOUBLE_LIMIT
    found = on_host(host_twin, case, in_double=in_double, chunk=chunk)
    assert np.array_equal(found, case.run(reference))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(case=cases(60))
def test_the_launch_lays_out_what_the_cuda_text_expects(
    numpy_as_cupy: Callable[[str], None], case: Case
) -> None:
    numpy_as_cupy("replicate_totals")
    found = _gpu(
        case.columns,
        case.group,
        case.member_key,
        case.n_groups,
        case.n_replicates,
        case.first_replicate,
        case.seed,
    )
    assert np.array_equal(found, case.run(reference))


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(case=cases(60))
def test_little_memory_means_several_launches(
    numpy_as_cupy: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    numpy_as_cupy("replicate_totals")
    module = sys.modules["kernels.draws.replicate_totals"]
    monkeypatch.setattr(module, "free_bytes", lambda: 0)
    monkeypatch.setattr(module, "GPU_CHUNK", 7)
    n, first = case.n_groups, case.first_replicate
    found = _gpu(case.columns, case.group, case.member_key, n, case.n_replicates, first, case.seed)
    assert np.array_equal(found, case.run(reference))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([1.0, 0.5], "found a fraction"),
        ([1.0, np.nan], "found a fraction"),
        ([1.0, np.inf], "does not fit"),
        ([SUM_LIMIT - 3, 4], "does not fit"),
        ([0, -(2**63)], "does not fit"),
    ],
)
def test_the_launch_refuses_what_the_fast_form_refuses(
    numpy_as_cupy: Callable[[str], None], column: Any, message: str
) -> None:
    numpy_as_cupy("replicate_totals")
    case = replace(members(2), columns=np.array([column]))
    with pytest.raises(KernelInputError, match=message):
        case.run()
    with pytest.raises(KernelInputError, match=message):
        _gpu(case.columns, case.group, case.member_key, 1, 3, 0, 5)


@pytest.mark.gpu
@settings(max_examples=200, deadline=None)
@given(case=cases())
def test_a_gpu_gives_the_reference_totals(case: Case) -> None:
    arrays = [to_device(array) for array in (case.columns, case.group, case.member_key)]
    found = to_host(replicate_totals(*arrays, **case.scalars()))
    assert np.array_equal(found, case.run(reference))


@settings(max_examples=100, deadline=None)
@given(case=cases(3000), data=st.data())
def test_members_split_between_calls_add_up(case: Case, data: st.DataObject) -> None:
    n = case.columns.shape[1]
    cut = data.draw(st.integers(0, n))
    parts = case.of(slice(cut)), case.of(slice(cut, n))
    assert np.array_equal(parts[0].run() + parts[1].run(), case.run())


@settings(max_examples=100, deadline=None)
@given(case=cases(3000), data=st.data())
def test_replicates_split_between_calls_stack_up(case: Case, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, case.n_replicates))
    first = case.first_replicate
    parts = case.over(first, cut), case.over(first + cut, case.n_replicates - cut)
    stacked = np.concatenate([part.run() for part in parts], axis=1)
    assert np.array_equal(stacked, case.run())


@settings(max_examples=100, deadline=None)
@given(case=cases(3000), seed=st.integers(0, 2**32))
def test_the_order_of_members_does_not_matter(case: Case, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(case.columns.shape[1])
    assert np.array_equal(case.of(order).run(), case.run())


def members(n: int = 5, n_columns: int = 2) -> Case:
    rng = np.random.default_rng(8)
    return Case(
        rng.integers(-(10**6), 10**6, (n_columns, n)),
        np.zeros(n, np.int32),
        rng.integers(0, 2**64, n, dtype=np.uint64),
        n_groups=1,
        n_replicates=20,
        seed=5,
        first_replicate=0,
    )


def test_the_observed_row_is_the_plain_sum() -> None:
    case = members(4000)
    assert np.array_equal(case.run()[0, 0], case.columns.sum(axis=1))


def test_totals_are_weights_times_values() -> None:
    case = members(4000)
    drawn = weights(case.member_key, n_replicates=20, seed=5).astype(np.int64)
    assert np.array_equal(case.run()[0], drawn @ case.columns.T)


@pytest.mark.parametrize("first", [0, 1, 8, 61, 64, 2**32 - 70])
@pytest.mark.parametrize("n", [63, 64, 65, 200])
def test_totals_of_many_replicates_are_weights_times_values(first: int, n: int) -> None:
    """However a range of replicates lies over blocks of 64."""
    case = replace(members(300, 3), first_replicate=first, n_replicates=n)
    drawn = weights(case.member_key, n_replicates=n, seed=5, first_replicate=first)
    assert np.array_equal(case.run()[0], drawn.astype(np.int64) @ case.columns.T)


def test_the_form_for_this_processor_draws_what_the_portable_one_draws() -> None:
    """Over enough lanes that every threshold is met on both sides."""
    rng = np.random.default_rng(3)
    part = rng.integers(0, 2**64, (4 * 5_000, 2), dtype=np.uint64)
    octets = rng.integers(0, 2**64, (2, 8), dtype=np.uint64)
    found: list[np.ndarray] = []
    for form in (block_weights, portable_block_weights):

        @numba.njit
        def draw(part: Any, octets: Any, schedule: Any, out: Any) -> None:
            form(part, octets, schedule, out)  # noqa: B023 - compiled before the next round

        found.append(np.full((5_000, 8, 8, 4), 99, np.int16))
        draw(part, octets, key_schedule(9), found[-1])
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(np.unique(found[0]), np.arange(8))


@pytest.mark.parametrize(
    "forms", [(add_sums_1, portable_add_sums_1), (add_sums_2, portable_add_sums_2)]
)
def test_the_form_for_this_processor_sums_what_the_portable_one_sums(forms: Any) -> None:
    rng = np.random.default_rng(4)
    n_quads, first, n = 40, 3, 30
    drawn = rng.integers(0, 8, (n_quads, 8, 8, 4)).astype(np.int16)
    digits = rng.integers(-(2**15), 2**15, (5, 4 * n_quads)).astype(np.int16)
    before = rng.integers(-(2**40), 2**40, 200)
    found = []
    for form in forms:

        @numba.njit
        def add(weights: Any, digits: Any, shifts: Any, at: Any, out: Any) -> None:
            form(weights, digits, 2, (first, n), shifts, at, out)  # noqa: B023 - compiled before the next round

        found.append(before.copy())
        add(drawn, digits, (16, 0), (8, 100), found[-1])
    by_hand = before.copy()
    for k, (shift, at) in enumerate([(16, 8), (0, 100)][: 1 + (forms[0] is add_sums_2)]):
        used = digits[2 + k].reshape(-1, 4)[first : first + n].astype(np.int64)
        sums = np.einsum("qlom,qm->lo", drawn[first : first + n].astype(np.int64), used)
        by_hand[at : at + 64] += sums.ravel() << shift
    assert np.array_equal(found[0], by_hand)
    assert np.array_equal(found[1], by_hand)


def test_rows_of_one_member_move_together() -> None:
    """Months in two rate cells are two rows with one key; their totals stay in proportion."""
    case = replace(
        members(2, 1),
        columns=np.array([[100, 300]]),
        group=np.array([0, 1], np.int32),
        member_key=np.array([9, 9], np.uint64),
        n_groups=2,
        n_replicates=500,
    )
    totals = case.run()
    assert np.array_equal(3 * totals[0], totals[1])
    assert len(np.unique(totals[0])) > 3


def test_a_group_without_members_is_zero() -> None:
    case = replace(members(), n_groups=4, group=np.full(5, 2, np.int32))
    totals = case.run()
    assert not totals[[0, 1, 3]].any()
    assert totals[2].any()


def test_members_of_no_group_count_nowhere() -> None:
    case = replace(members(), group=np.full(5, -1, np.int32))
    assert not case.run().any()


@pytest.mark.parametrize("n", [0, 1])
def test_a_population_of_one_or_none_is_summed(n: int) -> None:
    case = members(n)
    assert np.array_equal(case.run(), case.run(reference))


def test_one_replicate_is_enough() -> None:
    case = replace(members(), n_replicates=1)
    assert case.run().shape == (1, 1, 2)


def test_negative_totals_stay_negative() -> None:
    case = replace(members(), columns=np.array([[-5, -7, -1, 0, -(10**12)]]))
    assert np.array_equal(case.run(), case.run(reference))
    assert case.run().min() < -(10**11)


def test_many_more_members_than_a_tile_are_summed_in_32_bits() -> None:
    """The worst digits, -32768 and 32767, at the largest weights a tile can meet."""
    case = members(5000, 2)
    case.columns[0], case.columns[1] = -(1 << 15), (1 << 15) - 1
    drawn = weights(case.member_key, n_replicates=20, seed=5).astype(np.int64)
    assert np.array_equal(case.run()[0], drawn @ case.columns.T)


@pytest.mark.parametrize("sign", [-1, 1])
def test_totals_are_exact_up_to_the_guard(sign: int) -> None:
    """Seven times the sum may reach the last int64; one unit more is refused."""
    columns = np.array([[sign * (SUM_LIMIT - 3), sign * 3]])
    case = replace(members(2), columns=columns)
    assert np.array_equal(case.run(), case.run(reference))
    case.columns[0, 1] += sign
    with pytest.raises(KernelInputError, match="does not fit int64"):
        case.run()


@pytest.mark.parametrize("value", [-(2**63), 2**63 - 1])
def test_the_extremes_of_int64_are_refused(value: int) -> None:
    case = replace(members(1), columns=np.array([[value]]))
    with pytest.raises(KernelInputError, match="does not fit int64"):
        case.run()


@pytest.mark.parametrize("value", [2.0**53, -(2.0**59), 2.0**60])
def test_large_integers_in_float64_are_exact(value: float) -> None:
    case = replace(members(1), columns=np.array([[value]]))
    assert np.array_equal(case.run(), case.run(reference))


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, -np.inf, 1e300])
def test_float64_that_is_no_integer_is_refused(value: float) -> None:
    case = replace(members(3), columns=np.array([[0.0, 0.0, 0.0], [1.0, value, 2.0]]))
    with pytest.raises(KernelInputError, match=r"columns\[1\]"):
        case.run()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": np.zeros((2, 5), np.int32)}, "columns: expected dtype int64 or float64"),
        ({"columns": np.zeros(5, np.int64)}, "columns: expected shape"),
        ({"columns": np.zeros((5, 2), np.int64).T}, "columns: expected a C-contiguous"),
        ({"group": np.zeros(5, np.int64)}, "group: expected dtype int32"),
        ({"group": np.zeros(4, np.int32)}, r"group: expected shape \(5\)"),
        ({"group": np.zeros(10, np.int32)[::2]}, "group: expected a C-contiguous"),
        ({"group": np.full(5, -2, np.int32)}, "group: expected -1 to 0, found -2"),
        ({"group": np.full(5, 1, np.int32)}, "group: expected -1 to 0, found 1"),
        ({"member_key": np.zeros(5, np.int64)}, "member_key: expected dtype uint64"),
        ({"member_key": [1, 2, 3, 4, 5]}, "member_key: expected a NumPy or CuPy array"),
        ({"n_groups": -1}, "n_groups"),
        ({"n_replicates": -1}, "replicates"),
        ({"first_replicate": -1}, "replicates"),
        ({"first_replicate": 2**35 - 19}, "replicates"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**64}, "seed"),
    ],
)
def test_other_input_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(KernelInputError, match=message):
        replace(members(), **change).run()


def test_arrays_on_different_devices_are_refused() -> None:
    elsewhere = type("Elsewhere", (), {"__cuda_array_interface__": {}})()
    case = replace(members(), group=elsewhere)
    with pytest.raises(KernelInputError, match="different devices"):
        case.run()


def test_read_only_maps_run_the_compiled_form_that_is_there() -> None:
    from kernels.draws.replicate_totals import _cpu  # noqa: PLC0415

    case = members()
    case.run()
    compiled = len(_cpu.signatures)
    for array in (case.columns, case.group, case.member_key):
        array.flags.writeable = False
    case.run()
    assert len(_cpu.signatures) == compiled
