"""`ihp completion` and `ihp true-up` over a small state, and a state under several contracts."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from api.cli import app
from ihp_compute.pipeline import RunRequest, run

runner = CliRunner()

SET = """
[set]
name = "state"
[default]
contract = "mn-ihp-2.0-track-2"
[partnerships.IHP-01]
contract = "mn-ihp-1.0"
base_pmpm_usd = 402.15
[partnerships.IHP-02]
contract = "mn-ihp-2.0-track-1"
[partnerships.IHP-03]
contract = "northwest-metro-alliance"
"""


@pytest.fixture(scope="module")
def contract_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("contracts") / "state.toml"
    path.write_text(SET)
    return path


@pytest.fixture(scope="module")
def runs(
    small_population: Path, contract_set: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """An interim and a final run of one year."""
    folder = tmp_path_factory.mktemp("runs")
    for name, through in (("interim", date(2025, 1, 15)), ("final", None)):
        request = RunRequest(
            small_population, (str(contract_set),), replicates=2, paid_through=through
        )
        run(request, folder / name)
    return folder / "interim", folder / "final"


def test_completion_rises_with_run_out(small_population: Path) -> None:
    """Claims paid by the year's end leave December the least complete."""
    arguments = ["completion", str(small_population), "--paid-through", "2024-12-31", "--json"]
    found = json.loads(runner.invoke(app, arguments).stdout)
    factors = [float(month["factor"]) for month in found["months"]]
    assert len(factors) == 12
    assert factors[0] > factors[-1]
    assert float(found["ratio"]) < 1


def test_completion_is_told_as_a_table(small_population: Path) -> None:
    done = runner.invoke(app, ["completion", str(small_population)])
    assert done.exit_code == 0, done.exception
    assert "completion of 2024" in done.stdout


def test_final_less_interim_is_shown(runs: tuple[Path, Path]) -> None:
    interim, final = runs
    found = json.loads(
        runner.invoke(app, ["true-up", str(final), "--interim", str(interim), "--json"]).stdout
    )
    assert found["differs"] == []
    assert any(found["moved_cents"].values())
    for name, moved in found["moved_cents"].items():
        assert moved == found["final_cents"][name] - found["interim_cents"][name]
    text = runner.invoke(app, ["true-up", str(final), "--interim", str(interim)]).stdout
    assert "final less interim" in text


def test_several_contracts_settle_in_one_run(runs: tuple[Path, Path]) -> None:
    table = pq.read_table(runs[1] / "settlement.parquet")
    rows = {row["partnership_id"]: row for row in table.to_pylist()}
    contracts = [rows[f"IHP-0{n}"]["contract"] for n in (1, 2, 3, 4)]
    assert contracts == [
        "mn-ihp-1.0", "mn-ihp-2.0-track-1", "northwest-metro-alliance", "mn-ihp-2.0-track-2",
    ]  # fmt: skip
    assert rows["IHP-01"]["base_pmpm_usd"] == 402.15
    assert rows["IHP-02"]["payment_cents"] == 0


def test_a_state_is_made_as_of_a_day_of_payment(tmp_path: Path) -> None:
    arguments = ["synth", "--members", "100", "--paid-through", "2024-11-30", "--json", "--out"]
    made = json.loads(runner.invoke(app, [*arguments, str(tmp_path / "cut")]).stdout)
    assert made["paid_through"] == "2024-11-30"
    paid = pq.read_table(tmp_path / "cut" / "medical_claim").column("paid_date").to_pylist()
    assert max(str(day) for day in paid) <= "2024-11-30"
