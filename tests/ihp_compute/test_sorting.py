"""Rows in order of several columns, whether these fit one word or not."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ihp_compute.sorting import fields, order_by, packed, width

narrow = st.lists(st.tuples(*[st.integers(-3, 3)] * 3), max_size=40)
wide = st.lists(st.tuples(*[st.integers(-(2**40), 2**40) | st.integers(0, 1)] * 3), max_size=40)


@settings(max_examples=200, deadline=None)
@given(rows=narrow | wide)
def test_rows_are_ordered_by_their_columns(rows: list[tuple[int, ...]]) -> None:
    columns = [np.array([row[k] for row in rows], np.int64) for k in range(3)]
    order, fresh = order_by(*columns)
    expected: Any = sorted(range(len(rows)), key=rows.__getitem__)
    assert order.tolist() == expected
    found = [rows[k] for k in expected]
    assert fresh.tolist() == [k == 0 or found[k] != found[k - 1] for k in range(len(found))]


def test_a_column_reads_back() -> None:
    high, low = fields((-5, 9), (2**31 - 2, 2**31 - 1))
    assert (high.shift, width((high, low))) == (1, 5)
    columns = np.array([-5, 9], np.int32), np.array([2**31 - 1, 2**31 - 2])
    words = packed((high, low), columns)
    assert high.values(words).tolist() == [-5, 9]
    assert low.values(words).tolist() == [2**31 - 1, 2**31 - 2]
