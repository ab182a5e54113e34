"""What is spilled comes back shard by shard, however narrow it was written."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ihp_compute.ingest.door.by_shard import by_shard
from ihp_compute.ingest.door.columns import Coded, Column, Following, Stated
from ihp_compute.ingest.door.texts import Text, read_text
from ihp_compute.ingest.shard.rows import ShardRows
from ihp_compute.ingest.spill import Spill, ranges
from ihp_compute.ingest.spill_layout import Scratch, Spilled
from ihp_compute.input_columns import DAYS, SPILL_COLUMNS, SPILLED
from ihp_compute.population.hashes import text_hashes
from ihp_compute.units import NO_DAY

INT32 = np.iinfo(np.int32)
FEW = {column.name for column in SPILL_COLUMNS["medical_claim"] if column.few}


def batch(n: int, seed: int, **others: Column) -> dict[str, Column]:
    """Claim lines of which most columns are constant, and some as the test wants them."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Column] = dict.fromkeys(SPILLED["medical_claim"].names, 0)
    columns |= {
        "member_key": rng.integers(0, 2**64, n, dtype=np.uint64),
        "reason": None,
        "row": range(1, n + 1),
        "hash_1": rng.integers(0, 2**64, n, dtype=np.uint64),
        "claim_id": following([f"c{k // 3}" for k in range(n)]),
        "claim_line_number": read_text(pa.array(["1", "2", None] * n)[:n]),
        "original_claim": Stated(read_text(pa.array(["x", None, None] * n)[:n])),
        "adjustment_claim": Stated(read_text(pa.nulls(n, pa.string()))),
        "data_source": read_text(pa.array(["s", "t", None] * n)[:n]),
        "payer": read_text(pa.array([f"payer {k}" for k in range(n)])),
        "payer_plan": Text.blank(n),
        "indicator": read_text(pa.array(["4"] * n)),
        "paid_day": np.full(n, NO_DAY, np.int32),
        "blank_amount": rng.random(n) < 0.5,
        "dx": [Coded(np.array([0, 5, 70_000], np.int32), rng.integers(0, 3, n).astype(np.int32))],
    }
    return {**columns, **others}


def following(texts: list[str]) -> Following:
    """A column of texts, one a row."""
    array = pa.array(texts, pa.string())
    return Following(array, text_hashes(array))


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
    if isinstance(column, Following):
        return list(column.texts.to_pylist())
    if isinstance(column, np.ndarray):
        return list(column.tolist())
    if isinstance(column, list):
        return [[x for c in column if (x := int(c.values[c.index[k]])) > 0] for k in range(n)]
    assert isinstance(column, Text)
    return [column.values[k] for k in column.index]


def spilled(spill: Spill, columns: dict[str, Column], n_shards: int = 1) -> Spilled:
    """A batch of claims, written."""
    schema = SPILLED["medical_claim"]
    return spill.write("medical_claim", by_shard(columns, schema, n_shards, Scratch()))


@pytest.mark.parametrize("n_shards", [1, 3, 20])
def test_rows_come_back_in_their_shards_and_order(tmp_path: Path, n_shards: int) -> None:
    few = np.arange(3, dtype=np.int32).repeat(150)
    batches = [
        batch(50, 1, service_day=np.arange(19_000, 19_050, dtype=np.int32)),
        batch(40, 2, service_day=np.arange(40, dtype=np.int32) + 40_000, dx=[]),
        batch(1, 3, paid_cents=np.array([-(10**12)]), allowed_cents=np.array([INT32.min])),
        batch(
            60,
            4,
            paid_cents=np.arange(60) + INT32.max - 30,
            blank_amount=np.ones(60, bool),
            claim_id=read_text(pa.array(["c0", "", "d"] * 20)),  # places beside texts
        ),
        batch(
            450,
            5,
            member_key=Coded(np.array([9, 2**63, 5], np.uint64), few),
            admission_day=np.where(few == 1, few.cumsum() % 9 + 19_000, NO_DAY).astype(np.int32),
        ),
    ]
    spill = Spill(tmp_path, n_shards)
    spill.finish({"medical_claim": [spilled(spill, columns, n_shards) for columns in batches]})
    schema = SPILLED["medical_claim"]
    keys = [plain(columns["member_key"], 0) for columns in batches]
    for shard in range(n_shards):
        raw = ShardRows("rows", [spill.pieces("medical_claim", shard)], schema, Scratch())
        for field in schema:
            wanted = [
                value
                for columns, own in zip(batches, keys, strict=True)
                for value, key in zip(plain(columns[field.name], len(own)), own, strict=True)
                if key % n_shards == shard
            ]
            if pa.types.is_list(field.type):
                check_lists(raw, [value or [] for value in wanted])
            elif pa.types.is_string(field.type):
                check_texts(raw, field.name, wanted)
            else:
                check_stretches(raw, field.name, wanted)
                found = raw.numbers[field.name]
                assert found.dtype == field.type.to_pandas_dtype()
                assert found.tolist() == wanted
        spill.made(shard)
    spill.close()
    assert not list(tmp_path.iterdir())


