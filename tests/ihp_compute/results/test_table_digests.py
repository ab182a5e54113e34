"""A digest for each table: what a change leaves alone keeps its digest and its file."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute.errors import RunError
from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.results import TABLES
from ihp_compute.results.digest import digest_over, result_digest, table_digest
from ihp_compute.results.tables import LEDGER
from ihp_compute.results.verify import verify_run
from ihp_compute.runner import LocalRunner

TERMS = """
[set]
name = "terms"

[default]
contract = "mn-ihp-2.0-track-2"

[default.overrides]
"settlement.gain.share" = {share}

[alliances.TWO]
members = ["IHP-02", "IHP-03"]
split = "member_months"

[alliances.TWO.overrides]
"settlement.quality.missing" = "none"
"""
UNDER = [name for name, table in TABLES.items() if table.in_digest]
EMPTY_HERE = ("netted", "paid_ahead", "score_changes")
"""No earlier settlement is named, no contract counts a payment, and no model reads diagnoses."""
MEASURED = ("exclusions", "ledger", "member_years", "utilisation")
"""Tables that say what was measured and nothing of what it is worth."""


@pytest.fixture(scope="module")
def run_with(
    small_population: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    def make(share: str, population: Path = small_population, threads: int = 1) -> Path:
        folder = tmp_path_factory.mktemp("run")
        terms = folder / "terms.toml"
        terms.write_text(TERMS.format(share=share), encoding="utf-8")
        request = RunRequest(population, (str(terms),), replicates=3)
        return run(request, folder / "run", LocalRunner(threads)).run_dir

    return make


@pytest.fixture(scope="module")
def finished(run_with: Callable[..., Path]) -> Path:
    return run_with("0.5")


def manifest_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "manifest.json").read_text(encoding="utf-8")))


def changed(table: pa.Table) -> pa.Table:
    """The table with one more in the last whole number, or the last text, of its first row."""
    at = max(
        k
        for k, field in enumerate(table.schema)
        if pa.types.is_integer(field.type) or pa.types.is_string(field.type)
    )
    first, *others = table.column(at).to_pylist()
    first = first + ("x" if isinstance(first, str) else 1)
    field = table.schema.field(at)
    return table.set_column(at, field, pa.array([first, *others], field.type))


@pytest.mark.parametrize("name", [name for name in UNDER if name not in EMPTY_HERE])
def test_a_changed_table_changes_its_digest_and_the_run_s_alone(
    finished: Path, tmp_path: Path, name: str
) -> None:
    copy = Path(shutil.copytree(finished, tmp_path / "run"))
    verify_run(copy)
    path = copy / f"{name}.parquet"
    table = changed(pq.read_table(path))
    pq.write_table(table, path)
    with pytest.raises(RunError, match=rf"run: {name}: another digest .* changed after the run"):
        verify_run(copy)
    manifest = manifest_of(copy)
    parts = manifest["table_digests"] | {name: result_digest(TABLES[name], table)}
    assert digest_over(parts, manifest["terms"]) != manifest["digest"]


def test_every_table_that_was_changed_is_named(finished: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(finished, tmp_path / "run"))
    for name in ("payments", "walk"):
        pq.write_table(changed(pq.read_table(copy / f"{name}.parquet")), copy / f"{name}.parquet")
    with pytest.raises(RunError, match="run: payments, walk: another digest"):
        verify_run(copy)


def test_a_digest_that_the_manifest_lacks_or_holds_of_nothing_is_found(
    finished: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(finished, tmp_path / "run"))
    manifest = manifest_of(copy)
    digests = manifest["table_digests"]
    digests["bonus"] = digests.pop("payments")
    (copy / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(RunError, match="run: payments, bonus: another digest"):
        verify_run(copy)


def test_the_run_s_digest_follows_from_its_manifest_alone(finished: Path) -> None:
    """Terms and the digest of each part, as JSON with sorted keys."""
    manifest = manifest_of(finished)
    parts = manifest["table_digests"]
    assert set(parts) == {*UNDER, "totals"}
    text = json.dumps({"parts": parts, "terms": manifest["terms"]}, sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == manifest["digest"]


def test_a_table_s_digest_is_of_its_columns_and_values_as_bytes() -> None:
    table = pa.table({"n": pa.array([1, 2], pa.int16()), "word": ["é", "ab"]})
    text = (
        b"2\n"
        b"n int16\n\x01\x00\x02\x00"
        b"word string\n" + (2).to_bytes(8, "little") * 2 + "éab".encode()
    )
    assert table_digest(table) == hashlib.sha256(text).hexdigest()


def test_other_settlement_terms_leave_what_was_measured_the_same_file_and_digest(
    run_with: Callable[..., Path], finished: Path
) -> None:
    other = run_with("0.4")
    before, after = manifest_of(finished), manifest_of(other)
    assert before["digest"] != after["digest"]
    same = {
        name
        for name, digest in before["table_digests"].items()
        if after["table_digests"][name] == digest
    }
    assert same >= {*MEASURED, "totals"}
    assert "payments" not in same
    for name in (*(f"{name}.parquet" for name in MEASURED), "totals.arrow"):
        assert (finished / name).read_bytes() == (other / name).read_bytes(), name


def test_equal_content_is_an_equal_file_whatever_the_shards_and_threads(
    run_with: Callable[..., Path], finished: Path, raw_state: Path, tmp_path: Path
) -> None:
    ingest(raw_state, tmp_path / "population", shards=5, threads=1)
    other = run_with("0.5", tmp_path / "population", threads=2)
    for name in (*(f"{name}.parquet" for name in TABLES), "totals.arrow"):
        assert (finished / name).read_bytes() == (other / name).read_bytes(), name


ENTRIES = st.tuples(
    st.sampled_from(["medical_claim", "pharmacy_claim"]),
    st.sampled_from(["ingest", "run"]),
    st.sampled_from(["retained", "counted", "capitation"]),
    st.integers(1, 1 << 40),
    st.integers(-(1 << 40), 1 << 40),
)


def ledger(rows: Sequence[tuple[object, ...]]) -> pa.Table:
    names = ("source_table", "stage", "fate", "file", "lines", "paid_cents")
    rows_ = [{**dict(zip(names, row, strict=True)), "measurement": 0} for row in rows]
    return pa.Table.from_pylist(rows_, schema=LEDGER.arrow)


@given(entries=st.lists(ENTRIES, max_size=8), data=st.data())
def test_a_ledger_s_digest_knows_neither_files_nor_the_order_of_rows(
    entries: list[tuple[str, str, str, int, int]], data: st.DataObject
) -> None:
    one = [(*key, "all.csv", lines, cents) for *key, lines, cents in entries]
    two = []
    for *key, lines, cents in entries:
        part = data.draw(st.integers(0, lines))
        two += [(*key, "a.csv", part, 0), (*key, "b.csv", lines - part, cents)]
    two = data.draw(st.permutations(two))
    assert result_digest(LEDGER, ledger(one)) == result_digest(LEDGER, ledger(two))
