"""Columns of spilled rows: joined once, shared by parts, gone with the rows."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ihp_compute.ingest.door.by_shard import by_shard
from ihp_compute.ingest.door.columns import Column, Stated
from ihp_compute.ingest.door.texts import read_text
from ihp_compute.ingest.shard.rows import ShardRows, take_texts
from ihp_compute.ingest.spill import Spill
from ihp_compute.ingest.spill_layout import Scratch
from ihp_compute.input_columns import SPILLED

ROWS = 40


def batch(first: int, **others: Column) -> dict[str, Column]:
    """Claim lines of one member."""
    columns: dict[str, Column] = {
        field.name: None if field.type == pa.string() else 0 for field in SPILLED["medical_claim"]
    }
    columns |= {
        "member_key": np.full(ROWS, 6, np.uint64),
        "row": range(first, first + ROWS),
        "reason": None,
        "claim_id": read_text(pa.array(["c", "d"] * (ROWS // 2))),
        "claim_line_number": read_text(pa.array(["1"] * ROWS)),
        "original_claim": Stated(read_text(pa.array(["x", None] * (ROWS // 2)))),
        "adjustment_claim": None,
        "dx": [],
    }
    return {**columns, **others}


def rows(folder: Path) -> ShardRows:
    """Two batches, of which one has a single number of lines and the other many."""
    spill = Spill(folder, 1)
    numbers = read_text(pa.array([f"{k}" for k in range(ROWS)]))
    batches = [batch(1), batch(1_000_000, claim_line_number=numbers)]
    schema, scratch = SPILLED["medical_claim"], Scratch()
    kept = [
        # a batch stands in the scratch until another one does
        spill.write("medical_claim", by_shard(columns, schema, 1, scratch))
        for columns in batches
    ]
    spill.finish({"medical_claim": kept})
    return ShardRows("rows", [spill.pieces("medical_claim", 0)], schema, Scratch())


def test_columns_join_the_pieces_and_parts_share_them(tmp_path: Path) -> None:
    raw = rows(tmp_path)
    part = raw.rows(ROWS - 1, ROWS + 2)
    assert (raw.n, part.n) == (2 * ROWS, 3)
    assert raw.passing("row").tolist() == [*range(1, ROWS + 1), *range(1_000_000, 1_000_000 + ROWS)]
    assert raw.passing("row").dtype == "int64"
    assert part.numbers["row"].tolist() == [ROWS, 1_000_000, 1_000_001]
    assert part.numbers["row"].base is raw.numbers["row"].base
    assert part.numbers["blank_amount"].tolist() == [False] * 3
    assert part.texts["claim_line_number"].to_pylist() == ["1", "0", "1"]
    assert part.rows(1, 3).texts["original_claim"].to_pylist() == ["x", None]
    assert part.rows(1, 3).stated("original_claim")[0].tolist() == [0]
    assert part.some_texts(np.array([2, 0]), "claim_id").to_pylist() == ["d", "d"]
    assert part.some_texts(np.array([0, 1]), "reason").to_pylist() == [None, None]
    texts = raw.texts["original_claim"]
    assert take_texts(texts, np.array([1, 0])).to_pylist() == [None, "x"]


def test_rows_are_gone_when_nobody_holds_them(tmp_path: Path) -> None:
    raw = rows(tmp_path)
    part = raw.rows(0, 1)
    assert len(part.numbers["row"]) == len(part.texts["claim_id"]) == 1
    gone = weakref.ref(raw)
    gc.disable()
    try:
        del raw, part
        assert gone() is None
    finally:
        gc.enable()


def test_space_is_used_again_by_name() -> None:
    scratch, kind = Scratch(), np.dtype(np.int32)
    first = scratch.array("a", 4, kind)
    first[:] = 7
    assert scratch.array("a", 3, kind).tolist() == [7, 7, 7]
    assert len(scratch.array("a", 4000, kind)) == 4000


@pytest.mark.parametrize("n_words", [2, 100])
@pytest.mark.parametrize("first", ["w", " w"], ids=["as they are", "to be trimmed"])
def test_a_last_word_of_nothing_and_a_null_state_the_same(n_words: int, first: str) -> None:
    """Whether few words or many, and whether or not some must be made alike."""
    words = [f"{first if k == 0 else 'w'}{k}" for k in range(n_words)]
    column = pa.array([*words, "", None, words[0]], pa.string()).dictionary_encode()
    found = read_text(column)
    read = [found.values[k] for k in found.index.tolist()]
    assert read == [*(word.strip() for word in words), "", "", words[0].strip()]
    assert found.words.blank == len(found.values) - 1
