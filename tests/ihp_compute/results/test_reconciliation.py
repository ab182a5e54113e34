"""The ledger of a run held to its settlement."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ihp_compute.pipeline import RunRequest, run
from ihp_compute.results import open_form, reconcile


@pytest.fixture(scope="module")
def finished(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reconciled") / "run"
    request = RunRequest(small_population, ("mn-ihp-2.0-track-1",), replicates=0, programme="none")
    return run(request, folder).run_dir


def test_every_dollar_retained_is_settled_or_has_its_reason(finished: Path) -> None:
    found = reconcile(finished)
    assert found.balanced
    lines = {line.line: line.cents for line in found.lines}
    assert None not in lines.values()
    less = sum(cents or 0 for name, cents in lines.items() if name.startswith("less_"))
    assert (lines["retained"] or 0) + less == lines["counted"]
    rules = ("counted", "amount_rule", "above_cap", "floored", "completed_by_run")
    assert sum(lines[name] or 0 for name in rules) == lines["cost"]
    assert (lines["above_cap"] or 0) < 0
    settled = pq.read_table(finished / "settlement.parquet")
    for name in ("observed", "target", "savings", "payment"):
        assert lines[name] == pc.sum(settled.column(f"{name}_cents")).as_py()


@pytest.mark.parametrize(
    ("table", "column", "of", "check"),
    [
        ("ledger", "paid_cents", ("fate", "counted"), "has one fate"),
        ("ledger", "lines", ("fate", "not_attributed"), "has one fate"),
        ("cells", "paid_cents", ("partnership_id", "IHP-01"), "settlements rest on"),
        ("cells", "cost_cents", ("partnership_id", "IHP-01"), "what is observed"),
        ("settlement", "observed_cents", ("partnership_id", "IHP-01"), "is savings"),
        ("settlement", "payment_cents", ("partnership_id", "IHP-01"), "lead to the payments"),
    ],
)
def test_a_cent_or_a_line_more_in_one_table_is_found(
    finished: Path, tmp_path: Path, table: str, column: str, of: tuple[str, str], check: str
) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    path = folder / f"{table}.parquet"
    whole = pq.read_table(path)
    rows = whole.to_pylist()
    last = [row for row in rows if row[of[0]] == of[1]][-1]
    last[column] += 1
    pq.write_table(type(whole).from_pylist(rows, schema=whole.schema), path)
    found = reconcile(folder)
    assert not found.balanced
    assert any(check in one.what for one in found.checks if not one.balanced)


def test_each_partnership_ties_from_what_is_counted_to_what_is_observed(finished: Path) -> None:
    found = reconcile(finished)
    settled = pq.read_table(finished / "settlement.parquet").to_pylist()
    assert len(found.years) == 2 * len(settled)
    now = {one.partnership_id: one for one in found.years if one.observed_cents is not None}
    for row in settled:
        one = now[row["partnership_id"]]
        assert one.observed_cents == one.cost_cents == row["observed_cents"]
        assert one.cost_cents == sum(
            (one.counted_cents or 0, -(one.above_cap_cents or 0), one.floored_cents or 0)
        )
    assert not any(one.off_cents for one in found.years)
    assert [(total.name, total.off_cents) for total in found.totals] == [
        ("counted", 0), ("above_cap", 0), ("floored", 0), ("cost", 0),
    ]  # fmt: skip


def test_the_open_form_holds_back_sums_and_balances_all_the_same(finished: Path) -> None:
    whole = {line.line: line.cents for line in reconcile(finished).lines}
    found = reconcile(finished, open_form(finished))
    assert found.balanced
    shown = {line.line: line.cents for line in found.lines}
    assert all(cents in (None, whole[name]) for name, cents in shown.items())
    assert shown["payment"] is None  # partnerships of few people settle here
