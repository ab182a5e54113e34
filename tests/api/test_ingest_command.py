"""`ihp ingest` on the screen: what was noticed, what stops it, and how that is accepted."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api import cli

Ihp = Callable[..., tuple[int, str, str]]
LINE = {
    "claim_id": "C1", "claim_line_number": "1", "claim_type": "professional", "person_id": "0001",
    "claim_start_date": "2023-03-01", "paid_date": "2023-04-01", "paid_amount": "100.00",
}  # fmt: skip
SPAN = {
    "person_id": "0001", "gender": "female", "birth_date": "1980-05-05",
    "enrollment_start_date": "2023-01-01", "enrollment_end_date": "2023-12-31",
}  # fmt: skip


@pytest.fixture
def ihp(monkeypatch: Any, capsys: Any, tmp_path: Path) -> Ihp:
    """Run `ihp` in an empty folder: exit code, stdout, and what stderr says beside progress."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: Any) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["ihp", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as left:
            code = int(left.code or 0)
        out, err = capsys.readouterr()
        said = [line for line in err.splitlines() if not line.startswith("ingest: ")]
        return code, out, "\n".join(said)

    return call


def _write(folder: Path, **tables: list[dict[str, Any]]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, rows in tables.items():
        with (folder / f"{name}.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return folder


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A line paid, a dozen files of no table, and nothing of drugs."""
    others = {f"notes_{k:02d}": [{"a": "b"}] for k in range(12)}
    return _write(tmp_path / "raw", medical_claim=[LINE], eligibility=[SPAN], **others)


def test_the_text_says_what_was_left_out_and_what_is_missing(ihp: Ihp, raw: Path) -> None:
    code, out, err = ihp("ingest", raw, "--out", "population")
    assert code == 0
    assert "claim table missing or empty" in out
    assert "pharmacy_claim" in out
    assert "notes_09.csv" in out
    assert "notes_10.csv" not in out
    assert "and 2 more" in out
    assert "note: no calendar year is full" in err


def test_what_several_files_hold_is_one_row_on_the_screen(ihp: Ihp, tmp_path: Path) -> None:
    parts = {
        f"medical_claim_{k}": [LINE | {"claim_id": f"C{k}-{j}", "paid_amount": ""} for j in "ab"]
        for k in range(3)
    }
    raw = _write(tmp_path / "raw", eligibility=[SPAN], **parts)
    _, out, _ = ihp("ingest", raw, "--out", "population")
    (row,) = [line for line in out.splitlines() if line.startswith("blank amounts")]
    assert row.split()[-6:] == ["medical_claim", "(3", "files)", "paid_amount", "6", "100.00%"]


def test_json_has_every_finding(ihp: Ihp, raw: Path) -> None:
    code, out, _ = ihp("ingest", raw, "--out", "population", "--json")
    rows = json.loads(out)["data_quality"]
    assert code == 0
    assert sum(row["finding"] == "file_left_out" for row in rows) == 12


@pytest.fixture
def unreadable(tmp_path: Path) -> Path:
    """Two lines, neither of which has an amount that can be read."""
    lines = [LINE | {"paid_amount": "much"}, LINE | {"claim_id": "C2", "paid_amount": "more"}]
    return _write(tmp_path / "raw", medical_claim=lines, eligibility=[SPAN])


def test_a_gate_stops_with_3_shows_what_was_noticed_and_says_how_to_go_on(
    ihp: Ihp, unreadable: Path, tmp_path: Path
) -> None:
    code, out, err = ihp("ingest", unreadable, "--out", "population")
    assert code == 3
    assert "rows that cannot be read" in out
    assert "balanced" not in out + err
    assert "--accept unreadable_rows=REASON" in err
    assert "much" not in out + err
    assert not (tmp_path / "population").exists()


def test_a_refusal_leaves_stdout_empty_with_json(ihp: Ihp, unreadable: Path) -> None:
    code, out, _ = ihp("ingest", unreadable, "--out", "population", "--json")
    assert (code, out) == (3, "")


def test_a_gate_that_is_accepted_is_shown_with_its_reason(ihp: Ihp, unreadable: Path) -> None:
    why = "unreadable_rows=a test=of amounts"
    code, out, err = ihp("ingest", unreadable, "--out", "population", "--accept", why)
    assert code == 0
    assert "accepted" in out
    assert "gate unreadable_rows accepted: a test=of amounts" in err


@pytest.mark.parametrize(
    "option",
    [
        ("--accept", "no_such=why"),
        ("--accept", "unreadable_rows"),
        ("--accept", "unreadable_rows="),
        ("--accept", "thin_month=did not trip"),
        ("--gate", "no_such=1"),
        ("--gate", "thin_month=low"),
        ("--equal-rows", "kept"),
        ("--later-amounts", "kept"),
    ],
)
def test_an_option_that_names_nothing_is_wrong_usage(
    ihp: Ihp, raw: Path, tmp_path: Path, option: tuple[str, str]
) -> None:
    code, _, err = ihp("ingest", raw, "--out", "population", *option)
    assert code == 2
    assert err
    assert not (tmp_path / "population").exists()


def test_a_threshold_and_readings_are_set_by_options(ihp: Ihp, tmp_path: Path) -> None:
    again = LINE | {"paid_date": "2023-05-01", "paid_amount": "60"}
    lines = [LINE, LINE, again, LINE | {"claim_id": "X", "paid_amount": "much"}]
    raw = _write(tmp_path / "raw", medical_claim=lines, eligibility=[SPAN])
    options = ("--equal-rows", "billed", "--later-amounts", "additional", "--json")
    _, out, _ = ihp("ingest", raw, "--out", "population", *options)
    document = json.loads(out)
    assert document["choices"] == {"equal_rows": "billed", "later_amounts": "additional"}
    retained = [row["paid_cents"] for row in document["ledger"] if row["fate"] == "retained"]
    assert sum(retained) == 26_000


def test_control_totals_are_held_against_what_was_read(ihp: Ihp, raw: Path, tmp_path: Path) -> None:
    control = tmp_path / "control.csv"
    control.write_text("table,lines,dollars\nmedical_claim,2,200\n")
    code, _, err = ihp("ingest", raw, "--out", "population", "--control", control)
    assert code == 3
    assert "stated 2 lines and $200.00, read 1 lines and $100.00" in err
    why = ("--accept", "control_totals=the second line is withdrawn")
    code, _, _ = ihp("ingest", raw, "--out", "population", "--control", control, *why)
    assert code == 0


def test_a_claim_is_explained_from_its_population(ihp: Ihp, raw: Path) -> None:
    """On the screen and as a document; a number that is not here is not repeated."""
    assert ihp("ingest", raw, "--out", "population")[0] == 0
    code, out, err = ihp("explain", "population", "--claim", "C1")
    assert code == 0
    assert out.splitlines()[-1].split()[-5:] == [
        "$100.00",
        "retained",
        "medical_claim.csv,",
        "row",
        "1",
    ]
    assert "1 retained" in err
    code, out, _ = ihp("explain", "population", "--claim", "C1", "--json")
    assert [(row["claim_id"], row["paid_cents"]) for row in json.loads(out)["rows"]] == [
        ("C1", 10_000)
    ]
    code, out, err = ihp("explain", "population", "--claim", "SECRET")
    assert (code, out) == (3, "")
    assert "SECRET" not in err
    assert ihp("explain", "population", "--claim", "C1", "--member", "0001")[0] == 2


def test_a_delivery_is_added_and_what_cannot_be_is_refused(
    ihp: Ihp, raw: Path, tmp_path: Path
) -> None:
    """3 where the data is the fault, 2 where the command is; the population stays as it is."""
    assert ihp("ingest", raw, "--out", "before", "--shards", "2")[0] == 0
    line = {**LINE, "claim_id": "C2"}
    _write(tmp_path / "new", medical_claim=[line])
    onto = ("--onto", "before", "--out")
    code, out, _ = ihp("ingest", "new", *onto, "after", "--json")
    document = json.loads(out)
    assert (code, document["tables"]["medical_claim"]["rows_read"]) == (0, 2)
    rows = [row for row in document["ledger"] if row["source_table"] == "medical_claim"]
    assert [(row["file"], row["delivery"], row["lines"]) for row in rows] == [
        ("medical_claim.csv", 1, 1), ("medical_claim.csv", 2, 1),
    ]  # fmt: skip
    code, out, err = ihp("ingest", "new", "--onto", "after", "--out", "third")
    assert (code, out) == (3, "")
    assert "medical_claim.csv is medical_claim.csv (delivery 2)" in err
    assert not (tmp_path / "third").exists()
    assert ihp("ingest", "new", *onto, "third", "--shards", "2")[0] == 2
    assert ihp("ingest", "new", *onto, "before")[0] == 2
    assert ihp("ingest", "new", "--onto", raw, "--out", "third")[0] == 3
    assert ihp("verify", "before")[0] == ihp("verify", "after")[0] == 0


def test_control_totals_are_those_of_the_delivery(ihp: Ihp, raw: Path, tmp_path: Path) -> None:
    assert ihp("ingest", raw, "--out", "before")[0] == 0
    _write(tmp_path / "new", medical_claim=[{**LINE, "claim_id": f"N{k}"} for k in range(3)])
    _write(tmp_path / "stated", control=[{"table": "medical_claim", "lines": "3"}])
    asked = ("--onto", "before", "--control", tmp_path / "stated" / "control.csv")
    assert ihp("ingest", "new", *asked, "--out", "after")[0] == 0
    _write(tmp_path / "stated", control=[{"table": "medical_claim", "lines": "4"}])
    code, _, err = ihp("ingest", "new", *asked, "--out", "after2")
    assert code == 3
    assert "stated 4 lines, read 3 lines" in err
