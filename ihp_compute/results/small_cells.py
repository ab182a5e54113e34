"""How small a count of people is that must not be shown, and rows of few people as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

SMALL_CELL: Final = 10
"""Counts of people from 1 to this are hidden from who may not see members' rows."""


def is_small(value: int) -> bool:
    """Whether a count of people must be hidden.

    >>> [is_small(n) for n in (0, 1, 10, 11)]
    [False, True, True, False]
    """
    return 1 <= value <= SMALL_CELL


def without_small(
    rows: Sequence[Mapping[str, Any]], counts: Sequence[str]
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Rows that may be shown alone, and those to be shown as one; each in the order given.

    A row with a small count is pooled. So that nothing of it follows from the sum of all, the
    next row by size is pooled with it until the pool has no small count either: somebody may stand
    in several rows, so that behind a pool there are for certain as many as in its largest row.

    Parameters
    ----------
    rows : sequence of mapping
    counts : sequence of str
        Columns that count people.
    """
    by_size = sorted(range(len(rows)), key=lambda k: [rows[k][name] for name in counts])
    pooled = {k for k in by_size if any(is_small(rows[k][name]) for name in counts)}
    for k in by_size:
        if not any(is_small(max((rows[i][name] for i in pooled), default=0)) for name in counts):
            break
        pooled.add(k)
    alone = [row for k, row in enumerate(rows) if k not in pooled]
    return alone, [rows[k] for k in sorted(pooled)]
