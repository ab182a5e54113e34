"""A year beside those of the run is measured as a run of that year measures it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.runner import LocalRunner

SET = """
[set]
name = "years"
[default]
contract = "northwest-metro-alliance"
[default.overrides]
"attribution.roster_rule" = "own_year"
"""
PROGRAMME = """
name    = "all-years"
title   = "Every pair of years"
extends = "standard"
[comparison.years]
value  = "all"
unit   = "choice"
from   = 2000-01-01
basis  = "assumed"
source = { doc = "practice", at = "Trends" }
"""
YEARS = (2023, 2024, 2025)
Row = dict[str, Any]


def later(day: date | None) -> date | None:
    """The same day a year on; of 29 February, the 28th."""
    if day is None:
        return None
    return date(day.year + 1, day.month, min(day.day, 28) if day.month == 2 else day.day)


def copies(row: Row, of: str) -> list[Row]:
    """A claim; one of 2024 in 2025 too, under another number; none that is of 2025 already."""
    year = row[of].year if row[of] else 0
    if year > 2024:
        return []
    if year < 2024:
        return [row]
    moved = {name: later(v) if isinstance(v, date) else v for name, v in row.items()}
    return [row, moved | {"claim_id": f"{row['claim_id']}-25"}]


@pytest.fixture(scope="module")
def population(raw_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small state with 2024 lived through once more."""
    folder = tmp_path_factory.mktemp("years")
    raw = folder / "raw"
    raw.mkdir()

    def write(name: str, rows: list[Row], schema: pa.Schema) -> None:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), raw / f"{name}.parquet")

    def table(name: str) -> pa.Table:
        path = raw_state / name
        return pq.read_table(path if path.is_dir() else raw_state / f"{name}.parquet")

    for name, of in (("medical_claim", "claim_start_date"), ("pharmacy_claim", "dispensing_date")):
        (raw / name).mkdir()
        for path in sorted((raw_state / name).iterdir()):
            found = pq.read_table(path)
            if found.schema.field(of).type != pa.date32():  # rows that cannot be read: as they are
                (raw / name / path.name).symlink_to(path)
                continue
            rows = [copy for row in found.to_pylist() for copy in copies(row, of)]
            pq.write_table(pa.Table.from_pylist(rows, schema=found.schema), raw / name / path.name)
    for name, of in (("eligibility", "enrollment_end_date"), ("member_factors", "end_date")):
        found = table(name)
        rows = [
            row | {of: date(2026, 6, 30)} if row[of] and row[of] >= date(2025, 1, 31) else row
            for row in found.to_pylist()
        ]
        write(name, rows, found.schema)
    scores = table("risk_score")
    rows = scores.to_pylist()
    again = [row | {"year": type(row["year"])(2025)} for row in rows if str(row["year"]) == "2024"]
    write("risk_score", rows + again, scores.schema)
    for name in ("provider_roster", "region"):
        write(name, table(name).to_pylist(), table(name).schema)
    ingest(raw, folder / "population", shards=3)
    return folder / "population"


def trends(folder: Path, table: str, name: str) -> dict[tuple[str, ...], Row]:
    """Rows of the last pair of years by whose they are."""
    found = {}
    for row in pq.read_table(folder / f"{table}.parquet").to_pylist():
        key = {k: str(v) for k, v in row.items() if k in KEYS}
        if "2024-2025" in row.get("item", "") or row.get("from_year") == YEARS[1]:
            found[tuple(key.values())] = row
    assert found, name
    return found


KEYS = (
    "scope", "scope_id", "partnership_id", "comparator", "measure", "item", "method", "level",
)  # fmt: skip


def test_a_further_year_is_what_a_run_of_it_measures(population: Path, tmp_path: Path) -> None:
    (tmp_path / "set.toml").write_text(SET, encoding="utf-8")
    (tmp_path / "all.toml").write_text(PROGRAMME, encoding="utf-8")

    def made(base: int, performance: int, programme: str) -> Path:
        request = RunRequest(
            population, (str(tmp_path / "set.toml"),), performance_year=performance,
            base_year=base, replicates=20, seed=2, programme=programme,
        )  # fmt: skip
        return run(request, tmp_path / f"{base}", LocalRunner(1)).run_dir

    whole = made(2023, 2024, str(tmp_path / "all.toml"))
    pairs: Mapping[tuple[int, int], int] = {
        (row["from_year"], row["to_year"]): 1
        for row in pq.read_table(whole / "comparison.parquet").to_pylist()
    }
    assert set(pairs) == {(2023, 2024), (2023, 2025), (2024, 2025)}
    own = made(2024, 2025, "standard")
    for table in ("comparison", "intervals"):
        further, expected = (trends(folder, table, table) for folder in (whole, own))
        assert len(further) > 30
        assert set(further) <= set(expected)
        for key, row in further.items():
            assert row == expected[key]
        few = set(expected) - set(further)
        assert all("IHP" in " ".join(key) for key in few)  # of few people: no row of a further year


def test_whoever_has_claims_measured_another_way_is_compared_over_all_years_and_regions(
    population: Path, tmp_path: Path
) -> None:
    """By that way's own rules: as where every contract has them."""
    (tmp_path / "all.toml").write_text(PROGRAMME, encoding="utf-8")
    given = '"completion.method" = "given"\n"observed.completion" = 0.9\n'
    texts = {
        "mixed": f'{SET}"completion.method" = "equal_runout"\n'
        f"[partnerships.IHP-02.overrides]\n{given}",
        "given": SET + given,
    }
    found = {}
    for name, text in texts.items():
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
        request = RunRequest(
            population, (str(tmp_path / f"{name}.toml"),), performance_year=2024, base_year=2023,
            replicates=20, seed=2, programme=str(tmp_path / "all.toml"),
        )  # fmt: skip
        folder = run(request, tmp_path / name, LocalRunner(1)).run_dir
        found[name] = {
            table: [
                row
                for row in pq.read_table(folder / f"{table}.parquet").to_pylist()
                if row.get("scope_id", row.get("partnership_id")) == "IHP-02"
                and row.get("measure", "") in ("", "growth_difference", "difference_cents")
            ]
            for table in ("comparison", "intervals")
        }
    mixed = found["mixed"]["comparison"]
    assert {(row["from_year"], row["to_year"]) for row in mixed} == {
        (2023, 2024), (2023, 2025), (2024, 2025)
    }  # fmt: skip
    comparators = {row["comparator"] for row in mixed}
    assert {"comparison", "others"} < comparators
    assert any(name.startswith("region:") for name in comparators)
    assert found["mixed"] == found["given"]
