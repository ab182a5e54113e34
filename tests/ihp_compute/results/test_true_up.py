from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ihp_compute.errors import RunError
from ihp_compute.results.true_up import true_up


def run(
    folder: Path, payments: dict[str, int], *, contract: str = "agreed", **manifest: Any
) -> Path:
    folder.mkdir()
    (folder / "manifest.json").write_text(
        json.dumps(
            {
                "kind": "run", "performance_year": 2023, "base_year": 2021,
                "paid_through": "2024-06-30", "contracts": [], "risk_model": {},
                "method_version": "1", "digest": folder.name, **manifest,
            }
        )
    )  # fmt: skip
    table = pa.table(
        {
            "partnership_id": pa.array(payments, pa.string()),
            "contract": pa.array([contract] * len(payments), pa.string()),
            "payment_cents": pa.array(payments.values(), pa.int64()),
        }
    )
    pq.write_table(table, folder / "settlement.parquet")
    return folder


def test_the_final_settlement_moves_the_difference(tmp_path: Path) -> None:
    interim = run(tmp_path / "interim", {"A": 500, "B": -100})
    final = run(tmp_path / "final", {"A": 450, "C": 20}, paid_through="2024-12-31")
    found = true_up(final, interim)
    assert found.moved_cents == {"A": -50, "B": 100, "C": 20}
    assert (found.interim_through, found.final_through) == (date(2024, 6, 30), date(2024, 12, 31))
    assert found.differs == ()


def test_a_settlement_names_what_it_nets(tmp_path: Path) -> None:
    """Paid 500, then 80 taken back, then 30 more: three movements, 450 in all."""
    first = run(tmp_path / "first", {"A": 500}, paid_through="2024-03-31")
    second = run(
        tmp_path / "second", {"A": 420}, paid_through="2024-06-30",
        completion={"status": "INTERIM"},
    )  # fmt: skip
    final = run(tmp_path / "final", {"A": 450}, paid_through="2024-12-31")
    found = true_up(final, second, first)
    assert [(one.run, one.digest, one.status, one.moved_cents) for one in found.nets] == [
        ("first", "first", "not stated", {"A": 500}),
        ("second", "second", "INTERIM", {"A": -80}),
    ]
    assert found.moved_cents == {"A": 30}
    assert found.interim_cents == {"A": 420}


def test_a_settlement_is_not_netted_twice(tmp_path: Path) -> None:
    interim = run(tmp_path / "interim", {"A": 500})
    again = run(tmp_path / "again", {"A": 500}, digest="interim")
    final = run(tmp_path / "final", {"A": 450}, paid_through="2024-12-31")
    for earlier in ((interim, interim), (interim, again), (final,)):
        with pytest.raises(RunError, match="expected each settlement once"):
            true_up(final, *earlier)


def test_other_differences_than_claims_are_named(tmp_path: Path) -> None:
    interim = run(tmp_path / "interim", {})
    final = run(tmp_path / "final", {}, contracts=["another"], method_version="2")
    assert true_up(final, interim).differs == ("contracts", "method_version")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"performance_year": 2024}, "performance_year 2024 and 2023 differ"),
        ({"paid_through": "2024-01-31"}, "expected the interim run to be the earlier one"),
        ({"kind": "population"}, "found a population, expected a finished run"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    interim = run(tmp_path / "interim", {})
    final = run(tmp_path / "final", {}, **change)
    with pytest.raises(RunError, match=message):
        true_up(final, interim)


def test_another_contract_or_programme_is_not_netted(tmp_path: Path) -> None:
    """Names bind, not values: terms of one contract may be amended, and then differ."""
    final = run(tmp_path / "final", {"A": 450, "B": 5}, paid_through="2024-12-31")
    with pytest.raises(RunError, match="A has contract agreed and another, expected the same"):
        true_up(final, run(tmp_path / "other", {"A": 1}, contract="another"))
    assert true_up(final, run(tmp_path / "left", {"C": 1}, contract="another")).moved_cents == {
        "A": 450, "B": 5, "C": -1,
    }  # fmt: skip
    interim = run(tmp_path / "interim", {"A": 500})
    for folder, programme in ((final, "one programme"), (interim, "another")):
        kept = {"contracts": {"x": {"programme": programme}}, "partnerships": {"A": "x"}}
        (folder / "contracts.json").write_text(json.dumps(kept))
    with pytest.raises(RunError, match="A has programme one programme and another"):
        true_up(final, interim)
    (interim / "contracts.json").write_text("{}")
    with pytest.raises(RunError, match=r"contracts.json: cannot be read back \(KeyError\)"):
        true_up(final, interim)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="expected a finished run"):
        true_up(tmp_path, tmp_path)
