"""The tree is what ARCHITECTURE.md says: our packages, no attic names, examples that run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("kernels", "ihp_compute", "cluster", "api")
FORBIDDEN_STEMS = {"utils", "helpers", "common", "base", "manager", "misc"}


def _modules() -> list[str]:
    return sorted(
        module.name
        for package in PACKAGES
        for module in pkgutil.walk_packages([str(ROOT / package)], prefix=f"{package}.")
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_the_packages_are_ours(package: str) -> None:
    """Top-level names are generic; another distribution must not stand in for ours."""
    module = importlib.import_module(package)
    assert Path(str(module.__file__)).is_relative_to(ROOT)


def test_no_module_is_an_attic() -> None:
    assert not [name for name in _modules() if name.rsplit(".", 1)[-1] in FORBIDDEN_STEMS]


@pytest.mark.parametrize(
    "name", [name for name in _modules() if name.startswith(("ihp_compute.", "kernels."))]
)
def test_examples_in_docstrings_hold(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


def test_the_readme_s_example_holds() -> None:
    found = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert (found.failed, found.attempted > 3) == (0, True)


def test_requirements_pin_hashes_and_name_no_host() -> None:
    for path in (ROOT / "requirements").iterdir():
        text = path.read_text(encoding="utf-8")
        assert ("--hash=sha256:" in text) == (path.suffix == ".txt")
        assert not re.search(r"https?://|--index|--find-links", text)


@pytest.mark.parametrize("name", ["numba", "numpy", "pyarrow", "scipy"])
def test_every_interpreter_computes_with_the_same_version(name: str) -> None:
    pins = (ROOT / "requirements" / "all.txt").read_text(encoding="utf-8")
    assert len(re.findall(rf"^{name}==", pins, re.MULTILINE)) == 1


def test_packages_are_listed_for_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(project["tool"]["setuptools"]["packages"])
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for package in PACKAGES
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert found <= listed
