"""What the machine allows, measured in the same run: stream bandwidth and Philox alone."""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

TILE: Final = 1024
_M0: Final = np.uint64(0xD2511F53)
_M1: Final = np.uint64(0xCD9E8D57)
_LOW: Final = np.uint64(0xFFFFFFFF)
_WORD: Final = np.uint64(32)


@numba.njit(cache=True, nogil=True)
def philox_alone(keys: Any, schedule: Any, n_calls: int) -> Any:
    """Philox4x32-10 for every key and call, the words folded together: nothing is stored.

    64-bit lanes for the 32 x 32 multiplies and a tile of keys at a time, so that the loop over
    keys becomes vector code. Two products a round, ten rounds: there is no cheaper way to the
    same words unless parts of rounds are shared between calls.
    """
    folded = np.zeros((2, TILE), dtype=np.uint64)
    for start in range(0, keys.shape[0] - TILE + 1, TILE):
        tile = keys[start : start + TILE]
        for call in range(n_calls):
            for i in range(TILE):
                c0, c1 = tile[i] & _LOW, tile[i] >> _WORD
                c2, c3 = np.uint64(call), np.uint64(0)
                for turn in range(10):
                    p0 = _M0 * (c0 & _LOW)
                    p1 = _M1 * (c2 & _LOW)
                    c0, c1, c2, c3 = (
                        (p1 >> _WORD) ^ c1 ^ schedule[turn, 0],
                        p1,
                        (p0 >> _WORD) ^ c3 ^ schedule[turn, 1],
                        p0,
                    )
                folded[0, i] ^= (c0 & _LOW) | (c1 << _WORD)
                folded[1, i] ^= (c2 & _LOW) | (c3 << _WORD)
    return folded


@numba.njit(cache=True, nogil=True, fastmath=True)
def stream_sum(values: Any) -> Any:
    """Sum of float64 values: what reading alone costs."""
    total = 0.0
    for i in range(values.shape[0]):
        total += values[i]
    return total
