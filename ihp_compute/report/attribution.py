"""Who belongs to whom: members by step, ties, and who came and went, for each group.

A sum over steps of which one is hidden is hidden.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.report import numbers
from ihp_compute.report.rows import Row

STEPS: Final = ("health_care_home", "primary_care", "specialist")
MOVES: Final = ("ties", "gained", "moved_in", "lost", "moved_out")
_RESERVED: Final = (COMPARISON, UNATTRIBUTED)


def attribution_section(rows: Sequence[Row], manifest: Mapping[str, Any]) -> Row:
    """Rows of the table by group, partnerships first, in words; a sum of each, and the roster."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["partnership_id"]].append(row)
    order = sorted(found, key=lambda group: (group in _RESERVED, group))
    years = manifest["base_year"], manifest["performance_year"]
    return {
        "rows": [_words(group, found[group], years) for group in order],
        "steps": [numbers.label(step) for step in STEPS],
        "roster": manifest.get("roster", ""),
    }


def _words(group: str, rows: Sequence[Row], years: tuple[int, int]) -> Row:
    now = [row for row in rows if row["year"] == years[1]]

    def total(of: Sequence[Row], name: str) -> str:
        return numbers.held_back(numbers.summed(row[name] for row in of))

    return {
        "group": group.capitalize() if group in _RESERVED else group,
        "members": [total([row for row in rows if row["year"] == y], "members") for y in years],
        "steps": [total([row for row in now if row["step"] == s], "members") for s in STEPS]
        if group != UNATTRIBUTED
        else [numbers.DASH] * len(STEPS),
        "moves": [total(now, name) for name in MOVES],
    }
