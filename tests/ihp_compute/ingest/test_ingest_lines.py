"""Distinct diagnoses of a shard, in one word or not; the least value of a claim, of any type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ihp_compute.ingest.shard import diagnoses
from ihp_compute.ingest.shard.derived import least
from ihp_compute.ingest.shard.diagnoses import _earliest_pairs
from ihp_compute.ingest.shard.rows import Lists

DAYS = st.integers(18_000, 18_002)


@st.composite
def stated(draw: Any) -> list[tuple[int, int, int, int, list[int]]]:
    """Member, day, source, paid day and diagnosis codes of each row."""
    codes = st.lists(st.integers(0, 3), max_size=3)
    row = st.tuples(st.integers(0, 2), DAYS, st.integers(0, 2), DAYS, codes)
    found: list[tuple[int, int, int, int, list[int]]] = draw(st.lists(row, min_size=1, max_size=12))
    return found


@pytest.mark.parametrize("word_bits", [64, 0])
@settings(max_examples=150, deadline=None)
@given(rows=stated())
def test_the_earliest_payment_of_each_diagnosis_is_kept(
    word_bits: int, rows: list[tuple[int, int, int, int, list[int]]]
) -> None:
    final = np.array([3, 0, 2, 1], np.int32)
    wanted: dict[tuple[int, int, int, int], int] = {}
    for member, day, source, paid, codes in rows:
        for code in codes:
            key = member, int(final[code]), day, source
            wanted[key] = min(paid, wanted.get(key, paid))
    member, day, source, paid = np.array([row[:4] for row in rows], np.int32).T.copy()
    starts = np.cumsum([0, *(len(row[4]) for row in rows)]).astype(np.int32)
    lists = Lists(np.array([code for row in rows for code in row[4]], np.int32), starts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diagnoses, "WORD_BITS", word_bits)
        found = _earliest_pairs(member, day, source.astype(np.uint8), paid, lists, final)
    columns = [found[name].tolist() for name in ("member", "dx", "day", "source", "paid_day")]
    assert list(zip(*columns, strict=True)) == [(*key, wanted[key]) for key in sorted(wanted)]


SMALL = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32)


@pytest.mark.parametrize("kind", SMALL)
@given(data=st.data())
def test_the_least_stated_value_is_found_in_every_small_type(kind: Any, data: Any) -> None:
    """Also where it is the greatest of its type, and blank the least or the greatest."""
    low, high = int(np.iinfo(kind).min), int(np.iinfo(kind).max)
    blank = data.draw(st.sampled_from([low, 0, high]))
    number = st.sampled_from([low, low + 1, 0, 1, high - 1, high])
    rows = data.draw(st.lists(st.tuples(st.integers(0, 3), number), max_size=12))
    claim, values = np.array(rows, np.int64).reshape(-1, 2).T
    wanted = [
        min((value for own, value in rows if own == k and value != blank), default=blank)
        for k in range(4)
    ]
    assert least(values.astype(kind), blank, claim, 4).tolist() == wanted
