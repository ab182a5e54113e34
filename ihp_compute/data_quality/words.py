"""What was noticed, in lines for a screen and for a report's first page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ihp_compute.data_quality.findings import FINDINGS, finding_of
from ihp_compute.data_quality.table import DATA_QUALITY, tripped_by_gate
from ihp_compute.units import dollars

_SHOWN: Final = 10
_IN_A_LINE: Final = 3


def accepted_lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """What tripped and was accepted, a line for each gate: where, how much, and why."""
    return [
        f"gate {name} accepted: {finding_of(found[0]['finding']).meaning}: {first(found)}; "
        f"reason: {found[0]['accepted']}"
        for name, found in tripped_by_gate(rows).items()
    ]


def first(rows: Sequence[Mapping[str, Any]], most: int = _SHOWN) -> str:
    """The first rows in words, and how many more there are."""
    shown = "; ".join(_where_and_how_much(row) for row in rows[:most])
    return f"{shown}; and {len(rows) - most:,} more" if len(rows) > most else shown


def over_files(
    rows: Iterable[Mapping[str, Any]], rows_read: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Rows of `DATA_QUALITY`, those that differ in the file alone as one, which says how many.

    `rows_read` are those of each table, which its share is then taken of.
    """
    summed: dict[tuple[Any, ...], dict[str, Any]] = {}
    files: Counter[tuple[Any, ...]] = Counter()
    for row in rows:
        key = tuple(row[name] for name in DATA_QUALITY.keys if name != "file" or not row["lines"])
        whole = summed.setdefault(key, {**row, "lines": 0, "paid_cents": 0})
        whole["lines"] += row["lines"]
        whole["paid_cents"] += row["paid_cents"]
        files[key] += 1
        if files[key] > 1:
            whole["file"] = f"({files[key]:,} files)"
            read = rows_read.get(row["source_table"], 0)
            whole["share"] = whole["lines"] / read if read else 0.0
    return list(summed.values())


def where_of(row: Mapping[str, Any]) -> str:
    """Table, file and column that a row of `DATA_QUALITY` is of."""
    # a reason of a column begins with its name
    column = "" if row["subject"].startswith(row["column_name"]) else row["column_name"]
    return " ".join(filter(None, (row["source_table"], row["file"], column)))


def _where_and_how_much(row: Mapping[str, Any]) -> str:
    counts = finding_of(row["finding"]).counts
    numbers = [f"{row['lines']:,} {counts}"] if row["lines"] else []
    if row["paid_cents"]:
        numbers.append(dollars(row["paid_cents"]))
    if row["lines"] and row["share"]:
        numbers.append(f"{row['share']:.1%}")
    where, subject, detail = where_of(row), row["subject"], row.get("detail", "")
    said = ": ".join(filter(None, (where or subject, ", ".join(filter(None, (*numbers, detail))))))
    return f"{said} ({subject})" if where and subject else said


def noticed_lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """What was noticed and tripped nothing, a line for each finding: how much in all, and where."""
    by_finding: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if not row["tripped"]:
            by_finding.setdefault(row["finding"], []).append(row)
    lines = []
    for name in sorted(by_finding, key=list(FINDINGS).index):
        found = sorted(by_finding[name], key=lambda row: -abs(row["paid_cents"]))
        cents = sum(row["paid_cents"] for row in found)
        whole = [f"{sum(row['lines'] for row in found):,} {FINDINGS[name].counts}"]
        if cents:
            whole.append(dollars(cents))
        in_all = f"{', '.join(whole)} in all; " if len(found) > 1 else ""
        lines.append(f"{FINDINGS[name].meaning}: {in_all}{first(found, _IN_A_LINE)}")
    return lines
