"""What `ihp doctor` finds out: what a machine has, what it lacks, what that would bring.

Looks and never changes anything; Ray and CuPy are looked for, not started.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import kernels
from ihp_compute.errors import InfrastructureError
from ihp_compute.report import require_browser
from kernels import cache_folder

GIB: Final = 1 << 30
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - the system's own, only measured
ENOUGH_SHARED_BYTES: Final = 2 * GIB
ENOUGH_DISK_BYTES: Final = 20 * GIB
ENOUGH_MEMORY_BYTES: Final = 4 * GIB

EXTRAS: Final[dict[str, tuple[str, tuple[str, ...], str]]] = {
    "Ray": ("cluster", ("ray",), "runs over several machines, `--runner ray`"),
    "service": (
        "service",
        ("fastapi", "uvicorn", "sqlalchemy", "alembic", "pydantic_settings", "structlog"),
        "the service for a team, `ihp serve`",
    ),
    "postgresql": ("postgres", ("psycopg",), "a service whose database is PostgreSQL"),
    "workbook": ("workbook", ("xlsxwriter", "openpyxl"), "Excel workbooks, `ihp report --xlsx`"),
}
"""What is installed only where it is wanted: the extra, modules of it, what it brings."""

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """One finding: what was looked at, what was found, and what to do about it."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


def examine(folder: Path) -> list[Check]:
    """Examine the machine.

    Parameters
    ----------
    folder : Path
        Where populations and runs would be kept; its disk is measured.

    Returns
    -------
    list of Check
    """
    return [
        _python(),
        _threads(),
        _memory(),
        _shared(),
        _disk(folder),
        _cache(),
        _gpu(),
        *(_extra(name, *about) for name, about in EXTRAS.items()),
        _browser(),
    ]


def _python() -> Check:
    return Check("Python", "ok", sys.version.split()[0])


def _threads() -> Check:
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    advice = "" if n > 1 else "a run uses one shard at a time"
    return Check("threads", "ok" if n > 1 else "warn", f"{n} usable", advice)


def _memory() -> Check:
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    text = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free"
    if total >= ENOUGH_MEMORY_BYTES:
        return Check("memory", "ok", text)
    return Check("memory", "warn", text, "a statewide ingest wants 4 GiB")


def _shared() -> Check:
    if not SHARED_MEMORY.is_dir():
        return Check("shared memory", "warn", "none", "Ray will use files instead, slowly")
    free = shutil.disk_usage(SHARED_MEMORY).free
    text = f"{free / GIB:.1f} GiB free"
    if free >= ENOUGH_SHARED_BYTES:
        return Check("shared memory", "ok", text)
    return Check(
        "shared memory", "warn", text, "in a container, give --shm-size=2g or more for Ray"
    )


def _disk(folder: Path) -> Check:
    place = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(place).free
    text = f"{free / GIB:.1f} GiB free at {place}"
    if not os.access(place, os.W_OK):
        return Check("disk", "fail", text, "it cannot be written; choose another folder")
    if free >= ENOUGH_DISK_BYTES:
        return Check("disk", "ok", text)
    return Check("disk", "warn", text, "a state of 100 million lines wants 20 GiB")


def _cache() -> Check:
    folder = cache_folder()
    place = next(path for path in (folder, *folder.parents) if path.exists())
    if os.access(place, os.W_OK):
        state = "compiled" if folder.exists() and any(folder.iterdir()) else "not compiled yet"
        return Check("kernel cache", "ok", f"{folder}, {state}")
    return Check(
        "kernel cache", "warn", f"{folder} cannot be written",
        "set NUMBA_CACHE_DIR to a folder that can be, or each process compiles anew",
    )  # fmt: skip


def _gpu() -> Check:
    if kernels.device() == "gpu":
        return Check("GPU", "ok", "CuPy finds a CUDA device")
    if importlib.util.find_spec("cupy") is None:
        return Check("GPU", "ok", "CuPy is not installed; runs use the CPU")
    return Check(
        "GPU", "warn", "CuPy is installed and finds no CUDA device", "check the driver; runs use "
        "the CPU"
    )  # fmt: skip


def _extra(name: str, extra: str, needed: tuple[str, ...], brings: str) -> Check:
    lacks = [module for module in needed if importlib.util.find_spec(module) is None]
    if not lacks:
        return Check(name, "ok", importlib.metadata.version(needed[0]))
    return Check(
        name,
        "warn",
        f"{', '.join(lacks)} not installed",
        f"pip install ihp-compute[{extra}] brings {brings}",
    )


def _browser() -> Check:
    try:
        return Check("PDF", "ok", require_browser())
    except InfrastructureError:
        return Check("PDF", "warn", "no Chromium on the path", "it would bring `ihp report --pdf`")
