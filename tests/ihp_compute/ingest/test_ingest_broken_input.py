"""Input that cannot be used: a clear message, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ihp_compute.errors import DataError
from ihp_compute.ingest import fresh, passes
from ihp_compute.ingest.passes import ingest


def _refused(folder: Path, tmp_path: Path, words: Any) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(DataError) as caught:
        ingest(folder, tmp_path / "out", shards=2, threads=2)
    for word in words:
        assert word in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_missing_or_empty_folder_is_refused(tmp_path: Path) -> None:
    _refused(tmp_path / "nowhere", tmp_path, ["nowhere", "not a folder", "medical_claim"])
    (tmp_path / "empty").mkdir()
    _refused(tmp_path / "empty", tmp_path, ["empty", "no table"])


def test_a_missing_table_is_named(bench: Any, tmp_path: Path, line: Any) -> None:
    _refused(bench.folder(medical_claim=[line()]), tmp_path, ["lacks eligibility"])


def test_missing_required_columns_are_listed_together(
    bench: Any, tmp_path: Path, member: Any
) -> None:
    folder = bench.folder(eligibility=[member()], medical_claim=[{"claim_line_number": "1"}])
    _refused(
        folder,
        tmp_path,
        [
            "medical_claim.csv",
            "claim_id, paid_amount",
            "person_id or member_id",
            "claim_start_date",
        ],
    )


def test_a_csv_that_breaks_off_names_file_and_line(
    bench: Any, tmp_path: Path, member: Any, line: Any
) -> None:
    folder = bench.folder(eligibility=[member()], medical_claim=[line(), line(claim_id="C2")])
    path = folder / "medical_claim.csv"
    text = path.read_text().rstrip()
    path.write_text(text[: text.rindex("2023-04-01")])
    _refused(folder, tmp_path, ["medical_claim.csv", "line 3", "fields expected", "complete copy"])


def test_a_csv_that_breaks_off_inside_quotes_is_refused(
    bench: Any, tmp_path: Path, member: Any, line: Any
) -> None:
    folder = bench.folder(eligibility=[member()], medical_claim=[line()])
    with (folder / "medical_claim.csv").open("a") as stream:
        stream.write('"C9,1,professional')
    _refused(folder, tmp_path, ["medical_claim.csv", "quote", "complete copy"])


def test_an_empty_file_and_bytes_that_are_not_text_are_refused(
    bench: Any, tmp_path: Path, member: Any, line: Any
) -> None:
    folder = bench.folder(eligibility=[member()], medical_claim=[line()])
    (folder / "medical_claim.csv").write_bytes(b"")
    _refused(folder, tmp_path, ["medical_claim.csv", "empty"])
    folder = bench.folder(eligibility=[member()], medical_claim=[line(payer="é")])
    path = folder / "medical_claim.csv"
    path.write_bytes(path.read_text().encode("latin-1"))
    _refused(folder, tmp_path, ["medical_claim.csv", "UTF-8"])


def test_a_cut_off_parquet_file_is_named(
    bench: Any, tmp_path: Path, member: Any, line: Any
) -> None:
    folder = bench.folder(eligibility=[member()], medical_claim=[line()])
    (folder / "medical_claim").mkdir()
    path = folder / "medical_claim" / "part-1.parquet"
    pq.write_table(pa.Table.from_pylist([line()]), path)
    path.write_bytes(path.read_bytes()[:-100])
    _refused(folder, tmp_path, ["medical_claim/part-1.parquet", "Parquet", "complete copy"])


def test_a_folder_that_is_not_a_population_is_not_overwritten(
    bench: Any, tmp_path: Path, member: Any, line: Any
) -> None:
    folder = bench.folder(eligibility=[member()], medical_claim=[line()])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="not be overwritten"):
        ingest(folder, tmp_path / "out")
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"


def test_an_interrupted_ingest_leaves_the_old_population_standing(
    bench: Any, tmp_path: Path, member: Any, line: Any, monkeypatch: Any
) -> None:
    folder = bench.folder(eligibility=[member()], medical_claim=[line()])
    first = ingest(folder, tmp_path / "out", shards=2)
    before = sorted(path.name for path in tmp_path.iterdir())

    def interrupt(*_args: Any, **_kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fresh, "build", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ingest(folder, tmp_path / "out", shards=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    monkeypatch.undo()
    again = ingest(folder, tmp_path / "out", shards=5)
    assert again["population_digest"] == first["population_digest"]
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("shards", [0, 70_000])
def test_a_number_of_shards_that_makes_no_sense_is_refused(tmp_path: Path, shards: Any) -> None:
    with pytest.raises(DataError, match="shards"):
        ingest(tmp_path, tmp_path / "out", shards=shards)


def test_a_score_without_a_number_names_its_row(
    bench: Any, tmp_path: Path, member: Any, line: Any
) -> None:
    scores = [
        {"person_id": "0001", "year": "2023", "model": "acg", "score": score}
        for score in ("1.2", "high")
    ]
    folder = bench.folder(eligibility=[member()], medical_claim=[line()], risk_score=scores)
    _refused(folder, tmp_path, ["risk_score.csv", "data row 2"])


def test_a_roster_date_that_is_not_one_names_its_row(
    bench: Any, tmp_path: Path, member: Any, line: Any
) -> None:
    roster = [{"npi": "1", "partnership_id": "A", "start_date": "2023-99-01"}]
    folder = bench.folder(eligibility=[member()], medical_claim=[line()], provider_roster=roster)
    _refused(folder, tmp_path, ["provider_roster.csv", "data row 1", "start_date"])


def test_a_killed_ingest_leaves_no_population_and_is_swept_up_later(
    bench: Any, tmp_path: Path, member: Any, line: Any
) -> None:
    folder = bench.folder(eligibility=[member()], medical_claim=[line()])
    hang = (
        "import sys, time; from pathlib import Path; from ihp_compute.ingest import fresh, passes\n"
        "def build(*_):\n"
        "    print('here', flush=True); time.sleep(600)\n"
        "fresh.build = build\n"
        "passes.ingest(Path(sys.argv[1]), Path(sys.argv[2]), shards=2, threads=1)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hang, str(folder), str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        cwd=Path(passes.__file__).parents[2],
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.kill()
    left = list(tmp_path.glob(".out.draft-*"))
    assert len(left) == 1
    assert not (tmp_path / "out").exists()
    os.utime(left[0], (0, 0))
    ingest(folder, tmp_path / "out", shards=2)
    assert not list(tmp_path.glob(".out.*"))
