"""Which month of which period a claim line belongs to, for the kernels that read lines.

A kernel takes its members in blocks, so that what is known of a line without its member is found
by vector code over the block, and only sums go member by member over scratch that stays in cache.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

MONTHS: Final = 12
OUTSIDE: Final = 255
MAX_PERIODS: Final = 4
BLOCK: Final = 4096
"""Lines of a block, unless one member has more."""


def slot_table(slot_of_day: Any, n_periods: int) -> Any:
    """`slot_of_day` with days of no period, and one day more, in slot 12 × n_periods: uint8."""
    none = np.uint8(MONTHS * n_periods)
    return np.append(np.where(slot_of_day == OUTSIDE, none, slot_of_day), none)


@numba.njit(cache=True, nogil=True)
def scratch_size(offsets: Any) -> Any:
    """Lines that scratch must hold: a block, or the member with the most."""
    size = BLOCK
    for m in range(len(offsets) - 1):
        size = max(size, offsets[m + 1] - offsets[m])
    return size


@numba.njit(cache=True, nogil=True)
def block_end(offsets: Any, first: Any, size: Any) -> Any:
    """The member after the last whose lines, from member `first` on, fit into `size`."""
    end = first + 1
    while end < len(offsets) - 1 and offsets[end + 1] - offsets[first] <= size:
        end += 1
    return end


@numba.njit(cache=True, nogil=True, error_model="numpy")
def line_slots(a: Any, b: Any, incurred_day: Any, slots: Any, first_day: Any, at: Any) -> None:
    """Slot 12 × period + month of lines a to b, from the start of `at`; `slots`: `slot_table`."""
    n_days = np.uint32(len(slots) - 1)
    for i in range(np.uint64(b - a)):
        v = np.uint64(a) + i
        at[i] = slots[min(np.uint32(incurred_day[v] - first_day), n_days)]
