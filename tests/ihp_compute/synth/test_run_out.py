"""A state as of an earlier day of payment is interim, and what completes it finds what is expected.

What chance may do is taken from the members themselves: each one's cost as of the day differs from
the state's share of what it comes to, and these differences add up like any independent ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.parquet as pq
import pytest

from ihp_compute.errors import PlantError
from ihp_compute.ingest import ingest
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.results import read_manifest
from ihp_compute.runner import LocalRunner
from ihp_compute.synth.payment import LEAST_DAYS, MOST_DAYS, payment_lags, run_out_end
from ihp_compute.synth.state import synth

MEMBERS, SEED = 3_000, 41
CUTS: Final = {"2024-12-31": 0, "2025-01-15": 0, "2025-01-31": 1}
"""Days of payment, with the months of run-out by then."""
STANDARD_ERRORS: Final = 4
MOST_ERROR: Final = 0.03
"""Relative; with more, the tests would hold nothing."""
SET: Final = """
[set]
name = "own"
[default]
contract = "mn-ihp-2.0-track-2"
[default.overrides]
"completion.method" = "{method}"
"""


@dataclass(frozen=True)
class Found:
    """What a run says of the year, and each member's cost in both years by key."""

    status: str
    run_out_months: int
    cents: dict[int, tuple[int, int]]


def prepared(folder: Path, through: date | None) -> Path:
    """A state as of a day of payment, prepared."""
    synth(MEMBERS, SEED, folder / "raw", paid_through=through)
    ingest(folder / "raw", folder / "population", shards=1)
    return folder


def settled(folder: Path, method: str) -> Found:
    """A prepared state under a method of completion."""
    terms = folder / f"{method}.toml"
    terms.write_text(SET.format(method=method), encoding="utf-8")
    request = RunRequest(folder / "population", (str(terms),), replicates=0, programme="none")
    done = run(request, folder / method, LocalRunner(1))
    completion = read_manifest(done.run_dir)["completion"]
    years = pq.read_table(done.run_dir / "member_years.parquet").to_pydict()
    cents: dict[int, list[int]] = {}
    for key, year, cost in zip(
        years["member_key"], years["year"], years["cost_r0_cents"], strict=True
    ):
        cents.setdefault(key, [0, 0])[year - 2023] = cost
    return Found(
        completion["status"],
        completion["run_out_months"],
        {key: (base, performance) for key, (base, performance) in cents.items()},
    )


@pytest.fixture(scope="module")
def final(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return settled(prepared(tmp_path_factory.mktemp("final"), None), "equal_runout")


@pytest.fixture(scope="module", params=CUTS)
def cut(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = prepared(tmp_path_factory.mktemp("cut"), date.fromisoformat(request.param))
    (folder / "day").write_text(request.param)
    return folder


def side_by_side(early: Found, final: Found) -> tuple[np.ndarray, np.ndarray]:
    """Costs as of a day and in the end, [members, 2]."""
    keys = sorted(early.cents.keys() & final.cents.keys())
    assert len(keys) > 0.95 * MEMBERS
    first, last = (np.array([of.cents[key] for key in keys], float) for of in (early, final))
    return first, last


def relative_error(first: np.ndarray, last: np.ndarray) -> float:
    """Standard error of the share of a year that is there, over that share."""
    share = first.sum() / last.sum()
    return float(np.sqrt(((first - share * last) ** 2).sum()) / first.sum())


def test_with_its_run_out_a_year_is_final(final: Found) -> None:
    assert (final.status, final.run_out_months) == ("final", 6)


def test_a_base_year_cut_as_early_grows_as_in_the_end(cut: Path, final: Found) -> None:
    early = settled(cut, "equal_runout")
    day = (cut / "day").read_text()
    assert (early.status, early.run_out_months) == ("INTERIM", CUTS[day])
    first, last = side_by_side(early, final)
    share = first.sum(axis=0) / last.sum(axis=0)
    assert (share < 0.995).all()
    base, performance = (relative_error(first[:, y], last[:, y]) for y in (0, 1))
    error = np.hypot(base, performance)
    assert error < MOST_ERROR
    assert abs(share[1] / share[0] - 1) < STANDARD_ERRORS * error


def test_a_completed_year_costs_what_it_comes_to(cut: Path, final: Found) -> None:
    """The factor is estimated on as many claims as it completes: twice the variance."""
    early = settled(cut, "computed")
    assert early.status == "INTERIM"
    first, last = side_by_side(early, final)
    error = np.sqrt(2) * relative_error(first[:, 1], last[:, 1])
    assert error < MOST_ERROR
    assert abs(first[:, 1].sum() / last[:, 1].sum() - 1) < STANDARD_ERRORS * error


def test_lags_hang_on_the_kind_of_claim_and_end_with_the_run_out() -> None:
    n = 60_000
    rng = np.random.default_rng(3)
    no, yes = np.zeros(n, bool), np.ones(n, bool)
    drug, professional, institutional, encounter = (
        payment_lags(rng, is_drug=d, is_institutional=i, is_managed=m)
        for d, i, m in ((yes, no, no), (no, no, no), (no, yes, no), (no, no, yes))
    )
    assert drug.mean() < professional.mean() < institutional.mean()
    assert encounter.mean() - professional.mean() == pytest.approx(7, abs=1)
    everything = np.concatenate([drug, professional, institutional, encounter])
    assert (everything.min(), everything.max()) == (LEAST_DAYS, MOST_DAYS)
    assert (run_out_end(2024) - date(2024, 12, 31)).days > MOST_DAYS
    assert run_out_end(2024) == date(2025, 6, 30)


def test_a_day_before_the_performance_year_makes_no_state(tmp_path: Path) -> None:
    with pytest.raises(PlantError, match="expected a day from 2024-01-01 on"):
        synth(100, 1, tmp_path / "none", paid_through=date(2023, 12, 31))
    assert not list(tmp_path.iterdir())
