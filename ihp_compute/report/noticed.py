"""What was noticed of the data and of the run, what is missing, and which gates were accepted.

Rows of several files are one row, which is hidden where one of them is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ihp_compute.data_quality import FINDINGS, finding_of, over_files, tripped_by_gate, where_of
from ihp_compute.report import numbers
from ihp_compute.report.rows import Row

SHOWN: Final = 10
"""Rows of a finding on the page; the table has all."""
PRINTED: Final = 3
"""Rows of a finding on paper."""
_LIKE: Final = ("finding", "source_table", "column_name", "subject")
"""What rows of several files have alike."""


def noticed_section(rows: Sequence[Row], ledger: Sequence[Row]) -> Row:
    """Findings in their order, the first rows of each; for the first page gates accepted too.

    `missing` are findings of what is not there, beyond what was accepted.
    """
    read = Counter[str]()
    for row in ledger:
        if row["stage"] == "ingest":
            read[row["source_table"]] += row["lines"] or 0
    hidden = {_like(row): row | {"file": ""} for row in rows if row["lines"] is None}
    found = over_files([row for row in rows if _like(row) not in hidden], read)
    found = [*found, *hidden.values()]
    names = dict.fromkeys([*FINDINGS, *(row["finding"] for row in found)])
    by_finding = {name: [row for row in found if row["finding"] == name] for name in names}
    return {
        "accepted": [
            {"gate": gate, "reason": of[0]["accepted"], **_first(of)}
            for gate, of in tripped_by_gate(found).items()
        ],
        "missing": [
            _first(of)
            for name, rows_ in by_finding.items()
            if finding_of(name).is_absence and (of := [row for row in rows_ if not row["tripped"]])
        ],
        "findings": [_first(of) for of in by_finding.values() if of],
    }


def _like(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in _LIKE)


def _first(of: Sequence[Row]) -> Row:
    """Rows of a finding, those that tripped and the largest before others."""
    ordered = sorted(
        of,
        key=lambda row: (
            not row["tripped"],
            -abs(row["paid_cents"] or 0),
            -abs(row["lines"] or 0),
        ),
    )
    return {
        "meaning": finding_of(of[0]["finding"]).meaning,
        "rows": [_shown(row) for row in ordered[:SHOWN]],
        "more": len(ordered[SHOWN:]),
    }


def _shown(row: Mapping[str, Any]) -> Row:
    """A row in words; `numbers` are those that it has, in one text, `brief` without its detail."""
    held = row["lines"] is None
    counts = finding_of(row["finding"]).counts
    shown = {
        "where": where_of(row),
        "subject": row["subject"],
        "lines": numbers.held_back(row["lines"]) if held or row["lines"] else "",
        "dollars": numbers.usd(row["paid_cents"]) if row["paid_cents"] else "",
        "share": numbers.percent(row["share"]) if row["lines"] and row["share"] else "",
        "gate": row["gate"] if row["tripped"] else "",
        "reason": row["accepted"],
        "detail": row["detail"] or "",
    }
    much = (
        f"{counts} {numbers.HELD}" if held else "",
        f"{shown['lines']} {counts}" if shown["lines"] and not held else "",
        shown["dollars"],
        shown["share"],
    )
    return shown | {
        "brief": ", ".join(filter(None, much)),
        "numbers": ", ".join(filter(None, (*much, shown["detail"]))),
    }
