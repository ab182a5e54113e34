"""Small files that ask for much, and damaged ones: one sentence, in bounded memory."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ihp_compute.errors import DataError
from ihp_compute.ingest import input_files
from ihp_compute.ingest.door import csv_files, parquet_files

Make = Callable[..., dict[str, Any]]
NAMES = ("claim_id", "person_id", "claim_start_date", "paid_amount", "payer")
MOST_MIB = 256
"""What a refused file may add to the memory of the process."""


@pytest.fixture
def raw(bench: Any, member: Make, line: Make) -> Path:
    """A folder of one member and one claim line, with room for more files of claims."""
    folder: Path = bench.folder(eligibility=[member()], medical_claim=[line()])
    (folder / "medical_claim").mkdir()
    return folder


def _repeated(value: str | bytes, n: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), n), pa.array([value]))


def _rows(n: int, **columns: pa.Array) -> pa.Table:
    return pa.table({name: _repeated("1", n) for name in NAMES} | columns)


def _nulls(path: Path) -> None:
    n = 3_000_000
    pq.write_table(pa.table({name: pa.nulls(n, pa.string()) for name in NAMES}), path)


def _one_row_again(path: Path) -> None:
    pq.write_table(_rows(3_000_000), path, compression="zstd")


def _many_columns(path: Path) -> None:
    more = {f"c{k}": pa.array([1, 1]) for k in range(input_files.MAX_COLUMNS)}
    pq.write_table(_rows(2, **more), path)


def _long_text(column: str) -> Callable[[Path], None]:
    """A text of eight million bytes that a quarter of a million rows have: two terabytes."""

    def write(path: Path) -> None:
        table = _rows(250_000, **{column: _repeated("x" * 8_000_000, 250_000)})
        pq.write_table(table, path, compression="zstd", dictionary_pagesize_limit=1 << 30)

    return write


def _long_bytes(path: Path) -> None:
    table = _rows(250_000, payer=_repeated(b"x" * 8_000_000, 250_000))
    pq.write_table(
        table, path, compression="zstd", dictionary_pagesize_limit=1 << 30, store_schema=False
    )


def _zeros_by_page(path: Path) -> None:
    """Three hundred million bytes of one text column, not coded."""
    texts = pa.array(["0" * 30_000] * 10_000)
    pq.write_table(_rows(10_000, payer=texts), path, compression="zstd", use_dictionary=False)


def _packed(data: bytes, times: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with gzip.open(path, "wb", compresslevel=1) as stream:
            stream.write(b"claim_id,person_id,claim_start_date,paid_amount\n")
            for _ in range(times):
                stream.write(data)

    return write


def _zstd_zeros(path: Path) -> None:
    with pa.CompressedOutputStream(str(path), "zstd") as stream:
        stream.write(b"claim_id,person_id,claim_start_date,paid_amount\n")
        for _ in range(200):
            stream.write(bytes(1 << 20))


def _long_line(path: Path) -> None:
    with path.open("wb") as stream:
        stream.write(b"claim_id,person_id,claim_start_date,paid_amount\n")
        stream.truncate(160 << 20)  # zeros, without taking room on the disk


def _no_header(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(200 << 20)


MEASURING = """
import json, os, resource, signal, sys
from pathlib import Path
from ihp_compute.errors import DataError
from ihp_compute.ingest import passes

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

for asked in sys.stdin:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        print(flush=True)
        continue
    signal.alarm(120)
    raw, file, place, out = map(Path, json.loads(asked))
    passes.ingest(raw, out.with_name("before"), shards=2, threads=1)
    file.rename(place)
    before, said = peak(), ""
    try:
        passes.ingest(raw, out, shards=2, threads=1)
    except DataError as error:
        said = str(error)
    print(json.dumps([said, (peak() - before) / 1024]), end="", flush=True)
    os._exit(0)
