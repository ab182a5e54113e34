"""The machine a figure was measured on: no figure is worth more than this description."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
VECTOR_FLAGS: Final = ("avx2", "avx512f", "avx512bw", "avx512vl", "avx512_vnni")
PACKAGES: Final = (
    "numpy", "numba", "llvmlite", "scipy", "pyarrow", "polars", "duckdb", "arch", "hccinfhir",
    "hccpy", "pytest-benchmark",
)  # fmt: skip


def machine() -> dict[str, Any]:
    """CPU, caches, vector units, memory, versions, and how busy the machine is."""
    facts = _cpu_facts()
    vector_flags = [flag for flag in VECTOR_FLAGS if flag in facts["flags"]]
    return {
        "cpu": facts["model"],
        "cores": os.cpu_count(),
        "vector_flags": vector_flags,
        "kernel_flags": _compiled_for(vector_flags),
        "caches": _caches(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "load": list(os.getloadavg()),
    }


def _compiled_for(vector_flags: list[str]) -> list[str]:
    """Of the machine's vector units, those that Numba may use: all, or those named to it."""
    named = os.environ.get("NUMBA_CPU_FEATURES")
    if named is None:
        return vector_flags
    return [flag for flag in vector_flags if f"+{flag.replace('_', '')}" in named.split(",")]


def commit(root: Path = ROOT) -> dict[str, Any]:
    """Commit of a checkout and whether it has changes; None where git cannot say."""
    try:
        name = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
    return {"commit": name, "dirty": bool(changed)}


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_facts() -> dict[str, Any]:
    model, flags = platform.processor() or platform.machine(), set[str]()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {"model": model, "flags": flags}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            model = value.strip()
        elif name.strip() in ("flags", "Features"):
            flags = set(value.split())
    return {"model": model, "flags": flags}


def _caches() -> dict[str, str]:
    """Size of each cache that the first core uses, by level and kind."""
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind = (index / "type").read_text().strip()
        level = (index / "level").read_text().strip()
        found[f"L{level} {kind.lower()}"] = (index / "size").read_text().strip()
    return found
