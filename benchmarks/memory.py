"""Anonymous memory of a process: what it takes beyond files that are mapped or cached.

`python -m benchmarks.memory FORM MEMBERS` runs one form of ingest (ours, polars, duckdb) in this
process, once, and prints its peak in bytes and its seconds, those of processors too: its own and
the system's; and how many pages of memory it met for the first time.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ihp_compute import freed_memory

EVERY_SECONDS = 0.02
ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Seen:
    """Anonymous bytes before, and at the highest."""

    before_bytes: int
    peak_bytes: int

    @property
    def grown_bytes(self) -> int:
        """Peak less before."""
        return self.peak_bytes - self.before_bytes


def anonymous_bytes() -> int:
    """Anonymous resident memory of this process; 0 where the system does not tell."""
    try:
        text = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(r"^RssAnon:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


@contextmanager
def sampled() -> Iterator[Seen]:
    """Watch this process while the block runs."""
    start = anonymous_bytes()
    seen = Seen(start, start)
    done = threading.Event()

    def watch() -> None:
        while not done.wait(EVERY_SECONDS):
            seen.peak_bytes = max(seen.peak_bytes, anonymous_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        seen.peak_bytes = max(seen.peak_bytes, anonymous_bytes())
        done.set()
        watcher.join()


def of_forms(members: int, forms: Sequence[str]) -> dict[str, int]:
    """Peak anonymous bytes of each form, each in a fresh process."""
    found = {}
    for form in forms:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.memory", form, str(members)],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        # a form that the machine's memory cannot hold has no figure
        found[form] = json.loads(done.stdout)["peak_bytes"] if done.returncode == 0 else 0
    return found


def main(form: str, members: int) -> None:
    """Run one form and print its peak."""
    if form == "ours":
        freed_memory.keep()  # as `ihp ingest` does, before libraries start threads
    from benchmarks.data import State, shards_for  # noqa: PLC0415 - only what a form needs

    made = State(members)
    subprocess.run(  # what making it takes is no memory of ingest
        [sys.executable, "-c", f"from benchmarks.data import State; State({members}).make_raw()"],
        cwd=ROOT, check=True,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="ihp-bench-", dir=os.environ.get("TMPDIR")) as scratch:
        out = Path(scratch) / "out"
        started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        if form == "ours":
            from ihp_compute.ingest.passes import ingest  # noqa: PLC0415

            with sampled() as seen:
                ingest(made.raw, out, shards=shards_for(members), threads=2)
        else:
            from benchmarks.peers import ingest as peers  # noqa: PLC0415

            with sampled() as seen:
                if form == "polars":
                    peers.by_polars(made.raw, out)
                else:
                    peers.by_duckdb(made.raw, out, threads=2, memory="8GB")
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "peak_bytes": seen.peak_bytes,
                "seconds": round(seconds, 2),
                "own_processor_seconds": round(after.ru_utime - before.ru_utime, 2),
                "system_processor_seconds": round(after.ru_stime - before.ru_stime, 2),
                "page_faults": after.ru_minflt - before.ru_minflt,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
