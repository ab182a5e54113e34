"""A year opened again: a run nets what earlier ones paid, and says so everywhere."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ihp_compute.errors import RunError
from ihp_compute.pipeline import Outcome, RunRequest, run
from ihp_compute.results import true_up, verify_run
from ihp_compute.runner import LocalRunner

CONTRACT = "mn-ihp-2.0-track-2"
EARLY = date(2024, 12, 31)


@pytest.fixture(scope="module")
def request_of(small_population: Path) -> RunRequest:
    return RunRequest(small_population, (CONTRACT,), replicates=0, programme="none")


@pytest.fixture(scope="module")
def interim(request_of: RunRequest, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    asked = replace(request_of, paid_through=EARLY)
    return run(asked, tmp_path_factory.mktemp("first") / "interim", LocalRunner(1))


@pytest.fixture(scope="module")
def final(
    request_of: RunRequest, interim: Outcome, tmp_path_factory: pytest.TempPathFactory
) -> Outcome:
    asked = replace(request_of, earlier=(interim.run_dir,))
    return run(asked, tmp_path_factory.mktemp("last") / "final", LocalRunner(1))


def test_a_run_moves_what_earlier_ones_have_not_paid(interim: Outcome, final: Outcome) -> None:
    """The table's last row of a partnership is its own payment less that paid before."""
    paid = {row["partnership_id"]: row["payment_cents"] for row in interim.settlement}
    now = {row["partnership_id"]: row["payment_cents"] for row in final.settlement}
    assert paid != now
    rows = pq.read_table(final.run_dir / "netted.parquet").to_pylist()
    assert [row["position"] for row in rows] == [0, 1] * 25
    for first, last in zip(rows[::2], rows[1::2], strict=True):
        name = first["partnership_id"]
        assert first["run_digest"] == interim.digest
        assert first["payment_cents"] == first["moved_cents"] == paid[name]
        assert last["run_digest"] == ""
        assert last["payment_cents"] == now[name]
        assert last["moved_cents"] == now[name] - paid[name]
    assert true_up(final.run_dir, interim.run_dir).moved_cents == {
        row["partnership_id"]: row["moved_cents"] for row in rows[1::2]
    }


def test_line_manifest_and_report_name_what_is_netted(interim: Outcome, final: Outcome) -> None:
    manifest = json.loads((final.run_dir / "manifest.json").read_text())
    (named,) = manifest["earlier_settlements"]
    assert named == {
        "run": "interim", "digest": interim.digest, "paid_through": str(EARLY),
        "status": json.loads((interim.run_dir / "manifest.json").read_text())["completion"][
            "status"
        ],
    }  # fmt: skip
    assert manifest["terms"]["nets"] == [interim.digest]
    (line,) = (text for text in final.headlines if text.startswith("nets "))
    assert interim.digest[:16] in line
    page = (final.run_dir / "report.html").read_text()
    assert 'id="netted"' in page
    assert interim.digest[:12] in page
    assert 'id="netted"' not in (interim.run_dir / "report.html").read_text()
    assert verify_run(final.run_dir) == final.digest


def test_a_changed_movement_is_found(final: Outcome, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(final.run_dir, tmp_path / "copy"))
    table = pq.read_table(copy / "netted.parquet")
    moved = [cents + 1 for cents in table.column("moved_cents").to_pylist()]
    at = table.schema.get_field_index("moved_cents")
    changed = table.set_column(at, table.schema.field(at), [pa.array(moved, pa.int64())])
    pq.write_table(changed, copy / "netted.parquet")
    with pytest.raises(RunError, match="netted: another digest"):
        verify_run(copy)


def test_what_is_netted_takes_part_in_the_digest_and_moves_no_settlement(
    request_of: RunRequest, final: Outcome, tmp_path: Path
) -> None:
    alone = run(request_of, tmp_path / "alone", LocalRunner(1))
    assert alone.digest != final.digest
    assert alone.settlement == final.settlement
    assert alone.netted == ()


def test_a_run_of_other_earlier_ones_does_not_take_a_place_unasked(
    request_of: RunRequest, final: Outcome
) -> None:
    with pytest.raises(RunError, match="of another nets; choose another --out"):
        run(request_of, final.run_dir, LocalRunner(1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"performance_year": 2021}, "performance_year 2024 and 2021 differ"),
        ({"base_year": 2020}, r"base_year \d+ and 2020 differ"),
        ({"paid_through": "2030-01-01"}, "claims paid through 2030-01-01, after the"),
    ],
)
def test_a_run_refuses_what_it_may_not_net(
    request_of: RunRequest,
    interim: Outcome,
    tmp_path: Path,
    changes: dict[str, Any],
    message: str,
) -> None:
    other = tmp_path / "other"
    shutil.copytree(interim.run_dir, other)
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps({**manifest, **changes}))
    with pytest.raises(RunError, match=message):
        run(replace(request_of, earlier=(other,)), tmp_path / "out", LocalRunner(1))
    assert not (tmp_path / "out").exists()


def test_a_run_of_another_contract_is_not_netted(
    request_of: RunRequest, interim: Outcome, tmp_path: Path
) -> None:
    asked = replace(request_of, contracts=("mn-ihp-1.0",), earlier=(interim.run_dir,))
    with pytest.raises(RunError, match=f"has contract mn-ihp-1.0 and {CONTRACT}"):
        run(asked, tmp_path / "out", LocalRunner(1))


def test_one_run_is_not_netted_twice(
    request_of: RunRequest, interim: Outcome, tmp_path: Path
) -> None:
    asked = replace(request_of, earlier=(interim.run_dir, interim.run_dir))
    with pytest.raises(RunError, match="expected each settlement once"):
        run(asked, tmp_path / "out", LocalRunner(1))
