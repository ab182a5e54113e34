"""Tables of a result: ratios to peers, share of the machine's limit, one commit against another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.table import Table

GIGA = 1e9


def seconds_of(entry: Mapping[str, Any], clock: Mapping[str, float]) -> float:
    """Processor time where one thread works, wall time where several do."""
    return clock["process_seconds" if entry["threads"] == 1 else "wall_seconds"]


def label(entry: Mapping[str, Any]) -> str:
    """The benchmark's name without its prefix."""
    return str(entry["name"]).removeprefix("test_bench_")


def sizes(entry: Mapping[str, Any]) -> str:
    """The sizes that a figure holds for."""
    found = entry.get("work", entry).get("sizes") or {}
    return ", ".join(f"{value:,} {name}" for name, value in found.items())


def duration(seconds: float) -> str:
    """A readable duration."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def ratios(result: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str, float, float]]:
    """Entry, peer, the peer's seconds and how many times as long it takes."""
    for entry in result["benchmarks"]:
        if "times_faster" in entry:
            continue  # see `rates`
        for peer, clock in entry.get("peers", {}).items():
            theirs, ours = seconds_of(entry, clock), seconds_of(entry, entry["ours"])
            yield entry, peer, theirs, theirs / ours


def rates(result: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str, float, float]]:
    """Peers that did part of the work: entry, peer, its members a second, ours over that."""
    for entry in result["benchmarks"]:
        for peer, ratio in entry.get("times_faster", {}).items():
            yield entry, peer, entry["members_per_second"][peer], ratio


def ratio_table(result: Mapping[str, Any]) -> Table:
    """How many times as long each peer takes."""
    table = Table(title="Ratios to peers, same process, in turns, medians", box=box.SIMPLE)
    for name in ("benchmark", "sizes", "threads"):
        table.add_column(name)
    table.add_column("ours", justify="right")
    table.add_column("peer")
    table.add_column("peer's", justify="right")
    table.add_column("ratio", justify="right")
    for entry, peer, theirs, ratio in ratios(result):
        table.add_row(
            label(entry), sizes(entry), str(entry["threads"]),
            duration(seconds_of(entry, entry["ours"])), peer, duration(theirs), f"{ratio:.1f}×",
        )  # fmt: skip
    for entry, peer, rate, ratio in rates(result):
        table.add_row(
            label(entry),
            "members a second",
            str(entry["threads"]),
            f"{entry['members_per_second']['ours']:,.0f}",
            peer,
            f"{rate:,.0f}",
            f"{ratio:,.0f}×",
        )
    for entry in result["benchmarks"]:
        for form, peak in entry.get("memory", {}).items():
            if peak:
                table.add_row(
                    label(entry), "anonymous memory, peak", str(entry["threads"]), "", form,
                    f"{peak / 2**30:.2f} GiB", "",
                )  # fmt: skip
    return table


def limits_of(result: Mapping[str, Any]) -> dict[str, float]:
    """Measured limits: stream bytes a second, seconds of one Philox word."""
    found: dict[str, float] = {}
    for entry in result["benchmarks"]:
        if "ours" not in entry:
            continue
        seconds = seconds_of(entry, entry["ours"])
        if label(entry) in ("stream_copy", "stream_sum"):
            rate = entry["work"]["n_bytes"] / seconds
            found["stream"] = max(found.get("stream", 0.0), rate)
        elif label(entry) == "philox_alone":
            found["philox"] = seconds / entry["work"]["n_words"]
    return found


def roofline_table(result: Mapping[str, Any]) -> Table:
    """Bytes, operations and the share of the limit that applies."""
    limits = limits_of(result)
    stream, philox = limits.get("stream", 0.0), limits.get("philox", 0.0)
    table = Table(
        title=f"Share of the limit (stream {stream / GIGA:.1f} GB/s a core; Philox alone "
        f"{philox * GIGA:.3f} ns a word, two weights a word)",
        box=box.SIMPLE,
    )
    table.add_column("benchmark")
    for name in ("ns a unit", "unit", "GB/s", "Gop/s", "limit", "share of limit"):
        table.add_column(name, justify="left" if name in ("unit", "limit") else "right")
    for entry in result["benchmarks"]:
        if "work" not in entry:
            continue
        work, seconds = entry["work"], seconds_of(entry, entry["ours"])
        least = 0.0
        if work["limit"] == "philox":
            least = philox * work["n_words"] / entry["threads"]
        elif stream:
            least = work["n_bytes"] / (stream * entry["threads"])
        operations = work["n_operations"] / seconds / GIGA
        table.add_row(
            label(entry), f"{seconds / work['n_units'] * GIGA:.3f}", work["unit"],
            f"{work['n_bytes'] / seconds / GIGA:.2f}", f"{operations:.1f}" if operations else "",
            work["limit"], f"{least / seconds:.0%}" if least else "",
        )  # fmt: skip
    return table


def comparison_table(base: Mapping[str, float], here: Mapping[str, float], name: str) -> Table:
    """One commit against the present tree; above 1: the present tree is faster."""
    table = Table(title=f"{name} against the present tree, in turns, medians", box=box.SIMPLE)
    table.add_column("benchmark")
    for column in (name, "present", "ratio"):
        table.add_column(column, justify="right")
    for test, seconds in here.items():
        if test in base:
            table.add_row(
                test.removeprefix("test_bench_"), duration(base[test]), duration(seconds),
                f"{base[test] / seconds:.2f}×",
            )  # fmt: skip
    return table
