"""A partnership's walk and a member's lines are those of the run."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster.doctor import examine
from ihp_compute.errors import RunError
from ihp_compute.explain import explain_member, explain_partnership
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.population.keys import member_keys
from ihp_compute.population.shards import open_population
from ihp_compute.runner import LocalRunner


@pytest.fixture(scope="module")
def run_dir(small_run: Path) -> Path:
    return small_run


def _member_ids(population: Path) -> list[str]:
    shards = open_population(population).shards
    return [name for shard in shards for name in shard.strings("identity", "member_id").to_pylist()]


def test_a_walk_leads_from_base_to_the_payment_that_was_settled(run_dir: Path) -> None:
    for row in pq.read_table(run_dir / "settlement.parquet").to_pylist()[:5]:
        found = explain_partnership(run_dir, row["partnership_id"])
        ends = {step.step: step.after_cents for step in found.walk}
        assert ends["target"] == row["target_cents"]
        assert ends["observed"] == row["observed_cents"]
        assert ends["savings"] == row["savings_cents"]
        assert ends["payment"] == row["payment_cents"]


def test_changes_add_up_to_the_target(run_dir: Path) -> None:
    """From the recomputed base, each change leads to the next level, to the cent."""
    walk = explain_partnership(run_dir, "IHP-01").walk
    base = next(step for step in walk if step.step == "recomputed_base")
    target = next(step for step in walk if step.step == "target")
    changes = [
        step.amount_cents
        for step in walk[walk.index(base) + 1 : walk.index(target)]
        if step.before_cents is not None
    ]
    assert base.after_cents + sum(changes) == target.after_cents


def test_the_risk_ratio_follows_from_the_rate_cells_that_are_shown(run_dir: Path) -> None:
    """Own mean over norm, year over year, is the cell's; dollars after over before, the walk's."""
    for row in pq.read_table(run_dir / "settlement.parquet").to_pylist()[:5]:
        cells = explain_partnership(run_dir, row["partnership_id"]).cells
        assert sum(cell["target_cents"] for cell in cells) == row["target_cents"]
        before = sum(cell["before_cents"] for cell in cells)
        assert row["target_cents"] / before == pytest.approx(row["risk_ratio"], abs=1e-6)
        for cell in cells:
            assert cell["base_norm"] == pytest.approx(cell["base_state_risk_mean"])
            assert cell["performance_norm"] == pytest.approx(cell["performance_state_risk_mean"])
            if cell["base_risk_mean"]:
                base, now = (
                    cell[f"{year}_risk_mean"] / cell[f"{year}_norm"]
                    for year in ("base", "performance")
                )
                assert cell["risk_ratio"] == pytest.approx(now / base, rel=1e-6)


def test_an_unknown_partnership_is_refused_with_those_there_are(run_dir: Path) -> None:
    with pytest.raises(RunError, match="IHP-01"):
        explain_partnership(run_dir, "IHP-99")


def test_a_members_lines_and_years_are_those_of_the_run(
    run_dir: Path, small_population: Path
) -> None:
    ids = _member_ids(small_population)
    years = {
        (row["member_key"], row["year"]): row
        for row in pq.read_table(run_dir / "member_years.parquet").to_pylist()
    }
    for member_id in ids[:: len(ids) // 6]:
        found = explain_member(run_dir, member_id)
        key = int(member_keys([member_id])[0])
        for year in found.years:
            row = years[key, year["year"]]
            assert year["group_id"] == row["group_id"]
            assert year["cost_cents"] == row["cost_r0_cents"]
            assert year["score_micro"] == row["score_micro"]
            counted = sum(
                line["paid_cents"]
                for line in found.lines
                if line["fate"] == "counted" and line["incurred_date"][:4] == str(year["year"])
            )
            if year["group_id"].startswith("IHP"):
                settled = year["cost_cents"] + year["above_cap_cents"] - year["floored_cents"]
                assert settled == year["uncapped_cents"] == counted


def test_rows_put_aside_at_the_door_are_shown_with_their_fate(
    run_dir: Path, small_population: Path
) -> None:
    aside = pq.read_table(small_population / "quarantine" / "medical_claim.parquet").to_pylist()
    known = set(_member_ids(small_population))
    row = next(row for row in aside if row["member_id"] in known and row["fate"] == "duplicate")
    found = explain_member(run_dir, row["member_id"])
    assert any(
        line["stage"] == "ingest"
        and line["fate"] == "duplicate"
        and line["claim_id"] == row["claim_id"]
        for line in found.lines
    )


def test_a_population_explains_no_member_and_no_partnership(small_population: Path) -> None:
    """It has settled nothing: who gives it instead of a run is told the way to one."""
    for option, explain in (
        ("--member", explain_member), ("--partnership", explain_partnership)
    ):  # fmt: skip
        with pytest.raises(RunError, match=rf"is a population, and {option} explains .* ihp run"):
            explain(small_population, "IHP-01")


def test_an_unknown_member_is_refused_without_naming_anyone(run_dir: Path) -> None:
    with pytest.raises(RunError, match="no member of this id") as refusal:
        explain_member(run_dir, "NOBODY-7")
    assert "NOBODY" not in str(refusal.value)


def test_a_population_that_changed_explains_nothing(run_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run_dir, copy)
    manifest = json.loads((copy / "manifest.json").read_text(encoding="utf-8"))
    manifest["population"]["digest"] = "0" * 64
    (copy / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(RunError, match="no longer the population"):
        explain_member(copy, "P000000000001")


def test_the_doctor_looks_at_everything_and_says_what_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = {check.name: check for check in examine(tmp_path)}
    named = {"threads", "shared memory", "disk", "GPU", "Ray", "service", "workbook", "PDF"}
    assert named <= checks.keys()
    assert checks["disk"].verdict in {"ok", "warn"}
    monkeypatch.setattr("cluster.doctor.ENOUGH_DISK_BYTES", 1 << 70)
    short = {check.name: check for check in examine(tmp_path)}["disk"]
    assert (short.verdict, bool(short.advice)) == ("warn", True)


def test_the_doctor_says_what_a_missing_extra_would_bring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "xlsxwriter" else found(name)
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    checks = {check.name: check for check in examine(tmp_path)}
    lacks = checks["workbook"]
    assert (lacks.verdict, lacks.found) == ("warn", "xlsxwriter not installed")
    assert "ihp-compute[workbook]" in lacks.advice
    assert "Excel" in lacks.advice
    assert "--pdf" in checks["PDF"].advice
    assert checks["service"].verdict == "ok"


def test_fake_runs_are_explained_too(make_run: Callable[..., Path]) -> None:
    found = explain_partnership(make_run(), "IHP01")
    assert found.walk[-1].step == "payment"
    assert len(found.document()["intervals"]) == len(found.intervals)


def test_a_model_s_file_that_changed_since_the_run_is_refused(
    small_population: Path, tmp_path: Path, weights: Callable[..., Path]
) -> None:
    """A contract's digest does not know the content of the file it names; the run's terms do."""
    model = weights(tmp_path / "weights.json")
    contract = tmp_path / "own.toml"
    contract.write_text(
        '[set]\nname = "own"\n[default]\ncontract = "mn-ihp-2.0-track-2"\n'
        f'[default.overrides]\n"risk.model" = {json.dumps(str(model))}\n'
    )
    request = RunRequest(small_population, (str(contract),), replicates=0)
    out = run(request, tmp_path / "run", LocalRunner(1)).run_dir
    member = _member_ids(small_population)[0]
    assert explain_member(out, member).member_id == member
    weights(model, changed=True)
    with pytest.raises(RunError, match="the risk model has changed since this run"):
        explain_member(out, member)
