"""The tree is what ARCHITECTURE.md says: our packages, no attic names, examples that run."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("kernels", "ihp_compute", "cluster", "api")
FORBIDDEN_STEMS = {"utils", "helpers", "common", "base", "manager", "misc"}


@cache
def _modules() -> tuple[str, ...]:
    found = sorted(
        module.name
        for package in PACKAGES
        for module in pkgutil.walk_packages([str(ROOT / package)], prefix=f"{package}.")
    )
    return tuple(found)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("package", PACKAGES)
def test_the_packages_are_ours(package: str) -> None:
    """Top-level names are generic; another distribution must not stand in for ours."""
    module = importlib.import_module(package)
    assert Path(str(module.__file__)).is_relative_to(ROOT)


def test_no_module_is_an_attic() -> None:
    assert not [name for name in _modules() if name.rsplit(".", 1)[-1] in FORBIDDEN_STEMS]


def _names() -> set[str]:
    """What can be meant by a name: modules, and what stands in them outside of functions."""
    found = {part for name in _modules() for part in name.split(".")}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(_tree(path)):
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    found.add(node.name)
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    found.add(node.id)
    return found


def test_a_module_leaves_things_to_others_that_exist() -> None:
    """Who is named in "Not here" or "Leaves to others" is found under that name."""
    known = _names()
    astray = []
    for name in _modules():
        path = ROOT / name.replace(".", "/")
        face = path / "__init__.py"
        source = face if face.is_file() else path.with_suffix(".py")
        text = ast.get_docstring(_tree(source)) or ""
        for said in re.findall(r"(?:Not here|Leaves to others):(.*?)(?:\n\n|\Z)", text, re.DOTALL):
            meant = re.findall(r"`([a-z_.]+)`", said)
            astray += [(name, who) for who in meant if not set(who.split(".")) <= known]
    assert not astray


@pytest.mark.parametrize(
    "name", [name for name in _modules() if name.startswith(("ihp_compute.", "kernels."))]
)
def test_examples_in_docstrings_hold(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


def test_the_readme_s_example_holds() -> None:
    found = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert (found.failed, found.attempted > 3) == (0, True)


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"])
def test_pages_name_files_that_exist(page: str) -> None:
    """A path of ours in a page for developers is one that can be opened."""
    text = (ROOT / page).read_text(encoding="utf-8")
    folders = "|".join((*PACKAGES, "tests", "benchmarks", "requirements"))
    named = set(re.findall(rf"[`(]((?:{folders})/[^\s`)]*)[`)]", text))
    assert named
    assert not [path for path in named if not any(ROOT.glob(path))]


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
    assert listed == found


FACES = [
    name
    for name in _modules()
    if name.startswith("ihp_compute.") and (ROOT / name.replace(".", "/") / "__init__.py").is_file()
]


def _imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of what a file takes of ours: imported by name, or `face.name`."""
    faces = {}
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES:
            for name in node.names:
                if f"{node.module}.{name.name}" in FACES:
                    faces[name.asname or name.name] = f"{node.module}.{name.name}"
                else:
                    yield str(node.module), name.name
    for node in ast.walk(_tree(path)):
        match node:
            case ast.Attribute(value=ast.Name(id=of), attr=attribute) if of in faces:
                yield faces[of], attribute


@cache
def _used_through_faces() -> frozenset[tuple[str, str, str]]:
    """(importing file, face, name) of each import that crosses the wall of a package."""
    found = set()
    for package in ("ihp_compute", "cluster", "api"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            me = ".".join(parts).removesuffix(".__init__")
            for module, name in _imports(path):
                for face in FACES:
                    inside = me == face or me.startswith(face + ".")
                    if not inside and (module == face or module.startswith(face + ".")):
                        found.add((str(path.relative_to(ROOT)), module, name))
                        break
    return frozenset(found)


def test_packages_are_entered_by_their_faces() -> None:
    """What stands inside a package is its own business; others import from its face."""
    around = sorted(use for use in _used_through_faces() if use[1] not in FACES)
    assert not around


@pytest.mark.parametrize("face", FACES)
def test_a_face_shows_what_others_use(face: str) -> None:
    """Exactly that, and a docstring of at most ten lines says what the package decides."""
    module = importlib.import_module(face)
    modules = {name.rsplit(".", 1)[1] for name in _modules() if name.rsplit(".", 1)[0] == face}
    used = {name for _, other, name in _used_through_faces() if other == face}
    shown = set(getattr(module, "__all__", ()))
    assert used - modules <= shown
    assert shown <= used
    assert len((module.__doc__ or "").strip().splitlines()) <= 10
