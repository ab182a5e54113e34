"""The wheel holds what the tree holds, and works where only it and its dependencies are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
from numba.core.caching import UserProvidedCacheLocator
from packaging.requirements import Requirement

import kernels
from ihp_compute import contracts

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("api", "cluster", "ihp_compute", "kernels")
Ihp = Callable[..., str]


def _files(folder: Path) -> Iterator[Path]:
    """What the packages hold, relative to `folder`: neither compiled code nor notes to readers."""
    for package in PACKAGES:
        for path in (folder / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".md":
                yield path.relative_to(folder)


def _environment() -> dict[str, str]:
    """Ours, without what leads Python back to the checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _needed() -> set[str]:
    """Names of the distributions that the project's dependencies come to, without its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    todo, found = [Requirement(line) for line in project["dependencies"]], set()
    while todo:
        wanted = todo.pop()
        if wanted.name in found or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        found.add(wanted.name)
        todo += [Requirement(line) for line in metadata.requires(wanted.name) or ()]
    return found


def _lend(name: str, site: Path) -> None:
    """Let an environment see one distribution of the running one."""
    distribution = metadata.distribution(name)
    for first in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
        if not (site / first).exists():
            (site / first).symlink_to(Path(str(distribution.locate_file(first))))


def _lend_compiled_kernels(site: Path, cache: Path) -> None:
    """Spare an environment a minute of compiling: Numba files code by its source's folder."""
    place = UserProvidedCacheLocator.get_suitable_cache_subpath
    for source in {path.parent for path in (ROOT / "kernels").rglob("*.py")}:
        compiled = kernels.cache_folder() / place(str(source / "any.py"))
        if compiled.is_dir():
            installed = site / source.relative_to(ROOT)
            shutil.copytree(compiled, cache / place(str(installed / "any.py")))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built of a copy: setuptools leaves its own folders where it builds."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        tree.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tree)
    shutil.copytree(ROOT / "docs", tree / "docs")
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check",
         "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, tree],
        env=_environment(), check=True,
    )  # fmt: skip
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def ihp(wheel: Path) -> Ihp:
    """The installed command: (arguments) -> what it prints."""
    home = wheel.parent / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    (site,) = home.glob("lib/python*/site-packages")
    for name in _needed():
        _lend(name, site)
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", home, "--disable-pip-version-check", "install",
         "--quiet", "--no-index", "--no-deps", wheel],
        env=_environment(), check=True,
    )  # fmt: skip
    cache = wheel.parent / "compiled"
    _lend_compiled_kernels(site, cache)
    environment = {**_environment(), "NUMBA_CACHE_DIR": str(cache)}

    def call(*command: str | Path) -> str:
        done = subprocess.run(
            [home / "bin" / command[0], *command[1:]], cwd=wheel.parent, env=environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    """Sources, CUDA text, contracts, models, the page and the marks of types; nothing besides."""
    packed = {Path(name) for name in zipfile.ZipFile(wheel).namelist()}
    beside = re.compile(r"\.(dist-info|data)$")
    assert {path for path in packed if not beside.search(path.parts[0])} == set(_files(ROOT))
    cited = Path("data/share/doc/ihp-compute/docs/method/constants.md")
    assert any(path.parts[1:] == cited.parts for path in packed)
    assert any(path.name == "LICENSE" for path in packed)


def test_the_installed_packages_are_the_wheel_s(wheel: Path, ihp: Ihp) -> None:
    """No other copy stands in for them, and what only extras bring is not there."""
    asked = (*PACKAGES, "fastapi", "pytest", "ray")
    say = f"""
import json
from importlib.util import find_spec
print(json.dumps([getattr(find_spec(name), "origin", None) for name in {asked}]))
"""
    *ours, fastapi, pytest_, ray = json.loads(ihp("python", "-c", say))
    assert all(Path(path).is_relative_to(wheel.parent / "environment") for path in ours)
    assert (fastapi, pytest_, ray) == (None, None, None)


def test_the_demo_runs_where_only_the_wheel_is_installed(wheel: Path, ihp: Ihp) -> None:
    """Its run is verified, its page is written, one partnership is explained."""
    demo = wheel.parent / "demo"
    ihp("ihp", "demo", "--members", "1000", "--replicates", "20", "--out", demo)
    manifest = json.loads((demo / "run" / "manifest.json").read_text(encoding="utf-8"))
    assert json.loads(ihp("ihp", "verify", "--json", demo / "run"))["digest"] == manifest["digest"]
    ihp("ihp", "verify", demo / "population")
    assert "</html>" in (demo / "run" / "report.html").read_text(encoding="utf-8")
    told = ihp("ihp", "explain", demo / "run", "--partnership", "IHP-01")
    assert told.startswith("From base to payment")


def test_the_shipped_contracts_and_models_are_read(wheel: Path, ihp: Ihp) -> None:
    listed = set(re.findall(r"^\S+", ihp("ihp", "contracts", "list"), re.MULTILINE))
    assert listed == set(contracts.names())
    members, diagnoses, out = (wheel.parent / name for name in ("m.csv", "d.csv", "scores.csv"))
    members.write_text("member_id,age,gender\n01,70,male\n", encoding="utf-8")
    diagnoses.write_text("member_id,diagnosis_code\n01,E11.69\n", encoding="utf-8")
    ihp("ihp", "score", members, diagnoses, "--model", "cms-hcc-v28", "--out", out)
    assert out.read_text(encoding="utf-8").splitlines()[1].startswith("01,CNA,")