"""
"""Prepares a folder, then with one more file, and answers with what its refusal says and the MiB
that the file took; each in a process of its own, forked so that imports are paid once. An empty
line where that process died."""


@pytest.fixture(scope="module")
def measuring() -> Iterator[subprocess.Popen[str]]:
    alone = {"OPENBLAS_NUM_THREADS": "1"}  # threads do not live on in a fork
    with subprocess.Popen(
        [sys.executable, "-c", MEASURING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(csv_files.__file__).parents[3],
        env={**os.environ, **alone},
    ) as process:
        yield process


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("nulls.parquet", _nulls, "promises 3,000,000 rows in"),
        ("again.parquet", _one_row_again, "promises 3,000,000 rows in"),
        ("columns.parquet", _many_columns, "4,101 columns, more than 4,096"),
        ("id.parquet", _long_text("claim_id"), "column claim_id holds a text of more than 1,024"),
        (
            "amount.parquet",
            _long_text("paid_amount"),
            "paid_amount holds a text of more than 1,024",
        ),
        ("name.parquet", _long_text("payer"), "column payer holds a text of more than 65,536"),
        ("bytes.parquet", _long_bytes, "column payer holds a text of more than 65,536"),
        ("page.parquet", _zeros_by_page, "a row group comes to 300,"),
        ("zeros.csv.gz", _packed(bytes(1 << 20), 100), "unpacks to more than 200 times"),
        ("rows.csv.gz", _packed(b",,,\n" * 100_000, 30), "lines and more from"),
        ("zeros.csv.zst", _zstd_zeros, "unpacks to more than 200 times"),
        ("line.csv", _long_line, "a line or a quoted field of more than 33,554,432 bytes"),
        ("header.csv", _no_header, "line 1 is longer than"),
    ],
)
def test_a_small_file_that_asks_for_much_is_refused_in_bounded_memory(
    measuring: subprocess.Popen[str],
    tmp_path: Path,
    raw: Path,
    name: str,
    write: Callable[[Path], None],
    words: str,
) -> None:
    write(tmp_path / name)
    asked = (raw, tmp_path / name, raw / "medical_claim" / name, tmp_path / "out")
    assert measuring.stdin is not None
    assert measuring.stdout is not None
    measuring.stdin.write(json.dumps([str(path) for path in asked]) + "\n")
    measuring.stdin.flush()
    said, mib = json.loads(measuring.stdout.readline())
    assert said.startswith(f"medical_claim/{name}")
    assert words in said
    assert mib < MOST_MIB
    assert not list(tmp_path.glob("*out*"))


def test_rows_of_nobody_go_to_every_shard(bench: Any, raw: Path) -> None:
    """A million rows that name no member are put aside without one shard holding them all."""
    header = "claim_id,person_id,claim_start_date,paid_amount\n"
    (raw / "medical_claim" / "x.csv").write_text(header + ",,,\n" * 64)
    document, population = bench.ingest(raw, shards=4)
    assert bench.fates(document)["unreadable"] == (64, 0)
    aside = pq.read_table(population.path / "quarantine" / "medical_claim.parquet")
    assert sorted(aside.column("row").to_pylist()) == list(range(1, 65))
    assert aside.column("row").to_pylist() != list(range(1, 65))


def test_columns_are_counted_in_csv_too(bench: Any, raw: Path) -> None:
    names = [*NAMES, *(f"c{k}" for k in range(input_files.MAX_COLUMNS))]
    (raw / "medical_claim" / "x.csv").write_text(",".join(names) + "\n")
    with pytest.raises(DataError, match=r"medical_claim/x.csv has 4,101 columns, more than 4,096"):
        bench.ingest(raw)


# --- what is stored in Parquet


def _table(line: Make, **columns: pa.Array) -> pa.Table:
    return pa.table({name: pa.array([value]) for name, value in line().items()} | columns)


@pytest.mark.parametrize("column", ["claim_id", "person_id", "payer", "paid_date", "paid_amount"])
@pytest.mark.parametrize("coded", [False, True])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.binary(4)])
def test_bytes_that_are_no_text_name_file_and_column(
    bench: Any, raw: Path, line: Make, column: str, kind: pa.DataType, *, coded: bool
) -> None:
    stored = pa.array([b"Caf\xe9"], pa.binary(4) if kind == pa.binary(4) else pa.binary())
    if kind in (pa.string(), pa.large_string()):
        wide = stored if kind == pa.string() else stored.cast(pa.large_binary())
        stored = wide.cast(kind, safe=False)
    path = raw / "medical_claim" / "x.parquet"
    pq.write_table(_table(line, **{column: stored}), path, use_dictionary=coded)
    with pytest.raises(DataError, match=rf"x.parquet: column {column} is not UTF-8") as caught:
        bench.ingest(raw)
    assert "Caf" not in str(caught.value)


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.string()), pa.struct([("a", pa.string())]), pa.map_(pa.string(), pa.int8())],
)
def test_a_nested_column_is_refused_where_it_is_read_else_named(
    bench: Any, raw: Path, line: Make, kind: pa.DataType
) -> None:
    path = raw / "medical_claim" / "x.parquet"
    pq.write_table(_table(line, payer=pa.nulls(1, kind)), path)
    with pytest.raises(DataError, match=r"x.parquet: column payer holds a (list|struct|map)"):
        bench.ingest(raw)
    pq.write_table(_table(line, other=pa.nulls(1, kind), odd=pa.array([b"\xff"])), path)
    document, _ = bench.ingest(raw)
    assert document["left_out"]["columns"] == {"medical_claim/x.parquet": ["other", "odd"]}


@pytest.mark.parametrize("column", ["claim_id", "person_id", "payer"])
@pytest.mark.parametrize("coded", [False, True])
def test_a_uuid_is_its_usual_text(
    bench: Any, member: Make, line: Make, column: str, *, coded: bool
) -> None:
    ids = [uuid.UUID(int=0x1000 + k) for k in range(3)] + [uuid.UUID(bytes=b"letters as bytes")]
    people = [str(key) if column == "person_id" else "0001" for key in ids]
    rows = [
        line(claim_id=f"C{k}", person_id=person) | {column: str(key)}
        for k, (key, person) in enumerate(zip(ids, people, strict=True))
    ]
    eligibility = [member(person_id=person) for person in sorted({*people})]
    folder = bench.folder(eligibility=eligibility, medical_claim=rows)
    expected, _ = bench.ingest(folder)
    assert bench.fates(expected)["retained"] == (4, 40_000)
    (folder / "medical_claim.csv").unlink()
    storage = pa.array([key.bytes for key in ids], pa.binary(16))
    table = pa.Table.from_pylist(rows)
    table = table.set_column(
        table.column_names.index(column),
        column,
        pa.ExtensionArray.from_storage(pa.uuid(), storage),
    )
    pq.write_table(table, folder / "medical_claim.parquet", use_dictionary=coded)
    document, _ = bench.ingest(folder)
    assert document["population_digest"] == expected["population_digest"]


def test_a_uuid_that_is_null_is_blank() -> None:
    storage = pa.array([None, b"\0" * 15 + b"\1"], pa.binary(16))
    texts = parquet_files._uuid_texts(storage).to_pylist()
    assert texts == [None, "00000000-0000-0000-0000-000000000001"]
    assert parquet_files._uuid_texts(storage.slice(1)).to_pylist() == texts[1:]


@pytest.mark.parametrize("column", ["paid_amount", "claim_id", "claim_start_date"])
@pytest.mark.parametrize("coded", [False, True])
def test_a_page_is_held_against_its_checksum(
    bench: Any, raw: Path, line: Make, column: str, *, coded: bool
) -> None:
    path = raw / "medical_claim" / "x.parquet"
    table = pa.Table.from_pylist([line(claim_id=f"C{k}") for k in range(100)])
    pq.write_table(table, path, compression="none", use_dictionary=coded, write_page_checksum=True)
    bench.ingest(raw)
    group = pq.read_metadata(path).row_group(0)
    chunk = group.column(table.column_names.index(column))
    data = bytearray(path.read_bytes())
    end = chunk.data_page_offset + chunk.total_compressed_size
    start = chunk.data_page_offset
    if chunk.dictionary_page_offset:
        end += chunk.dictionary_page_offset - chunk.data_page_offset
    data[end - 1] ^= 1
    assert start < end
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"x.parquet.*checksum.*complete copy"):
        bench.ingest(raw)


@pytest.mark.parametrize("at", range(0, 100, 4))
def test_a_file_damaged_anywhere_is_read_or_refused_by_name(
    bench: Any, raw: Path, line: Make, at: int
) -> None:
    """Sixteen bytes overwritten, from the first page to the footer: never another exception."""
    path = raw / "medical_claim" / "x.parquet"
    rows = [line(claim_id=f"C{k}", payer="Zebediah") for k in range(50)]
    pq.write_table(pa.Table.from_pylist(rows), path, compression="zstd")
    data = bytearray(path.read_bytes())
    start = 4 + (len(data) - 24) * at // 100
    data[start : start + 16] = bytes(0xA5 ^ k for k in range(16))
    path.write_bytes(data)
    try:
        bench.ingest(raw)
    except DataError as error:
        assert str(error).startswith("medical_claim/x.parquet")  # noqa: PT017 - it may be read too
        assert "Zebediah" not in str(error)  # noqa: PT017 - as above
