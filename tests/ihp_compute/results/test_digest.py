"""Rows in order of their keys, whatever order and pieces they came in."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute.measure import MEMBER_YEARS
from ihp_compute.results.digest import sort_by

YEARS = (2023, 2024)


def rows(keys: list[int], years: tuple[int, ...] = YEARS) -> pa.Table:
    """Years of members side by side, with columns of each kind that member-years have."""
    key = np.repeat(np.array(keys, np.uint64), len(years))
    year = np.tile(np.array(years, np.int16), len(keys))
    return pa.table(
        {
            "member_key": key,
            "year": year,
            "measurement": np.ones(len(key), np.int16),
            "cents": (key % 1000).astype(np.int64) * year,
            "tied": key % 3 == year % 3,
            "group_id": pa.array(
                [f"g{k % 5}" for k in key.tolist()], pa.string()
            ).dictionary_encode(),
        }
    )


def plain(table: pa.Table) -> list[tuple[object, ...]]:
    return list(zip(*(column.to_pylist() for column in table.itercolumns()), strict=True))


@given(
    shards=st.lists(st.sets(st.integers(0, 2**64 - 1), max_size=6), min_size=1, max_size=5),
    years=st.sampled_from([YEARS, (2024,), (2022, 2023, 2024)]),
)
def test_members_of_several_shards_come_into_one_order(
    shards: list[set[int]], years: tuple[int, ...]
) -> None:
    met: set[int] = set()
    parts = []
    for shard in shards:
        parts.append(rows(sorted(shard - met), years))
        met |= shard
    table = pa.concat_tables(parts)
    ordered = sort_by(table, MEMBER_YEARS.keys)
    assert plain(ordered) == sorted(plain(table))
    assert ordered.schema == table.schema


@pytest.mark.parametrize(
    "table",
    [
        pa.concat_tables([rows([5, 9], (2024,)), rows([5, 9], (2023,))]),  # years apart
        pa.concat_tables([rows([7]), rows([3], (2024,))]),  # one with fewer years
        rows([4, 2], (2024, 2023)),  # years backwards
        pa.concat_tables([rows([8], (2023,)), rows([1]), rows([8], (2024,))]),  # one in two places
    ],
)
def test_rows_that_do_not_stand_member_by_member_are_ordered_too(table: pa.Table) -> None:
    assert plain(sort_by(table, MEMBER_YEARS.keys)) == sorted(plain(table))


def test_rows_in_order_stay() -> None:
    table = rows([1, 2, 3])
    assert sort_by(table, MEMBER_YEARS.keys).equals(table.combine_chunks())


@pytest.mark.parametrize("values", [5, 70_000])
def test_many_rows_by_keys_of_text_come_into_the_order_of_few(values: int) -> None:
    """10,000 rows whose keys are few and repeat, and whose keys are too many for one number.

    Some keys are nothing, which comes last.
    """
    rng = np.random.default_rng(values)
    keys = ["scope", "stratum", "year", "measure", "item"]
    table = pa.table(
        {
            **{
                key: [f"{'é' * (k % 3)}{k}" if k else None for k in rng.integers(0, values, 10_000)]
                for key in keys
            },
            "place": np.arange(10_000),
        }
    )
    assert sort_by(table, keys).equals(table.sort_by([(key, "ascending") for key in keys]))
