"""Columns of spilled rows: joined once, shared by parts, gone with the rows."""

from __future__ import annotations

import gc
import weakref

import pyarrow as pa

from ihp_compute.ingest_columns import Raw, take_texts
from ihp_compute.ingest_spill import Batch, Kept, Piece, Space

SCHEMA = pa.schema(
    [
        ("number", pa.int32()),
        ("mark", pa.bool_()),
        ("text", pa.string()),
        ("codes", pa.list_(pa.int32())),
    ]
)


def rows() -> Raw:
    """Two pieces: one narrow in what it writes, one nearly all constant."""
    first = pa.record_batch(
        {
            "number": pa.array([1, 2], pa.int16()),
            "mark": pa.array([1, 0], pa.uint8()),
            "text": pa.array(["a", None]),
            "codes": pa.array([[7], []], pa.list_(pa.int32())),
        }
    )
    second = pa.record_batch({"number": pa.array([3], pa.int32())})
    same = Kept(constant={"mark": 1, "text": "c", "codes": None})
    pieces = [Piece(Batch(first, Kept()), 0, 2), Piece(Batch(second, same), 0, 1)]
    return Raw("rows", pieces, SCHEMA, Space())


def test_columns_join_the_pieces_and_parts_share_them() -> None:
    raw = rows()
    part = raw.rows(1, 3)
    assert (raw.n, part.n) == (3, 2)
    assert raw.passing("number").tolist() == [1, 2, 3]
    assert raw.passing("number").dtype == "int32"
    assert part.numbers["number"].tolist() == [2, 3]
    assert part.numbers["number"].base is raw.numbers["number"].base
    assert part.numbers["mark"].tolist() == [False, True]
    assert part.rows(1, 2).texts["text"].to_pylist() == ["c"]
    assert part.rows(1, 2).stated("text")[0].tolist() == [0]
    assert part.texts["text"].to_pylist() == [None, "c"]
    assert raw.texts["codes"].to_pylist() == [[7], [], []]
    assert take_texts(raw.texts["text"], raw.numbers["number"][:2] - 1).to_pylist() == ["a", None]


def test_no_rows_have_empty_columns() -> None:
    raw = Raw("rows", [], SCHEMA, Space())
    assert raw.n == len(raw.numbers["number"]) == len(raw.texts["text"]) == 0


def test_rows_are_gone_when_nobody_holds_them() -> None:
    raw = rows()
    part = raw.rows(0, 1)
    assert len(part.numbers["number"]) == len(part.texts["text"]) == 1
    gone = weakref.ref(raw)
    gc.disable()
    try:
        del raw, part
        assert gone() is None
    finally:
        gc.enable()


def test_space_is_used_again_by_name() -> None:
    space = Space()
    number = rows().numbers["number"]
    first = space.array("a", 4, number.dtype)
    first[:] = 7
    assert space.array("a", 3, number.dtype).tolist() == [7, 7, 7]
    assert len(space.array("a", 4000, number.dtype)) == 4000
