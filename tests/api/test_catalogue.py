"""What `ihp` says of itself: at once, of every command that there is, with calls that are right."""

from __future__ import annotations

import pkgutil
import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
import typer

from api import commands
from api.catalogue import COMMANDS, EXAMPLES, load
from api.console import app
from ihp_compute import METHOD_VERSION, __version__
from tests.api.conftest import Ihp

HEAVY = {"numpy", "pyarrow", "numba", "fastapi", "ray"}


def _group() -> Any:
    for module in pkgutil.iter_modules(commands.__path__):
        load(module.name)
    return typer.main.get_group(app)


def _calls() -> list[list[str]]:
    listed = {name: entry.examples for name, entry in COMMANDS.items()} | EXAMPLES
    return [[*path.split(), *shlex.split(e)] for path, examples in listed.items() for e in examples]


@pytest.mark.parametrize("asked", ["--help", "--version"])
def test_what_it_is_is_told_without_a_library_for_arrays(asked: str) -> None:
    say = f"""
import sys
from api import cli
sys.argv = ["ihp", {asked!r}]
try:
    cli.main()
finally:
    sys.stderr.write(" ".join({HEAVY} & set(sys.modules)))
"""
    said = subprocess.run([sys.executable, "-c", say], capture_output=True, text=True, check=True)
    assert said.stderr == ""
    assert ("calibrate" in said.stdout) == (asked == "--help")


def test_the_version_is_that_of_program_and_method(ihp: Ihp) -> None:
    assert ihp("--version")[:2] == (0, f"ihp {__version__}, method version {METHOD_VERSION}\n")


def test_every_command_is_listed_with_its_module() -> None:
    found = _group().commands
    assert set(found) == set(COMMANDS)
    for name, entry in COMMANDS.items():
        inner = getattr(found[name], "commands", {"": found[name]})
        for command in inner.values():
            assert command.callback.__module__ == f"api.commands.{entry.module}", name


@pytest.mark.parametrize("call", _calls(), ids=" ".join)
def test_an_example_is_a_call_that_its_command_takes(call: list[str], ihp: Ihp) -> None:
    name, *rest = call
    command = _group().commands[name]
    if name in {path.split()[0] for path in EXAMPLES}:
        name, *rest = rest
        command = command.commands[name]
    command.make_context(name, rest)
    path = call[: 1 + (command.name != call[0])]
    code, shown, _ = ihp(*path, "--help")
    assert code == 0
    assert f"ihp {' '.join(call)}" in re.sub("['\"]", "", shown)


def test_every_command_has_an_example() -> None:
    for name, command in _group().commands.items():
        assert COMMANDS[name].examples
        inner = {f"{name} {one}" for one in getattr(command, "commands", {})}
        assert inner <= set(EXAMPLES)


def test_a_shell_completes_names(monkeypatch: pytest.MonkeyPatch, ihp: Ihp) -> None:
    monkeypatch.setenv("_IHP_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "ihp sw")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert ihp()[1].split() == ["sweep"]
