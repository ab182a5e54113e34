"""When lines were paid, by month: the sums are those of the lines one by one, over any shards."""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute.population import INCURRED_DAYS, payment_days, summed
from ihp_compute.units import NO_DAY, month_of, months_of_days

MODULE = sys.modules[payment_days.__module__]
DAYS = st.one_of(st.just(NO_DAY), st.integers(-400, 400), st.integers(18_000, 20_000))
LINE = st.tuples(DAYS, DAYS, DAYS, st.integers(0, 4), DAYS, st.integers(-(10**9), 10**9))


def columns(lines: list[tuple[int, ...]]) -> dict[str, np.ndarray]:
    names = (*INCURRED_DAYS, "kind", "paid_day", "paid_cents")
    types = {"kind": "uint8", "paid_cents": "int64"}
    return {
        name: np.array([line[k] for line in lines], types.get(name, "int32"))
        for k, name in enumerate(names)
    }


@pytest.mark.parametrize("wide", [0, 1 << 20])
@given(shards=st.lists(st.lists(LINE, max_size=12), min_size=1, max_size=3))
def test_payment_days_are_sums_of_lines(wide: int, shards: list[list[tuple[int, ...]]]) -> None:
    """Summed side by side or by the places that occur; a line is incurred by each of three days."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MODULE, "_WIDE", wide)
        found = summed(payment_days(columns(lines).__getitem__) for lines in shards)
    expected: Counter[tuple[object, ...]] = Counter()
    n: Counter[tuple[object, ...]] = Counter()
    for lines in shards:
        for *days, kind, paid_day, cents in lines:
            for name, day in zip(INCURRED_DAYS, days, strict=True):
                if day != NO_DAY:
                    month = int(months_of_days(np.array([day], np.int32))[0])
                    n[name, kind, month, paid_day] += 1
                    expected[name, kind, month, paid_day] += cents
    assert found.to_pylist() == [
        {"incurred_by": name, "kind": kind, "month": month, "paid_day": paid_day,
         "lines": n[name, kind, month, paid_day],
         "paid_cents": expected[name, kind, month, paid_day]}
        for name, kind, month, paid_day in sorted(n)
    ]  # fmt: skip


def test_a_line_of_march_2023_paid_in_april() -> None:
    line = (19_417, 19_417, NO_DAY, 0, 19_448, 1_000)  # 1 March, 1 April
    assert summed([payment_days(columns([line]).__getitem__)]).to_pylist() == [
        {"incurred_by": name, "kind": 0, "month": month_of(2023, 3), "paid_day": 19_448,
         "lines": 1, "paid_cents": 1_000}
        for name in sorted(INCURRED_DAYS[:2])
    ]  # fmt: skip
    assert isinstance(summed([]), pa.RecordBatch)
