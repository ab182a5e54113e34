"""Philox against its published known answers, and the weight's layout against its definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from kernels import KernelInputError, philox, to_device, to_host
from kernels.draws.philox import LAW, THRESHOLDS, reference, weights, weights_reference

# Random123, kat_vectors, philox4x32 of 10 rounds: counter, key (low word first), words.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
counters = npst.arrays(np.uint32, st.tuples(st.integers(0, 40), st.just(4)))
keys = npst.arrays(np.uint64, st.integers(0, 60))
seeds = st.integers(0, 2**64 - 1)
firsts = st.integers(0, 40) | st.sampled_from([2**32 - 3, 2**35 - 20])


def blocks(n: int, block: int = 64) -> int:
    return max(1, -(-n // block))


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
@pytest.mark.parametrize("form", [philox, reference])
def test_philox_gives_the_published_answers(
    form: Callable[..., Any], counter: Any, key: Any, words: Any
) -> None:
    drawn = form(np.array([counter], np.uint32), seed=key[0] | key[1] << 32)
    assert drawn.tolist() == [list(words)]


@settings(max_examples=200, deadline=None)
@given(counters=counters, seed=seeds)
def test_fast_words_are_the_reference_words(counters: Any, seed: int) -> None:
    fast = philox(counters, seed=seed)
    slow = reference(counters, seed=seed)
    assert fast.dtype == slow.dtype == np.uint32
    assert np.array_equal(fast, slow)


@settings(max_examples=200, deadline=None)
@given(keys=keys, seed=seeds, n=st.integers(0, 20), first=firsts)
def test_fast_weights_are_the_reference_weights(keys: Any, seed: int, n: int, first: int) -> None:
    fast = weights(keys, n_replicates=n, seed=seed, first_replicate=first)
    slow = weights_reference(keys, n_replicates=n, seed=seed, first_replicate=first)
    assert fast.dtype == slow.dtype == np.uint8
    assert fast.shape == slow.shape == (n, len(keys))
    assert np.array_equal(fast, slow)


@settings(max_examples=60, deadline=None)
@given(counters=counters, keys=keys, seed=seeds, n=st.integers(0, 20), first=firsts)
def test_the_cuda_text_draws_the_same(
    host_twin: Callable[..., list[Any]], counters: Any, keys: Any, seed: int, n: int, first: int
) -> None:
    rows = len(counters)
    out = np.zeros((rows, 4), np.uint32)
    arguments = [counters, np.uint64(seed), np.int64(rows), out]
    *_, words = host_twin("philox", arguments, grid=blocks(rows), block=64)
    assert np.array_equal(words, reference(counters, seed=seed))
    drawn = np.zeros((n, len(keys)), np.uint8)
    octets = ((first + n + 7) >> 3) - (first >> 3)
    *_, drawn = host_twin(
        "philox",
        [keys, np.uint64(seed), np.int64(len(keys)), np.int64(n), np.int64(first), drawn],
        grid=blocks(len(keys) * octets),
        block=64,
        entry="weights",
    )
    slow = weights_reference(keys, n_replicates=n, seed=seed, first_replicate=first)
    assert np.array_equal(drawn, slow)


@pytest.mark.gpu
@settings(max_examples=100, deadline=None)
@given(counters=counters, keys=keys, seed=seeds, n=st.integers(0, 20), first=firsts)
def test_a_gpu_draws_the_same(counters: Any, keys: Any, seed: int, n: int, first: int) -> None:
    words = to_host(philox(to_device(counters), seed=seed))
    assert np.array_equal(words, reference(counters, seed=seed))
    drawn = to_host(weights(to_device(keys), n_replicates=n, seed=seed, first_replicate=first))
    slow = weights_reference(keys, n_replicates=n, seed=seed, first_replicate=first)
    assert np.array_equal(drawn, slow)


def test_the_observed_row_has_weight_one() -> None:
    drawn = weights(np.arange(9, dtype=np.uint64), n_replicates=2, seed=4)
    assert drawn[0].tolist() == [1] * 9
    assert drawn[1].tolist() != [1] * 9


def test_the_law_counts_the_lanes_under_the_thresholds() -> None:
    lanes = np.arange(65536)
    counted = np.bincount(sum((lanes < threshold).astype(int) for threshold in THRESHOLDS))
    assert tuple(counted.tolist()) == LAW


@pytest.mark.parametrize(
    ("counters", "message"),
    [
        (np.zeros((3, 4), np.int32), "expected dtype uint32, got int32"),
        (np.zeros((3, 3), np.uint32), r"expected shape \(any, 4\)"),
        (np.zeros((4, 3), np.uint32).T, "C-contiguous"),
        ([[0, 0, 0, 0]], "expected a NumPy or CuPy array, got list"),
    ],
)
def test_counters_of_another_kind_are_refused(counters: Any, message: str) -> None:
    with pytest.raises(KernelInputError, match=message):
        philox(counters, seed=0)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_beyond_64_bits_is_refused(seed: int) -> None:
    with pytest.raises(KernelInputError, match="seed"):
        philox(np.zeros((1, 4), np.uint32), seed=seed)


@pytest.mark.parametrize(("first", "n"), [(-1, 3), (0, -1), (2**35, 1)])
def test_replicates_that_the_counter_cannot_name_are_refused(first: int, n: int) -> None:
    with pytest.raises(KernelInputError, match="replicates"):
        weights(np.zeros(1, np.uint64), n_replicates=n, seed=0, first_replicate=first)
