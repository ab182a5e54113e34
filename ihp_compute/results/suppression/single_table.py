"""Rows of one table that stands alone, of which everybody knows the totals of each key.

    rows of few people -> others, so that no total of a key tells them

It knows no other table and no pattern: who shows several tables of the same people takes `pattern`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ihp_compute.results.suppression.system import Equation, System, choose


def hidden_rows(keys: Sequence[tuple[str, ...]], people: Sequence[int]) -> NDArray[np.bool_]:
    """Which rows of a table are hidden.

    Somebody may stand in several rows. Where nothing protects a row from a total, all rows of that
    total are hidden.

    Parameters
    ----------
    keys : sequence of tuple of str
        What tells the rows apart, as partnership and payer; rows of one value of a key add up to a
        total that is known, where there are several.
    people : sequence of int
        Behind each row.

    Returns
    -------
    bool[n]

    >>> rows = [("A", "ffs"), ("A", "plan"), ("A", "other"), ("B", "ffs"), ("C", "plan")]
    >>> hidden_rows(rows, [300, 4, 25, 80, 90]).tolist()
    [False, True, True, False, True]
    """
    n = len(keys)
    of_total: dict[tuple[int, str], list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        for position, value in enumerate(key):
            of_total[position, value].append(row)
    totals = [rows for rows in of_total.values() if len(rows) > 1]
    counts = np.zeros((n + len(totals), 2), np.int64)
    counts[:n, 0] = people
    equations = []
    for k, rows in enumerate(totals, start=n):
        counts[k, 0] = sum(people[row] for row in rows)
        signs = np.array([*([1] * len(rows)), -1], np.int64)
        equations.append(Equation(np.array([*rows, k], np.int64), signs, adds_up=False))
    is_row = np.arange(len(counts)) < n
    found = choose(
        System(
            names=[*keys, *((str(k),) for k in range(len(totals)))],
            counts=counts,
            hidden=np.zeros(len(counts), np.bool_),
            is_row=is_row,
            may_hide=is_row,
            equations=equations,
        )
    )
    hidden = found.hidden[:n].copy()
    for cell in found.exposed.tolist():
        for rows in totals:
            if cell in rows:
                hidden[rows] = True
    return hidden
