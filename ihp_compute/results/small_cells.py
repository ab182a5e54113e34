"""How small a count of people is that must not be shown."""

from __future__ import annotations

from typing import Final

SMALL_CELL: Final = 10
"""Counts of people from 1 to this are hidden from who may not see members' rows."""


def is_small(value: int) -> bool:
    """Whether a count of people must be hidden.

    >>> [is_small(n) for n in (0, 1, 10, 11)]
    [False, True, True, False]
    """
    return 1 <= value <= SMALL_CELL
