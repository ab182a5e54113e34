"""What clinics add to the error of a savings rate, in the columns of a run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.results.clinics import ClinicYears
from ihp_compute.runner import LocalRunner
from ihp_compute.synth import synth
from ihp_compute.uncertainty import Clinics

REQUEST: dict[str, Any] = {"contracts": ("mn-ihp-2.0-track-2",), "replicates": 20, "seed": 3}


@pytest.fixture(scope="module")
def folder(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("clinics") / "run"
    run(RunRequest(small_population, **REQUEST), out, LocalRunner(1))
    return out


def test_clinics_widen_the_error_by_the_parts_of_members_in_them(folder: Path) -> None:
    """Σ w² from the member-years, by SQL; under a held base one clinic-year counts once."""
    at = {name: f"read_parquet('{folder}/{name}.parquet')" for name in
          ("member_years", "chances", "settlement")}  # fmt: skip
    relation = duckdb.sql(
        f"""
        with clinic as (
            select group_id, attributed_npi, count(*) as n from {at["member_years"]}
            where year = (select max(year) from {at["member_years"]}) and attributed_npi <> ''
            group by all
        ),
        whole as (select group_id, sum(n) as n from clinic group by all),
        part as (
            select group_id, sum((clinic.n / whole.n) ** 2) as squares
            from clinic join whole using (group_id) group by all
        )
        select chances.*, squares, observed_cents / target_cents as of_target
        from {at["chances"]} chances join {at["settlement"]} using (partnership_id)
        join part on group_id = partnership_id
        """
    )
    assert relation is not None
    rows = relation.to_arrow_table()
    found = {(row["partnership_id"], row["conditioning"]): row for row in rows.to_pylist()}
    assert len(found) == 50
    assert {row["clinic_year_from"] for row in found.values()} == {"state"}
    added = {
        key: row["rate_std_error_with_clinics"] ** 2 - row["rate_std_error"] ** 2
        for key, row in found.items()
    }
    for (name, conditioning), row in found.items():
        once = row["clinic_year_sd"] ** 2 * row["squares"] * row["of_target"] ** 2
        if conditioning == "target_fixed":
            assert added[name, conditioning] == pytest.approx(once, abs=1e-12)
        else:
            assert once - 1e-12 <= added[name, conditioning] <= 2 * once + 1e-12


def test_the_manifest_has_the_state_s_estimate_and_its_error(folder: Path) -> None:
    found = json.loads((folder / "manifest.json").read_text())["clinic_years"][0]
    assert found["clinics"] > 25
    assert found["std_error"] > 0
    rows = pq.read_table(folder / "chances.parquet").to_pylist()
    assert {row["clinic_year_sd"] for row in rows} == {math.sqrt(found["variance"])}


def test_shards_and_threads_do_not_change_what_clinics_add(
    folder: Path, raw_state: Path, tmp_path: Path
) -> None:
    ingest(raw_state, tmp_path / "population", shards=3)
    out = tmp_path / "run"
    run(RunRequest(tmp_path / "population", **REQUEST), out, LocalRunner(2))
    assert (out / "chances.parquet").read_bytes() == (folder / "chances.parquet").read_bytes()


@pytest.mark.parametrize("sd", [0.0, 0.4])
def test_a_clinic_year_planted_in_a_synthetic_state_is_found(sd: float, tmp_path: Path) -> None:
    """Within four standard errors of the variance e^(sd²) - 1 of a lognormal factor of mean 1."""
    synth(5_000, 8, tmp_path / "raw", plant={"clinics": sd})
    ingest(tmp_path / "raw", tmp_path / "population", shards=2)
    run(RunRequest(tmp_path / "population", **REQUEST), tmp_path / "run", LocalRunner(1))
    (found,) = json.loads((tmp_path / "run" / "manifest.json").read_text())["clinic_years"]
    assert abs(found["variance"] - math.expm1(sd**2)) <= 4 * found["std_error"]
    assert (found["variance"] > 0.05) == (sd > 0)


def years_of(n_clinics: int) -> ClinicYears:
    """A partnership of some clinics whose changes are ±0.2 and another whose are ±0.1."""
    group = np.repeat([0, 1], [n_clinics, 10]).astype(np.int32)
    change = np.where(np.arange(group.size) % 2, 1.0, -1.0) * np.where(group == 0, 0.2, 0.1)
    even = np.ones(group.size)
    return ClinicYears(
        Clinics(group, even, change, 0 * even), ("A", "B"), np.array([1 / n_clinics, 0.1])
    )


def one(**more: Any) -> Any:
    draws = SimpleNamespace(savings_rate=np.array([0.02, 0.01, 0.03]))
    return SimpleNamespace(
        partnership_id="A",
        draws={"target_resampled": draws, "target_fixed": draws},
        **{"base_carried": 0.5, "observed_cents": 90, "target_cents": 100, **more},
    )


@pytest.mark.parametrize(("n_clinics", "whose"), [(8, "own"), (6, "state")])
def test_from_eight_clinics_a_partnership_s_own_estimate_stands(n_clinics: int, whose: str) -> None:
    """Own of 8: Σ z² ÷ (2 × 7) = 8 × 0.04 ÷ 14. The state's with 6: (0.24 + 0.1) ÷ (2 × 14)."""
    found = years_of(n_clinics).columns(one(), "target_fixed")
    variance = 0.32 / 14 if whose == "own" else 0.34 / 28
    assert found["clinics"] == n_clinics
    assert found["clinic_year_from"] == whose
    assert found["clinic_year_sd"] == pytest.approx(math.sqrt(variance))
    # draws 0.01 and 0.03: standard deviation √0.0002
    added = 0.9**2 * variance / n_clinics
    assert found["rate_std_error_with_clinics"] == pytest.approx(math.sqrt(0.0002 + added))
    resampled = years_of(n_clinics).columns(one(), "target_resampled")
    assert resampled["rate_std_error_with_clinics"] == pytest.approx(
        math.sqrt(0.0002 + added * 1.25)
    )


def test_where_nobody_has_two_clinics_nothing_is_added_and_that_is_said() -> None:
    alone = Clinics(np.array([0], np.int32), np.ones(1), np.ones(1), np.zeros(1))
    found = ClinicYears(alone, ("A",), np.ones(1)).columns(one(), "target_fixed")
    assert found["clinic_year_from"] == "none"
    assert found["rate_std_error_with_clinics"] == found["rate_std_error"]
    assert found["savings_above_zero_with_clinics"] == 1.0
