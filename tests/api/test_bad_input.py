"""What the command line says to input that cannot be used: one line, an exit code, nothing left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CONTRACT = "mn-ihp-2.0-track-2"
Ihp = Callable[..., tuple[int, str, list[str]]]


def _run(population: Path, out: str, *more: str) -> tuple[str, ...]:
    return ("run", str(population), "--contracts", CONTRACT, "--out", out, *more)


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (("--performance-year", "2031"), 3, "2031 is not a full calendar year"),
        (("--device", "gpu"), 5, "no GPU"),
        (("--device", "tpu"), 3, "auto, cpu or gpu"),
        (("--seed", "99999999999999999999"), 3, "64 bits"),
        (("--replicates", "100000000"), 3, "0 to 1,000,000"),
    ],
)
def test_a_run_that_cannot_be_made_says_why_in_one_line(
    ihp: Ihp, small_population: Path, tmp_path: Path, more: Any, code: int, words: str
) -> None:
    left, out, said = ihp(*_run(small_population, "run", *more, "--json"))
    assert (left, out, len(said)) == (code, "", 1)
    assert words in said[0]
    assert not list(tmp_path.iterdir())


def test_a_raw_folder_is_not_a_population(ihp: Ihp, raw_state: Path, tmp_path: Path) -> None:
    left, _, said = ihp(*_run(raw_state, "run"))
    assert left == 3
    assert "not a prepared population" in said[0]
    assert "ihp ingest" in said[0]
    assert not list(tmp_path.iterdir())


def test_an_unknown_contract_suggests_a_known_one(ihp: Ihp, small_population: Path) -> None:
    left, _, said = ihp("run", small_population, "--contracts", "mn-ihp-2.0-trak-2", "--out", "run")
    assert left == 3
    assert f"did you mean {CONTRACT}" in said[0]


def test_a_run_never_overwrites_a_population(
    ihp: Ihp, small_population: Path, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    shutil.copytree(small_population, precious)
    before = sorted(path.name for path in precious.rglob("*"))
    left, _, said = ihp(*_run(small_population, str(precious), "--replicates", "0"))
    assert left == 3
    assert "population" in said[0]
    assert "--out" in said[0]
    assert sorted(path.name for path in precious.rglob("*")) == before


@pytest.mark.parametrize("out", ["file", "file/run", "folder", "/proc/run"])
def test_a_place_that_cannot_hold_a_run_or_a_population_is_refused(
    ihp: Ihp, small_population: Path, raw_state: Path, tmp_path: Path, out: str
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("years of work")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    for arguments in (
        _run(small_population, out, "--replicates", "0"),
        ("ingest", str(raw_state), "--out", out, "--shards", "2"),
    ):
        left, said_out, said = ihp(*arguments)
        assert (left, said_out, len(said)) == (3, "", 1)
        assert out.rsplit("/", maxsplit=1)[-1] in said[0] or "file" in said[0]
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_a_run_prints_one_document_and_replaces_a_run_of_its_name(
    ihp: Ihp, small_population: Path, tmp_path: Path
) -> None:
    digests = set()
    for _ in range(2):
        left, out, _ = ihp(*_run(small_population, "run", "--replicates", "0", "--json"))
        assert left == 0
        digests.add(json.loads(out)["digest"])
    assert len(digests) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_population_without_a_roster_cannot_be_run(
    ihp: Ihp, raw_state: Path, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(
        raw_state, raw, ignore=lambda *_: ["provider_roster", "provider_roster.parquet"]
    )
    (raw / "provider_roster.csv").write_text("npi,partnership_id\n")
    assert ihp("ingest", raw, "--out", "population", "--shards", "2")[0] == 0
    left, _, said = ihp(*_run(tmp_path / "population", "run"))
    assert (left, len(said)) == (3, 1)
    assert "provider_roster" in said[0]
    assert not (tmp_path / "run").exists()


def test_settling_never_overwrites_the_table_it_reads(ihp: Ihp, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("partnership_id,n_members,target_usd,observed_usd\nA,2300,1000.00,900.00\n")
    before = table.read_bytes()
    left, out, said = ihp("settle", table, "--contract", CONTRACT, "--out", "table.csv")
    assert (left, out, len(said)) == (3, "", 1)
    assert "choose another --out" in said[0]
    assert table.read_bytes() == before
