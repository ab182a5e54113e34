"""A state of fewer partnerships: the others share their members, and nothing speaks of the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ihp_compute.ingest import ingest
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.runner import LocalRunner
from ihp_compute.synth import synth
from ihp_compute.synth.people import SIZES, sizes

THERE = ["IHP-01", "IHP-02", "IHP-03"]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fewer") / "state"
    synth(3_000, 5, folder, plant={"fewer_partnerships": 22})
    return folder


def test_sizes_add_up_to_the_same() -> None:
    assert sizes(25).tolist() == list(SIZES)
    assert sizes(3).sum() == pytest.approx(sum(SIZES))
    assert sizes(3)[0] / sizes(3)[1] == pytest.approx(SIZES[0] / SIZES[1])
    assert not sizes(3)[3:].any()


@pytest.mark.parametrize("table", ["provider_roster", "quality_score", "quality_measure"])
def test_tables_name_those_that_are_there(state: Path, table: str) -> None:
    named = set(pq.read_table(state / f"{table}.parquet")["partnership_id"].to_pylist())
    assert named - {"COMPARISON"} == set(THERE)


def test_the_engine_settles_them_with_the_members_that_the_truth_states(
    state: Path, tmp_path: Path
) -> None:
    truth = json.loads((state / "truth.json").read_text())
    expected = {row["partnership_id"]: row["n_members"] for row in truth["partnerships"]}
    assert list(expected) == THERE
    assert sum(expected.values()) == pytest.approx(3_000 * 505 / 1200, rel=0.1)
    for rows in (truth["programme"]["changes"], truth["programme"]["growth"], truth["clinics"]):
        assert {row["partnership_id"] for row in rows} - {"COMPARISON"} == set(THERE)
    ingest(state, tmp_path / "population", shards=1)
    request = RunRequest(
        tmp_path / "population", ("mn-ihp-2.0-track-2",), replicates=0, programme="none"
    )
    found = run(request, tmp_path / "run", LocalRunner(1)).settlement
    assert {row["partnership_id"]: row["n_members"] for row in found} == expected
