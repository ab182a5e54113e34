"""What is spilled comes back shard by shard, however narrow it was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ihp_compute.ingest_columns import Raw, Space
from ihp_compute.ingest_read import Text, read_text
from ihp_compute.ingest_spill import SPILLED, Coded, Column, Spill, Stated, ranges
from ihp_compute.units import NO_DAY

INT32 = np.iinfo(np.int32)


def batch(n: int, seed: int, **others: Column) -> dict[str, Column]:
    """Claim lines of which most columns are constant, and some as the test wants them."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Column] = dict.fromkeys(SPILLED["medical_claim"].names, 0)
    columns |= {
        "member_key": rng.integers(0, 2**64, n, dtype=np.uint64),
        "reason": None,
        "row": np.arange(n),
        "hash_1": rng.integers(0, 2**64, n, dtype=np.uint64),
        "claim_id": pa.array([f"c{k}" for k in range(n)]),
        "claim_line_number": read_text(pa.array(["1", "2", None] * n)[:n]),
        "original_claim": Stated(read_text(pa.array(["x", None, None] * n)[:n])),
        "adjustment_claim": Stated(read_text(pa.nulls(n, pa.string()))),
        "paid_day": np.full(n, NO_DAY, np.int32),
        "blank_amount": rng.random(n) < 0.5,
        "dx": [Coded(np.array([0, 5, 70_000], np.int32), rng.integers(0, 3, n).astype(np.int32))],
    }
    return {**columns, **others}


def plain(column: Any, n: int) -> list[Any]:
    """A column as the second pass must see it, in order of the batch."""
    if column is None or isinstance(column, int):
        return [column] * n
    if isinstance(column, Stated):
        return [column.text.values[k] or None for k in column.text.index]
    if isinstance(column, np.ndarray | pa.Array):
        return list(column.tolist())
    if isinstance(column, list):
        return [[x for c in column if (x := int(c.values[c.index[k]])) > 0] for k in range(n)]
    assert isinstance(column, Text)
    return [column.values[k] for k in column.index]


@pytest.mark.parametrize("n_shards", [1, 3, 20])
def test_rows_come_back_in_their_shards_and_order(tmp_path: Path, n_shards: int) -> None:
    batches = [
        batch(50, 1, service_day=np.arange(19_000, 19_050, dtype=np.int32)),
        batch(40, 2, service_day=np.arange(40, dtype=np.int32) + 40_000, dx=[]),
        batch(1, 3, paid_cents=np.array([-(10**12)]), allowed_cents=np.array([INT32.min])),
        batch(60, 4, paid_cents=np.arange(60) + INT32.max - 30, has_drg=np.ones(60, bool)),
    ]
    spill = Spill(tmp_path, "part", "medical_claim", n_shards)
    spill.write(batches)
    schema = SPILLED["medical_claim"]
    keys = [plain(columns["member_key"], 0) for columns in batches]
    for shard in range(n_shards):
        raw = Raw("rows", spill.pieces(shard), schema, Space())
        for field in schema:
            wanted = [
                value
                for columns, own in zip(batches, keys, strict=True)
                for value, key in zip(plain(columns[field.name], len(own)), own, strict=True)
                if key % n_shards == shard
            ]
            if pa.types.is_string(field.type) or pa.types.is_list(field.type):
                assert raw.texts[field.name].to_pylist() == [
                    [] if pa.types.is_list(field.type) and not value else value for value in wanted
                ]
            else:
                found = raw.numbers[field.name]
                assert found.dtype == field.type.to_pandas_dtype()
                assert found.tolist() == wanted


def test_what_is_the_same_in_all_rows_is_not_written(tmp_path: Path) -> None:
    spill = Spill(tmp_path, "part", "medical_claim", 2)
    spill.write([batch(500, 1)])
    (piece,) = spill.pieces(0)
    assert {"file", "paid_day", "adjustment_claim", "reason", "tin"} <= set(piece.constant)
    assert piece.rows.schema.field("row").type == pa.int16()
    assert not set(piece.constant) & set(piece.rows.schema.names)


def test_a_range_of_shards_is_dropped_by_itself(tmp_path: Path) -> None:
    spill = Spill(tmp_path, "part", "medical_claim", 20)
    spill.write([batch(100, 1)])
    before = len(list(tmp_path.iterdir()))
    spill.drop(0)
    assert len(list(tmp_path.iterdir())) == before - 1 == len(ranges(20)) - 1
    assert spill.pieces(19)[0].rows.num_rows > 0


def test_a_part_without_rows_has_no_pieces(tmp_path: Path) -> None:
    spill = Spill(tmp_path, "part", "eligibility", 2)
    spill.write([])
    assert spill.pieces(1) == []
