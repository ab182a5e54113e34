"""What the programme costs is a ratio of pairs, and what it rests on is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import programme_cost
from benchmarks.programme_cost import main, ratio


def test_the_ratio_is_the_median_of_pairs() -> None:
    """Pairs of 1.5, 2 and 8: the median is of the pairs' ratios, and not of the runs."""
    found = {"none": {"wall_s": [1.0, 2.0, 0.5]}, "standard": {"wall_s": [1.5, 4.0, 4.0]}}
    assert ratio(found, "wall_s") == 2.0


def test_a_small_state_is_measured_in_pairs(
    small_population: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programme_cost, "population_of", lambda _: small_population)
    arguments = ["--members", "2500", "--pairs", "2", "--replicates", "5", "--threads", "1"]
    main([*arguments, "--out", str(tmp_path)])
    (path,) = tmp_path.glob("programme-cost-*.json")
    written = json.loads(path.read_text(encoding="utf-8"))
    for programme in ("none", "standard"):
        assert written["peak_bytes"][programme] > 0
        assert [len(found) for found in written["runs"][programme].values()] == [2, 2]
    assert written["ratios"]["process_s"] == ratio(written["runs"], "process_s")
