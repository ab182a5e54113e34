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


def attribution_sums(rows: Sequence[Row], years: Sequence[int]) -> Row:
    """Sums of some rows: members by year, by step and year, and who came and went in the last.

    A sum of which a part is hidden is None.
    """

    def total(name: str, year: int, step: str | None = None) -> int | None:
        of = (row for row in rows if row["year"] == year and step in (None, row["step"]))
        found: int | None = numbers.summed(row[name] for row in of)
        return found

    return {
        "members": [total("members", year) for year in years],
        "steps": {step: [total("members", year, step) for year in years] for step in STEPS},
        "moves": {name: total(name, years[-1]) for name in MOVES},
    }


def _words(group: str, rows: Sequence[Row], years: tuple[int, int]) -> Row:
    sums = attribution_sums(rows, years)
    return {
        "group": group.capitalize() if group in _RESERVED else group,
        "members": [numbers.held_back(n) for n in sums["members"]],
        "steps": [numbers.held_back(of[-1]) for of in sums["steps"].values()]
        if group != UNATTRIBUTED
        else [numbers.DASH] * len(STEPS),
        "moves": [numbers.held_back(n) for n in sums["moves"].values()],
    }
