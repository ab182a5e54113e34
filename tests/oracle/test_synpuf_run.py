"""A whole run over public claims that nobody here wrote, with a roster of their own physicians."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import Outcome, RunRequest, run
from ihp_compute.results.verify import verify_run
from ihp_compute.runner import LocalRunner

CONTRACT = Path(__file__).with_name("contract_2009.toml")
CAP_CENTS = 50_000_00


@pytest.fixture(scope="module")
def outcome(synpuf_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    out = tmp_path_factory.mktemp("synpuf-run")
    ingest(synpuf_folder, out / "population", shards=3)
    request = RunRequest(out / "population", (str(CONTRACT),), replicates=100)
    return run(request, out / "run", LocalRunner(2))


@pytest.mark.shared
def test_public_claims_settle_and_verify(outcome: Outcome) -> None:
    assert [row["partnership_id"] for row in outcome.settlement] == [
        "EAST", "NORTH", "SOUTH", "WEST",
    ]  # fmt: skip
    assert all(row["performance_year"] == 2009 for row in outcome.settlement)
    assert verify_run(outcome.run_dir) == outcome.digest


@pytest.mark.shared
def test_every_public_line_meets_one_fate(outcome: Outcome) -> None:
    ledger = pq.read_table(outcome.run_dir / "ledger.parquet").to_pylist()
    retained = sum(row["lines"] for row in ledger if row["fate"] == "retained")
    claims = [row for row in ledger if row["source_table"] != "eligibility"]
    assert sum(row["lines"] for row in claims if row["stage"] == "run") == sum(
        row["lines"] for row in claims if row["fate"] == "retained"
    )
    assert retained > 0
    dollars = {row["fate"]: 0 for row in claims}
    for row in claims:
        dollars[row["fate"]] += row["paid_cents"] if row["stage"] == "run" else 0
    members = pq.read_table(outcome.run_dir / "member_years.parquet").to_pylist()
    attributed = [row for row in members if row["group_id"] in {"EAST", "NORTH", "SOUTH", "WEST"}]
    settles = sum(min(row["uncapped_r0_cents"], CAP_CENTS) for row in attributed)
    assert dollars["above_cap"] > 0
    assert dollars["counted"] - dollars["above_cap"] == settles
    assert settles == sum(row["cost_r0_cents"] for row in attributed)


@pytest.mark.shared
def test_an_earlier_cutoff_is_a_settlement_of_its_own(outcome: Outcome, tmp_path: Path) -> None:
    population = outcome.run_dir.parent / "population"
    request = RunRequest(population, (str(CONTRACT),), replicates=0, paid_through=date(2009, 6, 30))
    early = run(request, tmp_path / "run", LocalRunner(1))
    assert early.digest != outcome.digest
    assert sum(r["observed_cents"] for r in early.settlement) < sum(
        r["observed_cents"] for r in outcome.settlement
    )
