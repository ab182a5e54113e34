"""A run's options are declared once; command line and HTTP have all of them, within its limits."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from api.commands.data import run_command
from api.runs import RunRequest as Body
from ihp_compute.pipeline import RunRequest

OPTIONS = RunRequest.options()
REQUIRED = {"population", "contracts"}
NOT_IN_HTTP = {"device"}
"""The service's own machines decide."""
NOT_OF_A_REQUEST = {
    "out", "further", "runner", "ray_address", "threads", "as_json", "replace_run",
}  # fmt: skip
"""Where and how the command line works, what it prints, further contracts."""
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
    assert set(Body.model_fields) == set(OPTIONS) - NOT_IN_HTTP
    for name, entry in Body.model_fields.items():
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
