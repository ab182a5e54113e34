"""What is spilled comes back shard by shard, however narrow it was written."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ihp_compute.fingerprint import text_hashes
from ihp_compute.ingest_columns import Raw
from ihp_compute.ingest_read import Text, read_text
from ihp_compute.ingest_spill import SPILLED, Coded, Column, Space, Spill, Stated, ranges
from ihp_compute.units import NO_DAY

INT32 = np.iinfo(np.int32)


def batch(n: int, seed: int, **others: Column) -> dict[str, Column]:
    """Claim lines of which most columns are constant, and some as the test wants them."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Column] = dict.fromkeys(SPILLED["medical_claim"].names, 0)
    columns |= {
        "member_key": rng.integers(0, 2**64, n, dtype=np.uint64),
        "reason": None,
        "row": range(1, n + 1),
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
    if isinstance(column, Coded):
        return [int(column.values[k]) for k in column.index]
    if isinstance(column, range):
        return list(column)
    if isinstance(column, np.ndarray | pa.Array):
        return list(column.tolist())
    if isinstance(column, list):
        return [[x for c in column if (x := int(c.values[c.index[k]])) > 0] for k in range(n)]
    assert isinstance(column, Text)
    return [column.values[k] for k in column.index]


@pytest.mark.parametrize("n_shards", [1, 3, 20])
def test_rows_come_back_in_their_shards_and_order(tmp_path: Path, n_shards: int) -> None:
    few = np.arange(3, dtype=np.int32).repeat(150)
    batches = [
        batch(50, 1, service_day=np.arange(19_000, 19_050, dtype=np.int32)),
        batch(40, 2, service_day=np.arange(40, dtype=np.int32) + 40_000, dx=[]),
        batch(1, 3, paid_cents=np.array([-(10**12)]), allowed_cents=np.array([INT32.min])),
        batch(60, 4, paid_cents=np.arange(60) + INT32.max - 30, has_drg=np.ones(60, bool)),
        batch(450, 5, member_key=Coded(np.array([0, 2**63, 5], np.uint64), few)),
    ]
    spill = Spill(tmp_path, n_shards)
    spilled = [spill.write("medical_claim", columns) for columns in batches]
    spill.finish()
    schema = SPILLED["medical_claim"]
    keys = [plain(columns["member_key"], 0) for columns in batches]
    for shard in range(n_shards):
        raw = Raw("rows", spill.pieces(spilled, shard), schema, Space())
        for field in schema:
            wanted = [
                value
                for columns, own in zip(batches, keys, strict=True)
                for value, key in zip(plain(columns[field.name], len(own)), own, strict=True)
                if key % n_shards == shard
            ]
            if pa.types.is_list(field.type):
                assert raw.texts[field.name].to_pylist() == [value or [] for value in wanted]
            elif pa.types.is_string(field.type):
                check_texts(raw, field.name, wanted)
            else:
                found = raw.numbers[field.name]
                assert found.dtype == field.type.to_pandas_dtype()
                assert found.tolist() == wanted
        spill.made(shard)
    spill.close()
    assert not list(tmp_path.iterdir())


def check_texts(raw: Raw, name: str, wanted: list[str | None]) -> None:
    """A text column as all, as few, as those stated, and as hashes; of rows and of a part."""
    words = text_hashes(pa.array(wanted, pa.string()))
    middle = raw.n // 3
    for rows, first in ((raw, 0), (raw.rows(middle, raw.n), middle)):
        assert rows.texts[name].to_pylist() == wanted[first:]
        assert rows.hashes[name].tolist() == words[first:].tolist()
        some = np.arange(0, rows.n, 7)
        assert rows.some_texts(some, name).to_pylist() == wanted[first::7]
        at, hashed = rows.stated(name)
        assert at.tolist() == np.flatnonzero(words[first:]).tolist()
        assert hashed.tolist() == words[first:][at].tolist()


def test_what_all_rows_or_many_share_is_not_written(tmp_path: Path) -> None:
    spill = Spill(tmp_path, 2)
    spilled = spill.write("medical_claim", batch(500, 1))
    spill.finish()
    (piece,) = spill.pieces([spilled], 0)
    names = piece.of.rows.schema.names
    assert {"file", "paid_day", "adjustment_claim", "reason", "tin"} <= set(piece.kept.constant)
    assert not set(piece.kept.constant) & set(names)
    assert set(piece.kept.values) == {"claim_line_number", "original_claim"}
    assert piece.numbers("original_claim").dtype == np.uint8
    assert piece.numbers("row").dtype == np.int16


def test_a_range_of_shards_goes_when_all_of_it_are_made(tmp_path: Path) -> None:
    spill = Spill(tmp_path, 20)
    spilled = spill.write("medical_claim", batch(100, 1))
    spill.finish()
    for shard in (0, 2, 1):
        assert len(list(tmp_path.iterdir())) == len(ranges(20))
        spill.made(shard)
    spill.close()
    assert len(list(tmp_path.iterdir())) == len(ranges(20)) - 1
    assert spill.pieces([spilled], 19)[0].n > 0


def test_workers_write_files_of_their_own(tmp_path: Path) -> None:
    spill, n_shards = Spill(tmp_path, 3), 3
    batches = [batch(200, seed) for seed in range(12)]
    with ThreadPoolExecutor(4) as pool:
        spilled = list(pool.map(partial(spill.write, "medical_claim"), batches))
    spill.finish()
    assert len(list(tmp_path.iterdir())) == n_shards * len({batch.paths[0] for batch in spilled})
    found = [
        key
        for shard in range(n_shards)
        for piece in spill.pieces(spilled, shard)
        for key in piece.numbers("member_key").tolist()
    ]
    assert sorted(found) == sorted(
        k for columns in batches for k in plain(columns["member_key"], 0)
    )


def test_without_batches_there_are_no_files_and_no_pieces(tmp_path: Path) -> None:
    spill = Spill(tmp_path, 2)
    spill.finish()
    assert spill.pieces([], 1) == []
    spill.made(0)
    spill.close()
