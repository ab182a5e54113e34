"""A run from raw tables to a folder of results, and what must never change its digest."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ihp_compute.codes import COMPARISON, RATE_CELLS, UNATTRIBUTED
from ihp_compute.errors import (
    ContractError,
    DeviceUnavailableError,
    PopulationError,
    RiskModelError,
    RunError,
)
from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import Outcome, RunRequest, run
from ihp_compute.population.shards import open_population
from ihp_compute.results.verify import verify_run
from ihp_compute.runner import LocalRunner
from ihp_compute.settlement import CONDITIONINGS
from ihp_compute.uncertainty.totals import read_totals

CONTRACT = "mn-ihp-2.0-track-2"
REPLICATES = 40


def _request(population: Path, **changes: Any) -> RunRequest:
    return RunRequest(
        population=population, contracts=(CONTRACT,), replicates=REPLICATES, seed=3, **changes
    )


@pytest.fixture(scope="module")
def outcome(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run(_request(small_population), tmp_path_factory.mktemp("run") / "run", LocalRunner(1))


def test_every_partnership_settles_and_its_interval_has_its_rows(outcome: Outcome) -> None:
    settlement = pq.read_table(outcome.run_dir / "settlement.parquet")
    assert settlement.num_rows == 25
    assert settlement.to_pylist() == outcome.settlement
    intervals = pq.read_table(outcome.run_dir / "intervals.parquet")
    # four measures, two methods, two conditionings, three levels
    settled = pc.is_in(intervals["conditioning"], pa.array(CONDITIONINGS))
    scopes = Counter(intervals.filter(settled)["scope"].to_pylist())
    each = 4 * 2 * 2 * 3
    assert scopes == {
        "partnership": 25 * each, "attributed": each, "programme": each, "track": each,
        "state": each,
    }  # fmt: skip
    points = {
        (row["partnership_id"], row["measure"]): row["point"]
        for row in intervals.to_pylist()
        if row["scope"] == "partnership"
    }
    for row in settlement.to_pylist():
        assert row["savings_cents"] == row["target_cents"] - row["observed_cents"]
        for measure in ("savings_rate", "savings_cents", "payment_cents"):
            assert points[row["partnership_id"], measure] == row[measure]


def test_the_payers_parts_add_up_to_every_payment(outcome: Outcome) -> None:
    payments = pq.read_table(outcome.run_dir / "payments.parquet").to_pylist()
    assert {"ffs", "MCO-A"} <= {part["payer"] for part in payments}
    for row in outcome.settlement:
        parts = [p for p in payments if p["partnership_id"] == row["partnership_id"]]
        assert len(parts) > 1
        assert sum(part["payment_cents"] for part in parts) == row["payment_cents"]


def test_threads_and_runs_do_not_change_the_digest(
    outcome: Outcome, small_population: Path, tmp_path: Path
) -> None:
    again = run(_request(small_population), tmp_path / "run", LocalRunner(2))
    assert again.digest == outcome.digest


def test_the_folder_of_a_model_s_file_does_not_change_the_digest_and_its_content_does(
    small_population: Path, tmp_path: Path, weights: Callable[..., Path]
) -> None:
    """Nor the folder of the contract set that names it, or of a contract that a set names."""

    def digest(folder: str, *, changed: bool = False) -> str:
        model = weights(tmp_path / folder / f"{folder}.json", changed=changed)
        contract = model.with_name("own.toml")
        contract.write_text(
            'name = "own"\ntitle = "Own weights"\nprogramme = "test"\n'
            f'extends = "{CONTRACT}"\n[sources.own]\ntitle = "Own agreement"\n'
            f'[risk.model]\nvalue = {json.dumps(str(model))}\nunit = "name"\nfrom = 2018-01-01\n'
            'basis = "contract"\nsource = { doc = "own", at = "p. 1" }\n'
        )
        both = model.with_name("set.toml")
        both.write_text(f'[set]\nname = "own"\n[default]\ncontract = {json.dumps(str(contract))}\n')
        request = RunRequest(small_population, (str(both),), replicates=0)
        return run(request, tmp_path / f"run-{folder}-{changed}", LocalRunner(1)).digest

    first = digest("a")
    assert digest("b") == first
    assert digest("a", changed=True) != first


def test_a_model_s_file_is_named_by_a_path_and_not_like_a_model(
    small_population: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    weights: Callable[..., Path],
) -> None:
    """A name stands in a contract's digest, a path does not: no file passes for a name."""
    monkeypatch.chdir(tmp_path)
    weights(Path("plain"))
    Path("set.toml").write_text(
        f'[set]\nname = "own"\n[default]\ncontract = "{CONTRACT}"\n'
        '[default.overrides]\n"risk.model" = "plain"\n'
    )
    request = RunRequest(small_population, ("set.toml",), replicates=0)
    with pytest.raises(
        RiskModelError, match=r"'plain' is a file here; expected its path, \./plain"
    ):
        run(request, Path("run"), LocalRunner(1))


