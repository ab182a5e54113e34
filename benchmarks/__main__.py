"""Runs the benchmarks and tells what came out: `python -m benchmarks` (or `make bench`).

    machine -> kernels (one pinned core) -> risk, sweeps (one core) -> state (two threads)
    -> one dated JSON -> tables of ratios and of the share of the machine's limit

`--quick` uses small sizes, to see that everything runs. `--members 50000,500000` measures the
recalculation at both sizes, `--ingest-members 500000` ingest; the states are made once and kept in
the cache folder. `--compare REV` measures the present tree and another commit in turns, without
peers, and prints the ratios.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.machine import ROOT, commit, machine
from benchmarks.tables import comparison_table, ratio_table, roofline_table

HERE: Final = Path(__file__).resolve().parent
RESULTS: Final = HERE / "results"
ONE_CORE: Final = ("bench_kernels.py", "bench_columns.py", "bench_risk_score.py", "bench_sweep.py")
TWO_THREADS: Final = ("bench_state.py",)
COMPARED: Final = ("bench_kernels.py", "bench_state.py")
"""Files that older commits have too; what both trees measure under one name is compared."""
COMPARE_TURNS: Final = 3
THREAD_SETTINGS: Final = (
    "POLARS_MAX_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


@dataclass(frozen=True)
class Suite:
    """One pytest process: its files, how many threads, and on which cores."""

    files: tuple[str, ...]
    threads: int
    cores: frozenset[int]
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, output: Path, *, first: Path) -> list[str]:
        """The pytest command; `first` is the folder of the benchmarks."""
        return [
            sys.executable, "-m", "pytest", *(str(first / name) for name in self.files),
            "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "-p", "no:randomly",
            "-p", "no:cacheprovider", "--benchmark-enable", "--benchmark-disable-gc",
            f"--benchmark-json={output}", "-v", "--no-header", "--benchmark-quiet",
        ]  # fmt: skip


def suites(options: argparse.Namespace) -> list[Suite]:
    """Kernels pinned to one core; the state on two threads."""
    cores = _cores()
    known = {name for name in ONE_CORE if (HERE / name).is_file()}
    one = tuple(name for name in ONE_CORE if name in known)
    chosen = [
        Suite(one, 1, frozenset(cores[-1:]), dict.fromkeys(THREAD_SETTINGS, "1")),
        Suite(
            TWO_THREADS,
            2,
            frozenset(cores[:2]),
            dict.fromkeys(THREAD_SETTINGS, "2")
            | {
                "IHP_BENCH_STATE_MEMBERS": options.members,
                "IHP_BENCH_INGEST_MEMBERS": options.ingest_members,
            },
        ),
    ]
    if options.only == "kernels":
        chosen = chosen[:1]
    elif options.only == "state":
        chosen = chosen[1:]
    return chosen


def _recorded(arguments: Sequence[str]) -> list[str]:
    """What was asked for, without where the result goes: no figure depends on a path."""
    kept, skip = [], False
    for argument in arguments:
        if not skip and not argument.startswith("--out"):
            kept.append(argument)
        skip = argument == "--out"
    return kept


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def run_suite(
    suite: Suite,
    console: Console,
    *,
    label: str,
    tree: Path = ROOT,
    extra: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Run one suite in a process of its own and return what pytest-benchmark recorded.

    Raises
    ------
    SystemExit
        If a benchmark failed: a peer that disagrees is an error, not a figure.
    """
    with tempfile.TemporaryDirectory(prefix="ihp-bench-") as scratch:
        stage = Path(scratch)
        # a tree is measured by its own benchmarks: they name modules, and modules move
        (stage / "benchmarks").symlink_to(tree / HERE.name)
        output = stage / "result.json"
        environment = {**os.environ, **suite.environment, **(extra or {}), "PYTHONPATH": str(tree)}
        command = suite.command(output, first=stage / "benchmarks")

        def pin() -> None:
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(0, suite.cores)

        total = _count(command, stage, environment)
        lines: list[str] = []
        with (
            Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                TimeElapsedColumn(), console=console,
            ) as progress,
            subprocess.Popen(
                command, cwd=stage, env=environment, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, preexec_fn=pin,  # noqa: PLW1509 - pins only
            ) as process,
        ):  # fmt: skip
            task = progress.add_task(label, total=total)
            for line in process.stdout or ():
                lines.append(line)
                if re.search(r"(PASSED|FAILED|SKIPPED|ERROR)", line):
                    progress.advance(task)
        if process.returncode != 0 or not output.is_file():
            print("".join(lines[-80:]), file=sys.stderr)
            raise SystemExit(f"benchmarks: {label} failed; see above")
        return list(json.loads(output.read_text(encoding="utf-8"))["benchmarks"])


