"""An appeal pack: its files say what the run's tables and the claims say, and protect people."""

from __future__ import annotations

import csv
import re
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from ihp_compute.errors import RunError
from ihp_compute.explain import compare_attribution, explain_partnership, write_pack
from ihp_compute.explain.origin import plans_of
from ihp_compute.explain.people import CONSENT, lines_over_cap
from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.population import open_population
from ihp_compute.runner import LocalRunner
from ihp_compute.units import date_of

CONTRACT = "mn-ihp-1.0"
CAP = """
[set]
name = "capped"
[default]
contract = "mn-ihp-1.0"
[default.overrides]
"cost.claim_cap" = 20000
"""
FILES = ("walk", "trace", "cells", "reconciliation", "people", "over_cap", "over_cap_lines")
Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def run_dir(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("appeal")
    (folder / "set.toml").write_text(CAP, encoding="utf-8")
    request = RunRequest(
        small_population, (str(folder / "set.toml"),), replicates=50, programme="none"
    )
    return run(request, folder / "run", LocalRunner(1)).run_dir


@pytest.fixture(scope="module")
def settled(run_dir: Path) -> dict[str, Any]:
    """The row of the partnership with most people."""
    rows = pq.read_table(run_dir / "settlement.parquet").to_pylist()
    row: dict[str, Any] = max(rows, key=lambda row: row["n_members"])
    return row


@pytest.fixture(scope="module")
def pack(run_dir: Path, settled: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pack") / "pack"
    return write_pack(run_dir, settled["partnership_id"], out).folder


def rows_of(pack: Path, name: str) -> Rows:
    with (pack / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_dollars_of_each_year_add_up_to_what_is_counted(
    pack: Path, settled: dict[str, Any]
) -> None:
    rows = rows_of(pack, "reconciliation")
    years = sorted({row["year"] for row in rows})
    assert years == [str(settled["performance_year"] - 1), str(settled["performance_year"])]
    for year in years:
        *before, last = [row for row in rows if row["year"] == year]
        assert [int(row["position"]) for row in (*before, last)] == list(range(len(before) + 1))
        assert last["line"] == "observed"
        assert sum(int(row["cents"]) for row in before) == int(last["cents"])
        capped = next(int(row["cents"]) for row in before if row["line"] == "above_cap")
        assert capped < 0
        own = [row for row in rows_of(pack, "over_cap") if row["year"] == year]
        assert sum(int(row["above_cap_cents"]) for row in own) == -capped
    assert int(last["cents"]) == settled["observed_cents"]


def test_what_was_paid_is_what_ingest_kept_of_these_people(
    pack: Path, small_population: Path, settled: dict[str, Any]
) -> None:
    """By the record of every row, which no run reads: retained, and ended in the year."""
    people = {(row["member_id"], row["year"]) for row in rows_of(pack, "people")}
    ids = {
        key: name
        for shard in open_population(small_population).shards
        for key, name in zip(
            shard.column("members", "member_key").tolist(),
            shard.strings("identity", "member_id").to_pylist(),
            strict=True,
        )
    }
    paid: Counter[str] = Counter()
    for shard in open_population(small_population).shards:
        record = shard.record(columns=["member_key", "fate", "claim_end_day", "paid_cents"])
        for row in record.to_pylist():
            year = str(date_of(row["claim_end_day"]).year)
            if row["fate"] == "retained" and (ids.get(row["member_key"]), year) in people:
                paid[year] += row["paid_cents"]
    said = {
        r["year"]: int(r["cents"]) for r in rows_of(pack, "reconciliation") if r["line"] == "paid"
    }
    assert said == paid
    assert said[str(settled["performance_year"])] > settled["observed_cents"]


def test_people_are_those_who_count(pack: Path, settled: dict[str, Any]) -> None:
    rows = [r for r in rows_of(pack, "people") if r["year"] == str(settled["performance_year"])]
    assert len(rows) == settled["n_members"] == len({row["member_id"] for row in rows})
    assert sum(int(row["member_months"]) for row in rows) == settled["member_months"]
    assert sum(int(row["cost_cents"]) for row in rows) == settled["observed_cents"]
    months = [sum(int(part.split()[-1]) for part in r["rate_cells"].split("; ")) for r in rows]
    assert months == [int(row["member_months"]) for row in rows]


def test_walk_and_cells_are_the_runs(pack: Path, run_dir: Path, settled: dict[str, Any]) -> None:
    here = [("partnership_id", "==", settled["partnership_id"])]
    for name, column in (("walk", "amount_cents"), ("cells", "target_cents")):
        held = pq.read_table(run_dir / f"{name}.parquet", filters=here).to_pylist()
        assert [int(row[column]) for row in rows_of(pack, name)] == [row[column] for row in held]


def test_every_formula_gives_the_number_beside_it(pack: Path, settled: dict[str, Any]) -> None:
    """Numbers put in are written with few places: they give the result as nearly as those allow."""
    cells = [row for row in rows_of(pack, "trace") if row["rate_cell"]]
    assert {row["quantity"] for row in cells} == {
        "own_base", "base_used", "risk_ratio", "target_pmpm", "target",
    }  # fmt: skip
    for row in cells:
        asked = row["numbers"].replace(",", "").replace("×", "*").replace("÷", "/")
        assert re.fullmatch(r"[\d.+*/() ]+", asked), row
        made = eval(asked, {"__builtins__": {}})  # noqa: S307 - digits and signs alone, see above
        assert made == pytest.approx(float(row["result"].replace(",", "")), rel=2e-3), row
        assert row["citation"]
    target = sum(float(r["result"].replace(",", "")) for r in cells if r["quantity"] == "target")
    assert round(target * 100) == settled["target_cents"]


def test_lines_of_people_above_the_cap_are_their_cost(pack: Path, run_dir: Path) -> None:
    """Of somebody whose consent is recorded all of it; of others as much or less."""
    over_cap = rows_of(pack, "over_cap")
    assert len(over_cap) > 5
    asked = [{"member_id": row["member_id"], "year": int(row["year"])} for row in over_cap]
    (plan,) = plans_of(run_dir)
    everybody = {row["member_id"] for row in over_cap}
    lines = lines_over_cap(plan, open_population(plan.origin.path), asked, everybody)
    assert any(row["ndc"] for row in lines)
    whole, shown = Counter[tuple[str, int]](), Counter[tuple[str, int]]()
    for row in lines:
        whole[row["member_id"], row["year"]] += row["paid_cents"]
    for written in rows_of(pack, "over_cap_lines"):
        shown[written["member_id"], int(written["year"])] += int(written["paid_cents"])
        assert not written["ndc"]
        assert written["category"] != "substance_use"
    for row in over_cap:
        uncapped, above, counts = (
            int(row[f"{name}_cents"]) for name in ("uncapped", "above_cap", "cost")
        )
        assert uncapped - above == counts == 2_000_000
        assert shown[row["member_id"], int(row["year"])] <= uncapped
        assert whole[row["member_id"], int(row["year"])] == uncapped


def test_a_pack_stands_whole_and_is_replaced_when_asked(
    run_dir: Path, settled: dict[str, Any], tmp_path: Path
) -> None:
    name, out = settled["partnership_id"], tmp_path / "pack"
    found = write_pack(run_dir, name, out)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["index.html", "manifest.json", *(f"{file}.csv" for file in FILES)]
    )
    assert found.rows == {file: len(rows_of(out, file)) for file in FILES}
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(RunError, match="--replace"):
        write_pack(run_dir, name, out)
    write_pack(run_dir, name, out, replace=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match="will not be overwritten"):
        write_pack(run_dir, name, tmp_path / "other", replace=True)
    with pytest.raises(RunError, match="no partnership 'IHP-99'"):
        write_pack(run_dir, "IHP-99", tmp_path / "nobody")
    assert not (tmp_path / "nobody").exists()


CLINIC = "1000000004"
CARE = (
    # person, claim, day, procedure, diagnosis, dollars: shown without consent?
    ("A", "C1", "2024-03-01", "99213", "E119", 9000, True),
    ("A", "C2", "2024-03-02", "99213", "F1120", 8000, False),
    ("A", "C3", "2024-03-03", "H0015", "Z0000", 7000, False),
    ("A", "C4", "2024-03-04", "99213", "F17210", 6000, True),
    ("B", "C5", "2024-03-05", "99213", "F1020", 30000, False),
    ("B", "C6", "2023-01-01", "99213", "E119", 10, True),
    ("A", "C7", "2023-01-01", "99213", "E119", 10, True),
    ("A", "C8", "2024-12-31", "99213", "E119", 10, True),
)


@pytest.fixture(scope="module")
def care(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two people with care for substance use; B consented on 1 June 2025."""
    folder = tmp_path_factory.mktemp("care")
    enrolled = {"gender": "female", "birth_date": "1980-05-05"}
    tables: dict[str, list[dict[str, Any]]] = {
        "eligibility": [
            {
                "person_id": person, **enrolled, "x_elgblty_grp_cd": "01",
                "enrollment_start_date": "2023-01-01", "enrollment_end_date": "2024-12-31",
            }
            for person in "AB"
        ],
        "medical_claim": [
            {
                "claim_id": claim, "claim_line_number": "1", "claim_type": "professional",
                "person_id": person, "claim_start_date": day, "claim_end_date": day,
                "paid_date": day, "paid_amount": dollars, "hcpcs_code": procedure,
                "place_of_service_code": "11", "diagnosis_code_type": "icd-10-cm",
                "diagnosis_code_1": dx, "rendering_npi": CLINIC,
            }
            for person, claim, day, procedure, dx, dollars, _ in CARE
        ],
        "pharmacy_claim": [
            {
                "claim_id": "D1", "claim_line_number": "1", "person_id": person,
                "dispensing_date": "2024-05-05", "paid_date": "2024-05-05",
                "paid_amount": 50, "ndc_code": "12496120803",
            }
            for person in "A"
        ],
        "provider_roster": [
            {"partnership_id": "IHP-01", "npi": CLINIC, "tin": "", "specialty": "primary care"}
        ],
        "member_factors": [
            {"person_id": "A", CONSENT: ""}, {"person_id": "B", CONSENT: "2025-06-01"},
        ],
        "risk_score": [
            {"person_id": person, "year": year, "model": "acg", "score": 1}
            for person in "AB" for year in (2023, 2024)
        ],
    }  # fmt: skip
    (folder / "raw").mkdir()
    for name, rows in tables.items():
        with (folder / "raw" / f"{name}.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    ingest(folder / "raw", folder / "population", shards=1)
    terms = CAP.replace("20000", "100") + '"settlement.quality.missing" = "full"\n'
    (folder / "set.toml").write_text(terms, encoding="utf-8")
    request = RunRequest(folder / "population", (str(folder / "set.toml"),), replicates=0)
    return run(request, folder / "run", LocalRunner(1)).run_dir


@pytest.mark.parametrize("day", [date(2025, 5, 31), date(2025, 6, 1)])
def test_lines_on_substance_use_are_shown_by_consent_alone(
    care: Path, tmp_path: Path, day: date
) -> None:
    """Nothing of the pack tells of them otherwise; tobacco is none; what a drug is stays blank."""
    pack = write_pack(care, "IHP-01", tmp_path / "pack", on=day).folder
    lines = rows_of(pack, "over_cap_lines")
    consented = {"B"} if day >= date(2025, 6, 1) else set()
    expected = {
        claim
        for person, claim, when, *_, shown in CARE
        if when.startswith("2024") and (shown or person in consented)
    }
    assert {row["claim_id"] for row in lines} == expected | {"D1"}
    assert {row["ndc"] for row in lines} == {""}
    text = "".join(path.read_text(encoding="utf-8") for path in pack.iterdir())
    for claim in {claim for _, claim, *_ in CARE} - expected - {"C6", "C7"}:
        assert claim not in text
    assert "12496120803" not in text
    assert "F1120" not in text


OTHER = """
[set]
name = "specialists too"
[default]
contract = "mn-ihp-1.0"
[default.overrides]
"cost.claim_cap" = 20000
"attribution.steps" = ["specialist", "primary_care"]
"""


def test_another_rule_is_told_person_by_person(
    run_dir: Path, small_population: Path, tmp_path: Path
) -> None:
    (tmp_path / "set.toml").write_text(OTHER, encoding="utf-8")
    request = RunRequest(
        small_population, (str(tmp_path / "set.toml"),), replicates=0, programme="none"
    )
    other = run(request, tmp_path / "other", LocalRunner(1)).run_dir
    found = compare_attribution(run_dir, other)
    year = pq.read_table(run_dir / "settlement.parquet")["performance_year"][0].as_py()
    read = (
        "select member_key, group_id::varchar as g from '{}/member_years.parquet' where year = {}"
    )
    counted = (
        duckdb.connect()
        .execute(
            f"""
        select if(a.g = '', 'not eligible', a.g) as ours,
               if(b.g = '', 'not eligible', b.g) as theirs, count(*)
        from ({read.format(run_dir, year)}) a join ({read.format(other, year)}) b using (member_key)
        where a.g <> '' or b.g <> '' group by 1, 2 order by 1, 2
        """
        )
        .fetchall()
    )
    pairs = [(p["group_id"], p["other_group_id"], p["members"]) for p in found.pairs]
    assert sorted(pairs) == counted
    assert any(ours != theirs for ours, theirs, _ in pairs)
    for row in found.partnerships:
        ours = explain_partnership(run_dir, row["partnership_id"]).settlement
        theirs = explain_partnership(other, row["partnership_id"]).settlement
        assert row["members"] == ours["n_members"]
        assert row["other_payment_cents"] == theirs["payment_cents"]
        assert row["members_who_stay"] <= min(row["members"], row["other_members"])
    same = compare_attribution(run_dir, run_dir)
    assert all(pair["group_id"] == pair["other_group_id"] for pair in same.pairs)


def test_runs_of_other_people_are_not_compared(run_dir: Path, care: Path) -> None:
    with pytest.raises(RunError, match="its population is"):
        compare_attribution(run_dir, care)
