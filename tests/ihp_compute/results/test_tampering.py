"""Whoever changes a prepared population or a run by hand is found out, and told in words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
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


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest["inputs"][0].update(sha256="0" * 64),
        lambda manifest: manifest["draft_terms"].update(recalled_or_assumed=0),
        lambda manifest: manifest["draft_terms"]["names"].pop(),
        lambda manifest: manifest["counts"].update(n_members_under_18=1),
        lambda manifest: manifest.update(engine_version="9.9"),
        lambda manifest: manifest["libraries"].update(numpy="9.9"),
        lambda manifest: manifest.update(device="gpu"),
        lambda manifest: manifest.update(runner="ray"),
        lambda manifest: manifest.update(accept={"inconsistent": "agreed"}),
        lambda manifest: manifest["population"].update(digest="0" * 64),
        lambda manifest: manifest["files"].pop("report.html"),
        lambda manifest: manifest.update(signed_by="somebody"),
        lambda manifest: manifest.pop("inputs"),
    ],
)
def test_whatever_a_manifest_says_of_a_run_stands_under_its_seal(copy: Path, change: Any) -> None:
    """What an opinion cites: data, assumptions, versions; the digest stays what the results are."""
    held = json.loads((copy / "manifest.json").read_text())["digest"]
    assert verify_run(copy) == held
    _edit(copy, change)
    with pytest.raises(RunError, match=r"manifest\.json: what it says of inputs, counts, terms"):
        verify_run(copy)


def test_a_manifest_without_its_seal_is_refused(copy: Path) -> None:
    _edit(copy, lambda manifest: manifest.pop("manifest_digest"))
    with pytest.raises(RunError, match="lacks manifest_digest"):
        verify_run(copy)


def test_every_file_of_a_run_stands_in_its_manifest_by_hash(copy: Path) -> None:
    files = json.loads((copy / "manifest.json").read_text())["files"]
    assert {*files, "manifest.json"} == {path.name for path in copy.iterdir()}
    for name in files:
        path = copy / name
        held = path.read_bytes()
        path.write_bytes(held + b" ")
        with pytest.raises(RunError, match="run it again"):
            verify_run(copy)
        path.write_bytes(held)
    verify_run(copy)


def test_the_manifest_of_a_population_stands_under_its_seal(
    small_population: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(small_population, tmp_path / "population"))
    verify(folder)
    _edit(folder, lambda manifest: manifest["inputs"][0].update(sha256="0" * 64))
    with pytest.raises(PopulationError, match="make the population again"):
        verify(folder)


def test_a_finished_run_of_other_terms_is_not_replaced_unasked(
    copy: Path, small_population: Path
) -> None:
    """A settlement is a record; the same terms come to the same results."""
    asked = RunRequest(small_population, ("mn-ihp-2.0-track-2",), replicates=2)
    held = verify_run(copy)
    for other in (
        replace(asked, contracts=("mn-ihp-1.0",)), replace(asked, seed=5),
        replace(asked, replicates=3), replace(asked, paid_through=date(2024, 12, 31)),
    ):  # fmt: skip
        with pytest.raises(RunError, match=f"holds a finished run, digest {held}.*--replace"):
            run(other, copy)
        assert verify_run(copy) == held
    assert run(asked, copy).digest == held
    changed = run(replace(asked, seed=5), copy, replace=True)
    assert verify_run(copy) == changed.digest != held


def test_a_run_of_another_population_is_not_replaced_unasked(
    copy: Path, small_population: Path
) -> None:
    _edit(copy, lambda manifest: manifest["population"].update(digest="0" * 64))
    with pytest.raises(RunError, match="of another population; choose"):
        run(RunRequest(small_population, ("mn-ihp-2.0-track-2",), replicates=2), copy)


def test_what_is_no_run_is_not_replaced_even_if_asked(
    tmp_path: Path, small_population: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="will not be overwritten"):
        run(RunRequest(small_population, ("mn-ihp-1.0",), replicates=2), tmp_path, replace=True)