def test_shards_row_order_and_file_split_do_not_change_the_digest(
    outcome: Outcome, raw_state: Path, tmp_path: Path
) -> None:
    """The same claims, shuffled over other files and cut into other shards, settle alike."""
    rng = np.random.default_rng(5)
    shuffled = tmp_path / "raw"
    for source in sorted(raw_state.rglob("*.parquet")):
        table = pq.read_table(source)
        folder = shuffled / (source.parent.name if source.parent != raw_state else source.stem)
        folder.mkdir(parents=True, exist_ok=True)
        table = table.take(pa.array(rng.permutation(table.num_rows)))
        cut = table.num_rows // 3
        pq.write_table(table.slice(cut), folder / f"z-{source.stem}.parquet")
        pq.write_table(table.slice(0, cut), folder / f"a-{source.stem}.parquet")
    population = tmp_path / "population"
    ingest(shuffled, population, shards=7, threads=1)
    again = run(_request(population), tmp_path / "run", LocalRunner(2))
    assert again.digest == outcome.digest


def test_another_seed_gives_another_digest_and_the_same_settlement(
    outcome: Outcome, small_population: Path, tmp_path: Path
) -> None:
    request = RunRequest(small_population, (CONTRACT,), replicates=REPLICATES, seed=4)
    other = run(request, tmp_path / "run", LocalRunner(1))
    assert other.digest != outcome.digest
    assert other.settlement == outcome.settlement


def test_verify_recomputes_the_digest_and_notices_a_changed_cent(
    outcome: Outcome, tmp_path: Path
) -> None:
    assert verify_run(outcome.run_dir) == outcome.digest
    copy = tmp_path / "run"
    shutil.copytree(outcome.run_dir, copy)
    table = pq.read_table(copy / "settlement.parquet")
    payment = pc.add(table.column("payment_cents"), 1)
    where = table.schema.get_field_index("payment_cents")
    pq.write_table(
        table.set_column(where, table.schema.field(where), payment), copy / "settlement.parquet"
    )
    with pytest.raises(RunError, match="changed after the run"):
        verify_run(copy)


