"""`--suppress` on the command line: with it what everybody may see, without it all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from api.cli import app
from ihp_compute.errors import DataError
from ihp_compute.report import write_report
from ihp_compute.results import TABLES, has_open_form, open_form, summarise, was_shown
from ihp_compute.sweeps import verify_sweep


def _said(*arguments: Any) -> Any:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("spelling", ["--suppress", "--suppressed"])
def test_tables_are_those_of_the_open_form(shown_run: Path, tmp_path: Path, spelling: str) -> None:
    said = _said("tables", shown_run, spelling, "--out", tmp_path / "shown", "--json")
    assert said["suppressed"] is True
    assert set(said["rows"]) == {name for name, one in TABLES.items() if has_open_form(one)}
    form = open_form(shown_run)
    for name in ("outcomes", "settlement", "utilisation"):
        written = pq.read_table(tmp_path / "shown" / f"{name}.parquet")
        assert written.to_pylist() == form.table(name).to_pylist()
        assert said["hidden"][name]


def test_tables_are_whole_unless_asked_for_otherwise(small_run: Path, tmp_path: Path) -> None:
    said = _said("tables", small_run, "--out", tmp_path / "whole", "--json")
    assert said["suppressed"] is False
    assert set(said["rows"]) == set(TABLES)
    assert not any(said["hidden"].values())
    for name in TABLES:
        stored, written = (
            pq.read_table(at / f"{name}.parquet") for at in (small_run, tmp_path / "whole")
        )
        assert written.equals(stored), name


def test_a_report_is_whole_unless_it_is_asked_for_the_open_form(
    small_run: Path, shown_run: Path, tmp_path: Path
) -> None:
    _said("report", small_run, "--html", tmp_path / "whole.html", "--json")
    _said("report", shown_run, "--html", tmp_path / "shown.html", "--suppress", "--json")
    whole, seen = ((tmp_path / f"{name}.html").read_bytes() for name in ("whole", "shown"))
    form = write_report(shown_run, tmp_path / "form.html", form=open_form(shown_run))
    assert seen == form.read_bytes()
    assert whole == write_report(small_run, tmp_path / "made.html").read_bytes()
    assert b"<strong>Whole.</strong>" in whole
    assert b"<strong>Whole.</strong>" not in seen


def test_rows_of_a_sweep_are_null_where_its_run_hides_the_partnership(
    small_run: Path, shown_run: Path, tmp_path: Path
) -> None:
    grid = tmp_path / "grid.toml"
    grid.write_text('[axes]\n"settlement.gain.share" = [0.4]\n', encoding="utf-8")
    nulls: list[int] = []
    for folder, more in ((small_run, ()), (shown_run, ("--suppress",))):
        out = tmp_path / f"{len(nulls)}.parquet"
        said = _said("sweep", folder, "--grid", grid, "--out", out, "--json", *more)
        nulls.append(pq.read_table(out).column("payment_cents").null_count)
        held = json.loads(pq.read_schema(out).metadata[b"ihp_sweep"])
        # by a digest of whole rows a guess of those that are hidden could be tried
        assert ("digest" in said, "digest" in held) == (not more, not more)
    with pytest.raises(DataError, match="the open form of a sweep, which has no digest"):
        verify_sweep(out)
    hidden = open_form(shown_run).table("settlement").column("payment_cents").null_count
    assert nulls == [0, hidden]
    assert hidden > 0


def test_a_summary_shows_all_unless_it_is_asked_for_the_open_form(
    small_run: Path, shown_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = sum(
        row["n_members"] for row in pq.read_table(small_run / "settlement.parquet").to_pylist()
    )
    monkeypatch.setattr("ihp_compute.results.summary.is_small", lambda n: n == people)
    whole = _said("summary", small_run, "--json")
    assert whole == json.loads(json.dumps(summarise([small_run]).document()))
    assert whole["suppressed"] is False
    assert whole["figures"][0]["value"] == people
    seen = _said("summary", shown_run, "--suppress", "--json")
    assert seen["suppressed"] is True
    assert seen["figures"][0]["value"] is None


def test_what_is_hidden_is_not_fixed_by_a_whole_look(small_run: Path, tmp_path: Path) -> None:
    _said("summary", small_run, "--json")
    _said("report", small_run, "--html", tmp_path / "page.html", "--json")
    assert not was_shown(small_run)


@pytest.mark.parametrize(
    "command",
    [
        ("tables", "--out", "folder"),
        ("report", "--html", "page.html"),
        ("sweep", "--grid", "grid.toml", "--out", "rows.csv"),
        ("summary",),
    ],
)
def test_runs_shown_before_go_with_the_open_form(small_run: Path, command: tuple[str, ...]) -> None:
    name, *options = command
    done = CliRunner().invoke(app, [name, str(small_run), *options, "--shown", str(small_run)])
    assert done.exit_code == 2
    assert "goes with --suppress" in done.output
