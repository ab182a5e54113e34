"""Kernels of ingest on one core, on columns of claim lines, beside NumPy, PyArrow and hashlib."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
import pyarrow as pa

import kernels
from benchmarks.peers import columns
from benchmarks.race import QUICK, Work, race
from ihp_compute.population.hashes import text_buffers

N: Final = 20_000 if QUICK else 1_000_000
"""Rows: claim lines, each of a member, many of one text."""
MEMBERS: Final = N // 80
SHARDS: Final = 64
PERSON: Final = b"ihp-member-1"
SEEDS: Final = np.array([0x9E3779B97F4A7C15, 0xD1B54A32D192ED03], np.uint64)


@cache
def rows() -> dict[str, Any]:
    """Keys, codes and texts as ingest meets them."""
    rng = np.random.default_rng(41)
    table = np.unique(rng.integers(0, 2**64, MEMBERS, dtype=np.uint64))
    member = rng.integers(0, len(table), N).astype(np.int32)
    day = rng.integers(0, 730, N).astype(np.uint64)
    texts = pa.array([f"C{k:09d}" for k in range(MEMBERS)])
    return {
        "table": table,
        "member": member,
        "key": table[member],
        "word": (member.astype(np.uint64) << np.uint64(10)) | day,
        "texts": texts,
        "codes": rng.integers(0, 20_000, (4, N)).astype(np.int32)
        * (rng.random((4, N)) < 0.5).astype(np.int32),
        "order": np.argsort(table[member] % np.uint64(SHARDS), kind="stable").astype(np.int32),
    }


def work(n_bytes: int, n: int = N) -> Work:
    return Work("row", n, n_bytes, sizes={"rows": n})


def test_bench_row_order(benchmark: Any) -> None:
    key = rows()["key"]
    race(
        benchmark,
        lambda: kernels.row_order(key, SHARDS),
        {"numpy": lambda: columns.row_order(key, SHARDS)},
        work(12 * N),
    )


def test_bench_row_pick(benchmark: Any) -> None:
    a = rows()
    race(
        benchmark,
        lambda: kernels.row_pick(a["table"], a["member"], a["order"]),
        {"numpy": lambda: columns.row_pick(a["table"], a["member"], a["order"])},
        work(16 * N),
    )


def test_bench_row_join(benchmark: Any) -> None:
    """Codes of a million rows in pieces of 2,000, as two bytes, of distinct values."""
    rng = np.random.default_rng(43)
    size = min(N, 2_000)
    ends = np.arange(size, N + 1, size)
    stored = rng.integers(0, 2**64, N // 4, dtype=np.uint64) & np.uint64(0x0FFF_0FFF_0FFF_0FFF)
    values = rng.integers(0, 2**64, 4096, dtype=np.uint64)
    out = np.empty(N, np.uint64)
    plan = ((ends - size) * 2, np.full(len(ends), 2, np.int8), np.zeros(len(ends), np.int64), ends)
    race(
        benchmark,
        lambda: kernels.row_join(stored, *plan, values, out),
        {"numpy": lambda: columns.row_join(stored.view(np.uint16), plan[0] // 2, ends, values)},
        work(10 * N),
    )


def test_bench_decimal_units(benchmark: Any) -> None:
    """Amounts in cents, one of 30 blank."""
    rng = np.random.default_rng(47)
    words = np.zeros(2 * N, np.int64)
    words[::2] = rng.integers(0, 500_000, N)
    valid = np.packbits(rng.random(N) < 29 / 30, bitorder="little")
    race(
        benchmark,
        lambda: tuple(kernels.decimal_units(words, valid, 0, 10**12))[:2],
        {"numpy": lambda: columns.decimal_units(words, valid, 10**12)[:2]},
        work(25 * N),
    )


def test_bench_text_key(benchmark: Any) -> None:
    texts = rows()["texts"]
    data, offsets = text_buffers(texts)
    person = np.frombuffer(PERSON.ljust(16, b"\0"), "<u8")
    race(
        benchmark,
        lambda: kernels.text_key(data, offsets, person),
        {"hashlib": lambda: columns.text_key(texts, PERSON)},
        work(22 * len(texts), len(texts)),
    )


def test_bench_text_hash(benchmark: Any) -> None:
    data, offsets = text_buffers(rows()["texts"])
    n = len(offsets) - 1
    race(benchmark, lambda: kernels.text_hash(data, offsets), {}, work(22 * n, n))


def test_bench_row_hash(benchmark: Any) -> None:
    a = rows()
    race(
        benchmark,
        lambda: kernels.row_hash(np.zeros((2, N), np.uint64), a["table"], a["member"], SEEDS),
        {"numpy": lambda: columns.row_hash(a["table"], a["member"], SEEDS)},
        work(36 * N),
    )


def test_bench_word_mix(benchmark: Any) -> None:
    words = rows()["key"]
    race(
        benchmark,
        lambda: kernels.word_mix(words.copy()),
        {"numpy": lambda: columns.word_mix(words)},
        work(16 * N),
    )


def test_bench_word_pack(benchmark: Any) -> None:
    words, member = rows()["key"], rows()["member"]
    race(
        benchmark,
        lambda: kernels.word_pack(words.copy(), member, -7, 10),
        {"numpy": lambda: columns.word_pack(words, member, -7, 10)},
        work(20 * N),
    )


def test_bench_word_order(benchmark: Any) -> None:
    word = rows()["word"]
    race(
        benchmark,
        lambda: tuple(kernels.word_order(word, int(word.max()).bit_length())),
        {"numpy": lambda: columns.word_order(word)},
        work(24 * N),
    )


def test_bench_least_words(benchmark: Any) -> None:
    """The first day of each member in each of some months."""
    word = rows()["word"]
    race(
        benchmark,
        lambda: kernels.least_words(word, int(word.max()).bit_length(), 5),
        {"numpy": lambda: columns.least_words(word, 5)},
        work(16 * N),
    )


def test_bench_key_place(benchmark: Any) -> None:
    a = rows()
    race(
        benchmark,
        lambda: kernels.key_place(a["key"], a["table"]),
        {"numpy": lambda: columns.key_place(a["key"], a["table"])},
        work(12 * N),
    )


def test_bench_first_row(benchmark: Any) -> None:
    a = rows()
    race(
        benchmark,
        lambda: kernels.first_row(a["word"], a["key"]),
        {"numpy": lambda: columns.first_row(a["word"], a["key"])},
        work(24 * N),
    )


def test_bench_distinct_count(benchmark: Any) -> None:
    key = rows()["key"]

    def equal(ours: int, peer: int) -> None:
        assert ours == peer

    race(
        benchmark,
        lambda: kernels.distinct_count(key),
        {"numpy": lambda: columns.distinct_count(key)},
        work(8 * N),
        check={"numpy": equal},
    )


def test_bench_code_lists(benchmark: Any) -> None:
    codes = rows()["codes"]
    race(
        benchmark,
        lambda: kernels.code_lists(codes),
        {"numpy": lambda: columns.code_lists(codes)},
        work(16 * N + 12 * N),
    )


def test_bench_list_words(benchmark: Any) -> None:
    """Claims of three lines that state one list; what is left to order is less, not other."""
    codes, ends = kernels.code_lists(np.ascontiguousarray(rows()["codes"][:, : N // 3]))
    claim = np.arange(N) // 3 % (N // 3)
    lengths = np.diff(ends)[claim]
    starts = np.append(0, lengths.cumsum()).astype(np.int32)
    codes = codes[np.arange(starts[-1]) + (ends[:-1][claim] - starts[:-1]).repeat(lengths)]
    words = rows()["word"][claim] << np.uint64(15)
    parts = np.arange(20_000, dtype=np.uint64)

    def same_words(ours: Any, peer: Any) -> None:
        assert (np.unique(ours) == np.unique(peer)).all()

    race(
        benchmark,
        lambda: kernels.list_words(words, starts, codes, parts),
        {"numpy": lambda: columns.list_words(words, starts, codes, parts)},
        work(12 * N + 4 * len(codes)),
        check={"numpy": same_words},
    )


def test_bench_history_fates(benchmark: Any) -> None:
    """Bills of two lines, each replaced as a whole, or voided, or left as it is."""
    rng = np.random.default_rng(47)
    n_families = N // 3
    what = rng.integers(0, 3, n_families)  # 0 left, 1 replaced, 2 voided
    offsets = np.append(0, np.where(what == 0, 2, 4).cumsum())
    family = np.repeat(np.arange(n_families), np.diff(offsets))
    at = np.arange(offsets[-1]) - offsets[family]
    cents = rng.integers(1, 10**6, offsets[-1])
    second = at >= 2
    void = second & (what[family] == 2)
    cents[void] = -cents[np.flatnonzero(void) - 2]
    none = np.full(offsets[-1], -1, np.int32)
    phase = np.where(second, what[family], 0).astype(np.uint8)
    arrays = (
        second.astype(np.int64), phase, np.zeros(offsets[-1], np.int32),
        (at % 2 + 1).astype(np.uint64), cents, none, none, offsets,
    )  # fmt: skip
    race(
        benchmark,
        lambda: kernels.history_fates(*arrays, additional=False),
        {"numpy": lambda: columns.history_fates(phase, offsets)},
        work(42 * len(cents), len(cents)),
        note="the peer knows only bills that are replaced or voided as wholes",
    )
