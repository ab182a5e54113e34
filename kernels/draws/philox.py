"""Philox4x32-10, and the Poisson(1) weights drawn from it: randomness as a function, not a stream.

    (seed, member, replicate) -> 16-bit lane -> weight

A weight depends on nothing else, so no draw knows of a shard, a worker, a device or an order. The
layout is part of the method and never changes under a running version:

- key = (low, high 32 bits of the seed);
- counter = (low, high 32 bits of the member key, replicate >> 3, 0);
- lane l = replicate & 7 is word l >> 1 of the output: its low 16 bits for an even l, its high ones
  for an odd l;
- weight = how many of `THRESHOLDS` exceed the lane. Of the 65536 lanes `LAW[w]` give weight w:
  mean and variance are exactly 1;
- replicate 0 is the data as observed: weight 1.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11 (2011).
Not here: what is summed under the weights (`replicate_totals`).
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require

THRESHOLDS: Final = (41426, 17317, 5263, 1244, 242, 39, 5)
LAW: Final = (24110, 24109, 12054, 4019, 1002, 203, 34, 5)
REPLICATE_LIMIT: Final = 1 << 35
ROUNDS: Final = 10
MULTIPLIERS: Final = (0xD2511F53, 0xCD9E8D57)
BUMPS: Final = (0x9E3779B9, 0xBB67AE85)

_M0: Final = np.uint64(MULTIPLIERS[0])
_M1: Final = np.uint64(MULTIPLIERS[1])
_LOW: Final = np.uint64(0xFFFFFFFF)
_WORD: Final = np.uint64(32)
_ZERO: Final = np.uint64(0)
_SCALAR_LIMIT: Final = 1 << 64
_TILE: Final = 1024


def philox(counters: Any, *, seed: int) -> Any:
    """Philox4x32-10: four random words for each counter.

    Parameters
    ----------
    counters : uint32[n, 4]
        Words 0 to 3 of each counter.
    seed : int, 0 <= seed < 2**64
        Key: word 0 is its low 32 bits, word 1 its high ones.

    Returns
    -------
    uint32[n, 4], on the device of the input
        Random words in the order of the published known answers.

    Raises
    ------
    KernelInputError
        If `counters` has another dtype, rank, shape or layout, or the seed does not fit 64 bits.

    Exact on every device: integers only. Source: Random123, known answers of philox4x32-10.
    """
    where = device_of(counters=counters)
    require("counters", counters, np.uint32, (None, 4))
    schedule = key_schedule(seed)
    return (_cpu(read_only(counters), schedule)) if where == "cpu" else _gpu(counters, seed)


def weights(member_key: Any, *, n_replicates: int, seed: int, first_replicate: int = 0) -> Any:
    """Poisson(1) weights of members in replicates.

    Parameters
    ----------
    member_key : uint64[n_members]
    n_replicates : int, >= 0
        Rows wanted.
    seed : int, 0 <= seed < 2**64
    first_replicate : int, >= 0
        Replicate of row 0. Replicate 0 has weight 1 throughout.

    Returns
    -------
    uint8[n_replicates, n_members], on the device of the input
        Weights from 0 to 7.

    Raises
    ------
    KernelInputError
        If `member_key` has another dtype, rank or layout, or a scalar is out of range.

    Exact on every device: integers only. Source: the module's own layout.
    """
    where = device_of(member_key=member_key)
    require("member_key", member_key, np.uint64, (None,))
    require_replicates(n_replicates, first_replicate)
    schedule = key_schedule(seed)
    if where == "cpu":
        return _weights_cpu(read_only(member_key), n_replicates, first_replicate, schedule)
    return _weights_gpu(member_key, n_replicates, first_replicate, seed)


def require_replicates(n_replicates: int, first_replicate: int) -> None:
    """Refuse a range of replicates that the counter's 32-bit word cannot name."""
    if n_replicates < 0 or first_replicate < 0 or first_replicate + n_replicates > REPLICATE_LIMIT:
        raise KernelInputError(
            f"replicates {first_replicate} to {first_replicate + n_replicates}: expected a range "
            f"within 0 to {REPLICATE_LIMIT}"
        )