def _count(command: Sequence[str], stage: Path, environment: dict[str, str]) -> int | None:
    quiet = [part for part in command if not part.startswith(("--benchmark-json", "-v"))]
    done = subprocess.run(
        [*quiet, "--collect-only", "-q"], cwd=stage, env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    return sum("::" in line for line in done.stdout.splitlines()) or None


def measure(options: argparse.Namespace, console: Console) -> int:
    """Run all suites, write the dated JSON, print the tables."""
    quick = {"IHP_BENCH_QUICK": "1"} if options.quick else {}
    result: dict[str, Any] = {
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        **commit(),
        "arguments": _recorded(sys.argv[1:]),
        "machine": machine(),
        "benchmarks": [],
    }
    for suite in suites(options):
        for found in run_suite(suite, console, label=" ".join(suite.files), extra=quick):
            result["benchmarks"].append(
                {
                    "name": found["name"],
                    "suite": Path(found["fullname"].split("::")[0]).stem,
                    "threads": suite.threads,
                    "median_seconds": found["stats"]["median"],
                    "min_seconds": found["stats"]["min"],
                    "rounds": found["stats"]["rounds"],
                    **found["extra_info"],
                }
            )
    result["load_after"] = list(os.getloadavg())
    options.out.mkdir(parents=True, exist_ok=True)
    kind = "quick" if options.quick else "cpu"
    path = options.out / f"{kind}-{result['at'][:19].replace(':', '')}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    show(result, console)
    console.print(f"wrote {path}")
    return 0


def show(result: dict[str, Any], console: Console) -> None:
    """The tables of one result, under the machine it was measured on."""
    about = result["machine"]
    units = about.get("kernel_flags", about["vector_flags"])
    held = "" if units == about["vector_flags"] else f"; kernels: {', '.join(units)}"
    console.print(
        f"{about['cpu']}, {about['cores']} cores ({', '.join(about['vector_flags'])}{held}), "
        f"load before {about['load'][0]:.1f}, after {result['load_after'][0]:.1f}; "
        f"{result['at']}, commit {str(result['commit'])[:9]}{' + changes' * bool(result['dirty'])}"
    )
    console.print(ratio_table(result))
    console.print(roofline_table(result))


def compare(options: argparse.Namespace, console: Console) -> int:
    """Present tree against another commit, kernels and state in turns, without peers."""
    extra = {"IHP_BENCH_PEERS": "0"} | ({"IHP_BENCH_QUICK": "1"} if options.quick else {})
    seconds: dict[str, dict[str, list[float]]] = {"base": {}, "here": {}}
    with tempfile.TemporaryDirectory(prefix="ihp-base-") as scratch:
        base = Path(scratch) / "tree"
        added = subprocess.run(
            ["git", "worktree", "add", "--detach", "--quiet", str(base), options.compare],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if added.returncode != 0:
            print(f"benchmarks: {added.stderr.strip()}", file=sys.stderr)
            return 2
        try:
            for turn in range(COMPARE_TURNS):
                for name, tree in (("base", base), ("here", ROOT)):
                    for suite in suites(options):
                        files = tuple(f for f in suite.files if f in COMPARED)
                        part = Suite(files, suite.threads, suite.cores, suite.environment)
                        label = f"{name}, turn {turn + 1} of {COMPARE_TURNS}: {' '.join(files)}"
                        for found in run_suite(part, console, label=label, tree=tree, extra=extra):
                            own = found["extra_info"].get("ours", {})
                            key = "process_seconds" if suite.threads == 1 else "wall_seconds"
                            value = own.get(key, found["stats"]["median"])
                            seconds[name].setdefault(found["name"], []).append(value)
        finally:
            subprocess.run(
                ["git", "worktree", "remove", "--force", str(base)], cwd=ROOT, check=False
            )
    medians = {
        tree: {name: statistics.median(values) for name, values in by_name.items()}
        for tree, by_name in seconds.items()
    }
    console.print(comparison_table(medians["base"], medians["here"], options.compare))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure the kernels and the whole pipeline."
    )
    parser.add_argument("--quick", action="store_true", help="small sizes: does everything run?")
    parser.add_argument("--members", help="sizes of the recalculation, as 50000,500000")
    parser.add_argument("--ingest-members", help="sizes of ingest")
    parser.add_argument("--only", choices=("kernels", "state"), help="one part")
    parser.add_argument("--compare", metavar="REV", help="another commit, measured in turns")
    parser.add_argument("--show", type=Path, metavar="JSON", help="print a result's tables again")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result")
    options = parser.parse_args(arguments)
    usual = "2000" if options.quick else "50000"
    options.members = options.members or usual
    options.ingest_members = options.ingest_members or usual
    console = Console(width=None if sys.stdout.isatty() else 130)
    if options.show:
        show(json.loads(options.show.read_text(encoding="utf-8")), console)
        return 0
    if options.compare is not None:
        return compare(options, console)
    return measure(options, console)


if __name__ == "__main__":
    sys.exit(main())
