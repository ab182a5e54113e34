"""What was delivered by month and plan: kept by an ingest, carried by a run, tied to its ledger."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from ihp_compute.ingest.findings import NO_MONTH, Delivered
from ihp_compute.ingest.input_files import InputFile, InputFolder
from ihp_compute.ingest.review import MOST_PLANS, OTHERS, review_of
from ihp_compute.ledger import CLAIM_TABLES
from ihp_compute.population import open_population
from ihp_compute.report import numbers
from ihp_compute.report.data_review import data_review_section
from ihp_compute.report.rows import RowsOf, of_the_state
from ihp_compute.results import TABLES, open_form, result
from ihp_compute.units import month_of

YEARS = (2023, 2024)
Row = dict[str, Any]


def _row(month: str, plan: str, lines: int | None, cents: int | None, **more: Any) -> Row:
    table = {"source_table": "medical_claim", "month": month, "plan": plan}
    return {**table, "lines": lines, "unreadable_lines": 0, "paid_cents": cents, **more}


def _read(lines: int, cents: int) -> Row:
    return {
        "stage": "ingest", "source_table": "medical_claim", "lines": lines, "paid_cents": cents,
    }  # fmt: skip


def test_months_outside_the_years_stand_as_one_and_all_ties_to_what_was_read() -> None:
    rows = [
        _row("2022-11", "A", 5, 500), _row("2022-12", "A", 6, 600), _row("2023-01", "B", 7, 700),
        _row("2024-12", "A", 8, 800), _row("2025-01", "A", 9, 900), _row("", "", 1, 100),
    ]  # fmt: skip
    found = data_review_section(rows, [_read(30, 3_000), _read(6, 600)], YEARS)
    assert found is not None
    assert [month for month, _ in found["months"]] == [
        "earlier", "2023-01", "2024-12", "later", "no date",
    ]  # fmt: skip
    assert found["months"][0][1] == ["11", "$11"]
    assert [(plan, span) for plan, _, span in found["plans"]] == [
        ("A", "2022-11 to 2025-01, 4"), ("B", "2023-01 to 2023-01, 1"),
        ("not stated", numbers.DASH),
    ]  # fmt: skip
    assert found["tied"] is True
    off = data_review_section(rows, [_read(35, 3_500)], YEARS)
    assert off is not None
    assert (off["tied"], off["off"]) == (False, [1, 100])


def test_what_is_held_back_holds_back_its_sums() -> None:
    rows = [_row("2023-01", "A", None, None, unreadable_lines=None), _row("2023-02", "A", 80, 900)]
    found = data_review_section(rows, [_read(84, 950)], YEARS)
    assert found is not None
    assert found["tied"] is None
    assert [words for _, words in found["months"]] == [[numbers.HELD] * 2, ["80", "$9"]]
    assert found["plans"][0][1] == [numbers.HELD] * 2


def test_plans_beyond_the_largest_are_one() -> None:
    delivered = Delivered()
    for n in range(MOST_PLANS + 2):
        for month in (month_of(2023, 1), NO_MONTH):
            cell = (f"P{n:03d}", month)
            delivered.lines[cell], delivered.cents[cell] = 1000 - n, 7
            delivered.readable[cell] = 1000 - n - (month == NO_MONTH)
    file = InputFile("medical_claim", "medical_claim.csv", Path("medical_claim.csv"))
    rows = review_of(InputFolder((file,), ()), {0: delivered}).to_pylist()
    assert len(rows) == 2 * (MOST_PLANS + 1)
    (undated,) = [row for row in rows if (row["plan"], row["month"]) == (OTHERS, "")]
    assert (undated["lines"], undated["unreadable_lines"], undated["paid_cents"]) == (
        2000 - 2 * MOST_PLANS - 1, 2, 14,
    )  # fmt: skip


def test_a_run_carries_what_its_population_was_delivered(
    small_population: Path, shown_run: Path
) -> None:
    population = open_population(small_population)
    kept = population.data_review()
    for table, told in population.manifest["tables"].items():
        of = kept.filter(pc.equal(kept.column("source_table"), table))
        if table in CLAIM_TABLES:
            assert pc.sum(of.column("lines")).as_py() == told["rows_read"]
            assert pc.sum(of.column("paid_cents")).as_py() == told["paid_cents"]
    rows = RowsOf(shown_run)
    assert rows["data_review"] == kept.to_pylist()
    found = data_review_section(rows["data_review"], of_the_state(rows["ledger"]), YEARS)
    assert found is not None
    assert found["tied"] is True


def test_in_the_open_form_no_month_of_few_lines_follows_from_sums(shown_run: Path) -> None:
    whole = result(shown_run, TABLES["data_review"]).to_pylist()
    seen = open_form(shown_run).table("data_review").to_pylist()
    hidden: dict[str, Counter[str]] = {"month": Counter(), "plan": Counter()}
    few = 0
    for row, true in zip(seen, whole, strict=True):
        if 1 <= true["lines"] <= 10:
            few += 1
            assert row["lines"] is row["paid_cents"] is row["unreadable_lines"] is None
        if row["lines"] is None:
            for of, counts in hidden.items():
                counts[f"{row['source_table']} {row[of]}"] += 1
    assert few
    rows_of = {of: Counter(f"{row['source_table']} {row[of]}" for row in whole) for of in hidden}
    for of, counts in hidden.items():
        assert all(n > 1 or rows_of[of][name] == 1 for name, n in counts.items())
