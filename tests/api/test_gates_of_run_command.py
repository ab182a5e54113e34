"""`ihp run --accept`: what stops a run, and what of it somebody lets pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from api.cli import app
from api.console import exit_code
from ihp_compute.errors import IhpError

LOWERED_CAP = """
name = "ours"
title = "A cap that is lowered between base and performance year"
programme = "test"
extends = "mn-ihp-2.0-track-2"
[sources.own]
title = "own"
[cost.claim_cap]
unit = "USD per member per year"
basis = "contract"
source = { doc = "own", at = "p. 1" }
values = [
  { value = 100000, from = 2013-01-01, until = 2023-12-31 },
  { value = 50000, from = 2024-01-01 },
]
"""


@pytest.fixture
def arguments(small_population: Path, tmp_path: Path) -> list[str]:
    terms = tmp_path / "ours.toml"
    terms.write_text(LOWERED_CAP, encoding="utf-8")
    out = tmp_path / "run"
    return ["run", str(small_population), "--contracts", str(terms), "--out", str(out),
            "--replicates", "0"]  # fmt: skip


def _code(done: Result) -> int:
    return exit_code(done.exception) if isinstance(done.exception, IhpError) else done.exit_code


def test_terms_that_differ_between_the_years_stop_a_run_with_3(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert _code(done) == 3
    assert "--accept inconsistent=REASON" in str(done.exception)
    assert not Path(arguments[5]).exists()


def test_they_pass_with_a_reason_which_is_said_and_kept(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, [*arguments, "--accept", "inconsistent=amendment 2"])
    assert done.exit_code == 0
    assert "gate inconsistent accepted: " in done.stderr
    assert "reason: amendment 2" in done.stderr
    manifest = json.loads((Path(arguments[5]) / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["accept"] == {"inconsistent": "amendment 2"}


@pytest.mark.parametrize(
    "option", ["no_such=why", "thin_month=why", "inconsistent", "inconsistent=", "=why"]
)
def test_an_acceptance_that_names_nothing_is_wrong_usage(arguments: list[str], option: str) -> None:
    assert _code(CliRunner().invoke(app, [*arguments, "--accept", option])) == 2
    assert not Path(arguments[5]).exists()


def test_accepting_what_does_not_trip_is_wrong_usage(arguments: list[str]) -> None:
    arguments[3] = "mn-ihp-2.0-track-2"
    done = CliRunner().invoke(app, [*arguments, "--accept", "inconsistent=why"])
    assert _code(done) == 2
    assert not Path(arguments[5]).exists()
