"""A seeded mix of faults: `make chaos SEED=7 FAULTS=200`, or `python -m tests.faults.chaos 7 200`;
without a seed, or with `any`, one is drawn.

First so many writes of an ingest, of a run and of a service's database fail or are the last of
their process, drawn by the seed; 0: every one. Then the tests that README.md names are run in an
order that the seed draws: kills of servers, dispatchers, workers and nodes among them. A seed that
fails fails again.
"""

from __future__ import annotations

import random
import re
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from ihp_compute.synth.state import synth
from tests.faults.injection import ROOT, WHAT, Injector, available, check, chosen

NAMED: Final = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def named() -> list[str]:
    """Tests that the page names, as pytest calls them, each once."""
    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    return list(dict.fromkeys("::".join(found) for found in NAMED.findall(text)))


def writes(seed: int, most: int) -> int:
    """Let writes fail; how many did other than they must."""
    failed = 0
    with tempfile.TemporaryDirectory(prefix="chaos-") as made:
        folder = Path(made)
        synth(60, 3, folder / "raw")
        with Injector(folder) as injector:
            for what in WHAT:
                kinds = injector.calls(what)
                for fault in chosen(what, kinds, seed=seed, more=most or len(kinds)):
                    try:
                        check(fault, injector.came_of(fault))
                    except AssertionError as error:
                        failed += 1
                        say(f"FAILED {error}")
                    else:
                        say(f"held {fault}")
    return failed


def say(text: str) -> None:
    """A line of the log."""
    print(text, flush=True)  # noqa: T201 (a program, started by make)


def main() -> int:
    """Print the seed, then let things fail."""
    given = sys.argv[1] if sys.argv[1:] else "any"
    seed = secrets.randbelow(10**6) if given == "any" else int(given)
    most = int(sys.argv[2]) if sys.argv[2:] else 50
    say(f"seed {seed}")
    if not available():
        say("no writes fail here: that wants Linux and gcc")
    failed = writes(seed, most) if available() else 0
    tests = named()
    random.Random(seed).shuffle(tests)  # noqa: S311 (a seed that is told, not a secret)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", *tests], cwd=ROOT, check=False
    )
    say(f"seed {seed}: {failed} writes did other than they must; tests: {done.returncode}")
    return 1 if failed or done.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
