"""Each kernel is a family of forms that cannot drift apart unnoticed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kernels

FOLDER = Path(kernels.__file__).parent
each_kernel = pytest.mark.parametrize("stem", kernels.ALL)


@each_kernel
def test_a_kernel_is_its_stem(stem: str) -> None:
    """The package attribute is the callable; the module under the same name has its forms."""
    module = inspect.getmodule(getattr(kernels, stem))
    assert getattr(kernels, stem) is getattr(module, stem)
    for form in ("reference", "_cpu", "_gpu"):
        assert callable(getattr(module, form)), form


@each_kernel
def test_a_kernel_takes_what_its_reference_takes(stem: str) -> None:
    module: Any = inspect.getmodule(getattr(kernels, stem))
    taken = [
        list(inspect.signature(form).parameters)
        for form in (getattr(module, stem), module.reference)
    ]
    assert taken[0] == taken[1]


@each_kernel
@pytest.mark.parametrize(
    "section", ["Parameters\n", "Returns\n", "Raises\n", "KernelInputError", "Source:"]
)
def test_a_kernel_is_documented(stem: str, section: str) -> None:
    text = inspect.getdoc(getattr(kernels, stem)) or ""
    assert section in text


@each_kernel
def test_a_kernel_has_its_twin(stem: str, entries: Callable[[str], list[str]]) -> None:
    text = Path(inspect.getfile(getattr(kernels, stem))).with_suffix(".cu").read_text()
    assert text.startswith(
        f"// Twin of {stem}.py; the meaning, units and errors are documented there."
    )
    assert stem in entries(stem)


@each_kernel
def test_a_kernel_has_a_benchmark(stem: str) -> None:
    found = sorted((FOLDER.parent / "benchmarks").glob("bench_*.py"))
    assert found
    text = "".join(path.read_text() for path in found)
    assert f"def test_bench_{stem}(" in text or f"def test_bench_{stem}_kernel(" in text


@each_kernel
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_a_twin_compiles_for_a_gpu(
    stem: str,
    architecture: str,
    nvrtc: Callable[[str, str], Any],
    entries: Callable[[str], list[str]],
) -> None:
    code = nvrtc(stem, architecture)
    for entry in entries(stem):
        assert f".text.{entry}".encode() in code


def test_every_source_is_listed() -> None:
    """A kernel left out of `kernels.ALL` would be held to nothing."""
    stems = {path.stem for path in FOLDER.rglob("*.cu")}
    assert stems == set(kernels.ALL)


def test_kernels_import_nothing_of_ours() -> None:
    for path in FOLDER.rglob("*.py"):
        for name in ("ihp_compute", "cluster", "api"):
            assert f"import {name}" not in path.read_text()
            assert f"from {name}" not in path.read_text()
