"""CSV as it is written elsewhere is read, or refused for its true reason without its values."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ihp_compute.errors import DataError
from ihp_compute.ingest.door import csv_files, parts_of
from ihp_compute.ingest.input_files import InputFile

Make = Callable[..., dict[str, Any]]
NAME = "Zebediah"
"""Stands in each file; no message shows it."""


@pytest.fixture
def raw(bench: Any, member: Make, line: Make) -> Path:
    """A folder of one member and three claim lines."""
    rows = [line(claim_id=f"C{k}", payer=NAME) for k in range(3)]
    folder: Path = bench.folder(eligibility=[member()], medical_claim=rows)
    path = folder / "medical_claim.csv"
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n"))
    return folder


def _rewrite(raw: Path, change: Callable[[str], str | bytes]) -> None:
    path = raw / "medical_claim.csv"
    made = change(path.read_text())
    path.write_bytes(made.encode() if isinstance(made, str) else made)


def _scratched(packed: bytes) -> bytes:
    return packed[:20] + b"\xff" * 40 + packed[60:]


def _of_line(text: str, number: int, change: Callable[[str], str]) -> str:
    lines = text.splitlines(keepends=True)
    lines[number - 1] = change(lines[number - 1])
    return "".join(lines)


@pytest.mark.parametrize("sign", [",", "\t", "|", ";"])
@pytest.mark.parametrize(
    "also",
    [
        lambda text: text,
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("professional", '"professional"').replace(
            "claim_id", '"claim_id"'
        ),
    ],
)
@pytest.mark.parametrize("states", [False, True])
def test_the_separator_is_known_from_the_header(
    bench: Any, raw: Path, sign: str, also: Callable[[str], str], *, states: bool
) -> None:
    expected, _ = bench.ingest(raw)
    first = f"sep={sign}\n" if states else ""
    _rewrite(raw, lambda text: also(first + text.replace(",", sign)))
    document, _ = bench.ingest(raw)
    assert document["population_digest"] == expected["population_digest"]


def test_other_signs_stand_inside_fields(bench: Any, raw: Path) -> None:
    expected, _ = bench.ingest(raw)
    _rewrite(raw, lambda text: text.replace("99213", '"99,2|13"').replace(",", ";"))
    _rewrite(raw, lambda text: text.replace('"99;2|13"', "99213"))
    document, _ = bench.ingest(raw)
    assert document["population_digest"] == expected["population_digest"]


@pytest.mark.parametrize("rows", [1, 2])
def test_batches_of_few_rows_say_the_same(
    bench: Any, raw: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    expected, _ = bench.ingest(raw)
    monkeypatch.setattr(sys.modules[parts_of.__module__], "BATCH_ROWS", rows)
    document, _ = bench.ingest(raw)
    assert document["population_digest"] == expected["population_digest"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace(",", "^"), r"names are separated by '\^'. Write commas"),
        (lambda text: text.replace(",", "\x01"), r"names are separated by '\\x01'"),
        (lambda text: text.replace(",", " "), "names are separated by ' '"),
        (lambda text: "\n" + text, "line 1 is blank"),
        (lambda text: "  \r\n" + text, "line 1 is blank"),
        (lambda text: "sep=,\n\n" + text, "line 2 is blank"),
        (lambda _: "\ufeff \n\n", "is an empty file"),
        (lambda text: text.encode("utf-16"), "is UTF-16 text: convert it"),
        (lambda text: text.encode("utf-16-le"), "line 1 holds zero bytes, as UTF-16 does"),
        (lambda text: text.replace("claim_type", "café").encode("latin-1"), "line 1 is not UTF-8"),
        (
            lambda text: _of_line(text, 3, lambda x: x.replace("99213", "é")).encode("latin-1"),
            r"not UTF-8 text \(line 3\)",
        ),
        (
            lambda text: _of_line(text, 3, lambda x: x.replace("99213", '5" tube')),
            "line 3: a quote inside a field that is not quoted",
        ),
        (
            lambda text: _of_line(text, 4, lambda x: x.replace("99213", '"a "b" c')),
            "line 4: a quote inside a field that is not quoted, or text behind a closing quote",
        ),
        (
            lambda text: _of_line(text, 2, lambda x: x.replace("99213", r'"say \"hi\" x"')),
            "line 2: quotes are escaped with a backslash. Write them doubled",
        ),
        (
            lambda text: _of_line(text, 3, lambda x: x.replace("99213", '"99213')),
            "a quote is opened in line 3 and never closed",
        ),
        (
            lambda text: _of_line(text, 3, lambda x: x.replace("99213", "99213,7")),
            "malformed at line 3: 18 fields expected, 19 found. Quote fields",
        ),
        (
            lambda text: _of_line(text.replace(",", ";"), 3, lambda x: x.replace("99213", "9;7")),
            "malformed at line 3: 18 fields expected, 19 found. Quote fields",
        ),
        (lambda text: text[:-30], "breaks off at line 4: 18 fields expected.*complete copy"),
        (lambda _: b"PK\x03\x04" + bytes(100), "is a zip archive or workbook"),
        (lambda _: b"PAR1" + bytes(100), "is a Parquet file: give it the ending"),
        (lambda _: b"BZh9" + bytes(100), "packed with bzip2"),
        (lambda text: gzip.compress(text.encode())[:-5], "the packed data end too early"),
        (lambda text: _scratched(gzip.compress(text.encode())), "the packed data are damaged"),
        (lambda text: pa.Codec("zstd").compress(text.encode(), asbytes=True)[:-4], "too early"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_as_it_is(
    bench: Any, raw: Path, change: Callable[[str], str | bytes], words: str
) -> None:
    _rewrite(raw, change)
    with pytest.raises(DataError, match=f"^medical_claim.csv.*{words}") as caught:
        bench.ingest(raw)
    assert NAME not in str(caught.value)


@pytest.mark.parametrize(
    "field", ['"5"" tube"', r'"C:\"', r"C:\x", '"a\nb"', '"a"" ""b"', '""', '"\\""x"']
)
def test_quotes_that_are_right_are_not_complained_of(bench: Any, raw: Path, field: str) -> None:
    _rewrite(raw, lambda text: text.replace(NAME, field))
    document, _ = bench.ingest(raw)
    assert bench.fates(document) == {"retained": (3, 30_000)}


@pytest.mark.parametrize("block", range(3, 12))
def test_a_backslash_and_its_quote_may_stand_in_two_blocks(
    raw: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    _rewrite(raw, lambda text: text.replace(NAME, r'"a\"b"', 1))
    monkeypatch.setattr(csv_files, "_BLOCK_BYTES", block)
    file = InputFile("medical_claim", "medical_claim.csv", raw / "medical_claim.csv")
    with pytest.raises(DataError, match="quotes are escaped with a backslash"):
        next(csv_files.csv_batches(file, ["claim_id"], 10))


def test_a_line_too_long_is_refused(bench: Any, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "_BLOCK_BYTES", 4_096)
    _rewrite(raw, lambda text: text.replace(NAME, "9" * 10_000))
    with pytest.raises(DataError, match="a line or a quoted field of more than 4,096 bytes"):
        bench.ingest(raw)
    monkeypatch.setattr(csv_files, "_HEADER_BYTES", 64)
    with pytest.raises(DataError, match="line 1 is longer than 64 bytes"):
        bench.ingest(raw)
