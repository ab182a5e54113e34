"""A run's options are declared once; command line and HTTP have all of them, within its limits."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.cli import app
from api.commands.run import run_command
from api.requests import RunRequest as Body
from ihp_compute.pipeline import RunRequest

OPTIONS = RunRequest.options()
REQUIRED = {"population", "contracts"}
NOT_IN_HTTP = {"device"}
"""The service's own machines decide."""
NOT_OF_A_REQUEST = {
    "out", "runner", "ray_address", "threads", "as_json", "replace_run", "workbook", "plan",
}  # fmt: skip
"""Where and how the command line works, what it prints and writes beside."""
DEFAULTS = RunRequest(Path("state"), ("a",))


def test_the_command_line_has_every_option_with_its_default() -> None:
    parameters = inspect.signature(run_command).parameters
    assert set(parameters) - NOT_OF_A_REQUEST == set(OPTIONS)
    for name in OPTIONS:
        given = parameters[name].default
        if name in {"accept", "statement", "earlier"}:  # repeated; a file
            assert given is None
        elif name in REQUIRED:
            assert given is inspect.Parameter.empty
        else:
            assert given == getattr(DEFAULTS, name), name


def test_a_body_has_every_option_with_its_default() -> None:
    assert set(Body.model_fields) - {"force"} == set(OPTIONS) - NOT_IN_HTTP
    for name in set(OPTIONS) - NOT_IN_HTTP:
        entry = Body.model_fields[name]
        assert entry.is_required() == (name in REQUIRED), name
        if not entry.is_required():
            assert entry.get_default(call_default_factory=True) == getattr(DEFAULTS, name), name


@pytest.mark.parametrize("name", [name for name, option in OPTIONS.items() if option.limits])
def test_a_body_takes_what_an_option_allows_and_no_more(name: str) -> None:
    limits = OPTIONS[name].limits
    least = limits["ge"]
    most = limits["le"] if "le" in limits else limits["lt"] - 1
    body: dict[str, Any] = {"population": "state", "contracts": ["a"]}
    for value in (least, most):
        assert getattr(Body.model_validate({**body, name: value}), name) == value
    for value in (least - 1, most + 1):
        with pytest.raises(ValueError, match=name):
            Body.model_validate({**body, name: value})


def test_a_plan_says_what_a_run_would_take_and_does_nothing(
    small_population: Path, tmp_path: Path
) -> None:
    asked = ["run", str(small_population), "--contracts", "mn-ihp-2.0-track-2", "--threads", "2"]
    said = {}
    for programme in ("none", "standard"):
        done = CliRunner().invoke(app, [*asked, "--programme", programme, "--plan", "--json"])
        assert done.exit_code == 0
        said[programme] = json.loads(done.stdout)
    assert said["none"]["members"] == 2500
    assert said["none"]["lines"] > 100_000
    for name in ("seconds", "warm_seconds", "anonymous_bytes"):
        assert 0 < said["none"][name] < said["standard"][name]
    shown = CliRunner().invoke(app, [*asked, "--plan"])
    assert "2,500 members" in shown.stderr
    assert "GiB of its own" in shown.stderr
    out = tmp_path / "run"
    for wrong in ([], ["--plan", "--out", str(out)], ["--plan", "--runner", "ray"]):
        assert CliRunner().invoke(app, [*asked, *wrong]).exit_code == 2
    assert not out.exists()