def key_schedule(seed: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Both key words of each round, as uint64[10, 2].

    Raises
    ------
    KernelInputError
        If the seed does not fit 64 bits.
    """
    if not 0 <= seed < _SCALAR_LIMIT:
        raise KernelInputError(f"seed: expected 0 <= seed < 2**64, got {seed}")
    words = (seed & 0xFFFFFFFF, seed >> 32)
    rows = [
        [(word + turn * bump) & 0xFFFFFFFF for word, bump in zip(words, BUMPS, strict=True)]
        for turn in range(ROUNDS)
    ]
    return np.array(rows, dtype=np.uint64)


def reference(counters: Any, *, seed: int) -> Any:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    rows = []
    for counter in np.asarray(counters).tolist():
        c0, c1, c2, c3 = counter
        for k0, k1 in key_schedule(seed).tolist():
            p0, p1 = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
            c0, c1, c2, c3 = (
                (p1 >> 32) ^ c1 ^ k0,
                p1 & 0xFFFFFFFF,
                (p0 >> 32) ^ c3 ^ k1,
                p0 & 0xFFFFFFFF,
            )
        rows.append([c0, c1, c2, c3])
    return np.array(rows, dtype=np.uint32).reshape(-1, 4)


def weights_reference(
    member_key: Any, *, n_replicates: int, seed: int, first_replicate: int = 0
) -> Any:
    """The definition of `weights`, in the fewest words."""
    keys = [int(key) for key in member_key]
    rows = []
    for replicate in range(first_replicate, first_replicate + n_replicates):
        counters = np.array(
            [[key & 0xFFFFFFFF, key >> 32, replicate >> 3, 0] for key in keys], dtype=np.uint32
        ).reshape(-1, 4)
        lane = replicate & 7
        words = reference(counters, seed=seed)[:, lane >> 1].tolist()
        lanes = [word >> 16 if lane & 1 else word & 0xFFFF for word in words]
        drawn = [sum(threshold > value for threshold in THRESHOLDS) for value in lanes]
        rows.append(drawn if replicate else [1] * len(keys))
    return np.array(rows, dtype=np.uint8).reshape(n_replicates, len(keys))


@numba.njit(cache=True, nogil=True)
def round_(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """One round on 64-bit lanes: only the low 32 bits of what it takes and gives are meant."""
    p0 = _M0 * (c0 & _LOW)
    p1 = _M1 * (c2 & _LOW)
    return (p1 >> _WORD) ^ c1 ^ k0, p1, (p0 >> _WORD) ^ c3 ^ k1, p0


@numba.njit(cache=True, nogil=True)
def _cpu(counters: Any, schedule: Any) -> Any:
    words = np.empty(counters.shape, dtype=np.uint32)
    tile = np.empty((2, _TILE), dtype=np.uint64)  # words 0 and 1, words 2 and 3
    for start in range(0, counters.shape[0], _TILE):
        size = min(_TILE, counters.shape[0] - start)
        part, drawn = counters[start : start + size], words[start : start + size]
        for i in range(size):
            tile[0, i] = np.uint64(part[i, 0]) | np.uint64(part[i, 1]) << _WORD
            tile[1, i] = np.uint64(part[i, 2]) | np.uint64(part[i, 3]) << _WORD
        for i in range(size):
            c0, c1, c2, c3 = tile[0, i], tile[0, i] >> _WORD, tile[1, i], tile[1, i] >> _WORD
            for turn in range(10):
                c0, c1, c2, c3 = round_(c0, c1, c2, c3, schedule[turn, 0], schedule[turn, 1])
            tile[0, i] = (c0 & _LOW) | (c1 << _WORD)
            tile[1, i] = (c2 & _LOW) | (c3 << _WORD)
        for i in range(size):
            drawn[i, 0], drawn[i, 1] = np.uint32(tile[0, i]), np.uint32(tile[0, i] >> _WORD)
            drawn[i, 2], drawn[i, 3] = np.uint32(tile[1, i]), np.uint32(tile[1, i] >> _WORD)
    return words


@numba.njit(cache=True, nogil=True)
def _weights_cpu(keys: Any, n_replicates: Any, first: Any, schedule: Any) -> Any:
    out = np.ones((n_replicates, keys.shape[0]), dtype=np.uint8)
    words = np.empty(4, dtype=np.uint64)
    for i in range(keys.shape[0]):
        for octet in range(first >> 3, (first + n_replicates + 7) >> 3):
            c0, c1, c2, c3 = keys[i] & _LOW, keys[i] >> _WORD, np.uint64(octet), _ZERO
            for turn in range(10):
                c0, c1, c2, c3 = round_(c0, c1, c2, c3, schedule[turn, 0], schedule[turn, 1])
            words[0], words[1], words[2], words[3] = c0, c1, c2, c3
            for lane in range(8):
                replicate = octet * 8 + lane
                if replicate > 0 and first <= replicate < first + n_replicates:
                    value = np.int64(words[lane >> 1] >> np.uint64(16 * (lane & 1))) & 0xFFFF
                    weight = 0
                    for threshold in THRESHOLDS:
                        if threshold > value:
                            weight += 1
                    out[replicate - first, i] = weight
    return out


@cache
def _module() -> Any:
    return cuda_module("draws/philox")


def _gpu(counters: Any, seed: int) -> Any:
    import cupy  # noqa: PLC0415

    words = cupy.empty(counters.shape, dtype=np.uint32)
    n = counters.shape[0]
    if n:
        entry = _module().get_function("philox")
        entry((-(-n // 256),), (256,), (counters, np.uint64(seed), np.int64(n), words))
    return words


def _weights_gpu(member_key: Any, n_replicates: int, first: int, seed: int) -> Any:
    import cupy  # noqa: PLC0415

    n = member_key.shape[0]
    out = cupy.empty((n_replicates, n), dtype=np.uint8)
    if out.size:
        entry = _module().get_function("weights")
        octets = ((first + n_replicates + 7) >> 3) - (first >> 3)
        scalars = (np.int64(n), np.int64(n_replicates), np.int64(first))
        entry((-(-n * octets // 256),), (256,), (member_key, np.uint64(seed), *scalars, out))
    return out
