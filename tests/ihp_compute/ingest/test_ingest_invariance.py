"""One digest, however the same rows are ordered, split, written, sharded and threaded."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from ihp_compute.ingest.passes import ingest
from ihp_compute.population.verify import verify
from ihp_compute.synth.state import synth

TABLES = ("medical_claim", "pharmacy_claim", "eligibility")


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """Tables of a small synthetic state, as text where a CSV would have text."""
    folder = tmp_path_factory.mktemp("state")
    synth(150, 7, folder)
    tables = {}
    for name in (*TABLES, "provider_roster", "risk_score"):
        files = sorted(folder.glob(f"{name}*/*.parquet")) or [folder / f"{name}.parquet"]
        tables[name] = pl.concat(
            [pl.read_parquet(file).cast(pl.String) for file in files], how="diagonal"
        )
    return tables


@pytest.fixture(scope="module")
def expected(state: dict[str, pl.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The document of the plainest way: one CSV a table, one shard, one thread."""
    root = tmp_path_factory.mktemp("plain")
    for name, table in state.items():
        _csv(table, root / "raw" / f"{name}.csv")
    return ingest(root / "raw", root / "population", shards=1, threads=1)


def _csv(table: pl.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write_csv(path)


def _summed(document: dict[str, Any]) -> dict[tuple[str, str], tuple[int, int]]:
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for entry in document["ledger"]:
        key = entry["source_table"], entry["fate"]
        lines, cents = found.get(key, (0, 0))
        found[key] = lines + entry["lines"], cents + entry["paid_cents"]
    return {key: value for key, value in found.items() if value[0]}


@pytest.mark.parametrize(
    ("shards", "threads", "layout", "seed"),
    [
        (7, 2, "one file", None),
        (64, 1, "one file", None),
        (7, 1, "one file", 1),
        (3, 2, "many files", 2),
        (5, 2, "Parquet", 3),
        (4, 2, "both", 4),
    ],
)
def test_the_digest_does_not_see_how_the_rows_came(
    state: dict[str, pl.DataFrame],
    expected: dict[str, Any],
    tmp_path: Path,
    shards: int,
    threads: int,
    layout: str,
    seed: int | None,
) -> None:
    raw = tmp_path / "raw"
    draw = random.Random(seed)  # noqa: S311  repeatable, not secret
    for name, whole in state.items():
        table = whole if seed is None else whole.sample(fraction=1, shuffle=True, seed=seed)
        if layout == "one file" or name not in TABLES:
            _csv(table, raw / f"{name}_seed.csv")
            continue
        cuts = sorted(draw.sample(range(table.height), 4))
        for k, (start, stop) in enumerate(zip([0, *cuts], [*cuts, table.height], strict=True)):
            piece = table.slice(start, stop - start)
            path = raw / name / f"{draw.randrange(1000):03}-{k}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if layout == "many files" or (layout == "both" and k % 2):
                _csv(piece, path.with_suffix(".csv"))
            else:
                piece.write_parquet(path.with_suffix(".parquet"), row_group_size=500)
    pool, turn = pa.default_memory_pool().backend_name, sys.getswitchinterval()
    document = ingest(raw, tmp_path / "population", shards=shards, threads=threads)
    assert pa.default_memory_pool().backend_name == pool
    assert sys.getswitchinterval() == turn
    assert document["population_digest"] == expected["population_digest"]
    assert document["tables"] == expected["tables"]
    assert _summed(document) == _summed(expected)
    assert document["member_months"] == expected["member_months"]
    assert verify(tmp_path / "population")["population_digest"] == expected["population_digest"]


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("medical_claim", "paid_amount", "0.01"),
        ("medical_claim", "rendering_npi", "9"),
        ("medical_claim", "diagnosis_code_1", "Z00"),
        ("eligibility", "gender", "unknown"),
        ("eligibility", "enrollment_end_date", "2024-01-15"),
        ("risk_score", "score", "9.5"),
        ("provider_roster", "partnership_id", "OTHER"),
    ],
)
def test_the_digest_sees_one_changed_value(
    state: dict[str, pl.DataFrame],
    expected: dict[str, Any],
    tmp_path: Path,
    table: str,
    column: str,
    value: str,
) -> None:
    for name, whole in state.items():
        changed = whole
        if name == table:
            first = pl.int_range(pl.len()) == 0
            changed = whole.with_columns(
                pl.when(first).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
            )
        _csv(changed, tmp_path / "raw" / f"{name}.csv")
    document = ingest(tmp_path / "raw", tmp_path / "population", shards=2)
    assert document["population_digest"] != expected["population_digest"]
