"""Faults of the file system, put into a warm process: which call fails, how, what came of it."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

ROOT: Final = Path(__file__).resolve().parents[2]
ERRORS: Final = (errno.ENOSPC, errno.EIO, errno.EROFS)
KILLS: Final = (-signal.SIGKILL, -signal.SIGTERM)
"""In place of an error: the signal that ends the process as it makes the call."""


WHAT: Final = ("ingest", "run", "service")
NAMES: Final = {"population", "run"}
AFTER: Final = {"ingest": 3, "run": 2, "service": "succeeded"}
BEFORE: Final[dict[str, tuple[Any, ...]]] = {
    # a folder above may refuse to be synced when a name shows the new one already
    "ingest": (2, 3),
    "run": (1, 2),
    "service": ("queued", "validating", "succeeded"),
}


@dataclass(frozen=True)
class Fault:
    """The `at`-th call that writes fails with `error`, and every later one if it `stays`."""

    what: str
    at: int
    error: int
    stays: bool = False

    def __str__(self) -> str:
        """In a line of a log."""
        how = errno.errorcode[self.error] if self.error > 0 else signal.Signals(-self.error).name
        return f"{self.what}: {how} at call {self.at}{' and after' if self.stays else ''}"


@dataclass(frozen=True)
class Came:
    """What came of a fault.

    Attributes
    ----------
    code : int, optional
        Of the command; None where a signal ended it.
    kinds : str
        Of the calls, a letter each.
    signal : int
        That ended the process; 0 where none did.
    said : str
        What it printed.
    left : list of str
        Names that stand beside each other afterwards.
    stands : list, optional
        What is whole of what was to be replaced; None if nothing is.
    look : str
        What whoever looked printed.
    again : list, optional
        Exit code of the next start, then the names that stand; of a process that died.
    """

    code: int | None
    kinds: str
    signal: int
    said: str
    left: list[str]
    stands: list[Any] | None
    look: str
    again: list[Any] | None


class Injector:
    """A warm process that takes faults. Use as a context.

    Parameters
    ----------
    folder : Path
        Holds `raw`; trials are made beside it.
    """

    def __init__(self, folder: Path) -> None:
        library = folder / "injected.so"
        source = Path(__file__).with_name("injected.c")
        subprocess.run(
            ["gcc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source, "-ldl"],
            check=True,
        )
        self._log = (folder / "warm.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.warm", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=ROOT,
            env={**os.environ, "LD_PRELOAD": str(library)},
        )
        self._read()

    def __enter__(self) -> Self:
        """The injector itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()

    def came_of(self, fault: Fault) -> Came:
        """What came of a fault."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(vars(fault)) + "\n")
        self._process.stdin.flush()
        return Came(**self._read())

    def calls(self, what: str) -> str:
        """Kinds of the calls of a piece of work that nothing fails, a letter each."""
        return self.came_of(Fault(what, -1, 0)).kinds

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the warm process ended; its log stands beside the trials"
        found: dict[str, Any] = json.loads(line)
        return found


def chosen(what: str, kinds: str, *, seed: int, more: int) -> Iterator[Fault]:
    """The first call and the last, one of each kind, and more that a seed draws."""
    draw = random.Random(f"{seed} {what}")  # noqa: S311 (a seed that is told, not a secret)
    firsts = {kinds.index(kind) for kind in set(kinds)} | {len(kinds) - 1}
    for at in [*sorted(firsts), *draw.sample(range(len(kinds)), min(more, len(kinds)))]:
        error = draw.choice(ERRORS + KILLS)
        yield Fault(what, at, error, stays=error == errno.EROFS or draw.random() < 0.5)


def check(fault: Fault, came: Came) -> None:
    """Hold what came of a fault to what must be, whatever failed."""
    told = f"{fault}: {replace(came, kinds='')}"
    if fault.what == "service" and "home" not in came.left:
        assert (came.code, came.signal) in ((5, 0), (None, -fault.error)), told
        return  # nothing stood there, and nothing does
    assert came.stands is not None, told
    # a run's digest stands behind its seed
    stands = came.stands[0]
    before, after = BEFORE[fault.what], AFTER[fault.what]
    assert "Traceback" not in came.said, told
    names = NAMES | ({"home"} if fault.what == "service" else set())
    if came.signal:
        assert came.signal == -fault.error, told
        assert stands in before, told
        assert came.again is not None, told
        # a draft that was not locked yet is let be for a minute, as another may be about to lock it
        left = {name for name in came.again[1] if ".new-" not in name}
        assert (came.again[0], left) == (0, names), told
        return
    assert NAMES <= set(came.left) <= names, told
    if came.code == 0:  # what failed was not needed, or was done otherwise
        assert stands == after, told
        return
    assert came.code == 5, told
    assert len(came.said.strip().splitlines()[-1]) > 20, told
    assert stands in before, told


def available() -> bool:
    """Whether faults can be put in here."""
    return sys.platform == "linux" and shutil.which("gcc") is not None