def check_stretches(raw: ShardRows, name: str, wanted: list[int]) -> None:
    """Any neighbouring rows of a column of numbers, of all rows and of a part."""
    ends = sorted({0, 1, raw.n // 3, raw.n // 2, raw.n})
    for rows, before in ((raw, 0), (raw.rows(raw.n // 3, raw.n), raw.n // 3)):
        for first, stop in pairwise(ends):
            near = slice(first, min(stop, rows.n))
            if near.start < near.stop:
                expected = wanted[before + near.start : before + near.stop]
                assert rows.stretch(name, near).tolist() == expected
                kind = rows.narrowest(name)
                least = -(2 ** (8 * kind.itemsize - 1)) if name in DAYS else NO_DAY
                found = rows.stretch(name, near, kind).tolist()
                assert found == [least if value == NO_DAY else value for value in expected]


def check_lists(raw: ShardRows, wanted: list[list[int]]) -> None:
    """The diagnoses of all rows, and of a part."""
    middle = raw.n // 3
    for rows, first in ((raw, 0), (raw.rows(middle, raw.n), middle)):
        lists = rows.lists["dx"]
        found = [part.tolist() for part in np.split(lists.codes, lists.starts[:-1])[1:]]
        ends = [found[k][: lists.starts[k + 1] - lists.starts[k]] for k in range(rows.n)]
        assert ends == wanted[first:]


def check_texts(raw: ShardRows, name: str, wanted: list[str | None]) -> None:
    """A text column as all, as few, as those stated, and as hashes; of rows and of a part."""
    words = text_hashes(pa.array(wanted, pa.string()))
    middle = raw.n // 3
    for rows, first in ((raw, 0), (raw.rows(middle, raw.n), middle)):
        assert rows.texts[name].to_pylist() == wanted[first:]
        assert rows.hashes[name].tolist() == words[first:].tolist()
        some = np.arange(0, rows.n, 7)
        assert rows.some_texts(some, name).to_pylist() == wanted[first::7]
        if name in FEW:
            few, near = rows.few(name), slice(rows.n // 4, rows.n)
            assert few is not None
            assert len(few.texts) == len(few.texts.unique())
            found = few.texts.take(pa.array(rows.places(name, few, near))).to_pylist()
            assert found == wanted[first:][near]
        if None in wanted:
            near = slice(rows.n // 5, rows.n)
            assert rows.sparse(name, near).to_pylist() == wanted[first:][near]
        at, hashed = rows.stated(name)
        assert at.tolist() == np.flatnonzero(words[first:]).tolist()
        assert hashed.tolist() == words[first:][at].tolist()


def test_what_all_rows_or_many_share_is_not_written() -> None:
    days = np.where(np.arange(500) % 7 == 0, 19_000 + np.arange(500) % 5, NO_DAY).astype(np.int32)
    columns = batch(500, 1, admission_day=days)
    made = by_shard(columns, SPILLED["medical_claim"], 2, Scratch())
    kept, numbers, claims = made.kept, made.numbers, made.texts["claim_id"]
    assert {"file", "paid_day", "adjustment_claim", "reason", "tin"} <= set(kept.constant)
    assert not set(kept.constant) & {*numbers, *made.texts}
    many = {"claim_line_number", "original_claim", "admission_day"}
    assert set(kept.values) == many | {"data_source", "payer", "indicator"}
    kinds = {name: numbers[name].dtype.name for name in ("original_claim", "admission_day", "row")}
    assert kinds == {"original_claim": "uint8", "admission_day": "uint8", "row": "int16"}
    assert claims.null_count > 0
    assert claims.is_valid()[int(made.starts[1])].as_py()


def written(spill: Spill, batches: list[dict[str, Column]], n_shards: int) -> list[Spilled]:
    """The batches, written by four workers."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda columns: spilled(spill, columns, n_shards), batches))


def test_a_range_of_shards_goes_when_all_of_it_are_made(tmp_path: Path) -> None:
    spill = Spill(tmp_path, 20)
    spill.finish({"medical_claim": written(spill, [batch(100, 1)], 20)})
    for shard in (0, 2, 1):
        assert len(list(tmp_path.iterdir())) == len(ranges(20))
        spill.made(shard)
    spill.close()
    assert len(list(tmp_path.iterdir())) == len(ranges(20)) - 1
    assert spill.pieces("medical_claim", 19).n > 0


def test_workers_share_the_files_and_no_row_is_lost(tmp_path: Path) -> None:
    spill, n_shards = Spill(tmp_path, 3), 3
    batches = [batch(200, seed) for seed in range(12)]
    spill.finish({"medical_claim": written(spill, batches, n_shards)})
    assert len(list(tmp_path.iterdir())) == n_shards
    found: list[int] = []
    for shard in range(n_shards):
        pieces = [spill.pieces("medical_claim", shard)]
        raw = ShardRows("rows", pieces, SPILLED["medical_claim"], Scratch())
        keys = [k for columns in batches for k in plain(columns["member_key"], 0)]
        assert raw.numbers["member_key"].tolist() == [k for k in keys if k % n_shards == shard]
        found += raw.numbers["member_key"].tolist()
    assert len(found) == 200 * 12


def test_a_range_may_have_no_rows_and_nothing_in_its_file(tmp_path: Path) -> None:
    key = Coded(np.array([5], np.uint64), np.zeros(64, np.int32))
    claim = read_text(pa.array(["c"] * 64))
    columns = batch(64, 1, member_key=key, claim_id=claim, claim_line_number=claim, dx=[])
    columns["original_claim"] = None
    spill = Spill(tmp_path, 9)
    spill.finish({"medical_claim": written(spill, [columns], 9)})
    assert sorted(path.stat().st_size > 0 for path in tmp_path.iterdir()) == [False] * 4 + [True]
    schema = SPILLED["medical_claim"]
    for shard in range(9):
        raw = ShardRows("rows", [spill.pieces("medical_claim", shard)], schema, Scratch())
        assert raw.texts["claim_id"].to_pylist() == ["c"] * (64 if shard == 5 else 0)
        assert raw.numbers["row"].tolist() == (list(range(1, 65)) if shard == 5 else [])
    spill.close()


def test_what_is_written_in_part_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system may write less than it is asked for."""
    whole = os.write
    monkeypatch.setattr(os, "writev", lambda file, parts: whole(file, b"".join(parts)[:1000]))
    monkeypatch.setattr(os, "write", lambda file, rest: whole(file, rest[:999]))
    spill, columns = Spill(tmp_path, 1), batch(300, 1)
    spill.finish({"medical_claim": [spilled(spill, columns)]})
    pieces = [spill.pieces("medical_claim", 0)]
    raw = ShardRows("rows", pieces, SPILLED["medical_claim"], Scratch())
    assert raw.numbers["hash_1"].tolist() == plain(columns["hash_1"], 300)
    assert raw.texts["claim_id"].to_pylist() == plain(columns["claim_id"], 300)


def test_without_batches_there_are_no_files_and_no_rows(tmp_path: Path) -> None:
    spill = Spill(tmp_path, 2)
    spill.finish({})
    raw = ShardRows("rows", [spill.pieces("medical_claim", 1)], SPILLED["medical_claim"], Scratch())
    assert raw.n == len(raw.numbers["row"]) == len(raw.texts["claim_id"]) == 0
    assert raw.stated("original_claim")[0].tolist() == []
    assert len(raw.lists["dx"].codes) == 0
    assert not list(tmp_path.iterdir())
    spill.made(0)
    spill.close()
