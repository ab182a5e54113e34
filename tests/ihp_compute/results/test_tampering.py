"""Whoever changes a prepared population or a run by hand is found out, and told in words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ihp_compute.errors import PopulationError, RunError
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.population.verify import verify
from ihp_compute.results.verify import verify_run


def _edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


@pytest.fixture(scope="module")
def finished(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    run(RunRequest(small_population, ("mn-ihp-2.0-track-2",), replicates=2), folder)
    return folder


@pytest.fixture
def copy(tmp_path: Path, finished: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.mark.parametrize("name", ["n_shards", "files", "population_digest", "ledger"])
def test_a_population_manifest_that_lacks_an_entry_is_refused_in_words(
    small_population: Path, tmp_path: Path, name: str
) -> None:
    folder = Path(shutil.copytree(small_population, tmp_path / "population"))
    _edit(folder, lambda manifest: manifest.pop(name))
    with pytest.raises(PopulationError, match=f"lacks {name}.*ihp ingest"):
        verify(folder)


@pytest.mark.parametrize("name", ["members", "member_months"])
def test_counts_of_a_population_are_counted_again(
    small_population: Path, tmp_path: Path, name: str
) -> None:
    folder = Path(shutil.copytree(small_population, tmp_path / "population"))
    verify(folder)
    _edit(folder, lambda manifest: manifest.update({name: manifest[name] + 1}))
    with pytest.raises(PopulationError, match=f"{name}, the manifest says"):
        verify(folder)


def test_one_cent_more_is_found(copy: Path) -> None:
    verify_run(copy)
    path = copy / "settlement.parquet"
    table = pq.read_table(path)
    at = table.column_names.index("payment_cents")
    cents = table.column(at).to_pylist()
    changed = pa.array([cents[0] + 1, *cents[1:]], pa.int64())
    pq.write_table(table.set_column(at, table.schema.field(at), changed), path)
    with pytest.raises(RunError, match="the results were changed after the run"):
        verify_run(copy)


@pytest.mark.parametrize("name", ["settlement.parquet", "walk.parquet", "totals.arrow"])
@pytest.mark.parametrize("how", ["gone", "cut", "another"])
def test_a_table_that_is_gone_cut_off_or_another_is_found(copy: Path, name: str, how: str) -> None:
    path = copy / name
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:100])
    else:
        shutil.copy(copy / "ledger.parquet", path)
    with pytest.raises(RunError, match="run it again"):
        verify_run(copy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda manifest: manifest.pop("terms"), "lacks terms"),
        (lambda manifest: manifest.update(seed=7), "two things of seed"),
        (lambda manifest: manifest["terms"].update(seed=7), "two things of seed"),
        (lambda manifest: manifest.update(digest="0" * 64), "changed after the run"),
    ],
)
def test_an_edited_manifest_of_a_run_is_found(copy: Path, change: Any, words: str) -> None:
    _edit(copy, change)
    with pytest.raises(RunError, match=words):
        verify_run(copy)


@pytest.mark.parametrize("text", ["", "[", "[]", "{}", '{"kind": "run"}'])
def test_a_broken_manifest_of_a_run_is_refused_in_words(copy: Path, text: str) -> None:
    (copy / "manifest.json").write_text(text)
    with pytest.raises(RunError, match=r"manifest\.json"):
        verify_run(copy)
