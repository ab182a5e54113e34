"""What stands beside a result: other terms over the same data, and counts over the draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ihp_compute.pipeline import RunRequest, run
from ihp_compute.results import result
from ihp_compute.results.assemble import _chances
from ihp_compute.results.tables import SENSITIVITIES, SETTLEMENT
from ihp_compute.settlement import CHANGES

CONTRACT = "mn-ihp-2.0-track-2"
PAYS: Any = SimpleNamespace(without_effect=lambda *_: 12)
CLINICS: Any = SimpleNamespace(
    columns=lambda *_: {
        "clinics": 2, "clinic_year_from": "state", "clinic_year_sd": 0.03, "rate_std_error": 0.01,
        "rate_std_error_with_clinics": 0.02, "savings_above_zero_with_clinics": 0.6,
    }
)  # fmt: skip


def _settled(
    population: Path, out: Path, overrides: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Settlement rows by partnership of a run whose contract has other terms."""
    terms = out.parent / f"{out.name}.toml"
    lines = "\n".join(f'"{path}" = {value}' for path, value in overrides.items())
    terms.write_text(
        f'[set]\nname = "other"\n[default]\ncontract = "{CONTRACT}"\n'
        f"[default.overrides]\n{lines}\n",
        encoding="utf-8",
    )
    run(RunRequest(population, (str(terms),), replicates=0, programme="none"), out)
    return {row["partnership_id"]: row for row in result(out, SETTLEMENT).to_pylist()}


@pytest.fixture(scope="module")
def own(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "run"
    run(RunRequest(small_population, (CONTRACT,), replicates=0, programme="none"), folder)
    return folder


def _scenario(folder: Path, name: str) -> dict[str, dict[str, Any]]:
    rows = result(folder, SENSITIVITIES).to_pylist()
    return {row["partnership_id"]: row for row in rows if row["scenario"] == name}


@pytest.mark.parametrize(
    ("scenario", "overrides"),
    [
        ("trend_up", {"target.trend": "0.052"}),
        ("trend_down", {"target.trend": "0.032"}),
        ("other_norm", {"risk.normalise": '"mix_neutral"'}),
        ("own_base", {"target.cell_credibility": '"none"'}),
    ],
)
def test_a_sensitivity_is_what_a_run_with_the_term_changed_settles_to(
    small_population: Path,
    own: Path,
    tmp_path: Path,
    scenario: str,
    overrides: dict[str, str],
) -> None:
    found = _scenario(own, scenario)
    settled = _settled(small_population, tmp_path / "run", overrides)
    assert found.keys() == settled.keys()
    for name, row in settled.items():
        for what in ("target_cents", "savings_cents", "payment_cents"):
            assert found[name][what] == row[what], (name, what)


def test_a_difference_is_to_the_settlement_itself(own: Path) -> None:
    paid = {r["partnership_id"]: r["payment_cents"] for r in result(own, SETTLEMENT).to_pylist()}
    for row in result(own, SENSITIVITIES).to_pylist():
        assert row["difference_cents"] == row["payment_cents"] - paid[row["partnership_id"]]


def test_the_score_moves_gains_and_no_target(own: Path) -> None:
    lost, full = _scenario(own, "quality_lost"), _scenario(own, "quality_full")
    assert any(lost[p]["payment_cents"] < full[p]["payment_cents"] for p in lost)
    assert all(lost[p]["target_cents"] == full[p]["target_cents"] for p in lost)
    assert all(lost[p]["payment_cents"] <= full[p]["payment_cents"] for p in lost)


def test_a_contract_without_a_trend_has_no_sensitivity_to_it(
    small_population: Path, tmp_path: Path
) -> None:
    _settled(small_population, tmp_path / "run", {"target.trend": '"none"'})
    rows = result(tmp_path / "run", SENSITIVITIES).to_pylist()
    assert {row["scenario"] for row in rows} == set(CHANGES) - {"trend_up", "trend_down"}


def test_chances_are_counts_over_the_draws_and_leave_the_observed_row_out() -> None:
    draws = SimpleNamespace(
        savings_cents=np.array([900, 500, 0, -300, 100]),
        passed=np.array([1, 1, 0, 1, 0]),
        payment_cents=np.array([450, 250, 0, -150, 0]),
    )
    one: Any = SimpleNamespace(
        partnership_id="A", draws={"target_resampled": draws, "target_fixed": draws}
    )
    first, second = _chances([one], CLINICS, PAYS).to_pylist()
    assert first["conditioning"] == "target_resampled"
    assert second["conditioning"] == "target_fixed"
    assert first | {"conditioning": ""} == {
        "partnership_id": "A",
        "conditioning": "",
        "savings_above_zero": 0.5,
        "savings_above_gate": 0.25,
        "payment_above_zero": 0.25,
        "payment_below_zero": 0.25,
        "mean_payment_cents": 25,
        "payment_without_effect_cents": 12,
        **CLINICS.columns(),
    }


def test_without_draws_there_are_no_chances() -> None:
    draws = SimpleNamespace(
        savings_cents=np.array([900]), passed=np.array([1]), payment_cents=np.array([450])
    )
    one: Any = SimpleNamespace(
        partnership_id="A", draws={"target_resampled": draws, "target_fixed": draws}
    )
    assert _chances([one], CLINICS, PAYS).num_rows == 0
