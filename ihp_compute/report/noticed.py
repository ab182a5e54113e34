"""What was noticed of the data and of the run, what is missing, and which gates were accepted.

Rows of several files are one row. Rows of a table of people from 1 to 10 are held back, with what
is made of them; lines of claims are shown, as in the ledger.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ihp_compute.data_quality import FINDINGS, finding_of, over_files, tripped_by_gate, where_of
from ihp_compute.report import numbers
from ihp_compute.report.rows import Row
from ihp_compute.results import is_small

SHOWN: Final = 10
"""Rows of a finding on the page; the table has all."""
OF_PEOPLE: Final = ("eligibility", "risk_score")
"""Tables whose rows are of people."""
HELD: Final = "held back"


def noticed_section(rows: Sequence[Row], ledger: Sequence[Row]) -> Row:
    """Findings in their order, the first rows of each; for the first page gates accepted too.

    `missing` are findings of what is not there, beyond what was accepted.
    """
    read = Counter[str]()
    for row in ledger:
        if row["stage"] == "ingest":
            read[row["source_table"]] += row["lines"]
    found = over_files(rows, read)
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


def _first(of: Sequence[Row]) -> Row:
    """Rows of a finding, those that tripped and the largest before others."""
    ordered = sorted(
        of, key=lambda row: (not row["tripped"], -abs(row["paid_cents"]), -abs(row["lines"]))
    )
    return {
        "meaning": finding_of(of[0]["finding"]).meaning,
        "rows": [_shown(row) for row in ordered[:SHOWN]],
        "more": len(ordered[SHOWN:]),
    }


def _shown(row: Mapping[str, Any]) -> Row:
    """A row in words; `numbers` are those that it has, in one text."""
    people = row["members"] or (abs(row["lines"]) if row["source_table"] in OF_PEOPLE else 0)
    held = is_small(people)
    counts_it = held and not row["members"] and any(sign.isdigit() for sign in row["subject"])
    counts = finding_of(row["finding"]).counts
    lines = numbers.count(row["lines"])
    if held:
        lines = HELD if row["members"] else numbers.held_back(row["lines"])
    share = numbers.percent(row["share"]) if row["lines"] and row["share"] else ""
    shown = {
        "where": where_of(row),
        "subject": HELD if counts_it else row["subject"],
        "lines": lines if row["lines"] else "",
        "dollars": ""
        if not row["paid_cents"]
        else HELD
        if held
        else numbers.usd(row["paid_cents"]),
        "share": HELD if held and share else share,
        "gate": row["gate"] if row["tripped"] else "",
        "reason": row["accepted"],
        "detail": HELD if held and row["detail"] else row["detail"],
    }
    return shown | {
        "numbers": ", ".join(
            filter(
                None,
                (
                    f"{shown['lines']} {counts}" if shown["lines"] else "",
                    shown["dollars"],
                    "" if held else shown["share"],
                    "" if held else shown["detail"],
                ),
            )
        )
    }