@pytest.mark.parametrize("name", ["report.html", "contracts.json"])
def test_verify_notices_a_changed_page_and_missing_terms(
    outcome: Outcome, tmp_path: Path, name: str
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(outcome.run_dir, copy)
    text = (copy / name).read_text(encoding="utf-8")
    (copy / name).write_text(text.replace("DRAFT", "FINAL") + " ", encoding="utf-8")
    with pytest.raises(RunError, match=name):
        verify_run(copy)
    (copy / name).unlink()
    with pytest.raises(RunError, match=name):
        verify_run(copy)


def test_a_run_made_again_replaces_the_old_one_whole(
    outcome: Outcome, small_population: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(outcome.run_dir, out)
    again = run(_request(small_population), out, LocalRunner(1))
    assert again.digest == outcome.digest
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_totals_can_be_recomputed_from_the_member_years(outcome: Outcome) -> None:
    """The audit artefact holds what the observed totals sum, group by group."""
    totals = read_totals(outcome.run_dir / "totals.arrow")
    members = outcome.run_dir / "member_years.parquet"
    for year, name in ((2023, "base"), (2024, "perf")):
        months = " + ".join(f"months_{cell}::BIGINT" for cell in RATE_CELLS)
        rows = duckdb.execute(
            f"SELECT group_id, sum({months}), sum(({months}) * score_micro), sum(cost_r0_cents), "
            f"count(*) FROM '{members}' WHERE year = {year} AND group_id <> '' GROUP BY ALL"
        ).fetchall()
        found = {row[0]: tuple(int(x) for x in row[1:]) for row in rows}
        for g, group in enumerate(totals.groups):
            expected = tuple(
                int(totals.column(f"{year_column}")[g, :, 0].sum())
                for year_column in (f"{name}_months", f"{name}_risk", f"{name}_cost_r0")
            )
            assert found.get(group, (0, 0, 0, 0))[:3] == expected
            if name == "perf":
                assert found.get(group, (0, 0, 0, 0))[3] == totals.n_members[g]


def test_the_run_ledger_meets_what_ingest_retained_and_what_settles(outcome: Outcome) -> None:
    ledger = pq.read_table(outcome.run_dir / "ledger.parquet").to_pylist()
    cents = {"retained": 0}
    lines = {"retained": 0}
    for row in ledger:
        if row["source_table"] == "eligibility":
            continue
        key = "retained" if row["fate"] == "retained" else row["fate"]
        if row["stage"] == "run" or key == "retained":
            cents[key] = cents.get(key, 0) + row["paid_cents"]
            lines[key] = lines.get(key, 0) + row["lines"]
    run_lines = {k: v for k, v in lines.items() if k != "retained"}
    assert sum(run_lines.values()) == lines["retained"]
    line_cents = sum(v for k, v in cents.items() if k not in ("retained", "above_cap", "floored"))
    assert line_cents == cents["retained"]
    totals = read_totals(outcome.run_dir / "totals.arrow")
    partnerships = [
        g for g, name in enumerate(totals.groups) if name not in (COMPARISON, UNATTRIBUTED)
    ]
    settles = sum(
        int(totals.column(column)[partnerships, :, 0].sum())
        for column in ("base_cost_r0", "perf_cost_r0")
    )
    assert cents["counted"] - cents.get("above_cap", 0) + cents.get("floored", 0) == settles


def test_a_member_stands_in_one_group_and_months_never_exceed_twelve(outcome: Outcome) -> None:
    table = pq.read_table(outcome.run_dir / "member_years.parquet")
    pairs = table.select(["member_key", "year"]).group_by(["member_key", "year"]).aggregate([])
    assert pairs.num_rows == table.num_rows
    months = sum(table.column(f"months_{cell}").to_numpy().astype(np.int64) for cell in RATE_CELLS)
    assert months.max() <= 12


def test_claims_paid_after_the_cutoff_do_not_count(
    small_population: Path, tmp_path: Path, outcome: Outcome
) -> None:
    early = run(_request(small_population, paid_through=date(2024, 12, 31)), tmp_path / "run")
    ledger = pq.read_table(early.run_dir / "ledger.parquet").to_pylist()
    assert sum(row["lines"] for row in ledger if row["fate"] == "paid_after_cutoff") > 0
    assert sum(r["observed_cents"] for r in early.settlement) < sum(
        r["observed_cents"] for r in outcome.settlement
    )


def test_the_manifest_says_what_the_run_rests_on(outcome: Outcome, small_population: Path) -> None:
    manifest = json.loads((outcome.run_dir / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["digest"] == outcome.digest
    assert manifest["population"]["digest"] == open_population(small_population).digest
    assert (manifest["base_year"], manifest["performance_year"]) == (2023, 2024)
    assert (manifest["device"], manifest["device_requested"]) == ("cpu", "auto")
    assert manifest["draft_terms"]["recalled_or_assumed"] > 0
    assert manifest["contracts"][0]["name"] == CONTRACT


def test_a_model_for_adults_warns_of_children_in_the_walk(
    small_population: Path, tmp_path: Path
) -> None:
    terms = tmp_path / "adults.toml"
    terms.write_text(
        f'[set]\nname = "adults"\n[default]\ncontract = "{CONTRACT}"\n'
        '[default.overrides]\n"risk.model" = "cms-hcc-v28"\n"risk.timing" = "concurrent"\n',
        encoding="utf-8",
    )
    accept = {"timing": "no earlier year is at hand"}
    request = RunRequest(small_population, (str(terms),), replicates=0, accept=accept)
    scored = run(request, tmp_path / "run", LocalRunner(1))
    walk = pq.read_table(scored.run_dir / "walk.parquet").to_pylist()
    risk = [row["detail"] for row in walk if row["step"] == "risk"]
    assert len(risk) == 25
    assert all("under 18" in detail and "cms-hcc-v28" in detail for detail in risk)
    assert not any("under 18" in row["detail"] for row in walk if row["step"] != "risk")


def test_without_replicates_a_run_has_no_intervals(
    small_population: Path, tmp_path: Path, outcome: Outcome
) -> None:
    request = RunRequest(small_population, (CONTRACT,), replicates=0)
    bare = run(request, tmp_path / "run")
    assert pq.read_table(bare.run_dir / "intervals.parquet").num_rows == 0
    assert bare.settlement == outcome.settlement


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"performance_year": 2031}, RunError, "2023 to 2024"),
        ({"base_year": 2024}, RunError, "not before"),
        ({"device": "gpu"}, DeviceUnavailableError, "no GPU"),
        ({"device": "tpu"}, RunError, "auto, cpu or gpu"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_and_leaves_nothing(
    small_population: Path,
    tmp_path: Path,
    changes: dict[str, Any],
    error: type[Exception],
    says: str,
) -> None:
    if changes.get("device") == "gpu":
        import kernels  # noqa: PLC0415

        if kernels.device() == "gpu":
            pytest.skip("a GPU is here, so asking for one is no error")
    with pytest.raises(error, match=says):
        run(_request(small_population, **changes), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_population_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PopulationError):
        run(_request(tmp_path), tmp_path / "run")


def test_an_unknown_contract_is_refused(small_population: Path, tmp_path: Path) -> None:
    with pytest.raises(ContractError):
        run(RunRequest(small_population, ("mn-ihp-9.0",)), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_run_is_not_replaced(small_population: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match="not a run"):
        run(_request(small_population), tmp_path)
    assert (tmp_path / "letter.txt").read_text(encoding="utf-8") == "mine"
