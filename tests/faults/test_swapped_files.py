"""Files that change places are noticed, though each is whole and as old as it was."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ihp_compute.errors import DataError
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.runner import LocalRunner


def swapped(one: Path, other: Path) -> None:
    """Exchange the names of two files; what the system lets one set of their times stays."""
    times = [(path.stat().st_atime_ns, path.stat().st_mtime_ns) for path in (one, other)]
    aside = one.with_suffix(".aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    for path, ns in zip((one, other), times, strict=True):
        os.utime(path, ns=ns)


@pytest.mark.parametrize("table", ["spans", "lines", "members"])
def test_two_shards_whose_files_changed_places_are_refused_by_name(
    small_population: Path, tmp_path: Path, table: str
) -> None:
    population = tmp_path / "population"
    shutil.copytree(small_population, population)
    files = [population / "shards" / f"0000{shard}" / f"{table}.arrow" for shard in (1, 3)]
    swapped(*files)
    request = RunRequest(population, ("mn-ihp-2.0-track-2",), replicates=5)
    with pytest.raises(DataError, match=rf"0000[13]/{table}\.arrow"):
        run(request, tmp_path / "run", LocalRunner(1))
    assert not (tmp_path / "run").exists()
