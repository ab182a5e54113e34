"""Rows by group, picked values, texts, lists, counts: all forms against the definition."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from kernels import (
    KernelInputError,
    code_lists,
    distinct_count,
    row_join,
    row_order,
    row_pick,
    to_device,
    to_host,
)
from kernels.rows.code_lists import reference as lists_reference
from kernels.rows.distinct_count import reference as count_reference
from kernels.rows.row_join import KINDS as JOINED
from kernels.rows.row_join import STORED
from kernels.rows.row_join import reference as join_reference
from kernels.rows.row_order import reference as order_reference
from kernels.rows.row_pick import KINDS
from kernels.rows.row_pick import reference as pick_reference
from kernels.rows.text_key import reference as key_reference

word = st.integers(0, 2**64 - 1)
few = st.one_of(word, st.integers(0, 9))
keys_ = st.lists(few, max_size=40).map(lambda found: np.array(found, np.uint64))
groups = st.sampled_from([1, 2, 7, 65_535])


def lists(made: Any) -> list[Any]:
    return [part.tolist() for part in made]


# --- rows by group


@settings(max_examples=200, deadline=None)
@given(keys=keys_, n_groups=groups)
def test_the_fast_order_is_the_definition(keys: Any, n_groups: int) -> None:
    made, wanted = row_order(keys, n_groups), order_reference(keys, n_groups)
    assert lists(made) == lists(wanted)
    assert [part.dtype for part in made] == [part.dtype for part in wanted]


@settings(max_examples=60, deadline=None)
@given(keys=keys_, n_groups=st.integers(1, 9))
def test_the_cuda_text_of_the_order_is_the_definition(
    host_twin: Callable[..., list[Any]], keys: Any, n_groups: int
) -> None:
    n = np.int64(len(keys))
    starts, order = np.zeros(n_groups + 1, np.int64), np.zeros(len(keys), np.int32)
    for fill in (0, 1):
        arguments = [keys, n, np.int32(n_groups), np.int32(fill), starts, order]
        _, starts, order = host_twin("row_order", arguments, grid=n_groups // 4 + 1, block=4)
        starts = starts if fill else starts.cumsum()
    assert lists((order, starts)) == lists(order_reference(keys, n_groups))


def test_rows_of_a_group_keep_their_order() -> None:
    order, starts = row_order(np.array([3, 2, 1, 5, 0], np.uint64), 2)
    assert order.tolist() == [1, 4, 0, 2, 3]
    assert starts.tolist() == [0, 2, 5]


# --- picked values


@st.composite
def picks(draw: Any, sizes: Any = None) -> dict[str, Any]:
    kind = np.dtype(draw(st.sampled_from(KINDS)))
    size = draw(st.integers(1, 9)) if sizes is None else sizes(draw)
    raw = draw(st.binary(min_size=8 * size, max_size=8 * size))
    values = np.frombuffer(raw, np.uint64)
    values = values % 2 == 1 if kind == np.bool_ else values.astype(kind)
    index, n = None, size
    if draw(st.booleans()):
        places = draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=12))
        index, n = np.array(places, np.int32), len(places)
    order = np.array(draw(st.lists(st.integers(0, n - 1), max_size=20)), np.int32)
    return {"values": values, "index": index, "order": order}


@settings(max_examples=200, deadline=None)
@given(case=picks())
def test_the_fast_pick_is_the_definition(case: dict[str, Any]) -> None:
    made, wanted = row_pick(**case), pick_reference(**case)
    assert made.tolist() == wanted.tolist()
    assert made.dtype == wanted.dtype
    out = np.ones(len(wanted), wanted.dtype)
    assert row_pick(**case, out=out) is out
    assert out.tolist() == wanted.tolist()


@settings(max_examples=60, deadline=None)
@given(case=picks())
def test_the_cuda_text_of_the_pick_is_the_definition(
    host_twin: Callable[..., list[Any]], case: dict[str, Any]
) -> None:
    values, index, order = case.values()
    m, out = len(order), np.zeros(len(order), values.dtype)
    places, indexed = (order, 0) if index is None else (index, 1)
    arguments = [
        values, places, np.int32(indexed), order, np.int32(values.itemsize), np.int64(m), out,
    ]  # fmt: skip
    made = host_twin("row_pick", arguments, grid=m // 4 + 1, block=4)[-1]
    assert made.tolist() == pick_reference(**case).tolist()


# --- joined pieces


@st.composite
def joins(draw: Any) -> dict[str, Any]:
    """Pieces in a file, some with gaps between them, some empty, some that store nothing."""
    out = np.dtype(draw(st.sampled_from(JOINED)))
    names = [name for name in STORED if int(name[1]) < 8 or out.itemsize == 8]
    values = np.frombuffer(draw(st.binary(min_size=24, max_size=24)), np.uint64)
    values = values % 2 == 1 if out == np.bool_ else values.astype(out)
    data, pieces = b"", []
    for _ in range(draw(st.integers(0, 5))):
        name, n = draw(st.sampled_from([*names, ""])), draw(st.integers(0, 9))
        base = draw(st.sampled_from([-1, 0, 1]))
        most = 1 if out == np.bool_ or base >= 0 else 2 ** (8 * int(name[1:] or 1) - 1) - 1
        least = 0 if most == 1 or name[:1] != "i" else -most - 1
        numbers = draw(st.lists(st.integers(least, most), min_size=n, max_size=n))
        data += bytes(8 * draw(st.integers(0, 1)))
        pieces.append((len(data), STORED.get(name, 0), base, n))
        if name:
            data += np.array(numbers, name).tobytes()
        data += bytes(-len(data) % 8)
    at, kind, base, n = np.array(pieces, np.int64).reshape(-1, 4).T.copy()
    return {
        "stored": np.frombuffer(data + bytes(8), np.uint64),
        "at": at,
        "kind": kind.astype(np.int8),
        "base": base,
        "ends": n.cumsum(),
        "values": values,
        "out": np.zeros(n.sum(), out),
    }


@settings(max_examples=300, deadline=None)
@given(case=joins())
def test_the_fast_join_is_the_definition(case: dict[str, Any]) -> None:
    wanted = join_reference(**{**case, "out": case["out"].copy()})
    assert row_join(**case) is case["out"]
    assert case["out"].tolist() == wanted.tolist()


@settings(max_examples=60, deadline=None)
@given(case=joins())
def test_the_cuda_text_of_the_join_is_the_definition(
    host_twin: Callable[..., list[Any]], case: dict[str, Any]
) -> None:
    wanted = join_reference(**{**case, "out": case["out"].copy()})
    *inputs, out = case.values()
    arguments = [*inputs, np.int32(out.itemsize), out]
    if n_pieces := len(case["at"]):
        made = host_twin("row_join", arguments, grid=n_pieces, block=4)[-1]
        assert made.tolist() == wanted.tolist()


def test_pieces_are_widened_and_looked_up() -> None:
    stored = np.array([0xFF02, (2**64) - 3], np.uint64)
    made = row_join(
        stored,
        np.array([0, 0, 8, 8, 0]),
        np.array([1, 1, -2, 8, 0], np.int8),
        np.array([-1, 1, -1, -1, 0]),
        np.array([2, 3, 4, 5, 7]),
        np.array([10, 20, 30, 40]),
        np.zeros(7, np.int64),
    )
    assert made.tolist() == [2, 255, 40, -3, -3, 10, 10]


# --- distinct counts


@settings(max_examples=200, deadline=None)
@given(values=keys_)
def test_the_fast_count_is_the_definition(values: Any) -> None:
    assert distinct_count(values) == count_reference(values)


@settings(max_examples=60, deadline=None)
@given(values=keys_)
def test_the_cuda_text_of_the_count_is_the_definition(
    host_twin: Callable[..., list[Any]], values: Any
) -> None:
    n = len(values)
    arguments = [np.sort(values), np.int64(n), np.zeros(n, np.uint8)]
    first = host_twin("distinct_count", arguments, grid=n // 4 + 1, block=4)[-1]
    assert int(first.sum()) == count_reference(values)


# --- lists of codes


@st.composite
def code_columns(draw: Any) -> Any:
    k, n = draw(st.integers(0, 4)), draw(st.integers(0, 9))
    codes = draw(st.lists(st.integers(-1, 3), min_size=k * n, max_size=k * n))
    return np.array(codes, np.int32).reshape(k, n)


@settings(max_examples=200, deadline=None)
@given(codes=code_columns())
def test_fast_lists_are_the_definition(codes: Any) -> None:
    made, wanted = code_lists(codes), lists_reference(codes)
    assert lists(made) == lists(wanted)
    assert [part.dtype for part in made] == [part.dtype for part in wanted]
    out = np.zeros(codes.size, np.int32)
    assert lists(code_lists(codes, out)) == lists(wanted)
    assert out[: len(wanted[0])].tolist() == wanted[0].tolist()


@settings(max_examples=60, deadline=None)
@given(codes=code_columns())
def test_the_cuda_text_of_lists_is_the_definition(
    host_twin: Callable[..., list[Any]], codes: Any
) -> None:
    k, n = codes.shape
    starts, out = np.zeros(n + 1, np.int32), np.zeros(codes.size, np.int32)
    for write in (0, 1):
        arguments = [codes, np.int64(k), np.int64(n), np.int32(write), starts, out]
        starts, out = host_twin("code_lists", arguments, grid=n // 4 + 1, block=4)[-2:]
        starts = starts if write else starts.cumsum().astype(np.int32)
    assert lists((out[: starts[-1]], starts)) == lists(lists_reference(codes))


# --- the launches, a GPU, refusals


def form(stem: str) -> Callable[..., Any]:
    gpu_form: Callable[..., Any] = vars(inspect.getmodule(getattr(kernels, stem)))["_gpu"]
    return gpu_form


def test_the_launches_lay_their_arguments_out(numpy_as_cupy: Callable[[str], None]) -> None:
    keys = np.arange(20, dtype=np.uint64) ** np.uint64(2)
    index, order = np.array([1, 0, 2, 1, 1], np.int32), np.array([4, 2, 0, 0], np.int32)
    values, codes = np.array([5, 6, 7], np.int16), np.array([[1, 0, 2, 4], [3, 0, 0, 5]], np.int32)
    data, offsets = np.frombuffer(b"abbccc", np.uint8), np.array([0, 1, 3, 6], np.int32)
    for stem in ("row_order", "row_pick", "row_join", "code_lists", "text_key"):
        numpy_as_cupy(stem)
    pieces = (
        np.arange(4, dtype=np.uint64), np.array([8, 0]), np.array([8, -4], np.int8),
        np.array([-1, 1]), np.array([2, 5]), np.array([7, 8, 9]),
    )  # fmt: skip
    made = np.zeros(5, np.int64)
    form("row_join")(*pieces, made)
    assert made.tolist() == join_reference(*pieces, np.zeros(5, np.int64)).tolist()
    assert lists(form("row_order")(keys, 7)) == lists(order_reference(keys, 7))
    made = form("row_pick")(values, index, order, None)
    assert made.tolist() == pick_reference(values, index, order).tolist()
    assert lists(form("code_lists")(codes, None)) == lists(lists_reference(codes))
    person = np.array([1, 2], np.uint64)
    made = form("text_key")(data, offsets, person)
    assert made.tolist() == key_reference(data, offsets, person).tolist()


# --- a GPU


def there(case: dict[str, Any]) -> dict[str, Any]:
    return {name: None if array is None else to_device(array) for name, array in case.items()}


@pytest.mark.gpu
@settings(max_examples=60, deadline=None)
@given(keys=keys_, n_groups=groups, pick=picks(), join=joins())
def test_the_gpu_is_the_definition(
    keys: Any, n_groups: int, pick: dict[str, Any], join: dict[str, Any]
) -> None:
    assert to_host(row_join(**there(join))).tolist() == join_reference(**join).tolist()
    made = row_order(to_device(keys), n_groups)
    assert lists(map(to_host, made)) == lists(order_reference(keys, n_groups))
    assert to_host(row_pick(**there(pick))).tolist() == pick_reference(**pick).tolist()
    assert distinct_count(to_device(keys)) == count_reference(keys)
    codes = (keys % np.uint64(3)).astype(np.int32).reshape(1, -1)
    assert lists(map(to_host, code_lists(to_device(codes)))) == lists(lists_reference(codes))


def joined(**others: Any) -> Any:
    """One piece of two rows, but for what is handed in."""
    case = {
        "stored": np.zeros(1, np.uint64),
        "at": np.zeros(1, np.int64),
        "kind": np.ones(1, np.int8),
        "base": np.full(1, -1),
        "ends": np.full(1, 2),
        "values": np.zeros(0, np.int32),
        "out": np.zeros(2, np.int32),
    }
    return row_join(**{**case, **others})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: row_order(np.zeros(2, np.int64), 2), "keys: expected dtype uint64"),
        (lambda: row_order(np.zeros(2, np.uint64), 0), "n_groups: expected 1 to"),
        (lambda: row_order(np.zeros(2, np.uint64), 65_536), "n_groups: expected 1 to"),
        (
            lambda: row_pick(np.zeros(2, np.float64), None, np.zeros(1, np.int32)),
            "values: expected dtype bool",
        ),
        (
            lambda: row_pick(np.zeros(2, np.int32), None, np.zeros(1, np.int64)),
            "order: expected dtype int32",
        ),
        (
            lambda: row_pick(np.zeros(2, np.int32), np.zeros(2), np.zeros(1, np.int32)),
            "index: expected dtype int32",
        ),
        (
            lambda: row_pick(
                np.zeros(2, np.int32), None, np.zeros(1, np.int32), np.zeros(2, np.int32)
            ),
            r"out: expected shape \(1\)",
        ),
        (lambda: joined(stored=np.zeros(8, np.uint8)), "stored: expected dtype uint64"),
        (lambda: joined(kind=np.zeros(2, np.int8)), r"kind: expected shape \(1\)"),
        (lambda: joined(values=np.zeros(1)), "values: expected dtype int32"),
        (lambda: joined(out=np.zeros(3, np.int32)), "out: expected the 2 rows at which pieces end"),
        (lambda: code_lists(np.zeros(2, np.int32)), "codes: expected shape"),
        (
            lambda: code_lists(np.zeros((2, 1), np.int32), np.zeros(1, np.int32)),
            r"out: expected shape \(2\)",
        ),
        (lambda: distinct_count(np.zeros(2, np.int64)), "values: expected dtype uint64"),
    ],
)
def test_wrong_input_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(KernelInputError, match=message):
        call()
